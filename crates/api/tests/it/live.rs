//! Live usage: exact, only when something changed, bounded, and over when it has to be.

use crate::app::TestApp;
use api::ApiLimits;
use axum::body::Body;
use axum::http::Request;
use engine::Settings;
use http_body_util::BodyExt as _;
use serde_json::{Value, json};
use std::time::Duration;
use tower::ServiceExt as _;

/// A stream that is read piece by piece.
struct Followed(Body);

impl Followed {
    async fn open(app: &TestApp, token: &str, query: &str) -> Self {
        let request = Request::builder()
            .uri(format!("/api/v1/usage/live?{query}"))
            .header("authorization", format!("Bearer {token}"));
        let response = app.router.clone().oneshot(request.body(Body::empty()).unwrap()).await.unwrap();
        assert_eq!(response.status(), 200);
        assert_eq!(response.headers()["content-type"], "text/event-stream");
        Self(response.into_body())
    }

    /// The next event or comment as it is written; none at the end.
    async fn piece(&mut self) -> Option<String> {
        let frame = self.0.frame().await?;
        Some(String::from_utf8(frame.unwrap().into_data().unwrap().to_vec()).unwrap())
    }

    /// The next event's name and body, comments left out.
    async fn event(&mut self) -> Option<(String, Value)> {
        loop {
            let piece = self.piece().await?;
            if piece.starts_with(':') {
                continue;
            }
            let name = piece.lines().find_map(|line| line.strip_prefix("event: ")).unwrap().to_owned();
            let data = piece.lines().find_map(|line| line.strip_prefix("data: ")).unwrap();
            return Some((name, serde_json::from_str(data).unwrap()));
        }
    }

    /// The totals by tenant of the next event.
    async fn totals(&mut self) -> Vec<(String, String, u64)> {
        let (name, body) = self.event().await.unwrap();
        assert_eq!(name, "usage", "{body}");
        let total = |row: &Value| {
            let text = |value: &Value| value.as_str().unwrap().to_owned();
            (text(&row["key"]["tenant"]), text(&row["quantity"]), row["events"].as_u64().unwrap())
        };
        body["rows"].as_array().unwrap().iter().map(total).collect()
    }
}

async fn start(limits: ApiLimits) -> TestApp {
    TestApp::with(Settings::default(), ApiLimits { live_wait: Duration::from_millis(1), ..limits }).await
}

fn event(id: &str, tenant: &str, kind: &str, value: &str, time: &str) -> Value {
    json!({
        "specversion": "1.0", "id": id, "source": "/s", "type": kind, "tenant": tenant,
        "time": format!("2026-11-20T{time}Z"), "data": { "value": value, "user": "u" }
    })
}

fn total(tenant: &str, quantity: &str, events: u64) -> (String, String, u64) {
    (tenant.to_owned(), quantity.to_owned(), events)
}

#[tokio::test]
async fn totals_are_told_at_once_and_when_they_changed() {
    let app = start(ApiLimits::default()).await;
    let mut followed = Followed::open(&app, &app.admin, "meter=log_queries").await;
    assert_eq!(followed.totals().await, []);
    assert_eq!(followed.piece().await.unwrap(), ": unchanged\n\n");

    app.post("/events", &event("1", "acme", "log_queries", "5", "10:00:00")).await.expect(200);
    assert_eq!(followed.totals().await, [total("acme", "5", 1)]);
    // What reaches the lake is the same, and what comes after it is added.
    app.app.events.flush_all().await.unwrap();
    assert_eq!(followed.piece().await.unwrap(), ": unchanged\n\n");
    let more =
        [event("2", "acme", "log_queries", "0.5", "10:00:01"), event("3", "globex", "log_queries", "1", "10:00:01")];
    app.post("/events", &json!(more)).await.expect(200);
    assert_eq!(followed.totals().await, [total("acme", "5.5", 2), total("globex", "1", 1)]);
    // Another meter's events and another day's change nothing.
    let other = json!([event("4", "acme", "alerts_generated", "1", "10:00:01")]);
    app.post("/events", &other).await.expect(200);
    assert_eq!(followed.piece().await.unwrap(), ": unchanged\n\n");
}

#[tokio::test]
async fn the_last_value_of_a_gauge_is_the_newest_of_lake_and_log() {
    let app = start(ApiLimits::default()).await;
    let gauge = |id: &str, value: &str, time: &str| event(id, "acme", "member_count", value, time);
    app.post("/events", &gauge("1", "5", "10:00:00")).await.expect(200);
    app.app.events.flush_all().await.unwrap();
    let mut followed = Followed::open(&app, &app.admin, "meter=member_count&group_by=tenant").await;
    assert_eq!(followed.totals().await, [total("acme", "5", 1)]);
    app.post("/events", &gauge("2", "7", "10:30:00")).await.expect(200);
    assert_eq!(followed.totals().await, [total("acme", "7", 2)]);
    // One that is older counts as a value and is not the last.
    app.post("/events", &gauge("3", "1", "09:00:00")).await.expect(200);
    assert_eq!(followed.totals().await, [total("acme", "7", 3)]);
    app.app.events.flush_all().await.unwrap();
    app.post("/events", &gauge("4", "2", "11:00:00")).await.expect(200);
    assert_eq!(followed.totals().await, [total("acme", "2", 4)]);
    let asked = app.get("/usage?meter=member_count&range=2026-11-20").await.expect(200).json();
    assert_eq!((&asked["rows"][0]["quantity"], &asked["rows"][0]["events"]), (&json!("2"), &json!(4)));
}

#[tokio::test]
async fn a_tenant_follows_its_own_totals_only() {
    let app = start(ApiLimits::default()).await;
    let token = app.token("tenant_viewer", &["acme"]).await;
    let mut followed = Followed::open(&app, &token, "meter=log_queries").await;
    assert_eq!(followed.totals().await, []);
    app.post("/events", &event("1", "globex-canary", "log_queries", "5", "10:00:00")).await.expect(200);
    assert_eq!(followed.piece().await.unwrap(), ": unchanged\n\n");
    app.post("/events", &event("2", "acme", "log_queries", "1", "10:00:00")).await.expect(200);
    assert_eq!(followed.totals().await, [total("acme", "1", 1)]);
    let foreign = app.get_as(&token, "/usage/live?meter=log_queries&filter=tenant:globex-canary").await;
    foreign.expect_problem(404, "tenant_not_found");
}

#[tokio::test]
async fn a_revoked_token_and_the_end_of_the_server_end_the_stream() {
    let app = start(ApiLimits::default()).await;
    let minted = app.post("/tokens", &json!({ "role": "admin" })).await.expect(201).json();
    let mut followed = Followed::open(&app, minted["token"].as_str().unwrap(), "meter=log_queries").await;
    followed.totals().await;
    app.delete(&format!("/tokens/{}", minted["id"].as_str().unwrap())).await.expect(204);
    assert_eq!(followed.event().await.unwrap(), ("error".to_owned(), json!({ "code": "unauthenticated" })));
    assert_eq!(followed.piece().await, None);

    let mut followed = Followed::open(&app, &app.admin, "meter=log_queries").await;
    followed.totals().await;
    app.app.streams.stop();
    assert_eq!(followed.event().await, None);
}

#[tokio::test]
async fn streams_rows_and_totals_are_bounded() {
    let app =
        start(ApiLimits { live_streams_max: 1, live_rows_max: 2, live_keys_max: 3, ..ApiLimits::default() }).await;
    let events: Vec<Value> =
        (0..3).map(|at| event(&at.to_string(), &format!("t{at}"), "log_queries", "1", "10:00:00")).collect();
    app.post("/events", &json!(events)).await.expect(200);
    let mut followed = Followed::open(&app, &app.admin, "meter=log_queries").await;
    let (_, body) = followed.event().await.unwrap();
    assert_eq!((body["rows"].as_array().unwrap().len(), &body["more"]), (2, &json!(true)));
    assert_eq!((&body["at"], &body["range"]["from"]), (&json!("2026-11-20T12:00:00Z"), &json!("2026-11-20")));
    app.get("/usage/live?meter=log_queries").await.expect_problem(429, "too_many_streams");
    app.post("/events", &event("9", "t9", "log_queries", "1", "10:00:00")).await.expect(200);
    assert_eq!(followed.event().await.unwrap(), ("error".to_owned(), json!({ "code": "invalid_parameter" })));
    drop(followed);
    app.get("/usage/live?meter=log_queries").await.expect_problem(400, "invalid_parameter");
    app.get("/usage/live?meter=log_queries&filter=tenant:t1").await.expect(200);
}

#[tokio::test]
async fn a_stream_without_a_range_follows_the_day() {
    let app = start(ApiLimits::default()).await;
    app.post("/events", &event("1", "acme", "log_queries", "5", "10:00:00")).await.expect(200);
    let mut followed = Followed::open(&app, &app.admin, "meter=log_queries").await;
    assert_eq!(followed.totals().await, [total("acme", "5", 1)]);
    app.clock.set("2026-11-21T00:00:01Z".parse().unwrap());
    let (_, body) = followed.event().await.unwrap();
    assert_eq!((&body["rows"], &body["range"]["from"]), (&json!([]), &json!("2026-11-21")));
}
