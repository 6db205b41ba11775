// Logging in: by name and password, or by an API key. A page of its own where nothing is shown without; a dialog where it is only for control.
import { type SyntheticEvent, useState } from 'react';
import type { Credentials } from '../state/session.ts';
import { useServices } from './context.ts';
import { Dialog } from './Dialog.tsx';
import { Field } from './Field.tsx';
import { Logo } from './Icons.tsx';

export function LoginPage() {
  return (
    <section className="login" aria-label="Log in">
      <Logo />
      <h2>Log in to Fanlight</h2>
      <LoginForm />
    </section>
  );
}

export function LoginDialog({ onClose }: { onClose: () => void }) {
  return (
    <Dialog title="Log in" onClose={onClose}>
      <p className="before">You may watch without; to control cameras and printers, log in and ask again.</p>
      <LoginForm onCancel={onClose} />
    </Dialog>
  );
}

function LoginForm({ onCancel }: { onCancel?: () => void }) {
  const { link, session } = useServices();
  const [byKey, setByKey] = useState(false);
  const [{ name, password, key }, setFields] = useState({ name: '', password: '', key: '' });
  const [busy, setBusy] = useState(false);
  const [problem, setProblem] = useState<string | null>(null);
  const set = (field: 'name' | 'password' | 'key') => (value: string): void => setFields((all) => ({ ...all, [field]: value }));
  const send = (event: SyntheticEvent): void => {
    event.preventDefault();
    const credentials: Credentials = byKey ? { key } : { name, password };
    setBusy(true);
    void session.login(credentials).then((error) => {
      setBusy(false);
      setProblem(error === null ? null : `Not logged in: ${error}`);
      if (error === null) link.nudge();
    });
  };
  return (
    <form className="fields" onSubmit={send}>
      {byKey ? <Field label="API key" value={key} onChange={set('key')} plain kind="password" complete="off" />
        : <>
          <Field label="Name" value={name} onChange={set('name')} plain complete="username" />
          <Field label="Password" value={password} onChange={set('password')} plain kind="password" complete="current-password" />
        </>}
      {problem !== null && <p className="problem" role="alert">{problem}</p>}
      <div className="answers">
        <button type="button" className="button bare test" onClick={() => setByKey(!byKey)}>{byKey ? 'Use name and password' : 'Use an API key'}</button>
        {onCancel !== undefined && <button type="button" className="button" onClick={onCancel}>Cancel</button>}
        <button type="submit" className="button primary" disabled={busy || (byKey ? key === '' : name === '' || password === '')} aria-busy={busy}>Log in</button>
      </div>
    </form>
  );
}
