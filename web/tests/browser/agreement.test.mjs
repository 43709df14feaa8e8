// Page, CSV, API and command line say the same on the leaderboard: rows and totals of fourteen saved queries, to the last digit.
// Those of the other pages are in `saved.test.mjs`.
import { before, test } from "node:test";
import assert from "node:assert/strict";
import { readFile } from "node:fs/promises";
import { open, prepared } from "./browser.mjs";
import { ask, command, startEmpty } from "./server.mjs";
import { atoms, money } from "./shown.mjs";

const MEASURED_DAYS = 45;
const WORKSPACES = 12;
const METRICS = ["member_count", "api_call_count_24h", "storage_bytes", "monitored_host_count", "change_count_24h"];
/** What the page asks for by view: measured usage at current rates, and what the ledger has of it. */
const FILTERS = { current_rates: "origin:snapshot", posted: "memo:true" };
const SEED = 7;

const { server, browser, today } = await prepared(() => startEmpty("/"), (begun) => ask(begun, "/settings"));

const day = (back) => new Date(Date.parse(today) - back * 86_400_000).toISOString().slice(0, 10);

async function asked(path, options) {
  const answer = await ask(server, path, options);
  assert.equal(answer.code, undefined, JSON.stringify(answer));
  return answer;
}

/** Numbers below `most`, the same ones in each run. */
function numbers(seed) {
  let state = seed;
  return (most) => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    return (state >>> 8) % most;
  };
}

/** Snapshots of every day, prices that change within them, and one run over all days. */
async function measure() {
  const next = numbers(SEED);
  for (let back = MEASURED_DAYS - 1; back >= 0; back -= 1) {
    const rows = Array.from({ length: WORKSPACES }, (_, at) => {
      const names = METRICS.filter(() => next(10) > 0);
      const metrics = Object.fromEntries(names.map((name) => [name, String(next(10 ** (1 + next(7))))]));
      return { tenant: `ws-${at}`, metrics: { member_count: "1", ...metrics } };
    });
    // The last workspace is not measured any more.
    if (back < 9) rows.pop();
    await asked(`/snapshots/${day(back)}?source=app`, { method: "PUT", body: { rows } });
  }
  const price = (meter, text) => ({ meter, price: text, per: "unit" });
  // A price per GiB does not end after fifteen decimals, so something is rounded every day.
  const prices = [price("member_count", "7.25"), price("api_call", "0.0000035"), price("storage_gib", "0.03")];
  const card = { version: "second", currency: "USD", valid_from: day(5), price: prices };
  await asked("/rate-cards?confirm=true", { method: "POST", body: card });
  await asked("/runs?wait=true", { method: "POST", body: { from: day(MEASURED_DAYS - 1), to: today } });
}

const sumOf = (costs) => [...costs.values()].reduce((sum, cost) => sum + cost, 0n);
/** Cost by tenant, in the order of the rows. */
const ofAnswer = ({ rows }) => new Map(rows.map((row) => [row.key.tenant, atoms(row.cost)]));

/** Cost by workspace. A day without a cost adds nothing. */
function ofCsv(text) {
  const [head, ...lines] = text.trimEnd().split(/\r?\n/).map((line) => line.split(","));
  assert.deepEqual([head[0], head.at(-1)], ["workspace_slug", "cost_usd"]);
  const costs = new Map();
  for (const line of lines) {
    assert.equal(line.length, head.length);
    if (line.at(-1) !== "") costs.set(line[0], (costs.get(line[0]) ?? 0n) + atoms(line.at(-1)));
  }
  return costs;
}

async function ofPage(page) {
  await page.locator("tbody tr.row").first().waitFor();
  const read = (rows) => rows.map((row) => {
    const cost = row.querySelector("td.cost");
    return [row.querySelector("button.name").title, cost.dataset.exact, cost.innerText.trim()];
  });
  const shown = await page.locator("tbody tr.row").evaluateAll(read);
  for (const [id, cost, text] of shown) if (cost !== "") assert.equal(text, money(cost, "USD"), id);
  // The page compares with the period before: who was measured only then has a row of 0. Nobody else costs nothing here.
  return new Map(shown.map(([id, cost]) => [id, atoms(cost || "0")]).filter(([, cost]) => cost !== 0n));
}

const sorted = (costs) => [...costs].sort(([one], [other]) => (one < other ? -1 : 1));

before(measure);

for (const view of ["current_rates", "posted"]) {
  test(`page, CSV, API and command line agree on every saved query: ${view}`, async () => {
    const monthEnd = day(Number(today.slice(8)));
    const month = monthEnd.slice(0, 7);
    const saved = [
      ["7d", day(6), today],
      ["30d", day(29), today],
      [month, `${month}-01`, monthEnd],
      [`${day(20)}..${day(11)}`, day(20), day(11)],
      [`${day(7)}..${day(3)}`, day(7), day(3)],
      ["30d", day(29), today, "tenant:ws-1,ws-2,ws-3"],
      ["7d", day(6), today, "-tenant:ws-0"],
    ];
    const totals = new Set();
    for (const [r, from, to, terms] of saved) {
      const filter = [FILTERS[view], terms].filter(Boolean).join(" ");
      const answer = await asked(`/costs?from=${from}&to=${to}&view=${view}&filter=${encodeURIComponent(filter)}&group_by=tenant&limit=10000`);
      const expected = ofAnswer(answer);
      assert.ok(expected.size >= (terms ? 3 : WORKSPACES - 1), r);
      assert.equal(sumOf(expected), atoms(answer.totals.cost), r);
      totals.add(answer.totals.cost);

      const { page, faults, close } = await open(browser, server);
      await page.goto(`${server.url}/platform/cost?r=${r}${view === "posted" ? "&view=posted" : ""}${terms ? `&f=${terms}` : ""}`);
      assert.deepEqual([...(await ofPage(page))], [...expected], `${r}: rows of the page, in their order`);
      const total = page.locator(".views .on strong");
      assert.equal(await total.getAttribute("title"), `${answer.totals.cost} USD`, r);
      const saving = page.waitForEvent("download");
      await page.getByRole("button", { name: "Export CSV" }).click();
      const csv = await readFile(await (await saving).path(), "utf8");
      assert.deepEqual(faults, []);
      await close();
      const file = terms ? new Map(csv.trimEnd().split(/\r?\n/).slice(1).map((line) => line.split(",")).map(([id, cost]) => [id, atoms(cost)])) : ofCsv(csv);
      assert.deepEqual(sorted(file), sorted(expected), `${r}: the CSV, added up`);

      const days = ["--from", from, "--to", to, "--view", view];
      const printed = JSON.parse(await command(server, ["costs", "--filter", filter, "--top", "1000", "-o", "json", ...days]));
      assert.deepEqual([printed.rows, printed.totals], [answer.rows, answer.totals], `${r}: costs on the command line`);
      if (terms) continue;
      const exported = await command(server, ["export", "usage", ...days]);
      assert.equal(exported.replaceAll("\r\n", "\n"), csv.replaceAll("\r\n", "\n"), `${r}: the export on the command line`);
    }
    assert.equal(totals.size, saved.length, "the queries ask for different things");
  });
}
