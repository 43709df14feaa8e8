// Days of which a chart cannot say the last word: nothing is posted of them yet, they are not over, or they may change.

import type { Client, CostRow, Costs, Query } from "./api.ts";
import { monday, plus } from "./days.ts";
import { sign } from "./decimal.ts";

/** What a page knows of its days. */
export interface Known {
  /** The last day that has entries; null if none has. */
  through: string | null | undefined;
  today: string;
  /** Days with cost that is not final. */
  pending?: readonly string[];
}

/** Returns those of the days that are not complete or not final. */
export function openDays(days: readonly string[], { through, today, pending = [] }: Known): string[] {
  const known = new Set(pending);
  return days.filter((day) => through == null || through < day || today <= day || known.has(day));
}

/** Returns those of the weeks, named by their Mondays, that have such a day in a range that ends with `to`. */
export function openWeeks(weeks: readonly string[], to: string, { through, today, pending = [] }: Known): string[] {
  const known = new Set(pending.map(monday));
  return weeks.filter((week) => {
    const last = plus(week, 6) < to ? plus(week, 6) : to;
    return through == null || through < last || today <= last || known.has(week);
  });
}

/** Returns the days with cost that is not final, of rows by status and day. */
export function pendingDays(rows: readonly CostRow[]): string[] {
  const series = rows.find(({ key }) => key.status === "pending")?.series ?? [];
  return series.filter(([, cost]) => sign(cost) !== 0).map(([day = ""]) => day);
}

/** Asks for those days, if an answer to the same question says that there are any. */
export async function askPending(client: Client, { meta }: Pick<Costs, "meta">, query: Query, signal?: AbortSignal): Promise<string[]> {
  if (meta.view !== "posted" || !(meta.pending_days > 0)) return [];
  const { rows } = await client.costs({ ...query, group_by: "status", granularity: "day", limit: 10 }, signal);
  return pendingDays(rows);
}
