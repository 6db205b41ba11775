// Masks, rotation and overlay on the page of a camera: a mask is drawn on the live picture, also on one that is turned, and the picture
// is black there; what stops the streams is said before it is done.

import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';

import { Dashboard } from '../lib/dashboard.js';
import { startHouse } from '../lib/house.js';
import { waitFor } from '../lib/processes.js';

describe('the transforms of a camera', () => {
  /** @type {Awaited<ReturnType<typeof startHouse>>} */ let house;
  before(async () => { house = await startHouse(); });
  after(() => house?.stop());

  const transforms = async (/** @type {string} */ id) => (await fetch(`${house.url}/api/cameras/${id}/transforms`)).json();

  /**
   * Brightness at places of a fresh snapshot, 0 to 255.
   * @param {Dashboard} page @param {string} id @param {[number, number][]} places
   * @returns {Promise<number[]>}
   */
  const brightness = (page, id, places) => page.page.evaluate(async ([path, shares]) => {
    const bitmap = await createImageBitmap(await (await fetch(path, { cache: 'no-store' })).blob());
    const canvas = Object.assign(document.createElement('canvas'), { width: bitmap.width, height: bitmap.height });
    const context = /** @type {CanvasRenderingContext2D} */ (canvas.getContext('2d'));
    context.drawImage(bitmap, 0, 0);
    return shares.map(([x, y]) => {
      const [red = 0, green = 0, blue = 0] = context.getImageData(Math.floor(x * bitmap.width), Math.floor(y * bitmap.height), 1, 1).data;
      return (red + green + blue) / 3;
    });
  }, /** @type {const} */ ([`cameras/${id}/snapshot.jpg`, places]));

  /** @param {Dashboard} page @param {[number, number]} from @param {[number, number]} to shares of the picture */
  const drag = async (page, from, to) => {
    const box = await page.page.locator('.mask-editor .catcher').boundingBox();
    assert.ok(box !== null);
    const at = (/** @type {[number, number]} */ [x, y]) => /** @type {const} */ ([box.x + x * box.width, box.y + y * box.height]);
    await page.page.mouse.move(...at(from));
    await page.page.mouse.down();
    await page.page.mouse.move(...at(to), { steps: 4 });
    await page.page.mouse.up();
  };

  const black = (/** @type {number | undefined} */ value) => (value ?? 255) < 24;

  test('a mask that is drawn hides what is below it, on a turned picture as well, and Reset shows it again', async () => {
    const page = await Dashboard.open(house.browser, `${house.url}/#/camera/test`);
    await page.waitState('test', 'live', 10_000);
    const card = page.page.getByRole('region', { name: 'Masks, rotation, overlay' });
    await card.getByLabel('Rotation').selectOption('90');
    await card.getByRole('button', { name: 'Apply' }).click();
    // Width and height change places: the encoders begin anew.
    const dialog = page.page.getByRole('dialog');
    await dialog.getByText('The streams stop for a moment').waitFor({ timeout: 10_000 });
    assert.equal((await transforms('test')).rotation, 0, 'nothing is done before it is agreed to');
    if (process.env.SHOTS !== undefined) await page.page.screenshot({ path: `${process.env.SHOTS}/transforms-restart.png` });
    await dialog.getByRole('button', { name: 'Apply' }).click();
    await waitFor('it is turned', 10_000, async () => ((await transforms('test')).rotation === 90 ? true : undefined));
    await waitFor('the page shows it upright', 15_000, async () => ((await page.page.locator('.frame').evaluate((frame) => frame.getBoundingClientRect().height > frame.getBoundingClientRect().width)) ? true : undefined));
    await page.waitState('test', 'live', 15_000);
    await card.getByRole('button', { name: 'Draw' }).click();
    // White bars are at the left of the picture, which is the top now.
    await drag(page, [0.1, 0.02], [0.6, 0.12]);
    await card.getByLabel('Name of mask 1').fill('Window');
    if (process.env.SHOTS !== undefined) await page.page.screenshot({ path: `${process.env.SHOTS}/transforms-drawing.png` });
    await card.getByRole('button', { name: 'Apply' }).click();
    const [mask] = await waitFor('the mask is there', 10_000, async () => {
      const { masks } = await transforms('test');
      return masks.length === 1 ? masks : undefined;
    });
    assert.equal(mask.name, 'Window');
    const [hidden, beside, below] = await waitFor('the picture has it', 10_000, async () => {
      const seen = await brightness(page, 'test', [[0.3, 0.07], [0.8, 0.07], [0.3, 0.2]]);
      return black(seen[0]) ? seen : undefined;
    });
    assert.ok(!black(beside) || !black(below), `only the mask is black: ${hidden} ${beside} ${below}`);
    await card.getByRole('button', { name: 'Reset' }).click();
    await dialog.getByText('The masks that are set here go').waitFor({ timeout: 10_000 });
    assert.equal((await transforms('test')).masks.length, 1, 'a mask goes only when that is agreed to');
    await dialog.getByRole('button', { name: 'Reset' }).click();
    await dialog.getByText('The streams stop for a moment').waitFor({ timeout: 10_000 });
    await dialog.getByRole('button', { name: 'Apply' }).click();
    await waitFor('all is as it was', 10_000, async () => {
      const { masks, rotation } = await transforms('test');
      return masks.length === 0 && rotation === 0 ? true : undefined;
    });
    assert.deepEqual(page.errors, []);
    await page.close();
  });

  test('a mask is made, moved, resized and removed by the keyboard', async () => {
    const page = await Dashboard.open(house.browser, `${house.url}/#/camera/test`);
    await page.waitState('test', 'live', 10_000);
    const card = page.page.getByRole('region', { name: 'Masks, rotation, overlay' });
    await card.getByRole('button', { name: 'Draw' }).press('Enter');
    await card.getByRole('button', { name: 'Add one in the middle' }).press('Enter');
    const mask = page.page.locator('[data-mask="0"]');
    await mask.focus();
    for (const key of ['ArrowLeft', 'ArrowLeft', 'ArrowUp', 'Shift+ArrowRight']) await page.page.keyboard.press(key);
    await card.getByRole('button', { name: 'Apply' }).press('Enter');
    const [{ x, y, width, height }] = await waitFor('the mask is there', 10_000, async () => {
      const { masks } = await transforms('test');
      return masks.length === 1 ? masks : undefined;
    });
    assert.deepEqual([x, y, width, height].map((share) => Math.round(share * 1000) / 1000), [0.355, 0.365, 0.26, 0.25]);
    await card.getByRole('button', { name: 'Draw' }).press('Enter');
    await mask.focus();
    await page.page.keyboard.press('Delete');
    await card.getByRole('button', { name: 'Apply' }).press('Enter');
    await waitFor('it is gone', 10_000, async () => ((await transforms('test')).masks.length === 0 ? true : undefined));
    await page.close();
  });

  test('text is written into a stream that was passed through only when its restart is agreed to', async () => {
    const page = await Dashboard.open(house.browser, `${house.url}/#/camera/cam`);
    await page.waitState('cam', 'live', 10_000);
    const card = page.page.getByRole('region', { name: 'Masks, rotation, overlay' });
    await card.getByLabel('Text in the picture').check();
    await card.getByLabel('Text', { exact: true }).fill('Gate {time}');
    await card.getByRole('button', { name: 'Apply' }).click();
    const dialog = page.page.getByRole('dialog');
    await dialog.getByRole('button', { name: 'Cancel' }).click();
    assert.equal((await transforms('cam')).overlay, null);
    await card.getByRole('button', { name: 'Apply' }).click();
    await dialog.getByRole('button', { name: 'Apply' }).click();
    await waitFor('it is written', 10_000, async () => ((await transforms('cam')).overlay?.text === 'Gate {time}' ? true : undefined));
    await page.page.getByText(/encoded again|re-encoded/).first().waitFor({ timeout: 10_000 });
    await page.close();
  });
});
