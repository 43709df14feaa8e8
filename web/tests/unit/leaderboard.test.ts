import { expect, test } from "vitest";
import type { Costs } from "../../src/lib/api.ts";
import { layersOf, line, spread, ticks } from "../../src/lib/chart.ts";
import { type Row, cellOf, columnsOf, linksOf, matching, rowsOf } from "../../src/lib/leaderboard.ts";

const costs = (rows: object[]): Costs => ({ rows } as unknown as Costs);
const acme = { name: "Acme", slug: "acme-inc" };

test("a row is a workspace with what it cost and used, also when only one of the two is known", () => {
  const estimate = costs([{ key: { tenant: "acme" }, ...acme, cost: "5.00", share: "1.000000", usage: { api_call_count_24h: "7" } }]);
  const posted = costs([{ key: { tenant: "acme" }, ...acme, cost: "4.00", share: "0.8" }, { key: { tenant: "__unattributed__" }, cost: "1.00", share: "0.2" }]);
  const rows = rowsOf(posted, estimate, null, "2026-11-01");
  expect(rows.map(({ name, cost, isReserved }) => [name, cost, isReserved])).toEqual([["Acme", "4.00", false], ["Unattributed", "1.00", true]]);
  expect(rows[0]?.metrics.api_call_count_24h?.value).toBe("7");
  expect(rowsOf(costs([]), estimate, null, "2026-11-01")[0]).toMatchObject({ name: "Acme", slug: "acme-inc", cost: null });
});

test("share of the total is the last column", () => {
  expect(columnsOf(["member_count"], "workspace", "USD", "").map(({ head }) => head)).toEqual(["Workspace", "Members", "Cost (USD)", "Change vs previous period", "% of total"]);
});

test("a cell shows few digits and keeps all of them, and says what stands behind a metric", () => {
  const calls = { value: "1234567.5", average: "41152.2", peak: { day: "2026-11-19", value: "900000" }, flawed: 2, steps: ["2026-11-19"] };
  const row: Row = { id: "acme", name: "Acme", slug: "acme", isReserved: false, cost: "12480.114", share: "0.125", previous: "12000", change: "480.114", metrics: { api_call_count_24h: calls } };
  const [name, metric, cost, change, share] = columnsOf(["api_call_count_24h"], "workspace", "USD", "").map((column) => cellOf(row, column, "USD"));
  expect(name?.text).toBe("Acme");
  expect(metric).toMatchObject({ text: "1.23M", exact: "1234567.5", step: "step on Nov 19", flawed: "2 days degraded or missing" });
  expect(metric?.title).toBe("1234567.5\ndaily average 41,152.2\npeak 900,000 on Nov 19, 2026\n2 days degraded or missing\nstep on Nov 19");
  expect(cost).toMatchObject({ text: "$12,480.11", exact: "12480.114", title: "12480.114 USD" });
  expect(change).toMatchObject({ text: "+$480.11", exact: "480.114", part: "+4.0%", tone: "bad" });
  expect(share).toMatchObject({ text: "12.5%", exact: "0.125", length: 12.5 });
});

test("a cell of what is not known shows a dash and copies nothing", () => {
  const row: Row = { id: "acme", name: "Acme", slug: "acme", isReserved: false, cost: null, share: null, previous: null, change: null, metrics: {} };
  const cells = columnsOf(["storage_bytes"], "workspace", "USD", "").map((column) => cellOf(row, column, "USD"));
  expect(cells.map(({ text, exact }) => [text, exact])).toEqual([["Acme", ""], ["–", ""], ["–", ""], ["–", ""], ["–", ""]]);
});

test("a search looks at name, id and slug, every word of it", () => {
  const rows = rowsOf(costs([{ key: { tenant: "acme" }, ...acme }, { key: { tenant: "globex" } }]), null, null, "2026-11-01");
  expect(matching(rows, "ACME inc").map(({ id }) => id)).toEqual(["acme"]);
  expect(matching(rows, " ").length).toBe(2);
});

test("links lead to web pages only, and a slug cannot become an address", () => {
  const links = [{ label: "I", url: "https://app.example/{slug}/x" }, { label: "J", url: "javascript:alert('{slug}')" }, { label: "R", url: "/{slug}" }];
  expect(linksOf(links, "a/../b?c")).toEqual([{ label: "I", url: "https://app.example/a%2F..%2Fb%3Fc/x" }]);
});

test("what the largest do not have is other, to the last digit", () => {
  const days = ["2026-11-01", "2026-11-02"];
  const top = [{ id: "a", name: "A", series: [["2026-11-01", "0.1"], ["2026-11-02", "0.2"]] }];
  const layers = layersOf(top, [["2026-11-01", "0.3"], ["2026-11-02", "0.2"]], days);
  expect(layers.map(({ name, total, values }) => [name, total, values])).toEqual([["A", "0.3", ["0.1", "0.2"]], ["Other", "0.2", ["0.2", "0.0"]]]);
});

test("marks of an axis are round, begin at zero and cover the top", () => {
  expect(ticks("4300")).toEqual(["0", "2000", "4000", "6000"]);
  expect(ticks("0.07")).toEqual(["0", "0.02", "0.04", "0.06", "0.08"]);
  expect(ticks("0")).toEqual(["0"]);
});

test("a line has gaps where nothing was measured", () => {
  expect(line(["0", "10", null, "5"], 30, 10)).toBe("M0.0 10.0L10.0 0.0M30.0 5.0");
});

test("labels keep their distance and their order, near to what they stand for and within the bounds", () => {
  expect(spread([10, 60, 150], 24, 4, 168)).toEqual([10, 60, 150]);
  expect(spread([20, 22, 100, 130, 142], 24, 4, 168)).toEqual([9, 33, 100, 124, 148]);
  expect(spread([10, 12, 150, 167], 24, 4, 168)).toEqual([4, 28, 144, 168]);
  const crowded = spread([160, 161, 162, 163, 164, 165], 24, 4, 168);
  expect(crowded).toEqual([48, 72, 96, 120, 144, 168]);
  expect(spread([-5], 24, 4, 168)).toEqual([4]);
  expect(spread([], 24, 4, 168)).toEqual([]);
});
