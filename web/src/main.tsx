// Starts the dashboard: makes the link to the server and what transports need, once, and hands them to the page.
import { StrictMode } from 'react';
import { createRoot } from 'react-dom/client';
import { Budget, limitsFor } from './chain/budget.ts';
import { wantedKinds } from './chain/offer.ts';
import { url } from './state/base.ts';
import { ServerLink } from './state/events.ts';
import { Histories } from './state/history.ts';
import { SessionLink } from './state/session.ts';
import { App } from './ui/App.tsx';
import { type Services, ServicesContext } from './ui/context.ts';
import './style/tokens.css';
import './style/base.css';
import './style/controls.css';
import './style/picture.css';
import './style/camera.css';
import './style/recordings.css';
import './style/printers.css';

const link = new ServerLink();
const histories = new Histories();
link.subscribe(() => histories.learn(link.state().server?.printers ?? [], Date.now()));
const session = new SessionLink();
session.start();
link.start();

const [navigation] = performance.getEntriesByType('navigation') as PerformanceNavigationTiming[];
const services: Services = {
  link,
  session,
  surroundings: { url, clockOffset: () => link.clock.offset },
  histories,
  budget: new Budget(limitsFor(navigation?.nextHopProtocol ?? '', navigator.hardwareConcurrency)),
  wanted: wantedKinds(location.search),
};

const root = document.getElementById('root');
if (root !== null) {
  createRoot(root).render(<StrictMode><ServicesContext value={services}><App /></ServicesContext></StrictMode>);
}
