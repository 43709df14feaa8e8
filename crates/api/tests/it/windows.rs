//! Windows from the event to the ledger: what is pending, what closes it, what comes late, and what retention may take.

use crate::app::TestApp;
use api::Upkeep;
use domain::money::parse_atoms;
use domain::{Day, DayRange, Instant, TenantScope};
use engine::query::{EntryFilter, ExplainQuery, ProofFilter};
use engine::run::{RunRequest, RunView};
use ledger::{Cause, Entry, Status};
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use storage::lake::CompactionRule;

const ALL: TenantScope = TenantScope::All;
const SECONDS_PER_DAY: i64 = 86_400;
const POLICY: &str = r#"
version = "windows"
valid_from = 2026-01-01

[[pool]]
name = "gather"
tier = "amortized"
source = { event_type = "gather.completed", key = "$.gather_id", cost = "$.cost_usd", currency = "USD" }
split = { method = "window", by = ["tenant", "workflow"], event_type = "repo_context.read", key = "$.gather_id", window = "24h" }

[[pool]]
name = "sandbox"
tier = "amortized"
source = { event_type = "vm.warmed", key = "$.vm", cost = "$.cost_usd", currency = "USD" }
split = { method = "window", by = ["tenant", "workflow"], event_type = "sandbox_seconds", key = "$.vm", window = "until:vm.cooled", each = "sandbox_seconds" }
"#;

fn event(id: &str, kind: &str, time: &str, data: &Value) -> Value {
    json!({
        "specversion": "1.0", "id": id, "source": "/s", "type": kind, "time": time, "tenant": "platform", "data": data,
    })
}

fn gather(key: &str, time: &str, cost: &str) -> Value {
    event(key, "gather.completed", time, &json!({ "gather_id": key, "cost_usd": cost }))
}

fn read(key: &str, time: &str, workflow: &str) -> Value {
    let mut read = event(&format!("{key}-{workflow}-{time}"), "repo_context.read", time, &json!({ "gather_id": key }));
    (read["tenant"], read["workflow"]) = (json!("acme"), json!(workflow));
    read
}

async fn send(app: &TestApp, events: &[Value]) {
    assert_eq!(app.post("/events", &json!(events)).await.expect(200).json()["accepted"], events.len());
}

fn set(app: &TestApp, time: &str) {
    app.clock.set(time.parse().unwrap());
}

/// Runs what is due at this time, which must be one stretch of days at most.
async fn night(app: &TestApp, time: &str) -> Option<RunView> {
    set(app, time);
    let (mut runs, _) = app.app.engine.run_due("test").await.unwrap();
    assert!(runs.len() <= 1, "{runs:?}");
    runs.pop()
}

async fn run(app: &TestApp, range: DayRange) -> RunView {
    let request = RunRequest::of(range, "test");
    app.app.engine.run_and_wait(request).await.unwrap()
}

async fn entries(app: &TestApp, posting: Option<i64>) -> Vec<Entry> {
    let filter = EntryFilter { posting, limit: 1_000_000, ..EntryFilter::all() };
    app.app.engine.ledger_entries(&ALL, &filter).await.unwrap().rows
}

/// What the ledger says: day, consumer, status and amount, as texts.
async fn balances(app: &TestApp) -> Vec<String> {
    let mut sums: BTreeMap<(Day, String, &str), i128> = BTreeMap::new();
    for entry in entries(app, None).await {
        let consumer = entry.consumer.unwrap().to_string();
        *sums.entry((entry.charge_date.unwrap(), consumer, entry.status.unwrap().as_str())).or_default() +=
            entry.amount;
    }
    sums.retain(|_, sum| *sum != 0);
    let text = |((day, consumer, status), sum): ((Day, String, &str), i128)| {
        format!("{day} {consumer} {status} {}", domain::money::format_atoms(sum))
    };
    sums.into_iter().map(text).collect()
}

async fn causes(app: &TestApp, posting: Option<i64>) -> BTreeSet<Cause> {
    entries(app, posting).await.iter().filter_map(|entry| entry.cause).collect()
}

async fn started() -> TestApp {
    let app = TestApp::start().await;
    app.given_policy(POLICY).await;
    app
}

#[tokio::test]
async fn a_gather_over_the_end_of_a_month_is_pending_then_final_and_a_late_read_restates_it() {
    let app = started().await;
    set(&app, "2026-11-30T23:50:00Z");
    send(&app, &[gather("g", "2026-11-30T23:00:00Z", "0.90"), read("g", "2026-11-30T23:30:00Z", "w1")]).await;

    // The first night: a day of November, half of whose window lies in December.
    let first = night(&app, "2026-12-01T00:30:00Z").await.unwrap();
    assert_eq!(balances(&app).await, ["2026-11-30 acme/w1 pending 0.90"]);
    assert_eq!(causes(&app, first.posting).await, [Cause::First].into());
    assert!(night(&app, "2026-12-01T00:40:00Z").await.is_none(), "nothing came and nothing closed");

    set(&app, "2026-12-01T20:00:00Z");
    send(&app, &[read("g", "2026-12-01T19:00:00Z", "w2"), read("g", "2026-12-01T19:30:00Z", "w2")]).await;
    let second = night(&app, "2026-12-01T23:30:00Z").await.unwrap();
    assert_eq!(balances(&app).await, ["2026-11-30 acme/w1 pending 0.45", "2026-11-30 acme/w2 pending 0.45"]);
    assert_eq!(causes(&app, second.posting).await, [Cause::LateUsage].into());
    assert_eq!(app.app.engine.events_needed_from().await.unwrap(), Some("2026-11-30".parse().unwrap()));

    // The window ended at 23:00 and waited for an hour. Reads after it are of another window.
    let third = night(&app, "2026-12-02T00:30:00Z").await.unwrap();
    assert_eq!(balances(&app).await, ["2026-11-30 acme/w1 final 0.45", "2026-11-30 acme/w2 final 0.45"]);
    assert_eq!(causes(&app, third.posting).await, [Cause::WindowClosed].into());
    let sums: i128 = entries(&app, third.posting).await.iter().map(|entry| entry.amount).sum();
    assert_eq!((sums, entries(&app, third.posting).await.len()), (0, 4));

    set(&app, "2026-12-05T12:00:00Z");
    send(&app, &[read("g", "2026-12-01T22:59:59Z", "w3"), read("g", "2026-12-01T23:00:00Z", "w4")]).await;
    let late = night(&app, "2026-12-06T00:30:00Z").await.unwrap();
    assert_eq!((late.from.to_string(), late.to.to_string()), ("2026-11-30".to_owned(), "2026-12-01".to_owned()));
    let thirds = ["w1", "w2", "w3"].map(|workflow| format!("2026-11-30 acme/{workflow} final 0.30"));
    assert_eq!(balances(&app).await, thirds);
    assert_eq!(causes(&app, late.posting).await, [Cause::LateUsage].into());
    assert!(night(&app, "2026-12-07T00:30:00Z").await.is_none());

    let proof = app.app.engine.proof_all_tenants(&ProofFilter::all()).await.unwrap();
    assert!(proof.rows.iter().all(|row| row.difference == 0) && proof.totals.iter().all(|total| total.failed == 0));
    let noted: Value = serde_json::from_str(&proof.rows[0].inputs[0]).unwrap();
    let window = json!({ "cost_events": 1, "pending": 0, "unconsumed": 0, "reads": 4 });
    assert_eq!(noted["window"], window);
    let query = ExplainQuery {
        tenant: "acme".to_owned(),
        date: "2026-11-30".parse().unwrap(),
        pool: Some("gather".to_owned()),
        as_of: None,
    };
    let explained = app.app.engine.explain(&ALL, &query).await.unwrap();
    let pool = &explained.pools[0];
    assert_eq!((pool.matches, pool.components[0].cells.len(), pool.memo), (Some(true), 3, true));
    let window = pool.window.as_ref().unwrap();
    assert_eq!((window.window.as_str(), window.each.as_str(), window.costs_used), ("24h", "consumer", 1));
    let shown = &window.shown[0];
    assert!(shown.event.as_deref().is_some_and(|event| event.starts_with("platform /s ")), "{shown:?}");
    assert_eq!((shown.status, shown.readers, shown.part), ("final", Some(3), parse_atoms("0.90").unwrap().atoms));
}

#[tokio::test]
async fn t8_a_cost_that_two_tenants_used_is_not_told_in_a_pool_of_five() {
    let settings = engine::Settings { disclose_pools: true, ..engine::Settings::default() };
    let app = TestApp::with(settings, api::ApiLimits::default()).await;
    app.given_policy(POLICY).await;
    let of = |tenant: &str, key: &str| {
        let mut read = read(key, "2026-11-18T10:30:00Z", "w");
        read["tenant"] = json!(tenant);
        read
    };
    let (ours, two) = (gather("five", "2026-11-18T10:00:00Z", "0.90"), gather("two", "2026-11-18T10:10:00Z", "0.80"));
    send(&app, &[ours, two]).await;
    send(&app, &["acme", "b", "c", "d", "e"].map(|tenant| of(tenant, "five"))).await;
    send(&app, &["acme", "b"].map(|tenant| of(tenant, "two"))).await;
    run(&app, DayRange::single("2026-11-18".parse().unwrap())).await;
    let token = app.token("tenant_viewer", &["acme"]).await;
    let path = "/explain?tenant=acme&date=2026-11-18&pool=gather";
    let window = app.get_as(&token, path).await.expect(200).json()["pools"][0]["window"].clone();
    let [five, two] = [&window["shown"][0], &window["shown"][1]];
    assert_eq!((&five["cost"], &five["readers"], &five["tenants"]), (&json!("0.90"), &json!(5), &json!(5)));
    assert_eq!((&two["part"], &two["weight"]), (&json!("0.40"), &json!("1")));
    for secret in ["cost", "readers", "tenants", "total_weight", "event"] {
        assert!(two.get(secret).is_none(), "{secret} in {two}");
    }
    assert!(five.get("event").is_none(), "whose event it is: {five}");
    let all = app.get(path).await.expect(200).json()["pools"][0]["window"]["shown"][1].clone();
    assert_eq!((&all["cost"], &all["tenants"]), (&json!("0.80"), &json!(2)));
}

#[tokio::test]
async fn a_read_that_was_taken_back_and_a_cost_that_nobody_read() {
    let app = started().await;
    set(&app, "2026-11-21T12:00:00Z");
    let wrong = read("g", "2026-11-21T11:30:00Z", "wrong");
    send(&app, &[gather("g", "2026-11-21T11:00:00Z", "1.00"), wrong.clone()]).await;
    night(&app, "2026-11-23T00:30:00Z").await.unwrap();
    assert_eq!(balances(&app).await, ["2026-11-21 acme/wrong final 1.00"]);
    let mut retraction =
        event("r", "apportion.retract", "2026-11-22T12:00:00Z", &json!({ "source": "/s", "id": wrong["id"] }));
    retraction["tenant"] = json!("acme");
    send(&app, &[retraction]).await;
    let again = night(&app, "2026-11-24T00:30:00Z").await.unwrap();
    assert_eq!(balances(&app).await, ["2026-11-21 __unconsumed__ final 1.00"]);
    assert_eq!(causes(&app, again.posting).await, [Cause::LateUsage].into());
    let unread = entries(&app, again.posting).await.into_iter().find(|entry| entry.tenant.is_none()).unwrap();
    assert_eq!((unread.tier.unwrap().as_str(), unread.reason.as_deref()), ("overhead", Some("no_usage")));
}

#[tokio::test]
async fn a_sandbox_warmed_for_one_and_reused_by_another_is_paid_by_both() {
    let app = started().await;
    set(&app, "2026-11-21T12:00:00Z");
    let vm = |id: &str, kind: &str, time: &str| event(id, kind, time, &json!({ "vm": "vm-1", "cost_usd": "4.00" }));
    let used = |id: &str, time: &str, workflow: &str, seconds: &str| {
        let mut used = event(id, "sandbox_seconds", time, &json!({ "vm": "vm-1", "value": seconds }));
        (used["tenant"], used["workflow"]) = (json!("acme"), json!(workflow));
        used
    };
    let events = [
        vm("warm", "vm.warmed", "2026-11-21T09:00:00Z"),
        used("1", "2026-11-21T09:10:00Z", "a", "300"),
        used("2", "2026-11-21T09:40:00Z", "b", "100"),
        vm("cool", "vm.cooled", "2026-11-21T10:00:00Z"),
        used("3", "2026-11-21T10:30:00Z", "c", "9999"),
    ];
    send(&app, &events).await;
    night(&app, "2026-11-22T00:30:00Z").await.unwrap();
    assert_eq!(balances(&app).await, ["2026-11-21 acme/a final 3.00", "2026-11-21 acme/b final 1.00"]);
}

fn at(day: Day, seconds: i64) -> String {
    let midnight = i64::from(day.epoch_days()) * SECONDS_PER_DAY;
    Instant::from_micros((midnight + seconds) * domain::time::MICROS_PER_SECOND).to_string()
}

#[tokio::test]
async fn events_dropped_in_two_hundred_days_never_reverse_a_posted_window() {
    const DAYS: i32 = 200;
    const EVENTS_DAYS: i32 = 30;
    const HOUR: i64 = 3_600;
    let mut app = started().await;
    let rule = CompactionRule::default();
    app.change(|parts| parts.upkeep = Arc::new(Upkeep::new(rule, EVENTS_DAYS, 7 * SECONDS_PER_DAY, SECONDS_PER_DAY)));
    let start: Day = "2026-11-21".parse().unwrap();
    let key = |day: Day| format!("g-{day}");
    let mut dropped = BTreeSet::new();
    for number in 0..DAYS {
        let day = start.plus(number);
        set(&app, &at(day, 23 * HOUR));
        // Each gather is read on its own day and on the next.
        let mut events =
            vec![gather(&key(day), &at(day, 10 * HOUR), "1.00"), read(&key(day), &at(day, 11 * HOUR), "w1")];
        if 0 < number {
            events.push(read(&key(day.plus(-1)), &at(day, 9 * HOUR), "w2"));
        }
        send(&app, &events).await;
        let view = night(&app, &at(day.plus(1), HOUR / 2)).await.unwrap();
        assert!(view.warnings.is_empty(), "{view:?}");
        let expired = app.post("/lake/expire-events", &Value::Null).await.expect(200).json();
        dropped.extend(expired["days"].as_array().unwrap().iter().map(|day| day.as_str().unwrap().to_owned()));
    }
    assert_eq!(dropped.len(), usize::try_from(DAYS - EVENTS_DAYS).unwrap());
    let mut expected = Vec::new();
    for number in 0..DAYS - 1 {
        for workflow in ["w1", "w2"] {
            expected.push(format!("{} acme/{workflow} final 0.50", start.plus(number)));
        }
    }
    expected.push(format!("{} acme/w1 pending 1.00", start.plus(DAYS - 1)));
    assert_eq!(balances(&app).await, expected);

    // A read that comes for a day whose events are gone, a run of all days by hand, and another policy change nothing.
    let (gone, kept) = (start.plus(20), start.plus(DAYS - 10));
    send(&app, &[read(&key(gone), &at(gone, 12 * HOUR), "late")]).await;
    let (runs, _) = app.app.engine.run_due("test").await.unwrap();
    let codes = |views: &[RunView]| -> BTreeSet<String> {
        views.iter().flat_map(|view| &view.warnings).map(|warning| warning.code.clone()).collect()
    };
    assert_eq!(codes(&runs), ["inputs_expired".to_owned()].into());
    assert_eq!(balances(&app).await, expected);
    let all = DayRange::new(start, start.plus(DAYS - 1)).unwrap();
    assert_eq!(run(&app, all).await.posting, None);
    app.given_policy(&POLICY.replace("\"windows\"", "\"shorter\"").replace("window = \"24h\"", "window = \"2h\""))
        .await;
    let narrowed = DayRange::new(start, start.plus(DAYS - EVENTS_DAYS - 5)).unwrap();
    assert_eq!(run(&app, narrowed).await.posting, None);
    assert_eq!(balances(&app).await, expected);

    // What is still stored is restated as ever.
    run(&app, DayRange::single(kept)).await;
    let restated = format!("{kept} acme/w1 final 1.00");
    assert!(balances(&app).await.contains(&restated));
    let pending: Vec<Entry> =
        entries(&app, None).await.into_iter().filter(|entry| entry.status == Some(Status::Pending)).collect();
    assert!(!pending.is_empty());
    let proof =
        app.app.engine.proof_all_tenants(&ProofFilter { limit: 1_000_000, ..ProofFilter::all() }).await.unwrap();
    assert!(proof.totals.iter().all(|total| total.failed == 0), "{:?}", proof.totals);
}
