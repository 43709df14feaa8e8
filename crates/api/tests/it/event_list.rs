//! Events as they were accepted: all of them, once, and of the caller's tenants only.

use crate::app::TestApp;
use serde_json::{Value, json};

fn event(id: &str, tenant: &str, kind: &str, time: &str) -> Value {
    json!({
        "specversion": "1.0", "id": id, "source": "/s", "type": kind, "tenant": tenant,
        "time": format!("2026-11-{time}:00Z"), "data": { "value": 1.50, "user": "u", "labels": { "env": "prod" } }
    })
}

async fn ids(app: &TestApp, token: &str, query: &str) -> Vec<String> {
    let body = app.get_as(token, &format!("/events?range=2026-11&{query}")).await.expect(200).json();
    body["rows"].as_array().unwrap().iter().map(|row| row["id"].as_str().unwrap().to_owned()).collect()
}

async fn given(app: &TestApp) {
    let events = [
        event("1", "acme", "log_queries", "18T10:00"),
        event("2", "acme", "build", "18T11:00"),
        event("3", "globex", "build", "19T10:00"),
        event("4", "globex", "deploy", "19T12:00"),
    ];
    app.post("/events", &json!(events)).await.expect(200);
}

#[tokio::test]
async fn events_are_listed_as_soon_as_they_are_acknowledged_and_as_they_were_sent() {
    let app = TestApp::start().await;
    given(&app).await;
    let body = app.get("/events?range=2026-11&id=2").await.expect(200).json();
    let expected = json!({
        "time": "2026-11-18T11:00:00Z", "received_at": "2026-11-20T12:00:00Z", "tenant": "acme", "source": "/s",
        "id": "2", "type": "build", "dimensions": { "user": "u" }, "labels": { "env": "prod" },
        "data": { "value": 1.50, "user": "u", "labels": { "env": "prod" } }
    });
    assert_eq!(body["rows"], json!([expected]));
    assert_eq!(ids(&app, &app.admin, "").await, ["4", "3", "2", "1"]);
    app.post("/events", &event("5", "acme", "build", "20T10:00")).await.expect(200);
    assert_eq!(ids(&app, &app.admin, "").await, ["5", "4", "3", "2", "1"]);
    assert_eq!(ids(&app, &app.admin, "type=build&source=/s").await, ["5", "3", "2"]);
    assert_eq!(ids(&app, &app.admin, "tenant=acme").await, ["5", "2", "1"]);
    assert_eq!(ids(&app, &app.admin, "tenant=nobody").await, Vec::<String>::new());
    let other_days = app.get("/events?range=2026-11-19").await.expect(200).json();
    assert_eq!(other_days["rows"].as_array().unwrap().len(), 2);
}

#[tokio::test]
async fn what_no_meter_takes_is_kept_and_found() {
    let app = TestApp::start().await;
    given(&app).await;
    assert_eq!(ids(&app, &app.admin, "unmetered=true").await, ["4", "3", "2"]);
    let types = |query: &'static str| {
        let app = &app;
        async move { app.get(&format!("/events/types?range=2026-11{query}")).await.expect(200).json()["rows"].clone() }
    };
    let row = |kind: &str, events: u64, meters: Value, last: &str| json!({ "type": kind, "events": events, "meters": meters, "last_time": format!("2026-11-{last}:00Z") });
    let all = [
        row("build", 2, json!([]), "19T10:00"),
        row("deploy", 1, json!([]), "19T12:00"),
        row("log_queries", 1, json!(["log_queries"]), "18T10:00"),
    ];
    assert_eq!(types("").await, json!(all));
    assert_eq!(types("&unmetered=true").await, json!(all[..2]));
    let meter = json!({ "unit": "Builds", "category": "other", "kind": "counter", "event_type": "build", "aggregation": "count" });
    app.put("/meters/builds", &meter).await.expect(200);
    assert_eq!(types("&unmetered=true").await, json!(all[1..2]));
    assert_eq!(types("").await[0]["meters"], json!(["builds"]));
    assert_eq!(ids(&app, &app.admin, "unmetered=true").await, ["4"]);
}

#[tokio::test]
async fn pages_show_one_state_and_every_event_once() {
    let app = TestApp::start().await;
    given(&app).await;
    let (mut path, mut seen) = ("/events?range=2026-11&limit=1".to_owned(), Vec::new());
    loop {
        let body = app.get(&path).await.expect(200).json();
        seen.push(body["rows"][0]["id"].as_str().unwrap().to_owned());
        // What comes between two pages is not part of the list.
        app.post("/events", &event(&format!("x{}", seen.len()), "acme", "build", "18T09:00")).await.expect(200);
        let Some(cursor) = body["next_cursor"].as_str() else { break };
        path = format!("/events?range=2026-11&limit=1&cursor={cursor}");
    }
    assert_eq!(seen, ["4", "3", "2", "1"]);
    let csv = app.csv("GET", "/events?range=2026-11&id=2").await.expect(200);
    assert!(csv.text.starts_with("time,received_at,tenant,source,id,type,dimensions,labels,data\r\n"), "{}", csv.text);
}

#[tokio::test]
async fn a_tenant_sees_its_own_events_also_those_sent_under_an_alias() {
    let app = TestApp::start().await;
    app.put("/tenants/acme", &json!({ "aliases": ["acme-inc"] })).await.expect(201);
    given(&app).await;
    app.post("/events", &event("6", "acme-inc", "build", "18T12:00")).await.expect(200);
    let token = app.token("tenant_viewer", &["acme"]).await;
    assert_eq!(ids(&app, &token, "").await, ["6", "2", "1"]);
    assert_eq!(ids(&app, &app.admin, "tenant=acme").await, ["6", "2", "1"]);
    assert_eq!(app.get_as(&token, "/events?range=2026-11").await.json()["rows"][0]["tenant"], "acme");
    app.get_as(&token, "/events?tenant=globex").await.expect_problem(404, "tenant_not_found");
    app.get_as(&token, "/events/types?tenant=globex").await.expect_problem(404, "tenant_not_found");
    let body = app.get_as(&token, "/events/types?range=2026-11").await.expect(200).json();
    assert_eq!(body["rows"].as_array().unwrap().len(), 2);
    assert!(!body.to_string().contains("deploy"), "{body}");
}
