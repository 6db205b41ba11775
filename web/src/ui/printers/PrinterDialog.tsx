// Adds a printer, or changes one: found printers to choose from, the fields with what is wrong at each, and a test that says how far it gets.
import { type SyntheticEvent, useEffect, useState } from 'react';
import { forbidden } from '../../state/ask.ts';
import { createPrinter, fetchFound, type Found, type Printer, type PrinterDraft, type Step, testPrinter, updatePrinter } from '../../state/printers.ts';
import { fieldErrors } from '../../state/printersParse.ts';
import { Dialog } from '../Dialog.tsx';
import { Field } from '../Field.tsx';
import { Check, Cross } from '../Icons.tsx';
import { stepName } from './words.ts';

interface Properties {
  /** Null: a new one. */
  printer: Printer | null;
  onClose: () => void;
  say: (text: string) => void;
}

const EMPTY: PrinterDraft = { name: '', host: '', serial: '', accessCode: '', rtspUrl: '' };
const FOUND_EVERY = 3000;

export function PrinterDialog({ printer, onClose, say }: Properties) {
  const [draft, setDraft] = useState<PrinterDraft>(printer === null ? EMPTY
    : { name: printer.name, host: printer.host, serial: printer.serial, accessCode: '', rtspUrl: printer.rtspUrl ?? '' });
  const [errors, setErrors] = useState<Record<string, string>>({});
  const [problem, setProblem] = useState<string | null>(null);
  const [busy, setBusy] = useState<'saving' | 'testing' | null>(null);
  const [steps, setSteps] = useState<Step[] | null>(null);
  const set = (field: keyof PrinterDraft) => (value: string): void => {
    setDraft((all) => ({ ...all, [field]: value }));
    setErrors((all) => Object.fromEntries(Object.entries(all).filter(([key]) => key !== field)));
    setSteps(null);
  };

  const save = (event: SyntheticEvent): void => {
    event.preventDefault();
    setBusy('saving');
    void (printer === null ? createPrinter(draft) : updatePrinter(printer.id, draft)).then((answer) => {
      setBusy(null);
      if (answer.ok) {
        say(printer === null ? `${draft.name} is added` : `${draft.name} is changed`);
        onClose();
        return;
      }
      const fields = fieldErrors(answer.refusal);
      setErrors(fields);
      setProblem(Object.keys(fields).length > 0 ? null : `Not saved: ${answer.refusal.message}`);
    });
  };
  const test = (): void => {
    setBusy('testing');
    setSteps(null);
    setProblem(null);
    void testPrinter(draft, printer?.id ?? null).then((answer) => {
      setBusy(null);
      if (Array.isArray(answer)) {
        setSteps(answer);
        const failed = answer.find((step) => step.ok === false);
        say(failed === undefined ? 'The test went well' : `${stepName(failed.name)}: ${failed.message}`);
        return;
      }
      const fields = fieldErrors(answer);
      setErrors(fields);
      setProblem(Object.keys(fields).length > 0 ? null : `Not tested: ${answer.message}`);
    });
  };
  const choose = (found: Found): void => {
    setDraft((all) => ({ ...all, host: found.host, serial: found.serial, name: all.name === '' ? found.name ?? found.model ?? '' : all.name }));
    setErrors({});
    setSteps(null);
  };

  return (
    <Dialog title={printer === null ? 'Add a printer' : `Edit ${printer.name}`} onClose={onClose}>
      {printer === null && <FoundPrinters chosen={draft.serial} onChoose={choose} />}
      <form className="fields" onSubmit={save} noValidate>
        <Field label="Name" value={draft.name} onChange={set('name')} error={errors.name} placeholder="Workshop X1" />
        <Field label="Address" value={draft.host} onChange={set('host')} error={errors.host} placeholder="192.168.1.10" hint="On its screen under Settings, WLAN" plain />
        <Field label="Serial number" value={draft.serial} onChange={set('serial')} error={errors.serial} placeholder="00M09A…" hint="On its screen under Settings, Device" plain />
        <Field label="Access code" value={draft.accessCode} onChange={set('accessCode')} error={errors.accessCode} plain kind="code"
          placeholder={printer === null ? '' : 'unchanged'} hint="On its screen under Settings, LAN only mode" />
        <details open={draft.rtspUrl !== '' || errors.rtspUrl !== undefined}>
          <summary>More</summary>
          <Field label="Camera address" value={draft.rtspUrl} onChange={set('rtspUrl')} error={errors.rtspUrl} placeholder="rtsps://192.168.1.10:322/streaming/live/1" plain
            hint="Only when the camera is elsewhere than the printer says" />
        </details>
        {busy === 'testing' && <p className="testing" role="status"><span className="spinner" aria-hidden="true" /> Testing the connection…</p>}
        {steps !== null && <Steps steps={steps} />}
        {problem !== null && <p className="problem" role="alert">{problem}</p>}
        <div className="answers">
          <button type="button" className="button test" disabled={busy !== null} aria-busy={busy === 'testing'} onClick={test}>Test</button>
          <button type="button" className="button" onClick={onClose}>Cancel</button>
          <button type="submit" className="button primary" disabled={busy !== null} aria-busy={busy === 'saving'}>{printer === null ? 'Add' : 'Save'}</button>
        </div>
      </form>
    </Dialog>
  );
}

function Steps({ steps }: { steps: readonly Step[] }) {
  return (
    <ol className="steps" aria-label="Test">
      {steps.map((step) => (
        <li key={step.name} className={step.ok === null ? 'skipped' : step.ok ? 'passed' : 'failed'} data-step={step.name}>
          {step.ok === null ? <span className="icon" aria-hidden="true">–</span> : step.ok ? <Check /> : <Cross />}
          <span><strong>{stepName(step.name)}</strong><span className="off-screen">{step.ok === null ? ': not tested' : step.ok ? ': passed' : ': failed'}</span> {step.message}</span>
        </li>
      ))}
    </ol>
  );
}

/** What announces itself on the network and is not here yet. */
function FoundPrinters({ chosen, onChoose }: { chosen: string; onChoose: (found: Found) => void }) {
  const [found, setFound] = useState<readonly Found[]>([]);
  useEffect(() => {
    const gone = new AbortController();
    const look = (): void => void fetchFound(gone.signal).then((answer) => {
      if (gone.signal.aborted) return;
      if (Array.isArray(answer)) setFound(answer);
      else if (forbidden(answer)) clearInterval(timer);
    });
    const timer = setInterval(look, FOUND_EVERY);
    look();
    return () => {
      gone.abort();
      clearInterval(timer);
    };
  }, []);
  if (found.length === 0) return null;
  return (
    <section className="found" aria-label="Found on this network">
      <p>Found on this network:</p>
      <ul>
        {found.map((each) => (
          <li key={each.serial}>
            <button type="button" className="button small" aria-pressed={each.serial === chosen} onClick={() => onChoose(each)}>
              {each.name ?? each.model ?? each.serial} <span className="quiet">{[each.name === null ? null : each.model, each.host].filter((part) => part !== null).join(' · ')}</span></button>
          </li>
        ))}
      </ul>
    </section>
  );
}
