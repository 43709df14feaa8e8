// Long work on the pages: it shows how far it is, survives a reload, and can be given up.
import { test } from "node:test";
import assert from "node:assert/strict";
import { expectAccessible, expectWholeEverywhere, prepared, settled } from "./browser.mjs";
import { visit, withPeople } from "./every.mjs";
import { ask, readDemo } from "./server.mjs";

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

const minutesAgo = (minutes) => new Date(Date.now() - minutes * 60_000).toISOString();
const underWay = (page, name) => page.getByRole("listitem").filter({ has: page.getByRole("progressbar", { name: `Importing ${name}`, exact: true }) });
const noSuch = { type: "not_found", code: "not_found", title: "Not found", status: 404, detail: "no such import is under way", request_id: "req-1" };

test("imports that somebody else began say how far they are, also after a reload, and can be cancelled", async () => {
  const bill = { id: "refresh-0123456789abcdef", kind: "focus", source: "aws", started_at: minutesAgo(10), progress: { done: 1_048_576, total: 4_194_304, unit: "byte" } };
  const events = { id: "refresh-fedcba9876543210", kind: "events", source: "usage.ndjson", started_at: minutesAgo(10), progress: null };
  let rows = [bill, events];
  const posts = [];
  const asked = { imports: 0, reconciliation: 0 };
  const before = async (page) => {
    page.on("request", (request) => {
      const name = new URL(request.url()).pathname.split("/").at(-1);
      if (name in asked) asked[name] += 1;
    });
    await page.route(/\/api\/v1\/imports\/running/, (route) => {
      const request = route.request();
      if (request.method() === "GET") return route.fulfill({ json: { rows, next_cursor: null } });
      posts.push(`${request.method()} ${new URL(request.url()).pathname}`);
      return route.fulfill({ status: 202, json: bill });
    });
  };
  const hasFocus = (place) => place.evaluate((element) => element === document.activeElement);
  await on("/data?r=7d", async (page) => {
    await settled(page, "Data");
    const ofBill = /^1\.05 MB of 4\.19 MB, 1\d min, 1\.\d+ kB\/s, about [34]\d min left$/;
    await underWay(page, "aws").getByText(ofBill).waitFor();
    await underWay(page, "aws").getByText("aws", { exact: true }).waitFor();
    assert.deepEqual(await progressOf(page, "Importing aws"), ["1048576", 4_194_304]);
    await underWay(page, "usage.ndjson").getByText(/^1\d min$/).waitFor();
    events.progress = { done: 12_345, total: 0, unit: "event" };
    await underWay(page, "usage.ndjson").getByText(/^12,345 events, 1\d min, [12]\d events\/s$/).waitFor();
    assert.deepEqual(await progressOf(page, "Importing usage.ndjson"), [null, 1], "nobody knows how many there are");
    await page.reload();
    await underWay(page, "aws").getByText(ofBill).waitFor();
    await underWay(page, "usage.ndjson").getByText(/^12,345 events, /).waitFor();
    await expectWholeEverywhere(page, "imports-under-way");

    await underWay(page, "aws").getByRole("button", { name: "Cancel", exact: true }).focus();
    await page.keyboard.press("Enter");
    const ending = underWay(page, "aws").getByRole("button", { name: "Cancelling …", exact: true });
    await ending.waitFor();
    assert.ok(await hasFocus(ending));
    await page.keyboard.press("Enter");
    bill.progress.done = 2_097_152;
    await underWay(page, "aws").getByText(/^2\.1 MB of 4\.19 MB, /).waitFor();
    assert.ok(await hasFocus(ending), "it is under way until the server says that it is not");
    assert.deepEqual(posts, ["POST /api/v1/imports/running/refresh-0123456789abcdef/cancel"]);
    const known = { ...asked };
    rows = [events];
    const said = page.getByText("aws: cancelled, unless it had ended before. What was stored of it stands below.");
    await said.waitFor();
    await settled(page, "Data");
    assert.deepEqual(asked, { imports: known.imports + 1, reconciliation: known.reconciliation + 1 });
    assert.equal(await underWay(page, "aws").count(), 0);
    assert.ok(await hasFocus(said), "who was at the button is at the line that says what came of it");
    await underWay(page, "usage.ndjson").getByRole("button", { name: "Cancel", exact: true }).waitFor();
    rows = [];
    await page.getByText("usage.ndjson is no longer being imported. What was stored of it stands below.").waitFor();
    await settled(page, "Data");
    assert.deepEqual(asked, { imports: known.imports + 2, reconciliation: known.reconciliation + 2 });
    assert.equal(await page.getByRole("progressbar").count(), 0);
    await expectAccessible(page, "imports, none under way");
  }, { before });
});

test("an import that somebody begins later is shown to who may not cancel it too, without a button", async () => {
  const { token } = await ask(server, "/tokens", { method: "POST", body: { role: "finance", name: "reader" } });
  let rows = [];
  const before = async (page) => {
    await page.clock.install();
    await page.route(/\/api\/v1\/imports\/running/, (route) => route.fulfill({ json: { rows, next_cursor: null } }));
  };
  await on("/data?r=7d", async (page) => {
    await settled(page, "Data");
    assert.equal(await page.getByRole("progressbar").count(), 0);
    rows = [{ id: "refresh-0123456789abcdef", kind: "focus", source: "aws", started_at: minutesAgo(10), progress: { done: 1_048_576, total: 4_194_304, unit: "byte" } }];
    await page.clock.fastForward("00:30");
    await underWay(page, "aws").getByText(/^1\.05 MB of 4\.19 MB, /).waitFor();
    assert.equal(await underWay(page, "aws").getByRole("button").count(), 0);
  }, { before, token });
});

test("an import that is over cannot be cancelled any more, a cancel that fails says so, and a look that fails leaves it in sight", async () => {
  const bill = { id: "refresh-0123456789abcdef", kind: "focus", source: "aws", started_at: minutesAgo(10), progress: null };
  const internal = { ...noSuch, type: "internal", code: "internal", title: "Internal error", status: 500, detail: "on purpose" };
  const refused = (route, problem) => route.fulfill({ status: problem.status, contentType: "application/problem+json", body: JSON.stringify(problem) });
  let rows = [bill];
  let fails = null;
  const before = (page) => page.route(/\/api\/v1\/imports\/running/, (route) => {
    if (route.request().method() === "GET" && fails === "look") return refused(route, internal);
    if (route.request().method() === "GET") return route.fulfill({ json: { rows, next_cursor: null } });
    if (fails === "cancel") return refused(route, internal);
    rows = [];
    return refused(route, noSuch);
  });
  await on("/data?r=7d", async (page) => {
    await settled(page, "Data");
    const cancel = underWay(page, "aws").getByRole("button", { name: "Cancel", exact: true });
    await cancel.waitFor();
    fails = "look";
    await page.getByRole("alert").getByText("on purpose").waitFor();
    await cancel.waitFor();
    fails = "cancel";
    await page.getByRole("alert").waitFor({ state: "detached" });
    await cancel.click();
    await page.getByText("aws was not cancelled: on purpose (internal)").waitFor();
    fails = null;
    await cancel.click();
    await page.getByText("aws is no longer being imported. What was stored of it stands below.").waitFor();
    assert.equal(await page.getByRole("progressbar").count(), 0);
  }, { before, allow: /status of 500/ });
});

test("a server that does not know what is imported still has the page", async () => {
  const before = (page) => page.route(/\/api\/v1\/imports\/running/, (route) => route.fulfill({ status: 404, contentType: "application/problem+json", body: JSON.stringify(noSuch) }));
  await on("/data?r=7d", async (page) => {
    await settled(page, "Data");
    await page.getByRole("region", { name: "Imports, table", exact: true }).waitFor();
    assert.equal(await page.getByRole("progressbar").count(), 0);
    assert.deepEqual(await page.getByRole("alert").allInnerTexts(), []);
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
