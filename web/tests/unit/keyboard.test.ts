import { expect, test } from "vitest";
import { paletteKey } from "../../src/lib/keyboard.ts";

test("the palette's key is called as the reader's keyboard has it", () => {
  for (const platform of ["MacIntel", "iPhone", "iPad"]) expect(paletteKey(platform)).toBe("⌘K");
  for (const platform of ["Win32", "Linux x86_64", ""]) expect(paletteKey(platform)).toBe("Ctrl K");
});
