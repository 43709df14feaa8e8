import { expect, test } from "vitest";
import { plus } from "../../src/lib/days.ts";
import { type SnapshotRow, inOrder, label, steps, total } from "../../src/lib/metrics.ts";

const back = (day: string, days: number) => plus(day, -days);

function rows(metric: string, values: (string | null)[], quality = "ok"): SnapshotRow[] {
  return values.map((value, at) => ({
    tenant: "acme", snapshot_date: plus("2026-11-01", at), source: "app", metrics: { [metric]: value }, quality: { [metric]: quality },
  }));
}

test("a counter is its sum with average and peak, a gauge its last value", () => {
  const counted = total(rows("api_call_count_24h", ["1", "10", "4"]), "api_call_count_24h", "2026-11-01", back);
  expect(counted).toMatchObject({ value: "15", average: "5.0", peak: { day: "2026-11-02", value: "10" } });
  const measured = total(rows("member_count", ["1", "10", "4"]), "member_count", "2026-11-01", back);
  expect(measured).toMatchObject({ value: "4", average: null });
});

test("days before the range only serve to find steps", () => {
  const values = [...Array<string>(14).fill("100"), "301"];
  const found = total(rows("api_call_count_24h", values), "api_call_count_24h", "2026-11-15", back);
  expect(found).toMatchObject({ value: "301", steps: ["2026-11-15"] });
});

test("two sources of a day add up, a missing value is none, a degraded one is counted", () => {
  const twice = [...rows("storage_bytes", ["5"]), ...rows("storage_bytes", ["7"])];
  expect(total(twice, "storage_bytes", "2026-11-01", back).value).toBe("12");
  expect(total(rows("storage_bytes", ["0"], "missing"), "storage_bytes", "2026-11-01", back)).toMatchObject({ value: null, flawed: 1 });
  expect(total(rows("storage_bytes", ["0"], "degraded"), "storage_bytes", "2026-11-01", back)).toMatchObject({ value: "0", flawed: 1 });
});

test("a step is more than three times the median of fourteen days, once for days in a row", () => {
  const at = (values: string[]) => steps(new Map(values.map((value, day) => [plus("2026-11-01", day), value])), back);
  const usual = Array<string>(14).fill("100");
  expect(at([...usual, "300"])).toEqual([]);
  expect(at([...usual, "300.01"])).toEqual(["2026-11-15"]);
  expect(at([...usual, "400", "500", "600"])).toEqual(["2026-11-15"]);
  expect(at([...usual, "400", "100", "400"])).toEqual(["2026-11-15", "2026-11-17"]);
  expect(at(["1", "1", "1", "1", "1", "1", "900"])).toEqual([]);
  expect(at([...Array<string>(14).fill("0"), "5"])).toEqual([]);
});

test("metrics stand in the order of the export, own ones follow by name", () => {
  expect(inOrder(["zebra_count", "storage_bytes", "member_count", "alpha_count_24h"])).toEqual(["member_count", "storage_bytes", "alpha_count_24h", "zebra_count"]);
  expect([label("api_call_count_24h"), label("alpha_count_24h"), label("seat_minutes")]).toEqual(["API calls / 24h", "Alpha / 24h", "Seat minutes"]);
});
