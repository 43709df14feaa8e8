// What the page of costs has loaded: the rows of the view that is shown and the total of the other one; the chart and the snapshots follow.

import type { Client, Costs, Job, Page, Query, Schema } from "./api.ts";
import { type Days, each, length, plus } from "./days.ts";
import type { Asked } from "./explain.ts";
import { both, filterOf, joined } from "./filter.ts";
import type { SnapshotRow } from "./metrics.ts";
import { type Series, layersOf, type Layer } from "./chart.ts";
import { askPending } from "./marks.ts";
import { SNAPSHOT_ROWS_MAX, type View } from "./leaderboard.ts";

const ROWS_MAX = 10_000;
const TOP = 5;
/** Steps are measured by the days before. */
const DAYS_BEFORE = 14;

/** The filter of what S0 shows: measured usage at current rates, and what the ledger has of it. */
const FILTERS: Record<View, string> = { current_rates: "origin:snapshot", posted: "memo:true" };
/** A dimension with one value under that filter: its series is the total. */
const WHOLE: Record<View, string> = { current_rates: "origin", posted: "memo" };

const question = (view: View, { from, to }: Days, filter: string, asOf: string | undefined) => ({ from, to, view, as_of: view === "posted" ? asOf : undefined, filter: joined(FILTERS[view], filter) });

/** The file that has the rows of the page: the export of usage knows no filter and no earlier state, costs do. */
export function fileOf(view: View, days: Days, filter: string, asOf: string | undefined): { path: string; query: Query; name: string } {
  const isUsage = filter === "" && (asOf === undefined || view !== "posted");
  const name = `apportion-${isUsage ? "usage" : "costs"}-${days.from.replaceAll("-", "")}-${days.to.replaceAll("-", "")}.csv`;
  if (isUsage) return { path: "/exports/usage.csv", query: { from: days.from, to: days.to, view }, name };
  return { path: "/costs", query: { ...question(view, days, filter, asOf), group_by: "tenant", limit: ROWS_MAX }, name };
}

interface Charted {
  view: View;
  days: Days;
  top: { id: string; name: string; series: Series }[];
  total: Series;
  /** Days that were corrected after they were posted. */
  restated: Schema<"RestatedDayBody">[];
  /** The last day with entries, and the days with cost that is not final. */
  through: string | null;
  pending: string[];
}

export class CostPage {
  estimate = $state.raw<Costs | null>(null);
  posted = $state.raw<Costs | null>(null);
  snapshots = $state.raw<SnapshotRow[] | null>(null);
  charted = $state.raw<Charted | null>(null);
  /** Whether there is a snapshot of today; null until that is known. */
  hasToday = $state<boolean | null>(null);
  /** The nightly snapshot job, as the schedule tells of it. */
  job = $state.raw<Job | null>(null);
  loaded = $state.raw<Days | null>(null);
  /** Whether `posted` has its rows, or its total only. */
  hasPosted = $state(false);
  /** Terms of the address that come to the view's own filter. */
  private filter = "";
  /** The state of the ledger that the posted view shows; now if it is none. Current rates have no earlier one. */
  private asOf: string | undefined;
  isBusy = $state(true);
  error = $state<unknown>(null);
  estimateError = $state<unknown>(null);
  postedError = $state<unknown>(null);
  chartError = $state<unknown>(null);
  measureError = $state<unknown>(null);
  /** The view that was asked for last, maybe while rows were on their way. */
  private wanted: View = "current_rates";
  private isLoading = false;
  /** The view whose chart was asked for last. */
  private charting: View | null = null;
  private stop = new AbortController();

  constructor(private readonly client: Client) {}

  private query(view: View, days: Days) {
    return question(view, days, this.filter, this.asOf);
  }

  /** Returns the explanation of what of a view has these values. */
  asked(view: View, days: Days, values: Record<string, string> = {}, more: Partial<Asked> = {}): Asked {
    const { as_of: asof, filter } = this.query(view, days);
    return { days, asof, view: view === "posted" ? undefined : view, filter: both(filter, filterOf(values)), ...more };
  }

  /** Returns that of the bill that stands beside current rates: no estimate, of usage from wherever it is. */
  askedBill(days: Days, currency: string): Asked {
    return { days, currency, filter: this.filter };
  }

  /** Of the posted view that is not shown only the total is asked for; the other one has the quantities of both. */
  private ask(of: View, days: Days, isWhole: boolean): Promise<Costs> {
    const query = this.query(of, days);
    if (isWhole) return this.client.costs({ ...query, group_by: WHOLE[of], limit: 1 }, this.stop.signal).then((answer) => ({ ...answer, rows: [] }));
    return this.client.costs({ ...query, group_by: "tenant", names: "true", compare: "final", limit: ROWS_MAX }, this.stop.signal);
  }

  /** Loads the days, then what decorates them. */
  async load(days: Days, view: View, today: string, filter: string, asOf?: string): Promise<void> {
    [this.filter, this.asOf, this.wanted, this.isLoading] = [filter, asOf, view, true];
    this.stop.abort();
    const stop = new AbortController();
    this.stop = stop;
    this.isBusy = true;
    [this.error, this.estimateError, this.postedError] = [null, null, null];
    const isTotal = view !== "posted";
    const [estimate, first] = await Promise.allSettled([this.ask("current_rates", days, false), this.ask("posted", days, isTotal)]);
    // Without rates of today the page shows what was posted.
    const isInstead = isTotal && estimate.status === "rejected" && !stop.signal.aborted;
    const [posted] = isInstead ? await Promise.allSettled([this.ask("posted", days, false)]) : [first];
    if (stop.signal.aborted) return;
    this.estimate = estimate.status === "fulfilled" ? estimate.value : null;
    this.took(posted, !isTotal || isInstead);
    // One view alone is still worth showing; without both there is nothing.
    if (estimate.status === "rejected") this.estimateError = estimate.reason;
    if (estimate.status === "rejected" && posted.status === "rejected") this.error = estimate.reason;
    this.snapshots = null;
    this.loaded = days;
    [this.isBusy, this.isLoading] = [false, false];
    await Promise.all([this.show(days, isInstead && this.posted !== null ? "posted" : this.wanted), this.measure(days, stop.signal), this.lookForToday(today, stop.signal)]);
  }

  private took(posted: PromiseSettledResult<Costs>, hasRows: boolean): void {
    this.posted = posted.status === "fulfilled" ? posted.value : null;
    this.postedError = posted.status === "rejected" ? posted.reason : null;
    this.hasPosted = hasRows && this.posted !== null;
  }

  /** Shows a view of the days: its rows, unless they are here, and its chart. What is being loaded is shown then. */
  async show(days: Days, view: View): Promise<void> {
    this.wanted = view;
    if (this.isLoading) return;
    const stop = this.stop;
    if (view === "posted" && !this.hasPosted && this.postedError === null) {
      this.isBusy = true;
      const [posted] = await Promise.allSettled([this.ask("posted", days, false)]);
      if (stop.signal.aborted) return;
      this.took(posted, true);
      this.isBusy = false;
    }
    // Who went back meanwhile has the other chart.
    if (this.wanted === view) await this.chart(days, view);
  }

  /** Loads the daily series of the largest rows and of the total. */
  async chart(days: Days, view: View): Promise<void> {
    const signal = this.stop.signal;
    [this.chartError, this.charting] = [null, view];
    const isStale = () => signal.aborted || this.charting !== view;
    const query = { ...this.query(view, days), granularity: "day" };
    // By name: days of everybody would be asked for to show those of a few.
    const largest = (view === "posted" ? this.posted : this.estimate)?.rows.slice(0, TOP) ?? [];
    const named = filterOf({ tenant: largest.map((row) => row.key.tenant ?? "") });
    try {
      const [top, whole] = await Promise.all([
        largest.length === 0 ? null : this.client.costs({ ...query, filter: joined(query.filter, named), group_by: "tenant", limit: TOP }, signal),
        this.client.costs({ ...query, group_by: WHOLE[view], limit: 1 }, signal),
      ]);
      const series = largest.map((row) => {
        const id = row.key.tenant ?? "";
        const found = top?.rows.find(({ key }) => key.tenant === id);
        return { id, name: row.name ?? id, series: (found?.series ?? []) as Series };
      });
      const pending = await askPending(this.client, whole, this.query(view, days), signal);
      if (isStale()) return;
      this.charted = { view, days, top: series, total: (whole.rows[0]?.series ?? []) as Series, restated: whole.meta.restated, through: whole.meta.data_through ?? null, pending };
    } catch (error) {
      if (!isStale()) this.chartError = error;
    }
  }

  /** Reads the snapshots of all rows, unless they are too many. */
  private async measure(days: Days, signal: AbortSignal): Promise<void> {
    this.measureError = null;
    const known = Math.max(this.estimate?.rows.length ?? 0, this.posted?.rows.length ?? 0, 1);
    if (known * (length(days) + DAYS_BEFORE) > SNAPSHOT_ROWS_MAX) return;
    try {
      const query = { from: plus(days.from, -DAYS_BEFORE), to: days.to };
      const rows = await this.client.snapshots(query, SNAPSHOT_ROWS_MAX / 1000, signal);
      // Snapshots know no filter; what it leaves out has no row in either view.
      const ids = new Set([...(this.estimate?.rows ?? []), ...(this.posted?.rows ?? [])].map((row) => row.key.tenant ?? ""));
      if (!signal.aborted) this.snapshots = this.filter === "" ? rows : rows.filter(({ tenant }) => ids.has(tenant));
    } catch (error) {
      // Averages, peaks and steps stay away, and the page says so; the sums of the first request are shown without them.
      if (!signal.aborted) this.measureError = error;
    }
  }

  private async lookForToday(today: string, signal: AbortSignal): Promise<void> {
    try {
      const page = await this.client.get<{ rows: unknown[] }>("/snapshots", { from: today, to: today, limit: 1 }, signal);
      if (page.rows.length === 0) {
        const schedule = await this.client.get<Page<Job>>("/schedule", {}, signal).catch(() => ({ rows: [] }));
        this.job = schedule.rows.find(({ job }) => job === "snapshot") ?? null;
      }
      this.hasToday = page.rows.length > 0;
    } catch {
      this.hasToday = null;
    }
  }

  /** Returns the chart's layers and days, or null while they are not those of the page. */
  layers(): { layers: Layer[]; days: string[]; of: Charted } | null {
    if (!this.charted) return null;
    const { top, total, days } = this.charted;
    const all = each(days);
    return { layers: layersOf(top, total, all), days: all, of: this.charted };
  }
}
