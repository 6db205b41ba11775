// The addresses of this camera, to paste into other software.
import { useState } from 'react';
import { url } from '../state/base.ts';
import type { Camera } from '../state/types.ts';
import { Check, Copy } from './Icons.tsx';

export function Links({ camera }: { camera: Camera }) {
  const { urls } = camera;
  const all: [string, string | null][] = [
    ['WHEP', urls.whep],
    ['LL-HLS (fMP4)', urls.hlsLlFmp4],
    ['LL-HLS (TS)', urls.hlsLl],
    ['HLS', urls.hls],
    ['MJPEG', urls.stream],
    ['Snapshot', urls.snapshot],
  ];
  const links = all.flatMap(([name, path]): [string, string][] => (path === null ? [] : [[name, url(path).href]]));
  if (links.length === 0) return null;
  return (
    <section className="card links-card">
      <h3>Links</h3>
      <ul className="links">
        {links.map(([name, address]) => <Link key={name} name={name} address={address} />)}
      </ul>
    </section>
  );
}

function Link({ name, address }: { name: string; address: string }) {
  const [copied, setCopied] = useState(false);
  const copy = (): void => {
    void copyText(address).then((done) => {
      setCopied(done);
      if (done) setTimeout(() => setCopied(false), 2000);
    });
  };
  return (
    <li>
      <span className="link-name">{name}</span>
      <a className="address" href={address} target="_blank" rel="noreferrer" title={address}>{address}</a>
      <button type="button" className="button bare small" aria-label={copied ? `${name} address copied` : `Copy the ${name} address`} title="Copy" onClick={copy}>
        {copied ? <Check /> : <Copy />}
      </button>
    </li>
  );
}

/** The clipboard needs HTTPS or localhost; a page in the home network often has neither. */
async function copyText(text: string): Promise<boolean> {
  try {
    await navigator.clipboard.writeText(text);
    return true;
  } catch {
    const field = document.createElement('textarea');
    field.value = text;
    field.className = 'off-screen';
    document.body.append(field);
    field.select();
    // Deprecated, and the only way without a secure context.
    const done = (document as { execCommand(command: string): boolean }).execCommand('copy');
    field.remove();
    return done;
  }
}
