// Plays a recording in the page, also while it is being written: by its playlist, in which every moment can be sought.
import { useEffect, useRef, useState } from 'react';
import { url } from '../state/base.ts';
import type { Recording } from '../state/recordings.ts';

const HLS = 'application/vnd.apple.mpegurl';

export function Player({ recording }: { recording: Recording }) {
  const video = useRef<HTMLVideoElement>(null);
  const [problem, setProblem] = useState<string | null>(null);
  const playlist = url(`${recording.url}/index.m3u8`).href;
  const file = url(recording.url).href;

  useEffect(() => {
    const element = video.current;
    if (element === null) return;
    let gone = false;
    let end = (): void => { element.removeAttribute('src'); };
    const native = (source: string): void => {
      element.src = source;
    };
    const begin = async (): Promise<void> => {
      const { default: Library } = await import('hls.js/light');
      if (gone) return;
      // Safari plays playlists by itself; without either there is the file.
      if (!Library.isSupported()) {
        native(element.canPlayType(HLS) === '' ? file : playlist);
        return;
      }
      const hls = new Library({ enableWorker: false, startPosition: 0 });
      end = () => hls.destroy();
      hls.on(Library.Events.ERROR, (_, data) => {
        if (!data.fatal) return;
        hls.destroy();
        // One that was put there by hand may be no fragmented MP4.
        native(file);
      });
      hls.attachMedia(element);
      hls.loadSource(playlist);
    };
    begin().catch((error: unknown) => setProblem(error instanceof Error ? error.message : String(error)));
    return () => {
      gone = true;
      end();
    };
  }, [playlist, file]);

  return (
    <div className="player">
      <video ref={video} controls autoPlay muted playsInline aria-label={`Recording ${recording.name}`}
        onError={() => setProblem('this browser cannot play it; download it instead')} onPlaying={() => setProblem(null)} />
      {problem !== null && <p className="problem" role="alert">Not played: {problem}</p>}
    </div>
  );
}
