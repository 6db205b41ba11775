// Snapshots, one a second: the last resort, which works wherever a picture can be fetched at all.
import type { End } from '../chain/machine.ts';
import { refusalOf } from './http.ts';
import { timestampOf } from './mjpegParser.ts';
import { Painter } from './painter.ts';
import type { Listener, Surroundings, Transport } from './types.ts';
import { words } from './types.ts';

const INTERVAL = 1000;
const TIMEOUT = 4000;

export class Snapshot implements Transport {
  readonly kind = 'snapshot';
  #painter = new Painter(() => undefined);
  readonly element = this.#painter.element;
  #surroundings: Surroundings;
  #path: string;
  #abort = new AbortController();
  #timer: ReturnType<typeof setTimeout> | undefined;
  #listener: Listener | null = null;
  #age: number | null = null;

  constructor(surroundings: Surroundings, path: string) {
    this.#surroundings = surroundings;
    this.#path = path;
  }

  start(listener: Listener): void {
    this.#listener = listener;
    this.#poll();
  }

  #poll(): void {
    const begun = performance.now();
    this.#fetch().then(() => {
      if (this.#listener === null) return;
      this.#timer = setTimeout(() => this.#poll(), Math.max(100, INTERVAL - (performance.now() - begun)));
    }, (error: unknown) => this.#end({ class: 'failed', message: words(error) }));
  }

  async #fetch(): Promise<void> {
    const signal = AbortSignal.any([this.#abort.signal, AbortSignal.timeout(TIMEOUT)]);
    const response = await fetch(this.#surroundings.url(this.#path), { signal, cache: 'no-store' });
    if (!response.ok) {
      this.#end(await refusalOf(response));
      return;
    }
    const taken = timestampOf(response.headers.get('X-Timestamp'));
    this.#painter.paint(await response.blob(), (size) => {
      this.#age = taken === null ? null : Math.max(0, Date.now() + this.#surroundings.clockOffset() - taken);
      this.#listener?.frame(size);
    });
  }

  #end(end: End): void {
    const listener = this.#listener;
    if (listener === null) return;
    // Told first: the last picture is kept as a still before the element loses it.
    listener.ended(end);
    this.stop();
  }

  stop(): void {
    this.#listener = null;
    clearTimeout(this.#timer);
    this.#abort.abort();
    this.#painter.stop();
  }

  latency(): number | null {
    return this.#age;
  }
}
