// The dashboard for everybody: axe finds nothing in light and dark, on a phone and on a desk, and every
// control is reached and works by the keyboard.

import assert from 'node:assert/strict';
import { readFile } from 'node:fs/promises';
import { createRequire } from 'node:module';
import { after, before, describe, test } from 'node:test';

import { Dashboard } from '../lib/dashboard.js';
import { startHouse } from '../lib/house.js';

const AXE = createRequire(import.meta.url).resolve('axe-core/axe.min.js');
const PICTURE_MS = 10_000;

describe('the dashboard is for everybody', () => {
  /** @type {Awaited<ReturnType<typeof startHouse>>} */ let house;
  before(async () => { house = await startHouse(); });
  after(() => house?.stop());

  /** @param {Dashboard} page @param {string} id @param {number} [ms] */
  const live = (page, id, ms = PICTURE_MS) => page.waitState(id, 'live', ms);

  for (const colorScheme of /** @type {const} */ (['light', 'dark'])) {
    for (const [width, height] of [[390, 844], [1440, 900]]) {
      test(`reads well for everybody, ${colorScheme}, ${width} px`, async () => {
        const page = await Dashboard.open(house.browser, house.url, { colorScheme, viewport: { width, height } });
        for (const hash of ['', '#/camera/cam', '#/camera/nobody']) {
          await page.page.evaluate((to) => { window.location.hash = to; }, hash);
          if (!hash.endsWith('nobody')) await live(page, 'cam');
          // Injected by the debugger: no rule of the page has to let it in.
          const session = await page.page.context().newCDPSession(page.page);
          await session.send('Runtime.evaluate', { expression: await readFile(AXE, 'utf8') });
          const found = await page.page.evaluate(() => /** @type {any} */ (window).axe.run());
          await session.detach();
          const wrong = found.violations.map((/** @type {any} */ { id, nodes }) =>
            `${id}: ${nodes.map((/** @type {any} */ node) => `${node.html} ${node.failureSummary}`).join('; ')}`);
          assert.deepEqual(wrong, [], hash);
          assert.ok(found.passes.length > 10, 'axe looked at the page');
          const wide = await page.page.evaluate(() => document.documentElement.scrollWidth - document.documentElement.clientWidth);
          assert.ok(wide <= 0, `${hash}: ${wide} px wider than the screen`);
          const bar = await page.page.locator('header.top').evaluate((top) => top.getBoundingClientRect().height);
          assert.ok(bar > 20 && bar < 80, `${hash}: the bar at the top is one line, not ${bar} px`);
        }
        await page.close();
      });
    }
  }

  test('every control is reached by the keyboard and works by it', async () => {
    const page = await Dashboard.open(house.browser, house.url);
    await live(page, 'cam');
    /** Tabs through everything once; returns what had the focus, and that each could be seen to have it. */
    const tour = async () => {
      const controls = await page.page.locator('a[href]:visible, button:visible:not(:disabled), summary:visible, input:visible, select:visible').count();
      /** @type {Set<string>} */
      const reached = new Set();
      // From wherever the focus is, past the end of the page and around.
      for (let n = 0; n < controls + 2 && reached.size < controls; n += 1) {
        await page.page.keyboard.press('Tab');
        reached.add(await page.page.evaluate(() => {
          const at = /** @type {HTMLElement} */ (document.activeElement);
          if (at === document.body) return '';
          const { outlineStyle, outlineWidth, boxShadow } = window.getComputedStyle(at);
          const seen = (outlineStyle !== 'none' && outlineWidth !== '0px') || boxShadow !== 'none';
          const name = (at.getAttribute('aria-label') ?? at.textContent ?? '').trim();
          return `${at.tagName} ${name} ${at.getAttribute('href') ?? ''}${seen ? '' : ' UNSEEN'}`;
        }));
        reached.delete('');
      }
      const names = [...reached];
      assert.equal(names.length, controls, `${controls} controls, reached: ${names.join(' | ')}`);
      assert.ok(!names.some((name) => name.includes('UNSEEN')), names.join(' | '));
      return names;
    };
    const wall = await tour();
    assert.ok(wall.some((name) => name.includes('Front door')) && wall.some((name) => name.includes('Test picture')), wall.join(' | '));
    await page.page.locator('a[href="#/camera/cam"]').focus();
    await page.page.keyboard.press('Enter');
    await page.page.getByRole('heading', { name: 'Front door' }).waitFor({ timeout: 5000 });
    await live(page, 'cam');
    const names = await tour();
    for (const name of ['Snapshot', 'Full screen', 'Restart', 'All cameras']) {
      assert.ok(names.some((each) => each.includes(name)), `${name} among ${names.join(' | ')}`);
    }
    await page.page.getByRole('button', { name: 'Snapshot', exact: true }).focus();
    const [download] = await Promise.all([page.page.waitForEvent('download', { timeout: 10_000 }), page.page.keyboard.press('Enter')]);
    assert.match(download.suggestedFilename(), /^cam.*\.jpe?g$/);
    await page.page.getByRole('button', { name: 'Restart', exact: true }).focus();
    await page.page.keyboard.press('Enter');
    const dialog = page.page.getByRole('dialog');
    await dialog.waitFor({ timeout: 5000 });
    await page.page.keyboard.press('Escape');
    await dialog.waitFor({ state: 'hidden', timeout: 5000 });
    assert.match(await page.page.evaluate(() => document.activeElement?.textContent ?? ''), /Restart/, 'the focus returns');
    await page.page.keyboard.press('Escape');
    // The wall's own link: those of the camera's page are called by where they lead.
    await page.page.getByRole('link', { name: /^Test picture/ }).first().waitFor({ timeout: 5000 });
    await page.close();
  });
});
