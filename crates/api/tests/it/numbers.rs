//! What people enter comes in JSON objects, and may be numbers: each keeps the digits that it is written with.

use crate::app::TestApp;
use serde_json::Value;

const DAY: &str = "2026-11-18";

async fn sent(app: &TestApp, method: &str, path: &str, body: &str) -> Value {
    let answer = app.call(method, &format!("/api/v1{path}"), Some(&app.admin), "application/json", body).await;
    assert!(matches!(answer.status, 200 | 201), "{method} {path}: {}", answer.text);
    answer.json()
}

#[tokio::test]
async fn a_body_is_an_object_and_no_list_of_its_members() {
    let app = TestApp::start().await;
    for (method, path, body) in [
        ("POST", "/runs", r#"["2026-11-18","2026-11-18",null,true,false]"#),
        ("POST", "/tokens", r#"["admin",null,null,[],null]"#),
        ("POST", "/periods/2026-10/close", "[true,\"r\"]"),
        ("PUT", "/tenants/acme", "[]"),
        ("POST", "/session", "[\"x\"]"),
        ("POST", "/runs", "5"),
    ] {
        let answer = app.call(method, &format!("/api/v1{path}"), Some(&app.admin), "application/json", body).await;
        assert_eq!(answer.expect_problem(400, "invalid_body")["detail"], "send a JSON object", "{path}");
    }
    let empty = app.call("POST", "/api/v1/runs", Some(&app.admin), "application/json", " ").await;
    assert_eq!(empty.expect_problem(400, "invalid_body")["detail"], "the body is empty; send a JSON object");
    assert_eq!(app.get("/runs").await.expect(200).json()["rows"], serde_json::json!([]));
}

#[tokio::test]
async fn amounts_rates_and_quantities_may_be_numbers_with_their_digits() {
    let app = TestApp::start().await;
    for tenant in ["acme", "globex"] {
        sent(&app, "PUT", &format!("/tenants/{tenant}"), "{}").await;
    }
    for (digits, expected) in [
        ("12", "12.00"),
        ("12.5", "12.50"),
        ("0.1", "0.10"),
        ("1.25e2", "125.00"),
        ("7.000000000000001", "7.000000000000001"),
    ] {
        let money = r#""currency":"USD""#;
        let cost =
            format!(r#"{{"provider":"own","amount":{digits},{money},"per":"once","from":"{DAY}","to":"{DAY}"}}"#);
        assert_eq!(sent(&app, "POST", "/fixed-costs", &cost).await["amount"], expected);
        let invoice =
            format!(r#"{{"source":"own","billing_period":"2026-10","invoice_id":"1","total":{digits},{money}}}"#);
        assert_eq!(sent(&app, "PUT", "/invoices", &invoice).await["total"], expected);
        let tenants = r#""from_tenant":"acme","to_tenant":"globex","reason":"r","reference":"x""#;
        let moved = format!(r#"{{"charge_date":"{DAY}","amount":{digits},{money},{tenants}}}"#);
        assert_eq!(sent(&app, "POST", "/adjustments", &moved).await["amount"], expected);
    }
    sent(&app, "PUT", "/fx-rates", &format!(r#"[{{"date":"{DAY}","from":"EUR","to":"USD","rate":1.0555}}]"#)).await;
    let rates = app.get(&format!("/fx-rates?range={DAY}")).await.expect(200).json();
    assert_eq!(rates["rows"][0]["rate"], "1.0555");
    let measured = r#"[{"tenant":"acme","metrics":{"storage_bytes":1.5,"member_count":3,"small":2e-6}}]"#;
    sent(&app, "PUT", &format!("/snapshots/{DAY}?source=app"), measured).await;
    let metrics = app.get("/snapshots").await.expect(200).json()["rows"][0]["metrics"].clone();
    assert_eq!(metrics, serde_json::json!({ "member_count": "3", "small": "0.000002", "storage_bytes": "1.5" }));
}
