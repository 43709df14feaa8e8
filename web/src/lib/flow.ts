// Where each end of a flow is drawn. Lengths are floats; the amounts they stand for stay text.

import { compare, ratio, sign, sum } from "./decimal.ts";

/** An amount on its way from one thing to another. */
export interface Link {
  from: string;
  to: string;
  amount: string;
}

export interface Node {
  id: string;
  column: number;
  amount: string;
  y: number;
  height: number;
}

export interface Ribbon extends Link {
  path: string;
  width: number;
  column: number;
}

export interface Drawn {
  nodes: Node[];
  ribbons: Ribbon[];
}

export interface Room {
  width: number;
  height: number;
  bar: number;
  gap: number;
}

/** Returns as much of the text as has room, with `…` for the rest; `measure` says how wide a text is. */
export function fitted(text: string, room: number, measure: (text: string) => number): string {
  if (measure(text) <= room) return text;
  const letters = [...text];
  let [fits, least] = [0, letters.length - 1];
  while (fits < least) {
    const middle = Math.ceil((fits + least) / 2);
    if (measure(`${letters.slice(0, middle).join("").trimEnd()}…`) <= room) fits = middle;
    else least = middle - 1;
  }
  return `${letters.slice(0, fits).join("").trimEnd()}…`;
}

/** Ids of nodes that stand for what has no name of its own; they come last. */
const REST: ReadonlySet<string> = new Set(["__other__", "__several__", "__difference__"]);
const isRest = (id: string) => REST.has(id);

/** Returns boxes and ribbons of links between columns, each list of links one step to the right. Amounts must be above 0. */
export function draw(steps: readonly (readonly Link[])[], room: Room): Drawn {
  const columns: Map<string, string>[] = Array.from({ length: steps.length + 1 }, () => new Map());
  for (const [at, links] of steps.entries()) {
    for (const { from, to, amount } of links) {
      if (at === 0) columns[0]?.set(from, sum([columns[0].get(from), amount]));
      columns[at + 1]?.set(to, sum([columns[at + 1]?.get(to), amount]));
    }
  }
  const whole = sum(columns[0]?.values() ?? []);
  const rows = Math.max(...columns.map((column) => column.size));
  const scale = Math.max(0, room.height - (rows - 1) * room.gap);
  const nodes: Node[] = [];
  for (const [column, amounts] of columns.entries()) {
    let y = 0;
    const order = ([a, x]: [string, string], [b, z]: [string, string]) => Number(isRest(a)) - Number(isRest(b)) || compare(z, x) || (a < b ? -1 : 1);
    for (const [id, amount] of [...amounts].toSorted(order)) {
      const height = sign(whole) > 0 ? ratio(amount, whole) * scale : 0;
      nodes.push({ id, column, amount, y, height });
      y += height + room.gap;
    }
  }
  return { nodes, ribbons: steps.flatMap((links, column) => ribbonsOf(links, column, nodes, steps.length, whole, scale, room)) };
}

function ribbonsOf(links: readonly Link[], column: number, nodes: readonly Node[], steps: number, whole: string, scale: number, room: Room): Ribbon[] {
  const place = new Map(nodes.map((node) => [`${node.column} ${node.id}`, node]));
  const rank = (at: number, id: string) => place.get(`${at} ${id}`)?.y ?? 0;
  const used = new Map<string, number>();
  const take = (at: number, side: string, id: string, width: number) => {
    const key = `${side} ${at} ${id}`;
    const before = used.get(key) ?? 0;
    used.set(key, before + width);
    return rank(at, id) + before + width / 2;
  };
  const step = (room.width - room.bar) / steps;
  const [x0, x1] = [column * step + room.bar, (column + 1) * step];
  // Ribbons leave and arrive in the order of what they lead to and come from, so that few cross.
  const width = ({ amount }: Link) => (sign(whole) > 0 ? ratio(amount, whole) * scale : 0);
  const leave = new Map(links.toSorted((a, b) => rank(column, a.from) - rank(column, b.from) || rank(column + 1, a.to) - rank(column + 1, b.to)).map((link) => [link, take(column, "out", link.from, width(link))]));
  const arrive = new Map(links.toSorted((a, b) => rank(column + 1, a.to) - rank(column + 1, b.to) || rank(column, a.from) - rank(column, b.from)).map((link) => [link, take(column + 1, "in", link.to, width(link))]));
  return links.map((link) => {
    const [y0, y1, middle] = [leave.get(link) ?? 0, arrive.get(link) ?? 0, (x0 + x1) / 2];
    return { ...link, column, width: width(link), path: `M${x0.toFixed(1)} ${y0.toFixed(1)}C${middle.toFixed(1)} ${y0.toFixed(1)} ${middle.toFixed(1)} ${y1.toFixed(1)} ${x1.toFixed(1)} ${y1.toFixed(1)}` };
  });
}
