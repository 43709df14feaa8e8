// Decimal text without floats: what the API sends is compared, added and divided as whole numbers.

/** A decimal as `units / 10^scale`. */
export interface Decimal {
  units: bigint;
  scale: number;
}

const FORM = /^([+-]?)(\d+)(?:\.(\d+))?$/;

/** Returns the decimal that a text says, or null when it says none. */
export function parse(text: string | null | undefined): Decimal | null {
  const found = text == null ? null : FORM.exec(text);
  if (!found) return null;
  const fraction = found[3] ?? "";
  const units = BigInt(`${found[2]}${fraction}`);
  return { units: found[1] === "-" ? -units : units, scale: fraction.length };
}

/** Returns the text of a decimal, with exactly its scale of digits. */
export function print({ units, scale }: Decimal): string {
  const digits = (units < 0n ? -units : units).toString().padStart(scale + 1, "0");
  const sign = units < 0n ? "-" : "";
  return scale === 0 ? sign + digits : `${sign}${digits.slice(0, -scale)}.${digits.slice(-scale)}`;
}

function aligned(a: Decimal, b: Decimal): [bigint, bigint, number] {
  const scale = Math.max(a.scale, b.scale);
  return [a.units * 10n ** BigInt(scale - a.scale), b.units * 10n ** BigInt(scale - b.scale), scale];
}

/** Returns a negative, zero or positive number; what is no decimal comes first. */
export function compare(a: string | null | undefined, b: string | null | undefined): number {
  const [left, right] = [parse(a), parse(b)];
  return left && right ? compareParsed(left, right) : Number(left !== null) - Number(right !== null);
}

/** Returns the same of decimals that were parsed before. */
export function compareParsed(a: Decimal, b: Decimal): number {
  const [x, y] = a.scale === b.scale ? [a.units, b.units] : aligned(a, b);
  return x < y ? -1 : x > y ? 1 : 0;
}

/** Zeros behind the second digit, which the API leaves out. */
const ZEROS = /(\.\d\d\d*?)0+$/;

/** Returns the exact sum, as the API prints an amount; what is no decimal counts as 0. */
export function sum(texts: Iterable<string | null | undefined>): string {
  let total: Decimal = { units: 0n, scale: 0 };
  for (const text of texts) {
    const next = parse(text);
    if (!next) continue;
    const [x, y, scale] = aligned(total, next);
    total = { units: x + y, scale };
  }
  return print(total).replace(ZEROS, "$1");
}

/** Returns the exact difference `a - b`. */
export function minus(a: string, b: string): string {
  return sum([a, negate(b)]);
}

/** Returns the text with the other sign. */
export function negate(text: string): string {
  const value = parse(text);
  return value ? print({ units: -value.units, scale: value.scale }) : text;
}

/** Returns the largest of the texts, or null of none. */
export function largest(texts: Iterable<string>): string | null {
  let found: string | null = null;
  for (const text of texts) if (found === null || compare(found, text) < 0) found = text;
  return found;
}

/** Returns the value in the middle, the lower of two; null of none. */
export function median(texts: readonly string[]): string | null {
  return texts.toSorted(compare)[Math.floor((texts.length - 1) / 2)] ?? null;
}

/** Returns `a / b` with so many digits, rounded half to even; null when `b` is 0. */
export function divide(a: string, b: string, digits: number): string | null {
  const [left, right] = [parse(a), parse(b)];
  if (!left || !right || right.units === 0n) return null;
  const [x, y] = aligned(left, right);
  const negative = x < 0n !== y < 0n;
  const [over, under] = [(x < 0n ? -x : x) * 10n ** BigInt(digits), y < 0n ? -y : y];
  let units = over / under;
  const twice = (over % under) * 2n;
  if (twice > under || (twice === under && units % 2n === 1n)) units += 1n;
  return print({ units: negative ? -units : units, scale: digits });
}

/** Returns -1, 0 or 1. */
export function sign(text: string | null | undefined): number {
  const value = parse(text);
  return !value || value.units === 0n ? 0 : value.units < 0n ? -1 : 1;
}

/** Returns how large `part` is beside `whole`, for drawing only: lengths on a screen are no money. */
export function ratio(part: string, whole: string): number {
  return Number(divide(part, whole, 6) ?? "0");
}
