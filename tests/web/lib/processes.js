// The camera and the service as child processes: started on free ports of 127.0.0.1, always ended.
// `FANLIGHT_BIN` and `RTSP_CAMERA_BIN` name other executables than those of the debug build.

import { spawn } from 'node:child_process';
import { existsSync } from 'node:fs';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';

export const ROOT = fileURLToPath(new URL('../../../', import.meta.url));
export const CLIP = join(ROOT, 'tests/fixtures/bikes.mp4');
export const FANLIGHT = process.env.FANLIGHT_BIN ?? join(ROOT, 'target/debug/fanlight');
const CAMERA = process.env.RTSP_CAMERA_BIN ?? join(ROOT, 'target/debug/examples/rtsp_camera');

const START_MS = 20_000;
const STOP_MS = 5_000;
const KEPT_LINES = 2_000;

/** @param {number} ms */
export const sleep = (ms) => new Promise((resolve) => setTimeout(resolve, ms));

/**
 * Asks until there is an answer; fails when there is none in time.
 * @template T
 * @param {string} what
 * @param {number} ms
 * @param {() => T | undefined | Promise<T | undefined>} probe
 * @returns {Promise<T>}
 */
export async function waitFor(what, ms, probe) {
  const began = Date.now();
  for (;;) {
    const answer = await probe();
    if (answer !== undefined) return answer;
    if (Date.now() - began > ms) throw new Error(`${what}: not within ${ms} ms`);
    await sleep(50);
  }
}

/** @returns {Promise<number>} */
export function freePort() {
  return new Promise((resolve, reject) => {
    const server = createServer();
    server.once('error', reject);
    server.listen(0, '127.0.0.1', () => {
      const address = server.address();
      server.close(() => resolve(typeof address === 'object' && address ? address.port : 0));
    });
  });
}

/** A child process with its newest lines kept. */
export class Process {
  /** @type {string[]} */
  lines = [];

  /**
   * @param {string} command
   * @param {string[]} args
   * @param {import('node:child_process').SpawnOptions & { lines?: boolean }} [options]
   *   lines: whether its output is kept line by line (default), or left to the caller
   */
  constructor(command, args, { lines = true, ...options } = {}) {
    this.name = command.split('/').at(-1);
    if (command.includes('/') && !existsSync(command)) throw new Error(`${command} is missing: build it first`);
    this.child = spawn(command, args, { ...options, stdio: 'pipe' });
    this.ended = new Promise((resolve) => this.child.once('close', resolve));
    this.ended.then(() => process.off('exit', this.atExit));
    for (const stream of [lines && this.child.stdout, this.child.stderr]) {
      if (!stream) continue;
      createInterface({ input: stream }).on('line', (line) => {
        this.lines.push(line);
        if (this.lines.length > KEPT_LINES) this.lines.shift();
      });
    }
    // Whatever ends this test run also ends its children.
    this.atExit = () => this.child.kill('SIGKILL');
    process.once('exit', this.atExit);
  }

  alive() {
    return this.child.exitCode === null && this.child.signalCode === null;
  }

  output() {
    return this.lines.join('\n');
  }

  /** Ends it without a word. */
  async kill() {
    process.off('exit', this.atExit);
    this.child.kill('SIGKILL');
    await this.ended;
  }

  async stop() {
    process.off('exit', this.atExit);
    if (!this.alive()) return;
    this.child.kill('SIGTERM');
    const late = setTimeout(() => this.child.kill('SIGKILL'), STOP_MS);
    await this.ended;
    clearTimeout(late);
  }
}

/**
 * The RTSP camera of `examples/rtsp_camera`.
 * @param {string[]} args
 */
export async function startCamera(args) {
  const camera = new Process(CAMERA, args);
  const port = await waitFor('the camera listens', START_MS, () => {
    if (!camera.alive()) throw new Error(`the camera ended: ${camera.output()}`);
    const line = camera.lines.find((text) => text.startsWith('listening '));
    return line ? Number(line.split(' ')[1]) : undefined;
  });
  return { process: camera, port, url: `rtsp://127.0.0.1:${port}/cam`, stop: () => camera.stop() };
}

/**
 * The service with one camera `cam` whose TOML lines are given.
 * @param {string} camera
 * @param {{ live?: boolean, port?: number, bind?: string }} [options] live: wait for its first pictures
 *   (default); port: this one rather than any that is free, to come back where it was
 */
export async function startService(camera, { live = true, port: wanted, bind = '127.0.0.1' } = {}) {
  const directory = await mkdtemp(join(tmpdir(), 'fanlight-web-'));
  const config = join(directory, 'fanlight.toml');
  await writeFile(config, `[[camera]]\nid = "cam"\n${camera}\n`);
  const port = wanted ?? await freePort();
  const env = {
    ...process.env,
    FANLIGHT_BIND: bind,
    FANLIGHT_PORT: String(port),
    FANLIGHT_RTSP_PORT: '0',
    HEALTH_FILE: join(directory, 'health.json'),
    STATE_DIRECTORY: join(directory, 'state'),
    NO_COLOR: '1',
  };
  const service = new Process(FANLIGHT, ['run', '--config', config], { cwd: directory, env });
  const url = `http://${bind.includes(':') ? `[${bind}]` : bind}:${port}`;
  const stop = async () => {
    await service.stop();
    await rm(directory, { recursive: true, force: true });
  };
  try {
    await waitFor(live ? 'the camera is live' : 'the service answers', START_MS, async () => {
      if (!service.alive()) throw new Error(`the service ended: ${service.output()}`);
      const answer = await fetch(url + (live ? '/ready' : '/health')).catch(() => undefined);
      return answer?.ok ? true : undefined;
    });
  } catch (error) {
    await stop();
    throw new Error(`${error}\n${service.output()}`, { cause: error });
  }
  return { process: service, port, url, stop };
}
