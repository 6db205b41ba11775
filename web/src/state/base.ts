// Addresses relative to where the page lives, so that it works behind any sub-path.

/** `/cameras/a/whep` and `api/events` alike are below the page's own directory; anything with a scheme is itself. */
export function resolve(path: string, base: string): URL {
  if (/^[a-z][a-z0-9+.-]*:/i.test(path)) return new URL(path);
  return new URL(`./${path.replace(/^\/+/, '')}`, base);
}

/** The directory of the page, without its query and fragment. */
export function url(path: string): URL {
  return resolve(path, document.baseURI);
}
