// What a table of rows shows, and how it is sorted.

import type { SortColumn } from "./sort.ts";

export type Tone = "good" | "bad" | "warn" | "soft" | "";

export interface TableColumn<Row> extends SortColumn<Row> {
  head: string;
  about?: string;
  /** What is shown, if it is not the value. */
  show?: (row: Row) => string;
  title?: (row: Row) => string;
  /** A page of ours, below the base path. */
  href?: (row: Row) => string | null;
  tone?: (row: Row) => Tone;
  /** A word beside the text that says what kind of value it is; null for most rows. */
  badge?: (row: Row) => string | null;
  /** A part of one, drawn as a bar beside the text. */
  bar?: (row: Row) => string | null;
  /** A button in place of the text; a double click presses it once, as it may do something else by then. */
  press?: ((row: Row) => void) | undefined;
  /** Whether the row has one; all have if left out. */
  hasPress?: (row: Row) => boolean;
  /** Breaks into lines instead of widening the table. */
  isLong?: boolean;
  isCode?: boolean;
}

/** Returns a column of text. */
export function textColumn<Row>(id: string, head: string, value: (row: Row) => string | null | undefined, more: Partial<TableColumn<Row>> = {}): TableColumn<Row> {
  return { id, head, isText: true, value, ...more };
}

/** Returns a column of decimal text. */
export function numberColumn<Row>(id: string, head: string, value: (row: Row) => string | null | undefined, more: Partial<TableColumn<Row>> = {}): TableColumn<Row> {
  return { id, head, isText: false, value, ...more };
}
