// The rig is itself tested: a clock that is read wrongly, or a judge that passes everything, would make
// the other tests worth nothing. The streams here are ffmpeg's, not the service's.

import assert from 'node:assert/strict';
import { mkdtemp, rm } from 'node:fs/promises';
import { createServer } from 'node:http';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';

import { openPage, percentile, play, startBrowser } from '../lib/browser.js';
import { judge, judgeReload, lists, nextPart, parsePlaylist } from '../lib/playlist.js';
import { Process, startCamera, waitFor } from '../lib/processes.js';
import { startStatic } from '../lib/static.js';

describe('the player', () => {
  /** @type {string} */ let directory;
  /** @type {Awaited<ReturnType<typeof startStatic>>} */ let rig;
  /** @type {import('playwright-core').Browser} */ let browser;

  before(async () => {
    directory = await mkdtemp(join(tmpdir(), 'fanlight-rig-'));
    rig = await startStatic(directory);
    browser = await startBrowser();
  });
  after(async () => {
    await browser?.close();
    await rig?.stop();
    await rm(directory, { recursive: true, force: true });
  });

  /** ffmpeg makes HLS with segments of a second out of the camera's stream. */
  const packager = (/** @type {string} */ url) => new Process('ffmpeg', [
    '-hide_banner', '-loglevel', 'error', '-rtsp_transport', 'tcp', '-i', url, '-c', 'copy',
    '-f', 'hls', '-hls_time', '1', '-hls_list_size', '6', '-hls_flags', 'delete_segments', join(directory, 'live.m3u8'),
  ]);

  test('reads the clock out of the pictures and notices when they stop', async () => {
    const camera = await startCamera(['--test-pattern', '640x360@25', '--gop', '1', '--clock-bars']);
    const ffmpeg = packager(camera.url);
    try {
      const url = `${rig.url}/files/live.m3u8`;
      await waitFor('the playlist', 20_000, async () => ((await fetch(url)).ok ? true : undefined));
      const { page } = await openPage(browser);
      const played = await play(page, rig.url, { url, seconds: 5, hls: { liveSyncDurationCount: 2 } });
      assert.ok(played.frames > 60, JSON.stringify(played.frames));
      assert.ok(played.latencies.length > 0.9 * played.frames, `${played.unreadable} unreadable`);
      // Two segments of a second and what ffmpeg holds back: not below one second, not above ten.
      const p50 = percentile(played.latencies, 50);
      assert.ok(p50 > 1_000 && p50 < 10_000, `p50 ${p50} ms`);

      // The camera freezes: what is buffered plays to its end, then the viewer stands still.
      camera.process.child.stdin?.write('freeze\n');
      const frozen = await play(page, rig.url, { url, seconds: 10, hls: { liveSyncDurationCount: 2 } });
      assert.ok(frozen.frozenMs > 2_000, `stood still for ${frozen.frozenMs} ms`);
      assert.ok(frozen.stalls > 0 || frozen.errors.length > 0, 'a stall that nobody noticed');
    } finally {
      await ffmpeg.stop();
      await camera.stop();
    }
  });
});

describe('the player of MJPEG', () => {
  test('reads the clock out of the pictures', async () => {
    const rig = await startStatic();
    const browser = await startBrowser();
    const camera = await startCamera(['--test-pattern', '640x360@25', '--codec', 'mjpeg', '--clock-bars']);
    const ffmpeg = new Process('ffmpeg', [
      '-hide_banner', '-loglevel', 'error', '-rtsp_transport', 'tcp', '-i', camera.url, '-c', 'copy', '-f', 'mpjpeg', '-',
    ], { lines: false });
    const server = createServer((_request, response) => {
      response.writeHead(200, { 'Content-Type': 'multipart/x-mixed-replace; boundary=ffmpeg', 'Access-Control-Allow-Origin': '*' });
      ffmpeg.child.stdout?.pipe(response);
    });
    await new Promise((resolve) => server.listen(0, '127.0.0.1', () => resolve(undefined)));
    const address = server.address();
    const port = typeof address === 'object' && address ? address.port : 0;
    try {
      const { page } = await openPage(browser);
      const played = await play(page, rig.url, { url: `http://127.0.0.1:${port}/`, kind: 'mjpeg', seconds: 3, settle: 2 });
      assert.deepEqual(played.errors, []);
      assert.ok(played.frames > 40, `${played.frames} pictures`);
      const p50 = percentile(played.latencies, 50);
      assert.ok(p50 > 0 && p50 < 3_000, `p50 ${p50} ms`);
    } finally {
      await browser.close();
      server.closeAllConnections();
      server.close();
      await ffmpeg.stop();
      await camera.stop();
      await rig.stop();
    }
  });
});

describe('the judge of playlists', () => {
  const HEAD = `#EXTM3U
#EXT-X-VERSION:9
#EXT-X-TARGETDURATION:2
#EXT-X-PART-INF:PART-TARGET=0.6
#EXT-X-SERVER-CONTROL:CAN-BLOCK-RELOAD=YES,PART-HOLD-BACK=1.5
#EXT-X-MEDIA-SEQUENCE:7
`;
  const SEGMENTS = `#EXTINF:1.8,
s7.ts
#EXT-X-PART:DURATION=0.6,URI="s8.ts",BYTERANGE="188@0",INDEPENDENT=YES
#EXT-X-PART:DURATION=0.6,URI="s8.ts",BYTERANGE="376@188"
#EXT-X-PART:DURATION=0.6,URI="s8.ts",BYTERANGE="188@564"
#EXTINF:1.8,
s8.ts
`;
  const EDGE = `#EXT-X-PART:DURATION=0.6,URI="s9.ts",BYTERANGE="188@0",INDEPENDENT=YES
#EXT-X-PRELOAD-HINT:TYPE=PART,URI="s9.ts",BYTERANGE-START=188
`;
  const NEXT = `#EXT-X-PART:DURATION=0.6,URI="s9.ts",BYTERANGE="188@0",INDEPENDENT=YES
#EXT-X-PART:DURATION=0.6,URI="s9.ts",BYTERANGE="188@188"
#EXT-X-PRELOAD-HINT:TYPE=PART,URI="s9.ts",BYTERANGE-START=376
`;
  const good = HEAD + SEGMENTS + EDGE;
  const lowLatency = { lowLatency: true };

  test('finds nothing wrong with a good playlist and its reload', () => {
    assert.deepEqual(judge(parsePlaylist(good), lowLatency), []);
    assert.deepEqual(judgeReload(parsePlaylist(good), parsePlaylist(HEAD + SEGMENTS + NEXT)), []);
    assert.deepEqual(nextPart(parsePlaylist(good)), { msn: 9, part: 1 });
    assert.ok(lists(parsePlaylist(HEAD + SEGMENTS + NEXT), { msn: 9, part: 1 }));
    assert.ok(!lists(parsePlaylist(good), { msn: 9, part: 1 }));
  });

  /** @type {[string, string, string, RegExp][]} */
  const faults = [
    ['a part above the target', 'DURATION=0.6,URI="s9.ts"', 'DURATION=0.61,URI="s9.ts"', /part 9.0 lasts 0.61/],
    ['a short part in the middle', '0.6,URI="s8.ts",BYTERANGE="376', '0.4,URI="s8.ts",BYTERANGE="376', /less than 85 %/],
    ['parts that do not add up', '#EXTINF:1.8,\ns8', '#EXTINF:1.7,\ns8', /last 1.8000 together/],
    ['a segment above the target', '#EXTINF:1.8,\ns7', '#EXTINF:2.6,\ns7', /segment 7 lasts 2.6/],
    ['no hint', '#EXT-X-PRELOAD-HINT', '#EXT-X-OTHER', /no preload hint/],
    ['a hold-back that is too small', 'HOLD-BACK=1.5', 'HOLD-BACK=1.1', /twice/],
    ['no blocking reload', 'CAN-BLOCK-RELOAD=YES,', '', /CAN-BLOCK-RELOAD/],
    ['a segment that begins without a keyframe', '"188@0",INDEPENDENT=YES\n#EXT-X-PRELOAD', '"188@0"\n#EXT-X-PRELOAD', /segment 9 does not begin/],
  ];
  for (const [name, from, to, complaint] of faults) {
    test(`finds ${name}`, () => {
      assert.ok(good.includes(from), 'the table fits the playlist');
      assert.match(judge(parsePlaylist(good.replace(from, to)), lowLatency).join('; '), complaint);
    });
  }

  /** @type {[string, string, string, RegExp][]} */
  const reloadFaults = [
    ['a target that changes', 'PART-TARGET=0.6', 'PART-TARGET=0.61', /partTarget changed/],
    ['a sequence that falls', 'SEQUENCE:7', 'SEQUENCE:6', /MSN fell/],
    ['a segment that changes', '#EXTINF:1.8,\ns8.ts', '#EXTINF:1.8,\nother.ts', /segment 8 was s8.ts/],
    ['a hint that does not come true', '"188@0",INDEPENDENT=YES\n#EXT-X-PART:DURATION=0.6,URI="s9.ts",BYTERANGE="188@188"', '"188@0",INDEPENDENT=YES\n#EXT-X-PART:DURATION=0.6,URI="s9.ts",BYTERANGE="188@564"', /the hint .* came as/],
  ];
  for (const [name, from, to, complaint] of reloadFaults) {
    test(`finds ${name} on reload`, () => {
      const next = HEAD + SEGMENTS + NEXT;
      assert.ok(next.includes(from), 'the table fits the playlist');
      assert.match(judgeReload(parsePlaylist(good), parsePlaylist(next.replace(from, to))).join('; '), complaint);
    });
  }
});
