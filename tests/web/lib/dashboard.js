// The dashboard in a browser, as tests see it: by what it says of itself in data attributes, with a
// record of everything that was on screen and when.

import { waitFor } from './processes.js';

/**
 * @typedef {'livekit' | 'whep' | 'll-hls' | 'mjpeg' | 'snapshot' | 'none'} Transport
 * @typedef {{ transport: Transport, state: string, latencyMs: number | undefined, frames: number }} Look
 * @typedef {{ camera: string, at: number, transport: Transport, state: string, frames: number }} Moment
 *   at: milliseconds since 1970
 */

/** Transports by their paths, for `Proxy.fail`. */
export const PATHS = {
  whep: /\/whep(\/|$|\?)/,
  'll-hls': /^\/hls\//,
  mjpeg: /stream\.mjpg/,
  snapshot: /snapshot\.jpg/,
};

/**
 * Runs in the page before anything else: writes down what each picture says of itself whenever that
 * changes, how far the layout shifted, and which policy was broken.
 */
function record() {
  const kept = 5000;
  const notes = { moments: /** @type {object[]} */ ([]), shift: 0, shifts: /** @type {string[]} */ ([]), blocked: /** @type {string[]} */ ([]) };
  Object.assign(window, { notes });
  const look = (/** @type {HTMLElement} */ element) => {
    const { camera, transport, state, frames } = element.dataset;
    notes.moments.push({ camera, at: performance.timeOrigin + performance.now(), transport, state, frames: Number(frames) });
    if (notes.moments.length > kept) notes.moments.shift();
  };
  new MutationObserver((changes) => {
    const seen = new Set();
    for (const { target } of changes) {
      if (target instanceof HTMLElement && target.dataset.camera !== undefined) seen.add(target);
    }
    seen.forEach(look);
  }).observe(document, { subtree: true, attributes: true, attributeFilter: ['data-transport', 'data-state', 'data-frames'] });
  new PerformanceObserver((list) => {
    for (const entry of /** @type {any[]} */ (list.getEntries())) {
      if (entry.hadRecentInput) continue;
      notes.shift += entry.value;
      for (const { node } of entry.sources) notes.shifts.push(`${entry.value.toFixed(4)} ${node?.outerHTML?.slice(0, 120)}`);
    }
  }).observe({ type: 'layout-shift', buffered: true });
  document.addEventListener('securitypolicyviolation', (event) => {
    notes.blocked.push(`${event.violatedDirective}: ${event.blockedURI}`);
  });
}

export class Dashboard {
  /** What went wrong in the page by itself. @type {string[]} */
  errors = [];
  /** What the console said, failed requests included, which tests make on purpose. @type {string[]} */
  console = [];
  /** Every address asked for. @type {string[]} */
  requests = [];

  /** @param {import('playwright-core').Page} page */
  constructor(page) {
    this.page = page;
    page.on('console', (message) => {
      if (message.type() === 'error') this.console.push(`${message.text()} (${message.location().url})`);
    });
    page.on('pageerror', (error) => this.errors.push(String(error)));
    page.on('request', (request) => this.requests.push(request.url()));
    page.on('websocket', (socket) => this.requests.push(socket.url()));
  }

  /**
   * @param {import('playwright-core').Browser} browser
   * @param {string} url of the page; `#/camera/cam` shows one camera
   * @param {import('playwright-core').BrowserContextOptions} [options]
   */
  static async open(browser, url, options = {}) {
    const context = await browser.newContext({ viewport: { width: 1280, height: 800 }, ...options });
    const page = await context.newPage();
    const dashboard = new Dashboard(page);
    await page.addInitScript(record);
    await page.goto(url, { waitUntil: 'domcontentloaded' });
    return dashboard;
  }

  async close() {
    await this.page.context().close();
  }

  /** @param {string} camera */
  picture(camera) {
    return this.page.locator(`[data-camera="${camera}"]`);
  }

  /**
   * What a picture says of itself now; undefined while it is not on the page.
   * @param {string} camera
   * @returns {Promise<Look | undefined>}
   */
  look(camera) {
    return this.page.evaluate((id) => {
      const element = /** @type {HTMLElement | null} */ (document.querySelector(`[data-camera="${id}"]`));
      if (element === null) return undefined;
      const { transport, state, latencyMs, frames } = element.dataset;
      return /** @type {any} */ ({ transport, state, latencyMs: latencyMs ? Number(latencyMs) : undefined, frames: Number(frames) });
    }, camera);
  }

  /**
   * Waits until the camera is on screen by this transport, or one of these, and pictures of it have come;
   * returns when the first of them did, in milliseconds since 1970.
   * @param {string} camera
   * @param {Transport | Transport[]} transport
   * @param {{ ms: number, since?: number }} options since: only what was on screen after this counts
   * @returns {Promise<number>}
   */
  async waitFor(camera, transport, { ms, since = Date.now() }) {
    const wanted = [transport].flat();
    try {
      return await waitFor(`${camera} by ${wanted.join(' or ')}`, ms, async () => {
        const moments = (await this.moments(camera)).filter((moment) => moment.at >= since);
        // `frames` counts what was painted: one more than at the change is a picture of this transport.
        let changed = -1;
        for (const moment of moments) {
          const live = wanted.includes(moment.transport) && moment.state === 'live';
          if (!live) changed = -1;
          else if (changed < 0) changed = moment.frames;
          else if (moment.frames > changed) return moment.at;
        }
        return undefined;
      });
    } catch (error) {
      throw new Error(`${error instanceof Error ? error.message : error}\n${await this.story(camera)}`, { cause: error });
    }
  }

  /**
   * Waits until a picture says that it is in this state.
   * @param {string} camera
   * @param {string} state
   * @param {number} ms
   */
  async waitState(camera, state, ms) {
    const began = Date.now();
    await waitFor(`${camera} is ${state}`, ms, async () => ((await this.look(camera))?.state === state ? true : undefined))
      .catch(async (error) => { throw new Error(`${error.message}\n${await this.story(camera)}`, { cause: error }); });
    return Date.now() - began;
  }

  /**
   * @param {string} camera
   * @returns {Promise<Moment[]>}
   */
  moments(camera) {
    return this.page.evaluate(
      (id) => /** @type {any} */ (window).notes.moments.filter((/** @type {any} */ moment) => moment.camera === id), camera);
  }

  /**
   * The longest time without a new picture between two moments, in milliseconds.
   * @param {string} camera
   * @param {number} from
   * @param {number} [to]
   */
  async longestGap(camera, from, to = Date.now()) {
    let [last, frames, gap] = [from, -1, 0];
    for (const moment of await this.moments(camera)) {
      if (moment.at < from || moment.at > to || moment.frames === frames) continue;
      gap = Math.max(gap, moment.at - last);
      [last, frames] = [moment.at, moment.frames];
    }
    return Math.max(gap, to - last);
  }

  /**
   * What was on screen, one line a change.
   * @param {string} camera
   */
  async story(camera) {
    const moments = await this.moments(camera);
    const lines = [];
    let before = '';
    for (const { at, transport, state, frames } of moments) {
      const now = `${transport} ${state}`;
      if (now !== before) lines.push(`${new Date(at).toISOString().slice(11, 23)} ${now}, ${frames} pictures`);
      before = now;
    }
    return lines.slice(-30).join('\n');
  }

  /** How far the layout shifted without being asked to, and what did. */
  async layoutShift() {
    const { shift, shifts } = await this.page.evaluate(() => /** @type {any} */ (window).notes);
    return { shift: /** @type {number} */ (shift), shifts: /** @type {string[]} */ (shifts) };
  }

  /** What the content security policy kept from loading. @returns {Promise<string[]>} */
  blocked() {
    return this.page.evaluate(() => /** @type {any} */ (window).notes.blocked);
  }

  /**
   * What is on screen, moving or not: the brightness of the middle of the picture tells black from live.
   * @param {string} camera
   */
  screenshot(camera) {
    return this.picture(camera).screenshot({ timeout: 10_000 });
  }
}
