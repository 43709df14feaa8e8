//! O1: every answer is what the OpenAPI document says, and no text makes the server fail (T5–T7).

use crate::app::{POLICY, TestApp};
use engine::periods::CloseRequest;
use serde_json::{Value, json};
use std::collections::BTreeSet;
use storage::catalog::SnapshotRunRow;

const DAY: &str = "2026-11-18";
const SNAPSHOT_RUN: &str = "snap-1";

async fn store() -> TestApp {
    let app = TestApp::start().await;
    app.given_policy(POLICY).await;
    app.given_bill("aws", &[("shared-west-us", DAY, "100.00"), ("elsewhere", DAY, "1.00")]).await;
    let used = |tenant| ("shared-west-us", tenant, DAY, "cpu_core_hours", "10");
    app.given_usage(&[used("acme"), used("globex")]).await;
    let cost = json!({ "provider": "own", "amount": "1.00", "currency": "USD", "per": "day", "from": "2026-11-10" });
    app.post("/fixed-costs", &cost).await.expect(201);
    let rates = json!([{ "date": DAY, "from": "EUR", "to": "USD", "rate": "1.05" }]);
    app.put("/fx-rates", &rates).await.expect(200);
    app.put("/tenants/acme", &json!({ "name": "Acme", "aliases": ["a"] })).await.expect(200);
    let snapshots =
        json!([{ "tenant": "acme", "metrics": { "member_count": "3" }, "quality": { "storage_bytes": "missing" } }]);
    app.put("/snapshots/2026-11-18?source=app", &snapshots).await.expect(200);
    let measured = SnapshotRunRow {
        id: SNAPSHOT_RUN.to_owned(),
        date: DAY.to_owned(),
        status: "succeeded".to_owned(),
        created_at: 1,
        finished_at: Some(2),
        error: None,
        body: r#"{"tenants":1,"failed":[{"source":"app","tenant":"acme","reason":"x"}],"failed_total":1}"#.to_owned(),
    };
    app.app.catalog().insert_snapshot_run(&measured, "node", 0).await.unwrap();
    app.given_run("2026-11-10", DAY).await;
    app.given_bill("older", &[("shared-west-us", "2026-10-18", "3.00")]).await;
    app.given_run("2026-10-18", "2026-10-18").await;
    let invoice = json!({ "source": "older", "billing_period": "2026-10", "invoice_id": "1", "total": "3.00", "currency": "USD" });
    app.put("/invoices", &invoice).await.expect(200);
    let close = CloseRequest {
        month: "2026-10".parse().unwrap(),
        force: true,
        reason: Some("a test".to_owned()),
        requested_by: "test".to_owned(),
        request: None,
    };
    app.app.engine.close_period(&close).await.unwrap();
    app
}

/// Panics when the value is not what the schema says; undocumented members count as wrong.
fn check(document: &Value, schema: &Value, value: &Value, place: &str) {
    if let Some(pointer) = schema["$ref"].as_str() {
        let target = document.pointer(pointer.trim_start_matches('#')).unwrap_or_else(|| panic!("{pointer}"));
        return check(document, target, value, place);
    }
    if let Some(choices) = schema["oneOf"].as_array() {
        if value.is_null() {
            assert!(choices.iter().any(|choice| choice["type"] == "null"), "{place}: null is not documented");
        } else {
            let other = choices.iter().find(|choice| choice["type"] != "null").unwrap();
            check(document, other, value, place);
        }
        return;
    }
    if let Some(parts) = schema["allOf"].as_array() {
        let properties = parts.iter().map(|part| resolved(document, part)["properties"].clone());
        let known: BTreeSet<String> = properties
            .flat_map(|known| known.as_object().into_iter().flatten().map(|(name, _)| name.clone()).collect::<Vec<_>>())
            .collect();
        for part in parts {
            let part = resolved(document, part);
            members(document, part, value, place, &known);
        }
        return;
    }
    let types: Vec<&str> = match &schema["type"] {
        Value::String(only) => vec![only],
        Value::Array(types) => types.iter().filter_map(Value::as_str).collect(),
        _ => return,
    };
    let actual = match value {
        Value::Null => "null",
        Value::Bool(_) => "boolean",
        Value::Number(number) if types.contains(&"integer") && number.as_i64().is_some() => "integer",
        Value::Number(_) => "number",
        Value::String(_) => "string",
        Value::Array(_) => "array",
        Value::Object(_) => "object",
    };
    assert!(types.contains(&actual), "{place}: {value} is {actual}, documented is {types:?}");
    if let Value::Array(items) = value {
        for (index, item) in items.iter().enumerate() {
            check(document, &schema["items"], item, &format!("{place}/{index}"));
        }
    }
    if schema["properties"].is_object() {
        let known = schema["properties"].as_object().unwrap().keys().cloned().collect();
        members(document, schema, value, place, &known);
    }
}

fn resolved<'d>(document: &'d Value, schema: &'d Value) -> &'d Value {
    schema["$ref"].as_str().and_then(|pointer| document.pointer(pointer.trim_start_matches('#'))).unwrap_or(schema)
}

fn members(document: &Value, schema: &Value, value: &Value, place: &str, known: &BTreeSet<String>) {
    let Some(object) = value.as_object() else { return };
    for name in schema["required"].as_array().into_iter().flatten() {
        assert!(object.contains_key(name.as_str().unwrap()), "{place}: {name} is missing");
    }
    for (name, member) in object {
        assert!(known.contains(name), "{place}: {name} is not documented");
        check(document, &schema["properties"][name], member, &format!("{place}/{name}"));
    }
}

#[tokio::test]
async fn o1_every_answer_is_what_the_document_says() {
    let app = store().await;
    let document = api::openapi();
    let run = app.given_run(DAY, DAY).await["id"].as_str().unwrap().to_owned();
    let mut asked = 0;
    for facts in api::route_facts().into_iter().filter(|facts| facts.method == "GET") {
        let schema =
            &document["paths"][&facts.path]["get"]["responses"]["200"]["content"]["application/json"]["schema"];
        if schema.is_null() || facts.path.ends_with("openapi.json") {
            continue;
        }
        let id = match &facts.path {
            path if path.contains("snapshots/runs") => SNAPSHOT_RUN,
            path if path.contains("runs") => &run,
            _ => "acme",
        };
        let path =
            facts.path.replace("{id}", id).replace("{tenantId}", "acme").replace("{clusterName}", "shared-west-us");
        let path = path.replace("{version}", "clusters").replace("{name}", "cpu_core_hours");
        let path = path.replace("rate-cards/clusters", "rate-cards/starter").replace("{month}", "2026-10.json");
        let query = match facts.path.rsplit('/').next().unwrap() {
            "explain" => "?tenant=acme&date=2026-11-18",
            "costs" => "?group_by=tenant,pool&granularity=day&compare=prev",
            "comparison" => "?date=2026-11-18",
            "reconciliation" => "?range=2026-10",
            "parts" => "?source=aws&billing_period=2026-11&currency=USD",
            "changes" if facts.path.contains("ledger") => "?from_booked=posting:0",
            "changes" => "?tenant=acme&range=2026-11-18&compare=prev",
            _ => "",
        };
        let body = app.call("GET", &format!("{path}{query}"), Some(&app.admin), "", "").await.expect(200).json();
        check(&document, schema, &body, &path);
        asked += 1;
    }
    assert!(asked > 25, "only {asked} routes were asked");
    let estimate = app.get("/costs?view=current_rates&range=7d&granularity=day").await.expect(200).json();
    check(&document, &document["components"]["schemas"]["CostsBody"], &estimate, "current rates");
    let problem = app.get("/costs?x=1").await.expect(400).json();
    check(&document, &document["components"]["schemas"]["Problem"], &problem, "problem");
}

#[tokio::test]
async fn o1_answers_to_writes_are_documented_too() {
    let app = store().await;
    let document = api::openapi();
    let writes = [
        ("POST", "/runs", "?wait=true", json!({ "from": DAY, "to": DAY }), "200"),
        (
            "POST",
            "/fixed-costs",
            "",
            json!({ "provider": "x", "amount": "1", "currency": "USD", "per": "once", "from": DAY, "to": DAY }),
            "201",
        ),
        (
            "PUT",
            "/invoices",
            "",
            json!({ "source": "x", "billing_period": "2026-11", "invoice_id": "1", "total": "1", "currency": "USD" }),
            "200",
        ),
        ("PUT", "/fx-rates", "", json!({ "rates": [{ "date": DAY, "from": "USD", "to": "EUR", "rate": 2 }] }), "200"),
        (
            "PUT",
            "/snapshots/2026-11-20",
            "?source=app",
            json!({ "rows": [{ "tenant": "acme", "metrics": { "member_count": 3 } }] }),
            "200",
        ),
        ("POST", "/lake/compact", "", Value::Null, "200"),
        ("POST", "/lake/expire-events", "", Value::Null, "200"),
        ("POST", "/lake/vacuum", "", Value::Null, "200"),
        ("POST", "/tokens", "", json!({ "role": "ingest", "tenants": ["acme"] }), "201"),
        (
            "POST",
            "/policies/validate",
            "?range=2026-11",
            json!({ "version": "p", "valid_from": DAY, "pool": [{ "name": "a", "select": {}, "split": { "method": "even" } }, { "name": "b", "select": {}, "split": { "method": "even" } }] }),
            "200",
        ),
        ("POST", "/policies", "", json!({ "version": "p", "valid_from": "2027-01-01" }), "201"),
        (
            "POST",
            "/policies/simulate",
            "?range=7d",
            json!({ "version": "p", "valid_from": DAY, "pool": [{ "name": "a", "select": {}, "split": { "method": "even" } }] }),
            "200",
        ),
        (
            "POST",
            "/rate-cards/simulate",
            "?range=7d",
            json!({ "version": "d", "currency": "USD", "valid_from": DAY, "price": [{ "meter": "member_count", "price": "1", "per": "unit" }] }),
            "200",
        ),
        (
            "POST",
            "/rate-cards/validate",
            "?month=2026-10",
            json!({ "version": "d", "currency": "USD", "valid_from": DAY, "price": [{ "meter": "member_count", "price": "1", "per": "unit" }] }),
            "200",
        ),
        ("POST", "/cost-attribution/all/attribute", "?date=2026-11-18", Value::Null, "200"),
    ];
    for (method, path, query, body, status) in writes {
        let address = format!("/api/v1{path}{query}");
        let answer = app.call(method, &address, Some(&app.admin), "application/json", &body.to_string()).await;
        let answer = answer.expect(status.parse().unwrap()).json();
        let template = format!("/api/v1{path}").replace("/2026-11-20", "/{date}");
        let operation = &document["paths"][template][method.to_ascii_lowercase()];
        let schema = &operation["responses"][status]["content"]["application/json"]["schema"];
        assert!(schema.is_object(), "{path}");
        check(&document, schema, &answer, path);
    }
}

#[tokio::test]
async fn a_validated_policy_says_which_lines_no_pool_takes_and_which_two_want() {
    let app = store().await;
    let pool = |name: &str, select: Value| json!({ "name": name, "select": select, "split": { "method": "even" } });
    let policy = json!({ "version": "p", "valid_from": "2026-01-01",
        "pool": [pool("a", json!({ "tags.cluster": "shared-*" })), pool("b", json!({ "provider": "AWS", "tags.cluster": "shared-west-us" }))] });
    let rows = app.post("/policies/validate?range=2026-11-18", &policy).await.expect(200).json()["rows"].clone();
    let found: Vec<String> = rows
        .as_array()
        .unwrap()
        .iter()
        .map(|row| {
            ["finding", "pool", "also", "provider", "amount"].map(|name| row[name].as_str().unwrap_or("-")).join(" ")
        })
        .collect();
    assert_eq!(
        found,
        ["taken a - AWS 100.00", "no_pool - - AWS 1.00", "no_pool - - own 1.00", "overlap a b AWS 100.00"]
    );
}

#[tokio::test]
async fn t5_no_text_in_any_parameter_path_or_header_makes_the_server_fail() {
    const CORPUS: [&str; 12] = [
        "'%20OR%201=1--",
        "%22;DROP%20TABLE%20tenants;--",
        "..%2F..%2Fetc%2Fpasswd",
        "%7Bid%7D",
        "%25s%25n",
        "-1",
        "99999999999999999999999",
        "%F0%9F%92%A5",
        "a%0d%0aset-cookie:x",
        "__idle__",
        "tenant:*%20-tenant:%22",
        "9999-12-31",
    ];
    let app = store().await;
    let document = api::openapi();
    let mut asked = 0;
    for facts in api::route_facts().into_iter().filter(|facts| facts.access != api::Access::Public) {
        let operation = &document["paths"][&facts.path][facts.method.as_str().to_ascii_lowercase()];
        for text in CORPUS {
            let variable = facts
                .path
                .split('/')
                .map(|part| if part.starts_with('{') { text } else { part })
                .collect::<Vec<_>>()
                .join("/");
            let names =
                operation["parameters"].as_array().into_iter().flatten().filter(|parameter| parameter["in"] == "query");
            let names = names.map(|parameter| parameter["name"].as_str().unwrap());
            for path in names.map(|name| format!("{variable}?{name}={text}")).chain([variable.clone()]) {
                let answer = app.call(facts.method.as_str(), &path, Some(&app.admin), "application/json", text).await;
                assert!(answer.status < 500, "{} {path}: {}", facts.method, answer.text);
                assert_eq!(answer.header("set-cookie"), "");
                asked += 1;
            }
        }
    }
    for text in CORPUS {
        app.get_as(text, "/costs").await.expect_problem(401, "unauthenticated");
    }
    println!("T5: {asked} requests");
}
