// Sorting by several columns; the first one decides, the others break ties.

import { parse } from "./decimal.ts";

/** A column and its direction. */
export interface SortKey {
  column: string;
  descending: boolean;
}

/** Returns what `s=-cost,workspace` says, but only for columns that exist. */
export function parseSort(text: string | null, columns: readonly string[], fallback: SortKey[]): SortKey[] {
  const keys = (text ?? "").split(",").map((piece) => ({ column: piece.replace(/^-/, ""), descending: piece.startsWith("-") }));
  const known = keys.filter(({ column }, at) => columns.includes(column) && keys.findIndex((key) => key.column === column) === at);
  return known.length > 0 ? known : fallback;
}

/** Returns the text of `parseSort`. */
export function sortText(keys: readonly SortKey[]): string {
  return keys.map(({ column, descending }) => (descending ? `-${column}` : column)).join(",");
}

/** Returns the keys after a click on a column: it alone, or with `add` beside the others. A second click turns it. */
export function clicked(keys: readonly SortKey[], column: string, isText: boolean, add: boolean): SortKey[] {
  const old = keys.find((key) => key.column === column);
  const next: SortKey = { column, descending: old ? !old.descending : !isText };
  if (!add) return [next];
  return old ? keys.map((key) => (key === old ? next : key)) : [...keys, next];
}

/** How a column is compared: as words of the locale or as decimal text. */
export interface SortColumn<Row> {
  id: string;
  isText: boolean;
  value: (row: Row) => string | null | undefined;
}

type Key = string | bigint | null;

/** Returns what each row is compared by, read once: a word, or its decimal as a whole number of one scale for all. */
function keysOf<Row>(rows: readonly Row[], { isText, value }: SortColumn<Row>): Key[] {
  if (isText) return rows.map((row) => value(row) ?? null);
  const numbers = rows.map((row) => parse(value(row)));
  const scale = numbers.reduce((most, number) => Math.max(most, number?.scale ?? 0), 0);
  return numbers.map((number) => number && number.units * 10n ** BigInt(scale - number.scale));
}

/** Returns the rows in order; rows without a value come last in either direction, equal rows by `tie`. */
export function sorted<Row>(
  rows: readonly Row[],
  keys: readonly SortKey[],
  columns: readonly SortColumn<Row>[],
  tie: (row: Row) => string,
): Row[] {
  const collator = new Intl.Collator(undefined, { numeric: true, sensitivity: "base" });
  const used = keys.flatMap((key) => {
    const column = columns.find(({ id }) => id === key.column);
    return column ? [{ of: keysOf(rows, column), factor: key.descending ? -1 : 1 }] : [];
  });
  const names = rows.map(tie);
  const compare = (a: number, b: number): number => {
    for (const { of, factor } of used) {
      const [x, y] = [of[a] ?? null, of[b] ?? null];
      if (x === y) continue;
      if (x === null || y === null) return x === null ? 1 : -1;
      const order = typeof x === "string" || typeof y === "string" ? collator.compare(String(x), String(y)) : x < y ? -1 : 1;
      if (order !== 0) return order * factor;
    }
    return collator.compare(names[a] ?? "", names[b] ?? "");
  };
  return rows.map((_, at) => at).sort(compare).map((at) => rows[at] as Row);
}
