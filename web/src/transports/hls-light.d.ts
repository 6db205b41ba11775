// hls.js's light build (no subtitles, DRM or alternate audio, which cameras lack) has the types of the whole one.
declare module 'hls.js/light' {
  export { default } from 'hls.js';
}
