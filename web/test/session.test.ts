// Who may do what on the page, and when a login is asked for.
import { afterEach, expect, test, vi } from 'vitest';
import { ask, forbidden, onLoginWanted, refusalOf } from '../src/state/ask.ts';
import { may, parseSession } from '../src/state/session.ts';

afterEach(() => vi.unstubAllGlobals());

test('each role may do what those before it may, and as long as nobody knows all is offered', () => {
  const of = (value: unknown): boolean[] => (['viewer', 'operator', 'admin'] as const).map((role) => may(value === undefined ? null : parseSession(value), role));
  expect(of({ configured: true, role: 'viewer' })).toEqual([true, false, false]);
  expect(of({ configured: true, role: 'operator' })).toEqual([true, true, false]);
  expect(of({ configured: true, role: 'admin' })).toEqual([true, true, true]);
  expect(of({ configured: true })).toEqual([false, false, false]);
  expect(of({ configured: false })).toEqual([true, true, true]);
  expect(of(undefined)).toEqual([true, true, true]);
});

test('a login is asked for what a person wants, never for what the page asks by itself', async () => {
  vi.stubGlobal('document', { baseURI: 'http://pi:8080/' });
  vi.stubGlobal('fetch', () => Promise.resolve(new Response('{}', { status: 401 })));
  const wanted = vi.fn();
  const end = onLoginWanted(wanted);
  const quiet = await ask('GET', 'api/printers/found', { background: true });
  expect([quiet.ok, wanted.mock.calls.length]).toEqual([false, 0]);
  await ask('POST', 'api/printers');
  expect(wanted).toHaveBeenCalledTimes(1);
  end();
});

test.each([[401, true], [403, true], [404, false], [500, false], [0, false]])('after %d asking again is of no use: %s', (status, useless) => {
  expect(forbidden(refusalOf(status, null))).toBe(useless);
});
