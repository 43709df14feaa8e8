// What a page says of its figures beside showing them: which are not final, what a colour means, every digit on copy, all
// rows on paper; and keys.
import { after, before, test } from "node:test";
import assert from "node:assert/strict";
import { expectAccessible, launch, open, settled } from "./browser.mjs";
import { Fixture } from "./fixtures.mjs";
import { ask, readDemo } from "./server.mjs";

const DAY_MS = 86_400_000;

let server;
let browser;
let today;
before(async () => {
  [server, browser] = await Promise.all([readDemo(), launch()]);
  ({ today } = await ask(server, "/settings"));
});
after(async () => {
  await browser?.close();
  await server?.stop();
});

/** Opens a page, with answers of the API that a fixture or `before` changes, runs, and expects no fault. */
async function on(address, run, { fixture, before: prepare, ...options } = {}) {
  const opened = await open(browser, server, options);
  try {
    if (fixture) await opened.page.route("**/api/v1/**", (route) => fixture.answer(route));
    await prepare?.(opened.page);
    await opened.page.goto(`${server.url}${address}`);
    await settled(opened.page);
    await run(opened.page);
    assert.deepEqual(opened.faults, []);
  } finally {
    await opened.close();
  }
}

/** Changes the server's answers to a question. */
const changed = (path, change) => (page) => page.route(new RegExp(`/api/v1${path}\\?`), async (route) => {
  const answer = await (await route.fetch()).json();
  change(answer, new URL(route.request().url()).searchParams);
  await route.fulfill({ json: answer });
});

const back = (days) => new Date(Date.parse(today) - days * DAY_MS).toISOString().slice(0, 10);
const monday = (day) => new Date(Date.parse(day) - ((new Date(day).getUTCDay() + 6) % 7) * DAY_MS).toISOString().slice(0, 10);
const shown = (day) => new Date(day).toLocaleDateString("en-US", { timeZone: "UTC", month: "short", day: "numeric", year: "numeric" });
/** What the hatched bars of the first chart say of themselves. */
const hatched = (page) => page.locator("svg[role=img]").first().locator("g.bar:has(rect[fill^=url])").evaluateAll((bars) => bars.map((bar) => bar.querySelector("title").textContent.split("\n")[0]));

/** A fixture whose ledger ends three days before today and holds a day that may change. */
function lagging() {
  const fixture = new Fixture();
  const costs = fixture.costs.bind(fixture);
  fixture.costs = (query) => {
    const answer = costs(query);
    if (query.view === "posted") Object.assign(answer.meta, { data_through: "2026-11-25", pending_days: 1 });
    if (query.group_by === "status") answer.rows = [{ key: { status: "pending" }, cost: "1.00", series: [["2026-11-20", "1.00"], ["2026-11-21", "0.00"]] }];
    return answer;
  };
  return fixture;
}

test("days after the last posted one, today, and days that may change are hatched on the page of costs", async () => {
  await on("/platform/cost?view=posted", async (page) => {
    const found = await hatched(page);
    assert.deepEqual(found.map((line) => line.split(":")[0]), ["Nov 20, 2026", "Nov 26, 2026", "Nov 27, 2026", "Nov 28, 2026"]);
    assert.ok(found.every((line) => line.endsWith("(not final)")), found.join());
    assert.equal(await page.locator(".legend").getByText("not final").count(), 1);
    await page.getByRole("button", { name: /^At current rates/ }).click();
    await page.getByRole("heading", { name: "Cost per day (USD), at current rates" }).waitFor();
    assert.deepEqual((await hatched(page)).map((line) => line.split(":")[0]), ["Nov 28, 2026"]);
  }, { fixture: lagging() });
});

test("so they are by cluster, and weeks with such a day in overhead and unit costs", async () => {
  const day = back(16);
  const before = changed("/costs", (answer, query) => {
    answer.meta.pending_days = 1;
    if (query.get("group_by") === "status") answer.rows = [{ key: { status: "pending" }, cost: "1.00", series: [[day, "1.00"]] }];
  });
  await on("/clusters?r=30d", async (page) => assert.deepEqual((await hatched(page)).map((line) => line.split(":")[0]), [shown(day)]), { before });
  for (const address of ["/overhead?r=30d", "/unit-costs?r=30d"]) {
    await on(address, async (page) => {
      const weeks = (await hatched(page)).map((line) => line.split(":")[0]);
      assert.ok(weeks.includes(`Week of ${shown(monday(day))}`), `${address}: ${weeks.join()}`);
      assert.ok(!weeks.includes(`Week of ${shown(monday(back(23)))}`), `${address}: ${weeks.join()}`);
    }, { before });
  }
});

test("a tenant's own chart hatches today", async () => {
  await on("/settings/usage?r=7d", async (page) => {
    assert.deepEqual((await hatched(page)).map((line) => line.split(":")[0]), ["Nov 28, 2026"]);
  }, { fixture: new Fixture({ role: "tenant_owner", own: ["acme"] }) });
});

test("a bill that is open at its provider is said on every page of cost, with a way to the sources", async () => {
  const { rows } = await ask(server, "/costs?range=30d&group_by=tenant&limit=20");
  const largest = rows.find(({ key }) => !key.tenant.startsWith("__")).key.tenant;
  const before = changed("/costs", ({ meta }) => Object.assign(meta, { estimated: true, estimated_periods: [{ source: "aws", billing_account: "1", billing_period: "2026-10" }] }));
  for (const address of ["/?r=7d", `/tenants/${largest}?r=7d`, "/clusters?r=7d", "/flow?r=7d", "/platform/cost?r=7d"]) {
    await on(address, async (page) => {
      const link = page.getByRole("link", { name: "estimated: aws October 2026 is still open", exact: true });
      assert.equal(await link.count(), 1, address);
      assert.match(await link.evaluate((found) => found.href), /\/data$/);
    }, { before });
  }
});

test("a picture of a chart has the colour of each layer in its legend, and its hatch", async () => {
  await on("/platform/cost?view=posted&r=7d", async (page) => {
    const download = page.waitForEvent("download");
    await page.getByRole("button", { name: "PNG" }).click();
    const chunks = [];
    for await (const chunk of await (await download).createReadStream()) chunks.push(chunk);
    const found = await page.evaluate(async (base64) => {
      const image = await createImageBitmap(new Blob([Uint8Array.from(atob(base64), (letter) => letter.charCodeAt(0))]));
      const pen = new OffscreenCanvas(image.width, image.height).getContext("2d");
      pen.drawImage(image, 0, 0);
      const svg = document.querySelector("svg[role=img]");
      const head = image.height - (svg.clientHeight + 16) * 2;
      const many = (colour, x, y, width, height) => {
        const wanted = /(\d+), (\d+), (\d+)/.exec(colour).slice(1).map(Number);
        const { data } = pen.getImageData(x, y, width, height);
        let count = 0;
        for (let at = 0; at < data.length; at += 4) if (wanted.every((part, index) => data[at + index] === part)) count += 1;
        return count;
      };
      const colours = [...document.querySelectorAll(".legend .swatch")].map((swatch) => getComputedStyle(swatch).backgroundColor);
      const ink = getComputedStyle(svg.querySelector("pattern .ink")).stroke;
      const step = (svg.clientWidth - 72) / 7;
      const column = (day) => many(ink, (16 + 64 + step * day) * 2, head + 40, step * 2, 100);
      return { head, swatches: colours.map((colour) => many(colour, 0, 0, image.width, head)), open: column(6), final: column(1) };
    }, Buffer.concat(chunks).toString("base64"));
    assert.ok(found.head > 2 * 60, JSON.stringify(found));
    assert.equal(found.swatches.length, 6);
    assert.ok(found.swatches.every((count) => count >= 300), JSON.stringify(found));
    assert.ok(found.open > 200 && found.final === 0, JSON.stringify(found));
  }, { fixture: lagging() });
});

test("the legend tells a layer from the others, by pointer and by keyboard; marks stand out in both themes", async () => {
  await on("/platform/cost?view=posted", async (page) => {
    const lit = () => page.locator(".piece:not(.dim)").evaluateAll((pieces) => [...new Set(pieces.map((piece) => /c\d/.exec(piece.getAttribute("class"))[0]))].toSorted());
    assert.deepEqual(await lit(), ["c0", "c1", "c2", "c3", "c4", "c5"]);
    const layer = page.locator(".legend").getByRole("button", { name: "Globex" });
    await layer.focus();
    assert.deepEqual(await lit(), ["c1"]);
    await page.keyboard.press("Enter");
    await layer.blur();
    assert.deepEqual(await lit(), ["c1"]);
    assert.equal(await layer.getAttribute("aria-pressed"), "true");
    await expectAccessible(page, "one layer");
    await layer.press("Enter");
    await layer.blur();
    await page.locator(".piece.c0").nth(3).hover();
    assert.deepEqual(await lit(), ["c0"]);
    for (const colorScheme of ["light", "dark"]) {
      await page.emulateMedia({ colorScheme });
      const found = await page.evaluate(() => {
        const luminance = (colour) => {
          const [red, green, blue] = /(\d+), (\d+), (\d+)/.exec(colour).slice(1).map((part) => Number(part) / 255).map((part) => (part <= 0.04045 ? part / 12.92 : ((part + 0.055) / 1.055) ** 2.4));
          return 0.2126 * red + 0.7152 * green + 0.0722 * blue;
        };
        const contrast = (a, b) => (Math.max(luminance(a), luminance(b)) + 0.05) / (Math.min(luminance(a), luminance(b)) + 0.05);
        const surface = getComputedStyle(document.querySelector("svg[role=img]").closest(".panel")).backgroundColor;
        const style = (selector) => getComputedStyle(document.querySelector(selector));
        return { ink: contrast(style("pattern .ink").stroke, surface), band: contrast(style("pattern .band").stroke, surface), opacity: style("g.bar rect[fill^=url]").opacity };
      });
      assert.ok(found.ink >= 3 && found.band === 1 && found.opacity === "1", `${colorScheme}: ${JSON.stringify(found)}`);
    }
  }, { fixture: lagging() });
});

test("amortized cost that may change is said to be pending, in words", async () => {
  let pending;
  await on("/unit-costs?r=30d", async (page) => {
    const badges = page.locator("tbody td .badge");
    assert.deepEqual(await badges.allInnerTexts(), ["pending"]);
    assert.equal(await badges.locator("xpath=ancestor::td").getAttribute("data-exact"), pending.amortized);
  }, {
    before: changed("/unit-costs", (answer) => {
      for (const row of answer.rows) row.pending = "0.00";
      pending = Object.assign(answer.rows[0], { pending: "1.00" });
    }),
  });
});

/** How many pages a printed document has. */
const sheets = async (page) => (await page.pdf({ format: "A4" })).toString("latin1").match(/\/Type\s*\/Page\b/g).length;

test("the leaderboard is printed whole: no box to scroll, no row left out, and many are said to be in the CSV", async () => {
  await on("/platform/cost", async (page) => {
    const rows = page.locator("tbody tr.row");
    const before = await rows.count();
    assert.ok(before < 100, "a large board draws what is in sight");
    assert.ok((await sheets(page)) >= 4);
    assert.equal(await rows.count(), before);
    await page.emulateMedia({ media: "print" });
    await page.waitForFunction(() => document.querySelectorAll("tbody tr.row").length === 300);
    const box = await page.locator(".scroll[aria-label$=table]").last().evaluate((found) => [found.scrollHeight - found.clientHeight, getComputedStyle(found).overflowY]);
    assert.deepEqual(box, [0, "visible"]);
    await page.emulateMedia({ media: "screen" });
    await page.waitForFunction((count) => document.querySelectorAll("tbody tr.row").length === count, before);
  }, { fixture: new Fixture({ tenants: 300 }) });
  await on("/platform/cost?r=7d", async (page) => {
    await page.emulateMedia({ media: "print" });
    await page.getByText("30 more rows are not printed; the CSV has them.").waitFor();
    assert.equal(await page.locator("tbody tr.row").count(), 500);
  }, { fixture: new Fixture({ tenants: 530 }) });
});

test("on a sheet as narrow as a phone the leaderboard has rows, and all columns fit on it", async () => {
  await on("/platform/cost?r=7d", async (page) => {
    await page.emulateMedia({ media: "print" });
    const found = await page.locator("tbody tr.row").first().evaluate((row) => ({ display: getComputedStyle(row).display, right: row.getBoundingClientRect().right }));
    assert.equal(found.display, "table-row");
    assert.ok(found.right <= 700, JSON.stringify(found));
  }, { fixture: new Fixture(), width: 700 });
});

test("any other table is printed whole, too", async () => {
  const before = changed("/tenants", (answer) => {
    answer.rows = Array.from({ length: 120 }, (_, at) => ({ ...answer.rows[0], id: `t-${at}`, name: `Tenant ${at}` }));
    answer.next_cursor = null;
  });
  await on("/settings/tenants", async (page) => {
    const rows = page.getByRole("table").locator("tbody tr");
    assert.equal(await rows.count(), 50);
    await page.emulateMedia({ media: "print" });
    await page.waitForFunction(() => document.querySelectorAll("tbody tr").length === 120);
    assert.equal(await page.getByRole("button", { name: /^Show .* more/ }).count(), 0);
  }, { before });
});

/** What is copied when all of what a selector finds first is selected. */
const copied = (page, selector) => page.evaluate((wanted) => {
  const found = document.querySelector(wanted);
  getSelection().selectAllChildren(found);
  const event = new ClipboardEvent("copy", { clipboardData: new DataTransfer(), bubbles: true, cancelable: true });
  found.dispatchEvent(event);
  return event.clipboardData.getData("text/plain");
}, selector);

test("a tile, a legend, a cell of a chart's table and a page are copied with every digit; what has none is left alone", async () => {
  const fixture = new Fixture();
  await on("/platform/cost?r=7d", async (page) => {
    const answer = fixture.costs({ from: "2026-11-22", to: "2026-11-28", view: "current_rates", compare: "prev" });
    const { totals, rows } = answer;
    assert.equal(await copied(page, ".views .on strong"), `${totals.cost} USD`);
    assert.equal(await copied(page, ".legend [data-exact]"), `${rows[0].cost} USD`);
    await page.getByText("Show as a table").click();
    const series = fixture.costs({ from: "2026-11-22", to: "2026-11-28", view: "current_rates", granularity: "day" }).rows[0].series;
    assert.equal(await copied(page, "details tbody td"), series[0][1]);
    assert.equal(await copied(page, "h1"), "");
    assert.equal(await copied(page, "tbody tr.row td.cost"), rows[0].cost);
    const page1 = await copied(page, "main");
    for (const text of [`${totals.cost} USD`, `${rows[0].cost}\t${rows[0].change}\t`]) assert.ok(page1.includes(text), text);
    assert.ok(page1.split("\n").length > 40, "lines stay lines");
    assert.equal(await page.locator("h1").count(), 1, "nothing is left behind");
  }, { fixture });
  await on("/overhead", async (page) => {
    const { total, currency } = await ask(server, "/overhead?range=90d");
    assert.equal(await copied(page, ".facts .first dd .value"), `${total} ${currency}`);
  });
});

test("on a phone a tenant sees average, peak and quality of what was measured", async () => {
  await on("/settings/usage", async (page) => {
    const cells = (name) => page.getByRole("row", { name }).getByRole("cell").evaluateAll((all) => all.filter((cell) => cell.checkVisibility()).map((cell) => [cell.dataset.label, cell.innerText, getComputedStyle(cell, "::before").content]));
    const [calls, storage] = [await cells(/^API calls/), await cells(/^Storage/)];
    assert.deepEqual(calls.map(([label]) => label), ["In the period", "Daily average", "Peak", "Quality"]);
    for (const [label, , before] of calls) assert.ok(before.includes("data-label") || before === `"${label}"`, before);
    assert.match(calls[2][1], /^\d.* on Nov \d+$/);
    assert.deepEqual(storage.at(-1).slice(0, 2), ["Quality", "1 days degraded or missing"]);
    await expectAccessible(page, "usage as cards");
  }, { fixture: new Fixture({ role: "tenant_owner", own: ["hooli"] }), width: 320 });
});

test("the search key finds everywhere where a page has no search; rows without links are gone through; single keys can be turned off", async () => {
  await on("/overhead", async (page) => {
    const focused = () => page.evaluate(() => document.activeElement.tagName);
    await page.keyboard.press("j");
    assert.equal(await focused(), "TH");
    const first = await page.evaluate(() => document.activeElement.innerText);
    await page.keyboard.press("j");
    assert.notEqual(await page.evaluate(() => document.activeElement.innerText), first);
    await page.evaluate(() => document.activeElement.blur());
    await page.keyboard.press("/");
    await page.locator("dialog[open] input").waitFor();
    await page.keyboard.press("Escape");
    await page.locator("dialog[open]").waitFor({ state: "detached" });
    await page.keyboard.press("?");
    await page.getByRole("checkbox", { name: /^Single-key shortcuts/ }).uncheck();
    await expectAccessible(page, "help");
    await page.getByRole("button", { name: "Close" }).click();
    for (const isFresh of [false, true]) {
      if (isFresh) await page.reload();
      await settled(page);
      await page.evaluate(() => document.activeElement.blur());
      for (const key of ["j", "/", "?", "g", "c"]) await page.keyboard.press(key);
      assert.equal(await focused(), "BODY");
      assert.equal(await page.locator("dialog[open]").count(), 0);
      assert.match(page.url(), /\/overhead$/);
      await page.keyboard.press("Control+k");
      await page.locator("dialog[open] input").waitFor();
      await page.keyboard.press("Escape");
      await page.locator("dialog[open]").waitFor({ state: "detached" });
    }
  });
});
