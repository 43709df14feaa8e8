//! The cost of nobody: what it is made of, and that the rules which are suggested map what they say.

use crate::app::{Answer, TestApp};
use domain::money::{format_atoms, parse_atoms};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use testkit::bill::{Bill, BillLine};

const POLICY: &str = r#"
version = "p1"
valid_from = 2020-01-01

[[tenant_rule]]
when = { tags.owner = "team-*" }
tenant = "{tags.owner}"

[[pool]]
name = "shared"
select = { tags.cluster = "shared" }
split = { method = "weighted", weights = { cpu_core_hours = "1" } }

[[pool]]
name = "agreed"
select = { service = "Support" }
split = { method = "fixed", percent = { acme = "60" } }

[[pool]]
name = "own"
select = { service = ["AmazonEC2", "AmazonS3"] }
split = { method = "direct" }
"#;

/// Day, account, service, cost, tags.
const LINES: [(&str, &str, &str, &str, &str); 8] = [
    ("2026-11-17", "111", "AmazonEC2", "5.00", r#"{"owner":"team-a"}"#),
    ("2026-11-17", "222", "AmazonEC2", "10.00", r#"{"team":"acme"}"#),
    ("2026-11-18", "222", "AmazonS3", "4.00", r#"{"team":"globex"}"#),
    ("2026-11-18", "333", "AmazonEC2", "7.00", "{}"),
    ("2026-11-17", "333", "AmazonS3", "-1.00", "{}"),
    ("2026-11-18", "333", "AWSLambda", "3.00", r#"{"team":"acme"}"#),
    ("2026-11-17", "111", "AmazonRDS", "2.00", r#"{"cluster":"shared"}"#),
    ("2026-11-17", "111", "Support", "10.00", "{}"),
];
const DAYS: &str = "range=2026-11-17..2026-11-18";

async fn import(app: &TestApp, source: &str, lines: &[(&str, &str, &str, &str, &str)]) {
    let add = |bill: Bill, (day, sub_account, service, cost, tags): &(&str, &str, &str, &str, &str)| {
        bill.line(&BillLine { day, sub_account, service, cost, tags, ..BillLine::default() })
    };
    let bill = lines.iter().fold(Bill::new(), add);
    let path = format!("/api/v1/cost-lines/imports?source={source}&confirm=true");
    app.call("POST", &path, Some(&app.admin), "text/csv", bill.csv()).await.expect(200);
}

async fn store() -> TestApp {
    let app = TestApp::start().await;
    app.given_policy(POLICY).await;
    for tenant in ["acme", "globex", "initech"] {
        app.put(&format!("/tenants/{tenant}"), &json!({})).await.expect(201);
    }
    import(&app, "aws", &LINES).await;
    // The tenants are older than the posting, so that its state has them.
    app.clock.set("2026-11-20T12:30:00Z".parse().unwrap());
    app.given_run("2026-11-17", "2026-11-18").await;
    app
}

async fn asked(app: &TestApp, more: &str) -> Value {
    app.get(&format!("/unattributed?{DAYS}{more}")).await.expect(200).json()
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or("-")
}

fn atoms(value: &Value) -> i128 {
    parse_atoms(value.as_str().unwrap()).unwrap().atoms
}

/// Pool, reason, account, service, lines, amount, first and last day of every row.
fn shown(answer: &Value) -> Vec<String> {
    let row = |row: &Value| {
        let names = ["pool", "why", "sub_account", "service"].map(|name| text(&row[name]).to_owned());
        let days = [&row["first_day"], &row["last_day"]].map(|day| text(day)[8..].to_owned());
        format!("{} {} {} {} {}", names.join(" "), row["lines"], text(&row["amount"]), days.join(" "), row["rule"])
    };
    answer["rows"].as_array().unwrap().iter().map(row).collect()
}

/// Σ of the ledger's entries of nobody by currency, entry by entry.
async fn in_ledger(app: &TestApp) -> BTreeMap<String, i128> {
    let entries = app.get(&format!("/ledger/entries?{DAYS}&limit=1000")).await.expect(200).json();
    assert!(entries["next_cursor"].is_null());
    let mut sums = BTreeMap::new();
    for entry in entries["rows"].as_array().unwrap() {
        if entry["consumer"] == "__unattributed__" && entry["memo"] != json!(true) {
            *sums.entry(text(&entry["currency"]).to_owned()).or_default() += atoms(&entry["amount"]);
        }
    }
    sums
}

#[track_caller]
fn check_sums(answer: &Value, expected: &BTreeMap<String, i128>) {
    let mut sums: BTreeMap<String, i128> = BTreeMap::new();
    for row in answer["rows"].as_array().unwrap() {
        *sums.entry(text(&row["currency"]).to_owned()).or_default() += atoms(&row["amount"]);
    }
    let totals: BTreeMap<String, i128> = answer["totals"]
        .as_array()
        .unwrap()
        .iter()
        .map(|total| (text(&total["currency"]).to_owned(), atoms(&total["amount"])))
        .collect();
    assert_eq!((&sums, &totals), (expected, expected), "{answer}");
}

async fn published(app: &TestApp, policy: &str) -> Answer {
    app.call("POST", "/api/v1/policies", Some(&app.admin), "application/toml", policy).await
}

#[tokio::test]
async fn the_rows_are_the_ledgers_cost_of_nobody_by_what_a_rule_can_name() {
    let app = store().await;
    let answer = asked(&app, "").await;
    assert_eq!(
        shown(&answer),
        [
            "own no_mapping 222 AmazonEC2 1 10.00 17 17 1",
            "own no_mapping 333 AmazonEC2 1 7.00 18 18 2",
            "own no_mapping 222 AmazonS3 1 4.00 18 18 1",
            "agreed remainder - - null 4.00 17 17 null",
            "unattributed no_pool 333 AWSLambda 1 3.00 18 18 null",
            "shared no_usage - - null 2.00 17 17 null",
            "own no_mapping 333 AmazonS3 1 -1.00 17 17 2",
        ]
    );
    let ledger = in_ledger(&app).await;
    assert_eq!(format_atoms(ledger["USD"]), "29.00");
    check_sums(&answer, &ledger);
    assert_eq!((&answer["truncated"], &answer["oldest_day"]), (&json!(false), &json!("2026-11-17")));
    let first = &answer["rows"][0];
    assert_eq!(
        [&first["provider"], &first["billing_account"], &first["service_category"]],
        ["AWS", "payer", "Compute"]
    );

    let mut cursor = String::new();
    let mut paged: Vec<String> = Vec::new();
    loop {
        let page = asked(&app, &format!("&limit=3{cursor}")).await;
        paged.extend(shown(&page));
        assert_eq!(page["totals"], answer["totals"]);
        let Some(next) = page["next_cursor"].as_str() else { break };
        cursor = format!("&cursor={next}");
    }
    assert_eq!(paged, shown(&answer));
}

#[tokio::test]
async fn the_rules_map_what_they_say_once_they_stand_in_the_policy() {
    let app = store().await;
    let before = asked(&app, "").await;
    let rules = before["rules"].as_array().unwrap();
    let told = |rule: &Value| {
        let member = |name: &str| text(&rule[name]).to_owned();
        (
            member("attribute"),
            rule["values"].clone(),
            rule["fills_tenant"] == true,
            member("amount"),
            member("mapped_share"),
        )
    };
    assert_eq!(
        rules.iter().map(told).collect::<Vec<_>>(),
        [
            ("tags.team".to_owned(), json!(["*"]), true, "14.00".to_owned(), "0.451613".to_owned()),
            ("sub_account".to_owned(), json!(["333"]), false, "6.00".to_owned(), "0.709677".to_owned()),
        ]
    );

    app.clock.set("2026-11-20T13:00:00Z".parse().unwrap());
    let texts: String = rules.iter().map(|rule| format!("\n{}", text(&rule["toml"]))).collect();
    let policy = format!("{}{texts}", POLICY.replace("\"p1\"", "\"p2\""));
    let refused = published(&app, &policy).await;
    assert!((400..500).contains(&refused.status) && refused.text.contains("choose-a-tenant"), "{}", refused.text);
    published(&app, &policy.replace("{choose-a-tenant}", "initech")).await.expect(201);
    app.given_run("2026-11-17", "2026-11-18").await;
    let after = asked(&app, "").await;
    check_sums(&after, &in_ledger(&app).await);
    assert_eq!((text(&after["totals"][0]["amount"]), &after["rules"]), ("9.00", &json!([])));
    let costs = app.get(&format!("/costs?{DAYS}&group_by=tenant&filter=pool:own")).await.expect(200).json();
    let costs: Vec<(&str, &str)> =
        costs["rows"].as_array().unwrap().iter().map(|row| (text(&row["key"]["tenant"]), text(&row["cost"]))).collect();
    // What was taken back leaves a row of nothing.
    let nothing = ("__unattributed__", "0.00");
    assert_eq!(costs, [("acme", "10.00"), ("initech", "6.00"), ("team-a", "5.00"), ("globex", "4.00"), nothing]);

    // The state before is told as it was told then.
    let then = asked(&app, "&as_of=posting:1").await;
    assert_eq!(shown(&then), shown(&before));
    assert_eq!(then["rules"], before["rules"]);
}

#[tokio::test]
async fn tags_of_lines_that_somebody_pays_hide_none_of_those_that_nobody_does() {
    let app = store().await;
    let tags = r#"{"owner":"team-a","k1":"x","k2":"x","k3":"x","k4":"x","k5":"x","k6":"x","k7":"x","k8":"x"}"#;
    import(&app, "tagged", &[("2026-11-17", "111", "AmazonEC2", "1.00", tags); 5]).await;
    app.clock.set("2026-11-20T13:00:00Z".parse().unwrap());
    app.given_run("2026-11-17", "2026-11-18").await;
    let answer = asked(&app, "").await;
    check_sums(&answer, &in_ledger(&app).await);
    assert_eq!(answer["rules"][0]["attribute"], "tags.team", "{answer}");
}

#[tokio::test]
async fn what_the_lines_do_not_add_up_to_is_told_by_its_pool() {
    let app = store().await;
    app.clock.set("2026-11-20T13:00:00Z".parse().unwrap());
    import(&app, "late", &[("2026-11-18", "444", "AmazonEC2", "100.00", "{}")]).await;
    let answer = asked(&app, "").await;
    let of_pool: Vec<String> = shown(&answer).into_iter().filter(|row| row.starts_with("own")).collect();
    assert_eq!(
        of_pool,
        [
            "own no_mapping - - null 11.00 18 18 null",
            "own no_mapping 222 AmazonEC2 1 10.00 17 17 1",
            "own no_mapping 333 AmazonS3 1 -1.00 17 17 2",
        ]
    );
    check_sums(&answer, &in_ledger(&app).await);
    app.given_run("2026-11-18", "2026-11-18").await;
    let answer = asked(&app, "").await;
    assert_eq!(shown(&answer)[0], "own no_mapping 444 AmazonEC2 1 100.00 18 18 2");
    check_sums(&answer, &in_ledger(&app).await);
}

#[tokio::test]
async fn where_all_cost_has_somebody_there_is_nothing() {
    let app = TestApp::start().await;
    let answer = asked(&app, "").await;
    let empty = json!([]);
    assert_eq!([&answer["rows"], &answer["totals"], &answer["rules"]], [&empty, &empty, &empty]);
    assert_eq!((&answer["oldest_day"], &answer["posting"]), (&Value::Null, &Value::Null));
    app.get("/unattributed?range=yesterday").await.expect_problem(400, "invalid_parameter");
    app.get("/unattributed?pool=own").await.expect_problem(400, "invalid_parameter");
}
