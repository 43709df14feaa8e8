// What each page does when the server fails, is gone, is slow, has no data, or does not know the token any more: it says
// what is wrong and what to do, and is whole again without a reload.
import { after, before, test } from "node:test";
import assert from "node:assert/strict";
import { expectAccessible, launch, open, picture, queried, settled } from "./browser.mjs";
import { EVERY, people, visit } from "./every.mjs";
import { ask, startDemo, startEmpty } from "./server.mjs";

const DATA = /\/api\/v1\/(?!settings)/;
const ALLOW = /status of (500|503)|ERR_FAILED|ERR_CONNECTION|Failed to fetch/;
const problem = (status, code, title) => ({ status, contentType: "application/problem+json", body: JSON.stringify({ type: "about:blank", code, title, status, detail: `${title} on purpose`, request_id: "req-x", instance: "/", errors: [] }) });

let server;
let browser;
let who;
before(async () => {
  [server, browser] = await Promise.all([startDemo(), launch()]);
  who = await people(server);
});
after(async () => {
  await browser?.close();
  await server?.stop();
});

/** Presses every "Try again" until none is left. */
async function tryAgain(page) {
  const buttons = page.getByRole("button", { name: "Try again" });
  for (let turn = 0; turn < 16 && (await buttons.count()) > 0; turn += 1) {
    await buttons.first().click();
    await settled(page);
  }
  await settled(page);
  assert.deepEqual(await page.getByRole("alert").allInnerTexts(), [], page.url());
}

for (const [name, entry] of Object.entries(EVERY)) {
  test(`${name}: a server that answers 500 and then none at all is said to do so, and tried again`, async () => {
    let state = "fails";
    await visit(browser, server, who, entry, async (page) => {
      const address = page.url();
      await page.getByRole("alert").first().waitFor();
      assert.match((await page.getByRole("alert").allInnerTexts()).join(), /request req-x/);
      state = "gone";
      await page.getByRole("button", { name: "Try again" }).first().click();
      await page.getByText("could not be reached. Check the connection and try again").first().waitFor();
      state = "well";
      await tryAgain(page);
      assert.equal(page.url(), address, "the state is kept");
    }, {
      allow: ALLOW,
      before: (page) => page.route(DATA, (route) => (state === "well" ? route.fallback() : state === "gone" ? route.abort("connectionrefused") : route.fulfill(problem(500, "internal", "Internal error")))),
    });
  });

  test(`${name}: a slow answer shows the page's outline, but none before 300 ms; what was there stays, dimmed`, async () => {
    let release = () => undefined;
    let held = null;
    const hold = () => (held = new Promise((resolve) => (release = resolve)));
    hold();
    await visit(browser, server, who, entry, async (page) => {
      // In one look: the outline of a page still on its way gives place to the page's own.
      await page.waitForFunction(() => {
        const bones = [...document.querySelectorAll(".bone")];
        return bones.length > 0 && bones.every((bone) => getComputedStyle(bone).animationDelay === "0.3s");
      });
      await page.waitForFunction(() => [...document.querySelectorAll(".bone")].some((element) => Number(getComputedStyle(element).opacity) > 0.5));
      assert.ok((await page.getByRole("status").allInnerTexts()).some((text) => text.includes("Loading")));
      release();
      held = null;
      await settled(page);
      const period = page.getByRole("button", { name: "90 days", exact: true });
      if ((await period.count()) === 0) return;
      const rows = await page.getByRole("row").count();
      hold();
      await period.click();
      await page.waitForFunction(() => {
        const dimmed = document.querySelector(".busy");
        return dimmed !== null && getComputedStyle(dimmed).transitionDelay.startsWith("0.3s");
      });
      assert.equal(await page.getByRole("row").count(), rows, "what was there stays");
      assert.equal(await page.locator(".bone").count(), 0);
      release();
      held = null;
      await settled(page);
    }, { before: (page) => page.route(DATA, async (route) => { await held; await route.fallback().catch(() => undefined); }) });
  });

  test(`${name}: an expired login says so, leads to signing in, and back to the same page and state`, async () => {
    let isOver = true;
    await visit(browser, server, who, entry, async (page) => {
      await page.getByText("Your session has ended. Sign in again.").waitFor();
      await page.waitForURL((url) => url.pathname === "/login");
      isOver = false;
      await page.getByLabel("Access token").fill(entry.own ? who.owner : server.token);
      await page.getByRole("button", { name: "Sign in" }).click();
      await page.waitForURL((url) => url.pathname !== "/login");
      await settled(page);
      const { pathname, search } = new URL(page.url());
      assert.equal(pathname + search, entry.at.replace("{largest}", encodeURIComponent(who.largest)));
      assert.deepEqual(await page.getByRole("alert").allInnerTexts(), []);
    }, { before: (page) => page.route(DATA, (route) => (isOver ? route.fulfill(problem(401, "unauthenticated", "Unauthenticated")) : route.fallback())) });
  });
}

test("a server that fails at the start takes nobody's token away", async () => {
  let fails = true;
  await visit(browser, server, who, EVERY.overhead, async (page) => {
    await page.getByRole("alert").getByText("request req-x").waitFor();
    await expectAccessible(page, "server fails at the start");
    fails = false;
    await page.getByRole("button", { name: "Try again" }).click();
    await page.getByRole("heading", { name: "Overhead", level: 1 }).waitFor();
    await settled(page);
    await queried(page, "?r=7d");
  }, { allow: ALLOW, before: (page) => page.route("**/api/v1/settings", (route) => (fails ? route.fulfill(problem(503, "unavailable", "Unavailable")) : route.fallback())) });
});

test("a part of the pages that does not arrive is asked for again", async () => {
  let isGone = true;
  await visit(browser, server, who, EVERY.overhead, async (page) => {
    await page.getByRole("alert").getByText("could not be reached").waitFor();
    isGone = false;
    await page.getByRole("button", { name: "Try again" }).click();
    await settled(page);
    assert.deepEqual(await page.getByRole("alert").allInnerTexts(), []);
  }, { allow: ALLOW, before: (page) => page.route("**/assets/Overhead-*.js", (route) => (isGone ? route.abort("connectionrefused") : route.fallback())) });
});

test("a server without data says on every page what fills it, when that runs next, and offers to run it", async () => {
  const empty = await startEmpty("/costs");
  try {
    const { token } = await ask(empty, "/tokens", { method: "POST", body: { role: "tenant_owner", name: "owner", tenants: ["acme"] } });
    for (const [name, { at, own, empty: says, isPosted }] of Object.entries(EVERY)) {
      if (!says) continue;
      const { page, faults, close } = await open(browser, empty, own ? { token } : {});
      await page.goto(`${empty.url}${at.replace("{largest}", "acme").replace("?q=a", "")}`);
      await page.getByText(says).first().waitFor();
      await settled(page);
      assert.deepEqual(await page.getByRole("alert").allInnerTexts(), [], name);
      const text = await page.locator("main").innerText();
      if (isPosted) assert.match(text, /The attribution job posts the days that are over: it runs at \d\d:\d\d UTC, next \w+ \d+, \d\d:\d\d\./, name);
      else assert.match(text, /\d\d:\d\d/, `${name} names the time of a job`);
      if (!own) assert.ok((await page.getByRole("button", { name: /^(Run now|Run the snapshot|Attribute due days)/ }).count()) > 0, `${name} offers a run`);
      await expectAccessible(page, `empty ${name}`);
      await picture(page, `nothing-${name}`);
      if (name === "overview") {
        await page.getByRole("button", { name: "Run now" }).click();
        await page.getByText("Nothing had changed: no new posting.").waitFor();
      }
      assert.deepEqual(faults, [], name);
      await close();
    }
  } finally {
    await empty.stop();
  }
});
