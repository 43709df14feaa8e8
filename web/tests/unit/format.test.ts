import { expect, test } from "vitest";
import * as format from "../../src/lib/format.ts";

const EN = "en-US";

test("money is printed from its text, in minor units of its currency", () => {
  expect(format.money("12480.11", "USD", EN)).toBe("$12,480.11");
  expect(format.money("123456789012345678.91", "USD", EN)).toBe("$123,456,789,012,345,678.91");
  expect(format.money("1234.5", "EUR", "de-DE")).toBe("1.234,50\u00a0€");
  expect(format.money("1234.5", "JPY", EN)).toBe("¥1,235");
  expect(format.money("0.00", "USD", EN)).toBe("$0.00");
  expect(format.money("-3.5", "USD", EN)).toBe("-$3.50");
  expect(format.money(null, "USD", EN)).toBe("–");
});

test("a trace of money is not shown as nothing", () => {
  expect(format.money("0.000000000000001", "USD", EN)).toBe("<$0.01");
  expect(format.money("-0.004", "USD", EN)).toBe("−<$0.01");
  expect(format.money("0.01", "USD", EN)).toBe("$0.01");
  expect(format.money("0.4", "JPY", EN)).toBe("<¥1");
});

test("changes carry their sign", () => {
  expect(format.change("3436.56", "USD", EN)).toBe("+$3,436.56");
  expect(format.change("-0.5", "USD", EN)).toBe("−$0.50");
  expect(format.change("0.00", "USD", EN)).toBe("$0.00");
  expect(format.growth("3436.56", "9043.55", EN)).toBe("+38.0%");
  expect(format.growth("-50", "100", EN)).toBe("−50.0%");
  expect(format.growth("5", "0.00", EN)).toBeNull();
  expect(format.growth(null, "5", EN)).toBeNull();
});

test("quantities are whole below a million and short above", () => {
  expect(format.quantity("999999", EN)).toBe("999,999");
  expect(format.quantity("84100000", EN)).toBe("84.1M");
  expect(format.quantity("0.5", EN)).toBe("0.5");
  expect(format.quantity(undefined, EN)).toBe("–");
});

test("bytes are decimal, as storage is priced", () => {
  expect(format.bytes("999", EN)).toBe("999 byte");
  expect(format.bytes("1000", EN)).toBe("1 kB");
  expect(format.bytes("53687091200", EN)).toBe("53.7 GB");
  expect(format.bytes("2000000000000000000", EN)).toBe("2,000 PB");
});

test("parts of one are percent", () => {
  expect(format.percent("0.258867", EN)).toBe("25.9%");
  expect(format.percent(null, EN)).toBe("–");
});

test("a day is the same day in every zone", () => {
  expect(format.day("2026-11-01", false, EN)).toBe("Nov 1, 2026");
  expect(format.days("2026-10-21", "2026-11-19", EN).replace(/\u2009/g, " ")).toBe("Oct 21 – Nov 19, 2026");
});

test("an axis leaves minor units out where no mark has any", () => {
  expect(format.marks(["0", "2000"], "USD", EN)).toEqual(["$0", "$2,000"]);
  expect(format.marks(["0", "0.5"], "USD", EN)).toEqual(["$0.00", "$0.50"]);
});
