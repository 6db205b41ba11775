// Who looks at this page, as far as the server wants to know: logs in and out, and tells when something wanted a login.
import { ask, onLoginWanted } from './ask.ts';
import { object, text } from './json.ts';

export interface Session {
  /** Whether anything on this server needs a login. */
  configured: boolean;
  /** `viewer`, `operator`, `admin`; null: nothing without a login. */
  role: string | null;
  /** Who is logged in. */
  name: string | null;
}

export interface SessionState {
  /** Null until the server has said. */
  session: Session | null;
  /** Something was asked for that needs a login. */
  wanted: boolean;
}

export type Credentials = { name: string; password: string } | { key: string };

/** Pure. A server that knows no sessions wants none. */
export function parseSession(value: unknown): Session {
  const json = object(value);
  return { configured: json.configured === true, role: json.configured === true ? text(json.role) : text(json.role) ?? 'admin', name: text(json.name) };
}

const ROLES = ['viewer', 'operator', 'admin'] as const;

/** Whether who looks may do what needs this role; as long as nobody knows, the server's answer will tell. Pure. */
export function may(session: Session | null, needed: typeof ROLES[number]): boolean {
  return session === null || ROLES.findIndex((role) => role === session.role) >= ROLES.indexOf(needed);
}

export class SessionLink {
  #state: SessionState = { session: null, wanted: false };
  #subscribers = new Set<() => void>();

  start(): void {
    onLoginWanted(() => {
      this.#take({ wanted: true });
      void this.refresh();
    });
    void this.refresh();
  }

  readonly state = (): SessionState => this.#state;

  readonly subscribe = (subscriber: () => void): (() => void) => {
    this.#subscribers.add(subscriber);
    return () => this.#subscribers.delete(subscriber);
  };

  async refresh(): Promise<void> {
    const answer = await ask('GET', 'api/session');
    if (answer.ok) this.#take({ session: parseSession(answer.body) });
    else if (answer.refusal.status === 404) this.#take({ session: parseSession(null) });
  }

  want(wanted: boolean): void {
    this.#take({ wanted });
  }

  /** Null when it was taken; otherwise why not, in words. */
  async login(credentials: Credentials): Promise<string | null> {
    const answer = await ask('POST', 'api/login', { body: credentials });
    if (!answer.ok) return answer.refusal.message;
    this.#take({ session: parseSession(answer.body), wanted: false });
    return null;
  }

  async logout(): Promise<void> {
    await ask('POST', 'api/logout');
    // Whatever is open was opened by who is gone.
    location.reload();
  }

  #take(change: Partial<SessionState>): void {
    this.#state = { ...this.#state, ...change };
    for (const subscriber of this.#subscribers) subscriber();
  }
}
