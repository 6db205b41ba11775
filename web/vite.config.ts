// How the dashboard is built: relative paths, so that it works behind any sub-path, and nothing inline.
import react from '@vitejs/plugin-react';
import { defineConfig } from 'vite';

const server = process.env.FANLIGHT ?? 'http://127.0.0.1:8080';
const proxied = ['/api', '/cameras', '/hls', '/webrtc', '/files'];

export default defineConfig({
  base: './',
  plugins: [react()],
  build: {
    target: 'es2022',
    // A page that may run nothing inline may load nothing inline either.
    assetsInlineLimit: 0,
    modulePreload: { polyfill: false },
    manifest: true,
    chunkSizeWarningLimit: 800,
  },
  server: { proxy: Object.fromEntries(proxied.map((path) => [path, { target: server, changeOrigin: true }])) },
});
