// The service's published outputs and encoders, as the API tells of them and as the kernel does.

import { readdir, readFile } from 'node:fs/promises';

import { waitFor } from './processes.js';

/**
 * @typedef {object} Output
 * @property {string} id
 * @property {string} type
 * @property {string} state
 * @property {string | null} last_error
 * @property {number} attempts
 * @property {number} restarts
 * @property {number} fps
 * @property {number} frames
 * @property {number} dropped
 * @property {string} encoder
 */

export class Publishing {
  /** @param {{ url: string, process: import('./processes.js').Process }} service */
  constructor(service) {
    this.service = service;
  }

  /** The first camera with all that the API says of it. @returns {Promise<any>} */
  async camera() {
    const answer = await fetch(`${this.service.url}/api/cameras`, { signal: AbortSignal.timeout(5_000) });
    if (!answer.ok) throw new Error(`/api/cameras answered ${answer.status}`);
    return (await answer.json()).cameras[0];
  }

  /** @returns {Promise<Output[]>} */
  async outputs() {
    return (await this.camera()).outputs;
  }

  /**
   * Waits until these outputs are in a state; returns when each one was, in milliseconds since 1970.
   * @param {string[]} ids
   * @param {string} state
   * @param {number} ms
   * @returns {Promise<Record<string, number>>}
   */
  async reach(ids, state, ms) {
    const reached = /** @type {Record<string, number>} */ ({});
    let outputs = /** @type {Output[]} */ ([]);
    try {
      await waitFor(`${ids.join(', ')} ${state}`, ms, async () => {
        outputs = await this.outputs();
        for (const output of outputs) if (ids.includes(output.id) && output.state === state) reached[output.id] ??= Date.now();
        return ids.every((id) => outputs.some((output) => output.id === id && output.state === state)) ? true : undefined;
      });
    } catch (error) {
      throw new Error(`${error instanceof Error ? error.message : error}\n${told(outputs)}`, { cause: error });
    }
    return reached;
  }

  /**
   * Pictures per second of the camera between two moments, counted by the service.
   * @returns {Promise<() => Promise<number>>}
   */
  async meter() {
    const [before, began] = [(await this.camera()).frames, performance.now()];
    return async () => {
      const after = (await this.camera()).frames;
      return ((after - before) * 1000) / (performance.now() - began);
    };
  }

  /** The names of the service's threads. @returns {Promise<string[]>} */
  async threads() {
    const tasks = `/proc/${this.service.process.child.pid}/task`;
    const names = (await readdir(tasks)).map((id) => readFile(`${tasks}/${id}/comm`, 'utf8').catch(() => ''));
    return (await Promise.all(names)).map((name) => name.trim()).filter((name) => name !== '').sort();
  }
}

/** One line an output. @param {Output[]} outputs */
export function told(outputs) {
  return outputs.map(({ id, type, state, attempts, restarts, fps, frames, dropped, last_error: error }) =>
    `${id} (${type}): ${state}, ${attempts} attempts, ${restarts} restarts, ${fps} fps, ${frames} pictures, ${dropped} dropped, ${error}`).join('\n');
}
