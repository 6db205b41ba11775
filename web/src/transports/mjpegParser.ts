// Reads a multipart/x-mixed-replace stream: bytes in as they come, whole pictures out. Pure.
// Parts with a Content-Length are cut by it; without one, at the next boundary.

export interface Part {
  /** Lower-case names. */
  headers: Map<string, string>;
  body: Uint8Array<ArrayBuffer>;
}

/** More than any camera's JPEG; beyond it the stream is garbage. */
export const MAX_PART = 32 * 1024 * 1024;
const MAX_HEADERS = 16 * 1024;

/** The boundary out of the Content-Type, without the leading dashes that some servers put there. */
export function boundaryOf(contentType: string | null): string | null {
  const match = /boundary=(?:"([^"]+)"|([^;\s]+))/i.exec(contentType ?? '');
  const boundary = match?.[1] ?? match?.[2];
  return boundary === undefined ? null : boundary.replace(/^--/, '');
}

export class MjpegParser {
  #boundary: Uint8Array;
  #buffer = new Uint8Array(256 * 1024);
  #start = 0;
  #end = 0;
  /** Headers of the part whose body is awaited. */
  #headers: Map<string, string> | null = null;
  /** How far the buffer was searched in vain. */
  #searched = 0;

  constructor(boundary: string) {
    this.#boundary = new TextEncoder().encode(`--${boundary}`);
  }

  /** Throws on garbage. */
  push(chunk: Uint8Array): Part[] {
    this.#append(chunk);
    const parts: Part[] = [];
    for (;;) {
      const part = this.#next();
      if (part === null) return parts;
      if (part !== 'headers') parts.push(part);
    }
  }

  #append(chunk: Uint8Array): void {
    const kept = this.#end - this.#start;
    if (kept + chunk.length > MAX_PART + MAX_HEADERS) throw new Error('a part of the stream is larger than 32 MB');
    if (this.#end + chunk.length > this.#buffer.length) {
      const room = Math.max(this.#buffer.length, 2 ** Math.ceil(Math.log2(kept + chunk.length)));
      const target = room > this.#buffer.length ? new Uint8Array(room) : this.#buffer;
      target.set(this.#buffer.subarray(this.#start, this.#end));
      this.#buffer = target;
      this.#searched = Math.max(0, this.#searched - this.#start);
      this.#start = 0;
      this.#end = kept;
    }
    this.#buffer.set(chunk, this.#end);
    this.#end += chunk.length;
  }

  #next(): Part | 'headers' | null {
    return this.#headers === null ? this.#readHeaders() : this.#readBody(this.#headers);
  }

  #readHeaders(): 'headers' | null {
    const boundary = this.#find(this.#boundary, this.#start);
    if (boundary < 0) {
      if (this.#end - this.#start > MAX_HEADERS) throw new Error('the stream has no boundary');
      return null;
    }
    const end = this.#find(HEADERS_END, boundary);
    if (end < 0) {
      if (this.#end - boundary > MAX_HEADERS) throw new Error('the headers of a part do not end');
      return null;
    }
    const text = new TextDecoder('latin1').decode(this.#buffer.subarray(boundary + this.#boundary.length, end));
    this.#headers = new Map(text.split('\r\n').flatMap((line): [string, string][] => {
      const colon = line.indexOf(':');
      return colon < 1 ? [] : [[line.slice(0, colon).trim().toLowerCase(), line.slice(colon + 1).trim()]];
    }));
    this.#start = end + HEADERS_END.length;
    this.#searched = this.#start;
    return 'headers';
  }

  #readBody(headers: Map<string, string>): Part | null {
    const length = headers.get('content-length');
    let end: number;
    if (length !== undefined) {
      const size = Number(length);
      if (!Number.isInteger(size) || size < 0 || size > MAX_PART) throw new Error(`a part says it is ${length} bytes long`);
      if (this.#end - this.#start < size) return null;
      end = this.#start + size;
    } else {
      const mark = this.#find(this.#boundary, Math.max(this.#searched, this.#start));
      if (mark < 0) {
        this.#searched = Math.max(this.#start, this.#end - this.#boundary.length);
        return null;
      }
      const crlf = this.#buffer[mark - 2] === 13 && this.#buffer[mark - 1] === 10;
      end = Math.max(this.#start, crlf ? mark - 2 : mark);
    }
    const body = this.#buffer.slice(this.#start, end);
    this.#start = end;
    this.#headers = null;
    return { headers, body };
  }

  #find(needle: Uint8Array, from: number): number {
    const [first] = needle;
    if (first === undefined) return from;
    const last = this.#end - needle.length;
    for (let at = this.#buffer.indexOf(first, from); at >= 0 && at <= last; at = this.#buffer.indexOf(first, at + 1)) {
      let same = 1;
      while (same < needle.length && this.#buffer[at + same] === needle[same]) same += 1;
      if (same === needle.length) return at;
    }
    return -1;
  }
}

const HEADERS_END = new Uint8Array([13, 10, 13, 10]);

/** Capture time in ms out of a part's or an answer's headers: unix seconds (ustreamer's convention). */
export function timestampOf(value: string | null | undefined): number | null {
  const seconds = value === null || value === undefined ? NaN : Number(value);
  return Number.isFinite(seconds) && seconds > 1e9 ? seconds * 1000 : null;
}
