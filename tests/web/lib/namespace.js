// A network of its own for a test file, made by `scripts/netns.sh`: `lo`, 10.77.0.1 and fd77::1 on `fan0`,
// and no way out. LiveKit, the service and Chromium all run in there. See tests/support/namespace.rs.

import { execFileSync, spawnSync } from 'node:child_process';
import { existsSync } from 'node:fs';
import { delimiter, join } from 'node:path';
import { describe, test } from 'node:test';

import { ROOT } from './processes.js';

/** This machine's address in the namespace: ICE offers no loopback address. */
export const ADDRESS = '10.77.0.1';
/** The interface that has it. */
export const INTERFACE = 'fan0';

const SCRIPT = join(ROOT, 'scripts/netns.sh');
const MARK = 'FANLIGHT_NAMESPACE';
// Servers are not on every user's path.
const PATH = [process.env.PATH ?? '', '/usr/sbin', '/sbin'].join(delimiter);

/**
 * To be called first in a test file. Outside a namespace it runs the file in one, in this process's place:
 * the tests are reported as this file's own, and it does not return. Inside it returns undefined. Where
 * there are no namespaces it returns why, for `describeIf`.
 * @returns {string | undefined}
 */
export function enterNamespace() {
  if (process.env[MARK]) return undefined;
  const check = spawnSync(SCRIPT, ['--check'], { encoding: 'utf8' });
  if (check.status !== 0) return (check.stderr || String(check.error)).trim().replaceAll('\n', '; ');
  const command = [process.execPath, ...process.execArgv, ...process.argv.slice(1)];
  const run = spawnSync(SCRIPT, command, { stdio: 'inherit', env: { ...process.env, [MARK]: '1' } });
  process.exit(run.status ?? 1);
}

/**
 * Why a test cannot run: the first of these tools that is not installed.
 * @param {[tool: string, debianPackage: string][]} tools
 * @returns {string | undefined}
 */
export function lacks(tools) {
  const missing = tools.find(([tool]) => !PATH.split(delimiter).some((place) => existsSync(join(place, tool))));
  return missing && `${missing[0]} is missing (package ${missing[1]})`;
}

/**
 * A suite that is left out by name, as one skipped test, when something is missing: its hooks do not run
 * then, as they would with `describe`'s own option.
 * @param {string | undefined} missing
 * @param {string} name
 * @param {() => void} suite
 */
export function describeIf(missing, name, suite) {
  if (missing === undefined) describe(name, suite);
  else test(name, { skip: missing }, () => {});
}

/** Packets that vanish, by nftables, as in a real network: who sent them is told nothing. */
export class Trouble {
  static count = 0;

  constructor() {
    if (!process.env[MARK]) throw new Error('this would filter the machine\'s packets: only in a namespace');
    this.table = `inet web_trouble${Trouble.count++}`;
    this.heal();
  }

  /** All UDP packets vanish. */
  blockAllUdp() {
    this.rule('meta l4proto udp drop');
  }

  /** @param {number} port to or from which UDP packets vanish */
  blockUdp(port) {
    this.rule(`udp dport ${port} drop`);
    this.rule(`udp sport ${port} drop`);
  }

  /** @param {number} port to or from which TCP packets vanish: connections stall, new ones are not answered */
  blockTcp(port) {
    this.rule(`tcp dport ${port} drop`);
    this.rule(`tcp sport ${port} drop`);
  }

  /** @param {string} rule any of nftables for arriving packets */
  rule(rule) {
    this.#run(`add rule ${this.table} arriving ${rule}`);
  }

  /** The network is well again. */
  heal() {
    this.#run([
      `add table ${this.table}`,
      `add chain ${this.table} arriving { type filter hook input priority 0; }`,
      `flush table ${this.table}`,
    ].join('\n'));
  }

  /** @param {string} order */
  #run(order) {
    execFileSync('nft', [order], { env: { ...process.env, PATH }, stdio: 'pipe' });
  }
}
