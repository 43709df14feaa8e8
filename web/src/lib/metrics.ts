// What a snapshot measures: names of columns, sums of counters, last values of gauges, steps.

import { compare, divide, largest, median, parse, sum } from "./decimal.ts";

/** A row of `GET /snapshots`. */
export interface SnapshotRow {
  tenant: string;
  snapshot_date: string;
  source: string;
  metrics: Record<string, string | null>;
  quality: Record<string, string>;
  taken_at?: string | null;
}

/** One metric of one tenant over a range. */
export interface MetricTotal {
  /** Sum of a counter, last value of a gauge; null when nothing was measured. */
  value: string | null;
  /** Daily average of a counter. */
  average: string | null;
  /** Largest day and its value. */
  peak: { day: string; value: string } | null;
  /** Days on which it could not be measured as it should. */
  flawed: number;
  /** Days of the range with a step. */
  steps: string[];
}

/** The days before a day that a step is measured by, and how many of them must be known. */
const STEP_DAYS = 14;
const STEP_DAYS_MIN = 7;
const STEP_FACTOR = 3n;

const LABELS: Record<string, string> = {
  member_count: "Members",
  api_call_count_24h: "API calls / 24h",
  storage_bytes: "Storage",
  change_count_24h: "Changes / 24h",
  incident_count_24h: "Incidents / 24h",
  monitored_host_count: "Hosts",
  audit_event_count_24h: "Audit events / 24h",
  webhook_delivery_count_24h: "Webhooks / 24h",
  celery_task_count_24h: "Tasks / 24h",
};

/** The metrics that every application has, in the order of the export. */
export const BUILT_IN = Object.keys(LABELS);

/** Returns whether the metric counts a day; others are read at a moment. */
export function isCounter(metric: string): boolean {
  return metric.endsWith("_24h");
}

/** Returns whether the metric is a number of bytes. */
export function isBytes(metric: string): boolean {
  return metric.endsWith("_bytes");
}

/** Returns the head of the metric's column. */
export function label(metric: string): string {
  const known = LABELS[metric];
  if (known !== undefined) return known;
  const words = metric.replace(/_count(?=_24h$|$)/, "").replace(/_24h$/, "").replaceAll("_", " ");
  return `${words.slice(0, 1).toUpperCase()}${words.slice(1)}${isCounter(metric) ? " / 24h" : ""}`;
}

/** Returns the built-in metrics and then the others by name, of those that occur. */
export function inOrder(found: Iterable<string>): string[] {
  const names = new Set(found);
  const others = [...names].filter((name) => !BUILT_IN.includes(name)).toSorted();
  return [...BUILT_IN.filter((name) => names.has(name)), ...others];
}

/** Returns each day's value, of all sources; a day without one is left out. */
export function byDay(rows: readonly SnapshotRow[], metric: string): Map<string, string> {
  const found = new Map<string, string>();
  for (const row of rows) {
    const value = row.metrics[metric];
    if (value == null || row.quality[metric] === "missing") continue;
    const before = found.get(row.snapshot_date);
    found.set(row.snapshot_date, before === undefined ? value : sum([before, value]));
  }
  return new Map([...found].toSorted(([a], [b]) => (a < b ? -1 : 1)));
}

/** Returns the days whose value is more than three times the median of the fourteen days before; of days in a row, the first. */
export function steps(values: ReadonlyMap<string, string>, dayBefore: (day: string, days: number) => string): string[] {
  const high = new Set<string>();
  for (const [day, value] of values) if (isStep(values, day, value, dayBefore)) high.add(day);
  return [...high].filter((day) => !high.has(dayBefore(day, 1)));
}

function isStep(
  values: ReadonlyMap<string, string>,
  day: string,
  value: string,
  dayBefore: (day: string, days: number) => string,
): boolean {
  const before = Array.from({ length: STEP_DAYS }, (_, at) => values.get(dayBefore(day, at + 1)));
  const known = before.filter((past): past is string => past !== undefined);
  const middle = known.length < STEP_DAYS_MIN ? null : median(known);
  const [now, usual] = [parse(value), parse(middle)];
  if (!now || !usual || usual.units <= 0n) return false;
  return now.units * 10n ** BigInt(usual.scale) > usual.units * STEP_FACTOR * 10n ** BigInt(now.scale);
}

/** Returns what one metric comes to in the range; rows before it only serve to find steps. */
export function total(
  rows: readonly SnapshotRow[],
  metric: string,
  from: string,
  dayBefore: (day: string, days: number) => string,
): MetricTotal {
  const all = byDay(rows, metric);
  const values = new Map([...all].filter(([day]) => day >= from));
  const flawed = rows.filter((row) => row.snapshot_date >= from && (row.quality[metric] ?? "ok") !== "ok").length;
  const top = largest(values.values());
  const peak = top === null ? null : [...values].find(([, value]) => compare(value, top) === 0);
  const counts = isCounter(metric);
  const amount = values.size === 0 ? null : counts ? sum(values.values()) : ([...values.values()].at(-1) ?? null);
  return {
    value: amount,
    average: counts && amount !== null ? divide(amount, String(values.size), 1) : null,
    peak: peak ? { day: peak[0], value: peak[1] } : null,
    flawed,
    steps: steps(all, dayBefore).filter((day) => day >= from),
  };
}
