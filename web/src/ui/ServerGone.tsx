// The banner when the server cannot be reached: since when, the next attempt, and a way to ask for it now.
import type { LinkState } from '../state/link.ts';
import { useServices } from './context.ts';
import { countdown, duration } from './format.ts';
import { useNow } from './hooks.ts';
import { Plug } from './Icons.tsx';

export function ServerGone({ state }: { state: LinkState }) {
  const { link } = useServices();
  const now = useNow(500);
  const since = state.goneSince === null ? '' : ` for ${duration((now - state.goneSince) / 1000)}`;
  return (
    <section className="banner" aria-label="Server">
      <Plug />
      <p><strong>Server is gone{since}.</strong>{' '}
        <span className="quiet">{state.nextTry === null ? 'Trying now…' : `Next try ${countdown(state.nextTry, now)}.`}</span></p>
      <button type="button" className="button" onClick={() => link.nudge()}>Try now</button>
    </section>
  );
}
