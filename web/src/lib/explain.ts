// What is explained, as the address says it: which cost in the language of `/costs`, of which days, and what is asked of it.

import type { Query } from "./api.ts";
import { type Days, length, range, text as textOfDays } from "./days.ts";
import { both, filterOf, narrowed, only, quoted, termsOf, without } from "./filter.ts";

/** What is asked: a cost, a quantity, a change, or a figure that is made of two others. */
const QUESTIONS = ["cost", "change", "share", "coverage", "unit", "unitcost", "price", "average", "usage", "used", "factor", "statement", "flow", "bill", "nobody", "posting", "line"] as const;
/** What stands beside the terms of the filter. Each has one value, and no key of a filter has its name. */
const WORDS = ["by", "view", "asof", "clock", "measure", "currency", "over", "unit", "figure", "cohort", "version"] as const;
type Word = (typeof WORDS)[number];

/** One explanation. */
export interface Asked extends Partial<Record<Word, string | undefined>> {
  of?: (typeof QUESTIONS)[number] | undefined;
  /** Terms of `/costs`; all cost if there is none. */
  filter?: string;
  days: Days;
}

/** Returns an explanation as the address has it. */
export function printed(asked: Asked): string {
  const { of = "cost", days, filter } = asked;
  const words = WORDS.flatMap((word) => (asked[word] === undefined ? [] : [`${word}:${quoted(asked[word])}`]));
  return both(of === "cost" ? "" : `of:${of}`, ...words, `day:${days.from === days.to ? days.from : textOfDays(days)}`, filter);
}

/** Returns the explanation that a text of the address asks for, or null when it asks for none. */
export function parsed(text: string): Asked | null {
  const terms = termsOf(text);
  const valueOf = (word: string) => terms.find(({ key }) => key === word)?.values[0] ?? undefined;
  const day = valueOf("day") ?? "";
  const days = range(day.includes("..") ? day : `${day}..${day}`, day);
  const of = QUESTIONS.find((known) => known === (valueOf("of") ?? "cost"));
  if (days === null || of === undefined) return null;
  const words = WORDS.flatMap((word) => (valueOf(word) === undefined ? [] : [[word, valueOf(word)] as const]));
  return { ...Object.fromEntries(words), of, days, filter: without(text, ["of", "day", ...WORDS]) };
}

/** What the ledger tells apart when it explains a day; of a category or a workflow it explains only the whole that has it. */
const OF_CELL = ["tenant", "pool", "tier", "memo", "meter"];

/** Returns whether it is what one tenant pays on one day, which the ledger explains by itself. */
export function isCell(asked: Asked): boolean {
  return wholeOf(asked) !== null && without(asked.filter, OF_CELL) === "";
}

/** Returns the tenant's day, in its pool if it names one, that it is or is a part of; null of anything else. */
export function wholeOf({ of = "cost", filter, days, view, asof }: Asked): Asked | null {
  const tenant = only(filter, "tenant");
  if (of !== "cost" || view !== undefined || tenant === null || length(days) !== 1) return null;
  return { days, asof, filter: filterOf({ tenant, pool: only(filter, "pool") }) };
}

/** Returns by what its parts can be listed, what tells most first. */
export function waysOf({ of = "cost", filter, days, view, unit, figure, cohort }: Asked): string[] {
  const has = (key: string) => only(filter, key) !== null;
  switch (of) {
    case "cost": case "unitcost": {
      if (of === "unitcost" && (figure === "failed_cost" || figure === "in_progress_cost")) return ["workflow"];
      // What was merged in the range may have cost before it: its parts are the weeks in which it was merged.
      if (of === "unitcost" && cohort === "merged") return ["week"];
      const first = has("tenant") ? ["day", "pool"] : has("pool") ? ["tenant", "day"] : ["pool", "tenant", "day"];
      const all = [...first, "meter", "category", ...(unit === undefined ? [] : [unit])];
      const known = all.filter((way) => (way === "day" ? length(days) > 1 : !has(way)) && (view === undefined || way !== "pool"));
      return known.filter((way) => way !== "category" || !has("meter"));
    }
    case "change": {
      const isOfTenant = has("tenant") && view === undefined && termsOf(filter ?? "").every(({ key, isNegated }) => !isNegated && ["tenant", "pool"].includes(key));
      const keys = has("tenant") ? ["pool", "meter", "category"] : ["pool", "tenant", "meter", "category"];
      return [...keys.filter((key) => !has(key) && (view === undefined || key !== "pool")), ...(isOfTenant ? ["reason"] : [])];
    }
    case "usage": return ["day"];
    case "used": return ["tenant"];
    case "coverage": return ["kind"];
    case "flow": return ["provider"];
    // An invoice is compared as a whole; what its lines say has its days and pools.
    case "bill": return figure?.startsWith("invoice") ? [] : ["pool", "charge_date"].filter((way) => !has(way));
    case "posting": return ["entry"];
    default: return [];
  }
}

/** Returns by what its parts are listed; null if it has none. */
export function wayOf(asked: Asked): string | null {
  const ways = waysOf(asked);
  return ways.find((way) => way === asked.by) ?? ways[0] ?? null;
}

/** Returns the explanation of one part. */
export function partOf(asked: Asked, way: string, value: string): Asked {
  const { by: _, ...rest } = asked;
  return way === "day" ? { ...rest, days: { from: value, to: value } } : { ...rest, filter: narrowed(asked.filter, way, value) };
}

/** Returns what `/costs` is asked of it. */
export function questionOf({ filter, days, view, asof, clock, measure, currency }: Asked): Query {
  return { ...days, view, clock, measure, currency, as_of: asof, filter: filter || undefined };
}

/** Returns the explanation of a figure of a bill, as the reconciliation names it. */
export function billed({ source, billing_period: month, invoice_id: invoice, currency }: { source: string; billing_period: string; invoice_id?: string | null; currency: string }, figure: string): Asked {
  return { of: "bill", figure, currency, days: range(month, "") ?? { from: "", to: "" }, filter: filterOf({ source, invoice }) };
}
