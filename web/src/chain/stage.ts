// The picture's place on the page: transports' elements stacked, the shown one on top once it has painted, and under all of them a
// still of the last picture, so that nothing ever turns black.
//
// A video says that it has painted a moment before its first picture is on the screen (in Chromium it gets a surface of its own, which
// has to become active): until then what was shown stays right beneath it, and it is transparent.

/** How long, ms: a few pictures of a slow screen. */
const HANDOVER = 400;

export class Stage {
  readonly root: HTMLElement;
  #still = document.createElement('canvas');
  #shown: HTMLElement | null = null;
  /** What was shown before, while it is still needed. */
  #leaving: HTMLElement | null = null;
  #handover: ReturnType<typeof setTimeout> | undefined;

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
    if (element !== this.#shown) {
      this.#leaving = this.#shown;
      clearTimeout(this.#handover);
      this.#handover = setTimeout(() => this.#handedOver(), HANDOVER);
      this.root.classList.add('handover');
    }
    this.#shown = element;
    this.#order();
  }

  /** The shown one leaves a still, and so does the one before while the new one may not be on the screen yet. */
  remove(element: HTMLElement): void {
    if (element === this.#shown || element === this.#leaving) this.#freeze(element);
    if (element === this.#shown) this.#shown = null;
    if (element === this.#leaving) this.#leaving = null;
    element.remove();
  }

  #handedOver(): void {
    this.#leaving = null;
    this.root.classList.remove('handover');
    this.#order();
  }

  /** The video that is on screen, for picture in picture. */
  get video(): HTMLVideoElement | null {
    return this.#shown instanceof HTMLVideoElement ? this.#shown : null;
  }

  clear(): void {
    clearTimeout(this.#handover);
    this.root.replaceChildren();
  }

  #order(): void {
    for (const layer of this.root.children) {
      layer.classList.toggle('shown', layer === this.#shown);
      layer.classList.toggle('leaving', layer === this.#leaving);
    }
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
