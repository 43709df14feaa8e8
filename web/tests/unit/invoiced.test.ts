import { expect, test } from "vitest";
import { invoiced } from "../../src/lib/invoiced.ts";

const bill = (state: string) => ({ state, invoice_total: state === "no_invoice" ? null : "10.00" });
const said = (...states: string[]) => invoiced(states.map(bill));

test("the mark stands only where every bill ties to an invoice of its own", () => {
  expect(said("reconciled", "reconciled")).toEqual({ value: "✓ reconciled", note: "with 2 invoices", tone: "good" });
  const some = said("reconciled", "no_invoice", "no_invoice", "no_invoice", "no_invoice");
  expect(some).toEqual({ value: "1 of 5 bills", note: "has an invoice, and ties to it", tone: "" });
  expect(said("reconciled", "differs", "no_invoice")).toEqual({ value: "1 invoice differs", note: "2 of 3 bills have an invoice", tone: "bad" });
  expect([said(), said("no_invoice")]).toEqual([null, null]);
});
