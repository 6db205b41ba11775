// Pages by the hash of the address, so that the server needs no routes for them. Pure.

export type Route = { page: 'wall' } | { page: 'recordings' } | { page: 'printers' } | { page: 'camera'; id: string };

export function parseRoute(hash: string): Route {
  if (/^#\/recordings\/?$/.test(hash)) return { page: 'recordings' };
  if (/^#\/printers\/?$/.test(hash)) return { page: 'printers' };
  const match = /^#\/camera\/([^/?#]+)\/?$/.exec(hash);
  if (match?.[1] === undefined) return { page: 'wall' };
  try {
    return { page: 'camera', id: decodeURIComponent(match[1]) };
  } catch {
    return { page: 'wall' };
  }
}

export const cameraHref = (id: string): string => `#/camera/${encodeURIComponent(id)}`;
export const WALL_HREF = '#/';
export const RECORDINGS_HREF = '#/recordings';
export const PRINTERS_HREF = '#/printers';
