// What each page does when the server fails, is gone, is slow, has no data, or does not know the token any more: it says
// what is wrong and what to do, and is whole again without a reload.
import { test } from "node:test";
import assert from "node:assert/strict";
import { expectAccessible, open, picture, prepared, queried, settled } from "./browser.mjs";
import { EVERY, visit, withPeople } from "./every.mjs";
import { ask, readDemo, startEmpty } from "./server.mjs";

const DATA = /\/api\/v1\/(?!settings)/;
const ALLOW = /status of (500|503)|ERR_FAILED|ERR_CONNECTION|Failed to fetch/;
const problem = (status, code, title) => ({ status, contentType: "application/problem+json", body: JSON.stringify({ type: "about:blank", code, title, status, detail: `${title} on purpose`, request_id: "req-x", instance: "/", errors: [] }) });

const { server, browser, who } = await prepared(readDemo, withPeople);

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

/** The server answers 500, then nothing, then as ever. */
async function failsAndRecovers(page, answers) {
  const address = page.url();
  await page.getByRole("alert").first().waitFor();
  assert.match((await page.getByRole("alert").allInnerTexts()).join(), /request req-x/);
  answers.with = (route) => route.abort("connectionrefused");
  await page.getByRole("button", { name: "Try again" }).first().click();
  await page.getByText("could not be reached. Check the connection and try again").first().waitFor();
  answers.with = (route) => route.fallback();
  await tryAgain(page);
  assert.equal(page.url(), address, "the state is kept");
}

/** The server answers when it is let, at first and for other days. */
async function isSlow(page, answers) {
  let release;
  const hold = () => {
    const held = new Promise((resolve) => (release = resolve));
    answers.with = async (route) => { await held; await route.fallback().catch(() => undefined); };
  };
  const letGo = () => {
    release();
    answers.with = (route) => route.fallback();
  };
  hold();
  await page.reload();
  // In one look: the outline of a page still on its way gives place to the page's own.
  await page.waitForFunction(() => {
    const bones = [...document.querySelectorAll(".bone")];
    return bones.length > 0 && bones.every((bone) => getComputedStyle(bone).animationDelay === "0.3s");
  });
  await page.waitForFunction(() => [...document.querySelectorAll(".bone")].some((element) => Number(getComputedStyle(element).opacity) > 0.5));
  await page.getByRole("status").filter({ hasText: "Loading" }).first().waitFor({ state: "attached" });
  letGo();
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
  letGo();
  await settled(page);
}

/** The server does not know the token any more. */
async function isSignedOut(page, answers, address, token) {
  answers.with = (route) => route.fulfill(problem(401, "unauthenticated", "Unauthenticated"));
  await page.goto(address);
  await page.getByText("Your session has ended. Sign in again.").waitFor();
  await page.waitForURL((url) => url.pathname === "/login");
  answers.with = (route) => route.fallback();
  await page.getByLabel("Access token").fill(token);
  await page.getByRole("button", { name: "Sign in" }).click();
  await page.waitForURL((url) => url.href === address);
  await settled(page);
  assert.deepEqual(await page.getByRole("alert").allInnerTexts(), []);
}

for (const [name, entry] of Object.entries(EVERY)) {
  test(`${name}: what it does about a server in trouble`, async (t) => {
    const answers = { with: (route) => route.fulfill(problem(500, "internal", "Internal error")) };
    await visit(browser, server, who, entry, async (page) => {
      const address = page.url();
      await t.test("a server that answers 500 and then none at all is said to do so, and tried again", () => failsAndRecovers(page, answers));
      await t.test("a slow answer shows the page's outline, but none before 300 ms; what was there stays, dimmed", () => isSlow(page, answers));
      await t.test("an expired login says so, leads to signing in, and back to the same page and state", () => isSignedOut(page, answers, address, entry.own ? who.owner : server.token));
    }, { allow: ALLOW, before: (page) => page.route(DATA, (route) => answers.with(route)) });
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

for (const [name, file, open] of [
  ["the palette", "Palette", (page) => page.keyboard.press("Control+k")],
  ["the explanation", "ExplainDialog", (page) => page.locator("td button.press").first().click()],
]) {
  test(`${name} that does not arrive says so and is asked for again`, async () => {
    let isGone = true;
    await visit(browser, server, who, EVERY.overview, async (page) => {
      await settled(page);
      await open(page);
      const dialog = page.getByRole("dialog");
      await dialog.getByText("could not be reached").waitFor();
      await dialog.getByRole("button", { name: "Close" }).click();
      await dialog.waitFor({ state: "detached" });
      await open(page);
      await dialog.getByText("could not be reached").waitFor();
      isGone = false;
      await dialog.getByRole("button", { name: "Try again" }).click();
      await dialog.getByText("could not be reached").waitFor({ state: "detached" });
      await dialog.getByRole("heading").or(dialog.getByRole("combobox")).or(dialog.getByRole("textbox")).first().waitFor();
    }, { allow: ALLOW, before: (page) => page.route(`**/assets/${file}-*.js`, (route) => (isGone ? route.abort("connectionrefused") : route.fallback())) });
  });
}

test("an export that fails names its request and is tried again", async () => {
  let fails = true;
  await visit(browser, server, who, EVERY.clusters, async (page) => {
    await settled(page);
    await page.getByRole("button", { name: "Export CSV" }).click();
    await page.getByRole("alert").getByText("request req-x").waitFor();
    fails = false;
    const saved = page.waitForEvent("download");
    await page.getByRole("button", { name: "Try again" }).click();
    assert.match((await saved).suggestedFilename(), /\.csv$/);
    assert.deepEqual(await page.getByRole("alert").allInnerTexts(), []);
  }, { allow: ALLOW, before: (page) => page.route("**/api/v1/costs?*", (route) => (fails && route.request().headers().accept === "text/csv" ? route.fulfill(problem(500, "internal", "Internal error")) : route.fallback())) });
});
