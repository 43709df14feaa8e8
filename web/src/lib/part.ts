// What a figure is made of: its parts, which add up to it, or the two figures that it comes from.

import type { Client, Costs, Query } from "./api.ts";
import { compare, negate, sign } from "./decimal.ts";
import { type Asked, isCell, questionOf, waysOf } from "./explain.ts";

/** Most parts that are read; what is beyond them is one part. */
export const PARTS_MAX = 10_000;
/** Most pages of a list that are read. */
export const PAGES_MAX = 10;

export interface Part {
  /** Its value of what is listed: a day, a pool, a tenant. */
  value: string;
  /** What it is called, where that does not follow from its value. */
  name?: string;
  amount: string;
  /** Of a change: what it was before, and what it is. */
  previous?: string | null;
  cost?: string;
  /** Of usage at current rates: how much of which meter. */
  used?: string;
  /** What explains it. */
  asked: Asked | null;
}

/** A list of parts, whose sum is the total. */
export interface Made {
  parts: Part[];
  total: string;
  /** A currency, or the unit of a quantity. */
  unit: string;
  isMoney: boolean;
}

/** A number of a formula; without a unit it is a count. */
export interface Figure {
  words: string;
  value: string;
  unit?: string;
  isMoney?: boolean;
  asked?: Asked | null;
}

export interface Formula {
  left: Figure;
  sign: "÷" | "−" | "+";
  right: Figure;
  /** What comes out; null when nothing does. */
  result: Figure | { words: string; value: null };
  /** Whether the result is a part of one. */
  isPart?: boolean;
}

export interface Answer {
  made: Made | null;
  formula: Formula | null;
  /** The state of the ledger that is shown. */
  posting: number | null;
  /** The rate card of a view at current rates. */
  card?: string | undefined;
}

const bare = (amount: string) => (sign(amount) < 0 ? negate(amount) : amount);
export const largestFirst = (parts: readonly Part[]) => parts.toSorted((a, b) => compare(bare(b.amount), bare(a.amount)) || (a.value < b.value ? -1 : 1));
/** A part that is explained by nothing more has no explanation. */
export const opens = (asked: Asked) => (isCell(asked) || waysOf(asked).length > 0 ? asked : null);
export const costs = (client: Client, asked: Asked, more: Query, signal: AbortSignal) => client.costs({ ...questionOf(asked), ...more }, signal);
/** A key of which cost has few values, so that its rows are the whole. */
export const whole = ({ view }: Asked) => (view === undefined ? "status" : "origin");
export const about = ({ meta }: Costs) => ({ posting: meta.posting ?? null, card: meta.rate_card_version ?? undefined });
export const money = (words: string, value: string, unit: string, asked: Asked | null = null): Figure => ({ words, value, unit, isMoney: true, asked });
