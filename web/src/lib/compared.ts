// Which days a change was measured by, in words: what is not complete or not final is left out of it.

import type { Schema } from "./api.ts";
import type { Asked } from "./explain.ts";
import * as format from "./format.ts";

type Meta = Pick<Schema<"CostMetaBody">, "range" | "compared" | "data_through">;

/** Returns the days on both sides: `Nov 1 – 27, 2026 against Oct 5 – 31, 2026`. */
export function sides({ compared }: Meta): string {
  if (!compared) return "Not compared: the first of these days is not final";
  const said = ({ from, to }: { from: string; to: string }) => format.days(from, to);
  return `${said(compared.range)} against ${said(compared.previous)}`;
}

/** Returns what is to be said beside a change: through which day it was compared if not through the last; empty if it was. */
export function comparedThrough({ range, compared, data_through: last }: Meta): string {
  if (!compared) return last == null ? "" : "not compared: not final yet";
  return compared.range.to === range.to ? "" : `compared through ${format.day(compared.range.to, true)}`;
}

/** Returns what a change is explained with: the same days, so that its parts add up to it. */
export function asChange({ compared, range }: Meta): Partial<Asked> {
  return { of: "change", days: compared?.range ?? range };
}
