import { svelte } from "@sveltejs/vite-plugin-svelte";
import { defineConfig } from "vitest/config";

// Addresses in the built page are relative to `<base href>`, which the server fills in.
export default defineConfig({
  base: "./",
  plugins: [svelte()],
  build: {
    outDir: "dist",
    // `dist` holds one file of git; `scripts/clean.mjs` removes everything else before a build.
    emptyOutDir: false,
    assetsInlineLimit: 0,
    modulePreload: { polyfill: false },
    target: "es2023",
  },
  server: { proxy: { "/api": "http://127.0.0.1:8082" } },
  test: { include: ["tests/unit/**/*.test.ts"] },
});
