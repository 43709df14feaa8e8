// Ten thousand workspaces over a year: what is asked for is bounded, only rows in sight are drawn, and their order is right.
// How fast that is, is printed; `make bench JOB=J15` measures it.
import { test } from "node:test";
import assert from "node:assert/strict";
import { countWhileScrolling, figures, noteFirstRows, searchFor, sortBy } from "./board.mjs";
import { open, prepared } from "./browser.mjs";
import { Fixture } from "./fixtures.mjs";
import { startEmpty } from "./server.mjs";

const TENANTS = 10_000;
const DAYS = 365;
/** More would be drawn than a screen of this height can show, with some to spare above and below. */
const ROWS_DRAWN_MAX = 100;
/** Of a row with nine metrics, its cells and what is in them. */
const ELEMENTS_OF_ROW_MAX = 40;

const { server, browser } = await prepared(() => startEmpty("/costs"));

const members = (index) => (index * 7919) % 10_007;
/** Answers as large as the server's: every metric of every tenant, summed over the year; of the largest a series. */
function year() {
  const fixture = new Fixture({ tenants: TENANTS });
  const answers = new Map();
  const total = fixture.days("2025-11-29", fixture.today).map((day) => [day, "137082.191780821917808"]);
  fixture.costs = ({ view, granularity, group_by: by }) => {
    const key = `${view} ${granularity} ${by}`;
    const row = ({ id, name, slug }, index) => ({
      key: { tenant: id }, name, slug, cost: `${(index * 104_729) % 1_000_003}.${String(index).padStart(15, "0")}`, share: "0.000100", previous: "1.00", change: "1.00", pending: "0.00",
      ...(granularity ? { series: total } : { usage: { member_count: String(members(index)), api_call_count_24h: String(index * 30_011), storage_bytes: String(index * 1_900_000_007), change_count_24h: String(index % 89), incident_count_24h: String(index % 5), monitored_host_count: String(index % 211), audit_event_count_24h: String(index * 91), webhook_delivery_count_24h: String(index * 41), celery_task_count_24h: String(index * 701) } }),
    });
    if (!answers.has(key)) {
      const rows = by !== "tenant" ? [{ key: { [by]: "true" }, cost: "1.00", series: total }] : fixture.tenants.slice(0, granularity ? 5 : TENANTS).map(row);
      answers.set(key, { rows, totals: { cost: "50035000.00", memo: "0.00" }, meta: { range: {}, currency: "USD", view, unpriced_metrics: [] }, next_cursor: null });
    }
    return answers.get(key);
  };
  return fixture;
}

test(`${TENANTS} workspaces x ${DAYS} days: rows out of sight are not drawn, and every order is right`, async () => {
  const fixture = year();
  const { page, faults, close } = await open(browser, server, {});
  await page.route("**/api/v1/**", (route) => fixture.answer(route));
  await noteFirstRows(page);
  await page.goto(`${server.url}/platform/cost?r=365d`);
  const found = await figures(page, { head: "Members", words: "workspace 99", frames: 120 });
  console.log(`${TENANTS} workspaces x ${DAYS} days: ${JSON.stringify(found)}`);
  assert.ok(found.rows_drawn_max > 20 && found.rows_drawn_max < ROWS_DRAWN_MAX, `${found.rows_drawn_max} rows drawn`);
  // Both views with their names, the chart's largest and its total, and whether today was measured: nothing page by page.
  const asked = fixture.calls.filter((call) => call !== "GET /settings");
  assert.ok(asked.length <= 6 && asked.every((call) => /^GET \/(costs|snapshots|schedule)$/.test(call)), asked.join());
  assert.ok(asked.filter((call) => call === "GET /snapshots").length <= 1, "snapshots of all rows are too many to be read");

  const rows = page.locator("tbody tr.row");
  const values = async () => {
    // What stands behind a figure comes when rows rest.
    await page.waitForFunction(() => [...document.querySelectorAll('tbody tr.row td[data-label="Members"]')].every((cell) => cell.dataset.exact && cell.title));
    return rows.locator('td[data-label="Members"]').evaluateAll((cells) => cells.map((cell) => Number(cell.dataset.exact)));
  };
  const matching = fixture.tenants.map(({ name, id }, index) => ({ text: `${name} ${id}`.toLowerCase(), value: members(index) })).filter(({ text }) => text.includes("workspace") && text.includes("99"));
  const shown = await values();
  assert.deepEqual(shown, matching.map(({ value }) => value).toSorted((a, b) => b - a).slice(0, shown.length));
  assert.equal(await page.getByRole("table").first().getAttribute("aria-rowcount"), String(matching.length + 1));

  await searchFor(page, "");
  await sortBy(page, "Members");
  await page.locator(".scroll[aria-label*=table]").last().evaluate((box) => (box.scrollTop = box.scrollHeight));
  await page.waitForFunction((last) => [...document.querySelectorAll("tbody tr.row")].some((row) => row.getAttribute("aria-rowindex") === last), String(TENANTS + 1));
  const all = fixture.tenants.map((_, index) => members(index)).toSorted((a, b) => a - b);
  const end = await values();
  assert.deepEqual(end, all.slice(-end.length), "the last rows of the other order");
  assert.ok((await rows.count()) < ROWS_DRAWN_MAX);
  const counted = await countWhileScrolling(page, 120);
  console.log(`elements: ${JSON.stringify(counted)}`);
  assert.ok(counted.elements_max < ROWS_DRAWN_MAX * ELEMENTS_OF_ROW_MAX, `${counted.elements_max} elements at once`);
  assert.ok(counted.elements_made < ELEMENTS_OF_ROW_MAX, `${counted.elements_made} elements made: rows that leave are filled anew`);
  assert.deepEqual(faults, []);
  await page.unrouteAll({ behavior: "ignoreErrors" });
  await close();
});

test("on a large board a row that opens stays where it is, although one above it closes", async () => {
  const fixture = new Fixture({ tenants: 200 });
  const { page, faults, close } = await open(browser, server, {});
  await page.route("**/api/v1/**", (route) => fixture.answer(route));
  await page.goto(`${server.url}/platform/cost?r=7d`);
  await page.locator("tbody tr.row").first().waitFor();
  const metrics = page.locator(".detail figure").nth(8);
  await page.locator("tbody tr.row button.name").first().evaluate((button) => button.click());
  await metrics.waitFor();
  const box = page.locator(".scroll[aria-label*=table]").last();
  await box.evaluate((all) => (all.scrollTop += all.querySelector(".detail").getBoundingClientRect().bottom - all.getBoundingClientRect().top + 20 * 36));
  await metrics.waitFor({ state: "detached" });
  const index = await box.evaluate((all) => [...all.querySelectorAll("tr.row")].find((row) => row.getBoundingClientRect().top > all.getBoundingClientRect().top + 150).getAttribute("aria-rowindex"));
  const place = () => box.evaluate((all, at) => all.querySelector(`tr.row[aria-rowindex="${at}"]`).getBoundingClientRect().top - all.getBoundingClientRect().top, index);
  const before = await place();
  await page.locator(`tr.row[aria-rowindex="${index}"] button.name`).evaluate((button) => button.click());
  await metrics.waitFor();
  const moved = Math.abs((await place()) - before);
  assert.ok(moved < 2, `it moved by ${moved} px`);
  assert.deepEqual(faults, []);
  await page.unrouteAll({ behavior: "ignoreErrors" });
  await close();
});
