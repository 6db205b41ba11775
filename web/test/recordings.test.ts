// What a list of recordings means, and where each is on its day.
import { expect, test } from 'vitest';
import { dayOf, dayText, parseListing, placeOn, type Recording } from '../src/state/recordings.ts';
import * as format from '../src/ui/format.ts';
import { parseRoute, RECORDINGS_HREF } from '../src/ui/route.ts';

const HOUR = 3_600_000;
const recording = (started: number, duration: number): Recording => (
  { name: 'a.mp4', camera: 'a', started, duration, bytes: 1, kept: false, recording: false, url: '/files/recordings/a.mp4' }
);

test('a list is read, and what is odd in it is left out', () => {
  const good = { name: 'a.mp4', camera: 'a', started_at: '2026-11-28T10:00:00.000Z', duration_seconds: 60.5, bytes: 7, kept: true, recording: false, url: '/files/recordings/a.mp4' };
  const listing = parseListing({ recordings: [good, {}, { ...good, started_at: 'soon' }], total: 9 });
  expect(listing).toEqual({ total: 9, recordings: [{ name: 'a.mp4', camera: 'a', started: Date.UTC(2026, 10, 28, 10), duration: 60.5, bytes: 7, kept: true, recording: false, url: good.url }] });
  expect([parseListing(null), parseListing({}), parseListing('x')]).toEqual([null, null, null]);
});

test('a day begins and ends at midnight where the viewer is', () => {
  const day = dayOf('2026-11-28');
  expect(day).toEqual({ from: new Date(2026, 10, 28).getTime(), to: new Date(2026, 10, 29).getTime() });
  expect(dayText(new Date(2026, 0, 2, 3))).toBe('2026-01-02');
  expect([dayOf(''), dayOf('tomorrow')]).toEqual([null, null]);
});

test.each([[6, 3600, 25, 100 / 24], [0, 86_400, 0, 100], [23, 7200, 100 - 100 / 24, 100 / 24], [-1, 7200, 0, 100 / 24], [12, 1, 50, 0.4]])(
  'a recording at hour %d for %d seconds is at %d percent', (hour, seconds, left, width) => {
    const place = placeOn({ from: 0, to: 24 * HOUR }, recording(hour * HOUR, seconds));
    expect(place.left).toBeCloseTo(left, 5);
    expect(place.width).toBeCloseTo(width, 5);
  },
);

test('sizes and the page’s address', () => {
  expect([format.bytes(900), format.bytes(1_500_000), format.bytes(12_300_000_000)]).toEqual(['900 B', '1.5 MB', '12.3 GB']);
  expect(parseRoute(RECORDINGS_HREF)).toEqual({ page: 'recordings' });
});
