// The transforms of one camera: as they are, as they are being changed, and what is asked before that is done.
// What can go wrong: they cannot be asked for (what is known stays, and it is tried again), somebody else changes them meanwhile (said before
// anything is sent), a change is not answered (what is in force is asked for).
import { useCallback, useEffect, useRef, useState } from 'react';
import { backoff } from '../../chain/backoff.ts';
import { forbidden } from '../../state/ask.ts';
import { fetchTransforms, same, setTransforms, type Told, type Transforms } from '../../state/transforms.ts';
import { afterwards, begun, found, learned, type Question, uncovers, unsure, type Wish, type Work } from './changing.ts';

export interface Transforming {
  /** In force: what the picture on screen went through. */
  applied: Transforms;
  draft: Transforms;
  changed: boolean;
  busy: boolean;
  problem: string | null;
  /** Why the whole picture is black. */
  caution: string[] | null;
  /** What is in force ends with the service. */
  unkept: boolean;
  /** What is asked before anything is done. */
  question: Question | null;
  /** Whether masks are being drawn on the picture. */
  drawing: boolean;
  setDrawing: (drawing: boolean) => void;
  edit: (change: Partial<Transforms>) => void;
  apply: () => void;
  reset: () => void;
  /** Yes to the question. */
  agree: () => void;
  /** No to it: nothing is sent, and what was drawn stays. */
  cancel: () => void;
  /** What somebody else made of it, instead of what was drawn. */
  takeTheirs: () => void;
}

/** Null: there are none for this camera, or none are known yet. */
export function useTransforms(id: string, name: string, serverGone: boolean, say: (text: string) => void): Transforming | null {
  const [work, setWork] = useState<Work | null>(null);
  const [busy, setBusy] = useState(false);
  const [problem, setProblem] = useState<string | null>(null);
  const [question, setQuestion] = useState<Question | null>(null);
  const [drawing, setDrawing] = useState(false);
  /** Counts what makes the page look again. */
  const [looks, setLooks] = useState(0);
  /** Counts beginnings and ends of changes: what was asked for before tells nothing any more. */
  const turn = useRef(0);

  useEffect(() => {
    if (serverGone) return undefined;
    const gone = new AbortController();
    let timer: ReturnType<typeof setTimeout> | undefined;
    let looking = false;
    let failures = 0;
    const look = (): void => {
      if (looking) return;
      clearTimeout(timer);
      looking = true;
      const asked = turn.current;
      void fetchTransforms(id, gone.signal).then((answer) => {
        looking = false;
        if (gone.signal.aborted) return;
        if (answer !== null && !('transforms' in answer)) {
          failures += 1;
          if (!forbidden(answer)) timer = setTimeout(look, backoff(failures, Math.random()));
          return;
        }
        failures = 0;
        if (turn.current === asked) setWork((now) => (answer === null ? null : learned(now, answer)));
      });
    };
    const shown = (): void => {
      if (!document.hidden) look();
    };
    look();
    addEventListener('focus', shown);
    document.addEventListener('visibilitychange', shown);
    return () => {
      gone.abort();
      clearTimeout(timer);
      removeEventListener('focus', shown);
      document.removeEventListener('visibilitychange', shown);
    };
  }, [id, serverGone, looks]);

  const fail = useCallback((words: string): void => {
    setProblem(words);
    say(words);
  }, [say]);

  const take = useCallback((told: Told): void => {
    setWork(begun(told));
    setDrawing(false);
    say(`The picture of ${name} is changed${told.kept === false ? ', but not kept' : ''}`);
  }, [name, say]);

  /** Asks for what is in force, does something about it, and nothing else meanwhile. */
  const change = useCallback((then: (now: Told) => Promise<void>): void => {
    turn.current += 1;
    setBusy(true);
    setProblem(null);
    setQuestion(null);
    void fetchTransforms(id).then(async (now) => {
      if (now === null) fail('Not changed: the server does not have this camera now');
      else if (!('transforms' in now)) fail(`Not changed: ${now.message}`);
      else {
        setWork((before) => learned(before, now));
        await then(now);
      }
      turn.current += 1;
      setBusy(false);
    });
  }, [id, fail]);

  const send = useCallback(async (wish: Wish): Promise<void> => {
    const answer = await setTransforms(id, wish.to, wish.restart);
    if ('transforms' in answer) {
      take(answer);
    } else if (answer.code === 'RESTART_NEEDED') {
      setQuestion({ about: 'restart', wish: { ...wish, restart: true }, why: typeof answer.details.reason === 'string' ? answer.details.reason : '' });
    } else if (unsure(answer)) {
      const now = await fetchTransforms(id);
      const told = now !== null && 'transforms' in now ? now : null;
      const { done, problem: words } = afterwards(wish, answer, told);
      if (told === null) setLooks((count) => count + 1);
      else if (done) take(answer.code === 'NOT_KEPT' ? { ...told, kept: false } : told);
      else setWork((before) => learned(before, told));
      if (words !== null) fail(words);
    } else {
      fail(`Not changed: ${answer.message}`);
    }
  }, [id, fail, take]);

  const set = useCallback((wish: Wish): void => change(async (now) => {
    const there = found(wish, now);
    if (there === 'before') await send(wish);
    else if (there === 'wished') take(now);
    else setQuestion({ about: 'meanwhile', wish, theirs: now });
  }), [change, send, take]);

  if (work === null) return null;
  const { told, base, draft, unkept } = work;
  return {
    applied: told.transforms, draft, busy, problem, unkept, question, drawing, setDrawing,
    caution: told.setBy === 'caution' ? told.notes : null,
    changed: !same(told.transforms, draft),
    edit: (part) => setWork((now) => (now === null ? null : { ...now, draft: { ...now.draft, ...part } })),
    apply: () => set({ to: draft, over: base, restart: false }),
    reset: () => change(async (now) => {
      const wish = { to: null, over: now.transforms, restart: false };
      if (uncovers({ ...work, told: now })) setQuestion({ about: 'reset', wish });
      else await send(wish);
    }),
    agree: () => {
      if (question !== null) set(question.about === 'meanwhile' ? { ...question.wish, over: question.theirs.transforms } : question.wish);
    },
    cancel: () => setQuestion(null),
    takeTheirs: () => {
      setQuestion(null);
      setDrawing(false);
      if (question?.about === 'meanwhile') setWork(begun(question.theirs));
    },
  };
}
