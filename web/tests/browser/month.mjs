// A month of the demo as finance works it off, by the public API: bills, invoices, an adjustment, restated bills.
import assert from "node:assert/strict";
import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { ask, startDemo } from "./server.mjs";

/** Two whole months lie in them, whatever day it is; the earlier one has no open window any more. */
const DAYS = 93;
/** Columns of the demo's bills that are read here, by their place. */
const [START, SERVICE, COSTS] = [5, 9, [11, 12, 13, 14]];

/** Asks, and fails when the answer is a refusal. */
export async function asked(server, path, options) {
  const answer = await ask(server, path, options);
  assert.equal(answer.code, undefined, JSON.stringify(answer));
  return answer;
}

const monthsBefore = (day, months) => {
  const at = new Date(`${day.slice(0, 7)}-01T00:00:00Z`);
  at.setUTCMonth(at.getUTCMonth() - months);
  return at.toISOString().slice(0, 7);
};

/** Returns a demo whose months before `month` are closed; `later` is the month after it, in which corrections are billed. */
export async function startMonth() {
  const server = await startDemo({ tenants: 8, days: DAYS });
  const { today } = await asked(server, "/settings");
  const [month, later] = [monthsBefore(today, 2), monthsBefore(today, 1)];
  const reason = "before the books were kept here";
  for (let next = await nextToClose(server); next < month; next = await nextToClose(server)) {
    await asked(server, `/periods/${next}/close`, { method: "POST", body: { force: true, reason } });
  }
  assert.equal(await nextToClose(server), month);
  return { ...server, month, later, day: `${month}-17` };
}

async function nextToClose(server) {
  const { rows } = await asked(server, "/periods?limit=1000");
  return rows.find(({ is_next }) => is_next).month;
}

/** Returns a month as the list of months tells of it. */
export async function monthOf(server, month) {
  const { rows } = await asked(server, "/periods?limit=1000");
  return rows.find((row) => row.month === month);
}

/** Says of the billing period of a source that it is open or closed. */
export function say(server, source, state) {
  return asked(server, "/source-periods", { method: "PUT", body: { periods: [{ source, billing_period: server.month, state }] } });
}

/** Enters one invoice that its bill adds up to, and one that it does not. */
export async function enterInvoices(server) {
  const { rows } = await asked(server, `/reconciliation?range=${server.month}&limit=1000`);
  const billed = (source) => rows.find((row) => row.source === source);
  const enter = (row, total) => asked(server, "/invoices", { method: "PUT", body: { source: row.source, billing_period: server.month, invoice_id: row.invoice_id, total, currency: row.currency } });
  await enter(billed("aws"), billed("aws").billed);
  await enter(billed("google"), "3100.00");
}

/** Moves cost from one tenant to another by hand. */
export function adjust(server) {
  return asked(server, "/adjustments", { method: "POST", body: { charge_date: server.day, from_tenant: "hooli", to_tenant: "acme", amount: "127.50", currency: "USD", reason: "the load test was of acme", reference: "FIN-204" } });
}

/** Imports the bill of the month once more, with another amount in one of its lines, and attributes what is due. */
export async function restate(server, amount) {
  const name = join(server.folder, "demo", `aws-${server.month}.csv`);
  const lines = (await readFile(name, "utf8")).split("\n");
  const at = lines.findIndex((line) => {
    const cells = line.split(",");
    return cells[START]?.startsWith(server.day) && cells[SERVICE] === "Amazon Elastic Block Store";
  });
  const cells = lines[at].split(",");
  for (const place of COSTS) cells[place] = amount;
  lines[at] = cells.join(",");
  const headers = { authorization: `Bearer ${server.token}`, "content-type": "text/csv" };
  const answer = await fetch(`${server.url}/api/v1/cost-lines/imports?source=aws&confirm=true`, { method: "POST", headers, body: lines.join("\n") });
  assert.equal(answer.status, 200, await answer.clone().text());
  const run = await asked(server, "/runs?wait=true", { method: "POST", body: { due: true } });
  assert.equal(run.status, "succeeded");
  return run;
}

/** Bills a line of yesterday and one of today, which is not over, to a source of its own. */
export async function billToday(server) {
  const { today } = await asked(server, "/settings");
  const text = await readFile(join(server.folder, "demo", `aws-${server.month}.csv`), "utf8");
  const [head, ...lines] = text.split("\n");
  const columns = head.split(",");
  const day = (offset) => `${new Date(Date.parse(today) + offset * 86_400_000).toISOString().slice(0, 10)}T00:00:00Z`;
  const month = today.slice(0, 7);
  const period = { BillingPeriodStart: `${month}-01T00:00:00Z`, BillingPeriodEnd: `${monthsBefore(today, -1)}-01T00:00:00Z` };
  const line = (at) => {
    const values = { ...period, ChargePeriodStart: day(at), ChargePeriodEnd: day(at + 1) };
    return lines[0].split(",").map((cell, place) => values[columns[place]] ?? cell).join(",");
  };
  const headers = { authorization: `Bearer ${server.token}`, "content-type": "text/csv" };
  const body = [head, line(-1), line(0), ""].join("\n");
  const answer = await fetch(`${server.url}/api/v1/cost-lines/imports?source=today`, { method: "POST", headers, body });
  assert.equal(answer.status, 200, await answer.clone().text());
}

/** Returns a file of the API as it travels. */
export async function fileOf(server, path) {
  const answer = await fetch(`${server.url}/api/v1${path}`, { headers: { authorization: `Bearer ${server.token}`, accept: "text/csv, application/json;q=0.9" } });
  assert.equal(answer.status, 200, path);
  return answer.text();
}
