// What a person asks of the server.
import { words } from '../transports/types.ts';
import { url } from './base.ts';

/** Null when it was taken; otherwise what went wrong, in words. */
async function post(path: string): Promise<string | null> {
  try {
    const response = await fetch(url(path), { method: 'POST', signal: AbortSignal.timeout(8000) });
    if (response.ok) return null;
    const body = await response.json().catch(() => null) as { error?: { message?: unknown } } | null;
    const message = body?.error?.message;
    return typeof message === 'string' ? message : `the server answered ${response.status}`;
  } catch (error) {
    return words(error);
  }
}

export const restartCamera = (id: string): Promise<string | null> => post(`api/cameras/${encodeURIComponent(id)}/restart`);
export const retryOutput = (id: string): Promise<string | null> => post(`api/outputs/${encodeURIComponent(id)}/retry`);
