// Recordings on the server's disk: what there is on a day, and what a person does with one.
import { ask, tell } from './ask.ts';

export interface Recording {
  name: string;
  camera: string;
  /** Milliseconds. */
  started: number;
  /** Seconds, as far as it is on the disk. */
  duration: number;
  bytes: number;
  kept: boolean;
  /** It is being written. */
  recording: boolean;
  url: string;
}

export interface Listing {
  recordings: readonly Recording[];
  /** How many there are, listed or not. */
  total: number;
}

/** What the server lists; odd entries are left out. Pure. */
export function parseListing(json: unknown): Listing | null {
  const body = json as { recordings?: unknown; total?: unknown } | null;
  if (typeof body !== 'object' || body === null || !Array.isArray(body.recordings)) return null;
  const recordings = body.recordings.flatMap((each: unknown): Recording[] => {
    const { name, camera, started_at: at, duration_seconds: duration, bytes, kept, recording, url: path } = each as Record<string, unknown>;
    const started = typeof at === 'string' ? Date.parse(at) : NaN;
    if (typeof name !== 'string' || typeof path !== 'string' || Number.isNaN(started)) return [];
    return [{
      name, started, url: path,
      camera: typeof camera === 'string' ? camera : '',
      duration: typeof duration === 'number' ? duration : 0,
      bytes: typeof bytes === 'number' ? bytes : 0,
      kept: kept === true,
      recording: recording === true,
    }];
  });
  return { recordings, total: typeof body.total === 'number' ? body.total : recordings.length };
}

/** The first millisecond of a day `2026-11-28`, and of the next one, in the viewer's own time. Pure but for the time zone. */
export function dayOf(text: string): { from: number; to: number } | null {
  const match = /^(\d{4})-(\d{2})-(\d{2})$/.exec(text);
  if (match === null) return null;
  const [year, month, day] = match.slice(1).map(Number) as [number, number, number];
  const [from, to] = [new Date(year, month - 1, day).getTime(), new Date(year, month - 1, day + 1).getTime()];
  return Number.isNaN(from) ? null : { from, to };
}

export function dayText(at: Date): string {
  const two = (value: number): string => String(value).padStart(2, '0');
  return `${at.getFullYear()}-${two(at.getMonth() + 1)}-${two(at.getDate())}`;
}

/** Where on a day's timeline a recording is, in percent; what is shorter than a finger's width is still to be hit. Pure. */
export function placeOn(day: { from: number; to: number }, recording: Recording): { left: number; width: number } {
  const percent = (at: number): number => Math.min(100, Math.max(0, (at - day.from) / (day.to - day.from) * 100));
  const left = percent(recording.started);
  const width = Math.max(0.4, percent(recording.started + recording.duration * 1000) - left);
  return { left: Math.min(left, 100 - width), width };
}

/** What is on disk from `from` to `to`, or what went wrong in words. */
export async function listRecordings(from: number, to: number): Promise<Listing | string> {
  const query = new URLSearchParams({ from: new Date(from).toISOString(), to: new Date(to).toISOString(), limit: '1000' });
  const answer = await ask('GET', `api/recordings?${query.toString()}`);
  if (!answer.ok) return answer.refusal.message;
  return parseListing(answer.body) ?? 'the server’s list cannot be read';
}

const path = (name: string): string => `api/recordings/${encodeURIComponent(name)}`;
/** Null when it was done; otherwise what went wrong, in words. */
export const keepRecording = (name: string, kept: boolean): Promise<string | null> => tell(kept ? 'POST' : 'DELETE', `${path(name)}/keep`);
export const deleteRecording = (name: string): Promise<string | null> => tell('DELETE', path(name));
