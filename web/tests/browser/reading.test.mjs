// What a page says of its figures beside showing them: which are not final, what a colour means, every digit on copy, all
// rows on paper; and keys.
import { test } from "node:test";
import assert from "node:assert/strict";
import { expectAccessible, open, picture, prepared, queried, settled } from "./browser.mjs";
import { Fixture } from "./fixtures.mjs";
import { ask, readDemo } from "./server.mjs";

const DAY_MS = 86_400_000;

const { server, browser, today } = await prepared(readDemo, (begun) => ask(begun, "/settings"));

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
const lagging = () => new Fixture({ through: "2026-11-25", pending: "2026-11-20" });

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

test("days that are hatched are left out of changes, and the page says through which day it compared", async () => {
  const fixture = lagging();
  const days = { from: "2026-10-30", to: "2026-11-28", view: "posted", limit: "10000" };
  const [left, whole] = ["final", "prev"].map((compare) => fixture.costs({ ...days, compare }));
  await on("/platform/cost?view=posted", async (page) => {
    const changes = await page.locator("tbody td.change").evaluateAll((cells) => cells.map((cell) => cell.dataset.exact));
    assert.deepEqual(changes, left.rows.map(({ change }) => change));
    assert.notDeepEqual(changes, whole.rows.map(({ change }) => change));
    const tile = page.locator(".facts div", { hasText: "Change vs the days before" });
    assert.match(await tile.innerText(), /compared through Nov 19/);
    assert.match((await tile.getAttribute("title")).replace(/\s/g, " "), /^Oct 30 – Nov 19, 2026 against Oct 9 – 29, 2026: -?[\d.]+ USD/);
    assert.match((await page.locator("thead th.change").getAttribute("title")).replace(/\s/g, " "), /^Oct 30 – Nov 19, 2026 against Oct 9 – 29, 2026$/);
    await page.getByRole("button", { name: /^At current rates/ }).click();
    await tile.getByText("compared through Nov 27").waitFor();
    await page.goto(`${server.url}/platform/cost?view=posted&r=2026-11-20..2026-11-22`);
    await settled(page);
    assert.match(await tile.innerText(), /–\s+not compared: not final yet/);
    assert.deepEqual(new Set(await page.locator("tbody td.change").allInnerTexts()), new Set(["–"]));
  }, { fixture });
});

test("a row of unit costs rings its own restated weeks and hatches its own that may change", async () => {
  const [restated, pending] = [back(9), back(2)];
  const before = changed("/costs", (answer, query) => {
    if (query.get("group_by") !== "status") return;
    const isRow = /^repo:".+" tier:direct,amortized memo:\*$/.test(query.get("filter") ?? "");
    answer.rows = [{ key: { status: "pending" }, cost: "1.00", series: [[isRow ? pending : back(25), "1.00"]] }];
    answer.meta.restated = isRow ? [{ date: restated, times: 1, postings: [2] }] : [];
  });
  await on("/unit-costs?r=30d&by=repo", async (page) => {
    await page.locator("tbody button.expand").filter({ hasNotText: "No repository" }).first().click();
    await settled(page);
    const [cost, trend] = [page.locator("tr.detail").getByRole("region", { name: /: cost per week/ }), page.locator("tr.detail").getByRole("region", { name: /in each week/ })];
    const weeks = async (chart, mark) => (await chart.locator(`g.bar:has(${mark}) > title`).allTextContents()).map((text) => /^Week of ([^:]+):/.exec(text)[1]);
    assert.deepEqual(await weeks(cost, "circle.ring"), [shown(monday(restated))]);
    assert.match(await cost.locator("p.restated").innerText(), /^Restated: .+ by posting 2\.$/);
    for (const chart of [cost, trend]) {
      const hatched = await weeks(chart, "rect[fill^=url]");
      assert.ok(hatched.includes(shown(monday(pending))), hatched.join());
      assert.ok(!hatched.includes(shown(monday(back(25)))), `the page's days are not the row's: ${hatched.join()}`);
    }
    await expectAccessible(page, "a row of unit costs");
    await picture(page, "unit-costs-row");
  }, { before });
});

test("a day or a week of a chart is shown alone when it is chosen, by pointer and by keyboard", async () => {
  const day = back(5);
  const first = monday(back(10));
  const sunday = new Date(Date.parse(first) + 6 * DAY_MS).toISOString().slice(0, 10);
  for (const [address, title, from, to] of [["/", shown(day), day, day], ["/clusters", shown(day), day, day], ["/platform/cost", shown(day), day, day], ["/overhead", `Week of ${shown(first)}`, first, sunday], ["/unit-costs", `Week of ${shown(first)}`, first, sunday]]) {
    await on(address, async (page) => {
      const chart = page.locator("section.panel").filter({ has: page.locator("g.bar") }).first();
      await chart.locator("g.bar").filter({ has: page.locator("title", { hasText: `${title}:` }) }).first().click();
      await queried(page, `?r=${from}..${to}`);
      await settled(page);
      assert.equal(await chart.locator("g.bar").count(), 1, address);
      assert.equal(await chart.locator("g.bar.pressable").count(), 0, `${address}: what is alone already does nothing`);
      await page.goBack();
      await settled(page);
      await chart.locator("summary").focus();
      await page.keyboard.press("Enter");
      await chart.locator("details").getByRole("button", { name: title.replace("Week of ", ""), exact: true }).press("Enter");
      await queried(page, `?r=${from}..${to}`);
      await settled(page);
    });
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
      const step = Number(svg.querySelector(".catch").getAttribute("width"));
      const column = (day) => many(ink, (16 + 64 + step * day) * 2, head + 40, step * 2, 100);
      // A layer is named at the right of the drawing; there the colour has its swatch and nothing else.
      const names = document.querySelector(".legend.direct").getBoundingClientRect().left - svg.getBoundingClientRect().left;
      const text = getComputedStyle(document.querySelector(".panel")).color;
      return {
        head, open: column(6), final: column(1),
        swatches: colours.map((colour) => many(colour, (16 + names) * 2, head, 24, image.height - head)),
        letters: many(text, (16 + names + 14) * 2, head, 120, image.height - head),
      };
    }, Buffer.concat(chunks).toString("base64"));
    assert.ok(found.head > 2 * 60, JSON.stringify(found));
    assert.equal(found.swatches.length, 6);
    assert.ok(found.swatches.every((count) => count >= 300) && found.letters > 300, JSON.stringify(found));
    assert.ok(found.open > 200 && found.final === 0, JSON.stringify(found));
  }, { fixture: lagging() });
});

test("layers are named beside the last bar, each on a line of its own; on a phone a legend names them", async () => {
  await on("/platform/cost", async (page) => {
    const labels = () => page.locator(".legend.direct li").evaluateAll((all) => all.map((label) => {
      const { top, bottom, left, right } = label.getBoundingClientRect();
      const svg = document.querySelector("svg[role=img]").getBoundingClientRect();
      const bars = Math.max(...[...document.querySelectorAll(".piece")].map((piece) => piece.getBoundingClientRect().right));
      return { name: label.querySelector(".name").textContent, top, bottom, isBeside: bars < left && right <= svg.right && svg.top - 1 <= top && bottom <= svg.bottom };
    }));
    const found = await labels();
    assert.deepEqual(found.map(({ name }) => name), ["Other", "Hooli", "Umbrella", "Initech", "Globex", "Acme"], "as the layers lie, from above to below");
    assert.ok(found.every(({ isBeside }) => isBeside), JSON.stringify(found));
    for (const [at, { top }] of found.entries()) assert.ok(at === 0 || found[at - 1].bottom <= top + 0.1, JSON.stringify(found));
    assert.equal(await page.locator(".leader").count(), 6);
    await page.setViewportSize({ width: 320, height: 900 });
    await page.locator(".head .legend .layer").first().waitFor();
    assert.deepEqual(await page.locator(".head .legend .layer .name").allInnerTexts(), ["Acme", "Globex", "Initech", "Umbrella", "Hooli", "Other"]);
    assert.deepEqual(await labels(), []);
    assert.equal(await page.locator(".leader").count(), 0);
  }, { fixture: new Fixture() });
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
    const answer = fixture.costs({ from: "2026-11-22", to: "2026-11-28", view: "current_rates", compare: "final" });
    const { totals, rows } = answer;
    assert.equal(await copied(page, ".views .on strong"), `${totals.cost} USD`);
    for (const layer of [0, 1, 2, 3, 4]) assert.equal(await copied(page, `.legend [data-layer="${layer}"] [data-exact]`), `${rows[layer].cost} USD`);
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
