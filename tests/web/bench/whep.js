// WebRTC in a browser: how long from the request to the first picture, and from the camera's raw picture to
// the page afterwards, read from a clock in the pictures. The camera is passed through, with a keyframe
// every 2 s; viewers come at any place between two.
//
//   node bench/whep.js [--rounds 10] [--seconds 20] [--size 1280x720] [--fps 30] [--gop 2]
//   node bench/whep.js --camera-port 8554 --url mediamtx=http://127.0.0.1:8889/cam/whep
//
// With --url another server is measured as well, by the same clock and in turns: it takes the camera at
// rtsp://127.0.0.1:PORT/cam.

import { parseArgs } from 'node:util';

import { openPage, percentile, startBrowser } from '../lib/browser.js';
import { sleep, startCamera, startService } from '../lib/processes.js';
import { startStatic } from '../lib/static.js';

const { values } = parseArgs({
  options: {
    rounds: { type: 'string', default: '10' },
    seconds: { type: 'string', default: '20' },
    fps: { type: 'string', default: '30' },
    size: { type: 'string', default: '1280x720' },
    gop: { type: 'string', default: '2' },
    'camera-port': { type: 'string', default: '0' },
    url: { type: 'string', multiple: true, default: [] },
  },
});

/**
 * In the page: watches for some seconds.
 * @param {{ url: string, seconds: number }} options
 */
async function watchIn({ url, seconds }) {
  const pc = new RTCPeerConnection();
  pc.addTransceiver('video', { direction: 'recvonly' });
  const video = document.createElement('video');
  Object.assign(video, { muted: true, autoplay: true, playsInline: true });
  document.body.replaceChildren(video);
  pc.ontrack = ({ streams }) => { video.srcObject = streams[0]; };
  const canvas = new OffscreenCanvas(320, 20);
  const context = /** @type {OffscreenCanvasRenderingContext2D} */ (canvas.getContext('2d', { willReadFrequently: true }));
  /** Age of the picture that is shown, by the bars in it. */
  const age = () => {
    const block = Math.floor(video.videoWidth / 64) * 2;
    context.drawImage(video, 0, 0, block * 32, block * 2, 0, 0, 320, 20);
    const { data } = context.getImageData(0, 0, 320, 20);
    let clock = 0;
    for (let bit = 0; bit < 32; bit += 1) {
      const at = (/** @type {number} */ y) => data[(y * 320 + bit * 10 + 5) * 4] > 128;
      if (at(5) === at(15)) return undefined;
      clock = (clock << 1) | (at(5) ? 1 : 0);
    }
    return (Date.now() - clock) | 0;
  };
  /** @type {number[]} */
  const ages = [];
  let [first, pictures, asked] = [0, 0, 0];
  const shown = () => {
    const now = performance.now();
    first ||= now - asked;
    pictures += 1;
    const old = now - asked - first > 3000 ? age() : undefined;
    if (old !== undefined) ages.push(old);
    video.requestVideoFrameCallback(shown);
  };
  video.requestVideoFrameCallback(shown);
  const offer = await pc.createOffer();
  await pc.setLocalDescription(offer);
  asked = performance.now();
  const answer = await fetch(url, { method: 'POST', headers: { 'Content-Type': 'application/sdp' }, body: offer.sdp });
  if (answer.status !== 201) throw new Error(`${url}: ${answer.status} ${await answer.text()}`);
  await pc.setRemoteDescription({ type: 'answer', sdp: await answer.text() });
  await new Promise((resolve) => { setTimeout(resolve, seconds * 1000); });
  pc.close();
  return { first, ages, rate: pictures / seconds };
}

const camera = await startCamera([
  '--port', values['camera-port'], '--test-pattern', `${values.size}@${values.fps}`, '--gop', values.gop, '--clock-bars',
]);
const service = await startService(`source = { type = "rtsp", url = "${camera.url}", latency_ms = 0 }`);
const browser = await startBrowser();
const rig = await startStatic();
const others = values.url.map((named) => [named.slice(0, named.indexOf('=')), named.slice(named.indexOf('=') + 1)]);
const servers = [['fanlight', `${service.url}/cameras/cam/whep`], ...others];
try {
  /** @type {Map<string, { first: number[], ages: number[], rates: number[] }>} */
  const results = new Map(servers.map(([name]) => [name, { first: [], ages: [], rates: [] }]));
  await sleep(5_000);
  for (let round = 0; round < Number(values.rounds); round += 1) {
    for (const [name, url] of round % 2 ? [...servers].reverse() : servers) {
      const { page } = await openPage(browser);
      await page.goto(`${rig.url}/player.html`);
      await sleep(100 + (round * 370) % 1900);
      const seen = await page.evaluate(watchIn, { url, seconds: Number(values.seconds) });
      await page.close();
      const result = /** @type {{ first: number[], ages: number[], rates: number[] }} */ (results.get(name));
      result.first.push(seen.first);
      result.ages.push(...seen.ages);
      result.rates.push(seen.rate);
    }
  }
  for (const [name, { first, ages, rates }] of results) {
    const rounded = (/** @type {number[]} */ numbers, /** @type {number} */ percent) => Math.round(percentile(numbers, percent));
    console.log(`${name.padEnd(12)} request to first picture: p50 ${rounded(first, 50)} p95 ${rounded(first, 95)} ms; `
      + `camera to page: p50 ${rounded(ages, 50)} p95 ${rounded(ages, 95)} ms; ${percentile(rates, 50).toFixed(1)} pictures a second`);
  }
} finally {
  await browser.close();
  await rig.stop();
  await service.stop();
  await camera.stop();
}
