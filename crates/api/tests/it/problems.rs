//! Errors: one shape, stable codes, nothing internal.

use crate::app::TestApp;
use api::ApiLimits;
use engine::Settings;
use serde_json::json;

#[tokio::test]
async fn every_problem_has_the_same_members() {
    let app = TestApp::start().await;
    let answer = app.get("/costs?rnge=7d").await.expect(400);
    assert_eq!(answer.header("content-type"), "application/problem+json");
    let body = answer.json();
    assert_eq!(
        body,
        json!({
            "type": "/docs/api#problem-invalid_parameter", "title": "Invalid parameter", "status": 400,
            "detail": "unknown parameter `rnge`; did you mean `range`?", "instance": "/api/v1/costs",
            "code": "invalid_parameter", "request_id": answer.header("x-request-id"),
            "errors": [{ "pointer": "rnge", "code": "invalid_parameter", "message": "unknown parameter `rnge`; did you mean `range`?" }],
        })
    );
}

#[tokio::test]
async fn what_does_not_exist_is_a_problem_too() {
    let app = TestApp::start().await;
    app.get("/nothing").await.expect_problem(404, "not_found");
    app.get("/runs/none").await.expect_problem(404, "not_found");
    app.get("/policies/none").await.expect_problem(404, "not_found");
    app.get("/tenants/none").await.expect_problem(404, "tenant_not_found");
    app.delete("/fixed-costs/none").await.expect_problem(404, "not_found");
    let answer = app.delete("/costs").await;
    assert_eq!(answer.header("allow"), "GET,HEAD");
    answer.expect_problem(405, "method_not_allowed");
}

#[tokio::test]
async fn parameters_are_known_once_and_well_formed() {
    let app = TestApp::start().await;
    let paths = [
        "/costs?range=7d&range=8d",
        "/costs?range=7x",
        "/costs?group_by=colour",
        "/costs?filter=colour:red",
        "/costs?limit=10001",
        "/runs?limit=1001",
        "/runs?limit=0",
        "/runs?cursor=zz",
        "/ledger/entries?posting=x",
        "/ledger/verify?x=1",
        "/tenants?range=7d",
        "/costs?filter=%ff",
        "/costs?filter=%zz",
        "/costs?filter=%00",
        "/tenants/%ff",
        "/explain?tenant=acme",
        "/costs?as_of=posting:99",
        "/costs?view=current_rates&as_of=posting:1",
        "/costs?view=current_rates&group_by=pool",
        "/costs?view=current_rates&filter=memo:true",
        "/costs?view=current_rates&clock=billed",
        "/costs?view=current_rates&measure=billed_amount",
        "/costs?view=current_rates&sort=direct",
        "/costs?view=current_rates&currency=EUR",
    ];
    for path in paths {
        let body = app.get(path).await.expect_problem(400, "invalid_parameter");
        assert_eq!(body["errors"].as_array().unwrap().len(), 1, "{path}: {body}");
    }
}

#[tokio::test]
async fn pages_of_costs_have_a_bound_of_their_own() {
    let limits = ApiLimits { rows_default: 20, rows_max: 10, cost_rows_max: 5, ..ApiLimits::default() };
    let app = TestApp::with(Settings::default(), limits).await;
    for path in ["/costs", "/costs?limit=5", "/runs", "/runs?limit=10"] {
        app.get(path).await.expect(200);
    }
    for path in ["/costs?limit=6", "/runs?limit=11"] {
        app.get(path).await.expect_problem(400, "invalid_parameter");
    }
}

#[tokio::test]
async fn bodies_are_read_strictly() {
    let app = TestApp::start().await;
    let post = async |path: &str, body: &str| {
        app.call("POST", &format!("/api/v1{path}"), Some(&app.admin), "application/json", body).await
    };
    post("/runs", "{").await.expect_problem(400, "invalid_json");
    post("/runs", r#"{"from":"2026-01-01","from":"2026-01-02"}"#).await.expect_problem(400, "invalid_json");
    post("/runs", &format!("{}{}", "[".repeat(100), "]".repeat(100))).await.expect_problem(400, "invalid_json");
    let body = post("/runs", r#"{"frm":"2026-01-01"}"#).await.expect_problem(400, "invalid_body");
    assert_eq!(body["detail"], "unknown key `frm`; did you mean `from`?");
    post("/runs", r#"{"from":"2026-02-30","to":"2026-03-01"}"#).await.expect_problem(400, "invalid_body");
    post("/runs", r#"{"from":"2026-03-02","to":"2026-03-01"}"#).await.expect_problem(400, "invalid_body");
    post("/runs", "{}").await.expect_problem(400, "invalid_body");
    let answer = app.call("POST", "/api/v1/runs", Some(&app.admin), "text/plain", "{}").await;
    answer.expect_problem(415, "unsupported_media_type");
    let answer = app.call("POST", "/api/v1/policies", Some(&app.admin), "application/toml", "version = 1").await;
    answer.expect_problem(422, "invalid_policy");
    post("/fixed-costs", r#"{"provider":"own","amount":"1e40","currency":"USD","per":"month","from":"2026-01-01"}"#)
        .await
        .expect_problem(400, "invalid_body");
}

#[tokio::test]
async fn b2_bodies_are_bounded() {
    let limits = ApiLimits { json_bytes_max: 100, text_bytes_max: 200, upload_bytes_max: 300, ..ApiLimits::default() };
    let app = TestApp::with(Settings::default(), limits).await;
    let long = "x".repeat(301);
    for (path, kind) in [
        ("/api/v1/runs", "application/json"),
        ("/api/v1/policies", "application/toml"),
        ("/api/v1/events/imports", "application/x-ndjson"),
        ("/api/v1/cost-lines/imports?source=aws", "text/csv"),
    ] {
        app.call("POST", path, Some(&app.admin), kind, &long).await.expect_problem(413, "payload_too_large");
    }
}

#[tokio::test]
async fn every_answer_has_security_headers_and_its_own_request_id() {
    let app = TestApp::start().await;
    let (one, other) = (app.get("/costs").await, app.get("/nothing").await);
    assert_ne!(one.header("x-request-id"), other.header("x-request-id"));
    for answer in [&one, &other] {
        assert_eq!(answer.header("x-content-type-options"), "nosniff");
        assert!(answer.header("content-security-policy").contains("default-src 'none'"));
    }
    let page = app.call("GET", "/docs/api", None, "", "").await.expect(200);
    assert!(page.header("content-security-policy").contains("script-src 'self'"));
    assert!(!page.text.contains("://"), "the page loads nothing from elsewhere");
}
