// What is written on the page, which columns the wall has, which transports are wanted, and what WHEP's headers mean.
import { describe, expect, test } from 'vitest';
import { Budget, limitsFor } from '../src/chain/budget.ts';
import { hlsPaths, offerOf, wantedKinds } from '../src/chain/offer.ts';
import { KINDS } from '../src/chain/kinds.ts';
import { parseState } from '../src/state/parse.ts';
import { iceServers, refusal, retryAfter } from '../src/transports/whepHttp.ts';
import { latencyBetween, sample } from '../src/transports/rtcStats.ts';
import * as format from '../src/ui/format.ts';
import { gridFor } from '../src/ui/grid.ts';
import { cameraHref, parseRoute } from '../src/ui/route.ts';
import { announcement, summary } from '../src/ui/words.ts';

const cameras = (...states: string[]) => parseState({ cameras: states.map((state, index) => ({
  id: `c${index}`, state, last_error: 'no route', urls: { stream: '/s', whep: '/w', hls: '/h', hls_ll: '/l' }, livekit: [{ room: 'r', identity: 'i', live: index > 0 }],
})) })?.cameras ?? [];

test.each([[4, '0 ms'], [124, '120 ms'], [994, '990 ms'], [995, '1.0 s'], [1250, '1.3 s'], [12_400, '12 s']])('a latency of %d ms is %s', (ms, text) => {
  expect(format.latency(ms)).toBe(text);
});

test.each([[0, '0 s'], [59.4, '59 s'], [60, '1 min'], [125, '2 min 5 s'], [3600, '1 h'], [12_000, '3 h 20 min'], [187_200, '2 d 4 h']])('%d seconds are %s', (seconds, text) => {
  expect(format.duration(seconds)).toBe(text);
});

test('times to come and gone', () => {
  expect(format.countdown(5200, 1000)).toBe('in 5 s');
  expect(format.countdown(900, 1000)).toBe('now');
  expect(format.ago(0.4)).toBe('just now');
  expect(format.ago(61)).toBe('1 min 1 s ago');
});

test('numbers', () => {
  expect([format.fps(29.97), format.fps(0.5), format.bitrate(850), format.bitrate(2140)]).toEqual(['30 fps', '0.5 fps', '850 kbit/s', '2.1 Mbit/s']);
  expect(format.snapshotName('porch', new Date(2026, 0, 2, 3, 4, 5))).toBe('porch-2026-01-02-03-04-05.jpg');
});

test.each([
  ['#/', { page: 'wall' }], ['', { page: 'wall' }], ['#/camera/porch', { page: 'camera', id: 'porch' }],
  ['#/camera/a%2Fb', { page: 'camera', id: 'a/b' }], ['#/camera/%', { page: 'wall' }],
])('%s is a page', (hash, route) => {
  expect(parseRoute(hash)).toEqual(route);
});

test('a camera’s address leads back to it', () => {
  expect(parseRoute(cameraHref('ä b/c'))).toEqual({ page: 'camera', id: 'ä b/c' });
});

describe('the wall', () => {
  test.each([[1, 1400, 800, 1], [4, 1400, 800, 2], [6, 1400, 800, 3], [2, 390, 800, 1], [9, 2500, 1350, 3], [3, 800, 1100, 1]])(
    '%d cameras on %d x %d have %d columns', (count, width, height, columns) => {
      expect(gridFor(count, width, height).columns).toBe(columns);
    },
  );

  test('tiles fit the width, always', () => {
    for (let count = 1; count < 40; count += 1) {
      for (const [width, height] of [[336, 700], [780, 1000], [1400, 800], [2500, 1350]] as const) {
        const { columns, tile } = gridFor(count, width, height);
        expect(columns * tile + (columns - 1) * 12).toBeLessThanOrEqual(width);
        expect(tile).toBeGreaterThanOrEqual(Math.min(width, 300) - 1);
      }
    }
  });
});

describe('the offer', () => {
  test('is what the server has and the address wants', () => {
    const [first, second] = cameras('live', 'live');
    if (first === undefined || second === undefined) throw new Error('no cameras');
    expect(offerOf(first, true, true, KINDS).kinds).toEqual(['whep', 'll-hls', 'mjpeg']);
    expect(offerOf(second, true, false, KINDS).kinds).toEqual(['livekit', 'll-hls', 'mjpeg']);
    expect(offerOf(second, true, true, ['mjpeg', 'snapshot']).kinds).toEqual(['mjpeg']);
    expect(hlsPaths(first, true)).toEqual(['/l', '/h']);
    expect(hlsPaths(first, false)).toEqual(['/h']);
  });

  test.each([['?transports=mjpeg,whep', ['whep', 'mjpeg']], ['?transports=HLS%20snapshots', ['ll-hls', 'snapshot']], ['?transports=x', [...KINDS]], ['', [...KINDS]]])(
    '%s wants %j', (query, kinds) => {
      expect(wantedKinds(query)).toEqual(kinds);
    },
  );

  test.each([['live', true, false], ['idle', true, false], ['starting', false, true], ['backing_off', false, false], ['BackingOff', false, false]])(
    'a camera that is %s delivers: %s', (state, delivering, starting) => {
      const [camera] = cameras(state);
      if (camera === undefined) throw new Error('no camera');
      expect(offerOf(camera, true, true, KINDS)).toMatchObject({ delivering, starting });
    },
  );
});

describe('connections', () => {
  test('streams leave two of the six for state and snapshots, except over HTTP/2', () => {
    const budget = new Budget(limitsFor('http/1.1', 4));
    expect(['a', 'b', 'c', 'd', 'e'].map((camera) => budget.take(camera, 'mjpeg'))).toEqual([true, true, true, true, false]);
    expect(budget.take('e', 'snapshot')).toBe(true);
    budget.release('b', 'mjpeg');
    expect(budget.take('e', 'll-hls')).toBe(true);
    expect(limitsFor('h2', 4).http).toBeGreaterThan(20);
  });

  test('a camera may change transports when all are taken', () => {
    const budget = new Budget({ http: 1, peers: 8 });
    expect([budget.take('a', 'll-hls'), budget.take('a', 'mjpeg'), budget.take('b', 'mjpeg')]).toEqual([true, true, false]);
  });
});

describe('WHEP', () => {
  test('ICE servers are read from Link headers', () => {
    expect(iceServers('<stun:s.example:3478>; rel="ice-server", <turn:t.example?transport=udp>; rel="ice-server"; username="a,b"; credential="x;\\"y"; credential-type="password", <https://x>; rel=next')).toEqual([
      { urls: 'stun:s.example:3478' },
      { urls: 'turn:t.example?transport=udp', username: 'a,b', credential: 'x;"y' },
    ]);
    expect(iceServers(null)).toEqual([]);
  });

  test('Retry-After is seconds or a date', () => {
    expect([retryAfter('3', 0), retryAfter(new Date(5000).toUTCString(), 2000), retryAfter('soon', 0), retryAfter(null, 0), retryAfter('9999', 0)]).toEqual([3000, 3000, null, null, 60_000]);
  });

  test.each([[401, 'refused'], [404, 'refused'], [409, 'failed'], [503, 'failed'], [500, 'failed'], [415, 'refused']])('status %d is %s', (status, kind) => {
    expect(refusal(status, null, '').class).toBe(kind);
  });

  test('latency is half a round trip, the jitter buffer, decoding and a picture', () => {
    const report = (values: Record<string, unknown>) => sample([
      { type: 'inbound-rtp', kind: 'video', ...values }, { type: 'candidate-pair', nominated: true, currentRoundTripTime: 0.02 },
    ] as Record<string, unknown>[]);
    const before = report({ jitterBufferDelay: 1, jitterBufferEmittedCount: 100, totalDecodeTime: 1, framesDecoded: 100 });
    const later = report({ jitterBufferDelay: 2.2, jitterBufferEmittedCount: 130, totalDecodeTime: 1.3, framesDecoded: 130 });
    expect(latencyBetween(before, later, 33)).toBeCloseTo(10 + 40 + 10 + 33);
    expect(latencyBetween(before, before, 33)).toBeNull();
  });
});

describe('what is said', () => {
  test('one line about all', () => {
    expect(summary(cameras('live', 'live', 'idle'))).toEqual({ text: 'All 3 live', tone: 'good' });
    expect(summary(cameras('live', 'stalled'))).toEqual({ text: '1 of 2 live', tone: 'busy' });
    expect(summary(cameras('refused')).tone).toBe('bad');
    expect(summary([]).text).toBe('No cameras');
  });

  test('only changes between well and unwell are announced', () => {
    const [live] = cameras('live');
    const [down] = cameras('backing_off');
    const [refused] = cameras('refused');
    if (live === undefined || down === undefined || refused === undefined) throw new Error('no camera');
    expect(announcement(live, down)).toBe('c0: Camera is down: no route');
    expect(announcement(down, refused)).toBeNull();
    expect(announcement(refused, live)).toBe('c0: live');
    expect(announcement(undefined, down)).toBeNull();
    const [here, away] = [{ ...live, presence: 'present' as const }, { ...live, presence: 'away' as const }];
    expect(announcement(here, away)).toBe('c0: unplugged');
    expect(announcement(away, here)).toBe('c0: plugged in');
  });
});
