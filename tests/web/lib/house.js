// What most tests of the dashboard start with: an RTSP camera, the service with it and a test camera,
// and a browser. Camera and service can be ended and started again where they were.

import { startBrowser } from './browser.js';
import { CLIP, startCamera, startService } from './processes.js';

/** @param {number} port of the RTSP camera */
const config = (port) => [
  'name = "Front door"', `source = { type = "rtsp", url = "rtsp://127.0.0.1:${port}/cam" }`,
  '[[camera]]', 'id = "test"', 'name = "Test picture"', 'source = { type = "test" }', 'resolution = "640x360"', 'fps = 25',
].join('\n');

export class House {
  /**
   * @param {import('playwright-core').Browser} browser
   * @param {Awaited<ReturnType<typeof startCamera>>} camera
   * @param {Awaited<ReturnType<typeof startService>>} service
   * @param {string} more
   */
  constructor(browser, camera, service, more) {
    this.browser = browser;
    this.camera = camera;
    this.service = service;
    this.more = more;
  }

  get url() {
    return this.service.url;
  }

  async killCamera() {
    await this.camera.process.kill();
  }

  async startCamera() {
    if (this.camera.process.alive()) return;
    this.camera = await startCamera(['--file', CLIP, '--port', String(this.camera.port)]);
  }

  async startService() {
    if (this.service.process.alive()) return;
    const { port } = this.service;
    this.service = await startService(config(this.camera.port) + this.more, { port });
  }

  async stop() {
    await this.browser.close();
    await this.service.stop();
    await this.camera.stop();
  }
}

/**
 * Cameras `cam` (RTSP, passed through) and `test`.
 * @param {{ more?: string }} [options] more: TOML after the cameras
 */
export async function startHouse({ more = '\n[webrtc]\nport = 0\n' } = {}) {
  const camera = await startCamera(['--file', CLIP]);
  const service = await startService(config(camera.port) + more);
  return new House(await startBrowser(), camera, service, more);
}
