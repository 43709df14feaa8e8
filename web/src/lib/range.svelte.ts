// The days of a page, as its address says them. Another part of the address that changes asks nothing again.

import type { Settings } from "./api.ts";
import { type Days, range } from "./days.ts";
import { atState } from "./pages.ts";
import { router } from "./router.svelte.ts";

export class PageRange {
  private readonly settings: () => Settings;
  private readonly fallback: string;

  /** As it stands in the address. */
  readonly text: string = $derived.by(() => router.query.get("r") ?? this.fallback);

  readonly days: Days = $derived.by(() => {
    const { today } = this.settings();
    const asked = range(this.text, today) ?? range(this.fallback, today) ?? { from: today, to: today };
    return today < asked.to && asked.from <= today ? { from: asked.from, to: today } : asked;
  });

  /** The state of the ledger that is asked for: a day, a time, or a posting; now if it is none. */
  readonly asOf: string | undefined = $derived(router.query.get("asof") || undefined);

  /** What a question about posted cost of these days is asked with. */
  readonly query: Days & { as_of: string | undefined } = $derived.by(() => ({ ...this.days, as_of: this.asOf }));

  constructor(settings: () => Settings, fallback = "30d") {
    this.settings = settings;
    this.fallback = fallback;
  }

  /** Returns an address of ours that shows the same state of the ledger. */
  at = (path: string): string => atState(path, this.asOf);

  set = (value: string): void => {
    router.set({ r: value === this.fallback ? null : value });
  };
}
