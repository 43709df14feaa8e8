//! Prices over history: the view at current rates, the usage CSV, graduated tiers, what-if.

use crate::app::TestApp;
use engine::query::UnitCosts;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

const DAYS: &str = "from=2026-11-18&to=2026-11-19";
const HEADER: &str = "workspace_slug,workspace_name,snapshot_date,member_count,api_call_count_24h,storage_bytes,\
    change_count_24h,incident_count_24h,monitored_host_count,audit_event_count_24h,webhook_delivery_count_24h,\
    celery_task_count_24h,cost_usd\r\n";

async fn put(app: &TestApp, day: &str, rows: Value) {
    app.put(&format!("/snapshots/{day}?source=app"), &rows).await.expect(200);
}

/// Two days of two workspaces: 46.251 at the starter card, 41.25 of it acme's.
async fn given() -> TestApp {
    let app = TestApp::start().await;
    app.put("/tenants/acme", &json!({ "slug": "acme-inc", "name": "=Acme, Inc" })).await.expect(201);
    let acme = |members: u32, calls: u32, bytes: u64, quality: &str| {
        json!({ "tenant": "acme", "quality": { "storage_bytes": quality },
                "metrics": { "member_count": members, "api_call_count_24h": calls, "storage_bytes": bytes } })
    };
    let globex = json!({ "tenant": "globex",
        "metrics": { "member_count": 1, "api_call_count_24h": 500, "change_count_24h": 2 } });
    put(&app, "2026-11-18", json!([acme(3, 1_000_000, 2_500_000_000, "ok"), globex])).await;
    put(&app, "2026-11-19", json!([acme(4, 2_000_000, 0, "degraded")])).await;
    app
}

async fn current(app: &TestApp, more: &str) -> Value {
    app.get(&format!("/costs?view=current_rates&{DAYS}{more}")).await.expect(200).json()
}

fn costs(answer: &Value, key: &str) -> Vec<String> {
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    let rows = answer["rows"].as_array().unwrap();
    rows.iter().map(|row| format!("{} {}", text(&row["key"][key]), text(&row["cost"]))).collect()
}

#[tokio::test]
async fn all_usage_is_priced_by_the_card_in_force_and_the_ledger_stands_beside() {
    let app = given().await;
    app.given_bill("aws", &[("x", "2026-11-18", "92.502")]).await;
    app.given_run("2026-11-18", "2026-11-19").await;
    let answer = current(&app, "&filter=origin:snapshot").await;
    assert_eq!(costs(&answer, "tenant"), ["acme 41.25", "globex 5.001"]);
    assert_eq!(answer["totals"]["cost"], "46.251");
    let acme = &answer["rows"][0];
    let usage = json!({ "api_call_count_24h": "3000000", "member_count": "4", "storage_bytes": "0" });
    assert_eq!(acme["usage"], usage, "counts are summed, levels are the last");
    assert!(acme.get("direct").is_none() && acme["share"].is_string());
    let meta = &answer["meta"];
    assert_eq!((&meta["view"], &meta["rate_card_version"]), (&json!("current_rates"), &json!("starter")));
    assert_eq!(meta["label"], "at current rates: estimate, not a bill");
    assert_eq!((&meta["posted"], &meta["posted_memo"]), (&json!("92.502"), &json!("46.251")));
    assert_eq!(meta["calibration"], "2", "twice the prices would make the bill");
    assert_eq!(meta["gaps"], json!(["degraded storage_bytes 1"]));
    assert!(current(&app, "&filter=origin:events").await["meta"].get("gaps").is_none(), "no snapshot is behind these");
    assert_eq!(meta["unpriced_metrics"], json!(["change_count_24h"]));
    assert_eq!((&meta["data_through"], &meta["posting"]), (&json!("2026-11-19"), &json!(1)));
    let posted = app.get(&format!("/costs?{DAYS}&filter=memo:true")).await.expect(200).json();
    assert_eq!(costs(&posted, "tenant"), costs(&answer, "tenant"), "the same card was posted");
}

#[tokio::test]
async fn a_table_for_spreadsheets_has_a_column_for_each_meter() {
    let app = given().await;
    let answer = app.csv("GET", &format!("/costs?view=current_rates&{DAYS}&filter=tenant:acme")).await.expect(200);
    let expected = "tenant,cost,share,usage.api_call_count_24h,usage.member_count,usage.storage_bytes\r\n\
                    acme,41.25,1.000000,3000000,4,0\r\n";
    assert_eq!(answer.text, expected);
}

#[tokio::test]
async fn estimates_are_grouped_split_over_days_compared_and_paged() {
    let app = given().await;
    app.given_usage(&[("c", "globex", "2026-11-19", "member_count", "2")]).await;
    let by_meter = current(&app, "&group_by=meter,origin&filter=-tenant:nobody").await;
    let expected = ["member_count 40.00", "member_count 10.00", "api_call_count_24h 6.001", "storage_bytes 0.25"];
    assert_eq!(costs(&by_meter, "meter")[..4], expected);
    let series = current(&app, "&granularity=day&filter=tenant:acme").await["rows"][0]["series"].clone();
    assert_eq!(series, json!([["2026-11-18", "17.25"], ["2026-11-19", "24.00"]]));
    let compared = app.get("/costs?view=current_rates&range=2026-11-19&compare=prev&filter=origin:snapshot").await;
    let rows = compared.expect(200).json()["rows"].clone();
    assert_eq!((&rows[0]["previous"], &rows[0]["change"]), (&json!("17.25"), &json!("6.75")));
    assert_eq!((&rows[1]["key"]["tenant"], &rows[1]["change"]), (&json!("globex"), &json!("-5.001")));
    let unfinished = "/costs?view=current_rates&from=2026-11-19&to=2026-11-20&filter=origin:snapshot";
    let last = app.get(&format!("{unfinished}&compare=final")).await.expect(200).json();
    assert_eq!((&last["rows"][0]["previous"], &last["rows"][0]["change"]), (&json!("17.25"), &json!("6.75")));
    assert_eq!(
        (&last["meta"]["compared"]["range"]["to"], &last["meta"]["compared"]["previous"]["from"]),
        (&json!("2026-11-19"), &json!("2026-11-18"))
    );

    let first = current(&app, "&limit=1").await;
    let next = format!("&limit=1&cursor={}", first["next_cursor"].as_str().unwrap());
    assert_eq!(costs(&current(&app, &next).await, "tenant"), ["globex 15.001"]);
    let longer = app.get(&format!("/costs?view=current_rates&from=2026-11-01&to=2026-11-19{next}")).await;
    longer.expect_problem(400, "invalid_parameter");
    put(&app, "2026-11-19", json!([{ "tenant": "globex", "metrics": { "member_count": 9 } }])).await;
    app.get(&format!("/costs?view=current_rates&{DAYS}{next}")).await.expect_problem(400, "invalid_parameter");
}

#[tokio::test]
async fn only_the_platform_admin_prices_everybody_and_owners_their_own() {
    let app = given().await;
    for role in ["admin", "finance"] {
        let token = app.token(role, &[]).await;
        for path in ["/costs?view=current_rates", "/costs?view=current_rates&filter=tenant:acme", "/exports/usage.csv"]
        {
            app.get_as(&token, path).await.expect_problem(403, "platform_admin_required");
        }
    }
    let owner = app.token("tenant_owner", &["acme"]).await;
    app.get_as(&owner, "/exports/usage.csv").await.expect_problem(403, "platform_admin_required");
    let own = app.get_as(&owner, &format!("/costs?view=current_rates&{DAYS}")).await.expect(200);
    assert!(!own.text.contains("globex"), "{}", own.text);
    assert_eq!(costs(&own.json(), "tenant"), ["acme 41.25"]);
    assert!(own.json()["meta"].get("gaps").is_none(), "others are counted in it");
    let path = format!("/costs?view=current_rates&{DAYS}&filter=tenant:globex");
    app.get_as(&owner, &path).await.expect_problem(404, "tenant_not_found");
}

#[tokio::test]
async fn prices_of_the_environment_change_the_whole_history_and_no_entry() {
    let mut app = given().await;
    app.given_run("2026-11-18", "2026-11-19").await;
    let entries = app.get(&format!("/ledger/entries?{DAYS}")).await.expect(200).text;
    let file = Arc::new(Mutex::new(r#"{"member_count": 10}"#.to_owned()));
    let read = Arc::clone(&file);
    let costs_of = UnitCosts {
        name: "APPORTION_USAGE_UNIT_COSTS",
        read: Arc::new(move || Ok::<_, String>(read.lock().unwrap().clone())),
    };
    app.change(|parts| parts.engine = parts.engine.clone().with_unit_costs(Some(costs_of)));

    let answer = current(&app, "").await;
    assert_eq!(costs(&answer, "tenant"), ["acme 70.00", "globex 10.00"]);
    let version = answer["meta"]["rate_card_version"].as_str().unwrap().to_owned();
    assert!(version.starts_with("APPORTION_USAGE_UNIT_COSTS@"), "{version}");
    let unpriced = json!(["api_call_count_24h", "change_count_24h", "storage_bytes"]);
    assert_eq!(answer["meta"]["unpriced_metrics"], unpriced);
    let shown = app.get(&format!("/rate-cards/{version}")).await.expect(200).json();
    assert_eq!((&shown["currency"], &shown["prices"][0]["key"]), (&json!("USD"), &json!("member_count")));
    let listed = app.get("/rate-cards").await.expect(200).json()["rows"].clone();
    assert_eq!((&listed[1]["version"], &listed[1]["currency"]), (&json!(version), &json!("USD")));
    assert_eq!((&listed[0]["in_force"], &listed[1]["in_force"]), (&json!(false), &json!(true)));

    *file.lock().unwrap() = r#"{"api_call": 0.002, "typo": 1}"#.to_owned();
    let answer = current(&app, "").await;
    assert_eq!(costs(&answer, "tenant"), ["acme 6000.00", "globex 1.00"], "the file counts at once");
    let warnings = answer["meta"]["price_warnings"].as_array().unwrap();
    assert!(warnings[0].as_str().unwrap().contains("per-thousand") && warnings.len() == 1, "{warnings:?}");
    *file.lock().unwrap() = r#"{"member_count": 500, "typo": 1}"#.to_owned();
    let warned = current(&app, "").await["meta"]["price_warnings"][0].as_str().unwrap().to_owned();
    let (old, new) = ("5.00 per member and snapshot-day = 150.00", "500.00 per member and snapshot-day = 15000.00");
    let month = "per member in November 2026";
    assert!(warned.starts_with(&format!("member_count goes from {old} {month} to {new} {month}, ")), "{warned}");
    assert_eq!(answer["meta"]["unknown_keys"], json!(["typo"]));
    *file.lock().unwrap() = r#"{"api_call": 0.002}"#.to_owned();
    let csv = app.get(&format!("/exports/usage.csv?{DAYS}")).await.expect(200);
    assert!(csv.text.contains(",2000.00\r\n") && csv.text.contains(",4000.00\r\n"), "{}", csv.text);
    *file.lock().unwrap() = "{".to_owned();
    app.get("/rate-cards").await.expect_problem(422, "invalid_rate_card");
    app.get("/costs?view=current_rates").await.expect_problem(422, "invalid_rate_card");
    assert_eq!(app.get(&format!("/ledger/entries?{DAYS}")).await.expect(200).text, entries);
    app.get("/costs").await.expect(200);
}

#[tokio::test]
async fn the_csv_has_a_row_for_each_workspace_and_day() {
    let app = given().await;
    let csv = app.get(&format!("/exports/usage.csv?{DAYS}")).await.expect(200);
    let rows = "acme-inc,\"'=Acme, Inc\",2026-11-18,3,1000000,2500000000,,,,,,,17.25\r\n\
                globex,,2026-11-18,1,500,,2,,,,,,5.001\r\n\
                acme-inc,\"'=Acme, Inc\",2026-11-19,4,2000000,0,,,,,,,24.00\r\n";
    assert_eq!(csv.text, format!("{HEADER}{rows}"));
    assert_eq!(csv.header("content-type"), "text/csv; charset=utf-8");
    let name = "attachment; filename=\"apportion-usage-20261118-20261119.csv\"";
    assert_eq!(csv.header("content-disposition"), name);
    assert_eq!(csv.header("apportion-view"), "current_rates");
    assert_eq!(csv.header("apportion-rate-card-version"), "starter");
    assert_eq!(csv.header("apportion-unpriced-metrics"), "change_count_24h");
    let wider = app.get("/exports/usage.csv?from=2026-11-17&to=2026-11-20").await.expect(200);
    let gaps = "degraded storage_bytes 1; no_snapshot 2026-11-17..2026-11-17; no_snapshot 2026-11-20..2026-11-20";
    assert_eq!(wider.header("apportion-gaps"), gaps);
    assert_eq!(wider.text, csv.text);
}

#[tokio::test]
async fn the_csv_of_the_ledger_has_what_was_posted_and_custom_metrics_follow() {
    let app = given().await;
    put(
        &app,
        "2026-11-18",
        json!([{ "tenant": "beta", "metrics": { "=logins_24h": 7, "a_24h": 1, "member_count": null } }]),
    )
    .await;
    app.given_run("2026-11-18", "2026-11-18").await;
    let csv = app.get(&format!("/exports/usage.csv?{DAYS}&view=posted")).await.expect(200);
    let lines: Vec<&str> = csv.text.lines().collect();
    assert!(lines[0].ends_with("celery_task_count_24h,cost_usd,'=logins_24h,a_24h"), "{}", lines[0]);
    assert!(lines[1].ends_with(",,17.25,,") && lines[3].ends_with(",,5.001,,"), "{}", csv.text);
    assert!(lines[2].starts_with("beta,,2026-11-18,,,") && lines[2].ends_with(",7,1"), "{}", lines[2]);
    assert!(lines[4].contains("2026-11-19") && lines[4].ends_with(",,,"), "not posted: {}", lines[4]);
    assert_eq!((csv.header("apportion-view"), csv.header("apportion-rate-card-version")), ("posted", ""));
}

#[tokio::test]
async fn graduated_prices_go_by_the_month_and_late_usage_moves_the_days_after_it() {
    let app = TestApp::start().await;
    let price = json!({ "meter": "api_call", "price": "1", "tiers": [{ "above": "10", "price": "0.5" }] });
    let card = json!({ "version": "tiers", "currency": "USD", "valid_from": "2026-11-01", "price": [price] });
    app.post("/rate-cards?confirm=true", &card).await.expect(201);
    let calls = |calls: u32| json!([{ "tenant": "acme", "metrics": { "api_call_count_24h": calls } }]);
    put(&app, "2026-11-18", calls(8)).await;
    put(&app, "2026-11-19", calls(8)).await;
    app.given_run("2026-11-18", "2026-11-19").await;
    let posted = async || {
        let answer = app.get("/costs?range=2026-11&filter=memo:true&granularity=day").await.expect(200).json();
        let series = answer["rows"][0]["series"].as_array().unwrap().clone();
        let costs = series.iter().map(|day| day[1].as_str().unwrap().to_owned()).filter(|cost| cost != "0.00");
        costs.collect::<Vec<_>>()
    };
    assert_eq!(posted().await, ["8.00", "5.00"]);

    put(&app, "2026-11-17", calls(4)).await;
    let due: Vec<String> = app.app.engine.due_days().await.unwrap().due.iter().map(ToString::to_string).collect();
    assert_eq!(due, ["2026-11-17", "2026-11-18", "2026-11-19"]);
    app.post("/runs?wait=true", &json!({ "due": true })).await.expect(200);
    assert_eq!(posted().await, ["4.00", "7.00", "4.00"]);
    put(&app, "2026-11-17", calls(5)).await;
    let run = app.given_run("2026-11-17", "2026-11-17").await;
    assert!(run["warnings"].to_string().contains("2026-11-18 to 2026-11-19 are due too"), "{}", run["warnings"]);
    put(&app, "2026-11-17", calls(4)).await;
    app.post("/runs?wait=true", &json!({ "due": true })).await.expect(200);

    let answer = app.get("/costs?view=current_rates&range=2026-11").await.expect(200).json();
    assert_eq!(answer["totals"]["cost"], "15.00");
    let last = app.get("/costs?view=current_rates&range=2026-11-19").await.expect(200).json();
    assert_eq!(last["totals"]["cost"], "4.00", "the month before the range counts");
    let csv = app.get("/exports/usage.csv?from=2026-11-19&to=2026-11-19").await.expect(200);
    assert!(csv.text.ends_with(",4.00\r\n") && csv.text.lines().count() == 2, "{}", csv.text);
}

/// Rows are handed over some hundreds at a time, and the memory of a day serves a later one.
#[tokio::test]
async fn the_csv_is_whole_and_in_order_however_many_workspaces_there_are() {
    const WORKSPACES: u32 = 1_300;
    let app = TestApp::start().await;
    let price = json!({ "meter": "api_call", "price": "1", "tiers": [{ "above": "10", "price": "0.5" }] });
    let card = json!({ "version": "tiers", "currency": "USD", "valid_from": "2026-11-01", "price": [price] });
    app.post("/rate-cards?confirm=true", &card).await.expect(201);
    let is_there = |day: u32, workspace: u32| match day {
        17 => workspace.is_multiple_of(3),
        18 => workspace.is_multiple_of(2),
        19 => 1_100 <= workspace,
        _ => true,
    };
    let calls = |day: u32, workspace: u32| workspace % 7 + day % 5;
    for day in 17..=20 {
        let there = (0..WORKSPACES).filter(|workspace| is_there(day, *workspace));
        let row = |workspace: u32| json!({ "tenant": format!("w{workspace:04}"), "metrics": { "api_call_count_24h": calls(day, workspace) } });
        put(&app, &format!("2026-11-{day}"), there.map(row).collect()).await;
    }
    let other = json!([{ "tenant": "w0006", "metrics": { "api_call_count_24h": 100 } }]);
    app.put("/snapshots/2026-11-18?source=other", &other).await.expect(200);

    // In halves of a dollar; the first ten calls of a month cost two of them.
    let halves = |calls: u32| 2 * calls.min(10) + calls.saturating_sub(10);
    let mut expected = HEADER.to_owned();
    let mut before: BTreeMap<u32, u32> = BTreeMap::new();
    for day in 17..=20 {
        for workspace in (0..WORKSPACES).filter(|workspace| is_there(day, *workspace)) {
            let calls = calls(day, workspace) + if (day, workspace) == (18, 6) { 100 } else { 0 };
            let known = before.entry(workspace).or_default();
            let cost = halves(*known + calls) - halves(*known);
            *known += calls;
            if 18 <= day {
                let cents = cost % 2 * 50;
                expected += &format!("w{workspace:04},,2026-11-{day},,{calls},,,,,,,,{}.{cents:02}\r\n", cost / 2);
            }
        }
    }
    let csv = app.get("/exports/usage.csv?from=2026-11-18&to=2026-11-20").await.expect(200);
    let differing = csv.text.lines().zip(expected.lines()).find(|(line, expected)| line != expected);
    assert_eq!((differing, csv.text.len()), (None, expected.len()));
}

/// Whoever does not ask whose usage it is gets what the tenants have together, and a tenant that is named has what it has
/// among all of them: total, days and quantities of so many meters of two tenants.
async fn check_sums_over_tenants(app: &TestApp, range: &str, meters: usize) {
    let ask = async |more: &str| {
        let path = format!("/costs?view=current_rates&{range}&granularity=day{more}");
        app.get(&path).await.expect(200).json()["rows"].as_array().unwrap().clone()
    };
    let atoms = |value: &Value| domain::money::parse_atoms(value.as_str().unwrap()).unwrap().atoms;
    let figures = |row: &Value| {
        let days = row["series"].as_array().unwrap().iter().map(|day| (day[0].to_string(), atoms(&day[1])));
        let quantities = row["usage"].as_object().unwrap().iter().map(|(meter, value)| (meter.clone(), atoms(value)));
        let cost = [("cost".to_owned(), atoms(&row["cost"]))];
        cost.into_iter().chain(days).chain(quantities).filter(|(_, value)| *value != 0).collect::<Vec<_>>()
    };
    let apart = ask("&group_by=meter,tenant").await;
    let together = ask("&group_by=meter").await;
    assert_eq!((together.len(), apart.len()), (meters, 2 * meters), "{together:?}");
    for row in &together {
        let mut sums: BTreeMap<String, i128> = BTreeMap::new();
        for (what, value) in apart.iter().filter(|of| of["key"]["meter"] == row["key"]["meter"]).flat_map(figures) {
            *sums.entry(what).or_default() += value;
        }
        assert_eq!(BTreeMap::from_iter(figures(row)), sums, "{row}");
    }
    let all = ask("").await;
    for row in &all {
        let tenant = row["key"]["tenant"].as_str().unwrap();
        let alone = ask(&format!("&filter=tenant:{tenant},nobody")).await;
        assert_eq!(alone.iter().map(figures).collect::<Vec<_>>(), [figures(row)], "{tenant}");
    }
}

/// Prices that are rounded by the day, that depend on the day, and a quantity in parts of a unit.
#[tokio::test]
async fn the_days_add_up_to_the_range_whatever_is_rounded() {
    let app = TestApp::start().await;
    app.put("/tenants/acme", &json!({ "aliases": ["acme-old"] })).await.expect(201);
    let price = |meter: &str, price: &str, per: &str| json!({ "meter": meter, "price": price, "per": per });
    let prices = [
        price("storage_gib", "0.03", "unit"),
        price("member_count", "31", "month"),
        price("monitored_host", "0.01", "hour"),
        price("api_call", "0.0000000000001", "unit"),
        price("part", "0.000000000000007", "unit"),
    ];
    let card = json!({ "version": "odd", "currency": "USD", "valid_from": "2026-01-01", "price": prices });
    app.post("/rate-cards?confirm=true", &card).await.expect(201);
    let row = |tenant: &str, seed: u64| {
        json!({ "tenant": tenant, "metrics": { "storage_bytes": seed * 999_999_937 + 1, "member_count": seed % 7,
            "monitored_host_count": seed % 5, "api_call_count_24h": seed * 1_237, "part": format!("{seed}.123456789") } })
    };
    for (at, day) in ["2026-10-31", "2026-11-01", "2026-11-02"].into_iter().enumerate() {
        let seed = 10 * u64::try_from(at).unwrap();
        put(&app, day, json!([row("acme", seed + 1), row("acme-old", seed + 2), row("globex", seed + 3)])).await;
    }
    let range = "from=2026-10-31&to=2026-11-02";
    let atoms = |value: &Value| domain::money::parse_atoms(value.as_str().unwrap()).unwrap().atoms;
    let whole = app.get(&format!("/costs?view=current_rates&{range}")).await.expect(200).json();
    let by_day = app.get(&format!("/costs?view=current_rates&{range}&granularity=day")).await.expect(200).json();
    for (whole, by_day) in whole["rows"].as_array().unwrap().iter().zip(by_day["rows"].as_array().unwrap()) {
        assert_eq!((&whole["key"], &whole["cost"]), (&by_day["key"], &by_day["cost"]));
        let days: i128 = by_day["series"].as_array().unwrap().iter().map(|day| atoms(&day[1])).sum();
        assert_eq!(atoms(&whole["cost"]), days, "{whole}");
    }
    assert_eq!(whole["rows"].as_array().unwrap().len(), 2, "the alias is its tenant");
    check_sums_over_tenants(&app, range, 5).await;
    app.given_run("2026-10-31", "2026-11-02").await;
    let posted = app.get(&format!("/costs?{range}&filter=memo:true")).await.expect(200).json();
    assert_eq!(costs(&posted, "tenant"), costs(&whole, "tenant"), "as the ledger rounds");
    let csv = app.get(&format!("/exports/usage.csv?{range}")).await.expect(200).text;
    let at = csv.lines().next().unwrap().split(',').position(|name| name == "cost_usd").unwrap();
    let cost = |line: &str| atoms(&json!(line.split(',').nth(at).unwrap()));
    let exported: i128 = csv.lines().skip(1).map(cost).sum();
    assert_eq!(exported, atoms(&whole["totals"]["cost"]));
}

/// Counters and levels, of hours and users, beside a snapshot; before and after they are in the tables.
#[tokio::test]
async fn usage_of_events_is_summed_over_tenants_too() {
    let app = TestApp::start().await;
    app.put("/tenants/acme", &json!({ "aliases": ["acme-old"] })).await.expect(201);
    let price = |meter: &str, price: &str| json!({ "meter": meter, "price": price, "per": "unit" });
    let prices = [price("log_queries", "0.002"), price("member_count", "5"), price("part", "0.000000000000007")];
    let card = json!({ "version": "odd", "currency": "USD", "valid_from": "2026-01-01", "price": prices });
    app.post("/rate-cards?confirm=true", &card).await.expect(201);
    let mut events = Vec::new();
    for (at, tenant) in ["acme", "acme-old", "globex"].into_iter().enumerate() {
        for (kind, time, user) in
            [("log_queries", "18T10", "u"), ("log_queries", "18T11", "v"), ("log_queries", "19T10", "u")]
                .into_iter()
                .chain([("member_count", "18T10", "u"), ("member_count", "18T12", "u"), ("member_count", "19T09", "v")])
        {
            let id = events.len();
            events.push(json!({
                "specversion": "1.0", "id": id.to_string(), "source": "/s", "type": kind, "tenant": tenant,
                "time": format!("2026-11-{time}:00:00Z"), "data": { "value": 7 * id + at + 1, "user": user }
            }));
        }
    }
    app.post("/events", &json!(events)).await.expect(200);
    let row = |tenant: &str, part: &str| json!({ "tenant": tenant, "metrics": { "member_count": 2, "part": part } });
    put(&app, "2026-11-18", json!([row("acme", "1.123456789"), row("globex", "0.2")])).await;
    check_sums_over_tenants(&app, DAYS, 3).await;
    app.app.events.flush_all().await.unwrap();
    check_sums_over_tenants(&app, DAYS, 3).await;
}

#[tokio::test]
async fn a_draft_says_what_it_would_change_and_is_not_stored() {
    let app = given().await;
    app.given_run("2026-11-18", "2026-11-19").await;
    let price = json!({ "meter": "member_count", "price": "6", "per": "unit" });
    let draft = json!({ "version": "draft", "currency": "USD", "valid_from": "2027-01-01", "price": [price] });
    let answer = app.post(&format!("/rate-cards/simulate?{DAYS}"), &draft).await.expect(200).json();
    let rows = json!([
        { "tenant": "globex", "cost": "6.00", "posted": "5.001", "change": "0.999" },
        { "tenant": "acme", "cost": "42.00", "posted": "41.25", "change": "0.75" },
    ]);
    assert_eq!(answer["rows"], rows);
    assert_eq!(answer["totals"], json!({ "cost": "48.00", "posted": "46.251", "change": "1.749" }));
    assert_eq!((&answer["tenants"], &answer["rate_card_version"]), (&json!(2), &json!("draft")));
    let one = app.post(&format!("/rate-cards/simulate?{DAYS}&filter=tenant:acme&limit=1"), &draft).await.expect(200);
    assert_eq!(one.json()["totals"]["posted"], "41.25");
    app.get("/rate-cards/draft").await.expect_problem(404, "not_found");
    app.post("/rate-cards/simulate?filter=pool:x", &draft).await.expect_problem(400, "invalid_parameter");
    let half = json!({ "version": "x", "currency": "USD", "valid_from": "2027-01-01", "price": [{ "meter": "member_count", "price": "1" }] });
    app.post("/rate-cards/simulate", &half).await.expect_problem(422, "invalid_rate_card");
}

#[tokio::test]
async fn every_price_is_shown_with_its_month() {
    let app = TestApp::start().await;
    let card = app.get("/rate-cards/starter?month=2026-10").await.expect(200).json();
    assert_eq!(card["prices"][0]["text"], "5.00 per member and snapshot-day = 155.00 per member in October 2026");
    assert_eq!((&card["prices"][1]["per_month"], &card["month"]), (&json!("3.10"), &json!("2026-10")));
    assert_eq!(app.get("/rate-cards/starter").await.expect(200).json()["month"], "2026-11");
    app.get("/rate-cards/starter?month=10").await.expect_problem(400, "invalid_parameter");
    let draft = json!({ "version": "draft", "currency": "USD", "valid_from": "2026-12-01",
        "price": [{ "meter": "member_count", "price": "6.00", "per": "unit" }] });
    let valid = app.post("/rate-cards/validate?month=2026-10", &draft).await.expect(200).json();
    assert_eq!(valid["prices"][0]["text"], "6.00 per member and snapshot-day = 186.00 per member in October 2026");
    let said = [&valid["version"], &valid["currency"], &valid["month"], &valid["names"][0], &valid["valid"]];
    assert_eq!(said, [&json!("draft"), &json!("USD"), &json!("2026-10"), &json!("member_count"), &json!(true)]);
}

#[tokio::test]
async fn the_list_says_which_version_is_in_force() {
    let app = TestApp::start().await;
    let in_force = async |path: &str| {
        let rows = app.get(path).await.expect(200).json()["rows"].clone();
        let names = rows.as_array().unwrap().iter().filter(|row| row["in_force"] == true);
        names.map(|row| row["version"].as_str().unwrap().to_owned()).collect::<Vec<_>>()
    };
    assert_eq!(in_force("/rate-cards").await, ["starter"]);
    assert_eq!(in_force("/policies").await, ["default"]);
    for (version, valid_from) in [("now", "2026-11-20"), ("planned", "2026-11-21"), ("older", "2026-01-01")] {
        let price = json!({ "meter": "api_call", "price": "0.000002" });
        let card = json!({ "version": version, "currency": "USD", "valid_from": valid_from, "price": [price] });
        app.post("/rate-cards", &card).await.expect(201);
    }
    assert_eq!(in_force("/rate-cards").await, ["now"], "today is the 20th");
}

#[tokio::test]
async fn an_explanation_tells_prices_with_the_month_of_its_day() {
    let app = given().await;
    app.given_run("2026-11-18", "2026-11-19").await;
    let path = "/explain?tenant=acme&date=2026-11-18";
    let told = |answer: Value| {
        let prices = answer["pools"][0]["prices"].as_array().unwrap().clone();
        prices.into_iter().map(|price| price["text"].as_str().unwrap().to_owned()).collect::<Vec<_>>()
    };
    let expected = [
        "5.00 per member and snapshot-day = 150.00 per member in November 2026",
        "0.10 per GB and snapshot-day = 3.00 per GB in November 2026",
        "0.000002 per request",
    ];
    assert_eq!(told(app.get(path).await.expect(200).json()), expected, "what it used, and nothing else");
    let owner = app.token("tenant_owner", &["acme"]).await;
    assert_eq!(told(app.get_as(&owner, path).await.expect(200).json()), expected, "its own prices are its own");
}
