// A simulated world for the chain: transports that are up or down, with delays; commands carried out, pictures delivered, time made.
import { type Chain, create, type End, type Event, handle } from '../src/chain/machine.ts';
import { type Kind, KINDS } from '../src/chain/kinds.ts';
import { view } from '../src/chain/view.ts';

export interface Way {
  /** Gives pictures. */
  up: boolean;
  /** From start to the first picture, ms. */
  first: number;
  /** Told at once when it is down; otherwise it is silent. */
  says: End | null;
  /** Ends with this when the silence has lasted for so long (a client's own timeout), ms. */
  interval: number;
}

interface Open {
  run: number;
  startedAt: number;
  nextFrame: number;
  told: boolean;
}

const FAILED: End = { class: 'failed', message: 'connection refused' };

export class World {
  now = 1000;
  chain: Chain = create(1000);
  ways: Record<Kind, Way>;
  open = new Map<Kind, Open>();
  starts: { kind: Kind; at: number }[] = [];
  shows: { kind: Kind; at: number }[] = [];
  /** Anything that must never happen. */
  faults: string[] = [];
  lastTick = 0;
  asleep = false;
  unit: () => number;
  offered: Kind[];

  constructor(offered: readonly Kind[] = KINDS, unit: () => number = () => 0.5) {
    this.unit = unit;
    this.offered = [...offered];
    const first: Record<Kind, number> = { livekit: 600, whep: 200, 'll-hls': 1100, mjpeg: 120, snapshot: 80 };
    this.ways = Object.fromEntries(KINDS.map((kind) => [kind, {
      up: true, first: first[kind], says: FAILED, interval: kind === 'snapshot' ? 1000 : 40,
    }])) as Record<Kind, Way>;
  }

  begin(): this {
    this.offer();
    return this;
  }

  offer(delivering = true, starting = false): void {
    this.send({ type: 'offer', kinds: this.offered, delivering, starting, interval: 40 });
  }

  send(event: Event): void {
    for (const command of handle(this.chain, this.now, this.unit(), event)) {
      if (command.type === 'start') {
        if (this.open.has(command.kind)) this.faults.push(`${command.kind} started twice`);
        if (!this.offered.includes(command.kind)) this.faults.push(`${command.kind} started, not offered`);
        this.open.set(command.kind, { run: command.run, startedAt: this.now, nextFrame: this.now + this.ways[command.kind].first, told: false });
        this.starts.push({ kind: command.kind, at: this.now });
      } else if (command.type === 'stop') {
        if (this.open.get(command.kind)?.run !== command.run) this.faults.push(`${command.kind} stopped, not open`);
        this.open.delete(command.kind);
      } else if (command.kind !== null) {
        if (this.open.get(command.kind)?.run !== command.run) this.faults.push(`${command.kind} shown, not open`);
        this.shows.push({ kind: command.kind, at: this.now });
      }
    }
    for (const slot of this.chain.slots) {
      if ((slot.run !== 0) !== this.open.has(slot.kind)) this.faults.push(`${slot.kind}: open in one place only`);
    }
  }

  /** Lets `ms` pass. */
  run(ms: number): this {
    const until = this.now + ms;
    while (this.now < until) {
      this.now += 10;
      if (this.asleep) continue;
      for (const [kind, open] of [...this.open]) {
        // Another one's picture may have ended it, or begun it anew, in this very moment.
        if (this.open.get(kind) !== open) continue;
        const way = this.ways[kind];
        if (!way.up && way.says !== null && !open.told && this.now >= open.startedAt + 30) {
          open.told = true;
          this.open.delete(kind);
          this.send({ type: 'ended', run: open.run, end: way.says });
        } else if (way.up && !this.chain.hidden && this.now >= open.nextFrame) {
          open.nextFrame = this.now + way.interval;
          this.send({ type: 'frame', run: open.run });
        }
      }
      if (this.now - this.lastTick >= 250) {
        this.lastTick = this.now;
        this.send({ type: 'tick' });
      }
    }
    return this;
  }

  /** Runs until `done`, at most `ms`; gives how long it took, or null. */
  until(done: () => boolean, ms = 60000): number | null {
    const begun = this.now;
    while (this.now - begun < ms) {
      if (done()) return this.now - begun;
      this.run(10);
    }
    return null;
  }

  get shown(): Kind | null {
    return this.chain.shown;
  }

  get state(): string {
    return view(this.chain).state;
  }

  live(kind: Kind): boolean {
    return this.shown === kind && this.state === 'live';
  }

  down(kind: Kind, says: End | null = FAILED): void {
    this.ways[kind].up = false;
    this.ways[kind].says = says;
  }

  up(kind: Kind): void {
    this.ways[kind].up = true;
  }
}
