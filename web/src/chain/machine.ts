// The fallback chain of one camera as a pure state machine: events and the time in, commands out.
//
// No clock, no randomness of its own: `now` is milliseconds from any origin, `unit` a random number in [0, 1).
// Driven by runner.ts; view.ts says in words what it shows.
//
// The rules:
// - A transport works while pictures come, whatever its connection says.
// - While nothing works, transports start from the best down, each a little after the one before (happy eyeballs);
//   the first one with a picture is shown.
// - A shown one without pictures for `warm` gets company; whoever has pictures first is shown. The silent one is kept
//   behind until its time is up: it may come back by itself.
// - Better ones are tried behind a working one, with back-off, and take over after `STEADY` without a gap.
// - A hint (server back, network back, LiveKit's publisher back, page shown, a person) ends every wait at once.
// - Refused and duplicate identity end the attempts of that transport until something changes.
// - Hidden pages get no video frames: nothing is judged while hidden or across a sleep.
import { backoff } from './backoff.ts';
import {
  FALLS_FORGIVEN, FALLS_WINDOW, KINDS, type Kind, PROVEN, rank, SLEPT, SPREAD, STEADY, STEADY_MAX, TIMING,
} from './kinds.ts';

/** Why an attempt ended. `refused` and `duplicate` wait for a change; `busy` is not held against it. */
export type EndClass = 'failed' | 'refused' | 'duplicate' | 'busy';

export interface End {
  class: EndClass;
  message: string;
  /** What the server asked for, ms. */
  retryAfter?: number;
}

export type Event =
  /** What the server has for this camera. `delivering`: the camera gives pictures at all; `starting`: it soon will. `interval`: ms between them, 0 unknown. */
  | { type: 'offer'; kinds: readonly Kind[]; delivering: boolean; starting: boolean; interval: number }
  | { type: 'frame'; run: number }
  /** The transport says that it is in trouble, but tries to mend itself. */
  | { type: 'shaky'; run: number }
  | { type: 'ended'; run: number; end: End }
  | { type: 'hidden'; hidden: boolean }
  /** Not wanted now: off screen, or hidden for long. */
  | { type: 'paused'; paused: boolean }
  /** Something changed for the better; `all` also forgives refusals. Without kinds: every transport. */
  | { type: 'hint'; kinds?: readonly Kind[]; all: boolean }
  | { type: 'tick' };

export type Command =
  | { type: 'start'; kind: Kind; run: number }
  | { type: 'stop'; kind: Kind; run: number }
  /** Put it on top: it has painted. `null`: keep the last picture as a still. */
  | { type: 'show'; kind: Kind | null; run: number };

export interface Slot {
  kind: Kind;
  offered: boolean;
  /** 0: not running. */
  run: number;
  startedAt: number;
  /** Its deadline without a picture counts from here. */
  waitingSince: number;
  lastFrame: number | null;
  /** Since when pictures come without a gap. */
  streakFrom: number | null;
  shaky: boolean;
  failures: number;
  retryAt: number;
  blocked: boolean;
  lastEnd: End | null;
  /** When it fell off the screen lately. */
  falls: number[];
}

export interface Chain {
  now: number;
  slots: Slot[];
  shown: Kind | null;
  /** Something was on screen before. */
  everShown: boolean;
  shownSince: number;
  delivering: boolean;
  starting: boolean;
  interval: number;
  hidden: boolean;
  paused: boolean;
  nextRun: number;
  /** Since when nothing works; null while something does. */
  darkSince: number | null;
  /** When the newest picture on screen came. */
  lastPicture: number | null;
  lastTick: number | null;
}

export function create(now: number): Chain {
  const slots = KINDS.map((kind): Slot => ({
    kind, offered: false, run: 0, startedAt: now, waitingSince: now, lastFrame: null, streakFrom: null, shaky: false,
    failures: 0, retryAt: now, blocked: false, lastEnd: null, falls: [],
  }));
  return {
    now, slots, shown: null, everShown: false, shownSince: now, delivering: true, starting: false, interval: 0, hidden: false,
    paused: false, nextRun: 1, darkSince: now, lastPicture: null, lastTick: null,
  };
}

export function slotOf(chain: Chain, kind: Kind): Slot {
  const slot = chain.slots[rank(kind)];
  if (slot === undefined) throw new Error(`no slot for ${kind}`);
  return slot;
}

/** Slow cameras are silent for longer; snapshots come at their own pace. */
export function limits(chain: Chain, kind: Kind): { warm: number; stall: number } {
  const { warm, stall } = TIMING[kind];
  return { warm: Math.max(warm, 2.5 * chain.interval), stall: Math.max(stall, 4 * chain.interval) };
}

/** Pictures came within `warm`. */
export function fresh(chain: Chain, slot: Slot): boolean {
  return slot.run !== 0 && slot.lastFrame !== null && chain.now - slot.lastFrame < limits(chain, slot.kind).warm;
}

/** How long pictures must come without a gap before it takes over. */
export function steady(chain: Chain, slot: Slot): number {
  const falls = slot.falls.filter((at) => chain.now - at < FALLS_WINDOW).length;
  const wait = Math.min(STEADY_MAX, STEADY * 2 ** Math.max(0, falls - FALLS_FORGIVEN));
  return Math.max(wait, 2 * chain.interval);
}

/** Takes in what happened at `now`; changes `chain` and says what to do, in order. */
export function handle(chain: Chain, now: number, unit: number, event: Event): Command[] {
  chain.now = Math.max(chain.now, now);
  const out: Command[] = [];
  switch (event.type) {
    case 'offer':
      offer(chain, event, unit, out);
      break;
    case 'frame':
      frame(chain, event.run);
      break;
    case 'shaky': {
      const slot = chain.slots.find((each) => each.run === event.run);
      if (slot !== undefined) slot.shaky = true;
      break;
    }
    case 'ended':
      ended(chain, event.run, event.end, unit);
      break;
    case 'hidden':
      chain.hidden = event.hidden;
      if (!event.hidden) resume(chain, unit, out);
      break;
    case 'paused':
      chain.paused = event.paused;
      if (event.paused) for (const slot of chain.slots) stop(slot, out);
      else resume(chain, unit, out);
      break;
    case 'hint':
      for (const slot of chain.slots) {
        if (event.kinds?.includes(slot.kind) ?? true) hint(chain, slot, unit, event.all, out);
      }
      break;
    case 'tick':
      if (chain.lastTick !== null && chain.now - chain.lastTick > SLEPT && !chain.hidden) resume(chain, unit, out);
      chain.lastTick = chain.now;
      break;
  }
  decide(chain, unit, out);
  return out;
}

function offer(chain: Chain, event: Event & { type: 'offer' }, unit: number, out: Command[]): void {
  const back = event.delivering && !chain.delivering;
  chain.delivering = event.delivering;
  chain.starting = event.starting;
  chain.interval = event.interval;
  for (const slot of chain.slots) {
    const offered = event.kinds.includes(slot.kind);
    if (offered && !slot.offered) hint(chain, slot, unit, true, out);
    else if (back) hint(chain, slot, unit, false, out);
    slot.offered = offered;
    // What still gives pictures stays, whatever the server says of it.
    if (!offered && slot.run !== 0 && !fresh(chain, slot)) stop(slot, out);
  }
}

function frame(chain: Chain, run: number): void {
  const slot = chain.slots.find((each) => each.run === run && run !== 0);
  if (slot === undefined) return;
  // Two pictures close together begin a streak; a lone one after a gap does not continue the old one.
  if (!fresh(chain, slot) || slot.streakFrom === null) slot.streakFrom = chain.now;
  slot.lastFrame = chain.now;
  slot.waitingSince = chain.now;
  slot.shaky = false;
  if (slot.kind === chain.shown) chain.lastPicture = chain.now;
  if (slot.kind === chain.shown && chain.now - slot.streakFrom >= PROVEN) {
    slot.failures = 0;
    slot.falls = [];
  }
}

function ended(chain: Chain, run: number, end: End, unit: number): void {
  const slot = chain.slots.find((each) => each.run === run && run !== 0);
  if (slot === undefined) return;
  const begun = slot.startedAt;
  idle(slot);
  slot.lastEnd = end;
  if (end.class === 'refused' || end.class === 'duplicate') slot.blocked = true;
  if (chain.shown === slot.kind) fell(chain, slot);
  const wait = end.class === 'busy' ? 1000 + backoff(2, unit) : backoff(slot.failures, unit);
  if (end.class !== 'busy') slot.failures += 1;
  // The back-off counts from the beginning of the attempt: a long one was itself the wait.
  slot.retryAt = Math.max(begun + wait, chain.now + Math.max(end.retryAfter ?? 0, backoff(0, unit) / 2));
}

/** It was on screen and gave no more pictures. One silence is one fall. */
function fell(chain: Chain, slot: Slot): void {
  const lately = slot.falls.filter((at) => chain.now - at < FALLS_WINDOW);
  const last = lately.at(-1);
  slot.falls = last !== undefined && chain.now - last < TIMING[slot.kind].stall ? lately : [...lately, chain.now];
}

/** Judge nothing by the time that passed unseen, and try everything again. */
function resume(chain: Chain, unit: number, out: Command[]): void {
  for (const slot of chain.slots) {
    slot.waitingSince = chain.now;
    slot.startedAt = chain.now;
    if (slot.lastFrame !== null) slot.lastFrame = chain.now;
    slot.streakFrom = null;
    hint(chain, slot, unit, false, out);
  }
}

/** An attempt that has been waiting in vain for this long is begun anew by a hint, ms. */
const VAIN = 1500;

function hint(chain: Chain, slot: Slot, unit: number, all: boolean, out: Command[]): void {
  if (all) slot.blocked = false;
  if (slot.blocked) return;
  if (slot.run !== 0) {
    if (!all || fresh(chain, slot) || chain.now - slot.startedAt < VAIN) return;
    stop(slot, out);
    slot.retryAt = chain.now;
  }
  slot.failures = 0;
  slot.retryAt = Math.min(slot.retryAt, chain.now + (chain.darkSince === null ? Math.floor(unit * SPREAD) : 0));
}

function idle(slot: Slot): void {
  slot.run = 0;
  slot.lastFrame = null;
  slot.streakFrom = null;
  slot.shaky = false;
}

function stop(slot: Slot, out: Command[]): void {
  if (slot.run === 0) return;
  out.push({ type: 'stop', kind: slot.kind, run: slot.run });
  idle(slot);
}

function start(chain: Chain, slot: Slot, out: Command[]): void {
  slot.run = chain.nextRun++;
  slot.startedAt = chain.now;
  slot.waitingSince = chain.now;
  out.push({ type: 'start', kind: slot.kind, run: slot.run });
}

/** What is right now, given all that is known. */
function decide(chain: Chain, unit: number, out: Command[]): void {
  if (chain.paused) return;
  // A hidden page gets no video frames: keep everything as it is.
  if (chain.hidden) return;
  pick(chain, out);
  expire(chain, unit, out);
  launch(chain, out);
}

/** Chooses what is on screen. */
function pick(chain: Chain, out: Command[]): void {
  const shown = chain.shown === null ? null : slotOf(chain, chain.shown);
  const working = shown !== null && fresh(chain, shown) && !shown.shaky;
  for (const slot of chain.slots) {
    if (!fresh(chain, slot) || slot === shown) continue;
    // Its last picture is not old yet, but it said that it is in trouble: taken back, it would be left again at once.
    if (working && slot.shaky) continue;
    const better = shown === null || rank(slot.kind) < rank(shown.kind);
    const lasting = slot.streakFrom !== null && chain.now - slot.streakFrom >= steady(chain, slot);
    if (working ? better && lasting : true) {
      if (shown !== null && !working) {
        fell(chain, shown);
        // It stays behind for a while: it may come back by itself.
        shown.waitingSince = chain.now;
      }
      chain.shown = slot.kind;
      chain.shownSince = chain.now;
      chain.lastPicture = slot.lastFrame;
      chain.everShown = true;
      out.push({ type: 'show', kind: slot.kind, run: slot.run });
      break;
    }
  }
  const now = chain.shown === null ? null : slotOf(chain, chain.shown);
  if (now !== null && fresh(chain, now)) {
    chain.darkSince = null;
    // Whatever is worse is not needed; while the shown one trembles its company may stay.
    if (!now.shaky) for (const slot of chain.slots) if (rank(slot.kind) > rank(now.kind)) stop(slot, out);
  } else {
    chain.darkSince ??= chain.now;
  }
}

/** Ends attempts whose time without a picture is up. */
function expire(chain: Chain, unit: number, out: Command[]): void {
  // A camera that gives nothing is not the transports' fault: keep what is connected.
  if (!chain.delivering) return;
  for (const slot of chain.slots) {
    if (slot.run === 0) continue;
    const silent = chain.now - slot.waitingSince;
    const dark = chain.darkSince !== null;
    const { first, behind } = TIMING[slot.kind];
    const { stall } = limits(chain, slot.kind);
    const played = slot.lastFrame !== null;
    const allowed = dark ? Math.max(played ? stall : first, played ? 0 : 2 * chain.interval) : Math.max(behind, stall);
    if (silent < allowed) continue;
    const seconds = Math.round(silent / 1000);
    out.push({ type: 'stop', kind: slot.kind, run: slot.run });
    ended(chain, slot.run, { class: 'failed', message: `no picture for ${seconds} s` }, unit);
  }
}

/** Starts what should be tried now. */
function launch(chain: Chain, out: Command[]): void {
  const shown = chain.shown === null ? null : slotOf(chain, chain.shown);
  const ready = (slot: Slot): boolean => slot.run === 0 && slot.offered && !slot.blocked && chain.now >= slot.retryAt;
  const working = chain.darkSince === null;
  if (working && shown !== null) {
    for (const slot of chain.slots) if (rank(slot.kind) < rank(shown.kind) && ready(slot)) start(chain, slot, out);
    if (!shown.shaky) return;
  }
  // A camera without pictures is waited for: the server says when it has some.
  if (!chain.delivering) return;
  // Nothing works (or soon may not): from the best down, each a little after the one before.
  for (const slot of chain.slots) {
    if (slot.run !== 0) {
      // What fell silent, or was tried before, has had its time; a new attempt gets a little before the next begins.
      const old = slot.lastFrame !== null || (chain.darkSince !== null && slot.startedAt < chain.darkSince);
      if (old || chain.now - slot.startedAt >= TIMING[slot.kind][chain.everShown ? 'rescue' : 'stagger']) continue;
      return;
    }
    if (!ready(slot)) continue;
    start(chain, slot, out);
    return;
  }
}

/** When to tick next if nothing else happens: soon while something is open, else at the next retry. */
export function nextTick(chain: Chain): number {
  if (chain.paused) return 5000;
  if (chain.slots.some((slot) => slot.run !== 0)) return 120;
  const waits = chain.slots.filter((slot) => slot.offered && !slot.blocked).map((slot) => slot.retryAt - chain.now);
  return Math.min(1000, Math.max(100, ...(waits.length > 0 ? [Math.min(...waits)] : [1000])));
}
