// What printers' states are called, when a print ends, and what a notification says. Pure.
import type { Command, Printer, PrinterStatus, Temperature, Unit } from '../../state/printers.ts';
import type { Tone } from '../words.ts';

const JOB: Partial<Record<string, { word: string; tone: Tone }>> = {
  IDLE: { word: 'Idle', tone: 'calm' },
  INIT: { word: 'Starting', tone: 'busy' },
  OFFLINE: { word: 'Offline', tone: 'bad' },
  PREPARE: { word: 'Preparing', tone: 'busy' },
  SLICING: { word: 'Slicing', tone: 'busy' },
  RUNNING: { word: 'Printing', tone: 'good' },
  PAUSE: { word: 'Paused', tone: 'busy' },
  FINISH: { word: 'Finished', tone: 'good' },
  FAILED: { word: 'Failed', tone: 'bad' },
};

const word = (text: string): string => text.charAt(0).toUpperCase() + text.slice(1).toLowerCase();

/** How a printer is, as far as it is known. */
export function printerState({ status }: Printer, serverGone: boolean): { word: string; tone: Tone } {
  if (serverGone) return { word: 'Unknown', tone: 'calm' };
  if (!status.connected) {
    if (status.error !== null) return { word: 'Not connected', tone: 'bad' };
    return silent(status) ? { word: 'Silent', tone: 'bad' } : { word: 'Connecting', tone: 'busy' };
  }
  if (status.jobState === null) return { word: 'Connected', tone: 'calm' };
  return JOB[status.jobState] ?? { word: word(status.jobState), tone: 'calm' };
}

/** The server's words as a sentence's beginning. */
export const sentence = (text: string): string => text.charAt(0).toUpperCase() + text.slice(1).replace(/\.$/, '');

/** The link is up and nothing comes. */
export const silent = (status: PrinterStatus): boolean => !status.connected && status.stale && status.error === null && status.lastUpdate !== null;

export const printing = (status: PrinterStatus): boolean => ['RUNNING', 'PAUSE', 'PREPARE', 'SLICING'].includes(status.jobState ?? '');

/** `1 h 23 min left`; null: nothing to wait for. */
export function remaining(status: PrinterStatus): string | null {
  if (!printing(status) || status.remainingMinutes === null || status.remainingMinutes <= 0) return null;
  const minutes = Math.round(status.remainingMinutes);
  const [days, hours] = [Math.floor(minutes / 1440), Math.floor(minutes / 60) % 24];
  const parts = [days > 0 ? `${days} d` : '', hours > 0 ? `${hours} h` : '', days === 0 && minutes % 60 > 0 ? `${minutes % 60} min` : ''];
  return `${parts.filter((part) => part !== '').join(' ')} left`;
}

/** `done at 14:05`, with the day when it is another; null: not to be said. A print that is paused has no end yet. */
export function finishClock(status: PrinterStatus, now: number): string | null {
  if (status.jobState !== 'RUNNING' || status.remainingMinutes === null || status.remainingMinutes <= 0) return null;
  const at = new Date(now + status.remainingMinutes * 60000);
  const time = at.toLocaleTimeString([], { hour: '2-digit', minute: '2-digit' });
  const day = at.toDateString() === new Date(now).toDateString() ? '' : `${at.toLocaleDateString([], { weekday: 'short' })} `;
  return `done ${day === '' ? 'at ' : ''}${day}${time}`;
}

/** `215 / 220 °C`. */
export function degrees({ now, target }: Temperature): string {
  if (now === null) return '–';
  return target === null || target <= 0 ? `${Math.round(now)} °C` : `${Math.round(now)} / ${Math.round(target)} °C`;
}

export const SPEEDS: readonly { level: number; name: string }[] = [
  { level: 1, name: 'Silent' }, { level: 2, name: 'Standard' }, { level: 3, name: 'Sport' }, { level: 4, name: 'Ludicrous' },
];

/** While it is under way, and when it was not done. */
export const COMMAND: Record<Command['type'], { doing: string; failed: string; done: string }> = {
  pause: { doing: 'Pausing…', failed: 'Not paused', done: 'is being paused' },
  resume: { doing: 'Resuming…', failed: 'Not resumed', done: 'is being resumed' },
  stop: { doing: 'Stopping…', failed: 'Not stopped', done: 'is being stopped' },
  light: { doing: 'Switching…', failed: 'Light not switched', done: 'light switched' },
  speed: { doing: 'Setting…', failed: 'Speed not set', done: 'speed set' },
  clear_error: { doing: 'Clearing…', failed: 'Error not cleared', done: 'error cleared' },
};

const LIGHT: Partial<Record<string, string>> = { chamber_light: 'Light', chamber_light2: 'Light 2', work_light: 'Head light' };
export const lightName = (node: string): string => LIGHT[node] ?? node;

export const humidity = (of: Unit['humidity']): string => (of === null ? '' : 'percent' in of ? ` · humidity ${of.percent} %` : ` · dryness ${of.level} of 5`);

const STEP: Partial<Record<string, string>> = { reach: 'Address', tls: 'Encryption', code: 'Access code', mqtt: 'Reports', camera: 'Camera' };
/** A step of the connection test. */
export const stepName = (name: string): string => STEP[name] ?? name;

/** What a command makes of a state, as far as it can be told before the printer says so itself. */
export function reached(command: Command, status: PrinterStatus): boolean {
  switch (command.type) {
    case 'pause': return status.jobState === 'PAUSE' || !printing(status);
    case 'resume': return status.jobState !== 'PAUSE';
    case 'stop': return !printing(status);
    case 'light': return status.lights.find((light) => light.node === command.node)?.on === command.on;
    case 'speed': return status.speed === command.level;
    case 'clear_error': return status.printError === null;
  }
}

/** What is to be told when a printer changes: a print that ended, or failed. Null: nothing. */
export function ended(before: Printer | undefined, after: Printer): { title: string; body: string } | null {
  if (before === undefined || !printing(before.status) || before.status.jobState === after.status.jobState) return null;
  const file = after.status.file ?? before.status.file ?? 'the print';
  if (after.status.jobState === 'FINISH') return { title: `${after.name}: finished`, body: `${file} is done.` };
  if (after.status.jobState !== 'FAILED') return null;
  const why = after.status.printError ?? after.status.troubles[0];
  return { title: `${after.name}: failed`, body: why === undefined ? `${file} was not finished.` : `${file}: ${why.text ?? why.code}` };
}

/** `ab12…` as people compare it: pairs with colons, in capitals. */
export const fingerprint = (hex: string): string => (hex.replaceAll(/[^0-9a-f]/gi, '').toUpperCase().match(/../g) ?? []).join(':');

/** Black or white, whichever is read on this colour (`#RRGGBB`). */
export function inkOn(colour: string): string {
  const [red = 0, green = 0, blue = 0] = (colour.slice(1).match(/../g) ?? []).map((pair) => {
    const share = parseInt(pair, 16) / 255;
    return share <= 0.04045 ? share / 12.92 : ((share + 0.055) / 1.055) ** 2.4;
  });
  return 0.2126 * red + 0.7152 * green + 0.0722 * blue > 0.179 ? '#000000' : '#ffffff';
}
