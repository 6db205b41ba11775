// The top bar: name, how all cameras are, and the page's own controls.
import type { Session } from '../state/session.ts';
import type { ServerState } from '../state/types.ts';
import type { Theme } from './hooks.ts';
import { Auto, Expand, Film, Help, Logo, Moon, Person, Printer, Sun } from './Icons.tsx';
import { PRINTERS_HREF, RECORDINGS_HREF, WALL_HREF } from './route.ts';
import { summary } from './words.ts';

interface Properties {
  server: ServerState | null;
  gone: boolean;
  theme: Theme;
  onTheme: () => void;
  onHelp: () => void;
  onFullscreen: (() => void) | null;
  session: Session | null;
  onLogin: () => void;
  onLogout: () => void;
}

const THEMES = { system: { name: 'as the system', icon: Auto }, light: { name: 'light', icon: Sun }, dark: { name: 'dark', icon: Moon } };

export function Header({ server, gone, theme, onTheme, onHelp, onFullscreen, session, onLogin, onLogout }: Properties) {
  const overall = gone ? { text: 'Server is gone', tone: 'bad' } : server === null ? null : summary(server.cameras);
  const Icon = THEMES[theme].icon;
  return (
    <header className="top">
      <h1><a href={WALL_HREF}><Logo /> Fanlight</a></h1>
      {overall !== null && (
        <p className={`overall ${overall.tone}`}><span className="dot" aria-hidden="true" />{overall.text}</p>
      )}
      <div className="controls">
        <a className="button bare" href={PRINTERS_HREF} aria-label="Printers" title="Printers"><Printer /></a>
        <a className="button bare" href={RECORDINGS_HREF} aria-label="Recordings" title="Recordings"><Film /></a>
        {onFullscreen !== null && (
          <button type="button" className="button bare" aria-label="Full screen" title="Full screen (f)" onClick={onFullscreen}><Expand /></button>
        )}
        <button type="button" className="button bare" aria-label={`Theme: ${THEMES[theme].name}. Change`} title={`Theme: ${THEMES[theme].name} (t)`}
          onClick={onTheme}><Icon /></button>
        {session?.configured === true && session.role !== null && (
          session.name === null
            ? <button type="button" className="button bare" aria-label="Log in" title="Log in" onClick={onLogin}><Person /></button>
            : <button type="button" className="button bare inside" aria-label={`Log out ${session.name}`} title={`Log out ${session.name}`} onClick={onLogout}><Person /></button>
        )}
        <button type="button" className="button bare" aria-label="Help" title="Help (?)" onClick={onHelp}><Help /></button>
      </div>
    </header>
  );
}
