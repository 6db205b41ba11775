// What every component may need: the link to the server, the surroundings of transports, and the page's limits. Made once in main.tsx.
import { createContext, use } from 'react';
import type { Budget } from '../chain/budget.ts';
import type { Kind } from '../chain/kinds.ts';
import type { ServerLink } from '../state/events.ts';
import type { Histories } from '../state/history.ts';
import type { SessionLink } from '../state/session.ts';
import type { Surroundings } from '../transports/types.ts';

export interface Services {
  link: ServerLink;
  session: SessionLink;
  surroundings: Surroundings;
  /** Temperatures of printers, as they came. */
  histories: Histories;
  budget: Budget;
  wanted: readonly Kind[];
}

export const ServicesContext = createContext<Services | null>(null);

export function useServices(): Services {
  const services = use(ServicesContext);
  if (services === null) throw new Error('the services are missing');
  return services;
}
