//! Backfills: stored events that came before their meter count once, whatever was metered or done before.

use crate::app::TestApp;
use serde_json::{Value, json};

fn build(id: &str, day: &str) -> Value {
    json!({
        "specversion": "1.0", "id": id, "source": "/s", "type": "build", "tenant": "acme",
        "time": format!("2026-11-{day}T10:30:00Z"), "data": { "seconds": 1.5, "user": "u", "labels": { "env": "prod" } }
    })
}

fn meter() -> Value {
    json!({
        "unit": "Seconds", "category": "compute", "kind": "counter", "event_type": "build", "value": "$.seconds",
        "aggregation": "sum", "group_by": { "who": "$.user" }
    })
}

async fn send(app: &TestApp, events: &[Value]) {
    assert_eq!(app.post("/events", &json!(events)).await.expect(200).json()["accepted"], events.len());
}

async fn backfill(app: &TestApp, from: &str) -> (u64, u64, Value) {
    let body = app.post(&format!("/meters/builds/backfill?from={from}"), &Value::Null).await.expect(200).json();
    assert_eq!(
        (&body["meter"], &body["from"], &body["through"]),
        (&json!("builds"), &json!(from), &json!("2026-11-20"))
    );
    (body["events"].as_u64().unwrap(), body["rows"].as_u64().unwrap(), body["days_touched"].clone())
}

async fn total(app: &TestApp) -> (String, u64) {
    let path = "/usage?range=2026-11&meter=builds&group_by=tenant,user,label:env,label:who";
    let rows = app.get(path).await.expect(200).json()["rows"].clone();
    let Some(row) = rows.get(0) else { return (String::new(), 0) };
    assert_eq!(rows.as_array().unwrap().len(), 1, "{rows}");
    assert_eq!(row["key"], json!({ "tenant": "acme", "user": "u", "label:env": "prod", "label:who": "u" }));
    (row["quantity"].as_str().unwrap().to_owned(), row["events"].as_u64().unwrap())
}

#[tokio::test]
async fn each_event_counts_once_however_often_and_from_which_day_it_is_asked_for() {
    let app = TestApp::start().await;
    send(&app, &[build("1", "10"), build("2", "12")]).await;
    let mut wordless = build("3", "12");
    wordless["data"]["seconds"] = json!("many");
    send(
        &app,
        &[wordless, json!({ "specversion": "1.0", "id": "4", "source": "/s", "type": "other", "tenant": "acme" })],
    )
    .await;
    app.put("/meters/builds", &meter()).await.expect(200);
    // Metered as it comes, with the fixed clock at the very time of those before.
    send(&app, &[build("5", "12")]).await;
    assert_eq!(total(&app).await, ("1.5".to_owned(), 1));

    assert_eq!(backfill(&app, "2026-11-11").await, (1, 1, json!(["2026-11-12"])));
    assert_eq!(total(&app).await, ("3".to_owned(), 2));
    assert_eq!(backfill(&app, "2026-11-11").await, (0, 0, json!([])));
    assert_eq!(backfill(&app, "2026-11-12").await, (0, 0, json!([])));
    assert_eq!(backfill(&app, "2026-11-01").await, (1, 1, json!(["2026-11-10"])));
    assert_eq!(backfill(&app, "2026-11-01").await, (0, 0, json!([])));
    assert_eq!(total(&app).await, ("4.5".to_owned(), 3));
    app.app.events.flush_all().await.unwrap();
    assert_eq!(total(&app).await, ("4.5".to_owned(), 3));
}

#[tokio::test]
async fn what_came_while_the_meter_was_hidden_is_found_and_nothing_else() {
    let app = TestApp::start().await;
    app.put("/meters/builds", &meter()).await.expect(200);
    send(&app, &[build("1", "10")]).await;
    app.delete("/meters/builds").await.expect(204);
    send(&app, &[build("2", "10")]).await;
    app.post("/meters/builds/backfill?from=2026-11-01", &Value::Null).await.expect_problem(404, "not_found");
    app.put("/meters/builds", &meter()).await.expect(200);
    send(&app, &[build("3", "10")]).await;
    // Another heading is not another meaning.
    let mut renamed = meter();
    renamed["category"] = json!("labor");
    app.put("/meters/builds", &renamed).await.expect(200);
    send(&app, &[build("4", "10")]).await;
    assert_eq!(total(&app).await, ("4.5".to_owned(), 3));
    assert_eq!(backfill(&app, "2026-11-01").await, (1, 1, json!(["2026-11-10"])));
    assert_eq!(backfill(&app, "2026-11-01").await, (0, 0, json!([])));
    assert_eq!(total(&app).await, ("6".to_owned(), 4));
}

#[tokio::test]
async fn imported_events_are_metered_by_the_import_or_by_the_backfill() {
    let app = TestApp::start().await;
    let import = |events: Vec<Value>| {
        let lines: String = events.iter().map(|event| event.to_string() + "\n").collect();
        let app = &app;
        async move {
            let kind = "application/x-ndjson";
            app.call("POST", "/api/v1/events/imports", Some(&app.admin), kind, &lines).await.expect(200);
        }
    };
    import(vec![build("1", "10")]).await;
    app.put("/meters/builds", &meter()).await.expect(200);
    import(vec![build("1", "10"), build("2", "10")]).await;
    assert_eq!(total(&app).await, ("1.5".to_owned(), 1));
    assert_eq!(backfill(&app, "2026-11-01").await, (1, 1, json!(["2026-11-10"])));
    assert_eq!(total(&app).await, ("3".to_owned(), 2));
}

#[tokio::test]
async fn days_become_due_and_the_caller_learns_what_is_refused() {
    let app = TestApp::start().await;
    send(&app, &[build("1", "10")]).await;
    app.put("/meters/builds", &meter()).await.expect(200);
    app.given_run("2026-11-10", "2026-11-10").await;
    let due = app.post("/runs?wait=true", &json!({ "due": true })).await.expect(200).json();
    assert_eq!(due["runs"], json!([]));
    backfill(&app, "2026-11-10").await;
    let due = app.post("/runs?wait=true", &json!({ "due": true })).await.expect(200).json();
    assert_eq!((&due["from"], &due["to"]), (&json!("2026-11-10"), &json!("2026-11-10")));
    let refused = ["", "?from=x", "?from=2026-11-21", "?from=2026-11-01&to=2026-11-02"];
    for query in refused {
        let answer = app.post(&format!("/meters/builds/backfill{query}"), &Value::Null).await;
        answer.expect_problem(400, "invalid_parameter");
    }
    let audit = app.get("/audit").await.expect(200).json();
    let actions: Vec<&Value> = audit["rows"].as_array().expect("rows").iter().map(|row| &row["action"]).collect();
    assert_eq!(actions[..2], [&json!("run.start"), &json!("meter.backfill")], "the newest first");
}
