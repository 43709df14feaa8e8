//! Billing months over HTTP: closing, correcting, sweeping, and which amounts are estimates.

use crate::app::{POLICY, TestApp, bill};
use serde_json::{Value, json};

const DAY: &str = "2026-10-18";
const CLUSTER: &str = "shared-west-us";

async fn store() -> TestApp {
    let app = TestApp::start().await;
    app.given_policy(POLICY).await;
    app.given_bill("aws", &[(CLUSTER, DAY, "100.00")]).await;
    let used = |tenant| (CLUSTER, tenant, DAY, "cpu_core_hours", "10");
    app.given_usage(&[used("acme"), used("globex")]).await;
    app.given_run("2026-10-01", "2026-10-31").await;
    app
}

async fn post_as(app: &TestApp, token: &str, path: &str, body: &Value) -> crate::app::Answer {
    app.call("POST", &format!("/api/v1{path}"), Some(token), "application/json", &body.to_string()).await
}

fn months(body: &Value) -> Vec<(String, String)> {
    let text = |row: &Value, name: &str| row[name].as_str().unwrap().to_owned();
    body["rows"].as_array().unwrap().iter().map(|row| (text(row, "month"), text(row, "state"))).collect()
}

#[tokio::test]
async fn finance_closes_and_reopens_a_month_and_the_audit_log_tells() {
    let app = store().await;
    let finance = app.token("finance", &[]).await;
    let listed = app.get_as(&finance, "/periods").await.expect(200).json();
    let named = |of: &str, state: &str| (of.to_owned(), state.to_owned());
    assert_eq!(months(&listed), [named("2026-11", "open"), named("2026-10", "open")]);
    assert_eq!((&listed["rows"][1]["is_next"], &listed["rows"][1]["obstacles"]), (&json!(true), &json!([])));

    let closed = app.call("POST", "/api/v1/periods/2026-10/close", Some(&finance), "", "").await.expect(200).json();
    assert_eq!(
        (&closed["month"], &closed["state"], &closed["posting"]),
        (&json!("2026-10"), &json!("closed"), &json!(2))
    );
    post_as(&app, &finance, "/periods/2026-10/close", &json!({})).await.expect_problem(409, "period_closed");
    let entry = app.get("/ledger/entries?posting=2").await.expect(200).json()["rows"][0].clone();
    assert_eq!(
        (&entry["kind"], &entry["billing_month"], &entry["amount"]),
        (&json!("close"), &json!("2026-10"), &json!("0.00"))
    );

    let reason = json!({ "reason": "the bill was wrong" });
    let reopened = post_as(&app, &finance, "/periods/2026-10/reopen", &reason).await.expect(200).json();
    assert_eq!((&reopened["state"], &reopened["posting"]), (&json!("open"), &json!(3)));
    post_as(&app, &finance, "/periods/2026-10/reopen", &reason).await.expect_problem(409, "conflict");
    let row = app.get("/periods").await.expect(200).json()["rows"][1].clone();
    assert_eq!((&row["state"], &row["closes"], &row["reason"]), (&json!("open"), &json!(1), &reason["reason"]));

    let audit = app.get("/audit").await.expect(200).json();
    let actions: Vec<&str> =
        audit["rows"].as_array().unwrap().iter().map(|row| row["action"].as_str().unwrap()).collect();
    assert_eq!(actions[..2], ["period.reopen", "period.close"]);
}

#[tokio::test]
async fn what_stands_against_a_close_is_listed_and_force_needs_a_reason() {
    let app = store().await;
    // Nobody's pool takes this line.
    app.given_bill("other", &[("elsewhere", DAY, "50.00")]).await;
    let refused = app.post("/periods/2026-10/close", &json!({})).await.expect_problem(409, "period_not_closable");
    let codes: Vec<&str> =
        refused["errors"].as_array().unwrap().iter().map(|error| error["code"].as_str().unwrap()).collect();
    assert_eq!(codes, ["days_due"]);
    let listed = async |asked: &str| app.get(&format!("/periods{asked}")).await.expect(200).json()["rows"].clone();
    let (one, quick) = (listed("?month=2026-10").await, listed("?checklist=false").await);
    assert_eq!((&one[0]["obstacles"][0]["code"], &one[1]), (&json!("days_due"), &Value::Null));
    assert_eq!((&quick[1]["month"], &quick[1]["is_next"]), (&json!("2026-10"), &json!(true)));
    assert_eq!((&quick[1]["obstacles"], &quick[1]["notes"]), (&json!([]), &json!([])));
    app.get("/periods?month=x").await.expect_problem(400, "invalid_parameter");
    app.given_run("2026-10-01", "2026-10-31").await;
    let refused = app.post("/periods/2026-10/close", &json!({})).await.expect_problem(409, "period_not_closable");
    assert_eq!(refused["errors"][0]["code"], "unattributed", "{refused}");
    app.post("/periods/2026-10/close", &json!({ "force": true })).await.expect_problem(400, "invalid_parameter");
    let body = json!({ "force": true, "reason": "agreed" });
    let closed = app.post("/periods/2026-10/close", &body).await.expect(200).json();
    assert_eq!(closed["forced"][0]["code"], "unattributed");
    let row = app.get("/periods").await.expect(200).json()["rows"][1].clone();
    assert_eq!(
        (&row["state"], &row["reason"], &row["forced"]),
        (&json!("closed"), &json!("agreed"), &closed["forced"])
    );
}

#[tokio::test]
async fn after_a_close_a_cluster_answers_with_a_correction_and_small_ones_wait_for_a_sweep() {
    let app = store().await;
    let attribute = format!("/cost-attribution/cluster/{CLUSTER}/attribute?date={DAY}");
    let before = app.post(&attribute, &json!({})).await.expect(200).json();
    assert_eq!(before.get("correction"), None);
    app.post("/periods/2026-10/close", &json!({})).await.expect(200);

    app.given_usage(&[(CLUSTER, "acme", DAY, "memory_gib_hours", "0.05")]).await;
    let after = app.post(&attribute, &json!({})).await.expect(200).json();
    assert_eq!((&after["correction"], &after["totalCost"]), (&json!(true), &before["totalCost"]));
    let row = app.get("/periods").await.expect(200).json()["rows"][1].clone();
    let noted = &row["pending_corrections"];
    assert_eq!((noted.as_array().unwrap().len(), &noted[0]["pool"]), (1, &json!(CLUSTER)));
    let swept = app.post("/periods/sweep", &json!({})).await.expect(200).json();
    assert_eq!((&swept["posting"], swept["runs"].as_array().unwrap().len()), (&json!(3), 1));
    let row = app.get("/periods").await.expect(200).json()["rows"][1].clone();
    assert_eq!(row["pending_corrections"], json!([]));
    let entries = app.get("/ledger/entries?posting=3").await.expect(200).json()["rows"].clone();
    for entry in entries.as_array().unwrap() {
        assert_eq!((&entry["billing_month"], &entry["charge_class"]), (&json!("2026-11"), &json!("correction")));
    }
    let billed = app.get("/costs?range=2026-11&clock=billed").await.expect(200).json();
    assert_eq!(billed["totals"]["cost"], "0.00", "a correction between tenants adds nothing: {billed}");
}

#[tokio::test]
async fn amounts_of_open_billing_periods_are_marked_until_the_provider_closes_them() {
    let app = store().await;
    let open = bill(&[(CLUSTER, "2026-11-10", "5.00")]);
    app.call("POST", "/api/v1/cost-lines/imports?source=aws", Some(&app.admin), "text/csv", &open).await.expect(200);
    app.given_run("2026-11-01", "2026-11-19").await;
    let meta = async |range: &str| app.get(&format!("/costs?range={range}")).await.expect(200).json()["meta"].clone();
    let (october, november) = (meta("2026-10").await, meta("2026-11").await);
    assert_eq!((&october["estimated"], &october["estimated_periods"]), (&json!(false), &json!([])));
    assert_eq!((&november["estimated"], &november["estimated_periods"][0]["source"]), (&json!(true), &json!("aws")));
    let tenant = app.token("tenant_owner", &["acme"]).await;
    let own = app.get_as(&tenant, "/costs?range=2026-11").await.expect(200).json()["meta"].clone();
    assert_eq!((&own["estimated"], own.get("estimated_periods")), (&json!(true), None));
    let lines = app.get("/cost-lines?range=2026-10-01..2026-11-19").await;
    let marks: Vec<Value> =
        lines.expect(200).json()["rows"].as_array().unwrap().iter().map(|row| row["estimated"].clone()).collect();
    assert_eq!(marks, [json!(false), json!(true)]);

    let rows = "BillingPeriodStart,BillingPeriodEnd,BillingPeriodStatus,InvoiceIssuerName\n\
                2026-11-01T00:00:00Z,2026-12-01T00:00:00Z,Closed,AWS\n";
    app.call("PUT", "/api/v1/source-periods", Some(&app.admin), "text/csv", rows).await.expect(400);
    let path = "/api/v1/source-periods?source=aws";
    let said = app.call("PUT", path, Some(&app.admin), "text/csv", rows).await.expect(200).json();
    assert_eq!((&said["recorded"], &said["periods"][0]["said_by"]), (&json!(1), &json!("billing_period")));
    assert_eq!(meta("2026-11").await["estimated"], json!(false));
    let person =
        json!({ "periods": [{ "source": "aws", "billing_period": "2026-11", "state": "open", "note": "disputed" }] });
    app.put("/source-periods", &person).await.expect(200);
    let listed = app.get("/source-periods?month=2026-11").await.expect(200).json()["rows"][0].clone();
    assert_eq!(
        (&listed["state"], &listed["said_by"], &listed["note"]),
        (&json!("open"), &json!("person"), &json!("disputed"))
    );
}
