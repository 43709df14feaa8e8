// How fast the leaderboard is: first useful paint, frames while all of it is scrolled by, sorting, searching. Nothing is
// asserted here. By itself, `npm run board -- URL TOKEN [RANGE]` measures a server that runs, with whatever it holds, and
// beside it, in the same browser, a box without rows, than which no frame is faster, and one with as many rows and cells of
// text without any script, which is the browser's own share. `make bench JOB=J15` does so with 10,000 tenants and 365 days.
import { launch, open, settled } from "./browser.mjs";

/** Frames in which the whole board passes; at sixty in a second, ten seconds. */
const FRAMES = 600;
/** Pixels of a frame when somebody reads along: a wheel that turns fast, 7,200 pixels in a second. */
const HAND_PIXELS = 120;
const HAND_FRAMES = 240;
/** How long the last answer of a year of many tenants may take. */
const ANSWERS_MS_MAX = 600_000;
/** A frame that takes longer is seen. */
const FRAME_MS_MAX = 20;

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

/**
 * Scrolls from the first row to the last while it counts what that costs without a clock: the most elements below the table's
 * box at once, and how many were made on the way.
 */
export function countWhileScrolling(page, frames) {
  return page.evaluate(async (count) => {
    const box = [...document.querySelectorAll(".scroll[aria-label*=table]")].at(-1);
    const frame = () => new Promise((resolve) => requestAnimationFrame(() => setTimeout(resolve)));
    box.scrollTop = 0;
    await frame();
    await frame();
    const all = () => box.querySelectorAll("*");
    // A row that moves to another place is removed and added, but not made.
    const known = new WeakSet(all());
    let [most, made] = [0, 0];
    const end = box.scrollHeight - box.clientHeight;
    for (let at = 1; at <= count; at += 1) {
      box.scrollTop = (end * at) / count;
      await frame();
      const now = all();
      most = Math.max(most, now.length);
      for (const element of now) {
        made += Number(!known.has(element));
        known.add(element);
      }
    }
    return { elements_max: most, elements_made: made };
  }, frames);
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

const whole = (value) => Math.round(value * 10) / 10;

/** Median, the slowest twentieth, the slowest, and the part of frames that is seen, of times in order. */
function framesOf(times, name) {
  const at = (part) => whole(times[Math.min(times.length - 1, Math.floor(times.length * part))]);
  const slow = times.filter((time) => time > FRAME_MS_MAX).length / times.length;
  return { [`${name}_p50_ms`]: at(0.5), [`${name}_p95_ms`]: at(0.95), [`${name}_max_ms`]: at(1), [`${name}_over_${FRAME_MS_MAX}ms`]: Math.round(slow * 1000) / 1000 };
}

/** Returns the figures of an opened board: times in milliseconds, parts of frames as parts of one. */
export async function figures(page, { head, words, frames = FRAMES }) {
  const first = await page.waitForFunction(() => globalThis.firstRows);
  const found = { first_rows_ms: whole(await first.jsonValue()) };
  // The chart's answer comes after the rows, and a server that computes it on the same cores takes them from the browser.
  await settled(page, undefined, ANSWERS_MS_MAX);
  found.last_answer_ms = whole(await page.evaluate(() => performance.now()));
  const { times, rows } = await scrollAll(page, frames);
  const by = await scrollAll(page, Math.min(frames, HAND_FRAMES), HAND_PIXELS);
  Object.assign(found, { frames: times.length, ...framesOf(times, "frame"), rows_drawn_max: rows, ...framesOf(by.times, "hand") });
  return { ...found, sort_ms: whole(await sortBy(page, head)), search_ms: whole(await searchFor(page, words)) };
}

/** Returns the frames of a box with such content that is scrolled as far. */
async function peer(page, name, content) {
  await page.goto("about:blank");
  await page.setContent(`<style>.row { display: flex; height: 36px; font: 13px/36px system-ui } .row span { flex: 0 0 94px }</style><div class="scroll" aria-label="table" style="height: 700px; overflow: auto">${content}</div>`);
  return framesOf((await scrollAll(page)).times, name);
}

const ROWS = 10_000;
const CELLS = 13;
const staticRows = () => Array.from({ length: ROWS }, (_, row) => `<div class="row">${Array.from({ length: CELLS }, (_, cell) => `<span>${(row * 7919 * (cell + 1)) % 1_000_003}</span>`).join("")}</div>`).join("");

if (import.meta.filename === process.argv[1]) {
  const [, , url, token, range = "365d"] = process.argv;
  if (!url || !token) throw new Error("give the address of a server and a platform admin's token: npm run board -- http://127.0.0.1:8082 apn_…");
  const browser = await launch();
  const { page, close } = await open(browser, { url, token });
  await noteFirstRows(page);
  await page.goto(`${url.replace(/\/$/, "")}/platform/cost?r=${range}`);
  console.log(JSON.stringify({ ...(await figures(page, { head: "Cost (", words: "7" })), ...(await peer(page, "bare", `<div style="height: ${ROWS * 36}px"></div>`)), ...(await peer(page, "static", staticRows())) }));
  await close();
  await browser.close();
}
