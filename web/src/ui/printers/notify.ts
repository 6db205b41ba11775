// Notifications by the browser when a print ends or fails: only when a person asked for them on this machine, while a page is open.
import { useCallback, useEffect, useRef, useState } from 'react';
import type { Printer } from '../../state/printers.ts';
import { ended } from './words.ts';

const KEY = 'fanlight.notify';

export type Notifying = 'on' | 'off' | 'blocked' | 'impossible';

function now(): Notifying {
  // Browsers offer them to pages by HTTPS, and of this machine, only.
  if (!('Notification' in window) || !window.isSecureContext) return 'impossible';
  if (Notification.permission === 'denied') return 'blocked';
  try {
    return Notification.permission === 'granted' && localStorage.getItem(KEY) === 'on' ? 'on' : 'off';
  } catch {
    return 'off';
  }
}

function remember(on: boolean): void {
  try {
    if (on) localStorage.setItem(KEY, 'on');
    else localStorage.removeItem(KEY);
  } catch {
    // The page may not store anything here.
  }
}

/** Whether they are on, and what switches that. */
export function useNotifying(): [Notifying, () => void] {
  const [state, setState] = useState(now);
  const toggle = useCallback(() => {
    if (state === 'on') {
      remember(false);
      setState('off');
      return;
    }
    void Notification.requestPermission().then((permission) => {
      remember(permission === 'granted');
      setState(now());
    });
  }, [state]);
  return [state, toggle];
}

/** Tells when a print ends or fails: always politely on the page, and by the browser if that is wanted. */
export function usePrintsEnding(printers: readonly Printer[] | undefined, say: (text: string) => void): void {
  const before = useRef<readonly Printer[]>([]);
  useEffect(() => {
    const last = before.current;
    before.current = printers ?? last;
    for (const printer of printers ?? []) {
      const told = ended(last.find((each) => each.id === printer.id), printer);
      if (told === null) continue;
      say(`${told.title}. ${told.body}`);
      if (now() === 'on') show(told.title, told.body, printer.id);
    }
  }, [printers, say]);
}

function show(title: string, body: string, printer: number): void {
  try {
    // One a printer: several pages of one browser are one notification.
    const shown = new Notification(title, { body, tag: `fanlight-printer-${printer}` });
    shown.addEventListener('click', () => {
      window.focus();
      location.hash = '#/printers';
      shown.close();
    });
  } catch {
    // Phones want a service worker for it: there is none.
  }
}
