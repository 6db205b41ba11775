// hls.js in Chromium plays every playlist without a stall, and the pictures are as fresh as they should
// be. The latencies are only bounded here; bench/latency.js measures them.

import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';

import { openPage, percentile, play, startBrowser } from '../lib/browser.js';
import { CLIP, startCamera, startService } from '../lib/processes.js';
import { startStatic } from '../lib/static.js';
import { warmUp } from '../lib/watcher.js';

const SECONDS = 12;
const FPS = 25;
const VARIANTS = [
  { name: 'stream.m3u8', latestMs: 12_000, hls: { lowLatencyMode: false } },
  { name: 'stream_ll.m3u8', latestMs: 4_000, hls: { lowLatencyMode: true, maxLiveSyncPlaybackRate: 1.2 } },
  { name: 'stream_ll_fmp4.m3u8', latestMs: 4_000, hls: { lowLatencyMode: true, maxLiveSyncPlaybackRate: 1.2 } },
];

/** @type {import('playwright-core').Browser} */ let browser;
/** @type {Awaited<ReturnType<typeof startStatic>>} */ let rig;
before(async () => {
  browser = await startBrowser();
  rig = await startStatic();
});
after(async () => {
  await browser?.close();
  await rig?.stop();
});

describe('a camera with a clock in its pictures', () => {
  /** @type {Awaited<ReturnType<typeof startCamera>>} */ let camera;
  /** @type {Awaited<ReturnType<typeof startService>>} */ let service;
  before(async () => {
    camera = await startCamera(['--test-pattern', `640x360@${FPS}`, '--gop', '2', '--clock-bars']);
    service = await startService(`source = { type = "rtsp", url = "${camera.url}" }`);
  });
  after(async () => {
    await service?.stop();
    await camera?.stop();
  });

  for (const { name, latestMs, hls } of VARIANTS) {
    test(`${name} plays without a stall and in time`, async (context) => {
      await warmUp(`${service.url}/hls/cam/${name}`, 4);
      const { page } = await openPage(browser);
      const played = await play(page, rig.url, { url: `${service.url}/hls/cam/${name}`, seconds: SECONDS, settle: 4, hls });
      await page.close();
      const p50 = percentile(played.latencies, 50);
      context.diagnostic(`p50 ${p50} ms, p95 ${percentile(played.latencies, 95)} ms, ${played.frames} pictures`);
      assert.equal(played.stalls, 0, JSON.stringify(played.errors));
      assert.deepEqual(played.errors, []);
      assert.ok(played.frames > 0.8 * FPS * SECONDS, `${played.frames} pictures`);
      assert.ok(played.latencies.length > 0.9 * FPS * SECONDS * 0.8, `${played.unreadable} unreadable`);
      assert.ok(p50 > 0 && p50 < latestMs, `p50 ${p50} ms`);
    });
  }

  test('a viewer who comes first sees a picture within eight seconds', async (context) => {
    const fresh = await startService(`source = { type = "rtsp", url = "${camera.url}" }`);
    try {
      const { page } = await openPage(browser);
      const began = Date.now();
      await play(page, rig.url, { url: `${fresh.url}/hls/cam/stream_ll.m3u8`, seconds: 0, hls: VARIANTS[1].hls });
      const took = Date.now() - began;
      await page.close();
      context.diagnostic(`first picture after ${took} ms`);
      assert.ok(took < 8_000, `${took} ms`);
    } finally {
      await fresh.stop();
    }
  });

  test('stream.mjpg plays in a picture element and in time', async (context) => {
    const { page } = await openPage(browser);
    const played = await play(page, rig.url, { url: `${service.url}/stream.mjpg`, kind: 'mjpeg', seconds: 5, settle: 1 });
    await page.close();
    const p50 = percentile(played.latencies, 50);
    context.diagnostic(`p50 ${p50} ms, ${played.frames} pictures`);
    assert.deepEqual(played.errors, []);
    assert.ok(played.frames > 0.6 * FPS * 5, `${played.frames} pictures`);
    assert.ok(p50 > 0 && p50 < 1_500, `p50 ${p50} ms`);
  });
});

describe('a clip with B-frames', () => {
  /** @type {Awaited<ReturnType<typeof startCamera>>} */ let camera;
  /** @type {Awaited<ReturnType<typeof startService>>} */ let service;
  before(async () => {
    camera = await startCamera(['--file', CLIP]);
    service = await startService(`source = { type = "rtsp", url = "${camera.url}" }`);
  });
  after(async () => {
    await service?.stop();
    await camera?.stop();
  });

  for (const { name, hls } of VARIANTS) {
    test(`${name} plays over the loop of the clip without a stall`, async () => {
      await warmUp(`${service.url}/hls/cam/${name}`, 4);
      const { page } = await openPage(browser);
      // The clip lasts ten seconds.
      const played = await play(page, rig.url, { url: `${service.url}/hls/cam/${name}`, seconds: 12, settle: 4, hls });
      await page.close();
      assert.equal(played.stalls, 0, JSON.stringify(played.errors));
      assert.deepEqual(played.errors, []);
      assert.ok(played.frames > 0.8 * FPS * 12, `${played.frames} pictures`);
    });
  }
});
