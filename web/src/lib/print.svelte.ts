// Whether the page is being put on paper, where nothing can be scrolled to or unfolded.

import { flushSync } from "svelte";

/** Most rows of a table on paper. */
export const PRINT_ROWS_MAX = 500;

class Print {
  isOn = $state(false);

  start(): void {
    const set = (isOn: boolean) => {
      // The browser takes what is there when its event returns.
      flushSync(() => (this.isOn = isOn));
    };
    addEventListener("beforeprint", () => set(true));
    addEventListener("afterprint", () => set(false));
    matchMedia("print").addEventListener("change", ({ matches }) => set(matches));
  }
}

export const print = new Print();
