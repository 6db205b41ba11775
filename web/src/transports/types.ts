// What every transport is to the chain: started into a layer of the picture, it tells of pictures and of its end.
import type { End } from '../chain/machine.ts';
import type { Kind } from '../chain/kinds.ts';

/** Where a transport tells what happens. Nothing is told after `stop()`. */
export interface Listener {
  /** A picture was painted. `age`: its age in ms when painted, where the transport knows. */
  frame(size: { width: number; height: number }, age?: number): void;
  /** In trouble, but mending itself. */
  shaky(): void;
  /** Over. The chain decides what is next. */
  ended(end: End): void;
}

export interface Transport {
  readonly kind: Kind;
  /** The element that shows the picture; the chain's stage holds it. */
  readonly element: HTMLVideoElement | HTMLCanvasElement;
  start(listener: Listener): void;
  /** Closes connections and forgets the picture. May be called at any time, more than once. */
  stop(): void;
  /** Capture to screen, an estimate in ms; null while unknown. */
  latency(): number | null;
}

/** What transports need to know of the world. */
export interface Surroundings {
  /** The address of a server's path, relative to where the page lives. */
  url(path: string): URL;
  /** Server's clock minus this machine's, ms. */
  clockOffset(): number;
}

/** The message of whatever was thrown; browsers' own words for a failed request say nothing. */
export function words(error: unknown): string {
  if (error instanceof TypeError && /fetch|network|load failed/i.test(error.message)) return 'the connection to the server failed';
  if (error instanceof DOMException && error.name === 'TimeoutError') return 'the server did not answer in time';
  return error instanceof Error ? error.message : String(error);
}
