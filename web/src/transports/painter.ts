// Paints JPEGs on a canvas: decoded off the main thread, one at a time; what comes meanwhile is skipped but for the newest.

export class Painter {
  readonly element = document.createElement('canvas');
  #context = this.element.getContext('bitmaprenderer');
  #busy = false;
  #waiting: { blob: Blob; done: (size: { width: number; height: number }) => void } | null = null;
  #over = false;
  #broken: (error: unknown) => void;

  constructor(broken: (error: unknown) => void) {
    this.element.setAttribute('aria-hidden', 'true');
    this.#broken = broken;
  }

  /** Calls `done` once it is on the canvas. */
  paint(blob: Blob, done: (size: { width: number; height: number }) => void): void {
    if (this.#over) return;
    this.#waiting = { blob, done };
    if (!this.#busy) void this.#work();
  }

  async #work(): Promise<void> {
    this.#busy = true;
    while (this.#waiting !== null && !this.#over) {
      const { blob, done } = this.#waiting;
      this.#waiting = null;
      try {
        const bitmap = await createImageBitmap(blob);
        const size = { width: bitmap.width, height: bitmap.height };
        if (this.#stopped()) {
          bitmap.close();
          break;
        }
        if (this.element.width !== size.width || this.element.height !== size.height) Object.assign(this.element, size);
        this.#context?.transferFromImageBitmap(bitmap);
        done(size);
      } catch (error) {
        // One torn picture is skipped; a stream of them gives no frames, and the chain sees that.
        this.#broken(error);
      }
    }
    this.#busy = false;
  }

  #stopped(): boolean {
    return this.#over;
  }

  stop(): void {
    this.#over = true;
    this.#waiting = null;
  }
}
