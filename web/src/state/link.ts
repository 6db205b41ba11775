// The link to the server as a pure state machine: events and the time in; what to do and what to show out.
// events.ts drives it with an EventSource, or by polling where the server has no events.
import type { ServerState } from './types.ts';

export type LinkPhase = 'connecting' | 'live' | 'gone';
export type Way = 'events' | 'polling';

export interface LinkState {
  phase: LinkPhase;
  way: Way;
  /** Since when the server is gone. */
  goneSince: number | null;
  failures: number;
  nextTry: number | null;
  lastMessage: number | null;
  server: ServerState | null;
  /** Counts what should make transports try again at once: a return, a restart. */
  returns: number;
}

export type LinkEvent =
  | { type: 'message'; server: ServerState; way: Way }
  | { type: 'failed' }
  /** Asked to try at once: network back, page shown, a person. */
  | { type: 'nudge' };

export const INITIAL: LinkState = {
  phase: 'connecting', way: 'events', goneSince: null, failures: 0, nextTry: null, lastMessage: null, server: null, returns: 0,
};

/** The server speaks at least every 5 s. */
export const SILENCE_MAX = 12000;
const RETRY_BASE = 500;
const RETRY_MAX = 4000;

/** `unit`: a random number in [0, 1). The event stream is one cheap request: it may come often. */
export function retryWait(failures: number, unit: number): number {
  const ceiling = Math.min(RETRY_MAX, RETRY_BASE * 2 ** Math.min(failures, 10));
  return Math.round(ceiling / 2 + unit * ceiling / 2);
}

export function reduce(state: LinkState, now: number, unit: number, event: LinkEvent): LinkState {
  switch (event.type) {
    case 'message': {
      const before = state.server?.started ?? null;
      const after = event.server.started;
      const restarted = before !== null && after !== null && before !== after;
      const back = state.phase === 'gone';
      return {
        phase: 'live',
        way: event.way,
        goneSince: null,
        failures: 0,
        nextTry: null,
        lastMessage: now,
        server: event.server,
        returns: state.returns + (restarted || back ? 1 : 0),
      };
    }
    case 'failed':
      return {
        ...state,
        phase: 'gone',
        goneSince: state.goneSince ?? now,
        failures: state.failures + 1,
        nextTry: now + retryWait(state.failures, unit),
      };
    case 'nudge':
      return state.phase === 'gone' ? { ...state, nextTry: now } : state;
  }
}
