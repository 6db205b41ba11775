// Latency from the camera's raw picture to the canvas of a browser, read from a clock in the pictures.
//
//   node bench/latency.js [--seconds 60] [--fps 30] [--size 1280x720] [--only LL-HLS] [--json]
//   node bench/latency.js --camera-port 8554 --url mediamtx=http://127.0.0.1:8888/cam/index.m3u8
//
// With --url other servers are measured by the same clock: they take the camera at
// rtsp://127.0.0.1:PORT/cam. The service itself is measured without it.

import { parseArgs } from 'node:util';

import { openPage, percentile, play, startBrowser } from '../lib/browser.js';
import { sleep, startCamera, startService } from '../lib/processes.js';
import { startStatic } from '../lib/static.js';
import { warmUp } from '../lib/watcher.js';

const { values } = parseArgs({
  options: {
    seconds: { type: 'string', default: '60' },
    settle: { type: 'string', default: '10' },
    fps: { type: 'string', default: '30' },
    size: { type: 'string', default: '1280x720' },
    gop: { type: 'string', default: '2' },
    'camera-port': { type: 'string', default: '0' },
    url: { type: 'string', multiple: true, default: [] },
    only: { type: 'string', default: '' },
    json: { type: 'boolean', default: false },
  },
});

const low = { lowLatencyMode: true };
const catchUp = { ...low, maxLiveSyncPlaybackRate: 1.2 };

/** @param {string} base @returns {{ name: string, url: string, kind?: 'mjpeg', hls?: object }[]} */
const own = (base) => [
  { name: 'MJPEG', url: `${base}/stream.mjpg`, kind: 'mjpeg' },
  { name: 'LL-HLS fMP4', url: `${base}/hls/cam/stream_ll_fmp4.m3u8`, hls: low },
  { name: 'LL-HLS fMP4, rate up to 1.2', url: `${base}/hls/cam/stream_ll_fmp4.m3u8`, hls: catchUp },
  { name: 'LL-HLS TS', url: `${base}/hls/cam/stream_ll.m3u8`, hls: low },
  { name: 'LL-HLS TS, rate up to 1.2', url: `${base}/hls/cam/stream_ll.m3u8`, hls: catchUp },
  { name: 'HLS', url: `${base}/hls/cam/stream.m3u8`, hls: {} },
];

const shape = `${values.size}@${values.fps}`;
const camera = await startCamera([
  '--port', values['camera-port'], '--test-pattern', shape, '--gop', values.gop, '--clock-bars',
]);
/** @type {Awaited<ReturnType<typeof startService>> | undefined} */
let service;
const browser = await startBrowser();
const rig = await startStatic();
try {
  /** @type {ReturnType<typeof own>} */
  let runs;
  if (values.url.length > 0) {
    runs = values.url.flatMap((named) => {
      const [name, ...rest] = named.split('=');
      const url = rest.join('=');
      return [{ name, url, hls: low }, { name: `${name}, rate up to 1.2`, url, hls: catchUp }];
    });
    await sleep(3_000);
  } else {
    // No jitter buffer: the camera is on the same machine, and what is measured is the way from it.
    service = await startService(`source = { type = "rtsp", url = "${camera.url}", latency_ms = 0 }`);
    runs = own(service.url).filter((run) => run.name.includes(values.only));
  }
  const results = [];
  for (const run of runs) {
    const { page } = await openPage(browser);
    try {
      if (service && run.hls) await warmUp(run.url, 4);
      const played = await play(page, rig.url, { ...run, seconds: Number(values.seconds), settle: Number(values.settle) });
      results.push({
        name: run.name,
        p50: percentile(played.latencies, 50),
        p95: percentile(played.latencies, 95),
        stalls: played.stalls,
        longestGap: played.frozenMs,
        pictures: played.latencies.length,
        unreadable: played.unreadable,
        errors: played.errors,
      });
    } catch (error) {
      results.push({ name: run.name, p50: NaN, p95: NaN, stalls: NaN, longestGap: NaN, pictures: 0, unreadable: 0, errors: [String(error)] });
    }
    await page.close();
    if (!values.json) {
      const { name, p50, p95, stalls, longestGap, pictures, errors } = results[results.length - 1];
      console.log(`${name.padEnd(30)} p50 ${String(p50).padStart(5)} ms  p95 ${String(p95).padStart(5)} ms  `
        + `stalls ${stalls}  longest gap ${longestGap} ms  ${pictures} pictures ${errors.length ? errors.join('; ') : ''}`);
    }
  }
  if (values.json) console.log(JSON.stringify({ shape, seconds: Number(values.seconds), results }));
} finally {
  await browser.close();
  await rig.stop();
  await service?.stop();
  await camera.stop();
}
