// Debian's Chromium, headless, and the player page in it.

import { chromium } from 'playwright-core';

const CHROMIUM = process.env.CHROMIUM_BIN ?? '/usr/bin/chromium';

/**
 * @param {{ args?: string[] }} [options]
 * @returns {Promise<import('playwright-core').Browser>}
 */
export function startBrowser({ args = [] } = {}) {
  return chromium.launch({
    executablePath: CHROMIUM,
    headless: true,
    args: [
      '--no-sandbox', // the tests may run as root, which Chromium's sandbox refuses
      '--disable-gpu',
      '--disable-quic',
      '--no-first-run',
      '--disable-background-networking',
      '--disable-component-update',
      '--disable-sync',
      '--autoplay-policy=no-user-gesture-required',
      ...args,
    ],
  });
}

/**
 * A page that keeps what went wrong in it.
 * @param {import('playwright-core').Browser} browser
 */
export async function openPage(browser) {
  const page = await browser.newPage({ viewport: { width: 1280, height: 800 } });
  /** @type {string[]} */
  const problems = [];
  page.on('console', (message) => {
    if (message.type() === 'error') problems.push(`${message.text()} (${message.location().url})`);
  });
  page.on('pageerror', (error) => problems.push(String(error)));
  return { page, problems };
}

/**
 * @typedef {object} Played
 * @property {number} frames pictures shown
 * @property {number} seconds played since the first picture
 * @property {number} firstMs from the offer's leaving to the first picture, for viewers of WebRTC
 * @property {number[]} latencies milliseconds from camera to canvas, where the picture has a clock
 * @property {number} unreadable pictures whose clock could not be read
 * @property {number} stalls times it ran dry after it had begun
 * @property {number} frozenMs the longest time without a new picture after it had begun
 * @property {string[]} errors what hls.js or a viewer reported
 */

/**
 * Plays a stream for some seconds, counted from its first picture.
 * @param {import('playwright-core').Page} page
 * @param {string} rig address of the static server
 * @param {{ url: string, seconds: number, kind?: string, hls?: object, settle?: number, startMs?: number }} options
 *   settle: seconds after the first picture whose latencies and stalls do not count
 * @returns {Promise<Played>}
 */
export async function play(page, rig, { url, seconds, kind = 'hls', hls = {}, settle = 0, startMs = 30_000 }) {
  const query = new URLSearchParams({ url, kind, hls: JSON.stringify(hls), settle: String(settle) });
  await page.goto(`${rig}/player.html?${query}`);
  const began = await page
    .waitForFunction(() => /** @type {any} */ (window).rig?.played.frames > 0, undefined, { timeout: startMs })
    .catch(() => undefined);
  if (!began) {
    const seen = await page.evaluate(() => JSON.stringify(/** @type {any} */ (window).rig?.played));
    throw new Error(`${url}: no picture after ${startMs} ms: ${seen}`);
  }
  await page.waitForTimeout((settle + seconds) * 1000);
  const played = await page.evaluate(() => /** @type {any} */ (window).rig.finish());
  await page.goto('about:blank');
  return played;
}

/**
 * The value below which that share of the numbers lies (nearest rank).
 * @param {number[]} numbers
 * @param {number} percent
 */
export function percentile(numbers, percent) {
  const sorted = [...numbers].sort((a, b) => a - b);
  return sorted[Math.max(0, Math.ceil((percent / 100) * sorted.length) - 1)] ?? NaN;
}
