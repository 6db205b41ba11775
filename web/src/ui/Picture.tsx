// One live picture: runs the chain into a stage, says what is on screen, and shows in words why nothing is.
// The data attributes are for tests and for whoever looks for a fault.
import { type ReactNode, type Ref, useEffect, useImperativeHandle, useRef, useState } from 'react';
import { Runner, type Shown } from '../chain/runner.ts';
import type { Camera } from '../state/types.ts';
import { Badge } from './Badge.tsx';
import { useServices } from './context.ts';
import { PictureMessage } from './PictureMessage.tsx';
import { cameraHref } from './route.ts';
import { cameraState } from './words.ts';

export interface PictureHandle {
  root: HTMLElement | null;
  /** The video on screen, for picture in picture. */
  video(): HTMLVideoElement | null;
  retry(): void;
}

interface Properties {
  camera: Camera;
  livekit: boolean;
  webrtc: boolean;
  serverGone: boolean;
  /** Counts reasons to try everything at once. */
  returns: number;
  /** The picture of its own page; on the wall it is small and leads there. */
  large: boolean;
  handle?: Ref<PictureHandle>;
  onShown?: (shown: Shown) => void;
  children?: ReactNode;
}

export const NOTHING: Shown = {
  state: 'connecting', shown: null, trying: [], better: null, retryIn: null, silence: null, frames: 0, fps: 0, latency: null,
  width: null, height: null,
};

/** What is written changes at most once a second; states at once. */
const TEXT_INTERVAL = 1000;

export function Picture({ camera, livekit, webrtc, serverGone, returns, large, handle, onShown, children }: Properties) {
  const { surroundings, budget, wanted } = useServices();
  const root = useRef<HTMLDivElement>(null);
  const stage = useRef<HTMLDivElement>(null);
  const runner = useRef<Runner | null>(null);
  const first = useRef(camera);
  const tell = useRef(onShown);
  const [shown, setShown] = useState(NOTHING);

  useEffect(() => {
    tell.current = onShown;
  }, [onShown]);

  // One runner for as long as the picture is on the page; the camera's news come by `update`.
  useEffect(() => {
    const [frame, box] = [root.current, stage.current];
    if (frame === null || box === null) return;
    let last = NOTHING;
    let at = 0;
    const made = new Runner(box, first.current, surroundings, budget, (now) => {
      frame.dataset.transport = now.state === 'live' ? now.shown ?? 'none' : 'none';
      frame.dataset.state = now.state;
      frame.dataset.latencyMs = now.latency === null ? '' : String(Math.round(now.latency));
      frame.dataset.frames = String(now.frames);
      const changed = now.state !== last.state || now.shown !== last.shown || now.trying[0] !== last.trying[0];
      if (!changed && performance.now() - at < TEXT_INTERVAL) return;
      [last, at] = [now, performance.now()];
      setShown(now);
      tell.current?.(now);
    });
    runner.current = made;
    const observer = new IntersectionObserver(([entry]) => {
      if (entry !== undefined) made.setOffScreen(!entry.isIntersecting && document.fullscreenElement === null);
    }, { rootMargin: '200px' });
    observer.observe(frame);
    return () => {
      observer.disconnect();
      made.stop();
      runner.current = null;
    };
  }, [surroundings, budget]);

  useEffect(() => {
    first.current = camera;
    runner.current?.update(camera, livekit, webrtc, wanted);
  }, [camera, livekit, webrtc, wanted]);

  useEffect(() => {
    if (returns > 0) runner.current?.hint();
  }, [returns]);

  useImperativeHandle(handle, () => ({
    get root() {
      return root.current;
    },
    video: () => runner.current?.stage.video ?? null,
    retry: () => runner.current?.hint(),
  }), []);

  return (
    <div ref={root} className={large ? 'picture large' : 'picture'} data-camera={camera.id} data-transport="none"
      data-state="connecting" data-latency-ms="" data-frames="0">
      <div ref={stage} className="stage" role="img" aria-label={`Live picture of ${camera.name}`} />
      <PictureMessage camera={camera} shown={shown} serverGone={serverGone} large={large} />
      {!large && (
        <a className="cover" href={cameraHref(camera.id)}>
          <span className="name">{camera.name}</span>
          <span className="off-screen">, {cameraState(camera, serverGone).word}</span>
        </a>
      )}
      <div className="scrim">
        <Badge camera={camera} shown={shown} long={large} />
      </div>
      {children}
    </div>
  );
}
