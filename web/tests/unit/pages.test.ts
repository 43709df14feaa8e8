import { expect, test } from "vitest";
import { numbersAsText } from "../../src/lib/api.ts";
import { byDay, fill, isMeter } from "../../src/lib/capacity.ts";
import { PAGES, atState, firstPage, menuOf, pageAt } from "../../src/lib/pages.ts";
import served from "../../../crates/ui/src/lib.rs?raw";

const settings = (role: string, tenants: string[] | null = null) => ({ role, tenants, organisation: { name: "Demo", timezone: "UTC", reporting_currency: "USD", tenant_word: "workspace" }, today: "2026-11-28", snapshot: "00:10", tenant_links: [], version: "0.1.0" });

test("the server knows every page's address, and no others", () => {
  const listed = /PAGES: \[&str; \d+\] = \[([^\]]+)\]/.exec(served)?.[1] ?? "";
  const addresses = [...listed.matchAll(/"([^"]+)"/g)].map(([, path = ""]) => path.replace(/\{.*\}/, ""));
  expect(addresses.toSorted()).toEqual(["/login", ...PAGES.map(({ path }) => path)].toSorted());
});

test("an address leads to its page, with what varies in it as it was written", () => {
  expect(pageAt("/")?.page.title).toBe("Overview");
  expect(pageAt("/tenants/a%2Fb%20c")).toMatchObject({ page: { title: "Tenant" }, id: "a/b c" });
  expect(pageAt("/clusters/")?.page.title).toBe("Clusters");
  for (const path of ["/tenants", "/tenants/a/b", "/elsewhere", "/tenants/%zz"]) expect(pageAt(path), path).toBeNull();
});

test("no two pages have the same key, and a menu shows a role only what it may see", () => {
  const keys = PAGES.flatMap(({ key }) => key ?? []);
  expect(new Set(keys).size).toBe(keys.length);
  const titles = (role: string, tenants: string[] | null = null) => menuOf(settings(role, tenants)).flatMap(({ entries }) => entries.map(({ title }) => title));
  expect(titles("platform_admin")).toContain("Tokens");
  expect(titles("finance")).toContain("Month-end");
  expect(titles("admin")).not.toContain("Month-end");
  expect(titles("tenant_viewer", ["acme"])).toEqual(["acme", "Usage"]);
  expect([firstPage("admin"), firstPage("tenant_owner")]).toEqual(["/", "/settings/usage"]);
});

test("an address keeps the state of the ledger that it is to show", () => {
  expect([undefined, "2026-11-20", "posting:3"].map((state) => atState("tenants/acme", state))).toEqual(["tenants/acme", "tenants/acme?asof=2026-11-20", "tenants/acme?asof=posting%3A3"]);
  expect(atState("ledger?t=entries", "2026-11-20")).toBe("ledger?t=entries&asof=2026-11-20");
  expect(atState("overhead", undefined, "cluster:x -pool:\"a b\"")).toBe("overhead?f=cluster:x%20-pool:%22a%20b%22");
  expect(atState("overhead", "2026-11-20", "cluster:x")).toBe("overhead?asof=2026-11-20&f=cluster:x");
});

test("numbers of JSON keep every digit, and texts stay as they are", () => {
  const text = '{"cost":34.298223645101248,"name":"a \\"1.5\\" {2}","list":[-1,2e3,null],"7":true}';
  expect(JSON.parse(numbersAsText(text))).toEqual({ cost: "34.298223645101248", name: 'a "1.5" {2}', list: ["-1", "2e3", null], "7": true });
});

test("a capacity is full on the day on which the straight line reaches it", () => {
  const days = Array.from({ length: 10 }, (_, at) => `2026-11-${String(at + 1).padStart(2, "0")}`);
  const used = (each: (at: number) => number) => new Map(days.map((day, at) => [day, String(each(at) * 24)]));
  expect(fill("cpu", "100", days, used((at) => 50 + at))).toMatchObject({ last: 0.59, fullOn: "2026-12-21" });
  expect(fill("cpu", "100", days, used(() => 50)).fullOn).toBeNull();
  expect(fill("cpu", "100", days, new Map()).last).toBeNull();
});

test("what all tenants used of a cluster on a day is one quantity", () => {
  const rows = [["2026-11-01", "30.5"], ["2026-11-02", "7"], ["2026-11-01", "0.25"]].map(([start = "", quantity = ""]) => ({ start, quantity }));
  expect([...byDay(rows)]).toEqual([["2026-11-01", "30.75"], ["2026-11-02", "7"]]);
});

test("a capacity that a meter measures is that of each day; a day without it is not known", () => {
  expect([isMeter("cpu_core_hours_capacity"), isMeter("64"), isMeter("0.5")]).toEqual([true, false, false]);
  const days = ["2026-11-01", "2026-11-02", "2026-11-03", "2026-11-04"];
  const used = new Map([["2026-11-01", "50"], ["2026-11-02", "50"], ["2026-11-03", "50"]]);
  const found = fill("cpu", "cpu_capacity", days, used, new Map([["2026-11-01", "100"], ["2026-11-02", "200"], ["2026-11-04", "200"]]));
  expect(found).toMatchObject({ capacity: "cpu_capacity", isMeasured: true, parts: [0.5, 0.25, null, null], last: 0.25 });
});
