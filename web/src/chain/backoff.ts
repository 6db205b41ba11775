// Waits between attempts: full jitter, random(0, min(30 s, 1 s * 2^n)).

export const BACKOFF_BASE = 1000;
export const BACKOFF_MAX = 30000;

/** `n` failures so far (0 for none), `unit` a random number in [0, 1). Milliseconds. */
export function backoff(n: number, unit: number): number {
  const ceiling = Math.min(BACKOFF_MAX, BACKOFF_BASE * 2 ** Math.min(Math.max(n, 0), 20));
  return Math.floor(Math.min(Math.max(unit, 0), 1) * ceiling);
}
