// Every figure explains itself: what stands in the panel adds up to what stands on the page, to the last digit.
import { test } from "node:test";
import assert from "node:assert/strict";
import { expectWholeEverywhere, prepared, queried, settled } from "./browser.mjs";
import { EVERY, visit, withPeople } from "./every.mjs";
import { adjust, asked, billToday, enterInvoices, restate, startMonth } from "./month.mjs";
import { ask, readDemo } from "./server.mjs";
import { atoms } from "./shown.mjs";

const RESERVED = ["Idle", "Unattributed", "Unconsumed", "Variance", "Overhead"];
/** Figures of one kind that are opened on a page. */
const OF_EACH_KIND = 2;

const { server, browser, who } = await prepared(readDemo, withPeople);

const number = (exact) => /^-?\d+(?:\.\d+)?/.exec(exact)?.[0] ?? assert.fail(`no number: ${exact}`);
const dialogOf = (page) => page.getByRole("dialog", { name: /^(What|Why|How|Where) / });

/** Names of the buttons that explain, with the figures that they stand in; of each column and of each label some. */
async function figures(page, most) {
  const all = await page.locator('main button[aria-label^="Explain "]').evaluateAll((buttons) => buttons.map((button, at) => ({
    at, name: button.getAttribute("aria-label"),
    kind: button.closest("[data-label]")?.dataset.label ?? button.getAttribute("aria-label").replace(/^.*, /, ""),
    exact: button.closest("[data-exact]")?.dataset.exact ?? null,
  })));
  return all.filter(({ at, kind }) => all.filter((one) => one.kind === kind && one.at < at).length < most);
}

/** What an open panel says: the figure that it explains, and the parts of it, all of them. */
async function explained(page) {
  const dialog = dialogOf(page);
  await dialog.waitFor();
  await settled(page);
  assert.deepEqual(await dialog.getByRole("alert").allInnerTexts(), []);
  for (const more = dialog.getByRole("button", { name: /^Show \d+ more of / }); (await more.count()) > 0; ) await more.click();
  return dialog.evaluate((panel) => {
    const exact = (selector) => [...panel.querySelectorAll(selector)].map((one) => one.dataset.exact);
    return {
      names: [...panel.querySelectorAll("tbody th")].map((head) => head.innerText.trim()),
      parts: exact('tbody td:is([data-label="Cost"], [data-label="Quantity"], [data-label="Change"], [data-label="Amount"])'),
      sum: exact(".sum strong")[0] ?? null,
      wrong: panel.querySelector(".sum .bad")?.textContent ?? null,
      formula: exact(".formula dd[data-exact]"),
      pools: [...panel.querySelectorAll("details")].map((pool) => [pool.querySelector(".badge.warn") !== null, pool.querySelector("summary strong").dataset.exact]),
      facts: Object.fromEntries([...panel.querySelectorAll(".sums div")].map((fact) => [fact.querySelector("dt").textContent, fact.querySelector("dd").dataset.exact ?? null])),
    };
  });
}

const total = (all) => all.map((exact) => atoms(number(exact))).reduce((sum, one) => sum + one, 0n);

/** Fails where parts do not add up; returns the figure that is explained. */
function figureOf({ parts, sum, wrong, formula, pools, facts }, name) {
  assert.equal(wrong, null, name);
  if (sum !== null) assert.equal(total(parts), atoms(number(sum)), name);
  if (formula.length === 3) {
    if (sum !== null && formula[2].includes(" ")) assert.equal(atoms(number(sum)), atoms(number(formula[2])), name);
    return formula[2];
  }
  if (sum !== null) return sum;
  const posted = total(pools.filter(([isEstimate]) => !isEstimate).map(([, exact]) => exact));
  if (facts.Posted) assert.equal(posted, atoms(number(facts.Posted)), name);
  return facts["This part of it"] ?? facts.Posted ?? facts["Estimates beside it, no part of the bill"];
}

/** Fails unless what is explained is the figure of the page. */
function compared(said, { kind, exact, name }, place) {
  const figure = figureOf(said, place);
  if (exact === null || exact === "") return;
  const shown = atoms(number(exact));
  // One reason of a change stands among all of them, as an entry does among those of its posting.
  if (/by:reason|of:posting/.test(place)) assert.ok(said.parts.some((part) => atoms(part) === shown), place);
  else if (kind === "Rank") assert.equal(said.names.filter((one) => !RESERVED.includes(one)).indexOf(/, Rank of (.*)$/.exec(name)[1]) + 1, Number(exact), place);
  else if (kind === "Workspaces") assert.equal(said.names.filter((name) => !RESERVED.includes(name)).length, Number(exact), place);
  else if (place.includes("of:statement") && ["Exact", "Rounding"].includes(kind)) assert.equal(atoms(number(said.formula[kind === "Exact" ? 0 : 1])), shown, place);
  // A line of a bill is spread over days.
  else if (place.includes("of:line")) assert.equal(atoms(number(said.formula[0])), shown, place);
  // A share has six digits, percentages of a cluster eight; both are rounded so that all of them add up.
  else if (kind.endsWith(" %")) assert.ok((atoms(number(figure)) * 100n - shown) ** 2n <= 10n ** 22n, place);
  else assert.equal(atoms(number(figure)), shown, place);
}

/** Opens the figures of a page one after the other, and compares each with what explains it. */
async function walk(page, place, { least, most = OF_EACH_KIND }) {
  const all = await figures(page, most);
  const kinds = new Set(all.map(({ kind }) => kind));
  assert.ok(kinds.size >= least, `${place} explains ${[...kinds].join(", ")}`);
  for (const one of all) {
    await page.locator('main button[aria-label^="Explain "]').nth(one.at).click();
    const said = await explained(page);
    compared(said, one, `${place}: ${one.name}: ${decodeURIComponent(new URL(page.url()).search)}`);
    await page.keyboard.press("Escape");
    await dialogOf(page).waitFor({ state: "detached" });
    await queried(page, /^(?!.*why=)/);
  }
}

for (const [name, least] of Object.entries({ overview: 11, cost: 8, tenant: 15, clusters: 4, cluster: 11, "unit-costs": 9, overhead: 2, data: 3 })) {
  test(`${name}: each kind of figure is what it is made of`, async () => {
    await visit(browser, server, who, EVERY[name], async (page) => {
      await settled(page, EVERY[name].heading);
      await walk(page, name, { least });
    });
  });
}

for (const [name, at] of Object.entries({ "posted estimates": "/platform/cost?r=7d&view=posted", repositories: "/unit-costs?r=30d", "merged ones": "/unit-costs?r=30d&cohort=merged&by=task_class" })) {
  test(`${name}: each kind of figure is what it is made of`, async () => {
    await visit(browser, server, who, { at }, async (page) => {
      await settled(page);
      await walk(page, name, { least: 5 });
    });
  });
}

test("flow: a link is what reaches a pool, or what a tenant or all others pay of it", async () => {
  await visit(browser, server, who, EVERY.flow, async (page) => {
    await settled(page);
    for (const more = page.getByRole("button", { name: /^Show \d+ more of / }); (await more.count()) > 0; ) await more.click();
    await walk(page, "flow", { least: 1, most: 8 });
    const others = page.getByRole("row").filter({ hasText: /Others/ }).first().getByRole("button", { name: /^Explain / });
    const exact = await others.evaluate((button) => button.closest("[data-exact]").dataset.exact);
    await others.click();
    assert.equal(atoms(number(figureOf(await explained(page), "others"))), atoms(exact));
    await page.keyboard.press("Escape");
    await dialogOf(page).waitFor({ state: "detached" });
    const ribbon = page.locator("svg[role=img] path").first();
    const amount = /: (\S+)$/.exec(await ribbon.locator("title").textContent())[1];
    await ribbon.dispatchEvent("click");
    await explained(page);
    assert.equal(await dialogOf(page).locator("tbody td[data-label=Cost]").getByText(amount, { exact: true }).count(), 1);
  });
});

test("a tenant's owner has the figures of the own page explained, and is refused nothing", async () => {
  const refused = [];
  await visit(browser, server, who, { at: "/tenants/{largest}?r=7d", own: true }, async (page) => {
    await settled(page);
    await walk(page, "own", { least: 10 });
    assert.deepEqual(refused, []);
  }, { before: (page) => page.on("response", (answer) => [401, 403, 404].includes(answer.status()) && refused.push(answer.url())) });
});

/** Opens the largest part of what is shown, and returns how much it is. */
async function down(page) {
  const first = dialogOf(page).locator("tbody td button.press").first();
  const exact = await first.evaluate((button) => button.closest("[data-exact]").dataset.exact);
  await first.click();
  return exact;
}

test("the way down to a tenant's day stands in the address: it is shared, gone back, and left with one key", async () => {
  await visit(browser, server, who, EVERY.overview, async (page) => {
    await settled(page);
    const title = () => dialogOf(page).getByRole("heading").innerText();
    const opener = page.getByRole("button", { name: /^Explain .*, Cost$/ }).first();
    await opener.click();
    const levels = [];
    for (let depth = 1; depth <= 3; depth += 1) {
      await queried(page, new RegExp(`(?:why=[^&]*&?){${depth}}$`));
      figureOf(await explained(page), `level ${depth}`);
      levels.push(await down(page));
    }
    await queried(page, /(?:why=[^&]*&?){4}$/);
    const cell = await explained(page);
    assert.equal(atoms(number(figureOf(cell, "cell"))), atoms(number(levels[2])));
    assert.match(await title(), /^Why .* (?:pays|has) this$/);
    const [tenant, date, pool] = [/tenant:([\w-]+)/, /day:([\d-]+) /, /pool:([\w-]+)/].map((form) => form.exec(new URL(page.url()).searchParams.getAll("why").at(-1))[1]);
    const answer = await ask(server, `/explain?${new URLSearchParams({ tenant, date, pool })}`);
    assert.equal(atoms(number(cell.facts.Posted)), atoms(answer.cost));

    const shared = page.url();
    await dialogOf(page).getByRole("button", { name: "Back to what this is a part of" }).click();
    await queried(page, /(?:why=[^&]*&?){3}$/);
    assert.equal(atoms(number((await explained(page)).sum)), atoms(number(levels[1])));
    await page.goBack();
    await queried(page, /(?:why=[^&]*&?){2}$/);
    assert.equal(atoms(number((await explained(page)).sum)), atoms(number(levels[0])));
    await page.keyboard.press("Escape");
    await dialogOf(page).waitFor({ state: "detached" });
    await queried(page, "");
    await page.waitForFunction((name) => document.activeElement?.getAttribute("aria-label") === name, await opener.getAttribute("aria-label"));
    // One step back leads to the page before, not to what was explained.
    await opener.click();
    await explained(page);
    await page.goBack();
    await dialogOf(page).waitFor({ state: "detached" });

    await page.goto(shared);
    await dialogOf(page).waitFor();
    assert.deepEqual(await explained(page), cell);
    await dialogOf(page).getByRole("button", { name: "Back to what this is a part of" }).click();
    await queried(page, /(?:why=[^&]*&?){3}$/);
    assert.equal(atoms(number((await explained(page)).sum)), atoms(number(levels[1])));
    await dialogOf(page).getByRole("button", { name: "Close explanation" }).click();
    await dialogOf(page).waitFor({ state: "detached" });
    await queried(page, "");
  });
});

test("other parts of the same figure add up to it too, and stand in the address", async () => {
  await visit(browser, server, who, { at: "/tenants/{largest}?r=7d" }, async (page) => {
    await settled(page);
    await page.getByRole("button", { name: /^Explain .*, Cost$/ }).first().click();
    const { sum } = await explained(page);
    for (const way of ["Pool", "Meter", "Category", "Day"]) {
      await dialogOf(page).getByRole("button", { name: way, exact: true }).first().click();
      await queried(page, new RegExp(`by:${way.toLowerCase()}`));
      assert.equal(atoms(number(figureOf(await explained(page), way))), atoms(number(sum)), way);
    }
    await page.keyboard.press("Escape");
    await queried(page, "?r=7d");
  });
});

test("a category's cost of a day explains that category, and leads to the whole day", async () => {
  await visit(browser, server, who, { at: "/tenants/{largest}?r=7d" }, async (page) => {
    await settled(page);
    await page.getByRole("button", { name: /^Explain .*, Cost$/ }).first().click();
    await explained(page);
    await dialogOf(page).getByRole("button", { name: "Category", exact: true }).click();
    await queried(page, /by:category/);
    await explained(page);
    const category = await down(page);
    assert.equal(atoms(number(figureOf(await explained(page), "category"))), atoms(number(category)));
    const day = await down(page);
    const said = await explained(page);
    assert.equal(atoms(number(figureOf(said, "a day of it"))), atoms(number(day)));
    assert.deepEqual(said.pools, [], "no pool of the whole day stands for it");
    await dialogOf(page).getByRole("button", { name: "The whole day, computed again from its inputs" }).click();
    const whole = await explained(page);
    assert.ok(atoms(number(whole.facts.Posted)) >= atoms(number(day)), "the whole has the part");
  });
});

test("a meter's cost explains that meter's part of each pool of the day", async () => {
  await visit(browser, server, who, { at: "/tenants/{largest}?r=7d" }, async (page) => {
    await settled(page);
    const cost = page.getByRole("region", { name: "Cost by meter, table" }).getByRole("row").filter({ hasNotText: "Not by a meter" }).getByRole("button", { name: /^Explain .*, Cost of / }).first();
    const meter = (await cost.getAttribute("aria-label")).replace(/^.*, Cost of /, "");
    await cost.click();
    await explained(page);
    const part = await down(page);
    const said = await explained(page);
    assert.equal(total(said.pools.filter(([isEstimate]) => !isEstimate).map(([, exact]) => exact)), atoms(number(part)));
    assert.equal(said.facts["This part of it"], undefined);
    for (const line of await dialogOf(page).locator(".cells li > span:first-child").evaluateAll((all) => all.map((one) => one.textContent))) assert.ok(line.endsWith(meter), line);
  });
});

const copies = {
  "the clipboard of the page": () => undefined,
  "what the browser copies, where there is no such clipboard": (page) => page.addInitScript(() => {
    Object.defineProperty(navigator, "clipboard", { value: undefined });
    const set = DataTransfer.prototype.setData;
    DataTransfer.prototype.setData = function keep(form, text) { globalThis.kept = text; return set.call(this, form, text); };
  }),
};
for (const [name, before] of Object.entries(copies)) {
  test(`an explanation is copied as text with every digit: ${name}`, async () => {
    await visit(browser, server, who, EVERY.overview, async (page) => {
      await page.context().grantPermissions(["clipboard-read", "clipboard-write"]);
      await settled(page);
      await page.getByRole("button", { name: /^Explain .*, Cost$/ }).first().click();
      const { parts, sum } = await explained(page);
      await dialogOf(page).getByRole("button", { name: "Copy explanation as text" }).click();
      await dialogOf(page).getByRole("status").getByText("Copied", { exact: true }).waitFor();
      const text = await page.evaluate(() => globalThis.kept ?? navigator.clipboard.readText());
      const lines = text.split("\n");
      assert.equal(lines[0], "What this cost is made of");
      for (const exact of parts) assert.ok(lines.some((line) => line.split("\t").includes(exact)), `${exact} in ${text}`);
      assert.ok(text.includes(sum), text);
      await down(page);
      await down(page);
      await down(page);
      const cell = await explained(page);
      await dialogOf(page).getByRole("button", { name: "Copy explanation as text" }).click();
      await dialogOf(page).getByRole("status").getByText("Copied", { exact: true }).waitFor();
      const copy = await page.evaluate(() => globalThis.kept ?? navigator.clipboard.readText());
      for (const [, exact] of cell.pools) assert.ok(copy.includes(exact), `${exact} in ${copy}`);
    }, { before });
  });
}

test("figures are reached by Tab, opened by Enter, named, and large enough for a finger", async () => {
  await visit(browser, server, who, EVERY.overview, async (page) => {
    await settled(page);
    await page.getByRole("region", { name: "In these days" }).evaluate((region) => { region.tabIndex = -1; region.focus(); });
    const focused = () => page.evaluate(() => document.activeElement?.getAttribute("aria-label") ?? "");
    for (let step = 0; step < 10 && !/^Explain .+, Cost$/.test(await focused()); step += 1) await page.keyboard.press("Tab");
    assert.match(await focused(), /^Explain \$[\d,.]+, Cost$/);
    await page.keyboard.press("Enter");
    await explained(page);
    await page.keyboard.press("Escape");
    await dialogOf(page).waitFor({ state: "detached" });
    await page.setViewportSize({ width: 320, height: 700 });
    await settled(page);
    const small = await page.locator('button[aria-label^="Explain "]').evaluateAll((all) => all.filter((one) => { const { width, height } = one.getBoundingClientRect(); return width < 24 || height < 24; }).map((one) => one.getAttribute("aria-label")));
    assert.deepEqual(small, []);
  });
});

for (const [name, at, levels] of [
  ["parts", "/", 0], ["tenants", "/", 1], ["a-day", "/", 3],
  ["change", "/tenants/{largest}?r=7d&why={change}", null], ["ratio", "/unit-costs?r=30d&why={ratio}", null], ["current-rates", "/platform/cost?r=7d&why={current}", null],
  ["bill", "/data?why={bill}", null], ["posting", "/ledger?t=entries&why={posting}", null],
]) {
  test(`an open explanation is whole in both themes at both widths: ${name}`, async () => {
    const { today } = await ask(server, "/settings");
    const back = (days) => new Date(Date.parse(today) - days * 86_400_000).toISOString().slice(0, 10);
    const days = `day:${back(7)}..${back(1)}`;
    const [bill] = (await ask(server, "/reconciliation?range=90d")).rows;
    const [entry] = (await ask(server, "/ledger/entries?range=7d&filter=-tier:overhead&limit=1")).rows;
    const why = {
      bill: `of:bill currency:${bill.currency} figure:billed by:charge_date day:${bill.billing_period}-01..${bill.billing_period}-28 source:${bill.source}${bill.invoice_id === null ? "" : ` invoice:${bill.invoice_id}`}`,
      posting: `of:posting currency:${entry.currency} version:${entry.posting} day:${entry.charge_date} tenant:${entry.consumer} pool:${entry.pool}`,
      change: `of:change ${days} tenant:${who.largest}`, ratio: `of:unit unit:workflow figure:merged ${days}`, current: `view:current_rates ${days} origin:snapshot tenant:${who.largest} by:meter`,
    };
    await visit(browser, server, who, { at: at.replace(/\{(change|ratio|current|bill|posting)\}/, (_, one) => encodeURIComponent(why[one])) }, async (page) => {
      await settled(page);
      if (levels !== null) await page.getByRole("button", { name: /^Explain .*, Cost$/ }).first().click();
      for (let level = 0; level < levels; level += 1) {
        await explained(page);
        await down(page);
      }
      figureOf(await explained(page), name);
      await expectWholeEverywhere(page, `explain-${name}`);
    });
  });
}

test("an explanation that the server refuses says so, and is asked for again", async () => {
  let fails = true;
  await visit(browser, server, who, EVERY.overview, async (page) => {
    await settled(page);
    await page.route("**/api/v1/costs?*group_by=pool&limit=10000*", (route) => (fails ? route.fulfill({ status: 500, json: { code: "internal", title: "Internal error", status: 500, request_id: "req-x" } }) : route.fallback()));
    await page.getByRole("button", { name: /^Explain .*, Cost$/ }).first().click();
    await dialogOf(page).getByRole("alert").getByText("request req-x").waitFor();
    fails = false;
    await dialogOf(page).getByRole("button", { name: "Try again" }).click();
    figureOf(await explained(page), "again");
  }, { allow: /status of 500/ });
});

const closed = (month, reason) => asked(month, `/periods/${month.month}/close`, { method: "POST", body: { force: true, reason } });

test("bills, postings, the cost of nobody and statements are what they are made of", async () => {
  const month = await startMonth();
  try {
    await enterInvoices(month);
    const moved = await adjust(month);
    const { posting } = await restate(month, "77.123456");
    for (const [name, at, least] of [
      ["bills", `/data?r=${month.month}`, 5], ["adjustment", `/ledger?t=entries&posting=${moved.posting}`, 2], ["restated", `/ledger?t=entries&posting=${posting}`, 2],
      ["nobody", `/close?month=${month.month}`, 1], ["overhead", `/overhead?r=${month.month}`, 3],
    ]) {
      await visit(browser, month, who, { at }, async (page) => {
        await settled(page);
        await walk(page, name, { least, most: 4 });
      });
    }
    await billToday(month);
    await visit(browser, month, who, { at: "/data?r=7d" }, async (page) => {
      await settled(page);
      const row = page.getByRole("region", { name: "Reconciliation of bills, table" }).getByRole("row").filter({ has: page.getByRole("rowheader", { name: "today", exact: true }) });
      const figure = async (name) => atoms(await row.locator(`td[data-label="${name}"]`).getAttribute("data-exact"));
      const [billed, later] = [await figure("Billed lines"), await figure("Not yet due")];
      assert.ok(0n < later && later < billed, `${later} of ${billed}`);
      await row.getByRole("button", { name: /^Explain .*, Lines − ledger of / }).click();
      assert.equal(atoms(number(figureOf(await explained(page), "off"))), await figure("Lines − ledger"));
      await dialogOf(page).getByRole("button", { name: /^Explain .*, Billed lines of days that are over$/ }).click();
      await queried(page, /figure:due/);
      assert.equal(atoms(number(figureOf(await explained(page), "due"))), billed - later);
    });
    await visit(browser, month, who, { at: `/ledger?t=proof&r=${month.month}` }, async (page) => {
      await settled(page);
      await page.getByRole("region", { name: "Proof per day, table" }).locator("button.expand").first().click();
      await walk(page, "proof", { least: 3, most: 6 });
    });

    await closed(month, "a statement to explain");
    await asked(month, `/periods/${month.month}/reopen`, { method: "POST", body: { reason: "a bill was restated" } });
    await restate(month, "99.5");
    await closed(month, "the second one");
    await visit(browser, month, who, { at: `/close?month=${month.month}` }, async (page) => {
      await settled(page);
      const table = page.getByRole("region", { name: "Statement by workspace, table" });
      await table.locator("button.expand").first().click();
      await walk(page, "statement", { least: 7 });
      const row = table.getByRole("row").filter({ has: page.locator("button.expand") }).first();
      const exact = await row.locator('td[data-label="Exact"]').getAttribute("data-exact");
      await row.getByRole("button", { name: /^Explain .*, Amount of / }).click();
      await explained(page);
      await dialogOf(page).getByRole("button", { name: /^Explain .*, Exact amount$/ }).click();
      assert.equal(atoms(number(figureOf(await explained(page), "entries"))), atoms(exact));
    });
  } finally {
    await month.stop();
  }
});
