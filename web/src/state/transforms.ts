// Rotation, flip, overlay and privacy masks of a camera: asked for and set.
import { ask, type Refusal } from './ask.ts';
import { flag, list, number, object, text } from './json.ts';

/** Shares of the picture, from its left and top. */
export interface Rectangle {
  x: number;
  y: number;
  width: number;
  height: number;
}

export interface Mask extends Rectangle {
  name: string;
  enabled: boolean;
}

export interface Overlay {
  enabled: boolean;
  text: string;
  timeFormat: string;
  position: string;
  size: number;
}

export const ROTATIONS = [0, 90, 180, 270] as const;
export const FLIPS = ['none', 'horizontal', 'vertical'] as const;
export const POSITIONS = ['top-left', 'top', 'top-right', 'bottom-left', 'bottom', 'bottom-right'] as const;
/** As many as the server takes. */
export const MASKS_MAX = 32;

export type Rotation = typeof ROTATIONS[number];
export type Flip = typeof FLIPS[number];

export interface Transforms {
  rotation: Rotation;
  flip: Flip;
  overlay: Overlay | null;
  masks: Mask[];
}

/** What the server tells of them. */
export interface Told {
  transforms: Transforms;
  /** `configuration`, `api`; `caution`: what was set cannot be read, and the whole picture is black. */
  setBy: string | null;
  /** What follows from them; among it why the picture is black. */
  notes: string[];
  /** After a change: whether it outlives the service. Null: nothing is said of it. */
  kept: boolean | null;
}

/** Null: not an answer of this API. Pure. */
export function parseTold(value: unknown): Told | null {
  const json = object(value);
  const transforms = parseTransforms(value);
  return transforms === null ? null : { transforms, setBy: text(json.set_by), notes: list(json.notes).flatMap((note) => text(note) ?? []), kept: flag(json.kept) };
}

/** Null: not an answer of this API. Pure. */
export function parseTransforms(value: unknown): Transforms | null {
  const json = object(value);
  if (!Array.isArray(json.masks)) return null;
  const overlay = object(json.overlay);
  return {
    rotation: ROTATIONS.find((each) => each === json.rotation) ?? 0,
    flip: FLIPS.find((each) => each === json.flip) ?? 'none',
    overlay: text(overlay.text) === null ? null : {
      enabled: overlay.enabled !== false, text: text(overlay.text) ?? '', timeFormat: text(overlay.time_format) ?? '%Y-%m-%d %H:%M:%S',
      position: text(overlay.position) ?? 'top-left', size: number(overlay.size) ?? 14,
    },
    masks: list(json.masks).flatMap((each): Mask[] => {
      const mask = object(each);
      const [x, y, width, height] = [number(mask.x), number(mask.y), number(mask.width), number(mask.height)];
      if (x === null || y === null || width === null || height === null) return [];
      return [{ x, y, width, height, name: text(mask.name) ?? '', enabled: mask.enabled !== false }];
    }),
  };
}

/** The body that replaces all of them. Pure. */
export function bodyOf({ rotation, flip, overlay, masks }: Transforms): object {
  return {
    rotation, flip,
    overlay: overlay === null ? null : { enabled: overlay.enabled, text: overlay.text, time_format: overlay.timeFormat, position: overlay.position, size: overlay.size },
    masks: masks.map(({ name, enabled, x, y, width, height }) => ({ ...(name.trim() === '' ? {} : { name: name.trim() }), enabled, x, y, width, height })),
  };
}

/** Whether the server would hear the same. Pure. */
export const same = (a: Transforms, b: Transforms): boolean => JSON.stringify(bodyOf(a)) === JSON.stringify(bodyOf(b));

const round = (share: number): number => Math.round(share * 10000) / 10000;

/** Inside of the picture, with four digits: a rectangle that somebody drew. Pure. */
export function inside({ x, y, width, height }: Rectangle): Rectangle {
  const [left, top] = [round(Math.min(1, Math.max(0, x))), round(Math.min(1, Math.max(0, y)))];
  return { x: left, y: top, width: round(Math.min(1, x + width) - left), height: round(Math.min(1, y + height) - top) };
}

/** The same rectangle moved, as far as the picture goes. Pure. */
export function moved({ width, height, ...at }: Rectangle, by: { x: number; y: number }): Rectangle {
  return { x: round(Math.min(1 - width, Math.max(0, at.x + by.x))), y: round(Math.min(1 - height, Math.max(0, at.y + by.y))), width, height };
}

function turned({ x, y, width, height }: Rectangle, rotation: Rotation): Rectangle {
  switch (rotation) {
    case 0: return { x, y, width, height };
    case 90: return { x: 1 - y - height, y: x, width: height, height: width };
    case 180: return { x: 1 - x - width, y: 1 - y - height, width, height };
    case 270: return { x: y, y: 1 - x - width, width: height, height: width };
  }
}

function mirrored(rectangle: Rectangle, flip: Flip): Rectangle {
  const { x, y, width, height } = rectangle;
  switch (flip) {
    case 'none': return rectangle;
    case 'horizontal': return { x: 1 - x - width, y, width, height };
    case 'vertical': return { x, y: 1 - y - height, width, height };
  }
}

/** Where a mask, which is on the camera's own picture, is on the picture that is turned and mirrored. Pure. */
export const onScreen = (mask: Rectangle, { rotation, flip }: Pick<Transforms, 'rotation' | 'flip'>): Rectangle => mirrored(turned(mask, rotation), flip);

/** The other way. Pure. */
export function onCamera(rectangle: Rectangle, { rotation, flip }: Pick<Transforms, 'rotation' | 'flip'>): Rectangle {
  return inside(turned(mirrored(rectangle, flip), ROTATIONS.find((each) => (each + rotation) % 360 === 0) ?? 0));
}

const path = (id: string, restart: boolean): string => `api/cameras/${encodeURIComponent(id)}/transforms${restart ? '?restart=true' : ''}`;

/** Null: this server, or this camera, has none. `gone`: ends a look in the background. */
export async function fetchTransforms(id: string, gone?: AbortSignal): Promise<Told | null | Refusal> {
  const answer = await ask('GET', path(id, false), gone === undefined ? {} : { gone, background: true });
  if (answer.ok) return parseTold(answer.body);
  return answer.refusal.status === 404 ? null : answer.refusal;
}

/** All of them as they are afterwards. `to` null: as they are configured. `restart`: also when encoders begin anew for it. */
export async function setTransforms(id: string, to: Transforms | null, restart: boolean): Promise<Told | Refusal> {
  const answer = await (to === null ? ask('DELETE', path(id, restart), { patience: 15000 }) : ask('PUT', path(id, restart), { body: bodyOf(to), patience: 15000 }));
  if (!answer.ok) return answer.refusal;
  return parseTold(answer.body) ?? { status: 0, code: '', message: 'the server’s answer cannot be read', details: {} };
}
