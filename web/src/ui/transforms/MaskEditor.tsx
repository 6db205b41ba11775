// Masks drawn on the live picture: a new one by dragging over it, one that is there by moving it or its corner, or by the arrow keys.
import { type KeyboardEvent, type PointerEvent, useRef, useState } from 'react';
import { inside, type Mask, MASKS_MAX, moved, onCamera, onScreen, type Rectangle } from '../../state/transforms.ts';
import type { Transforming } from './useTransforms.ts';

/** Smaller ones are a slip of the hand. */
const SMALLEST = 0.01;
const STEP = 0.01;

interface Drag {
  what: 'new' | 'move' | 'size';
  mask: number;
  from: { x: number; y: number };
  before: Rectangle;
}

interface Properties {
  transforming: Transforming;
  /** Of the picture on screen, px. */
  width: number;
  height: number;
}

export function MaskEditor({ transforming: { applied, draft, edit, setDrawing }, width, height }: Properties) {
  const box = useRef<SVGSVGElement>(null);
  const drag = useRef<Drag | null>(null);
  const [fresh, setFresh] = useState<Rectangle | null>(null);
  const masks = draft.masks;
  const shown = masks.map((mask) => onScreen(mask, applied));

  /** Where a pointer is, in shares of the picture. */
  const at = (event: PointerEvent): { x: number; y: number } => {
    const matrix = box.current?.getScreenCTM()?.inverse();
    const point = new DOMPoint(event.clientX, event.clientY).matrixTransform(matrix);
    return { x: point.x / width, y: point.y / height };
  };
  const put = (number: number, rectangle: Rectangle): void => {
    const own = onCamera(rectangle, applied);
    edit({ masks: masks.map((mask, each) => (each === number ? { ...mask, ...own } : mask)) });
  };
  const begin = (event: PointerEvent, what: Drag['what'], mask: number): void => {
    if (event.button !== 0 || (what === 'new' && masks.length >= MASKS_MAX)) return;
    event.stopPropagation();
    box.current?.setPointerCapture(event.pointerId);
    const from = at(event);
    drag.current = { what, mask, from, before: shown[mask] ?? { ...from, width: 0, height: 0 } };
  };
  const move = (event: PointerEvent): void => {
    const { current } = drag;
    if (current === null) return;
    const now = at(event);
    const by = { x: now.x - current.from.x, y: now.y - current.from.y };
    if (current.what === 'new') setFresh(spanned(current.from, now));
    else if (current.what === 'move') put(current.mask, moved(current.before, by));
    else put(current.mask, sized(current.before, by));
  };
  const end = (): void => {
    drag.current = null;
    if (fresh === null) return;
    setFresh(null);
    if (fresh.width < SMALLEST || fresh.height < SMALLEST) return;
    edit({ masks: [...masks, { ...onCamera(fresh, applied), name: '', enabled: true }] });
  };
  const key = (event: KeyboardEvent, number: number): void => {
    const before = shown[number];
    const by = { ArrowLeft: { x: -STEP, y: 0 }, ArrowRight: { x: STEP, y: 0 }, ArrowUp: { x: 0, y: -STEP }, ArrowDown: { x: 0, y: STEP } }[event.key];
    if (before === undefined) return;
    if (by !== undefined) put(number, event.shiftKey ? sized(before, by) : moved(before, by));
    else if (event.key === 'Delete' || event.key === 'Backspace') edit({ masks: masks.filter((_, each) => each !== number) });
    else if (event.key === 'Escape') setDrawing(false);
    else return;
    event.preventDefault();
  };
  return (
    <svg ref={box} className="mask-editor" viewBox={`0 0 ${width} ${height}`} preserveAspectRatio="xMidYMid meet" role="group" aria-label="Masks on the picture"
      onPointerDown={(event) => begin(event, 'new', masks.length)} onPointerMove={move} onPointerUp={end} onPointerCancel={end}>
      <rect className="catcher" width={width} height={height} />
      {masks.map((mask, number) => {
        const { x, y, width: wide, height: high } = shown[number] ?? mask;
        return (
          <g key={number} className={mask.enabled ? 'mask' : 'mask off'}>
            <rect x={x * width} y={y * height} width={wide * width} height={high * height} tabIndex={0} role="button" data-mask={number}
              aria-label={`${maskName(mask, number)}: arrow keys move it, with Shift they change its size, Delete removes it`}
              onPointerDown={(event) => begin(event, 'move', number)} onKeyDown={(event) => key(event, number)} />
            <circle cx={(x + wide) * width} cy={(y + high) * height} r={Math.max(width, height) / 70} onPointerDown={(event) => begin(event, 'size', number)} />
          </g>
        );
      })}
      {fresh !== null && <rect className="fresh" x={fresh.x * width} y={fresh.y * height} width={fresh.width * width} height={fresh.height * height} />}
    </svg>
  );
}

export const maskName = (mask: Mask, number: number): string => (mask.name === '' ? `Mask ${number + 1}` : mask.name);

function spanned(from: { x: number; y: number }, to: { x: number; y: number }): Rectangle {
  return inside({ x: Math.min(from.x, to.x), y: Math.min(from.y, to.y), width: Math.abs(to.x - from.x), height: Math.abs(to.y - from.y) });
}

function sized({ x, y, width, height }: Rectangle, by: { x: number; y: number }): Rectangle {
  return inside({ x, y, width: Math.max(SMALLEST, width + by.x), height: Math.max(SMALLEST, height + by.y) });
}
