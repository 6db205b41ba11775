// The rig is itself tested: LiveKit and Chromium meet in a network of their own, pictures go from one
// browser page to another, and nothing has a way out.

import assert from 'node:assert/strict';
import { lookup } from 'node:dns/promises';
import { connect } from 'node:net';
import { after, before, test } from 'node:test';

import { startBrowser } from '../lib/browser.js';
import { CLIENT, lacksLiveKit, startLiveKit, token } from '../lib/livekit.js';
import { describeIf, enterNamespace, lacks, Trouble } from '../lib/namespace.js';
import { waitFor } from '../lib/processes.js';
import { startStatic } from '../lib/static.js';

const missing = enterNamespace();

test('the namespace has no way out', { skip: missing }, async () => {
  const outcome = await new Promise((resolve) => {
    connect(80, '192.0.2.1').once('connect', () => resolve('connected')).once('error', (/** @type {any} */ error) => resolve(error.code));
  });
  assert.equal(outcome, 'ENETUNREACH');
  await assert.rejects(lookup('example.org'));
});

describeIf(missing ?? lacksLiveKit() ?? lacks([['nft', 'nftables']]), 'a LiveKit server and two browser pages', () => {
  /** @type {Awaited<ReturnType<typeof startLiveKit>>} */ let livekit;
  /** @type {Awaited<ReturnType<typeof startStatic>>} */ let pages;
  /** @type {import('playwright-core').Browser} */ let browser;
  before(async () => {
    livekit = await startLiveKit();
    pages = await startStatic();
    browser = await startBrowser();
  });
  after(async () => {
    await browser?.close();
    await pages?.stop();
    await livekit?.stop();
  });

  /**
   * A page with livekit-client in it. It comes from a real server: Chromium takes a page that Playwright
   * makes up for a public one, and keeps those away from private addresses.
   */
  async function clientPage() {
    const page = await browser.newPage();
    await page.goto(`${pages.url}/player.html`);
    await page.setContent('<canvas></canvas><video muted autoplay playsinline></video>');
    await page.addScriptTag({ path: CLIENT });
    return page;
  }

  /** @param {import('playwright-core').Page} page */
  const frames = (page) => page.evaluate(() => document.querySelector('video')?.getVideoPlaybackQuality().totalVideoFrames ?? 0);

  /** @param {import('playwright-core').Page} page */
  async function picturesFlow(page) {
    const seen = await frames(page);
    await waitFor('pictures flow', 15_000, async () => ((await frames(page)) > seen + 10 ? true : undefined));
  }

  test('a picture published in one page is seen in the other, until UDP is blocked', async () => {
    const room = 'porch';
    const publisher = await clientPage();
    await publisher.evaluate(async ([url, bearer]) => {
      const { Room } = /** @type {any} */ (window).LivekitClient;
      const canvas = /** @type {HTMLCanvasElement} */ (document.querySelector('canvas'));
      const brush = /** @type {CanvasRenderingContext2D} */ (canvas.getContext('2d'));
      let count = 0;
      setInterval(() => {
        brush.fillStyle = `hsl(${count++ % 360} 80% 50%)`;
        brush.fillRect(0, 0, canvas.width, canvas.height);
      }, 40);
      const publishing = new Room();
      await publishing.connect(url, bearer);
      await publishing.localParticipant.publishTrack(canvas.captureStream(25).getVideoTracks()[0], { simulcast: false });
    }, [livekit.url, token('cam', { roomJoin: true, room, canSubscribe: false })]);
    const [participant] = await livekit.participants(room);
    assert.equal(participant.identity, 'cam');

    const viewer = await clientPage();
    await viewer.evaluate(async ([url, bearer]) => {
      const { Room, RoomEvent } = /** @type {any} */ (window).LivekitClient;
      const watching = new Room({ adaptiveStream: false });
      watching.on(RoomEvent.TrackSubscribed, (/** @type {any} */ track) => track.attach(document.querySelector('video')));
      await watching.connect(url, bearer);
    }, [livekit.url, token('viewer', { roomJoin: true, room, canPublish: false, hidden: true })]);
    await picturesFlow(viewer);
    assert.equal((await livekit.participants(room)).length, 2);

    const trouble = new Trouble();
    trouble.blockUdp(livekit.udpPort);
    await waitFor('pictures stop', 10_000, async () => {
      const seen = await frames(viewer);
      await viewer.waitForTimeout(1000);
      return (await frames(viewer)) === seen ? true : undefined;
    });
    trouble.heal();
    await picturesFlow(viewer);
    await livekit.removeParticipant(room, 'viewer');
    await waitFor('the viewer is gone', 5_000, async () => ((await livekit.participants(room)).length === 1 ? true : undefined));
  });

  test('the server comes back on its port without its rooms', async () => {
    await livekit.kill();
    await assert.rejects(livekit.participants('porch'));
    const { url } = livekit;
    await livekit.comeBack();
    assert.equal(livekit.url, url);
    assert.deepEqual(await livekit.participants('elsewhere'), []);
    await livekit.deleteRoom('elsewhere');
  });

  test('a token of another key is refused', async () => {
    const ask = (/** @type {string} */ bearer) => fetch(`http://127.0.0.1:${livekit.port}/rtc/validate?access_token=${bearer}`);
    const grants = { roomJoin: true, room: 'porch' };
    assert.equal((await ask(token('somebody', grants))).status, 200);
    assert.equal((await ask(token('somebody', grants, { secret: 'x'.repeat(40) }))).status, 401);
  });
});
