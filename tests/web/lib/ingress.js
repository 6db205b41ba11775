// LiveKit's ingress service, which takes RTMP and publishes it in LiveKit, and the Redis between the two.
// There is no package of `ingress`: it is used when it is on PATH. See tests/support/{ingress,redis}.rs.

import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

import { KEY, SECRET } from './livekit.js';
import { ADDRESS, INTERFACE, lacks } from './namespace.js';
import { freePort, Process, waitFor } from './processes.js';
import { answers } from './rtmp.js';

/** Why there is no ingress here. @returns {string | undefined} */
export function lacksIngress() {
  return lacks([['ingress', 'none; see github.com/livekit/ingress'], ['redis-server', 'redis-server']]);
}

/** A Redis with nothing on disk. */
export async function startRedis() {
  const directory = await mkdtemp(join(tmpdir(), 'fanlight-redis-'));
  const port = await freePort();
  const redis = new Process('redis-server', [
    '--port', String(port), '--bind', '127.0.0.1', '--daemonize', 'no', '--save', '', '--appendonly', 'no', '--dir', directory,
  ]);
  await waitFor('Redis listens', 10_000, () => answers(port));
  return {
    /** As LiveKit's configuration wants it. */
    address: `127.0.0.1:${port}`,
    stop: async () => {
      await redis.stop();
      await rm(directory, { recursive: true, force: true });
    },
  };
}

/**
 * The service, where LiveKit was told that it is.
 * @param {{ url: string }} livekit
 * @param {import('./livekit.js').Ingresses} ingresses
 */
export async function startIngress(livekit, { redis, rtmpPort, whipPort }) {
  const directory = await mkdtemp(join(tmpdir(), 'fanlight-ingress-'));
  const config = join(directory, 'ingress.yaml');
  const healthPort = await freePort();
  await writeFile(config, JSON.stringify({
    api_key: KEY, api_secret: SECRET, ws_url: livekit.url, redis: { address: redis },
    rtmp_port: rtmpPort, whip_port: whipPort, http_relay_port: await freePort(), health_port: healthPort,
    rtc_config: { udp_port: await freePort(), use_external_ip: false, node_ip: ADDRESS, interfaces: { includes: [INTERFACE] } },
    // Cores that have to be idle, or it refuses a stream. A test machine is busy; less than none always is.
    cpu_cost: {
      rtmp_cpu_cost: -1, whip_cpu_cost: -1, whip_bypass_transcoding_cpu_cost: -1, url_cpu_cost: -1, min_idle_ratio: 0.001,
    },
  }));
  const ingress = new Process('ingress', ['--config', config], { cwd: directory });
  await waitFor('ingress answers', 20_000, async () => {
    if (!ingress.alive()) throw new Error(`ingress ended: ${ingress.output()}`);
    const answer = await fetch(`http://127.0.0.1:${healthPort}/`).catch(() => undefined);
    return answer?.ok ? true : undefined;
  });
  return {
    log: () => ingress.output(),
    stop: async () => {
      ingress.child.kill('SIGKILL');
      await ingress.stop();
      await rm(directory, { recursive: true, force: true });
    },
  };
}
