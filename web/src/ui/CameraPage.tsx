// One camera: the picture, what can be done with it, and everything that is known about it.
import { useMemo, useRef, useState } from 'react';
import type { Shown } from '../chain/runner.ts';
import { restartCamera } from '../state/actions.ts';
import { url } from '../state/base.ts';
import type { Camera, ServerState } from '../state/types.ts';
import { useServices } from './context.ts';
import { Controls } from './Controls.tsx';
import { Dialog } from './Dialog.tsx';
import { Facts } from './Facts.tsx';
import { snapshotName } from './format.ts';
import { toggleFullscreen, useFullscreen, useKeys } from './hooks.ts';
import { Back, Expand, Float, Next, Restart, Shrink, Snap } from './Icons.tsx';
import { Links } from './Links.tsx';
import { Outputs } from './Outputs.tsx';
import { NOTHING, Picture, type PictureHandle } from './Picture.tsx';
import { cameraHref, WALL_HREF } from './route.ts';
import { MaskEditor } from './transforms/MaskEditor.tsx';
import { TransformsCard } from './transforms/TransformsCard.tsx';
import { useTransforms } from './transforms/useTransforms.ts';
import { cameraState } from './words.ts';

interface Properties {
  camera: Camera;
  server: ServerState;
  serverGone: boolean;
  returns: number;
  say: (text: string) => void;
}

export function CameraPage({ camera, server, serverGone, returns, say }: Properties) {
  const { link } = useServices();
  const picture = useRef<PictureHandle>(null);
  const [shown, setShown] = useState<Shown>(NOTHING);
  const [confirming, setConfirming] = useState(false);
  const [problem, setProblem] = useState<string | null>(null);
  const transforming = useTransforms(camera.id, camera.name, serverGone, say);
  const full = useFullscreen() !== null;
  const video = shown.shown === 'livekit' || shown.shown === 'whep' || shown.shown === 'll-hls';
  const canFloat = video && document.pictureInPictureEnabled;
  const around = neighbours(server.cameras, camera.id);

  const actions = useMemo(() => ({
    fullscreen: () => toggleFullscreen(picture.current?.root ?? null),
    float: () => void float(picture.current?.video() ?? null).then(setProblem),
    save: () => void save(camera).then(setProblem),
  }), [camera]);
  const keys = useMemo(() => ({
    f: actions.fullscreen,
    p: canFloat ? actions.float : undefined,
    s: camera.urls.snapshot === null ? undefined : actions.save,
    r: () => picture.current?.retry(),
    Escape: () => {
      if (document.fullscreenElement === null) location.hash = WALL_HREF;
    },
    ArrowLeft: () => go(around.before),
    ArrowRight: () => go(around.after),
  }), [actions, camera.urls.snapshot, canFloat, around.before, around.after]);
  useKeys(keys);

  const restart = (): void => {
    setConfirming(false);
    void restartCamera(camera.id).then((error) => {
      setProblem(error === null ? null : `Not restarted: ${error}`);
      say(error === null ? `${camera.name} is being restarted` : `Not restarted: ${error}`);
      link.refresh();
    });
  };
  const { word, tone } = cameraState(camera, serverGone);
  const sideways = transforming !== null && transforming.applied.rotation % 180 !== 0;
  const [wide, high] = [camera.width ?? 16, camera.height ?? 9];
  const [width, height] = [shown.width ?? (sideways ? high : wide), shown.height ?? (sideways ? wide : high)];

  return (
    <div className="camera-page">
      <nav className="crumbs" aria-label="Cameras">
        <a className="button bare" href={WALL_HREF}><Back /> All cameras</a>
        {around.before !== null && around.after !== null && (
          <span className="around">
            <a className="button bare" href={cameraHref(around.before.id)} aria-label={`Previous: ${around.before.name}`} title={around.before.name}><Back /></a>
            <a className="button bare" href={cameraHref(around.after.id)} aria-label={`Next: ${around.after.name}`} title={around.after.name}><Next /></a>
          </span>
        )}
      </nav>
      <section className="view" aria-label="Picture">
        <div className="frame" style={{ aspectRatio: `${width} / ${height}`, '--ratio': width / height } as React.CSSProperties}>
          <Picture camera={camera} livekit={server.livekit} webrtc={server.webrtc} serverGone={serverGone} returns={returns} large
            handle={picture} onShown={setShown} />
          {transforming?.drawing === true && <MaskEditor transforming={transforming} width={width} height={height} />}
        </div>
        <div className="under">
          <div className="title">
            <h2>{camera.name}</h2>
            <span className={`state ${tone}`}><span className="dot" aria-hidden="true" />{word}</span>
          </div>
          <div className="tools">
            {camera.urls.snapshot !== null && (
              <button type="button" className="button" title="Save a snapshot (s)" onClick={actions.save}><Snap /> Snapshot</button>
            )}
            <button type="button" className="button" title="Picture in picture (p)" disabled={!canFloat} onClick={actions.float}><Float /> Pop out</button>
            <button type="button" className="button" title="Full screen (f)" onClick={actions.fullscreen}>{full ? <Shrink /> : <Expand />} Full screen</button>
            <button type="button" className="button" onClick={() => setConfirming(true)}><Restart /> Restart</button>
          </div>
        </div>
        {problem !== null && <p className="problem" role="alert">{problem}</p>}
      </section>
      <div className="side">
        <Facts camera={camera} shown={shown} serverGone={serverGone} />
        <Controls key={camera.id} camera={camera} serverGone={serverGone} say={say} />
        {transforming !== null && <TransformsCard transforming={transforming} disabled={serverGone} />}
        <Outputs outputs={camera.outputs} serverGone={serverGone} say={say} />
      </div>
      <Links camera={camera} />
      {confirming && (
        <Dialog title={`Restart ${camera.name}?`} onClose={() => setConfirming(false)}>
          <p>The capture stops and starts anew: everybody who watches, and every output of this camera, loses the picture for a few seconds.</p>
          <div className="answers">
            <button type="button" className="button" onClick={() => setConfirming(false)}>Cancel</button>
            <button type="button" className="button primary" onClick={restart}>Restart</button>
          </div>
        </Dialog>
      )}
    </div>
  );
}

function go(camera: Camera | null): void {
  if (camera !== null) location.hash = cameraHref(camera.id);
}

function neighbours(cameras: readonly Camera[], id: string): { before: Camera | null; after: Camera | null } {
  const at = cameras.findIndex((camera) => camera.id === id);
  if (at < 0 || cameras.length < 2) return { before: null, after: null };
  return { before: cameras.at(at - 1) ?? null, after: cameras[(at + 1) % cameras.length] ?? null };
}

/** Null, or what went wrong. */
async function float(video: HTMLVideoElement | null): Promise<string | null> {
  try {
    if (document.pictureInPictureElement !== null) await document.exitPictureInPicture();
    else await video?.requestPictureInPicture();
    return null;
  } catch (error) {
    return `No picture in picture: ${error instanceof Error ? error.message : String(error)}`;
  }
}

/** Saves the newest picture under a name with the time. */
async function save(camera: Camera): Promise<string | null> {
  if (camera.urls.snapshot === null) return 'This camera has no snapshots.';
  try {
    const response = await fetch(url(camera.urls.snapshot), { cache: 'no-store', signal: AbortSignal.timeout(8000) });
    if (!response.ok) return `No snapshot: the server answered ${response.status}, the camera gives no fresh picture.`;
    const address = URL.createObjectURL(await response.blob());
    const anchor = document.createElement('a');
    anchor.href = address;
    anchor.download = snapshotName(camera.id, new Date());
    anchor.click();
    setTimeout(() => URL.revokeObjectURL(address), 10000);
    return null;
  } catch (error) {
    return `No snapshot: ${error instanceof Error ? error.message : String(error)}`;
  }
}
