import { expect, test } from "vitest";
import { compare, divide, largest, median, minus, ratio, sum } from "../../src/lib/decimal.ts";

test("sums keep every digit, also those a float would lose", () => {
  expect(sum(["0.1", "0.2"])).toBe("0.3");
  expect(sum(["9007199254740993", "0.000000000000001"])).toBe("9007199254740993.000000000000001");
  expect(sum(["-1.5", "1.50", null, "x", undefined])).toBe("0.00");
  expect([["1.125", "2.875"], ["0.1230", "0.10"], ["5", "5"], ["1.5", "1.5"]].map((texts) => sum(texts))).toEqual(["4.00", "0.223", "10", "3.0"]);
  expect(minus("0.30", "0.1")).toBe("0.20");
  expect(minus("1", "2.05")).toBe("-1.05");
});

test("decimal texts are compared by value, not as words or floats", () => {
  const texts = ["10", "9", "-2", "9.000000000000000001", "-10", "0.5"];
  expect(texts.toSorted(compare)).toEqual(["-10", "-2", "0.5", "9", "9.000000000000000001", "10"]);
  expect(compare("1.0", "1.000")).toBe(0);
  expect(compare("9007199254740993", "9007199254740992")).toBeGreaterThan(0);
  expect(compare(null, "-5")).toBeLessThan(0);
});

test("a quotient is rounded half to even, and nothing is divided by zero", () => {
  expect(divide("1", "3", 4)).toBe("0.3333");
  expect(divide("2", "3", 4)).toBe("0.6667");
  expect([divide("0.5", "1", 0), divide("1.5", "1", 0), divide("2.5", "1", 0)]).toEqual(["0", "2", "2"]);
  expect(divide("-1", "3", 2)).toBe("-0.33");
  expect(divide("1", "0.00", 2)).toBeNull();
});

test("the largest and the middle", () => {
  expect(largest(["2", "10", "9"])).toBe("10");
  expect(largest([])).toBeNull();
  expect(median(["3", "1", "20"])).toBe("3");
  expect(median(["4", "1", "3", "2"])).toBe("2");
  expect(median([])).toBeNull();
});

test("a ratio is for drawing and nothing breaks it", () => {
  expect(ratio("1", "4")).toBe(0.25);
  expect(ratio("1", "0")).toBe(0);
});
