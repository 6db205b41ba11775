// The transforms of one camera: as they are, as they are being changed, and what it costs to apply that.
import { useCallback, useEffect, useState } from 'react';
import { fetchTransforms, setTransforms, type Transforms } from '../../state/transforms.ts';

export interface Transforming {
  /** In force: what the picture on screen went through. */
  applied: Transforms;
  draft: Transforms;
  changed: boolean;
  busy: boolean;
  problem: string | null;
  /** Why encoders would begin anew; asked before that is done. */
  restart: string | null;
  /** Whether masks are being drawn on the picture. */
  drawing: boolean;
  setDrawing: (drawing: boolean) => void;
  edit: (change: Partial<Transforms>) => void;
  apply: (restart: boolean) => void;
  reset: () => void;
  /** Nothing is applied, and what was drawn stays. */
  cancel: () => void;
}

const same = (a: Transforms, b: Transforms): boolean => JSON.stringify(a) === JSON.stringify(b);

/** Null: there are none for this camera. */
export function useTransforms(id: string, name: string, serverGone: boolean, say: (text: string) => void): Transforming | null {
  const [applied, setApplied] = useState<Transforms | null>(null);
  const [draft, setDraft] = useState<Transforms | null>(null);
  const [busy, setBusy] = useState(false);
  const [problem, setProblem] = useState<string | null>(null);
  /** What waits for an answer of the person: a draft, or the reset. */
  const [asked, setAsked] = useState<{ to: Transforms | null; why: string } | null>(null);
  const [drawing, setDrawing] = useState(false);
  useEffect(() => {
    if (serverGone) return undefined;
    const gone = new AbortController();
    void fetchTransforms(id, gone.signal).then((found) => {
      if (gone.signal.aborted) return;
      setApplied(found);
      // What somebody is at work on stays.
      setDraft((now) => now ?? found);
    });
    return () => gone.abort();
  }, [id, serverGone]);

  const set = useCallback((to: Transforms | null, restart: boolean): void => {
    setBusy(true);
    setProblem(null);
    setAsked(null);
    void setTransforms(id, to, restart).then((answer) => {
      setBusy(false);
      if ('masks' in answer) {
        setApplied(answer);
        setDraft(answer);
        setDrawing(false);
        say(`The picture of ${name} is changed`);
      } else if (answer.code === 'RESTART_NEEDED') {
        setAsked({ to, why: typeof answer.details.reason === 'string' ? answer.details.reason : '' });
      } else {
        setProblem(`Not changed: ${answer.message}`);
        say(`Not changed: ${answer.message}`);
      }
    });
  }, [id, name, say]);

  if (applied === null || draft === null) return null;
  return {
    applied, draft, busy, problem, drawing, setDrawing,
    changed: !same(applied, draft),
    restart: asked?.why ?? null,
    edit: (change) => setDraft({ ...draft, ...change }),
    apply: (restart) => set(asked === null ? draft : asked.to, restart),
    reset: () => set(null, false),
    cancel: () => setAsked(null),
  };
}
