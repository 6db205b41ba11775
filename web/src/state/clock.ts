// The server's clock against this machine's, learned from the `now` of its messages. Pure.
//
// A message arrives late by its way, never early: of the newest samples the one with the largest offset is nearest to the truth.

const SAMPLES = 30;

export class ServerClock {
  #samples: number[] = [];

  /** `server` and `local` in ms. A clock that was set makes the old samples worthless. */
  learn(server: number, local: number): void {
    const offset = server - local;
    if (this.#samples.length > 0 && Math.abs(offset - this.offset) > 5000) this.#samples = [];
    this.#samples.push(offset);
    if (this.#samples.length > SAMPLES) this.#samples.shift();
  }

  /** Server's clock minus this machine's, ms. */
  get offset(): number {
    return this.#samples.length === 0 ? 0 : Math.max(...this.#samples);
  }
}
