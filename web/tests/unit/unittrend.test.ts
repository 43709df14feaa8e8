import { expect, test } from "vitest";
import { together, trendOf } from "../../src/lib/unittrend.ts";

const week = (at: string, cost: string, n: number, completed = 0) =>
  ({ week: at, cost, n, cost_per_merged_pr: n === 0 ? null : `${cost}/${n}`, workflows_completed: completed, cost_per_completed_workflow: completed === 0 ? null : `${cost}/${completed}` });

test("a week without a merged pull request has a cost and no ratio", () => {
  const found = trendOf([week("2026-11-02", "30.00", 3), week("2026-11-09", "5.00", 0, 2)]);
  expect(found).toEqual({ name: "Cost per merged PR", counted: "merged PRs", weeks: [{ week: "2026-11-02", each: "30.00/3", count: 3 }, { week: "2026-11-09", each: null, count: 0 }] });
});

test("without any merged pull request the trend is that of completed workflows, and without those there is none", () => {
  expect(trendOf([week("2026-11-02", "30.00", 0, 2)])).toMatchObject({ name: "Cost per completed workflow", weeks: [{ each: "30.00/2", count: 2 }] });
  expect(trendOf([week("2026-11-02", "30.00", 0)])).toBeNull();
});

test("the ratio of all rows divides their sums, it is no mean of their ratios", () => {
  const rows = [{ series: [week("2026-11-09", "1.00", 0), week("2026-11-02", "10.00", 1)] }, { series: [week("2026-11-02", "2.00", 3)] }];
  expect(together(rows)).toMatchObject([{ week: "2026-11-02", cost: "12.00", n: 4, cost_per_merged_pr: "3.000000000000000000" }, { week: "2026-11-09", n: 0, cost_per_merged_pr: null }]);
});
