// Every page, and how a test opens one: its address, its heading, and what it says while there is nothing to show.
import assert from "node:assert/strict";
import { open } from "./browser.mjs";
import { ask } from "./server.mjs";

/**
 * `{largest}` stands for the tenant with the largest cost. `empty` is what an empty server says there; `isPosted` whether
 * it also says when the attribution job runs and offers to run it. `own` opens the page as that tenant's owner.
 */
export const EVERY = {
  overview: { at: "/", heading: "Overview", empty: "Nothing is posted yet.", isPosted: true },
  cost: { at: "/platform/cost?r=7d", heading: "Cost by workspace", empty: "The leaderboard is empty for today: the snapshot job runs at 00:10 UTC" },
  tenant: { at: "/tenants/{largest}?r=7d", empty: "Nothing was posted in these days.", isPosted: true },
  clusters: { at: "/clusters?r=7d", heading: "Clusters", empty: "No pool of the policy is a cluster.", isPosted: true },
  cluster: { at: "/clusters/shared-west-us", heading: "shared-west-us" },
  "unit-costs": { at: "/unit-costs?r=7d&by=repo", heading: "Unit costs", empty: "No workflow has cost in these days.", isPosted: true },
  overhead: { at: "/overhead?r=7d", heading: "Overhead", empty: "No pool is overhead in these days.", isPosted: true },
  flow: { at: "/flow?r=7d", heading: "Flow", empty: "Nothing was posted in these days.", isPosted: true },
  ledger: { at: "/ledger", heading: "Ledger", empty: "Nothing is posted yet.", isPosted: true },
  proof: { at: "/ledger?t=proof&r=7d", heading: "Ledger", empty: "No day of these was attributed yet.", isPosted: true },
  entries: { at: "/ledger?t=entries&r=7d", heading: "Ledger", empty: "Nothing was posted in these days.", isPosted: true },
  close: { at: "/close" },
  data: { at: "/data?r=7d", heading: "Data", empty: "No source is configured." },
  rates: { at: "/rates", heading: "Rate cards" },
  policies: { at: "/policies", heading: "Policies" },
  usage: { at: "/settings/usage?r=7d", own: true, empty: "The snapshot job runs every night at 00:10 UTC" },
  tenants: { at: "/settings/tenants?q=a", heading: "Workspaces", empty: "There is no workspace yet." },
  tokens: { at: "/settings/tokens", heading: "Tokens" },
  audit: { at: "/audit?q=tenant", heading: "Audit" },
};

/** Returns `{ largest, owner }` of a server with demo data: the tenant with the largest cost, and its owner's token. */
export async function people(server) {
  const { rows } = await ask(server, "/costs?range=30d&group_by=tenant&limit=20");
  const largest = rows.find(({ key }) => !key.tenant.startsWith("__")).key.tenant;
  const { token } = await ask(server, "/tokens", { method: "POST", body: { role: "tenant_owner", name: "owner", tenants: [largest] } });
  return { largest, owner: token };
}

/** The same for the tests of a file that `prepared` begins. */
export const withPeople = async (server) => ({ who: await people(server) });

/** Opens a page of `EVERY` after `before`, runs, and expects no fault. */
export async function visit(browser, server, { largest, owner }, { at, own }, run, { before = () => undefined, ...options } = {}) {
  const opened = await open(browser, server, { ...(own ? { token: owner } : {}), ...options });
  try {
    await before(opened.page);
    await opened.page.goto(`${server.url}${at.replace("{largest}", encodeURIComponent(largest))}`);
    await run(opened.page);
    assert.deepEqual(opened.faults, [], at);
  } finally {
    // Questions that nobody waits for any more are no fault of the test.
    await opened.page.unrouteAll({ behavior: "ignoreErrors" });
    await opened.close();
  }
}
