// A network that lets no UDP through: with webrtc.tcp the picture comes by TCP, without it nobody is kept
// waiting for ever.

import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';

import { openPage, play, startBrowser } from '../lib/browser.js';
import { ADDRESS, Trouble, describeIf, enterNamespace, lacks } from '../lib/namespace.js';
import { startCamera, startService, waitFor } from '../lib/processes.js';
import { startStatic } from '../lib/static.js';

const missing = enterNamespace() ?? lacks([['nft', 'nftables']]);

describeIf(missing, 'where UDP is blocked', () => {
  /** @type {import('playwright-core').Browser} */ let browser;
  /** @type {Awaited<ReturnType<typeof startStatic>>} */ let rig;
  /** @type {Awaited<ReturnType<typeof startCamera>>} */ let camera;
  before(async () => {
    // The RTSP camera is asked for TCP.
    new Trouble().blockAllUdp();
    browser = await startBrowser();
    rig = await startStatic();
    camera = await startCamera(['--test-pattern', '640x360@25', '--gop', '2', '--clock-bars']);
  });
  after(async () => {
    await browser?.close();
    await rig?.stop();
    await camera?.stop();
  });

  test('the picture comes by TCP when that is switched on', async () => {
    const service = await startService(`source = { type = "rtsp", url = "${camera.url}" }\n[webrtc]\nport = 0\ntcp = true\n`, { bind: ADDRESS });
    try {
      const { page, problems } = await openPage(browser);
      const playing = play(page, rig.url, { url: `${service.url}/cameras/cam`, kind: 'fluidd', seconds: 4 });
      const viewer = await waitFor('the viewer is live', 25_000, async () => {
        const { viewers } = /** @type {any} */ (await (await fetch(`${service.url}/api/cameras/cam/viewers`)).json());
        return viewers[0]?.state === 'live' ? viewers[0] : undefined;
      });
      assert.match(viewer.candidate, /^tcp 10\.77\.0\.1:/);
      const played = await playing;
      await page.close();
      assert.deepEqual([played.errors, problems], [[], []]);
      assert.ok(played.frames > 50, `${played.frames} pictures`);
    } finally {
      await service.stop();
    }
  });

  test('without TCP the session that never connects is gone in time', async () => {
    const service = await startService(
      `source = { type = "rtsp", url = "${camera.url}" }\n[webrtc]\nport = 0\nconnect_timeout_seconds = 2\n`, { bind: ADDRESS });
    const count = async () => /** @type {any} */ (await (await fetch(`${service.url}/api/cameras/cam/viewers`)).json()).viewers.length;
    try {
      const { page } = await openPage(browser);
      const playing = play(page, rig.url, { url: `${service.url}/cameras/cam`, kind: 'fluidd', seconds: 1, startMs: 8_000 });
      const over = assert.rejects(playing, /no picture/);
      await waitFor('it has a session', 8_000, async () => (await count() === 1 ? true : undefined));
      await waitFor('the session is over', 8_000, async () => (await count() === 0 ? true : undefined));
      await over;
      await page.close();
    } finally {
      await service.stop();
    }
  });
});
