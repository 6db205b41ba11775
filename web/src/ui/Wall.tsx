// All cameras at once, as large as fits.
import { type CSSProperties, useRef } from 'react';
import type { Camera, ServerState } from '../state/types.ts';
import { GAP, gridFor } from './grid.ts';
import { useRoom } from './hooks.ts';
import { CameraOff } from './Icons.tsx';
import { Picture } from './Picture.tsx';
import { plural } from './format.ts';

/** Below the tiles, px. */
const MARGIN = 16;

interface Properties {
  server: ServerState;
  serverGone: boolean;
  returns: number;
}

export function Wall({ server, serverGone, returns }: Properties) {
  const box = useRef<HTMLDivElement>(null);
  const size = useRoom(box, MARGIN);
  const grid = size === null ? null : gridFor(server.cameras.length, size.width, size.height);
  if (server.cameras.length === 0) return <NoCameras />;
  return (
    <div ref={box} className="wall-box">
      {grid !== null && (
        <ul className="wall" style={{ '--tile': `${grid.tile}px`, gap: GAP, maxWidth: grid.columns * (grid.tile + GAP) } as CSSProperties}>
          {server.cameras.map((camera) => (
            <Tile key={camera.id} camera={camera} server={server} serverGone={serverGone} returns={returns} />
          ))}
        </ul>
      )}
    </div>
  );
}

function Tile({ camera, server, serverGone, returns }: Properties & { camera: Camera }) {
  const troubled = camera.outputs.filter((output) => output.state !== 'live' && output.state !== 'starting' && output.state !== 'idle').length;
  return (
    <li className="tile">
      <Picture camera={camera} livekit={server.livekit} webrtc={server.webrtc} serverGone={serverGone} returns={returns} large={false}>
        {troubled > 0 && <span className="chip bad">{plural(troubled, 'output')} down</span>}
      </Picture>
    </li>
  );
}

function NoCameras() {
  return (
    <section className="empty">
      <CameraOff />
      <h2>No cameras yet</h2>
      <p>Nothing is configured, and no camera was found on this machine.</p>
      <p>Run <code>fanlight doctor</code> there: it lists what is connected and says what is missing. This page shows a camera as soon as there is one.</p>
    </section>
  );
}
