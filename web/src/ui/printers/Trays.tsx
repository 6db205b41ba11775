// What is in the material system: each tray with its colour and material, each unit with its humidity.
import type { Unit } from '../../state/printers.ts';
import { humidity, inkOn } from './words.ts';

export function Trays({ units }: { units: readonly Unit[] }) {
  if (units.length === 0) return null;
  return (
    <ul className="units" aria-label="Material">
      {units.map((unit) => (
        <li key={unit.name}>
          <span className="unit-name quiet">{unit.name}{humidity(unit.humidity)}</span>
          <ul className="trays">
            {unit.trays.map((tray) => {
              const what = tray.type ?? (tray.colour === null ? 'empty' : 'unknown');
              return (
                <li key={tray.name} className={['tray', tray.colour === null ? 'blank' : '', tray.active ? 'active' : ''].join(' ')}
                  style={tray.colour === null ? undefined : { background: tray.colour, color: inkOn(tray.colour) }}
                  title={`${tray.name}: ${what}${tray.colour === null ? '' : `, ${tray.colour}`}${tray.active ? ', in use' : ''}`}>
                  <span className="off-screen">{tray.name}: </span>{what}{tray.active && <span className="off-screen">, in use</span>}
                </li>
              );
            })}
          </ul>
        </li>
      ))}
    </ul>
  );
}
