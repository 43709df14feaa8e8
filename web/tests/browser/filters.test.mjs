// What the address filters is what the pages show: the API's answer to the same filter, said in chips that can be removed.
import { test } from "node:test";
import assert from "node:assert/strict";
import { expectWholeEverywhere, prepared, queried, settled } from "./browser.mjs";
import { visit, withPeople } from "./every.mjs";
import { ask, readDemo } from "./server.mjs";
import { cells, heads, money } from "./shown.mjs";

/** A pool of which the largest tenant has a part, and not all of its cost. */
const { server, browser, who, pool, days } = await prepared(readDemo, async (begun) => {
  const { who: found } = await withPeople(begun);
  const { rows, meta } = await ask(begun, `/costs?range=30d&group_by=pool&filter=tenant:${found.largest}&limit=100`);
  assert.ok(rows.length > 1, "the filter leaves something out");
  return { who: found, pool: rows.at(0).key.pool, days: `from=${meta.range.from}&to=${meta.range.to}` };
});

const on = (at, run, options) => visit(browser, server, who, { at }, run, options);
const costs = (question, filter) => ask(server, `/costs?${days}&${question}&filter=${encodeURIComponent(filter)}`);
const chips = (page) => page.getByRole("group", { name: "Filter", exact: true }).getByRole("listitem");
const total = (page) => page.locator(".facts .first dd").first().getAttribute("title");

test("a tenant's page is of what is filtered; a chip takes one of the terms away", async () => {
  const of = `tenant:"${who.largest}"`;
  const whole = await costs("group_by=tenant&limit=1", of);
  const [direct, part] = [await costs("group_by=tenant", `${of} pool:${pool} tier:direct`), await costs("group_by=tenant", `${of} pool:${pool}`)];
  assert.notEqual(part.totals.cost, whole.totals.cost);
  const ranked = await ask(server, `/costs?${days}&group_by=tenant&key=${who.largest}&filter=${encodeURIComponent(`pool:${pool}`)}`);
  await on(`/tenants/{largest}?f=pool:${pool}+tier:direct`, async (page) => {
    await settled(page);
    assert.deepEqual(await chips(page).locator("code").allInnerTexts(), [`pool:${pool}`, "tier:direct"]);
    assert.equal(await total(page), `${direct.totals.cost} USD`);
    await page.getByRole("button", { name: "Remove the filter tier:direct" }).click();
    await queried(page, `?f=pool:${pool}`);
    await settled(page);
    assert.equal(await total(page), `${part.totals.cost} USD`);
    const { place, of: all } = ranked.rows[0].rank;
    await page.getByText(`${place} of ${all}`, { exact: true }).waitFor();
    assert.deepEqual([...new Set(await heads(page, "Cost by pool"))], [pool]);
    await page.getByText(`Usage has no pool:${pool}, so meters show no quantity.`).waitFor();
    await expectWholeEverywhere(page, "tenant-filtered");
    await page.getByRole("button", { name: `Remove the filter pool:${pool}` }).click();
    await queried(page, "");
    await settled(page);
    assert.equal(await total(page), `${whole.totals.cost} USD`);
    assert.equal(await chips(page).count(), 0);
  });
});

test("a tenant's rank is asked for by itself, however many there are", async () => {
  await on("/tenants/{largest}?r=7d", async (page) => {
    const asked = [];
    page.on("request", (request) => asked.push(new URL(request.url())));
    await page.reload();
    await settled(page);
    const limits = asked.filter(({ pathname }) => pathname.endsWith("/api/v1/costs")).map(({ searchParams }) => Number(searchParams.get("limit")));
    assert.ok(limits.length > 3 && limits.every((limit) => limit <= 1000), limits.join());
    assert.equal(asked.filter(({ pathname }) => pathname.endsWith("/tenants")).length, 0);
    const { rows } = await ask(server, `/costs?range=7d&group_by=tenant&limit=10000`);
    const people = rows.filter(({ key }) => !key.tenant.startsWith("__"));
    await page.getByText(`${people.findIndex(({ key }) => key.tenant === who.largest) + 1} of ${people.length}`, { exact: true }).waitFor();
  });
});

test("flow of a part is told from pools on, as the API has it", async () => {
  const flows = await ask(server, `/flows?${days}&filter=${encodeURIComponent(`tenant:${who.largest}`)}`);
  assert.ok(flows.links.length > 1 && flows.nodes.every(({ column }) => column !== "provider"));
  await on(`/flow?f=tenant:${who.largest}`, async (page) => {
    await settled(page);
    const shown = await cells(page, "Cost from pool to workspace", "Cost");
    assert.deepEqual(shown.map(([exact]) => exact).toSorted(), flows.links.map(({ amount }) => amount).toSorted());
    const bars = await page.locator("svg[role=img] rect").count();
    assert.equal(bars, flows.nodes.filter(({ amount }) => !amount.startsWith("-") && Number(amount) > 0).length);
    await page.getByText("providers are left out").waitFor();
    await expectWholeEverywhere(page, "flow-filtered");
    const link = page.getByRole("region", { name: /table$/ }).getByRole("link").first();
    assert.match(await link.getAttribute("href"), new RegExp(`^tenants/.*f=tenant:${who.largest}$`));
  });
});

test("clusters, overhead and the overview are of what is filtered, and their links keep it", async () => {
  const filter = `tenant:${who.largest}`;
  const overview = await costs("group_by=status", filter);
  await on(`/?f=${filter}`, async (page) => {
    await settled(page);
    assert.equal(await total(page), `${overview.totals.cost} USD`);
    assert.deepEqual(await heads(page, "Largest workspaces"), [await page.getByRole("link", { name: /./ }).and(page.locator(`a[href^="tenants/${who.largest}?"]`)).first().innerText()]);
    assert.equal(await page.getByRole("link", { name: "All workspaces" }).getAttribute("href"), `platform/cost?f=${filter}`);
  });
  const { rows: pools } = await ask(server, "/pools?limit=1000");
  const clusters = pools.filter(({ kind }) => kind === "cluster").map(({ name }) => `"${name}"`).join();
  const { rows } = await costs("group_by=pool&limit=1000", `pool:${clusters} ${filter}`);
  await on(`/clusters?f=${filter}`, async (page) => {
    await settled(page);
    const shown = (await cells(page, "Clusters", "Cost")).filter(([exact]) => exact !== null && exact !== "");
    assert.deepEqual(shown, rows.map(({ cost }) => [cost, money(cost, "USD")]));
  });
  const { rows: overheads, totals } = await costs("group_by=pool,tenant&limit=1000", "tier:overhead");
  assert.ok(overheads.length > 1, "one of several pools is left out");
  const name = overheads[0].key.pool;
  const one = await costs("group_by=pool,tenant&limit=1000", `tier:overhead pool:"${name}"`);
  assert.notEqual(one.totals.cost, totals.cost);
  await on(`/overhead?r=30d&f=${encodeURIComponent(`pool:"${name}"`)}`, async (page) => {
    await settled(page);
    assert.equal(await total(page), `${one.totals.cost} USD`);
    assert.deepEqual([...new Set(await heads(page, "Overhead by pool"))], [name]);
    await expectWholeEverywhere(page, "overhead-filtered");
  });
});

test("a row of the leaderboard leads to its tenant with what is filtered", async () => {
  await on(`/platform/cost?r=7d&f=tenant:${who.largest}`, async (page) => {
    await settled(page);
    const row = page.locator("tbody tr.row");
    assert.equal(await row.count(), 1);
    await row.locator("button.name").click();
    const link = page.getByRole("link", { name: /^Cost of / });
    assert.equal(await link.getAttribute("href"), `tenants/${who.largest}?f=tenant:${who.largest}`);
    await link.click();
    await settled(page);
    assert.deepEqual(await chips(page).locator("code").allInnerTexts(), [`tenant:${who.largest}`]);
  });
});

test("entries of the ledger are filtered; what has no filter says so and keeps it", async () => {
  const { today } = await ask(server, "/settings");
  const first = new Date(Date.parse(today) - 29 * 86_400_000).toISOString().slice(0, 10);
  const { rows } = await ask(server, `/ledger/entries?from=${first}&to=${today}&limit=200&filter=${encodeURIComponent(`pool:${pool} -tenant:${who.largest}`)}`);
  assert.ok(rows.length > 0);
  await on(`/ledger?t=entries&f=pool:${pool}+-tenant:${who.largest}`, async (page) => {
    await settled(page);
    const table = page.getByRole("region", { name: "Entries, table", exact: true });
    assert.equal((await heads(page, "Entries"))[0], `${rows[0].posting}/${rows[0].line}`);
    assert.deepEqual([...new Set(await table.locator('td[data-label="Pool"]').allInnerTexts())], [pool]);
    await page.getByRole("link", { name: "Postings", exact: true }).click();
    await settled(page);
    await page.getByRole("group", { name: "Filter" }).getByText("Not filtered here:").waitFor();
    await queried(page, /[?&]f=pool/);
  });
  await on(`/unit-costs?r=30d&f=pool:${pool}`, async (page) => {
    await settled(page);
    await page.getByRole("group", { name: "Filter" }).getByText("Not filtered here:").waitFor();
    assert.equal(await page.getByRole("link", { name: "Overhead: its page" }).getAttribute("href"), `overhead?f=pool:${pool}`);
  });
});

test("a filter that nothing fits, and one that the server refuses, are said and can be removed", async () => {
  await on("/tenants/{largest}?f=pool:nobody", async (page) => {
    await settled(page);
    await page.getByText("Nothing fits the filter.").waitFor();
    await page.getByRole("button", { name: "Remove the filter pool:nobody" }).click();
    await settled(page);
    assert.equal(await page.getByText("Nothing fits the filter.").count(), 0);
  });
  await on("/flow?f=colour:red", async (page) => {
    await settled(page);
    await page.getByRole("alert").getByText("unknown key `colour`").first().waitFor();
    await page.getByRole("button", { name: "Remove the filter colour:red" }).click();
    await settled(page);
    assert.equal(await page.getByRole("alert").count(), 0);
  });
});

test("what may stand in a term is no markup: a name with quotes is one chip", async () => {
  const odd = 'tenant:"<b>say \\"hi\\" you</b>"';
  await on(`/clusters?f=${encodeURIComponent(`${odd} pool:x`)}`, async (page) => {
    await settled(page);
    assert.deepEqual(await chips(page).locator("code").allInnerTexts(), [odd, "pool:x"]);
    await page.getByRole("button", { name: "Remove all" }).click();
    await queried(page, "");
  });
});
