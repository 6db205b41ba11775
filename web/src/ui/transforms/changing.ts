// A change of transforms as pure decisions: what a draft was begun from, whether somebody else was quicker, and what became of a change
// that was not answered as it should be. useTransforms.ts asks the server.
import type { Refusal } from '../../state/ask.ts';
import { same, type Told, type Transforms } from '../../state/transforms.ts';

export interface Work {
  /** As it was last told: what the picture on screen went through. */
  told: Told;
  /** What the draft was begun from. */
  base: Transforms;
  draft: Transforms;
  /** What is in force ends with the service. */
  unkept: boolean;
}

/** What somebody wants. */
export interface Wish {
  /** Null: as it is configured. */
  to: Transforms | null;
  /** What it is to replace: as the person saw it. */
  over: Transforms;
  /** Also when encoders begin anew for it. */
  restart: boolean;
}

/** What a person is asked before a wish is sent. */
export type Question = { about: 'reset'; wish: Wish } | { about: 'restart'; wish: Wish; why: string } | { about: 'meanwhile'; wish: Wish; theirs: Told };

export const begun = (told: Told): Work => ({ told, base: told.transforms, draft: told.transforms, unkept: told.kept === false });

/** News from the server: a draft that nobody touched follows, one that somebody is at work on stays, and so does what it was begun from. */
export function learned(work: Work | null, told: Told): Work {
  if (work === null) return begun(told);
  const unkept = told.kept === null ? work.unkept && same(work.told.transforms, told.transforms) : !told.kept;
  const untouched = same(work.base, work.draft) || same(told.transforms, work.draft);
  return untouched ? { ...begun(told), unkept } : { ...work, told, unkept };
}

/** Whether a reset may show what is hidden now, or loses masks that were drawn. */
export function uncovers({ told, base, draft }: Work): boolean {
  const drawn = draft.masks.length > 0 && !same(base, draft);
  return drawn || told.setBy === 'caution' || (told.setBy !== 'configuration' && told.transforms.masks.length > 0);
}

/** What is in force, to somebody with a wish: that very thing, what it is to replace, or what somebody else made of it. */
export function found({ to, over }: Wish, told: Told): 'wished' | 'before' | 'others' {
  if (to === null ? told.setBy === 'configuration' : same(to, told.transforms)) return 'wished';
  return same(over, told.transforms) ? 'before' : 'others';
}

/** Whether a refusal leaves open what is in force. */
export const unsure = ({ status, code }: Refusal): boolean => status === 0 || code === 'NOT_KEPT';

/** After such a refusal, with what the server told then (null: nothing): whether it is done, and the words for it. */
export function afterwards(wish: Wish, { code, message }: Refusal, now: Told | null): { done: boolean; problem: string | null } {
  if (code === 'NOT_KEPT') return { done: true, problem: `Changed, but not kept: ${message}` };
  if (now === null) return { done: false, problem: `Not known whether it is changed: ${message}` };
  switch (found(wish, now)) {
    case 'wished': return { done: true, problem: null };
    case 'before': return { done: false, problem: `Not changed so far: ${message}` };
    case 'others': return { done: false, problem: `Changed, but not to this: ${message}` };
  }
}
