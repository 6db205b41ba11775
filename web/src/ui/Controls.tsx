// What a V4L2 camera can be set to: sliders, menus and switches, each set at once. Absent for cameras that have none.
import { useCallback, useEffect, useState } from 'react';
import { fetchControls, setControls } from '../state/controls.ts';
import type { Camera, Control } from '../state/types.ts';

/** Null: the default. */
type Values = Record<string, number | null>;

interface Properties {
  camera: Camera;
  serverGone: boolean;
  say: (text: string) => void;
}

export function Controls({ camera, serverGone, say }: Properties) {
  const [controls, setList] = useState<Control[]>([]);
  // What the camera was asked for and has not answered yet, oldest first.
  const [asked, setAsked] = useState<readonly Values[]>([]);
  const [problem, setProblem] = useState<string | null>(null);
  const { id, name, device } = camera;
  // Asked again when the camera is another device than before: it may have come back.
  useEffect(() => {
    if (device === null || serverGone) return undefined;
    const gone = new AbortController();
    void fetchControls(id, gone.signal).then((list) => {
      if (!gone.signal.aborted) setList(list);
    });
    return () => gone.abort();
  }, [id, device, serverGone]);

  const set = useCallback((values: Values): void => {
    setAsked((all) => [...all, values]);
    void setControls(id, values).then((answer) => {
      setAsked((all) => all.filter((each) => each !== values));
      if (typeof answer === 'string') {
        setProblem(`Not set: ${answer}`);
        say(`Not set: ${answer}`);
        return;
      }
      setProblem(null);
      setList(answer);
    });
  }, [id, say]);

  const settable = controls.filter((control) => !control.readOnly);
  if (device === null || settable.length === 0) return null;
  const reset = (): void => {
    set(Object.fromEntries(settable.filter((control) => control.type !== 'button').map((control) => [control.id, null])));
    say(`The controls of ${name} are set to their defaults`);
  };
  return (
    <section className="card" aria-label="Controls">
      <div className="card-head">
        <h3>Controls</h3>
        <button type="button" className="button small" disabled={serverGone} onClick={reset}>Defaults</button>
      </div>
      {problem !== null && <p className="problem" role="alert">{problem}</p>}
      <ul className="settings">
        {settable.map((control) => (
          <li key={control.id} className={control.inactive ? 'control inactive' : 'control'} data-control={control.id}
            title={control.inactive ? 'Another control, an automatic, has it now' : undefined}>
            <Row control={{ ...control, value: shownValue(control, asked) }} disabled={serverGone} set={set} />
          </li>
        ))}
      </ul>
    </section>
  );
}

/** What was asked for is shown at once, so that nothing jumps back until the camera answers. */
function shownValue({ id, value, default: usual }: Control, asked: readonly Values[]): Control['value'] {
  const newest = asked.findLast((values) => id in values);
  return newest === undefined ? value : newest[id] ?? usual;
}

function Row({ control, disabled, set }: { control: Control; disabled: boolean; set: (values: Record<string, number>) => void }) {
  const { id, name, type, value } = control;
  if (type === 'button') {
    return <button type="button" className="button small" disabled={disabled} onClick={() => set({ [id]: 1 })}>{name}</button>;
  }
  if (type === 'boolean') {
    return (
      <label className="control-line">
        <span>{name}</span>
        <input type="checkbox" checked={value === 1} disabled={disabled} onChange={(event) => set({ [id]: event.target.checked ? 1 : 0 })} />
      </label>
    );
  }
  if (type === 'menu') {
    return (
      <label className="control-line">
        <span>{name}</span>
        <select value={value ?? ''} disabled={disabled} onChange={(event) => set({ [id]: Number(event.target.value) })}>
          {control.menu.map((choice) => <option key={choice.value} value={choice.value}>{choice.name}</option>)}
        </select>
      </label>
    );
  }
  return <Slider control={control} disabled={disabled} set={set} />;
}

/** Shows what is being chosen; sets it when the hand rests. */
function Slider({ control, disabled, set }: { control: Control; disabled: boolean; set: (values: Record<string, number>) => void }) {
  const [chosen, setChosen] = useState<number | null>(null);
  const { id, name, value } = control;
  useEffect(() => {
    if (chosen === null) return undefined;
    const rest = setTimeout(() => {
      set({ [id]: chosen });
      setChosen(null);
    }, 150);
    return () => clearTimeout(rest);
  }, [chosen, id, set]);
  const shown = chosen ?? value ?? control.default;
  return (
    <label className="control-line">
      <span>{name} <span className="quiet">{shown}</span></span>
      <input type="range" min={control.min} max={control.max} step={Math.max(1, control.step)} value={shown} disabled={disabled}
        onChange={(event) => setChosen(Number(event.target.value))} />
    </label>
  );
}
