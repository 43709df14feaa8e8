import { expect, test } from "vitest";
import { each, isDay, length, monday, moved, ofBar, plus, range, shifted, text, upTo } from "../../src/lib/days.ts";

const TODAY = "2026-11-28";

test("a rolling range ends today and has so many days", () => {
  expect(range("30d", TODAY)).toEqual({ from: "2026-10-30", to: TODAY });
  expect(range("1d", TODAY)).toEqual({ from: TODAY, to: TODAY });
});

test("a month and two days are ranges as well", () => {
  expect(range("2026-02", TODAY)).toEqual({ from: "2026-02-01", to: "2026-02-28" });
  expect(range("2028-02", TODAY)).toEqual({ from: "2028-02-01", to: "2028-02-29" });
  expect(range("2026-12", TODAY)).toEqual({ from: "2026-12-01", to: "2026-12-31" });
  expect(range("2026-10-01..2026-10-31", TODAY)).toEqual({ from: "2026-10-01", to: "2026-10-31" });
});

test("what is no range is none", () => {
  for (const wrong of ["", "0d", "9999d", "2026-13", "2026-02-30..2026-03-01", "2026-10-02..2026-10-01", "2026-10-01", "a..b", "1..2..3", "1900-01-01..2026-01-01"]) {
    expect(range(wrong, TODAY), wrong).toBeNull();
  }
});

test("days are counted across months, leap days and changes of the clock", () => {
  expect(plus("2028-02-28", 1)).toBe("2028-02-29");
  expect(plus("2026-03-01", -1)).toBe("2026-02-28");
  expect(length({ from: "2026-03-01", to: "2026-03-31" })).toBe(31);
  expect(each({ from: "2026-03-28", to: "2026-03-30" })).toEqual(["2026-03-28", "2026-03-29", "2026-03-30"]);
  expect([isDay("2026-02-29"), isDay("2028-02-29"), isDay("2026-2-1")]).toEqual([false, true, false]);
});

test("the period before ends where this one begins", () => {
  const days = { from: "2026-11-01", to: "2026-11-30" };
  expect(shifted(days, -1)).toEqual({ from: "2026-10-02", to: "2026-10-31" });
  expect(text(shifted(shifted(days, -1), 1))).toBe("2026-11-01..2026-11-30");
});

test("a week begins on Monday, also before 1970", () => {
  for (const day of ["2026-11-23", "2026-11-25", "2026-11-29"]) expect(monday(day), day).toBe("2026-11-23");
  expect(monday("2027-01-01")).toBe("2026-12-28");
  expect(monday("1969-12-31")).toBe("1969-12-29");
});

test("a month moves to its neighbour, whichever way it is written and however long", () => {
  const by = (said: string, by: 1 | -1) => moved(said, range(said, TODAY) ?? { from: TODAY, to: TODAY }, by, TODAY);
  expect([by("2026-10", -1), by("2026-10", 1), by("2026-01", -1), by("2025-12", 1)]).toEqual(["2026-09", "2026-11", "2025-12", "2026-01"]);
  expect(by("2026-02-01..2026-02-28", 1)).toBe("2026-03");
  expect(moved("2026-11", { from: "2026-11-01", to: TODAY }, -1, TODAY)).toBe("2026-10");
});

test("other ranges move by their length, and one that ends today is called by it again", () => {
  const by = (said: string, by: 1 | -1) => moved(said, range(said, TODAY) ?? { from: TODAY, to: TODAY }, by, TODAY);
  expect(by("7d", -1)).toBe("2026-11-15..2026-11-21");
  expect(by("2026-11-15..2026-11-21", 1)).toBe("7d");
  expect(by("2026-11-17..2026-11-23", 1)).toBe("7d");
  expect(by("2026-10-01..2026-10-30", -1)).toBe("2026-09-01..2026-09-30");
  expect(by("2026-10-02..2026-10-31", 1)).toBe("30d");
});

test("a range is cut at the last day it may have, unless it begins later", () => {
  expect(upTo({ from: "2026-11-01", to: "2026-11-30" }, "2026-11-27")).toEqual({ from: "2026-11-01", to: "2026-11-27" });
  expect(upTo({ from: TODAY, to: TODAY }, "2026-11-27")).toEqual({ from: TODAY, to: TODAY });
  expect(upTo({ from: "2026-10-01", to: "2026-10-31" }, "2026-11-27")).toEqual({ from: "2026-10-01", to: "2026-10-31" });
});

test("a bar stands for its days, as far as they lie in the range", () => {
  const days = { from: "2026-11-11", to: "2026-11-25" };
  expect(ofBar(days, "2026-11-12", 1)).toEqual({ from: "2026-11-12", to: "2026-11-12" });
  expect(ofBar(days, "2026-11-09", 7)).toEqual({ from: "2026-11-11", to: "2026-11-15" });
  expect(ofBar(days, "2026-11-23", 7)).toEqual({ from: "2026-11-23", to: "2026-11-25" });
  // What was merged in these days was charged before them as well.
  expect(ofBar(days, "2026-10-05", 7)).toEqual({ from: "2026-10-05", to: "2026-10-11" });
});
