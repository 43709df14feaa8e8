// Answers on month-end and on why a cost changed, exactly as the interface describes them: the demo has closed no month.

const SHA = "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08";
const source = (name, state) => ({ source: name, billing_account: "100200300400", billing_period: "2026-10", state, said_by: state === "missing" ? "month_before" : "billing_period", actor: null, note: null, lines: 1842, imported_at: "2026-11-03T04:05:06Z" });
const period = (month, more) => ({ month, state: "open", closes: 0, posting: null, changed_at: null, changed_by: null, reason: null, forced: [], is_next: false, obstacles: [], notes: [], pending_corrections: [], sources: [], ...more });

export const PERIODS = {
  rows: [
    period("2026-11", {}),
    period("2026-10", {
      is_next: true,
      obstacles: [
        { code: "source_period_open", about: "aws 100200300400", detail: "AWS has not closed 2026-10; import its final bill, or say that it is closed" },
        { code: "driver_gap", about: "log-ingest 2026-10-17", detail: "no usage of log_ingest_gb on this day" },
      ],
      notes: [{ code: "unattributed", about: "USD", detail: "188.16 are unattributed, the oldest for 28 days; a pool for service “Marketplace” would take 160.10 of it" }],
      sources: [source("aws", "open"), source("google", "closed"), source("focus-sample", "missing")],
    }),
    period("2026-09", { state: "closed", closes: 2, posting: 7, changed_at: "2026-10-05T09:30:00Z", changed_by: "tok-finance", reason: "credit note of AWS", pending_corrections: [{ date: "2026-09-30", pool: "tax", consumers: [{ consumer: "acme", amount_reporting: "0.004", billed_amount: { USD: "0.004" } }, { consumer: "globex", amount_reporting: "-0.004", billed_amount: { USD: "-0.004" } }] }], sources: [source("aws", "closed")] }),
  ],
  next_cursor: null,
};
export const STATEMENTS = {
  rows: [1, 2].map((version) => ({ number: `2026-09-v${version}`, month: "2026-09", version, posting: 3 + 2 * version, closed_at: "2026-10-05T09:30:00Z", ledger_head: `sha256:${SHA}`, json_sha256: SHA, csv_sha256: SHA, journal_sha256: SHA })),
  next_cursor: null,
};
export const CHANGES = {
  tenant: "weyland",
  range: { from: "2026-10-30", to: "2026-11-28", timezone: "UTC" },
  compare: { from: "2026-09-30", to: "2026-10-29", timezone: "UTC" },
  currency: "USD",
  previous: "9043.55",
  cost: "12480.11",
  change: "3436.56",
  terms: [{ term: "own_volume", amount: "2910.00" }, { term: "price_or_pool_amount", amount: "526.56" }],
  pools: [
    { pool: "models", previous: "1.00", cost: "2911.00", change: "2910.00", terms: [{ term: "own_volume", amount: "2910.00" }], disclosed: true },
    { pool: "shared-west-us", previous: "1.00", cost: "527.56", change: "526.56", terms: [{ term: "price_or_pool_amount", amount: "526.56" }], disclosed: true },
  ],
  posting: 2,
};
export const IMPACT = {
  rows: [{ tenant: "weyland", posted: "100.00", cost: "125.00", change: "25.00", posted_memo: "0.00", cost_memo: "1.00", change_memo: "1.00" }],
  rows_total: 1,
  totals: { posted: "100.00", cost: "125.00", change: "25.00", posted_memo: "0.00", cost_memo: "1.00", change_memo: "1.00" },
  range: { from: "2026-10-29", to: "2026-11-27", timezone: "UTC" },
  currency: "USD",
  version: "demo-2",
  warnings: [],
  not_run: 0,
  due_days: [],
  posting: 2,
};

/** Answers these questions instead of the server. */
export async function answerBooks(page) {
  const json = (body) => (route) => route.fulfill({ status: 200, contentType: "application/json", body: JSON.stringify(body) });
  await page.route("**/api/v1/periods?*", json(PERIODS));
  await page.route("**/api/v1/statements?*", json(STATEMENTS));
  await page.route("**/api/v1/costs/changes?*", json(CHANGES));
}
