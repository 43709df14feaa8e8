// Every page against the real server with demo data: it loads, is accessible in both themes and widths, and does its job.
import { test } from "node:test";
import assert from "node:assert/strict";
import { expectAccessible, expectWholeEverywhere, open, picture, prepared, queried, settled } from "./browser.mjs";
import { ask, readDemo } from "./server.mjs";
import { atoms, cells, heads, money } from "./shown.mjs";

/** The last day that is posted is yesterday, unless it is past midnight meanwhile. */
const { server, browser, largest, last } = await prepared(readDemo, async (begun) => {
  const { rows, meta } = await ask(begun, "/costs?range=30d&group_by=tenant&limit=20");
  return { last: meta.data_through, largest: rows.find(({ key }) => !key.tenant.startsWith("__")).key.tenant };
});

/** Each page: its address and its heading. */
const PAGES = {
  overview: ["/", "Overview"],
  tenant: ["/tenants/{largest}", null],
  clusters: ["/clusters", "Clusters"],
  cluster: ["/clusters/shared-west-us?d={last}", "shared-west-us"],
  "unit-costs": ["/unit-costs", "Unit costs"],
  overhead: ["/overhead", "Overhead"],
  flow: ["/flow", "Flow"],
  ledger: ["/ledger", "Ledger"],
  proof: ["/ledger?t=proof&r=7d", "Ledger"],
  entries: ["/ledger?t=entries&r=7d", "Ledger"],
  close: ["/close", null],
  data: ["/data", "Data"],
  rates: ["/rates", "Rate cards"],
  policies: ["/policies", "Policies"],
  tenants: ["/settings/tenants", "Workspaces"],
  tokens: ["/settings/tokens", "Tokens"],
  audit: ["/audit", "Audit"],
};

/** Opens a page of the real server, runs, and expects no fault. */
async function on(address, run, options = {}) {
  const opened = await open(browser, server, options);
  try {
    await (options.before ?? (() => undefined))(opened.page);
    await opened.page.goto(`${server.url}${address.replace("{largest}", encodeURIComponent(largest)).replace("{last}", last)}`);
    await run(opened.page, opened);
    assert.deepEqual(opened.faults, []);
  } finally {
    await opened.close();
  }
}

for (const [name, [address, heading]] of Object.entries(PAGES)) {
  test(`${name}: whole, accessible, nothing scrolls sideways, in both themes at both widths`, async () => {
    await on(address, async (page) => {
      await settled(page, heading);
      assert.ok((await page.getByRole("table").count()) > 0);
      await expectWholeEverywhere(page, name);
    });
  });
}

test("the menu shows a role its pages, and a page of others says so and asks nothing", async () => {
  const menus = {
    finance: { has: ["Overview", "Month-end", "Data"], lacks: ["Cost", "Tokens", "Audit", "Usage"] },
    admin: { has: ["Overview", "Ledger", "Policies"], lacks: ["Month-end", "Tokens", "Audit"] },
    tenant_owner: { has: ["acme", "Usage"], lacks: ["Overview", "Ledger", "Rate cards", "Workspaces"] },
  };
  for (const [role, { has, lacks }] of Object.entries(menus)) {
    const tenants = role === "tenant_owner" ? { tenants: ["acme"] } : {};
    const { token } = await ask(server, "/tokens", { method: "POST", body: { role, name: role, ...tenants } });
    const asked = [];
    await on("/settings/tokens", async (page) => {
      await page.getByText("Your role does not see this page.").waitFor();
      assert.deepEqual(asked.filter((path) => !path.endsWith("/settings")), []);
      const menu = page.getByRole("navigation", { name: "Pages" });
      for (const title of has) assert.equal(await menu.getByRole("link", { name: title, exact: true }).count(), 1, `${role} ${title}`);
      for (const title of lacks) assert.equal(await menu.getByRole("link", { name: title, exact: true }).count(), 0, `${role} ${title}`);
      await expectAccessible(page, role);
    }, { token, before: (page) => page.on("request", (request) => request.url().includes("/api/") && asked.push(new URL(request.url()).pathname)) });
  }
});

test("a tenant's owner sees the own cost, and nothing is refused on the way", async () => {
  const { token } = await ask(server, "/tokens", { method: "POST", body: { role: "tenant_owner", name: "own", tenants: [largest] } });
  const refused = [];
  await on("/tenants/{largest}", async (page) => {
    await settled(page, largest);
    const { rows } = await ask(server, "/costs?range=30d&group_by=tenant", { token });
    assert.equal(await page.locator(".facts .first dd").getAttribute("title"), `${rows[0].cost} USD`);
    assert.equal(await page.getByText("Rank").count(), 0);
    assert.deepEqual(refused, []);
  }, { token, before: (page) => page.on("response", (answer) => [401, 403].includes(answer.status()) && refused.push(answer.url())) });
});

test("the figures of a page are the API's, to the last digit", async () => {
  const filter = `tenant:"${largest}"`;
  const pools = await ask(server, `/costs?range=30d&group_by=pool,tier&filter=${encodeURIComponent(filter)}&limit=1000`);
  await on("/tenants/{largest}", async (page) => {
    await settled(page);
    const table = page.getByRole("region", { name: "Cost by pool, table" });
    const exact = await table.locator("tbody tr").evaluateAll((rows) => rows.map((row) => row.querySelector('[data-label="Cost"]').dataset.exact));
    assert.deepEqual(exact, pools.rows.map(({ cost }) => cost));
  });
  const answer = await fetch(`${server.url}/api/v1/cost-attribution/cluster/shared-west-us/comparison?date=${last}`, { headers: { authorization: `Bearer ${server.token}` } });
  const digits = [...(await answer.text()).matchAll(/"cost":(-?[\d.]+)/g)].map(([, digit]) => digit);
  await on("/clusters/shared-west-us?d={last}", async (page) => {
    await settled(page);
    assert.deepEqual(await page.locator('tbody [data-label="Cost"]').evaluateAll((cells) => cells.map((cell) => cell.dataset.exact)), digits);
  });
});

test("jobs: the most expensive tenant and whether it grows, one click; which meter made a day jump, two", async () => {
  await on("/", async (page) => {
    await settled(page);
    await page.getByRole("region", { name: "Largest workspaces", exact: true }).getByRole("link").nth(1).click();
    await page.waitForURL(`**/tenants/${largest}`);
    await page.getByRole("region", { name: "Why the cost changed" }).waitFor();
    await settled(page);
    assert.match(await page.locator(".facts .first").innerText(), /vs the days before/);
    await page.locator("g.bar").nth(-3).click();
    const dialog = page.getByRole("dialog");
    await dialog.getByText(/^Posted$/).waitFor();
    await settled(page);
    const chosen = await dialog.getByLabel("Day", { exact: true }).inputValue();
    const explained = await ask(server, `/explain?tenant=${largest}&date=${chosen}`);
    const costs = await dialog.locator("summary strong").evaluateAll((all) => all.map((strong) => strong.title));
    assert.deepEqual(costs.toSorted(), explained.pools.map(({ cost }) => `${cost} USD`).toSorted());
    await expectAccessible(page, "explain");
    await picture(page, "explain");
    await page.keyboard.press("Escape");
    await dialog.waitFor({ state: "detached" });
  });
});

test("jobs: why a day is dear, two clicks from the leaderboard", async () => {
  await on("/platform/cost?view=posted", async (page) => {
    await settled(page);
    await page.locator("g.bar").nth(-5).click();
    await queried(page, /^\?view=posted&r=(\d{4}-\d\d-\d\d)\.\.\1$/);
    await settled(page);
    const day = new URL(page.url()).searchParams.get("r").slice(0, 10);
    const { rows: [first] } = await ask(server, `/costs?from=${day}&to=${day}&filter=memo:true&compare=final&group_by=tenant`);
    const row = page.locator("tbody tr.row").first();
    assert.equal(await row.locator("td.change").getAttribute("data-exact"), first.change, "what it changed by against the day before");
    await row.locator("td.cost button").click();
    const dialog = page.getByRole("dialog");
    const estimates = dialog.locator(".sums div", { hasText: "Estimates beside it" });
    await estimates.waitFor();
    await settled(page);
    assert.equal(await dialog.getByLabel("Day", { exact: true }).inputValue(), day);
    const explained = await ask(server, `/explain?tenant=${first.key.tenant}&date=${day}`);
    assert.equal(await estimates.locator("dd").getAttribute("title"), `${explained.memo} USD`);
  });
});

test("jobs: change a price and see the effect per tenant, in two clicks and the typing", async () => {
  await on("/rates", async (page) => {
    await settled(page);
    await page.getByRole("button", { name: /^New draft/ }).click();
    const field = page.getByRole("textbox", { name: /TOML/ });
    await field.fill((await field.inputValue()).replace(/version = "[^"]+"/, 'version = "demo-2"').replace("1.20", "1.50"));
    const publish = page.getByRole("button", { name: "Publish", exact: true });
    await page.getByRole("button", { name: "Check" }).click();
    await page.getByText("✓ It can be used:").waitFor();
    assert.ok(await publish.isDisabled(), "what was not seen per tenant is not published");
    const asking = page.waitForRequest(/\/rate-cards\/simulate\?/);
    await page.getByRole("button", { name: /^Effect per/ }).click();
    const sent = await asking;
    await page.getByRole("region", { name: "Effect of the draft, table" }).waitFor();
    const headers = { authorization: `Bearer ${server.token}`, "content-type": "application/toml" };
    const effect = await (await fetch(sent.url(), { method: "POST", headers, body: await field.inputValue() })).json();
    assert.ok(effect.rows.some((row) => atoms(row.change_memo) > 0n), "a dearer minute of a reviewer costs somebody more");
    const expected = effect.rows.slice(0, 50);
    assert.deepEqual(await cells(page, "Effect of the draft", "With the draft"), expected.map(({ cost }) => [cost, money(cost, "USD")]));
    assert.deepEqual((await cells(page, "Effect of the draft", "Change of estimates")).map(([exact]) => exact), expected.map((row) => row.change_memo));
    assert.equal((await heads(page, "Effect of the draft")).length, expected.length);
    assert.ok(await publish.isEnabled());
    await field.press("End");
    await field.press("Enter");
    assert.ok(await publish.isDisabled(), "another text has another effect");
    await field.press("Backspace");
    await page.getByRole("button", { name: /^Effect per/ }).click();
    await page.getByRole("region", { name: "Effect of the draft, table" }).waitFor();
    await page.getByText("Differences from").first().click();
    assert.match(await page.locator(".draft .added").last().innerText(), /\+ price = "1\.50"$/);
    await expectAccessible(page, "draft");
    await picture(page, "draft");
    await page.reload();
    await settled(page);
    assert.match(await field.inputValue(), /demo-2/, "a draft survives a reload");
  });
});

test("a change is that of the days which the API compares, and every page says through which day that was", async () => {
  const before = new Date(Date.parse(last) - 3 * 86_400_000).toISOString().slice(0, 10);
  const short = new Date(before).toLocaleDateString("en-US", { timeZone: "UTC", month: "short", day: "numeric" });
  const asked = [];
  const compare = (page) => page.route(/\/api\/v1\/costs(\/changes)?\?.*compare=/, async (route) => {
    const url = new URL(route.request().url());
    asked.push(url.pathname.endsWith("/changes") ? url.searchParams.get("to") : url.searchParams.get("compare"));
    if (url.pathname.endsWith("/changes")) return route.fallback();
    const answer = await (await route.fetch()).json();
    for (const row of answer.rows) Object.assign(row, { previous: "100.00", change: "12.34" });
    answer.meta.compared.range.to = before;
    return route.fulfill({ json: answer });
  });
  const note = (page) => page.locator(".facts .first .soft").innerText();
  await on("/", async (page) => {
    await settled(page);
    assert.match(await note(page), new RegExp(`^\\+\\$[\\d.]+ \\(\\+12\\.3%\\) vs the days before, compared through ${short}$`));
    assert.deepEqual(new Set((await cells(page, "Largest workspaces", "Change")).map(([, text]) => text)), new Set(["+$12.34 +12.3%"]));
    assert.match(await page.getByRole("region", { name: "Largest pools, table" }).getByRole("columnheader", { name: "Change" }).getAttribute("title"), / against /);
  }, { before: compare });
  await on("/overhead", async (page) => {
    await settled(page);
    assert.equal(await note(page), `+12.3% vs the days before, compared through ${short}`);
  }, { before: compare });
  await on("/clusters", async (page) => {
    await settled(page);
    assert.ok((await cells(page, "Clusters", "Change")).every(([, text]) => text === "+$12.34 +12.3%"));
    assert.match(await page.getByRole("region", { name: "Clusters, table" }).getByRole("columnheader", { name: "Change" }).getAttribute("title"), / against /);
  }, { before: compare });
  await on("/tenants/{largest}", async (page) => {
    await settled(page);
    assert.equal(await note(page), `+$12.34 +12.3% vs the days before, compared through ${short}`);
    for (const table of ["Cost by pool", "Cost by meter"]) assert.ok((await cells(page, table, "Change")).every(([, text]) => text === "+$12.34 +12.3%"), table);
  }, { before: compare });
  assert.deepEqual(new Set(asked), new Set(["final", before]), "the sentence of the change is of the same days");
});

test("why a cost changed stands in one sentence, and its parts add up", async () => {
  await on("/tenants/{largest}?r=7d", async (page) => {
    await settled(page);
    // A day that is not over is not compared: a rolling range of the page has the days that it has in the API.
    const { rows: [own], meta: { compared } } = await ask(server, `/costs?range=7d&compare=final&group_by=tenant&filter=tenant:${largest}`);
    const changes = await ask(server, `/costs/changes?from=${compared.range.from}&to=${compared.range.to}&tenant=${largest}&compare=prev`);
    assert.equal(own.change, changes.change);
    await page.locator("p.why > :is(strong, .press)").first().waitFor();
    const [change, ...parts] = await page.locator("p.why > :is(strong, .press)").evaluateAll((all) => all.map(({ title, innerText }) => [title.replace(" USD", ""), innerText]));
    assert.equal(change[0], changes.change);
    assert.equal(change[1].replace(/^[+−-]/, ""), money(changes.change, "USD").replace(/^-/, ""));
    assert.equal(parts.reduce((sum, [exact]) => sum + atoms(exact), 0n), atoms(changes.change));
    const size = (amount) => (amount < 0n ? -amount : amount);
    const largestFirst = changes.pools.map((pool) => atoms(pool.change)).toSorted((one, other) => (size(one) < size(other) ? 1 : -1));
    assert.deepEqual(parts.slice(0, 3).map(([exact]) => size(atoms(exact))), largestFirst.slice(0, 3).map(size));
  });
});

test("a tenant's sentence, rank and share have a place while they are on their way, say that they failed, and that nothing changed", async () => {
  let state = "held";
  let release;
  const held = new Promise((resolve) => (release = resolve));
  const before = (page) => page.route(/\/api\/v1\/costs(\/changes)?\?(?=.*(compare=prev|[?&]key=))(?!.*granularity)(?!.*filter)/, async (route) => {
    if (state === "held") await held;
    if (state === "failed") return route.fulfill({ status: 500, contentType: "application/problem+json", body: JSON.stringify({ type: "internal", code: "internal", title: "Internal error", status: 500, detail: "on purpose", request_id: "req-1" }) });
    if (!route.request().url().includes("/changes")) return route.fallback();
    const answer = await (await route.fetch()).json();
    return route.fulfill({ json: { ...answer, change: "0.00", pools: [], terms: [] } });
  });
  await on("/tenants/{largest}?r=7d", async (page) => {
    const place = page.getByRole("region", { name: "Why the cost changed" });
    const fact = (label) => page.locator(".facts div", { has: page.locator("dt", { hasText: label }) });
    await fact("Direct").waitFor();
    for (const one of [place, fact("Rank"), fact("Share")]) await one.locator(".bone").first().waitFor();
    assert.doesNotMatch(await fact("Rank").innerText(), /–/, "no dash stands for a rank that is not known yet");
    state = "failed";
    release();
    for (const one of [place, fact("Rank"), fact("Share")]) await one.getByText("req-1").waitFor();
    state = "unchanged";
    await place.getByRole("button", { name: "Try again" }).click();
    await fact("Rank").getByRole("button", { name: "Try again" }).click();
    await settled(page);
    assert.match(await place.innerText(), /^Unchanged against .+\d\.$/m);
    assert.match(await fact("Rank").innerText(), /\d+ of \d+/);
    assert.match(await fact("Share").innerText(), /\d%/);
  }, { before, allow: /status of 500/ });
});

test("the palette finds pages and names by keyboard alone", async () => {
  await on("/", async (page) => {
    await settled(page);
    await page.keyboard.press("Control+k");
    const field = page.getByRole("combobox");
    await field.fill("month");
    await page.getByRole("option", { name: /Month-end/ }).waitFor();
    await expectAccessible(page, "palette");
    await field.press("Enter");
    await page.getByRole("heading", { name: /^Month-end/ }).waitFor();
    await page.keyboard.press("Control+k");
    await page.getByRole("combobox").fill(largest);
    await page.getByRole("option", { name: new RegExp(`workspace ${largest}`) }).waitFor();
    await page.keyboard.press("Enter");
    await page.waitForURL(`**/tenants/${largest}`);
  });
});

test("on systems of Apple the palette is said to open with ⌘K, and does", async () => {
  await on("/", async (page) => {
    await settled(page);
    assert.equal(await page.locator("header .find kbd").innerText(), "⌘K");
    await page.keyboard.press("?");
    assert.equal(await page.getByRole("dialog").locator("kbd").first().innerText(), "⌘K");
    await page.keyboard.press("Escape");
    await page.keyboard.press("Meta+k");
    await page.getByRole("combobox").waitFor();
  }, { before: (page) => page.addInitScript(() => Object.defineProperty(navigator, "platform", { get: () => "MacIntel" })) });
});

test("a cluster and a workspace without figures say which job brings them, when it runs next, and offer to run it", async () => {
  const next = (job) => new RegExp(`${job}: it runs at \\d\\d:\\d\\d UTC, next \\w+ \\d+, \\d\\d:\\d\\d\\.`);
  const day = new Date(Date.parse(last) - 86_400_000).toISOString().slice(0, 10);
  const run = { id: "run-x", status: "succeeded", from: day, to: day, posting: null, entries: 0, warnings: [], error: null, created_at: `${day}T00:00:00Z` };
  await on(`/clusters/shared-west-us?d=${day}`, async (page) => {
    await settled(page);
    const ranking = page.getByRole("region", { name: /^Ranking/ });
    assert.match(await ranking.innerText(), next("The attribution job posts the days that are over"));
    const asking = page.waitForRequest((request) => request.method() === "POST");
    await ranking.getByRole("button", { name: "Run now" }).click();
    assert.deepEqual((await asking).postDataJSON(), { from: day, to: day, pools: ["shared-west-us"] });
    await settled(page);
  }, {
    before: async (page) => {
      await page.route(/\/comparison\?/, (route) => route.fulfill({ status: 404, contentType: "application/problem+json", body: JSON.stringify({ type: "not_attributed", code: "not_attributed", title: "Not attributed", status: 404, request_id: "req-1" }) }));
      await page.route(/\/api\/v1\/runs$/, (route) => (route.request().method() === "POST" ? route.fulfill({ json: run }) : route.fallback()));
    },
  });
  const nothing = (page) => page.route(/\/api\/v1\/snapshots\?/, (route) => route.fulfill({ json: { rows: [], next_cursor: null } }));
  const job = { job: "snapshot", at: "00:10", timezone: "UTC", next_run_at: `${day}T00:10:00Z`, attempts: 0 };
  await on("/tenants/{largest}", async (page) => {
    await settled(page);
    const metrics = page.getByRole("region", { name: "90 days of each metric" });
    assert.match(await metrics.innerText(), next("The snapshot job measures every workspace"));
    assert.equal(await metrics.getByRole("button", { name: "Run now" }).count(), 1);
    await expectAccessible(page, "no snapshot");
    await picture(page, "no-snapshot");
  }, { before: async (page) => { await nothing(page); await page.route(/\/api\/v1\/schedule/, (route) => route.fulfill({ json: { rows: [job], next_cursor: null } })); } });
  const { token } = await ask(server, "/tokens", { method: "POST", body: { role: "tenant_owner", name: "own", tenants: [largest] } });
  await on("/tenants/{largest}", async (page) => {
    await settled(page);
    const metrics = page.getByRole("region", { name: "90 days of each metric" });
    assert.match(await metrics.innerText(), /The snapshot job measures every workspace: it runs at \d\d:\d\d UTC\./);
    assert.equal(await metrics.getByRole("button", { name: "Run now" }).count(), 0);
  }, { token, before: nothing });
});

test("rows, period, search and pages are reached by keys", async () => {
  await on("/settings/tenants", async (page) => {
    await settled(page, "Workspaces");
    await page.keyboard.press("j");
    await page.keyboard.press("j");
    assert.equal(await page.evaluate(() => [...document.querySelectorAll("main [data-row]")].indexOf(document.activeElement)), 1);
    await page.keyboard.press("/");
    await page.keyboard.type(largest);
    await page.waitForFunction(() => document.querySelectorAll("main tbody tr").length === 1);
    await queried(page, `?q=${largest}`);
    await page.keyboard.press("Escape");
    await page.waitForFunction(() => document.querySelectorAll("main tbody tr").length > 1);
    await page.evaluate(() => document.activeElement.blur());
    await page.keyboard.press("g");
    await page.keyboard.press("h");
    await settled(page, "Overhead");
    await page.keyboard.press("ArrowLeft");
    await queried(page, /^\?r=\d{4}-\d\d-\d\d\.\.\d{4}-\d\d-\d\d$/);
    const download = page.waitForEvent("download");
    await page.keyboard.press("e");
    await download;
  });
});

test("on a narrow screen the menu opens, leads on and closes", async () => {
  await on("/", async (page) => {
    await settled(page);
    await page.getByRole("button", { name: "Menu" }).click();
    await expectAccessible(page, "menu");
    await page.getByRole("dialog").getByRole("link", { name: "Ledger" }).click();
    await settled(page, "Ledger");
    assert.equal(await page.locator("dialog[open]").count(), 0);
  }, { width: 320 });
});

test("a week is ringed when one of its days was restated, and the posting that did it is named and linked", async () => {
  const { today } = await ask(server, "/settings");
  const [first, second] = [8, 9].map((back) => new Date(Date.parse(today) - back * 86_400_000).toISOString().slice(0, 10));
  const restated = [{ date: second, times: 1, postings: [2] }, { date: first, times: 3, postings: [4, 3] }];
  const weekOf = (day) => new Date(Date.parse(day) - ((new Date(day).getUTCDay() + 6) % 7) * 86_400_000).toISOString().slice(0, 10);
  await on("/unit-costs?r=30d", async (page) => {
    await settled(page);
    const chart = page.getByRole("region", { name: /^Cost of workflows per week/ });
    assert.equal(await chart.locator("g.bar circle.ring").count(), new Set([first, second].map(weekOf)).size);
    assert.match(await chart.locator("p.restated").innerText(), /^Restated: .+ by posting 2; .+ by posting 4, posting 3 and 1 before\.$/);
    assert.match(await chart.getByRole("img").getAttribute("aria-label"), / 2 days restated\.$/);
    const links = await chart.locator("p.restated a").evaluateAll((all) => all.map((link) => new URL(link.href).search));
    assert.deepEqual(links, [`?t=entries&posting=2&day=${second}`, `?t=entries&posting=4&day=${first}`, `?t=entries&posting=3&day=${first}`]);
    await expectAccessible(page, "restated weeks");
  }, {
    before: (page) => page.route(/\/api\/v1\/unit-costs\?/, async (route) => {
      const answer = await (await route.fetch()).json();
      await route.fulfill({ json: { ...answer, meta: { ...answer.meta, restated } } });
    }),
  });
});

test("flow: labels stay in the drawing, and what is cut is said in full", async () => {
  for (const width of [1280, 960]) {
    await on("/flow", async (page) => {
      await settled(page, "Flow");
      const found = await page.locator("svg[role=img]").evaluate((svg) => {
        const box = svg.parentElement.getBoundingClientRect();
        const out = [...svg.querySelectorAll("text")].map((text) => ({ text: text.textContent, place: text.getBoundingClientRect(), full: text.parentElement.querySelector("title").textContent }));
        return out.map(({ text, place, full }) => ({ text, full, isInside: box.left <= place.left && place.right <= box.right + 0.5 }));
      });
      assert.ok(found.length > 6);
      assert.deepEqual(found.filter(({ isInside }) => !isInside), [], `${width} px`);
      for (const { text, full } of found) assert.ok(full.startsWith(text.split("…")[0].replace(/ [^ ]*$/, "")), `${text}: ${full}`);
      await picture(page, `flow-labels-${width}`);
    }, { width });
  }
});

test("a chart is saved as a picture, and the policy of the page lets it", async () => {
  await on("/clusters", async (page) => {
    await settled(page);
    const download = page.waitForEvent("download");
    await page.getByRole("button", { name: "PNG" }).click();
    const file = await (await download).createReadStream();
    const [first] = await file.take(1).toArray();
    assert.equal(first.subarray(1, 4).toString(), "PNG");
  });
});

test("a refresh of a source that is under way can be cancelled, also after a reload, and by a platform admin only", async () => {
  const source = (refresh) => ({ name: "bills", kind: "vercel", state: "ok", last_success_at: null, last_error_at: null, last_error: null, rows: 0, through: null, progress: null, refresh, last_started_at: null, every_seconds: 86_400, settle_seconds: 0, changed_later: 0, rejected: 0, skipped_values: 0, warnings: [] });
  let refresh = "running";
  const cancels = [];
  const before = (page) => page.route(/\/api\/v1\/sources[?/]/, (route) => {
    const request = route.request();
    if (request.method() === "GET") return route.fulfill({ json: { rows: [source(refresh)], next_cursor: null } });
    cancels.push(new URL(request.url()).pathname);
    refresh = "cancelled";
    return route.fulfill({ status: 202, json: source("running") });
  });
  await on("/data", async (page) => {
    await settled(page, "Data");
    await page.reload();
    await settled(page, "Data");
    const table = page.getByRole("region", { name: "Sources, table", exact: true });
    await table.getByRole("button", { name: "Cancel", exact: true }).focus();
    await page.keyboard.press("Enter");
    await table.getByRole("button", { name: "Run now", exact: true }).waitFor();
    assert.deepEqual(cancels, ["/api/v1/sources/bills/refresh/cancel"]);
    await expectAccessible(page, "data, cancelled");
  }, { before });
  refresh = "running";
  const { token } = await ask(server, "/tokens", { method: "POST", body: { role: "admin", name: "reader" } });
  await on("/data", async (page) => {
    await settled(page, "Data");
    assert.equal(await page.getByRole("button", { name: "Cancel", exact: true }).count(), 0);
  }, { before, token });
});

test("a double click reads a source and cancels nothing; a cancel that came too early can be asked for again", async () => {
  const source = { name: "bills", kind: "vercel", state: "ok", rows: 0, refresh: null, every_seconds: 86_400, settle_seconds: 0, changed_later: 0, rejected: 0, skipped_values: 0, warnings: [] };
  const asked = [];
  let end;
  const ended = new Promise((resolve) => (end = resolve));
  await on("/data", async (page) => {
    await settled(page, "Data");
    const table = page.getByRole("region", { name: "Sources, table", exact: true });
    await table.getByRole("button", { name: "Run now", exact: true }).dblclick();
    const button = table.getByRole("button", { name: "Cancel", exact: true });
    await button.click();
    await button.click();
    await page.getByText("bills: cancelled. What was stored before stays.").waitFor();
    assert.deepEqual(asked, ["refresh", "cancel", "cancel"]);
  }, {
    allow: /status of 409/,
    before: (page) => page.route(/\/api\/v1\/sources[?/]/, async (route) => {
      if (route.request().method() === "GET") return route.fulfill({ json: { rows: [source], next_cursor: null } });
      const what = new URL(route.request().url()).pathname.split("/").at(-1);
      const isFirst = !asked.includes(what);
      asked.push(what);
      if (what === "cancel" && isFirst) return route.fulfill({ json: source });
      if (what === "cancel") end();
      if (what === "cancel") return route.fulfill({ status: 202, json: { ...source, refresh: "running" } });
      await ended;
      const problem = { type: "run_cancelled", code: "run_cancelled", title: "Run cancelled", status: 409, detail: "cancelled by tok-1", request_id: "req-1" };
      return route.fulfill({ status: 409, contentType: "application/problem+json", body: JSON.stringify(problem) });
    }),
  });
});

test("the button of a source that measures workspaces keeps the focus, and a look that fails leaves the sources in sight", async () => {
  const source = { name: "app", kind: "postgres_snapshot", state: "ok", rows: 0, refresh: null, every_seconds: 86_400, settle_seconds: 0, changed_later: 0, rejected: 0, skipped_values: 0, warnings: [] };
  let end;
  let fails = false;
  let posts = 0;
  const ended = new Promise((resolve) => (end = resolve));
  await on("/data", async (page) => {
    await settled(page, "Data");
    const table = page.getByRole("region", { name: "Sources, table", exact: true });
    const focused = (name) => table.getByRole("button", { name, exact: true }).evaluate((button) => button === document.activeElement);
    await table.getByRole("button", { name: "Run now", exact: true }).focus();
    await page.keyboard.press("Enter");
    await table.getByRole("button", { name: "Reading …", exact: true }).waitFor();
    assert.ok(await focused("Reading …"));
    await page.keyboard.press("Enter");
    fails = true;
    end();
    await page.getByText("The last read failed; below stands what was read before.").waitFor();
    assert.ok(await focused("Run now"));
    assert.equal(posts, 1);
    fails = false;
    await page.getByRole("button", { name: "Try again" }).click();
    await settled(page, "Data");
    assert.equal(await page.getByRole("alert").count(), 0);
  }, {
    allow: /status of 500/,
    before: (page) => page.route(/\/api\/v1\/sources[?/]/, async (route) => {
      if (route.request().method() === "GET" && fails) return route.fulfill({ status: 500, contentType: "application/problem+json", body: JSON.stringify({ type: "internal", code: "internal", title: "Internal error", status: 500, detail: "on purpose", request_id: "req-1" }) });
      if (route.request().method() === "GET") return route.fulfill({ json: { rows: [source], next_cursor: null } });
      posts += 1;
      await ended;
      return route.fulfill({ json: { accepted: 24, duplicates: 0, rejected_total: 0, warnings: [] } });
    }),
  });
});

test("a refresh that somebody cancels is said to be cancelled, not to have failed", async () => {
  const source = { name: "bills", kind: "vercel", state: "ok", rows: 0, refresh: null, every_seconds: 86_400, settle_seconds: 0, changed_later: 0, rejected: 0, skipped_values: 0, warnings: [] };
  let end;
  const ended = new Promise((resolve) => (end = resolve));
  await on("/data", async (page) => {
    await settled(page, "Data");
    const table = page.getByRole("region", { name: "Sources, table", exact: true });
    await table.getByRole("button", { name: "Run now", exact: true }).click();
    await table.getByRole("button", { name: "Cancel", exact: true }).click();
    await page.getByText("bills: cancelled. What was stored before stays.").waitFor();
    await table.getByRole("button", { name: "Run now", exact: true }).waitFor();
  }, {
    allow: /status of 409/,
    before: (page) => page.route(/\/api\/v1\/sources[?/]/, async (route) => {
      const path = new URL(route.request().url()).pathname;
      if (path.endsWith("/cancel")) {
        end();
        return route.fulfill({ status: 202, json: { ...source, refresh: "running" } });
      }
      if (!path.endsWith("/refresh")) return route.fulfill({ json: { rows: [source], next_cursor: null } });
      await ended;
      const problem = { type: "run_cancelled", code: "run_cancelled", title: "Run cancelled", status: 409, detail: "cancelled by tok-1", request_id: "req-1" };
      return route.fulfill({ status: 409, contentType: "application/problem+json", body: JSON.stringify(problem) });
    }),
  });
});
