// How many columns the wall has: the largest pictures that all fit on screen; when that makes them too small, the page scrolls. Pure.

export const GAP = 12;
const ASPECT = 16 / 9;
/** Smaller tiles are not worth fitting. */
const MIN_WIDTH = 300;
const NEARLY = 0.96;

export interface Grid {
  columns: number;
  /** Width of one tile in px. */
  tile: number;
}

/** `width` and `height`: the room for tiles, px. */
export function gridFor(count: number, width: number, height: number): Grid {
  const most = Math.max(1, Math.min(count, Math.floor((width + GAP) / (MIN_WIDTH + GAP))));
  let best: Grid = { columns: 1, tile: 0 };
  for (let columns = 1; columns <= most; columns += 1) {
    const rows = Math.ceil(count / columns);
    const byWidth = (width - (columns - 1) * GAP) / columns;
    const byHeight = ((height - (rows - 1) * GAP) / rows) * ASPECT;
    const tile = Math.floor(Math.min(byWidth, byHeight));
    // Of two that are nearly as large, the wider one: screens are wide.
    if (tile > best.tile * NEARLY) best = { columns, tile };
  }
  // Not worth fitting: full rows, and scroll.
  const columns = best.tile >= Math.min(MIN_WIDTH, width) ? best.columns : most;
  const full = Math.floor((width - (columns - 1) * GAP) / columns);
  return { columns, tile: best.tile >= Math.min(MIN_WIDTH, width) ? best.tile : full };
}
