//! The metrics exporter: what it says agrees with the API, who may ask, what a failing store does to a scrape.

use crate::app::{Answer, POLICY, TestApp};
use api::Exporter;
use axum::body::{Body, to_bytes};
use axum::extract::ConnectInfo;
use axum::http::Request;
use domain::ProviderLimit;
use domain::money::parse_atoms;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::net::SocketAddr;
use storage::catalog::ProviderUsageRow;
use tower::ServiceExt as _;

const HERE: &str = "127.0.0.1:40000";
const ELSEWHERE: &str = "10.0.0.7:40000";
const HOST: (&str, &str) = ("host", "localhost:9210");

async fn ask(app: &TestApp, method: &str, path: &str, peer: &str, headers: &[(&str, &str)]) -> Answer {
    let mut request = Request::builder().method(method).uri(path);
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    let mut request = request.body(Body::empty()).unwrap();
    request.extensions_mut().insert(ConnectInfo(peer.parse::<SocketAddr>().unwrap()));
    let response = api::exporter_router(app.app.clone()).oneshot(request).await.unwrap();
    let (status, headers) = (response.status().as_u16(), response.headers().clone());
    let bytes = to_bytes(response.into_body(), usize::MAX).await.unwrap();
    Answer { status, headers, text: String::from_utf8(bytes.to_vec()).unwrap() }
}

async fn scrape(app: &TestApp) -> BTreeMap<String, String> {
    let text = ask(app, "GET", "/metrics", HERE, &[HOST]).await.expect(200).text;
    let samples = text.lines().filter(|line| !line.starts_with('#'));
    let mut found = BTreeMap::new();
    for (series, value) in samples.map(|line| line.rsplit_once(' ').expect("series and value")) {
        assert!(found.insert(series.to_owned(), value.to_owned()).is_none(), "{series} is there twice");
    }
    found
}

fn atoms(text: &str) -> i128 {
    parse_atoms(text).unwrap().atoms
}

/// Three tenants on a shared cluster, and a line that no pool takes.
async fn given(tenants_max: usize, limits: Vec<ProviderLimit>) -> TestApp {
    let mut app = TestApp::start().await;
    app.change(|parts| parts.exporter = Exporter::new(tenants_max, limits.into()));
    app.given_policy(POLICY).await;
    app.given_bill("aws", &[("shared-west-us", "2026-11-18", "100.01"), ("other", "2026-11-17", "7.50")]).await;
    let used = |tenant, hours| ("shared-west-us", tenant, "2026-11-18", "cpu_core_hours", hours);
    app.given_usage(&[used("acme", "10"), used("globex", "31"), used("initech", "20")]).await;
    app.given_run("2026-11-01", "2026-11-19").await;
    app
}

/// Rows of `GET /costs` by tenant and tier, of the days that the exporter shows.
async fn costs(app: &TestApp) -> Value {
    app.get("/costs?from=2026-11-01&to=2026-11-19&group_by=tenant,tier").await.expect(200).json()
}

#[tokio::test]
async fn every_tenant_costs_what_the_api_says_to_the_last_digit() {
    let app = given(200, Vec::new()).await;
    let (found, costs) = (scrape(&app).await, costs(&app).await);
    for row in costs["rows"].as_array().unwrap() {
        let (tenant, tier) = (row["key"]["tenant"].as_str().unwrap(), row["key"]["tier"].as_str().unwrap());
        let series =
            format!("apportion_tenant_cost_month_to_date{{tenant=\"{tenant}\",tier=\"{tier}\",currency=\"USD\"}}");
        assert_eq!(found.get(&series).map(String::as_str), row["cost"].as_str(), "{series}");
    }
    assert_eq!(found["apportion_unattributed_cost_month_to_date{currency=\"USD\"}"], "7.50");
    assert_eq!(found["apportion_overhead_cost_month_to_date{currency=\"USD\"}"], "0.00");
    assert_eq!(found["apportion_reconciliation_difference{currency=\"USD\"}"], "0.00");
    let provider = |kind: &str| {
        format!("apportion_provider_cost_month_to_date{{provider=\"aws\",currency=\"USD\",kind=\"{kind}\"}}")
    };
    for kind in ["accrued", "committed", "billed"] {
        assert_eq!(found[&provider(kind)], "107.51", "{kind}");
    }
    let coverage = &costs["meta"]["coverage"];
    for kind in ["measured", "unattributed", "idle"] {
        assert_eq!(found[&format!("apportion_coverage_ratio{{kind=\"{kind}\"}}")], coverage[kind].as_str().unwrap());
    }
    assert_ne!(found["apportion_run_last_success_timestamp_seconds"], "0");
}

#[tokio::test]
async fn tenants_beyond_the_cap_are_one_series_and_the_sum_is_the_total() {
    for tenants_max in [0, 1, 2, 3] {
        let app = given(tenants_max, Vec::new()).await;
        let (found, costs) = (scrape(&app).await, costs(&app).await);
        let tenants: Vec<(&String, &String)> =
            found.iter().filter(|(series, _)| series.starts_with("apportion_tenant_cost")).collect();
        let sum: i128 = tenants.iter().map(|(_, value)| atoms(value)).sum();
        assert_eq!(sum, atoms(costs["totals"]["cost"].as_str().unwrap()), "{tenants_max}");
        let named = |tenant: &str| tenants.iter().any(|(series, _)| series.contains(&format!("tenant=\"{tenant}\"")));
        let shown: Vec<&str> = ["globex", "initech", "acme"].into_iter().filter(|tenant| named(tenant)).collect();
        assert_eq!(shown, ["globex", "initech", "acme"][..tenants_max], "the most expensive ones");
        assert_eq!((named("__other__"), named("__unattributed__")), (tenants_max < 3, true));
    }
}

#[tokio::test]
async fn values_are_made_anew_when_something_they_depend_on_changed() {
    let app = given(200, Vec::new()).await;
    let before = scrape(&app).await;
    assert_eq!(scrape(&app).await, before);
    app.given_bill("gcp", &[("other", "2026-11-16", "2.25")]).await;
    let imported = scrape(&app).await;
    assert_eq!(imported["apportion_reconciliation_difference{currency=\"USD\"}"], "2.25", "no run has seen the line");
    app.given_run("2026-11-16", "2026-11-16").await;
    let posted = scrape(&app).await;
    assert_eq!(posted["apportion_reconciliation_difference{currency=\"USD\"}"], "0.00");
    assert_eq!(posted["apportion_unattributed_cost_month_to_date{currency=\"USD\"}"], "9.75");
    app.clock.set("2026-12-01T08:00:00Z".parse().unwrap());
    let next_month = scrape(&app).await;
    assert!(!next_month.keys().any(|series| series.starts_with("apportion_tenant_cost")), "no day is over yet");
    assert_eq!(next_month["apportion_unattributed_cost_month_to_date{currency=\"USD\"}"], "0.00");
}

#[tokio::test]
async fn an_invoice_that_differs_from_its_lines_is_a_difference() {
    let app = given(200, Vec::new()).await;
    let enter = async |source: &str, month: &str, total: &str, currency: &str| {
        let invoice = json!({
            "source": source, "billing_period": month, "invoice_id": "INV-1", "total": total, "currency": currency,
        });
        app.put("/invoices", &invoice).await.expect(200);
    };
    let differences = async || {
        let found = scrape(&app).await;
        let of = |currency: &str| {
            found.get(&format!("apportion_reconciliation_difference{{currency=\"{currency}\"}}")).cloned()
        };
        [of("USD"), of("EUR")].map(Option::unwrap_or_default)
    };
    assert_eq!(differences().await, ["0.00", ""], "nothing to compare with");
    enter("aws", "2026-11", "107.51", "USD").await;
    assert_eq!(differences().await, ["0.00", ""]);
    enter("aws", "2026-11", "107.50", "USD").await;
    assert_eq!(differences().await, ["0.01", ""]);
    enter("azure", "2026-10", "0.03", "USD").await;
    assert_eq!(differences().await, ["0.04", ""], "one too low hides none too high");
    enter("ovh", "2026-10", "5.00", "EUR").await;
    enter("ovh", "2026-09", "7.00", "EUR").await;
    assert_eq!(differences().await, ["0.04", "5.00"], "older ones are history");

    // A bill of the month before ties to its invoice, and no run has seen it.
    app.given_bill("azure", &[("other", "2026-10-12", "0.03")]).await;
    assert_eq!(differences().await, ["0.04", "5.00"]);
    app.given_run("2026-10-12", "2026-10-12").await;
    assert_eq!(differences().await, ["0.01", "5.00"]);
}

#[tokio::test]
async fn a_subscription_is_accrued_by_the_day_and_committed_by_the_month() {
    let app = TestApp::start().await;
    let cost = json!({
        "provider": "Hostinger", "amount": "30.00", "currency": "EUR", "per": "month", "from": "2026-11-01",
    });
    app.post("/fixed-costs", &cost).await.expect(201);
    let found = scrape(&app).await;
    let of = |kind: &str| {
        let labels = format!("provider=\"hostinger\",currency=\"EUR\",kind=\"{kind}\"");
        found[&format!("apportion_provider_cost_month_to_date{{{labels}}}")].clone()
    };
    assert_eq!([of("accrued"), of("committed"), of("billed")], ["19.00", "30.00", "30.00"]);
    // Without a rate of exchange the lines are in no ledger, and stand under their own currency.
    assert_eq!(found["apportion_reconciliation_difference{currency=\"EUR\"}"], "19.00");
    assert_eq!(found["apportion_reconciliation_difference{currency=\"USD\"}"], "0.00");
}

#[tokio::test]
async fn labels_are_escaped_and_both_formats_hold_the_same() {
    let app = TestApp::start().await;
    let hostile = "x\\\"y\nz{a=\"b\"} 1";
    let bill = "BillingAccountId,BillingCurrency,BillingPeriodStart,BillingPeriodEnd,ChargePeriodStart,ChargePeriodEnd,\
        ChargeCategory,BilledCost,EffectiveCost,ListCost,ContractedCost,ProviderName,ServiceName\n";
    let line = format!(
        "payer,USD,2026-11-01T00:00:00Z,2026-12-01T00:00:00Z,2026-11-18T00:00:00Z,2026-11-19T00:00:00Z,Usage,\
         1,1,1,1,\"{}\",s\n",
        hostile.replace('"', "\"\"")
    );
    let path = "/api/v1/cost-lines/imports?source=hostile";
    app.call("POST", path, Some(&app.admin), "text/csv", &(bill.to_owned() + &line)).await.expect(200);
    let escaped = "provider=\"x\\\\\\\"y\\nz{a=\\\"b\\\"} 1\",currency=\"USD\",kind=\"accrued\"} 1.00\n";
    let open = [HOST, ("accept", "application/openmetrics-text; version=1.0.0")];
    for (headers, end) in [(&[HOST][..], "\n"), (&open[..], "\n# EOF\n")] {
        let answer = ask(&app, "GET", "/metrics", HERE, headers).await.expect(200);
        assert!(answer.text.contains(escaped) && answer.text.ends_with(end), "{}", answer.text);
        let kind = answer.header("content-type");
        assert_eq!(kind.starts_with("application/openmetrics-text"), headers.len() == 2, "{kind}");
        let counter = if headers.len() == 2 { "apportion_events_accepted" } else { "apportion_events_accepted_total" };
        assert!(answer.text.contains(&format!("# TYPE {counter} counter\n")), "{}", answer.text);
    }
}

#[tokio::test]
async fn a_limit_shows_the_part_of_the_whole_cap_that_is_used() {
    let limit = |resource: &str, cap: &str, more: &str| -> ProviderLimit {
        let text = format!("provider = 'vercel'\nresource = '{resource}'\ncap = '{cap}'\nunit = 'GB'\n{more}");
        toml::from_str(&text).unwrap()
    };
    let limits = vec![
        limit("Transfer", "1", ""),
        limit("Storage", "100", "reading = 'last'\nresets = 18"),
        limit("Unheard of", "5", ""),
    ];
    let app = given(200, limits).await;
    let header = "BillingAccountId,BillingCurrency,BillingPeriodStart,BillingPeriodEnd,ChargePeriodStart,ChargePeriodEnd,\
        ChargeCategory,BilledCost,EffectiveCost,ListCost,ContractedCost,ProviderName,ServiceName,ConsumedQuantity,ConsumedUnit\n";
    let line = |day: u32, service: &str, quantity: &str, unit: &str| {
        let next = day + 1;
        format!(
            "team,USD,2026-11-01T00:00:00Z,2026-12-01T00:00:00Z,2026-11-{day}T00:00:00Z,2026-11-{next}T00:00:00Z,Usage,\
             0,0,0,0,Vercel,{service},{quantity},{unit}\n"
        )
    };
    let bill = [
        header.to_owned(),
        line(16, "Transfer", "2.5", "GB"),
        line(17, "Transfer", "2500000000", "Bytes"),
        line(17, "Storage", "90", "GB"),
        line(18, "Storage", "40", "GB"),
        line(19, "Storage", "85", "GB"),
        line(19, "Storage", "7", "Requests"),
    ]
    .concat();
    app.call("POST", "/api/v1/cost-lines/imports?source=v", Some(&app.admin), "text/csv", &bill).await.expect(200);
    let found = scrape(&app).await;
    let ratio = |resource: &str| {
        let series = format!("apportion_provider_used_ratio{{provider=\"vercel\",resource=\"{resource}\"}}");
        found.get(&series).map(String::as_str)
    };
    assert_eq!([ratio("Transfer"), ratio("Storage"), ratio("Unheard of")], [Some("5"), Some("0.85"), None]);
    let used = "apportion_provider_usage_month_to_date{provider=\"vercel\",resource=\"Storage\",unit=\"GB\"}";
    assert_eq!(found[used], "85", "a level is not summed");
    let cap = "apportion_provider_limit{provider=\"vercel\",resource=\"Unheard of\",unit=\"GB\"}";
    assert_eq!(found[cap], "5");
    let resets = "apportion_provider_limit_resets_timestamp_seconds{provider=\"vercel\",resource=\"Transfer\"}";
    assert_eq!(found[resets], "1796083200", "2026-12-01T00:00:00Z");

    let rows = app.get("/limits").await.expect(200).json()["rows"].clone();
    let row = |at: usize, key: &str| rows[at][key].clone();
    assert_eq!([row(0, "used"), row(0, "used_ratio"), row(0, "through")], ["5", "5", "2026-11-17"]);
    assert_eq!((row(1, "cycle")["from"].clone(), row(1, "resets")), ("2026-11-18".into(), "18".into()));
    assert_eq!(row(1, "warnings")[0].as_str().map(|text| text.contains("`Requests`")), Some(true));
    assert_eq!((row(2, "used"), row(2, "used_ratio"), row(1, "forecast")), (Value::Null, Value::Null, Value::Null));
    // 19.5 of 30 days are over.
    assert_eq!((row(0, "cap_to_date"), row(0, "forecast")), ("0.65".into(), "7.692307692".into()));
}

#[tokio::test]
async fn what_collectors_read_is_summed_over_days_but_for_levels() {
    let app = given(200, Vec::new()).await;
    for (day, stored, sent) in [("2026-11-17", "700", "5"), ("2026-11-18", "900", "6")] {
        let row = |resource: &str, quantity: &str| ProviderUsageRow {
            source: "w".to_owned(),
            provider: "wasabi".to_owned(),
            usage_date: day.to_owned(),
            resource: resource.to_owned(),
            labels_key: r#"{"bucket":"media"}"#.to_owned(),
            unit: "Bytes".to_owned(),
            quantity: quantity.to_owned(),
            collected_at: 1,
        };
        let rows = [row("bucket_bytes", stored), row("upload_bytes", sent)];
        app.app.engine.catalog().replace_provider_usage("w", day, &rows).await.unwrap();
    }
    let found = scrape(&app).await;
    let used = |resource: &str| {
        let labels = format!("provider=\"wasabi\",resource=\"{resource}\",unit=\"Bytes\"");
        found[&format!("apportion_provider_usage_month_to_date{{{labels}}}")].clone()
    };
    assert_eq!([used("bucket_bytes"), used("upload_bytes")], ["900", "11"], "what is stored is not stored twice");
}

#[tokio::test]
async fn a_billing_cycle_is_the_one_that_the_bills_name() {
    let limit = |provider: &str| -> ProviderLimit {
        let text = format!(
            "provider = '{provider}'\nresource = 'edge'\ncap = 10\nunit = 'Requests'\nresets = 'billing_cycle'"
        );
        toml::from_str(&text).unwrap()
    };
    let app = given(200, vec![limit("Cloudflare"), limit("nobody")]).await;
    let header = "BillingAccountId,BillingCurrency,BillingPeriodStart,BillingPeriodEnd,ChargePeriodStart,ChargePeriodEnd,\
        ChargeCategory,BilledCost,EffectiveCost,ListCost,ContractedCost,ProviderName,ServiceName,ConsumedQuantity,ConsumedUnit\n";
    let line = |(from, to): (&str, &str), day: &str, next: &str, quantity: &str| {
        format!(
            "acc,USD,{from}T00:00:00Z,{to}T00:00:00Z,{day}T00:00:00Z,{next}T00:00:00Z,Usage,0,0,0,0,Cloudflare,edge,\
             {quantity},Requests\n"
        )
    };
    let (before, now) = (("2026-10-05", "2026-11-05"), ("2026-11-05", "2026-12-05"));
    let bill = [
        header.to_owned(),
        line(before, "2026-11-04", "2026-11-05", "3"),
        line(now, "2026-11-05", "2026-11-06", "4"),
        line(now, "2026-11-19", "2026-11-20", "5"),
    ]
    .concat();
    app.call("POST", "/api/v1/cost-lines/imports?source=cf", Some(&app.admin), "text/csv", &bill).await.expect(200);
    let rows = app.get("/limits").await.expect(200).json()["rows"].clone();
    let cycle = |at: usize| [rows[at]["cycle"]["from"].clone(), rows[at]["cycle"]["to"].clone()];
    assert_eq!((cycle(0), &rows[0]["cycle_known"]), (["2026-11-05".into(), "2026-12-04".into()], &json!(true)));
    assert_eq!((&rows[0]["used"], &rows[0]["used_ratio"]), (&json!("9"), &json!("0.9")));
    assert_eq!((cycle(1), &rows[1]["cycle_known"]), (["2026-11-01".into(), "2026-11-30".into()], &json!(false)));
    let found = scrape(&app).await;
    let used = "apportion_provider_usage_month_to_date{provider=\"cloudflare\",resource=\"edge\",unit=\"Requests\"}";
    assert_eq!(found[used], "12", "of the month");
}

#[tokio::test]
async fn every_reset_and_every_reading_of_the_same_days_is_what_it_says() {
    let (resets, readings) = (["'calendar_month'", "'billing_cycle'", "12", "20"], ["sum", "last", "max"]);
    let limit = |resets: &str, reading: &str| -> ProviderLimit {
        let words = "provider = 'cloudflare'\nresource = 'edge'\ncap = 10\nunit = 'Requests'";
        toml::from_str(&format!("{words}\nresets = {resets}\nreading = '{reading}'")).unwrap()
    };
    let limits = resets.into_iter().flat_map(|resets| readings.map(|reading| limit(resets, reading))).collect();
    let app = given(200, limits).await;
    let header = "BillingAccountId,BillingCurrency,BillingPeriodStart,BillingPeriodEnd,ChargePeriodStart,ChargePeriodEnd,\
        ChargeCategory,BilledCost,EffectiveCost,ListCost,ContractedCost,ProviderName,ServiceName,ConsumedQuantity,ConsumedUnit\n";
    let line = |(from, to): (&str, &str), day: u32, quantity: &str| {
        format!(
            "acc,USD,{from}T00:00:00Z,{to}T00:00:00Z,2026-11-{day:02}T00:00:00Z,2026-11-{:02}T00:00:00Z,Usage,0,0,0,0,\
             Cloudflare,edge,{quantity},Requests\n",
            day + 1
        )
    };
    let (before, now) = (("2026-10-05", "2026-11-05"), ("2026-11-05", "2026-12-05"));
    let lines = [line(before, 4, "30"), line(now, 5, "4"), line(now, 12, "9"), line(now, 19, "5")];
    let bill = header.to_owned() + &lines.concat();
    app.call("POST", "/api/v1/cost-lines/imports?source=cf", Some(&app.admin), "text/csv", &bill).await.expect(200);
    let rows = app.get("/limits").await.expect(200).json()["rows"].clone();
    let used: Vec<[Value; 2]> = (0..12).map(|at| [rows[at]["used"].clone(), rows[at]["used_ratio"].clone()]).collect();
    // By hand. Nothing is known of the days since the 20th, and that is not zero.
    let expected = [
        ["48", "4.8"],
        ["5", "0.5"],
        ["30", "3"],
        ["18", "1.8"],
        ["5", "0.5"],
        ["9", "0.9"],
        ["14", "1.4"],
        ["5", "0.5"],
        ["9", "0.9"],
    ];
    let expected = expected.map(|pair| pair.map(Value::from)).into_iter();
    let expected: Vec<[Value; 2]> =
        expected.chain([[Value::Null, Value::Null], [Value::Null, Value::Null], [Value::Null, Value::Null]]).collect();
    assert_eq!(used, expected);
}

#[tokio::test]
async fn what_became_of_events_is_counted() {
    let app = TestApp::start().await;
    let event = |id: &str, tenant: &str| crate::app::event((id, tenant, "2026-11-19", "cpu_core_hours", "1"));
    let lines = [event("a", "acme"), event("a", "acme"), "broken".to_owned()].join("\n");
    app.call("POST", "/api/v1/events", Some(&app.admin), "application/x-ndjson", &lines).await.expect(207);
    app.call("POST", "/api/v1/events?atomic=true", Some(&app.admin), "application/x-ndjson", "broken")
        .await
        .expect(422);
    let found = scrape(&app).await;
    assert_eq!(found["apportion_events_accepted_total"], "1");
    assert_eq!(found["apportion_events_duplicates_total"], "1");
    assert_eq!(found["apportion_events_rejected_total{code=\"invalid_event\"}"], "2");
    assert_eq!(found["apportion_events_rejected_total{code=\"id_conflict\"}"], "0", "every code is there");
}

#[tokio::test]
async fn t1_the_exporter_is_open_to_the_same_machine_and_to_tokens_that_may() {
    let app = TestApp::start().await;
    let sent = |token: &str| format!("Bearer {token}");
    for (peer, host, status) in [
        (HERE, "localhost:9210", 200),
        ("[::1]:1", "[::1]:9210", 200),
        (HERE, "evil.example:9210", 401),
        (ELSEWHERE, "localhost:9210", 401),
    ] {
        let answer = ask(&app, "GET", "/metrics", peer, &[("host", host)]).await;
        assert_eq!(answer.status, status, "{peer} {host}");
        assert_eq!(ask(&app, "POST", "/refresh", peer, &[("host", host)]).await.status, status, "{peer} {host}");
    }
    for stranger in [("x-forwarded-for", "10.0.0.1"), ("origin", "https://evil.example")] {
        ask(&app, "POST", "/refresh", HERE, &[HOST, stranger]).await.expect_problem(401, "unauthenticated");
    }
    for (role, scrapes, refreshes) in [
        ("platform_admin", 200, 200),
        ("finance", 200, 403),
        ("admin", 200, 403),
        ("metrics", 200, 403),
        ("tenant_owner", 403, 403),
        ("tenant_viewer", 403, 403),
        ("ingest", 403, 403),
    ] {
        let tenants: &[&str] = if role.starts_with("tenant") { &["acme"] } else { &[] };
        let token = sent(&app.token(role, tenants).await);
        let headers = [HOST, ("authorization", token.as_str())];
        // A token that was sent counts, on the same machine too.
        for peer in [HERE, ELSEWHERE] {
            assert_eq!(ask(&app, "GET", "/metrics", peer, &headers).await.status, scrapes, "{role}");
            assert_eq!(ask(&app, "POST", "/refresh", peer, &headers).await.status, refreshes, "{role}");
        }
    }
    let wrong = [HOST, ("authorization", "Bearer apn_wrong")];
    ask(&app, "GET", "/metrics", HERE, &wrong).await.expect_problem(401, "unauthenticated");
}

#[tokio::test]
async fn other_methods_and_paths_are_problems() {
    let app = TestApp::start().await;
    ask(&app, "POST", "/metrics", HERE, &[HOST]).await.expect_problem(405, "method_not_allowed");
    ask(&app, "GET", "/refresh", HERE, &[HOST]).await.expect_problem(405, "method_not_allowed");
    ask(&app, "GET", "/api/v1/costs", HERE, &[HOST]).await.expect_problem(404, "not_found");
}

#[tokio::test]
async fn a_broken_table_leaves_the_costs_from_before_and_is_counted() {
    let app = given(200, Vec::new()).await;
    let before = scrape(&app).await;
    let lake = app.folder().join("lake/cost_lines");
    std::fs::rename(&lake, app.folder().join("gone")).unwrap();
    app.clock.set("2026-11-21T12:00:00Z".parse().unwrap());
    let after = scrape(&app).await;
    let costs = |found: &BTreeMap<String, String>| {
        let of_costs = found.iter().filter(|(series, _)| series.contains("month_to_date"));
        of_costs.map(|(series, value)| format!("{series} {value}")).collect::<Vec<_>>()
    };
    assert_eq!((costs(&after), &*after["apportion_exporter_errors_total"]), (costs(&before), "1"));
    assert_eq!(
        after["apportion_run_last_success_timestamp_seconds"],
        before["apportion_run_last_success_timestamp_seconds"]
    );
}

#[tokio::test]
async fn who_sent_snapshots_once_without_being_declared_is_not_missed_for_ever() {
    let app = TestApp::start().await;
    let sent = json!([{ "tenant": "acme", "metrics": { "member_count": 3 } }]);
    app.put("/snapshots/2026-11-19?source=once", &sent).await.expect(200);
    let shown = async |source: &str| {
        scrape(&app).await.remove(&format!("apportion_snapshot_last_success_timestamp_seconds{{source=\"{source}\"}}"))
    };
    let after = |days: i64| app.app.now().plus_micros(days * 24 * 3600 * 1_000_000);
    assert!(shown("once").await.is_some());
    app.clock.set(after(13));
    assert!(shown("once").await.is_some(), "two weeks are waited for");
    app.clock.set(after(2));
    assert_eq!((shown("once").await, shown("declared").await), (None, Some("0".to_owned())));
}

#[tokio::test]
async fn an_empty_store_has_metrics_too() {
    let app = TestApp::start().await;
    let found = scrape(&app).await;
    assert_eq!(found["apportion_run_last_success_timestamp_seconds"], "0");
    assert_eq!(found["apportion_snapshot_last_success_timestamp_seconds{source=\"declared\"}"], "0");
    assert!(!found.keys().any(|series| series.starts_with("apportion_coverage_ratio")), "nothing was attributed");
}
