// What is said of amounts whose bill may still change at its provider.

import type { Schema } from "./api.ts";
import * as format from "./format.ts";
import { isolated } from "./words.ts";

export type EstimatedMeta = Pick<Schema<"CostMetaBody">, "estimated" | "estimated_periods">;

/** Source periods that are named; the rest is counted. */
const NAMED = 3;

/** Returns which bills are estimates: `estimated: aws October 2026 is still open`. Tenants are not told the sources. */
export function openPeriods({ estimated_periods: periods }: EstimatedMeta): string {
  // Several accounts of a source are one bill to the reader.
  const names = [...new Set((periods ?? []).map(({ source, billing_period: month }) => `${isolated(source)} ${format.month(month)}`))];
  if (names.length === 0) return "estimated: a bill of these days is still open";
  const more = names.length - NAMED;
  const said = more > 0 ? [...names.slice(0, NAMED), `${more} more`] : names;
  const listed = said.length > 1 ? `${said.slice(0, -1).join(", ")} and ${said.at(-1) ?? ""}` : (said[0] ?? "");
  return `estimated: ${listed} ${said.length > 1 ? "are" : "is"} still open`;
}
