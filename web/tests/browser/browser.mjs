// One Chromium for all tests of a file, and a page per test that must not ask anybody but its server.
import { chromium } from "playwright-core";
import { EventEmitter, once } from "node:events";
import { readFile } from "node:fs/promises";
import { createRequire } from "node:module";
import { after } from "node:test";
import assert from "node:assert/strict";

const AXE = await readFile(createRequire(import.meta.url).resolve("axe-core/axe.min.js"), "utf8");
const FLAGS = ["--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking", "--disable-component-update", "--disable-sync"];
/** `APPORTION_SLOW_MS=1500` brings every answer of the API up to so many ms late, in a browser four times as slow: no test may mind. */
const SLOW_MS = Number(process.env.APPORTION_SLOW_MS ?? 0);
const SLOW_TIMES = 4;
/** Longest that anything of a page may take: a busy machine is slow, which is no fault. */
const WAIT_MS_MAX = SLOW_MS > 0 ? 180_000 : 60_000;

export function launch() {
  return chromium.launch({ executablePath: process.env.CHROMIUM ?? "/usr/bin/chromium", args: FLAGS });
}

/** Starts a server and a browser for the tests of a file and ends both after them; returns them, and what `more` makes of the server. */
export async function prepared(start, more = () => ({})) {
  const [server, browser] = await Promise.all([start(), launch()]);
  const end = async () => {
    await browser.close();
    await server.stop();
  };
  try {
    const found = await more(server);
    after(end);
    return { server, browser, ...found };
  } catch (error) {
    await end();
    throw error;
  }
}

/** Returns a new page; `faults` gathers what must not happen: errors, refused loads, requests to anybody else. */
export async function open(browser, server, { width = 1280, height = 900, scheme = "light", token = server.token, allow = /$^/ } = {}) {
  const context = await browser.newContext({ viewport: { width, height }, colorScheme: scheme, locale: "en-US", timezoneId: "America/New_York", acceptDownloads: true });
  context.setDefaultTimeout(WAIT_MS_MAX);
  const page = await context.newPage();
  if (SLOW_MS > 0) await slowDown(page);
  follow(page);
  const faults = [];
  page.on("pageerror", (error) => faults.push(String(error)));
  page.on("console", (message) => {
    // A refusal of the API is said by the browser too; pages show it themselves.
    const isSaid = /status of (400|401|403|404)/.test(message.text()) || allow.test(message.text());
    if (message.type() === "error" && !isSaid) faults.push(message.text());
  });
  page.on("request", (request) => {
    const url = new URL(request.url());
    if (!request.url().startsWith(server.url) && !/^(data|blob):/.test(url.protocol)) faults.push(`asked ${request.url()}`);
  });
  if (token !== null) {
    await page.addInitScript((value) => sessionStorage.setItem("apportion.token", value), token);
  }
  return { page, faults, close: () => context.close() };
}

async function slowDown(page) {
  const late = () => new Promise((resolve) => setTimeout(resolve, Math.random() * SLOW_MS));
  const route = page.route.bind(page);
  page.route = (what, answer, options) => route(what, async (...given) => { await late(); await answer(...given); }, options);
  await page.context().route("**/api/v1/**", async (given) => { await late(); await given.continue().catch(() => undefined); });
  const session = await page.context().newCDPSession(page);
  await session.send("Emulation.setCPUThrottlingRate", { rate: SLOW_TIMES });
}

/** What each page has asked and not heard yet, and how often it asked. */
const questions = new WeakMap();

function follow(page) {
  const known = Object.assign(new EventEmitter(), { open: new Set(), total: 0 });
  questions.set(page, known);
  page.on("request", (request) => {
    // A new document hears nothing of what the one before had asked.
    if (request.isNavigationRequest()) known.open.clear();
    // A stream ends when what it tells of does.
    if (!request.url().startsWith("http") || request.headers().accept?.includes("text/event-stream")) return;
    known.open.add(request);
    known.total += 1;
  });
  for (const end of ["requestfinished", "requestfailed"]) {
    page.on(end, (request) => {
      if (known.open.delete(request) && known.open.size === 0) known.emit("quiet");
    });
  }
}

/** Waits until nothing of the page is on its way: no question, no outline, nothing dimmed; and what came is drawn. */
export async function settled(page, heading, wait = WAIT_MS_MAX) {
  await page.getByRole("heading", { level: 1, ...(heading ? { name: heading, exact: true } : {}) }).first().waitFor();
  const asked = questions.get(page);
  for (let total = null; total !== asked.total || asked.open.size > 0; ) {
    total = asked.total;
    if (asked.open.size > 0) {
      const waiting = once(asked, "quiet", { signal: AbortSignal.timeout(wait) });
      await waiting.catch(() => assert.fail(`no answer yet: ${[...asked.open].map((request) => request.url()).join(", ")}`));
    }
    await page.evaluate(() => new Promise((resolve) => requestAnimationFrame(() => requestAnimationFrame(resolve))));
    await page.waitForFunction(() => document.querySelector(".bone, [aria-busy=true], .busy") === null);
  }
}

/** Waits until the address has this query; the browser tells of it a moment after the page changed it. */
export function queried(page, search) {
  return page.waitForURL((url) => (typeof search === "string" ? url.search === search : search.test(url.search)));
}

const RULES = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"];
/** Of those, the rules that a theme can break. */
const RULES_OF_COLOUR = { type: "rule", values: ["color-contrast", "link-in-text-block"] };

/** Fails when axe finds anything, in words that say where. */
export async function expectAccessible(page, place, runOnly = RULES) {
  if (!(await page.evaluate(() => "axe" in globalThis))) await page.evaluate(AXE);
  const { violations } = await page.evaluate((options) => globalThis.axe.run(document, options), { runOnly, resultTypes: ["violations"] });
  const found = violations.flatMap(({ id, nodes }) => nodes.map((node) => `${id}: ${node.target.join(" ")}: ${node.failureSummary}`));
  assert.deepEqual(found.slice(0, 8), [], `${place}: ${found.length} findings`);
}

/** Fails when the page can be scrolled sideways. */
export async function expectNoSidewaysScroll(page, place) {
  const [scroll, client] = await page.evaluate(() => [document.documentElement.scrollWidth, document.documentElement.clientWidth]);
  assert.ok(scroll <= client, `${place}: ${scroll} px in ${client} px`);
}

/** Fails when a page says that something failed, is not accessible, or scrolls sideways. */
export async function expectWhole(page, place, runOnly = RULES) {
  assert.deepEqual(await page.getByRole("alert").allInnerTexts(), [], place);
  await expectAccessible(page, place, runOnly);
  await expectNoSidewaysScroll(page, place);
  await picture(page, place);
}

/** An open page is whole in both themes at each width. A theme that changes nothing of the document is looked at for its colours. */
export async function expectWholeEverywhere(page, name, widths = [1280, 320]) {
  const { height } = page.viewportSize();
  for (const width of widths) {
    await page.setViewportSize({ width, height });
    let light = null;
    for (const scheme of ["light", "dark"]) {
      await page.emulateMedia({ colorScheme: scheme });
      await settled(page);
      const drawn = await page.evaluate(() => document.documentElement.outerHTML);
      await expectWhole(page, `${name}-${scheme}-${width}`, drawn === light ? RULES_OF_COLOUR : RULES);
      light = drawn;
    }
  }
}

/** What a browser draws in one piece. */
const PICTURE_PIXELS_MAX = 16_000;

/** Keeps a picture when a folder for pictures is named; of a page that is longer, such as the API's, what is in sight. */
export async function picture(page, name) {
  const folder = process.env.APPORTION_PICTURES;
  if (!folder) return;
  const fullPage = await page.evaluate((most) => document.documentElement.scrollHeight <= most, PICTURE_PIXELS_MAX);
  await page.screenshot({ path: `${folder}/${name}.png`, fullPage });
}
