// The playlists as a strict client sees them over ten seconds: hls-parser's judgement, our own, and every
// part and segment fetched.

import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';

import { parsePlaylist } from '../lib/playlist.js';
import { CLIP, startCamera, startService } from '../lib/processes.js';
import { watch } from '../lib/watcher.js';

const SECONDS = 12;

/** @type {{ what: string, args: string[], gop?: number }[]} */
const CAMERAS = [
  { what: 'a camera with a keyframe every two seconds', args: ['--test-pattern', '640x360@25', '--gop', '2'], gop: 2 },
  // Keyframes 0.3 to 2.4 s apart, pictures out of order.
  { what: 'a camera with B-frames and irregular keyframes', args: ['--file', CLIP] },
];

for (const { what, args, gop } of CAMERAS) describe(what, () => {
  /** @type {Awaited<ReturnType<typeof startCamera>>} */ let camera;
  /** @type {Awaited<ReturnType<typeof startService>>} */ let service;

  before(async () => {
    camera = await startCamera(args);
    service = await startService(`source = { type = "rtsp", url = "${camera.url}" }`);
  });
  after(async () => {
    await service?.stop();
    await camera?.stop();
  });

  test('the first request is answered with a playlist that has a segment, not with 404', async () => {
    const answer = await fetch(`${service.url}/hls/cam/stream.m3u8`);
    assert.equal(answer.status, 200);
    assert.match(answer.headers.get('content-type') ?? '', /mpegurl/i);
    assert.match(await answer.text(), /#EXTINF/);
  });

  test('stream.m3u8 keeps its promises over many reloads', async () => {
    const { wrong, seen, playlist } = await watch(`${service.url}/hls/cam/stream.m3u8`, { lowLatency: false, seconds: SECONDS });
    assert.deepEqual(wrong, [], seen.last);
    assert.ok(seen.segments >= 4, JSON.stringify(seen));
    if (!gop) return;
    for (const { duration } of playlist?.segments ?? []) assert.ok(Math.abs(duration - gop) < 0.2, `${duration} s`);
  });

  for (const name of ['stream_ll.m3u8', 'stream_ll_fmp4.m3u8']) {
    test(`${name} keeps its promises over many blocking reloads`, async () => {
      const { wrong, seen, playlist } = await watch(`${service.url}/hls/cam/${name}`, { lowLatency: true, seconds: SECONDS });
      assert.deepEqual(wrong, [], seen.last);
      // Each reload waits for one part; parts are a little shorter than their target.
      const parts = SECONDS / (playlist?.partTarget ?? NaN);
      assert.ok(seen.playlists > 0.7 * parts && seen.playlists < 2 * parts, `${seen.playlists} reloads where ${parts} parts were due`);
      assert.ok(seen.longestReloadMs < 1000 * 3 * (playlist?.partTarget ?? NaN), `a reload took ${seen.longestReloadMs} ms`);
      assert.ok(seen.hintsFetched > 0);
    });

    test(`${name} answers a reload far ahead, or a part without its segment, with 400`, async () => {
      const url = `${service.url}/hls/cam/${name}`;
      const { mediaSequence, segments } = parsePlaylist(await (await fetch(url)).text());
      const farAhead = mediaSequence + segments.length + 10;
      for (const query of [`_HLS_msn=${farAhead}`, '_HLS_part=1', '_HLS_msn=x']) {
        const answer = await fetch(`${url}?${query}`, { signal: AbortSignal.timeout(5_000) });
        assert.equal(answer.status, 400, query);
      }
    });
  }

  test('a browser of another origin may read playlists and ranges', async () => {
    const url = `${service.url}/hls/cam/stream_ll.m3u8`;
    const origin = { Origin: 'http://dash.example.org' };
    const plain = await fetch(url, { headers: origin });
    assert.equal(plain.headers.get('access-control-allow-origin'), '*');
    const preflight = await fetch(url, {
      method: 'OPTIONS',
      headers: { ...origin, 'Access-Control-Request-Method': 'GET', 'Access-Control-Request-Headers': 'range' },
    });
    assert.ok(preflight.ok, String(preflight.status));
    assert.match(preflight.headers.get('access-control-allow-headers') ?? '', /range|\*/i);
  });
});
