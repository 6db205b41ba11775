// The page of recordings: what is on disk is on a timeline, plays and is sought while it is being written, is
// downloaded, kept and deleted, by the keyboard as well, and reads well for everybody.

import assert from 'node:assert/strict';
import { readFile } from 'node:fs/promises';
import { createRequire } from 'node:module';
import { after, before, describe, test } from 'node:test';

import { startBrowser } from '../lib/browser.js';
import { Dashboard } from '../lib/dashboard.js';
import { startService, waitFor } from '../lib/processes.js';

const AXE = createRequire(import.meta.url).resolve('axe-core/axe.min.js');
const CAMERA = 'name = "Front door"\nrecord = "continuous"\nsource = { type = "test" }\nresolution = "640x360"\nfps = 15\n'
  + '[camera.h264]\ngop_seconds = 1.0\n[webrtc]\nport = 0\n';

describe('the page of recordings', () => {
  /** @type {import('playwright-core').Browser} */ let browser;
  /** @type {Awaited<ReturnType<typeof startService>>} */ let service;
  before(async () => {
    browser = await startBrowser();
    service = await startService(CAMERA);
    await waitFor('six seconds are on disk', 30_000, async () => ((await recording()).duration_seconds >= 6 ? true : undefined));
  });
  after(async () => {
    await browser?.close();
    await service?.stop();
  });

  const recording = async () => (await fetch(`${service.url}/api/cameras/cam/recording`)).json();

  for (const colorScheme of /** @type {const} */ (['light', 'dark'])) {
    for (const [width, height] of [[390, 844], [1440, 900]]) {
      test(`reads well for everybody, ${colorScheme}, ${width} px`, async () => {
        const page = await Dashboard.open(browser, `${service.url}/#/recordings`, { colorScheme, viewport: { width, height } });
        await page.page.getByRole('button', { name: /^Play Front door/ }).click();
        await page.page.locator('video').waitFor({ timeout: 10_000 });
        const session = await page.page.context().newCDPSession(page.page);
        await session.send('Runtime.evaluate', { expression: await readFile(AXE, 'utf8') });
        const found = await page.page.evaluate(() => /** @type {any} */ (window).axe.run());
        const wrong = found.violations.map((/** @type {any} */ { id, nodes }) =>
          `${id}: ${nodes.map((/** @type {any} */ node) => `${node.html} ${node.failureSummary}`).join('; ')}`);
        assert.deepEqual(wrong, []);
        const wide = await page.page.evaluate(() => document.documentElement.scrollWidth - document.documentElement.clientWidth);
        assert.ok(wide <= 0, `${wide} px wider than the screen`);
        if (process.env.SHOTS !== undefined) await page.page.screenshot({ path: `${process.env.SHOTS}/recordings-${colorScheme}-${width}.png` });
        await page.close();
      });
    }
  }

  test('plays a recording while it is being written, seeks in it, downloads, keeps and deletes it by the keyboard', async () => {
    const page = await Dashboard.open(browser, `${service.url}/#/recordings`);
    const { name } = await recording();
    const row = page.page.locator(`[data-recording="${name}"]`);
    await row.getByRole('button', { name: `Play ${name}` }).press('Enter');
    const at = () => page.page.evaluate(() => {
      const video = document.querySelector('video');
      return video === null ? { time: 0, duration: 0 } : { time: video.currentTime, duration: video.duration };
    });
    await waitFor('it plays', 15_000, async () => ((await at()).time > 1 ? true : undefined));
    const { duration } = await at();
    await waitFor('what can be played grows', 15_000, async () => ((await at()).duration > duration + 1 ? true : undefined));
    // Standing still while it seeks, so that a busy machine does not miss the moment.
    const sought = await page.page.evaluate(() => new Promise((resolve) => {
      const video = document.querySelector('video');
      if (video === null) return resolve(undefined);
      video.addEventListener('seeked', () => resolve(video.currentTime), { once: true });
      video.pause();
      video.currentTime = 0.2;
      return undefined;
    }));
    assert.equal(sought, 0.2);
    await page.page.evaluate(() => document.querySelector('video')?.play());
    await waitFor('it plays from there', 10_000, async () => ((await at()).time > 0.4 ? true : undefined));
    const [download] = await Promise.all([page.page.waitForEvent('download', { timeout: 10_000 }), row.getByRole('link', { name: `Download ${name}` }).press('Enter')]);
    assert.equal(download.suggestedFilename(), name);
    await download.cancel();
    const keep = row.getByRole('button', { name: `Keep ${name}` });
    await keep.press('Enter');
    await waitFor('it is kept', 5000, async () => ((await keep.getAttribute('aria-pressed')) === 'true' ? true : undefined));
    assert.equal((await (await fetch(`${service.url}/api/recordings/${name}`)).json()).kept, true);

    assert.ok(await row.getByRole('button', { name: `Delete ${name}` }).isDisabled(), 'not while it is being written');
    await fetch(`${service.url}/api/cameras/cam/recording`, { method: 'DELETE' });
    const remove = row.getByRole('button', { name: `Delete ${name}` });
    await waitFor('it can be deleted', 10_000, async () => ((await remove.isDisabled()) ? undefined : true));
    await remove.press('Enter');
    await page.page.getByRole('dialog').getByRole('button', { name: 'Delete', exact: true }).press('Enter');
    await row.waitFor({ state: 'detached', timeout: 10_000 });
    assert.equal((await fetch(`${service.url}/files/recordings/${name}`)).status, 404);
    await page.page.getByText('Nothing was recorded on this day.').waitFor({ timeout: 5000 });
    await page.page.keyboard.press('Escape');
    await waitFor('the wall', 5000, async () => (new URL(page.page.url()).hash === '#/' ? true : undefined));
    assert.deepEqual(page.errors, []);
    await page.close();
  });
});
