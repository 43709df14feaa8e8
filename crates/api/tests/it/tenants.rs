//! Tenants, fixed costs and exchange rates: dated, recorded, audited.

use crate::app::TestApp;
use serde_json::{Value, json};

#[tokio::test]
async fn a_new_tenant_holds_always_and_a_change_from_today() {
    let app = TestApp::start().await;
    let new = json!({ "id": "acme", "name": "Acme", "plan": "pro", "owners": ["kim"], "aliases": ["acme-old"] });
    let body = app.put("/tenants/acme", &new).await.expect(201).json();
    assert_eq!(
        (&body["valid_from"], &body["aliases"], &body["entered_by"]),
        (&Value::Null, &json!(["acme-old"]), &json!("put"))
    );
    app.put("/tenants/acme", &new).await.expect(200);
    assert_eq!(
        app.get("/tenants/acme").await.json()["history"].as_array().unwrap().len(),
        1,
        "a repeat changes nothing"
    );

    let body = app.put("/tenants/acme", &json!({ "plan": "free" })).await.expect(200).json();
    assert_eq!(
        (&body["valid_from"], &body["name"], &body["plan"]),
        (&json!("2026-11-20"), &json!("Acme"), &json!("free"))
    );
    let body = app.put("/tenants/acme", &json!({ "name": null, "aliases": [] })).await.expect(200).json();
    assert_eq!((&body["name"], &body["aliases"]), (&Value::Null, &json!([])));
    assert_eq!(app.get("/tenants/acme").await.json()["history"].as_array().unwrap().len(), 3);
}

#[tokio::test]
async fn a_change_for_earlier_days_leaves_what_was_entered_for_later_ones() {
    let app = TestApp::start().await;
    app.put("/tenants/acme", &json!({ "name": "Acme", "plan": "free" })).await.expect(201);
    app.put("/tenants/acme", &json!({ "plan": "pro", "valid_from": "2026-06-01" })).await.expect(200);
    let earlier = json!({ "name": "Acme Inc", "plan": "trial", "valid_from": "2026-03-01" });
    let body = app.put("/tenants/acme", &earlier).await.expect(200).json();
    assert_eq!((&body["name"], &body["plan"]), (&json!("Acme Inc"), &json!("pro")));
    let history = app.get("/tenants/acme").await.expect(200).json()["history"].clone();
    let spring = history.as_array().unwrap().iter().find(|fact| fact["valid_from"] == "2026-03-01").unwrap();
    assert_eq!((&spring["plan"], &spring["valid_to"]), (&json!("trial"), &json!("2026-05-31")));
    app.put("/tenants/acme", &earlier).await.expect(200);
    assert_eq!(app.get("/tenants/acme").await.json()["history"], history, "a repeat changes nothing");
    let ended = app.put("/tenants/acme", &json!({ "plan": "x", "valid_to": "2026-11-19" })).await;
    assert_eq!(ended.expect_problem(400, "invalid_body")["errors"][0]["pointer"], "/valid_to");
}

#[tokio::test]
async fn a_change_of_several_stretches_is_entered_whole_or_not_at_all() {
    let app = TestApp::start().await;
    app.put("/tenants/acme", &json!({ "name": "Acme", "plan": "free" })).await.expect(201);
    app.put("/tenants/acme", &json!({ "plan": "pro", "valid_from": "2026-06-01" })).await.expect(200);
    let spring = json!({ "merged_into": "acme", "valid_from": "2026-03-01", "valid_to": "2026-05-31" });
    app.put("/tenants/globex", &json!({ "name": "Globex" })).await.expect(201);
    app.put("/tenants/globex", &spring).await.expect(200);
    let before = app.get("/tenants/acme").await.expect(200).json();

    // Only the first of its two stretches would lead in a circle.
    let change = json!({ "merged_into": "globex", "valid_from": "2026-03-01" });
    app.put("/tenants/acme", &change).await.expect_problem(409, "merge_circle");

    assert_eq!(app.get("/tenants/acme").await.expect(200).json(), before);
}

#[tokio::test]
async fn aliases_begin_and_end_on_the_days_of_the_change() {
    let app = TestApp::start().await;
    app.put("/tenants/acme", &json!({ "aliases": ["old"] })).await.expect(201);
    let book = async || app.app.catalog().tenant_book_all_tenants(i64::MAX).await.unwrap();
    let resolve = async |alias: &str, day: &str| book().await.resolve(alias, day.parse().unwrap()).to_string();

    let change = json!({ "aliases": ["new"], "valid_from": "2026-12-01", "valid_to": "2026-12-31" });
    app.put("/tenants/acme", &change).await.expect(200);
    let days = ["2026-11-30", "2026-12-01", "2026-12-31", "2027-01-01"];
    for (day, old, new) in
        [(days[0], "acme", "new"), (days[1], "old", "acme"), (days[2], "old", "acme"), (days[3], "acme", "new")]
    {
        assert_eq!((resolve("old", day).await.as_str(), resolve("new", day).await.as_str()), (old, new), "{day}");
    }
    // The end of an alias does not end what begins later, here for somebody else.
    app.put("/tenants/acme", &json!({ "aliases": [], "valid_from": "2027-06-01" })).await.expect(200);
    app.put("/tenants/globex", &json!({ "aliases": ["old"], "valid_from": "2027-06-01" })).await.expect(201);
    app.put("/tenants/acme", &json!({ "aliases": [], "valid_from": "2027-03-01" })).await.expect(200);
    assert_eq!([resolve("old", "2027-03-01").await, resolve("old", "2027-06-01").await], ["old", "globex"]);
}

#[tokio::test]
async fn what_cannot_be_a_tenant_is_refused() {
    let app = TestApp::start().await;
    app.put("/tenants/__x", &json!({})).await.expect_problem(400, "invalid_parameter");
    for (body, pointer) in [
        (json!({ "status": "gone" }), "/status"),
        (json!({ "id": "other" }), "/id"),
        (json!({ "name": "" }), "/name"),
        (json!({ "parent": "acme" }), "/parent"),
        (json!({ "valid_from": "2026-11-02", "valid_to": "2026-11-01" }), "/valid_to"),
        (json!({ "aliases": ["acme"] }), "/aliases"),
    ] {
        let problem = app.put("/tenants/acme", &body).await.expect_problem(400, "invalid_body");
        assert_eq!(problem["errors"][0]["pointer"], pointer);
    }
    app.put("/tenants/acme", &json!({ "merged_into": "nobody" })).await.expect_problem(404, "tenant_not_found");
    app.get("/tenants/acme").await.expect_problem(404, "tenant_not_found");
    app.put("/tenants/globex", &json!({ "aliases": ["other"] })).await.expect(201);
    app.put("/tenants/acme", &json!({ "aliases": ["other"] })).await.expect_problem(409, "alias_taken");
    app.get("/tenants/acme").await.expect_problem(404, "tenant_not_found");
}

#[tokio::test]
async fn a_fixed_cost_is_a_cost_line_until_it_is_removed() {
    let app = TestApp::start().await;
    let new = json!({ "provider": "own", "amount": 310, "currency": "USD", "per": "month", "from": "2026-10-01", "description": "rent" });
    let body = app.post("/fixed-costs", &new).await.expect(201).json();
    assert_eq!(
        (&body["amount"], &body["source"], &body["service"]),
        (&json!("310.00"), &json!("fixed"), &json!("own"))
    );
    let lines = app.get("/cost-lines?range=2026-10-01..2026-11-30").await.expect(200).json();
    assert_eq!(lines["rows"].as_array().unwrap().len(), 2);
    assert_eq!(lines["rows"][0]["billed_cost"], "310.00");
    app.get("/overhead?range=2026-11").await.expect(200);
    app.delete(&format!("/fixed-costs/{}", body["id"].as_str().unwrap())).await.expect(204);
    let lines = app.get("/cost-lines?range=2026-10-01..2026-11-30").await.expect(200).json();
    assert_eq!(lines["rows"].as_array().unwrap().len(), 0);
    let actions: Vec<Value> =
        app.get("/audit").await.json()["rows"].as_array().unwrap().iter().map(|row| row["action"].clone()).collect();
    assert_eq!(actions, [json!("fixed_cost.delete"), json!("fixed_cost.add")]);
}

#[tokio::test]
async fn rates_come_as_json_csv_or_the_ecbs_table() {
    let app = TestApp::start().await;
    let put = async |kind: &str, body: &str| app.call("PUT", "/api/v1/fx-rates", Some(&app.admin), kind, body).await;
    let json_body = r#"{"rates":[{"date":"2026-11-17","from":"EUR","to":"USD","rate":"1.05"}]}"#;
    let body = put("application/json", json_body).await.expect(200).json();
    assert_eq!(body, json!({ "rates": 1, "recorded": 1, "from": "2026-11-17", "to": "2026-11-17" }));
    assert_eq!(put("application/json", json_body).await.expect(200).json()["recorded"], 0);
    put("text/csv", "date,from,to,rate\n2026-11-18,EUR,USD,1.06\n").await.expect(200);
    assert_eq!(put("text/csv", "Date,USD,JPY,\n2026-11-19,1.6,N/A,\n").await.expect(200).json()["recorded"], 2);
    let rows = app.get("/fx-rates?range=2026-11-18..2026-11-19").await.expect(200).json();
    let rows: Vec<String> = rows["rows"]
        .as_array()
        .unwrap()
        .iter()
        .map(|row| ["date", "from", "to", "rate"].map(|name| row[name].as_str().unwrap()).join(" "))
        .collect();
    assert_eq!(rows, ["2026-11-18 EUR USD 1.06", "2026-11-19 EUR USD 1.6", "2026-11-19 USD EUR 0.625"]);
    put("text/csv", "date,from,to,rate\n2026-11-18,EUR,USD,0\n").await.expect_problem(400, "invalid_body");
    put("application/json", "{\"rates\":[]}").await.expect_problem(400, "invalid_body");
}

#[tokio::test]
async fn versions_are_published_once_used_never_changed_and_shown_in_both_forms() {
    let app = TestApp::start().await;
    let card = |version: &str, price: &str| json!({ "version": version, "currency": "USD", "valid_from": "2026-01-01", "price": [{ "meter": "api_call", "price": price }] });
    let body = app.post("/rate-cards", &card("v1", "0.000002")).await.expect(201).json();
    assert_eq!((&body["outcome"], &body["into_the_past"]), (&json!("added"), &json!(true)));
    assert_eq!(app.post("/rate-cards", &card("v1", "0.000002")).await.expect(200).json()["outcome"], "unchanged");
    app.post("/rate-cards", &card("v2", "0.02")).await.expect_problem(409, "suspicious_price");
    app.post("/rate-cards?confirm=true", &card("v2", "0.02")).await.expect(201);
    let rows = app.get("/rate-cards").await.expect(200).json();
    let names: Vec<&Value> = rows["rows"].as_array().unwrap().iter().map(|row| &row["version"]).collect();
    assert_eq!(names, [&json!("starter"), &json!("v1"), &json!("v2")]);
    assert_eq!(rows["rows"][1]["currency"], "USD");
    assert_eq!(app.get("/rate-cards/v1").await.expect(200).json()["content"]["price"][0]["price"], "0.000002");
    assert_eq!(app.get("/rate-cards/starter").await.expect(200).json()["content"]["price"][0]["price"], "5");
    assert_eq!(app.get("/policies/default").await.expect(200).json()["content"]["pool"][0]["name"], "platform-usage");
    let tiers = json!({ "version": "t", "currency": "USD", "valid_from": "2026-01-01", "price": [{ "meter": "api_call", "price": "1", "tiers": [{ "above": "0", "price": "1" }] }] });
    app.post("/rate-cards/validate", &tiers).await.expect_problem(422, "invalid_rate_card");
    let answer = app.post("/policies/validate", &json!({ "version": "p", "valid_from": "2026-01-01", "pool": [{ "name": "a", "select": {}, "split": { "method": "even" } }] })).await;
    assert_eq!(answer.expect(200).json()["names"], json!(["a"]));
    let pool = |name: &str| json!({ "name": name, "recovers": { "provider": name }, "split": { "method": "rated", "meters": ["api_call"] } });
    let both = json!({ "version": "p", "valid_from": "2026-01-01", "pool": [pool("a"), pool("b")] });
    let shared = app.post("/policies/validate", &both).await.expect(200).json()["shared_drivers"].clone();
    assert_eq!(shared, json!([{ "meter": "api_call", "pools": ["a", "b"] }]));
}
