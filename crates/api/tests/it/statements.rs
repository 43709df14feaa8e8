//! Closing a month leaves a statement that adds up, balances, tells a tenant of nobody else, and never changes.

use crate::app::{Answer, POLICY, TestApp};
use domain::Clock as _;
use domain::money::{format_atoms, parse_atoms};
use engine::periods::{CloseRequest, ReopenRequest};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use std::collections::BTreeMap;

const DAY: &str = "2026-10-18";
const CLUSTER: &str = "shared-west-us";

/// A store in which acme and others used the shared cluster on one day of October.
async fn october(total: &str, used: &[(&str, &str)]) -> TestApp {
    let app = TestApp::start().await;
    app.given_policy(POLICY).await;
    let acme =
        json!({ "name": "Acme, Inc.", "cost_center": "CC-1", "gl_account": "6000", "billing_mode": "chargeback" });
    app.put("/tenants/acme", &acme).await.expect(201);
    app.given_bill("aws", &[(CLUSTER, DAY, total), ("elsewhere", DAY, "1.00")]).await;
    let rows: Vec<(&str, &str, &str, &str, &str)> =
        used.iter().map(|(tenant, quantity)| (CLUSTER, *tenant, DAY, "cpu_core_hours", *quantity)).collect();
    app.given_usage(&rows).await;
    app.given_run("2026-10-01", "2026-10-31").await;
    app
}

async fn thirds() -> TestApp {
    october("100.00", &[("acme", "10"), ("globex", "20")]).await
}

/// Closes the month an hour later, whatever stands against it: what was recorded until then counts.
async fn close(app: &TestApp, month: &str) -> i64 {
    app.clock.set(app.clock.now().plus_micros(3_600_000_000));
    let request = CloseRequest {
        month: month.parse().unwrap(),
        force: true,
        reason: Some("a test".to_owned()),
        requested_by: "finance".to_owned(),
        request: None,
    };
    app.app.engine.close_period(&request).await.unwrap().posting
}

async fn reopen(app: &TestApp, month: &str) {
    let request = ReopenRequest {
        month: month.parse().unwrap(),
        reason: "the bill was wrong".to_owned(),
        requested_by: "finance".to_owned(),
        request: None,
    };
    app.app.engine.reopen_period(&request).await.unwrap();
}

fn sum<'a>(amounts: impl Iterator<Item = &'a str>) -> String {
    format_atoms(amounts.map(|text| parse_atoms(text).unwrap().atoms).sum())
}

/// Rows of a CSV by column; the texts of these tests hold no line breaks.
fn rows_of(answer: &Answer) -> Vec<BTreeMap<String, String>> {
    let mut reader = csv::Reader::from_reader(answer.text.as_bytes());
    let columns = reader.headers().unwrap().clone();
    let row = |record: Result<csv::StringRecord, csv::Error>| {
        let cells = record.unwrap();
        columns.iter().zip(cells.iter()).map(|(column, cell)| (column.to_owned(), cell.to_owned())).collect()
    };
    reader.records().map(row).collect()
}

#[tokio::test]
async fn a_closed_month_has_a_statement_whose_sums_are_those_of_its_lines() {
    let app = thirds().await;
    let posting = close(&app, "2026-10").await;
    let answer = app.get("/statements/2026-10.json").await.expect(200);
    assert_eq!(answer.header("apportion-statement-number"), "ST-2026-10-1");
    assert_eq!(answer.header("apportion-sha256"), hex::encode(Sha256::digest(answer.text.as_bytes())));
    assert!(answer.header("content-disposition").contains("apportion-statement-ST-2026-10-1.json"));
    let body = answer.json();
    assert_eq!((body["posting"].as_i64(), body["version"].as_i64()), (Some(posting), Some(1)));
    let head = app.get("/ledger/postings?limit=1").await.expect(200).json()["rows"][0]["hash"].clone();
    assert_eq!(body["ledger_head"], head);
    let printed: Vec<(&str, &str, &str)> = body["rows"]
        .as_array()
        .unwrap()
        .iter()
        .map(|row| (row["consumer"].as_str().unwrap(), row["pool"].as_str().unwrap(), row["amount"].as_str().unwrap()))
        .collect();
    let expected =
        [("__unattributed__", "unattributed", "1.00"), ("acme", CLUSTER, "33.33"), ("globex", CLUSTER, "66.67")];
    assert_eq!(printed, expected);
    assert_eq!(body["rows"][1]["exact"], "33.333333333333333");
    assert_eq!(body["rows"][1]["rounding"], "-0.003333333333333");
    assert_eq!((&body["totals"][0]["amount"], &body["totals"][0]["exact"]), (&json!("101.00"), &json!("101.00")));
    assert_eq!(body["totals"][0]["rounding"], "0.00");

    let csv = app.get("/statements/2026-10.csv").await.expect(200);
    let rows = rows_of(&csv);
    for column in ["amount", "exact"] {
        assert_eq!(sum(rows.iter().map(|row| row[column].as_str())), "101.00", "{column}");
    }
    assert_eq!(sum(rows.iter().map(|row| row["rounding"].as_str())), "0.00");
    assert_eq!((rows[1]["name"].as_str(), rows[1]["cost_center"].as_str()), ("Acme, Inc.", "CC-1"));

    let list = app.get("/statements").await.expect(200).json();
    let hash = |answer: &Answer| answer.header("apportion-sha256").to_owned();
    assert_eq!(list["rows"][0]["json_sha256"], hash(&answer));
    assert_eq!(list["rows"][0]["csv_sha256"], hash(&csv));
}

#[tokio::test]
async fn the_journal_balances_and_names_what_nobody_entered() {
    let app = thirds().await;
    close(&app, "2026-10").await;
    let answer = app.get("/statements/2026-10/journal.csv").await.expect(200);
    let rows = rows_of(&answer);
    let total = |column: &str| sum(rows.iter().map(|row| row[column].as_str()));
    assert_eq!((total("debit"), total("credit")), ("101.00".to_owned(), "101.00".to_owned()));
    for mode in ["chargeback", "showback", "central"] {
        let of_mode =
            |column: &str| sum(rows.iter().filter(|row| row["billing_mode"] == mode).map(|row| row[column].as_str()));
        assert_eq!(of_mode("debit"), of_mode("credit"), "{mode}");
    }
    let acme = rows.iter().find(|row| row["consumer"] == "acme" && row["debit"] != "0.00").unwrap();
    assert_eq!(
        ["cost_center", "gl_account", "debit", "missing"].map(|name| acme[name].as_str()),
        ["CC-1", "6000", "33.33", ""]
    );
    let globex = rows.iter().find(|row| row["consumer"] == "globex").unwrap();
    assert_eq!(globex["missing"], "cost_center gl_account");
    assert_eq!(globex["date"], "2026-10-31");
}

#[tokio::test]
async fn facts_of_the_last_day_count_as_they_were_known_at_the_close() {
    let app = thirds().await;
    app.put("/tenants/globex", &json!({ "name": "Globex", "valid_from": "2026-01-01" })).await.expect(200);
    app.put("/tenants/globex", &json!({ "name": "Hooli", "valid_from": "2026-11-01" })).await.expect(200);
    close(&app, "2026-10").await;
    app.put("/tenants/globex", &json!({ "name": "Globex Ltd", "valid_from": "2026-01-01" })).await.expect(200);
    let body = app.get("/statements/2026-10.json?tenant=globex").await.expect(200).json();
    assert_eq!(body["consumers"][0]["name"], "Globex");
}

#[tokio::test]
async fn an_issued_statement_never_changes_and_the_next_one_tells_the_difference() {
    let app = thirds().await;
    assert_eq!(app.get("/statements/2026-10.json").await.expect_problem(409, "period_open")["status"], 409);
    close(&app, "2026-10").await;
    let mut first = Vec::new();
    let paths = ["/statements/2026-10.json", "/statements/2026-10.csv", "/statements/2026-10/journal.csv"];
    for path in paths {
        first.push(app.get(path).await.expect(200).text);
    }
    // A correction of the closed month goes elsewhere; a reopened month still has what was issued.
    app.given_bill("aws", &[(CLUSTER, DAY, "130.00"), ("elsewhere", DAY, "1.00")]).await;
    app.given_run("2026-10-01", "2026-10-31").await;
    assert_eq!(app.get(paths[0]).await.expect(200).text, first[0]);
    reopen(&app, "2026-10").await;
    assert_eq!(app.get(paths[0]).await.expect(200).text, first[0]);
    app.given_bill("aws", &[(CLUSTER, DAY, "160.00"), ("elsewhere", DAY, "1.00")]).await;
    app.given_run("2026-10-01", "2026-10-31").await;
    close(&app, "2026-10").await;

    let second = app.get(paths[0]).await.expect(200).json();
    assert_eq!((&second["number"], &second["replaces"]), (&json!("ST-2026-10-2"), &json!("ST-2026-10-1")));
    let differences = second["differences"].as_array().unwrap();
    let difference = sum(differences.iter().map(|row| row["difference"].as_str().unwrap()));
    assert_eq!(second["totals"][0]["difference"], difference.as_str());
    assert_eq!(second["totals"][0]["previous"], "101.00");
    for (path, text) in paths.iter().zip(&first) {
        assert_eq!(app.get(&format!("{path}?version=1")).await.expect(200).text, *text, "{path}");
    }
    let rows = rows_of(&app.get(paths[1]).await.expect(200));
    let total = |column: &str| parse_atoms(&sum(rows.iter().map(|row| row[column].as_str()))).unwrap().atoms;
    assert_eq!(total("previous") + total("difference"), total("amount"));
    app.get("/statements/2026-10.json?version=3").await.expect_problem(404, "not_found");
}

#[tokio::test]
async fn a_month_is_charged_once_whatever_is_corrected_in_which_month() {
    let app = thirds().await;
    close(&app, "2026-10").await;
    app.given_bill("aws", &[(CLUSTER, DAY, "130.00"), ("elsewhere", DAY, "1.00")]).await;
    app.given_bill("gcp", &[(CLUSTER, "2026-11-02", "10.00")]).await;
    app.given_usage(&[(CLUSTER, "acme", "2026-11-02", "cpu_core_hours", "1")]).await;
    app.given_run("2026-10-01", "2026-11-19").await;
    app.clock.set("2026-12-02T09:00:00Z".parse().unwrap());
    close(&app, "2026-11").await;
    let mut total = Vec::new();
    for month in ["2026-10", "2026-11"] {
        let body = app.get(&format!("/statements/{month}.json")).await.expect(200).json();
        total.push(body["totals"][0]["exact"].as_str().unwrap().to_owned());
    }
    assert_eq!(sum(total.iter().map(String::as_str)), "141.00", "{total:?}");
    assert_eq!(total, ["101.00", "40.00"]);
}

#[tokio::test]
async fn a_tenant_reads_its_own_statement_and_finance_everybodys() {
    let app = thirds().await;
    close(&app, "2026-10").await;
    let acme = app.token("tenant_viewer", &["acme"]).await;
    let own = app.get_as(&acme, "/statements/2026-10.json").await.expect(200);
    let named = app.get_as(&acme, "/statements/2026-10.json?tenant=acme").await.expect(200);
    assert_eq!(own.text, named.text);
    let csv = app.get_as(&acme, "/statements/2026-10.csv").await.expect(200);
    for answer in [&own, &csv] {
        for word in ["globex", "__unattributed__", "66.6", "101.00", "sha256:"] {
            assert!(!answer.text.contains(word), "{word}: {}", answer.text);
        }
        assert!(answer.text.contains("33.33"), "{}", answer.text);
    }
    assert_eq!(own.json()["totals"][0]["amount"], "33.33");
    let refused =
        |answer: Answer, name: &str| answer.expect_problem(404, "tenant_not_found").to_string().replace(name, "");
    let foreign = app.get_as(&acme, "/statements/2026-10.json?tenant=globex").await;
    let missing = app.get_as(&acme, "/statements/2026-10.json?tenant=nobody").await;
    let text = |body: String| body.split("\"request_id\"").next().unwrap().to_owned();
    assert_eq!(text(refused(foreign, "globex")), text(refused(missing, "nobody")));
    for path in ["/statements/2026-10/journal.csv", "/statements"] {
        app.get_as(&acme, path).await.expect_problem(403, "forbidden");
    }
    let both = app.token("tenant_owner", &["acme", "globex"]).await;
    app.get_as(&both, "/statements/2026-10.json").await.expect_problem(400, "invalid_parameter");
    app.get_as(&both, "/statements/2026-10.json?tenant=globex").await.expect(200);
    let idle = app.token("tenant_owner", &["initech"]).await;
    app.get_as(&idle, "/statements/2026-10.json").await.expect(404);
    let finance = app.token("finance", &[]).await;
    for path in ["/statements", "/statements/2026-10.json", "/statements/2026-10/journal.csv"] {
        app.get_as(&finance, path).await.expect(200);
    }
}

#[tokio::test]
async fn t8_a_tenants_statement_is_the_same_whatever_its_neighbours_used() {
    // Whatever the others use, acme pays 50.00.
    let worlds = [
        october("100.00", &[("acme", "10"), ("globex", "10")]).await,
        october("200.00", &[("acme", "10"), ("globex", "30")]).await,
        october("60.00", &[("acme", "10"), ("initech", "2")]).await,
    ];
    let mut texts = Vec::new();
    for app in &worlds {
        close(app, "2026-10").await;
        let token = app.token("tenant_viewer", &["acme"]).await;
        let json = app.get_as(&token, "/statements/2026-10.json").await.expect(200);
        let csv = app.get_as(&token, "/statements/2026-10.csv").await.expect(200);
        texts.push([json.header("apportion-sha256").to_owned(), json.text, csv.text]);
    }
    assert!(texts[0][1].contains("\"50.00\""), "{}", texts[0][1]);
    assert!(texts.iter().all(|text| *text == texts[0]), "{texts:?}");
}

#[tokio::test]
async fn stored_statements_are_what_the_document_says() {
    let app = thirds().await;
    close(&app, "2026-10").await;
    for path in ["/statements/2026-10.json", "/statements/2026-10.json?tenant=acme"] {
        let text = app.get(path).await.expect(200).text;
        let body: api::resources::statements::StatementBody = serde_json::from_str(&text).unwrap();
        assert_eq!(body.number, "ST-2026-10-1");
    }
}

#[tokio::test]
async fn a_mark_is_shown_against_an_invoice_only() {
    let app = thirds().await;
    app.given_bill("gcp", &[(CLUSTER, "2026-11-25", "5.00"), (CLUSTER, "2026-11-02", "3.00")]).await;
    app.given_run("2026-11-01", "2026-11-19").await;
    let row = async |source: &str, range: &str| {
        let path = format!("/reconciliation?source={source}&range={range}");
        let body = app.get(&path).await.expect(200).json();
        assert_eq!(body["rows"].as_array().map(Vec::len), Some(1), "{body}");
        let bill = body["rows"][0].clone();
        let parts = parts_of(&app, &bill).await;
        for name in ["billed", "attributed", "not_yet_due", "attribution_difference"] {
            assert_eq!(sum(parts.iter().map(|part| part[name].as_str().unwrap())), bill[name], "{name} of {parts:?}");
        }
        bill
    };
    let text = |row: &Value, name: &str| row[name].as_str().unwrap_or("null").to_owned();
    let found = row("aws", "2026-10").await;
    assert_eq!(
        ["billed", "attributed", "not_yet_due", "mark"].map(|name| text(&found, name)),
        ["101.00", "101.00", "0.00", "no invoice to compare"]
    );
    assert_eq!(found["invoice_difference"], Value::Null);
    let invoice = |total: &str| json!({ "source": "aws", "billing_period": "2026-10", "invoice_id": "INV-1", "total": total, "currency": "USD" });
    let entered = app.put("/invoices", &invoice("101.01")).await.expect(200).json();
    assert_eq!((&entered["total"], &entered["billing_period"]), (&json!("101.01"), &json!("2026-10")));
    let found = row("aws", "2026-10").await;
    assert_eq!((text(&found, "mark"), text(&found, "invoice_difference")), ("differs".to_owned(), "0.01".to_owned()));
    app.put("/invoices", &invoice("101.00")).await.expect(200);
    app.put("/invoices", &invoice("101.00")).await.expect(200);
    let found = row("aws", "2026-10").await;
    assert_eq!((text(&found, "mark"), text(&found, "invoice_id")), ("✓".to_owned(), "INV-1".to_owned()));
    let audit = app.get("/audit").await.expect(200).json();
    let puts: Vec<&Value> =
        audit["rows"].as_array().unwrap().iter().filter(|row| row["action"] == "invoice.put").collect();
    assert_eq!(puts.len(), 2, "entering the same again is no change");
    assert_eq!((&puts[0]["before"]["total"], &puts[0]["after"]["total"]), (&json!("101.01"), &json!("101.00")));
    assert_eq!(app.get("/invoices").await.expect(200).json()["rows"].as_array().map(Vec::len), Some(1));

    // What is billed for days to come is not missing from the ledger.
    let found = row("gcp", "2026-11").await;
    assert_eq!(
        ["billed", "attributed", "not_yet_due", "attribution_difference"].map(|name| text(&found, name)),
        ["8.00", "3.00", "5.00", "0.00"]
    );
    let said = json!([
        { "source": "gcp", "billing_period": "2026-11", "state": "open" },
        { "source": "aws", "billing_period": "2026-10", "state": "closed" },
    ]);
    app.put("/source-periods", &said).await.expect(200);
    assert_eq!(row("gcp", "2026-11").await["estimated"], true);
    assert_eq!(row("aws", "2026-10").await["estimated"], false);
    // A bill that no run has seen is not attributed, invoice or not.
    app.given_bill("aws", &[(CLUSTER, DAY, "110.00"), ("elsewhere", DAY, "1.00")]).await;
    let found = row("aws", "2026-10").await;
    assert_eq!(["billed", "attributed", "mark"].map(|name| text(&found, name)), ["111.00", "101.00", "differs"]);
    let off = parts_of(&app, &found).await;
    let off: Vec<&Value> = off.iter().filter(|part| part["attribution_difference"] != "0.00").collect();
    let place = json!({
        "day": DAY, "pool": CLUSTER, "billed": "110.00", "attributed": "100.00", "not_yet_due": "0.00",
        "attribution_difference": "10.00",
    });
    assert_eq!(off, [&place], "a difference has its day and pool");

    let bill = "/reconciliation/parts?source=aws&billing_period=2026-10";
    app.get(bill).await.expect_problem(400, "invalid_parameter");
    app.get(&format!("{bill}&currency=EUR&invoice_id=INV-1")).await.expect_problem(404, "not_found");
    app.get(&format!("{bill}&currency=USD")).await.expect_problem(404, "not_found");
}

/// What of a row of the reconciliation falls on each day and pool.
async fn parts_of(app: &TestApp, bill: &Value) -> Vec<Value> {
    let names = ["source", "billing_period", "currency", "invoice_id"];
    let query = names.iter().filter_map(|name| Some(format!("{name}={}", bill[name].as_str()?)));
    let path = format!("/reconciliation/parts?{}", query.collect::<Vec<_>>().join("&"));
    let body = app.get(&path).await.expect(200).json();
    body["rows"].as_array().unwrap().clone()
}

#[tokio::test]
async fn invoices_that_cannot_be_read_are_refused() {
    let app = TestApp::start().await;
    let good =
        json!({ "source": "aws", "billing_period": "2026-10", "invoice_id": "1", "total": "1.00", "currency": "USD" });
    for (name, value) in [
        ("source", json!("")),
        ("billing_period", json!("2026-13")),
        ("invoice_id", json!("a\u{7}")),
        ("total", json!("1,00")),
        ("total", json!("0.0000000000000001")),
        ("currency", json!("usd")),
        ("due_on", json!("2026-02-30")),
        ("paid", json!(true)),
    ] {
        let mut body = good.clone();
        body[name] = value;
        let answer = app.put("/invoices", &body).await;
        assert_eq!(answer.status, 400, "{body}: {}", answer.text);
    }
    app.put("/invoices", &good).await.expect(200);
}

#[tokio::test]
async fn the_usage_csv_is_rounded_so_that_its_rows_add_up() {
    let app = TestApp::start().await;
    let rows = ["acme", "globex", "initech"]
        .map(|tenant| json!({ "tenant": tenant, "metrics": { "api_call_count_24h": "2000" } }));
    app.put("/snapshots/2026-11-18?source=app", &json!(rows)).await.expect(200);
    let costs = async |round: &str| {
        let answer = app.get(&format!("/exports/usage.csv?range=2026-11&round={round}")).await.expect(200);
        rows_of(&answer).into_iter().map(|row| row["cost_usd"].clone()).collect::<Vec<String>>()
    };
    assert_eq!(costs("none").await, ["0.004", "0.004", "0.004"]);
    assert_eq!(costs("minor").await, ["0.00", "0.01", "0.00"]);
}
