// WHEP: WebRTC straight from the device. One POST with the offer, the answer carries the server's candidates.
// Owns the peer connection and the session on the server; deletes both on stop.
import type { End } from '../chain/machine.ts';
import { LatencyMeter } from './rtcStats.ts';
import type { Listener, Surroundings, Transport } from './types.ts';
import { words } from './types.ts';
import { createVideo, play, watchFrames } from './video.ts';
import { iceServers, refusal, retryAfter } from './whepHttp.ts';

/** The server is ICE-lite: it needs none of our candidates, so gathering is not waited for longer than this. */
const GATHERING = 100;
const POST_TIMEOUT = 5000;

/** What the server told in Link headers, for the next attempts: the offer is made before the first answer. */
let knownServers: RTCIceServer[] = [];

export class Whep implements Transport {
  readonly kind = 'whep';
  readonly element = createVideo();
  #surroundings: Surroundings;
  #path: string;
  #peer: RTCPeerConnection | null = null;
  #session: URL | null = null;
  #abort = new AbortController();
  #meter = new LatencyMeter();
  #unwatch: (() => void) | null = null;
  #listener: Listener | null = null;

  constructor(surroundings: Surroundings, path: string) {
    this.#surroundings = surroundings;
    this.#path = path;
  }

  start(listener: Listener): void {
    this.#listener = listener;
    this.#unwatch = watchFrames(this.element, (frame) => this.#listener?.frame(frame));
    this.#connect().catch((error: unknown) => this.#end({ class: 'failed', message: words(error) }));
  }

  async #connect(): Promise<void> {
    const peer = new RTCPeerConnection({ iceServers: knownServers, bundlePolicy: 'max-bundle' });
    this.#peer = peer;
    peer.addEventListener('track', (event) => {
      // The smallest buffer: what is late is repaired or skipped.
      if ('jitterBufferTarget' in event.receiver) event.receiver.jitterBufferTarget = 0;
      this.element.srcObject = event.streams[0] ?? new MediaStream([event.track]);
      play(this.element);
    });
    peer.addEventListener('connectionstatechange', () => {
      if (peer.connectionState === 'failed' || peer.connectionState === 'closed') {
        this.#end({ class: 'failed', message: 'no media way to the server (UDP blocked?)' });
      } else if (peer.connectionState === 'disconnected') {
        this.#listener?.shaky();
      }
    });
    peer.addTransceiver('video', { direction: 'recvonly' });
    await peer.setLocalDescription(await peer.createOffer());
    await gathered(peer);
    if (this.#listener === null) return;
    const timeout = setTimeout(() => this.#abort.abort(new Error('the server did not answer in 5 s')), POST_TIMEOUT);
    const url = this.#surroundings.url(this.#path);
    let response: Response;
    let body: string;
    try {
      response = await fetch(url, {
        method: 'POST',
        headers: { 'Content-Type': 'application/sdp', Accept: 'application/sdp' },
        body: peer.localDescription?.sdp ?? '',
        signal: this.#abort.signal,
        cache: 'no-store',
      });
      const location = response.headers.get('Location');
      if (response.status === 201 && location !== null) this.#session = sessionUrl(location, response.url);
      body = await response.text();
    } finally {
      clearTimeout(timeout);
    }
    const servers = iceServers(response.headers.get('Link'));
    if (servers.length > 0) knownServers = servers;
    if (response.status !== 201) {
      const retry = retryAfter(response.headers.get('Retry-After'), Date.now());
      this.#end(refusal(response.status, retry, errorText(body)));
      return;
    }
    // Stopped while the server answered: its session must not stay.
    if (this.#stopped()) {
      this.#delete();
      return;
    }
    if (servers.length > 0) peer.setConfiguration({ ...peer.getConfiguration(), iceServers: servers });
    await peer.setRemoteDescription({ type: 'answer', sdp: body });
    this.#meter.start(() => peer.getStats());
  }

  #stopped(): boolean {
    return this.#listener === null;
  }

  #end(end: End): void {
    const listener = this.#listener;
    if (listener === null) return;
    // Told first: the last picture is kept as a still before the element loses it.
    listener.ended(end);
    this.stop();
  }

  stop(): void {
    const posting = this.#listener !== null && this.#session === null;
    this.#listener = null;
    this.#unwatch?.();
    this.#meter.stop();
    this.#peer?.close();
    this.#peer = null;
    // An unanswered POST runs on, so that its session can be deleted; it has its own timeout.
    if (!posting) this.#delete();
    this.element.srcObject = null;
  }

  #delete(): void {
    const session = this.#session;
    this.#session = null;
    // keepalive: also while the page is being left.
    if (session !== null) fetch(session, { method: 'DELETE', keepalive: true }).catch(() => undefined);
  }

  latency(): number | null {
    return this.#meter.value;
  }
}

/** A session is below the page even when a proxy with a sub-path is between: an absolute path is resolved against the POST's. */
function sessionUrl(location: string, posted: string): URL {
  const url = new URL(location, posted);
  const at = new URL(posted).pathname;
  const base = at.slice(0, at.lastIndexOf('/cameras/') + 1);
  if (url.origin === new URL(posted).origin && location.startsWith('/cameras/') && base !== '/' && base !== '') {
    url.pathname = base + location.slice(1);
  }
  return url;
}

async function gathered(peer: RTCPeerConnection): Promise<void> {
  if (peer.iceGatheringState === 'complete') return;
  await new Promise<void>((resolve) => {
    const timer = setTimeout(resolve, GATHERING);
    peer.addEventListener('icegatheringstatechange', () => {
      if (peer.iceGatheringState !== 'complete') return;
      clearTimeout(timer);
      resolve();
    });
  });
}

/** The message of the server's error JSON. */
function errorText(body: string): string {
  try {
    const parsed = JSON.parse(body) as { error?: { message?: unknown } };
    return typeof parsed.error?.message === 'string' ? parsed.error.message : '';
  } catch {
    return '';
  }
}
