// Numbers and times in words. Pure.

/** `120 ms`, `1.2 s`, `14 s`. */
export function latency(ms: number): string {
  if (ms < 995) return `${Math.max(0, Math.round(ms / 10) * 10)} ms`;
  return ms < 9950 ? `${(ms / 1000).toFixed(1)} s` : `${Math.round(ms / 1000)} s`;
}

/** Age of a picture in seconds: `just now`, `3 s ago`, `2 min ago`. */
export function ago(seconds: number): string {
  return seconds < 1.5 ? 'just now' : `${duration(seconds)} ago`;
}

/** `8 s`, `2 min 5 s`, `3 h 20 min`, `2 d 4 h`. */
export function duration(seconds: number): string {
  const whole = Math.max(0, Math.round(seconds));
  if (whole < 60) return `${whole} s`;
  const units: [number, string][] = [[86400, 'd'], [3600, 'h'], [60, 'min'], [1, 's']];
  const first = units.findIndex(([size]) => whole >= size);
  const [size, name] = units[first] ?? [1, 's'];
  const [smaller, smallerName] = units[first + 1] ?? [1, 's'];
  const rest = Math.floor((whole % size) / smaller);
  return `${Math.floor(whole / size)} ${name}${rest > 0 ? ` ${rest} ${smallerName}` : ''}`;
}

/** Time until `at`: `now`, `in 5 s`. Both in ms of one clock. */
export function countdown(at: number, now: number): string {
  const seconds = Math.ceil((at - now) / 1000);
  return seconds <= 0 ? 'now' : `in ${duration(seconds)}`;
}

export function fps(value: number): string {
  return value >= 9.95 ? `${Math.round(value)} fps` : `${value.toFixed(1)} fps`;
}

/** kbit/s as people read it: `850 kbit/s`, `2.1 Mbit/s`. */
export function bitrate(kbps: number): string {
  return kbps < 1000 ? `${Math.round(kbps)} kbit/s` : `${(kbps / 1000).toFixed(1)} Mbit/s`;
}

/** `900 B`, `1.5 MB`, `12.3 GB`. */
export function bytes(count: number): string {
  const units: [number, string][] = [[1e9, 'GB'], [1e6, 'MB'], [1e3, 'kB']];
  const unit = units.find(([size]) => count >= size);
  return unit === undefined ? `${count} B` : `${(count / unit[0]).toFixed(1)} ${unit[1]}`;
}

export function plural(count: number, one: string, many = `${one}s`): string {
  return `${count} ${count === 1 ? one : many}`;
}

/** A file name of today for a downloaded picture: `porch-2026-11-21-07-30-05.jpg`. */
export function snapshotName(camera: string, at: Date): string {
  const two = (value: number): string => String(value).padStart(2, '0');
  const day = `${at.getFullYear()}-${two(at.getMonth() + 1)}-${two(at.getDate())}`;
  return `${camera}-${day}-${two(at.getHours())}-${two(at.getMinutes())}-${two(at.getSeconds())}.jpg`;
}
