// The cost of nobody as people read it.

import type { Schema } from "./api.ts";
import { length } from "./days.ts";
import { filterOf } from "./filter.ts";
import { spoken } from "./words.ts";

export type Unattributed = Schema<"UnattributedBody">;
export type UnattributedRow = Schema<"UnattributedRowBody">;
export type SuggestedRule = Schema<"SuggestedRuleBody">;

const WHY: Record<string, string> = {
  no_pool: "No pool takes its lines",
  no_mapping: "No tenant rule fits its lines",
  tenant_refused: "A rule names a tenant that is refused",
  no_usage: "Nobody used anything to share it by",
  remainder: "The fixed percentages leave it over",
  unknown: "The entries give no reason",
};

/** Returns why a cost has nobody who pays it. */
export function why(word: string): string {
  return WHY[word] ?? spoken(word);
}

/** Returns what the lines of a row have in common; null where no lines tell the amount. */
export function lines(row: UnattributedRow): string | null {
  if (row.lines == null) return null;
  const account = row.sub_account ?? row.billing_account;
  const known = [row.provider, row.service ?? row.service_category, account == null ? null : `account ${account}`];
  return known.filter((text) => text != null && text !== "").join(" · ");
}

/** Returns how many days ago a day was, itself and today included; 0 for a day to come. */
export function age(day: string, today: string): number {
  return today < day ? 0 : length({ from: day, to: today });
}

/** Returns what tells a row from the others of its currency, as terms of a filter. */
export function kindOf({ pool, why, provider, billing_account, sub_account, service, service_category }: UnattributedRow): string {
  return filterOf({ pool, why, provider, billing_account, sub_account, service, service_category });
}

/** Returns a key of a row that no other row has. */
export function keyOf(row: UnattributedRow): string {
  return JSON.stringify([row.currency, row.pool, row.why, row.provider, row.billing_account, row.sub_account, row.service, row.service_category, row.lines == null]);
}
