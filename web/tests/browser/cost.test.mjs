// `/platform/cost` with answers of the API as the interface describes them, in front of the real binary's pages.
import { test } from "node:test";
import assert from "node:assert/strict";
import { readFile } from "node:fs/promises";
import { expectAccessible, expectWholeEverywhere, open, prepared, queried, settled } from "./browser.mjs";
import { Fixture, RUNAWAY } from "./fixtures.mjs";
import { readDemo } from "./server.mjs";

const { server, browser } = await prepared(readDemo);

/** Opens the page over a fixture, waits for its rows, runs, and expects no fault. */
async function on(fixture, address, run, options = {}) {
  const opened = await open(browser, server, options);
  const { page, faults } = opened;
  await page.route("**/api/v1/**", (route) => fixture.answer(route));
  try {
    await page.goto(`${server.url}${address}`);
    await run(page, opened);
    assert.deepEqual(faults, []);
  } finally {
    await opened.close();
  }
}

const rows = (page) => page.locator("tbody tr.row");
const names = (page) => page.locator("tbody button.name").allInnerTexts();
const exact = (page, column) => page.locator(`tbody td.${column}`).evaluateAll((cells) => cells.map((cell) => cell.dataset.exact));
const loaded = (page) => rows(page).first().waitFor();
const head = (page, name) => page.getByRole("columnheader", { name, exact: true });

test("the leaderboard is the API's answer: most expensive first, every digit kept, shares at the right", async () => {
  const fixture = new Fixture();
  await on(fixture, "/platform/cost", async (page) => {
    await loaded(page);
    const answer = fixture.costs({ from: "2026-10-30", to: "2026-11-28", view: "current_rates", limit: "10000" });
    assert.deepEqual(await exact(page, "cost"), answer.rows.map((row) => row.cost));
    assert.equal((await names(page))[0], "Acme");
    const heads = await page.locator("thead th").allInnerTexts();
    assert.match(heads.at(-1), /% of total/);
    assert.ok(heads.some((text) => text.replace(/\s+/g, " ").includes("API calls / 24h")), heads.join());
    assert.ok(heads.some((text) => text.includes("Cost (USD)")));
    assert.equal(await head(page, "Cost (USD)").getAttribute("aria-sort"), "descending");
    const widths = await page.locator("td.share").evaluateAll((cells) => cells.map((cell) => Number(/([\d.]+)%/.exec(getComputedStyle(cell).backgroundSize)[1])));
    assert.ok(widths[0] > widths[1] && widths.at(-1) > 0, widths.join());
    const shown = Number(answer.totals.cost).toLocaleString("en-US", { style: "currency", currency: "USD" });
    assert.equal(await page.locator(".views .on strong").innerText(), shown);
  });
});

test("every column sorts, a second click turns it, Shift adds one; the address keeps it", async () => {
  await on(new Fixture(), "/platform/cost", async (page) => {
    await loaded(page);
    for (const column of await page.locator("thead th button").all()) {
      await column.click();
      assert.match(await column.locator("..").getAttribute("aria-sort"), /ascending|descending/);
      const first = await names(page);
      await column.click();
      const second = await names(page);
      assert.notDeepEqual(first, second, await column.innerText());
    }
    await head(page, "Workspace").getByRole("button").click();
    assert.deepEqual((await names(page)).slice(0, 2), ["Acme", "Aperture Science"]);
    await queried(page, "?s=workspace");
    await head(page, "Incidents / 24h").getByRole("button").click();
    await head(page, "Cost (USD)").getByRole("button").click({ modifiers: ["Shift"] });
    await queried(page, "?s=-incident_count_24h,-cost");
    const order = await names(page);
    await page.reload();
    await loaded(page);
    await page.waitForFunction(() => document.querySelectorAll("thead th").length > 5);
    assert.deepEqual(await names(page), order);
  });
});

test("periods, a month, a custom range and the arrows choose the days; wrong days say why", async () => {
  await on(new Fixture(), "/platform/cost", async (page) => {
    await loaded(page);
    const asked = () => page.locator(".said").innerText();
    for (const [period, from] of [["7 days", "Nov 22"], ["90 days", "Aug 31"], ["365 days", "Nov 29, 2025"], ["30 days", "Oct 30"]]) {
      await page.getByRole("button", { name: period, exact: true }).click();
      assert.ok((await asked()).startsWith(from), `${period}: ${await asked()}`);
    }
    await queried(page, ""); // the default leaves no trace
    await page.getByRole("button", { name: "Custom range" }).click();
    await page.getByRole("button", { name: "October 2026" }).click();
    await queried(page, "?r=2026-10");
    assert.match(await asked(), /Oct 1 . 31, 2026/);
    await page.getByRole("button", { name: "Custom range" }).click();
    await page.getByLabel("From").fill("2026-11-10");
    await page.getByLabel("To, included").fill("2026-11-09");
    assert.equal(await page.getByText("The last day lies before the first.").count(), 1);
    assert.ok(await page.getByRole("button", { name: "Show", exact: true }).isDisabled());
    await page.getByLabel("To, included").fill("2026-11-12");
    await page.getByRole("button", { name: "Show", exact: true }).click();
    await queried(page, "?r=2026-11-10..2026-11-12");
    await page.locator("body").press("ArrowLeft");
    await queried(page, "?r=2026-11-07..2026-11-09");
    await page.goBack();
    await queried(page, "?r=2026-11-10..2026-11-12");
  });
});

test("both totals stand side by side with the factor between them; posted is one click away", async () => {
  const fixture = new Fixture();
  const costs = fixture.costs.bind(fixture);
  const asked = [];
  fixture.costs = (query) => asked.push(query) && costs(query);
  const rowsAsked = (view) => asked.filter((query) => query.view === view && query.limit === "10000").length;
  await on(fixture, "/platform/cost", async (page) => {
    await loaded(page);
    const days = { from: "2026-10-30", to: "2026-11-28", limit: "10000" };
    const [estimate, posted] = ["current_rates", "posted"].map((view) => costs({ ...days, view }));
    assert.deepEqual([rowsAsked("current_rates"), rowsAsked("posted")], [1, 0], "of what is not shown only the total is asked for");
    const titles = await page.locator(".views strong").evaluateAll((all) => all.map((strong) => strong.title));
    assert.deepEqual(titles, [`${estimate.totals.cost} USD`, `${posted.totals.cost} USD`]);
    const facts = await page.locator(".facts dd").allInnerTexts();
    assert.deepEqual(facts.slice(0, 2), [Number(estimate.meta.posted).toLocaleString("en-US", { style: "currency", currency: "USD" }), "× 0.9800"]);
    assert.equal(await page.getByText("estimate, not a bill").count(), 2);
    await page.getByRole("button", { name: /^Posted/ }).click();
    await queried(page, "?view=posted");
    await page.getByRole("button", { name: /^Posted/, pressed: true }).waitFor();
    assert.deepEqual(await exact(page, "cost"), posted.rows.map((row) => row.cost));
    await page.getByRole("button", { name: /^At current rates/ }).click();
    await page.getByRole("button", { name: /^At current rates/, pressed: true }).waitFor();
    assert.deepEqual(await exact(page, "cost"), estimate.rows.map((row) => row.cost));
    assert.deepEqual([rowsAsked("current_rates"), rowsAsked("posted")], [1, 1], "what was shown once is not asked for again");
  });
});

test("who goes back before the rows of the other view have come has the chart of what is shown", async () => {
  const fixture = new Fixture();
  let release;
  const held = new Promise((resolve) => (release = resolve));
  await on(fixture, "/platform/cost?r=7d", async (page) => {
    await loaded(page);
    await page.getByText("Cost per day (USD), at current rates").first().waitFor();
    const rowsOfPosted = /\/api\/v1\/costs\?(?=.*view=posted)(?=.*limit=10000)/;
    await page.route(rowsOfPosted, async (route) => {
      await held;
      await route.fallback();
    });
    await Promise.all([page.waitForRequest(rowsOfPosted), page.getByRole("button", { name: /^Posted/ }).click()]);
    await page.getByRole("button", { name: /^At current rates/ }).click();
    await queried(page, "?r=7d");
    release();
    await settled(page);
    const [{ cost }] = fixture.costs({ from: "2026-11-22", to: "2026-11-28", view: "current_rates" }).rows;
    assert.equal(await page.locator('.legend [data-layer="0"] [data-exact]').first().getAttribute("data-exact"), `${cost} USD`);
    assert.equal(await page.getByText("Cost per day (USD), posted").count(), 0);
  });
});

test("an earlier state is asked of the posted view alone, and the page says what is of then and what of now", async () => {
  const fixture = new Fixture();
  const asked = [];
  const costs = fixture.costs.bind(fixture);
  fixture.costs = (query) => asked.push(query) && costs(query);
  await on(fixture, "/platform/cost?asof=2026-11-20", async (page) => {
    await loaded(page);
    await page.getByText("As it stands now, not as the ledger stood at 2026-11-20.").waitFor();
    await page.getByRole("button", { name: /^Posted/ }).click();
    await page.getByText("As the ledger stood at 2026-11-20.").waitFor();
    await page.getByText("Cost per day (USD), posted").first().waitFor();
    const [download] = await Promise.all([page.waitForEvent("download"), page.getByRole("button", { name: "Export CSV" }).click()]);
    assert.match(download.suggestedFilename(), /^apportion-costs-/, "the export of usage has no earlier state");
    assert.ok(asked.some(({ view }) => view === "posted") && asked.some(({ view }) => view === "current_rates"));
    for (const { view, as_of } of asked) assert.equal(as_of, view === "posted" ? "2026-11-20" : undefined, view);
    await expectAccessible(page, "an earlier state");
    asked.length = 0;
    await page.getByRole("button", { name: "Show it as it stands now" }).click();
    await queried(page, "?view=posted");
    await page.waitForFunction(() => document.querySelectorAll(".notice, .busy").length === 0);
    assert.ok(asked.length > 0 && asked.every(({ as_of }) => as_of === undefined));
  });
});

test("a row expands to a line per metric, with its step and the workspace's links", async () => {
  const fixture = new Fixture();
  await on(fixture, `/platform/cost?r=90d`, async (page) => {
    await loaded(page);
    const mark = page.locator("tr.row", { hasText: "Initech" }).getByRole("img", { name: /^step on / });
    await mark.first().waitFor();
    await page.locator("tr.row").getByRole("button", { name: "Initech", exact: true }).click();
    await queried(page, /x=initech/);
    const lines = page.locator(".detail figure");
    await lines.nth(8).waitFor();
    assert.equal(await lines.count(), 9);
    const calls = page.locator(".detail").getByRole("img", { name: /^API calls \/ 24h, 90 days: last .*, highest .*, step on Nov 19, 2026$/ });
    assert.equal(await calls.count(), 1, RUNAWAY.metric);
    const links = page.getByRole("list", { name: "Links of Initech" }).getByRole("link");
    assert.equal(await links.count(), 1);
    assert.equal(await links.first().getAttribute("href"), "https://app.example/initech/integrations");
    assert.equal(await links.first().getAttribute("rel"), "noopener noreferrer");
    await page.locator("tr.row").getByRole("button", { name: "Initech", exact: true }).click();
    assert.equal(await page.locator(".detail").count(), 0);
  });
});

test("which metric made a day jump: the day's bar, and the row of the workspace, two clicks", async () => {
  const fixture = new Fixture();
  await on(fixture, "/platform/cost", async (page) => {
    await loaded(page);
    const day = new Date(fixture.runawayDay).toLocaleDateString("en-US", { timeZone: "UTC", month: "short", day: "numeric" });
    await page.locator("g.bar").filter({ has: page.locator("title", { hasText: new RegExp(`^${day}, `) }) }).click();
    await queried(page, `?r=${fixture.runawayDay}..${fixture.runawayDay}`);
    const row = rows(page).filter({ has: page.getByRole("button", { name: "Initech", exact: true }) });
    await row.getByRole("img", { name: `step on ${day}` }).waitFor();
    assert.equal(await row.locator("td:has([role=img][aria-label^=step])").first().getAttribute("data-label"), "API calls / 24h");
    assert.match(await row.locator("td.change").innerText(), /^\+/, "against the day before");
    await row.getByRole("button", { name: "Initech", exact: true }).click();
    await page.locator("figure", { hasText: "API calls / 24h" }).getByText(`step ${day}`).waitFor();
  });
});

test("counters say average and peak, degraded values are marked, names stay text", async () => {
  await on(new Fixture(), "/platform/cost", async (page) => {
    await loaded(page);
    const cell = page.locator("tr.row", { hasText: "Acme" }).locator('td[data-label="API calls / 24h"]');
    await page.waitForFunction(() => document.querySelector('td[data-label="API calls / 24h"]')?.title.includes("peak"));
    assert.match(await cell.getAttribute("title"), /^\d+\ndaily average .+\npeak .+ on .+2026$/);
    const degraded = page.locator("tr.row", { hasText: "Hooli" }).getByRole("img", { name: "1 days degraded or missing" });
    assert.equal(await degraded.count(), 1);
    assert.ok((await names(page)).includes("Monsters & Sons <b>"));
  });
});

test("Export CSV gives the server's file under the server's name", async () => {
  const fixture = new Fixture();
  await on(fixture, "/platform/cost?r=2026-10", async (page) => {
    await loaded(page);
    const [download] = await Promise.all([page.waitForEvent("download"), page.getByRole("button", { name: "Export CSV" }).click()]);
    assert.equal(download.suggestedFilename(), "vigilo-usage-20261001-20261031.csv");
    assert.equal(await readFile(await download.path(), "utf8"), fixture.csv({ from: "2026-10-01", to: "2026-10-31" }));
  });
});

test("a run that is under way is followed after a reload as well", async () => {
  const fixture = new Fixture({ withToday: false });
  fixture.running = true;
  await on(fixture, "/platform/cost", async (page) => {
    await page.getByText("23 workspaces measured, 1 not.").waitFor();
    assert.ok(fixture.calls.includes("GET /snapshots/runs/snap-1/events"));
    assert.ok(!fixture.calls.includes("POST /snapshots/run"));
  });
});

test("a run that is under way can be cancelled", async () => {
  const fixture = new Fixture({ withToday: false });
  [fixture.running, fixture.untilCancelled] = [true, true];
  await on(fixture, "/platform/cost", async (page) => {
    await page.getByRole("button", { name: "Cancel" }).click();
    await page.getByText("Cancelled: the rest keeps what it had.").waitFor();
    assert.ok(fixture.calls.includes("POST /snapshots/runs/snap-1/cancel"));
  });
});

test("nothing for today says why and runs the job; the page is whole again in two clicks", async () => {
  const fixture = new Fixture({ isEmpty: true, withToday: false });
  await on(fixture, "/platform/cost", async (page) => {
    await page.getByText("The leaderboard is empty for today: the snapshot job runs at 00:10 UTC, next Nov 29, 00:10.").waitFor();
    await page.getByText("Nothing was measured in these days").waitFor();
    await expectAccessible(page, "empty");
    await page.getByRole("button", { name: "Run now" }).click();
    await loaded(page);
    await page.getByText("23 workspaces measured, 1 not.").waitFor();
    await page.getByText("bluth: statement timeout").waitFor();
    await page.getByText("The leaderboard is empty for today").waitFor({ state: "detached" });
    assert.ok(fixture.calls.includes("POST /snapshots/run"));
    assert.equal(await rows(page).count(), 24);
  });
});

test("a failed question says what the server said, with its request id, and can be asked again", async () => {
  const fixture = new Fixture();
  let fails = true;
  const answer = fixture.answer.bind(fixture);
  const problem = { code: "unavailable", title: "Unavailable", status: 503, detail: "the question took too long", request_id: "req-77" };
  fixture.answer = (route) => {
    if (!fails || !route.request().url().includes("/costs?")) return answer(route);
    return route.fulfill({ status: 503, contentType: "application/problem+json", body: JSON.stringify(problem) });
  };
  await on(fixture, "/platform/cost", async (page) => {
    await page.getByText("req-77").first().waitFor();
    fails = false;
    await page.getByRole("button", { name: "Try again" }).first().click();
    await loaded(page);
  }, { allow: /status of 503/ });
});

test("everything can be done by keyboard", async () => {
  await on(new Fixture(), "/platform/cost", async (page) => {
    await loaded(page);
    const body = page.locator("body");
    await body.press("j");
    await body.press("j");
    assert.equal(await page.evaluate(() => document.activeElement.innerText), "Globex");
    await page.keyboard.press("Enter");
    await page.locator(".detail").waitFor();
    await page.keyboard.press("k");
    assert.equal(await page.evaluate(() => document.activeElement.innerText), "Acme");
    await page.keyboard.press("/");
    await page.keyboard.type("way");
    await page.waitForFunction(() => document.querySelectorAll("tbody tr.row").length === 1);
    assert.deepEqual(await names(page), ["Wayne Enterprises"]);
    await page.keyboard.press("Escape");
    await page.waitForFunction(() => document.querySelectorAll("tbody tr.row").length === 24);
    await page.evaluate(() => document.activeElement.blur());
    await page.keyboard.press("?");
    await page.getByRole("heading", { name: "Keyboard" }).waitFor();
    await page.keyboard.press("Escape");
    const download = page.waitForEvent("download");
    await page.keyboard.press("e");
    await download;
    await page.keyboard.press("g");
    await page.keyboard.press("u");
    await page.getByRole("heading", { name: "Usage" }).waitFor();
  });
});

test("what is copied has every digit", async () => {
  const fixture = new Fixture();
  await on(fixture, "/platform/cost", async (page) => {
    await loaded(page);
    const copied = await page.evaluate(() => {
      const line = document.querySelector("tbody tr.row");
      const range = document.createRange();
      range.selectNode(line);
      getSelection().removeAllRanges();
      getSelection().addRange(range);
      const event = new ClipboardEvent("copy", { clipboardData: new DataTransfer(), bubbles: true, cancelable: true });
      line.querySelector("td").dispatchEvent(event);
      return event.clipboardData.getData("text/plain");
    });
    const first = fixture.costs({ from: "2026-10-30", to: "2026-11-28", view: "current_rates" }).rows[0];
    assert.ok(copied.split("\t").includes(first.cost), copied);
    assert.ok(copied.split("\t").includes(first.usage.api_call_count_24h), copied);
  });
});

test("a tab that was left open overnight shows the new day when it is looked at again", async () => {
  const fixture = new Fixture();
  await on(fixture, "/platform/cost?r=7d", async (page) => {
    await loaded(page);
    assert.match(await page.locator(".said").innerText(), /Nov 22 . 28, 2026/);
    fixture.today = "2026-11-29";
    await page.evaluate(() => document.dispatchEvent(new Event("visibilitychange")));
    await page.locator(".said", { hasText: /Nov 23 . 29, 2026/ }).waitFor();
  });
});

test("others than platform admins are told so, and nothing is asked for them", async () => {
  for (const role of [{ role: "finance" }, { role: "tenant_owner", own: ["acme"] }]) {
    const fixture = new Fixture(role);
    await on(fixture, "/platform/cost", async (page) => {
      await page.getByText("platform_admin_required").waitFor();
      assert.deepEqual(fixture.calls, ["GET /settings"]);
      assert.equal(await page.getByRole("button", { name: "Export CSV" }).count(), 0);
      await expectAccessible(page, role.role);
    });
  }
});

test("axe finds nothing and nothing scrolls sideways, in both themes at both widths", async () => {
  await on(new Fixture({ withToday: false }), "/platform/cost?x=initech", async (page) => {
    await loaded(page);
    await page.locator(".detail figure").nth(8).waitFor();
    await page.locator("svg[role=img]").first().waitFor();
    await expectWholeEverywhere(page, "cost", [320, 1280]);
    await page.getByRole("button", { name: "Custom range" }).click();
    await expectWholeEverywhere(page, "cost-range", [1280]);
  }, { width: 320, height: 800 });
});
