// A file server for the player page, hls.js and whatever directory a test adds. On another port than the
// service, so that every player test is a test of CORS as well.

import { createServer } from 'node:http';
import { readFile } from 'node:fs/promises';
import { createRequire } from 'node:module';
import { extname, join, normalize } from 'node:path';
import { fileURLToPath } from 'node:url';

const PAGES = fileURLToPath(new URL('../pages/', import.meta.url));
const HLS_JS = join(createRequire(import.meta.url).resolve('hls.js'), '../hls.min.js');
const require = createRequire(import.meta.url);

/** What a viewer has for advertisements, and needs Node for: left empty. */
const EMPTY = ['@eyevinn/csai-manager'];

/**
 * A CommonJS package with what it requires, as one script that sets a global.
 * @param {string} name @param {string} global
 */
async function bundle(name, global) {
  /** @type {Map<string, string>} */
  const modules = new Map();
  const add = async (/** @type {string} */ file) => {
    if (modules.has(file)) return;
    modules.set(file, '');
    const own = createRequire(file);
    let source = await readFile(file, 'utf8');
    for (const [whole, wanted] of [...source.matchAll(/\brequire\(["']([^"']+)["']\)/g)]) {
      const found = own.resolve(wanted === 'events' ? 'events/' : wanted);
      source = source.replaceAll(whole, `require(${JSON.stringify(found)})`);
      if (EMPTY.includes(wanted)) modules.set(found, '');
      else await add(found);
    }
    modules.set(file, source);
  };
  const main = require.resolve(name);
  await add(main);
  const list = [...modules].map(([file, source]) => `${JSON.stringify(file)}: (require, module, exports) => {${source}\n}`);
  return `(() => { const modules = {${list.join(',\n')}}; const loaded = {};
    const require = (file) => {
      if (!loaded[file]) { const module = loaded[file] = { exports: {} }; modules[file](require, module, module.exports); }
      return loaded[file].exports;
    };
    window.${global} = require(${JSON.stringify(main)}); })();`;
}

/** @type {Record<string, string>} */
const TYPES = {
  '.html': 'text/html; charset=utf-8',
  '.js': 'text/javascript; charset=utf-8',
  '.m3u8': 'application/vnd.apple.mpegurl',
  '.ts': 'video/mp2t',
  '.mp4': 'video/mp4',
};

/**
 * @param {string} [directory] served under /files/
 * @returns {Promise<{ url: string, stop: () => Promise<void> }>}
 */
export async function startStatic(directory) {
  const server = createServer(async (request, response) => {
    const path = normalize(new URL(request.url ?? '/', 'http://localhost').pathname);
    const file =
      path === '/hls.js' ? HLS_JS
      : path.startsWith('/files/') && directory ? join(directory, path.slice('/files/'.length))
      : join(PAGES, path);
    try {
      const body = path === '/eyevinn.js' ? await bundle('@eyevinn/webrtc-player', 'eyevinn') : await readFile(file);
      response.writeHead(200, {
        'Content-Type': TYPES[extname(file)] ?? 'application/octet-stream',
        'Cache-Control': 'no-store',
      });
      response.end(body);
    } catch {
      response.writeHead(path === '/favicon.ico' ? 204 : 404).end();
    }
  });
  await new Promise((resolve) => server.listen(0, '127.0.0.1', () => resolve(undefined)));
  const address = server.address();
  const port = typeof address === 'object' && address ? address.port : 0;
  return {
    url: `http://127.0.0.1:${port}`,
    stop: () => new Promise((resolve) => {
      server.closeAllConnections();
      server.close(() => resolve());
    }),
  };
}
