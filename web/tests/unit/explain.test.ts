import { expect, test } from "vitest";
import { type Asked, isCell, parsed, partOf, printed, questionOf, wayOf, waysOf, wholeOf } from "../../src/lib/explain.ts";
import { filterOf } from "../../src/lib/filter.ts";

const DAYS = { from: "2026-11-01", to: "2026-11-28" };
const DAY = { from: "2026-11-05", to: "2026-11-05" };

test("an explanation is read from the address as it was written, whatever names hold", () => {
  const all: Asked[] = [
    { of: "cost", days: DAYS, filter: "" },
    { of: "change", by: "pool", days: DAYS, filter: "tenant:acme" },
    { of: "cost", days: DAY, asof: "posting:12", filter: filterOf({ tenant: 'A "b" \\ *, c: d', pool: "", meter: ["x", "y z"] }) },
    { of: "unitcost", unit: "repo", figure: "cost", cohort: "merged", days: DAYS, filter: 'repo:acme/web tier:direct,amortized memo:* -workflow:"",__*__' },
    { of: "statement", days: DAYS, version: "2", currency: "EUR", clock: "billed", filter: 'label:team:"of day:2026"' },
    { of: "share", view: "current_rates", over: "pool,tier", days: DAYS, filter: "origin:snapshot plan:team -tenant:a*,b" },
  ];
  for (const asked of all) expect(parsed(printed(asked)), printed(asked)).toEqual(asked);
  expect(printed({ days: DAY, filter: "tenant:acme pool:shared-west-us" })).toBe("day:2026-11-05 tenant:acme pool:shared-west-us");
});

test("what asks for nothing is no explanation", () => {
  for (const text of ["", "tenant:acme", "day:2026-02-30", "day:2026-11-05..2026-11-01", "of:all day:2026-11-05", "day:x..y"]) expect(parsed(text), text).toBeNull();
});

test("a part is asked for in place of what held all of them", () => {
  const asked: Asked = { days: DAYS, by: "day", filter: "tenant:acme" };
  expect(partOf(asked, "day", "2026-11-05")).toEqual({ days: DAY, filter: "tenant:acme" });
  expect(partOf(asked, "pool", "")).toEqual({ days: DAYS, filter: 'tenant:acme pool:""' });
});

test("the way down ends with a tenant's day, which the ledger explains", () => {
  let asked: Asked = { days: DAYS };
  const path: string[] = [];
  for (const value of ["west", "acme", "2026-11-05"]) {
    const way = wayOf(asked) ?? "";
    path.push(way);
    asked = partOf(asked, way, value);
  }
  expect(path).toEqual(["pool", "tenant", "day"]);
  expect(isCell(asked)).toBe(true);
  expect(isCell({ ...asked, view: "current_rates" })).toBe(false);
  expect(isCell({ ...asked, of: "change" })).toBe(false);
  // Of a category the ledger explains only the day that has it.
  const part: Asked = { ...asked, filter: `${asked.filter} category:compute`, asof: "posting:3" };
  expect(isCell(part)).toBe(false);
  expect(wholeOf(part)).toEqual({ days: part.days, asof: "posting:3", filter: "tenant:acme pool:west" });
  expect(isCell(wholeOf(part) as Asked)).toBe(true);
  expect(wholeOf({ days: DAYS, filter: "tenant:acme" })).toBeNull();
  expect(wayOf({ days: DAYS, by: "meter" })).toBe("meter");
  expect(wayOf({ days: DAYS, by: "pool", filter: "pool:x" })).toBe("tenant");
});

test("parts are listed by what can be asked of the view", () => {
  expect(waysOf({ days: DAYS, view: "current_rates", filter: "origin:snapshot tenant:acme" })).toEqual(["day", "meter", "category"]);
  expect(waysOf({ days: DAY, view: "current_rates", filter: "tenant:acme meter:x" })).toEqual([]);
  expect(waysOf({ of: "change", days: DAYS, filter: "tenant:acme pool:x" })).toEqual(["meter", "category", "reason"]);
  expect(waysOf({ of: "change", days: DAYS, filter: "tenant:acme meter:x" })).not.toContain("reason");
  expect(waysOf({ of: "change", days: DAYS, filter: "tenant:acme -pool:x" })).toEqual(["pool", "meter", "category"]);
  expect(waysOf({ of: "unitcost", cohort: "merged", days: DAYS })).toEqual(["week"]);
  expect(waysOf({ of: "share", days: DAYS })).toEqual([]);
});

test("the server is asked for the same days, state and clock", () => {
  expect(questionOf({ days: DAYS, filter: "", asof: "posting:3", clock: "billed" })).toEqual({ ...DAYS, as_of: "posting:3", clock: "billed", filter: undefined, view: undefined, currency: undefined });
});
