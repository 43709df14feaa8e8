//! What-if: a draft against the ledger; nothing is written, and not too much is done at once.

use crate::app::{POLICY, TestApp, event};
use api::ApiLimits;
use axum::body::Body;
use axum::http::Request;
use engine::Settings;
use serde_json::{Value, json};

const DAY: &str = "2026-11-18";
const RANGE: &str = "from=2026-11-17&to=2026-11-18";

async fn given(limits: ApiLimits) -> TestApp {
    let app = TestApp::with(Settings::default(), limits).await;
    app.given_policy(POLICY).await;
    app.given_bill("aws", &[("shared-west-us", DAY, "100.00"), ("elsewhere", DAY, "5.00")]).await;
    let used = |tenant, hours| ("shared-west-us", tenant, DAY, "cpu_core_hours", hours);
    app.given_usage(&[used("acme", "30"), used("globex", "10")]).await;
    app.given_run("2026-11-17", DAY).await;
    app
}

fn draft() -> Value {
    let pool = json!({ "name": "shared-west-us", "select": {}, "split": { "method": "even" } });
    json!({ "version": "evenly", "valid_from": "2027-01-01", "pool": [pool] })
}

/// Posts a draft and asks for server-sent events; returns each event's name and data.
async fn told(app: &TestApp, path: &str, body: &Value) -> Vec<(String, Value)> {
    let request = Request::builder().method("POST").uri(format!("/api/v1{path}"));
    let request = request
        .header("authorization", format!("Bearer {}", app.admin))
        .header("content-type", "application/json")
        .header("accept", "text/event-stream");
    let answer = app.send(request.body(Body::from(body.to_string())).unwrap()).await.expect(200);
    assert!(answer.header("content-type").starts_with("text/event-stream"));
    let events = answer.text.split("\n\n").filter_map(|event| event.split_once("\ndata: "));
    let event = |(name, data): (&str, &str)| {
        (name.trim_start_matches("event: ").to_owned(), serde_json::from_str(data).unwrap())
    };
    events.map(event).collect()
}

#[tokio::test]
async fn a_policy_is_tried_against_the_ledger_and_nothing_is_written() {
    let app = given(ApiLimits::default()).await;
    let state = async || {
        let lists = ["/ledger/postings", "/policies", "/runs", "/audit", "/tenants"];
        let mut texts = Vec::new();
        for list in lists {
            texts.push(app.get(list).await.expect(200).text);
        }
        texts
    };
    let before = state().await;
    let answer = app.post(&format!("/policies/simulate?{RANGE}"), &draft()).await.expect(200).json();
    assert_eq!(state().await, before);
    let row = |tenant: &str, posted: &str, cost: &str, change: &str| {
        json!({ "tenant": tenant, "posted": posted, "cost": cost, "change": change,
                "posted_memo": "0.00", "cost_memo": "0.00", "change_memo": "0.00" })
    };
    let rows = [
        row("globex", "25.00", "52.50", "27.50"),
        row("acme", "75.00", "52.50", "-22.50"),
        row("__unattributed__", "5.00", "0.00", "-5.00"),
    ];
    assert_eq!(answer["rows"], json!(rows));
    assert_eq!((&answer["totals"]["posted"], &answer["totals"]["change"]), (&json!("105.00"), &json!("0.00")));
    assert_eq!((&answer["version"], &answer["posting"]), (&json!("evenly"), &json!(1)));
    assert_eq!((&answer["not_run"], &answer["due_days"], &answer["rows_total"]), (&json!(0), &json!([]), &json!(3)));
    let one = app.post(&format!("/policies/simulate?{RANGE}&limit=1"), &draft()).await.expect(200).json();
    assert_eq!((one["rows"].as_array().unwrap().len(), &one["totals"]), (1, &answer["totals"]));
    app.post(&format!("/policies/simulate?{RANGE}"), &json!({ "version": "x" }))
        .await
        .expect_problem(422, "invalid_policy");
}

#[tokio::test]
async fn usage_that_was_only_acknowledged_counts() {
    let app = given(ApiLimits::default()).await;
    let pool = json!({
        "name": "shared-west-us", "select": {}, "split": { "method": "proportional", "meter": "cpu_core_hours" },
    });
    let draft = json!({ "version": "by-cpu", "valid_from": "2027-01-01", "pool": [pool] });
    let costs = async || {
        let answer = app.post(&format!("/policies/simulate?{RANGE}"), &draft).await.expect(200).json();
        let rows = answer["rows"].as_array().unwrap();
        let cost_of = |tenant: &str| rows.iter().find(|row| row["tenant"] == tenant).unwrap()["cost"].clone();
        (cost_of("acme"), cost_of("globex"), answer["due_days"].clone())
    };
    assert_eq!(costs().await, (json!("78.75"), json!("26.25"), json!([])));
    let late = event(("another", "globex", DAY, "cpu_core_hours", "20"));
    app.post("/events", &serde_json::from_str(&late).unwrap()).await.expect(200);
    assert_eq!(costs().await, (json!("52.50"), json!("52.50"), json!([DAY])));
}

#[tokio::test]
async fn the_progress_is_told_day_by_day_to_who_asks_for_it() {
    let app = given(ApiLimits::default()).await;
    let answer = app.post(&format!("/policies/simulate?{RANGE}"), &draft()).await.expect(200).json();
    let events = told(&app, &format!("/policies/simulate?{RANGE}"), &draft()).await;
    let (last, steps) = events.split_last().unwrap();
    assert_eq!(last, &("done".to_owned(), answer));
    assert!(!steps.is_empty());
    for (name, step) in steps {
        assert_eq!((name.as_str(), &step["days_total"], &step["status"]), ("progress", &json!(2), &json!("running")));
    }
}

#[tokio::test]
async fn a_rate_card_is_tried_as_usage_or_as_a_run() {
    let app = given(ApiLimits::default()).await;
    let policy = POLICY.replace("\"clusters\"", "\"rated\"")
        + "\n[[pool]]\nname = \"estimate\"\nsplit = { method = \"rated\", meters = [\"cpu_core_hours\"] }\n";
    app.given_policy(&policy).await;
    let price = |price: &str| json!([{ "meter": "cpu_core_hours", "price": price, "per": "unit" }]);
    let card = |version: &str, cost: &str| json!({ "version": version, "currency": "USD", "valid_from": "2026-01-01", "price": price(cost) });
    app.post("/rate-cards?confirm=true", &card("one", "1.00")).await.expect(201);
    app.given_run("2026-11-17", DAY).await;
    let path = format!("/rate-cards/simulate?{RANGE}&view=posted");
    let answer = app.post(&path, &card("two", "2.00")).await.expect(200).json();
    let memo = |tenant: &str| {
        let rows = answer["rows"].as_array().unwrap();
        let row = rows.iter().find(|row| row["tenant"] == tenant).unwrap();
        ["posted_memo", "cost_memo", "change_memo", "change"].map(|name| row[name].as_str().unwrap().to_owned())
    };
    assert_eq!(memo("acme"), ["30.00", "60.00", "30.00", "0.00"]);
    assert_eq!(memo("globex"), ["10.00", "20.00", "10.00", "0.00"]);
    let usage = app.post(&format!("/rate-cards/simulate?{RANGE}"), &card("two", "2.00")).await.expect(200).json();
    assert_eq!(usage["totals"], json!({ "cost": "80.00", "posted": "40.00", "change": "40.00" }));
    app.post(&format!("{path}&filter=tenant:acme"), &card("two", "2")).await.expect_problem(400, "invalid_parameter");
}

#[tokio::test]
async fn drafts_are_bounded_in_days_and_in_number() {
    let app = given(ApiLimits { simulation_days_max: 2, ..ApiLimits::default() }).await;
    app.post(&format!("/policies/simulate?{RANGE}"), &draft()).await.expect(200);
    app.post("/policies/simulate?range=7d", &draft()).await.expect_problem(400, "invalid_parameter");
    app.post("/policies/simulate?from=2026-11-20&to=2026-11-21", &draft())
        .await
        .expect_problem(400, "invalid_parameter");
    let full = given(ApiLimits { simulations_max: 0, ..ApiLimits::default() }).await;
    full.post(&format!("/policies/simulate?{RANGE}"), &draft()).await.expect_problem(429, "too_many_simulations");
}
