// Which transport is on screen, its latency and its state; always visible.
import type { Shown } from '../chain/runner.ts';
import type { Camera } from '../state/types.ts';
import { again, badge, TRANSPORT } from './words.ts';

export function Badge({ camera, shown, long }: { camera: Camera; shown: Shown; long: boolean }) {
  const { tone, main, detail } = badge(shown, camera, shown.latency, long);
  const better = shown.better === null ? undefined : `${TRANSPORT[shown.better.kind]}: ${shown.better.message}. ${again(shown.better.blocked)}`;
  return (
    <span className={`badge ${tone}`} title={better}>
      <span className="dot" aria-hidden="true" />
      <span>{main}</span>
      {detail !== null && <span className="detail">{detail}</span>}
    </span>
  );
}
