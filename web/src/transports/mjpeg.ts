// MJPEG, read by fetch rather than by <img>: so that pictures are counted, their age is known, and stopping closes the connection.
import type { End } from '../chain/machine.ts';
import { boundaryOf, MjpegParser, timestampOf } from './mjpegParser.ts';
import { Painter } from './painter.ts';
import type { Listener, Surroundings, Transport } from './types.ts';
import { words } from './types.ts';
import { refusalOf } from './http.ts';

export class Mjpeg implements Transport {
  readonly kind = 'mjpeg';
  #painter = new Painter(() => undefined);
  readonly element = this.#painter.element;
  #surroundings: Surroundings;
  #path: string;
  #abort = new AbortController();
  #listener: Listener | null = null;
  #age: number | null = null;

  constructor(surroundings: Surroundings, path: string) {
    this.#surroundings = surroundings;
    this.#path = path;
  }

  start(listener: Listener): void {
    this.#listener = listener;
    this.#read().catch((error: unknown) => this.#end({ class: 'failed', message: words(error) }));
  }

  async #read(): Promise<void> {
    const response = await fetch(this.#surroundings.url(this.#path), { signal: this.#abort.signal, cache: 'no-store' });
    if (!response.ok || response.body === null) {
      this.#end(await refusalOf(response));
      return;
    }
    const boundary = boundaryOf(response.headers.get('Content-Type'));
    if (boundary === null) {
      this.#end({ class: 'refused', message: 'the server answered with something other than MJPEG' });
      return;
    }
    const parser = new MjpegParser(boundary);
    const reader = response.body.getReader();
    for (;;) {
      const { done, value } = await reader.read();
      if (done) break;
      // Only the newest of what came together is worth decoding.
      const part = parser.push(value).at(-1);
      if (part === undefined || part.body.length === 0) continue;
      const taken = timestampOf(part.headers.get('x-timestamp'));
      this.#painter.paint(new Blob([part.body], { type: 'image/jpeg' }), (size) => {
        if (taken !== null) {
          const age = Math.max(0, Date.now() + this.#surroundings.clockOffset() - taken);
          this.#age = this.#age === null ? age : this.#age + (age - this.#age) / 8;
        }
        this.#listener?.frame(size);
      });
    }
    this.#end({ class: 'failed', message: 'the server closed the stream' });
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
    this.#abort.abort();
    this.#painter.stop();
  }

  latency(): number | null {
    return this.#age;
  }
}
