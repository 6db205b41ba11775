// What the server tells (`/api/events`, `/api/cameras`), as the dashboard uses it. parse.ts makes it from JSON, with what is missing
// filled in, so that an older or newer server is no reason to show nothing.

import type { Printer } from './printers.ts';

/** State of anything supervised. A word that is not known is shown as it is. */
export type LifecycleState = 'idle' | 'starting' | 'live' | 'stalled' | 'backing_off' | 'refused' | 'stopping';

export interface Lifecycle {
  state: LifecycleState;
  /** Milliseconds of the server's clock; null when unknown. */
  since: number | null;
  attempts: number;
  restarts: number;
  lastError: string | null;
  /** Milliseconds of the server's clock. */
  nextTry: number | null;
}

export interface Urls {
  stream: string | null;
  snapshot: string | null;
  hls: string | null;
  hlsLl: string | null;
  hlsLlFmp4: string | null;
  whep: string | null;
}

export interface Viewers {
  mjpeg: number;
  webrtc: number;
  rtsp: number;
  hls: number;
}

/** A room that this camera is published into. */
export interface RoomRef {
  room: string;
  identity: string;
  live: boolean;
}

export interface Output extends Lifecycle {
  id: string;
  type: string;
  /** Redacted. */
  target: string;
  fps: number | null;
  bitrateKbps: number | null;
  dropped: number;
  room: string | null;
  identity: string | null;
}

export interface Camera extends Lifecycle {
  id: string;
  name: string;
  source: string;
  /** `away`: unplugged; null when that is not known. */
  presence: 'present' | 'away' | null;
  /** Where it is plugged in now: `/dev/video0`. */
  device: string | null;
  fps: number;
  frameAge: number | null;
  format: string | null;
  width: number | null;
  height: number | null;
  notes: string[];
  urls: Urls;
  viewers: Viewers;
  outputs: Output[];
  livekit: RoomRef[];
}

export interface Control {
  id: string;
  name: string;
  type: 'integer' | 'boolean' | 'menu' | 'button' | 'bitmask';
  min: number;
  max: number;
  step: number;
  default: number;
  value: number | null;
  menu: { value: number; name: string }[];
  readOnly: boolean;
  /** An automatic has it now. */
  inactive: boolean;
}

export interface ServerState {
  version: string | null;
  /** Changes with each start of the service. */
  started: string | null;
  /** The server's clock when it said this, ms. */
  now: number | null;
  cameras: Camera[];
  printers: Printer[];
  webrtc: boolean;
  livekit: boolean;
}
