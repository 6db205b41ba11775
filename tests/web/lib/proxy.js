// A reverse proxy between browser and service, as people have one, that can fail on order: some paths
// answer with errors, break off, or fall silent, and are well again. It counts what went over the wire.

import { Agent, createServer, request as ask } from 'node:http';

/**
 * How a path fails. `error`: 502, as a proxy says it when the service behind it is gone. `reset`: the
 * connection breaks. `hang`: nothing comes any more, as behind a firewall that forgot the connection.
 * Answers under way end too: an error and a reset break them off, a hang stops them in mid-air.
 * @typedef {'error' | 'reset' | 'hang'} Mode
 *
 * @typedef {object} Exchange
 * @property {string} method
 * @property {string} path as the service sees it, with its query
 * @property {number} at milliseconds since 1970
 * @property {number} status 0 before the answer
 * @property {number} bytes of the answer's body, as sent: packed when it is packed
 * @property {boolean} open
 * @property {import('node:http').IncomingHttpHeaders} headers of the request
 */

export class Proxy {
  /** @type {Exchange[]} */
  exchanges = [];
  /** @type {Map<string, { path: RegExp, mode: Mode }>} */
  #faults = new Map();
  /** @type {Set<{ exchange: Exchange, fail: (mode: Mode) => void }>} */
  #open = new Set();
  #agent = new Agent({ keepAlive: true, maxSockets: 256 });
  #server = createServer((request, response) => this.#relay(request, response));
  #port = 0;

  /** Changes the text of answers to these paths. @type {{ path: RegExp, change: (text: string) => string } | undefined} */
  edit;

  /**
   * @param {string} target address of the service
   * @param {string} prefix path below which the service appears, `/secure`; it is taken off
   */
  constructor(target, prefix) {
    this.target = new URL(target);
    this.prefix = prefix;
  }

  /** Where the page is. */
  get url() {
    return `http://127.0.0.1:${this.#port}${this.prefix}/`;
  }

  async listen() {
    await new Promise((resolve, reject) => {
      this.#server.once('error', reject);
      this.#server.listen(this.#port, '127.0.0.1', () => resolve(undefined));
    });
    const address = this.#server.address();
    if (typeof address === 'object' && address) this.#port = address.port;
  }

  /**
   * Breaks every path that matches, until it is healed under the same name.
   * @param {string} name
   * @param {RegExp} path
   * @param {Mode} [mode]
   */
  fail(name, path, mode = 'reset') {
    this.#faults.set(name, { path, mode });
    for (const each of [...this.#open]) if (path.test(each.exchange.path)) each.fail(mode);
  }

  /** @param {string} [name] without one, everything */
  heal(name) {
    if (name === undefined) this.#faults.clear();
    else this.#faults.delete(name);
  }

  /** Breaks every connection off, once. */
  cut() {
    this.#server.closeAllConnections();
  }

  /**
   * Answers that are under way.
   * @param {RegExp} path
   */
  open(path) {
    return this.exchanges.filter((exchange) => exchange.open && path.test(exchange.path));
  }

  async stop() {
    this.#agent.destroy();
    await new Promise((resolve) => {
      this.#server.close(() => resolve(undefined));
      this.#server.closeAllConnections();
    });
  }

  /**
   * @param {import('node:http').IncomingMessage} request
   * @param {import('node:http').ServerResponse} response
   */
  #relay(request, response) {
    const asked = request.url ?? '/';
    if (!asked.startsWith(`${this.prefix}/`)) {
      response.writeHead(404).end('outside of the sub-path');
      return;
    }
    const path = asked.slice(this.prefix.length);
    /** @type {Exchange} */
    const exchange = {
      method: request.method ?? '', path, at: Date.now(), status: 0, bytes: 0, open: true, headers: request.headers,
    };
    this.exchanges.push(exchange);
    let silent = false;
    /** @type {import('node:http').ClientRequest | undefined} */
    let upstream = undefined;
    const each = {
      exchange,
      fail: (/** @type {Mode} */ mode) => {
        if (mode === 'hang') silent = true;
        else if (mode === 'error' && !response.headersSent) response.writeHead(502).end('broken on order');
        else response.destroy();
        upstream?.destroy();
      },
    };
    this.#open.add(each);
    response.once('close', () => {
      exchange.open = false;
      this.#open.delete(each);
      upstream?.destroy();
    });
    const fault = [...this.#faults.values()].find((fault) => fault.path.test(path));
    if (fault) {
      exchange.status = fault.mode === 'error' ? 502 : 0;
      each.fail(fault.mode);
      return;
    }
    upstream = ask({
      host: this.target.hostname, port: this.target.port, method: request.method, path, agent: this.#agent,
      headers: request.headers,
    }, (answer) => {
      exchange.status = answer.statusCode ?? 0;
      if (this.edit?.path.test(path)) {
        const { change } = this.edit;
        /** @type {Buffer[]} */
        const parts = [];
        answer.on('data', (part) => parts.push(part));
        answer.on('end', () => {
          const body = change(Buffer.concat(parts).toString());
          exchange.bytes = Buffer.byteLength(body);
          delete answer.headers['transfer-encoding'];
          response.writeHead(exchange.status, { ...answer.headers, 'content-length': exchange.bytes }).end(body);
        });
        return;
      }
      response.writeHead(exchange.status, answer.headers);
      // Server-sent events have a head long before their first line.
      response.flushHeaders();
      answer.on('data', (/** @type {Buffer} */ bytes) => {
        if (silent) return;
        exchange.bytes += bytes.length;
        if (!response.write(bytes)) answer.pause();
      });
      response.on('drain', () => answer.resume());
      answer.on('end', () => { if (!silent) response.end(); });
      answer.on('error', () => { if (!silent) response.destroy(); });
      answer.on('close', () => { if (!silent && !answer.complete) response.destroy(); });
    });
    upstream.on('error', () => {
      if (silent) return;
      if (response.headersSent) response.destroy();
      else {
        exchange.status = 502;
        response.writeHead(502).end('the service does not answer');
      }
    });
    request.pipe(upstream);
  }
}

/**
 * @param {string} target address of the service, `http://127.0.0.1:8080`
 * @param {{ prefix?: string }} [options] prefix: `/secure`
 */
export async function startProxy(target, { prefix = '' } = {}) {
  const proxy = new Proxy(target, prefix);
  await proxy.listen();
  return proxy;
}
