//! Whatever changes something leaves a row that says who, what, before and after; made from the router.

use crate::app::{NoSink, POLICY, TestApp, bill, event};
use axum::http::StatusCode;
use axum::http::header::CONTENT_TYPE;
use collectors::prometheus::{Auth, ClientOptions, PrometheusClient, PrometheusSource, Secret, UsageQuery};
use collectors::sources::{SinkError, Source, Sources, Taken, UsagePoint, UsageSink};
use domain::Clock as _;
use futures::FutureExt as _;
use futures::future::BoxFuture;
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;
use storage::catalog::{RefreshRow, RunRow, SnapshotRunRow};

const DAY: &str = "2026-11-18";
const JSON: &str = "application/json";
const TOML: &str = "application/toml";
const CARD: &str = "version = 'card'\ncurrency = 'USD'\nvalid_from = 2026-12-01\n";

/// What a route does to the log of changes.
enum Row {
    /// These requests, in order, leave one row each.
    Leaves(Vec<Change>),
    /// It writes events. They are kept themselves, with their sender's time and ids, and taken back by retractions; there
    /// are thousands a second.
    Events,
    /// It answers and stores nothing.
    Nothing,
    /// It finds nothing to do in this test's store, and why.
    Idle(&'static str),
}

struct Change {
    path: &'static str,
    kind: &'static str,
    body: String,
    action: &'static str,
    /// Whether there was something before, and whether there is something after.
    sides: (bool, bool),
}

fn change(path: &'static str, kind: &'static str, body: &str, action: &'static str, sides: (bool, bool)) -> Change {
    Change { path, kind, body: body.to_owned(), action, sides }
}

/// Every route that is not read only. One that is missing fails the test.
#[rustfmt::skip]
fn table() -> Vec<(&'static str, &'static str, Row)> {
    use Row::{Events, Idle, Leaves, Nothing};
    let (new, changed, gone) = ((false, true), (true, true), (true, false));
    let meter = |unit: &str| json!({
        "unit": unit, "category": "other", "kind": "counter", "event_type": "build", "aggregation": "count",
    }).to_string();
    let used = |quantity: &str| event(("shared-west-us", "initech", DAY, "cpu_core_hours", quantity));
    let rate = |rate: &str| json!([{ "date": DAY, "from": "EUR", "to": "USD", "rate": rate }]).to_string();
    let snapshot = |count: &str| json!([{ "tenant": "acme", "metrics": { "member_count": count } }]).to_string();
    let policy = |more: &str| POLICY.replace("\"clusters\"", "\"next\"").replace("2020-01-01", "2026-12-01") + more;
    let invoice = |total: &str| json!({
        "source": "own", "billing_period": "2026-10", "invoice_id": "1", "total": total, "currency": "USD",
    }).to_string();
    let days = json!({ "from": DAY, "to": DAY }).to_string();
    vec![
        ("PUT", "/api/v1/tenants/{id}", Leaves(vec![
            change("/tenants/acme", JSON, r#"{"name":"Acme"}"#, "tenant.put", changed),
            change("/tenants/new", JSON, "{}", "tenant.put", new)])),
        ("POST", "/api/v1/policies", Leaves(vec![
            change("/policies", TOML, &policy(""), "policy.publish", new),
            change("/policies", TOML, &policy("\n# another text\n[[tenant_rule]]\nwhen = {}\ntenant = \"acme\"\n"), "policy.publish", changed)])),
        ("POST", "/api/v1/rate-cards", Leaves(vec![
            change("/rate-cards", TOML, CARD, "rate_card.publish", new),
            change("/rate-cards", TOML, &CARD.replace("USD", "EUR"), "rate_card.publish", changed)])),
        ("PUT", "/api/v1/meters/{name}", Leaves(vec![
            change("/meters/builds", JSON, &meter("Builds"), "meter.put", new),
            change("/meters/builds", JSON, &meter("Jobs"), "meter.put", changed)])),
        ("DELETE", "/api/v1/meters/{name}", Leaves(vec![change("/meters/builds", "", "", "meter.hide", gone)])),
        ("POST", "/api/v1/meters/{name}/backfill", Leaves(vec![
            change("/meters/log_queries/backfill?from=2026-11-01", "", "", "meter.backfill", new)])),
        ("PUT", "/api/v1/fx-rates", Leaves(vec![
            change("/fx-rates", JSON, &rate("1.05"), "fx_rates.put", new),
            change("/fx-rates", JSON, &rate("1.06"), "fx_rates.put", changed)])),
        ("POST", "/api/v1/cost-lines/imports", Leaves(vec![
            change("/cost-lines/imports?source=audit", "text/csv", &bill(&[("x", DAY, "1.00")]), "cost_lines.import", new),
            change("/cost-lines/imports?source=audit", "text/csv", &bill(&[("x", DAY, "2.00")]), "cost_lines.import", changed)])),
        ("POST", "/api/v1/events/imports", Leaves(vec![
            change("/events/imports", "application/x-ndjson", &used("3"), "events.import", new)])),
        ("PUT", "/api/v1/snapshots/{date}", Leaves(vec![
            change("/snapshots/2026-11-18?source=app", JSON, &snapshot("3"), "snapshots.put", changed)])),
        ("POST", "/api/v1/fixed-costs", Leaves(vec![change("/fixed-costs", JSON,
            r#"{"provider":"own","amount":"1.00","currency":"USD","per":"once","from":"2026-11-18","to":"2026-11-18"}"#,
            "fixed_cost.add", new)])),
        ("DELETE", "/api/v1/fixed-costs/{id}", Leaves(vec![change("/fixed-costs/{first}", "", "", "fixed_cost.delete", gone)])),
        ("POST", "/api/v1/runs", Leaves(vec![change("/runs?wait=true", JSON, &days, "run.start", new),
            change("/runs", JSON, &days, "run.start", new)])),
        ("POST", "/api/v1/cost-attribution/cluster/{clusterName}/attribute", Leaves(vec![
            change("/cost-attribution/cluster/shared-west-us/attribute?date=2026-11-18", "", "", "run.start", new)])),
        ("POST", "/api/v1/cost-attribution/all/attribute", Leaves(vec![
            change("/cost-attribution/all/attribute?date=2026-11-18", "", "", "run.start", new)])),
        ("POST", "/api/v1/adjustments", Leaves(vec![change("/adjustments", JSON,
            r#"{"charge_date":"2026-11-18","from_tenant":"acme","to_tenant":"globex","amount":"1.00","currency":"USD","reason":"r","reference":"x"}"#,
            "adjustment.add", new)])),
        ("POST", "/api/v1/tokens", Leaves(vec![change("/tokens", JSON, r#"{"role":"finance","name":"audited"}"#, "token.mint", new)])),
        ("DELETE", "/api/v1/tokens/{id}", Leaves(vec![change("/tokens/{first}", "", "", "token.revoke", changed)])),
        ("PUT", "/api/v1/source-periods", Leaves(vec![
            change("/source-periods", JSON, r#"[{"source":"own","billing_period":"2026-10","state":"closed"}]"#, "source_periods.put", changed)])),
        ("PUT", "/api/v1/invoices", Leaves(vec![
            change("/invoices", JSON, &invoice("1.00"), "invoice.put", new),
            change("/invoices", JSON, &invoice("2.00"), "invoice.put", changed)])),
        ("POST", "/api/v1/periods/{month}/close", Leaves(vec![
            change("/periods/2026-10/close", JSON, r#"{"force":true,"reason":"a test"}"#, "period.close", changed)])),
        ("POST", "/api/v1/periods/{month}/reopen", Leaves(vec![
            change("/periods/2026-10/reopen", JSON, r#"{"reason":"a test"}"#, "period.reopen", changed)])),
        ("POST", "/api/v1/runs/{id}/cancel", Idle("no run here is under way; the test below has one")),
        ("POST", "/api/v1/periods/sweep", Idle("nothing here was too small to be posted")),
        ("POST", "/api/v1/lake/compact", Idle("there is nothing small enough to merge here")),
        ("POST", "/api/v1/lake/expire-events", Idle("no event here is old enough to leave")),
        ("POST", "/api/v1/lake/vacuum", Idle("nothing here is old enough to be deleted")),
        ("POST", "/api/v1/snapshots/run", Idle("no application is configured here")),
        ("POST", "/api/v1/snapshots/runs/{id}/cancel", Idle("no run here is under way; a test below has one")),
        ("POST", "/api/v1/sources/{name}/refresh", Idle("no source is configured here")),
        ("POST", "/api/v1/imports/running/{id}/cancel", Idle("no import here is under way; a test below has one")),
        ("POST", "/api/v1/sources/{name}/refresh/cancel", Idle("no refresh here is under way; a test below has one")),
        ("POST", "/api/v1/events", Events),
        ("POST", "/api/v1/events/litellm", Events),
        ("POST", "/api/v1/events/langfuse", Events),
        ("POST", "/api/v1/webhooks/github", Events),
        ("POST", "/api/v1/webhooks/gitlab", Events),
        ("POST", "/api/v1/otlp/v1/metrics", Events),
        ("POST", "/api/v1/write", Events),
        ("POST", "/api/v1/session", Nothing),
        ("DELETE", "/api/v1/session", Nothing),
        ("POST", "/api/v1/policies/validate", Nothing),
        ("POST", "/api/v1/policies/simulate", Nothing),
        ("POST", "/api/v1/rate-cards/validate", Nothing),
        ("POST", "/api/v1/rate-cards/simulate", Nothing),
    ]
}

async fn store() -> TestApp {
    let app = TestApp::start().await;
    app.given_policy(POLICY).await;
    app.given_bill("aws", &[("shared-west-us", DAY, "100.00")]).await;
    app.given_bill("own", &[("elsewhere", "2026-10-05", "1.00")]).await;
    let used = |tenant| ("shared-west-us", tenant, DAY, "cpu_core_hours", "10");
    app.given_usage(&[used("acme"), used("globex")]).await;
    app.given_run(DAY, DAY).await;
    app.given_run("2026-10-05", "2026-10-05").await;
    app
}

async fn log(app: &TestApp) -> Vec<Value> {
    app.get("/audit?limit=1000").await.expect(200).json()["rows"].as_array().unwrap().clone()
}

/// The path with the id of the first row of its list where one is wanted.
async fn filled(app: &TestApp, path: &str) -> String {
    let Some((list, rest)) = path.split_once("/{first}") else { return path.to_owned() };
    let rows = app.get(list).await.expect(200).json()["rows"].clone();
    // The token that asks is not the one to be revoked.
    let row = rows.as_array().unwrap().iter().find(|row| row["name"].is_null() || row["name"] == "audited");
    format!("{list}/{}{rest}", row.unwrap()["id"].as_str().unwrap())
}

#[tokio::test]
async fn every_change_leaves_one_row_with_before_and_after_and_no_secret() {
    let app = store().await;
    let mut secrets = vec![app.admin.clone()];
    let mut tried = 0;
    for (method, route, row) in table() {
        let Row::Leaves(changes) = row else { continue };
        for change in changes {
            let before = log(&app).await.len();
            let path = format!("/api/v1{}", filled(&app, change.path).await);
            let answer = app.call(method, &path, Some(&app.admin), change.kind, &change.body).await;
            assert!((200..300).contains(&answer.status), "{method} {path}: {}", answer.text);
            if let Ok(Value::Object(body)) = serde_json::from_str::<Value>(&answer.text) {
                secrets.extend(body.get("token").and_then(Value::as_str).map(str::to_owned));
            }
            let rows = log(&app).await;
            let new: Vec<&Value> = rows.iter().take(rows.len() - before).collect();
            let [left] = new.as_slice() else { panic!("{method} {route} left {} rows: {new:?}", new.len()) };
            let sides = (!left["before"].is_null(), !left["after"].is_null());
            assert_eq!((left["action"].as_str().unwrap(), sides), (change.action, change.sides), "{route}: {left}");
            for name in ["actor", "target", "at", "request_id"] {
                assert!(left[name].as_str().is_some_and(|text| !text.is_empty()), "{route} has no {name}: {left}");
            }
            tried += 1;
        }
    }
    let text = app.get("/audit?limit=1000").await.text;
    assert!(
        secrets.len() == 2 && secrets.iter().all(|secret| !text.contains(secret.as_str())),
        "a secret is in the log"
    );
    println!("{tried} changes, each with its row");
}

#[tokio::test]
async fn a_run_under_way_is_told_to_end_wherever_it_is_carried_out() {
    let app = store().await;
    let row = RunRow {
        id: "run-elsewhere".to_owned(),
        status: "running".to_owned(),
        from_day: DAY.to_owned(),
        to_day: DAY.to_owned(),
        pools: None,
        dry_run: false,
        created_at: app.clock.now().micros(),
        started_at: None,
        finished_at: None,
        posting: None,
        entries: 0,
        warnings: "[]".to_owned(),
        error: None,
        requested_by: "somebody".to_owned(),
        body: "{}".to_owned(),
    };
    let catalog = app.app.engine.catalog();
    assert_eq!(catalog.insert_run(&row, "another process", 3_600_000_000).await.unwrap(), None);
    let told = app.post("/runs/run-elsewhere/cancel", &json!({})).await.expect(202).json();
    assert_eq!((&told["id"], &told["status"]), (&json!("run-elsewhere"), &json!("running")));
    let asked_by = catalog.run_cancelled_by("run-elsewhere").await.unwrap();
    let newest = log(&app).await.swap_remove(0);
    assert_eq!((newest["action"].as_str(), newest["actor"].as_str()), (Some("run.cancel"), asked_by.as_deref()));
    assert_eq!(newest["target"], "run-elsewhere");

    let over = RunRow { status: "cancelled".to_owned(), finished_at: Some(row.created_at), ..row };
    catalog.update_run(&over).await.unwrap();
    let rows = log(&app).await.len();
    let told = app.post("/runs/run-elsewhere/cancel", &json!({})).await.expect(200).json();
    assert_eq!((&told["status"], log(&app).await.len()), (&json!("cancelled"), rows));
    app.given_run(DAY, DAY).await;
}

#[tokio::test]
async fn a_snapshot_run_under_way_is_told_to_end_wherever_it_is_carried_out() {
    let app = store().await;
    let catalog = app.app.engine.catalog();
    let run = SnapshotRunRow {
        id: "snap-elsewhere".to_owned(),
        date: DAY.to_owned(),
        status: "running".to_owned(),
        created_at: app.clock.now().micros(),
        finished_at: None,
        error: None,
        body: "{}".to_owned(),
    };
    catalog.insert_snapshot_run(&run, "another process", 3_600_000_000).await.unwrap();
    let told = app.post("/snapshots/runs/snap-elsewhere/cancel", &json!({})).await.expect(202).json();
    assert_eq!((&told["id"], &told["status"]), (&json!("snap-elsewhere"), &json!("running")));
    let asked_by = catalog.run_cancelled_by("snap-elsewhere").await.unwrap();
    let newest = log(&app).await.swap_remove(0);
    assert_eq!((newest["action"].as_str(), newest["actor"].as_str()), (Some("snapshots.cancel"), asked_by.as_deref()));
    assert_eq!(newest["target"], "snap-elsewhere");

    let over = SnapshotRunRow { status: "cancelled".to_owned(), finished_at: Some(run.created_at), ..run };
    catalog.end_snapshot_run(&over).await.unwrap();
    let rows = log(&app).await.len();
    let told = app.post("/snapshots/runs/snap-elsewhere/cancel", &json!({})).await.expect(200).json();
    assert_eq!((&told["status"], log(&app).await.len()), (&json!("cancelled"), rows));
}

/// A store with a source of usage that this server answers, two hours of which are read one after the other.
async fn store_with_a_source(url: &str, sink: Arc<dyn UsageSink>) -> TestApp {
    let options = ClientOptions {
        url: Secret::Text(url.to_owned()),
        auth: Auth::Nobody,
        org_id: None,
        timeout: Duration::from_secs(20),
        retries: 0,
        retry_wait: Duration::ZERO,
        response_bytes_max: 1 << 20,
    };
    let client = PrometheusClient::new(options).unwrap();
    let query = UsageQuery {
        name: "cpu".to_owned(),
        meter: "cpu_core_hours".to_owned(),
        expression: "sum by (tenant) (increase(x[1h]))".to_owned(),
        tenant_label: "tenant".to_owned(),
        cluster: None,
        attributes: BTreeMap::new(),
    };
    let source = Source {
        name: "east".to_owned(),
        every: Duration::from_secs(3600),
        settle: Duration::ZERO,
        backfill_hours: 2,
        chunk_hours: 1,
        prometheus: PrometheusSource { client, queries: vec![query], series_max: 1 },
    };
    let mut app = store().await;
    let (catalog, clock) = (app.app.engine.catalog().clone(), app.clock.clone());
    app.change(|parts| parts.sources = Sources::new(vec![source], catalog, clock, sink));
    app
}

/// Takes whatever it is given.
struct AnySink;

impl UsageSink for AnySink {
    fn take<'a>(&'a self, points: &'a [UsagePoint]) -> BoxFuture<'a, Result<Taken, SinkError>> {
        let taken = Taken { accepted: points.len() as u64, ..Taken::default() };
        async move { Ok(taken) }.boxed()
    }
}

/// The address of a server that answers the first request with a value and refuses all others.
async fn refusing_after_one() -> String {
    let requests = Arc::new(AtomicUsize::new(0));
    let answer = move |form: String| {
        let start = url::form_urlencoded::parse(form.as_bytes()).find(|(name, _)| name == "start");
        let time = start.map_or(0, |(_, seconds)| seconds.parse::<i64>().unwrap());
        let series = json!([{ "metric": { "tenant": "acme" }, "values": [[time, "3"]] }]);
        let body = json!({ "status": "success", "data": { "resultType": "matrix", "result": series } });
        let status = match requests.fetch_add(1, Ordering::Relaxed) {
            0 => StatusCode::OK,
            _ => StatusCode::FORBIDDEN,
        };
        std::future::ready((status, [(CONTENT_TYPE, JSON)], body.to_string()))
    };
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let router = axum::Router::new().fallback(answer);
    tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
    url
}

#[tokio::test]
async fn what_a_refresh_took_before_it_failed_is_in_the_log() {
    let app = store_with_a_source(&refusing_after_one().await, Arc::new(AnySink)).await;
    app.post("/sources/east/refresh", &json!({})).await.expect_problem(502, "source_failed");
    let newest = log(&app).await.swap_remove(0);
    assert_eq!((&newest["action"], &newest["target"]), (&json!("source.refresh"), &json!("east")));
    assert_eq!((&newest["after"]["accepted"], &newest["after"]["through"]), (&json!(1), &Value::Null));
    let rows = log(&app).await.len();
    app.post("/sources/east/refresh", &json!({})).await.expect_problem(502, "source_failed");
    assert_eq!(log(&app).await.len(), rows, "nothing was taken");
}

#[tokio::test]
async fn a_refresh_under_way_is_told_to_end_wherever_it_is_carried_out() {
    let app = store_with_a_source("http://127.0.0.1:9", Arc::new(NoSink)).await;
    let catalog = app.app.engine.catalog();
    let of_source = async || app.get("/sources").await.expect(200).json()["rows"][0].clone();
    assert_eq!(of_source().await["refresh"], Value::Null);
    let rows = log(&app).await.len();
    let idle = app.post("/sources/east/refresh/cancel", &json!({})).await.expect(200).json();
    assert_eq!((&idle["name"], &idle["refresh"], log(&app).await.len()), (&json!("east"), &Value::Null, rows));

    let refresh = RefreshRow {
        id: "refresh-elsewhere".to_owned(),
        source: "east".to_owned(),
        status: "running".to_owned(),
        created_at: app.clock.now().micros(),
        finished_at: None,
        error: None,
        progress: String::new(),
    };
    catalog.insert_refresh(&refresh, 3_600_000_000).await.unwrap();
    let told = app.post("/sources/east/refresh/cancel", &json!({})).await.expect(202).json();
    assert_eq!((&told["name"], &told["refresh"]), (&json!("east"), &json!("running")));
    assert_eq!(told["refresh_progress"], Value::Null, "nobody said how far it is");
    catalog.note_refresh("refresh-elsewhere", r#"{"done":3,"total":36,"unit":"hour"}"#).await.unwrap();
    let progress = json!({ "done": 3, "total": 36, "unit": "hour", "started_at": app.clock.now().to_string() });
    assert_eq!(of_source().await["refresh_progress"], progress);
    let asked_by = catalog.run_cancelled_by("refresh-elsewhere").await.unwrap();
    let newest = log(&app).await.swap_remove(0);
    assert_eq!((newest["action"].as_str(), newest["actor"].as_str()), (Some("source.cancel"), asked_by.as_deref()));
    assert_eq!(newest["target"], "east");

    // Another server's began later and ended: the slow one is under way nevertheless.
    let at = refresh.created_at;
    let quick = RefreshRow { id: "refresh-quick".to_owned(), created_at: at + 1, ..refresh.clone() };
    catalog.insert_refresh(&quick, 3_600_000_000).await.unwrap();
    let quick = RefreshRow { status: "succeeded".to_owned(), finished_at: Some(at + 2), ..quick };
    catalog.end_refresh(&quick).await.unwrap();
    assert_eq!(of_source().await["refresh"], "running");
    let rows = log(&app).await.len();
    app.post("/sources/east/refresh/cancel", &json!({})).await.expect(202);
    assert_eq!(log(&app).await.len(), rows + 1);

    let over = RefreshRow { status: "cancelled".to_owned(), finished_at: Some(at + 3), ..refresh };
    catalog.end_refresh(&over).await.unwrap();
    let rows = log(&app).await.len();
    let told = app.post("/sources/east/refresh/cancel", &json!({})).await.expect(200).json();
    assert_eq!((&told["refresh"], log(&app).await.len()), (&json!("succeeded"), rows));
    catalog.insert_refresh(&RefreshRow { created_at: at + 4, ..over }, 0).await.unwrap();
    let told = app.post("/sources/east/refresh/cancel", &json!({})).await.expect(200).json();
    assert_eq!((&told["refresh"], log(&app).await.len()), (&json!("cancelled"), rows));
    assert_eq!(of_source().await["refresh"], "cancelled");
    let refused = app.post("/sources/declared/refresh/cancel", &json!({})).await;
    refused.expect_problem(400, "invalid_parameter");
}

#[tokio::test]
async fn an_import_under_way_is_seen_and_told_to_end_wherever_it_runs() {
    let app = TestApp::start().await;
    let catalog = app.app.catalog();
    let running = async || app.get("/imports/running").await.expect(200).json()["rows"].clone();
    let lines = vec![("shared-west-us", DAY, "100.00"); 200_000];
    let import = app.given_bill_unless_refused("aws", &lines);
    let cancels = async {
        let mut seen = running().await;
        while seen == json!([]) {
            tokio::task::yield_now().await;
            seen = running().await;
        }
        assert_eq!((&seen[0]["kind"], &seen[0]["source"]), (&json!("focus"), &json!("aws")));
        let id = seen[0]["id"].as_str().unwrap();
        app.post(&format!("/imports/running/{id}/cancel"), &json!({})).await.expect(202);
    };
    let (refused, ()) = tokio::join!(import, cancels);
    refused.expect_problem(409, "run_cancelled");
    assert_eq!(running().await, json!([]));
    assert_eq!(app.get("/imports").await.expect(200).json()["rows"], json!([]));
    app.given_bill("aws", &lines[..1]).await;
    assert_eq!(running().await, json!([]), "what is over is not under way");

    let refresh = RefreshRow {
        id: "refresh-elsewhere".to_owned(),
        source: "import/events/may/2026.ndjson".to_owned(),
        status: "running".to_owned(),
        created_at: app.clock.now().micros(),
        finished_at: None,
        error: None,
        progress: r#"{"done":20000,"total":0,"unit":"event"}"#.to_owned(),
    };
    catalog.insert_refresh(&refresh, 3_600_000_000).await.unwrap();
    let row = json!({
        "id": "refresh-elsewhere", "kind": "events", "source": "may/2026.ndjson",
        "started_at": app.clock.now().to_string(), "progress": { "done": 20_000, "total": 0, "unit": "event" },
    });
    assert_eq!(running().await, json!([row]));
    let told = app.post("/imports/running/refresh-elsewhere/cancel", &json!({})).await.expect(202).json();
    assert_eq!(told, row);
    let asked_by = catalog.run_cancelled_by("refresh-elsewhere").await.unwrap();
    let newest = log(&app).await.swap_remove(0);
    assert_eq!((newest["action"].as_str(), newest["actor"].as_str()), (Some("import.cancel"), asked_by.as_deref()));
    assert_eq!(newest["target"], "refresh-elsewhere");

    let over = RefreshRow { status: "cancelled".to_owned(), finished_at: Some(2), ..refresh };
    catalog.end_refresh(&over).await.unwrap();
    assert_eq!(running().await, json!([]));
    let rows = log(&app).await.len();
    app.post("/imports/running/refresh-elsewhere/cancel", &json!({})).await.expect_problem(404, "not_found");
    assert_eq!(log(&app).await.len(), rows);
}

#[tokio::test]
async fn what_changes_nothing_leaves_no_row() {
    let app = store().await;
    let same = json!([{ "date": DAY, "from": "EUR", "to": "USD", "rate": "1.05" }]);
    app.put("/fx-rates", &same).await.expect(200);
    app.put("/tenants/acme", &json!({ "name": "Acme" })).await.expect(200);
    let before = log(&app).await;
    app.put("/fx-rates", &same).await.expect(200);
    app.put("/tenants/acme", &json!({ "name": "Acme" })).await.expect(200);
    app.given_bill("aws", &[("shared-west-us", DAY, "100.00")]).await;
    app.post("/runs?wait=true", &json!({ "from": DAY, "to": DAY, "dry_run": true })).await.expect(200);
    for (path, kind, body) in [
        ("/policies", TOML, POLICY),
        ("/policies/validate", TOML, POLICY),
        ("/rate-cards/validate", TOML, CARD),
        ("/rate-cards/simulate?range=7d", TOML, CARD),
        ("/lake/compact", JSON, ""),
        ("/lake/vacuum", JSON, ""),
        ("/lake/expire-events", JSON, ""),
    ] {
        app.call("POST", &format!("/api/v1{path}"), Some(&app.admin), kind, body).await.expect(200);
    }
    app.post("/adjustments", &json!({})).await.expect_problem(400, "invalid_body");
    app.delete("/tokens/none").await.expect(404);
    assert_eq!(log(&app).await, before);
}

#[test]
fn every_route_that_is_not_read_only_says_what_it_leaves() {
    let rows: BTreeSet<String> = table().iter().map(|(method, route, _)| format!("{method} {route}")).collect();
    let routes: BTreeSet<String> = api::route_facts()
        .iter()
        .filter(|facts| facts.method != "GET")
        .map(|facts| format!("{} {}", facts.method, facts.path))
        .collect();
    assert_eq!(rows, routes);
    for (_, route, row) in table() {
        match row {
            Row::Leaves(changes) => assert!(!changes.is_empty(), "{route}"),
            Row::Idle(reason) => assert!(!reason.is_empty(), "{route}"),
            Row::Events | Row::Nothing => {}
        }
    }
}
