// All printers: a card each, and the dialogs that add, change and delete them.
import { useMemo, useState } from 'react';
import { deletePrinter, type Printer } from '../../state/printers.ts';
import { may } from '../../state/session.ts';
import type { ServerState } from '../../state/types.ts';
import { useServices } from '../context.ts';
import { Dialog } from '../Dialog.tsx';
import { useKeys, useSession } from '../hooks.ts';
import { Back, Bell, Plus, Printer as Icon } from '../Icons.tsx';
import { WALL_HREF } from '../route.ts';
import { useNotifying } from './notify.ts';
import { PrinterCard } from './PrinterCard.tsx';
import { PrinterDialog } from './PrinterDialog.tsx';

interface Properties {
  server: ServerState;
  serverGone: boolean;
  returns: number;
  say: (text: string) => void;
}

type Open = { dialog: 'add' } | { dialog: 'edit' | 'delete'; printer: Printer } | null;

const NOTIFY = {
  on: 'Notifications are on', off: 'Notify me when a print ends', blocked: 'Notifications are blocked in this browser’s settings',
  impossible: 'Notifications need HTTPS',
};

export function PrintersPage({ server, serverGone, returns, say }: Properties) {
  const { histories } = useServices();
  const [open, setOpen] = useState<Open>(null);
  const [notifying, toggleNotifying] = useNotifying();
  const [problem, setProblem] = useState<string | null>(null);
  const { printers } = server;
  const admin = may(useSession(), 'admin');
  const close = (): void => setOpen(null);
  const keys = useMemo(() => ({
    Escape: () => {
      location.hash = WALL_HREF;
    },
  }), []);
  useKeys(keys);

  const remove = (printer: Printer): void => {
    close();
    void deletePrinter(printer.id).then((error) => {
      setProblem(error === null ? null : `Not deleted: ${error}`);
      say(error === null ? `${printer.name} is deleted` : `Not deleted: ${error}`);
    });
  };

  return (
    <div className="printers-page">
      <nav className="crumbs" aria-label="Pages"><a className="button bare" href={WALL_HREF}><Back /> All cameras</a></nav>
      <div className="under">
        <h2>Printers</h2>
        <div className="tools">
          <button type="button" className="button" aria-pressed={notifying === 'on'} disabled={notifying === 'blocked' || notifying === 'impossible'} title={NOTIFY[notifying]}
            onClick={toggleNotifying}><Bell /> Notify</button>
          {admin && <button type="button" className="button primary" disabled={serverGone} onClick={() => setOpen({ dialog: 'add' })}><Plus /> Add a printer</button>}
        </div>
      </div>
      {problem !== null && <p className="problem" role="alert">{problem}</p>}
      {printers.length === 0 ? (
        <section className="empty"><Icon /><h2>No printers yet</h2>
          <p>{admin ? 'Add a Bambu Lab printer of this network by its address, serial number and access code: they are on its screen.' : 'Who is logged in as an admin can add them.'}</p></section>
      ) : (
        <ul className="printers">
          {printers.map((printer) => (
            <PrinterCard key={printer.id} printer={printer} samples={histories.of(printer.id)} server={server} serverGone={serverGone} returns={returns} say={say}
              onEdit={() => setOpen({ dialog: 'edit', printer })} onDelete={() => setOpen({ dialog: 'delete', printer })} />
          ))}
        </ul>
      )}
      {(open?.dialog === 'add' || open?.dialog === 'edit') && (
        <PrinterDialog printer={open.dialog === 'edit' ? open.printer : null} onClose={close} say={say} />
      )}
      {open?.dialog === 'delete' && (
        <Dialog title={`Delete ${open.printer.name}?`} onClose={close}>
          <p>Its picture, its state and its settings are gone from here. The printer itself goes on with what it does.</p>
          <div className="answers">
            <button type="button" className="button" onClick={close}>Cancel</button>
            <button type="button" className="button primary" onClick={() => remove(open.printer)}>Delete</button>
          </div>
        </Dialog>
      )}
    </div>
  );
}
