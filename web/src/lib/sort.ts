// Sorting by several columns; the first one decides, the others break ties.

import { type Decimal, compareParsed, parse } from "./decimal.ts";

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
    return column ? [{ column, factor: key.descending ? -1 : 1 }] : [];
  });
  // Values are read once for each row, not once for each comparison.
  const read = ({ column }: { column: SortColumn<Row> }, row: Row): string | Decimal | null => {
    const value = column.value(row);
    return value == null ? null : column.isText ? value : parse(value);
  };
  const entries = rows.map((row) => ({ row, values: used.map((key) => read(key, row)) }));
  entries.sort((a, b) => {
    for (const [at, { factor }] of used.entries()) {
      const [x, y] = [a.values[at] ?? null, b.values[at] ?? null];
      if (x === null || y === null) {
        if (x !== y) return x === null ? 1 : -1;
        continue;
      }
      const order = typeof x === "string" || typeof y === "string" ? collator.compare(String(x), String(y)) : compareParsed(x, y);
      if (order !== 0) return order * factor;
    }
    return collator.compare(tie(a.row), tie(b.row));
  });
  return entries.map(({ row }) => row);
}
