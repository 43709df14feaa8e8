use super::faults::faults;
use super::given::{Contract, Given, Variant, canary, cause_of, refresh, source};
use super::stand_in::{Asked, Reply, Wire};
use collectors::providers::{Cause, CollectAsked, ProviderSource, Providers};
use domain::Instant;
use serde_json::{Value, json};
use std::time::Duration;

const DAY: i64 = 86_400_000_000;

const VERCEL: Contract = Contract {
    kind: "vercel",
    keys: || json!({ "team": "team_1" }),
    now: "2026-11-25T12:00:00Z",
    answer,
    needed: "EffectiveCost",
    is_paged: false,
};

static CHARGES: Contract = VERCEL;

static OBSERVABILITY: Contract = Contract {
    keys: || json!({ "team": "team_1", "charges": false, "observability": true }),
    needed: "data",
    ..VERCEL
};

fn answer(asked: &Asked, variant: Variant) -> Reply {
    if asked.header("authorization") != Some(format!("Bearer {}", canary("token")).as_str()) {
        return Reply::status(403, r#"{"error":{"code":"forbidden","message":"Not authorized"}}"#);
    }
    if asked.param("teamId") != Some("team_1") {
        return Reply::status(404, r#"{"error":{"code":"costs_not_found","message":"Costs not found"}}"#);
    }
    match (asked.method.as_str(), asked.path.as_str()) {
        ("GET", "/v1/billing/charges") => charges(asked, variant),
        ("POST", "/v2/observability/query") => observed(&asked.json(), variant),
        _ => Reply::unknown(asked),
    }
}

/// A line of data transfer and one of memory for each day of the range, a seat on the first, and the credit.
fn charges(asked: &Asked, variant: Variant) -> Reply {
    let time = |name: &str| asked.param(name).and_then(|text| text.parse::<Instant>().ok()).expect("a time");
    let (from, to) = (time("from"), time("to"));
    let transfer = if variant == Variant::Restated { 0.421_337 } else { 0.412_337 };
    let line = |start: Instant, category: &str, service: &str, billed: Value, consumed: (Value, Value), tags: Value| {
        json!({
            "BilledCost": billed, "EffectiveCost": billed, "BillingCurrency": "USD", "ChargeCategory": category,
            "ChargePeriodStart": start.to_string(), "ChargePeriodEnd": start.plus_micros(DAY).to_string(),
            "ConsumedQuantity": consumed.0, "ConsumedUnit": consumed.1, "ServiceName": service,
            "ServiceProviderName": "Vercel", "Tags": tags, "PricingCategory": "Standard", "PricingCurrency": "USD",
            "PricingQuantity": billed, "PricingUnit": "MIUs",
        })
    };
    let none = || (Value::Null, Value::Null);
    let shop = || json!({ "ProjectId": "prj_shop01", "ProjectName": "shop" });
    let mut rows = vec![
        line(from, "Purchase", "Pro Seat", json!(20), none(), json!({})),
        line(from, "Credit", "Included credit", json!(-0.5), none(), json!({})),
    ];
    let mut start = from;
    while start < to {
        let moved = (json!(2.748_91), json!("gigabyte"));
        rows.push(line(start, "Usage", "Fast Data Transfer", json!(transfer), moved, shop()));
        let held = (json!(1.8342), json!("gigabyte-hour"));
        let mut memory = line(start, "Usage", "Fluid Provisioned Memory", json!(0), held, shop());
        memory["ServiceCategory"] = json!("Vercel Functions");
        rows.push(memory);
        start = start.plus_micros(DAY);
    }
    Reply::json_lines(&rows)
}

fn observed(query: &Value, variant: Variant) -> Reply {
    assert_eq!((&query["aggregation"], &query["granularity"]), (&json!("sum"), &json!({ "minutes": 60 })));
    assert_eq!(query["scope"], json!({ "type": "owner", "ownerId": "team_1" }));
    let more = i32::from(variant == Variant::Restated);
    let bucket = |value: i32| json!({ "timestamp": query["startTime"], "value": value });
    Reply::json(&json!({ "data": [bucket(100), bucket(20 + more)], "summary": [], "statistics": {} }))
}

#[tokio::test]
async fn s6_faults_of_vercels_charges() {
    faults(&CHARGES).await;
}

#[tokio::test]
async fn s6_faults_of_vercels_observability() {
    faults(&OBSERVABILITY).await;
}

#[tokio::test]
async fn a_billing_period_is_asked_for_at_once_from_midnight_in_los_angeles_to_the_last_day_that_is_over() {
    let given = Given::new(&CHARGES).await;
    refresh(&given.patient(&CHARGES), "vercel").await.expect("a collection");
    let ranges: Vec<String> = given
        .server
        .asked()
        .iter()
        .map(|asked| format!("{} {}", asked.param("from").expect("from"), asked.param("to").expect("to")))
        .collect();
    // Daylight saving time ends on 1 November 2026.
    let expected = ["2026-11-01T07:00:00Z 2026-11-25T08:00:00Z", "2026-10-01T07:00:00Z 2026-11-01T07:00:00Z"];
    assert_eq!(ranges, expected);
}

#[tokio::test]
async fn charges_become_lines_whose_sum_is_the_bill_and_quantities_by_project() {
    let given = Given::new(&CHARGES).await;
    let report = refresh(&given.patient(&CHARGES), "vercel").await.expect("a collection");
    // From 07:00 on the first to 08:00 on the 25th there are 25 beginnings of 24 hours.
    let current = &report.periods[0];
    assert_eq!((current.period.as_str(), current.account.as_str(), current.lines), ("2026-11", "team_1", 52));
    assert_eq!((current.totals[0].currency.as_str(), current.totals[0].billed.as_str()), ("USD", "29.808425"));
    assert!(!current.is_final && report.periods[1].is_final, "{report:?}");
    let said = given.store.context.catalog.source_periods().await.expect("a catalog");
    let said: Vec<String> = said
        .iter()
        .map(|row| {
            let place = format!("{} {} {}", row.source, row.billing_account, row.billing_month);
            format!("{place} {} {} {}", row.state, row.said_by, row.actor)
        })
        .collect();
    let expected = ["vercel team_1 2026-10 closed collector vercel", "vercel team_1 2026-11 open collector vercel"];
    assert_eq!(said, expected);
    let usage = given.stored().await.usage;
    let of_the_third: Vec<String> = usage
        .iter()
        .filter(|row| row.usage_date == "2026-11-03")
        .map(|row| format!("{} {} {} {}", row.resource, row.labels_key, row.quantity, row.unit))
        .collect();
    let expected = [
        r#"fast_data_transfer {"project":"prj_shop01","unit":"GB"} 2.74891 GB"#,
        r#"fluid_provisioned_memory {"project":"prj_shop01","unit":"GB-Hours"} 1.8342 GB-Hours"#,
    ];
    assert_eq!(of_the_third, expected);
}

#[tokio::test]
async fn what_observability_knows_is_read_once_and_the_last_days_again() {
    let given = Given::new(&OBSERVABILITY).await;
    refresh(&given.patient(&OBSERVABILITY), "vercel").await.expect("a collection");
    assert_eq!(given.server.asked().len(), (31 + 24) * 3);
    refresh(&given.patient(&OBSERVABILITY), "vercel").await.expect("a collection");
    assert_eq!(given.server.asked().len(), 3 * 3);
    let usage = given.stored().await.usage;
    let sum: i64 = usage
        .iter()
        .filter(|row| row.resource == "function_invocations" && row.usage_date.starts_with("2026-11"))
        .map(|row| row.quantity.parse::<i64>().expect("a whole number"))
        .sum();
    assert_eq!(sum, 24 * 120);
}

#[tokio::test]
async fn a_dry_run_stores_nothing() {
    let given = Given::new(&CHARGES).await;
    let before = given.stored().await;
    let asked = CollectAsked { dry_run: true, ..CollectAsked::default() };
    let report = given.patient(&CHARGES).refresh("vercel", &asked).await.expect("a collection");
    assert_eq!((report.periods.len(), report.periods[0].lines), (1, 52));
    assert_eq!(given.stored().await, before);
    assert_eq!(given.store.context.catalog.source("vercel").await.expect("a catalog"), None);
}

/// A collector that nobody told when billing periods begin.
fn untold(given: &Given) -> Providers {
    let usual = source(&CHARGES, &given.server.url, Duration::from_secs(20));
    given.process(vec![ProviderSource { billing_day: None, ..usual }])
}

/// Answers as usual, and this to the question about the team.
fn tell(given: &Given, team: Reply) {
    given.server.then(move |asked| match asked.path.as_str() {
        "/v2/teams/team_1" => Wire::Whole(team.clone()),
        _ => Wire::Whole(answer(asked, Variant::Usual)),
    });
}

/// Beginning and end of what charges were asked for.
fn asked_ranges(given: &Given) -> Vec<String> {
    let asked = given.server.asked();
    let charges = asked.iter().filter(|asked| asked.path == "/v1/billing/charges");
    let range = |asked: &Asked| ["from", "to"].map(|name| asked.param(name).unwrap_or_default().to_owned()).join(" ");
    charges.map(range).collect()
}

#[tokio::test]
async fn a_billing_period_begins_when_the_team_says() {
    let given = Given::new(&CHARGES).await;
    let period = json!({ "start": 1_793_865_600_000_i64, "end": 1_796_457_600_000_i64 });
    tell(&given, Reply::json(&json!({ "id": "team_1", "billing": { "plan": "pro", "period": period } })));
    let report = refresh(&untold(&given), "vercel").await.expect("a collection");
    let names: Vec<&str> = report.periods.iter().map(|period| period.period.as_str()).collect();
    assert_eq!(names, ["2026-11-05", "2026-10-05"]);
    let expected = ["2026-11-05T08:00:00Z 2026-11-25T08:00:00Z", "2026-10-05T07:00:00Z 2026-11-05T08:00:00Z"];
    assert_eq!(asked_ranges(&given), expected);
    assert!(!given.kept().contains("x_BillingPeriodBasis"), "it was told");
}

#[tokio::test]
async fn a_team_that_does_not_say_when_it_is_billed_has_months_marked_as_inferred() {
    for team in [
        Reply::status(403, r#"{"error":{"code":"forbidden"}}"#),
        Reply::status(404, ""),
        Reply::status(200, "<html>Sign in</html>"),
        Reply::json(&json!({ "id": "team_1", "billing": { "plan": "pro" } })),
    ] {
        let given = Given::new(&CHARGES).await;
        let place = format!("{} {}", team.status, String::from_utf8_lossy(&team.body));
        tell(&given, team);
        let report = refresh(&untold(&given), "vercel").await.expect("a collection");
        assert_eq!((report.periods[0].period.as_str(), report.warnings.len()), ("2026-11", 0), "{place}");
        assert_eq!(asked_ranges(&given)[0], "2026-11-01T07:00:00Z 2026-11-25T08:00:00Z", "{place}");
        assert!(given.kept().contains(r#""x_BillingPeriodBasis":"inferred""#), "{place}");
    }
}

#[tokio::test]
async fn s6_a_team_that_cannot_be_asked_just_now_is_no_team_that_says_nothing() {
    let given = Given::new(&CHARGES).await;
    for (status, cause) in [(500, Cause::Server), (429, Cause::RateLimited)] {
        tell(&given, Reply::status(status, ""));
        let refused = refresh(&untold(&given), "vercel").await;
        assert_eq!(cause_of(&refused), Some(cause), "{refused:?}");
        assert_eq!((asked_ranges(&given).len(), given.store.version().await), (0, 0), "{status}");
    }
}
