// Small hooks: the time, the address, the theme, the size of an element, full screen.
import { type RefObject, useCallback, useEffect, useLayoutEffect, useState, useSyncExternalStore } from 'react';
import type { Session } from '../state/session.ts';
import { useServices } from './context.ts';
import { parseRoute, type Route } from './route.ts';

/** Milliseconds, new each second (or as asked). */
export function useNow(interval = 1000): number {
  const [now, setNow] = useState(() => Date.now());
  useEffect(() => {
    const timer = setInterval(() => setNow(Date.now()), interval);
    return () => clearInterval(timer);
  }, [interval]);
  return now;
}

function onHash(listener: () => void): () => void {
  addEventListener('hashchange', listener);
  return () => removeEventListener('hashchange', listener);
}

export function useRoute(): Route {
  return parseRoute(useSyncExternalStore(onHash, () => location.hash));
}

/** Who looks; null until the server has said. */
export function useSession(): Session | null {
  const { session } = useServices();
  return useSyncExternalStore(session.subscribe, session.state).session;
}

export type Theme = 'system' | 'light' | 'dark';
const THEME_KEY = 'fanlight.theme';

function stored(): Theme {
  try {
    const theme = localStorage.getItem(THEME_KEY);
    return theme === 'light' || theme === 'dark' ? theme : 'system';
  } catch {
    return 'system';
  }
}

/** The look that was chosen, remembered on this machine. */
export function useTheme(): [Theme, (theme: Theme) => void] {
  const [theme, setTheme] = useState(stored);
  useLayoutEffect(() => {
    if (theme === 'system') delete document.documentElement.dataset.theme;
    else document.documentElement.dataset.theme = theme;
  }, [theme]);
  const choose = useCallback((next: Theme) => {
    try {
      if (next === 'system') localStorage.removeItem(THEME_KEY);
      else localStorage.setItem(THEME_KEY, next);
    } catch {
      // Not remembered: the page may not store anything here.
    }
    setTheme(next);
  }, []);
  return [theme, choose];
}

/** Room below an element, px: its width, and what is left of the window's height from its top, less `margin`. Null before the first layout. */
export function useRoom(ref: RefObject<HTMLElement | null>, margin: number): { width: number; height: number } | null {
  const [size, setSize] = useState<{ width: number; height: number } | null>(null);
  useLayoutEffect(() => {
    const element = ref.current;
    if (element === null) return;
    // Not the element's own height: it grows with what is put into it.
    const measure = (): void => {
      const next = { width: Math.floor(element.getBoundingClientRect().width), height: innerHeight - element.offsetTop - margin };
      setSize((last) => (last?.width === next.width && last.height === next.height ? last : next));
    };
    measure();
    addEventListener('resize', measure);
    const observer = new ResizeObserver(measure);
    observer.observe(element);
    return () => {
      removeEventListener('resize', measure);
      observer.disconnect();
    };
  }, [ref, margin]);
  return size;
}

function onFullscreen(listener: () => void): () => void {
  document.addEventListener('fullscreenchange', listener);
  return () => document.removeEventListener('fullscreenchange', listener);
}

export function useFullscreen(): Element | null {
  return useSyncExternalStore(onFullscreen, () => document.fullscreenElement);
}

/** Into full screen, or out of it. Refusals (an embedding page may forbid it) change nothing. */
export function toggleFullscreen(element: Element | null): void {
  if (document.fullscreenElement !== null) document.exitFullscreen().catch(() => undefined);
  else element?.requestFullscreen().catch(() => undefined);
}

/** Keys without modifiers, not while typing. */
export function useKeys(keys: Record<string, (() => void) | undefined>): void {
  useEffect(() => {
    const pressed = (event: KeyboardEvent): void => {
      if (event.ctrlKey || event.altKey || event.metaKey || event.defaultPrevented) return;
      const target = event.target as HTMLElement;
      if (target.closest('input, textarea, select, dialog[open]') !== null) return;
      const action = keys[event.key];
      if (action === undefined) return;
      event.preventDefault();
      action();
    };
    addEventListener('keydown', pressed);
    return () => removeEventListener('keydown', pressed);
  }, [keys]);
}
