// Chromium shows the camera by WebRTC, signalled in each way that viewers in the wild have, from where they
// are: other origins, behind a proxy, with and without mDNS, by IPv6.

import assert from 'node:assert/strict';
import { createServer, request } from 'node:http';
import { after, before, describe, test } from 'node:test';

import { openPage, percentile, play, startBrowser } from '../lib/browser.js';
import { CLIP, startCamera, startService, waitFor } from '../lib/processes.js';
import { startStatic } from '../lib/static.js';

const FPS = 25;
const SECONDS = 3;
/** A free media port: other services may run on this machine. */
const FREE = '[webrtc]\nport = 0\n';
const CLOCK = ['--test-pattern', `640x360@${FPS}`, '--gop', '2', '--clock-bars'];

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

/** @param {string} service @param {string} [camera] */
async function viewersOf(service, camera = 'cam') {
  const answer = await fetch(`${service}/api/cameras/${camera}/viewers`);
  return /** @type {{ viewers: any[] }} */ (await answer.json()).viewers;
}

/**
 * Plays and judges; the viewer must be gone afterwards.
 * @param {{ service: string, url: string, kind: string, in?: import('playwright-core').Browser, fps?: number, clock?: boolean, excused?: RegExp }} options
 *   excused: what may be written to the page's console
 */
async function watch({ service, url, kind, in: where = browser, fps = FPS, clock = true, excused }) {
  const { page, problems } = await openPage(where);
  const playing = play(page, rig.url, { url, kind, seconds: SECONDS, settle: 1 });
  const listed = waitFor(`${kind} is listed as live`, 20_000, async () => {
    const [viewer] = await viewersOf(service);
    return viewer?.state === 'live' && viewer.packets > 0 ? viewer : undefined;
  });
  const [played, viewer] = await Promise.all([playing, listed.catch((error) => String(error))]);
  await page.close();
  assert.deepEqual(played.errors, [], kind);
  assert.deepEqual(problems.filter((problem) => !excused?.test(problem)), [], kind);
  // That every picture comes in time is for the bench: this machine may be busy.
  assert.ok(played.frames > 0.3 * fps * SECONDS, `${kind}: ${played.frames} pictures`);
  assert.ok(played.frozenMs < 2000, `${kind}: ${played.frozenMs} ms without a picture`);
  assert.equal(typeof viewer, 'object', String(viewer));
  assert.match(viewer.user_agent, /Chrome/);
  assert.match(viewer.candidate, /^udp /);
  if (clock) {
    const p50 = percentile(played.latencies, 50);
    assert.ok(p50 > 0 && p50 < 1000, `${kind}: p50 ${p50} ms`);
  }
  // Also those who say nothing when they leave: closing the connection is enough.
  await waitFor(`${kind} has left`, 10_000, async () => ((await viewersOf(service)).length === 0 ? true : undefined));
  return { played, viewer };
}

describe('a camera that is passed through, keyframes every two seconds', () => {
  /** @type {Awaited<ReturnType<typeof startCamera>>} */ let camera;
  /** @type {Awaited<ReturnType<typeof startService>>} */ let service;
  before(async () => {
    camera = await startCamera(CLOCK);
    service = await startService(`source = { type = "rtsp", url = "${camera.url}", latency_ms = 0 }\n${FREE}`);
  });
  after(async () => {
    await service?.stop();
    await camera?.stop();
  });

  const VIEWERS = [
    { kind: 'whep', path: '/cameras/cam/whep' },
    { kind: 'mainsail', path: '/cameras/cam' },
    { kind: 'mainsail', path: '/webcam/' },
    { kind: 'fluidd', path: '/stream.mjpg' },
    { kind: 'cameraStreamer', path: '/webcam/webrtc' },
    { kind: 'octoprint', path: '/cameras/cam/webrtc' },
    { kind: 'octoprint', path: '/cameras/cam/whep' },
    { kind: 'go2rtc', path: '/?src=cam' },
    // It resolves a relative Location, which pages of other origins get, against its own page.
    { kind: 'eyevinn', path: '/cameras/cam/whep', excused: /404.*\/whep\/[0-9a-f]{32}\)/ },
  ];
  for (const { kind, path, excused } of VIEWERS) {
    test(`${kind} at ${path} shows it`, async (context) => {
      const { played } = await watch({ service: service.url, url: service.url + path, kind, excused });
      context.diagnostic(`first picture ${played.firstMs.toFixed(0)} ms, p50 ${percentile(played.latencies, 50)} ms`);
      assert.ok(played.firstMs < 2500, `${played.firstMs} ms`);
    });
  }

  test('a browser that does not hide its addresses shows it', async () => {
    const open = await startBrowser({ args: ['--disable-features=WebRtcHideLocalIpsWithMdns'] });
    try {
      await watch({ service: service.url, url: `${service.url}/cameras/cam`, kind: 'mainsail', in: open });
    } finally {
      await open.close();
    }
  });

  test('behind a proxy that has it below a path and says nothing of it, sessions are patched and deleted', async () => {
    const below = '/secure';
    const proxy = createServer((asked, answer) => {
      const path = (asked.url ?? '').slice(below.length);
      const headers = { ...asked.headers, host: `127.0.0.1:${service.port}` };
      const passed = request({ host: '127.0.0.1', port: service.port, method: asked.method, path, headers }, (got) => {
        answer.writeHead(got.statusCode ?? 500, got.headers);
        got.pipe(answer);
      });
      asked.pipe(passed);
    });
    await new Promise((resolve) => proxy.listen(0, '127.0.0.1', () => resolve(undefined)));
    const address = proxy.address();
    const port = typeof address === 'object' && address ? address.port : 0;
    try {
      const url = `http://127.0.0.1:${port}${below}/cameras/cam/whep`;
      await watch({ service: service.url, url, kind: 'whep' });
    } finally {
      proxy.closeAllConnections();
      await new Promise((resolve) => proxy.close(resolve));
    }
  });
});

test('it is watched by IPv6 alone', async () => {
  const camera = await startCamera(CLOCK);
  /** @type {Awaited<ReturnType<typeof startService>> | undefined} */
  let service;
  try {
    service = await startService(`source = { type = "rtsp", url = "${camera.url}", latency_ms = 0 }\n${FREE}`, { bind: '::1' });
    const { viewer } = await watch({ service: service.url, url: `${service.url}/cameras/cam`, kind: 'fluidd' });
    assert.match(viewer.candidate, /^udp \[::1\]:/);
  } finally {
    await service?.stop();
    await camera.stop();
  }
});

for (const { name, args, note } of [
  { name: 'B-frames', args: ['--file', CLIP], note: /B-frames: the camera is re-encoded/ },
  { name: 'H.265', args: [...CLOCK, '--codec', 'h265'], note: /H\.265: it is re-encoded/ },
]) {
  test(`a camera that sends ${name} is shown, and it is said that it is re-encoded`, async () => {
    const camera = await startCamera(args);
    /** @type {Awaited<ReturnType<typeof startService>> | undefined} */
    let service;
    try {
      service = await startService(`source = { type = "rtsp", url = "${camera.url}" }\n${FREE}`);
      await watch({ service: service.url, url: `${service.url}/cameras/cam`, kind: 'mainsail', clock: false });
      const status = await (await fetch(`${service.url}/api/cameras/cam`)).json();
      assert.match(/** @type {any} */ (status).notes.join('\n'), note);
    } finally {
      await service?.stop();
      await camera.stop();
    }
  });
}

test('the viewers of a camera do not notice that another one is restarted', async (context) => {
  const cameras = await Promise.all([startCamera(CLOCK), startCamera(CLOCK)]);
  /** @type {Awaited<ReturnType<typeof startService>> | undefined} */
  let service;
  try {
    const source = (/** @type {number} */ n) => `source = { type = "rtsp", url = "${cameras[n].url}", latency_ms = 0 }\n`;
    service = await startService(`${source(0)}[[camera]]\nid = "other"\n${source(1)}${FREE}`);
    const url = service.url;
    const [first, second] = await Promise.all([openPage(browser), openPage(browser)]);
    const restarted = play(first.page, rig.url, { url: `${url}/cameras/cam`, kind: 'fluidd', seconds: 8 });
    const undisturbed = play(second.page, rig.url, { url: `${url}/cameras/other`, kind: 'fluidd', seconds: 8, settle: 1 });
    await waitFor('both watch', 20_000, async () => {
      const both = await Promise.all([viewersOf(url, 'cam'), viewersOf(url, 'other')]);
      return both.every(([viewer]) => viewer?.state === 'live') ? true : undefined;
    });
    const answer = await fetch(`${url}/api/cameras/cam/restart`, { method: 'POST' });
    assert.equal(answer.status, 202);
    const [one, other] = await Promise.all([restarted, undisturbed]);
    context.diagnostic(`longest gap: ${one.frozenMs} ms and ${other.frozenMs} ms`);
    assert.ok(other.frozenMs < 1000, `${other.frozenMs} ms without a picture`);
    assert.deepEqual(other.errors, []);
    assert.ok(other.frames > 0.5 * FPS * 8, `${other.frames} pictures`);
    await Promise.all([first.page.close(), second.page.close()]);
  } finally {
    await service?.stop();
    await Promise.all(cameras.map((camera) => camera.stop()));
  }
});
