use super::faults::{faults, faults_at};
use super::given::{Contract, Given, Variant, canary, refresh, source};
use super::stand_in::{Asked, Reply, Wire};
use collectors::providers::{CollectReport, ProviderSource};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::time::Duration;

const USUAL: Contract = Contract {
    kind: "ionos",
    keys: || json!({ "contract": "12345678" }),
    now: "2026-11-25T12:00:00Z",
    answer,
    needed: "meterId",
    is_paged: false,
};

static IONOS: Contract = USUAL;

/// The same while the invoice of the month before is not finally posted: it is asked for again each time.
static OPEN: Contract = Contract { answer: answer_while_open, ..USUAL };

fn answer_while_open(asked: &Asked, variant: Variant) -> Reply {
    match asked.path.as_str() {
        "/12345678/invoices/GY10" => {
            let mut open = invoice("GY10", "2026-10", "2026-10-31");
            open["metadata"]["finallyPosted"] = json!(false);
            Reply::json(&open)
        }
        _ => answer(asked, variant),
    }
}

fn answer(asked: &Asked, variant: Variant) -> Reply {
    if asked.header("authorization") != Some(format!("Bearer {}", canary("token")).as_str()) {
        return Reply::status(401, r#"{"httpStatus":401,"messages":[{"errorCode":"315","message":"Unauthorized"}]}"#);
    }
    let parts: Vec<&str> = asked.path.split('/').skip(1).collect();
    match (asked.method.as_str(), &parts[..]) {
        ("GET", ["12345678", "invoices"]) => {
            let listed = |id: &str, date: &str| json!({ "id": id, "date": date, "amount": null });
            Reply::json(&json!({ "invoices": [listed("GY9", "2026-10-02"), listed("GY10", "2026-11-02")] }))
        }
        ("GET", ["12345678", "invoices", "GY9"]) => Reply::json(&invoice("GY9", "2026-09", "2026-09-30")),
        ("GET", ["12345678", "invoices", "GY10"]) => Reply::json(&invoice("GY10", "2026-10", "2026-10-31")),
        ("GET", ["12345678", "products"]) => Reply::json(&products(variant)),
        ("GET", ["12345678", "utilization", "daily", day]) => Reply::json(&utilization(day)),
        _ => Reply::unknown(asked),
    }
}

fn invoice(id: &str, month: &str, last: &str) -> Value {
    let amount = |quantity: Value, unit: &str| json!({ "quantity": quantity, "unit": unit });
    let meter = json!({
        "meterId": "C01000", "meterDesc": "1h core", "quantity": amount(json!(2976), "1hour"),
        "rate": amount(json!(0.05), "EUR"), "amount": amount(json!(148.8), "EUR"),
    });
    let center = json!({
        "id": "dc-1", "name": "prod", "location": "de/fra", "productGroup": null, "meters": [meter],
        "rebate": amount(json!(0), "EUR"),
    });
    json!({
        "metadata": {
            "invoiceId": id, "contractId": "12345678", "customerId": "8", "createdDate": "2026-11-02",
            "startDate": format!("{month}-01"), "endDate": last, "postingPeriod": month, "finallyPosted": true,
        },
        "datacenters": [center],
        "total": amount(json!(148.8), "EUR"),
    })
}

fn products(variant: Variant) -> Value {
    let price = if variant == Variant::Restated { "0.052" } else { "0.05" };
    let cost = json!({ "quantity": price, "unit": "EUR" });
    let product = json!({ "meterId": "C01000", "meterDesc": "1h core", "unit": "1hour", "unitCost": cost });
    json!({ "products": [product] })
}

fn utilization(day: &str) -> Value {
    let meter = |id: &str, hours: u32| {
        json!({
            "id": id, "resourceId": "5d9c", "serverId": null, "name": "db-1", "type": "SERVER",
            "from": format!("{day}T00:00:00Z"), "meterId": "C01000", "meterDesc": "1h core", "region": "de/fra",
            "quantity": { "quantity": hours, "unit": "1hour" },
        })
    };
    json!({ "datacenters": [{ "id": "dc-1", "name": "prod", "meters": [meter("m-1", 72), meter("m-2", 24)] }] })
}

#[tokio::test]
async fn s6_faults_of_ionos() {
    faults(&IONOS).await;
}

#[tokio::test]
async fn s6_faults_of_ionoss_invoices() {
    faults_at(&OPEN, |asked| asked.path.contains("/invoices")).await;
}

#[tokio::test]
async fn a_month_is_its_invoice_and_until_then_its_days_at_the_contracts_prices() {
    let given = Given::new(&IONOS).await;
    let report = refresh(&given.patient(&IONOS), "ionos").await.expect("a collection");
    let shown: Vec<String> = report
        .periods
        .iter()
        .map(|period| format!("{} {} {} {}", period.period, period.lines, period.totals[0].billed, period.is_final))
        .collect();
    // 24 days of 96 hours at 0.05 euros.
    assert_eq!(shown, ["2026-11 1 115.20 false", "2026-10 1 148.80 true"]);
    let usage = given.stored().await.usage;
    assert_eq!((usage.len(), usage[0].resource.as_str(), usage[0].quantity.as_str()), (24, "1h_core", "96"));
}

/// October's invoice is not finally posted, November's is.
fn answer_in_december(asked: &Asked) -> Wire {
    let listed = |id: &str, date: &str| json!({ "id": id, "date": date });
    Wire::Whole(match asked.path.as_str() {
        "/12345678/invoices" => {
            Reply::json(&json!({ "invoices": [listed("GY10", "2026-11-02"), listed("GY11", "2026-12-02")] }))
        }
        "/12345678/invoices/GY10" => {
            let mut open = invoice("GY10", "2026-10", "2026-10-31");
            open["metadata"]["finallyPosted"] = json!(false);
            Reply::json(&open)
        }
        "/12345678/invoices/GY11" => Reply::json(&invoice("GY11", "2026-11", "2026-11-30")),
        _ => answer(asked, Variant::Usual),
    })
}

fn names(report: &CollectReport) -> Vec<&str> {
    report.periods.iter().map(|period| period.period.as_str()).collect()
}

#[tokio::test]
async fn a_month_that_is_final_early_hides_no_older_one_and_its_quantities_are_handed_over() {
    let given = Given::new(&IONOS).await;
    given.server.then(answer_in_december);
    let meters = BTreeMap::from([("1h_core".to_owned(), "ionos_core_hours".to_owned())]);
    let of_source = ProviderSource { meters, ..source(&IONOS, &given.server.url, Duration::from_secs(20)) };
    let providers = given.process(vec![of_source]);
    let report = refresh(&providers, "ionos").await.expect("a collection");
    assert_eq!((names(&report), report.taken.accepted), (vec!["2026-11", "2026-10"], 0));
    given.clock.set("2026-12-03T12:00:00Z".parse().expect("an instant"));
    let report = refresh(&providers, "ionos").await.expect("a collection");
    assert_eq!(names(&report), ["2026-12", "2026-11", "2026-10"]);
    assert!(report.periods[1].is_final && !report.periods[2].is_final, "{report:?}");
    // The 24 days that were read; nobody reads November again.
    assert_eq!(report.taken.accepted, 24);
    given.clock.set("2026-12-05T12:00:00Z".parse().expect("an instant"));
    let report = refresh(&providers, "ionos").await.expect("a collection");
    assert_eq!(names(&report), ["2026-12", "2026-10"]);
}

#[tokio::test]
async fn an_invoice_that_is_listed_twice_counts_once() {
    let given = Given::new(&IONOS).await;
    given.server.then(|asked| {
        let listed = json!({ "id": "GY10", "date": "2026-11-02" });
        Wire::Whole(match asked.path.as_str() {
            "/12345678/invoices" => Reply::json(&json!({ "invoices": [listed, listed] })),
            _ => answer(asked, Variant::Usual),
        })
    });
    let report = refresh(&given.patient(&IONOS), "ionos").await.expect("a collection");
    assert_eq!((report.periods[1].lines, report.periods[1].totals[0].billed.as_str()), (1, "148.80"));
}
