// A server for looking at the dashboard in every state, without the service: the built pages, made-up states by server-sent events, and
// the pictures of a running `fanlight demo`. Not shipped, not a test of anything.
//
//   node mock/server.js [--port 8090] [--from http://127.0.0.1:8080]
//
// The state is chosen by the page's sub-path: http://127.0.0.1:8090/{live,one,down,none,printers,…}/ (see scenarios.js).
// POST /{scenario}/mock?gone=1 stops answering there, ?gone=0 begins again; ?transport=…&broken=1 breaks one transport.
import { createReadStream, existsSync, statSync } from 'node:fs';
import http from 'node:http';
import { extname, join, normalize } from 'node:path';
import { parseArgs } from 'node:util';
import { printers } from './printers.js';
import { scenarios } from './scenarios.js';

const { values } = parseArgs({ options: { port: { type: 'string', default: '8090' }, from: { type: 'string', default: 'http://127.0.0.1:8080' } } });
const dist = new URL('../dist/', import.meta.url).pathname;
const TYPES = /** @type {Record<string, string>} */ ({ '.html': 'text/html; charset=utf-8', '.js': 'text/javascript', '.css': 'text/css', '.svg': 'image/svg+xml' });
// What the page may do: as the service should say it.
const POLICY = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data: blob:; media-src 'self' blob:; connect-src 'self' ws: wss: http: https:; base-uri 'none'; form-action 'none'; frame-ancestors 'self'";

const started = new Date().toISOString();
/** @type {Map<string, { gone: boolean, broken: Set<string>, open: Set<http.ServerResponse> }>} */
const faults = new Map();

/** @param {string} name */
function faultsOf(name) {
  const known = faults.get(name) ?? { gone: false, broken: new Set(), open: new Set() };
  faults.set(name, known);
  return known;
}

/** @param {string} path @returns {string | null} */
function transportOf(path) {
  if (path.endsWith('.mjpg')) return 'mjpeg';
  if (path.endsWith('.jpg')) return 'snapshot';
  if (path.startsWith('/hls/')) return 'll-hls';
  if (path.endsWith('/whep')) return 'whep';
  return null;
}

http.createServer((request, response) => {
  const url = new URL(request.url ?? '/', 'http://mock');
  const [, name = '', ...rest] = url.pathname.split('/');
  const scenario = scenarios[name];
  if (scenario === undefined) {
    response.writeHead(404, { 'content-type': 'text/plain' }).end(`scenarios: ${Object.keys(scenarios).join(' ')}\n`);
    return;
  }
  const path = `/${rest.join('/')}`;
  const fault = faultsOf(name);
  if (path === '/mock') {
    if (url.searchParams.has('gone')) fault.gone = url.searchParams.get('gone') === '1';
    const transport = url.searchParams.get('transport');
    if (transport !== null) fault.broken[url.searchParams.get('broken') === '1' ? 'add' : 'delete'](transport);
    for (const open of fault.open) if (fault.gone || transport !== null) open.destroy();
    response.writeHead(204).end();
    return;
  }
  const kind = transportOf(path);
  const isServer = kind !== null || path.startsWith('/api/') || path.startsWith('/webrtc/');
  if (isServer && (fault.gone || (kind !== null && fault.broken.has(kind)))) {
    response.destroy();
    return;
  }
  if (isServer) {
    fault.open.add(response);
    response.on('close', () => fault.open.delete(response));
  }
  if (path === '/api/events') events(response, scenario);
  else if (path.startsWith('/api/')) response.writeHead(202, { 'content-type': 'application/json' }).end('{}');
  else if (kind !== null) pictures(request, response, path + url.search, scenario);
  else file(response, path === '/' ? '/index.html' : path);
}).listen(Number(values.port), '127.0.0.1');

/** @param {http.ServerResponse} response @param {import('./scenarios.js').Scenario} scenario */
function events(response, scenario) {
  response.writeHead(200, { 'content-type': 'text/event-stream', 'cache-control': 'no-store' });
  let id = 0;
  const tell = () => {
    const state = { version: '0.4.0', started, now: new Date().toISOString(), webrtc: { enabled: true }, livekit: { enabled: true }, cameras: scenario(Date.now()), printers: scenario === scenarios.printers ? printers(Date.now()) : [] };
    response.write(`id: ${++id}\nevent: state\ndata: ${JSON.stringify(state)}\n\n`);
  };
  tell();
  const timer = setInterval(tell, 1000);
  response.on('close', () => clearInterval(timer));
}

/** @param {http.IncomingMessage} request @param {http.ServerResponse} response @param {string} path @param {import('./scenarios.js').Scenario} scenario */
function pictures(request, response, path, scenario) {
  const id = /^\/(?:cameras|hls)\/([^/]+)\//.exec(path)?.[1];
  const camera = scenario(Date.now()).find((each) => each.id === id);
  if (camera === undefined || camera.state !== 'live') {
    response.writeHead(503, { 'content-type': 'application/json' }).end(JSON.stringify({ error: { message: 'the camera gives no pictures' } }));
    return;
  }
  const target = new URL(path.replace(/^\/(cameras|hls)\/[^/]+\//, '/$1/demo/'), values.from);
  const upstream = http.request(target, { method: request.method ?? 'GET', headers: { ...request.headers, host: target.host } }, (answer) => {
    response.writeHead(answer.statusCode ?? 502, answer.headers);
    answer.pipe(response);
  });
  upstream.on('error', () => response.destroy());
  response.on('close', () => upstream.destroy());
  request.pipe(upstream);
}

/** @param {http.ServerResponse} response @param {string} path */
function file(response, path) {
  const full = normalize(join(dist, decodeURIComponent(path)));
  if (!full.startsWith(dist) || !existsSync(full) || !statSync(full).isFile()) {
    response.writeHead(404, { 'content-type': 'application/json' }).end('{"error":{"message":"not found"}}');
    return;
  }
  response.writeHead(200, { 'content-type': TYPES[extname(full)] ?? 'application/octet-stream', 'content-security-policy': POLICY });
  createReadStream(full).pipe(response);
}
