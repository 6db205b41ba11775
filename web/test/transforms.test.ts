// Masks are where they were drawn, however the picture is turned, and never outside of it; and nobody's are overwritten unseen.
import fc from 'fast-check';
import { afterEach, describe, expect, test, vi } from 'vitest';
import {
  bodyOf, fetchTransforms, FLIPS, inside, moved, onCamera, onScreen, parseTold, parseTransforms, ROTATIONS, type Rectangle, same, type Told, type Transforms,
} from '../src/state/transforms.ts';
import { afterwards, begun, found, learned, uncovers, unsure, type Work } from '../src/ui/transforms/changing.ts';

const share = fc.integer({ min: 0, max: 10000 }).map((n) => n / 10000);
const rectangles = fc.tuple(share, share, share, share).map(([x, y, width, height]): Rectangle => ({ x: x * (1 - width), y: y * (1 - height), width, height }));
const turns = fc.record({ rotation: fc.constantFrom(...ROTATIONS), flip: fc.constantFrom(...FLIPS) });

const near = (a: Rectangle, b: Rectangle): boolean => (['x', 'y', 'width', 'height'] as const).every((key) => Math.abs(a[key] - b[key]) < 0.00021);

test('a mask comes back from the screen as it was', () => {
  fc.assert(fc.property(rectangles, turns, (mask, turn) => near(onCamera(onScreen(mask, turn), turn), mask)));
});

test('what is drawn stays within the picture', () => {
  const wild = fc.double({ min: -3, max: 3, noNaN: true });
  fc.assert(fc.property(wild, wild, fc.double({ min: 0, max: 3, noNaN: true }), fc.double({ min: 0, max: 3, noNaN: true }), (x, y, width, height) => {
    const { x: left, y: top, width: wide, height: high } = inside({ x, y, width, height });
    return left >= 0 && top >= 0 && left + wide <= 1.0001 && top + high <= 1.0001;
  }));
  fc.assert(fc.property(rectangles, wild, wild, (before, x, y) => {
    const after = moved(before, { x, y });
    return after.width === before.width && after.x >= 0 && after.y >= 0 && after.x + after.width <= 1.0001 && after.y + after.height <= 1.0001;
  }));
});

test.each([
  [90, 'none', { x: 0.8, y: 0, width: 0.2, height: 0.1 }], [180, 'none', { x: 0.9, y: 0.8, width: 0.1, height: 0.2 }],
  [270, 'none', { x: 0, y: 0.9, width: 0.2, height: 0.1 }], [90, 'horizontal', { x: 0, y: 0, width: 0.2, height: 0.1 }],
] as const)('the corner at the top left, turned by %d and mirrored %s', (rotation, flip, expected) => {
  expect(near(onScreen({ x: 0, y: 0, width: 0.1, height: 0.2 }, { rotation, flip }), expected)).toBe(true);
});

test('what the server tells is sent back the same', () => {
  const told = { rotation: 90, flip: 'vertical', overlay: { enabled: false, text: '{time}', time_format: '%H', position: 'top', size: 20 }, masks: [{ name: 'Window', enabled: true, x: 0.1, y: 0.2, width: 0.3, height: 0.4 }] };
  const parsed = parseTransforms({ camera: 'cam', active: true, notes: [], ...told });
  if (parsed === null) throw new Error('not parsed');
  expect(bodyOf(parsed)).toEqual(told);
  expect(parseTransforms({ error: {} })).toBeNull();
});

test('why a picture is black, and that it is not kept, is heard', () => {
  expect(parseTold({ masks: [], set_by: 'caution', notes: ['the database is torn'] })).toMatchObject({ setBy: 'caution', notes: ['the database is torn'], kept: null });
  expect(parseTold({ masks: [], set_by: 'api', notes: [], kept: false })).toMatchObject({ setBy: 'api', kept: false });
  expect(parseTold({ error: {} })).toBeNull();
});

describe('asking for transforms', () => {
  afterEach(() => vi.unstubAllGlobals());
  const answered = async (status: number): Promise<unknown> => {
    vi.stubGlobal('document', { baseURI: 'http://pi:8080/' });
    vi.stubGlobal('fetch', () => (status === 0 ? Promise.reject(new TypeError('no network')) : Promise.resolve(new Response('{"masks":[]}', { status }))));
    return fetchTransforms('cam');
  };

  test('a camera without any is told from a failure', async () => {
    expect(await answered(404)).toBeNull();
    expect(await answered(503)).toMatchObject({ status: 503 });
    expect(await answered(0)).toMatchObject({ status: 0 });
    expect(await answered(200)).toMatchObject({ transforms: { masks: [] } });
  });
});

describe('a change', () => {
  const masked = (...names: string[]): Transforms => ({ rotation: 0, flip: 'none', overlay: null, masks: names.map((name) => ({ name, enabled: true, x: 0, y: 0, width: 0.5, height: 0.5 })) });
  const told = (transforms: Transforms, more: Partial<Told> = {}): Told => ({ transforms, setBy: 'api', notes: [], kept: null, ...more });
  const [none, mine, theirs] = [masked(), masked('mine'), masked('theirs')];
  const drawn: Work = { ...begun(told(none)), draft: mine };

  test('the order of keys and blanks around a name make no difference', () => {
    const other = mine.masks.map(({ x, y, width, height }) => ({ width, height, y, x, enabled: true, name: ' mine ' }));
    expect([same(mine, { ...mine, masks: other }), same(mine, theirs)]).toEqual([true, false]);
  });

  test('news go into a draft that nobody touched, and not into one that somebody is at work on', () => {
    expect(learned(begun(told(none)), told(theirs))).toMatchObject({ base: theirs, draft: theirs });
    expect(learned(drawn, told(theirs))).toMatchObject({ told: { transforms: theirs }, base: none, draft: mine });
    expect(learned(drawn, told(mine))).toMatchObject({ base: mine, draft: mine });
    expect(learned(null, told(mine)).draft).toBe(mine);
  });

  test('what is not kept is said until something else is in force or it is kept', () => {
    const unkept = begun(told(mine, { kept: false }));
    expect([unkept, learned(unkept, told(mine)), learned(unkept, told(none)), learned(unkept, told(mine, { kept: true }))].map((work) => work.unkept)).toEqual([true, true, false, false]);
  });

  test('masks of somebody else are seen before anything is sent, also after they were shown', () => {
    const wish = { to: mine, over: drawn.base, restart: false };
    expect([found(wish, told(none)), found(wish, told(theirs)), found(wish, told(mine))]).toEqual(['before', 'others', 'wished']);
    const { base, draft } = learned(drawn, told(theirs));
    expect(found({ to: draft, over: base, restart: false }, told(theirs))).toBe('others');
    expect(found({ to: draft, over: theirs, restart: false }, told(theirs))).toBe('before');
    const reset = { to: null, over: mine, restart: false };
    expect([found(reset, told(mine)), found(reset, told(theirs)), found(reset, told(none, { setBy: 'configuration' }))]).toEqual(['before', 'others', 'wished']);
  });

  test('a reset asks first when masks would go', () => {
    const of = (work: Work): boolean => uncovers(work);
    expect(of(begun(told(mine)))).toBe(true);
    expect(of(begun(told(none, { setBy: 'caution' })))).toBe(true);
    expect(of(drawn)).toBe(true);
    expect(of(begun(told(none)))).toBe(false);
    expect(of(begun(told(mine, { setBy: 'configuration' })))).toBe(false);
  });

  test('what was not answered well is not called unchanged unless it is', () => {
    const wish = { to: mine, over: none, restart: false };
    const refusal = (status: number, code: string) => ({ status, code, message: 'why', details: {} });
    expect([unsure(refusal(500, 'NOT_KEPT')), unsure(refusal(0, '')), unsure(refusal(400, 'VALIDATION_ERROR'))]).toEqual([true, true, false]);
    const after = (status: number, code: string, now: Told | null) => afterwards(wish, refusal(status, code), now);
    expect(after(500, 'NOT_KEPT', told(mine))).toEqual({ done: true, problem: 'Changed, but not kept: why' });
    expect(after(0, '', told(mine))).toEqual({ done: true, problem: null });
    expect(after(0, '', told(none))).toEqual({ done: false, problem: 'Not changed so far: why' });
    expect(after(0, '', told(theirs))).toEqual({ done: false, problem: 'Changed, but not to this: why' });
    expect(after(0, '', null)).toEqual({ done: false, problem: 'Not known whether it is changed: why' });
  });
});
