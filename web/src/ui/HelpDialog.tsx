// What the keys do, what the badge says, and what the address can ask for.
import { Dialog } from './Dialog.tsx';

const KEYS: [string, string][] = [
  ['?', 'this help'],
  ['f', 'full screen: the wall, or the picture'],
  ['1 … 9', 'open a camera'],
  ['Esc', 'back to the wall'],
  ['← →', 'previous and next camera'],
  ['p', 'picture in picture'],
  ['s', 'save a snapshot'],
  ['r', 'try better transports now'],
  ['t', 'dark, light or as the system'],
];

const TRANSPORTS: [string, string][] = [
  ['LiveKit', 'WebRTC by way of a LiveKit server; for viewers anywhere'],
  ['WHEP', 'WebRTC straight from the device; the quickest'],
  ['LL-HLS', 'video over plain HTTP; about a second late, goes through every firewall'],
  ['MJPEG', 'one JPEG after another; quick, but needs much bandwidth'],
  ['Snapshots', 'one picture a second; works wherever anything works'],
];

export function HelpDialog({ onClose, version }: { onClose: () => void; version: string | null }) {
  return (
    <Dialog title="Help" onClose={onClose}>
      <h3>Keys</h3>
      <dl className="keys">
        {KEYS.map(([key, what]) => <div key={key}><dt><kbd>{key}</kbd></dt><dd>{what}</dd></div>)}
      </dl>
      <h3>How the picture comes</h3>
      <p>Each picture takes the best way that works, and says which in its badge, with the delay from camera to screen. When one fails,
        the next takes over; better ones are tried again behind it.</p>
      <dl className="keys wide">
        {TRANSPORTS.map(([name, what]) => <div key={name}><dt>{name}</dt><dd>{what}</dd></div>)}
      </dl>
      <h3>For wall displays and support</h3>
      <p><code>?transports=whep,mjpeg</code> before the <code>#</code> of the address limits the ways that are tried: <code>livekit</code>,{' '}
        <code>whep</code>, <code>ll-hls</code>, <code>mjpeg</code>, <code>snapshot</code>.</p>
      {version !== null && <p className="quiet">Fanlight {version}</p>}
    </Dialog>
  );
}
