//! T1: every route × no token, a revoked one, each role × own, foreign, missing and malformed id.

use crate::app::{Answer, POLICY, TestApp, bill, event};
use std::collections::{BTreeMap, BTreeSet};

/// Who may call a route, as the specification says; not taken from the code.
#[derive(Clone, Copy, PartialEq)]
enum Who {
    Anybody,
    /// Everybody who reads costs; tenants see their own.
    Costs,
    /// platform_admin, finance, admin.
    Readers,
    /// platform_admin, finance.
    Finance,
    /// platform_admin, finance, and tenants for their own.
    Statements,
    /// platform_admin, ingest.
    Events,
    /// platform_admin; others get `forbidden`.
    Platform,
    /// platform_admin; others get `platform_admin_required`.
    PlatformOnly,
    /// platform_admin, and tenants for their own; others get `platform_admin_required`.
    Snapshots,
}

const ROLES: [&str; 7] = ["platform_admin", "finance", "admin", "tenant_owner", "tenant_viewer", "ingest", "metrics"];

impl Who {
    fn allows(self, role: &str) -> bool {
        let readers = ["platform_admin", "finance", "admin"];
        match self {
            Self::Anybody => true,
            Self::Costs => readers.contains(&role) || role.starts_with("tenant"),
            Self::Readers => readers.contains(&role),
            Self::Finance => ["platform_admin", "finance"].contains(&role),
            Self::Statements => ["platform_admin", "finance"].contains(&role) || role.starts_with("tenant"),
            Self::Events => ["platform_admin", "ingest"].contains(&role),
            Self::Platform | Self::PlatformOnly => role == "platform_admin",
            Self::Snapshots => role == "platform_admin" || role.starts_with("tenant"),
        }
    }
}

/// One row: method, route, who may, and the requests with the status for those who may.
/// A request marked `foreign` is 404 for tenants, with the same words as one marked `missing`.
struct Row(&'static str, &'static str, Who, Vec<Asked>);

struct Asked {
    kind: &'static str,
    path: String,
    content_type: &'static str,
    body: String,
    status: u16,
}

fn get(kind: &'static str, path: &str, status: u16) -> Asked {
    Asked { kind, path: path.to_owned(), content_type: "", body: String::new(), status }
}

fn send(kind: &'static str, path: &str, content_type: &'static str, body: &str, status: u16) -> Asked {
    Asked { kind, path: path.to_owned(), content_type, body: body.to_owned(), status }
}

const JSON: &str = "application/json";
const PROTOBUF: &str = "application/x-protobuf";
const METER: &str =
    r#"{"unit":"Builds","category":"other","kind":"counter","event_type":"build","aggregation":"count"}"#;
const FIXED: &str =
    r#"{"provider":"own","amount":"1.00","currency":"USD","per":"once","from":"2026-11-01","to":"2026-11-01"}"#;

const ADJUSTMENT: &str = r#"{"charge_date":"2026-11-18","from_tenant":"acme","to_tenant":"globex","amount":"1.00","currency":"USD",
    "reason":"charged twice","reference":"FIN-1"}"#;
const INVOICE: &str = r#"{"source":"aws","billing_period":"2026-10","invoice_id":"1","total":"1.00","currency":"USD"}"#;

const SNAPSHOTS: &str = r#"[{"tenant":"acme","metrics":{"member_count":"3"}}]"#;

/// The matrix. A route that is not in it fails the test.
#[rustfmt::skip]
fn table() -> Vec<Row> {
    use Who::{Anybody, Costs, Events, Finance, Platform, PlatformOnly, Readers, Snapshots, Statements};
    let plain = |path: &str| vec![get("own", path, 200)];
    vec![
        Row("GET", "/healthz", Anybody, plain("/healthz")),
        Row("GET", "/readyz", Anybody, plain("/readyz")),
        Row("GET", "/api/v1/openapi.json", Anybody, plain("/api/v1/openapi.json")),
        Row("GET", "/docs/api", Anybody, plain("/docs/api")),
        Row("GET", "/docs/api.js", Anybody, plain("/docs/api.js")),
        Row("GET", "/docs/api.css", Anybody, plain("/docs/api.css")),
        Row("GET", "/api/v1/costs", Costs, vec![
            get("own", "/api/v1/costs", 200),
            get("own", "/api/v1/costs?filter=tenant:acme", 200),
            get("foreign", "/api/v1/costs?filter=tenant:globex", 200),
            get("missing", "/api/v1/costs?filter=tenant:nobody", 200),
            get("malformed", "/api/v1/costs?filter=tenant:%ff", 400)]),
        Row("GET", "/api/v1/costs/changes", Costs, vec![
            get("own", "/api/v1/costs/changes?tenant=acme", 200),
            get("foreign", "/api/v1/costs/changes?tenant=globex", 200),
            get("missing", "/api/v1/costs/changes?tenant=nobody", 404),
            get("malformed", "/api/v1/costs/changes?tenant=%ff", 400)]),
        Row("GET", "/api/v1/exports/usage.csv", PlatformOnly, vec![
            get("own", "/api/v1/exports/usage.csv", 200), get("malformed", "/api/v1/exports/usage.csv?view=draft", 400)]),
        Row("GET", "/api/v1/explain", Costs, vec![
            get("own", "/api/v1/explain?tenant=acme&date=2026-11-18", 200),
            get("foreign", "/api/v1/explain?tenant=globex&date=2026-11-18", 200),
            get("missing", "/api/v1/explain?tenant=nobody&date=2026-11-18", 404),
            get("malformed", "/api/v1/explain?tenant=%ff&date=2026-11-18", 400)]),
        Row("GET", "/api/v1/coverage", Readers, plain("/api/v1/coverage")),
        Row("GET", "/api/v1/unattributed", Readers, vec![
            get("own", "/api/v1/unattributed", 200), get("malformed", "/api/v1/unattributed?range=x", 400)]),
        Row("GET", "/api/v1/flows", Readers, vec![
            get("own", "/api/v1/flows", 200), get("malformed", "/api/v1/flows?top=0", 400)]),
        Row("GET", "/api/v1/overhead", Readers, plain("/api/v1/overhead")),
        Row("GET", "/api/v1/unit-costs", Readers, vec![
            get("own", "/api/v1/unit-costs?by=repo", 200), get("malformed", "/api/v1/unit-costs?by=tenant", 400)]),
        Row("GET", "/api/v1/ledger/entries", Readers, vec![
            get("own", "/api/v1/ledger/entries?tenant=acme", 200), get("malformed", "/api/v1/ledger/entries?posting=x", 400)]),
        Row("GET", "/api/v1/ledger/postings", Readers, plain("/api/v1/ledger/postings")),
        Row("GET", "/api/v1/ledger/changes", Readers, vec![
            get("own", "/api/v1/ledger/changes?from_booked=posting:0", 200), get("malformed", "/api/v1/ledger/changes", 400)]),
        Row("GET", "/api/v1/ledger/proof", Readers, plain("/api/v1/ledger/proof")),
        Row("GET", "/api/v1/ledger/verify", PlatformOnly, plain("/api/v1/ledger/verify")),
        Row("POST", "/api/v1/adjustments", Finance, vec![
            send("own", "/api/v1/adjustments", JSON, ADJUSTMENT, 201),
            send("missing", "/api/v1/adjustments", JSON, &ADJUSTMENT.replace("acme", "nobody"), 404),
            send("malformed", "/api/v1/adjustments", JSON, "{}", 400)]),
        Row("POST", "/api/v1/lake/compact", Platform, vec![
            send("own", "/api/v1/lake/compact", JSON, "", 200), send("malformed", "/api/v1/lake/compact?x=1", JSON, "", 400)]),
        Row("POST", "/api/v1/lake/expire-events", Platform, vec![
            send("own", "/api/v1/lake/expire-events?dry_run=true", JSON, "", 200),
            send("malformed", "/api/v1/lake/expire-events?dry_run=x", JSON, "", 400)]),
        Row("POST", "/api/v1/lake/vacuum", Platform, vec![
            send("own", "/api/v1/lake/vacuum?dry_run=true", JSON, "", 200),
            send("malformed", "/api/v1/lake/vacuum?dry_run=x", JSON, "", 400)]),
        Row("POST", "/api/v1/runs", Platform, vec![
            send("own", "/api/v1/runs?wait=true", JSON, r#"{"from":"2026-11-18","to":"2026-11-18","dry_run":true}"#, 200),
            send("malformed", "/api/v1/runs", JSON, "{", 400)]),
        Row("GET", "/api/v1/runs", Platform, plain("/api/v1/runs")),
        Row("GET", "/api/v1/runs/{id}", Platform, vec![get("missing", "/api/v1/runs/none", 404), get("malformed", "/api/v1/runs/%ff", 400)]),
        Row("POST", "/api/v1/runs/{id}/cancel", Platform, vec![
            send("missing", "/api/v1/runs/none/cancel", JSON, "", 404),
            send("malformed", "/api/v1/runs/%ff/cancel", JSON, "", 400)]),
        Row("GET", "/api/v1/runs/{id}/events", Platform, vec![
            get("missing", "/api/v1/runs/none/events", 404), get("malformed", "/api/v1/runs/%ff/events", 400)]),
        Row("GET", "/api/v1/schedule", Readers, plain("/api/v1/schedule")),
        Row("POST", "/api/v1/cost-lines/imports", Platform, vec![
            send("own", "/api/v1/cost-lines/imports?source=again", "text/csv", &bill(&[("x", "2026-11-01", "1.00")]), 200),
            send("malformed", "/api/v1/cost-lines/imports", "text/csv", "x", 400)]),
        Row("GET", "/api/v1/cost-lines", Readers, plain("/api/v1/cost-lines")),
        Row("POST", "/api/v1/events/imports", Platform, vec![
            send("own", "/api/v1/events/imports", "application/x-ndjson", &event(("x", "acme", "2026-11-01", "cpu_core_hours", "1")), 200)]),
        Row("POST", "/api/v1/events", Events, vec![
            send("own", "/api/v1/events", "application/x-ndjson", &event(("y", "acme", "2026-11-01", "cpu_core_hours", "1")), 200),
            send("malformed", "/api/v1/events", JSON, "{", 400)]),
        Row("GET", "/api/v1/events", Costs, vec![
            get("own", "/api/v1/events?tenant=acme", 200), get("foreign", "/api/v1/events?tenant=globex", 200),
            get("missing", "/api/v1/events?tenant=nobody", 200), get("malformed", "/api/v1/events?tenant=%ff", 400)]),
        Row("GET", "/api/v1/events/types", Costs, vec![
            get("own", "/api/v1/events/types", 200), get("foreign", "/api/v1/events/types?tenant=globex", 200),
            get("missing", "/api/v1/events/types?tenant=nobody", 200), get("malformed", "/api/v1/events/types?unmetered=x", 400)]),
        Row("GET", "/api/v1/usage/live", Costs, vec![
            get("own", "/api/v1/usage/live?meter=log_queries", 200),
            get("foreign", "/api/v1/usage/live?meter=log_queries&filter=tenant:globex", 200),
            get("missing", "/api/v1/usage/live?meter=log_queries&filter=tenant:nobody", 200),
            get("malformed", "/api/v1/usage/live", 400)]),
        Row("POST", "/api/v1/events/litellm", Events, vec![
            send("own", "/api/v1/events/litellm", JSON, "[]", 200), send("malformed", "/api/v1/events/litellm", JSON, "{", 400)]),
        Row("POST", "/api/v1/events/langfuse", Events, vec![
            send("own", "/api/v1/events/langfuse", JSON, "[]", 200), send("malformed", "/api/v1/events/langfuse", JSON, "{", 400)]),
        // Nothing is configured here, so there is nothing to sign for.
        Row("POST", "/api/v1/webhooks/github", Anybody, vec![send("own", "/api/v1/webhooks/github", JSON, "{}", 404)]),
        Row("POST", "/api/v1/webhooks/gitlab", Anybody, vec![send("own", "/api/v1/webhooks/gitlab", JSON, "{}", 404)]),
        Row("POST", "/api/v1/otlp/v1/metrics", Events, vec![
            send("own", "/api/v1/otlp/v1/metrics", JSON, "{}", 200), send("malformed", "/api/v1/otlp/v1/metrics", JSON, "{", 400)]),
        Row("POST", "/api/v1/write", Events, vec![
            send("own", "/api/v1/write", PROTOBUF, "\0", 204), send("malformed", "/api/v1/write", PROTOBUF, "\u{5}x", 400)]),
        Row("GET", "/api/v1/usage", Costs, vec![
            get("own", "/api/v1/usage?filter=tenant:acme", 200), get("foreign", "/api/v1/usage?filter=tenant:globex", 200),
            get("missing", "/api/v1/usage?filter=tenant:nobody", 200), get("malformed", "/api/v1/usage?filter=tenant:%ff", 400)]),
        Row("PUT", "/api/v1/meters/{name}", Platform, vec![
            send("own", "/api/v1/meters/builds", JSON, METER, 200), send("malformed", "/api/v1/meters/builds", JSON, "{}", 400)]),
        Row("POST", "/api/v1/meters/{name}/backfill", Platform, vec![
            get("own", "/api/v1/meters/cpu_core_hours/backfill?from=2026-11-01", 200),
            get("missing", "/api/v1/meters/none/backfill?from=2026-11-01", 404),
            get("malformed", "/api/v1/meters/cpu_core_hours/backfill", 400)]),
        Row("DELETE", "/api/v1/meters/{name}", Platform, vec![
            get("missing", "/api/v1/meters/none", 404), get("malformed", "/api/v1/meters/%ff", 400)]),
        Row("PUT", "/api/v1/snapshots/{date}", Platform, vec![
            send("own", "/api/v1/snapshots/2026-11-20?source=app", JSON, SNAPSHOTS, 200),
            send("malformed", "/api/v1/snapshots/2026-11-32?source=app", JSON, SNAPSHOTS, 400),
            send("malformed", "/api/v1/snapshots/%ff?source=app", JSON, SNAPSHOTS, 400)]),
        Row("POST", "/api/v1/snapshots/run", Platform, vec![
            get("missing", "/api/v1/snapshots/run?date=2026-11-20&wait=true", 409),
            get("malformed", "/api/v1/snapshots/run?date=2026-11-32", 400)]),
        Row("GET", "/api/v1/snapshots/runs", PlatformOnly, plain("/api/v1/snapshots/runs")),
        Row("GET", "/api/v1/snapshots/runs/{id}", PlatformOnly, vec![
            get("missing", "/api/v1/snapshots/runs/none", 404), get("malformed", "/api/v1/snapshots/runs/%ff", 400)]),
        Row("GET", "/api/v1/snapshots/runs/{id}/events", PlatformOnly, vec![
            get("missing", "/api/v1/snapshots/runs/none/events", 404),
            get("malformed", "/api/v1/snapshots/runs/%ff/events", 400)]),
        Row("POST", "/api/v1/snapshots/runs/{id}/cancel", Platform, vec![
            send("missing", "/api/v1/snapshots/runs/none/cancel", JSON, "", 404),
            send("malformed", "/api/v1/snapshots/runs/%ff/cancel", JSON, "", 400)]),
        Row("GET", "/api/v1/snapshots", Snapshots, vec![
            get("own", "/api/v1/snapshots", 200), get("own", "/api/v1/snapshots?tenant=acme", 200),
            get("foreign", "/api/v1/snapshots?tenant=globex", 200), get("missing", "/api/v1/snapshots?tenant=nobody", 200),
            get("malformed", "/api/v1/snapshots?tenant=%ff", 400)]),
        Row("GET", "/api/v1/imports", Readers, plain("/api/v1/imports")),
        Row("GET", "/api/v1/imports/running", Readers, plain("/api/v1/imports/running")),
        Row("POST", "/api/v1/imports/running/{id}/cancel", Platform, vec![
            send("missing", "/api/v1/imports/running/none/cancel", JSON, "", 404),
            send("malformed", "/api/v1/imports/running/%ff/cancel", JSON, "", 400)]),
        Row("GET", "/api/v1/periods", Finance, vec![
            get("own", "/api/v1/periods", 200), get("malformed", "/api/v1/periods?x=1", 400)]),
        // The month has not ended and none is closed: who may is told so.
        Row("POST", "/api/v1/periods/{month}/close", Finance, vec![
            get("own", "/api/v1/periods/2026-11/close", 409),
            send("malformed", "/api/v1/periods/2026-11/close", JSON, r#"{"forced":true}"#, 400),
            get("malformed", "/api/v1/periods/%ff/close", 400), get("malformed", "/api/v1/periods/2026-13/close", 400)]),
        Row("POST", "/api/v1/periods/{month}/reopen", Finance, vec![
            send("own", "/api/v1/periods/2026-10/reopen", JSON, r#"{"reason":"late bill"}"#, 409),
            send("malformed", "/api/v1/periods/2026-10/reopen", JSON, "{}", 400),
            send("malformed", "/api/v1/periods/%ff/reopen", JSON, r#"{"reason":"x"}"#, 400)]),
        Row("POST", "/api/v1/periods/sweep", Finance, vec![
            get("own", "/api/v1/periods/sweep", 200), get("malformed", "/api/v1/periods/sweep?x=1", 400)]),
        Row("GET", "/api/v1/source-periods", Readers, vec![
            get("own", "/api/v1/source-periods", 200), get("malformed", "/api/v1/source-periods?month=x", 400)]),
        Row("PUT", "/api/v1/source-periods", Finance, vec![
            send("own", "/api/v1/source-periods", JSON, r#"[{"source":"aws","billing_period":"2026-11","state":"open"}]"#, 200),
            send("malformed", "/api/v1/source-periods", JSON, r#"[{"source":"aws","billing_period":"x","state":"open"}]"#, 400)]),
        Row("GET", "/api/v1/sources", Readers, plain("/api/v1/sources")),
        Row("GET", "/api/v1/limits", Readers, vec![
            get("own", "/api/v1/limits", 200), get("malformed", "/api/v1/limits?limit=x", 400)]),
        Row("POST", "/api/v1/sources/{name}/refresh", Platform, vec![
            get("missing", "/api/v1/sources/none/refresh", 404), get("malformed", "/api/v1/sources/%ff/refresh", 400)]),
        Row("POST", "/api/v1/sources/{name}/refresh/cancel", Platform, vec![
            send("missing", "/api/v1/sources/none/refresh/cancel", JSON, "", 404),
            send("malformed", "/api/v1/sources/%ff/refresh/cancel", JSON, "", 400)]),
        Row("GET", "/api/v1/fixed-costs", Readers, plain("/api/v1/fixed-costs")),
        Row("POST", "/api/v1/fixed-costs", Finance, vec![
            send("own", "/api/v1/fixed-costs", JSON, FIXED, 201), send("malformed", "/api/v1/fixed-costs", JSON, "{}", 400)]),
        Row("DELETE", "/api/v1/fixed-costs/{id}", Finance, vec![
            get("missing", "/api/v1/fixed-costs/none", 404), get("malformed", "/api/v1/fixed-costs/%ff", 400)]),
        Row("GET", "/api/v1/fx-rates", Readers, plain("/api/v1/fx-rates")),
        Row("PUT", "/api/v1/fx-rates", Finance, vec![
            send("own", "/api/v1/fx-rates", "text/csv", "date,from,to,rate\n2026-11-18,EUR,USD,1.05\n", 200),
            send("malformed", "/api/v1/fx-rates", "text/csv", "x\ny\n", 400)]),
        Row("GET", "/api/v1/invoices", Readers, plain("/api/v1/invoices")),
        Row("PUT", "/api/v1/invoices", Finance, vec![
            send("own", "/api/v1/invoices", JSON, INVOICE, 200), send("malformed", "/api/v1/invoices", JSON, "{}", 400)]),
        Row("GET", "/api/v1/reconciliation", Readers, vec![
            get("own", "/api/v1/reconciliation", 200), get("malformed", "/api/v1/reconciliation?range=x", 400)]),
        Row("GET", "/api/v1/reconciliation/parts", Readers, vec![
            get("own", "/api/v1/reconciliation/parts?source=aws&billing_period=2026-11&currency=USD", 200),
            get("malformed", "/api/v1/reconciliation/parts?source=aws", 400)]),
        Row("GET", "/api/v1/statements", Finance, plain("/api/v1/statements")),
        // No month is closed here, so that nobody has a statement.
        Row("GET", "/api/v1/statements/{month}", Statements, vec![
            get("own", "/api/v1/statements/2026-10.json?tenant=acme", 409),
            get("foreign", "/api/v1/statements/2026-10.json?tenant=globex", 409),
            get("missing", "/api/v1/statements/2026-10.csv?tenant=nobody", 404),
            get("malformed", "/api/v1/statements/%ff.csv", 400), get("malformed", "/api/v1/statements/2026-10", 400)]),
        Row("GET", "/api/v1/statements/{month}/journal.csv", Finance, vec![
            get("own", "/api/v1/statements/2026-10/journal.csv", 409),
            get("malformed", "/api/v1/statements/2026-13/journal.csv", 400)]),
        Row("GET", "/api/v1/settings", Costs, vec![
            get("own", "/api/v1/settings", 200), get("malformed", "/api/v1/settings?x=1", 400)]),
        Row("GET", "/api/v1/tenants", Readers, plain("/api/v1/tenants")),
        Row("GET", "/api/v1/tenants/{id}", Readers, vec![
            get("own", "/api/v1/tenants/acme", 200), get("other", "/api/v1/tenants/globex", 200),
            get("missing", "/api/v1/tenants/nobody", 404), get("malformed", "/api/v1/tenants/%ff", 400)]),
        Row("PUT", "/api/v1/tenants/{id}", Platform, vec![
            send("own", "/api/v1/tenants/acme", JSON, "{}", 200), send("malformed", "/api/v1/tenants/__acme", JSON, "{}", 400)]),
        Row("GET", "/api/v1/pools", Readers, plain("/api/v1/pools")),
        Row("GET", "/api/v1/policies", Readers, plain("/api/v1/policies")),
        Row("GET", "/api/v1/policies/{version}", Readers, vec![
            get("own", "/api/v1/policies/clusters", 200), get("missing", "/api/v1/policies/none", 404), get("malformed", "/api/v1/policies/%ff", 400)]),
        Row("POST", "/api/v1/policies", Platform, vec![
            send("own", "/api/v1/policies", "application/toml", POLICY, 200), send("malformed", "/api/v1/policies", "application/toml", "=", 422)]),
        Row("POST", "/api/v1/policies/validate", Platform, vec![send("own", "/api/v1/policies/validate", "application/toml", POLICY, 200)]),
        Row("POST", "/api/v1/policies/simulate", Platform, vec![
            send("own", "/api/v1/policies/simulate?range=7d", "application/toml", POLICY, 200),
            send("malformed", "/api/v1/policies/simulate", "application/toml", "=", 422)]),
        Row("GET", "/api/v1/rate-cards", Readers, plain("/api/v1/rate-cards")),
        Row("GET", "/api/v1/rate-cards/{version}", Readers, vec![
            get("own", "/api/v1/rate-cards/starter", 200), get("missing", "/api/v1/rate-cards/none", 404)]),
        Row("POST", "/api/v1/rate-cards", Platform, vec![
            send("malformed", "/api/v1/rate-cards", "application/toml", "version = 'x'", 422)]),
        Row("POST", "/api/v1/rate-cards/validate", Platform, vec![
            send("own", "/api/v1/rate-cards/validate", "application/toml", "version = 'x'\ncurrency = 'USD'\nvalid_from = 2026-01-01", 200)]),
        Row("POST", "/api/v1/rate-cards/simulate", Platform, vec![
            send("own", "/api/v1/rate-cards/simulate?range=7d", "application/toml", "version = 'x'\ncurrency = 'USD'\nvalid_from = 2026-01-01", 200),
            send("malformed", "/api/v1/rate-cards/simulate", "application/toml", "=", 422)]),
        Row("GET", "/api/v1/meters", Readers, plain("/api/v1/meters")),
        Row("GET", "/api/v1/meters/{name}", Readers, vec![
            get("own", "/api/v1/meters/cpu_core_hours", 200), get("missing", "/api/v1/meters/none", 404), get("malformed", "/api/v1/meters/%ff", 400)]),
        Row("POST", "/api/v1/session", Anybody, vec![send("malformed", "/api/v1/session", JSON, "{", 400)]),
        Row("DELETE", "/api/v1/session", Anybody, vec![get("own", "/api/v1/session", 204)]),
        Row("GET", "/api/v1/tokens", Platform, plain("/api/v1/tokens")),
        Row("POST", "/api/v1/tokens", Platform, vec![
            send("own", "/api/v1/tokens", JSON, r#"{"role":"metrics"}"#, 201), send("malformed", "/api/v1/tokens", JSON, "[]", 400)]),
        Row("DELETE", "/api/v1/tokens/{id}", Platform, vec![get("missing", "/api/v1/tokens/none", 404), get("malformed", "/api/v1/tokens/%ff", 400)]),
        Row("GET", "/api/v1/audit", Platform, plain("/api/v1/audit")),
        Row("POST", "/api/v1/cost-attribution/cluster/{clusterName}/attribute", PlatformOnly, vec![
            get("own", "/api/v1/cost-attribution/cluster/shared-west-us/attribute?date=2026-11-18", 200),
            get("missing", "/api/v1/cost-attribution/cluster/none/attribute", 404),
            get("malformed", "/api/v1/cost-attribution/cluster/%ff/attribute", 400)]),
        Row("POST", "/api/v1/cost-attribution/all/attribute", PlatformOnly, vec![
            get("own", "/api/v1/cost-attribution/all/attribute?date=2026-11-18", 200)]),
        Row("GET", "/api/v1/cost-attribution/cluster/{clusterName}/comparison", PlatformOnly, vec![
            get("own", "/api/v1/cost-attribution/cluster/shared-west-us/comparison?date=2026-11-18", 200),
            get("missing", "/api/v1/cost-attribution/cluster/none/comparison", 404),
            get("malformed", "/api/v1/cost-attribution/cluster/%ff/comparison", 400)]),
        Row("GET", "/api/v1/cost-attribution/tenant/{tenantId}/breakdown", Costs, vec![
            get("own", "/api/v1/cost-attribution/tenant/acme/breakdown", 200),
            get("foreign", "/api/v1/cost-attribution/tenant/globex/breakdown", 200),
            get("missing", "/api/v1/cost-attribution/tenant/nobody/breakdown", 404),
            get("malformed", "/api/v1/cost-attribution/tenant/%ff/breakdown", 400)]),
        Row("GET", "/api/v1/cost-attribution/tenant/{tenantId}/trend", Costs, vec![
            get("own", "/api/v1/cost-attribution/tenant/acme/trend?periods=3", 200),
            get("foreign", "/api/v1/cost-attribution/tenant/globex/trend", 200),
            get("missing", "/api/v1/cost-attribution/tenant/__idle__/trend", 404),
            get("malformed", "/api/v1/cost-attribution/tenant/%ff/trend", 400)]),
    ]
}

/// A problem, or a message in the form of the protocol.
#[track_caller]
fn expect_refusal(answer: Answer, status: u16, code: &str) {
    if answer.header("content-type") == JSON {
        let body = answer.expect(status).json();
        assert!(body["message"].as_str().is_some_and(|message| message.starts_with(code)), "{body}");
    } else {
        answer.expect_problem(status, code);
    }
}

async fn store() -> TestApp {
    let app = TestApp::start().await;
    app.given_policy(POLICY).await;
    app.given_bill("aws", &[("shared-west-us", "2026-11-18", "100.00")]).await;
    let used = |tenant| ("shared-west-us", tenant, "2026-11-18", "cpu_core_hours", "10");
    app.given_usage(&[used("acme"), used("globex")]).await;
    app.given_run("2026-11-18", "2026-11-18").await;
    app
}

#[tokio::test]
async fn t1_every_route_answers_each_role_as_the_specification_says() {
    let app = store().await;
    let mut tokens = BTreeMap::new();
    for role in ROLES {
        let tenants: &[&str] = if role.starts_with("tenant") { &["acme"] } else { &[] };
        tokens.insert(role, app.token(role, tenants).await);
    }
    let mut asked = 0;
    for Row(method, route, who, requests) in table() {
        for request in &requests {
            for (role, token) in &tokens {
                let answer = app.call(method, &request.path, Some(token), request.content_type, &request.body).await;
                let hidden = role.starts_with("tenant") && matches!(request.kind, "foreign" | "missing");
                let expected = match (who.allows(role), hidden) {
                    (false, _) => 403,
                    (true, true) => 404,
                    (true, false) => request.status,
                };
                assert_eq!(
                    answer.status, expected,
                    "{role}: {method} {} ({}): {}",
                    request.path, request.kind, answer.text
                );
                if expected == 403 {
                    let code = match who {
                        Who::PlatformOnly | Who::Snapshots => "platform_admin_required",
                        _ => "forbidden",
                    };
                    expect_refusal(answer, 403, code);
                } else if expected == 404 && hidden {
                    answer.expect_problem(404, "tenant_not_found");
                }
                asked += 1;
            }
        }
        assert!(!requests.is_empty(), "{method} {route} has no request");
    }
    println!("T1: {asked} requests");
}

#[tokio::test]
async fn t1_without_a_live_token_every_route_is_closed() {
    let app = store().await;
    let minted = app.post("/tokens", &serde_json::json!({ "role": "platform_admin" })).await.expect(201).json();
    app.delete(&format!("/tokens/{}", minted["id"].as_str().unwrap())).await.expect(204);
    let revoked = minted["token"].as_str().unwrap();
    for Row(method, _, who, requests) in table() {
        for request in &requests {
            for token in [None, Some(revoked), Some("apn_wrong")] {
                let answer = app.call(method, &request.path, token, request.content_type, &request.body).await;
                if who == Who::Anybody {
                    assert_eq!(answer.status, request.status, "{}", request.path);
                } else {
                    expect_refusal(answer, 401, "unauthenticated");
                }
            }
        }
    }
}

#[test]
fn t1_every_route_has_its_row_and_every_row_its_route() {
    let named = |method: &str, path: &str| format!("{method} {path}");
    let rows: BTreeSet<String> = table().iter().map(|Row(method, route, ..)| named(method, route)).collect();
    let routes: BTreeSet<String> =
        api::route_facts().iter().map(|facts| named(facts.method.as_str(), &facts.path)).collect();
    assert_eq!(rows, routes);
}
