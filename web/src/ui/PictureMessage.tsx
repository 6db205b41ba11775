// What is written over a picture that is not live: what is the matter, why, and when the next attempt comes.
import type { Shown } from '../chain/runner.ts';
import type { Camera } from '../state/types.ts';
import { useServices } from './context.ts';
import { ago, countdown } from './format.ts';
import { useNow } from './hooks.ts';
import { CameraOff, Plug } from './Icons.tsx';
import { cameraDown, TRANSPORT } from './words.ts';

interface Properties {
  camera: Camera;
  shown: Shown;
  serverGone: boolean;
  large: boolean;
}

export function PictureMessage(properties: Properties) {
  // The clock ticks only for pictures that need it.
  return properties.shown.state === 'live' ? null : <Message {...properties} />;
}

function Message({ camera, shown, serverGone, large }: Properties) {
  const { link } = useServices();
  const now = useNow();
  const age = shown.silence === null ? null : `Last picture ${ago(shown.silence / 1000)}`;
  if (shown.state === 'connecting' || shown.state === 'falling-back') {
    const word = camera.state === 'starting' ? 'Camera is starting' : shown.state === 'connecting' ? 'Connecting' : 'Falling back';
    const trying = shown.trying.map((kind) => TRANSPORT[kind]).join(', ');
    // A picture that is only just silent keeps the eye: the message is small then.
    return (
      <div className={shown.state === 'connecting' ? 'message' : 'message slight'}>
        <span className="spinner" aria-hidden="true" />
        <strong>{word}…</strong>
        {(large || shown.state === 'connecting') && trying !== '' && <span className="quiet">{trying}</span>}
      </div>
    );
  }
  if (serverGone) {
    return (
      <div className="message">
        <Plug />
        <strong>Server is gone</strong>
        {age !== null && <span className="quiet">{age}</span>}
      </div>
    );
  }
  const down = camera.state !== 'live' && camera.state !== 'idle';
  const nextTry = camera.nextTry === null ? null : camera.nextTry - link.clock.offset;
  return (
    <div className="message">
      <CameraOff />
      <strong>{down ? cameraDown(camera) : 'No picture'}</strong>
      {down && camera.lastError !== null && <span className="why">{camera.lastError}</span>}
      {!down && <span className="why">{shown.better?.message ?? 'No way to the picture works now.'}</span>}
      <span className="quiet">
        {[down && nextTry !== null ? `Next try ${countdown(nextTry, now)}` : null, age].filter((part) => part !== null).join(' · ')}
      </span>
    </div>
  );
}
