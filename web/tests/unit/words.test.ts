import { expect, test } from "vitest";
import { isolated } from "../../src/lib/words.ts";

test("a name whose letters or marks change the direction is kept apart from what follows, any other is left as it is", () => {
  for (const name of ["acme", "Aperture <b>", "Zürich 北", ""]) expect(isolated(name)).toBe(name);
  expect(isolated("\u202Egnp.exe")).toBe("\u2068\u202Egnp.exe\u2069");
  expect(isolated("\u0634\u0631\u0643\u0629")).toBe("\u2068\u0634\u0631\u0643\u0629\u2069");
  for (const name of ["\u{10900}\u{10901}", "\u{1e900}\u{1e922}"]) expect(isolated(name), "scripts beyond 16 bits").toBe(`\u2068${name}\u2069`);
  expect(isolated("a\u2069\u202Eb"), "a name cannot end the place that it is kept in").toBe("\u2068a\u202Eb\u2069");
});
