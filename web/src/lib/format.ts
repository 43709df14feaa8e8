// Numbers and days as people of this locale write them. Decimal text is handed on as text, so no digit is lost.

import { type Decimal, compareParsed, divide, parse, print, sign } from "./decimal.ts";

/** What `Intl` prints exactly: the type of its argument names only numbers and numeric literals. */
type Exact = Intl.StringNumericLiteral;

const locale = (): string[] => (typeof navigator === "undefined" ? ["en-US"] : [...navigator.languages]);
const cache = new Map<string, Intl.NumberFormat>();
const dates = new Map<string, Intl.DateTimeFormat>();

/** A formatter costs more than what it formats: a table asks for the same one in every cell, by its name. */
function formatter(name: string, options: Intl.NumberFormatOptions, of = ""): Intl.NumberFormat {
  const key = `${name} ${of}`;
  let found = cache.get(key);
  if (!found) {
    found = new Intl.NumberFormat(of === "" ? locale() : of, options);
    cache.set(key, found);
  }
  return found;
}

/** The same for days. */
function calendar(options: Intl.DateTimeFormatOptions, of?: string): Intl.DateTimeFormat {
  const key = JSON.stringify([options, of]);
  let found = dates.get(key);
  if (!found) {
    found = new Intl.DateTimeFormat(of ?? locale(), options);
    dates.set(key, found);
  }
  return found;
}

const minors = new WeakMap<Intl.NumberFormat, Decimal>();
/** Returns the smallest amount that a formatter of money shows. */
function minorUnit(format: Intl.NumberFormat): Decimal {
  let found = minors.get(format);
  if (found === undefined) {
    found = { units: 1n, scale: format.resolvedOptions().maximumFractionDigits ?? 2 };
    minors.set(format, found);
  }
  return found;
}

const size = ({ units, scale }: Decimal): Decimal => ({ units: units < 0n ? -units : units, scale });

/** Returns money in its minor units, such as `$12,480.11`; less than one of them, but not nothing, is `<$0.01`. */
export function money(text: string | null | undefined, currency: string, of?: string): string {
  const value = parse(text);
  if (text == null || !value) return "–";
  const format = formatter(`money ${currency}`, { style: "currency", currency, currencyDisplay: "narrowSymbol" }, of);
  const minor = minorUnit(format);
  if (value.units !== 0n && compareParsed(size(value), minor) < 0) {
    return `${value.units < 0n ? "−" : ""}<${format.format(print(minor) as Exact)}`;
  }
  return format.format(text as Exact);
}

/** Returns the marks of an axis: without minor units where none of them needs any. */
export function marks(texts: readonly string[], currency: string, of?: string): string[] {
  const isWhole = texts.every((text) => !text.includes("."));
  const options: Intl.NumberFormatOptions = { style: "currency", currency, currencyDisplay: "narrowSymbol" };
  if (isWhole) Object.assign(options, { minimumFractionDigits: 0, maximumFractionDigits: 0 });
  return texts.map((text) => formatter(`${isWhole ? "whole" : "money"} ${currency}`, options, of).format(text as Exact));
}

/** Returns money with its sign, for changes. */
export function change(text: string | null | undefined, currency: string, of?: string): string {
  if (text == null) return "–";
  const shown = money(text, currency, of);
  return sign(text) > 0 ? `+${shown}` : shown.replace(/^-/, "−");
}

/** Returns money with every digit that is known, for a tooltip. */
export function exact(text: string | null | undefined, currency: string): string {
  return text == null ? "" : `${text} ${currency}`;
}

const MILLION: Decimal = { units: 1_000_000n, scale: 0 };

/** Returns a quantity: whole below a million, then shortened. */
export function quantity(text: string | null | undefined, of?: string): string {
  const value = parse(text);
  if (text == null || !value) return "–";
  const isLong = compareParsed(size(value), MILLION) >= 0;
  const options: Intl.NumberFormatOptions = isLong
    ? { notation: "compact", maximumSignificantDigits: 3 }
    : { maximumFractionDigits: 2 };
  return formatter(isLong ? "long" : "short", options, of).format(text as Exact);
}

const BYTE_UNITS = ["byte", "kilobyte", "megabyte", "gigabyte", "terabyte", "petabyte"];

/** Returns bytes in the largest decimal unit that leaves at least one. */
export function bytes(text: string | null | undefined, of?: string): string {
  if (text == null || !parse(text)) return "–";
  const digits = text.replace(/^[+-]?0*|\..*$/g, "").length;
  const place = Math.min(BYTE_UNITS.length - 1, Math.max(0, Math.floor((digits - 1) / 3)));
  const shown = place === 0 ? text : (divide(text, `1${"000".repeat(place)}`, 3) ?? text);
  const unit = BYTE_UNITS[place] ?? "byte";
  return formatter(unit, { style: "unit", unit, unitDisplay: "short", maximumSignificantDigits: 3 }, of).format(shown as Exact);
}

/** Returns a factor with four digits. */
export function factor(text: string, of?: string): string {
  return formatter("factor", { minimumFractionDigits: 4, maximumFractionDigits: 4 }, of).format(text as Exact);
}

/** Returns a part of one as percent with one digit. */
export function percent(text: string | null | undefined, of?: string): string {
  if (text == null || !parse(text)) return "–";
  const options = { style: "percent", minimumFractionDigits: 1, maximumFractionDigits: 1 } as const;
  return formatter("percent", options, of).format(text as Exact);
}

/** Returns a change as percent, with its sign, of what there was before; null when that was nothing. */
export function growth(change: string | null | undefined, before: string | null | undefined, of?: string): string | null {
  if (change == null || before == null || sign(before) <= 0) return null;
  const part = divide(change, before, 6);
  if (part === null) return null;
  const options = { style: "percent", minimumFractionDigits: 1, maximumFractionDigits: 1, signDisplay: "exceptZero" } as const;
  return formatter("growth", options, of).format(part as Exact).replace(/^-/, "−");
}

/** Returns the day, such as `Nov 27, 2026`, or `Nov 27` in short. */
export function day(text: string, short = false, of?: string): string {
  const options: Intl.DateTimeFormatOptions = { timeZone: "UTC", month: "short", day: "numeric" };
  if (!short) options.year = "numeric";
  return calendar(options, of).format(new Date(`${text}T00:00:00Z`));
}

/** Returns an instant in a zone, such as `Nov 29, 00:10`. */
export function instant(text: string, timeZone: string, of?: string): string {
  const options = { timeZone, month: "short", day: "numeric", hour: "2-digit", minute: "2-digit", hourCycle: "h23" } as const;
  return calendar(options, of).format(new Date(text));
}

/** Returns the days as one phrase. */
export function days(from: string, to: string, of?: string): string {
  const options = { timeZone: "UTC", month: "short", day: "numeric", year: "numeric" } as const;
  const at = (text: string) => new Date(`${text}T00:00:00Z`);
  return calendar(options, of).formatRange(at(from), at(to));
}

/** Returns the word with a capital. */
export function capital(word: string): string {
  return word.slice(0, 1).toLocaleUpperCase() + word.slice(1);
}

/** Returns the day of an instant in a zone. */
export function instantDay(text: string, timeZone: string, of?: string): string {
  return calendar({ timeZone, month: "short", day: "numeric", year: "numeric" }, of).format(new Date(text));
}

/** Returns a month such as `October 2026`. */
export function month(text: string, of?: string): string {
  return calendar({ timeZone: "UTC", month: "long", year: "numeric" }, of).format(new Date(`${text}-01T00:00:00Z`));
}
