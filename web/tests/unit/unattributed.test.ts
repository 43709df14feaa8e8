import { expect, test } from "vitest";
import { type UnattributedRow, age, keyOf, lines, why } from "../../src/lib/unattributed.ts";

const row = (more: Partial<UnattributedRow> = {}): UnattributedRow => ({ pool: "own", why: "no_mapping", currency: "USD", provider: "AWS", service: "AmazonEC2", sub_account: "222", billing_account: "payer", lines: 3, amount: "10.00", first_day: "2026-10-17", last_day: "2026-10-18", ...more });

test("a row is told by what its lines have in common, or by nothing where no lines tell it", () => {
  expect(lines(row())).toBe("AWS · AmazonEC2 · account 222");
  expect(lines(row({ sub_account: null, service: null, service_category: "Compute" }))).toBe("AWS · Compute · account payer");
  expect(lines(row({ provider: null, service: null, sub_account: null, billing_account: null }))).toBe("");
  expect(lines(row({ lines: null, provider: null }))).toBeNull();
});

test("age counts the day itself and today, and no day to come", () => {
  expect(age("2026-11-28", "2026-11-28")).toBe(1);
  expect(age("2026-10-29", "2026-11-28")).toBe(31);
  expect(age("2026-11-29", "2026-11-28")).toBe(0);
});

test("reasons are sentences, and one that is new is a word", () => {
  expect(why("no_pool")).toBe("No pool takes its lines");
  expect(why("something_else")).toBe("Something else");
});

test("rows that differ in one thing have keys that differ", () => {
  const rows = [row(), row({ provider: "222", sub_account: "AWS" }), row({ currency: "EUR" }), row({ lines: null }), row({ why: "no_pool" }), row({ sub_account: null })];
  expect(new Set(rows.map(keyOf)).size).toBe(rows.length);
});
