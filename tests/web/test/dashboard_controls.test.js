// The controls of a camera on its page. The device is played by the test: a real one is in tests/vm.

import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';

import { Dashboard } from '../lib/dashboard.js';
import { startHouse } from '../lib/house.js';
import { waitFor } from '../lib/processes.js';

/** @param {string} id @param {object} more */
const control = (id, more) => ({
  id, name: id, type: 'integer', min: 0, max: 10, step: 1, default: 5, value: 5, menu: [], read_only: false, inactive: false, ...more,
});

describe('the controls of a camera', () => {
  /** @type {Awaited<ReturnType<typeof startHouse>>} */ let house;
  before(async () => { house = await startHouse(); });
  after(() => house?.stop());

  /** A page of `test` which is told that it is a device with these controls; what it sets is in `set`. */
  const open = async () => {
    const controls = [
      control('brightness', { name: 'Brightness', min: -64, max: 64, value: 3 }),
      control('auto', { name: 'Exposure', type: 'menu', menu: [{ value: 1, name: 'Manual' }, { value: 3, name: 'Automatic' }], value: 3, max: 3 }),
      control('night', { name: 'Night mode', type: 'boolean', max: 1, value: 0 }),
      control('sensor', { name: 'Sensor temperature', read_only: true }),
    ];
    const state = { presence: 'present', refuse: false, answers: Promise.resolve(), set: /** @type {object[]} */ ([]) };
    const page = await Dashboard.open(house.browser, 'about:blank');
    // Without events the page asks for the cameras, which are told apart here.
    await page.page.route('**/api/events', (route) => route.abort());
    await page.page.route('**/api/cameras', async (route) => {
      const response = await route.fetch();
      const body = await response.json();
      const device = state.presence === 'present' ? '/dev/video0' : null;
      for (const camera of body.cameras) if (camera.id === 'test') Object.assign(camera, { presence: state.presence, device });
      await route.fulfill({ response, json: body });
    });
    await page.page.route('**/api/cameras/test/controls', async (route) => {
      if (route.request().method() === 'PUT') {
        await state.answers;
        if (state.refuse) {
          await route.fulfill({ status: 400, json: { error: { code: 'VALIDATION_ERROR', message: 'brightness: the camera refuses it now' } } });
          return;
        }
        const { controls: values } = route.request().postDataJSON();
        state.set.push(values);
        for (const each of controls) if (each.id in values) each.value = values[each.id] ?? each.default;
      }
      await route.fulfill({ json: { camera: 'test', controls } });
    });
    await page.page.goto(`${house.url}/#/camera/test`);
    return { page, state };
  };

  test('are set at once, all of a kind in their own way, and to their defaults together', async () => {
    const { page, state } = await open();
    const card = page.page.getByRole('region', { name: 'Controls' });
    await card.getByLabel('Brightness').waitFor({ timeout: 10_000 });
    assert.equal(await card.getByText('Sensor temperature').count(), 0, 'what cannot be set is not shown');
    await card.getByLabel('Brightness').fill('-20');
    await waitFor('it is set', 5000, async () => (state.set.length === 1 ? true : undefined));
    await card.getByLabel('Exposure').selectOption('Manual');
    await waitFor('it is set', 5000, async () => (state.set.length === 2 ? true : undefined));
    await card.getByLabel('Night mode').check();
    await waitFor('it is set', 5000, async () => (state.set.length === 3 ? true : undefined));
    await card.getByRole('button', { name: 'Defaults' }).click();
    await waitFor('it is set', 5000, async () => (state.set.length === 4 ? true : undefined));
    assert.deepEqual(state.set, [{ brightness: -20 }, { auto: 1 }, { night: 1 }, { brightness: null, auto: null, night: null }]);
    await waitFor('the page shows what the camera says', 5000, async () => ((await card.getByLabel('Brightness').inputValue()) === '5' ? true : undefined));
    assert.deepEqual(page.errors, []);
    await page.close();
  });

  test('what is chosen stands until the camera answers, and goes back when it refuses', async () => {
    const { page, state } = await open();
    const card = page.page.getByRole('region', { name: 'Controls' });
    const night = card.getByLabel('Night mode');
    await night.waitFor({ timeout: 10_000 });
    let answer = () => {};
    state.answers = new Promise((resolve) => { answer = resolve; });
    state.refuse = true;
    const asked = page.page.waitForRequest((request) => request.method() === 'PUT', { timeout: 5000 });
    await night.check();
    await asked;
    assert.ok(await night.isChecked());
    answer();
    await card.getByText('Not set: brightness: the camera refuses it now').waitFor({ timeout: 5000 });
    await waitFor('it is as before', 5000, async () => ((await night.isChecked()) ? undefined : true));
    await page.close();
  });

  test('a refusal is said, and a camera that is unplugged has none', async () => {
    const { page, state } = await open();
    const card = page.page.getByRole('region', { name: 'Controls' });
    await card.getByLabel('Night mode').waitFor({ timeout: 10_000 });
    state.refuse = true;
    await card.getByLabel('Brightness').fill('9');
    await card.getByText('Not set: brightness: the camera refuses it now').waitFor({ timeout: 5000 });
    state.presence = 'away';
    await page.page.getByText('Unplugged').first().waitFor({ timeout: 15_000 });
    assert.equal(await card.count(), 0);
    await page.close();
  });
});
