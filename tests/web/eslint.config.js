import js from '@eslint/js';
import globals from 'globals';

export default [
  js.configs.recommended,
  { rules: { eqeqeq: 'error', 'no-var': 'error', 'prefer-const': 'error' } },
  { files: ['lib/**', 'test/**', 'bench/**', '*.js'], languageOptions: { globals: globals.node } },
  // These run in the browser: whole in pages/, and as callbacks of page.evaluate elsewhere.
  { files: ['pages/**'], languageOptions: { globals: { ...globals.browser, Hls: 'readonly' } } },
  { files: ['test/**', 'lib/browser.js', 'lib/dashboard.js', 'lib/screencast.js'], languageOptions: { globals: globals.browser } },
];
