import ts from "typescript";
import { expect, test } from "vitest";
import { type Key, type Look, drawHead, drawLabels, hatch, placed } from "../../src/lib/png.ts";

const LOOK: Look = { font: "serif", text: "black", soft: "grey", surface: "white" };
const KEYS: Key[] = [
  { kind: "fill", colour: "blue", name: "Compute", total: "$7.00" },
  { kind: "fill", colour: "green", name: "Storage", total: "$3.00" },
  { kind: "hatch", colour: "grey", name: "not final" },
  { kind: "ring", colour: "brown", name: "restated" },
];

/** A context that notes what is drawn, with letters of five pixels. */
function fakePen() {
  const drawn: string[] = [];
  const state = { fillStyle: "", strokeStyle: "", lineWidth: 1, font: "" };
  const note = (name: string) => (...given: unknown[]) => {
    const rounded = given.map((value) => (typeof value === "number" ? Math.round(value) : value));
    drawn.push(`${name} ${[...rounded, name.startsWith("fill") ? state.fillStyle : name === "stroke" ? state.strokeStyle : ""].join(" ")}`.trim());
  };
  const calls = ["fillText", "fillRect", "stroke", "moveTo", "lineTo", "rect", "clip", "arc"].map((name) => [name, note(name)]);
  const still = ["save", "restore", "beginPath"].map((name) => [name, () => undefined]);
  const pen = Object.assign(state, Object.fromEntries([...calls, ...still]), { measureText: (text: string) => ({ width: text.length * 5 }) });
  return { pen: pen as unknown as CanvasRenderingContext2D, drawn };
}

test("a picture says its title, its days, and for every layer its colour, name and total", () => {
  const { pen, drawn } = fakePen();
  const height = drawHead(pen, { title: "Cost per day (USD)", period: "Nov 1 – 28, 2026", keys: KEYS }, 800, LOOK);
  expect(drawn.filter((line) => line.startsWith("fillText"))).toEqual([
    "fillText Nov 1 – 28, 2026 0 32 grey", "fillText Compute  $7.00 16 51 black", "fillText Storage  $3.00 120 51 black",
    "fillText not final 224 51 black", "fillText restated 303 51 black", "fillText Cost per day (USD) 0 12 black",
  ]);
  expect(drawn.filter((line) => line.startsWith("fillRect"))).toEqual(["fillRect 0 42 10 10 blue", "fillRect 104 42 10 10 green"]);
  expect(drawn).toContain("stroke grey");
  expect(drawn).toContain("stroke brown");
  const measured = fakePen();
  expect(drawHead(measured.pen, { title: "Cost per day (USD)", period: "", keys: KEYS }, 800, LOOK, false)).toBe(height);
  expect(measured.drawn).toEqual([]);
});

test("keys take another line where there is no room, and a long name is cut before its total", () => {
  const measure = (text: string) => text.length * 5;
  const found = placed([...KEYS, { kind: "fill", colour: "red", name: "n".repeat(80), total: "$1.00" }], 220, measure);
  expect(found.map(({ line, x }) => [line, x])).toEqual([[0, 0], [0, 104], [1, 0], [1, 79], [2, 0]]);
  expect(found.at(-1)?.text).toMatch(/^n+… {2}\$1\.00$/);
  for (const { x, text } of found) expect(x + 16 + measure(text)).toBeLessThanOrEqual(220);
});

test("a key that stands beside its layer is drawn there and not above: name, cut before the total, and the total at the right", () => {
  const { pen, drawn } = fakePen();
  const keys: Key[] = [{ kind: "fill", colour: "blue", name: "Compute of everybody", total: "$7.00", at: { x: 500, y: 40, width: 100 } }, { kind: "hatch", colour: "grey", name: "not final" }];
  drawHead(pen, { title: "title", period: "period", keys }, 800, LOOK);
  expect(drawn.filter((line) => line.startsWith("fillText")).map((line) => line.split(" ")[1])).toEqual(["period", "not", "title"]);
  drawn.length = 0;
  drawLabels(pen, keys, LOOK);
  expect(drawn).toEqual(["fillRect 500 35 10 10 blue", "fillText Compute o… 516 44 black", "fillText $7.00 575 44 grey"]);
});

test("the hatch covers its box with diagonals, in the surface's colour and then in ink", () => {
  const { pen, drawn } = fakePen();
  hatch(pen, { x: 100, y: 0, width: 20, height: 40 }, "grey", "white");
  expect(drawn.slice(0, 2)).toEqual(["rect 100 0 20 40", "clip"]);
  expect(drawn.filter((line) => line.startsWith("stroke"))).toEqual(["stroke white", "stroke grey"]);
  const from = drawn.filter((line) => line.startsWith("moveTo")).map((line) => Number(line.split(" ")[1]));
  // Of both colours, from the corner above left to the one below right, nowhere further apart than a line of the pattern.
  expect(from.slice(0, from.length / 2)).toEqual(from.slice(from.length / 2));
  expect(Math.min(...from)).toBe(100);
  expect(Math.max(...from)).toBeGreaterThan(145);
});

const TOKENS = ts.sys.readFile("src/style.css") ?? "";
/** The colour of a token in light (0) or dark (1). */
const token = (name: string, theme: number): string => new RegExp(`--${name}: light-dark\\((#\\w{6}), (#\\w{6})\\)`).exec(TOKENS)?.[theme + 1] ?? "";
function luminance(colour: string): number {
  const [red = 0, green = 0, blue = 0] = [1, 3, 5].map((at) => Number.parseInt(colour.slice(at, at + 2), 16) / 255).map((part) => (part <= 0.04045 ? part / 12.92 : ((part + 0.055) / 1.055) ** 2.4));
  return 0.2126 * red + 0.7152 * green + 0.0722 * blue;
}
function contrast(a: string, b: string): number {
  const [low = 0, high = 0] = [luminance(a), luminance(b)].toSorted((x, y) => x - y);
  return (high + 0.05) / (low + 0.05);
}

test("layers, hatch and ring stand out from the surface by 3 to 1 in both themes", () => {
  for (const theme of [0, 1]) {
    for (const name of ["s0", "s1", "s2", "s3", "s4", "s5", "line-strong", "soft", "warn"]) {
      expect(contrast(token(name, theme), token("surface", theme)), `${name} ${theme}`).toBeGreaterThanOrEqual(3);
    }
  }
});
