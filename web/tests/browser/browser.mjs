// One Chromium for all tests of a file, and a page per test that must not ask anybody but its server.
import { chromium } from "playwright-core";
import { readFile } from "node:fs/promises";
import { createRequire } from "node:module";
import assert from "node:assert/strict";

const AXE = await readFile(createRequire(import.meta.url).resolve("axe-core/axe.min.js"), "utf8");
const FLAGS = ["--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking", "--disable-component-update", "--disable-sync"];

export function launch() {
  return chromium.launch({ executablePath: process.env.CHROMIUM ?? "/usr/bin/chromium", args: FLAGS });
}

/** Returns a new page; `faults` gathers what must not happen: errors, refused loads, requests to anybody else. */
export async function open(browser, server, { width = 1280, height = 900, scheme = "light", token = server.token, allow = /$^/ } = {}) {
  const context = await browser.newContext({ viewport: { width, height }, colorScheme: scheme, locale: "en-US", timezoneId: "America/New_York", acceptDownloads: true });
  const page = await context.newPage();
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

/** Fails when axe finds anything, in words that say where. */
export async function expectAccessible(page, place) {
  await page.evaluate(AXE);
  const { violations } = await page.evaluate(() => globalThis.axe.run(document, { runOnly: ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"] }));
  const found = violations.flatMap(({ id, nodes }) => nodes.map((node) => `${id}: ${node.target.join(" ")}: ${node.failureSummary}`));
  assert.deepEqual(found.slice(0, 8), [], `${place}: ${found.length} findings`);
}

/** Fails when the page can be scrolled sideways. */
export async function expectNoSidewaysScroll(page, place) {
  const [scroll, client] = await page.evaluate(() => [document.documentElement.scrollWidth, document.documentElement.clientWidth]);
  assert.ok(scroll <= client, `${place}: ${scroll} px in ${client} px`);
}

/** Keeps a picture when a folder for pictures is named. */
export async function picture(page, name) {
  const folder = process.env.APPORTION_PICTURES;
  if (folder) await page.screenshot({ path: `${folder}/${name}.png`, fullPage: true });
}
