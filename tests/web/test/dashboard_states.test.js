// What the dashboard says when a camera, the service or the network is gone, and that it comes back by
// itself. Which transport takes over when: dashboard_chain.test.js.

import assert from 'node:assert/strict';
import { after, afterEach, before, describe, test } from 'node:test';

import { Dashboard } from '../lib/dashboard.js';
import { startHouse } from '../lib/house.js';
import { waitFor } from '../lib/processes.js';

const PICTURE_MS = 10_000;

describe('the dashboard says how it is', () => {
  /** @type {Awaited<ReturnType<typeof startHouse>>} */ let house;
  before(async () => { house = await startHouse(); });
  // A test that failed half-way leaves no trouble to the next one.
  afterEach(async () => {
    await house.startCamera();
    await house.startService();
  });
  after(() => house?.stop());

  /** @param {Dashboard} page @param {string} id @param {number} [ms] */
  const live = (page, id, ms = PICTURE_MS) => page.waitState(id, 'live', ms);

  test('says in words that a camera is down and when it is tried again, and shows it when it is back', async () => {
    const page = await Dashboard.open(house.browser, `${house.url}/#/camera/cam`);
    await live(page, 'cam');
    await house.killCamera();
    const killed = Date.now();
    await page.waitState('cam', 'down', 20_000);
    const said = await page.picture('cam').innerText();
    console.log(`camera killed: said after ${Date.now() - killed} ms: ${said.replaceAll('\n', ' | ')}`);
    assert.match(said, /Camera (is down|gives no pictures)/);
    await waitFor('the next attempt is named', 10_000, async () =>
      (/Next try/.test(await page.picture('cam').innerText()) ? true : undefined));
    assert.match(await page.picture('cam').innerText(), /rtsp:\/\/127\.0\.0\.1:\d+\/cam: \S/, 'why');
    assert.equal(await page.page.locator('[role="status"]').filter({ hasText: 'Front door' }).count(), 1, 'screen readers are told');
    await house.startCamera();
    const back = Date.now();
    await live(page, 'cam', 20_000);
    console.log(`camera back: picture after ${Date.now() - back} ms`);
    await page.close();
  });

  test('says that the server is gone, and goes on by itself when it is back', async () => {
    const page = await Dashboard.open(house.browser, house.url);
    await live(page, 'cam');
    await house.service.stop();
    const stopped = Date.now();
    await page.page.getByText(/Server is gone/).first().waitFor({ timeout: 10_000 });
    console.log(`service ended: said after ${Date.now() - stopped} ms`);
    await page.page.getByText(/Next try|Trying now/).first().waitFor({ timeout: 5000 });
    await page.page.getByRole('button', { name: 'Try now' }).waitFor({ timeout: 1000 });
    await house.startService();
    const back = Date.now();
    await live(page, 'cam', 20_000);
    console.log(`service back: picture after ${Date.now() - back} ms`);
    await page.page.getByText(/Server is gone/).first().waitFor({ state: 'hidden', timeout: 5000 });
    assert.deepEqual(page.errors, []);
    await page.close();
  });

  test('a picture is there at once when its tab is looked at again', async () => {
    const page = await Dashboard.open(house.browser, `${house.url}/#/camera/test`);
    await live(page, 'test');
    const session = await page.page.context().newCDPSession(page.page);
    const hidden = () => page.page.evaluate(() => document.visibilityState);
    // Another tab in front of it.
    const other = await page.page.context().newPage();
    await other.goto('about:blank');
    await other.bringToFront();
    await session.send('Emulation.setFocusEmulationEnabled', { enabled: false });
    const really = await waitFor('the tab is hidden', 3000, async () => ((await hidden()) === 'hidden' ? true : undefined)).catch(() => false);
    if (!really) {
      // Headless Chromium shows all tabs: the page is told instead.
      await page.page.evaluate(() => {
        Object.defineProperty(document, 'hidden', { configurable: true, get: () => true });
        Object.defineProperty(document, 'visibilityState', { configurable: true, get: () => 'hidden' });
        document.dispatchEvent(new Event('visibilitychange', { bubbles: true }));
      });
    }
    await new Promise((resolve) => setTimeout(resolve, 8000));
    if (!really) {
      await page.page.evaluate(() => {
        Reflect.deleteProperty(document, 'hidden');
        Reflect.deleteProperty(document, 'visibilityState');
        document.dispatchEvent(new Event('visibilitychange', { bubbles: true }));
      });
    }
    await page.page.bringToFront();
    const shown = Date.now();
    const before = (await page.look('test'))?.frames ?? 0;
    await waitFor('a new picture', 3000, async () => (((await page.look('test'))?.frames ?? 0) > before ? true : undefined));
    console.log(`tab hidden for 8 s (${really ? 'by Chromium' : 'as told'}): a new picture ${Date.now() - shown} ms after it was shown`);
    await page.close();
  });

  test('a frozen tab goes on when it wakes', async () => {
    const page = await Dashboard.open(house.browser, `${house.url}/#/camera/test`);
    await live(page, 'test');
    const session = await page.page.context().newCDPSession(page.page);
    await session.send('Page.setWebLifecycleState', { state: 'frozen' });
    await new Promise((resolve) => setTimeout(resolve, 10_000));
    await session.send('Page.setWebLifecycleState', { state: 'active' });
    const woke = Date.now();
    const before = (await page.look('test'))?.frames ?? 0;
    await waitFor('a new picture', 5000, async () => (((await page.look('test'))?.frames ?? 0) > before ? true : undefined));
    console.log(`tab frozen for 10 s: a new picture ${Date.now() - woke} ms after it woke`);
    await live(page, 'test', 5000);
    await page.close();
  });

  test('comes back when the network does', async () => {
    const page = await Dashboard.open(house.browser, `${house.url}/#/camera/test`);
    await live(page, 'test');
    await page.page.context().setOffline(true);
    // What is open stays open in Chromium's emulation; the service's end of it does not.
    await page.page.getByText(/Server is gone/).first().waitFor({ timeout: 30_000 }).catch(() => undefined);
    await page.page.context().setOffline(false);
    const online = Date.now();
    const before = (await page.look('test'))?.frames ?? 0;
    await waitFor('a new picture', 5000, async () => (((await page.look('test'))?.frames ?? 0) > before ? true : undefined));
    console.log(`offline and back: a new picture after ${Date.now() - online} ms`);
    await page.page.getByText(/Server is gone/).first().waitFor({ state: 'hidden', timeout: 5000 });
    await page.close();
  });
});
