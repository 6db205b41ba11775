// Drives the chain of one camera: owns its transports and its stage, carries out what the machine commands, tells what is shown.
import { HlsVideo } from '../transports/hls.ts';
import { LiveKit } from '../transports/livekit.ts';
import { Mjpeg } from '../transports/mjpeg.ts';
import { Snapshot } from '../transports/snapshot.ts';
import { Whep } from '../transports/whep.ts';
import type { Surroundings, Transport } from '../transports/types.ts';
import type { Camera } from '../state/types.ts';
import type { Budget } from './budget.ts';
import { type Chain, type Command, create, type Event, handle, nextTick, slotOf } from './machine.ts';
import { HIDDEN_MAX, type Kind } from './kinds.ts';
import { hlsPaths, liveRoom, offerOf, wantsLowLatency } from './offer.ts';
import { Stage } from './stage.ts';
import { type ChainView, view } from './view.ts';

const LOW_LATENCY = wantsLowLatency(import.meta.env.VITE_HLS_LOW_LATENCY);

/** What is on screen, a few times a second. */
export interface Shown extends ChainView {
  /** Painted on screen since the page was opened. */
  frames: number;
  /** Measured over the last seconds. */
  fps: number;
  /** Milliseconds; null while unknown. */
  latency: number | null;
  width: number | null;
  height: number | null;
}

interface Running {
  run: number;
  transport: Transport;
}

export class Runner {
  readonly stage: Stage;
  #chain: Chain = create(performance.now());
  #camera: Camera;
  #surroundings: Surroundings;
  #budget: Budget;
  #running = new Map<Kind, Running>();
  #timer: ReturnType<typeof setTimeout> | undefined;
  #told: ReturnType<typeof setInterval>;
  #hiddenTimer: ReturnType<typeof setTimeout> | undefined;
  #offScreen = false;
  #hiddenLong = false;
  #frames = 0;
  #times: number[] = [];
  #size: { width: number; height: number } | null = null;
  #livekitWas: boolean;
  #over = false;
  #teller: (shown: Shown) => void;
  #toldState: Shown['state'] | null = null;
  #toldShown: Kind | null = null;
  #cleanUp: (() => void)[] = [];

  constructor(root: HTMLElement, camera: Camera, surroundings: Surroundings, budget: Budget, tell: (shown: Shown) => void) {
    this.stage = new Stage(root);
    this.#camera = camera;
    this.#surroundings = surroundings;
    this.#budget = budget;
    this.#livekitWas = liveRoom(camera) !== null;
    this.#teller = tell;
    this.#told = setInterval(() => this.#tell(), 250);
    this.#listen(document, 'visibilitychange', () => this.#visibility());
    this.#listen(window, 'online', () => this.#send({ type: 'hint', all: true }));
    this.#listen(window, 'pageshow', () => this.#send({ type: 'hint', all: false }));
    // A page that is left says good-bye to the server, and begins anew when the browser brings it back.
    this.#listen(window, 'pagehide', () => this.#send({ type: 'paused', paused: true }));
    this.#listen(window, 'pageshow', () => this.#pause());
    this.#listen(root, 'leavepictureinpicture', () => this.#visibility());
    const network = (navigator as Navigator & { connection?: EventTarget }).connection;
    if (network !== undefined) this.#listen(network, 'change', () => this.#send({ type: 'hint', all: false }));
    this.#visibility();
  }

  /** What the server says now. */
  update(camera: Camera, livekit: boolean, webrtc: boolean, wanted: readonly Kind[]): void {
    this.#camera = camera;
    const live = liveRoom(camera) !== null;
    this.#send({ type: 'offer', ...offerOf(camera, livekit, webrtc, wanted) });
    if (live && !this.#livekitWas) this.#send({ type: 'hint', kinds: ['livekit'], all: true });
    this.#livekitWas = live;
  }

  /** Everything that waits is tried now. */
  hint(): void {
    this.#send({ type: 'hint', all: true });
  }

  setOffScreen(off: boolean): void {
    this.#offScreen = off;
    this.#pause();
  }

  stop(): void {
    this.#over = true;
    clearTimeout(this.#timer);
    clearTimeout(this.#hiddenTimer);
    clearInterval(this.#told);
    for (const undo of this.#cleanUp) undo();
    for (const kind of [...this.#running.keys()]) this.#close(kind);
    this.stage.clear();
  }

  #listen(target: EventTarget, type: string, listener: () => void): void {
    target.addEventListener(type, listener, true);
    this.#cleanUp.push(() => target.removeEventListener(type, listener, true));
  }

  #visibility(): void {
    const floating = document.pictureInPictureElement !== null && document.pictureInPictureElement === this.stage.video;
    const hidden = document.hidden && !floating;
    clearTimeout(this.#hiddenTimer);
    if (hidden) {
      this.#hiddenTimer = setTimeout(() => {
        this.#hiddenLong = true;
        this.#pause();
      }, HIDDEN_MAX);
    } else {
      this.#hiddenLong = false;
    }
    this.#send({ type: 'hidden', hidden });
    this.#pause();
  }

  #pause(): void {
    const paused = this.#offScreen || this.#hiddenLong;
    if (paused !== this.#chain.paused) this.#send({ type: 'paused', paused });
  }

  #send(event: Event): void {
    if (this.#over) return;
    for (const command of handle(this.#chain, performance.now(), Math.random(), event)) this.#obey(command);
    const { state, shown } = view(this.#chain);
    if (state !== this.#toldState || shown !== this.#toldShown) this.#tell();
    clearTimeout(this.#timer);
    this.#timer = setTimeout(() => this.#send({ type: 'tick' }), nextTick(this.#chain));
  }

  /** A few times a second, and at once when something changed. */
  #tell(): void {
    const shown = this.#shown();
    [this.#toldState, this.#toldShown] = [shown.state, shown.shown];
    this.#teller(shown);
  }

  #obey(command: Command): void {
    switch (command.type) {
      case 'start':
        this.#start(command.kind, command.run);
        break;
      case 'stop':
        if (this.#running.get(command.kind)?.run === command.run) this.#close(command.kind);
        break;
      case 'show': {
        const running = command.kind === null ? undefined : this.#running.get(command.kind);
        if (running !== undefined) this.stage.show(running.transport.element);
        this.#times = [];
        break;
      }
    }
  }

  #start(kind: Kind, run: number): void {
    const transport = this.#make(kind);
    // Told later: the machine is in the middle of something.
    if (transport === null || !this.#budget.take(this.#camera.id, kind)) {
      const message = transport === null ? 'not offered any more' : 'all connections of this page are taken';
      queueMicrotask(() => this.#send({ type: 'ended', run, end: { class: 'busy', message } }));
      return;
    }
    this.#running.set(kind, { run, transport });
    this.stage.add(transport.element);
    transport.start({
      frame: (size) => {
        if (this.#chain.shown === kind) this.#count(size);
        const before = this.#chain.shown;
        this.#send({ type: 'frame', run });
        if (before !== kind && this.#shownNow() === kind) this.#count(size);
      },
      shaky: () => this.#send({ type: 'shaky', run }),
      ended: (end) => {
        if (this.#running.get(kind)?.run === run) this.#close(kind);
        this.#send({ type: 'ended', run, end });
      },
    });
  }

  #shownNow(): Kind | null {
    return this.#chain.shown;
  }

  #make(kind: Kind): Transport | null {
    const camera = this.#camera;
    const path = {
      livekit: null, whep: camera.urls.whep, 'll-hls': null, mjpeg: camera.urls.stream, snapshot: camera.urls.snapshot,
    }[kind];
    if (kind === 'livekit') {
      const room = liveRoom(camera);
      return room === null ? null : new LiveKit(this.#surroundings, room.room, room.identity);
    }
    if (kind === 'll-hls') {
      const paths = hlsPaths(camera, LOW_LATENCY);
      return paths.length === 0 ? null : new HlsVideo(this.#surroundings, paths, LOW_LATENCY);
    }
    if (path === null) return null;
    switch (kind) {
      case 'whep': return new Whep(this.#surroundings, path);
      case 'mjpeg': return new Mjpeg(this.#surroundings, path);
      case 'snapshot': return new Snapshot(this.#surroundings, path);
    }
  }

  #close(kind: Kind): void {
    const running = this.#running.get(kind);
    if (running === undefined) return;
    this.#running.delete(kind);
    // First the still, then the end: an ended video has no picture.
    this.stage.remove(running.transport.element);
    running.transport.stop();
    this.#budget.release(this.#camera.id, kind);
  }

  #count(size: { width: number; height: number }): void {
    this.#frames += 1;
    this.#size = size;
    const now = performance.now();
    this.#times.push(now);
    while (this.#times.length > 2 && now - (this.#times[0] ?? now) > 3000) this.#times.shift();
  }

  #shown(): Shown {
    const kind = this.#chain.shown;
    const first = this.#times[0];
    const last = this.#times.at(-1);
    const span = first === undefined || last === undefined ? 0 : last - first;
    const chainView = view(this.#chain);
    const open = kind !== null && slotOf(this.#chain, kind).run !== 0;
    return {
      ...chainView,
      silence: chainView.silence === null ? null : chainView.silence + Math.max(0, performance.now() - this.#chain.now),
      frames: this.#frames,
      fps: chainView.state === 'live' && span > 0 ? (this.#times.length - 1) * 1000 / span : 0,
      latency: open ? this.#running.get(kind)?.transport.latency() ?? null : null,
      width: this.#size?.width ?? null,
      height: this.#size?.height ?? null,
    };
  }
}
