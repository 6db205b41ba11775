// LiveKit: the picture by way of an SFU, for viewers anywhere. A fresh token for each attempt, one hidden viewer per camera.
// livekit-client is loaded when the first camera needs it.
import type { Room } from 'livekit-client';
import type { End } from '../chain/machine.ts';
import { LatencyMeter } from './rtcStats.ts';
import type { Listener, Surroundings, Transport } from './types.ts';
import { words } from './types.ts';
import { createVideo, play, watchFrames } from './video.ts';

const HTTP_TIMEOUT = 5000;

interface Config {
  host?: string | null;
  iceServers?: RTCIceServer[] | null;
  disabled?: boolean;
  notes?: unknown;
}

export class LiveKit implements Transport {
  readonly kind = 'livekit';
  readonly element = createVideo();
  #surroundings: Surroundings;
  #roomName: string;
  #identity: string;
  #room: Room | null = null;
  #meter = new LatencyMeter();
  #abort = new AbortController();
  #unwatch: (() => void) | null = null;
  #listener: Listener | null = null;

  /** `identity`: the participant that publishes this camera. */
  constructor(surroundings: Surroundings, room: string, identity: string) {
    this.#surroundings = surroundings;
    this.#roomName = room;
    this.#identity = identity;
  }

  start(listener: Listener): void {
    this.#listener = listener;
    this.#unwatch = watchFrames(this.element, (frame) => this.#listener?.frame(frame));
    this.#connect().catch((error: unknown) => this.#end(asEnd(error)));
  }

  async #connect(): Promise<void> {
    const [client, config, token] = await Promise.all([
      import('livekit-client'), this.#get<Config>('webrtc/config'), this.#token(),
    ]);
    if (this.#listener === null) return;
    if (config.disabled === true || !config.host) {
      this.#end({ class: 'refused', message: 'LiveKit is not configured on the server' });
      return;
    }
    client.setLogLevel('silent');
    const { RoomEvent, Track } = client;
    // Not adaptive: a picture that waits hidden behind another one must not be paused by the SFU.
    const room = new client.Room({ adaptiveStream: false, disconnectOnPageLeave: true });
    this.#room = room;
    const mine = (identity: string): boolean => identity === this.#identity;
    room.on(RoomEvent.TrackPublished, (publication, participant) => {
      if (mine(participant.identity) && publication.kind === Track.Kind.Video) publication.setSubscribed(true);
    });
    room.on(RoomEvent.TrackSubscribed, (track, _, participant) => {
      if (!mine(participant.identity) || track.kind !== Track.Kind.Video) return;
      track.attach(this.element);
      play(this.element);
      this.#meter.start(() => track.getRTCStatsReport());
    });
    room.on(RoomEvent.TrackUnsubscribed, (track, _, participant) => {
      if (!mine(participant.identity)) return;
      track.detach(this.element);
      this.#meter.stop();
      this.#listener?.shaky();
    });
    room.on(RoomEvent.TrackMuted, (_, participant) => mine(participant.identity) && this.#listener?.shaky());
    room.on(RoomEvent.ParticipantDisconnected, (participant) => mine(participant.identity) && this.#listener?.shaky());
    room.on(RoomEvent.SignalReconnecting, () => this.#listener?.shaky());
    room.on(RoomEvent.Reconnecting, () => this.#listener?.shaky());
    room.on(RoomEvent.VideoPlaybackStatusChanged, () => {
      if (!room.canPlaybackVideo) room.startVideo().catch(() => undefined);
    });
    // Before the first connection this comes too, without the reason: the rejected promise has it.
    let connected = false;
    room.on(RoomEvent.Disconnected, (reason) => {
      if (connected) this.#end(disconnected(client.DisconnectReason, reason));
    });
    const ice = config.iceServers ?? [];
    const connecting = room.connect(config.host, token, {
      // Only this camera's track, whoever else is in the room.
      autoSubscribe: false,
      maxRetries: 0,
      ...(ice.length > 0 ? { rtcConfig: { iceServers: ice } } : {}),
    });
    try {
      await connecting;
    } catch (error) {
      this.#end(notConnected(client, error));
      return;
    }
    connected = true;
    if (this.#stopped()) {
      await room.disconnect();
      return;
    }
    for (const participant of room.remoteParticipants.values()) {
      if (!mine(participant.identity)) continue;
      for (const publication of participant.videoTrackPublications.values()) publication.setSubscribed(true);
    }
  }

  #stopped(): boolean {
    return this.#listener === null;
  }

  async #token(): Promise<string> {
    const viewer = `viewer-${crypto.getRandomValues(new Uint32Array(2)).join('')}`;
    const query = new URLSearchParams({ room: this.#roomName, identity: viewer });
    const { token } = await this.#get<{ token?: string }>(`webrtc/token?${query.toString()}`);
    if (typeof token !== 'string') throw new Refused('the server gave no token for the room');
    return token;
  }

  async #get<T>(path: string): Promise<T> {
    const signal = AbortSignal.any([this.#abort.signal, AbortSignal.timeout(HTTP_TIMEOUT)]);
    const response = await fetch(this.#surroundings.url(path), { signal, cache: 'no-store' });
    if (response.status === 401 || response.status === 403) throw new Refused('the server gives you no token for the room');
    if (response.status === 404) throw new Refused('the server has no LiveKit');
    if (!response.ok) throw new Error(`the server answered ${response.status} for a token`);
    return await response.json() as T;
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
    this.#meter.stop();
    this.#abort.abort();
    this.#room?.disconnect().catch(() => undefined);
    this.#room = null;
    this.element.srcObject = null;
  }

  latency(): number | null {
    return this.#meter.value;
  }
}

class Refused extends Error {}

function disconnected(reasons: typeof import('livekit-client').DisconnectReason, reason: number | undefined): End {
  switch (reason) {
    case reasons.DUPLICATE_IDENTITY:
      return { class: 'duplicate', message: 'another viewer took this identity in the room' };
    case reasons.PARTICIPANT_REMOVED:
      return { class: 'refused', message: 'removed from the room' };
    case reasons.ROOM_DELETED:
      return { class: 'failed', message: 'the room was deleted' };
    case reasons.SERVER_SHUTDOWN:
      return { class: 'failed', message: 'the LiveKit server is stopping' };
    default:
      return { class: 'failed', message: 'the connection to LiveKit was lost' };
  }
}

/** Why the first connection failed. The client's own words may carry the token: they are not repeated. */
function notConnected(client: typeof import('livekit-client'), error: unknown): End {
  if (!(error instanceof client.ConnectionError)) return { class: 'failed', message: 'no connection to LiveKit' };
  const reasons = client.ConnectionErrorReason;
  switch (error.reason) {
    case reasons.NotAllowed:
      return { class: 'refused', message: 'the LiveKit server refuses the token: wrong key, or the clocks differ' };
    case reasons.LeaveRequest:
      return disconnected(client.DisconnectReason, Number(error.context));
    case reasons.Timeout:
      return { class: 'failed', message: 'the LiveKit server does not answer in time' };
    case reasons.ServiceNotFound:
      return { class: 'failed', message: 'no LiveKit server at its address' };
    case reasons.InternalError:
      return { class: 'failed', message: 'no media way to the LiveKit server (UDP blocked?)' };
    default:
      return { class: 'failed', message: 'the LiveKit server cannot be reached' };
  }
}

function asEnd(error: unknown): End {
  return { class: error instanceof Refused ? 'refused' : 'failed', message: words(error) };
}
