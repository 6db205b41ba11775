// What is known about the picture: how it comes, how old it is, what the camera gives, who watches.
import type { Shown } from '../chain/runner.ts';
import type { Camera } from '../state/types.ts';
import { useServices } from './context.ts';
import * as format from './format.ts';
import { useNow } from './hooks.ts';
import { Warning } from './Icons.tsx';
import { again, TRANSPORT, TRANSPORT_LONG } from './words.ts';

export function Facts({ camera, shown, serverGone }: { camera: Camera; shown: Shown; serverGone: boolean }) {
  const { link } = useServices();
  const now = useNow();
  const down = camera.state !== 'live' && camera.state !== 'idle';
  const live = shown.state === 'live';
  const rates = [
    live && shown.fps > 0 ? `${format.fps(shown.fps)} shown` : null,
    camera.fps > 0 && !serverGone ? `${format.fps(camera.fps)} from the camera` : null,
  ].filter((part) => part !== null);
  const { mjpeg, webrtc, rtsp, hls } = camera.viewers;
  const viewers = [
    webrtc > 0 ? `${webrtc} WebRTC` : null, hls > 0 ? `${hls} HLS` : null, mjpeg > 0 ? `${mjpeg} MJPEG` : null,
    rtsp > 0 ? `${rtsp} RTSP` : null,
  ].filter((part) => part !== null);
  const rows: [string, string][] = [
    ['On screen', shown.shown === null || !live ? '–' : TRANSPORT_LONG[shown.shown]],
    ['Latency', shown.latency === null ? '–' : `${format.latency(shown.latency)}${shown.shown === 'livekit' || shown.shown === 'whep' ? ' (estimate)' : ''}`],
    ['Last picture', shown.silence === null ? '–' : format.ago(shown.silence / 1000)],
    ['Frame rate', rates.length === 0 ? '–' : rates.join(', ')],
    ['Resolution', camera.width === null ? '–' : `${camera.width} × ${camera.height ?? 0}`],
    ['Source', [camera.source, camera.format].filter((part) => part !== null && part !== '').join(' · ') || '–'],
    ['Viewers', serverGone ? '–' : viewers.length === 0 ? 'none' : viewers.join(', ')],
    [camera.state === 'live' ? 'Live for' : down ? 'Down for' : 'Idle for', camera.since === null || serverGone ? '–' : format.duration((now + link.clock.offset - camera.since) / 1000)],
  ];
  return (
    <section className="card">
      <h3>Picture</h3>
      {down && !serverGone && camera.lastError !== null && (
        <p className="note bad"><Warning /><span>{camera.lastError}
          {camera.nextTry !== null && <> <span className="quiet">Next try {format.countdown(camera.nextTry - link.clock.offset, now)}.</span></>}</span></p>
      )}
      {!down && !serverGone && shown.better !== null && (
        <p className="note"><Warning /><span>{TRANSPORT[shown.better.kind]} does not work now: {shown.better.message}. <span className="quiet">{again(shown.better.blocked)}</span></span></p>
      )}
      {camera.notes.map((note) => <p className="note" key={note}><Warning /><span>{note}</span></p>)}
      <dl className="facts">
        {rows.map(([name, value]) => <div key={name}><dt>{name}</dt><dd>{value}</dd></div>)}
      </dl>
    </section>
  );
}
