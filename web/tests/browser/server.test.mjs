// The real server and its real answers: how pages are served, signing in, one number, the page of the API.
import { after, test } from "node:test";
import assert from "node:assert/strict";
import { expectAccessible, expectNoSidewaysScroll, open, picture, prepared, queried } from "./browser.mjs";
import { ask, readDemo, startEmpty } from "./server.mjs";

const { server, browser, below } = await prepared(readDemo, async () => ({ below: await startEmpty("/costs") }));
after(() => below.stop());

test("pages are served with a strict policy, an ETag and the base path; other addresses stay 404", async () => {
  for (const [{ url }, base] of [[server, "/"], [below, "/costs/"]]) {
    for (const page of ["", "/login", "/platform/cost", "/tenants/acme", "/clusters/a%2Fb", "/ledger", "/close", "/settings/usage", "/audit"]) {
      const answer = await fetch(url + page);
      assert.equal(answer.status, 200);
      assert.match(answer.headers.get("content-type"), /^text\/html/);
      assert.match(answer.headers.get("content-security-policy"), /^default-src 'self'/);
      assert.doesNotMatch(answer.headers.get("content-security-policy"), /unsafe/);
      assert.equal(answer.headers.get("cache-control"), "no-cache");
      const text = await answer.text();
      assert.ok(text.includes(`<base href="${base}">`), text);
      const again = await fetch(url + page, { headers: { "if-none-match": answer.headers.get("etag") } });
      assert.equal(again.status, 304);
      const script = /src="\.\/(assets\/[^"]+\.js)"/.exec(text)?.[1];
      const asset = await fetch(`${url}/${script}`);
      assert.equal(asset.status, 200);
      assert.match(asset.headers.get("content-type"), /^text\/javascript/);
      assert.match(asset.headers.get("cache-control"), /immutable/);
      assert.equal(asset.headers.get("content-encoding"), "gzip");
    }
    for (const path of ["/platform", "/settings", "/platform/cost/x", "/tenants", "/tenants/a/b", "/assets/none.js", "/index.html"]) {
      const answer = await fetch(url + path);
      assert.equal(answer.status, 404, path);
      assert.match(answer.headers.get("content-type"), /problem\+json/, path);
    }
  }
});

test("signing in: a wrong token says so, the right one leads to the page that was asked for, signing out forgets it", async () => {
  const { page, faults, close } = await open(browser, server, { token: null });
  await page.goto(`${server.url}/platform/cost?r=7d`);
  await page.getByRole("heading", { name: "Sign in to Apportion" }).waitFor();
  await expectAccessible(page, "login");
  await page.getByLabel("Access token").fill("apn_wrong");
  await page.getByRole("button", { name: "Sign in" }).click();
  await page.getByRole("alert").getByText("not known").waitFor();
  await page.getByLabel("Access token").fill(server.token);
  await page.getByRole("button", { name: "Sign in" }).click();
  await page.getByRole("heading", { name: "Cost by workspace" }).waitFor();
  await queried(page, "?r=7d");
  await page.getByRole("button", { name: "Sign out" }).click();
  await page.getByRole("heading", { name: "Sign in to Apportion" }).waitFor();
  assert.equal(await page.evaluate(() => sessionStorage.length), 0);
  assert.deepEqual(faults, []);
  await close();
});

test("the page shows the API's posted total and rows, to the last digit", async () => {
  const { page, faults, close } = await open(browser, server);
  await page.goto(`${server.url}/platform/cost?view=posted`);
  await page.locator("tbody tr.row").first().waitFor();
  const { today } = await ask(server, "/settings");
  const from = new Date(Date.parse(today) - 29 * 86_400_000).toISOString().slice(0, 10);
  const answer = await ask(server, `/costs?from=${from}&to=${today}&view=posted&filter=memo:true&group_by=tenant&limit=10000`);
  assert.ok(answer.rows.length > 5);
  assert.equal(await page.locator(".views > div", { hasText: "Posted" }).locator("strong").getAttribute("title"), `${answer.totals.cost} USD`);
  const shown = await page.locator("td.cost").evaluateAll((cells) => cells.map((cell) => cell.dataset.exact));
  assert.deepEqual(shown.slice(0, answer.rows.length), answer.rows.map((row) => row.cost));
  assert.deepEqual(faults, []);
  await close();
});

test("below a base path everything works, on a server without any data too", async () => {
  const { page, faults, close } = await open(browser, below);
  await page.goto(below.url);
  await page.getByRole("heading", { name: "Overview" }).waitFor();
  await page.getByText("Nothing is posted yet").waitFor();
  await page.getByRole("link", { name: "Cost", exact: true }).click();
  await page.getByRole("heading", { name: "Cost by workspace" }).waitFor();
  await page.waitForURL("**/costs/platform/cost");
  await page.getByText("Nothing was measured in these days").waitFor();
  await page.getByRole("link", { name: "Usage" }).click();
  await page.waitForURL("**/costs/settings/usage");
  assert.deepEqual(faults, []);
  await close();
});

// The page is long and axe looks at all of it, so each theme and each width is looked at once.
for (const [scheme, width] of [["light", 1280], ["dark", 320]]) {
  test(`the page of the API is whole and accessible: ${scheme}, ${width} px`, async () => {
    const { page, faults, close } = await open(browser, server, { width, height: 800, scheme, token: null });
    await page.goto(`${server.url}/docs/api#problem-platform_admin_required`);
    await page.locator("#schemas").waitFor();
    assert.ok((await page.locator("article").count()) > 100);
    assert.ok(await page.locator("#problem-platform_admin_required").isVisible());
    const lost = await page.evaluate(() => [...document.querySelectorAll('a[href^="#"]')].filter((link) => !document.getElementById(decodeURIComponent(link.hash.slice(1)))).map((link) => link.hash));
    assert.deepEqual(lost, [], "every link leads somewhere");
    await expectAccessible(page, `docs ${scheme} ${width}`);
    await expectNoSidewaysScroll(page, `docs ${scheme} ${width}`);
    await picture(page, `docs-${scheme}-${width}`);
    assert.deepEqual(faults, []);
    await close();
  });
}
