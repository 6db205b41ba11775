// What a refusing answer of a picture's address means for the chain.
import type { End } from '../chain/machine.ts';
import { retryAfter } from './whepHttp.ts';

export async function refusalOf(response: Response): Promise<End> {
  const retry = retryAfter(response.headers.get('Retry-After'), Date.now());
  let message = `the server answered ${response.status}`;
  try {
    const body = await response.json() as { error?: { message?: unknown } };
    if (typeof body.error?.message === 'string') message = body.error.message;
  } catch {
    // No reason given: the status says enough.
  }
  const refused = response.status === 401 || response.status === 403 || response.status === 404;
  return { class: refused ? 'refused' : 'failed', message, ...(retry === null ? {} : { retryAfter: retry }) };
}
