// The days of a page, as its address says them.

import type { Settings } from "./api.ts";
import { type Days, range } from "./days.ts";
import { router } from "./router.svelte.ts";

export class PageRange {
  constructor(
    private readonly settings: () => Settings,
    private readonly fallback = "30d",
  ) {}

  /** As it stands in the address. */
  get text(): string {
    return router.query.get("r") ?? this.fallback;
  }

  get days(): Days {
    const { today } = this.settings();
    const asked = range(this.text, today) ?? range(this.fallback, today) ?? { from: today, to: today };
    return today < asked.to && asked.from <= today ? { from: asked.from, to: today } : asked;
  }

  set = (value: string): void => {
    router.set({ r: value === this.fallback ? null : value });
  };
}
