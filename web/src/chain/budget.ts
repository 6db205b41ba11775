// How many connections all pictures of the page may hold together. Pure.
//
// Browsers keep six connections to a server over HTTP/1.1: beyond that even the state and the snapshots would wait.
// Two are left for those; peer connections are limited because each costs a decoder.
import type { Kind } from './kinds.ts';

export interface Limits {
  /** Streams over HTTP at a time. */
  http: number;
  /** Peer connections at a time. */
  peers: number;
}

/** HTTP/2 and later have no such limit. */
export function limitsFor(protocol: string, cores: number): Limits {
  return { http: /^h[23]/.test(protocol) ? 32 : 4, peers: Math.min(24, Math.max(8, 2 * cores)) };
}

const POOL: Record<Kind, keyof Limits | null> = {
  livekit: 'peers', whep: 'peers', 'll-hls': 'http', mjpeg: 'http', snapshot: null,
};

/** A camera that changes transports holds two for a moment: this many may do so at a time. */
const CHANGING = 1;

export class Budget {
  #limits: Limits;
  #held = new Map<string, { camera: string; pool: keyof Limits }>();

  constructor(limits: Limits) {
    this.#limits = limits;
  }

  /** Whether `kind` may start for `camera`; if so it is held until `release`. */
  take(camera: string, kind: Kind): boolean {
    const pool = POOL[kind];
    if (pool === null) return true;
    const held = [...this.#held.values()].filter((each) => each.pool === pool);
    const changing = held.some((each) => each.camera === camera);
    if (held.length >= this.#limits[pool] + (changing ? CHANGING : 0)) return false;
    this.#held.set(`${camera}\n${kind}`, { camera, pool });
    return true;
  }

  release(camera: string, kind: Kind): void {
    this.#held.delete(`${camera}\n${kind}`);
  }
}
