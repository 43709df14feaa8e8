//! Events as they happen, through the real router: what is answered, what is visible, who may.

use crate::app::TestApp;
use api::ApiLimits;
use axum::body::Body;
use axum::http::Request;
use engine::Settings;
use serde_json::{Value, json};

fn event(id: &str, tenant: &str, value: &str) -> Value {
    json!({
        "specversion": "1.0", "id": id, "source": "/s", "type": "log_queries", "tenant": tenant,
        "time": "2026-11-19T10:00:00Z", "data": { "value": value, "user": "u" }
    })
}

async fn usage(app: &TestApp, token: &str, query: &str) -> Vec<(String, String)> {
    let body = app.get_as(token, &format!("/usage?range=2026-11-19&meter=log_queries{query}")).await.expect(200).json();
    let row = |row: &Value| {
        let tenant = row["key"]["tenant"].as_str().unwrap_or_default();
        (tenant.to_owned(), row["quantity"].as_str().unwrap_or_default().to_owned())
    };
    body["rows"].as_array().expect("rows").iter().map(row).collect()
}

#[tokio::test]
async fn usage_is_visible_with_the_answer_and_each_event_counts_once() {
    let app = TestApp::start().await;
    let batch = json!([event("1", "acme", "5"), event("2", "globex", "7.5")]);
    let body = app.post("/events", &batch).await.expect(200).json();
    assert_eq!(body, json!({ "accepted": 2, "duplicates": 0, "rejected": [] }));
    assert_eq!(app.post("/events", &batch).await.expect(200).json()["duplicates"], 2);
    let both = [("acme".to_owned(), "5".to_owned()), ("globex".to_owned(), "7.5".to_owned())];
    assert_eq!(usage(&app, &app.admin, "").await, both);
    app.app.events.flush_all().await.unwrap();
    assert_eq!(usage(&app, &app.admin, "").await, both);
    assert_eq!(app.get("/tenants/globex").await.expect(200).json()["entered_by"], "system");
}

#[tokio::test]
async fn one_event_answers_its_own_status() {
    let app = TestApp::start().await;
    app.post("/events", &event("1", "acme", "5")).await.expect(200);
    app.post("/events", &event("1", "acme", "6")).await.expect_problem(409, "id_conflict");
    app.post("/events", &event("2", "acme", "x")).await.expect_problem(400, "invalid_event");
    app.post("/events", &event("2", "acme", "1e30")).await.expect_problem(400, "out_of_bound");
    app.post("/events", &event("2", "", "1")).await.expect_problem(400, "tenant_missing");
    let later = json!({ "time": "2026-11-20T13:00:01Z" });
    let mut future = event("2", "acme", "1");
    future["time"] = later["time"].clone();
    app.post("/events", &future).await.expect_problem(400, "time_in_future");
    let body = app.post("/events", &json!([event("3", "acme", "1"), event("1", "acme", "6")])).await.expect(207).json();
    assert_eq!((&body["accepted"], &body["rejected"][0]["index"]), (&json!(1), &json!(1)));
    assert_eq!(body["rejected"][0]["id"], "1");
}

#[tokio::test]
async fn an_atomic_batch_is_stored_whole_or_not_at_all() {
    let app = TestApp::start().await;
    app.post("/events", &event("1", "acme", "5")).await.expect(200);
    let batch = json!([event("2", "acme", "1"), event("1", "acme", "6")]);
    let problem = app.post("/events?atomic=true", &batch).await.expect_problem(422, "events_refused");
    assert_eq!(problem["errors"][0]["code"], "id_conflict");
    assert_eq!(usage(&app, &app.admin, "").await, [("acme".to_owned(), "5".to_owned())]);
    app.post("/events?atomic=true", &json!([event("2", "acme", "1")])).await.expect(200);
}

#[tokio::test]
async fn tokens_write_and_read_their_own_tenants_only() {
    let app = TestApp::start().await;
    let writer = app.token("ingest", &["acme"]).await;
    let send = |body: Value| {
        let (app, writer) = (&app, writer.clone());
        async move { app.call("POST", "/api/v1/events", Some(&writer), "application/json", &body.to_string()).await }
    };
    send(event("1", "acme", "1")).await.expect(200);
    let mut nameless = event("2", "acme", "1");
    nameless.as_object_mut().unwrap().remove("tenant");
    send(nameless).await.expect(200);
    send(event("3", "globex", "1")).await.expect_problem(403, "tenant_forbidden");
    app.post("/events", &event("4", "globex", "9")).await.expect(200);
    let viewer = app.token("tenant_viewer", &["acme"]).await;
    assert_eq!(usage(&app, &viewer, "").await, [("acme".to_owned(), "2".to_owned())]);
    let foreign = app.get_as(&viewer, "/usage?filter=tenant:globex").await;
    foreign.expect_problem(404, "tenant_not_found");
}

#[tokio::test]
async fn a_new_meter_takes_the_events_that_come_after_it() {
    let app = TestApp::start().await;
    let build = |id: &str| {
        json!({ "specversion": "1.0", "id": id, "source": "/s", "type": "build", "tenant": "acme",
            "time": "2026-11-19T10:00:00Z", "data": {} })
    };
    app.post("/events", &build("1")).await.expect(200);
    let meter = json!({ "unit": "Builds", "category": "other", "kind": "counter", "event_type": "build", "aggregation": "count" });
    app.put("/meters/builds", &meter).await.expect(200);
    app.post("/events", &build("2")).await.expect(200);
    let rows = app.get("/usage?range=2026-11-19&meter=builds").await.expect(200).json();
    assert_eq!((&rows["rows"][0]["quantity"], &rows["rows"][0]["unit"]), (&json!("1"), &json!("Builds")));
    let mut other = meter.clone();
    other["unit"] = json!("Runs");
    app.put("/meters/builds", &other).await.expect_problem(409, "meter_in_use");
    app.delete("/meters/builds").await.expect(204);
    app.post("/events", &build("3")).await.expect(200);
    let rows = app.get("/usage?range=2026-11-19&meter=builds").await.expect(200).json();
    assert_eq!(rows["rows"][0]["quantity"], "1");
}

#[tokio::test]
async fn bodies_and_batches_have_their_limits() {
    let limits =
        ApiLimits { events_bytes_max: 2_000, events_max: 3, events_decoded_bytes_max: 3_000, ..ApiLimits::default() };
    let app = TestApp::with(Settings::default(), limits).await;
    let many: Vec<Value> = (0..4).map(|at| event(&at.to_string(), "acme", "1")).collect();
    app.post("/events", &json!(many)).await.expect_problem(413, "payload_too_large");
    app.post("/events", &json!([event("x", "acme", &"1".repeat(2_000))]))
        .await
        .expect_problem(413, "payload_too_large");
    assert_eq!(usage(&app, &app.admin, "").await, []);
    app.call("POST", "/api/v1/events", Some(&app.admin), "text/plain", "{}")
        .await
        .expect_problem(415, "unsupported_media_type");
}

#[tokio::test]
async fn a_retraction_takes_usage_back_and_makes_its_day_due() {
    let app = TestApp::start().await;
    let retraction = |id: &str, of: &str| {
        json!({ "specversion": "1.0", "id": id, "source": "/fixes", "type": "apportion.retract", "tenant": "acme",
                "data": { "source": "/s", "id": of } })
    };
    app.post("/events", &json!([event("1", "acme", "5"), event("2", "acme", "7")])).await.expect(200);
    app.post("/events", &retraction("r1", "1")).await.expect(200);
    assert_eq!(usage(&app, &app.admin, "").await, [("acme".to_owned(), "7".to_owned())]);
    app.post("/events", &retraction("r3", "3")).await.expect(200);
    app.post("/events", &event("3", "acme", "100")).await.expect(200);
    assert_eq!(usage(&app, &app.admin, "").await, [("acme".to_owned(), "7".to_owned())]);
    app.post("/events", &event("1", "acme", "5")).await.expect(200);
    app.post("/events", &event("1", "acme", "6")).await.expect_problem(409, "id_conflict");
    let mut unnamed = retraction("r4", "1");
    unnamed["data"] = json!({ "id": "1" });
    app.post("/events", &unnamed).await.expect_problem(400, "invalid_event");

    let writer = app.token("ingest", &["globex"]).await;
    let foreign = retraction("r5", "2").to_string();
    let answer = app.call("POST", "/api/v1/events", Some(&writer), "application/json", &foreign).await;
    answer.expect_problem(403, "tenant_forbidden");
    let commits = app.app.engine.lake().pin_table(storage::lake::Table::Usage).await.unwrap();
    let record = commits.head_commit().await.unwrap();
    assert!(
        commits.commits_since(None).await.unwrap().iter().any(|commit| commit.metadata["kind"] == "retraction"),
        "{record:?}"
    );
}

#[tokio::test]
async fn distinct_values_are_counted_by_day_and_never_finer() {
    let app = TestApp::start().await;
    let meter = json!({ "unit": "Users", "category": "other", "kind": "counter", "event_type": "seen",
                        "value": "$.who", "aggregation": "unique_count", "group_by": { "app": "$.app" } });
    app.call("PUT", "/api/v1/meters/actors", Some(&app.admin), "application/json", &meter.to_string())
        .await
        .expect(200);
    let seen = |id: &str, day: u8, who: &str| {
        json!({ "specversion": "1.0", "id": id, "source": "/s", "type": "seen", "tenant": "acme",
                "time": format!("2026-11-{day}T10:00:00Z"), "data": { "who": who, "app": "x" } })
    };
    let batch = json!([seen("1", 18, "anna"), seen("2", 18, "ben"), seen("3", 19, "anna"), seen("4", 19, "anna")]);
    app.post("/events", &batch).await.expect(200);
    let asked = async |query: &str| app.get(&format!("/usage?range=2026-11-18..2026-11-19&meter=actors{query}")).await;
    let quantities = async |query: &str| {
        let body = asked(query).await.expect(200).json();
        let rows = body["rows"].as_array().expect("rows").iter();
        rows.map(|row| row["quantity"].as_str().unwrap_or_default().to_owned()).collect::<Vec<_>>()
    };
    assert_eq!(quantities("").await, ["3"]);
    assert_eq!(quantities("&granularity=day").await, ["2", "1"]);
    assert_eq!(quantities("&group_by=label:app").await, ["3"]);
    assert_eq!(quantities("&group_by=tenant&filter=label:app:x").await, ["3"]);
    for finer in ["&granularity=hour", "&group_by=user", "&filter=cluster:c", "&group_by=label:env"] {
        asked(finer).await.expect_problem(400, "invalid_parameter");
    }
    // Of all meters at once: the one without hours is named, and the others have theirs without it.
    app.post("/events", &event("9", "acme", "5")).await.expect(200);
    let all = "/usage?range=2026-11-18..2026-11-19&granularity=hour";
    let problem = app.get(all).await.expect_problem(400, "invalid_parameter");
    assert!(problem["detail"].as_str().unwrap().contains("filter=-meter:actors"), "{problem}");
    let rows = app.get(&format!("{all}&filter=-meter:actors")).await.expect(200).json()["rows"].clone();
    assert_eq!((rows.as_array().map(Vec::len), &rows[0]["key"]["meter"]), (Some(1), &json!("log_queries")));
}

#[tokio::test]
async fn a_batch_that_grows_beyond_its_limit_is_too_large_and_names_the_key() {
    let limits = ApiLimits { events_decoded_bytes_max: 3_000, ..ApiLimits::default() };
    let app = TestApp::with(Settings::default(), limits).await;
    let blank = "\n".repeat(3_001);
    let answer = app.call("POST", "/api/v1/events", Some(&app.admin), "application/x-ndjson", &blank).await;
    let problem = answer.expect_problem(413, "payload_too_large");
    assert!(problem["detail"].as_str().unwrap().contains("limits.events_decoded"), "{problem}");
}

#[tokio::test]
async fn a_tenant_that_sends_too_much_is_told_when_to_try_again() {
    let app = TestApp::start().await;
    let batch = json!(vec![event("1", "acme", "1"); 250]);
    // The same event again and again: a duplicate counts like any other.
    for _ in 0..80 {
        app.post("/events", &batch).await.expect(200);
    }
    let answer = app.post("/events", &batch).await;
    assert_eq!((answer.status, answer.header("retry-after")), (429, "1"));
}

#[tokio::test]
async fn events_that_take_more_memory_than_there_is_are_too_large_and_name_the_key() {
    let limits = ApiLimits { events_memory_bytes_max: 256 * 1024, ..ApiLimits::default() };
    let app = TestApp::with(Settings::default(), limits).await;
    let many: Vec<Value> = (0..500).map(|at| event(&at.to_string(), "acme", "1")).collect();
    let problem = app.post("/events", &json!(many)).await.expect_problem(413, "payload_too_large");
    assert!(problem["detail"].as_str().unwrap().contains("limits.events_memory"), "{problem}");
    assert_eq!(usage(&app, &app.admin, "").await, []);
    for batch in many.chunks(10) {
        app.post("/events", &json!(batch)).await.expect(200);
    }
    assert_eq!(usage(&app, &app.admin, "").await, [("acme".to_owned(), "500".to_owned())]);
}

#[tokio::test]
async fn an_event_in_binary_mode_is_the_one_of_its_headers_and_body() {
    let app = TestApp::start().await;
    let send = async |more: &[(&str, &str)], content_type: &str, body: &str| {
        let mut request = Request::builder().method("POST").uri("/api/v1/events");
        let fixed = [("ce-specversion", "1.0"), ("ce-source", "/s"), ("ce-type", "log_queries"), ("ce-tenant", "acme")];
        let fixed = fixed.into_iter().chain([("ce-time", "2026-11-19T10:00:00Z"), ("content-type", content_type)]);
        for (name, value) in fixed.chain(more.iter().copied()) {
            request = request.header(name, value);
        }
        let request = request.header("authorization", format!("Bearer {}", app.admin));
        app.send(request.body(Body::from(body.to_owned())).unwrap()).await
    };
    let json = "application/json";
    let body = r#"{"value":"5","user":"u"}"#;
    let answer = send(&[("ce-id", "1")], json, body).await.expect(200).json();
    assert_eq!(answer, json!({ "accepted": 1, "duplicates": 0, "rejected": [] }));
    assert_eq!(app.post("/events", &event("1", "acme", "5")).await.expect(200).json()["duplicates"], 1);
    send(&[("ce-id", "1")], json, r#"{"value":"6","user":"u"}"#).await.expect_problem(409, "id_conflict");
    send(&[("ce-id", "2"), ("ce-user", "J%C3%B6rg")], json, r#"{"value":"1"}"#).await.expect(200);
    assert_eq!(usage(&app, &app.admin, "&filter=user:J%C3%B6rg").await, [("acme".to_owned(), "1".to_owned())]);

    send(&[("ce-id", "3")], json, r#"1,"tenant":"globex""#).await.expect_problem(400, "invalid_json");
    send(&[("ce-id", "3")], json, r#"{"value":"x"}"#).await.expect_problem(400, "invalid_event");
    send(&[("ce-id", "3"), ("ce-id", "4")], json, body).await.expect_problem(400, "invalid_event");
    send(&[("ce-id", "3"), ("ce-user", "%ff")], json, body).await.expect_problem(400, "invalid_event");
    send(&[], json, body).await.expect_problem(400, "invalid_event");
    send(&[("ce-id", "3")], "image/png", body).await.expect_problem(415, "unsupported_media_type");
    send(&[("ce-id", "3"), ("content-encoding", "gzip")], json, body).await.expect_problem(400, "invalid_body");
    assert_eq!(usage(&app, &app.admin, "").await, [("acme".to_owned(), "6".to_owned())]);
}
