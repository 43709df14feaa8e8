// The rows and columns of the leaderboard, made from what the API answers.

import type { CostRow, Costs } from "./api.ts";
import { ratio, sign } from "./decimal.ts";
import * as format from "./format.ts";
import { groupBy } from "./group.ts";
import { type MetricTotal, type SnapshotRow, inOrder, isBytes, label, total } from "./metrics.ts";
import { plus } from "./days.ts";
import type { SortColumn } from "./sort.ts";
import { isolated } from "./words.ts";

export type View = "current_rates" | "posted";

/** One workspace, or a reserved consumer of the posted view. */
export interface Row {
  id: string;
  name: string;
  slug: string;
  isReserved: boolean;
  cost: string | null;
  share: string | null;
  previous: string | null;
  change: string | null;
  metrics: Record<string, MetricTotal>;
}

/** A column: how it is compared and how it is shown. */
export interface Column extends SortColumn<Row> {
  head: string;
  about: string;
  kind: "name" | "metric" | "cost" | "change" | "share";
}

/** Most snapshot rows that are read for the whole table; beyond that only expanded rows show averages, peaks and steps. */
export const SNAPSHOT_ROWS_MAX = 20_000;

const RESERVED: Record<string, string> = {
  __unattributed__: "Unattributed",
  __idle__: "Idle",
  __overhead__: "Overhead",
  __variance__: "Variance",
  __unconsumed__: "Unconsumed",
};

const NOTHING: MetricTotal = { value: null, average: null, peak: null, flawed: 0, steps: [] };

/** Returns the rows of one view. `snapshots` is null where there are too many to read. */
export function rowsOf(
  costs: Costs | null,
  estimate: Costs | null,
  snapshots: readonly SnapshotRow[] | null,
  from: string,
): Row[] {
  const [costRows, estimated] = [byKey(costs), byKey(estimate)];
  const measured = groupBy(snapshots ?? [], ({ tenant }) => tenant);
  const ids = new Set([...costRows.keys(), ...estimated.keys(), ...measured.keys()]);
  const metrics = metricsOf(estimate, snapshots);
  return [...ids].map((id) => {
    const rows = measured.get(id);
    const used = estimated.get(id)?.usage ?? {};
    const totals = metrics.map((metric): [string, MetricTotal] => [
      metric,
      rows ? total(rows, metric, from, (day, days) => plus(day, -days)) : { ...NOTHING, value: used[metric] ?? null },
    ]);
    return { ...named(id, costRows.get(id) ?? estimated.get(id)), ...costsOf(costRows.get(id)), metrics: Object.fromEntries(totals) };
  });
}

const byKey = (costs: Costs | null) => new Map((costs?.rows ?? []).map((row) => [row.key.tenant ?? "", row]));

/** Names come with the rows of costs; one without cost and usage has its id. */
function named(id: string, row: CostRow | undefined): Pick<Row, "id" | "name" | "slug" | "isReserved"> {
  const reserved = RESERVED[id];
  return { id, name: reserved ?? row?.name ?? id, slug: row?.slug ?? id, isReserved: reserved !== undefined };
}

function costsOf(row: CostRow | undefined): Pick<Row, "cost" | "share" | "previous" | "change"> {
  return {
    cost: row?.cost ?? null,
    share: row?.share ?? null,
    previous: row?.previous ?? null,
    change: row?.change ?? null,
  };
}

/** Returns the metrics that have a column. */
export function metricsOf(estimate: Costs | null, snapshots: readonly SnapshotRow[] | null): string[] {
  const used = (estimate?.rows ?? []).flatMap((row) => Object.keys(row.usage ?? {}));
  const measured = (snapshots ?? []).flatMap((row) => Object.keys(row.metrics));
  return inOrder([...used, ...measured]);
}

/** Returns the columns; share of total is the last one. */
export function columnsOf(metrics: readonly string[], word: string, currency: string, compared: string): Column[] {
  return [
    { id: "workspace", head: format.capital(word), about: "", kind: "name", isText: true, value: (row) => row.name },
    ...metrics.map((metric): Column => ({
      id: metric,
      head: label(metric),
      about: metric.endsWith("_24h") ? "Sum over the period" : "Last value of the period",
      kind: "metric",
      isText: false,
      value: (row) => row.metrics[metric]?.value,
    })),
    { id: "cost", head: `Cost (${currency})`, about: "", kind: "cost", isText: false, value: (row) => row.cost },
    { id: "change", head: "Change vs previous period", about: compared, kind: "change", isText: false, value: (row) => row.change },
    { id: "share", head: "% of total", about: "Part of the organisation's total", kind: "share", isText: false, value: (row) => row.share },
  ];
}

/** Returns a metric's value as the table shows it. */
export function shown(metric: string, value: string | null | undefined): string {
  return isBytes(metric) ? format.bytes(value) : format.quantity(value);
}

/** Returns what stands behind a metric's value, for a tooltip. */
export function behind(metric: string, totals: MetricTotal): string {
  if (totals.value === null) return "Not measured in this period";
  const lines = [totals.value];
  if (totals.average !== null) lines.push(`daily average ${shown(metric, totals.average)}`);
  if (totals.peak !== null) lines.push(`peak ${shown(metric, totals.peak.value)} on ${format.day(totals.peak.day)}`);
  if (totals.flawed > 0) lines.push(`${totals.flawed} days degraded or missing`);
  if (totals.steps.length > 0) lines.push(`step on ${totals.steps.map((day) => format.day(day, true)).join(", ")}`);
  return lines.join("\n");
}

/** What a cell says; texts that it has not are empty. */
export interface Cell {
  text: string;
  /** Every digit, as it is copied. */
  exact: string;
  title: string;
  /** Of a metric: which days are steps, and how many were not measured well. */
  step: string;
  flawed: string;
  /** Of a change: how much that is of what was before, and whether it is to be welcomed. */
  part: string;
  tone: "good" | "bad" | "soft" | "";
  /** Of a share: the length of its bar in percent. */
  length: number;
  /** Whether it is wider than its column where that has one width for all rows. */
  isLong: boolean;
}

const EMPTY: Cell = { text: "", exact: "", title: "", step: "", flawed: "", part: "", tone: "", length: 0, isLong: false };
/** Most characters that a column has room for. */
const LONG = { metric: 11, cost: 14 };

/** Returns what a row shows in a column. */
export function cellOf(row: Row, { id, kind }: Column, currency: string): Cell {
  switch (kind) {
    case "name":
      return { ...EMPTY, text: row.name, title: row.isReserved || row.name === row.id ? row.name : `${isolated(row.name)} (${row.id})` };
    case "metric": {
      const totals = row.metrics[id];
      if (totals === undefined) return { ...EMPTY, text: shown(id, null) };
      const step = totals.steps.length > 0 ? `step on ${totals.steps.map((day) => format.day(day, true)).join(", ")}` : "";
      const flawed = totals.flawed > 0 ? `${totals.flawed} days degraded or missing` : "";
      const text = shown(id, totals.value);
      return { ...EMPTY, text, exact: totals.value ?? "", title: behind(id, totals), step, flawed, isLong: text.length > LONG.metric || step !== "" || flawed !== "" };
    }
    case "cost": {
      const text = format.money(row.cost, currency);
      return { ...EMPTY, text, exact: row.cost ?? "", title: format.exact(row.cost, currency), isLong: text.length > LONG.cost };
    }
    case "change": {
      const tone = sign(row.change) > 0 ? "bad" : sign(row.change) < 0 ? "good" : "soft";
      const part = format.growth(row.change, row.previous) ?? (sign(row.change) > 0 ? "new" : "");
      return { ...EMPTY, text: format.change(row.change, currency), exact: row.change ?? "", title: format.exact(row.change, currency), part, tone };
    }
    case "share":
      return { ...EMPTY, text: format.percent(row.share), exact: row.share ?? "", title: row.share ?? "", length: row.share === null ? 0 : Math.min(100, ratio(row.share, "1") * 100) };
  }
}

/** Returns the links of a workspace; addresses that are no web pages are left out. */
export function linksOf(links: readonly { label: string; url: string }[], slug: string): { label: string; url: string }[] {
  return links.flatMap(({ label: text, url }) => {
    const filled = url.replaceAll("{slug}", encodeURIComponent(slug));
    return URL.canParse(filled) && /^https?:$/.test(new URL(filled).protocol) ? [{ label: text, url: filled }] : [];
  });
}

/** Returns the rows without which the search would be empty: name, id and slug count. */
export function matching(rows: readonly Row[], search: string): Row[] {
  const words = search.trim().toLocaleLowerCase().split(/\s+/).filter(Boolean);
  return rows.filter((row) => {
    const text = `${row.name} ${row.id} ${row.slug}`.toLocaleLowerCase();
    return words.every((word) => text.includes(word));
  });
}
