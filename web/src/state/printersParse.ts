// Makes printers out of the server's JSON. Pure; never throws; what is missing or odd gets a harmless value.
import type { Refusal } from './ask.ts';
import { flag, list, number, object, text, time } from './json.ts';
import type { Found, Printer, PrinterStatus, Step, Temperature, Tray, Trouble, Unit } from './printers.ts';

const temperature = (now: unknown, target: unknown): Temperature => ({ now: number(now), target: number(target) });

/** `FF6A13`, `FF6A13FF`, `#FF6A13` as CSS writes it; null for one that is all transparent: an empty tray. */
export function colour(value: unknown): string | null {
  const match = /^#?([0-9a-f]{6})([0-9a-f]{2})?$/i.exec(text(value) ?? '');
  return match?.[1] === undefined || match[2] === '00' ? null : `#${match[1].toUpperCase()}`;
}

function trouble(value: unknown): Trouble[] {
  const json = object(value);
  const code = text(json.code);
  return code === null ? [] : [{ code, text: text(json.text) ?? text(json.message) }];
}

function status(value: unknown): PrinterStatus {
  const json = object(value);
  const details = object(json.details);
  return {
    connected: json.connected === true,
    stale: json.stale === true || details.stale === true,
    error: text(details.error),
    jobState: text(json.jobState),
    percent: number(json.percent),
    remainingMinutes: number(json.remainingMinutes),
    nozzle: temperature(json.nozzleC, details.nozzleTargetC),
    bed: temperature(json.bedC, details.bedTargetC),
    chamber: temperature(json.chamberC, details.chamberTargetC),
    light: json.light === 'on' ? true : json.light === 'off' ? false : null,
    lastUpdate: time(json.lastUpdate),
    file: text(details.file),
    layer: number(details.layer),
    layers: number(details.layers),
    stage: text(details.stage),
    speed: number(details.speedLevel),
    units: list(details.ams).flatMap(unit),
    troubles: list(details.hms).flatMap(trouble),
    printError: trouble(details.printError)[0] ?? null,
    wifi: text(details.wifi),
    firmware: text(details.firmware),
    developerMode: flag(details.developerMode),
    noCamera: text(details.noCamera),
  };
}

function unit(value: unknown, at: number): Unit[] {
  const json = object(value);
  const name = text(json.name) ?? `AMS ${String.fromCharCode(65 + at)}`;
  return [{
    name,
    humidity: text(json.humidity) ?? (number(json.humidity) === null ? null : String(json.humidity)),
    trays: list(json.trays).map((each, index): Tray => {
      const tray = object(each);
      return { name: `${name} ${index + 1}`, colour: colour(tray.colour), type: text(tray.type), active: tray.active === true };
    }),
  }];
}

function printer(value: unknown): Printer[] {
  const json = object(value);
  const id = number(json.id);
  if (id === null) return [];
  const certificate = object(json.certificate);
  return [{
    id,
    name: text(json.name) ?? `Printer ${id}`,
    host: text(json.host) ?? '',
    serial: text(json.serial) ?? '',
    rtspUrl: text(json.rtspUrl),
    model: text(object(object(json.status).details).model),
    certificate: { known: text(certificate.known), offered: text(certificate.offered) },
    status: status(json.status),
  }];
}

export const parsePrinters = (value: unknown): Printer[] => list(value).flatMap(printer);

/** The answer of `/api/printers/found`. */
export const parseFound = (value: unknown): Found[] => list(object(value).found ?? value).flatMap((each) => {
  const json = object(each);
  const [host, serial] = [text(json.host), text(json.serial)];
  return host === null || serial === null ? [] : [{ host, serial, name: text(json.name), model: text(json.model) }];
});

/** The answer of a test. */
export const parseSteps = (value: unknown): Step[] => list(object(value).steps).flatMap((each) => {
  const json = object(each);
  const name = text(json.name);
  return name === null ? [] : [{ name, ok: flag(json.ok), message: text(json.message) ?? '' }];
});

/** What is wrong with each field, as a refusal of the API says it. */
export function fieldErrors(refusal: Refusal): Record<string, string> {
  return Object.fromEntries(list(refusal.details.fields).flatMap((each): [string, string][] => {
    const json = object(each);
    const [field, message] = [text(json.field), text(json.message)];
    return field === null || message === null ? [] : [[field, message]];
  }));
}
