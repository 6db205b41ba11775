// The picture's place on the page: transports' elements stacked, the shown one on top once it has painted, and under all of them a
// still of the last picture, so that nothing ever turns black.

export class Stage {
  readonly root: HTMLElement;
  #still = document.createElement('canvas');
  #shown: HTMLElement | null = null;

  constructor(root: HTMLElement) {
    this.root = root;
    this.#still.className = 'layer still';
    this.#still.setAttribute('aria-hidden', 'true');
    this.#still.hidden = true;
    root.append(this.#still);
  }

  /** Beneath what is on screen, but painted like it: covered video keeps its frames. */
  add(element: HTMLElement): void {
    element.classList.add('layer');
    this.root.append(element);
    this.#order();
  }

  show(element: HTMLElement): void {
    this.#shown = element;
    this.#order();
  }

  /** The shown one leaves a still. */
  remove(element: HTMLElement): void {
    if (element === this.#shown) {
      this.#freeze(element);
      this.#shown = null;
    }
    element.remove();
  }

  /** The video that is on screen, for picture in picture. */
  get video(): HTMLVideoElement | null {
    return this.#shown instanceof HTMLVideoElement ? this.#shown : null;
  }

  clear(): void {
    this.root.replaceChildren();
  }

  #order(): void {
    for (const layer of this.root.children) layer.classList.toggle('shown', layer === this.#shown);
  }

  #freeze(element: HTMLElement): void {
    const size = element instanceof HTMLVideoElement ? { width: element.videoWidth, height: element.videoHeight }
      : element instanceof HTMLCanvasElement ? { width: element.width, height: element.height } : null;
    if (size === null || size.width === 0) return;
    Object.assign(this.#still, size);
    const context = this.#still.getContext('2d');
    context?.drawImage(element as HTMLVideoElement | HTMLCanvasElement, 0, 0);
    this.#still.hidden = false;
  }
}
