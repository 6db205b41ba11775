// How the dashboard loads from the real service: small, from nowhere else, below any path, in anybody's
// frame, without jumping, and gone without a trace.

import assert from 'node:assert/strict';
import { readdir } from 'node:fs/promises';
import { createServer } from 'node:http';
import { after, before, describe, test } from 'node:test';

import { Dashboard } from '../lib/dashboard.js';
import { startHouse } from '../lib/house.js';
import { waitFor } from '../lib/processes.js';
import { startProxy } from '../lib/proxy.js';

/** Bytes on the wire of the page without what loads only when it is used. */
const FIRST_LOAD = 250_000;
const LAZY = /\/assets\/(livekit|hls)/;
const PICTURE_MS = 10_000;

/** @param {import('node:net').AddressInfo | string | null} address */
const portOf = (address) => (typeof address === 'object' && address ? address.port : 0);

describe('the dashboard', () => {
  /** @type {Awaited<ReturnType<typeof startHouse>>} */ let house;
  before(async () => { house = await startHouse(); });
  after(() => house?.stop());

  /** @param {Dashboard} page @param {string} id @param {number} [ms] */
  const live = (page, id, ms = PICTURE_MS) => page.waitState(id, 'live', ms);

  test('loads in less than 250 kB, from nowhere else, and breaks no rule of its own', async () => {
    const proxy = await startProxy(house.url);
    const page = await Dashboard.open(house.browser, proxy.url);
    await live(page, 'cam');
    await live(page, 'test');
    const files = proxy.exchanges.filter(({ path }) => path === '/' || path.startsWith('/assets/') || path === '/icon.svg');
    assert.ok(files.length >= 3, `the page has a script and a style: ${files.map(({ path }) => path).join(' ')}`);
    const first = files.filter(({ path }) => !LAZY.test(path));
    const bytes = first.reduce((sum, file) => sum + file.bytes, 0);
    console.log(`first load: ${bytes} bytes in ${first.length} files; later: ${files.filter(({ path }) => LAZY.test(path))
      .map(({ path, bytes: size }) => `${path} ${size}`).join(', ') || 'nothing'}`);
    assert.ok(bytes <= FIRST_LOAD, `${bytes} bytes: ${first.map(({ path, bytes: size }) => `${path} ${size}`).join(', ')}`);
    const elsewhere = page.requests.filter((url) => !url.startsWith(proxy.url) && !/^(blob|data):/.test(url));
    assert.deepEqual(elsewhere, []);
    assert.deepEqual(await page.blocked(), [], 'the content security policy forbade something');
    assert.deepEqual([...page.errors, ...page.console], []);
    // The second visit fetches the page's own files from the cache.
    proxy.exchanges.length = 0;
    await page.page.reload({ waitUntil: 'domcontentloaded' });
    await live(page, 'cam');
    const again = proxy.exchanges.filter(({ path }) => path.startsWith('/assets/') && !LAZY.test(path));
    assert.deepEqual(again.map(({ path }) => path), []);
    assert.equal(proxy.exchanges.find(({ path }) => path === '/')?.status, 304);
    await page.close();
    await proxy.stop();
  });

  test('works below a path of another server', async () => {
    const proxy = await startProxy(house.url, { prefix: '/secure' });
    const page = await Dashboard.open(house.browser, proxy.url);
    await live(page, 'cam');
    await page.picture('cam').click();
    await page.page.getByRole('button', { name: 'Snapshot', exact: true }).waitFor({ timeout: 5000 });
    await live(page, 'cam');
    const outside = page.requests.filter((url) => !url.startsWith(proxy.url) && !/^(blob|data):/.test(url));
    assert.deepEqual(outside, []);
    // A session that the service has ended already when the page says good-bye to it is not found.
    const problems = page.console.filter((line) => !/404 .*\/whep\/[0-9a-f]+\)$/.test(line));
    const links = await page.page.locator('main a[href]').evaluateAll(
      (all) => all.map((a) => /** @type {HTMLAnchorElement} */ (/** @type {unknown} */ (a)).href));
    assert.ok(links.some((link) => link.endsWith('/stream.mjpg')), links.join(' '));
    for (const link of links) assert.ok(link.startsWith(proxy.url), link);
    assert.deepEqual([...page.errors, ...problems], []);
    await page.close();
    await proxy.stop();
  });

  test('may be framed by a page of somebody else', async () => {
    const host = createServer((_, response) => {
      response.setHeader('Content-Type', 'text/html').end(`<iframe src="${house.url}/" width="600" height="400"></iframe>`);
    });
    await new Promise((resolve) => host.listen(0, '127.0.0.1', () => resolve(undefined)));
    const context = await house.browser.newContext();
    const page = await context.newPage();
    await page.goto(`http://localhost:${portOf(host.address())}/`, { waitUntil: 'domcontentloaded' });
    const picture = page.frameLocator('iframe').locator('[data-camera="cam"][data-state="live"]');
    await picture.waitFor({ timeout: PICTURE_MS });
    await context.close();
    host.closeAllConnections();
    host.close();
  });

  test('does not jump while it loads and while pictures come', async () => {
    for (const [viewport, hash] of /** @type {const} */ ([
      [{ width: 390, height: 844 }, ''], [{ width: 1440, height: 900 }, ''], [{ width: 1440, height: 900 }, '#/camera/cam'],
      [{ width: 390, height: 844 }, '#/camera/cam'],
    ])) {
      const page = await Dashboard.open(house.browser, `${house.url}/${hash}`, { viewport });
      const since = Date.now();
      await live(page, 'cam');
      await waitFor('two seconds of pictures', 20_000, async () =>
        (await page.moments('cam')).some(({ at, frames }) => at > since + 2000 && frames > 10) || undefined);
      const { shift, shifts } = await page.layoutShift();
      console.log(`layout shift at ${viewport.width} px${hash && `, ${hash}`}: ${shift.toFixed(4)}`);
      assert.ok(shift < 0.02, `${viewport.width} px ${hash}: ${shift}: ${shifts.join('; ')}`);
      await page.close();
    }
  });

  test('pages that are closed leave nothing in the service', async () => {
    const descriptors = async () => (await readdir(`/proc/${house.service.process.child.pid}/fd`)).length;
    // Nobody watches, and what was encoded for those who did has ended.
    /** @type {unknown} */
    let left;
    const quiet = async () => {
      const answer = await (await fetch(`${house.url}/api/cameras`)).json();
      left = answer.cameras.map((/** @type {any} */ each) => [
        each.id, each.viewers, ...['jpeg', 'h264', 'realtime'].map((outlet) => [outlet, each[outlet].demand]),
      ]);
      return answer.cameras.every((/** @type {any} */ each) => each.viewers.mjpeg === 0 && each.viewers.webrtc === 0
        && ['jpeg', 'h264', 'realtime'].every((outlet) => each[outlet].demand === 0));
    };
    /** @type {number[]} */
    const counts = [];
    for (let round = 0; round < 2; round += 1) {
      const pages = await Promise.all([1, 2, 3].map(() => Dashboard.open(house.browser, house.url)));
      for (const page of pages) await live(page, 'cam');
      await Promise.all(pages.map((page) => page.close()));
      // HLS goes on for half a minute after its last request.
      await waitFor('nobody watches', 60_000, async () => ((await quiet()) ? true : undefined))
        .catch((error) => { throw new Error(`${error.message}: ${JSON.stringify(left)}`); });
      // Connections that are kept for the next request of a browser that is gone.
      let now = 0;
      await waitFor('descriptors are given back', 40_000, async () => {
        now = await descriptors();
        return counts.length === 0 || now <= counts[0] + 2 || undefined;
      }).catch(() => undefined);
      counts.push(now);
    }
    console.log(`descriptors after each round of three pages: ${counts.join(', ')}`);
    assert.ok(counts[1] <= counts[0] + 2, counts.join(', '));
  });
});
