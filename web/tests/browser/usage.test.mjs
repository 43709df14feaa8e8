// `/settings/usage`: what a tenant sees of itself.
import { test } from "node:test";
import assert from "node:assert/strict";
import { expectAccessible, expectWholeEverywhere, open, prepared, queried, settled } from "./browser.mjs";
import { Fixture } from "./fixtures.mjs";
import { readDemo } from "./server.mjs";

const { server, browser } = await prepared(readDemo);

async function on(fixture, address, run, options = {}) {
  const opened = await open(browser, server, options);
  await opened.page.route("**/api/v1/**", (route) => fixture.answer(route));
  try {
    await opened.page.goto(`${server.url}${address}`);
    await run(opened.page);
    assert.deepEqual(opened.faults, []);
  } finally {
    await opened.close();
  }
}

test("an owner sees own snapshots and own posted cost, and no name of a neighbour", async () => {
  const fixture = new Fixture({ role: "tenant_owner", own: ["initech"] });
  await on(fixture, "/", async (page) => {
    await page.getByRole("heading", { name: "Usage of initech" }).waitFor();
    await page.locator("figure").nth(8).waitFor();
    await settled(page);
    const days = { from: "2026-10-30", to: "2026-11-28", filter: "tenant:initech" };
    const [current, posted] = ["current_rates", "posted"].map((view) => fixture.costs({ ...days, view }).rows[0]);
    assert.equal(await page.locator(".facts div", { hasText: "estimate, not a bill" }).locator("dd").getAttribute("title"), `${current.cost} USD`);
    assert.equal(await page.locator(".facts div", { hasText: "Posted to you" }).locator("dd").getAttribute("title"), `${posted.cost} USD`);
    const calls = page.getByRole("row", { name: /API calls/ });
    assert.match(await calls.innerText(), /step Nov 19/);
    assert.doesNotMatch(await page.locator("body").innerText(), /Acme|Globex/i);
    assert.ok(fixture.calls.every((call) => /settings|costs|snapshots$/.test(call)), fixture.calls.join());
  });
});

test("an owner of two chooses between them", async () => {
  await on(new Fixture({ role: "tenant_owner", own: ["acme", "globex"] }), "/settings/usage", async (page) => {
    await page.getByRole("heading", { name: "Usage of acme" }).waitFor();
    await page.getByLabel("Workspace").selectOption("globex");
    await page.getByRole("heading", { name: "Usage of globex" }).waitFor();
    await queried(page, "?tenant=globex");
  });
});

test("before the first snapshot the page says when it comes", async () => {
  await on(new Fixture({ role: "tenant_viewer", own: ["acme"], isEmpty: true }), "/settings/usage", async (page) => {
    await page.getByText("The snapshot job runs every night at 00:10 UTC").waitFor();
    await expectAccessible(page, "empty");
  });
});

test("a platform admin is led to the page of all", async () => {
  await on(new Fixture(), "/settings/usage", async (page) => {
    await page.getByRole("link", { name: "Platform › Cost" }).click();
    await page.getByRole("heading", { name: "Cost by workspace" }).waitFor();
  });
});

test("axe finds nothing and nothing scrolls sideways, in both themes at both widths", async () => {
  await on(new Fixture({ role: "tenant_owner", own: ["initech", "hooli"] }), "/settings/usage", async (page) => {
    await page.locator("figure").nth(8).waitFor();
    await expectWholeEverywhere(page, "usage");
  }, { height: 800 });
});
