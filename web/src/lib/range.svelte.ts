// The days of a page, as its address says them. Another part of the address that changes asks nothing again.

import type { Settings } from "./api.ts";
import { type Days, length, ofBar, plus, range, text, upTo } from "./days.ts";
import type { Asked } from "./explain.ts";
import { both, filterOf } from "./filter.ts";
import { atState } from "./pages.ts";
import { router } from "./router.svelte.ts";

export class PageRange {
  private readonly settings: () => Settings;
  private readonly fallback: string;
  private readonly ends: "complete" | "today";

  /** As it stands in the address. */
  readonly text: string = $derived.by(() => router.query.get("r") ?? this.fallback);

  /**
   * The last day that a range may have. Posted cost ends with the last complete day, yesterday, as it does in the API: a day
   * that is not over would be compared with one that was.
   */
  readonly last: string = $derived.by(() => plus(this.settings().today, this.ends === "today" ? 0 : -1));

  readonly days: Days = $derived.by(() => {
    const last = this.last;
    return upTo(range(this.text, last) ?? range(this.fallback, last) ?? { from: last, to: last }, last);
  });

  /** The state of the ledger that is asked for: a day, a time, or a posting; now if it is none. */
  readonly asOf: string | undefined = $derived(router.query.get("asof") || undefined);

  /** Terms of the API's `filter` that stand in the address. */
  readonly filter: string = $derived((router.query.get("f") ?? "").trim());

  /** What a question about posted cost of these days is asked with. */
  readonly query: Days & { as_of: string | undefined } = $derived.by(() => ({ ...this.days, as_of: this.asOf }));

  constructor(settings: () => Settings, fallback = "30d", ends: "complete" | "today" = "complete") {
    this.settings = settings;
    this.fallback = fallback;
    this.ends = ends;
  }

  /** Returns an address of ours that shows the same state of the ledger, and only what is filtered here. */
  at = (path: string): string => atState(path, this.asOf, this.filter);

  /** Returns the explanation of what of the cost of these days, filtered as the page is, has these values. */
  asked = (values: Parameters<typeof filterOf>[0] = {}, more: Partial<Asked> = {}): Asked => ({ days: this.days, asof: this.asOf, filter: both(this.filter, filterOf(values)), ...more });

  /** Shows the days of a bar alone; undefined where the bar is all that is shown. */
  bar = (count: number): ((first: string) => void) | undefined => (length(this.days) > count ? (first) => this.set(text(ofBar(this.days, first, count))) : undefined);

  set = (value: string): void => {
    router.set({ r: value === this.fallback ? null : value });
  };
}
