// The temperatures of the last minutes, kept in the page: bounded, a sample each few seconds, gone when the page is. Pure but for its memory.
import type { Printer } from './printers.ts';

export interface Sample {
  /** ms */
  at: number;
  nozzle: number | null;
  bed: number | null;
  chamber: number | null;
}

/** Samples are at least this far apart, ms. */
export const SAMPLE_EVERY = 4000;
/** Of each printer: half an hour. */
export const SAMPLES = 450;

export class Histories {
  #kept = new Map<number, readonly Sample[]>();

  learn(printers: readonly Printer[], at: number): void {
    for (const id of this.#kept.keys()) if (!printers.some((printer) => printer.id === id)) this.#kept.delete(id);
    for (const { id, status } of printers) {
      const kept = this.of(id);
      const last = kept.at(-1);
      if (!status.connected || (last !== undefined && at - last.at < SAMPLE_EVERY && at >= last.at)) continue;
      const sample = { at, nozzle: status.nozzle.now, bed: status.bed.now, chamber: status.chamber.now };
      if (sample.nozzle === null && sample.bed === null) continue;
      this.#kept.set(id, [...kept.slice(-(SAMPLES - 1)), sample]);
    }
  }

  of(id: number): readonly Sample[] {
    return this.#kept.get(id) ?? NONE;
  }
}

const NONE: readonly Sample[] = [];

/** A line of a graph: pieces of points `x,y` in a box, broken where nothing is known. `span` and `top` are what the box holds. Pure. */
export function line(samples: readonly Sample[], key: 'nozzle' | 'bed' | 'chamber', box: { width: number; height: number }, span: number, top: number): string[] {
  const end = samples.at(-1)?.at ?? 0;
  const pieces: string[][] = [[]];
  let before: number | null = null;
  for (const sample of samples) {
    const value = sample[key];
    const gap = before !== null && sample.at - before > 4 * SAMPLE_EVERY;
    before = sample.at;
    if (gap || value === null) pieces.push([]);
    if (value === null) continue;
    const x = box.width - (end - sample.at) / span * box.width;
    const y = box.height - Math.min(1, Math.max(0, value / top)) * box.height;
    if (x >= 0) pieces.at(-1)?.push(`${x.toFixed(1)},${y.toFixed(1)}`);
  }
  return pieces.filter((piece) => piece.length > 1).map((piece) => piece.join(' '));
}
