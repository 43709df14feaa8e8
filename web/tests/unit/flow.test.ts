import { expect, test } from "vitest";
import { draw, fitted } from "../../src/lib/flow.ts";

const LINKS = [
  { from: "west", to: "acme", amount: "30.5" },
  { from: "west", to: "globex", amount: "10" },
  { from: "tax", to: "acme", amount: "0.1" },
  { from: "models", to: "hooli", amount: "9.4" },
];
const ROOM = { width: 600, height: 300, bar: 10, gap: 10 };

test("boxes are as high as their part of the whole, the largest first, and stay in the room", () => {
  const { nodes, ribbons } = draw([[{ from: "aws", to: "west", amount: "40.5" }, { from: "aws", to: "tax", amount: "0.1" }, { from: "own", to: "models", amount: "9.4" }], LINKS], ROOM);
  const column = (at: number) => nodes.filter((node) => node.column === at);
  expect(column(1).map(({ id }) => id)).toEqual(["west", "models", "tax"]);
  for (const at of [0, 1, 2]) {
    expect(column(at).reduce((height, node) => height + node.height, 0)).toBeCloseTo(280, 1);
    for (const node of column(at)) expect(node.y + node.height).toBeLessThanOrEqual(300.01);
  }
  for (const node of column(1)) {
    const [into, out] = [ribbons.filter(({ column: at, to }) => at === 0 && to === node.id), ribbons.filter(({ column: at, from }) => at === 1 && from === node.id)];
    for (const side of [into, out]) expect(side.reduce((width, ribbon) => width + ribbon.width, 0)).toBeCloseTo(node.height, 1);
  }
});

test("nothing to draw is drawn as nothing", () => {
  expect(draw([[], []], ROOM)).toEqual({ nodes: [], ribbons: [] });
});

test("what stands for several comes last, however large it is", () => {
  const { nodes } = draw([[{ from: "__several__", to: "west", amount: "9" }, { from: "aws", to: "west", amount: "1" }], [{ from: "west", to: "__other__", amount: "8" }, { from: "west", to: "acme", amount: "2" }]], ROOM);
  expect(nodes.map(({ id }) => id)).toEqual(["aws", "__several__", "west", "acme", "__other__"]);
});

test("a name is cut where its room ends, between letters, and only if it must", () => {
  const measure = (text: string) => [...text].length * 6;
  expect(fitted("Not from bills", 84, measure)).toBe("Not from bills");
  expect(fitted("Not from bills", 83, measure)).toBe("Not from bil…");
  expect(fitted("Not from bills", 60, measure)).toBe("Not from…");
  expect(fitted("\u{1F331}\u{1F332}\u{1F333}", 12, measure)).toBe("\u{1F331}…");
  expect(fitted("Not from bills", 0, measure)).toBe("…");
});
