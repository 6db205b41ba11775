// Masks are where they were drawn, however the picture is turned, and never outside of it.
import fc from 'fast-check';
import { expect, test } from 'vitest';
import { bodyOf, FLIPS, inside, moved, onCamera, onScreen, parseTransforms, ROTATIONS, type Rectangle } from '../src/state/transforms.ts';

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
