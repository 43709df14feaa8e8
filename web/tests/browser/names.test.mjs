// Text from outside is text on every page. The server's own answers are shown with other names in them: what a page
// is given, also where the server would refuse such a name today.
import { test } from "node:test";
import assert from "node:assert/strict";
import { readFile } from "node:fs/promises";
import { expectNoSidewaysScroll, picture, prepared, settled } from "./browser.mjs";
import { EVERY, visit, withPeople } from "./every.mjs";
import { ask, startDemo } from "./server.mjs";

const NAMES = [
  "<script>alert(1)</script>",
  '=HYPERLINK("http://x","y")',
  "\u202Egnp.exe \u0634\u0631\u0643\u0629",
  `x${"a".repeat(199)}`,
  "<img src=x onerror=alert(1)>",
];
/** The fields of answers that hold what a person or a provider wrote, at any depth. */
const FIELDS = /^(name|slug|tenants?|(from|to)_tenant|consumers?|pools?|service|provider|sources?|account|(billing|sub)_account|toml|plan|parent|cost_center|gl_account|owners?|aliases|actor|requested_by|created_by|changed_by|entered_by|target|reason|note|detail|reference|workflow|repo|task_class|label|tags?|labels?|last_error|resource|region|organisation)$/;
/** Words of the interface itself, which pages go by. */
const OWN_WORDS = /^(__.*|active|archived|system|local|admin|\d{4}-\d\d(-\d\d)?)$/;

const { server, browser, who } = await prepared(startDemo, withPeople);

/** Gives names of the server other names, always the same, and knows the way back for the pages' questions. */
class Disguise {
  #names = new Map();

  of(name) {
    if (!this.#names.has(name)) this.#names.set(name, `${NAMES[this.#names.size % NAMES.length]} ${this.#names.size}`);
    return this.#names.get(name);
  }

  /** Returns the answer with other names in it. */
  answer(value, field = "") {
    if (typeof value === "string") return FIELDS.test(field) && value !== "" && !OWN_WORDS.test(value) ? this.of(value) : value;
    if (Array.isArray(value)) return value.map((one) => this.answer(one, field));
    if (value === null || typeof value !== "object") return value;
    const isLabels = field === "labels" || field === "tags";
    return Object.fromEntries(Object.entries(value).map(([name, one]) => [name, this.answer(one, isLabels ? field : name)]));
  }

  /** Returns the address with the server's names in it. */
  question(address) {
    const url = new URL(address);
    url.pathname = url.pathname.split("/").map((part) => encodeURIComponent(this.#back(decodeURIComponent(part)))).join("/");
    for (const [name, value] of url.searchParams) url.searchParams.set(name, this.#back(value));
    return url.href;
  }

  #back(text) {
    // A filter has a backslash before the quotes and stars of a name.
    for (const [name, other] of this.#names) for (const form of [other, other.replace(/[\\"*]/g, "\\$&")]) text = text.replaceAll(form, name);
    return text;
  }

  async route(route) {
    const answer = await route.fetch({ url: this.question(route.request().url()) });
    const isJson = (answer.headers()["content-type"] ?? "").startsWith("application/json");
    await route.fulfill(isJson ? { response: answer, body: JSON.stringify(this.answer(await answer.json())) } : { response: answer });
  }
}

/** In the page: texts whose amounts are drawn from the right, as `$` stands right of its digits. */
function backwards() {
  const walker = document.createTreeWalker(document.querySelector("#app"), NodeFilter.SHOW_TEXT);
  const found = [];
  const letter = (node, at) => {
    const range = document.createRange();
    range.setStart(node, at);
    range.setEnd(node, at + 1);
    return range.getBoundingClientRect();
  };
  for (let node = walker.nextNode(); node; node = walker.nextNode()) {
    const at = node.data.search(/\$\d/);
    const [sign, digit] = at < 0 ? [] : [letter(node, at), letter(node, at + 1)];
    if (sign && sign.width > 0 && Math.abs(sign.top - digit.top) < 2 && sign.left > digit.left) found.push(node.data);
  }
  return found;
}

/** Pages whose demo data hold no name at all. */
const NAMELESS = new Set(["rates", "policies", "overhead"]);

for (const [name, entry] of Object.entries(EVERY)) {
  test(`${name}: script, formula, right-to-left mark and 200 letters are text at both widths`, async () => {
    const disguise = new Disguise();
    const at = entry.at.replace("{largest}", encodeURIComponent(disguise.of(who.largest))).replace("shared-west-us", encodeURIComponent(disguise.of("shared-west-us"))).replace(/\?q=\w+/, "");
    const dialogs = [];
    await visit(browser, server, who, { ...entry, at }, async (page) => {
      for (const width of [1280, 320]) {
        await page.setViewportSize({ width, height: 900 });
        await settled(page);
        assert.deepEqual(await page.getByRole("alert").allInnerTexts(), [], name);
        await expectNoSidewaysScroll(page, `${name} ${width}`);
        await picture(page, `names-${name}-${width}`);
        const found = await page.evaluate(() => ({ text: document.body.textContent, extra: document.querySelectorAll("#app script, #app img, #app iframe, #app object").length, links: [...document.querySelectorAll("#app a")].map((link) => link.protocol) }));
        assert.deepEqual(await page.evaluate(backwards), [], "a mark in a name does not turn the amounts beside it");
        assert.equal(found.extra, 0, "no element comes out of a name");
        assert.ok(found.links.every((protocol) => /^https?:$/.test(protocol)), found.links.join());
        if (!NAMELESS.has(name)) assert.ok(NAMES.some((one) => found.text.includes(one)), "names are shown");
        assert.deepEqual(dialogs, []);
      }
    }, {
      before: async (page) => {
        page.on("dialog", (dialog) => { dialogs.push(dialog.message()); void dialog.dismiss(); });
        await page.route("**/api/v1/**", (route) => disguise.route(route));
      },
    });
  });
}

test("names that the server takes are text in the search of all pages, and no formula in a file", async () => {
  for (const [at, name] of NAMES.slice(0, 3).entries()) await ask(server, `/tenants/odd-${at}`, { method: "PUT", body: { name } });
  await ask(server, `/tenants/x${"a".repeat(199)}`, { method: "PUT", body: { name: "long" } });
  await visit(browser, server, who, { at: "/settings/tenants" }, async (page) => {
    await settled(page);
    for (const name of NAMES.slice(0, 2)) assert.equal(await page.getByRole("link", { name, exact: true }).count(), 1, name);
    const [download] = await Promise.all([page.waitForEvent("download"), page.getByRole("button", { name: "Export CSV" }).click()]);
    const csv = await readFile(await download.path(), "utf8");
    assert.ok(csv.includes(`"'=HYPERLINK(""http://x"",""y"")"`), csv);
    assert.doesNotMatch(csv, /(^|,)"?=/m);
    await page.keyboard.press("Control+k");
    await page.getByRole("combobox").fill("script");
    await page.getByRole("option", { name: NAMES[0] }).waitFor();
    assert.equal(await page.locator("#app script").count(), 0);
  });
});
