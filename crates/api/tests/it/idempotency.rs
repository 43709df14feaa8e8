//! Writes that may be repeated.

use crate::app::{Answer, TestApp};
use axum::body::Body;
use axum::http::Request;
use serde_json::json;

async fn keyed(app: &TestApp, method: &str, path: &str, key: &str, body: &str) -> Answer {
    let request = Request::builder()
        .method(method)
        .uri(format!("/api/v1{path}"))
        .header("authorization", format!("Bearer {}", app.admin))
        .header("content-type", "application/json")
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
async fn a_new_token_is_not_kept_for_a_repeat() {
    let app = TestApp::start().await;
    let body = json!({ "role": "admin" }).to_string();
    let first = keyed(&app, "POST", "/tokens", "k", &body).await.expect(201).json();
    let again = keyed(&app, "POST", "/tokens", "k", &body).await.expect(201).json();
    assert!(first["token"].as_str().unwrap().starts_with("apn_"));
    assert!(again["token"].is_null());
    assert_eq!(first["id"], again["id"]);
}
