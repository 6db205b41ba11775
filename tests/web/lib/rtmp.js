// An RTMP server that takes any stream: Debian's nginx with its RTMP module, read back by ffprobe. See
// tests/support/rtmp.rs.

import { existsSync } from 'node:fs';
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { connect } from 'node:net';
import { tmpdir } from 'node:os';
import { delimiter, join } from 'node:path';

import { lacks } from './namespace.js';
import { freePort, Process, waitFor } from './processes.js';

/** Where Debian puts nginx's modules. */
const MODULE = '/usr/lib/nginx/modules/ngx_rtmp_module.so';
const START_MS = 10_000;
const READ_MS = 15_000;

/**
 * @typedef {object} ReadBack what ffprobe makes of a stream
 * @property {string} codec
 * @property {string} profile
 * @property {number} width
 * @property {number} height
 * @property {number} reordered pictures that wait for later ones: 0 without B-frames
 * @property {number} frames decoded
 */

/**
 * Why there is no RTMP server here, for `describeIf`.
 * @returns {string | undefined}
 */
export function lacksRtmp() {
  const missing = lacks([['nginx', 'nginx-light'], ['ffprobe', 'ffmpeg']]);
  return missing ?? (existsSync(MODULE) ? undefined : `${MODULE} is missing (package libnginx-mod-rtmp)`);
}

/** @param {number} port */
export const answers = (port) => new Promise((resolve) => {
  const socket = connect(port, '127.0.0.1');
  socket.once('connect', () => resolve(true)).once('error', () => resolve(undefined));
  socket.once('connect', () => socket.destroy());
});

/**
 * The server, once it listens on a free port of 127.0.0.1.
 * `kill` ends it at once, `comeBack` starts a new one on the same port.
 */
export async function startRtmpServer() {
  const directory = await mkdtemp(join(tmpdir(), 'fanlight-rtmp-'));
  const port = await freePort();
  const [config, log] = [join(directory, 'nginx.conf'), join(directory, 'error.log')];
  // One process, not a master with workers: it ends when it is killed, and root in a namespace may not
  // become another user.
  await writeFile(config, `load_module ${MODULE};
daemon off;
master_process off;
pid ${directory}/nginx.pid;
error_log ${log} info;
events { worker_connections 256; }
rtmp {
  access_log off;
  server {
    listen 127.0.0.1:${port};
    application live { live on; idle_streams off; }
  }
}
`);
  const env = { ...process.env, PATH: [process.env.PATH ?? '', '/usr/sbin', '/sbin'].join(delimiter) };
  const start = async () => {
    const server = new Process('nginx', ['-e', log, '-p', directory, '-c', config], { env });
    await waitFor('nginx listens', START_MS, () => {
      if (!server.alive()) throw new Error(`nginx ended: ${server.output()}`);
      return answers(port);
    });
    return server;
  };

  let server = await start();
  const end = async () => {
    server.child.kill('SIGKILL');
    await server.stop();
  };
  const url = `rtmp://127.0.0.1:${port}/live`;
  return {
    port,
    /** The stream key follows after a `/`. */
    url,
    kill: end,
    comeBack: async () => {
      await end();
      server = await start();
    },
    stop: async () => {
      await end();
      await rm(directory, { recursive: true, force: true });
    },
    /**
     * How often this stream was begun to be published, over all restarts.
     * @param {string} key
     */
    publishes: async (key) => {
      const lines = (await readFile(log, 'utf8').catch(() => '')).split('\n');
      return lines.filter((line) => line.includes(`publish: name='${key}'`)).length;
    },
    /** @param {string} key @param {number} frames @returns {Promise<ReadBack>} */
    readBack: (key, frames) => readBack(`${url}/${key}`, frames),
  };
}

/**
 * Reads and decodes so many pictures of the video at this address, whatever ffprobe can read. Fails when
 * the stream is not there, or sends nothing for five seconds.
 * @param {string} url
 * @param {number} frames
 * @returns {Promise<ReadBack>}
 */
export async function readBack(url, frames) {
  const probe = new Process('ffprobe', [
    ...'-v error -of json -show_streams -select_streams v:0 -count_frames'.split(' '),
    // Microseconds: of silence, and to wait for an audio stream that never comes.
    ...'-rw_timeout 5000000 -analyzeduration 1000000'.split(' '),
    '-read_intervals', `%+#${frames}`, url,
  ]);
  const late = setTimeout(() => probe.child.kill('SIGKILL'), READ_MS);
  await probe.ended;
  clearTimeout(late);
  if (probe.child.exitCode !== 0) throw new Error(`${url}: ffprobe reads nothing: ${probe.output().slice(-500)}`);
  // Warnings of the decoder stand before the JSON.
  const told = probe.output();
  const [video] = JSON.parse(told.slice(told.search(/^\{/m))).streams;
  if (video === undefined) throw new Error(`${url}: no video in it`);
  return {
    codec: video.codec_name, profile: video.profile, width: video.width, height: video.height,
    reordered: video.has_b_frames, frames: Number(video.nb_read_frames),
  };
}
