// What may be built into the page: `VITE_… npm run build`.
interface ImportMetaEnv {
  /** `false`: plain HLS only. */
  readonly VITE_HLS_LOW_LATENCY?: string;
}

interface ImportMeta {
  readonly env: ImportMetaEnv;
}
