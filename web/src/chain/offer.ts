// What the server has for a camera, as the chain wants to know it. Pure.
import type { Camera, RoomRef } from '../state/types.ts';
import { type Kind, KINDS } from './kinds.ts';

export interface Offer {
  kinds: Kind[];
  /** The camera gives pictures, or would for a viewer. */
  delivering: boolean;
  starting: boolean;
  /** Milliseconds between pictures; 0 while unknown. */
  interval: number;
}

/** The room to watch this camera in: the first one that it is live in. */
export function liveRoom(camera: Camera): RoomRef | null {
  return camera.livekit.find((room) => room.live) ?? null;
}

/** Low latency first, fMP4 before TS. */
export function hlsPath(camera: Camera): string | null {
  return camera.urls.hlsLlFmp4 ?? camera.urls.hlsLl ?? camera.urls.hls;
}

export function offerOf(camera: Camera, livekit: boolean, webrtc: boolean, wanted: readonly Kind[]): Offer {
  const has: Record<Kind, boolean> = {
    livekit: livekit && liveRoom(camera) !== null,
    whep: webrtc && camera.urls.whep !== null,
    'll-hls': hlsPath(camera) !== null,
    mjpeg: camera.urls.stream !== null,
    snapshot: camera.urls.snapshot !== null,
  };
  return {
    kinds: KINDS.filter((kind) => has[kind] && wanted.includes(kind)),
    // Idle waits for a viewer.
    delivering: camera.state === 'live' || camera.state === 'idle',
    starting: camera.state === 'starting',
    interval: camera.state === 'live' && camera.fps > 0.05 ? 1000 / camera.fps : 0,
  };
}

/** `?transports=whep,mjpeg`: only these. Unknown words are left out; nothing known means all. */
export function wantedKinds(query: string): Kind[] {
  const words = (new URLSearchParams(query).get('transports') ?? '').toLowerCase().split(/[\s,]+/);
  const aliases: Record<string, Kind> = { hls: 'll-hls', llhls: 'll-hls', webrtc: 'whep', snapshots: 'snapshot' };
  const wanted = words.map((word) => aliases[word] ?? word);
  const kinds = KINDS.filter((kind) => wanted.includes(kind));
  return kinds.length > 0 ? kinds : [...KINDS];
}
