// The multipart reader: the same pictures however the bytes are cut, and garbage is refused.
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { boundaryOf, MjpegParser, type Part, timestampOf } from '../src/transports/mjpegParser.ts';

const bytes = (text: string): Uint8Array<ArrayBuffer> => new TextEncoder().encode(text);

function join(...parts: Uint8Array[]): Uint8Array<ArrayBuffer> {
  const out = new Uint8Array(parts.reduce((sum, part) => sum + part.length, 0));
  let at = 0;
  for (const part of parts) {
    out.set(part, at);
    at += part.length;
  }
  return out;
}

function stream(bodies: readonly Uint8Array[], withLength: boolean): Uint8Array<ArrayBuffer> {
  const parts = bodies.map((body, index) => join(
    bytes(`--frame\r\nContent-Type: image/jpeg\r\n${withLength ? `Content-Length: ${body.length}\r\n` : ''}X-Timestamp: ${1795245251 + index}.5\r\n\r\n`),
    body, bytes('\r\n'),
  ));
  return join(...parts, bytes('--frame\r\n'));
}

function feed(data: Uint8Array, cuts: readonly number[]): Part[] {
  const parser = new MjpegParser('frame');
  const at = [0, ...[...cuts].sort((a, b) => a - b), data.length];
  return at.slice(1).flatMap((end, index) => parser.push(data.slice(at[index], end)));
}

describe('pictures out of a stream', () => {
  const jpeg = fc.uint8Array({ minLength: 1, maxLength: 3000 });

  test('are whole and in order however the bytes are cut', () => {
    fc.assert(fc.property(fc.array(jpeg, { minLength: 1, maxLength: 6 }), fc.infiniteStream(fc.nat()), (bodies, random) => {
      const data = stream(bodies, true);
      const cuts = [...random.take(12)].map((cut) => cut % data.length);
      const parts = feed(data, cuts);
      expect(parts.map((part) => [...part.body])).toEqual(bodies.map((body) => [...body]));
      expect(parts.map((part) => timestampOf(part.headers.get('x-timestamp')))).toEqual(bodies.map((_, index) => 1795245251500 + 1000 * index));
    }));
  });

  test('are found without lengths as well', () => {
    fc.assert(fc.property(fc.array(fc.uint8Array({ minLength: 1, maxLength: 500, max: 40 }), { minLength: 1, maxLength: 5 }), fc.infiniteStream(fc.nat()), (bodies, random) => {
      const data = stream(bodies, false);
      const parts = feed(data, [...random.take(9)].map((cut) => cut % data.length));
      expect(parts.map((part) => [...part.body])).toEqual(bodies.map((body) => [...body]));
    }));
  });

  test('byte by byte', () => {
    const bodies = [bytes('one'), bytes('two--fram')];
    const data = stream(bodies, false);
    expect(feed(data, [...data.keys()]).map((part) => new TextDecoder().decode(part.body))).toEqual(['one', 'two--fram']);
  });

  test('a picture larger than the buffer, and more after it', () => {
    const large = new Uint8Array(900_000).fill(7);
    const parts = feed(stream([large, bytes('small'), large], true), [100, 300_000, 600_000, 950_000]);
    expect(parts.map((part) => part.body.length)).toEqual([900_000, 5, 900_000]);
  });
});

describe('garbage', () => {
  test.each([
    ['no boundary', bytes('x'.repeat(40_000))],
    ['headers without end', bytes(`--frame\r\n${'a: b\r\n'.repeat(5000)}`)],
    ['a length that is none', bytes('--frame\r\nContent-Length: many\r\n\r\n')],
    ['a length that is too long', bytes('--frame\r\nContent-Length: 99999999999\r\n\r\n')],
  ])('%s is refused', (_, data) => {
    expect(() => new MjpegParser('frame').push(data)).toThrow();
  });

  test('never makes it hang or grow', () => {
    fc.assert(fc.property(fc.array(fc.uint8Array({ maxLength: 4000 }), { maxLength: 20 }), (chunks) => {
      const parser = new MjpegParser('frame');
      try {
        for (const chunk of chunks) parser.push(chunk);
      } catch (error) {
        expect(error).toBeInstanceOf(Error);
      }
    }));
  });
});

test.each([
  ['multipart/x-mixed-replace; boundary=frame', 'frame'],
  ['multipart/x-mixed-replace;boundary="a b"', 'a b'],
  ['multipart/x-mixed-replace; boundary=--frame', 'frame'],
  ['image/jpeg', null],
  [null, null],
])('the boundary of %s is %s', (header, boundary) => {
  expect(boundaryOf(header)).toBe(boundary);
});

test.each([['1795245251.350496', 1795245251350.496], ['', null], ['nonsense', null], [undefined, null], ['12', null]])(
  'the time %s is %s ms', (header, time) => {
    expect(timestampOf(header)).toBe(time);
  },
);
