// Temperatures with their targets, and how they were in the last half hour.
import { line, SAMPLE_EVERY, SAMPLES, type Sample } from '../../state/history.ts';
import type { PrinterStatus } from '../../state/printers.ts';
import { degrees } from './words.ts';

const BOX = { width: 300, height: 56 };
/** A graph of a cold printer is not all noise. */
const LEAST_TOP = 60;
const KEYS = ['nozzle', 'bed', 'chamber'] as const;
const NAMES = { nozzle: 'Nozzle', bed: 'Bed', chamber: 'Chamber' };

export function Temperatures({ status, samples }: { status: PrinterStatus; samples: readonly Sample[] }) {
  const shown = KEYS.filter((key) => key !== 'chamber' || status.chamber.now !== null);
  const top = 1.08 * Math.max(LEAST_TOP, ...shown.map((key) => status[key].target ?? 0), ...samples.flatMap((sample) => shown.map((key) => sample[key] ?? 0)));
  const [first, last] = [samples[0], samples.at(-1)];
  // The whole width from the beginning: a graph that has just begun is not a dot at the edge.
  const span = Math.min(SAMPLES * SAMPLE_EVERY, Math.max(60000, (last?.at ?? 0) - (first?.at ?? 0)));
  return (
    <div className="temperatures">
      <dl>
        {shown.map((key) => (
          <div key={key} className={key}><dt>{NAMES[key]}</dt><dd>{degrees(status[key])}</dd></div>
        ))}
      </dl>
      <svg className="graph" viewBox={`0 0 ${BOX.width} ${BOX.height}`} preserveAspectRatio="none" aria-hidden="true" focusable="false">
        {shown.map((key) => line(samples, key, BOX, span, top).map((points, piece) => (
          <polyline key={`${key} ${piece}`} className={key} points={points} vectorEffect="non-scaling-stroke" />
        )))}
      </svg>
    </div>
  );
}
