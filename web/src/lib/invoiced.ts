// What the invoices say of the bills: the mark of a bill that ties is given against an invoice only.

import type { Schema } from "./api.ts";
import { count } from "./words.ts";

type Bill = Pick<Schema<"ReconciliationBody">, "invoice_total" | "state">;

/** Returns what a tile says of bills and their invoices; null when no bill has one. */
export function invoiced(bills: readonly Bill[]): { value: string; note: string; tone: "good" | "bad" | "" } | null {
  const compared = bills.filter(({ invoice_total: total }) => total != null);
  if (compared.length === 0) return null;
  const differing = compared.filter(({ state }) => state !== "reconciled").length;
  const without = bills.length - compared.length;
  const note = `${compared.length} of ${count(bills.length, "bill")} ${compared.length === 1 ? "has" : "have"} an invoice`;
  if (differing > 0) return { value: `${count(differing, "invoice")} ${differing === 1 ? "differs" : "differ"}`, note, tone: "bad" };
  if (without > 0) return { value: `${compared.length} of ${count(bills.length, "bill")}`, note: compared.length === 1 ? "has an invoice, and ties to it" : "have an invoice, and tie to it", tone: "" };
  return { value: "✓ reconciled", note: `with ${count(compared.length, "invoice")}`, tone: "good" };
}
