// The dashboard of a service that wants logins: a page to log in on where nothing is shown without, a dialog where only control needs it,
// and a browser that is logged in is no way in for other pages.

import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';

import { startBrowser } from '../lib/browser.js';
import { Dashboard } from '../lib/dashboard.js';
import { startService, waitFor } from '../lib/processes.js';

const HA1 = {
  // anna:fanlight:secret and vera:fanlight:secret, by SHA-256.
  anna: 'e517cec872d38df98ccef36e5aad661d9829b04fa44e9390c4724d5d203e4bc5',
  vera: 'dfdfcf4415ad5bffbbf4de4ec50b026bcffae9d9ad7ae42b2a3545ba02a552f5',
};
/** @param {string} watch */
const config = (watch) => [
  'name = "Front door"', 'source = { type = "test" }', 'resolution = "320x180"', 'fps = 10', '[webrtc]', 'port = 0',
  '[access]', `watch = "${watch}"`,
  '[[access.user]]', 'name = "anna"', 'role = "operator"', `ha1_sha256 = "${HA1.anna}"`,
  '[[access.user]]', 'name = "vera"', 'role = "viewer"', `ha1_sha256 = "${HA1.vera}"`,
].join('\n');

describe('the login of the dashboard', () => {
  /** @type {import('playwright-core').Browser} */ let browser;
  before(async () => { browser = await startBrowser(); });
  after(() => browser?.close());

  /** @param {Dashboard} page @param {string} name @param {string} password */
  const login = async (page, name, password) => {
    await page.page.getByLabel('Name').fill(name);
    await page.page.getByLabel('Password').fill(password);
    await page.page.getByLabel('Password').press('Enter');
  };
  /** What the browser's own dialog would ask for is never asked for. @param {Dashboard} page */
  const watchChallenges = (page) => {
    const challenges = /** @type {string[]} */ ([]);
    page.page.on('response', (response) => {
      if (response.status() === 401 && response.headers()['www-authenticate'] !== undefined) challenges.push(response.url());
    });
    return challenges;
  };

  test('shows nothing before it, live pictures after it, and nothing after the logout', async () => {
    const service = await startService(config('login'), { live: false });
    try {
      const page = await Dashboard.open(browser, 'about:blank');
      const challenges = watchChallenges(page);
      await page.page.goto(service.url);
      await page.page.getByRole('heading', { name: 'Log in to Fanlight' }).waitFor({ timeout: 10_000 });
      if (process.env.SHOTS !== undefined) await page.page.screenshot({ path: `${process.env.SHOTS}/login.png` });
      assert.equal(await page.picture('cam').count(), 0);
      await login(page, 'anna', 'guess');
      await page.page.getByText(/Not logged in: /).waitFor({ timeout: 10_000 });
      await login(page, 'anna', 'secret');
      await page.waitState('cam', 'live', 20_000);
      const [cookie] = await page.page.context().cookies();
      assert.deepEqual([cookie?.name, cookie?.httpOnly, cookie?.sameSite], ['fanlight_session', true, 'Strict']);
      await page.page.reload();
      await page.waitState('cam', 'live', 20_000);
      await page.page.getByRole('button', { name: 'Log out anna' }).click();
      await page.page.getByRole('heading', { name: 'Log in to Fanlight' }).waitFor({ timeout: 10_000 });
      const again = await fetch(`${service.url}/api/cameras`, { headers: { Cookie: `fanlight_session=${cookie?.value}` } });
      assert.equal(again.status, 401, 'the session is over, whoever has its cookie');
      assert.deepEqual(challenges, []);
      assert.deepEqual(page.errors, []);
      await page.close();
    } finally {
      await service.stop();
    }
  });

  test('is asked for when something is to be changed that needs it, and says whose role is too small', async () => {
    const service = await startService(config('open'));
    try {
      const page = await Dashboard.open(browser, `${service.url}/#/camera/cam`);
      const challenges = watchChallenges(page);
      await page.waitState('cam', 'live', 20_000);
      const restart = async () => {
        await page.page.getByRole('button', { name: 'Restart', exact: true }).click();
        await page.page.getByRole('dialog', { name: /Restart/ }).getByRole('button', { name: 'Restart' }).click();
      };
      await restart();
      await page.page.getByRole('dialog', { name: 'Log in' }).waitFor({ timeout: 10_000 });
      await login(page, 'vera', 'secret');
      await page.page.getByRole('dialog', { name: 'Log in' }).waitFor({ state: 'hidden', timeout: 10_000 });
      await restart();
      await page.page.getByRole('alert').getByText(/Not restarted: .*operator/).waitFor({ timeout: 10_000 });
      await page.page.getByRole('button', { name: 'Log out vera' }).click();
      await page.page.getByRole('button', { name: 'Log in' }).click();
      await login(page, 'anna', 'secret');
      await page.page.getByRole('button', { name: 'Log out anna' }).waitFor({ timeout: 10_000 });
      const answer = page.page.waitForResponse(/restart$/, { timeout: 10_000 });
      await restart();
      assert.equal((await answer).status(), 202);
      assert.deepEqual(challenges, []);
      assert.deepEqual(page.errors, []);
      await page.close();
    } finally {
      await service.stop();
    }
  });

  test('is a way in for no other page, and for programs there is the challenge', async () => {
    const service = await startService(config('login'), { live: false });
    try {
      const host = service.url.replace('http://', '');
      const answer = await fetch(`${service.url}/api/login`, { method: 'POST', body: JSON.stringify({ name: 'anna', password: 'secret' }) });
      assert.equal(answer.status, 200);
      const Cookie = answer.headers.getSetCookie()[0]?.split(';')[0] ?? '';
      const status = async (/** @type {string} */ method, /** @type {string} */ path, /** @type {Record<string, string>} */ headers) =>
        (await fetch(service.url + path, { method, headers: { Cookie, ...headers } })).status;
      await waitFor('the camera is live', 20_000, async () => ((await status('GET', '/cameras/cam/snapshot.jpg', {})) === 200 ? true : undefined));
      const restart = '/api/cameras/cam/restart';
      assert.equal(await status('POST', restart, { Origin: `http://${host}` }), 202);
      assert.equal(await status('POST', restart, {}), 401, 'no page of ours says nothing of where it is from');
      assert.equal(await status('POST', restart, { Origin: 'https://evil.example' }), 401);
      assert.equal(await status('GET', '/api/cameras', { Origin: 'http://127.0.0.1:1' }), 401, 'another port is another page');
      assert.equal((await fetch(`${service.url}/api/login`, { method: 'POST', body: '{}', headers: { Origin: 'https://evil.example' } })).status, 403);
      const program = await fetch(`${service.url}/api/cameras`);
      assert.deepEqual([program.status, program.headers.get('www-authenticate')?.startsWith('Basic')], [401, true]);
    } finally {
      await service.stop();
    }
  });
});
