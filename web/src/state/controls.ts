// The controls of a camera: asked for and set, with what is odd left out.
import { words } from '../transports/types.ts';
import { url } from './base.ts';
import { parseControls } from './parse.ts';
import type { Control } from './types.ts';

const path = (id: string): URL => url(`api/cameras/${encodeURIComponent(id)}/controls`);

/** None, too, for a camera without controls. */
export async function fetchControls(id: string, gone: AbortSignal): Promise<Control[]> {
  try {
    const response = await fetch(path(id), { cache: 'no-store', signal: AbortSignal.any([gone, AbortSignal.timeout(8000)]) });
    return response.ok ? parseControls(await response.json()) : [];
  } catch {
    return [];
  }
}

/** All controls as they are afterwards, or what went wrong, in words. */
export async function setControls(id: string, controls: Record<string, number | null>): Promise<Control[] | string> {
  try {
    const response = await fetch(path(id), {
      method: 'PUT', body: JSON.stringify({ controls }), headers: { 'Content-Type': 'application/json' }, signal: AbortSignal.timeout(12000),
    });
    const body = await response.json().catch(() => null) as { error?: { message?: unknown } } | null;
    if (response.ok) return parseControls(body);
    const message = body?.error?.message;
    return typeof message === 'string' ? message : `the server answered ${response.status}`;
  } catch (error) {
    return words(error);
  }
}
