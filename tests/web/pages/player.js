// Plays one stream, reads the clock out of each picture, and counts what a viewer would notice. Query:
// url, kind (hls, mjpeg or a viewer of viewers.js), hls (JSON for the hls.js constructor), settle (seconds
// that do not count).
// The result is in `window.rig`.

/** @typedef {import('../lib/browser.js').Played} Played */

(() => {
  const query = new URLSearchParams(location.search);
  const url = query.get('url') ?? '';
  const settleMs = Number(query.get('settle') ?? 0) * 1000;

  /** @type {Played} */
  const played = { frames: 0, seconds: 0, firstMs: 0, latencies: [], unreadable: 0, stalls: 0, frozenMs: 0, errors: [] };
  let askedAt = 0;
  let firstAt = 0;
  let lastAt = 0;
  let over = false;
  const canvas = document.createElement('canvas');
  const context = canvas.getContext('2d', { willReadFrequently: true });

  const settled = () => firstAt > 0 && Date.now() - firstAt >= settleMs;

  /**
   * The clock bars: 32 blocks of bits, highest first, and below them the same bits inverted.
   * @param {HTMLVideoElement | HTMLImageElement} picture
   * @param {number} width
   * @returns {number | undefined} unix milliseconds modulo 2^32
   */
  function readClock(picture, width) {
    const block = Math.floor(width / 64) * 2;
    if (!context || block < 2) return undefined;
    canvas.width = width;
    canvas.height = 2 * block;
    context.drawImage(picture, 0, 0, width, 2 * block, 0, 0, width, 2 * block);
    const pixels = context.getImageData(0, 0, width, 2 * block).data;
    /** @param {number} n @param {number} row */
    const light = (n, row) => pixels[4 * ((row * block + block / 2) * width + n * block + block / 2)];
    let clock = 0;
    for (let n = 0; n < 32; n += 1) {
      const [bit, inverse] = [light(n, 0), light(n, 1)];
      // Both grey, or both alike: a torn picture, or one without a clock.
      if (Math.abs(bit - inverse) < 100) return undefined;
      clock = clock * 2 + (bit > inverse ? 1 : 0);
    }
    return clock;
  }

  /** @param {HTMLVideoElement | HTMLImageElement} picture @param {number} width */
  function onPicture(picture, width) {
    if (over) return;
    const now = Date.now();
    if (!firstAt) {
      firstAt = now;
      if (askedAt) played.firstMs = performance.now() - askedAt;
    }
    if (lastAt && settled()) played.frozenMs = Math.max(played.frozenMs, now - lastAt);
    lastAt = now;
    played.frames += 1;
    const clock = readClock(picture, width);
    if (!settled()) return;
    if (clock === undefined) played.unreadable += 1;
    // The difference modulo 2^32, as a signed number.
    else played.latencies.push(((now >>> 0) - clock) | 0);
  }

  function openVideo() {
    const video = document.createElement('video');
    video.muted = true;
    video.autoplay = true;
    video.playsInline = true;
    document.body.append(video);
    const watch = () => {
      onPicture(video, video.videoWidth);
      video.requestVideoFrameCallback(watch);
    };
    video.requestVideoFrameCallback(watch);
    video.addEventListener('waiting', () => { if (settled() && !over) played.stalls += 1; });
    return video;
  }

  function playHls() {
    const video = openVideo();
    const Hls = /** @type {typeof import('hls.js').default} */ (/** @type {any} */ (window).Hls);
    const hls = new Hls(JSON.parse(query.get('hls') ?? '{}'));
    hls.on(Hls.Events.ERROR, (_event, data) => {
      if (!over) played.errors.push(`${data.details}${data.fatal ? ' (fatal)' : ''}: ${data.error?.message ?? ''}`);
    });
    hls.loadSource(url);
    hls.attachMedia(video);
    video.play().catch((error) => played.errors.push(String(error)));
    return hls;
  }

  function playMjpeg() {
    const image = document.createElement('img');
    image.crossOrigin = 'anonymous';
    image.addEventListener('error', () => played.errors.push('the picture failed'));
    image.src = url;
    document.body.append(image);
    // An image tells nobody about its next picture: a picture is new when its clock is.
    let shown = -1;
    const watch = () => {
      if (image.naturalWidth > 0) {
        const clock = readClock(image, image.naturalWidth);
        if (clock !== undefined && clock !== shown) {
          shown = clock;
          onPicture(image, image.naturalWidth);
        }
      }
      if (!over) requestAnimationFrame(watch);
    };
    requestAnimationFrame(watch);
  }

  /** @param {string} kind @returns {Promise<{ close: () => void | Promise<void> } | undefined>} */
  async function playWebrtc(kind) {
    const report = {
      asked: () => { askedAt ||= performance.now(); },
      problem: (/** @type {string} */ text) => { if (!over) played.errors.push(text); },
    };
    try {
      return await /** @type {any} */ (window).viewers[kind](url, openVideo(), report);
    } catch (error) {
      report.problem(String(error));
      return undefined;
    }
  }

  const kind = query.get('kind') ?? 'hls';
  const hls = kind === 'hls' ? playHls() : undefined;
  if (kind === 'mjpeg') playMjpeg();
  const viewer = kind === 'hls' || kind === 'mjpeg' ? undefined : playWebrtc(kind);

  const finish = async () => {
    const now = Date.now();
    if (lastAt && settled()) played.frozenMs = Math.max(played.frozenMs, now - lastAt);
    played.seconds = (now - firstAt) / 1000;
    hls?.destroy();
    const open = await viewer;
    await open?.close();
    over = true;
    return played;
  };
  /** @type {any} */ (window).rig = { played, finish };
})();
