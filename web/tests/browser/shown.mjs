// How pages write what the API says: the words that a number of the API must have on the screen.
import assert from "node:assert/strict";

/** Returns money as a page in English shows it: from decimal text, without a float. */
export function money(text, currency) {
  const format = new Intl.NumberFormat("en-US", { style: "currency", currency, currencyDisplay: "narrowSymbol" });
  const isTiny = /^-?0\.00/.test(text) && /[1-9]/.test(text);
  if (isTiny) return `${text.startsWith("-") ? "−" : ""}<${format.format("0.01")}`;
  return format.format(text);
}

/** Returns an amount as a whole number of 10⁻¹⁵. */
export function atoms(text) {
  const [, sign, whole, part = ""] = /^(-?)(\d+)(?:\.(\d{1,15}))?$/.exec(text) ?? assert.fail(`no amount: ${text}`);
  return BigInt(`${sign}${whole}${part.padEnd(15, "0")}`);
}

/** Returns a month such as `October 2026`. */
export function month(text) {
  return new Intl.DateTimeFormat("en-US", { timeZone: "UTC", month: "long", year: "numeric" }).format(new Date(`${text}-01T00:00:00Z`));
}

/** Returns the cells of a column of a table, as `[what is kept, what is shown]`, in the order of the rows. */
export async function cells(page, table, head) {
  const rows = page.getByRole("region", { name: `${table}, table`, exact: true }).locator(`tbody td[data-label="${head}"]`);
  return rows.evaluateAll((all) => all.map((cell) => [cell.dataset.exact ?? null, cell.innerText.trim()]));
}

/** Returns the first cells of the rows of a table. */
export async function heads(page, table) {
  const rows = page.getByRole("region", { name: `${table}, table`, exact: true }).locator("tbody th");
  return rows.evaluateAll((all) => all.map((cell) => cell.innerText.trim()));
}
