// What states and transports are called on the page. Pure.
import type { Kind } from '../chain/kinds.ts';
import type { ChainView } from '../chain/view.ts';
import type { Camera, LifecycleState } from '../state/types.ts';
import * as format from './format.ts';

export const TRANSPORT: Record<Kind, string> = {
  livekit: 'LiveKit', whep: 'WHEP', 'll-hls': 'LL-HLS', mjpeg: 'MJPEG', snapshot: 'Snapshots',
};

/** With what it is made of. */
export const TRANSPORT_LONG: Record<Kind, string> = {
  livekit: 'WebRTC · LiveKit', whep: 'WebRTC · WHEP', 'll-hls': 'LL-HLS', mjpeg: 'MJPEG', snapshot: 'Snapshots',
};

export type Tone = 'good' | 'busy' | 'bad' | 'calm';

export const STATE: Record<LifecycleState, { word: string; tone: Tone }> = {
  idle: { word: 'Idle', tone: 'calm' },
  starting: { word: 'Starting', tone: 'busy' },
  live: { word: 'Live', tone: 'good' },
  stalled: { word: 'Stalled', tone: 'bad' },
  backing_off: { word: 'Waiting to retry', tone: 'bad' },
  refused: { word: 'Refused', tone: 'bad' },
  stopping: { word: 'Stopping', tone: 'calm' },
};

/** A state of a camera as the head of a message over its picture. */
export function cameraDown(camera: Camera): string {
  if (camera.presence === 'away') return 'Camera is unplugged';
  switch (camera.state) {
    case 'starting': return 'Camera is starting';
    case 'stalled': return 'Camera gives no pictures';
    case 'backing_off': return 'Camera is down';
    case 'refused': return 'Camera refuses access';
    case 'stopping': return 'Camera is stopping';
    default: return 'No picture';
  }
}

/** When a transport that does not work is tried again. */
export const again = (blocked: boolean): string => (blocked ? 'Tried again when something changes.' : 'Tried again in the background.');

export const OUTPUT: Record<string, string> = { livekit: 'LiveKit', whip: 'WHIP', rtmp: 'RTMP' };

export interface BadgeText {
  tone: Tone;
  /** The transport on screen, or what is being tried. */
  main: string;
  detail: string | null;
}

/** The badge of a picture: which transport is on screen, its latency, its state. */
export function badge(view: ChainView, camera: Camera, latency: number | null, long: boolean): BadgeText {
  const names = long ? TRANSPORT_LONG : TRANSPORT;
  const shown = view.shown === null ? null : names[view.shown];
  const first = view.trying[0];
  switch (view.state) {
    case 'live':
      return { tone: 'good', main: shown ?? '', detail: latency === null ? null : format.latency(latency) };
    case 'falling-back':
      return { tone: 'busy', main: 'Falling back', detail: first === undefined ? null : TRANSPORT[first] };
    case 'connecting':
      if (camera.state === 'starting') return { tone: 'busy', main: 'Starting', detail: null };
      return { tone: 'busy', main: 'Connecting', detail: first === undefined ? null : TRANSPORT[first] };
    case 'down':
      return { tone: 'bad', main: 'No picture', detail: null };
  }
}

/** How a camera is, as far as it is known. */
export function cameraState(camera: Camera, serverGone: boolean): { word: string; tone: Tone } {
  if (serverGone) return { word: 'Unknown', tone: 'calm' };
  return camera.presence === 'away' ? { word: 'Unplugged', tone: 'bad' } : STATE[camera.state];
}

/** One line about all cameras. */
export function summary(cameras: readonly Camera[]): { text: string; tone: Tone } {
  const live = cameras.filter((camera) => camera.state === 'live' || camera.state === 'idle').length;
  const other = cameras.length - live;
  if (cameras.length === 0) return { text: 'No cameras', tone: 'calm' };
  if (other === 0) return { text: cameras.length === 1 ? 'Live' : `All ${cameras.length} live`, tone: 'good' };
  return { text: `${live} of ${cameras.length} live`, tone: live === 0 ? 'bad' : 'busy' };
}

/** What a screen reader is told when a camera changes; null: nothing worth it. */
export function announcement(before: Camera | undefined, after: Camera): string | null {
  if (before === undefined) return null;
  if (before.presence !== after.presence && after.presence !== null) {
    return `${after.name}: ${after.presence === 'away' ? 'unplugged' : 'plugged in'}`;
  }
  if (before.state === after.state) return null;
  const well = (camera: Camera): boolean => camera.state === 'live' || camera.state === 'idle';
  if (well(before) === well(after)) return null;
  if (well(after)) return `${after.name}: live`;
  const why = after.lastError === null ? '' : `: ${after.lastError}`;
  return `${after.name}: ${cameraDown(after)}${why}`;
}
