// What was recorded on a day: a timeline for each camera, a player, and the list with what can be done.
import { useCallback, useEffect, useMemo, useState } from 'react';
import { url } from '../state/base.ts';
import { dayOf, dayText, deleteRecording, keepRecording, type Listing, listRecordings, placeOn, type Recording } from '../state/recordings.ts';
import type { Camera } from '../state/types.ts';
import { Dialog } from './Dialog.tsx';
import * as format from './format.ts';
import { useKeys } from './hooks.ts';
import { Back } from './Icons.tsx';
import { Player } from './Player.tsx';
import { WALL_HREF } from './route.ts';

/** While something is being written, the list is asked for again. */
const REFRESH = 5000;
const HOURS = [0, 6, 12, 18, 24];

interface Properties {
  cameras: readonly Camera[];
  say: (text: string) => void;
}

const time = (at: number): string => new Date(at).toLocaleTimeString([], { hour: '2-digit', minute: '2-digit', second: '2-digit' });

export function RecordingsPage({ cameras, say }: Properties) {
  const [text, setText] = useState(() => dayText(new Date()));
  const day = useMemo(() => dayOf(text), [text]);
  const [listing, setListing] = useState<Listing | null>(null);
  const [problem, setProblem] = useState<string | null>(null);
  const [playing, setPlaying] = useState<string | null>(null);
  const [doomed, setDoomed] = useState<Recording | null>(null);

  const load = useCallback(async (): Promise<void> => {
    if (day === null) return;
    const found = await listRecordings(day.from, day.to);
    if (typeof found === 'string') setProblem(`No list: ${found}`);
    else {
      setListing(found);
      setProblem(null);
    }
  }, [day]);
  useEffect(() => {
    const first = setTimeout(() => void load());
    const timer = setInterval(() => void load(), REFRESH);
    return () => {
      clearTimeout(first);
      clearInterval(timer);
    };
  }, [load]);

  const keys = useMemo(() => ({
    Escape: () => {
      location.hash = WALL_HREF;
    },
  }), []);
  useKeys(keys);

  const act = (done: Promise<string | null>, well: string, badly: string): void => {
    void done.then((error) => {
      if (error !== null) setProblem(`${badly}: ${error}`);
      say(error === null ? well : `${badly}: ${error}`);
      void load();
    });
  };
  const remove = (recording: Recording): void => {
    setDoomed(null);
    if (playing === recording.name) setPlaying(null);
    act(deleteRecording(recording.name), `${recording.name} is deleted`, 'Not deleted');
  };

  const recordings = listing?.recordings ?? [];
  const shown = recordings.find((each) => each.name === playing);
  const nameOf = (id: string): string => cameras.find((camera) => camera.id === id)?.name ?? (id === '' ? 'Unknown camera' : id);
  const lanes = [...new Set([...cameras.map((camera) => camera.id), ...recordings.map((each) => each.camera)])];

  return (
    <div className="recordings-page">
      <nav className="crumbs" aria-label="Pages"><a className="button bare" href={WALL_HREF}><Back /> All cameras</a></nav>
      <div className="under">
        <h2>Recordings</h2>
        <label className="day">Day <input type="date" value={text} max={dayText(new Date())} required onChange={(event) => setText(event.target.value)} /></label>
      </div>
      {problem !== null && <p className="problem" role="alert">{problem}</p>}
      {day !== null && (
        <section className="card" aria-label="Timeline">
          <ul className="lanes">
            {lanes.map((id) => (
              <li key={id} className="lane">
                <span className="lane-name">{nameOf(id)}</span>
                <div className="track">
                  {recordings.filter((each) => each.camera === id).map((each) => {
                    const { left, width } = placeOn(day, each);
                    const what = `${time(each.started)}, ${format.duration(each.duration)}${each.recording ? ', being recorded' : ''}`;
                    return (
                      <button key={each.name} type="button" className={each.recording ? 'piece now' : 'piece'} aria-pressed={each.name === playing}
                        style={{ left: `${left}%`, width: `${width}%` }} title={what} aria-label={`Play ${nameOf(id)}, ${what}`}
                        onClick={() => setPlaying(each.name)} />
                    );
                  })}
                </div>
              </li>
            ))}
          </ul>
          <div className="hours" aria-hidden="true">{HOURS.map((hour) => <span key={hour}>{hour}:00</span>)}</div>
        </section>
      )}
      {shown !== undefined && <section aria-label="Player"><Player key={shown.name} recording={shown} /></section>}
      {listing !== null && (recordings.length === 0 ? <p className="quiet nothing">Nothing was recorded on this day.</p> : (
        <ul className="card recordings">
          {recordings.map((each) => (
            <li key={each.name} data-recording={each.name}>
              <span className="what">
                <strong>{time(each.started)}</strong> {nameOf(each.camera)}
                <span className="quiet numbers">{[format.duration(each.duration), format.bytes(each.bytes), each.recording ? 'being recorded' : '', each.kept ? 'kept' : ''].filter((word) => word !== '').join(' · ')}</span>
              </span>
              <span className="tools">
                <button type="button" className="button small" aria-label={`Play ${each.name}`} onClick={() => setPlaying(each.name)}>Play</button>
                <a className="button small" href={url(`${each.url}?download`).href} download={each.name} aria-label={`Download ${each.name}`}>Download</a>
                <button type="button" className="button small" aria-pressed={each.kept} aria-label={`Keep ${each.name}`}
                  onClick={() => act(keepRecording(each.name, !each.kept), `${each.name} is ${each.kept ? 'no longer kept' : 'kept'}`, 'Not marked')}>Keep</button>
                <button type="button" className="button small" disabled={each.recording} aria-label={`Delete ${each.name}`} onClick={() => setDoomed(each)}>Delete</button>
              </span>
            </li>
          ))}
        </ul>
      ))}
      {listing !== null && listing.total > recordings.length && <p className="quiet">The newest {recordings.length} of {listing.total} are listed.</p>}
      {doomed !== null && (
        <Dialog title="Delete this recording?" onClose={() => setDoomed(null)}>
          <p>{doomed.name}, {format.duration(doomed.duration)}, is gone for good.</p>
          <div className="answers">
            <button type="button" className="button" onClick={() => setDoomed(null)}>Cancel</button>
            <button type="button" className="button primary" onClick={() => remove(doomed)}>Delete</button>
          </div>
        </Dialog>
      )}
    </div>
  );
}
