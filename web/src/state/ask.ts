// One request to the server's API: JSON in, JSON out, and what went wrong in words.
// Every request says that a page asks: the server then wants a login in words, not by the browser's own dialog.
import { words } from '../transports/types.ts';
import { url } from './base.ts';
import { object } from './json.ts';

export interface Refusal {
  /** HTTP's status; 0: no answer. */
  status: number;
  /** `CAMERA_NOT_FOUND`, `LOGIN_REQUIRED`, …; empty when there was no answer. */
  code: string;
  /** For people. */
  message: string;
  details: Record<string, unknown>;
}

export type Answer = { ok: true; body: unknown } | { ok: false; refusal: Refusal };

const watchers = new Set<() => void>();

/** Tells of each answer that wants a login, but of those to what the page asks by itself. */
export function onLoginWanted(watcher: () => void): () => void {
  watchers.add(watcher);
  return () => watchers.delete(watcher);
}

/** The body of an error in either form: `{ error: { code, message, details } }`, `{ ok: false, error: "…" }`. Pure. */
export function refusalOf(status: number, body: unknown): Refusal {
  const { error } = object(body);
  const { code, message, details } = object(error);
  const said = typeof error === 'string' ? error : typeof message === 'string' ? message : `the server answered ${status}`;
  return { status, code: typeof code === 'string' ? code : '', message: said, details: object(details) };
}

interface Asking {
  body?: unknown;
  /** ms */
  patience?: number;
  gone?: AbortSignal;
  /** Asked by the page itself: nobody is to log in for it. */
  background?: boolean;
}

/** Whoever asks may not: asking again is of no use until somebody else is logged in. Pure. */
export const forbidden = ({ status }: Refusal): boolean => status === 401 || status === 403;

export async function ask(method: string, path: string, { body, patience = 8000, gone, background = false }: Asking = {}): Promise<Answer> {
  const late = AbortSignal.timeout(patience);
  try {
    const response = await fetch(url(path), {
      method, cache: 'no-store',
      headers: { 'X-Requested-With': 'fanlight', ...(body === undefined ? {} : { 'Content-Type': 'application/json' }) },
      body: body === undefined ? null : JSON.stringify(body),
      signal: gone === undefined ? late : AbortSignal.any([gone, late]),
    });
    const answer: unknown = response.status === 204 ? null : await response.json().catch(() => null);
    if (response.ok) return { ok: true, body: answer };
    if (response.status === 401 && !background) watchers.forEach((watcher) => watcher());
    return { ok: false, refusal: refusalOf(response.status, answer) };
  } catch (error) {
    return { ok: false, refusal: { status: 0, code: '', message: words(error), details: {} } };
  }
}

/** Null when it was done; otherwise what went wrong, in words. */
export async function tell(method: string, path: string, asking?: Asking): Promise<string | null> {
  const answer = await ask(method, path, asking);
  return answer.ok ? null : answer.refusal.message;
}
