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

/** The playlists of a camera, the best first: low latency before plain, fMP4 before TS. Those behind it are for when it is missing. */
export function hlsPaths(camera: Camera, lowLatency: boolean): string[] {
  const { hlsLlFmp4, hlsLl, hls } = camera.urls;
  const quick = lowLatency || hls === null ? [hlsLlFmp4, hlsLl] : [];
  return [...quick, hls].filter((path) => path !== null);
}

/** `VITE_HLS_LOW_LATENCY` as it was built in: on unless it says no. */
export const wantsLowLatency = (text: string | undefined): boolean => !/^(false|0|no|off)$/i.test((text ?? '').trim());

export function offerOf(camera: Camera, livekit: boolean, webrtc: boolean, wanted: readonly Kind[]): Offer {
  const has: Record<Kind, boolean> = {
    livekit: livekit && liveRoom(camera) !== null,
    whep: webrtc && camera.urls.whep !== null,
    'll-hls': hlsPaths(camera, true).length > 0,
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
