// Where this camera is published: each output with its state, its last error in words, and the next attempt.
import { useState } from 'react';
import { retryOutput } from '../state/actions.ts';
import type { Output } from '../state/types.ts';
import { useServices } from './context.ts';
import * as format from './format.ts';
import { useNow } from './hooks.ts';
import { OUTPUT, STATE } from './words.ts';

interface Properties {
  serverGone: boolean;
  say: (text: string) => void;
}

export function Outputs({ outputs, serverGone, say }: Properties & { outputs: readonly Output[] }) {
  if (outputs.length === 0) return null;
  return (
    <section className="card">
      <h3>Outputs</h3>
      <ul className="outputs">
        {outputs.map((output) => <Row key={output.id} output={output} serverGone={serverGone} say={say} />)}
      </ul>
    </section>
  );
}

function Row({ output, serverGone, say }: Properties & { output: Output }) {
  const { link } = useServices();
  const now = useNow();
  const [problem, setProblem] = useState<string | null>(null);
  const { word, tone } = serverGone ? { word: 'Unknown', tone: 'calm' } : STATE[output.state];
  const name = OUTPUT[output.type] ?? output.type;
  const live = output.state === 'live';
  const waiting = output.state === 'backing_off' || output.state === 'refused' || output.state === 'stalled';
  const facts = live ? [
    output.since === null ? null : `for ${format.duration((now + link.clock.offset - output.since) / 1000)}`,
    output.fps === null ? null : format.fps(output.fps),
    output.bitrateKbps === null ? null : format.bitrate(output.bitrateKbps),
    output.dropped > 0 ? `${format.plural(output.dropped, 'frame')} dropped` : null,
  ] : [
    output.nextTry === null ? null : `Next try ${format.countdown(output.nextTry - link.clock.offset, now)}`,
    output.attempts > 1 ? format.plural(output.attempts, 'attempt') : null,
  ];
  const retry = (): void => {
    void retryOutput(output.id).then((error) => {
      setProblem(error === null ? null : `Not retried: ${error}`);
      if (error === null) say(`${output.id} is tried again`);
      link.refresh();
    });
  };
  return (
    <li className="output" data-output={output.id} data-state={output.state}>
      <div className="line">
        <span className="what"><strong>{output.id}</strong> <span className="quiet">{name}</span></span>
        <span className={`state ${tone}`}><span className="dot" aria-hidden="true" />{word}</span>
      </div>
      {output.target !== '' && <p className="target">{output.target}{output.room === null ? '' : ` · room ${output.room}`}</p>}
      {!live && output.lastError !== null && <p className="why">{output.lastError}</p>}
      <div className="line">
        <span className="quiet numbers">{serverGone ? '' : facts.filter((fact) => fact !== null).join(' · ')}</span>
        {waiting && !serverGone && <button type="button" className="button small" aria-label={`Try now: ${output.id}`} onClick={retry}>Try now</button>}
      </div>
      {problem !== null && <p className="problem" role="alert">{problem}</p>}
    </li>
  );
}
