// How full a cluster is, and when a straight line says it will be full. Drawing and forecasting only: no money.

import { plus } from "./days.ts";
import { divide, parse, sign, sum } from "./decimal.ts";
import { groupBy } from "./group.ts";

const HOURS = 24;

/** How much of the capacity of one meter was used. */
export interface Fill {
  meter: string;
  /** Capacity of an hour, or the meter that measures it. */
  capacity: string;
  /** Whether a meter measures it. */
  isMeasured: boolean;
  /** Used part of each day, from 0 to 1; null without usage. */
  parts: (number | null)[];
  /** Of the last day that is known. */
  last: number | null;
  /** The day on which it is full by a straight line; null when that is never or farther than `DAYS_MAX`. */
  fullOn: string | null;
}

/** A line is not believed farther than this. */
const DAYS_MAX = 1095;
const POINTS_MIN = 7;

/** Returns whether a capacity of the policy names a meter instead of a number. */
export function isMeter(capacity: string): boolean {
  return parse(capacity) === null;
}

/** Returns the quantity of each day: a day may have a row for each of several consumers. */
export function byDay(rows: readonly { start: string; quantity: string }[]): Map<string, string> {
  return new Map([...groupBy(rows, ({ start }) => start)].map(([day, found]) => [day, sum(found.map(({ quantity }) => quantity))]));
}

/**
 * Returns how full the meter was on each day. `capacity` is of one hour, as the policy writes it, or names the meter whose
 * quantities are `measured`; a day on which that measured nothing is not known.
 */
export function fill(meter: string, capacity: string, days: readonly string[], used: ReadonlyMap<string, string>, measured?: ReadonlyMap<string, string>): Fill {
  const ofDay = measured ? "" : sum(Array.from({ length: HOURS }, () => capacity));
  const parts = days.map((day) => {
    const size = measured ? (measured.get(day) ?? "") : ofDay;
    const part = sign(size) > 0 ? divide(used.get(day) ?? "", size, 6) : null;
    return part === null ? null : Number(part);
  });
  const known = parts.filter((part): part is number => part !== null);
  return { meter, capacity, isMeasured: measured !== undefined, parts, last: known.at(-1) ?? null, fullOn: fullOn(days, parts) };
}

/** Least squares over the days that are known. */
function fullOn(days: readonly string[], parts: readonly (number | null)[]): string | null {
  const points = parts.flatMap((part, at) => (part === null ? [] : [[at, part] as const]));
  const end = days.at(-1);
  if (points.length < POINTS_MIN || end === undefined) return null;
  const n = points.length;
  const [meanX, meanY] = [points.reduce((sum, [x]) => sum + x, 0) / n, points.reduce((sum, [, y]) => sum + y, 0) / n];
  const spread = points.reduce((sum, [x]) => sum + (x - meanX) ** 2, 0);
  const slope = points.reduce((sum, [x, y]) => sum + (x - meanX) * (y - meanY), 0) / spread;
  if (!(slope > 0)) return null;
  // What the float adds to a whole day is no day more.
  const left = Math.ceil(meanX + (1 - meanY) / slope - (days.length - 1) - 1e-6);
  return left > DAYS_MAX ? null : plus(end, Math.max(0, left));
}
