// What one outcome cost in each week: the headline ratio of unit costs over time.

import type { Schema } from "./api.ts";
import { divide, sum } from "./decimal.ts";
import { groupBy } from "./group.ts";

type Week = Pick<Schema<"UnitWeekBody">, "week" | "cost" | "n" | "cost_per_merged_pr" | "workflows_completed" | "cost_per_completed_workflow">;

/** A week of the trend. */
export interface TrendWeek {
  /** Its Monday. */
  week: string;
  /** Null in a week without an outcome: nothing is divided by nothing. */
  each: string | null;
  /** How many outcomes there were. */
  count: number;
}

/** The trend of one ratio, and what it divides by. */
export interface Trend {
  name: string;
  counted: string;
  weeks: TrendWeek[];
}

/** Returns the cost per merged pull request of each week; where none was merged, that per completed workflow; null without either. */
export function trendOf(weeks: readonly Week[]): Trend | null {
  if (weeks.some(({ n }) => n > 0)) {
    return { name: "Cost per merged PR", counted: "merged PRs", weeks: weeks.map((week) => ({ week: week.week, each: week.cost_per_merged_pr ?? null, count: week.n })) };
  }
  if (!weeks.some(({ workflows_completed: completed }) => completed > 0)) return null;
  return {
    name: "Cost per completed workflow",
    counted: "completed workflows",
    weeks: weeks.map((week) => ({ week: week.week, each: week.cost_per_completed_workflow ?? null, count: week.workflows_completed })),
  };
}

const DIGITS = 18;

/** Returns the weeks of all rows together: their costs and outcomes are added before anything is divided. */
export function together(rows: readonly { series: readonly Week[] }[]): Week[] {
  const weeks = groupBy(rows.flatMap(({ series }) => series), ({ week }) => week);
  const per = (cost: string, count: number) => (count === 0 ? null : divide(cost, String(count), DIGITS));
  return [...weeks].toSorted(([a], [b]) => (a < b ? -1 : 1)).map(([week, found]) => {
    const cost = sum(found.map((one) => one.cost));
    const [n, completed] = [found.reduce((all, one) => all + one.n, 0), found.reduce((all, one) => all + one.workflows_completed, 0)];
    return { week, cost, n, cost_per_merged_pr: per(cost, n), workflows_completed: completed, cost_per_completed_workflow: per(cost, completed) };
  });
}
