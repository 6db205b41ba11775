// Rotation, flip, overlay and masks of a camera: changed here, and applied together. What that costs is said before it is done.
import { FLIPS, MASKS_MAX, type Overlay, POSITIONS, ROTATIONS } from '../../state/transforms.ts';
import { Dialog } from '../Dialog.tsx';
import { Cross, Warning } from '../Icons.tsx';
import { maskName } from './MaskEditor.tsx';
import type { Transforming } from './useTransforms.ts';

const USUAL: Overlay = { enabled: true, text: '{name}  {time}', timeFormat: '%Y-%m-%d %H:%M:%S', position: 'top-left', size: 14 };
/** In the middle, for those who draw by the keyboard. */
const MIDDLE = { name: '', enabled: true, x: 0.375, y: 0.375, width: 0.25, height: 0.25 };

const FLIP_NAMES = { none: 'none', horizontal: 'left and right', vertical: 'top and bottom' };

export function TransformsCard({ transforming, disabled }: { transforming: Transforming; disabled: boolean }) {
  const { draft, changed, busy, problem, caution, unkept, drawing, setDrawing, edit, apply, reset } = transforming;
  const { overlay, masks } = draft;
  const off = disabled || busy;
  const write = (change: Partial<Overlay>): void => edit({ overlay: { ...(overlay ?? USUAL), ...change } });
  const change = (number: number, with_: { name?: string; enabled?: boolean }): void => {
    edit({ masks: masks.map((mask, each) => (each === number ? { ...mask, ...with_ } : mask)) });
  };
  return (
    <section className="card" aria-label="Masks, rotation, overlay">
      <div className="card-head">
        <h3>Masks, rotation, overlay</h3>
        <button type="button" className="button small" disabled={off} title="To what is configured" onClick={reset}>Reset</button>
      </div>
      {caution !== null && (
        <p className="note bad"><Warning /><span>The whole picture is black: nobody knows which masks were set before. Draw them anew and apply, or reset. {caution.join(' ')}</span></p>
      )}
      {unkept && <p className="note"><Warning /><span>This holds until the service ends: it is not kept for its next start.</span></p>}
      <ul className="settings transforms">
        <li className="control masks">
          <div className="control-line">
            <span>Privacy masks</span>
            <button type="button" className="button small" aria-pressed={drawing} disabled={disabled} onClick={() => setDrawing(!drawing)}>{drawing ? 'Done' : 'Draw'}</button>
          </div>
          {drawing && (
            <p className="quiet hint">Drag over the picture where nothing is to be seen.{' '}
              <button type="button" className="button small" disabled={masks.length >= MASKS_MAX} onClick={() => edit({ masks: [...masks, MIDDLE] })}>Add one in the middle</button></p>
          )}
          {masks.length > 0 && (
            <ul className="mask-list">
              {masks.map((mask, number) => (
                <li key={number}>
                  <input type="checkbox" checked={mask.enabled} disabled={off} aria-label={`${maskName(mask, number)} is on`} onChange={(event) => change(number, { enabled: event.target.checked })} />
                  <input type="text" value={mask.name} disabled={off} placeholder={`Mask ${number + 1}`} aria-label={`Name of mask ${number + 1}`} onChange={(event) => change(number, { name: event.target.value })} />
                  <button type="button" className="button bare small" disabled={off} aria-label={`Remove ${maskName(mask, number)}`}
                    onClick={() => edit({ masks: masks.filter((_, each) => each !== number) })}><Cross /></button>
                </li>
              ))}
            </ul>
          )}
        </li>
        <li className="control">
          <label className="control-line"><span>Rotation</span>
            <select value={draft.rotation} disabled={off} onChange={(event) => edit({ rotation: ROTATIONS.find((each) => String(each) === event.target.value) ?? 0 })}>
              {ROTATIONS.map((each) => <option key={each} value={each}>{each}°</option>)}
            </select>
          </label>
        </li>
        <li className="control">
          <label className="control-line"><span>Mirror</span>
            <select value={draft.flip} disabled={off} onChange={(event) => edit({ flip: FLIPS.find((each) => each === event.target.value) ?? 'none' })}>
              {FLIPS.map((each) => <option key={each} value={each}>{FLIP_NAMES[each]}</option>)}
            </select>
          </label>
        </li>
        <li className="control">
          <label className="control-line"><span>Text in the picture</span>
            <input type="checkbox" checked={overlay?.enabled === true} disabled={off} onChange={(event) => write({ enabled: event.target.checked })} />
          </label>
          {overlay?.enabled === true && (
            <div className="overlay-text">
              <input type="text" value={overlay.text} disabled={off} aria-label="Text" title="{name}, {id} and {time} stand for what they say" onChange={(event) => write({ text: event.target.value })} />
              <select value={overlay.position} disabled={off} aria-label="Place" onChange={(event) => write({ position: event.target.value })}>
                {POSITIONS.map((each) => <option key={each} value={each}>{each.replace('-', ' ')}</option>)}
              </select>
            </div>
          )}
        </li>
      </ul>
      {problem !== null && <p className="problem" role="alert">{problem}</p>}
      {changed && <div className="answers"><button type="button" className="button primary" disabled={off} aria-busy={busy} onClick={apply}>Apply</button></div>}
      <Asked transforming={transforming} />
    </section>
  );
}

/** What is to be known before it is done. */
function Asked({ transforming: { question, agree, cancel, takeTheirs } }: { transforming: Transforming }) {
  switch (question?.about) {
    case undefined: return null;
    case 'restart': return (
      <Dialog key="restart" title="The streams stop for a moment" onClose={cancel}>
        <p>Everybody who watches, and every output of this camera, loses the picture for about a second{question.why === '' ? '' : `: ${question.why}`}.</p>
        <div className="answers">
          <button type="button" className="button" onClick={cancel}>Cancel</button>
          <button type="button" className="button primary" onClick={agree}>Apply</button>
        </div>
      </Dialog>
    );
    case 'reset': return (
      <Dialog key="reset" title="Reset to what is configured?" onClose={cancel}>
        <p>The masks that are set here go. What they hide is seen by everybody who watches, unless the configuration hides it.</p>
        <div className="answers">
          <button type="button" className="button" onClick={cancel}>Cancel</button>
          <button type="button" className="button primary" onClick={agree}>Reset</button>
        </div>
      </Dialog>
    );
    case 'meanwhile': {
      const masks = question.theirs.transforms.masks.length;
      return (
        <Dialog key="meanwhile" title="Changed meanwhile by somebody else" onClose={cancel}>
          <p>Nothing was sent. The picture has {masks === 0 ? 'no masks' : masks === 1 ? 'one mask' : `${masks} masks`} now;{' '}
            {question.wish.to === null ? 'a reset takes away what was set.' : 'yours would replace all that was set.'}</p>
          <div className="answers">
            <button type="button" className="button" onClick={takeTheirs}>Take theirs</button>
            <button type="button" className="button primary" onClick={agree}>{question.wish.to === null ? 'Reset anyway' : 'Apply mine anyway'}</button>
          </div>
        </Dialog>
      );
    }
  }
}
