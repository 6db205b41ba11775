// The page: header, banner, wall or camera, help; keys that work everywhere; and what a screen reader is told.
import { useCallback, useEffect, useMemo, useRef, useState, useSyncExternalStore } from 'react';
import type { Camera } from '../state/types.ts';
import { CameraPage } from './CameraPage.tsx';
import { useServices } from './context.ts';
import { Header } from './Header.tsx';
import { HelpDialog } from './HelpDialog.tsx';
import { toggleFullscreen, useKeys, useRoute, useTheme } from './hooks.ts';
import { CameraOff } from './Icons.tsx';
import { usePrintsEnding } from './printers/notify.ts';
import { PrintersPage } from './printers/PrintersPage.tsx';
import { LoginDialog, LoginPage } from './Login.tsx';
import { RecordingsPage } from './RecordingsPage.tsx';
import { cameraHref, WALL_HREF } from './route.ts';
import { ServerGone } from './ServerGone.tsx';
import { Wall } from './Wall.tsx';
import { announcement } from './words.ts';

const NEXT_THEME = { system: 'light', light: 'dark', dark: 'system' } as const;

export function App() {
  const { link, session: sessions } = useServices();
  const { session, wanted } = useSyncExternalStore(sessions.subscribe, sessions.state);
  const shut = session?.role === null;
  const state = useSyncExternalStore(link.subscribe, link.state);
  const route = useRoute();
  const [theme, setTheme] = useTheme();
  const [help, setHelp] = useState(false);
  const [said, setSaid] = useState('');
  const main = useRef<HTMLElement>(null);
  const { server, phase } = state;
  const gone = phase === 'gone' && !shut;
  const camera = route.page === 'camera' ? server?.cameras.find((each) => each.id === route.id) : undefined;

  useEffect(() => {
    const page = route.page === 'recordings' ? 'Recordings' : route.page === 'printers' ? 'Printers' : camera?.name;
    document.title = page === undefined ? 'Fanlight' : `${page} · Fanlight`;
  }, [camera, route.page]);
  useAnnouncements(server?.cameras, phase, setSaid);
  usePrintsEnding(server?.printers, setSaid);

  const nextTheme = useCallback(() => setTheme(NEXT_THEME[theme]), [theme, setTheme]);
  const wall = route.page === 'wall';
  const keys = useMemo(() => {
    const open = (id: string) => () => {
      location.hash = cameraHref(id);
    };
    return {
      '?': () => setHelp(true),
      t: nextTheme,
      ...(wall ? { f: () => toggleFullscreen(main.current) } : {}),
      ...Object.fromEntries((server?.cameras ?? []).slice(0, 9).map((each, index) => [String(index + 1), open(each.id)])),
    };
  }, [server?.cameras, wall, nextTheme]);
  useKeys(keys);

  return (
    <>
      <Header server={server} gone={gone} theme={theme} onTheme={nextTheme} onHelp={() => setHelp(true)} session={session}
        onLogin={() => sessions.want(true)} onLogout={() => void sessions.logout()}
        onFullscreen={wall && document.fullscreenEnabled ? () => toggleFullscreen(main.current) : null} />
      {gone && <ServerGone state={state} />}
      <main ref={main} className={gone ? 'main gone' : 'main'}>
        {shut ? <LoginPage /> : server === null ? <Waiting gone={gone} /> : route.page === 'recordings'
          ? <RecordingsPage cameras={server.cameras} say={setSaid} />
          : route.page === 'printers'
          ? <PrintersPage server={server} serverGone={gone} returns={state.returns} say={setSaid} />
          : wall
          ? <Wall server={server} serverGone={gone} returns={state.returns} />
          : camera === undefined
            ? <Unknown id={route.id} />
            : <CameraPage key={camera.id} camera={camera} server={server} serverGone={gone} returns={state.returns} say={setSaid} />}
      </main>
      <p className="off-screen" role="status" aria-live="polite">{said}</p>
      {wanted && !shut && session !== null && <LoginDialog onClose={() => sessions.want(false)} />}
      {help && <HelpDialog onClose={() => setHelp(false)} version={server?.version ?? null} />}
    </>
  );
}

/** Changes that matter, politely. */
function useAnnouncements(cameras: readonly Camera[] | undefined, phase: string, say: (text: string) => void): void {
  const before = useRef<{ cameras: readonly Camera[]; phase: string }>({ cameras: [], phase });
  useEffect(() => {
    const last = before.current;
    before.current = { cameras: cameras ?? [], phase };
    const words = phase !== last.phase && phase === 'gone' ? ['Server is gone']
      : phase !== last.phase && last.phase === 'gone' ? ['Server is back'] : [];
    for (const camera of cameras ?? []) {
      const text = announcement(last.cameras.find((each) => each.id === camera.id), camera);
      if (text !== null) words.push(text);
    }
    if (words.length > 0) say(words.join('. '));
  }, [cameras, phase, say]);
}

function Waiting({ gone }: { gone: boolean }) {
  return (
    <section className="empty">
      {!gone && <span className="spinner" aria-hidden="true" />}
      <h2>{gone ? 'Fanlight cannot be reached' : 'Connecting to Fanlight…'}</h2>
      {gone && <p>The service is stopped, or the network to it is down. This page goes on by itself as soon as it answers.</p>}
    </section>
  );
}

function Unknown({ id }: { id: string }) {
  return (
    <section className="empty">
      <CameraOff />
      <h2>No camera “{id}”</h2>
      <p>It may have been renamed or removed from the configuration.</p>
      <p><a className="button" href={WALL_HREF}>All cameras</a></p>
    </section>
  );
}
