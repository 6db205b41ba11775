// The whole of it in one run: a camera with B-frames goes to LiveKit natively, to LiveKit by WHIP and to
// an RTMP server, all from one encoder, while a dashboard watches. Then one thing after the other breaks:
// the dashboard goes down the chain LiveKit, WHEP, LL-HLS, MJPEG, snapshots and up again, unaided.
//
// `FANLIGHT_SHOTS` names a directory for screenshots of each step. With LiveKit's `ingress` on PATH the
// camera goes by RTMP into that as well.

import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { availableParallelism, loadavg, tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { promisify } from 'node:util';

import { startBrowser } from '../lib/browser.js';
import { Dashboard, PATHS } from '../lib/dashboard.js';
import { lacksIngress, startIngress, startRedis } from '../lib/ingress.js';
import { KEY, lacksLiveKit, SECRET, startLiveKit } from '../lib/livekit.js';
import { ADDRESS, describeIf, enterNamespace, lacks, Trouble } from '../lib/namespace.js';
import { CLIP, FANLIGHT, freePort, startCamera, startService, waitFor } from '../lib/processes.js';
import { startProxy } from '../lib/proxy.js';
import { Publishing, told } from '../lib/publishing.js';
import { lacksRtmp, startRtmpServer } from '../lib/rtmp.js';
import { Screencast } from '../lib/screencast.js';

const missing = enterNamespace();

const ROOM = 'porch';
const STREAM_KEY = 'kestrel';
const FPS = 25;
const START_MS = 30_000;
/** From the loss of a picture to that of a fallback. */
const FALL_MS = 3_000;
/** By then it is the best one there is: whichever is the first with a picture is shown until then. */
const SETTLE_MS = 15_000;
/** From the moment that WebRTC can be had again to its picture on screen. */
const RETURN_MS = 5_000;
/** @type {import('../lib/dashboard.js').Transport[]} */
const CHAIN = ['livekit', 'whep', 'll-hls', 'mjpeg', 'snapshot'];
/** The back-off may have grown to its longest, and then it has to hold for two seconds. */
const CLIMB_MS = 38_000;
/** Outputs knock at a dead peer's door. */
const RECOVERY_MS = 30_000;
/** Brightness, of 255. The clip is nowhere darker than 70, and never dimmed to less than half. */
const BLACK = 20;

describeIf(missing ?? lacksLiveKit() ?? lacksRtmp() ?? lacks([['nft', 'nftables']]), 'a camera published three ways and a dashboard with five', () => {
  /** @type {(() => unknown)[]} */ const stops = [];
  /** @type {Awaited<ReturnType<typeof startLiveKit>>} */ let livekit;
  /** @type {Awaited<ReturnType<typeof startRtmpServer>>} */ let rtmp;
  /** @type {Awaited<ReturnType<typeof startService>>} */ let service;
  /** @type {Awaited<ReturnType<typeof startProxy>>} */ let proxy;
  /** @type {import('playwright-core').Browser} */ let browser;
  /** @type {Publishing} */ let publishing;
  /** @type {Dashboard} */ let page;
  /** @type {Screencast} */ let screen;
  /** @type {Trouble} */ let trouble;
  /** @type {number} */ let whepPort;
  /** Outputs of the configuration, and those of them that go through LiveKit. */
  const outputs = ['world', 'whip', 'tube'];
  const byLiveKit = ['world', 'whip'];
  /** @type {{ what: string, ms: number, allowed: number, still?: number }[]} */ const times = [];
  let shots = 0;
  /** The service's threads while all is well. */
  let threads = 0;

  /** The times hold for a machine that has a core for everybody; on one that is busy they count double. */
  const patience = () => (loadavg()[0] > 2 * availableParallelism() ? 2 : 1);

  /** A killed server with a Redis leaves its viewers in there. @type {Set<string>} */
  const ghosts = new Set();
  const killLiveKit = async () => {
    for (const { identity } of await livekit.participants(ROOM)) if (identity.startsWith('viewer-')) ghosts.add(identity);
    const since = Date.now();
    await livekit.kill();
    return since;
  };

  /** What encoders were started so far. */
  const encoders = () => service.process.lines.flatMap((line) => / (\w+) encoder: starting/.exec(line)?.[1] ?? []);

  /** @template {{ stop: () => unknown }} T @param {T} started */
  const kept = (started) => {
    stops.unshift(() => started.stop());
    return started;
  };

  before(async () => {
    const directory = await mkdtemp(join(tmpdir(), 'fanlight-chain-'));
    stops.unshift(() => rm(directory, { recursive: true, force: true }));
    const ingresses = lacksIngress() === undefined
      ? { redis: kept(await startRedis()).address, rtmpPort: await freePort(), whipPort: await freePort() }
      : undefined;
    livekit = kept(await startLiveKit({ ingresses }));
    rtmp = kept(await startRtmpServer());
    const secret = join(directory, 'livekit.secret');
    await writeFile(secret, `${SECRET}\n`, { mode: 0o600 });
    const streamKey = join(directory, 'stream.key');
    await writeFile(streamKey, `${STREAM_KEY}\n`, { mode: 0o600 });
    let ingress = '';
    if (ingresses) {
      kept(await startIngress(livekit, ingresses));
      const key = join(directory, 'ingress.key');
      await promisify(execFile)(FANLIGHT, [
        'livekit', 'ingress', 'create', '--room', ROOM, '--name', 'cam-rtmp', '--out', key,
      ], { env: { ...process.env, LIVEKIT_HOST: livekit.url, LIVEKIT_API_KEY: KEY, LIVEKIT_API_SECRET: SECRET } });
      ingress = `[[publish]]\nid = "ingress"\ntype = "rtmp"\nurl = "rtmp://127.0.0.1:${ingresses.rtmpPort}/live"\nstream_key_file = "${key}"\n`;
      outputs.push('ingress');
      byLiveKit.push('ingress');
    }
    const camera = kept(await startCamera(['--file', CLIP]));
    whepPort = await freePort();
    service = kept(await startService(`
name = "Front porch"
source = { type = "rtsp", url = "${camera.url}" }
[webrtc]
bind = "${ADDRESS}"
port = ${whepPort}
[livekit]
url = "${livekit.url}"
api_key = "${KEY}"
api_secret_file = "${secret}"
[[publish]]
id = "world"
type = "livekit"
room = "${ROOM}"
[[publish]]
id = "whip"
type = "whip"
room = "${ROOM}"
identity = "cam-whip"
[[publish]]
id = "tube"
type = "rtmp"
url = "${rtmp.url}"
stream_key_file = "${streamKey}"
${ingress}`));
    publishing = new Publishing(service);
    proxy = kept(await startProxy(service.url));
    trouble = new Trouble();
    browser = await startBrowser();
    stops.unshift(() => browser.close());
  });
  after(async () => {
    for (const stop of stops) await stop();
  });

  /**
   * A screenshot of the page, for those who want to look.
   * @param {string} name
   */
  async function shot(name) {
    const directory = process.env.FANLIGHT_SHOTS;
    if (!directory) return;
    await mkdir(directory, { recursive: true });
    await page.page.screenshot({ path: join(directory, `chain-${String(++shots).padStart(2, '0')}-${name}.png`) });
  }

  /**
   * Runs a step; what fails is told with what everybody saw.
   * @param {string} what
   * @param {() => Promise<void>} action
   */
  async function step(what, action) {
    try {
      await action();
    } catch (error) {
      await shot(`failed-${what.replaceAll(/\W+/g, '-')}`).catch(() => undefined);
      const state = await publishing.outputs().then(told, String);
      throw new Error(`${what}: ${error instanceof Error ? error.message : error}\n${await page.story('cam').catch(String)}\n${state}\n` +
        `the page: ${[...page.errors, ...page.console.slice(-10)].join('\n')}\n` +
        `the service: ${service.process.lines.slice(-40).join('\n')}`, { cause: error });
    }
  }

  /**
   * A picture is lost: there is one of a fallback in time, and soon it is the best one of those left.
   * @param {import('../lib/dashboard.js').Transport} transport the best one left
   * @param {string} what
   * @param {number} since when it broke
   */
  async function fallsTo(transport, what, since) {
    const left = CHAIN.slice(CHAIN.indexOf(transport));
    const allowed = FALL_MS * patience();
    const at = await page.waitFor('cam', left, { ms: allowed + 5_000, since });
    times.push({ what: `${what}: a picture`, ms: at - since, allowed });
    await arrives(transport, what, { since, allowed: SETTLE_MS });
    assert.ok(at - since <= allowed, `${what}: a picture after ${Math.round(at - since)} ms, not within ${allowed} ms`);
  }

  /**
   * Waits for the transport, notes how long it took, and sees that nothing was black on the way.
   * @param {import('../lib/dashboard.js').Transport} transport
   * @param {string} what
   * @param {{ since: number, allowed: number, seenFrom?: number }} options since: when it broke, or could
   *   be had again; seenFrom: when there was a picture
   */
  async function arrives(transport, what, { since, allowed, seenFrom = since - 500 }) {
    const at = await page.waitFor('cam', transport, { ms: Math.max(0, since - Date.now()) + allowed + 5_000, since });
    // The picture moves, on the screen.
    const began = Date.now();
    await waitFor(`${transport} moves on the screen`, 8_000, async () => {
      const prints = new Set((await screen.all()).filter(({ at: when }) => when > began).map(({ print }) => print));
      return prints.size >= (transport === 'snapshot' ? 2 : 5) ? true : undefined;
    });
    const { darkest, screens, frozenMs } = await screen.between(seenFrom);
    times.push({ what, ms: at - since, allowed, still: frozenMs });
    assert.ok(screens > 0, 'the screen was recorded');
    assert.ok(darkest.brightness > BLACK, `${what}: black ${Math.round(darkest.at - since)} ms in: ${darkest.brightness.toFixed(0)}`);
    await really(transport);
    await shot(`${transport}-${what.replaceAll(/\W+/g, '-')}`);
    assert.ok(at - since <= allowed, `${what}: ${Math.round(at - since)} ms, not within ${allowed} ms`);
  }

  /**
   * What the page says is what the servers see; and what is not needed any more is closed.
   * @param {string} transport
   */
  async function really(transport) {
    /** @type {Record<string, number>} */ let seen = {};
    await waitFor(`only ${transport} is open`, 5_000, async () => {
      const [there, camera] = [transport === 'livekit' ? await livekit.participants(ROOM) : [], await publishing.camera()];
      seen = {
        livekit: there.filter(({ identity }) => identity.startsWith('viewer-') && !ghosts.has(identity)).length,
        whep: camera.viewers.webrtc,
        hls: proxy.exchanges.filter(({ path, at, status }) => PATHS['ll-hls'].test(path) && status === 200 && at > Date.now() - 2_000).length,
        mjpeg: proxy.open(PATHS.mjpeg).length,
      };
      switch (transport) {
        case 'livekit': return seen.livekit === 1 && seen.whep + seen.hls + seen.mjpeg === 0 ? true : undefined;
        case 'whep': return seen.whep === 1 && seen.hls + seen.mjpeg === 0 ? true : undefined;
        // Better ones are tried behind these.
        case 'll-hls': return seen.hls > 0 && seen.mjpeg === 0 ? true : undefined;
        case 'mjpeg': return seen.mjpeg === 1 ? true : undefined;
        default: return true;
      }
    }).catch((error) => { throw new Error(`${error.message}: ${JSON.stringify(seen)}`, { cause: error }); });
  }

  /** LiveKit is back, the outputs come by themselves, and the dashboard with them. @param {string} what */
  async function liveKitReturns(what) {
    await livekit.comeBack();
    const [began, watched] = [Date.now(), byLiveKit.filter((id) => id !== 'ingress')];
    const reaching = publishing.reach(byLiveKit, 'live', RECOVERY_MS);
    // Whatever fails first is told; the other is not left alone.
    reaching.catch(() => undefined);
    // The dashboard can be on LiveKit as soon as the first of them is there.
    const first = await waitFor('an output to LiveKit is live', RECOVERY_MS, async () =>
      (await publishing.outputs()).some(({ id, state }) => watched.includes(id) && state === 'live') ? Date.now() : undefined);
    await arrives('livekit', `${what}: LiveKit after its publisher is live`, { since: first, allowed: RETURN_MS * patience() });
    const reached = await reaching;
    // The ingress takes RTMP whether LiveKit is there or not.
    for (const id of watched) times.push({ what: `${what}: output ${id} live after the server is back`, ms: reached[id] - began, allowed: RECOVERY_MS });
  }

  test('one encoder serves LiveKit, WHIP and RTMP at the same time', async (context) => {
    await step('the outputs', async () => {
      await publishing.reach(outputs, 'live', START_MS);
      const camera = await publishing.camera();
      assert.match(camera.realtime.encoder, /^x264enc|h264enc/, 'B-frames are re-encoded for WebRTC');
      assert.equal(camera.realtime.state, 'live');
      assert.equal(camera.realtime.restarts, 0);
      assert.equal(camera.h264.encoder, 'passthrough', 'the camera\'s own pictures for HLS and RTMP');
      assert.deepEqual(camera.outputs.map((/** @type {any} */ { encoder }) => encoder), outputs.map(() => 'shared'));
      assert.deepEqual(encoders(), ['realtime'], 'one encoder');
      context.diagnostic(told(camera.outputs));
    });
    await step('LiveKit has them', async () => {
      const identities = ['cam', 'cam-whip', ...outputs.filter((id) => id === 'ingress').map(() => 'cam-rtmp')];
      await waitFor('participants with video', 15_000, async () => {
        const there = await livekit.participants(ROOM);
        const video = (/** @type {string} */ identity) => there.some((each) => each.identity === identity && each.state === 'ACTIVE' &&
          each.tracks.some((/** @type {any} */ track) => track.type === 'VIDEO' && /h264/i.test(track.mime_type)));
        return identities.every(video) ? true : undefined;
      });
    });
    await step('the RTMP server has the camera\'s own pictures', async () => {
      const read = await rtmp.readBack(STREAM_KEY, 50);
      assert.deepEqual(
        { codec: read.codec, profile: read.profile, size: [read.width, read.height] },
        { codec: 'h264', profile: 'High', size: [640, 272] });
      assert.ok(read.reordered > 0, 'B-frames as the camera sends them: nothing was re-encoded');
      assert.ok(read.frames >= 45, `${read.frames} pictures`);
      assert.equal(await rtmp.publishes(STREAM_KEY), 1);
    });
    await step('the dashboard is on LiveKit', async () => {
      const since = Date.now();
      page = await Dashboard.open(browser, `${proxy.url}#/camera/cam`);
      await page.waitState('cam', 'live', 10_000);
      screen = kept(await Screencast.start(page.page, page.picture('cam')));
      await arrives('livekit', 'the dashboard opened: LiveKit', { since, allowed: 2 * RETURN_MS, seenFrom: Date.now() });
      threads = (await publishing.threads()).length;
    });
  });

  test('each step down: a picture within three seconds, and never a black one', async () => {
    const rate = await publishing.meter();
    await step('LiveKit killed', async () => {
      const since = await killLiveKit();
      await fallsTo('whep', 'LiveKit killed: WHEP', since);
    });
    await step('UDP blocked', async () => {
      const since = Date.now();
      trouble.blockUdp(whepPort);
      await fallsTo('ll-hls', 'UDP blocked: LL-HLS', since);
    });
    await step('HLS hangs', async () => {
      const since = Date.now();
      proxy.fail('hls', PATHS['ll-hls'], 'hang');
      await fallsTo('mjpeg', 'HLS hangs: MJPEG', since);
    });
    await step('MJPEG breaks', async () => {
      const since = Date.now();
      proxy.fail('mjpeg', PATHS.mjpeg, 'error');
      await fallsTo('snapshot', 'MJPEG broken: snapshots', since);
    });
    const fps = await rate();
    assert.ok(fps > 0.9 * FPS, `the camera gave ${fps.toFixed(1)} pictures a second meanwhile`);
    const tube = (await publishing.outputs()).find(({ id }) => id === 'tube');
    assert.equal(tube?.state, 'live', 'RTMP does not care');
    assert.equal(tube?.restarts, 0);
  });

  test('everything restored at once: LiveKit again, unaided', async () => {
    await step('all is well', async () => {
      trouble.heal();
      proxy.heal();
      await liveKitReturns('all restored');
    });
  });

  test('everything broken at once, then each step up by itself', async () => {
    await step('all breaks but snapshots', async () => {
      const since = await killLiveKit();
      proxy.fail('hls', PATHS['ll-hls'], 'error');
      proxy.fail('mjpeg', PATHS.mjpeg, 'reset');
      trouble.blockUdp(whepPort);
      await fallsTo('snapshot', 'all broken: snapshots', since);
    });
    await step('MJPEG is back', async () => {
      const since = Date.now();
      proxy.heal('mjpeg');
      await arrives('mjpeg', 'MJPEG back', { since, allowed: CLIMB_MS });
    });
    await step('HLS is back', async () => {
      const since = Date.now();
      proxy.heal('hls');
      await arrives('ll-hls', 'LL-HLS back', { since, allowed: CLIMB_MS });
    });
    await step('UDP is let through', async () => {
      const since = Date.now();
      trouble.heal();
      await arrives('whep', 'UDP back: WHEP', { since, allowed: RETURN_MS * patience() });
    });
    await step('LiveKit is back', async () => {
      await liveKitReturns('step by step');
    });
  });

  test('an RTMP server that dies and comes back is no matter to anybody else', async () => {
    const before = await publishing.camera();
    const rate = await publishing.meter();
    await step('nginx killed', async () => {
      const since = Date.now();
      await rtmp.kill();
      const { tube } = await publishing.reach(['tube'], 'backing_off', 15_000);
      times.push({ what: 'RTMP server killed: noticed', ms: tube - since, allowed: 15_000 });
      const output = (await publishing.outputs()).find(({ id }) => id === 'tube');
      assert.ok(output?.last_error, 'it says why');
    });
    await step('nginx back', async () => {
      await rtmp.comeBack();
      const since = Date.now();
      const { tube } = await publishing.reach(['tube'], 'live', RECOVERY_MS);
      times.push({ what: 'RTMP server back: output live', ms: tube - since, allowed: RECOVERY_MS });
      const read = await rtmp.readBack(STREAM_KEY, 25);
      assert.ok(read.frames >= 20, `${read.frames} pictures`);
    });
    await step('the others', async () => {
      const fps = await rate();
      assert.ok(fps > 0.9 * FPS, `the camera gave ${fps.toFixed(1)} pictures a second meanwhile`);
      const camera = await publishing.camera();
      assert.equal(camera.restarts, before.restarts);
      assert.equal(camera.realtime.restarts, before.realtime.restarts);
      for (const id of byLiveKit) {
        const [was, is] = [before, camera].map(({ outputs: all }) => all.find((/** @type {any} */ output) => output.id === id));
        assert.equal(is.state, 'live', id);
        assert.equal(is.restarts, was.restarts, id);
      }
      assert.equal((await page.look('cam'))?.transport, 'livekit');
    });
  });

  test('nothing went wrong in the page or piled up in the service, and this is how long everything took', async (context) => {
    const width = Math.max(...times.map(({ what }) => what.length));
    context.diagnostic(['', ...times.map(({ what, ms, allowed, still }) =>
      `${what.padEnd(width)} ${String(Math.round(ms)).padStart(6)} ms of ${String(allowed).padEnd(6)}` +
      (still === undefined ? '' : ` picture still for ${Math.round(still)} ms`))].join('\n'));
    assert.deepEqual(page.errors, []);
    // The same as before all this: LiveKit on screen. JPEGs are only made while somebody wants them.
    assert.deepEqual(encoders().filter((lane) => lane !== 'jpeg'), ['realtime'], 'the one encoder went on through it all');
    const names = await publishing.threads();
    context.diagnostic(`${threads} threads before, ${names.length} after`);
    assert.ok(names.length <= threads + 12, `${threads} threads before, after: ${names.join(', ')}`);
  });
});
