//! Why a cost changed, and what two states of the ledger differ by.

use crate::app::{POLICY, TestApp};
use engine::Settings;
use serde_json::{Value, json};

const DAYS: [&str; 2] = ["2026-11-17", "2026-11-18"];
const QUESTION: &str = "/costs/changes?tenant=acme&range=2026-11-18&compare=prev";

/// Two days: what the pool costs on each, and how many hours acme and the others use.
async fn world(settings: Settings, costs: [&str; 2], own: [&str; 2], others: &[(&str, [&str; 2])]) -> TestApp {
    let app = TestApp::with(settings, api::ApiLimits::default()).await;
    app.given_policy(POLICY).await;
    let lines = [0, 1].map(|at| ("shared-west-us", DAYS[at], costs[at]));
    app.given_bill("aws", &lines).await;
    let mut used = Vec::new();
    for (tenant, hours) in [("acme", own)].iter().chain(others) {
        used.extend([0, 1].map(|at| ("shared-west-us", *tenant, DAYS[at], "cpu_core_hours", hours[at])));
    }
    app.given_usage(&used).await;
    app.given_run(DAYS[0], DAYS[1]).await;
    app
}

/// The terms that are not zero, after checking that all of them add up.
fn terms(answer: &Value) -> Vec<(String, String)> {
    let atoms = |value: &Value| domain::money::parse_atoms(value.as_str().unwrap()).unwrap().atoms;
    let terms = answer["terms"].as_array().unwrap();
    let sum: i128 = terms.iter().map(|term| atoms(&term["amount"])).sum();
    assert_eq!(sum, atoms(&answer["change"]), "{answer}");
    assert_eq!(sum, atoms(&answer["cost"]) - atoms(&answer["previous"]), "{answer}");
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    let told = terms.iter().filter(|term| atoms(&term["amount"]) != 0);
    told.map(|term| (text(&term["term"]), text(&term["amount"]))).collect()
}

fn pairs(expected: &[(&str, &str)]) -> Vec<(String, String)> {
    expected.iter().map(|(term, amount)| ((*term).to_owned(), (*amount).to_owned())).collect()
}

#[tokio::test]
async fn a_change_is_told_in_terms_that_add_up_to_it() {
    let app = world(Settings::default(), ["100.00", "150.00"], ["10", "15"], &[("globex", ["10", "35"])]).await;
    let answer = app.get(QUESTION).await.expect(200).json();
    assert_eq!((&answer["previous"], &answer["cost"]), (&json!("50.00"), &json!("45.00")));
    // 100 × 15/25 = 60; 150 × 15/25 = 90; 150 × 15/50 = 45.
    let expected = [("own_volume", "10.00"), ("price_or_pool_amount", "30.00"), ("others_volume", "-45.00")];
    assert_eq!(terms(&answer), pairs(&expected));
    assert_eq!(terms(&answer["pools"][0]), pairs(&expected));
    assert_eq!((&answer["pools"][0]["disclosed"], &answer["compare"]["from"]), (&json!(true), &json!(DAYS[0])));

    let back = app.get("/costs/changes?tenant=acme&range=2026-11-17&compare=2026-11-18").await.expect(200).json();
    assert_eq!(back["change"], "5.00");
    terms(&back);
    let before = app.get(&format!("{QUESTION}&as_of=posting:0")).await.expect(200).json();
    assert_eq!((&before["cost"], &before["pools"]), (&json!("0.00"), &json!([])));
    app.get("/costs/changes").await.expect_problem(400, "invalid_parameter");
    for bad in ["compare=before", "from=0000-01-01&to=0000-01-01", "from=0000-06-01&to=0001-05-31"] {
        app.get(&format!("/costs/changes?tenant=acme&{bad}")).await.expect_problem(400, "invalid_parameter");
    }
}

#[tokio::test]
async fn t8_a_tenant_is_told_the_same_whatever_its_neighbour_does() {
    // acme uses and pays the same in all of them; with fewer than five tenants nothing is disclosed.
    let disclosing = || Settings { disclose_pools: true, ..Settings::default() };
    let worlds = [
        world(Settings::default(), ["100.00", "150.00"], ["10", "15"], &[("globex", ["10", "35"])]).await,
        world(disclosing(), ["100.00", "150.00"], ["10", "15"], &[("globex", ["10", "35"])]).await,
        world(Settings::default(), ["300.00", "60.00"], ["10", "15"], &[("globex", ["50", "5"])]).await,
        world(disclosing(), ["200.00", "90.00"], ["10", "15"], &[("globex", ["20", "1"]), ("initech", ["10", "14"])])
            .await,
    ];
    let expected = [("own_volume", "25.00"), ("pool_and_others", "-30.00")];
    let mut texts = Vec::new();
    for app in &worlds {
        let token = app.token("tenant_viewer", &["acme"]).await;
        let answer = app.get_as(&token, "/costs/changes?range=2026-11-18").await.expect(200);
        assert_eq!(terms(&answer.json()), pairs(&expected));
        for secret in ["globex", "initech", "others_volume", "price_or_pool_amount"] {
            assert!(!answer.text.contains(secret), "{secret} in {}", answer.text);
        }
        texts.push(answer.text);
    }
    assert!(texts.windows(2).all(|pair| pair[0] == pair[1]), "{texts:?}");
}

#[tokio::test]
async fn in_a_pool_of_five_terms_are_told_where_pools_are_disclosed() {
    let others = ["b", "c", "d", "e"].map(|tenant| (tenant, ["10", "10"]));
    let app =
        world(Settings { disclose_pools: true, ..Settings::default() }, ["100.00", "200.00"], ["10", "10"], &others)
            .await;
    let token = app.token("tenant_viewer", &["acme"]).await;
    let own = app.get_as(&token, QUESTION).await.expect(200).json();
    assert_eq!(terms(&own), pairs(&[("price_or_pool_amount", "20.00")]));
    assert_eq!(own["terms"], app.get(QUESTION).await.expect(200).json()["terms"]);
}

#[tokio::test]
async fn a_day_that_was_corrected_after_it_was_posted_names_the_postings() {
    let app = world(Settings::default(), ["100.00", "150.00"], ["10", "15"], &[("globex", ["10", "35"])]).await;
    let restated = async |question: &str| {
        let costs = app.get(&format!("/costs?range=30d&{question}")).await.expect(200).json();
        costs["meta"]["restated"].clone()
    };
    assert_eq!(restated("granularity=day").await, json!([]), "posted once");

    app.given_bill("aws", &[("shared-west-us", DAYS[0], "120.00"), ("shared-west-us", DAYS[1], "150.00")]).await;
    app.given_run(DAYS[0], DAYS[1]).await;
    let corrected = json!([{ "date": DAYS[0], "times": 1, "postings": [2] }]);
    assert_eq!(restated("granularity=day").await, corrected);
    assert_eq!(restated("granularity=day&filter=tenant:acme").await, corrected);
    assert_eq!(restated("granularity=day&filter=pool:another").await, json!([]));
    assert_eq!(restated("granularity=day&as_of=posting:1").await, json!([]), "as it was known then");
    assert_eq!(restated("group_by=tenant").await, json!([]), "no days are shown");
    assert_eq!(restated("view=current_rates&granularity=day").await, json!([]), "no posting is behind an estimate");
}

#[tokio::test]
async fn what_was_booked_between_two_states_has_its_causes_and_their_difference() {
    let app = world(Settings::default(), ["100.00", "150.00"], ["10", "15"], &[("globex", ["10", "35"])]).await;
    app.given_bill("aws", &[("shared-west-us", DAYS[0], "120.00"), ("shared-west-us", DAYS[1], "150.00")]).await;
    app.given_run(DAYS[0], DAYS[1]).await;
    let changes = app.get("/ledger/changes?from_booked=posting:1").await.expect(200).json();
    let row = |row: &Value| {
        ["charge_date", "pool", "tenant", "cause", "amount_reporting"]
            .map(|name| row[name].as_str().unwrap().to_owned())
    };
    let rows: Vec<[String; 5]> = changes["rows"].as_array().unwrap().iter().map(row).collect();
    let expected = |tenant: &str| [DAYS[0], "shared-west-us", tenant, "bill_restated", "10.00"].map(str::to_owned);
    assert_eq!(rows, [expected("acme"), expected("globex")]);
    assert_eq!(changes["totals"], json!({ "amount_reporting": "20.00", "memo": "0.00" }));
    assert_eq!((&changes["after_posting"], &changes["up_to_posting"]), (&json!(1), &json!(2)));
    let one = app.get("/ledger/changes?from_booked=posting:0&to_booked=posting:1&limit=1").await.expect(200);
    assert_eq!(one.json()["totals"]["amount_reporting"], "250.00");
    let next = one.json()["next_cursor"].as_str().unwrap().to_owned();
    app.get(&format!("/ledger/changes?from_booked=posting:1&cursor={next}"))
        .await
        .expect_problem(400, "invalid_parameter");
    let csv = app.csv("GET", "/ledger/changes?from_booked=posting:1&tenant=acme").await.expect(200);
    assert_eq!(csv.text.lines().count(), 2, "{}", csv.text);
    app.get("/ledger/changes?from_booked=posting:9").await.expect_problem(400, "invalid_parameter");
    // A reserved consumer is asked for by the word that rows name it by.
    app.given_bill("other", &[("nowhere", DAYS[0], "5.00")]).await;
    app.given_run(DAYS[0], DAYS[1]).await;
    let path = "/ledger/changes?from_booked=posting:2&tenant=__unattributed__";
    let rest = app.get(path).await.expect(200).json();
    assert_eq!(
        (&rest["rows"][0]["tenant"], &rest["totals"]["amount_reporting"]),
        (&json!("__unattributed__"), &json!("5.00"))
    );
    let token = app.token("tenant_owner", &["acme"]).await;
    app.get_as(&token, "/ledger/changes?from_booked=posting:0").await.expect_problem(403, "forbidden");
}
