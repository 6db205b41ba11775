// Latency of a WebRTC picture as an estimate: half a round trip, the time in the jitter buffer, decoding, and one picture to wait
// for the screen. Pure over what getStats gives, so that it is tested without a browser.

export interface RtcSample {
  jitterBufferDelay: number;
  jitterBufferEmittedCount: number;
  totalDecodeTime: number;
  framesDecoded: number;
  /** Seconds; null while unknown. */
  roundTrip: number | null;
}

/** Structural view of an RTCStatsReport. */
export interface ReportLike {
  forEach(callback: (stats: Record<string, unknown>) => void): void;
}

const number = (value: unknown): number => (typeof value === 'number' && Number.isFinite(value) ? value : 0);

export function sample(report: ReportLike): RtcSample {
  const out: RtcSample = {
    jitterBufferDelay: 0, jitterBufferEmittedCount: 0, totalDecodeTime: 0, framesDecoded: 0, roundTrip: null,
  };
  report.forEach((stats) => {
    if (stats.type === 'inbound-rtp' && stats.kind === 'video') {
      out.jitterBufferDelay = number(stats.jitterBufferDelay);
      out.jitterBufferEmittedCount = number(stats.jitterBufferEmittedCount);
      out.totalDecodeTime = number(stats.totalDecodeTime);
      out.framesDecoded = number(stats.framesDecoded);
    }
    const current = stats.type === 'candidate-pair' && (stats.nominated === true || stats.selected === true);
    if (current && typeof stats.currentRoundTripTime === 'number') out.roundTrip = stats.currentRoundTripTime;
  });
  return out;
}

/** Milliseconds between two samples' pictures; null when none came between them. */
export function latencyBetween(before: RtcSample, after: RtcSample, frameInterval: number): number | null {
  const emitted = after.jitterBufferEmittedCount - before.jitterBufferEmittedCount;
  const decoded = after.framesDecoded - before.framesDecoded;
  if (emitted <= 0 || decoded <= 0) return null;
  const buffered = (after.jitterBufferDelay - before.jitterBufferDelay) / emitted;
  const decoding = (after.totalDecodeTime - before.totalDecodeTime) / decoded;
  return Math.max(0, 1000 * ((after.roundTrip ?? 0) / 2 + buffered + decoding) + frameInterval);
}

/** Samples once a second and remembers the newest estimate. */
export class LatencyMeter {
  #last: RtcSample | null = null;
  #at = 0;
  #value: number | null = null;
  #timer: ReturnType<typeof setInterval> | undefined;

  start(read: () => Promise<ReportLike | undefined>): void {
    this.stop();
    this.#timer = setInterval(() => {
      read().then((report) => {
        if (report === undefined) return;
        const [now, at] = [sample(report), performance.now()];
        if (this.#last !== null) {
          const pictures = Math.max(1, now.framesDecoded - this.#last.framesDecoded);
          this.#value = latencyBetween(this.#last, now, Math.min(1000, (at - this.#at) / pictures)) ?? this.#value;
        }
        [this.#last, this.#at] = [now, at];
      }, () => undefined);
    }, 1000);
  }

  get value(): number | null {
    return this.#value;
  }

  stop(): void {
    clearInterval(this.#timer);
    this.#last = null;
    this.#value = null;
  }
}
