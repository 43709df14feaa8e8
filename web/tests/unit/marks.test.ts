import { expect, test } from "vitest";
import type { Client, CostRow, Costs, Query } from "../../src/lib/api.ts";
import { each } from "../../src/lib/days.ts";
import { askPending, openDays, openWeeks, pendingDays } from "../../src/lib/marks.ts";

const TODAY = "2026-11-28";
const DAYS = each({ from: "2026-11-22", to: TODAY });

test("a day is open after the last posted one, when it is not over, and while its cost may change", () => {
  expect(openDays(DAYS, { through: TODAY, today: TODAY })).toEqual([TODAY]);
  expect(openDays(DAYS, { through: "2026-11-25", today: TODAY })).toEqual(["2026-11-26", "2026-11-27", TODAY]);
  expect(openDays(DAYS, { through: "2026-11-27", today: TODAY, pending: ["2026-11-23", "2026-10-01"] })).toEqual(["2026-11-23", TODAY]);
  expect(openDays(DAYS.slice(0, 3), { through: "2026-11-27", today: TODAY })).toEqual([]);
});

test("where nothing is posted every day is open", () => {
  expect(openDays(DAYS, { through: null, today: "2026-12-24" })).toEqual(DAYS);
});

test("a week is open with one of its days, but not with one outside the range", () => {
  const weeks = ["2026-11-09", "2026-11-16", "2026-11-23"];
  expect(openWeeks(weeks, TODAY, { through: "2026-11-27", today: TODAY })).toEqual(["2026-11-23"]);
  expect(openWeeks(weeks, "2026-11-25", { through: "2026-11-27", today: TODAY })).toEqual([]);
  expect(openWeeks(weeks, TODAY, { through: "2026-11-21", today: TODAY })).toEqual(["2026-11-16", "2026-11-23"]);
  expect(openWeeks(weeks, "2026-11-25", { through: "2026-11-25", today: TODAY, pending: ["2026-11-15"] })).toEqual(["2026-11-09"]);
});

const states = [
  { key: { status: "final" }, cost: "7", series: [["2026-11-22", "7"]] },
  { key: { status: "pending" }, cost: "3", series: [["2026-11-22", "0.00"], ["2026-11-23", "-1.5"], ["2026-11-24", "4.5"]] },
] as unknown as CostRow[];

test("pending days are those with cost that is not final", () => {
  expect(pendingDays(states)).toEqual(["2026-11-23", "2026-11-24"]);
  expect(pendingDays(states.slice(0, 1))).toEqual([]);
});

test("they are asked for with the same question, and only where there are some", async () => {
  const asked: Query[] = [];
  const client = { costs: async (query: Query) => (asked.push(query), { rows: states }) } as unknown as Client;
  const answer = (view: string, pending_days: number) => ({ meta: { view, pending_days } }) as Costs;
  const query = { from: "2026-11-22", to: TODAY, filter: "pool:x", granularity: "week" };
  expect(await askPending(client, answer("posted", 0), query)).toEqual([]);
  expect(await askPending(client, answer("current_rates", 2), query)).toEqual([]);
  expect(asked).toEqual([]);
  expect(await askPending(client, answer("posted", 2), query)).toEqual(["2026-11-23", "2026-11-24"]);
  expect(asked).toEqual([{ from: "2026-11-22", to: TODAY, filter: "pool:x", group_by: "status", granularity: "day", limit: 10 }]);
});
