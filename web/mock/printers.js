// Made-up printers for looking at the dashboard: one that prints, one that is paused with a fault, one whose certificate changed.

const begun = Date.now();
const iso = (/** @type {number} */ time) => new Date(time).toISOString();
const hex = (/** @type {string} */ pair) => pair.repeat(32);

/** @param {number} now @returns {object[]} */
export function printers(now) {
  const seconds = (now - begun) / 1000;
  const percent = Math.min(100, 42 + seconds / 30);
  const swing = (/** @type {number} */ around, /** @type {number} */ by) => around + by * Math.sin(seconds / 9);
  const printing = {
    connected: true, jobState: 'RUNNING', percent: Math.floor(percent), remainingMinutes: Math.round((100 - percent) * 2), nozzleC: swing(219, 1.5), bedC: swing(60, 0.4), chamberC: swing(38, 1),
    light: 'on', lastUpdate: iso(now - 900),
    details: {
      model: 'X1C', file: 'Bracket for the rear shelf, left side.3mf', layer: 118, layers: 280, stage: null, speedLevel: 2, speedPercent: 100, wifiDbm: -52, stale: false, error: null, lamps: ['chamber_light'], lights: [{ node: 'chamber_light', mode: 'on' }], firmware: '01.08.02.00', developerMode: true,
      nozzleTargetC: 220, bedTargetC: 60, chamberTargetC: null, printError: null, hms: [],
      ams: [{ humidityLevel: 4, humidityPercent: 24, trays: [{ colour: '#FF6A13FF', material: 'PLA', active: true }, { colour: '#0B2C7AFF', material: 'PETG' }, { colour: '#F5F5F5FF', material: 'PLA' }, { empty: true }] }],
    },
  };
  const paused = {
    ...printing, jobState: 'PAUSE', percent: 71, remainingMinutes: 34, nozzleC: 38.2, bedC: 45, chamberC: null, light: 'off',
    details: {
      ...printing.details, model: 'A1', file: 'benchy.3mf', layer: 40, layers: 240, nozzleTargetC: 0, bedTargetC: 45, ams: [], developerMode: false, lights: [{ node: 'chamber_light', mode: 'off' }],
      printError: { code: '0300_8004', text: 'Filament ran out. Please load new filament.' }, hms: [{ code: '0700_2000_0002_0001', text: null, page: 'https://wiki.bambulab.com/en/x1/troubleshooting/hmscode/0700_2000_0002_0001' }],
    },
  };
  const refused = {
    connected: false, jobState: null, percent: null, remainingMinutes: null, nozzleC: null, bedC: null, chamberC: null, light: null, lastUpdate: iso(begun - 86_000), 
    details: { stale: true, error: 'the printer shows another certificate than before', ams: [], hms: [] },
  };
  const one = (/** @type {number} */ id, /** @type {string} */ name, /** @type {object} */ status, /** @type {object | null} */ certificate = null) => ({
    id, name, host: `192.168.1.${id + 9}`, serial: `00M09A35010${id}`, accessCode: null, hasAccessCode: true, rtspUrl: null, status, certificate, camera: { id: certificate === null ? String(id) : null, error: null },
  });
  return [
    one(1, 'Studio X1', printing), one(2, 'Workbench A1', paused), one(3, 'Cellar P1S', refused, { known: hex('a1'), offered: hex('7f') }),
  ];
}
