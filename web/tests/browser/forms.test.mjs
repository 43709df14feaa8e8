// What is entered on the pages: adjustments, invoices, which bills are final. By the real server, roles and refusals too.
import { before, test } from "node:test";
import assert from "node:assert/strict";
import { expectAccessible, expectNoSidewaysScroll, picture, prepared, settled } from "./browser.mjs";
import { visit, withPeople } from "./every.mjs";
import { ask, startDemo } from "./server.mjs";

const { server, browser, who } = await prepared(startDemo, withPeople);
const tokens = {};
before(async () => {
  for (const role of ["finance", "admin"]) tokens[role] = (await ask(server, "/tokens", { method: "POST", body: { role, name: role } })).token;
});

const on = (at, run, options) => visit(browser, server, who, { at }, async (page) => { await settled(page); await run(page); }, options);
const audited = async (action) => (await ask(server, "/audit?limit=50")).rows.filter((row) => row.action === action);

test("an adjustment shows its effect, is refused in words, is booked once, and stands in ledger and audit", async () => {
  const { rows } = await ask(server, "/costs?range=30d&group_by=tenant&limit=20");
  const [from, to] = rows.map(({ key }) => key.tenant).filter((tenant) => !tenant.startsWith("__"));
  const { meta } = await ask(server, "/costs?range=7d&group_by=tenant&limit=1");
  const day = meta.data_through;
  const costOf = async (tenant) => (await ask(server, `/costs?from=${day}&to=${day}&group_by=tenant&filter=${encodeURIComponent(`tenant:"${tenant}"`)}`)).totals.cost;
  const [fromCost, toCost] = await Promise.all([costOf(from), costOf(to)]);
  let fails = true;
  const sent = [];
  await on("/ledger", async (page) => {
    await page.getByRole("button", { name: "Adjust", exact: true }).click();
    await page.getByLabel("From, pays less").fill(from);
    await page.getByLabel("To, pays more").fill(from);
    await page.getByText("Name two workspaces").waitFor();
    assert.ok(await page.getByRole("button", { name: "Show the effect" }).isDisabled());
    await page.getByLabel("To, pays more").fill(to);
    await page.getByLabel("Amount").fill("-1");
    await page.getByText("swap the two").waitFor();
    await page.getByLabel("Amount").fill("0.25");
    await page.getByLabel("Day whose cost is corrected").fill(day);
    await page.getByLabel("Decided in").fill("FIN-12");
    await page.getByLabel(/^Reason/).fill("wrong tag");
    await page.getByRole("button", { name: "Show the effect" }).click();
    const effect = page.locator(".effect");
    await effect.waitFor();
    const scaled = (text) => { const [whole, part = ""] = text.split("."); return BigInt(whole + part.padEnd(15, "0")); };
    const titles = await effect.locator("[title]").evaluateAll((all) => all.map((one) => one.title.replace(" USD", "")));
    assert.deepEqual(titles.map(scaled), [scaled(fromCost), scaled(fromCost) - scaled("0.25"), scaled(toCost), scaled(toCost) + scaled("0.25")]);
    await expectAccessible(page, "adjustment");
    await picture(page, "adjust");
    assert.deepEqual(await audited("adjustment.add"), [], "a look books nothing");
    await page.getByRole("button", { name: "Book it" }).click();
    await page.getByRole("dialog").getByText("could not be reached").waitFor();
    fails = false;
    await page.getByRole("button", { name: "Book it" }).click();
    await page.getByText("$0.25 moved").waitFor();
    assert.equal(new Set(sent).size, 1, "both tries are one request to the server");
    assert.equal(await page.locator("dialog[open]").count(), 0);
    const [entry] = await audited("adjustment.add");
    assert.deepEqual([entry.after.from_tenant, entry.after.amount, entry.after.reference], [from, "0.25", "FIN-12"]);
    await page.getByRole("link", { name: "It stands in the audit log" }).click();
    await page.getByRole("row", { name: /adjustment\.add/ }).waitFor();
    await page.goBack();
    await settled(page);
  }, {
    allow: /ERR_CONNECTION/,
    before: (page) => page.route("**/api/v1/adjustments", (route) => {
      sent.push(route.request().headers()["idempotency-key"]);
      return fails ? route.abort("connectionrefused") : route.fallback();
    }),
  });
  assert.equal(scaledEqual(await costOf(from), fromCost, "0.25"), true);
});

/** Whether `now` is `before` less `amount`. */
function scaledEqual(now, before, amount) {
  const scaled = (text) => { const [whole, part = ""] = text.split("."); return BigInt(whole + part.padEnd(15, "0")); };
  return scaled(now) === scaled(before) - scaled(amount);
}

test("a tenant that does not exist is refused by the server, and the form keeps what was entered", async () => {
  await on("/ledger", async (page) => {
    await page.getByRole("button", { name: "Adjust", exact: true }).click();
    await page.getByLabel("From, pays less").fill("nobody-here");
    await page.getByLabel("To, pays more").fill(who.largest);
    await page.getByLabel("Amount").fill("1");
    await page.getByLabel("Decided in").fill("FIN-13");
    await page.getByLabel(/^Reason/).fill("wrong");
    await page.getByRole("button", { name: "Show the effect" }).click();
    await page.getByRole("button", { name: "Book it" }).click();
    await page.getByRole("dialog").getByRole("alert").getByText(/nobody-here/).waitFor();
    assert.equal(await page.getByLabel("From, pays less").inputValue(), "nobody-here");
  }, { allow: /status of (404|409|422)/ });
});

test("finance enters an invoice, sees what it differs by, and changes it", async () => {
  const { rows: [bill] } = await ask(server, "/reconciliation?range=30d&limit=100");
  await on("/data", async (page) => {
    await page.getByRole("button", { name: "Enter an invoice" }).click();
    const dialog = page.getByRole("dialog");
    await dialog.getByLabel("Source").fill(bill.source);
    await dialog.getByLabel("Billing period").fill(bill.billing_period);
    await dialog.getByLabel("Number of the invoice").fill(bill.invoice_id ?? "INV-1");
    await dialog.getByLabel("Total").fill("many");
    await dialog.getByText("The total is a number").waitFor();
    await dialog.getByLabel("Total").fill(bill.billed);
    await dialog.getByLabel("Currency").fill(bill.currency);
    await dialog.getByText("no difference").waitFor();
    await dialog.getByLabel("Total").fill("1.5");
    await dialog.getByText("on the invoice").waitFor();
    await expectAccessible(page, "invoice");
    await expectNoSidewaysScroll(page, "invoice");
    await dialog.getByRole("button", { name: "Store" }).click();
    await page.getByText(/is entered with \$1\.50/).waitFor();
    await page.getByRole("region", { name: "Invoices, table" }).getByRole("button", { name: "Change" }).last().click();
    assert.ok(await dialog.getByLabel("Source").getAttribute("readonly") !== null);
    await dialog.getByLabel("Total").fill("2.5");
    await dialog.getByText("It replaces $1.50").waitFor();
    await dialog.getByRole("button", { name: "Store" }).click();
    await page.getByText(/is entered with \$2\.50/).waitFor();
  }, { token: tokens.finance, width: 320 });
  const { rows } = await ask(server, "/invoices?limit=100");
  assert.deepEqual(rows.map(({ source, total }) => [source, Number(total)]), [[bill.source, 2.5]]);
  assert.equal((await audited("invoice.put")).length, 2);
});

test("finance declares a bill final and reopens it; the state is the server's", async () => {
  const { rows: [first] } = await ask(server, "/source-periods?limit=100");
  await on("/data", async (page) => {
    const table = page.getByRole("region", { name: "Billing periods of the sources, table" });
    await page.getByRole("button", { name: "Say of another" }).click();
    const dialog = page.getByRole("dialog");
    await dialog.getByLabel("Source").fill(first.source);
    await dialog.getByLabel("Billing period").fill(first.billing_period);
    await dialog.getByText(/^Now: /).waitFor();
    await dialog.getByLabel("Note").fill("letter of the provider");
    await expectAccessible(page, "billing period");
    await picture(page, "billing-period");
    await dialog.getByRole("button", { name: "Declare final" }).click();
    await page.getByText("is final from now on").waitFor();
    assert.ok((await ask(server, `/source-periods?source=${first.source}&month=${first.billing_period}`)).rows.every(({ state, said_by: by }) => state === "closed" && by === "person"));
    await table.getByRole("row", { name: /letter of the provider/ }).getByRole("button", { name: "Reopen" }).first().click();
    await dialog.getByRole("button", { name: "Reopen", exact: true }).click();
    await page.getByText("is open from now on").waitFor();
  }, { token: tokens.finance });
  assert.equal((await audited("source_periods.put")).length, 2);
});

test("who may only read sees the tables and no form", async () => {
  await on("/data", async (page) => {
    await page.getByRole("heading", { name: /^Invoices/ }).waitFor();
    for (const name of ["Enter an invoice", "Say of another", "Declare final", "Reopen", "Change"]) assert.equal(await page.getByRole("button", { name, exact: true }).count(), 0, name);
    await page.getByRole("link", { name: "Ledger", exact: true }).click();
    await settled(page, "Ledger");
    assert.equal(await page.getByRole("button", { name: "Adjust", exact: true }).count(), 0);
  }, { token: tokens.admin });
});

test("finance sees what a cluster costs each tenant, and nothing that it may not", async () => {
  const day = (await ask(server, "/costs?range=7d&group_by=tenant&limit=1")).meta.data_through;
  const costs = await ask(server, `/costs?from=${day}&to=${day}&group_by=tenant&filter=${encodeURIComponent('pool:"shared-west-us"')}&limit=1000`);
  const expected = costs.rows.filter(({ key }) => !key.tenant.startsWith("__")).map(({ cost }) => `${cost} USD`);
  await on(`/clusters?r=7d`, async (page) => {
    await page.getByRole("link", { name: "shared-west-us" }).click();
    await page.waitForURL(/\/clusters\/shared-west-us/);
    await settled(page);
    assert.deepEqual(await page.getByRole("alert").allInnerTexts(), []);
    assert.equal(await page.getByRole("button", { name: "Attribute now" }).count(), 0);
    await page.getByLabel("Day", { exact: true }).fill(day);
    await settled(page);
    assert.ok(expected.length > 0);
    assert.deepEqual((await page.locator('td[data-label="Cost"][data-exact] button.press').evaluateAll((all) => all.map((button) => button.closest("td").dataset.exact))).map((cost) => `${cost} USD`), expected.slice(0, 50));
  }, { token: tokens.finance });
});
