// One number on the pages beyond the leaderboard, whose saved queries are in `agreement.test.mjs`: what a page shows for an
// address is what the API, the file behind its button and the command line say, to the last digit.
import { test } from "node:test";
import assert from "node:assert/strict";
import { readFile } from "node:fs/promises";
import { open, prepared, settled } from "./browser.mjs";
import { asked, startMonth } from "./month.mjs";
import { command } from "./server.mjs";
import { atoms, cells, heads, money } from "./shown.mjs";

/** The posting before an adjustment, which moves a day's cost of the largest tenant, is `earlier`: a state that is another one. */
const { server, browser, largest, earlier } = await prepared(startMonth, async (begun) => {
  const { rows, meta } = await asked(begun, "/costs?range=30d&group_by=tenant&limit=20");
  const [first, second] = rows.map(({ key }) => key.tenant).filter((id) => !id.startsWith("__"));
  const body = { charge_date: meta.data_through, from_tenant: first, to_tenant: second, amount: "41.07", currency: "USD", reason: "a shared test", reference: "FIN-7" };
  await asked(begun, "/adjustments", { method: "POST", body });
  return { largest: first, earlier: `posting:${meta.posting}` };
});

/** The days of an address, as a page of posted cost reads them: a rolling range ends with the last complete day. */
function daysOf(r, today) {
  const back = (days) => new Date(Date.parse(today) - days * 86_400_000).toISOString().slice(0, 10);
  const rolling = /^(\d+)d$/.exec(r);
  if (rolling) return { from: back(Number(rolling[1])), to: back(1) };
  const [from, to] = r.split("..");
  if (to !== undefined) return { from, to };
  const last = new Date(Date.UTC(Number(r.slice(0, 4)), Number(r.slice(5)), 0)).toISOString().slice(0, 10);
  return { from: `${r}-01`, to: last };
}

/** Rows of a CSV by the names of its columns; nothing that is asked for here is quoted with a comma in it. */
function rowsOf(csv) {
  const [head, ...lines] = csv.trimEnd().split(/\r?\n/).map((line) => line.split(","));
  return lines.map((line) => {
    assert.equal(line.length, head.length, line.join());
    return Object.fromEntries(head.map((name, at) => [name, line[at]]));
  });
}

/** Sums of a column of a CSV by another. */
function sumsOf(rows, by, of) {
  const sums = new Map();
  for (const row of rows) sums.set(row[by], (sums.get(row[by]) ?? 0n) + atoms(row[of]));
  return sums;
}

/** Opens an address and hands over its page, with what it saves as CSV; `asof` and days become what API and command take. */
async function saved(path, state, run) {
  const { today } = await asked(server, "/settings");
  const days = daysOf(state.r, today);
  const query = new URLSearchParams({ ...days, ...(state.asof ? { as_of: state.asof } : {}) });
  const args = ["--from", days.from, "--to", days.to, ...(state.asof ? ["--as-of", state.asof] : [])];
  const address = `${path}?${new URLSearchParams(state)}`;
  const { page, faults, close } = await open(browser, server);
  try {
    await page.goto(`${server.url}${address}`);
    await settled(page);
    const csv = async () => {
      const saving = page.waitForEvent("download");
      await page.getByRole("button", { name: "Export CSV" }).first().click();
      return readFile(await (await saving).path(), "utf8");
    };
    const printed = async (...words) => JSON.parse(await command(server, [...words, ...args, "-o", "json"]));
    await run({ page, api: (more) => `${query}&${more}`, csv, printed, address });
    assert.deepEqual(await page.getByRole("alert").allInnerTexts(), [], address);
    assert.deepEqual(faults, [], address);
  } finally {
    await close();
  }
}

const shown = (rows, name = "cost") => rows.map((row) => (row[name] == null ? ["", "–"] : [row[name], money(row[name], "USD")]));
const asofs = () => [undefined, earlier];
const stateOf = (r, asof) => ({ r, ...(asof ? { asof } : {}) });

test("a tenant's pools: by range, and as they were known before", async () => {
  const totals = [];
  for (const state of [stateOf("7d"), stateOf(server.later), ...asofs().map((asof) => stateOf("30d", asof))]) {
    await saved(`/tenants/${largest}`, state, async ({ page, api, csv, printed, address }) => {
      const filter = `tenant:"${largest}"`;
      const answer = await asked(server, `/costs?${api(`group_by=pool,tier&filter=${encodeURIComponent(filter)}&limit=1000`)}`);
      totals.push(answer.totals.cost);
      assert.deepEqual(await cells(page, "Cost by pool", "Cost"), shown(answer.rows), address);
      assert.equal(await page.locator(".facts .first dd").getAttribute("title"), `${answer.totals.cost} USD`, address);
      const command = await printed("costs", "--by", "pool,tier", "--filter", filter, "--top", "1000");
      assert.deepEqual([command.rows, command.totals], [answer.rows, answer.totals], address);
      const file = sumsOf(rowsOf(await csv()), "pool", "cost");
      assert.deepEqual([...file].toSorted(), [...sumsOf(answer.rows.map(({ key, cost }) => ({ ...key, cost })), "pool", "cost")].toSorted(), address);
    });
  }
  const [now, before] = totals.slice(-2).map(atoms);
  assert.equal(before - now, atoms("41.07"), "what was moved since is the difference of the two states");
});

test("unit costs by workflow, repository and task class, of the days and of what was merged in them", async () => {
  const cases = [
    [stateOf("30d"), "workflow"],
    [{ ...stateOf("30d"), by: "repo" }, "repo"],
    [{ ...stateOf("90d"), by: "task_class" }, "task_class"],
    [{ ...stateOf(server.later), by: "repo", cohort: "merged" }, "repo"],
    [{ ...stateOf("30d", earlier), by: "task_class" }, "task_class"],
  ];
  for (const [state, by] of cases) {
    await saved("/unit-costs", state, async ({ page, api, csv, printed, address }) => {
      const cohort = state.cohort ?? "period";
      const answer = await asked(server, `/unit-costs?${api(`by=${by}&cohort=${cohort}&limit=1000`)}`);
      assert.ok(answer.rows.length > 0, address);
      const caption = `Unit costs by ${by}`;
      for (let more = page.getByRole("button", { name: /^Show \d+ more/ }); (await more.count()) > 0; ) await more.first().click();
      const column = (head) => cells(page, caption, head);
      // The page puts the dearest first; rows that cost the same are in the order of their names.
      const key = (row) => Object.values(row.key)[0] || (by === "repo" ? "No repository" : "None");
      const names = await heads(page, caption);
      const sorted = names.map((name) => answer.rows.find((row) => key(row) === name));
      assert.equal(new Set(sorted).size, answer.rows.length, address);
      for (const [head, name] of [["Cost", "cost"], ["Direct", "direct"], ["Cost per merged PR", "cost_per_merged_pr"]]) {
        assert.deepEqual(await column(head), shown(sorted, name), `${address} ${head}`);
      }
      const mark = (at) => (/[1-9]/.test(sorted[at].pending) ? " pending" : "");
      const amortized = (await column("Amortized")).map(([exact, text]) => [exact, text.replace(/\s+/g, " ")]);
      assert.deepEqual(amortized, shown(sorted, "amortized").map(([exact, text], at) => [exact, text + mark(at)]), address);
      const overhead = page.locator(".facts div", { hasText: "fixed costs, not divided in" }).locator("dd");
      assert.equal(await overhead.getAttribute("title"), `${answer.totals.overhead} USD`, address);
      const command = await printed("unit-costs", "--by", by, "--cohort", cohort, "--top", "1000");
      assert.deepEqual([command.rows, command.totals], [answer.rows, answer.totals], address);
      const file = rowsOf(await csv()).map((row) => [row[by], row.cost, row.direct, row.amortized]);
      assert.deepEqual(file, answer.rows.map((row) => [row.key[by], row.cost, row.direct, row.amortized]), address);
    });
  }
});

test("overhead: its pools, its lines and its total", async () => {
  for (const state of [stateOf("30d"), stateOf(server.later), stateOf("90d", earlier)]) {
    await saved("/overhead", state, async ({ page, api, csv, printed, address }) => {
      const answer = await asked(server, `/overhead?${api("limit=1000")}`);
      assert.ok(answer.pools.length > 0, address);
      assert.deepEqual(await heads(page, "Overhead by pool"), answer.pools.map(({ pool }) => pool), address);
      assert.deepEqual(await cells(page, "Overhead by pool", "In these days"), shown(answer.pools), address);
      assert.equal(await page.locator(".facts .first dd").getAttribute("title"), `${answer.total} USD`, address);
      const costs = await printed("costs", "--by", "pool", "--filter", "tier:overhead", "--top", "1000");
      assert.deepEqual(costs.rows.map(({ key, cost }) => [key.pool, cost]).toSorted(), answer.pools.map(({ pool, cost }) => [pool, cost]).toSorted(), address);
      assert.equal(costs.totals.cost, answer.total, address);
      const lines = rowsOf(await csv()).map(({ service, amount }) => [service, amount]);
      assert.deepEqual(lines, answer.rows.map(({ service, amount }) => [service, amount]), address);
      const table = "Amount of the line";
      const onPage = await page.locator(`tbody td[data-label="${table}"]`).evaluateAll((all) => all.map((cell) => [cell.dataset.exact, cell.innerText.trim()]));
      assert.deepEqual(onPage, shown(answer.rows, "amount"), address);
    });
  }
});

test("clusters: what each costs, now and as it was known before", async () => {
  const { rows: pools } = await asked(server, "/pools?limit=1000");
  const filter = `pool:${pools.filter(({ kind }) => kind === "cluster").map(({ name }) => `"${name}"`).join(",")}`;
  for (const state of [stateOf("7d"), ...asofs().map((asof) => stateOf(server.later, asof))]) {
    await saved("/clusters", state, async ({ page, api, csv, printed, address }) => {
      const answer = await asked(server, `/costs?${api(`group_by=pool&filter=${encodeURIComponent(filter)}&limit=1000`)}`);
      assert.ok(answer.rows.length > 1, address);
      assert.deepEqual(await heads(page, "Clusters"), answer.rows.map(({ key }) => key.pool), address);
      assert.deepEqual(await cells(page, "Clusters", "Cost"), shown(answer.rows), address);
      const command = await printed("costs", "--by", "pool", "--filter", filter, "--top", "1000");
      assert.deepEqual([command.rows, command.totals], [answer.rows, answer.totals], address);
      assert.deepEqual(rowsOf(await csv()).map(({ pool, cost }) => [pool, cost]), answer.rows.map(({ key, cost }) => [key.pool, cost]), address);
    });
  }
});

test("flow: what arrives at tenants is all cost of the days", async () => {
  for (const state of [stateOf("7d"), stateOf(server.later)]) {
    await saved("/flow", state, async ({ page, api, csv, printed, address }) => {
      const { totals } = await asked(server, `/costs?${api("group_by=pool,tenant&limit=10000")}`);
      for (let more = page.getByRole("button", { name: /^Show \d+ more/ }); (await more.count()) > 0; ) await more.first().click();
      const caption = "Cost from provider to pool and from pool to workspace";
      const steps = await cells(page, caption, "Step");
      const rows = (await cells(page, caption, "Cost")).filter((_, at) => steps[at][1].startsWith("Pool"));
      for (const [exact, text] of rows) assert.equal(text, money(exact, "USD"), address);
      const sum = (costs) => costs.reduce((total, cost) => total + atoms(cost), 0n);
      assert.equal(sum(rows.map(([exact]) => exact)), atoms(totals.cost), address);
      assert.equal(sum(rowsOf(await csv()).filter(({ column }) => column === "pool").map(({ amount }) => amount)), atoms(totals.cost), address);
      const command = await printed("costs", "--by", "pool,tenant", "--top", "10000");
      assert.deepEqual(command.totals, totals, address);
    });
  }
});

test("overview, flow and posted cost as they were known before: what was posted since is left out", async () => {
  const own = [];
  for (const asof of asofs()) {
    const state = stateOf("30d", asof);
    const banner = (page) => page.getByText(`As the ledger stood at ${asof?.replace(":", " ")}.`).count();
    await saved("/", state, async ({ page, api, address }) => {
      const answer = await asked(server, `/costs?${api("group_by=tenant&compare=prev&limit=12")}`);
      own.push(answer.rows.find(({ key }) => key.tenant === largest).cost);
      assert.deepEqual(await cells(page, "Largest workspaces", "Cost"), shown(answer.rows), address);
      const states = await page.getByRole("region", { name: "Largest workspaces, table", exact: true }).locator("tbody a").evaluateAll((all) => all.map((link) => new URL(link.href).searchParams.get("asof")));
      assert.deepEqual([...new Set(states)], [asof ?? null], "links lead to the same state");
      if (asof) assert.equal(await page.getByText("ledger = imported bills").count(), 0, "an earlier state is compared with nothing");
      assert.equal(await banner(page), asof ? 1 : 0, address);
    });
    await saved("/flow", state, async ({ page, api, csv, address }) => {
      const { links } = await asked(server, `/flows?${api("top=14")}`);
      const caption = "Cost from provider to pool and from pool to workspace";
      for (let more = page.getByRole("button", { name: /^Show \d+ more/ }); (await more.count()) > 0; ) await more.first().click();
      const sorted = (amounts) => amounts.toSorted((one, other) => (atoms(one) < atoms(other) ? -1 : 1));
      assert.deepEqual(sorted((await cells(page, caption, "Cost")).map(([exact]) => exact)), sorted(links.map(({ amount }) => amount)), address);
      assert.deepEqual(sorted(rowsOf(await csv()).map(({ amount }) => amount)), sorted(links.map(({ amount }) => amount)), address);
      assert.equal(await banner(page), asof ? 1 : 0, address);
    });
  }
  assert.notEqual(own[0], own[1], "the adjustment is not known before it was posted");
  await saved("/platform/cost", { ...stateOf("30d", "posting:0"), view: "posted" }, async ({ page, address }) => {
    const posted = page.locator(".views > div", { hasText: "Posted" }).locator("strong");
    assert.match(await posted.getAttribute("title"), /^0\.00 /, address);
    assert.equal(await page.getByText("As the ledger stood at posting 0.").count(), 1);
  });
});
