// A modal dialog: the browser's own, which keeps the focus inside and gives it back.
import { type ReactNode, useEffect, useRef } from 'react';
import { Cross } from './Icons.tsx';

interface Properties {
  title: string;
  onClose: () => void;
  children: ReactNode;
}

export function Dialog({ title, onClose, children }: Properties) {
  const dialog = useRef<HTMLDialogElement>(null);
  useEffect(() => {
    const element = dialog.current;
    if (element?.open === false) element.showModal();
    return () => element?.close();
  }, []);
  return (
    <dialog ref={dialog} className="dialog" aria-label={title} onCancel={(event) => {
      event.preventDefault();
      onClose();
    }}>
      <header>
        <h2>{title}</h2>
        <button type="button" className="button bare" aria-label="Close" onClick={onClose}><Cross /></button>
      </header>
      {children}
    </dialog>
  );
}
