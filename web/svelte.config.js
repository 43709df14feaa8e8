import { vitePreprocess } from "@sveltejs/vite-plugin-svelte";

export default {
  preprocess: vitePreprocess(),
  compilerOptions: {
    // On narrow screens rows are laid out as cards, and browsers drop the roles of a table then; so they are written out.
    warningFilter: (warning) => warning.code !== "a11y_no_redundant_roles",
  },
};
