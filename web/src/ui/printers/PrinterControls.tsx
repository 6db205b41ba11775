// What can be asked of a printer. A button is busy until the printer has answered; what it will do then is shown only after its answer.
import { useCallback, useState } from 'react';
import { type Command, commandPrinter, type Printer } from '../../state/printers.ts';
import { Dialog } from '../Dialog.tsx';
import { Bulb, Pause, Play, Stop } from '../Icons.tsx';
import { COMMAND, lightName, printing, reached, SPEEDS } from './words.ts';

/** How long what the printer agreed to is believed before it says so itself, ms. */
const BELIEVED = 20000;

interface Properties {
  printer: Printer;
  disabled: boolean;
  say: (text: string) => void;
}

export interface Commanding {
  /** Asked, not answered. */
  asking: Command | null;
  /** Answered, not yet to be seen in the printer's state. */
  agreed: Command | null;
  problem: string | null;
  send: (command: Command) => void;
}

/** The commands of one printer, one at a time. */
export function useCommands(printer: Printer, say: (text: string) => void): Commanding {
  const [asking, setAsking] = useState<Command | null>(null);
  const [agreed, setAgreed] = useState<Command | null>(null);
  const [problem, setProblem] = useState<string | null>(null);
  const { id, name } = printer;
  const send = useCallback((command: Command): void => {
    setAsking(command);
    setProblem(null);
    void commandPrinter(id, command).then((error) => {
      setAsking(null);
      const words = COMMAND[command.type];
      if (error !== null) {
        setProblem(`${words.failed}: ${error}`);
        say(`${name}: ${words.failed}: ${error}`);
        return;
      }
      say(`${name} ${words.done}`);
      setAgreed(command);
      setTimeout(() => setAgreed((now) => (now === command ? null : now)), BELIEVED);
    });
  }, [id, name, say]);
  return { asking, agreed: agreed !== null && reached(agreed, printer.status) ? null : agreed, problem, send };
}

export function PrinterControls({ printer, disabled, commanding: { asking, agreed, send } }: Omit<Properties, 'say'> & { commanding: Commanding }) {
  const [stopping, setStopping] = useState(false);
  const { status, name } = printer;
  const off = disabled || !status.connected || asking !== null;
  const paused = status.jobState === 'PAUSE';
  const under = printing(status);
  const speed = agreed?.type === 'speed' ? agreed.level : status.speed;
  /** A word on the button that was pressed, until it has been answered and has come true. */
  const label = (type: Command['type'], usual: string): string => (
    asking?.type === type || agreed?.type === type ? COMMAND[type].doing : usual);
  const waits = asking !== null || (agreed !== null && agreed.type !== 'light' && agreed.type !== 'speed');
  return (
    <div className="printer-controls" role="group" aria-label={`Controls of ${name}`}>
      {under && (paused ? (
        <button type="button" className="button" disabled={off || waits} aria-busy={asking?.type === 'resume'} onClick={() => send({ type: 'resume' })}>
          <Play /> {label('resume', 'Resume')}</button>
      ) : (
        <button type="button" className="button" disabled={off || waits} aria-busy={asking?.type === 'pause'} onClick={() => send({ type: 'pause' })}>
          <Pause /> {label('pause', 'Pause')}</button>
      ))}
      {under && (
        <button type="button" className="button" disabled={off || waits} aria-busy={asking?.type === 'stop'} onClick={() => setStopping(true)}>
          <Stop /> {label('stop', 'Stop')}</button>
      )}
      {status.lights.map(({ node, on: before }) => {
        const on = agreed?.type === 'light' && agreed.node === node ? agreed.on : before;
        const asked = asking?.type === 'light' && asking.node === node;
        return (
          <button key={node} type="button" className="button" aria-pressed={on} disabled={off} aria-busy={asked} onClick={() => send({ type: 'light', on: !on, node })}>
            <Bulb /> {asked ? COMMAND.light.doing : lightName(node)}</button>
        );
      })}
      {status.jobState === 'RUNNING' && speed !== null && (
        <label className="speed"><span>Speed</span>
          <select value={speed} disabled={off} onChange={(event) => send({ type: 'speed', level: Number(event.target.value) })}>
            {SPEEDS.map((each) => <option key={each.level} value={each.level}>{each.name}</option>)}
          </select>
        </label>
      )}
      {stopping && (
        <Dialog title={`Stop the print on ${name}?`} onClose={() => setStopping(false)}>
          <p>{status.file ?? 'The print'} ends here and cannot be resumed.</p>
          <div className="answers">
            <button type="button" className="button" onClick={() => setStopping(false)}>Cancel</button>
            <button type="button" className="button primary" onClick={() => {
              setStopping(false);
              send({ type: 'stop' });
            }}>Stop the print</button>
          </div>
        </Dialog>
      )}
    </div>
  );
}
