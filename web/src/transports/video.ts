// What the video transports share: the element, and the count of pictures that reached the screen.

export function createVideo(): HTMLVideoElement {
  const video = document.createElement('video');
  video.muted = true;
  video.autoplay = true;
  video.playsInline = true;
  video.disableRemotePlayback = true;
  video.setAttribute('aria-hidden', 'true');
  video.tabIndex = -1;
  return video;
}

export interface Painted {
  width: number;
  height: number;
  /** When the first packet of the picture came minus now, where the browser says (WebRTC only). */
  receiveTime?: number;
}

/** Calls back for each painted picture until the returned function is called. */
export function watchFrames(video: HTMLVideoElement, painted: (frame: Painted) => void): () => void {
  let over = false;
  if ('requestVideoFrameCallback' in HTMLVideoElement.prototype) {
    let handle = 0;
    const next = (_: number, data: VideoFrameCallbackMetadata): void => {
      if (over) return;
      handle = video.requestVideoFrameCallback(next);
      painted({ width: data.width, height: data.height });
    };
    handle = video.requestVideoFrameCallback(next);
    return () => {
      over = true;
      video.cancelVideoFrameCallback(handle);
    };
  }
  // Old browsers: look at the playback position and at the decoder's count.
  let seen = -1;
  const timer = setInterval(() => {
    const { totalVideoFrames } = video.getVideoPlaybackQuality();
    const count = totalVideoFrames > 0 ? totalVideoFrames : video.currentTime;
    if (count !== seen && video.readyState >= 2) {
      seen = count;
      painted({ width: video.videoWidth, height: video.videoHeight });
    }
  }, 100);
  return () => clearInterval(timer);
}

/** Starts playing; a refusal is left to the watchdog (muted video may always play). */
export function play(video: HTMLVideoElement): void {
  video.play().catch(() => undefined);
}
