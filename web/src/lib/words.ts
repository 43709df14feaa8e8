// Words of the ledger as people read them.

const RESERVED: Record<string, string> = {
  __unattributed__: "Unattributed",
  __idle__: "Idle",
  __overhead__: "Overhead",
  __variance__: "Variance",
  __unconsumed__: "Unconsumed",
  __adjustment__: "Adjustment",
};

/** Returns the name of a reserved consumer or pool, or null of any other. */
export function reserved(id: string): string | null {
  return RESERVED[id] ?? null;
}

/** Letters that are written from the right, and marks that change the direction of what follows them. */
const DIRECTED = /[\u0590-\u08ff\u200e\u200f\u202a-\u202e\u2066-\u2069\ufb1d-\ufdff\ufe70-\ufeff\u{10800}-\u{10fff}\u{1e800}-\u{1efff}]/u;

/** Returns a name that may stand beside other text: what it says of the direction of writing ends with it. */
export function isolated(name: string): string {
  return DIRECTED.test(name) ? `\u2068${name.replace(/[\u2066-\u2069]/g, "")}\u2069` : name;
}

const FLOW: Record<string, string> = {
  __other__: "Others",
  __several__: "Provider not named",
  __difference__: "Not from bills of these days",
};

/** Returns the name of a node of the flow that stands for several, or null of any other. */
export function gathered(id: string): string | null {
  return FLOW[id] ?? null;
}

const METHODS: Record<string, string> = {
  direct: "Charged to the tenant that the bill names",
  weighted: "Shared by a weighted sum of what was used",
  proportional: "Shared in proportion to one meter",
  rated: "What was used, at the rate card's prices",
  even: "Shared evenly",
  fixed: "Shared by fixed percentages",
  by_cost: "Shared in proportion to other cost",
  window: "Shared between those who used it within a time window",
};

/** Returns a sentence on how a pool is shared out. */
export function method(name: string): string {
  return name === "" ? "Moved by hand: an adjustment" : (METHODS[name] ?? name.replaceAll("_", " "));
}

const TERMS: Record<string, string> = {
  own_volume: "own usage",
  price_or_pool_amount: "price or size of the bill",
  others_volume: "usage of the others",
  idle: "idle capacity",
  pool_and_others: "size of the bill and usage of the others",
  policy_or_rate_version: "a new policy or rate card",
  fx: "exchange rates",
  corrections: "corrections",
  new_or_removed_pools: "new or removed pools",
};

/** Returns what a term of a change stands for. */
export function term(name: string): string {
  return TERMS[name] ?? name.replaceAll("_", " ");
}

/** Returns a word of the API with spaces and a capital. */
export function spoken(word: string): string {
  if (word === "ai") return "AI";
  const text = word.replaceAll("_", " ");
  return text.slice(0, 1).toUpperCase() + text.slice(1);
}

/** Returns the singular or plural of a count. */
export function count(number: number, one: string, many = `${one}s`): string {
  return `${number.toLocaleString()} ${number === 1 ? one : many}`;
}

/** Returns whether a posting closed or reopened a month: nothing else is neither of a run nor an adjustment. */
export function isOfMonth({ run, adjustment }: { run?: string | null; adjustment?: unknown }): boolean {
  return run == null && adjustment == null;
}
