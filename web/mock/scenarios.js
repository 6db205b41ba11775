// Made-up states for looking at the dashboard: each is a function of the time that gives the cameras.

/** @typedef {Record<string, unknown> & { id: string, state: string }} Camera */
/** @typedef {(now: number) => Camera[]} Scenario */

const begun = Date.now();
const iso = (/** @type {number} */ time) => new Date(time).toISOString();

/** @param {string} id @param {string} name @param {Record<string, unknown>} [more] @returns {Camera} */
function camera(id, name, more = {}) {
  return {
    id, name, source: 'rtsp', state: 'live', since: iso(begun - 4_210_000), attempts: 1, restarts: 0, last_error: null, next_try: null,
    fps: 29.97, frames: 1000, frame_age_seconds: 0.02, format: 'H.264 1280x720', resolution: '1280x720', notes: [],
    viewers: { mjpeg: 1, webrtc: 3, hls: 0 }, outputs: [], livekit: [],
    urls: {
      stream: `/cameras/${id}/stream.mjpg`, snapshot: `/cameras/${id}/snapshot.jpg`, hls: `/hls/${id}/stream.m3u8`,
      hls_ll: `/hls/${id}/stream_ll.m3u8`, hls_ll_fmp4: `/hls/${id}/stream_ll_fmp4.m3u8`, whep: null,
    },
    ...more,
  };
}

/** A wait that begins anew each time it is over. @param {number} now @param {number} period */
const next = (now, period) => iso(now + period - ((now - begun) % period));

/** @param {number} now @returns {Camera[]} */
const several = (now) => [
  camera('porch', 'Front porch'),
  camera('garden', 'Garden', { source: 'libcamera' }),
  camera('printer', 'Printer – Voron 2.4', { source: 'v4l2', resolution: '640x480' }),
  camera('drive', 'Driveway', {
    state: 'backing_off', fps: 0, frame_age_seconds: 312, attempts: 14, next_try: next(now, 24_000),
    last_error: 'rtsp://192.168.1.31:554/stream1: no route to host; is the camera switched on?', viewers: { mjpeg: 0, webrtc: 0, hls: 0 },
  }),
  camera('shed', 'Tool shed', {
    state: 'refused', fps: 0, frame_age_seconds: null, resolution: null, format: null, attempts: 3, next_try: next(now, 240_000),
    last_error: 'the camera refuses user “viewer”: wrong password', viewers: { mjpeg: 0, webrtc: 0, hls: 0 },
  }),
  camera('attic', 'Attic', { state: 'starting', fps: 0, frame_age_seconds: null, resolution: null, format: null }),
];

/** @param {number} now */
const outputs = (now) => [
  { id: 'world', camera: 'porch', type: 'livekit', target: 'wss://live.example.org', room: 'house', identity: 'porch', state: 'live', since: iso(begun - 900_000), fps: 29.97, frames: 900, bitrate_kbps: 2140, dropped: 0, attempts: 2, restarts: 1, last_error: null, next_try: null },
  { id: 'studio', camera: 'porch', type: 'whip', target: 'https://whip.example.net/ingest/…', state: 'backing_off', since: iso(now - 8000), fps: 0, frames: 0, bitrate_kbps: 0, dropped: 12, attempts: 7, restarts: 6, last_error: 'the server answered 503: too many sessions', next_try: next(now, 30_000) },
  { id: 'tube', camera: 'porch', type: 'rtmp', target: 'rtmps://a.rtmps.example.com/live2/…', state: 'refused', since: iso(now - 200_000), fps: 0, frames: 0, bitrate_kbps: 0, dropped: 0, attempts: 2, restarts: 0, last_error: 'the stream key is not accepted: publish was rejected', next_try: next(now, 290_000) },
];

/** @type {Record<string, Scenario | undefined>} */
export const scenarios = {
  live: () => several(begun).slice(0, 3).map((each) => ({ ...each })),
  one: (now) => [camera('porch', 'Front porch', {
    outputs: outputs(now), notes: ['H.264 with B-frames: re-encoded for WebRTC and LiveKit; HLS and RTMP get the camera’s own.'],
  })],
  mixed: several,
  down: (now) => several(now).slice(3, 4).map((each) => ({ ...each, outputs: outputs(now) })),
  none: () => [],
  printers: () => [camera('1', 'Studio X1'), camera('2', 'Workbench A1')],
  starting: () => [camera('attic', 'Attic', { state: 'starting', fps: 0, frame_age_seconds: null, resolution: null, format: null })],
};
