// The promises of the fallback chain, in a simulated world.
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { backoff } from '../src/chain/backoff.ts';
import { type Kind, KINDS } from '../src/chain/kinds.ts';
import { slotOf } from '../src/chain/machine.ts';
import { view } from '../src/chain/view.ts';
import { World } from './world.ts';

const after = (kind: Kind): Kind => KINDS[KINDS.indexOf(kind) + 1] ?? 'snapshot';

describe('the beginning', () => {
  test('the best offered transport is shown', () => {
    const world = new World().begin().run(5000);
    expect(world.live('livekit')).toBe(true);
    expect(world.starts.map((start) => start.kind)).toEqual(['livekit']);
  });

  test('only what is offered is tried', () => {
    const world = new World(['mjpeg', 'snapshot']).begin().run(5000);
    expect(world.live('mjpeg')).toBe(true);
    expect(world.faults).toEqual([]);
  });

  test('a best one that says nothing does not hold up the picture', () => {
    const world = new World();
    world.down('livekit', null);
    world.begin();
    expect(world.until(() => world.live('whep'), 3000)).not.toBeNull();
  });

  test('a refusing one is left at once', () => {
    const world = new World();
    for (const kind of ['livekit', 'whep', 'll-hls'] as const) world.down(kind);
    world.begin();
    const took = world.until(() => world.live('mjpeg'), 3000);
    expect(took).toBeLessThan(500);
  });

  test('with nothing offered it says connecting, and starts what is offered later', () => {
    const world = new World([]).begin().run(3000);
    expect(world.state).toBe('connecting');
    world.offered = ['whep'];
    world.offer();
    world.run(1000);
    expect(world.live('whep')).toBe(true);
  });
});

describe('each step down', () => {
  for (const kind of KINDS.slice(0, -1)) {
    for (const [how, says] of [['said', { class: 'failed', message: 'gone' }], ['silent', null]] as const) {
      test(`${kind} fails (${how}): the next one is on screen within 3 s`, () => {
        const world = new World(KINDS.slice(KINDS.indexOf(kind))).begin().run(40000);
        expect(world.live(kind)).toBe(true);
        world.down(kind, says);
        const took = world.until(() => world.live(after(kind)), 10000);
        expect(took).not.toBeNull();
        expect(took).toBeLessThan(3000);
        expect(world.faults).toEqual([]);
      });
    }
  }

  test('UDP is blocked: from WHEP to some picture within 3 s, then LL-HLS, though LiveKit is silent as well', () => {
    const world = new World().begin().run(20000);
    world.down('livekit', null);
    world.down('whep', null);
    expect(world.until(() => world.shown !== 'livekit' && world.state === 'live', 10000)).toBeLessThan(3000);
    expect(world.until(() => world.live('ll-hls'), 10000)).not.toBeNull();
    world.run(30000);
    expect(world.live('ll-hls')).toBe(true);
  });

  test('LiveKit says that it is in trouble: left once, not taken back by its old pictures', () => {
    const world = new World().begin().run(20000);
    expect(world.live('livekit')).toBe(true);
    const shown = world.shows.length;
    world.down('livekit', null);
    world.send({ type: 'shaky', run: slotOf(world.chain, 'livekit').run });
    world.run(3000);
    expect(world.live('whep')).toBe(true);
    expect(world.shows.slice(shown).map(({ kind }) => kind)).toEqual(['whep']);
  });

  test('the silence of a slow camera is no failure', () => {
    const world = new World(['whep', 'mjpeg']);
    for (const kind of KINDS) world.ways[kind].interval = 2000;
    world.send({ type: 'offer', kinds: ['whep', 'mjpeg'], delivering: true, starting: false, interval: 2000 });
    world.run(60000);
    expect(world.live('whep')).toBe(true);
    expect(world.shows.length).toBeLessThanOrEqual(2);
  });
});

describe('each step up', () => {
  for (const kind of KINDS.slice(0, -1)) {
    test(`${kind} works again: it takes over after two seconds of pictures, and the worse one is closed`, () => {
      const world = new World(KINDS.slice(KINDS.indexOf(kind)), () => 0.99);
      world.down(kind);
      world.begin().run(20000);
      expect(world.live(after(kind))).toBe(true);
      world.up(kind);
      world.send({ type: 'hint', kinds: [kind], all: true });
      const took = world.until(() => world.live(kind), 40000);
      expect(took).toBeGreaterThanOrEqual(2000);
      expect(took).toBeLessThan(5000);
      expect([...world.open.keys()]).toEqual([kind]);
      expect(world.faults).toEqual([]);
    });
  }

  test('without a hint a silent path is found again within five seconds of its opening', () => {
    // Each attempt behind the picture is long, and a silent one that was on screen is kept: one of them is there when the path opens.
    for (const blocked of [8000, 15000, 27000, 41000, 63000]) {
      const world = new World(['whep', 'll-hls', 'mjpeg'], () => 0.4).begin().run(10000);
      world.down('whep', null);
      world.run(blocked);
      expect(world.live('ll-hls')).toBe(true);
      world.up('whep');
      expect(world.until(() => world.live('whep'), 60000)).toBeLessThan(5000);
    }
  });

  test('a lone picture does not bring it back', () => {
    const world = new World(['whep', 'mjpeg']);
    world.down('whep', null);
    world.begin().run(8000);
    const open = world.open.get('whep');
    if (open !== undefined) world.send({ type: 'frame', run: open.run });
    world.run(5000);
    expect(world.live('mjpeg')).toBe(true);
  });

  test('the picture on screen is not touched while a better one is tried in vain', () => {
    const world = new World();
    world.down('livekit');
    world.down('whep', null);
    world.begin().run(120000);
    expect(world.live('ll-hls')).toBe(true);
    expect(world.shows.filter((show) => show.at > 20000)).toEqual([]);
  });
});

describe('trouble', () => {
  test('one that keeps falling over must hold longer before it is trusted', () => {
    const world = new World(['whep', 'mjpeg'], () => 0).begin().run(5000);
    for (let round = 0; round < 6; round += 1) {
      world.down('whep', null);
      world.until(() => world.live('mjpeg'), 10000);
      world.up('whep');
      world.send({ type: 'hint', all: true });
      expect(world.until(() => world.live('whep'), 60000)).not.toBeNull();
    }
    world.down('whep', null);
    world.until(() => world.live('mjpeg'), 10000);
    world.up('whep');
    expect(world.until(() => world.live('whep'), 60000)).toBeGreaterThan(7000);
  });

  test.each(['duplicate', 'refused'] as const)('%s ends the attempts until something changes', (kind) => {
    const world = new World();
    world.down('livekit', { class: kind, message: 'no' });
    world.begin().run(300000);
    expect(world.starts.filter((start) => start.kind === 'livekit')).toHaveLength(1);
    expect(world.live('whep')).toBe(true);
    world.up('livekit');
    world.send({ type: 'hint', all: false });
    expect(world.until(() => world.live('livekit'), 10000)).toBeNull();
    world.send({ type: 'hint', all: true });
    expect(world.until(() => world.live('livekit'), 10000)).not.toBeNull();
  });

  test('attempts thin out while a transport stays down', () => {
    const world = new World(['livekit', 'mjpeg'], () => 0.999);
    world.down('livekit');
    world.begin().run(600000);
    const starts = world.starts.filter((start) => start.kind === 'livekit');
    expect(starts.length).toBeLessThan(30);
    expect(starts.length).toBeGreaterThan(15);
  });

  test('a server that asks for patience gets it', () => {
    const world = new World(['whep', 'mjpeg'], () => 0);
    world.down('whep', { class: 'failed', message: 'full', retryAfter: 20000 });
    world.begin().run(39000);
    expect(world.starts.filter((start) => start.kind === 'whep').length).toBeLessThanOrEqual(2);
  });

  test('no connection left to take is not held against a transport', () => {
    const world = new World(['mjpeg', 'snapshot']);
    world.down('mjpeg', { class: 'busy', message: 'taken' });
    world.begin().run(60000);
    world.up('mjpeg');
    expect(world.until(() => world.live('mjpeg'), 9000)).not.toBeNull();
  });

  test('everything fails: it says so, and comes back by itself', () => {
    const world = new World();
    for (const kind of KINDS) world.down(kind);
    world.begin().run(20000);
    expect(world.state).toBe('down');
    expect(view(world.chain).retryIn).not.toBeNull();
    for (const kind of KINDS) world.up(kind);
    expect(world.until(() => world.state === 'live', 40000)).not.toBeNull();
  });

  test('a transport that mends itself gets company at once, and keeps the screen when it is quick', () => {
    const world = new World(['livekit', 'whep']).begin().run(5000);
    const run = world.open.get('livekit')?.run ?? 0;
    world.send({ type: 'shaky', run });
    expect(world.open.has('whep')).toBe(true);
    world.run(3000);
    expect(world.live('livekit')).toBe(true);
    expect(world.open.has('whep')).toBe(false);
  });
});

describe('the camera and the server', () => {
  test('a camera that is down is waited for, not hammered', () => {
    const world = new World().begin().run(5000);
    for (const kind of KINDS) world.down(kind, null);
    world.run(500);
    world.offer(false);
    const before = world.starts.length;
    world.run(120000);
    expect(world.state).toBe('down');
    expect(world.starts.length).toBe(before);
    for (const kind of KINDS) world.up(kind);
    world.offer(true);
    expect(world.until(() => world.state === 'live', 5000)).toBeLessThan(1000);
  });

  test('a restart of the server replaces attempts that wait in vain', () => {
    const world = new World(['whep', 'mjpeg']).begin().run(5000);
    world.down('whep', null);
    world.down('mjpeg');
    world.run(2500);
    world.up('whep');
    world.up('mjpeg');
    world.send({ type: 'hint', all: true });
    expect(world.until(() => world.live('whep'), 5000)).toBeLessThan(500);
  });

  test('LiveKit is left alone while its publisher is away, and taken at once when it is back', () => {
    const world = new World(['whep', 'mjpeg']).begin().run(5000);
    expect(world.live('whep')).toBe(true);
    world.offered = ['livekit', 'whep', 'mjpeg'];
    world.offer();
    expect(world.until(() => world.live('livekit'), 10000)).toBeLessThan(5000);
  });

  test('what is no longer offered stays as long as it gives pictures', () => {
    const world = new World(['livekit', 'mjpeg']).begin().run(5000);
    world.offered = ['mjpeg'];
    world.offer();
    world.run(5000);
    expect(world.live('livekit')).toBe(true);
    world.down('livekit', null);
    expect(world.until(() => world.live('mjpeg'), 5000)).toBeLessThan(3000);
  });
});

describe('hidden pages and sleep', () => {
  test('a hidden page does not fall back, though no frames are painted', () => {
    const world = new World().begin().run(5000);
    world.send({ type: 'hidden', hidden: true });
    const before = world.starts.length;
    world.run(50000);
    expect(world.starts.length).toBe(before);
    world.send({ type: 'hidden', hidden: false });
    world.run(2000);
    expect(world.live('livekit')).toBe(true);
    expect(world.starts.length).toBe(before);
  });

  test('a connection that died while the page was hidden is replaced within 3 s of its return', () => {
    const world = new World().begin().run(5000);
    world.send({ type: 'hidden', hidden: true });
    world.down('livekit', null);
    world.run(50000);
    world.send({ type: 'hidden', hidden: false });
    expect(world.until(() => world.live('whep'), 10000)).toBeLessThan(3000);
  });

  test('sleep is not held against the picture', () => {
    const world = new World().begin().run(5000);
    world.asleep = true;
    world.run(3600000);
    world.asleep = false;
    world.run(3000);
    expect(world.live('livekit')).toBe(true);
    expect(world.shows).toHaveLength(1);
  });

  test('after sleep dead connections are replaced within 3 s', () => {
    const world = new World().begin().run(5000);
    world.asleep = true;
    world.run(3600000);
    world.asleep = false;
    for (const kind of ['livekit', 'll-hls'] as const) world.down(kind, null);
    expect(world.until(() => world.live('whep'), 10000)).toBeLessThan(3000);
  });

  test('a paused picture holds no connection, and comes back when it is wanted', () => {
    const world = new World().begin().run(5000);
    world.send({ type: 'paused', paused: true });
    expect(world.open.size).toBe(0);
    world.run(100000);
    expect(world.open.size).toBe(0);
    world.send({ type: 'paused', paused: false });
    expect(world.until(() => world.live('livekit'), 5000)).toBeLessThan(1000);
  });
});

describe('always', () => {
  const change = fc.oneof(
    fc.record({ type: fc.constant('down' as const), kind: fc.constantFrom(...KINDS), silent: fc.boolean() }),
    fc.record({ type: fc.constant('up' as const), kind: fc.constantFrom(...KINDS) }),
    fc.record({ type: fc.constant('hidden' as const), hidden: fc.boolean() }),
    fc.record({ type: fc.constant('paused' as const), paused: fc.boolean() }),
    fc.record({ type: fc.constant('hint' as const), all: fc.boolean() }),
    fc.record({ type: fc.constant('offer' as const), kinds: fc.subarray([...KINDS]), delivering: fc.boolean() }),
    fc.record({ type: fc.constant('sleep' as const) }),
  );

  test('whatever happened, when all is well again the best transport is on screen, and only it is open', () => {
    fc.assert(fc.property(fc.array(fc.tuple(change, fc.integer({ min: 10, max: 9000 })), { maxLength: 14 }), fc.infiniteStream(fc.double({ min: 0, max: 0.999, noNaN: true })), (changes, units) => {
      const world = new World(KINDS, () => Number(units.next().value ?? 0)).begin();
      for (const [event, wait] of changes) {
        if (event.type === 'down') world.down(event.kind, event.silent ? null : { class: 'failed', message: 'gone' });
        else if (event.type === 'up') world.up(event.kind);
        else if (event.type === 'offer') {
          world.offered = event.kinds;
          world.offer(event.delivering);
        } else if (event.type === 'sleep') {
          world.asleep = true;
          world.run(30000);
          world.asleep = false;
        } else world.send(event);
        world.run(wait);
      }
      for (const kind of KINDS) world.up(kind);
      world.offered = [...KINDS];
      world.send({ type: 'paused', paused: false });
      world.send({ type: 'hidden', hidden: false });
      world.offer();
      world.send({ type: 'hint', all: true });
      world.run(60000);
      expect(world.live('livekit')).toBe(true);
      expect([...world.open.keys()]).toEqual(['livekit']);
      expect(world.faults.filter((fault) => !fault.includes('not offered'))).toEqual([]);
    }), { numRuns: 150 });
  });

  test('the wait stays in its bounds', () => {
    fc.assert(fc.property(fc.integer({ min: -5, max: 1000 }), fc.double({ min: 0, max: 1, noNaN: true }), (n, unit) => {
      const wait = backoff(n, unit);
      expect(wait).toBeGreaterThanOrEqual(0);
      expect(wait).toBeLessThanOrEqual(Math.min(30000, 1000 * 2 ** Math.max(0, n)));
    }));
  });
});
