import { expect, test } from "vitest";
import { comparedThrough, sides } from "../../src/lib/compared.ts";

const range = { from: "2026-11-01", to: "2026-11-28", timezone: "UTC" };
const meta = (to: string | null, data_through: string | null = "2026-11-28") => ({
  range,
  data_through,
  ...(to === null ? {} : { compared: { range: { ...range, to }, previous: { from: "2026-10-05", to: "2026-10-31", timezone: "UTC" } } }),
});

test("a change says both sides of it, and that there is none", () => {
  expect(sides(meta("2026-11-27")).replace(/\s/g, " ")).toBe("Nov 1 – 27, 2026 against Oct 5 – 31, 2026");
  expect(sides(meta(null))).toMatch(/^Not compared/);
});

test("through which day it was compared is said where that is not the last one", () => {
  expect(comparedThrough(meta("2026-11-28"))).toBe("");
  expect(comparedThrough(meta("2026-11-27"))).toBe("compared through Nov 27");
  expect(comparedThrough(meta(null))).toBe("not compared: not final yet");
  expect(comparedThrough(meta(null, null))).toBe("");
});
