import { expect, test } from "vitest";
import { begunAt, paceText } from "../../src/lib/pace.ts";

const NOW = Date.parse("2026-11-28T12:10:00Z");

test("the time left follows from the run's own start, also for those who come to it later", () => {
  const begun = begunAt("2026-11-28T12:09:00Z", NOW);
  expect(paceText({ done: 30, total: 90, begun, now: NOW }, "day")).toBe("30 of 90 days, 60 s, 30 days/min, about 2 min left");
  expect(paceText({ done: 1500, total: 1800, begun, now: NOW }, "workspace")).toBe("1500 of 1800 workspaces, 60 s, 25 workspaces/s, about 12 s left");
});

test("nothing is said of a rate before anything is done, and nothing of what is left at the end", () => {
  expect(paceText({ done: 0, total: 0, begun: NOW - 3000, now: NOW }, "day")).toBe("0 days, 3 s");
  expect(paceText({ done: 1, total: 1, begun: NOW - 2000, now: NOW }, "day")).toBe("1 of 1 day, 2 s, 30 days/min");
  expect(paceText({ done: 5, total: 9, begun: NOW, now: NOW }, "day")).toBe("5 of 9 days, 0 s");
});

test("bytes are said in the unit that fits, as their rate is", () => {
  const begun = NOW - 60_000;
  expect(paceText({ done: 1_048_576, total: 4_194_304, begun, now: NOW }, "byte", "en-US")).toBe("1.05 MB of 4.19 MB, 60 s, 17.5 kB/s, about 3 min left");
  expect(paceText({ done: 4_194_304, total: 4_194_304, begun, now: NOW }, "byte", "en-US")).toBe("4.19 MB of 4.19 MB, 60 s, 69.9 kB/s");
  expect(paceText({ done: 0, total: 4_194_304, begun, now: NOW }, "byte", "en-US")).toBe("0 byte of 4.19 MB, 60 s");
});

test("nothing is said of what is left where nobody knows how much there is", () => {
  expect(paceText({ done: 2_500_000, total: 0, begun: NOW - 30_000, now: NOW }, "event", "en-US")).toBe("2,500,000 events, 30 s, 83,333 events/s");
  expect(paceText({ done: 1, total: 0, begun: NOW - 30_000, now: NOW }, "event", "en-US")).toBe("1 event, 30 s, 2 events/min");
});

test("a clock behind the server's counts from now, and so does a run that names no start", () => {
  expect(begunAt("2026-11-28T12:11:00Z", NOW)).toBe(NOW);
  expect(begunAt(undefined, NOW)).toBe(NOW);
});
