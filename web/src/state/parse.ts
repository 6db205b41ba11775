// Makes the dashboard's state out of the server's JSON. Pure; never throws; what is missing or odd gets a harmless value.
import type { Answer } from './ask.ts';
import { type Json, list, number, object, text, time } from './json.ts';
import { parsePrinters } from './printersParse.ts';
import type { Camera, Control, Lifecycle, LifecycleState, Output, RoomRef, ServerState, Urls, Viewers } from './types.ts';

const STATES: readonly string[] = ['idle', 'starting', 'live', 'stalled', 'backing_off', 'refused', 'stopping'];

/** `backing_off`, `backing-off` and `BackingOff` are one word; an unknown one counts as idle. */
function state(value: unknown): LifecycleState {
  const word = (text(value) ?? '').replace(/([a-z])([A-Z])/g, '$1_$2').toLowerCase().replaceAll(/[-\s]/g, '_');
  return STATES.includes(word) ? word as LifecycleState : 'idle';
}

function lifecycle(json: Json): Lifecycle {
  return {
    state: state(json.state),
    since: time(json.since),
    attempts: number(json.attempts) ?? 0,
    restarts: number(json.restarts) ?? 0,
    lastError: text(json.last_error),
    nextTry: time(json.next_try),
  };
}

function urls(value: unknown): Urls {
  const json = object(value);
  return {
    stream: text(json.stream),
    snapshot: text(json.snapshot),
    hls: text(json.hls),
    hlsLl: text(json.hls_ll),
    hlsLlFmp4: text(json.hls_ll_fmp4),
    whep: text(json.whep),
  };
}

function viewers(camera: Json): Viewers {
  const json = object(camera.viewers);
  return {
    mjpeg: number(json.mjpeg) ?? number(camera.mjpeg_viewers) ?? 0,
    webrtc: number(json.webrtc) ?? 0,
    rtsp: number(json.rtsp) ?? 0,
    hls: number(json.hls) ?? 0,
  };
}

function output(value: unknown): Output[] {
  const json = object(value);
  const id = text(json.id);
  if (id === null) return [];
  return [{
    ...lifecycle(json),
    id,
    type: text(json.type) ?? 'output',
    target: text(json.target) ?? '',
    fps: number(json.fps),
    bitrateKbps: number(json.bitrate_kbps),
    dropped: number(json.dropped) ?? 0,
    room: text(json.room),
    identity: text(json.identity),
  }];
}

function room(value: unknown): RoomRef[] {
  const json = object(value);
  const [name, identity] = [text(json.room), text(json.identity)];
  return name === null || identity === null ? [] : [{ room: name, identity, live: json.live === true }];
}

function camera(value: unknown): Camera[] {
  const json = object(value);
  const id = text(json.id);
  if (id === null) return [];
  const size = /^(\d+)\s*[x×]\s*(\d+)$/.exec(text(json.resolution) ?? '');
  return [{
    ...lifecycle(json),
    id,
    name: text(json.name) ?? id,
    source: text(json.source) ?? '',
    presence: json.presence === 'present' || json.presence === 'away' ? json.presence : null,
    device: text(json.device),
    fps: number(json.fps) ?? 0,
    frameAge: number(json.frame_age_seconds),
    format: text(json.format),
    width: size === null ? null : Number(size[1]),
    height: size === null ? null : Number(size[2]),
    notes: list(json.notes).flatMap((note) => text(note) ?? []),
    urls: urls(json.urls),
    viewers: viewers(json),
    outputs: list(json.outputs).flatMap(output),
    livekit: list(json.livekit).flatMap(room),
  }];
}

const TYPES: readonly string[] = ['integer', 'boolean', 'menu', 'button', 'bitmask'];

/** The answer of `/api/cameras/{id}/controls`; controls of a type that is not known are left out. */
export function parseControls(value: unknown): Control[] {
  return list(object(value).controls).flatMap((entry) => {
    const json = object(entry);
    const [id, type] = [text(json.id), text(json.type)];
    if (id === null || type === null || !TYPES.includes(type)) return [];
    return [{
      id,
      name: text(json.name) ?? id,
      type: type as Control['type'],
      min: number(json.min) ?? 0,
      max: number(json.max) ?? 0,
      step: number(json.step) ?? 1,
      default: number(json.default) ?? 0,
      value: number(json.value),
      menu: list(json.menu).flatMap((choice) => {
        const [at, name] = [number(object(choice).value), text(object(choice).name)];
        return at === null ? [] : [{ value: at, name: name ?? String(at) }];
      }),
      readOnly: json.read_only === true,
      inactive: json.inactive === true,
    }];
  });
}

/** The state event, or the answer of `/api/cameras` (which has only the cameras). Null: neither. */
export function parseState(value: unknown): ServerState | null {
  const json = object(value);
  if (!Array.isArray(json.cameras)) return null;
  return {
    version: text(json.version),
    started: text(json.started),
    now: time(json.now),
    cameras: json.cameras.flatMap(camera),
    webrtc: object(json.webrtc).enabled !== false,
    livekit: object(json.livekit).enabled !== false,
    printers: parsePrinters(json.printers),
  };
}

/** The answers of `/api/cameras` and `/api/printers`. Printers that cannot be asked for now are as they were; a server that knows none has none. */
export function parsePolled(cameras: unknown, printers: Answer, before: ServerState | null): ServerState | null {
  const server = parseState(cameras);
  if (server === null) return null;
  if (printers.ok) return { ...server, printers: parsePrinters(printers.body) };
  return { ...server, printers: printers.refusal.status === 404 ? [] : before?.printers ?? [] };
}
