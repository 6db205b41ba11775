// What the chain shows, for people and for tests: the state, the transport on screen, and why.
import { type Chain, fresh, slotOf } from './machine.ts';
import { type Kind, rank } from './kinds.ts';

export type PictureState = 'connecting' | 'live' | 'falling-back' | 'down';

export interface ChainView {
  state: PictureState;
  /** On screen now; null before the first picture. */
  shown: Kind | null;
  /** Being tried now, best first. */
  trying: Kind[];
  /** Why a better one than the one on screen is not there. */
  better: { kind: Kind; message: string; blocked: boolean } | null;
  /** Milliseconds until the next attempt when nothing is open. */
  retryIn: number | null;
  /** Milliseconds since the last picture on screen. */
  silence: number | null;
}

export function view(chain: Chain): ChainView {
  const shown = chain.shown === null ? null : slotOf(chain, chain.shown);
  const alive = shown !== null && fresh(chain, shown);
  const trying = chain.slots.filter((slot) => slot.run !== 0 && slot !== shown).map((slot) => slot.kind);
  const waits = chain.slots.filter((slot) => slot.offered && !slot.blocked && slot.run === 0).map((slot) => slot.retryAt - chain.now);
  const open = chain.slots.some((slot) => slot.run !== 0);
  return {
    state: stateOf(chain, alive, open),
    shown: chain.shown,
    trying,
    better: betterOf(chain),
    retryIn: open || waits.length === 0 ? null : Math.max(0, Math.min(...waits)),
    silence: chain.lastPicture === null ? null : chain.now - chain.lastPicture,
  };
}

function stateOf(chain: Chain, alive: boolean, open: boolean): PictureState {
  if (alive) return 'live';
  if (chain.hidden || chain.paused) return chain.everShown ? 'live' : 'connecting';
  if (!chain.delivering) return chain.starting && !chain.everShown ? 'connecting' : 'down';
  const offered = chain.slots.filter((slot) => slot.offered);
  const tried = offered.length > 0 && offered.every((slot) => slot.lastEnd !== null);
  // Everything has failed and is waited for.
  if (tried && !open) return 'down';
  const dark = chain.darkSince === null ? 0 : chain.now - chain.darkSince;
  if (tried && dark > 15000) return 'down';
  return chain.everShown ? 'falling-back' : 'connecting';
}

function betterOf(chain: Chain): ChainView['better'] {
  const limit = chain.shown === null ? Infinity : rank(chain.shown);
  const slot = chain.slots.find((each) => each.offered && rank(each.kind) < limit && each.lastEnd !== null);
  return slot?.lastEnd ? { kind: slot.kind, message: slot.lastEnd.message, blocked: slot.blocked } : null;
}
