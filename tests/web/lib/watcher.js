// Follows a playlist as a player does: blocking reloads where there are any, each answer judged against
// the one before, each new part and segment fetched and looked into.

import HLS from 'hls-parser';

import { judge, judgeReload, lists, nextPart, parsePlaylist } from './playlist.js';
import { sleep, waitFor } from './processes.js';

/** @typedef {import('./playlist.js').Playlist} Playlist */

const TS_PACKET = 188;
const TS_SYNC = 0x47;

/**
 * @param {string} url
 * @param {RequestInit} [init]
 */
async function bytes(url, init) {
  const answer = await fetch(url, { ...init, signal: AbortSignal.timeout(15_000) });
  return { status: answer.status, body: new Uint8Array(await answer.arrayBuffer()), headers: answer.headers };
}

/** @param {Uint8Array} body @returns {string[]} */
function boxes(body) {
  const view = new DataView(body.buffer, body.byteOffset, body.byteLength);
  const names = [];
  for (let at = 0; at + 8 <= body.length;) {
    const size = view.getUint32(at);
    names.push(String.fromCharCode(...body.subarray(at + 4, at + 8)));
    if (size < 8 || at + size > body.length) return [...names, 'broken'];
    at += size;
  }
  return names;
}

/**
 * What is wrong with the bytes of a part or a segment.
 * @param {Uint8Array} body
 * @param {boolean} fmp4
 */
function judgeMedia(body, fmp4) {
  if (fmp4) {
    const names = boxes(body).filter((name) => name !== 'styp' && name !== 'prft' && name !== 'sidx');
    const pairs = names.length > 0 && names.every((name, n) => name === (n % 2 ? 'mdat' : 'moof')) && names.length % 2 === 0;
    return pairs ? [] : [`boxes ${names.join(' ')}`];
  }
  if (body.length === 0 || body.length % TS_PACKET) return [`${body.length} bytes are not whole TS packets`];
  for (let at = 0; at < body.length; at += TS_PACKET) if (body[at] !== TS_SYNC) return [`no TS packet at byte ${at}`];
  return [];
}

/**
 * Waits until a playlist lists so many segments: a player that joins a stream which only just began has
 * nothing to hold back from.
 * @param {string} url
 * @param {number} count
 */
export async function warmUp(url, count) {
  await waitFor(`${url} lists ${count} segments`, 40_000, async () => {
    const answer = await fetch(url);
    if (!answer.ok) return undefined;
    const { segments } = parsePlaylist(await answer.text());
    return segments.filter((segment) => segment.uri !== undefined).length >= count ? true : undefined;
  });
}

/**
 * Watches for some seconds; returns what was wrong and what was seen.
 * @param {string} url
 * @param {{ lowLatency: boolean, seconds: number }} options
 */
export async function watch(url, { lowLatency, seconds }) {
  /** @type {Set<string>} */
  const wrong = new Set();
  const seen = { playlists: 0, parts: 0, segments: 0, longestReloadMs: 0, hintsFetched: 0, first: '', last: '' };
  HLS.setOptions({ strictMode: true });
  /** @type {Playlist | undefined} */
  let before;
  /** @type {Set<string>} */
  const fetched = new Set();
  /** @type {Promise<void>[]} */
  const hints = [];
  const until = Date.now() + seconds * 1000;

  while (Date.now() < until) {
    const wanted = before && lowLatency ? nextPart(before) : undefined;
    const asked = Date.now();
    const reload = wanted ? `${url}?_HLS_msn=${wanted.msn}&_HLS_part=${wanted.part}` : url;
    const answer = await bytes(reload);
    const text = new TextDecoder().decode(answer.body);
    if (answer.status !== 200) {
      wrong.add(`${reload} answers ${answer.status}: ${text.slice(0, 200)}`);
      break;
    }
    if (wanted) seen.longestReloadMs = Math.max(seen.longestReloadMs, Date.now() - asked);
    seen.playlists += 1;
    seen.first ||= text;
    seen.last = text;
    try {
      HLS.parse(text);
    } catch (error) {
      wrong.add(`hls-parser: ${error}`);
    }
    const playlist = parsePlaylist(text);
    for (const complaint of judge(playlist, { lowLatency })) wrong.add(complaint);
    if (before) for (const complaint of judgeReload(before, playlist)) wrong.add(complaint);
    if (wanted && !lists(playlist, wanted)) wrong.add(`the reload for ${wanted.msn}.${wanted.part} came without it`);

    const fmp4 = playlist.map !== undefined;
    if (fmp4 && !fetched.has(playlist.map ?? '')) {
      fetched.add(playlist.map ?? '');
      const init = await bytes(new URL(playlist.map ?? '', url).href);
      const names = boxes(init.body);
      if (names[0] !== 'ftyp' || !names.includes('moov')) wrong.add(`the map holds ${names.join(' ')}`);
    }
    // Segments and parts are fetched once each, oldest first.
    for (const segment of playlist.segments) {
      for (const [n, part] of segment.parts.entries()) {
        const name = `${part.uri}@${part.start ?? 0}`;
        if (part.gap || fetched.has(name)) continue;
        fetched.add(name);
        const range = part.length === undefined ? undefined : `bytes=${part.start}-${(part.start ?? 0) + part.length - 1}`;
        const got = await bytes(new URL(part.uri, url).href, range ? { headers: { Range: range } } : {});
        if (got.status !== (range ? 206 : 200)) wrong.add(`part ${segment.msn}.${n} answers ${got.status}`);
        else if (range && got.body.length !== part.length) wrong.add(`part ${segment.msn}.${n} has ${got.body.length} bytes, not ${part.length}`);
        else for (const complaint of judgeMedia(got.body, fmp4)) wrong.add(`part ${segment.msn}.${n}: ${complaint}`);
        seen.parts += 1;
      }
      if (segment.uri === undefined || fetched.has(`segment ${segment.uri}`)) continue;
      fetched.add(`segment ${segment.uri}`);
      const got = await bytes(new URL(segment.uri, url).href);
      if (got.status !== 200) wrong.add(`segment ${segment.msn} answers ${got.status}`);
      else for (const complaint of judgeMedia(got.body, fmp4)) wrong.add(`segment ${segment.msn}: ${complaint}`);
      seen.segments += 1;
    }
    // What is hinted may be asked for before it is there, and is never a 404.
    if (lowLatency && playlist.hint && seen.hintsFetched < 5) {
      seen.hintsFetched += 1;
      const { uri, start } = playlist.hint;
      const headers = start === undefined ? undefined : { Range: `bytes=${start}-` };
      hints.push(bytes(new URL(uri, url).href, headers ? { headers } : {}).then((got) => {
        if (got.status !== (headers ? 206 : 200)) wrong.add(`the hint ${uri} answers ${got.status}`);
        else for (const complaint of judgeMedia(got.body, fmp4)) wrong.add(`the hint ${uri}: ${complaint}`);
      }, (error) => { wrong.add(`the hint ${uri}: ${error}`); }));
    }
    before = playlist;
    if (!lowLatency) await sleep(500);
  }
  await Promise.all(hints);
  return { wrong: [...wrong], seen, playlist: before };
}
