// Low-latency HLS: by hls.js, and by the player itself in Safari. Plain HLS where the server has only that, or nothing else was built in.
// hls.js is loaded when the first camera needs it.
import type Hls from 'hls.js';
import type { End } from '../chain/machine.ts';
import type { Listener, Surroundings, Transport } from './types.ts';
import { words } from './types.ts';
import { createVideo, play, watchFrames } from './video.ts';

/** hls.js's names of errors in words. */
const ERRORS: Partial<Record<string, string>> = {
  manifestLoadError: 'the playlist cannot be loaded',
  manifestLoadTimeOut: 'the playlist does not come',
  manifestParsingError: 'the playlist cannot be read',
  manifestIncompatibleCodecsError: 'this browser cannot play the codec',
  levelLoadError: 'the playlist cannot be loaded',
  levelLoadTimeOut: 'the playlist does not come',
  levelEmptyError: 'the playlist is empty',
  levelParsingError: 'the playlist cannot be read',
  fragLoadError: 'a piece of the video cannot be loaded',
  fragLoadTimeOut: 'a piece of the video does not come',
  fragParsingError: 'the video cannot be read',
  bufferAddCodecError: 'this browser cannot play the codec',
  bufferAppendError: 'the browser does not take the video',
};

/** Safari: its own player does low latency best, and phones have no other. Other browsers that claim HLS do not do low latency. */
function playsItself(video: HTMLVideoElement): boolean {
  return 'webkitSetPresentationMode' in video && video.canPlayType('application/vnd.apple.mpegurl') !== '';
}

export class HlsVideo implements Transport {
  readonly kind = 'll-hls';
  readonly element = createVideo();
  #surroundings: Surroundings;
  /** The best first; the next one when one is missing. */
  #paths: string[];
  #lowLatency: boolean;
  #hls: Hls | null = null;
  #unwatch: (() => void) | null = null;
  #listener: Listener | null = null;

  constructor(surroundings: Surroundings, paths: string[], lowLatency: boolean) {
    this.#surroundings = surroundings;
    this.#paths = [...paths];
    this.#lowLatency = lowLatency;
  }

  start(listener: Listener): void {
    this.#listener = listener;
    this.#unwatch = watchFrames(this.element, (frame) => this.#listener?.frame(frame));
    if (playsItself(this.element)) this.#native();
    else this.#library().catch((error: unknown) => this.#end({ class: 'failed', message: words(error) }));
  }

  /** The next playlist to try. */
  #next(): string | null {
    const path = this.#paths.shift();
    return path === undefined ? null : this.#surroundings.url(path).href;
  }

  #native(): void {
    const begin = (url: string | null): void => {
      if (url === null) return;
      this.element.src = url;
      play(this.element);
    };
    this.element.addEventListener('error', () => {
      if (this.#listener === null) return;
      const fresh = this.element.readyState === HTMLMediaElement.HAVE_NOTHING;
      const next = fresh ? this.#next() : null;
      if (next === null) this.#end({ class: 'failed', message: this.element.error?.message ?? 'the player gave up' });
      else begin(next);
    });
    begin(this.#next());
  }

  async #library(): Promise<void> {
    const { default: Player } = await import('hls.js/light');
    if (this.#listener === null) return;
    if (!Player.isSupported()) {
      this.#end({ class: 'refused', message: 'this browser cannot play HLS' });
      return;
    }
    const quick = { maxTimeToFirstByteMs: 4000, maxLoadTimeMs: 8000, timeoutRetry: null, errorRetry: null };
    const patient = { ...quick, errorRetry: { maxNumRetry: 1, retryDelayMs: 300, maxRetryDelayMs: 300 } };
    const hls = new Player({
      lowLatencyMode: this.#lowLatency,
      // Without a catch-up rate the gap that it joined with never closes.
      maxLiveSyncPlaybackRate: 1.2,
      backBufferLength: 4,
      // A worker would need blob: in the page's policy; this little work does not need one.
      enableWorker: false,
      manifestLoadPolicy: { default: quick },
      playlistLoadPolicy: { default: patient },
      fragLoadPolicy: { default: patient },
    });
    this.#hls = hls;
    hls.on(Player.Events.ERROR, (_, data) => {
      if (data.fatal) {
        const status = data.response?.code;
        const next = data.details === Player.ErrorDetails.MANIFEST_LOAD_ERROR && status === 404 ? this.#next() : null;
        if (next !== null) {
          hls.loadSource(next);
          return;
        }
        const code = status === undefined || status === 0 ? '' : ` (${status})`;
        this.#end({ class: 'failed', message: `${ERRORS[data.details] ?? data.details}${code}` });
      } else if (data.type === Player.ErrorTypes.NETWORK_ERROR) {
        this.#listener?.shaky();
      }
    });
    hls.on(Player.Events.MANIFEST_PARSED, () => play(this.element));
    hls.attachMedia(this.element);
    const first = this.#next();
    if (first !== null) hls.loadSource(first);
  }

  #end(end: End): void {
    const listener = this.#listener;
    if (listener === null) return;
    // Told first: the last picture is kept as a still before the element loses it.
    listener.ended(end);
    this.stop();
  }

  stop(): void {
    this.#listener = null;
    this.#unwatch?.();
    this.#hls?.destroy();
    this.#hls = null;
    this.element.removeAttribute('src');
    this.element.load();
  }

  /** By the dates in the playlist; without them by the distance to its end. */
  latency(): number | null {
    const shown = this.#hls?.playingDate ?? startDate(this.element);
    if (shown !== null) return Math.max(0, Date.now() + this.#surroundings.clockOffset() - shown.getTime());
    const distance = this.#hls?.latency ?? 0;
    return distance > 0 ? distance * 1000 : null;
  }
}

/** Safari's way to say the same. */
function startDate(video: HTMLVideoElement): Date | null {
  const start = (video as HTMLVideoElement & { getStartDate?: () => Date }).getStartDate?.();
  if (start === undefined || Number.isNaN(start.getTime())) return null;
  return new Date(start.getTime() + video.currentTime * 1000);
}
