// What WHEP says over HTTP, as pure functions: Link headers, trickle fragments, answers that refuse.
// draft-ietf-wish-whep-03; RFC 8840 for fragments.
import type { End } from '../chain/machine.ts';

/** ICE servers out of a Link header: `<stun:host:3478>; rel="ice-server", <turn:h>; rel="ice-server"; username="u"; credential="c"`. */
export function iceServers(link: string | null): RTCIceServer[] {
  if (link === null) return [];
  const servers: RTCIceServer[] = [];
  for (const entry of link.matchAll(/<([^>]*)>((?:\s*;\s*[\w-]+\s*=\s*(?:"(?:[^"\\]|\\.)*"|[^",;\s]*))*)/g)) {
    const attributes = new Map<string, string>();
    for (const one of (entry[2] ?? '').matchAll(/;\s*([\w-]+)\s*=\s*(?:"((?:[^"\\]|\\.)*)"|([^",;\s]*))/g)) {
      attributes.set((one[1] ?? '').toLowerCase(), (one[2] ?? one[3] ?? '').replace(/\\(.)/g, '$1'));
    }
    const url = entry[1] ?? '';
    if (attributes.get('rel') !== 'ice-server' || !/^(stun|stuns|turn|turns):/.test(url)) continue;
    const server: RTCIceServer = { urls: url };
    const [username, credential] = [attributes.get('username'), attributes.get('credential')];
    if (username !== undefined) server.username = username;
    if (credential !== undefined) server.credential = credential;
    servers.push(server);
  }
  return servers;
}

/** Seconds or a date, as milliseconds from `now`; null when absent or nonsense. */
export function retryAfter(header: string | null, now: number): number | null {
  if (header === null || header.trim() === '') return null;
  const seconds = Number(header);
  if (Number.isFinite(seconds)) return Math.min(Math.max(0, seconds * 1000), 60000);
  const date = Date.parse(header);
  return Number.isNaN(date) ? null : Math.min(Math.max(0, date - now), 60000);
}

/** Why the server did not take the offer, and whether to come back. */
export function refusal(status: number, retry: number | null, detail: string): End {
  const why = detail === '' ? '' : `: ${detail}`;
  const end = (kind: End['class'], message: string): End => (
    retry === null ? { class: kind, message } : { class: kind, message, retryAfter: retry }
  );
  switch (status) {
    case 401:
    case 403:
      return end('refused', `the server does not let you watch${why}`);
    case 404:
    case 405:
      return end('refused', `the server has no WHEP for this camera${why}`);
    case 409:
      return end('failed', `the camera gives no pictures yet${why}`);
    case 415:
    case 400:
      return end('refused', `the server did not take the offer (${status})${why}`);
    case 429:
    case 503:
      return end('failed', `the server has too many viewers${why}`);
    default:
      return end('failed', `the server answered ${status}${why}`);
  }
}
