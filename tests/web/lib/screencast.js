// What Chromium really put on the screen, picture by picture: the proof that nothing turned black while
// one transport gave way to another. Data attributes say what the page believes; this says what was seen.

/**
 * @typedef {object} Seen
 * @property {number} at milliseconds since 1970
 * @property {number} brightness of the middle of the region, 0 black to 255
 * @property {number} print a number that another picture hardly shares
 */

/** Screens kept for `save`; older ones are judged and forgotten. */
const KEPT = 400;

export class Screencast {
  /** @type {Seen[]} */
  seen = [];
  /** @type {{ at: number, data: string }[]} */
  #kept = [];
  /** Judging, one after the other. */
  #judging = Promise.resolve();
  /** @type {unknown} */
  #failure;

  /**
   * @param {import('playwright-core').Page} judge another page, which decodes the screens
   * @param {import('playwright-core').CDPSession} session
   * @param {{ x: number, y: number, width: number, height: number }} region in shares of the screen, 0 to 1
   */
  constructor(judge, session, region) {
    this.judge = judge;
    this.session = session;
    this.region = region;
    session.on('Page.screencastFrame', ({ data, sessionId, metadata }) => {
      const at = (metadata.timestamp ?? Date.now() / 1000) * 1000;
      this.#kept.push({ at, data });
      if (this.#kept.length > KEPT) this.#kept.shift();
      this.#judging = this.#judging.then(() => this.#look(at, data)).catch((error) => { this.#failure ??= error; });
      session.send('Page.screencastFrameAck', { sessionId }).catch(() => undefined);
    });
  }

  /**
   * Records a page from now on.
   * @param {import('playwright-core').Page} page
   * @param {import('playwright-core').Locator} picture whose middle is looked at; it must not move any more
   */
  static async start(page, picture) {
    const box = await picture.boundingBox();
    const size = page.viewportSize();
    if (box === null || size === null) throw new Error('the picture is not on the screen');
    // The middle third: without names, badges and words.
    const region = {
      x: (box.x + box.width / 3) / size.width, y: (box.y + box.height / 3) / size.height,
      width: box.width / 3 / size.width, height: box.height / 3 / size.height,
    };
    const judge = await page.context().newPage();
    await page.bringToFront();
    const session = await page.context().newCDPSession(page);
    const screencast = new Screencast(judge, session, region);
    await session.send('Page.startScreencast', { format: 'jpeg', quality: 50, maxWidth: 640, maxHeight: 400, everyNthFrame: 2 });
    return screencast;
  }

  /**
   * @param {number} at
   * @param {string} data
   */
  async #look(at, data) {
    const [brightness, print] = await this.judge.evaluate(async ([base64, region]) => {
      const bytes = Uint8Array.from(atob(base64), (letter) => letter.charCodeAt(0));
      const screen = await createImageBitmap(new Blob([bytes], { type: 'image/jpeg' }));
      const [width, height] = [16, 8];
      const canvas = new OffscreenCanvas(width, height);
      const brush = /** @type {OffscreenCanvasRenderingContext2D} */ (canvas.getContext('2d', { willReadFrequently: true }));
      brush.drawImage(
        screen, region.x * screen.width, region.y * screen.height, region.width * screen.width, region.height * screen.height,
        0, 0, width, height);
      const { data: pixels } = brush.getImageData(0, 0, width, height);
      let [sum, hash] = [0, 0];
      for (let i = 0; i < pixels.length; i += 4) {
        const luma = 0.2126 * pixels[i] + 0.7152 * pixels[i + 1] + 0.0722 * pixels[i + 2];
        sum += luma;
        hash = (Math.imul(hash, 31) + Math.round(luma / 4)) | 0;
      }
      return [sum / (width * height), hash];
    }, /** @type {const} */ ([data, this.region]));
    this.seen.push({ at, brightness, print });
  }

  /** All that was on the screen so far, judged. */
  async all() {
    await this.#judging;
    if (this.#failure !== undefined) throw this.#failure;
    return this.seen;
  }

  /**
   * How dark it got between two moments, and the longest time that the picture did not move.
   * @param {number} from milliseconds since 1970
   * @param {number} [to]
   */
  async between(from, to = Date.now()) {
    const seen = (await this.all()).filter(({ at }) => at >= from && at <= to);
    let [darkest, frozen, last, print] = [{ at: from, brightness: Infinity }, 0, from, NaN];
    for (const screen of seen) {
      if (screen.brightness < darkest.brightness) darkest = screen;
      if (screen.print === print) continue;
      frozen = Math.max(frozen, screen.at - last);
      [last, print] = [screen.at, screen.print];
    }
    return { screens: seen.length, darkest, frozenMs: Math.max(frozen, to - last) };
  }

  /**
   * The screen nearest to that moment, as JPEG, if it is still kept.
   * @param {number} at
   */
  jpeg(at) {
    const [nearest] = this.#kept.toSorted((a, b) => Math.abs(a.at - at) - Math.abs(b.at - at));
    return nearest && Buffer.from(nearest.data, 'base64');
  }

  async stop() {
    await this.session.send('Page.stopScreencast').catch(() => undefined);
    await this.#judging;
  }
}
