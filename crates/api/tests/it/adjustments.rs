//! Adjustments: two entries of opposite sign that no run touches, booked once.

use crate::app::{Answer, POLICY, TestApp};
use axum::body::Body;
use axum::http::Request;
use serde_json::{Value, json};

const DAY: &str = "2026-11-18";

/// A pool of 100.00 on one day, half of it acme's and half of it globex's.
async fn store() -> TestApp {
    let app = TestApp::start().await;
    app.given_policy(POLICY).await;
    app.given_bill("aws", &[("shared-west-us", DAY, "100.00")]).await;
    let used = |tenant| ("shared-west-us", tenant, DAY, "cpu_core_hours", "10");
    app.given_usage(&[used("acme"), used("globex")]).await;
    app.given_run(DAY, DAY).await;
    app
}

fn adjustment(from: &str, to: &str, amount: &str, currency: &str) -> Value {
    json!({
        "charge_date": DAY, "from_tenant": from, "to_tenant": to, "amount": amount, "currency": currency,
        "reason": "charged twice, canary", "reference": "FIN-1",
    })
}

async fn keyed(app: &TestApp, key: &str, body: &Value) -> Answer {
    let request = Request::builder().method("POST").uri("/api/v1/adjustments").header("idempotency-key", key);
    let request =
        request.header("authorization", format!("Bearer {}", app.admin)).header("content-type", "application/json");
    app.send(request.body(Body::from(body.to_string())).unwrap()).await
}

async fn costs(app: &TestApp, question: &str) -> Value {
    app.get(&format!("/costs?range=30d&{question}")).await.expect(200).json()
}

/// Key and cost of every row.
fn shown(table: &Value, key: &str) -> Vec<(String, String)> {
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    let row = |row: &Value| (text(&row["key"][key]), text(&row["cost"]));
    table["rows"].as_array().unwrap().iter().map(row).collect()
}

fn pairs(expected: &[(&str, &str)]) -> Vec<(String, String)> {
    expected.iter().map(|(key, cost)| ((*key).to_owned(), (*cost).to_owned())).collect()
}

#[tokio::test]
async fn cost_moves_from_one_tenant_to_the_other_and_none_is_made() {
    let app = store().await;
    let before = (app.get("/coverage").await.text, app.get("/ledger/proof").await.json());
    let body = app.post("/adjustments", &adjustment("acme", "globex", "12.50", "USD")).await.expect(201).json();
    assert_eq!(
        (&body["posting"], &body["amount"], &body["amount_reporting"], &body["billing_month"], &body["charge_class"]),
        (&json!(2), &json!("12.50"), &json!("12.50"), &json!("2026-11"), &Value::Null)
    );

    let entries = app.get("/ledger/entries?posting=2").await.expect(200).json();
    let entries = entries["rows"].as_array().unwrap();
    let of = |name: &str| entries.iter().map(|entry| entry[name].clone()).collect::<Vec<_>>();
    assert_eq!(of("amount"), [json!("-12.50"), json!("12.50")]);
    assert_eq!((of("billed_amount"), of("amount_reporting")), (of("amount"), of("amount")));
    assert_eq!(of("tenant"), [json!("acme"), json!("globex")]);
    for (name, expected) in
        [("kind", json!("adjustment")), ("basis", json!("adjustment")), ("cause", json!("adjustment"))]
            .into_iter()
            .chain([
                ("method", Value::Null),
                ("run", Value::Null),
                ("reason", Value::Null),
                ("charge_date", json!(DAY)),
            ])
    {
        assert_eq!(of(name), [expected.clone(), expected], "{name}");
    }

    let by_tenant = costs(&app, "group_by=tenant").await;
    assert_eq!(shown(&by_tenant, "tenant"), pairs(&[("globex", "62.50"), ("acme", "37.50")]));
    assert_eq!(
        (&by_tenant["totals"]["cost"], &by_tenant["meta"]["conservation"]["difference"]),
        (&json!("100.00"), &json!("0.00"))
    );
    let by_basis = costs(&app, "group_by=tenant,basis&filter=basis:adjustment").await;
    assert_eq!(shown(&by_basis, "tenant"), pairs(&[("globex", "12.50"), ("acme", "-12.50")]));
    assert_eq!(by_basis["totals"]["cost"], "0.00");
    let shares = |coverage: &str| serde_json::from_str::<Value>(coverage).unwrap()["rows"].clone();
    assert_eq!(shares(&app.get("/coverage").await.text), shares(&before.0));
    assert_eq!(app.get("/ledger/proof").await.json()["rows"], before.1["rows"]);
    let verified = app.get("/ledger/verify").await.expect(200).json();
    assert_eq!((&verified["ok"], &verified["postings"]), (&json!(true), &json!(2)), "{verified}");
    let earlier = costs(&app, "group_by=tenant&as_of=posting:1").await;
    assert_eq!(shown(&earlier, "tenant"), pairs(&[("acme", "50.00"), ("globex", "50.00")]));
}

#[tokio::test]
async fn a_run_leaves_an_adjustment_alone_and_another_one_undoes_it() {
    let app = store().await;
    app.post("/adjustments", &adjustment("acme", "globex", "12.50", "USD")).await.expect(201);
    assert_eq!(app.given_run("2026-11-10", DAY).await["posting"], Value::Null);
    app.given_bill("aws", &[("shared-west-us", DAY, "110.00")]).await;
    app.given_run(DAY, DAY).await;
    let table = costs(&app, "group_by=tenant").await;
    assert_eq!(shown(&table, "tenant"), pairs(&[("globex", "67.50"), ("acme", "42.50")]));
    assert_eq!(table["meta"]["conservation"]["difference"], "0.00");

    app.post("/adjustments", &adjustment("globex", "acme", "12.50", "USD")).await.expect(201);
    let table = costs(&app, "group_by=tenant").await;
    assert_eq!(shown(&table, "tenant"), pairs(&[("acme", "55.00"), ("globex", "55.00")]));
    let explained = app.get(&format!("/explain?tenant=acme&date={DAY}")).await.expect(200).json();
    let pools = explained["pools"].as_array().unwrap();
    let adjusted = pools.iter().find(|pool| pool["basis"] == "adjustment").unwrap();
    let causes: Vec<&Value> = adjusted["changes"].as_array().unwrap().iter().map(|change| &change["cause"]).collect();
    assert_eq!(causes, [&json!("adjustment"), &json!("adjustment")]);
    assert_eq!(app.get("/ledger/verify").await.expect(200).json()["ok"], true);
}

#[tokio::test]
async fn a_repeat_with_the_same_key_books_nothing() {
    let app = store().await;
    let body = adjustment("acme", "globex", "12.50", "USD");
    let first = keyed(&app, "k-1", &body).await.expect(201);
    let second = keyed(&app, "k-1", &body).await.expect(201);
    assert_eq!((first.text.as_str(), second.header("idempotency-replayed")), (second.text.as_str(), "true"));
    // As if the server had stopped before it kept its answer: what was booked under the key is found in the ledger.
    app.app.catalog().forget_idempotency_keys(i64::MAX).await.unwrap();
    let third = keyed(&app, "k-1", &body).await.expect(201);
    assert_eq!((first.json(), third.header("idempotency-replayed")), (third.json(), ""));
    keyed(&app, "k-1", &adjustment("acme", "globex", "12.51", "USD")).await.expect_problem(422, "idempotency_mismatch");
    keyed(&app, "k-2", &body).await.expect(201);
    assert_eq!(app.get("/ledger/postings").await.expect(200).json()["rows"].as_array().unwrap().len(), 3);
}

#[tokio::test]
async fn another_currency_is_converted_at_the_rate_of_the_day() {
    let app = store().await;
    let body = adjustment("acme", "globex", "10.00", "EUR");
    let problem = app.post("/adjustments", &body).await.expect_problem(422, "fx_missing");
    assert!(problem["detail"].as_str().unwrap().contains("EUR to USD"), "{problem}");
    let rates = json!([
        { "date": "2026-11-16", "from": "EUR", "to": "USD", "rate": "1.05" },
        { "date": "2026-11-19", "from": "EUR", "to": "USD", "rate": "2" },
    ]);
    app.put("/fx-rates", &rates).await.expect(200);
    let booked = app.post("/adjustments", &body).await.expect(201).json();
    assert_eq!(
        (&booked["amount_reporting"], &booked["fx_rate"], &booked["fx_date"]),
        (&json!("10.50"), &json!("1.05"), &json!("2026-11-16"))
    );
    assert_eq!(
        shown(&costs(&app, "group_by=tenant").await, "tenant"),
        pairs(&[("globex", "60.50"), ("acme", "39.50")])
    );
    let in_euro = costs(&app, "group_by=tenant&currency=EUR&measure=billed_amount").await;
    assert_eq!(shown(&in_euro, "tenant"), pairs(&[("globex", "10.00"), ("acme", "-10.00")]));
}

#[tokio::test]
async fn what_was_charged_in_a_closed_month_is_adjusted_in_the_open_one() {
    let app = store().await;
    app.given_bill("own", &[("elsewhere", "2026-10-05", "1.00")]).await;
    app.given_run("2026-10-05", "2026-10-05").await;
    let close = json!({ "force": true, "reason": "a test" });
    app.post("/periods/2026-10/close", &close).await.expect(200);
    let mut body = adjustment("acme", "globex", "1.00", "USD");
    body["charge_date"] = json!("2026-10-05");
    let booked = app.post("/adjustments", &body).await.expect(201).json();
    assert_eq!((&booked["billing_month"], &booked["charge_class"]), (&json!("2026-11"), &json!("correction")));
    let entries = app.get(&format!("/ledger/entries?posting={}", booked["posting"])).await.expect(200).json();
    for entry in entries["rows"].as_array().unwrap() {
        assert_eq!(
            (&entry["charge_month"], &entry["billing_month"], &entry["charge_class"]),
            (&json!("2026-10"), &json!("2026-11"), &json!("correction"))
        );
    }
    // The closed month and the next one are still told apart after it.
    app.post("/periods/2026-10/reopen", &json!({ "reason": "a test" })).await.expect(200);
    let reopened = app.post("/adjustments", &body).await.expect(201).json();
    assert_eq!((&reopened["billing_month"], &reopened["charge_class"]), (&json!("2026-10"), &Value::Null));
    assert_eq!(app.get("/ledger/verify").await.expect(200).json()["ok"], true);
}

#[tokio::test]
async fn what_makes_no_sense_is_refused_with_its_place() {
    let app = store().await;
    let changed = |name: &str, value: Value| {
        let mut body = adjustment("acme", "globex", "1.00", "USD");
        body[name] = value;
        body
    };
    for (name, value) in [
        ("charge_date", json!("2026-11-21")),
        ("amount", json!("0.00")),
        ("amount", json!("-1.00")),
        ("amount", json!("0.0000000000000001")),
        ("amount", json!("1000000000001")),
        ("amount", json!("much")),
        ("reason", json!(" ")),
        ("reference", json!("a\nb")),
    ] {
        let problem = app.post("/adjustments", &changed(name, value)).await.expect_problem(400, "invalid_body");
        assert_eq!(problem["errors"][0]["pointer"], format!("/{name}"), "{problem}");
    }
    app.post("/adjustments", &changed("currency", json!("XX"))).await.expect_problem(400, "invalid_body");
    app.post("/adjustments", &changed("why", json!("x"))).await.expect_problem(400, "invalid_body");
    app.post("/adjustments", &changed("to_tenant", json!("nobody"))).await.expect_problem(404, "tenant_not_found");
    app.post("/adjustments", &changed("to_tenant", json!("__idle__"))).await.expect_problem(404, "tenant_not_found");
    // Since the merge both names mean one tenant.
    app.put("/tenants/globex", &json!({ "merged_into": "acme", "valid_from": DAY })).await.expect(200);
    app.post("/adjustments", &adjustment("acme", "globex", "1.00", "USD"))
        .await
        .expect_problem(400, "invalid_parameter");
    assert_eq!(app.get("/ledger/postings").await.expect(200).json()["rows"].as_array().unwrap().len(), 1);
}

#[tokio::test]
async fn the_reason_is_told_to_finance_and_never_to_a_tenant() {
    let app = store().await;
    let finance = app.token("finance", &[]).await;
    let text = adjustment("acme", "globex", "12.50", "USD").to_string();
    let body = app.call("POST", "/api/v1/adjustments", Some(&finance), "application/json", &text).await;
    let id = body.expect(201).json()["id"].clone();
    let postings = app.get_as(&finance, "/ledger/postings").await.expect(200).json();
    let told = &postings["rows"][0]["adjustment"];
    assert_eq!(
        (&told["id"], &told["reason"], &told["reference"]),
        (&id, &json!("charged twice, canary"), &json!("FIN-1"))
    );
    assert_eq!(postings["rows"][1]["adjustment"], Value::Null);
    let audit = app.get("/audit").await.expect(200).json();
    assert_eq!((&audit["rows"][0]["action"], &audit["rows"][0]["target"]), (&json!("adjustment.add"), &id));

    let tenant = app.token("tenant_viewer", &["acme"]).await;
    for path in [
        format!("/explain?tenant=acme&date={DAY}"),
        "/costs?group_by=tenant,basis".to_owned(),
        "/costs?group_by=pool,charge_category,category".to_owned(),
    ] {
        let answer = app.get_as(&tenant, &path).await.expect(200);
        assert!(!answer.text.contains("canary") && !answer.text.contains("globex"), "{path}: {}", answer.text);
        assert!(answer.text.contains("12.50"), "{path}: {}", answer.text);
    }
}

#[tokio::test]
async fn flows_follow_what_was_moved_by_hand_and_add_up_to_the_cost() {
    let app = store().await;
    app.post("/adjustments", &adjustment("acme", "globex", "12.50", "USD")).await.expect(201);
    let flows = app.get("/flows?range=30d").await.expect(200).json();
    let total = costs(&app, "").await["totals"]["cost"].clone();
    assert_eq!((&flows["total"], &flows["posting"]), (&total, &json!(2)));
    let node = |column: &str, id: &str| {
        let nodes = flows["nodes"].as_array().unwrap();
        nodes.iter().find(|node| node["column"] == column && node["id"] == id).map(|node| node["amount"].clone())
    };
    assert_eq!(node("pool", "shared-west-us"), Some(json!("100.00")));
    assert_eq!([node("tenant", "acme"), node("tenant", "globex")], [Some(json!("37.50")), Some(json!("62.50"))]);

    let before = app.get("/flows?range=30d&as_of=posting:1").await.expect(200).json();
    let links = before["links"].as_array().unwrap();
    let shares: Vec<&Value> =
        links.iter().filter(|link| link["column"] == "pool").map(|link| &link["amount"]).collect();
    assert_eq!(shares, [&json!("50.00"), &json!("50.00")]);
    let csv = app.csv("GET", "/flows?range=30d&as_of=posting:1").await.expect(200);
    assert_eq!(csv.text.lines().count(), 1 + links.len());
    app.get("/flows?view=current_rates").await.expect_problem(400, "invalid_parameter");

    app.put("/tenants/acme", &json!({ "name": "Acme Inc" })).await.expect(200);
    let narrowed = app.get("/flows?range=30d&filter=tenant:acme").await.expect(200).json();
    let link = |pool: &str, amount: &str| json!({ "column": "pool", "from": pool, "to": "acme", "amount": amount });
    let links = json!([link("shared-west-us", "50.00"), link("__adjustment__", "-12.50")]);
    assert_eq!((&narrowed["total"], &narrowed["links"]), (&json!("37.50"), &links));
    let nodes = narrowed["nodes"].as_array().unwrap();
    let acme = json!({ "column": "tenant", "id": "acme", "name": "Acme Inc", "amount": "37.50", "count": 1 });
    assert!(nodes.contains(&acme), "{nodes:?}");
    assert!(nodes.iter().all(|node| node["column"] != "provider"), "nothing is told of providers: {nodes:?}");
    app.get("/flows?filter=plan:pro").await.expect_problem(400, "invalid_parameter");
    let entries = app.get("/ledger/entries?filter=tenant:acme%20basis:adjustment").await.expect(200).json();
    assert_eq!(entries["rows"].as_array().unwrap().len(), 1);
}
