// Printers as the dashboard uses them (printersParse.ts makes them of the server's JSON), and what a person does with them.
import { type Answer, ask, type Refusal, tell } from './ask.ts';
import { parseFound, parseSteps } from './printersParse.ts';

/** Bambu's `gcode_state`. A word that is not known is shown as it is. */
export type JobState = 'IDLE' | 'INIT' | 'OFFLINE' | 'PREPARE' | 'SLICING' | 'RUNNING' | 'PAUSE' | 'FINISH' | 'FAILED' | (string & {});

export interface Tray {
  name: string;
  /** `#RRGGBB`; null: empty, or not known. */
  colour: string | null;
  type: string | null;
  active: boolean;
}

export interface Unit {
  name: string;
  /** In per cent, or a step from 1 (wet) to 5 (dry). */
  humidity: { percent: number } | { level: number } | null;
  trays: Tray[];
}

export interface Trouble {
  /** `0300_0100_0001_0007`. */
  code: string;
  /** In words, where the table has them. */
  text: string | null;
  /** The maker's page about it. */
  page: string | null;
}

/** A lamp that can be switched. */
export interface Light {
  /** `chamber_light`, `work_light`, … */
  node: string;
  on: boolean;
}

export interface Temperature {
  now: number | null;
  target: number | null;
}

export interface PrinterStatus {
  connected: boolean;
  /** Nothing was heard for a minute. */
  stale: boolean;
  /** Why it is not connected, or what is wrong with the link, in words. */
  error: string | null;
  jobState: JobState | null;
  percent: number | null;
  remainingMinutes: number | null;
  nozzle: Temperature;
  bed: Temperature;
  chamber: Temperature;
  lights: Light[];
  /** Milliseconds of the server's clock. */
  lastUpdate: number | null;
  file: string | null;
  layer: number | null;
  layers: number | null;
  stage: string | null;
  speed: number | null;
  units: Unit[];
  troubles: Trouble[];
  /** An error that waits for somebody to clear it. */
  printError: Trouble | null;
  wifi: string | null;
  firmware: string | null;
  /** False: it takes no commands. */
  developerMode: boolean | null;
}

export interface Certificate {
  /** SHA-256 in hex: what is known, and what the printer shows now when that is another. */
  known: string | null;
  offered: string | null;
}

export interface Printer {
  id: number;
  name: string;
  host: string;
  serial: string;
  rtspUrl: string | null;
  model: string | null;
  certificate: Certificate;
  status: PrinterStatus;
  /** The id of its camera; null: there is none now. */
  camera: string | null;
  /** Why not, in words. */
  noCamera: string | null;
}

/** What the dialog holds. An empty access code keeps the one that the server has. */
export interface PrinterDraft {
  name: string;
  host: string;
  serial: string;
  accessCode: string;
  rtspUrl: string;
}

export interface Found {
  name: string | null;
  host: string;
  serial: string;
  model: string | null;
}

export interface Step {
  name: string;
  ok: boolean | null;
  message: string;
}

export type Command = { type: 'pause' | 'resume' | 'stop' | 'clear_error' } | { type: 'light'; on: boolean; node: string } | { type: 'speed'; level: number };

const path = (id: number): string => `api/printers/${id}`;

/** The body that a draft is sent as; what is empty is left out. Pure. */
export function bodyOf(draft: PrinterDraft): Record<string, string | null> {
  const { accessCode, rtspUrl, name, host, serial } = draft;
  const code = accessCode.trim();
  return {
    name: name.trim(), host: host.trim(), serial: serial.trim(),
    ...(code === '' ? {} : { accessCode: code }), rtspUrl: rtspUrl.trim() === '' ? null : rtspUrl.trim(),
  };
}

/** Null when the printer took it; otherwise what went wrong, in words. It has five seconds to answer. */
export const commandPrinter = (id: number, command: Command): Promise<string | null> => tell('POST', `${path(id)}/command`, { body: command, patience: 12000 });
export const deletePrinter = (id: number): Promise<string | null> => tell('DELETE', path(id));
/** The one that a person has seen: the printer may show yet another by now. */
export const acceptCertificate = (id: number, fingerprint: string): Promise<string | null> => tell('POST', `${path(id)}/certificate`, { body: { fingerprint } });

export const createPrinter = (draft: PrinterDraft): Promise<Answer> => ask('POST', 'api/printers', { body: bodyOf(draft) });
export const updatePrinter = (id: number, draft: PrinterDraft): Promise<Answer> => ask('PUT', path(id), { body: bodyOf(draft) });

/** Printers that announce themselves on the network; asked in the background. */
export async function fetchFound(gone: AbortSignal): Promise<Found[] | Refusal> {
  const answer = await ask('GET', 'api/printers/found', { gone, background: true });
  return answer.ok ? parseFound(answer.body) : answer.refusal;
}

/** How far a connection gets, a step at a time. `id`: with that printer's access code unless the draft has one. */
export async function testPrinter(draft: PrinterDraft, id: number | null): Promise<Step[] | Refusal> {
  const answer = await ask('POST', id === null ? 'api/printers/test' : `${path(id)}/test`, { body: bodyOf(draft), patience: 40000 });
  return answer.ok ? parseSteps(answer.body) : answer.refusal;
}
