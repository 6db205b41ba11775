// A UDP relay between browser and service that can be shut, as a firewall is, and opened again: packets
// vanish and nobody is told. The service names it to viewers as its public address.

import { createSocket } from 'node:dgram';

/** A flow without packets for this long is forgotten, in milliseconds. */
const IDLE_MS = 30_000;

export class UdpRelay {
  shut = false;
  /** Packets that went through. */
  passed = 0;
  #front = createSocket('udp4');
  /** One socket for each viewer, so that the service tells them apart. @type {Map<string, { socket: import('node:dgram').Socket, at: number }>} */
  #flows = new Map();

  /** @param {number} target port of the service on 127.0.0.1 */
  constructor(target) {
    this.target = target;
    this.#front.on('message', (packet, from) => {
      if (this.shut) return;
      this.passed += 1;
      this.#flow(from).send(packet, this.target, '127.0.0.1');
    });
  }

  get port() {
    return this.#front.address().port;
  }

  /** @param {number} [port] */
  async listen(port = 0) {
    await new Promise((resolve, reject) => {
      this.#front.once('error', reject);
      this.#front.bind(port, '127.0.0.1', () => resolve(undefined));
    });
  }

  /** @param {import('node:dgram').RemoteInfo} from */
  #flow(from) {
    const name = `${from.address}:${from.port}`;
    const now = Date.now();
    for (const [other, { socket, at }] of this.#flows) {
      if (now - at < IDLE_MS) continue;
      socket.close();
      this.#flows.delete(other);
    }
    let flow = this.#flows.get(name);
    if (flow === undefined) {
      flow = { socket: createSocket('udp4'), at: now };
      flow.socket.on('message', (packet) => {
        if (this.shut) return;
        this.passed += 1;
        this.#front.send(packet, from.port, from.address);
      });
      // The service is gone for a moment: UDP does not care.
      flow.socket.on('error', () => {});
      this.#flows.set(name, flow);
    }
    flow.at = now;
    return flow.socket;
  }

  async stop() {
    for (const { socket } of this.#flows.values()) socket.close();
    await new Promise((resolve) => this.#front.close(() => resolve(undefined)));
  }
}

/** @param {number} target port of the service on 127.0.0.1 */
export async function startUdpRelay(target) {
  const relay = new UdpRelay(target);
  await relay.listen();
  return relay;
}
