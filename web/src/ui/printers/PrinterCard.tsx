// One printer: its picture, how far the print is, how warm it is, what is wrong, and what can be done.
import { useState } from 'react';
import type { Sample } from '../../state/history.ts';
import { acceptCertificate, type Printer, type Trouble } from '../../state/printers.ts';
import { may } from '../../state/session.ts';
import type { ServerState } from '../../state/types.ts';
import { useServices } from '../context.ts';
import * as format from '../format.ts';
import { useNow, useSession } from '../hooks.ts';
import { Bin, CameraOff, Pen, Warning } from '../Icons.tsx';
import { Picture } from '../Picture.tsx';
import { PrinterControls, useCommands } from './PrinterControls.tsx';
import { Ring } from './Ring.tsx';
import { Temperatures } from './Temperatures.tsx';
import { Trays } from './Trays.tsx';
import { COMMAND, fingerprint, finishClock, printerState, printing, remaining, sentence, silent } from './words.ts';

interface Properties {
  printer: Printer;
  samples: readonly Sample[];
  server: ServerState;
  serverGone: boolean;
  returns: number;
  onEdit: () => void;
  onDelete: () => void;
  say: (text: string) => void;
}

export function PrinterCard({ printer, samples, server, serverGone, returns, onEdit, onDelete, say }: Properties) {
  const { link } = useServices();
  const now = useNow() + link.clock.offset;
  const commanding = useCommands(printer, say);
  const session = useSession();
  const [admin, operator] = [may(session, 'admin'), may(session, 'operator')];
  const { status, name } = printer;
  const camera = server.cameras.find((each) => each.id === printer.camera);
  const state = printerState(printer, serverGone);
  const { agreed } = commanding;
  const doing = agreed === null || agreed.type === 'light' || agreed.type === 'speed' ? null : COMMAND[agreed.type].doing;
  const old = !status.connected || serverGone;
  const facts = [
    remaining(status),
    finishClock(status, now),
    status.layer === null || !printing(status) ? null : `layer ${status.layer}${status.layers === null ? '' : ` of ${status.layers}`}`,
    printing(status) && status.stage !== 'printing' ? status.stage : null,
  ].filter((fact) => fact !== null);
  return (
    <li className="card printer" data-printer={printer.id} data-state={status.jobState ?? ''} data-connected={status.connected}>
      <div className="printer-picture">
        {camera === undefined ? (
          <div className="picture none"><div className="message"><CameraOff /><strong>No picture</strong>
            <span className="why">{printer.noCamera === null ? 'It comes when the printer is connected.' : sentence(printer.noCamera)}</span></div></div>
        ) : (
          <Picture camera={camera} livekit={server.livekit} webrtc={server.webrtc} serverGone={serverGone} returns={returns} large={false} />
        )}
      </div>
      <div className="printer-body">
        <div className="card-head">
          <div className="title">
            <h3>{name}</h3>
            <span className={`state ${doing === null ? state.tone : 'busy'}`}><span className="dot" aria-hidden="true" />{doing ?? state.word}</span>
          </div>
          {admin && <div className="printer-tools">
            <button type="button" className="button bare small" aria-label={`Edit ${name}`} title="Edit" onClick={onEdit}><Pen /></button>
            <button type="button" className="button bare small" aria-label={`Delete ${name}`} title="Delete" onClick={onDelete}><Bin /></button>
          </div>}
        </div>
        <Problems printer={printer} serverGone={serverGone} now={now} commanding={commanding} admin={admin} operator={operator} say={say} />
        {(status.percent !== null || status.connected) && <div className={old ? 'progress old' : 'progress'}>
          <Ring percent={status.percent} name={name} tone={state.tone} />
          <div className="job">
            <p className="file" title={status.file ?? undefined}>{status.file ?? (printing(status) ? 'Printing' : 'No print')}</p>
            {facts.length > 0 && <p className="quiet numbers">{facts.join(' · ')}</p>}
            <p className="quiet numbers">{[printer.model, status.wifi === null ? null : `Wi-Fi ${status.wifi}`].filter((part) => part !== null).join(' · ')}</p>
          </div>
        </div>}
        {(status.nozzle.now !== null || samples.length > 0) && <div className={old ? 'old' : undefined}><Temperatures status={status} samples={samples} /></div>}
        <Trays units={status.units} />
        {operator && <PrinterControls printer={printer} disabled={serverGone} commanding={commanding} />}
        {commanding.problem !== null && <p className="problem" role="alert">{commanding.problem}</p>}
      </div>
    </li>
  );
}

interface ProblemProperties {
  printer: Printer;
  serverGone: boolean;
  now: number;
  commanding: ReturnType<typeof useCommands>;
  admin: boolean;
  operator: boolean;
  say: (text: string) => void;
}

/** What is wrong, in words, and the mend where there is one. */
function Problems({ printer, serverGone, now, commanding, admin, operator, say }: ProblemProperties) {
  const [refused, setRefused] = useState<string | null>(null);
  const { status, certificate, name } = printer;
  if (serverGone) return null;
  const accept = (): void => {
    void acceptCertificate(printer.id, certificate.offered ?? '').then((error) => {
      setRefused(error === null ? null : `Not accepted: ${error}`);
      say(error === null ? `The certificate of ${name} is accepted` : `Not accepted: ${error}`);
    });
  };
  const heard = status.lastUpdate === null ? '' : ` Last heard ${format.ago((now - status.lastUpdate) / 1000)}.`;
  const printError = status.printError;
  return (
    <>
      {certificate.offered !== null && (
        <div className="note bad certificate"><Warning /><div>
          <p>The printer shows another certificate than before: it was reset or updated, or something else answers at its address.</p>
          <dl>
            <dt>Known</dt><dd><code>{certificate.known === null ? 'none' : fingerprint(certificate.known)}</code></dd>
            <dt>Now</dt><dd><code>{fingerprint(certificate.offered)}</code></dd>
          </dl>
          {admin && <button type="button" className="button small" onClick={accept}>Accept the new certificate</button>}
          {refused !== null && <p className="problem" role="alert">{refused}</p>}
        </div></div>
      )}
      {!status.connected && status.error !== null && certificate.offered === null && <p className="note bad"><Warning /><span>{sentence(status.error)}.{heard}</span></p>}
      {silent(status) && <p className="note bad"><Warning /><span>The printer says nothing: these figures are old.{heard}</span></p>}
      {status.connected && status.developerMode === false && (
        <p className="note"><Warning /><span>It takes no commands: switch on Developer Mode on its screen, under the LAN only mode.</span></p>
      )}
      {status.connected && printError !== null && (
        <div className="note bad"><Warning /><div>
          <p>{sentence(printError.text ?? 'the print has an error')} <span className="quiet"><Code trouble={printError} /></span></p>
          {operator && <button type="button" className="button small" disabled={commanding.asking !== null} onClick={() => commanding.send({ type: 'clear_error' })}>
            {commanding.asking?.type === 'clear_error' ? COMMAND.clear_error.doing : 'Clear the error'}</button>}
        </div></div>
      )}
      {status.connected && status.troubles.map((trouble) => (
        <p className="note bad" key={trouble.code}><Warning /><span>{sentence(trouble.text ?? 'the printer reports a fault')} <span className="quiet">
          <Code trouble={trouble} /></span></span></p>
      ))}
    </>
  );
}

/** The code of a fault, with the maker's page behind it. */
function Code({ trouble: { code, page } }: { trouble: Trouble }) {
  return page === null ? code : <a href={page} target="_blank" rel="noreferrer">{code}</a>;
}
