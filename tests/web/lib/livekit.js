// A real LiveKit server in the test's namespace, the one that `scripts/livekit.sh` finds, and its room API.

import { spawnSync } from 'node:child_process';
import { createHmac } from 'node:crypto';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { createRequire } from 'node:module';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

import { ADDRESS, INTERFACE } from './namespace.js';
import { freePort, Process, ROOT, waitFor } from './processes.js';

export const KEY = 'rigkey';
export const SECRET = 'rig-secret-of-at-least-32-characters-000';
/** livekit-client as a script that sets `LivekitClient`. */
export const CLIENT = createRequire(import.meta.url).resolve('livekit-client');

const START_MS = 20_000;

/** @returns {{ path: string, missing?: undefined } | { path?: undefined, missing: string }} */
function find() {
  const found = spawnSync(join(ROOT, 'scripts/livekit.sh'), { encoding: 'utf8' });
  if (found.status === 0) return { path: found.stdout.trim() };
  return { missing: (found.stderr || String(found.error)).trim() };
}

/**
 * Why there is no LiveKit here, for `describeIf`.
 * @returns {string | undefined}
 */
export function lacksLiveKit() {
  return find().missing;
}

/**
 * A token signed with the server's key, or another one.
 * @param {string} identity
 * @param {Record<string, unknown>} grants e.g. `{ roomJoin: true, room: 'porch' }`
 * @param {{ key?: string, secret?: string, seconds?: number }} [options]
 */
export function token(identity, grants, { key = KEY, secret = SECRET, seconds = 600 } = {}) {
  const now = Math.floor(Date.now() / 1000);
  const encode = (/** @type {object} */ value) => Buffer.from(JSON.stringify(value)).toString('base64url');
  const claims = { iss: key, sub: identity, nbf: now - 1, exp: now + seconds, video: grants };
  const signed = `${encode({ alg: 'HS256', typ: 'JWT' })}.${encode(claims)}`;
  return `${signed}.${createHmac('sha256', secret).update(signed).digest('base64url')}`;
}

/**
 * @typedef {object} Ingresses what LiveKit offers ingresses with; without it it refuses to make any
 * @property {string} redis `host:port`
 * @property {number} rtmpPort where the ingress service listens, on 127.0.0.1
 * @property {number} whipPort
 */

/**
 * The server, once it answers.
 * `kill` ends it at once, `comeBack` starts a new one, without rooms, on the same ports.
 * @param {{ ingresses?: Ingresses }} [options]
 */
export async function startLiveKit({ ingresses } = {}) {
  const { path, missing } = find();
  if (path === undefined) throw new Error(missing);
  const directory = await mkdtemp(join(tmpdir(), 'fanlight-livekit-'));
  const [port, udpPort] = [await freePort(), await freePort()];
  const config = join(directory, 'livekit.yaml');
  // JSON is YAML. A STUN server that is none: without any LiveKit names public ones to its clients.
  await writeFile(config, JSON.stringify({
    port,
    bind_addresses: ['127.0.0.1', ADDRESS],
    keys: { [KEY]: SECRET },
    rtc: {
      udp_port: udpPort, tcp_port: 0, use_external_ip: false, node_ip: ADDRESS,
      interfaces: { includes: [INTERFACE] }, stun_servers: ['127.0.0.1:3478'],
    },
    ...(ingresses && {
      redis: { address: ingresses.redis },
      ingress: {
        rtmp_base_url: `rtmp://127.0.0.1:${ingresses.rtmpPort}/live`, whip_base_url: `http://127.0.0.1:${ingresses.whipPort}/w`,
      },
    }),
  }));
  const http = `http://127.0.0.1:${port}`;
  const start = async () => {
    const server = new Process(path, ['--config', config], { cwd: directory });
    await waitFor('LiveKit answers', START_MS, async () => {
      if (!server.alive()) throw new Error(`LiveKit ended: ${server.output()}`);
      const answer = await fetch(http).catch(() => undefined);
      return answer?.ok ? true : undefined;
    });
    return server;
  };

  /** @param {string} room @param {string} method @param {object} body @returns {Promise<any>} */
  const ask = async (room, method, body) => {
    const bearer = token('rig', { roomAdmin: true, roomCreate: true, roomList: true, room });
    const answer = await fetch(`${http}/twirp/livekit.RoomService/${method}`, {
      method: 'POST',
      headers: { Authorization: `Bearer ${bearer}`, 'Content-Type': 'application/json' },
      body: JSON.stringify(body),
    });
    const told = await answer.json();
    // A room that is not there has nobody in it.
    if (!answer.ok && told.code !== 'not_found') throw new Error(`${method}: ${answer.status} ${JSON.stringify(told)}`);
    return told;
  };

  let server = await start();
  const end = async () => {
    server.child.kill('SIGKILL');
    await server.stop();
  };
  return {
    port,
    udpPort,
    /** For publishers and browsers. */
    url: `ws://${ADDRESS}:${port}`,
    log: () => server.output(),
    /** SIGSTOP and SIGCONT among them. @param {NodeJS.Signals} name */
    signal: (name) => server.child.kill(name),
    kill: end,
    comeBack: async () => {
      await end();
      server = await start();
    },
    stop: async () => {
      await end();
      await rm(directory, { recursive: true, force: true });
    },
    /** @param {string} room @returns {Promise<any[]>} LiveKit's ParticipantInfo, hidden ones too */
    participants: async (room) => (await ask(room, 'ListParticipants', { room })).participants ?? [],
    /** @param {string} room */
    deleteRoom: (room) => ask(room, 'DeleteRoom', { room }),
    /** @param {string} room @param {string} identity */
    removeParticipant: (room, identity) => ask(room, 'RemoveParticipant', { room, identity }),
  };
}
