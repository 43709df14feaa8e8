// The filter of an address, `f=cluster:x -tier:overhead`: terms separated by spaces, as the API's `filter` takes them.

export interface Term {
  isNegated: boolean;
  key: string;
  /** Texts as they are meant; null stands for one with `*` for any text. */
  values: (string | null)[];
  text: string;
}

const QUOTED = String.raw`"(?:\\.|[^"\\])*"`;
const TOKEN = new RegExp(String.raw`(?:${QUOTED}?|[^\s"])+`, "gs");
const TERM = new RegExp(String.raw`^(-?)((?:label:)?(?:${QUOTED}|[^:"]+)):(.*)$`, "s");
const VALUE = new RegExp(String.raw`${QUOTED}|[^,]+`, "gs");
/** Without its escapes a star is any text. */
const meant = (value: string) => (/(?<!\\)\*/.test(value) ? null : value.startsWith('"') ? value.slice(1, -1).replace(/\\(.)/gs, "$1") : value);

/** Returns the terms as they are written; a space inside quotes separates nothing. */
export function textsOf(filter: string): string[] {
  return filter.match(TOKEN) ?? [];
}

/** Returns the terms of a filter. */
export function termsOf(filter: string): Term[] {
  return textsOf(filter).flatMap((text) => {
    const [, minus, key = "", values = ""] = TERM.exec(text) ?? [];
    return key === "" ? [] : [{ isNegated: minus === "-", key, values: (values.match(VALUE) ?? []).map(meant), text }];
  });
}

/** Returns the value as it is written, whatever letters it has. */
export const quoted = (value: string) => (/^[\w.@/-]+$/.test(value) ? value : `"${value.replace(/["\\*]/g, String.raw`\$&`)}"`);

/** Returns the filter of what has all these values; of a list, any of them. */
export function filterOf(values: Record<string, string | readonly string[] | null | undefined>): string {
  const known = Object.entries(values).filter(([, value]) => value != null);
  return known.map(([key, value]) => `${key}:${[value ?? ""].flat().map(quoted).join(",")}`).join(" ");
}

/** Returns both filters as one. */
export function both(...filters: (string | undefined)[]): string {
  return filters.filter(Boolean).join(" ");
}

/** The same for a question: none asks for none. */
export function joined(...filters: (string | undefined)[]): string | undefined {
  return both(...filters) || undefined;
}

/** What entries of the ledger have and usage has not. */
const OF_ENTRIES: ReadonlySet<string> = new Set(["pool", "tier", "status", "basis", "memo", "charge_category"]);

/** Returns those of the terms that usage does not know. */
export function notOfUsage(filter: string): string[] {
  return textsOf(filter).filter((term) => OF_ENTRIES.has(/^-?"?([^":]*)/.exec(term)?.[1] ?? ""));
}

/** Returns the filter without one of its terms. */
export function cut(filter: string, at: number): string {
  return textsOf(filter).filter((_, index) => index !== at).join(" ");
}

/** Returns the one value that a filter leaves of a key, or null. */
export function only(filter: string | undefined, key: string): string | null {
  const term = termsOf(filter ?? "").find((one) => one.key === key && !one.isNegated && one.values.length === 1);
  return term?.values[0] ?? null;
}

/** Returns the filter without its terms of these keys. */
export function without(filter: string | undefined, keys: readonly string[]): string {
  return termsOf(filter ?? "").filter(({ key }) => !keys.includes(key)).map(({ text }) => text).join(" ");
}

/** Returns the filter of the whole that a part with these keys is of: the last term of each named the part. */
export function beyond(filter: string | undefined, keys: readonly string[]): string {
  const terms = termsOf(filter ?? "");
  const own = keys.map((key) => terms.findLast((term) => term.key === key && !term.isNegated));
  return terms.filter((term) => !own.includes(term)).map(({ text }) => text).join(" ");
}

/** Returns the filter of what of it has this value. */
export function narrowed(filter: string | undefined, key: string, value: string): string {
  return both(without(filter, [key]), filterOf({ [key]: value }));
}
