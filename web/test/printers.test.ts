// Printers as the page makes them of the server's JSON, what they are called, and their temperatures over time.
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { Histories, line, SAMPLE_EVERY, SAMPLES } from '../src/state/history.ts';
import { bodyOf } from '../src/state/printers.ts';
import { colour, fieldErrors, parseFound, parsePrinters, parseSteps } from '../src/state/printersParse.ts';
import { degrees, ended, fingerprint, finishClock, inkOn, printerState, reached, remaining } from '../src/ui/printers/words.ts';
import { printers } from '../mock/printers.js';

const [printing, paused, refused] = parsePrinters(printers(Date.now()));
if (printing === undefined || paused === undefined || refused === undefined) throw new Error('no printers');
const status = printing.status;

test('anything parses, and nothing odd gets through', () => {
  fc.assert(fc.property(fc.jsonValue(), (value) => {
    expect(Array.isArray(parsePrinters(value)) && Array.isArray(parseFound(value)) && Array.isArray(parseSteps(value))).toBe(true);
    for (const { status: { percent } } of parsePrinters([{ id: 1, status: value }])) expect(percent === null || Number.isFinite(percent)).toBe(true);
  }));
});

test.each([['FF6A13FF', '#FF6A13'], ['#0b2c7a', '#0B2C7A'], ['00000000', null], ['red', null], [null, null]])('the colour %s is %s', (given, css) => {
  expect(colour(given)).toBe(css);
});

test('states in words', () => {
  const of = (change: object) => printerState({ ...printing, status: { ...status, ...change } }, false).word;
  expect([of({}), of({ jobState: 'PAUSE' }), of({ jobState: 'WAITING' }), of({ connected: false, stale: true }), of({ connected: false, error: 'x' }), of({ connected: false, lastUpdate: null }), of({ jobState: null })])
    .toEqual(['Printing', 'Paused', 'Waiting', 'Silent', 'Not connected', 'Connecting', 'Connected']);
  expect(printerState(printing, true).word).toBe('Unknown');
});

test('times and temperatures', () => {
  const of = (minutes: number | null, jobState = 'RUNNING') => remaining({ ...status, remainingMinutes: minutes, jobState });
  expect([of(5), of(60), of(83), of(1440), of(1565), of(0), of(null), of(5, 'IDLE')]).toEqual(['5 min left', '1 h left', '1 h 23 min left', '1 d left', '1 d 2 h left', null, null, null]);
  const noon = new Date(2026, 0, 5, 12).getTime();
  expect(finishClock({ ...status, remainingMinutes: 65 }, noon)).toMatch(/^done at .*05/);
  expect(finishClock({ ...status, remainingMinutes: 1440 }, noon)).toMatch(/^done \w+ /);
  expect(finishClock({ ...status, jobState: 'PAUSE' }, noon)).toBeNull();
  expect([degrees({ now: 219.6, target: 220 }), degrees({ now: 31, target: 0 }), degrees({ now: null, target: 5 })]).toEqual(['220 / 220 °C', '31 °C', '–']);
});

describe('the end of a print', () => {
  const became = (jobState: string, change: object = {}) => ended(printing, { ...printing, status: { ...status, jobState, ...change } });
  test('is told when it is finished or failed, with why', () => {
    expect(became('FINISH')?.title).toBe('Studio X1: finished');
    expect(became('FAILED', { printError: { code: '0300_8004', text: 'Filament ran out', page: null } })?.body).toMatch(/: Filament ran out$/);
  });
  test('is not told when nothing ended', () => {
    for (const state of ['RUNNING', 'PAUSE', 'IDLE']) expect(became(state)).toBeNull();
    const done = { ...printing, status: { ...status, jobState: 'FINISH' } };
    expect(ended(undefined, done)).toBeNull();
    expect(ended(done, done)).toBeNull();
  });
});

test('what was asked for has come true when the state says so', () => {
  expect([reached({ type: 'light', on: true, node: 'chamber_light' }, status), reached({ type: 'light', on: false, node: 'chamber_light' }, status), reached({ type: 'pause' }, status), reached({ type: 'resume' }, status)])
    .toEqual([true, false, false, true]);
});

test('a draft is sent without what is empty', () => {
  expect(bodyOf({ name: ' X1 ', host: '192.168.1.9', serial: 's', accessCode: ' ', rtspUrl: '' })).toEqual({ name: 'X1', host: '192.168.1.9', serial: 's', rtspUrl: null });
  expect(bodyOf({ name: 'X1', host: 'h', serial: 's', accessCode: '123', rtspUrl: '' })).toHaveProperty('accessCode', '123');
});

test('what is wrong with fields is found in a refusal', () => {
  const refusal = { status: 400, code: '', message: '', details: { fields: [{ field: 'host', message: 'it is missing' }, { field: 3 }] } };
  expect(fieldErrors(refusal)).toEqual({ host: 'it is missing' });
});

test('fingerprints are read in pairs, and names on every colour', () => {
  expect(fingerprint('a1b2C3')).toBe('A1:B2:C3');
  expect([inkOn('#FFFFFF'), inkOn('#000000'), inkOn('#FF6A13'), inkOn('#0B2C7A')]).toEqual(['#000000', '#ffffff', '#000000', '#ffffff']);
});

describe('the history of temperatures', () => {
  test('has a sample each few seconds and no more than it may', () => {
    const histories = new Histories();
    for (let n = 0; n < 4 * SAMPLES; n += 1) histories.learn([printing], n * SAMPLE_EVERY / 2);
    expect(histories.of(1)).toHaveLength(SAMPLES);
    histories.learn([], 0);
    expect(histories.of(1)).toHaveLength(0);
  });
  test('has nothing of a printer that says nothing', () => {
    const histories = new Histories();
    histories.learn([refused, { ...printing, status: { ...status, connected: false } }], 0);
    expect([...histories.of(refused.id), ...histories.of(printing.id)]).toEqual([]);
  });
  test('breaks its line where nothing is known', () => {
    const at = (n: number, nozzle: number | null) => ({ at: n * SAMPLE_EVERY, nozzle, bed: null, chamber: null });
    const samples = [at(0, 0), at(1, 50), at(2, null), at(3, 100), at(4, 100), at(20, 100), at(21, 100)];
    const lines = line(samples, 'nozzle', { width: 100, height: 10 }, 21 * SAMPLE_EVERY, 100);
    expect(lines).toHaveLength(3);
    expect(lines[0]).toMatch(/^0\.0,10\.0 4\.8,5\.0$/);
  });
});
