// The page of printers against two simulated ones: added by the page, watched, commanded, told what is wrong, deleted. A machine without
// mosquitto skips it.

import assert from 'node:assert/strict';
import { readFile } from 'node:fs/promises';
import { createRequire } from 'node:module';
import { after, before, describe, test } from 'node:test';

import { startBrowser } from '../lib/browser.js';
import { Dashboard } from '../lib/dashboard.js';
import { CODE, lacking, startPrinters } from '../lib/printer.js';
import { CLIP, startService, waitFor } from '../lib/processes.js';

const AXE = createRequire(import.meta.url).resolve('axe-core/axe.min.js');
const CAMERA = 'name = "Front door"\nsource = { type = "test" }\nresolution = "320x180"\nfps = 10\n[webrtc]\nport = 0\n';
/** A printer is connected, says everything, and its camera starts: on a busy machine. */
const CONNECT_MS = 30_000;

describe('the page of printers', { skip: lacking ?? false }, () => {
  /** @type {import('playwright-core').Browser} */ let browser;
  /** @type {Awaited<ReturnType<typeof startService>>} */ let service;
  /** @type {Awaited<ReturnType<typeof startPrinters>>} */ let printers;
  before(async () => {
    // A print of an hour and a half takes some minutes.
    [browser, service, printers] = await Promise.all([startBrowser(), startService(CAMERA), startPrinters('X1C,A1', ['--speed', '20', '--idle', '--media', CLIP])]);
    await printers.order('start');
  });
  after(async () => {
    await browser?.close();
    await service?.stop();
    await printers?.stop();
  });

  const simulated = (/** @type {string} */ model) => {
    const found = printers.all.find((each) => each.model === model);
    assert.ok(found !== undefined, `a simulated ${model}`);
    return found;
  };
  const open = (/** @type {import('playwright-core').BrowserContextOptions} */ options = {}) => Dashboard.open(browser, `${service.url}/#/printers`, options);
  const card = (/** @type {Dashboard} */ page, /** @type {string} */ name) => page.page.locator('.printer').filter({ has: page.page.getByRole('heading', { name, exact: true }) });
  const shot = async (/** @type {Dashboard} */ page, /** @type {string} */ name) => {
    if (process.env.SHOTS !== undefined) await page.page.screenshot({ path: `${process.env.SHOTS}/${name}.png`, fullPage: true });
  };
  const list = async () => (await fetch(`${service.url}/api/printers?full=1`)).json();
  /** What the service says of it. @param {string} name @returns {Promise<any>} */
  const known = async (name) => (await list()).find((/** @type {any} */ each) => each.name === name);

  /** @param {Dashboard} page @param {string} name @param {string} model @param {string} [code] */
  const fill = async (page, name, model, code = CODE) => {
    const { address, serial } = simulated(model);
    await page.page.getByRole('button', { name: 'Add a printer' }).click();
    const dialog = page.page.getByRole('dialog', { name: 'Add a printer' });
    await dialog.getByLabel('Name').fill(name);
    await dialog.getByLabel('Address', { exact: true }).fill(address);
    await dialog.getByLabel('Serial number').fill(serial);
    await dialog.getByLabel('Access code').fill(code);
    return dialog;
  };

  test('adds a printer after a test that says how far it gets, and one with what is wrong at each field', async () => {
    const page = await open();
    await page.page.getByText('No printers yet').waitFor({ timeout: 10_000 });
    const dialog = await fill(page, 'Studio X1', 'X1C', '87654321');
    await dialog.getByRole('button', { name: 'Test' }).click();
    const step = (/** @type {string} */ name) => dialog.locator(`[data-step="${name}"]`);
    const steps = () => dialog.locator('[data-step]').evaluateAll((each) => each.map((one) => one.className));
    await step('code').waitFor({ timeout: CONNECT_MS });
    await shot(page, 'printers-test-failed');
    assert.deepEqual((await steps()).slice(0, 4), ['passed', 'passed', 'failed', 'skipped']);
    assert.match(await step('code').innerText(), /access code/i);
    await dialog.getByLabel('Access code').fill(CODE);
    assert.equal(await step('code').count(), 0, 'a change makes the test an old one');
    await dialog.getByRole('button', { name: 'Test' }).click();
    await step('mqtt').waitFor({ timeout: CONNECT_MS });
    assert.deepEqual([...new Set(await steps())], ['passed'], await dialog.getByRole('list', { name: 'Test' }).innerText());
    await shot(page, 'printers-test-passed');
    await dialog.getByRole('button', { name: 'Add', exact: true }).click();
    await dialog.waitFor({ state: 'hidden', timeout: 10_000 });
    await card(page, 'Studio X1').waitFor({ timeout: 10_000 });

    const second = await fill(page, 'Workbench A1', 'A1');
    const { serial, address } = simulated('X1C');
    await second.getByLabel('Serial number').fill(serial);
    await second.getByLabel('Address', { exact: true }).fill(`http://${address}`);
    await second.getByRole('button', { name: 'Add', exact: true }).click();
    await second.locator('.field', { hasText: 'Serial number' }).getByText(/already/).waitFor({ timeout: 10_000 });
    assert.equal(await second.getByLabel('Address', { exact: true }).getAttribute('aria-invalid'), 'true');
    assert.equal(await second.getByLabel('Name').getAttribute('aria-invalid'), 'false');
    await second.getByLabel('Serial number').fill(simulated('A1').serial);
    await second.getByLabel('Address', { exact: true }).fill(simulated('A1').address);
    await second.getByRole('button', { name: 'Add', exact: true }).click();
    await card(page, 'Workbench A1').waitFor({ timeout: 10_000 });
    assert.equal((await list()).length, 2);
    assert.deepEqual(page.errors, []);
    await page.close();
  });

  test('shows live video and live progress of both', async () => {
    const page = await open();
    for (const name of ['Studio X1', 'Workbench A1']) {
      const { id } = await waitFor(`${name} prints`, CONNECT_MS, async () => {
        const printer = await known(name);
        return printer.status.connected && printer.status.jobState === 'RUNNING' ? printer : undefined;
      });
      const here = card(page, name);
      await here.getByText('Printing').first().waitFor({ timeout: 10_000 });
      await page.waitFor(String(id), ['whep', 'll-hls', 'mjpeg'], { ms: CONNECT_MS, since: 0 });
      const { frames } = /** @type {import('../lib/dashboard.js').Look} */ (await page.look(String(id)));
      await waitFor('its pictures go on', 10_000, async () => (((await page.look(String(id)))?.frames ?? 0) > frames + 5 ? true : undefined));
      const progress = async () => Number(await here.getByRole('progressbar').getAttribute('aria-valuenow'));
      const before = await progress();
      await waitFor('its progress goes on', 30_000, async () => ((await progress()) > before ? true : undefined));
      assert.match(await here.innerText(), /left · done (at )?.*layer \d+ of \d+/s);
      assert.match(await here.locator('.temperatures dl').innerText(), /Nozzle\s+\d+ \/ \d+ °C\s+Bed\s+\d+ \/ \d+ °C/);
    }
    assert.ok(await card(page, 'Studio X1').locator('.tray').count() >= 4, 'the trays of its AMS');
    assert.equal(await card(page, 'Workbench A1').getByText('Chamber').count(), 0, 'an A1 has no chamber');
    await shot(page, 'printers-desk');
    assert.deepEqual(page.errors, []);
    await page.close();
  });

  for (const colorScheme of /** @type {const} */ (['light', 'dark'])) {
    for (const [width, height] of [[390, 844], [1440, 900]]) {
      test(`reads well for everybody, ${colorScheme}, ${width} px`, async () => {
        const page = await open({ colorScheme, viewport: { width: width ?? 0, height: height ?? 0 } });
        await card(page, 'Workbench A1').getByRole('button', { name: 'Pause' }).waitFor({ timeout: 15_000 });
        const { id } = await known('Studio X1');
        await page.waitState(String(id), 'live', CONNECT_MS);
        for (const dialog of [false, true]) {
          if (dialog) await page.page.getByRole('button', { name: 'Edit Studio X1' }).click();
          const session = await page.page.context().newCDPSession(page.page);
          await session.send('Runtime.evaluate', { expression: await readFile(AXE, 'utf8') });
          const found = await page.page.evaluate(() => /** @type {any} */ (window).axe.run());
          await session.detach();
          const wrong = found.violations.map((/** @type {any} */ rule) => `${rule.id}: ${rule.nodes.map((/** @type {any} */ node) => `${node.html} ${node.failureSummary}`).join('; ')}`);
          assert.deepEqual(wrong, []);
          const wide = await page.page.evaluate(() => document.documentElement.scrollWidth - document.documentElement.clientWidth);
          assert.ok(wide <= 0, `${wide} px wider than the screen`);
          await shot(page, `printers-${dialog ? 'dialog-' : ''}${colorScheme}-${width}`);
        }
        assert.deepEqual(page.errors, []);
        await page.close();
      });
    }
  }

  test('pauses, resumes, switches the light, sets the speed and stops, each only after the printer agreed', async () => {
    const page = await open();
    const here = card(page, 'Studio X1');
    const is = (/** @type {string} */ state) => waitFor(`it is ${state}`, 15_000, async () => ((await known('Studio X1')).status.jobState === state ? true : undefined));
    const button = (/** @type {string} */ name) => here.getByRole('button', { name, exact: true });
    await button('Pause').press('Enter');
    await is('PAUSE');
    await button('Resume').waitFor({ timeout: 10_000 });
    await here.getByText('Paused').first().waitFor({ timeout: 10_000 });
    await button('Resume').click();
    await is('RUNNING');
    const before = await button('Light').getAttribute('aria-pressed');
    await button('Light').click();
    await waitFor('the light is switched', 10_000, async () => ((await button('Light').getAttribute('aria-pressed')) === before ? undefined : true));
    await waitFor('the printer says so', 10_000, async () => ((await known('Studio X1')).status.light === (before === 'true' ? 'off' : 'on') ? true : undefined));
    await here.getByLabel('Speed').selectOption('Sport');
    await waitFor('the printer says so', 10_000, async () => ((await known('Studio X1')).status.details.speedLevel === 3 ? true : undefined));
    await button('Stop').click();
    const dialog = page.page.getByRole('dialog', { name: /Stop the print/ });
    await dialog.getByRole('button', { name: 'Cancel' }).click();
    assert.equal((await known('Studio X1')).status.jobState, 'RUNNING', 'it is asked first');
    await button('Stop').click();
    await dialog.getByRole('button', { name: 'Stop the print' }).press('Enter');
    await is('FAILED');
    await here.getByText('Failed').first().waitFor({ timeout: 10_000 });
    assert.equal(await button('Pause').count(), 0, 'nothing is left to pause');
    assert.deepEqual(page.errors, []);
    await page.close();
  });

  test('is not ahead of a printer, and says why it did not do it', async () => {
    const page = await open();
    const here = card(page, 'Workbench A1');
    const light = here.getByRole('button', { name: 'Light' });
    await light.waitFor({ timeout: 15_000 });
    const before = await light.getAttribute('aria-pressed');
    let ask = () => {};
    const held = new Promise((resolve) => { ask = () => resolve(undefined); });
    await page.page.route('**/command', async (route) => {
      await held;
      await route.continue();
    }, { times: 1 });
    await light.click();
    const busy = here.getByRole('button', { name: 'Switching…' });
    await busy.waitFor({ timeout: 5000 });
    assert.deepEqual([await busy.getAttribute('aria-pressed'), await busy.isDisabled()], [before, true]);
    ask();
    await waitFor('it is switched', 10_000, async () => ((await light.getAttribute('aria-pressed', { timeout: 5000 })) === before ? undefined : true));
    const { serial } = simulated('A1');
    await printers.order(`${serial} acks off`);
    await light.click();
    await here.getByText(/Light not switched: /).waitFor({ timeout: 15_000 });
    await printers.order(`${serial} acks on`);
    assert.deepEqual(page.errors, []);
    await page.close();
  });

  test('tells of a print that fails, by the browser as well when that was asked for', async () => {
    const page = await open({ permissions: ['notifications'] });
    // Headless browsers have nowhere to show them.
    await page.page.evaluate(() => {
      const shown = /** @type {string[]} */ ([]);
      class Told extends EventTarget {
        static permission = 'granted';
        static requestPermission = () => Promise.resolve('granted');
        /** @param {string} title */
        constructor(title) {
          super();
          shown.push(title);
        }
      }
      Object.assign(window, { Notification: Told, shown });
    });
    const notify = page.page.getByRole('button', { name: 'Notify' });
    await notify.click();
    await waitFor('it is on', 5000, async () => ((await notify.getAttribute('aria-pressed')) === 'true' ? true : undefined));
    const here = card(page, 'Workbench A1');
    await here.getByText('Printing').first().waitFor({ timeout: 15_000 });
    await printers.order(`${simulated('A1').serial} fail`);
    await here.getByText('Failed').first().waitFor({ timeout: 15_000 });
    await here.getByText(/0300_8002/).waitFor({ timeout: 10_000 });
    await shot(page, 'printers-failed');
    assert.deepEqual(await page.page.evaluate(() => /** @type {any} */ (window).shown), ['Workbench A1: failed']);
    await here.getByRole('button', { name: 'Clear the error' }).click();
    await here.getByText(/0300_8002/).waitFor({ state: 'hidden', timeout: 15_000 });
    await page.close();
  });

  test('asks before it trusts another certificate, with both fingerprints', async () => {
    const page = await open();
    const here = card(page, 'Workbench A1');
    const { known: old } = (await known('Workbench A1')).certificate;
    await printers.order(`${simulated('A1').serial} certificate`);
    const accept = here.getByRole('button', { name: 'Accept the new certificate' });
    await accept.waitFor({ timeout: CONNECT_MS });
    await shot(page, 'printers-certificate');
    const { offered } = (await known('Workbench A1')).certificate;
    const spelt = (/** @type {string} */ hex) => (hex.replaceAll(':', '').toUpperCase().match(/../g) ?? []).join(':');
    assert.deepEqual(await here.locator('.certificate code').allInnerTexts(), [spelt(old), spelt(offered)]);
    await accept.click();
    await waitFor('it is connected', CONNECT_MS, async () => ((await known('Workbench A1')).status.connected ? true : undefined));
    await accept.waitFor({ state: 'hidden', timeout: 10_000 });
    await page.close();
  });

  test('says that a code is wrong, takes the right one, and deletes a printer with all that is its own', async () => {
    const page = await open();
    const here = card(page, 'Studio X1');
    const change = async (/** @type {string} */ code) => {
      await page.page.getByRole('button', { name: 'Edit Studio X1' }).click();
      const dialog = page.page.getByRole('dialog', { name: 'Edit Studio X1' });
      assert.equal(await dialog.getByLabel('Access code').inputValue(), '', 'the code is never shown');
      await dialog.getByLabel('Access code').fill(code);
      await dialog.getByRole('button', { name: 'Save' }).click();
      await dialog.waitFor({ state: 'hidden', timeout: 10_000 });
    };
    await change('00000000');
    await here.getByText('Not connected').waitFor({ timeout: CONNECT_MS });
    await here.locator('.note', { hasText: /access code/ }).waitFor({ timeout: 10_000 });
    await shot(page, 'printers-wrong-code');
    await change(CODE);
    await waitFor('it is connected', CONNECT_MS, async () => ((await known('Studio X1')).status.connected ? true : undefined));
    const { id } = await known('Studio X1');
    await page.page.getByRole('button', { name: 'Delete Studio X1' }).click();
    const dialog = page.page.getByRole('dialog', { name: /Delete Studio X1/ });
    await dialog.getByRole('button', { name: 'Delete' }).click();
    await here.waitFor({ state: 'detached', timeout: 10_000 });
    await waitFor('its camera is gone', 5000, async () => ((await fetch(`${service.url}/api/cameras/${id}`)).status === 404 ? true : undefined));
    assert.equal(await known('Studio X1'), undefined);
    assert.deepEqual(page.errors, []);
    await page.close();
  });
});
