//! Writes that may be repeated.

use crate::app::{Answer, POLICY, TestApp, bill};
use api::ApiLimits;
use axum::body::Body;
use axum::http::Request;
use engine::Settings;
use serde_json::json;

async fn keyed(app: &TestApp, method: &str, path: &str, key: &str, body: &str) -> Answer {
    keyed_as(app, method, path, key, "application/json", body).await
}

async fn keyed_as(app: &TestApp, method: &str, path: &str, key: &str, kind: &str, body: &str) -> Answer {
    let request = Request::builder()
        .method(method)
        .uri(format!("/api/v1{path}"))
        .header("authorization", format!("Bearer {}", app.admin))
        .header("content-type", kind)
        .header("idempotency-key", key);
    app.send(request.body(Body::from(body.to_owned())).unwrap()).await
}

const COST: &str = r#"{"provider":"own","amount":"310.00","currency":"USD","per":"month","from":"2026-01-01"}"#;

#[tokio::test]
async fn a_repeat_gets_the_first_answer_and_writes_once() {
    let app = TestApp::start().await;
    let first = keyed(&app, "POST", "/fixed-costs", "k1", COST).await.expect(201);
    let again = keyed(&app, "POST", "/fixed-costs", "k1", COST).await.expect(201);
    assert_eq!(first.text, again.text);
    assert_eq!([first.header("idempotency-replayed"), again.header("idempotency-replayed")], ["", "true"]);
    assert_eq!(app.get("/fixed-costs").await.json()["rows"].as_array().unwrap().len(), 1);
    keyed(&app, "POST", "/fixed-costs", "k2", COST).await.expect(201);
    assert_eq!(app.get("/fixed-costs").await.json()["rows"].as_array().unwrap().len(), 2);
}

#[tokio::test]
async fn a_month_is_closed_and_reopened_once_also_where_the_answer_was_never_kept() {
    let app = TestApp::start().await;
    app.given_policy(POLICY).await;
    app.given_bill("aws", &[("shared-west-us", "2026-10-18", "100.00")]).await;
    app.given_run("2026-10-18", "2026-10-18").await;
    let close = json!({ "force": true, "reason": "a test" }).to_string();
    let reopen = json!({ "reason": "a test" }).to_string();
    for (path, body) in [("/periods/2026-10/close", close), ("/periods/2026-10/reopen", reopen)] {
        let first = keyed(&app, "POST", path, path, &body).await.expect(200);
        let kept = keyed(&app, "POST", path, path, &body).await.expect(200);
        assert_eq!((kept.header("idempotency-replayed"), &kept.text), ("true", &first.text));
        // As after a crash between the posting and the answer.
        app.app.catalog().forget_idempotency_keys(i64::MAX).await.unwrap();
        let found = keyed(&app, "POST", path, path, &body).await.expect(200);
        assert_eq!((found.header("idempotency-replayed"), found.json()), ("", first.json()));
    }
    let postings = app.get("/ledger/postings").await.expect(200).json();
    assert_eq!(postings["rows"].as_array().unwrap().len(), 3, "{postings}");
    // Another key asks for something else.
    let close = json!({ "force": true, "reason": "a test" }).to_string();
    keyed(&app, "POST", "/periods/2026-10/close", "another", &close).await.expect(200);
    keyed(&app, "POST", "/periods/2026-10/close", "a third", &close).await.expect_problem(409, "period_closed");
}

#[tokio::test]
async fn the_same_key_with_another_request_is_refused() {
    let app = TestApp::start().await;
    keyed(&app, "POST", "/fixed-costs", "k", COST).await.expect(201);
    let other = COST.replace("310", "311");
    keyed(&app, "POST", "/fixed-costs", "k", &other).await.expect_problem(422, "idempotency_mismatch");
    keyed(&app, "PUT", "/tenants/acme", "k", COST).await.expect_problem(422, "idempotency_mismatch");
    keyed(&app, "POST", "/fixed-costs", &"k".repeat(256), COST).await.expect_problem(400, "invalid_parameter");
}

#[tokio::test]
async fn a_refused_write_may_be_tried_again() {
    let app = TestApp::start().await;
    keyed(&app, "POST", "/fixed-costs", "k", "{}").await.expect_problem(400, "invalid_body");
    keyed(&app, "POST", "/fixed-costs", "k", COST).await.expect(201);
}

#[tokio::test]
async fn the_same_files_are_the_same_request_whatever_stands_between_them() {
    let app = TestApp::start().await;
    let import = async |boundary: &str, name: &str, text: &str| {
        let body = format!(
            "--{boundary}\r\nContent-Disposition: form-data; name=\"file\"; filename=\"{name}\"\r\n\r\n{text}\r\n--{boundary}--\r\n"
        );
        let kind = format!("multipart/form-data; boundary={boundary}");
        keyed_as(&app, "POST", "/cost-lines/imports?source=aws", "k", &kind, &body).await
    };
    let text = bill(&[("west", "2026-11-17", "1.00")]);
    let first = import("one", "a.csv", &text).await.expect(200);
    let again = import("other", "a.csv", &text).await.expect(200);
    assert_eq!((again.header("idempotency-replayed"), &again.text), ("true", &first.text));
    import("one", "b.csv", &text).await.expect_problem(422, "idempotency_mismatch");
    import("one", "a.csv", &text.replace("1.00", "2.00")).await.expect_problem(422, "idempotency_mismatch");
    keyed_as(&app, "POST", "/cost-lines/imports?source=aws", "k2", "multipart/form-data; boundary=B", "--B\r\nx")
        .await
        .expect_problem(400, "invalid_body");
    assert_eq!(std::fs::read_dir(&app.app.spool).map_or(0, Iterator::count), 0, "nothing stays in the spool");
}

#[tokio::test]
async fn a_key_does_not_make_a_body_larger_than_its_route_takes() {
    let limits = ApiLimits { json_bytes_max: 100, text_bytes_max: 200, upload_bytes_max: 300, ..ApiLimits::default() };
    let app = TestApp::with(Settings::default(), limits).await;
    for (path, kind, bytes_max, key) in [
        ("/fixed-costs", "application/json", 100, "limits.json_body"),
        ("/policies", "application/toml", 200, "limits.text_body"),
        ("/rate-cards/validate", "application/toml", 200, "limits.text_body"),
        ("/events/imports", "application/x-ndjson", 300, "limits.upload_body"),
    ] {
        let send = async |bytes: usize| keyed_as(&app, "POST", path, "k", kind, &" ".repeat(bytes)).await;
        let problem = send(bytes_max + 1).await.expect_problem(413, "payload_too_large");
        assert!(problem["detail"].as_str().unwrap().contains(key), "{problem}");
        assert_ne!(send(bytes_max).await.status, 413, "{path}");
    }
}

#[tokio::test]
async fn a_new_token_is_not_kept_for_a_repeat() {
    let app = TestApp::start().await;
    let body = json!({ "role": "admin" }).to_string();
    let first = keyed(&app, "POST", "/tokens", "k", &body).await.expect(201).json();
    let again = keyed(&app, "POST", "/tokens", "k", &body).await.expect(201).json();
    assert!(first["token"].as_str().unwrap().starts_with("apn_"));
    assert!(again["token"].is_null());
    assert_eq!(first["id"], again["id"]);
}
