// How full a cluster is, and when a straight line says it will be full. Drawing and forecasting only: no money.

import { plus } from "./days.ts";
import { divide } from "./decimal.ts";

const HOURS = "24";

/** How much of the capacity of one meter was used. */
export interface Fill {
  meter: string;
  /** Capacity of an hour. */
  capacity: string;
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

/** Returns how full the meter was on each day. `capacity` is of one hour, as the policy writes it. */
export function fill(meter: string, capacity: string, days: readonly string[], used: ReadonlyMap<string, string>): Fill {
  const parts = days.map((day) => {
    const hour = divide(used.get(day) ?? "", HOURS, 9);
    const part = hour === null ? null : divide(hour, capacity, 6);
    return part === null ? null : Number(part);
  });
  const known = parts.filter((part): part is number => part !== null);
  return { meter, capacity, parts, last: known.at(-1) ?? null, fullOn: fullOn(days, parts) };
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
