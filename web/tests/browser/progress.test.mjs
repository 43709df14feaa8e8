// Long work on the pages: it shows how far it is, survives a reload, and can be given up.
import { test } from "node:test";
import assert from "node:assert/strict";
import { expectAccessible, expectWholeEverywhere, prepared, settled } from "./browser.mjs";
import { visit, withPeople } from "./every.mjs";
import { readDemo } from "./server.mjs";

const { server, browser, who } = await prepared(readDemo, withPeople);

const on = (at, run, options) => visit(browser, server, who, { at }, run, options);
const progressOf = (page, name) => page.getByRole("progressbar", { name, exact: true }).evaluate((bar) => [bar.getAttribute("value"), bar.max]);

test("a refresh of a source says how far it is, how fast, and when it ends, also after a reload", async () => {
  const source = { name: "bills", kind: "vercel", state: "ok", rows: 0, refresh: "running", progress: "collecting 2026-10", every_seconds: 86_400, settle_seconds: 0, changed_later: 0, rejected: 0, skipped_values: 0, warnings: [] };
  const started = new Date(Date.now() - 600_000).toISOString();
  let refresh_progress = null;
  let refresh = "running";
  const before = (page) => page.route(/\/api\/v1\/sources[?/]/, (route) => route.fulfill({ json: { rows: [{ ...source, refresh, refresh_progress }], next_cursor: null } }));
  await on("/data?r=7d", async (page) => {
    await settled(page, "Data");
    assert.deepEqual(await progressOf(page, "Reading bills"), [null, 1], "nobody said how much there is");
    refresh_progress = { done: 30, total: 61, unit: "day", started_at: started };
    await page.getByText(/^30 of 61 days, 1\d min, [23](\.\d)? days\/min, about 1\d min left$/).waitFor();
    assert.deepEqual(await progressOf(page, "Reading bills"), ["30", 61]);
    await page.getByText("collecting 2026-10").first().waitFor();
    await page.reload();
    await page.getByText(/^30 of 61 days, 1\d min/).waitFor();
    await expectWholeEverywhere(page, "data-under-way");
    refresh_progress = { done: 1, total: 3, unit: "billing_period", started_at: started };
    await page.getByText(/^1 of 3 billing periods, 1\d min/).waitFor();
    [refresh, refresh_progress] = ["succeeded", null];
    await page.getByRole("progressbar").waitFor({ state: "detached" });
    await page.getByRole("region", { name: "Sources, table", exact: true }).getByRole("button", { name: "Run now", exact: true }).waitFor();
  }, { before });
});

test("a refresh that somebody else begins later shows its progress too", async () => {
  const source = { name: "bills", kind: "vercel", state: "ok", rows: 0, refresh: null, refresh_progress: null, every_seconds: 86_400, settle_seconds: 0, changed_later: 0, rejected: 0, skipped_values: 0, warnings: [] };
  const before = async (page) => {
    await page.clock.install();
    await page.route(/\/api\/v1\/sources[?/]/, (route) => route.fulfill({ json: { rows: [source], next_cursor: null } }));
  };
  await on("/data?r=7d", async (page) => {
    await settled(page, "Data");
    assert.equal(await page.getByRole("progressbar").count(), 0);
    Object.assign(source, { refresh: "running", refresh_progress: { done: 1, total: 3, unit: "day", started_at: new Date().toISOString() } });
    await page.clock.fastForward("00:30");
    await page.getByText(/^1 of 3 days/).waitFor();
  }, { before });
});

/** Writes a draft of a rate card whose effect is not nothing. */
async function writeDraft(page, version) {
  await settled(page);
  await page.getByRole("button", { name: /^New draft/ }).click();
  const field = page.getByRole("textbox", { name: /TOML/ });
  await field.fill((await field.inputValue()).replace(/version = "[^"]+"/, `version = "${version}"`).replace("1.20", "1.60"));
  return field;
}
const effect = (page) => page.getByRole("region", { name: "Effect of the draft, table" });

test("a draft and the effect that was computed of it outlive a reload, which says so", async () => {
  await on("/rates?r=7d", async (page) => {
    const field = await writeDraft(page, "kept-1");
    const written = await field.inputValue();
    await page.getByRole("button", { name: /^Effect per/ }).click();
    await effect(page).waitFor();
    const before = await effect(page).innerText();
    let simulated = 0;
    page.on("request", (request) => (simulated += Number(request.url().includes("/simulate"))));
    await page.reload();
    await settled(page);
    assert.equal(await field.inputValue(), written);
    assert.equal(await effect(page).innerText(), before);
    await page.getByText(/^This draft was kept in this tab\. Its effect is that of /).waitFor();
    await page.getByText("✓ It can be used:").waitFor();
    assert.ok(await page.getByRole("button", { name: "Publish", exact: true }).isEnabled());
    assert.equal(simulated, 0);
    await expectAccessible(page, "draft kept");
    const asking = page.waitForRequest(/\/rate-cards\/simulate\?/);
    await page.getByRole("button", { name: "Compute it again" }).click();
    await asking;
    await effect(page).waitFor();
    await page.getByRole("button", { name: "Drop the draft" }).click();
    await page.reload();
    await settled(page);
    assert.equal(await field.count(), 0);
    assert.equal(await page.evaluate(() => Object.keys(sessionStorage).join()), "apportion.token");
  });
});

test("an effect that was being computed is computed anew after a reload, which says so, and can be given up", async () => {
  let isHeld = true;
  const before = (page) => page.route("**/api/v1/rate-cards/simulate?*", (route) => (isHeld ? undefined : route.fallback()));
  await on("/rates?r=7d", async (page) => {
    await writeDraft(page, "kept-2");
    await page.getByRole("button", { name: /^Effect per/ }).click();
    await page.getByRole("progressbar", { name: "Days computed" }).waitFor();
    await page.reload();
    await page.getByText("Its effect was not computed to the end, and is computed anew.").waitFor();
    await page.getByRole("progressbar", { name: "Days computed" }).waitFor();
    await page.getByRole("button", { name: "Cancel", exact: true }).click();
    await page.getByRole("progressbar").waitFor({ state: "detached" });
    isHeld = false;
    await page.reload();
    await page.getByText("This draft was kept in this tab.").waitFor();
    assert.equal(await effect(page).count(), 0, "nobody wants it any more");
    await page.getByRole("button", { name: /^Effect per/ }).click();
    await effect(page).waitFor();
  }, { before });
});

test("signing out forgets a draft and its effect", async () => {
  await on("/rates?r=7d", async (page) => {
    await writeDraft(page, "kept-3");
    await page.getByRole("button", { name: /^Effect per/ }).click();
    await effect(page).waitFor();
    await page.getByRole("button", { name: "Sign out" }).first().click();
    await page.getByRole("heading", { name: "Sign in" }).waitFor();
    assert.equal(await page.evaluate(() => sessionStorage.length), 0);
  });
});

test("an export that takes long can be given up, and asked for again", async () => {
  let isHeld = true;
  const before = (page) => page.route("**/api/v1/flows?*", (route) => (isHeld && route.request().headers().accept === "text/csv" ? undefined : route.fallback()));
  await on("/flow?r=7d", async (page) => {
    await settled(page);
    await page.getByRole("button", { name: "Export CSV" }).click();
    await page.getByRole("button", { name: "Cancel the export" }).click();
    await page.getByRole("button", { name: "Cancel the export" }).waitFor({ state: "detached" });
    assert.deepEqual(await page.getByRole("alert").allInnerTexts(), []);
    isHeld = false;
    const saved = page.waitForEvent("download");
    await page.getByRole("button", { name: "Export CSV" }).click();
    assert.match((await saved).suggestedFilename(), /^flow-.*\.csv$/);
  }, { before });
});

test("tenants are looked for by the server, and all of many are not read at once", async () => {
  const row = (at) => ({ id: `t-${at}`, name: `Tenant ${at}`, slug: null, plan: null, status: "active", aliases: [], owners: [], parent: null, cost_center: null, gl_account: null, billing_mode: "showback", entered_by: "put", created_at: "2026-01-01T00:00:00Z" });
  const asked = [];
  const before = (page) => page.route("**/api/v1/tenants?*", (route) => {
    const query = Object.fromEntries(new URL(route.request().url()).searchParams);
    asked.push(query);
    if (query.search === "nobody") return route.fulfill({ json: { rows: [], next_cursor: null } });
    if (query.search !== undefined) return route.fulfill({ json: { rows: [row(9_876)], next_cursor: null } });
    const from = Number(query.cursor ?? 0);
    const rows = Array.from({ length: Number(query.limit) }, (_, at) => row(from + at));
    return route.fulfill({ json: { rows, next_cursor: String(from + rows.length) } });
  });
  await on("/settings/tenants", async (page) => {
    await settled(page);
    assert.deepEqual(asked, [{ limit: "500" }]);
    await page.getByText("the first 500 by id").waitFor();
    await page.getByRole("button", { name: "Load 500 more from the server" }).click();
    await page.getByText("the first 1,000 by id").waitFor();
    await page.getByRole("searchbox").fill("98 76");
    await page.getByText("1 workspace", { exact: true }).waitFor();
    await settled(page);
    assert.deepEqual(asked.at(-1), { search: "98 76", limit: "500" });
    await page.getByRole("link", { name: "Tenant 9876" }).waitFor();
    await page.getByRole("searchbox").fill("nobody");
    await page.getByText("No workspace is like that.").waitFor();
    await page.keyboard.press("Control+k");
    asked.length = 0;
    await page.getByRole("combobox").fill("9876");
    await page.getByRole("option", { name: /Tenant 9876/ }).waitFor();
    assert.deepEqual(asked, [{ search: "9876", limit: "12" }]);
  }, { before });
});
