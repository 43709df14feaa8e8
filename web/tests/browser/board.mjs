// How fast the leaderboard is: first useful paint, frames while all of it is scrolled by, sorting, searching. Nothing is
// asserted here. By itself, `npm run board -- URL TOKEN` measures a server that runs, with whatever it holds:
// the store of `bench/j8.py` (10,000 tenants, 365 days) is the size that is meant.
import { launch, open } from "./browser.mjs";

/** Frames in which the whole board passes; at sixty in a second, ten seconds. */
const FRAMES = 600;
/** Pixels of a frame when somebody reads along: a wheel that turns fast, 7,200 pixels in a second. */
const HAND_PIXELS = 120;
const HAND_FRAMES = 240;

/** Notes when the first rows were painted; before the page is opened. */
export function noteFirstRows(page) {
  return page.addInitScript(() => {
    const seen = new MutationObserver(() => {
      if (!document.querySelector("tbody tr.row")) return;
      seen.disconnect();
      requestAnimationFrame(() => setTimeout(() => (globalThis.firstRows = performance.now())));
    });
    seen.observe(document, { childList: true, subtree: true });
  });
}

/**
 * Scrolls from the first row to the last, or by so many pixels a frame. Returns the time of each frame in ms, sorted, and the
 * most rows drawn at once.
 */
export function scrollAll(page, frames = FRAMES, pixels = null) {
  return page.evaluate(async ({ count, pixels: each }) => {
    const box = [...document.querySelectorAll(".scroll[aria-label*=table]")].at(-1);
    const end = each === null ? box.scrollHeight - box.clientHeight : each * count;
    const frame = () => new Promise((resolve) => requestAnimationFrame(resolve));
    const times = [];
    let rows = 0;
    for (let last = await frame(), at = 1; at <= count; at += 1) {
      box.scrollTop = (end * at) / count;
      const now = await frame();
      times.push(now - last);
      last = now;
      rows = Math.max(rows, document.querySelectorAll("tbody tr.row").length);
    }
    return { times: times.toSorted((a, b) => a - b), rows };
  }, { count: frames, pixels });
}

/** Returns how long a click on the head of a column took until the rows were painted in the new order, in ms. */
export function sortBy(page, head) {
  return page.evaluate(async (text) => {
    const button = [...document.querySelectorAll("thead th button")].find((candidate) => candidate.innerText.includes(text));
    const begun = performance.now();
    button.click();
    await new Promise((resolve) => requestAnimationFrame(() => setTimeout(resolve)));
    return performance.now() - begun;
  }, head);
}

/** Returns how long a search took until its rows were painted, in ms. */
export function searchFor(page, words) {
  return page.evaluate(async (text) => {
    const field = document.querySelector("input[type=search]");
    const begun = performance.now();
    field.value = text;
    field.dispatchEvent(new Event("input", { bubbles: true }));
    await new Promise((resolve) => requestAnimationFrame(() => setTimeout(resolve)));
    return performance.now() - begun;
  }, words);
}

/** Returns the figures of an opened board in whole milliseconds. */
export async function figures(page, { head, words, frames = FRAMES }) {
  const first = await page.waitForFunction(() => globalThis.firstRows);
  const whole = (value) => Math.round(value * 10) / 10;
  const found = { first_rows_ms: whole(await first.jsonValue()) };
  const { times, rows } = await scrollAll(page, frames);
  const by = await scrollAll(page, Math.min(frames, HAND_FRAMES), HAND_PIXELS);
  const at = (part, of = times) => whole(of[Math.min(of.length - 1, Math.floor(of.length * part))]);
  Object.assign(found, { frames: times.length, frame_p50_ms: at(0.5), frame_p95_ms: at(0.95), frame_p99_ms: at(0.99), frame_max_ms: at(1), rows_drawn_max: rows });
  Object.assign(found, { hand_p50_ms: at(0.5, by.times), hand_p95_ms: at(0.95, by.times), hand_max_ms: at(1, by.times) });
  return { ...found, sort_ms: whole(await sortBy(page, head)), search_ms: whole(await searchFor(page, words)) };
}

if (import.meta.filename === process.argv[1]) {
  const [, , url, token] = process.argv;
  if (!url || !token) throw new Error("give the address of a server and a platform admin's token: npm run board -- http://127.0.0.1:8082 apn_…");
  const browser = await launch();
  const { page, close } = await open(browser, { url, token });
  await noteFirstRows(page);
  await page.goto(`${url.replace(/\/$/, "")}/platform/cost?r=365d`);
  console.log(JSON.stringify(await figures(page, { head: "Cost (", words: "7" })));
  await close();
  await browser.close();
}
