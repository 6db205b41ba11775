// Keeps the dashboard up to date: server-sent events, or polling where there are none. Thin I/O around link.ts.
import { ask } from './ask.ts';
import { parsePolled, parseState } from './parse.ts';
import { INITIAL, type LinkEvent, type LinkState, reduce, SILENCE_MAX } from './link.ts';
import { ServerClock } from './clock.ts';
import { url } from './base.ts';
import type { ServerState } from './types.ts';

const POLL_INTERVAL = 5000;
/** While polling, events are tried again this often: the server may have been updated. */
const EVENTS_AGAIN = 60000;

export class ServerLink {
  readonly clock = new ServerClock();
  #state: LinkState = INITIAL;
  #subscribers = new Set<() => void>();
  #source: EventSource | null = null;
  #timer: ReturnType<typeof setTimeout> | undefined;
  #eventsAgainAt = 0;
  #opening = 0;

  /** Begins, and goes on until the returned function is called. */
  start(): () => void {
    const nudge = (): void => this.nudge();
    const shown = (): void => {
      if (!document.hidden) this.#lookAfterSilence();
    };
    addEventListener('online', nudge);
    addEventListener('pageshow', shown);
    document.addEventListener('visibilitychange', shown);
    const watchdog = setInterval(() => this.#lookAfterSilence(), 2000);
    this.#open();
    return () => {
      removeEventListener('online', nudge);
      removeEventListener('pageshow', shown);
      document.removeEventListener('visibilitychange', shown);
      clearInterval(watchdog);
      clearTimeout(this.#timer);
      this.#close();
    };
  }

  readonly state = (): LinkState => this.#state;

  readonly subscribe = (subscriber: () => void): (() => void) => {
    this.#subscribers.add(subscriber);
    return () => this.#subscribers.delete(subscriber);
  };

  /** Try now rather than later. */
  nudge(): void {
    if (this.#state.phase !== 'gone') return;
    this.#take({ type: 'nudge' });
    this.#open();
  }

  /** Ask for the state once, after something was done. */
  refresh(): void {
    if (this.#state.way === 'polling' && this.#state.phase === 'live') void this.#poll();
  }

  #take(event: LinkEvent): void {
    this.#state = reduce(this.#state, Date.now(), Math.random(), event);
    for (const subscriber of this.#subscribers) subscriber();
  }

  #open(): void {
    clearTimeout(this.#timer);
    this.#close();
    if (this.#state.way === 'polling' && Date.now() < this.#eventsAgainAt) {
      void this.#poll();
      return;
    }
    const opening = ++this.#opening;
    const source = new EventSource(url('api/events'));
    this.#source = source;
    let spoken = false;
    source.addEventListener('state', (event: MessageEvent<string>) => {
      spoken = true;
      this.#message(parseState(parsed(event.data)), 'events');
    });
    source.addEventListener('bye', () => this.#failed());
    source.addEventListener('error', () => {
      if (opening !== this.#opening) return;
      this.#close();
      // Never any event: either nobody is there, or a server without events. Asking for the cameras tells which.
      if (spoken) this.#failed();
      else void this.#poll();
    });
  }

  async #poll(): Promise<void> {
    const opening = ++this.#opening;
    const [answer, printers] = await Promise.all([ask('GET', 'api/cameras', { patience: 4000 }), ask('GET', 'api/printers?full=1', { patience: 4000 })]);
    if (opening !== this.#opening) return;
    if (!answer.ok) {
      this.#failed();
      return;
    }
    if (this.#state.way !== 'polling') this.#eventsAgainAt = Date.now() + EVENTS_AGAIN;
    if (!this.#message(parsePolled(answer.body, printers, this.#state.server), 'polling')) {
      this.#failed();
      return;
    }
    clearTimeout(this.#timer);
    this.#timer = setTimeout(() => {
      if (Date.now() < this.#eventsAgainAt) {
        void this.#poll();
        return;
      }
      this.#eventsAgainAt = Date.now() + EVENTS_AGAIN;
      this.#retryEvents();
    }, POLL_INTERVAL);
  }

  /** From polling back to events, if the server has them by now. */
  #retryEvents(): void {
    const until = this.#eventsAgainAt;
    this.#eventsAgainAt = 0;
    this.#open();
    this.#eventsAgainAt = until;
  }

  #message(server: ServerState | null, way: 'events' | 'polling'): boolean {
    if (server === null) return false;
    if (server.now !== null) this.clock.learn(server.now, Date.now());
    this.#take({ type: 'message', server, way });
    return true;
  }

  #failed(): void {
    this.#close();
    this.#take({ type: 'failed' });
    clearTimeout(this.#timer);
    const wait = Math.max(0, (this.#state.nextTry ?? 0) - Date.now());
    this.#timer = setTimeout(() => this.#open(), wait);
  }

  /** A connection can be dead without saying so: after sleep, behind a proxy. */
  #lookAfterSilence(): void {
    const { phase, way, lastMessage } = this.#state;
    if (phase === 'gone') {
      if (!document.hidden && (this.#state.nextTry ?? 0) < Date.now() - 5000) this.#open();
    } else if (way === 'events' && lastMessage !== null && Date.now() - lastMessage > SILENCE_MAX) {
      this.#open();
      this.#state = { ...this.#state, lastMessage: Date.now() };
    }
  }

  #close(): void {
    this.#opening += 1;
    this.#source?.close();
    this.#source = null;
  }
}

/** Null: no JSON. */
function parsed(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return null;
  }
}
