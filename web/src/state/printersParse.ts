// Makes printers out of the server's JSON. Pure; never throws; what is missing or odd gets a harmless value.
import type { Refusal } from './ask.ts';
import { flag, type Json, list, number, object, text, time } from './json.ts';
import type { Found, Light, Printer, PrinterStatus, Step, Temperature, Tray, Trouble, Unit } from './printers.ts';

/** The lamp that the short form of the status means. */
const CHAMBER = 'chamber_light';

const temperature = (now: unknown, target: unknown): Temperature => ({ now: number(now), target: number(target) });

/** `#FF6A13`, `#FF6A13FF` as CSS writes it; null for one that is all transparent, or none. */
export function colour(value: unknown): string | null {
  const match = /^#?([0-9a-f]{6})([0-9a-f]{2})?$/i.exec(text(value) ?? '');
  return match?.[1] === undefined || match[2] === '00' ? null : `#${match[1].toUpperCase()}`;
}

function trouble(value: unknown): Trouble[] {
  const json = object(value);
  const [code, page] = [text(json.code), text(json.page)];
  return code === null ? [] : [{ code, text: text(json.text), page: page?.startsWith('https://') === true ? page : null }];
}

/** Those that can be switched, as far as it is known how they are. */
function lights(json: Json, details: Json): Light[] {
  const modes = list(details.lights).map(object);
  return list(details.lamps).flatMap((lamp) => {
    const node = text(lamp);
    const mode = modes.find((each) => each.node === node)?.mode ?? (node === CHAMBER ? json.light : null);
    return node === null || text(mode) === null ? [] : [{ node, on: mode !== 'off' }];
  });
}

function status(value: unknown): PrinterStatus {
  const json = object(value);
  const details = object(json.details);
  const wifi = number(details.wifiDbm);
  return {
    connected: json.connected === true,
    stale: details.stale === true,
    error: text(details.error),
    jobState: text(json.jobState),
    percent: number(json.percent),
    remainingMinutes: number(json.remainingMinutes),
    nozzle: temperature(json.nozzleC, details.nozzleTargetC),
    bed: temperature(json.bedC, details.bedTargetC),
    chamber: temperature(json.chamberC, details.chamberTargetC),
    lights: lights(json, details),
    lastUpdate: time(json.lastUpdate),
    file: text(details.file),
    layer: number(details.layer),
    layers: number(details.layers),
    stage: text(details.stage),
    speed: number(details.speedLevel),
    units: [...list(details.ams).flatMap(unit), ...spool(details.externalSpool)],
    troubles: list(details.hms).flatMap(trouble),
    printError: trouble(details.printError)[0] ?? null,
    wifi: wifi === null ? null : `${wifi} dBm`,
    firmware: text(details.firmware),
    developerMode: flag(details.developerMode),
  };
}

function tray(value: unknown, name: string): Tray {
  const json = object(value);
  const empty = json.empty === true;
  return { name, colour: empty ? null : colour(json.colour), type: empty ? null : text(json.material), active: json.active === true };
}

function unit(value: unknown, at: number): Unit[] {
  const json = object(value);
  const name = `AMS ${String.fromCharCode(65 + at)}`;
  const [percent, level] = [number(json.humidityPercent), number(json.humidityLevel)];
  return [{
    name,
    humidity: percent !== null ? { percent } : level !== null ? { level } : null,
    trays: list(json.trays).map((each, index) => tray(each, `${name} ${index + 1}`)),
  }];
}

/** On the holder outside; one that is empty is not worth a word. */
function spool(value: unknown): Unit[] {
  const outside = tray(value, 'External spool');
  return outside.type === null ? [] : [{ name: 'External', humidity: null, trays: [outside] }];
}

function printer(value: unknown): Printer[] {
  const json = object(value);
  const id = number(json.id);
  if (id === null) return [];
  const [certificate, camera] = [object(json.certificate), object(json.camera)];
  return [{
    id,
    name: text(json.name) ?? `Printer ${id}`,
    host: text(json.host) ?? '',
    serial: text(json.serial) ?? '',
    rtspUrl: text(json.rtspUrl),
    model: modelOf(object(object(json.status).details).model),
    certificate: { known: text(certificate.known), offered: text(certificate.offered) },
    status: status(json.status),
    camera: text(camera.id),
    noCamera: text(camera.error),
  }];
}

/** `unknown` until the printer has told. */
function modelOf(value: unknown): string | null {
  const model = text(value);
  return model === 'unknown' ? null : model;
}

export const parsePrinters = (value: unknown): Printer[] => list(value).flatMap(printer);

/** The answer of `/api/printers/found`: those that are not here yet. */
export const parseFound = (value: unknown): Found[] => list(object(value).found).flatMap((each) => {
  const json = object(each);
  const [host, serial] = [text(json.host), text(json.serial)];
  return host === null || serial === null || number(json.printer) !== null ? [] : [{ host, serial, name: text(json.name), model: text(json.model) }];
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
