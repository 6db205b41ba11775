// The transports of the chain, best first, with the times that rule each. Used by the whole chain.

export const KINDS = ['livekit', 'whep', 'll-hls', 'mjpeg', 'snapshot'] as const;
export type Kind = (typeof KINDS)[number];

/** Lower is better. */
export const rank = (kind: Kind): number => KINDS.indexOf(kind);

export interface Timing {
  /** First picture by then, when nothing else is on screen, ms. */
  first: number;
  /** The same for an attempt behind a working picture: it may take its time, and while it lasts it sees a network come back. */
  behind: number;
  /** While nothing is on screen, the next transport starts this long after this one, in parallel, ms. */
  stagger: number;
  /** The same when a picture was on screen before and fell silent: then every moment counts. */
  rescue: number;
  /** On screen and without a picture for this long: warm up the next one, ms. */
  warm: number;
  /** Without a picture for this long it does not work, ms. */
  stall: number;
}

export const TIMING: Record<Kind, Timing> = {
  livekit: { first: 6000, behind: 12000, stagger: 1500, rescue: 600, warm: 1000, stall: 3000 },
  // The server gives an attempt 15 s; candidates are checked all that time.
  whep: { first: 4000, behind: 13000, stagger: 1000, rescue: 600, warm: 1000, stall: 3000 },
  'll-hls': { first: 6000, behind: 10000, stagger: 1300, rescue: 900, warm: 1200, stall: 3500 },
  mjpeg: { first: 4000, behind: 6000, stagger: 1000, rescue: 700, warm: 1200, stall: 3000 },
  // One picture a second.
  snapshot: { first: 5000, behind: 5000, stagger: 2500, rescue: 1500, warm: 3500, stall: 5000 },
};

/** A better transport takes over after pictures without a gap for this long, ms. */
export const STEADY = 2000;
/** One that keeps falling over must hold longer each time, up to this, ms. */
export const STEADY_MAX = 16000;
/** Falls within `FALLS_WINDOW` that are forgiven before that. */
export const FALLS_FORGIVEN = 3;
export const FALLS_WINDOW = 60000;
/** On screen without a gap for this long: the back-off starts anew, ms. */
export const PROVEN = 30000;
/** Time between ticks that means the machine slept, ms. */
export const SLEPT = 4000;
/** After a hint every viewer wakes at once: spread them over this, ms. */
export const SPREAD = 300;
/** A hidden page gives its connections back after this, ms. */
export const HIDDEN_MAX = 60000;
