// The controls of a camera: asked for and set, with what is odd left out.
import { ask } from './ask.ts';
import { parseControls } from './parse.ts';
import type { Control } from './types.ts';

const path = (id: string): string => `api/cameras/${encodeURIComponent(id)}/controls`;

/** None, too, for a camera without controls. */
export async function fetchControls(id: string, gone: AbortSignal): Promise<Control[]> {
  const answer = await ask('GET', path(id), { gone });
  return answer.ok ? parseControls(answer.body) : [];
}

/** All controls as they are afterwards, or what went wrong, in words. */
export async function setControls(id: string, controls: Record<string, number | null>): Promise<Control[] | string> {
  const answer = await ask('PUT', path(id), { body: { controls }, patience: 12000 });
  return answer.ok ? parseControls(answer.body) : answer.refusal.message;
}
