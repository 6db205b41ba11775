// Unit tests of the pure logic: no browser, no DOM.
import { defineConfig } from 'vitest/config';

export default defineConfig({ test: { environment: 'node', include: ['test/**/*.test.ts'], testTimeout: 60000 } });
