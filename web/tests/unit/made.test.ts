import { expect, test } from "vitest";
import type { Client, Query } from "../../src/lib/api.ts";
import { sum } from "../../src/lib/decimal.ts";
import type { Asked } from "../../src/lib/explain.ts";
import { ask } from "../../src/lib/made.ts";

const DAYS = { from: "2026-11-01", to: "2026-11-02" };
const META = { currency: "USD", posting: 7 };
type Row = Record<string, unknown>;

/** Answers each question by its grouping or path, and keeps what was asked. */
function server(answers: Record<string, unknown>) {
  const asked: [string, Query][] = [];
  const answer = (name: string, query: Query) => {
    asked.push([name, query]);
    return Promise.resolve(answers[name]);
  };
  const client = { costs: (query: Query) => answer(String(query.group_by), query), get: answer, all: answer } as unknown as Client;
  return { asked, run: (one: Asked, way: string | null) => ask(client, one, way, new AbortController().signal) };
}
const rows = (key: string, costs: Record<string, string>, more: Row = {}) => Object.entries(costs).map(([value, cost]) => ({ key: { [key]: value }, cost, ...more }));

test("parts are the largest first, whatever their sign, and what is not read is one part", async () => {
  const { run, asked } = server({ pool: { rows: rows("pool", { west: "10.000000000000001", credit: "-30", none: "0.00", tax: "0.1" }), totals: { cost: "-18.1" }, meta: META, next_cursor: "more" } });
  const { made } = await run({ days: DAYS, filter: "plan:team" }, "pool");
  expect(made?.parts.map(({ value, name, amount }) => [name ?? value, amount])).toEqual([["credit", "-30"], ["west", "10.000000000000001"], ["All others", "1.799999999999999"], ["tax", "0.1"]]);
  expect(sum(made?.parts.map(({ amount }) => amount) ?? [])).toBe("-18.10");
  expect(made?.parts[1]?.asked).toEqual({ days: DAYS, filter: "plan:team pool:west" });
  expect(made?.parts[2]?.asked).toBeNull();
  expect(asked[0]?.[1]).toMatchObject({ ...DAYS, filter: "plan:team" });
});

test("days are those of all rows together", async () => {
  const series = (first: string, second: string) => ({ series: [["2026-11-01", first], ["2026-11-02", second]] });
  const { run } = server({ status: { rows: [{ key: {}, cost: "3", ...series("1", "2") }, { key: {}, cost: "4", ...series("4", "-0.5") }], totals: { cost: "6.5" }, meta: META } });
  const { made, posting } = await run({ days: DAYS, filter: "tenant:acme" }, "day");
  expect(made?.parts.map(({ value, amount, asked }) => [value, amount, asked?.days.from])).toEqual([["2026-11-01", "5", "2026-11-01"], ["2026-11-02", "1.5", "2026-11-02"]]);
  expect(posting).toBe(7);
});

test("a change is what is less what was, and its parts are changes", async () => {
  const compared = (key: string, all: [string, string, string][]) => all.map(([value, cost, previous]) => ({ key: { [key]: value }, cost, previous, change: sum([cost, `-${previous}`]) }));
  const { run } = server({
    status: { rows: compared("status", [["final", "12", "5"], ["pending", "1", "0"]]), totals: { cost: "13" }, meta: META },
    pool: { rows: compared("pool", [["west", "3", "5"], ["east", "10", "0"]]), totals: { cost: "13" }, meta: META },
  });
  const { made, formula } = await run({ of: "change", days: DAYS, filter: "tenant:acme" }, "pool");
  expect([formula?.left.value, formula?.right.value, formula?.result.value]).toEqual(["13", "5", "8"]);
  expect(formula?.right.asked?.days).toEqual({ from: "2026-10-30", to: "2026-10-31" });
  expect(made?.parts.map(({ value, amount }) => [value, amount])).toEqual([["east", "10"], ["west", "-2"]]);
});

test("a share is a row of the whole, of which what was given back weighs nothing", async () => {
  const { run, asked } = server({ "pool,tier": { rows: [{ key: { pool: "west", tier: "direct" }, cost: "30", share: "0.750000" }, { key: { pool: "east", tier: "direct" }, cost: "10", share: "0.250000" }, { key: { pool: "credit", tier: "direct" }, cost: "-5", share: "0.000000" }], totals: { cost: "35" }, meta: META } });
  const { formula } = await run({ of: "share", over: "pool,tier", days: DAYS, filter: "tenant:acme pool:west tier:direct" }, null);
  expect([formula?.left.value, formula?.right.value, formula?.result.value]).toEqual(["30", "40", "0.750000"]);
  expect(formula?.right.words).toContain("-5 USD");
  expect(asked[0]?.[1].filter).toBe("tenant:acme");
});

test("cost of a repository that no entry names is told apart, so that parts add up", async () => {
  const figures = { cost: "10", n: 4, cost_per_merged_pr: "2.5", series: [] };
  const { run } = server({ "/unit-costs": { rows: [{ key: { repo: "acme/web" }, ...figures }], totals: { cost: "99" }, meta: META }, day: {}, status: { rows: [{ key: {}, cost: "7", series: [["2026-11-01", "7"]] }], totals: { cost: "7" }, meta: META } });
  const row: Asked = { unit: "repo", days: DAYS, filter: "repo:acme/web" };
  const { formula } = await run({ ...row, of: "unit", figure: "merged" }, null);
  expect([formula?.left.value, formula?.right.value, formula?.result.value]).toEqual(["10", "4", "2.5"]);
  expect(formula?.left.asked).toMatchObject({ of: "unitcost", figure: "cost" });
  const { made } = await run({ ...row, of: "unitcost", figure: "cost" }, "day");
  expect(made?.total).toBe("10");
  expect(made?.parts.map(({ name, value, amount }) => [name ?? value, amount])).toEqual([["2026-11-01", "7"], ["Of entries that do not name it themselves", "3"]]);
});

test("a printed line is the exact amount of its entries and its rounding, at the posting that closed the month", async () => {
  const line = { currency: "EUR", consumer: "acme", pool: "west", category: "compute", charge_category: "Usage", amount: "1.24", exact: "1.236", rounding: "0.004" };
  const { run } = server({ "/statements/2026-10.json": { posting: 31, rows: [line, { ...line, currency: "USD" }, { ...line, pool: "east" }] } });
  const days = { from: "2026-10-01", to: "2026-10-31" };
  const { formula } = await run({ of: "statement", days, version: "2", currency: "EUR", filter: "tenant:acme pool:west" }, null);
  expect([formula?.left.value, formula?.right.value, formula?.result.value]).toEqual(["1.236", "0.004", "1.24"]);
  expect(formula?.left.asked).toEqual({ days, currency: "EUR", clock: "billed", asof: "posting:31", filter: "tenant:acme pool:west" });
});
