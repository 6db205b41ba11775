// The plain page: a moving picture at once, and nothing wrong in the browser's console. It is what `/` shows
// when the dashboard was not built.

import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';

import { openPage, startBrowser } from '../lib/browser.js';
import { CLIP, startCamera, startService, waitFor } from '../lib/processes.js';

describe('the plain page', () => {
  /** @type {import('playwright-core').Browser} */ let browser;
  /** @type {Awaited<ReturnType<typeof startCamera>>} */ let camera;
  /** @type {Awaited<ReturnType<typeof startService>>} */ let service;
  before(async () => {
    browser = await startBrowser();
    camera = await startCamera(['--file', CLIP]);
    service = await startService(`name = "Front door"\nsource = { type = "rtsp", url = "${camera.url}" }`);
  });
  after(async () => {
    await browser?.close();
    await service?.stop();
    await camera?.stop();
  });

  test('shows a moving picture without errors in the console', async () => {
    const { page, problems } = await openPage(browser);
    // An MJPEG stream never ends, so neither does the load event.
    await page.goto(`${service.url}/plain`, { waitUntil: 'domcontentloaded' });
    const picture = page.locator('img, video').first();
    await picture.waitFor({ state: 'visible', timeout: 10_000 });
    const sized = () => picture.evaluate((element) =>
      element instanceof HTMLVideoElement ? element.videoWidth : /** @type {HTMLImageElement} */ (element).naturalWidth);
    await waitFor('a picture with a size', 15_000, async () => ((await sized()) > 0 ? true : undefined));
    const first = await picture.screenshot({ timeout: 10_000 });
    await waitFor('a picture that moves', 10_000, async () => {
      const next = await picture.screenshot({ timeout: 10_000 });
      return next.equals(first) ? undefined : true;
    });
    assert.deepEqual(problems, []);
    await page.close();
  });

  test('names the camera and links what comes out of it', async () => {
    const { page } = await openPage(browser);
    await page.goto(`${service.url}/plain`, { waitUntil: 'domcontentloaded' });
    await page.getByText('Front door').first().waitFor({ timeout: 10_000 });
    const links = await page.locator('a[href]').evaluateAll((all) => all.map((a) => a.getAttribute('href') ?? ''));
    for (const end of ['stream.mjpg', 'snapshot.jpg', 'stream.m3u8']) {
      assert.ok(links.some((link) => link.endsWith(end)), `no link to ${end} among ${links.join(' ')}`);
    }
    await page.close();
  });
});
