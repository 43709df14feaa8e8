import { expect, test } from "vitest";
import { diff, hunks } from "../../src/lib/diff.ts";

const told = (before: string, after: string) => diff(before, after).map(({ kind, text }) => `${{ same: " ", added: "+", removed: "-" }[kind]}${text}`);

test("both texts can be put together again from their differences", () => {
  for (const [before, after] of [["a\nb\nc", "a\nx\nc\nd"], ["", "a"], ["a", ""], ["a\nb\na\nb", "b\na\nb\na"], ["same", "same"]] as const) {
    const lines = diff(before, after);
    expect(lines.filter(({ kind }) => kind !== "added").map(({ text }) => text).join("\n")).toBe(before);
    expect(lines.filter(({ kind }) => kind !== "removed").map(({ text }) => text).join("\n")).toBe(after);
  }
});

test("a changed line is taken out before the new one comes in, and nothing else is touched", () => {
  expect(told("a\nprice = 1\nc", "a\nprice = 2\nc")).toEqual([" a", "-price = 1", "+price = 2", " c"]);
});

test("what is far from a change is left out, with one mark for each gap", () => {
  const before = Array.from({ length: 20 }, (_, at) => `line ${at}`);
  const shown = hunks(diff(before.join("\n"), before.map((line, at) => (at === 10 ? "new" : line)).join("\n")), 1);
  expect(shown.map((line) => line?.text ?? null)).toEqual([null, "line 9", "line 10", "new", "line 11", null]);
  expect(hunks(diff("a\nb", "a\nb"), 1)).toEqual([]);
});
