// What the server says: JSON however incomplete, the link to the server, its clock, addresses.
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import type { Answer } from '../src/state/ask.ts';
import { resolve } from '../src/state/base.ts';
import { ServerClock } from '../src/state/clock.ts';
import { INITIAL, type LinkState, reduce, retryWait } from '../src/state/link.ts';
import { parseControls, parsePolled, parseState } from '../src/state/parse.ts';
import type { ServerState } from '../src/state/types.ts';

const CAMERA = {
  id: 'porch', name: 'Porch', source: 'rtsp', state: 'backing_off', since: '2026-11-21T07:14:05.429Z', attempts: 4, restarts: 2,
  last_error: 'no route', next_try: '2026-11-21T07:14:35Z', frozen: 0, fps: 29.9, frames: 5, frame_age_seconds: 3.5, format: 'H.264',
  resolution: '1280x720', notes: ['re-encoded'], mjpeg_viewers: 1, viewers: { mjpeg: 1, webrtc: 2, hls: 3 },
  outputs: [{ id: 'world', type: 'livekit', target: 'wss://x', state: 'live', since: null, last_error: null, bitrate_kbps: 900, room: 'house' }],
  livekit: [{ room: 'house', identity: 'porch', live: true }],
  urls: { stream: '/cameras/porch/stream.mjpg', snapshot: null, hls_ll_fmp4: '/hls/porch/stream_ll_fmp4.m3u8', whep: '/cameras/porch/whep' },
};

describe('the state of the server', () => {
  test('is read', () => {
    const state = parseState({ version: '1', started: 'a', now: '2026-11-21T07:14:05Z', cameras: [CAMERA], webrtc: { enabled: false }, livekit: { enabled: true } });
    expect(state).toMatchObject({ version: '1', webrtc: false, livekit: true });
    expect(state?.cameras[0]).toMatchObject({
      id: 'porch', state: 'backing_off', lastError: 'no route', width: 1280, height: 720, viewers: { mjpeg: 1, webrtc: 2, hls: 3 },
      livekit: [{ room: 'house', identity: 'porch', live: true }], nextTry: Date.parse('2026-11-21T07:14:35Z'),
    });
    expect(state?.cameras[0]?.outputs[0]).toMatchObject({ id: 'world', state: 'live', bitrateKbps: 900, room: 'house' });
  });

  test('of an older server is read as well', () => {
    const state = parseState({ cameras: [{ id: 'a', state: 'live', mjpeg_viewers: 2 }] });
    expect(state?.cameras[0]).toMatchObject({ name: 'a', viewers: { mjpeg: 2, webrtc: 0, hls: 0 }, outputs: [], livekit: [], notes: [] });
  });

  test('tells whether a camera is plugged in, where that is known', () => {
    const state = parseState({ cameras: [{ id: 'a', presence: 'away' }, { id: 'b', presence: 'present', device: '/dev/video0' }, { id: 'c' }] });
    expect(state?.cameras.map(({ presence, device }) => [presence, device])).toEqual([['away', null], ['present', '/dev/video0'], [null, null]]);
  });

  test('has controls of the types that the page knows', () => {
    const gain = { id: 'gain', name: 'Gain', type: 'integer', min: -1, max: 9, step: 2, default: 1, value: 3, menu: [], read_only: false, inactive: true };
    const menu = { id: 'auto', type: 'menu', value: 1, menu: [{ value: 1, name: 'Manual' }, { name: 'odd' }] };
    const [first, second, ...rest] = parseControls({ controls: [gain, menu, { id: 'x', type: 'area' }, 7] });
    expect(first).toMatchObject({ id: 'gain', min: -1, max: 9, step: 2, default: 1, value: 3, readOnly: false, inactive: true });
    expect(second).toMatchObject({ id: 'auto', name: 'auto', menu: [{ value: 1, name: 'Manual' }] });
    expect(rest).toEqual([]);
  });

  test('never throws, whatever comes', () => {
    fc.assert(fc.property(fc.jsonValue(), (value) => {
      parseControls(value);
      parseControls({ controls: [value, { id: 'a', type: 'menu', menu: value }] });
    }));
    fc.assert(fc.property(fc.jsonValue(), (value) => {
      parseState(value);
      parseState({ cameras: [value] });
      parseState({ cameras: [{ ...CAMERA, outputs: value, urls: value, viewers: value, livekit: [value], notes: value }] });
    }));
    expect(parseState({ error: 'no' })).toBeNull();
  });
});

test('printers that cannot be asked for are as they were, and a server that knows none has none', () => {
  const of = (status: number): Answer => ({ ok: false, refusal: { status, code: '', message: '', details: {} } });
  const before = parsePolled({ cameras: [] }, { ok: true, body: [{ id: 7 }] }, null);
  const after = (answer: Answer): number[] | undefined => parsePolled({ cameras: [] }, answer, before)?.printers.map((printer) => printer.id);
  expect([after(of(0)), after(of(503)), after(of(404)), after({ ok: true, body: [] })]).toEqual([[7], [7], [], []]);
  expect(parsePolled({ cameras: [] }, of(0), null)?.printers).toEqual([]);
  expect(parsePolled(null, { ok: true, body: [] }, before)).toBeNull();
});

describe('the link', () => {
  const server = (started: string): ServerState => ({ version: null, started, now: null, cameras: [], printers: [], webrtc: true, livekit: true });
  const after = (state: LinkState, now: number, ...events: Parameters<typeof reduce>[3][]): LinkState => events.reduce((sum, event) => reduce(sum, now, 0.5, event), state);

  test('is live with the first message, and gone since the first failure', () => {
    const live = after(INITIAL, 1000, { type: 'message', server: server('a'), way: 'events' });
    expect(live).toMatchObject({ phase: 'live', goneSince: null, returns: 0 });
    const gone = after(live, 5000, { type: 'failed' });
    expect(gone).toMatchObject({ phase: 'gone', goneSince: 5000 });
    expect(gone.server).not.toBeNull();
    expect(after(gone, 9000, { type: 'failed' }).goneSince).toBe(5000);
  });

  test('its return and a restart of the server are told apart from news', () => {
    const live = after(INITIAL, 0, { type: 'message', server: server('a'), way: 'events' });
    expect(after(live, 1, { type: 'message', server: server('a'), way: 'events' }).returns).toBe(0);
    expect(after(live, 1, { type: 'message', server: server('b'), way: 'events' }).returns).toBe(1);
    expect(after(live, 1, { type: 'failed' }, { type: 'message', server: server('a'), way: 'polling' }).returns).toBe(1);
  });

  test('a nudge makes the next try now', () => {
    const gone = after(INITIAL, 1000, { type: 'failed' });
    expect(after(gone, 1001, { type: 'nudge' }).nextTry).toBe(1001);
  });

  test('waits are short enough to be back soon, and spread', () => {
    fc.assert(fc.property(fc.nat(1000), fc.double({ min: 0, max: 1, noNaN: true }), (failures, unit) => {
      const wait = retryWait(failures, unit);
      expect(wait).toBeGreaterThanOrEqual(250);
      expect(wait).toBeLessThanOrEqual(4000);
    }));
  });
});

describe('the clock', () => {
  test('is as far off as the quickest message says', () => {
    const clock = new ServerClock();
    for (const delay of [80, 5, 300, 40]) clock.learn(10_000, 7000 + delay);
    expect(clock.offset).toBe(2995);
  });

  test('forgets when the clock was set', () => {
    const clock = new ServerClock();
    clock.learn(10_000, 7000);
    clock.learn(500_000, 7000);
    expect(clock.offset).toBe(493_000);
  });
});

test.each([
  ['/cameras/a/whep', 'http://pi:8080/', 'http://pi:8080/cameras/a/whep'],
  ['/cameras/a/whep', 'https://home.example/secure/', 'https://home.example/secure/cameras/a/whep'],
  ['api/events', 'https://home.example/secure/index.html', 'https://home.example/secure/api/events'],
  ['//evil.example/x', 'https://home.example/secure/', 'https://home.example/secure/evil.example/x'],
  ['https://cdn.example/x', 'https://home.example/', 'https://cdn.example/x'],
])('%s below %s is %s', (path, base, address) => {
  expect(resolve(path, base).href).toBe(address);
});
