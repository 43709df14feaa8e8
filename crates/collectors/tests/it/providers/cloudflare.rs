use super::faults::faults;
use super::given::{Contract, Given, Variant, canary, refresh};
use super::stand_in::{Asked, Reply};
use domain::Instant;
use serde_json::{Value, json};

const DAY: i64 = 86_400_000_000;

static CLOUDFLARE: Contract = Contract {
    kind: "cloudflare",
    keys: || json!({ "account": "023e105f4ecef8ad9ca31a8372d0c353" }),
    now: "2026-11-25T12:00:00Z",
    answer,
    needed: "EffectiveCost",
    is_paged: false,
};

fn answer(asked: &Asked, variant: Variant) -> Reply {
    if asked.header("authorization") != Some(format!("Bearer {}", canary("token")).as_str()) {
        let error = json!({ "code": 10_000, "message": "Authentication error" });
        let body = json!({ "success": false, "errors": [error], "messages": [], "result": null });
        return Reply::status(403, body.to_string());
    }
    let account = "/accounts/023e105f4ecef8ad9ca31a8372d0c353/billable-usage";
    match (asked.method.as_str(), asked.path.strip_prefix(account)) {
        ("GET", Some("/info")) => enveloped(info()),
        ("GET", Some("")) => enveloped(usage(asked, variant)),
        _ => Reply::unknown(asked),
    }
}

fn enveloped(result: Value) -> Reply {
    Reply::json(&json!({ "success": true, "errors": [], "messages": [], "result": result }))
}

fn info() -> Value {
    let anchor = "2026-03-05T00:00:00Z";
    json!({ "covered": true, "subscriptions": [{ "id": "sub_1", "billing_cycle_anchor_timestamp": anchor }] })
}

/// A row for each day, the last one included; nothing at all unless the question begins where the cycle does.
fn usage(asked: &Asked, variant: Variant) -> Value {
    let day = |name: &str| asked.param(name).and_then(|text| Instant::parse_lenient(text).ok()).expect("a day");
    let (from, to) = (day("from"), day("to"));
    if !asked.param("from").is_some_and(|from| from.ends_with("-05")) {
        return json!([]);
    }
    let cost = if variant == Variant::Restated { 0.36 } else { 0.35 };
    let mut rows = Vec::new();
    let mut start = from;
    while start <= to {
        rows.push(json!({
            "BilledCost": cost, "BillingAccountId": "023e105f4ecef8ad9ca31a8372d0c353", "BillingCurrency": "USD",
            "BillingPeriodStart": from.to_string(), "ChargeCategory": "Usage", "ChargeClass": null,
            "ChargeDescription": "R2 Data Storage", "ChargePeriodStart": start.to_string(),
            "ChargePeriodEnd": start.plus_micros(DAY).to_string(), "ConsumedQuantity": 23.4, "ConsumedUnit": "GB-months",
            "ContractedCost": cost, "CumulatedContractedCost": 4.9, "EffectiveCost": cost, "ListCost": cost,
            "HostProviderName": "Cloudflare", "InvoiceIssuerName": "Cloudflare", "ServiceProviderName": "Cloudflare",
            "ServiceName": "R2 Data Storage", "ServiceFamilyName": "R2", "SubscriptionId": "sub_1", "ZoneId": null,
        }));
        start = start.plus_micros(DAY);
    }
    Value::Array(rows)
}

#[tokio::test]
async fn s6_faults_of_cloudflare() {
    faults(&CLOUDFLARE).await;
}

#[tokio::test]
async fn a_cycle_is_asked_for_from_its_anchor_and_today_is_left_out() {
    let given = Given::new(&CLOUDFLARE).await;
    let report = refresh(&given.patient(&CLOUDFLARE), "cloudflare").await.expect("a collection");
    let shown: Vec<(&str, u64)> = report.periods.iter().map(|period| (period.period.as_str(), period.lines)).collect();
    assert_eq!(shown, [("2026-11-05", 20), ("2026-10-05", 31)]);
    assert_eq!(report.periods[0].totals[0].billed, "7.00");
    let usage = given.stored().await.usage;
    assert_eq!((usage.len(), usage[0].resource.as_str(), usage[0].unit.as_str()), (51, "r2_data_storage", "GB-Months"));
}
