// The lines in which two texts differ.

export interface DiffLine {
  kind: "same" | "added" | "removed";
  text: string;
}

/** Beyond so many lines in the middle the whole middle counts as changed: the table below would grow too large. */
const LINES_MAX = 2000;

/** Returns the lines of both texts in order, with what was taken out before what came in. */
export function diff(before: string, after: string): DiffLine[] {
  const [a, b] = [before.split("\n"), after.split("\n")];
  let start = 0;
  while (start < a.length && start < b.length && a[start] === b[start]) start += 1;
  let end = 0;
  while (end < a.length - start && end < b.length - start && a[a.length - 1 - end] === b[b.length - 1 - end]) end += 1;
  const same = (lines: string[]): DiffLine[] => lines.map((text) => ({ kind: "same", text }));
  const [left, right] = [a.slice(start, a.length - end), b.slice(start, b.length - end)];
  return [...same(a.slice(0, start)), ...middle(left, right), ...same(end === 0 ? [] : a.slice(-end))];
}

function middle(a: string[], b: string[]): DiffLine[] {
  const removed = (text: string): DiffLine => ({ kind: "removed", text });
  const added = (text: string): DiffLine => ({ kind: "added", text });
  if (a.length + b.length > LINES_MAX) return [...a.map(removed), ...b.map(added)];
  // Length of the longest common subsequence of the rests.
  const common = Array.from({ length: a.length + 1 }, () => new Uint16Array(b.length + 1));
  const at = (i: number, j: number) => common[i]?.[j] ?? 0;
  for (let i = a.length - 1; i >= 0; i -= 1) {
    const row = common[i];
    for (let j = b.length - 1; row && j >= 0; j -= 1) row[j] = a[i] === b[j] ? at(i + 1, j + 1) + 1 : Math.max(at(i + 1, j), at(i, j + 1));
  }
  const lines: DiffLine[] = [];
  let [i, j] = [0, 0];
  while (i < a.length || j < b.length) {
    const [x, y] = [a[i], b[j]];
    if (x !== undefined && x === y) {
      lines.push({ kind: "same", text: x });
      [i, j] = [i + 1, j + 1];
    } else if (x !== undefined && (y === undefined || at(i + 1, j) >= at(i, j + 1))) {
      lines.push(removed(x));
      i += 1;
    } else if (y !== undefined) {
      lines.push(added(y));
      j += 1;
    }
  }
  return lines;
}

/** Returns the changed lines with so many lines around them; null stands for what was left out. */
export function hunks(lines: readonly DiffLine[], around: number): (DiffLine | null)[] {
  const near = lines.map((_, at) => lines.slice(Math.max(0, at - around), at + around + 1).some(({ kind }) => kind !== "same"));
  return lines.flatMap((line, at) => (near[at] ? [line] : near[at + 1] || (at === lines.length - 1 && near.some(Boolean)) ? [null] : []));
}
