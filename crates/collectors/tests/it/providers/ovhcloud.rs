use super::faults::{faults, faults_at};
use super::given::{Contract, Given, Variant, canary, refresh};
use super::stand_in::{Asked, Reply};
use ring::digest::{SHA1_FOR_LEGACY_USE_ONLY, digest};
use serde_json::{Value, json};

/// The provider's clock is 90 seconds ahead of ours.
const THEIR_NOW: i64 = 1_795_608_090;

const OVH: Contract = Contract {
    kind: "ovhcloud",
    keys: || json!({}),
    now: "2026-11-25T12:00:00Z",
    answer,
    needed: "totalPrice",
    is_paged: false,
};

static BILLS: Contract = OVH;

static CONSUMPTION: Contract = Contract { keys: || json!({ "costs": "consumption" }), needed: "price", ..OVH };

/// The same while the month before is still corrected.
static HISTORY: Contract =
    Contract { keys: || json!({ "costs": "consumption" }), needed: "price", now: "2026-12-05T12:00:00Z", ..OVH };

fn answer(asked: &Asked, variant: Variant) -> Reply {
    if asked.method != "GET" {
        return Reply::unknown(asked);
    }
    if asked.path == "/auth/time" {
        return Reply::json(&json!(THEIR_NOW));
    }
    if let Some(refused) = refused(asked) {
        return Reply::status(403, json!({ "message": refused, "errorCode": "INVALID_SIGNATURE" }).to_string());
    }
    let parts: Vec<&str> = asked.path.split('/').skip(1).collect();
    match parts[..] {
        ["me"] => Reply::json(&json!({ "nichandle": "ab1-ovh", "email": "somebody@example.com" })),
        ["me", "bill"] => Reply::json(&json!([month(asked.param("date.to"))])),
        ["me", "refund"] => Reply::json(&json!([format!("R{}", month(asked.param("date.to")))])),
        ["me", "bill", id] => Reply::json(&bill(id)),
        ["me", "refund", id] => Reply::json(&bill(id.trim_start_matches('R'))),
        ["me", "bill", _, "details"] => Reply::json(&json!(["1", "2"])),
        ["me", "refund", _, "details"] => Reply::json(&json!(["1"])),
        ["me", "bill" | "refund", _, "details", _] => Reply::json(&detail(variant)),
        ["me", "consumption", "usage", "current"] => Reply::json(&json!([transaction("2026-11", "+01:00", variant)])),
        ["me", "consumption", "usage", "history"] => {
            let month = month(asked.param("beginDate"));
            let offset = if month == "2026-10" { "+02:00" } else { "+01:00" };
            Reply::json(&json!([transaction(&month, offset, variant)]))
        }
        _ => Reply::unknown(asked),
    }
}

/// Why a signature is not the right one, computed from the request as it came.
fn refused(asked: &Asked) -> Option<String> {
    let header = |name: &str| asked.header(name).unwrap_or_default();
    let target = asked.head.split(' ').nth(1).unwrap_or_default();
    let url = format!("http://{}{target}", header("host"));
    let (secret, consumer) = (canary("application_secret"), canary("consumer_key"));
    let signed = format!("{secret}+{consumer}+GET+{url}++{}", header("x-ovh-timestamp"));
    let expected = format!("$1${}", hex::encode(digest(&SHA1_FOR_LEGACY_USE_ONLY, signed.as_bytes())));
    let is_ours = header("x-ovh-application") == canary("application_key") && header("x-ovh-consumer") == consumer;
    let is_right = is_ours && header("x-ovh-signature") == expected;
    (!is_right).then(|| "Invalid signature".to_owned())
}

/// The month of which this is the last instant in Paris.
fn month(to: Option<&str>) -> String {
    to.and_then(|to| to.get(..7)).expect("a time").to_owned()
}

fn price(value: f64, ucents: i64) -> Value {
    json!({ "currencyCode": "EUR", "text": "", "value": value, "priceInUcents": ucents })
}

fn bill(month: &str) -> Value {
    let plain = |value: f64| json!({ "currencyCode": "EUR", "text": "", "value": value });
    json!({
        "billId": month, "date": format!("{month}-03T04:00:00+01:00"), "orderId": 1, "password": "opens-everything",
        "pdfUrl": "https://example.com/opens-everything", "url": "https://example.com/opens-everything",
        "priceWithTax": plain(14.4), "priceWithoutTax": plain(12.0), "tax": plain(2.4),
    })
}

fn detail(variant: Variant) -> Value {
    let (value, ucents) = if variant == Variant::Restated { (6.1, 610_000_000) } else { (5.99, 599_000_000) };
    json!({
        "billDetailId": "1", "description": "VPS - 1 month", "domain": "vps-1.vps.ovh.net", "quantity": "1",
        "unitPrice": price(value, ucents), "totalPrice": price(value, ucents),
    })
}

fn transaction(month: &str, offset: &str, variant: Variant) -> Value {
    let ucents = if variant == Variant::Restated { 1_300_000_000 } else { 1_234_567_890 };
    let price = || json!({ "currencyCode": "EUR", "text": "", "value": 12.35, "valueInUcents": ucents });
    let detail = json!({ "unique_id": "c0a80101", "quantity": 456, "price": price() });
    let element = json!({
        "planCode": "b3-8.consumption", "planFamily": "instance", "quantity": 456, "price": price(), "details": [detail],
    });
    json!({
        "id": 1, "serviceId": 12_345_678, "beginDate": format!("{month}-01T00:00:00{offset}"),
        "endDate": format!("{month}-30T23:59:59{offset}"), "price": price(), "elements": [element],
    })
}

#[tokio::test]
async fn s6_faults_of_ovhclouds_bills() {
    faults(&BILLS).await;
}

#[tokio::test]
async fn s6_faults_of_ovhclouds_consumption() {
    faults(&CONSUMPTION).await;
}

#[tokio::test]
async fn s6_faults_of_ovhclouds_history_of_consumption() {
    faults_at(&HISTORY, |asked| asked.path.ends_with("/history")).await;
}

#[tokio::test]
async fn a_month_adds_up_to_its_bills_less_refunds_and_nothing_that_opens_a_bill_is_kept() {
    let given = Given::new(&BILLS).await;
    let report = refresh(&given.patient(&BILLS), "ovhcloud").await.expect("a collection");
    let current = &report.periods[0];
    assert_eq!((current.period.as_str(), current.account.as_str()), ("2026-11", "ab1-ovh"));
    // The bill and the refund are of the same amount, with tax; two details and the cents that they leave out, …
    assert_eq!((current.totals[0].billed.as_str(), current.lines), ("0.00", 7));
    let lines = given.store.lines().await;
    assert!(
        lines.iter().any(|(_, _, billed)| billed == "5.99") && lines.iter().any(|(_, _, billed)| billed == "-2.40")
    );
    assert!(given.kept().contains("VPS - 1 month") && !given.kept().contains("opens-everything"));
    let signed = given.server.asked();
    let times = signed.iter().filter_map(|asked| asked.header("x-ovh-timestamp"));
    assert!(
        times.clone().count() > 10 && times.clone().all(|time| time == THEIR_NOW.to_string()),
        "their clock counts"
    );
}

#[tokio::test]
async fn what_is_consumed_is_spread_over_the_days_that_are_over() {
    let given = Given::new(&CONSUMPTION).await;
    let report = refresh(&given.patient(&CONSUMPTION), "ovhcloud").await.expect("a collection");
    assert_eq!((report.periods[0].lines, report.periods[0].totals[0].billed.as_str()), (1, "12.3456789"));
    let histories: Vec<String> = given
        .server
        .asked()
        .iter()
        .filter(|asked| asked.path.ends_with("/history"))
        .map(|asked| ["beginDate", "endDate"].map(|name| asked.param(name).unwrap_or_default()).join(" "))
        .collect();
    assert_eq!(histories, ["2026-10-01 2026-10-31"]);
}
