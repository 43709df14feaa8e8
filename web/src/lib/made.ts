// What a figure is made of, as the API tells it.

import type { Client, Costs, Schema } from "./api.ts";
import { billOf, lineOf, nobodyOf, postingOf, statementOf } from "./books.ts";
import { length, shifted } from "./days.ts";
import { divide, minus, sign, sum } from "./decimal.ts";
import { type Asked, partOf } from "./explain.ts";
import { beyond, filterOf, only, without } from "./filter.ts";
import { type Answer, type Formula, PAGES_MAX, PARTS_MAX, type Part, about, costs, largestFirst, money, opens, whole } from "./part.ts";
import { spoken, term } from "./words.ts";

/** Returns what explains it: parts by `way`, a formula, or both. */
export async function ask(client: Client, asked: Asked, way: string | null, signal: AbortSignal): Promise<Answer> {
  switch (asked.of ?? "cost") {
    case "cost": return costOf(client, asked, way ?? "meter", signal);
    case "change": return changeOf(client, asked, way ?? "pool", signal);
    case "share": return shareOf(client, asked, signal);
    case "coverage": return coverageOf(client, asked, signal);
    case "unit": return unitOf(client, asked, signal);
    case "unitcost": return unitCostOf(client, asked, way ?? "week", signal);
    case "price": return priceOf(client, asked, signal);
    case "average": return averageOf(client, asked, signal);
    case "usage": return usageOf(client, asked, signal);
    case "used": return partUsedOf(client, asked, signal);
    case "factor": return factorOf(client, asked, signal);
    case "statement": return statementOf(client, asked, signal);
    case "flow": return flowOf(client, asked, signal);
    case "bill": return billOf(client, asked, way, signal);
    case "nobody": return nobodyOf(client, asked, signal);
    case "posting": return postingOf(client, asked, signal);
    case "line": return lineOf(client, asked, signal);
  }
}

async function costOf(client: Client, asked: Asked, way: string, signal: AbortSignal): Promise<Answer> {
  const isByDay = way === "day";
  const answer = await costs(client, asked, isByDay ? { group_by: whole(asked), granularity: "day", limit: 100 } : { group_by: way, limit: PARTS_MAX }, signal);
  const found = isByDay ? byDay(answer) : answer.rows.map((row) => ({ value: row.key[way] ?? "", amount: row.cost, ...usedOf(row.usage, way, row.key) }));
  const parts = found.filter(({ amount }) => sign(amount) !== 0).map((part): Part => ({ ...part, asked: opens(partOf(asked, way, part.value)) }));
  const rest = answer.next_cursor == null ? "0" : minus(answer.totals.cost, sum(found.map(({ amount }) => amount)));
  if (sign(rest) !== 0) parts.push({ value: "", name: "All others", amount: rest, asked: null });
  return { made: { parts: largestFirst(parts), total: answer.totals.cost, unit: answer.meta.currency, isMoney: true }, formula: null, ...about(answer) };
}

function byDay({ rows }: Costs): { value: string; amount: string }[] {
  const days = new Map<string, string>();
  for (const [day = "", cost] of rows.flatMap(({ series }) => series ?? [])) days.set(day, sum([days.get(day), cost]));
  return [...days].map(([value, amount]) => ({ value, amount }));
}

const usedOf = (usage: Record<string, string> | null | undefined, way: string, key: Record<string, string>) => (way === "meter" && usage?.[key.meter ?? ""] !== undefined ? { used: usage[key.meter ?? ""] ?? "" } : {});

async function changeOf(client: Client, asked: Asked, way: string, signal: AbortSignal): Promise<Answer> {
  const [all, found] = await Promise.all([costs(client, asked, { group_by: whole(asked), compare: "prev", limit: 100 }, signal), changedBy(client, asked, way, signal)]);
  const unit = all.meta.currency;
  const before = sum(all.rows.map(({ previous }) => previous));
  const total = minus(all.totals.cost, before);
  const rest = minus(total, sum(found.map(({ amount }) => amount)));
  if (sign(rest) !== 0) found.push({ value: "", name: "All others", amount: rest, asked: null });
  const { of: _, by: __, ...now } = asked;
  const formula: Formula = {
    left: money("In these days", all.totals.cost, unit, now), sign: "−",
    right: money("As many days before", before, unit, { ...now, days: shifted(asked.days, -1) }), result: money("Change", total, unit),
  };
  return { made: { parts: largestFirst(found.filter(({ amount }) => sign(amount) !== 0)), total, unit, isMoney: true }, formula, ...about(all) };
}

async function changedBy(client: Client, asked: Asked, way: string, signal: AbortSignal): Promise<Part[]> {
  if (way !== "reason") {
    const { rows } = await costs(client, asked, { group_by: way, compare: "prev", limit: PARTS_MAX }, signal);
    return rows.map((row) => ({ value: row.key[way] ?? "", amount: row.change ?? "0", previous: row.previous ?? null, cost: row.cost, asked: opens(partOf(asked, way, row.key[way] ?? "")) }));
  }
  const [tenant, pool] = [only(asked.filter, "tenant") ?? "", only(asked.filter, "pool")];
  const found = await client.get<Schema<"CostChangesBody">>("/costs/changes", { ...asked.days, tenant, as_of: asked.asof, compare: "prev" }, signal);
  const terms = pool === null ? found.terms : (found.pools.find((one) => one.pool === pool)?.terms ?? []);
  return terms.map((one) => ({ value: one.term, name: spoken(term(one.term)), amount: one.amount, asked: null }));
}

async function shareOf(client: Client, asked: Asked, signal: AbortSignal): Promise<Answer> {
  const keys = (asked.over ?? "tenant").split(",");
  const { of: _, over: __, ...part } = asked;
  const rest = { ...part, filter: beyond(asked.filter, keys) };
  const answer = await costs(client, rest, { group_by: keys.join(","), limit: PARTS_MAX }, signal);
  const row = answer.rows.find(({ key }) => keys.every((name) => key[name] === only(asked.filter, name)));
  const unit = answer.meta.currency;
  // What is below 0 weighs nothing in a share.
  const back = sum(answer.rows.map(({ cost }) => cost).filter((cost) => sign(cost) < 0));
  const formula: Formula = {
    left: money("This part", row?.cost ?? "0", unit, part), sign: "÷",
    right: sign(back) === 0 ? money("The whole", answer.totals.cost, unit, rest) : money(`The whole, without what was given back (${back} ${unit})`, minus(answer.totals.cost, back), unit, rest),
    result: { words: "Share", value: row?.share ?? null }, isPart: true,
  };
  return { made: null, formula, ...about(answer) };
}

/** Consumers that stand for a kind of coverage. */
const RESERVED: Record<string, string[]> = { idle: ["__idle__"], overhead: ["__overhead__"], variance: ["__variance__"], unattributed: ["__unattributed__", "__unconsumed__"] };

async function coverageOf(client: Client, asked: Asked, signal: AbortSignal): Promise<Answer> {
  const { days, asof } = asked;
  const found = await client.get<Schema<"CoverageAnswerBody">>("/coverage", { ...days, as_of: asof, limit: 100 }, signal);
  const part = (kind: string): Asked | null => (RESERVED[kind] === undefined ? null : { days, asof, filter: filterOf({ tenant: RESERVED[kind] }) });
  const shown = found.rows.find(({ kind }) => kind === asked.figure);
  const parts = found.rows.filter(({ amount }) => sign(amount) !== 0).map(({ kind, amount }): Part => ({ value: kind, name: spoken(kind), amount, asked: part(kind) }));
  const formula: Formula | null = shown === undefined ? null : {
    left: money(spoken(shown.kind), shown.amount, found.currency, part(shown.kind)), sign: "÷", right: money("All cost", found.total, found.currency, { days, asof }),
    result: { words: "Part", value: shown.share }, isPart: true,
  };
  return { made: { parts: largestFirst(parts), total: found.total, unit: found.currency, isMoney: true }, formula, posting: found.posting ?? null };
}

type Units = Schema<"UnitCostsBody">;
type Figures = Schema<"UnitFiguresBody"> & { series?: Schema<"UnitWeekBody">[] };

/** The figures of a row of unit costs, or of all of them. */
async function figuresOf(client: Client, { days, asof, unit = "workflow", cohort, filter }: Asked, signal: AbortSignal) {
  const row = only(filter, unit);
  const query = { ...days, as_of: asof, by: unit, cohort, limit: 1000 };
  const first = await client.get<Units>("/unit-costs", query, signal);
  const rows = [...first.rows];
  let cursor = first.next_cursor;
  for (let page = 1; page < PAGES_MAX && cursor != null; page += 1) {
    const more: Units = await client.get("/unit-costs", { ...query, cursor }, signal);
    rows.push(...more.rows);
    cursor = more.next_cursor;
  }
  const own: Figures | undefined = row === null ? first.totals : rows.find(({ key }) => key[unit] === row);
  return { rows, own, totals: first.totals, unit: first.meta.currency, posting: first.meta.posting ?? null };
}

async function unitOf(client: Client, asked: Asked, signal: AbortSignal): Promise<Answer> {
  const found = await figuresOf(client, asked, signal);
  const isMerged = asked.figure !== "completed";
  const [count, each] = [isMerged ? found.own?.n : found.own?.workflows_completed, isMerged ? found.own?.cost_per_merged_pr : found.own?.cost_per_completed_workflow];
  const formula: Formula = {
    left: money("Direct and amortized cost", found.own?.cost ?? "0", found.unit, { ...asked, of: "unitcost", figure: "cost" }), sign: "÷",
    right: { words: isMerged ? "Pull requests merged" : "Workflows completed", value: String(count ?? 0) },
    result: each == null ? { words: "", value: null } : money(isMerged ? "Cost per merged PR" : "Cost per completed workflow", each, found.unit),
  };
  return { made: null, formula, posting: found.posting };
}

/** The cost of a row of unit costs; entries that do not name its key themselves are told apart from those that do. */
async function unitCostOf(client: Client, asked: Asked, way: string, signal: AbortSignal): Promise<Answer> {
  const found = await figuresOf(client, asked, signal);
  const figure = asked.figure ?? "cost";
  const total = amountOf(figure === "overhead" || figure === "without_workflow" ? found.totals : found.own, figure);
  const made = (parts: Part[]): Answer => ({ made: { parts: largestFirst(parts.filter(({ amount }) => sign(amount) !== 0)), total, unit: found.unit, isMoney: true }, formula: null, posting: found.posting });
  const rest = (parts: readonly Part[]): Part => ({ value: "", name: "Of entries that do not name it themselves", amount: minus(total, sum(parts.map(({ amount }) => amount))), asked: null });
  if (way === "week") {
    const weeks = found.own?.series ?? found.rows.flatMap(({ series }) => series);
    const sums = new Map<string, string>();
    for (const week of weeks) sums.set(week.week, sum([sums.get(week.week), amountOf(week, figure)]));
    return made([...sums].map(([value, amount]) => ({ value, amount, asked: null })));
  }
  const { of: _, figure: __, unit: ___, ...plain } = asked;
  if (figure === "failed_cost" || figure === "in_progress_cost") {
    const { rows } = asked.unit === "workflow" ? found : await figuresOf(client, { ...asked, unit: "workflow", filter: "" }, signal);
    const those = new Set(rows.filter((row) => sign(row[figure]) !== 0).map(({ key }) => key.workflow ?? ""));
    const { made: by } = await costOf(client, plain, "workflow", signal);
    const parts = (by?.parts ?? []).filter(({ value }) => those.has(value));
    return made([...parts, rest(parts)]);
  }
  const parts = (await costOf(client, plain, way, signal)).made?.parts ?? [];
  return made([...parts, rest(parts)]);
}

const amountOf = (figures: object | undefined, figure: string): string => ((figures as Record<string, unknown> | undefined)?.[figure] as string | undefined) ?? "0";

async function priceOf(client: Client, asked: Asked, signal: AbortSignal): Promise<Answer> {
  const { of: _, ...cost } = asked;
  const [answer, used] = await Promise.all([costs(client, cost, { group_by: "status", limit: 10 }, signal), quantityOf(client, asked, undefined, signal)]);
  const quantity = sum(used.map((row) => row.quantity));
  const price = divide(answer.totals.cost, quantity, 9);
  const formula: Formula = {
    left: money("Cost", answer.totals.cost, answer.meta.currency, cost), sign: "÷",
    right: { words: "Quantity", value: quantity, unit: used[0]?.unit ?? "", asked: { ...cost, of: "usage" } },
    result: price === null ? { words: "", value: null } : { words: "Effective price", value: price, unit: answer.meta.currency },
  };
  return { made: null, formula, ...about(answer) };
}

async function averageOf(client: Client, asked: Asked, signal: AbortSignal): Promise<Answer> {
  const { of: _, ...cost } = asked;
  const answer = await costs(client, cost, { group_by: "status", limit: 10 }, signal);
  const days = String(length(asked.days));
  const average = divide(answer.totals.cost, days, 6) ?? "0";
  return { made: null, formula: { left: money("Cost", answer.totals.cost, answer.meta.currency, cost), sign: "÷", right: { words: "Days", value: days }, result: money("A day", average, answer.meta.currency) }, ...about(answer) };
}

const quantityOf = (client: Client, { days, filter }: Asked, granularity: string | undefined, signal: AbortSignal) =>
  client.all<Schema<"UsageRowBody">>("/usage", { ...days, meter: only(filter, "meter") ?? "", group_by: "tenant", granularity, filter: without(filter, ["meter"]) }, 4, signal);

async function usageOf(client: Client, asked: Asked, signal: AbortSignal): Promise<Answer> {
  const rows = await quantityOf(client, asked, "day", signal);
  const parts = rows.map(({ start, quantity }): Part => ({ value: start, amount: quantity, asked: null })).filter(({ amount }) => sign(amount) !== 0);
  return { made: { parts: largestFirst(parts), total: sum(rows.map(({ quantity }) => quantity)), unit: rows[0]?.unit ?? "", isMoney: false }, formula: null, posting: null };
}

/** What one used as a part of what all did. */
async function partUsedOf(client: Client, asked: Asked, signal: AbortSignal): Promise<Answer> {
  const { of: _, ...own } = asked;
  const rows = await quantityOf(client, { ...own, filter: beyond(asked.filter, ["tenant"]) }, undefined, signal);
  const parts = rows.map(({ key, quantity }): Part => ({ value: key.tenant ?? "", amount: quantity, asked: null })).filter(({ amount }) => sign(amount) !== 0);
  const [part, total, unit] = [parts.find(({ value }) => value === only(asked.filter, "tenant"))?.amount ?? "0", sum(rows.map(({ quantity }) => quantity)), rows[0]?.unit ?? ""];
  const formula: Formula = {
    left: { words: "Used by it", value: part, unit, asked: { ...own, of: "usage" } }, sign: "÷", right: { words: "Used by all", value: total, unit },
    result: { words: "Part", value: divide(part, total, 8) }, isPart: true,
  };
  return { made: { parts: largestFirst(parts), total, unit, isMoney: false }, formula, posting: null };
}

async function factorOf(client: Client, asked: Asked, signal: AbortSignal): Promise<Answer> {
  const { of: _, ...estimate } = asked;
  const answer = await costs(client, estimate, { group_by: whole(asked), limit: 1 }, signal);
  const unit = answer.meta.currency;
  const bill: Asked = { days: asked.days, filter: without(asked.filter, ["origin"]), currency: unit };
  const formula: Formula = {
    left: money("Bill of the same days", answer.meta.posted ?? "0", unit, bill), sign: "÷", right: money("At current rates", answer.totals.cost, unit, estimate),
    result: answer.meta.calibration == null ? { words: "", value: null } : { words: "Calibration factor", value: answer.meta.calibration },
  };
  return { made: null, formula, ...about(answer) };
}

/** What reaches a pool, by provider: as much as leaves it. */
async function flowOf(client: Client, asked: Asked, signal: AbortSignal): Promise<Answer> {
  const { of: _, ...cost } = asked;
  const found = await client.get<Schema<"FlowsBody">>("/flows", { ...asked.days, as_of: asked.asof }, signal);
  const into = found.links.filter(({ column, to }) => column === "provider" && to === only(asked.filter, "pool"));
  const parts = into.map(({ from, amount }): Part => ({ value: from, amount, asked: into.length === 1 ? cost : null }));
  const total = sum(parts.map(({ amount }) => amount));
  return { made: { parts: largestFirst(parts), total, unit: found.currency, isMoney: true }, formula: null, posting: found.posting ?? null };
}
