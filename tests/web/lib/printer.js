// Simulated printers: `fanlight simulate printer` as a process that tests give orders. Each has an address of 127.0.0.0/8 of its own and
// the ports of the machines, so that tests run beside each other.

import { spawnSync } from 'node:child_process';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

import { FANLIGHT, Process, waitFor } from './processes.js';

const START_MS = 60_000;
const OBEY_MS = 20_000;
export const CODE = '12345678';

/** What a machine lacks to be printers, or undefined: tests are skipped by it. */
export const lacking = spawnSync('mosquitto', ['-h']).error === undefined ? undefined : 'mosquitto is missing (package mosquitto)';

/** @typedef {{ model: string, address: string, serial: string }} Simulated */

export class Printers {
  /** @param {Process} process @param {Simulated[]} all @param {string} folder */
  constructor(process, all, folder) {
    this.process = process;
    this.all = all;
    this.folder = folder;
  }

  /**
   * Gives an order and waits until it is obeyed.
   * @param {string} order
   */
  async order(order) {
    const from = this.process.lines.length;
    this.process.child.stdin?.write(`${order}\n`);
    const answer = await waitFor(`an answer to ${order}`, OBEY_MS, () => this.process.lines.slice(from).find((line) => line.startsWith(`ok ${order}`) || line.startsWith(`no ${order}`)));
    if (!answer.startsWith('ok')) throw new Error(answer);
  }

  async stop() {
    await this.process.stop();
    await rm(this.folder, { recursive: true, force: true });
  }
}

/**
 * @param {string} models such as `X1C,A1`: one printer of each
 * @param {string[]} [more] arguments
 */
export async function startPrinters(models, more = []) {
  const folder = await mkdtemp(join(tmpdir(), 'fanlight-printers-'));
  const count = models.split(',').length;
  // The first of so many addresses that no other test run has.
  const bind = `127.${80 + (process.pid >> 14) % 40}.${(process.pid >> 6) & 0xff}.${1 + (process.pid & 0x3f) * 4}`;
  const printers = new Process(FANLIGHT, ['simulate', 'printer', '--model', models, '--count', String(count), '--bind', bind, '--access-code', CODE, ...more],
    { env: { ...process.env, TMPDIR: folder, NO_COLOR: '1' } });
  await waitFor('the printers are ready', START_MS, () => {
    if (!printers.alive()) throw new Error(`the simulator ended: ${printers.output()}`);
    return printers.lines.includes('ready') ? true : undefined;
  });
  const all = printers.lines.flatMap((line) => {
    const [, model, address, serial] = /^(\S.*?)\s+(127\S+)\s+serial (\S+)/.exec(line) ?? [];
    return model === undefined || address === undefined || serial === undefined ? [] : [{ model, address, serial }];
  });
  if (all.length !== count) throw new Error(`not ${count} printers: ${printers.output()}`);
  return new Printers(printers, all, folder);
}
