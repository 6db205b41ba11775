// Own reading and own judging of media playlists, beside hls-parser: hls-parser knows the syntax, this
// knows what RFC 8216bis asks of a live, low-latency server from one reload to the next.

/**
 * @typedef {object} Part
 * @property {string} uri
 * @property {number} duration
 * @property {boolean} independent
 * @property {boolean} gap
 * @property {number | undefined} start first byte, of a byte range
 * @property {number | undefined} length bytes, of a byte range
 *
 * @typedef {object} Segment
 * @property {number} msn media sequence number
 * @property {string | undefined} uri undefined while the segment is open
 * @property {number} duration
 * @property {Part[]} parts
 * @property {boolean} discontinuity
 *
 * @typedef {object} Playlist
 * @property {number} version
 * @property {number} targetDuration
 * @property {number | undefined} partTarget
 * @property {number | undefined} partHoldBack
 * @property {boolean} canBlock
 * @property {number} mediaSequence
 * @property {number} discontinuitySequence
 * @property {string | undefined} map
 * @property {Segment[]} segments the last one has no URI when parts of an open segment follow
 * @property {{ uri: string, start: number | undefined } | undefined} hint
 * @property {boolean} ended
 */

/** Durations are written with limited digits; a difference below this is none. Seconds. */
const ROUNDING = 0.0015;

/** @param {string} text @returns {Record<string, string>} */
function attributes(text) {
  const found = /** @type {Record<string, string>} */ ({});
  for (const [, name, quoted, bare] of text.matchAll(/([A-Z0-9-]+)=(?:"([^"]*)"|([^,]*))/g)) found[name] = quoted ?? bare;
  return found;
}

/** @param {string | undefined} range */
function byteRange(range) {
  if (range === undefined) return { start: undefined, length: undefined };
  const [length, start] = range.split('@');
  return { length: Number(length), start: start === undefined ? undefined : Number(start) };
}

/** @param {string} text @returns {Playlist} */
export function parsePlaylist(text) {
  const lines = text.split('\n').map((line) => line.trim());
  if (lines[0] !== '#EXTM3U') throw new Error(`not a playlist: ${text.slice(0, 80)}`);
  /** @type {Playlist} */
  const playlist = {
    version: 1, targetDuration: NaN, partTarget: undefined, partHoldBack: undefined, canBlock: false,
    mediaSequence: 0, discontinuitySequence: 0, map: undefined, segments: [], hint: undefined, ended: false,
  };
  /** @returns {Segment} */
  const open = () => ({ msn: 0, uri: undefined, duration: 0, parts: [], discontinuity: false });
  let segment = open();
  for (const line of lines) {
    const [, tag, value] = /^#(EXT[A-Z0-9-]*)(?::(.*))?$/.exec(line) ?? [];
    if (line && !line.startsWith('#')) {
      segment.uri = line;
      playlist.segments.push(segment);
      segment = open();
    } else if (tag === 'EXT-X-VERSION') playlist.version = Number(value);
    else if (tag === 'EXT-X-TARGETDURATION') playlist.targetDuration = Number(value);
    else if (tag === 'EXT-X-MEDIA-SEQUENCE') playlist.mediaSequence = Number(value);
    else if (tag === 'EXT-X-DISCONTINUITY-SEQUENCE') playlist.discontinuitySequence = Number(value);
    else if (tag === 'EXT-X-DISCONTINUITY') segment.discontinuity = true;
    else if (tag === 'EXT-X-ENDLIST') playlist.ended = true;
    else if (tag === 'EXT-X-MAP') playlist.map = attributes(value).URI;
    else if (tag === 'EXTINF') segment.duration = Number.parseFloat(value);
    else if (tag === 'EXT-X-PART-INF') playlist.partTarget = Number(attributes(value)['PART-TARGET']);
    else if (tag === 'EXT-X-SERVER-CONTROL') {
      const control = attributes(value);
      playlist.canBlock = control['CAN-BLOCK-RELOAD'] === 'YES';
      if (control['PART-HOLD-BACK']) playlist.partHoldBack = Number(control['PART-HOLD-BACK']);
    } else if (tag === 'EXT-X-PART') {
      const part = attributes(value);
      const range = byteRange(part.BYTERANGE);
      // Without an offset a range goes on where the part before it ended (4.4.4.9).
      const before = segment.parts.at(-1);
      if (range.length !== undefined && range.start === undefined) {
        range.start = before?.uri === part.URI ? (before.start ?? 0) + (before.length ?? 0) : 0;
      }
      segment.parts.push({
        uri: part.URI, duration: Number(part.DURATION), independent: part.INDEPENDENT === 'YES',
        gap: part.GAP === 'YES', ...range,
      });
    } else if (tag === 'EXT-X-PRELOAD-HINT') {
      const hint = attributes(value);
      if (hint.TYPE === 'PART') {
        playlist.hint = { uri: hint.URI, start: hint['BYTERANGE-START'] ? Number(hint['BYTERANGE-START']) : undefined };
      }
    }
  }
  if (segment.parts.length > 0) playlist.segments.push(segment);
  playlist.segments.forEach((each, n) => { each.msn = playlist.mediaSequence + n; });
  return playlist;
}

/**
 * What is wrong with one playlist by itself.
 * @param {Playlist} playlist
 * @param {{ lowLatency: boolean }} options
 * @returns {string[]}
 */
export function judge(playlist, { lowLatency }) {
  /** @type {string[]} */
  const wrong = [];
  const closed = playlist.segments.filter((segment) => segment.uri !== undefined);
  for (const { msn, duration } of closed) {
    if (!(duration > 0)) wrong.push(`segment ${msn} lasts ${duration}`);
    if (Math.round(duration) > playlist.targetDuration) {
      wrong.push(`segment ${msn} lasts ${duration}, the target is ${playlist.targetDuration}`);
    }
  }
  if (playlist.ended) wrong.push('a live playlist has an end');
  if (!lowLatency) return wrong;

  const { partTarget, partHoldBack } = playlist;
  if (partTarget === undefined) return [...wrong, 'no EXT-X-PART-INF'];
  if (playlist.version < 6) wrong.push(`version ${playlist.version} knows no parts`);
  if (!playlist.canBlock) wrong.push('CAN-BLOCK-RELOAD is not YES');
  if (partHoldBack === undefined) wrong.push('no PART-HOLD-BACK');
  else if (partHoldBack < 2 * partTarget - ROUNDING) {
    wrong.push(`PART-HOLD-BACK ${partHoldBack} is less than twice PART-TARGET ${partTarget}`);
  }
  if (!playlist.hint) wrong.push('no preload hint');
  for (const segment of playlist.segments) {
    const { msn, parts } = segment;
    parts.forEach((part, n) => {
      const last = segment.uri !== undefined && n === parts.length - 1;
      if (part.duration > partTarget + 1e-6) wrong.push(`part ${msn}.${n} lasts ${part.duration}, the target is ${partTarget}`);
      // 4.4.3.7: at least 85 % of the target, but for these.
      if (part.duration < 0.85 * partTarget - ROUNDING && !part.independent && !part.gap && !last) {
        wrong.push(`part ${msn}.${n} lasts ${part.duration}, less than 85 % of ${partTarget}`);
      }
    });
    if (parts.length > 0 && !parts[0].independent) wrong.push(`segment ${msn} does not begin with an independent part`);
    const sum = parts.reduce((total, part) => total + part.duration, 0);
    if (segment.uri !== undefined && parts.length > 0 && Math.abs(sum - segment.duration) > ROUNDING * (parts.length + 1)) {
      wrong.push(`the parts of segment ${msn} last ${sum.toFixed(4)} together, the segment ${segment.duration}`);
    }
  }
  // 4.4.4.9: parts stand only near the live edge.
  const listed = closed.filter((segment) => segment.parts.length > 0);
  if (listed.length > 3) wrong.push(`${listed.length} complete segments list their parts`);
  const edge = listed.length ? closed.slice(closed.indexOf(listed[0])) : [];
  if (edge.some((segment) => segment.parts.length === 0)) wrong.push('parts are listed with a gap');
  return wrong;
}

/**
 * What is wrong from one reload to the next.
 * @param {Playlist} before
 * @param {Playlist} after
 * @returns {string[]}
 */
export function judgeReload(before, after) {
  /** @type {string[]} */
  const wrong = [];
  for (const key of /** @type {const} */ (['version', 'targetDuration', 'partTarget', 'partHoldBack'])) {
    if (before[key] !== after[key]) wrong.push(`${key} changed from ${before[key]} to ${after[key]}`);
  }
  if (after.mediaSequence < before.mediaSequence) wrong.push(`MSN fell from ${before.mediaSequence} to ${after.mediaSequence}`);
  if (after.discontinuitySequence < before.discontinuitySequence) wrong.push('DISCONTINUITY-SEQUENCE fell');
  const dropped = before.segments.filter((segment) => segment.msn < after.mediaSequence);
  const discontinuities = dropped.filter((segment) => segment.discontinuity).length;
  if (after.mediaSequence - before.mediaSequence <= before.segments.length
    && after.discontinuitySequence !== before.discontinuitySequence + discontinuities) {
    wrong.push(`DISCONTINUITY-SEQUENCE ${after.discontinuitySequence} after ${before.discontinuitySequence} and ${discontinuities} dropped`);
  }
  const end = (/** @type {Playlist} */ playlist) => playlist.mediaSequence + playlist.segments.length;
  if (end(after) < end(before)) wrong.push(`the last MSN fell from ${end(before) - 1} to ${end(after) - 1}`);
  for (const old of before.segments) {
    const now = after.segments[old.msn - after.mediaSequence];
    if (!now) continue;
    if (old.uri !== undefined && (old.uri !== now.uri || old.duration !== now.duration)) {
      wrong.push(`segment ${old.msn} was ${old.uri} (${old.duration}) and is ${now.uri} (${now.duration})`);
    }
    // Parts of a segment may leave the list all together, but none may change.
    if (now.parts.length === 0 && now.uri !== undefined) continue;
    old.parts.forEach((part, n) => {
      if (JSON.stringify(part) !== JSON.stringify(now.parts[n])) {
        wrong.push(`part ${old.msn}.${n} was ${JSON.stringify(part)} and is ${JSON.stringify(now.parts[n])}`);
      }
    });
  }
  // 4.4.5.3: what was hinted is what comes.
  if (before.hint) {
    const last = before.segments.at(-1);
    const known = (/** @type {Part} */ part) => part.uri === before.hint?.uri && (part.start ?? 0) === (before.hint.start ?? 0);
    const [msn, n] = last && last.uri === undefined ? [last.msn, last.parts.length] : [end(before), 0];
    const next = after.segments[msn - after.mediaSequence]?.parts[n]
      // The hinted part of a segment that ended without it is the first of the next one.
      ?? after.segments[msn + 1 - after.mediaSequence]?.parts[0];
    if (next && !known(next)) wrong.push(`the hint ${JSON.stringify(before.hint)} came as ${JSON.stringify(next)}`);
  }
  return wrong;
}

/**
 * The part that a client asks for next: the first that this playlist does not list.
 * @param {Playlist} playlist
 */
export function nextPart(playlist) {
  const last = playlist.segments.at(-1);
  if (last && last.uri === undefined) return { msn: last.msn, part: last.parts.length };
  return { msn: playlist.mediaSequence + playlist.segments.length, part: 0 };
}

/**
 * Whether the playlist lists this part, or anything after it.
 * @param {Playlist} playlist
 * @param {{ msn: number, part: number }} wanted
 */
export function lists(playlist, wanted) {
  const next = nextPart(playlist);
  return next.msn > wanted.msn || (next.msn === wanted.msn && next.part > wanted.part);
}
