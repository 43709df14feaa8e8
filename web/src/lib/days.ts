// Days as `YYYY-MM-DD`. Where a day begins is decided by the server; here days are only counted.

/** Inclusive days. */
export interface Days {
  from: string;
  to: string;
}

const DAY_MS = 86_400_000;
const FORM = /^\d{4}-\d{2}-\d{2}$/;
/** Most days that a range may have, as the server's default allows. */
export const DAYS_MAX = 3660;
/** The periods that are one click away, in days. */
export const PERIODS = [7, 30, 90, 365] as const;

const number = (day: string): number => Math.round(Date.parse(`${day}T00:00:00Z`) / DAY_MS);

/** Returns whether the text is a day of the calendar. */
export function isDay(text: string): boolean {
  return FORM.test(text) && !Number.isNaN(Date.parse(`${text}T00:00:00Z`)) && plus(text, 0) === text;
}

/** Returns the day so many days later. */
export function plus(day: string, days: number): string {
  return new Date((number(day) + days) * DAY_MS).toISOString().slice(0, 10);
}

/** Returns the Monday of the day's week. */
export function monday(day: string): string {
  // Day 0 was a Thursday.
  return plus(day, -((((number(day) + 3) % 7) + 7) % 7));
}

/** Returns the day that a clock of this zone shows at an instant. */
export function dayAt(instant: number, timeZone: string): string {
  const parts = new Intl.DateTimeFormat("en-US", { timeZone, year: "numeric", month: "2-digit", day: "2-digit" }).formatToParts(instant);
  return ["year", "month", "day"].map((name) => parts.find(({ type }) => type === name)?.value).join("-");
}

/** Returns how many days the range has. */
export function length({ from, to }: Days): number {
  return number(to) - number(from) + 1;
}

/** Returns every day of the range. */
export function each(days: Days): string[] {
  return Array.from({ length: Math.max(0, length(days)) }, (_, index) => plus(days.from, index));
}

/** Returns the days of `30d` up to a day, `2026-10` or `2026-10-01..2026-10-31`, or null when the text says none. */
export function range(text: string, today: string): Days | null {
  const rolling = /^(\d{1,4})d$/.exec(text);
  if (rolling) {
    const days = Number(rolling[1]);
    return days >= 1 && days <= DAYS_MAX ? { from: plus(today, 1 - days), to: today } : null;
  }
  if (/^\d{4}-\d{2}$/.test(text)) {
    const from = `${text}-01`;
    return isDay(from) ? { from, to: plus(`${plus(from, 31).slice(0, 7)}-01`, -1) } : null;
  }
  const [from, to, more] = text.split("..");
  if (from === undefined || to === undefined || more !== undefined || !isDay(from) || !isDay(to)) return null;
  return from <= to && length({ from, to }) <= DAYS_MAX ? { from, to } : null;
}

/** Returns the part of a range up to a day; one that begins later is left as it is. */
export function upTo(days: Days, last: string): Days {
  return last < days.to && days.from <= last ? { from: days.from, to: last } : days;
}

/** Returns the days of a bar of a chart, which begins with a day and has so many, as far as they lie in the range. */
export function ofBar({ from, to }: Days, first: string, count: number): Days {
  const last = plus(first, count - 1);
  if (last < from || to < first) return { from: first, to: last };
  return { from: first < from ? from : first, to: to < last ? to : last };
}

/** Returns the range as the address shows it. */
export function text({ from, to }: Days): string {
  return `${from}..${to}`;
}

/** Returns the range of equal length after (1) or before (-1) this one. */
export function shifted(days: Days, by: 1 | -1): Days {
  const step = length(days) * by;
  return { from: plus(days.from, step), to: plus(days.to, step) };
}

/**
 * Returns the text of the range after (1) or before (-1) the one that a text says and whose days these are: a month moves to
 * its neighbour, and what would end today or later is the range of as many days up to today.
 */
export function moved(said: string, days: Days, by: 1 | -1, today: string): string {
  const month = monthOf(said);
  if (month !== null) {
    const [year = 0, number = 1] = month.split("-").map(Number);
    return new Date(Date.UTC(year, number - 1 + by, 1)).toISOString().slice(0, 7);
  }
  const next = shifted(days, by);
  return next.to < today ? text(next) : `${length(days)}d`;
}

/** The month that a text says, by its name or by its days; null for another range. */
function monthOf(said: string): string | null {
  const month = said.slice(0, 7);
  const days = /^\d{4}-\d{2}$/.test(month) ? range(month, month) : null;
  return days !== null && (said === month || said === text(days)) ? month : null;
}
