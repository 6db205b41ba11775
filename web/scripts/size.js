// Fails when the first load is larger than it may be. The chunks of livekit-client and hls.js load only when used and are listed apart.
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { gzipSync } from 'node:zlib';

const LIMIT = 250_000;
const dist = new URL('../dist/', import.meta.url).pathname;
const gzip = (/** @type {string} */ path) => gzipSync(readFileSync(join(dist, path)), { level: 9 }).length;

/** @type {Record<string, { file: string, imports?: string[], css?: string[], isEntry?: boolean }>} */
const manifest = JSON.parse(readFileSync(join(dist, '.vite/manifest.json'), 'utf8'));
const first = new Set(['index.html']);
/** @param {string} key */
function follow(key) {
  const chunk = manifest[key];
  if (chunk === undefined) throw new Error(`${key} is not in the manifest`);
  first.add(chunk.file);
  for (const style of chunk.css ?? []) first.add(style);
  for (const other of chunk.imports ?? []) follow(other);
}
for (const [key, chunk] of Object.entries(manifest)) if (chunk.isEntry) follow(key);

let total = 0;
for (const file of ['index.html', ...readdirSync(join(dist, 'assets')).map((name) => `assets/${name}`)]) {
  const size = gzip(file);
  if (first.has(file)) total += size;
  console.log(`${String(size).padStart(8)}  ${first.has(file) ? 'first' : 'later'}  ${file}`);
}
console.log(`${String(total).padStart(8)}  first load, gzip (limit ${LIMIT})`);
if (total > LIMIT) {
  console.error('The first load is too large.');
  process.exit(1);
}
