// What a figure of the books is made of: of statements, bills, postings, and of the cost of nobody.

import type { Client, Schema } from "./api.ts";
import { length } from "./days.ts";
import { divide, minus, sign, sum } from "./decimal.ts";
import { type Asked, partOf } from "./explain.ts";
import { filterOf, only, termsOf } from "./filter.ts";
import { groupBy } from "./group.ts";
import { type Answer, type Formula, PAGES_MAX, type Part, about, costs, largestFirst, money, opens } from "./part.ts";
import { type Unattributed, kindOf } from "./unattributed.ts";
import { count, spoken } from "./words.ts";

/** What a statement prints: the exact amount of the entries, and what rounding to minor units added. */
export async function statementOf(client: Client, asked: Asked, signal: AbortSignal): Promise<Answer> {
  const { of: _, version, over, ...rest } = asked;
  if (over !== undefined) return statementsOf(client, asked, over, signal);
  const found = await client.get<Schema<"StatementBody">>(`/statements/${asked.days.from.slice(0, 7)}.json`, { version }, signal);
  const keys: Record<string, (row: Schema<"StatementRowBody">) => string> = { tenant: (row) => row.consumer, pool: (row) => row.pool, category: (row) => row.category, charge_category: (row) => row.charge_category };
  const terms = termsOf(asked.filter ?? "");
  const rows = found.rows.filter((row) => row.currency === asked.currency && terms.every(({ key, values }) => values.includes(keys[key]?.(row) ?? "")));
  const unit = asked.currency ?? "";
  const exact: Asked = { ...rest, clock: "billed", asof: `posting:${found.posting}` };
  const formula: Formula = {
    left: money("Exact amount", sum(rows.map((row) => row.exact)), unit, exact), sign: "+", right: money("Rounding to minor units", sum(rows.map((row) => row.rounding)), unit),
    result: money("Printed", sum(rows.map(({ amount }) => amount)), unit),
  };
  return { made: null, formula, posting: found.posting };
}

/** What a statement prints otherwise than the version before. */
async function statementsOf(client: Client, { over: _, ...asked }: Asked, version: string, signal: AbortSignal): Promise<Answer> {
  const earlier: Asked = { ...asked, version };
  const [now, then] = await Promise.all([statementOf(client, asked, signal), statementOf(client, earlier, signal)]);
  const printed = (answer: Answer) => answer.formula?.result.value ?? "0";
  const unit = asked.currency ?? "";
  const formula: Formula = {
    left: money(`Version ${asked.version}`, printed(now), unit, asked), sign: "−", right: money(`Version ${version}`, printed(then), unit, earlier),
    result: money("Difference", minus(printed(now), printed(then)), unit),
  };
  return { made: null, formula, posting: now.posting };
}

type Bill = Schema<"ReconciliationBody">;
type BillPart = Schema<"ReconciliationPartBody">;
/** What a bill and each of its parts say; `due` is what is billed of days that are over. */
type BillFigure = "billed" | "attributed" | "not_yet_due" | "attribution_difference" | "due";
const ofBill = (row: Pick<BillPart, Exclude<BillFigure, "due">>, figure: BillFigure) => (figure === "due" ? minus(row.billed, row.not_yet_due) : row[figure]);

/** What a source billed under an invoice, beside what the invoice and the ledger say; of its lines, by pool and day. */
export async function billOf(client: Client, asked: Asked, way: string | null, signal: AbortSignal): Promise<Answer> {
  const { days, filter, currency: unit = "", figure = "billed" } = asked;
  const [invoice, pool, day] = [only(filter, "invoice"), only(filter, "pool"), only(filter, "charge_date")];
  const bill = { source: only(filter, "source") ?? "", billing_period: days.from.slice(0, 7) };
  const isWhole = pool === null && day === null;
  const [bills, all] = await Promise.all([
    client.all<Bill>("/reconciliation", { range: bill.billing_period, source: bill.source }, 2, signal),
    way === null && isWhole ? [] : client.all<BillPart>("/reconciliation/parts", { ...bill, currency: unit, invoice_id: invoice ?? undefined }, PAGES_MAX, signal),
  ]);
  const whole = bills.find((one) => (one.invoice_id ?? null) === invoice && one.currency === unit && one.billing_period === bill.billing_period);
  const parts = all.filter((part) => (pool === null || part.pool === pool) && (day === null || part.day === day));
  const sumOf = (of: readonly BillPart[], name: BillFigure) => sum(of.map((part) => ofBill(part, name)));
  const said = (name: BillFigure) => (isWhole ? (whole === undefined ? "0" : ofBill(whole, name)) : sumOf(parts, name));
  const opening = (words: string, value: string | null | undefined, of: string) => money(words, value ?? "0", unit, { ...asked, by: undefined, figure: of });
  const lines = opening("Billed lines", said("billed"), "billed");
  const formulas: Record<string, Formula> = {
    invoice_total: { left: lines, sign: "+", right: opening("Invoice − lines", whole?.invoice_difference, "invoice_difference"), result: money("Invoice", whole?.invoice_total ?? "0", unit) },
    invoice_difference: { left: opening("Invoice", whole?.invoice_total, "invoice_total"), sign: "−", right: lines, result: money("Invoice − lines", whole?.invoice_difference ?? "0", unit) },
    attribution_difference: {
      left: opening("Billed lines of days that are over", said("due"), "due"), sign: "−", right: opening("In the ledger", said("attributed"), "attributed"),
      result: money("Lines − ledger", said("attribution_difference"), unit),
    },
    due: { left: lines, sign: "−", right: opening("Not yet due", said("not_yet_due"), "not_yet_due"), result: money("Billed lines of days that are over", said("due"), unit) },
  };
  const formula = formulas[figure] ?? null;
  if (way === null) return { made: null, formula, posting: null };
  const name = figure as BillFigure;
  const groups = [...groupBy(parts, (part) => (way === "pool" ? part.pool : part.day))].map(([value, of]) => ({ value, amount: sumOf(of, name) }));
  const shown = groups.filter(({ amount }) => sign(amount) !== 0).map((part): Part => ({ ...part, asked: opens(partOf(asked, way, part.value)) }));
  return { made: { parts: largestFirst(shown), total: said(name), unit, isMoney: true }, formula, posting: null };
}

/** One kind of the cost of nobody: what is left of its pool's without the other kinds. */
export async function nobodyOf(client: Client, asked: Asked, signal: AbortSignal): Promise<Answer> {
  const { days, currency: unit = "", asof, filter } = asked;
  const found = await client.get<Unattributed>("/unattributed", { ...days, as_of: asof, limit: 1000 }, signal);
  const whole: Asked = { days, asof, currency: unit, filter: filterOf({ tenant: "__unattributed__", pool: only(filter, "pool") }) };
  const answer = await costs(client, whole, { group_by: "status", limit: 10 }, signal);
  const kinds = found.rows.filter((row) => row.currency === unit && row.pool === only(filter, "pool"));
  const own = sum(kinds.filter((row) => kindOf(row) === filter).map(({ amount }) => amount));
  const formula: Formula = {
    left: money("Cost of nobody in the pool", answer.totals.cost, unit, whole), sign: "−", right: money(count(kinds.length - 1, "other kind of it", "other kinds of it"), minus(answer.totals.cost, own), unit),
    result: money("This kind", own, unit),
  };
  return { made: null, formula, ...about(answer) };
}

/** What a posting changed of a day's pool for a consumer: its entries, and what stood there before and after. */
export async function postingOf(client: Client, asked: Asked, signal: AbortSignal): Promise<Answer> {
  const { days, version = "", measure, currency: unit = "", filter } = asked;
  const [consumer, pool, memo] = [only(filter, "tenant") ?? "", only(filter, "pool"), only(filter, "memo") === "true"];
  const at = (posting: number): Asked => ({ days, measure, currency: unit, filter: filter ?? "", asof: `posting:${posting}` });
  const stood = (posting: number) => (posting < 1 ? Promise.resolve("0") : costs(client, at(posting), { group_by: "status", limit: 10 }, signal).then(({ totals }) => totals.cost));
  const number = Number(version);
  const [entries, after, before] = await Promise.all([
    client.all<Schema<"EntryBody">>("/ledger/entries", { posting: version, charge_date: days.from, pool: pool ?? undefined, filter: filterOf({ tenant: consumer }) }, PAGES_MAX, signal),
    stood(number), stood(number - 1),
  ]);
  const own = entries.filter((entry) => entry.currency === unit && (entry.memo === true) === memo);
  const parts = own.map((entry): Part => ({ value: `${entry.posting}/${entry.line}`, name: [`${entry.posting}/${entry.line}`, entry.meter ?? entry.service, spoken(entry.cause ?? "")].filter(Boolean).join(" · "), amount: measure === "billed_amount" ? entry.billed_amount : entry.amount, asked: null }));
  const total = minus(after, before);
  const formula: Formula = {
    left: money(`After posting ${version}`, after, unit, at(number)), sign: "−", right: money("Before it", before, unit, number > 1 ? at(number - 1) : null),
    result: money("What it changed", total, unit),
  };
  return { made: { parts: largestFirst(parts), total, unit, isMoney: true }, formula, posting: number };
}

/** A line of overhead, which is spread over the days of its period. `figure` says when that begins and ends. */
export async function lineOf(client: Client, { days, asof, currency: unit = "", filter, figure: period }: Asked, signal: AbortSignal): Promise<Answer> {
  const found = await client.all<Schema<"OverheadRow">>("/overhead", { ...days, as_of: asof }, PAGES_MAX, signal);
  const named = { source: only(filter, "source") ?? "", provider: only(filter, "provider") ?? "", service: only(filter, "service") ?? "" };
  const own = found.filter((line) => line.currency === unit && `${line.start} ${line.end}` === period && line.source === named.source && line.provider === named.provider && line.service === named.service);
  const [amount, each] = [sum(own.map((line) => line.amount)), String(length(days))];
  const formula: Formula = { left: money(own.length === 1 ? "Amount of the line" : `Amount of ${count(own.length, "line")}`, amount, unit), sign: "÷", right: { words: "Days of its period", value: each }, result: money("A day", divide(amount, each, 6) ?? "0", unit) };
  return { made: null, formula, posting: null };
}
