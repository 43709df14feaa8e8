// Geometry of the charts. Lengths are floats; the amounts they stand for stay text.

import { compare, divide, largest, parse, ratio, sum, minus, sign } from "./decimal.ts";

/** One colour of the stacked bars. */
export interface Layer {
  id: string;
  name: string;
  total: string;
  values: string[];
}

export type Series = readonly (readonly string[])[];

/** Returns the largest rows as layers and the rest of the total as one more. */
export function layersOf(top: readonly { id: string; name: string; series: Series }[], total: Series, days: readonly string[]): Layer[] {
  const all = new Map(total.map(([day = "", cost = "0"]) => [day, cost]));
  const layers = top.map(({ id, name, series }) => {
    const found = new Map(series.map(([day = "", cost = "0"]) => [day, cost]));
    const values = days.map((day) => found.get(day) ?? "0");
    return { id, name, values, total: sum(values) };
  });
  const others = days.map((day, at) => minus(all.get(day) ?? "0", sum(layers.map((layer) => layer.values[at]))));
  const rest = { id: "other", name: "Other", values: others, total: sum(others) };
  return sign(rest.total) === 0 ? layers : [...layers, rest];
}

/** Returns round marks of an axis from 0 to at least `top`: one, two or five times a power of ten apart. */
export function ticks(top: string): string[] {
  const value = parse(top);
  if (!value || value.units <= 0n) return ["0"];
  // A step is a whole number of 10^-6, small enough for any currency.
  const wanted = parse(divide(top, "4", 6) ?? "0")?.units ?? 1n;
  let power = 1n;
  while (power * 10n <= wanted) power *= 10n;
  const factors = [1n, 2n, 5n, 10n];
  const step = power * (factors.find((factor) => wanted <= power * factor) ?? 10n);
  const found: string[] = ["0"];
  for (let at = step; ; at += step) {
    const digits = at.toString().padStart(7, "0");
    const text = `${digits.slice(0, -6)}.${digits.slice(-6)}`.replace(/\.?0+$/, "");
    found.push(text);
    if (compare(text, top) >= 0) return found;
  }
}

/** Returns the total of every day. */
export function heights(layers: readonly Layer[], days: readonly string[]): string[] {
  return days.map((_, at) => sum(layers.map((layer) => layer.values[at])));
}

/** Returns heights for labels that want these, from above to below: each at least so far from the next, all within the bounds, and together as near to what they want as can be. */
export function spread(wanted: readonly number[], apart: number, low: number, high: number): number[] {
  // Labels that would overlap stand in one block, whose middle is where its labels want to be on average.
  const blocks: { sum: number; count: number }[] = [];
  for (const [at, y] of wanted.entries()) {
    let block = { sum: y - at * apart, count: 1 };
    for (let above = blocks.at(-1); above && block.sum / block.count < above.sum / above.count; above = blocks.at(-1)) {
      block = { sum: above.sum + block.sum, count: above.count + block.count };
      blocks.pop();
    }
    blocks.push(block);
  }
  const last = high - (wanted.length - 1) * apart;
  const tops = blocks.flatMap(({ sum, count }) => Array.from({ length: count }, () => Math.max(low, Math.min(last, sum / count))));
  return tops.map((top, at) => top + at * apart);
}

/** Returns the points of a line in a box, 0 at its foot; days without a value are gaps. */
export function line(values: readonly (string | null)[], width: number, height: number): string {
  const top = largest(values.filter((value): value is string => value !== null)) ?? "1";
  const step = values.length > 1 ? width / (values.length - 1) : 0;
  let isDown = false;
  return values
    .map((value, at) => {
      if (value === null) {
        isDown = false;
        return "";
      }
      const y = height - (sign(top) > 0 ? ratio(value, top) : 0) * height;
      const command = isDown ? "L" : "M";
      isDown = true;
      return `${command}${(at * step).toFixed(1)} ${y.toFixed(1)}`;
    })
    .join("");
}
