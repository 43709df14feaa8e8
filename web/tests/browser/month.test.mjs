// Month-end against the real server, one story in this order: what stands against a close, the close, late bills, the second close.
import { test } from "node:test";
import assert from "node:assert/strict";
import { readFile } from "node:fs/promises";
import { expectAccessible, expectWhole, expectWholeEverywhere, open, picture, prepared, settled } from "./browser.mjs";
import { adjust, asked, enterInvoices, fileOf, monthOf, restate, say, startMonth } from "./month.mjs";
import { command } from "./server.mjs";
import { atoms, cells, heads, money, month as named } from "./shown.mjs";

const { server, browser, adjustment } = await prepared(startMonth, async (begun) => {
  await say(begun, "google", "open");
  await enterInvoices(begun);
  return { adjustment: await adjust(begun) };
});

/** Opens a page, runs, and expects no fault. */
async function on(address, run, options = {}) {
  const opened = await open(browser, server, options);
  try {
    await opened.page.goto(`${server.url}${address}`);
    await settled(opened.page);
    await run(opened.page);
    assert.deepEqual(opened.faults, []);
  } finally {
    await opened.close();
  }
}

/** The page prints every total of a statement as the API does, and every consumer's amount. */
async function expectStatement(page, statement) {
  const column = (rows, name) => rows.map((row) => [row[name], money(row[name], row.currency)]);
  assert.deepEqual(await heads(page, "Totals of the statement"), statement.totals.map(({ currency }) => currency));
  assert.deepEqual(await cells(page, "Totals of the statement", "Total"), column(statement.totals, "amount"));
  assert.deepEqual(await cells(page, "Totals of the statement", "Exact"), statement.totals.map(({ exact }) => [exact, exact]));
  assert.deepEqual(await cells(page, "Statement by workspace", "Amount"), column(statement.consumers, "amount"));
}

async function download(page, button) {
  const saving = page.waitForEvent("download");
  await button.click();
  return readFile(await (await saving).path(), "utf8");
}

/** Each address in both themes and widths. */
async function everywhere(name, address) {
  await on(address, (page) => expectWholeEverywhere(page, name));
}

test("the checklist has every item; what stands against the close is named, and keeps its button disabled", async () => {
  const { obstacles } = await monthOf(server, server.month);
  assert.deepEqual(obstacles.map(({ code }) => code), ["source_period_open"]);
  await on("/close", async (page) => {
    await page.getByRole("heading", { level: 1, name: `Month-end: ${named(server.month)}` }).waitFor();
    const list = page.getByRole("region", { name: "Checklist" }).locator("li[data-item]");
    const items = await list.evaluateAll((all) => all.map((item) => [item.dataset.item, item.querySelector(".unseen").textContent]));
    const done = ["days_due", "pool_not_run", "pending", "source_period_missing", "driver_gap", "unattributed"];
    const expected = [...done.map((code) => [code, "Done:"]), ["source_period_open", "Missing:"], ["invoices", "To know:"]];
    assert.deepEqual(items.toSorted(), expected.toSorted());
    assert.match(await list.filter({ hasText: "Bills differ" }).innerText(), /Tie: aws \(USD\)\. Differ: google \(EUR\)\./);
    await page.getByRole("button", { name: `Close ${named(server.month)}` }).click();
    const act = page.getByRole("dialog").getByRole("button", { name: "Close the month" });
    assert.ok(await act.isDisabled());
    const said = await act.evaluate((button) => document.getElementById(button.getAttribute("aria-describedby")).innerText);
    assert.ok(said.includes(obstacles[0].detail), said);
    await page.getByLabel("Close it all the same").check();
    assert.ok(await act.isEnabled());
    await act.click();
    assert.ok(await page.getByRole("dialog").isVisible(), "without a reason nothing is sent");
    await expectAccessible(page, "close dialog");
    await picture(page, "close-dialog");
  });
  await on(`/close?month=${server.later}`, async (page) => {
    const button = page.getByRole("button", { name: `Close ${named(server.later)}` });
    assert.ok(await button.isDisabled());
    await page.getByText(`Not yet: ${named(server.month)} is closed first.`).waitFor();
  });
  assert.equal((await monthOf(server, server.month)).state, "open");
  await everywhere("close-open", "/close");
});

test("cost of nobody has its amount, reason and age, as the API has them", async () => {
  const { rows, totals, oldest_day: oldest, rules } = await asked(server, `/unattributed?range=${server.month}&limit=1000`);
  assert.ok(rows.length > 1);
  for (const { currency, amount } of totals) {
    const posted = await asked(server, `/costs?range=${server.month}&group_by=tenant&filter=tenant:__unattributed__&currency=${currency}`);
    const made = rows.filter((row) => row.currency === currency).reduce((sum, row) => sum + atoms(row.amount), 0n);
    assert.deepEqual([made, atoms(amount)], [atoms(posted.totals.cost), atoms(posted.totals.cost)], currency);
  }
  await on("/close", async (page) => {
    const table = `Unattributed cost of ${named(server.month)}`;
    assert.deepEqual(await heads(page, table), rows.map(({ pool }) => pool));
    assert.deepEqual(await cells(page, table, "Cost"), rows.map(({ amount, currency }) => [amount, money(amount, currency)]));
    for (const [age] of await cells(page, table, "Age")) assert.ok(Number(age) > 31, age);
    const reasons = (await cells(page, table, "Why")).map(([, text]) => text);
    assert.ok(reasons.every((text) => /^[A-Z][a-z ]+$/.test(text)), reasons.join());
    const item = await page.locator('[data-item="unattributed"]').innerText();
    assert.ok(item.includes(`${totals.map(({ amount, currency }) => money(amount, currency)).join(" and ")} went to nobody.`), item);
    assert.match(item, /The oldest of it is of .+: \d+ days\./);
    assert.equal(await page.getByRole("button", { name: /^Copy rule/ }).count(), rules.length);
    assert.ok(Date.parse(oldest) >= Date.parse(`${server.month}-01`));
  });
});

/** What the API would say of lines that lack a tenant, one of them of an account with an odd name. */
function lacking({ month }) {
  const row = { pool: "own", why: "no_mapping", currency: "USD", provider: "AWS", billing_account: "payer", service: null, service_category: null, first_day: `${month}-03`, last_day: `${month}-20` };
  const rule = (key, value, tenant) => `[[tenant_rule]]\nwhen = { ${key} = "${value}" }\ntenant = "${tenant}"\n`;
  const rules = [
    { currency: "USD", attribute: "tags.team", values: ["*"], fills_tenant: true, toml: rule('"tags.team"', "*", "{tags.team}"), amount: "14.00", lines: 2, mapped_share: "0.451613" },
    { currency: "USD", attribute: "sub_account", values: ["<script>alert(1)</script>"], fills_tenant: false, toml: rule("sub_account", "<script>alert(1)</script>", "{choose-a-tenant}"), amount: "6.00", lines: 1, mapped_share: "0.645161" },
  ];
  const rows = [{ ...row, sub_account: "222", lines: 2, amount: "14.00", rule: 1 }, { ...row, pool: "shared", why: "no_usage", provider: null, billing_account: null, sub_account: null, lines: null, amount: "11.00", rule: null }, { ...row, sub_account: "<script>alert(1)</script>", lines: 1, amount: "6.00", rule: 2 }];
  return { rows, rules, truncated: false, totals: [{ currency: "USD", amount: "31.00" }], oldest_day: `${month}-03`, range: { from: `${month}-01`, to: `${month}-28`, timezone: "UTC" }, posting: 1, next_cursor: null };
}

test("the rules that would map most of it stand on the checklist as text, with their share, and are copied", async () => {
  const found = lacking(server);
  for (const [scheme, width] of [["light", 1280], ["dark", 320]]) {
    await on("/close", async (page) => {
      await page.route(/\/api\/v1\/unattributed\?/, (route) => route.fulfill({ json: found }));
      await page.context().grantPermissions(["clipboard-read", "clipboard-write"]);
      await page.reload();
      await settled(page);
      const item = page.locator('[data-item="unattributed"]');
      assert.deepEqual(await item.locator("pre").allInnerTexts(), found.rules.map(({ toml }) => toml.trim()));
      const text = await item.innerText();
      for (const part of ["$31.00 went to nobody.", "Rule 1 maps $14.00", "45.2% of it", "Rule 2 maps $6.00", "64.5% of it"]) assert.ok(text.includes(part), text);
      await page.getByRole("button", { name: "Copy rule 2" }).focus();
      await page.keyboard.press("Enter");
      await page.getByText("Rule 2 is copied").waitFor({ state: "attached" });
      assert.equal(await page.getByRole("button", { name: "Copied rule 2" }).count(), 1, "its name is what it shows");
      assert.equal(await page.evaluate(() => navigator.clipboard.readText()), found.rules[1].toml);
      assert.equal(await page.locator("#app script").count(), 0);
      const table = `Unattributed cost of ${named(server.month)}`;
      assert.deepEqual((await cells(page, table, "Rule")).map(([, rule]) => rule), ["1", "–", "2"]);
      assert.ok(await item.getByRole("link", { name: "Policies" }).isVisible());
      await expectWhole(page, `close-rules-${scheme}-${width}`);
    }, { scheme, width });
  }
  await on("/close", async (page) => {
    await page.route(/\/api\/v1\/unattributed\?/, (route) => route.fulfill({ json: { ...found, rows: [], rules: [], totals: [], oldest_day: null } }));
    await page.reload();
    await settled(page);
    await page.getByRole("region", { name: /^Cost of nobody/ }).getByText("All cost of the month has somebody who pays it.").waitFor();
    assert.equal(await page.locator("pre").count(), 0);
  });
});

test("reconciliation ticks off the bill that ties to its invoice, and says by how much the other differs", async () => {
  const { rows } = await asked(server, `/reconciliation?range=${server.month}&limit=1000`);
  const marks = { reconciled: "✓ reconciled", differs: "differs", no_invoice: "no invoice to compare" };
  assert.deepEqual(new Set(rows.map(({ state }) => state)), new Set(Object.keys(marks)));
  await on(`/data?r=${server.month}`, async (page) => {
    const table = "Reconciliation of bills";
    assert.deepEqual(await heads(page, table), rows.map(({ source }) => source));
    assert.deepEqual((await cells(page, table, "State")).map(([, text]) => text.replace(", estimated", "")), rows.map(({ state }) => marks[state]));
    assert.deepEqual((await cells(page, table, "State")).map(([, text]) => text.includes("estimated")), rows.map(({ estimated }) => estimated));
    for (const [head, name] of [["Billed lines", "billed"], ["In the ledger", "attributed"], ["Lines − ledger", "attribution_difference"]]) {
      assert.deepEqual(await cells(page, table, head), rows.map((row) => [row[name], money(row[name], row.currency)]), head);
    }
    const difference = rows.map((row) => (row.invoice_difference === null ? ["", "–"] : [row.invoice_difference, money(row.invoice_difference, row.currency)]));
    assert.deepEqual(await cells(page, table, "Invoice − lines"), difference);
  });
  await everywhere("reconciliation", `/data?r=${server.month}`);
});

test("an adjustment stands in the ledger with its reason and reference", async () => {
  await on("/ledger", async (page) => {
    const row = page.getByRole("row", { name: new RegExp(`Adjustment ${adjustment.reference}`) });
    await row.getByRole("button").first().click();
    const detail = page.locator("tr.detail");
    await detail.getByText(adjustment.reason).waitFor();
    assert.match(await detail.innerText(), new RegExp(`\\$127\\.50 of .* from hooli to acme, billed in ${named(server.month)}`));
    await expectWhole(page, "ledger-adjustment");
  });
});

test("the page closes the month; the statement on it, its files and the journal are the API's", async () => {
  await say(server, "google", "closed");
  await on("/close", async (page) => {
    await page.getByRole("button", { name: `Close ${named(server.month)}` }).click();
    await page.getByRole("button", { name: "Close the month" }).click();
    await page.getByText(`${named(server.month)} is closed, by posting`).waitFor();
    assert.deepEqual((await monthOf(server, server.month)).forced, []);
    await page.goto(`${server.url}/close?month=${server.month}`);
    await settled(page);
    const statement = await asked(server, `/statements/${server.month}.json`);
    assert.equal(statement.totals.length, 2);
    await expectStatement(page, statement);
    const [first] = statement.consumers;
    await page.getByRole("region", { name: "Statement by workspace, table" }).getByRole("button", { expanded: false }).first().click();
    const lines = statement.rows.filter(({ consumer, currency }) => consumer === first.consumer && currency === first.currency);
    const detail = page.locator("tr.detail").locator('tbody td[data-label="Amount"]');
    assert.deepEqual(await detail.evaluateAll((all) => all.map((cell) => cell.dataset.exact)), lines.map(({ amount }) => amount));

    const files = { "Statement CSV": `${server.month}.csv`, JSON: `${server.month}.json`, "Journal CSV": `${server.month}/journal.csv` };
    const printed = { "Statement CSV": ["-o", "csv"], JSON: ["-o", "json"], "Journal CSV": ["--journal"] };
    for (const [label, path] of Object.entries(files)) {
      const saved = await download(page, page.getByRole("button", { name: label, exact: true }));
      assert.equal(saved, await fileOf(server, `/statements/${path}`), label);
      assert.equal(saved, await command(server, ["statement", server.month, ...printed[label]]), label);
    }
  });
  await everywhere("close-closed", `/close?month=${server.month}`);
});

test("a late bill of the closed month is billed in the next one; what is too small waits, and is posted from the page", async () => {
  const issued = await fileOf(server, `/statements/${server.month}.json`);
  const run = await restate(server, "30.000001");
  const { rows } = await asked(server, `/ledger/entries?posting=${run.posting}&limit=1000`);
  assert.ok(rows.length > 1 && rows.every((row) => row.billing_month === server.later && row.charge_class === "correction"));
  await on(`/ledger?t=entries&posting=${run.posting}`, async (page) => {
    const shown = (await cells(page, "Entries", "Billed in")).map(([, text]) => text);
    assert.deepEqual(shown, rows.map(() => `${named(server.later)}, correction`));
    assert.deepEqual((await cells(page, "Entries", "Amount")).map(([exact]) => exact), rows.map(({ amount }) => amount));
  });
  await everywhere("ledger-corrections", `/ledger?t=entries&posting=${run.posting}`);
  const { pending_corrections: noted } = await monthOf(server, server.month);
  assert.ok(noted.length > 0);
  await everywhere("close-noted", `/close?month=${server.month}`);
  await on(`/close?month=${server.month}`, async (page) => {
    assert.deepEqual((await cells(page, "Small differences", "Pool")).map(([, text]) => text), noted.map(({ pool }) => pool));
    await page.getByRole("button", { name: "Post them" }).click();
    await page.getByRole("dialog").getByRole("button", { name: "Post", exact: true }).click();
    await page.getByText(/Posting \d+ holds the small differences/).waitFor();
    await page.getByRole("heading", { name: "Small differences" }).waitFor({ state: "detached" });
  });
  assert.deepEqual((await monthOf(server, server.month)).pending_corrections, []);
  assert.equal(await fileOf(server, `/statements/${server.month}.json`), issued, "the statement is as it was issued");
});

test("reopened with a reason and closed again: the second version names what it prints otherwise, the first stays", async () => {
  const first = await asked(server, `/statements/${server.month}.json`);
  await on(`/close?month=${server.month}`, async (page) => {
    await page.getByRole("button", { name: "Reopen" }).click();
    await page.getByLabel("Reason").fill("the bill was restated");
    await page.getByRole("button", { name: "Reopen the month" }).click();
    await page.getByText(`${named(server.month)} is open, by posting`).waitFor();
  });
  assert.equal((await monthOf(server, server.month)).reason, "the bill was restated");
  await restate(server, "45.50");
  await say(server, "google", "open");
  const { obstacles } = await monthOf(server, server.month);
  await on("/close", async (page) => {
    await page.getByRole("button", { name: `Close ${named(server.month)}` }).click();
    await page.getByLabel("Close it all the same").check();
    await page.getByLabel("Reason").fill("Google's bill is final");
    await page.getByRole("button", { name: "Close the month" }).click();
    await page.getByText(`${named(server.month)} is closed, by posting`).waitFor();
  });
  assert.deepEqual((await monthOf(server, server.month)).forced, obstacles);
  const second = await asked(server, `/statements/${server.month}.json`);
  assert.deepEqual([second.version, second.replaces], [2, first.number]);
  assert.ok(second.differences.length > 0);
  await on(`/close?month=${server.month}`, async (page) => {
    const forced = page.getByRole("region", { name: "Closed although" });
    assert.ok((await forced.innerText()).includes(obstacles[0].detail));
    await forced.getByText("Reason: Google's bill is final").waitFor();
    await expectStatement(page, second);
    const differences = await cells(page, "Differences of the statement", "Difference");
    assert.deepEqual(differences.map(([exact]) => exact), second.differences.map(({ difference }) => difference));
    await page.getByRole("link", { name: first.number, exact: true }).click();
    await page.getByRole("heading", { name: new RegExp(`^${first.number}`) }).waitFor();
    await settled(page);
    await expectStatement(page, first);
    const journal = await download(page, page.getByRole("button", { name: "Journal CSV" }).last());
    assert.equal(journal, await fileOf(server, `/statements/${server.month}/journal.csv?version=1`));
  });
  await everywhere("close-again", `/close?month=${server.month}`);
});
