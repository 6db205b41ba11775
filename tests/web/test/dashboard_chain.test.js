// The chain of transports in the dashboard, each step down and up, against the real service: WHEP, low
// latency HLS, MJPEG, single pictures. A proxy and a UDP relay between them fail on order. How long each
// step takes until pictures come is measured in the page.

import assert from 'node:assert/strict';
import { createSocket } from 'node:dgram';
import { after, afterEach, before, describe, test } from 'node:test';

import { percentile, startBrowser } from '../lib/browser.js';
import { Dashboard, PATHS } from '../lib/dashboard.js';
import { startCamera, startService, waitFor } from '../lib/processes.js';
import { startProxy } from '../lib/proxy.js';
import { startUdpRelay } from '../lib/relay.js';

/** From what is broken to pictures of the next transport. */
const DOWN_MS = 3000;
/** From what is mended to pictures of WebRTC. */
const UP_MS = 5000;
/** Within this every test comes to its end, whatever the machine is busy with; what counts is asserted apart. */
const PATIENCE_MS = 40_000;

/** A UDP port that is free now. @returns {Promise<number>} */
function freeUdpPort() {
  return new Promise((resolve, reject) => {
    const socket = createSocket('udp4');
    socket.once('error', reject);
    socket.bind(0, '127.0.0.1', () => {
      const { port } = socket.address();
      socket.close(() => resolve(port));
    });
  });
}

/** @typedef {import('../lib/dashboard.js').Transport} Transport */

describe('the chain of the dashboard', () => {
  /** @type {import('playwright-core').Browser} */ let browser;
  /** @type {Awaited<ReturnType<typeof startCamera>>} */ let camera;
  /** @type {Awaited<ReturnType<typeof startService>>} */ let service;
  /** @type {Awaited<ReturnType<typeof startProxy>>} */ let proxy;
  /** @type {Awaited<ReturnType<typeof startUdpRelay>>} */ let relay;
  /** @type {Dashboard | undefined} */ let page;
  before(async () => {
    browser = await startBrowser();
    // Without B-frames: passed through, also to WebRTC.
    camera = await startCamera(['--test-pattern', '640x360@25', '--gop', '1']);
    const media = await freeUdpPort();
    relay = await startUdpRelay(media);
    service = await startService([
      'name = "Front door"', `source = { type = "rtsp", url = "${camera.url}" }`,
      '[webrtc]', `port = ${media}`, `public_addresses = ["127.0.0.1:${relay.port}"]`,
    ].join('\n'));
    proxy = await startProxy(service.url);
    // As for a viewer from elsewhere: the public address is the only one that can be reached.
    const elsewhere = new RegExp(`^a=candidate:.* (?!${relay.port} )\\d+ typ .*\\r\\n`, 'gm');
    proxy.edit = { path: PATHS.whep, change: (sdp) => sdp.replace(elsewhere, '') };
  });
  afterEach(async () => {
    await page?.close();
    page = undefined;
    proxy.heal();
    relay.shut = false;
  });
  after(async () => {
    await browser?.close();
    await proxy?.stop();
    await service?.stop();
    await relay?.stop();
    await camera?.stop();
  });

  /** @param {string} [query] */
  const open = async (query = '') => {
    page = await Dashboard.open(browser, `${proxy.url}${query}#/camera/cam`);
    return page;
  };
  /**
   * Breaks or mends something, and measures how long until pictures of this transport come.
   * @param {Dashboard} page
   * @param {string} what
   * @param {Transport} transport
   * @param {() => void} change
   */
  const step = async (page, what, transport, change) => {
    const since = Date.now();
    change();
    const took = Math.round((await page.waitFor('cam', transport, { ms: PATIENCE_MS, since })) - since);
    console.log(`${what}: ${transport} after ${took} ms`);
    return took;
  };
  /**
   * Breaks something. Any of the transports below may be the quickest to have a picture; the best of them
   * is on screen in the end. How long until there was a picture again, and how long there was none.
   * @param {Dashboard} page
   * @param {string} what
   * @param {Transport[]} below best first
   * @param {() => void} change
   */
  const fall = async (page, what, below, change) => {
    const since = Date.now();
    change();
    const first = await page.waitFor('cam', below, { ms: PATIENCE_MS, since });
    const best = await page.waitFor('cam', below[0], { ms: PATIENCE_MS, since });
    const dark = Math.round(await page.longestGap('cam', since, first));
    const took = Math.round(first - since);
    console.log(`${what}: a picture after ${took} ms, none for ${dark} ms; ${below[0]} after ${Math.round(best - since)} ms`);
    return { took, dark };
  };

  test('when one after the other breaks there is always a picture, and WebRTC is back when all is mended', async () => {
    const page = await open();
    const began = Date.now();
    const first = await page.waitFor('cam', 'whep', { ms: PATIENCE_MS, since: 0 });
    console.log(`opened: whep after ${Math.round(first - began)} ms`);
    assert.ok(relay.passed > 0, 'the pictures go through the relay');
    await fall(page, 'UDP blocked', ['ll-hls', 'mjpeg', 'snapshot'], () => { relay.shut = true; });
    for (const { took } of [
      await fall(page, 'HLS broken', ['mjpeg', 'snapshot'], () => proxy.fail('hls', PATHS['ll-hls'])),
      await fall(page, 'MJPEG broken', ['snapshot'], () => proxy.fail('mjpeg', PATHS.mjpeg)),
    ]) assert.ok(took <= DOWN_MS, `${took} ms\n${await page.story('cam')}`);
    const mended = Date.now();
    const up = await step(page, 'everything mended', 'whep', () => {
      proxy.heal();
      relay.shut = false;
    });
    const gap = await page.longestGap('cam', mended);
    console.log(`longest time without a new picture on the way up: ${Math.round(gap)} ms`);
    assert.ok(up <= UP_MS, `${up} ms\n${await page.story('cam')}`);
    assert.ok(gap <= 2500, `${gap} ms without a picture`);
    assert.deepEqual(page.errors, []);
  });

  test('a firewall that lets no UDP through is gone round in three seconds, and WebRTC is back in five', async () => {
    const page = await open();
    await page.waitFor('cam', 'whep', { ms: PATIENCE_MS, since: 0 });
    /** @type {number[]} */ const down = [];
    /** @type {number[]} */ const up = [];
    // Three times, and the middle one counts: what is below starts cold, and the machine may be busy.
    for (let round = 0; round < 3; round += 1) {
      down.push((await fall(page, 'UDP blocked', ['ll-hls', 'mjpeg', 'snapshot'], () => { relay.shut = true; })).took);
      up.push(await step(page, 'UDP open', 'whep', () => { relay.shut = false; }));
    }
    assert.ok(percentile(down, 50) <= DOWN_MS, `${down.join(', ')} ms down\n${await page.story('cam')}`);
    assert.ok(percentile(up, 50) <= UP_MS, `${up.join(', ')} ms up\n${await page.story('cam')}`);
  });

  test('a service that cannot be asked for WebRTC is asked again, ever less often', async () => {
    const page = await open();
    await page.waitFor('cam', 'whep', { ms: PATIENCE_MS, since: 0 });
    await fall(page, 'WHEP refused and UDP blocked', ['ll-hls', 'mjpeg', 'snapshot'], () => {
      proxy.fail('whep', PATHS.whep, 'error');
      relay.shut = true;
    });
    const asked = () => proxy.exchanges.filter(({ method, path, status }) => method === 'POST' && PATHS.whep.test(path) && status === 502).length;
    await waitFor('three attempts in vain', PATIENCE_MS, () => (asked() >= 3 ? true : undefined));
    const up = await step(page, 'WHEP mended after three attempts', 'whep', () => {
      proxy.heal();
      relay.shut = false;
    });
    // Nothing tells the page that it is mended: it waits for its next attempt, at most 2, 4, 8 s apart.
    assert.ok(up <= 8000 + UP_MS, `${up} ms\n${await page.story('cam')}`);
  });

  test('where UDP was never let through there is a picture by HLS', async () => {
    relay.shut = true;
    const page = await open();
    const began = Date.now();
    const first = await page.waitFor('cam', 'll-hls', { ms: PATIENCE_MS, since: 0 });
    console.log(`opened without UDP: ll-hls after ${Math.round(first - began)} ms`);
    assert.ok(first - began <= UP_MS, await page.story('cam'));
  });

  /** @type {Transport[]} */
  const kinds = ['ll-hls', 'mjpeg', 'snapshot'];
  for (const [from, mode] of /** @type {const} */ ([['ll-hls', 'error'], ['ll-hls', 'hang'], ['mjpeg', 'reset'], ['mjpeg', 'hang']])) {
    test(`${from} that fails by ${mode} gives way to what is below it and comes back`, async () => {
      const page = await open(`?transports=${kinds.slice(kinds.indexOf(from)).join(',')}`);
      await page.waitFor('cam', from, { ms: PATIENCE_MS, since: 0 });
      const below = kinds.slice(kinds.indexOf(from) + 1);
      const { took, dark } = await fall(page, `${from}, ${mode}`, below, () => proxy.fail('it', PATHS[from], mode));
      const mended = Date.now();
      const up = await step(page, `${from} mended`, from, () => proxy.heal('it'));
      const gap = await page.longestGap('cam', mended);
      // A player that hears nothing any more shows what it has in store for a while.
      assert.ok((mode === 'hang' ? dark : took) <= DOWN_MS, `${took} ms, ${dark} ms without a picture\n${await page.story('cam')}`);
      assert.ok(up <= 35_000, `${up} ms up\n${await page.story('cam')}`);
      assert.ok(gap <= 2500, `${gap} ms without a picture on the way up\n${await page.story('cam')}`);
      if (from === 'mjpeg') return;
      // What is not on screen is not fetched.
      await page.page.waitForTimeout(1000);
      assert.deepEqual(proxy.open(PATHS.mjpeg).map(({ path }) => path), []);
    });
  }
});
