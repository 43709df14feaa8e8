// The filter of an address, `f=cluster:x -tier:overhead`: terms separated by spaces, as the API's `filter` takes them.

/** Returns the terms; a space inside quotes separates nothing. */
export function termsOf(filter: string): string[] {
  return filter.match(/(?:"(?:[^"\\]|\\.)*"?|[^\s"])+/g) ?? [];
}

/** What entries of the ledger have and usage has not. */
const OF_ENTRIES: ReadonlySet<string> = new Set(["pool", "tier", "status", "basis", "memo", "charge_category"]);

/** Returns those of the terms that usage does not know. */
export function notOfUsage(filter: string): string[] {
  return termsOf(filter).filter((term) => OF_ENTRIES.has(/^-?"?([^":]*)/.exec(term)?.[1] ?? ""));
}

/** Returns the filter without one of its terms. */
export function without(filter: string, at: number): string {
  return termsOf(filter).filter((_, index) => index !== at).join(" ");
}

/** Returns terms that must all hold, as one filter; undefined for none. */
export function joined(...filters: readonly string[]): string | undefined {
  return filters.filter((filter) => filter !== "").join(" ") || undefined;
}

/** Returns the term that names these values, whatever letters they have. */
export function term(key: string, ...values: readonly string[]): string {
  return `${key}:${values.map((value) => `"${value.replace(/[\\"*]/g, "\\$&")}"`).join(",")}`;
}
