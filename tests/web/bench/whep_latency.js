// WebRTC in Chromium: how long from the offer's leaving to the first picture, joining at random times, and
// how old pictures are when the page has them, read from the clock in them.
//
//   node bench/whep_latency.js [--joins 20] [--seconds 20] [--size 1280x720] [--fps 30] [--gop 2] [--json]
//   MEDIAMTX_BIN=… GO2RTC_BIN=… node bench/whep_latency.js
//
// With those set, MediaMTX and go2rtc serve the same camera in the same run. Joins go round the servers in
// turn, and each server has one long viewing: what the machine does meanwhile meets all alike.

import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { parseArgs } from 'node:util';

import { openPage, percentile, play, startBrowser } from '../lib/browser.js';
import { Process, freePort, sleep, startCamera, startService, waitFor } from '../lib/processes.js';
import { startStatic } from '../lib/static.js';

const { values } = parseArgs({
  options: {
    joins: { type: 'string', default: '20' },
    seconds: { type: 'string', default: '20' },
    settle: { type: 'string', default: '3' },
    fps: { type: 'string', default: '30' },
    size: { type: 'string', default: '1280x720' },
    gop: { type: 'string', default: '2' },
    json: { type: 'boolean', default: false },
  },
});

/** @typedef {{ name: string, url: string, stop: () => Promise<void> }} Server */

/** @param {string} source @returns {Promise<Server>} */
async function fanlight(source) {
  // No jitter buffer for the camera: it is on the same machine.
  const service = await startService(`source = { type = "rtsp", url = "${source}", latency_ms = 0 }\n[webrtc]\nport = 0\n`);
  return { name: 'Fanlight', url: `${service.url}/cameras/cam/whep`, stop: service.stop };
}

/**
 * Another server with a configuration file, on ports of its own.
 * @param {string} name @param {string} bin @param {(ports: number[]) => { config: string, args: string[], url: string }} how
 * @returns {Promise<Server>}
 */
async function peer(name, bin, how) {
  const directory = await mkdtemp(join(tmpdir(), 'fanlight-peer-'));
  const { config, args, url } = how([await freePort(), await freePort(), await freePort()]);
  const file = join(directory, 'config.yml');
  await writeFile(file, config);
  const process = new Process(bin, [...args, file]);
  await waitFor(`${name} answers`, 20_000, async () => {
    if (!process.alive()) throw new Error(`${name} ended: ${process.output()}`);
    return (await fetch(url, { method: 'OPTIONS' }).catch(() => undefined)) ? true : undefined;
  });
  const stop = async () => {
    await process.stop();
    await rm(directory, { recursive: true, force: true });
  };
  return { name, url, stop };
}

const camera = await startCamera(['--test-pattern', `${values.size}@${values.fps}`, '--gop', values.gop, '--clock-bars']);
/** @type {Server[]} */
const servers = [];
const browser = await startBrowser();
const rig = await startStatic();
try {
  servers.push(await fanlight(camera.url));
  if (process.env.MEDIAMTX_BIN) {
    servers.push(await peer('MediaMTX', process.env.MEDIAMTX_BIN, ([http, udp]) => ({
      // A source that is always read, as Fanlight's is.
      config: `logLevel: warn\nrtsp: no\nrtmp: no\nhls: no\nsrt: no\napi: no\nwebrtc: yes\nwebrtcAddress: 127.0.0.1:${http}\n`
        + `webrtcLocalUDPAddress: 127.0.0.1:${udp}\nwebrtcIPsFromInterfaces: no\nwebrtcAdditionalHosts: [127.0.0.1]\n`
        + `paths:\n  cam:\n    source: ${camera.url}\n    rtspTransport: tcp\n    sourceOnDemand: no\n`,
      args: [],
      url: `http://127.0.0.1:${http}/cam/whep`,
    })));
  }
  if (process.env.GO2RTC_BIN) {
    servers.push(await peer('go2rtc', process.env.GO2RTC_BIN, ([http, media]) => ({
      config: `log:\n  level: warn\napi:\n  listen: 127.0.0.1:${http}\n  origin: "*"\nrtsp:\n  listen: ""\nwebrtc:\n  listen: 127.0.0.1:${media}\n`
        + `  candidates:\n    - 127.0.0.1:${media}\n  ice_servers: []\nstreams:\n  cam: ${camera.url}\npreload:\n  cam: "video"\n`,
      args: ['-config'],
      url: `http://127.0.0.1:${http}/api/webrtc?src=cam`,
    })));
  }
  await sleep(3_000);

  /** @type {Map<string, { first: number[], failed: string[] }>} */
  const joins = new Map(servers.map(({ name }) => [name, { first: [], failed: [] }]));
  for (let n = 0; n < Number(values.joins); n += 1) {
    for (const server of servers) {
      const { page } = await openPage(browser);
      // Anywhere in the group of pictures.
      await sleep(Math.random() * Number(values.gop) * 1000);
      try {
        const played = await play(page, rig.url, { url: server.url, kind: 'whepPlain', seconds: 0.5, startMs: 10_000 });
        joins.get(server.name)?.first.push(played.firstMs);
      } catch (error) {
        joins.get(server.name)?.failed.push(String(error).slice(0, 200));
      }
      await page.close();
    }
  }
  const results = [];
  for (const server of servers) {
    const { page } = await openPage(browser);
    const played = await play(page, rig.url, {
      url: server.url, kind: 'whepPlain', seconds: Number(values.seconds), settle: Number(values.settle),
    });
    await page.close();
    const { first, failed } = joins.get(server.name) ?? { first: [], failed: [] };
    results.push({
      name: server.name,
      joins: first.length,
      first: { p50: Math.round(percentile(first, 50)), p95: Math.round(percentile(first, 95)), max: Math.round(Math.max(...first)) },
      latency: { p50: percentile(played.latencies, 50), p95: percentile(played.latencies, 95) },
      longestGap: played.frozenMs,
      pictures: played.latencies.length,
      errors: [...failed, ...played.errors],
    });
    const result = results[results.length - 1];
    if (!values.json) {
      console.log(`${result.name.padEnd(10)} first picture p50 ${result.first.p50} ms, p95 ${result.first.p95} ms, max ${result.first.max} ms `
        + `(${result.joins} joins)  latency p50 ${result.latency.p50} ms, p95 ${result.latency.p95} ms  longest gap `
        + `${result.longestGap} ms, ${result.pictures} pictures ${result.errors.join('; ')}`);
    }
  }
  if (values.json) console.log(JSON.stringify({ shape: `${values.size}@${values.fps}`, gop: Number(values.gop), results }));
} finally {
  await browser.close();
  await rig.stop();
  for (const server of servers) await server.stop();
  await camera.stop();
}
