//! Cloudflare: billable usage of an account, which comes in FOCUS already.
//!
//! The API is an alpha for accounts that pay by themselves. A billing period begins on the day of the subscription, and
//! only a question that begins on that day is answered. Columns that grow through the period are kept and never summed.

use super::collector::{Collected, Collector, Gigabyte, Kind, Spec, Task, as_usual};
use super::credentials::{CredentialSpec, bearer};
use super::decimal::Decimal;
use super::error::{Cause, CollectError};
use super::fetch::{Allowed, Fetch, Request};
use super::keys::{is_id, read_keys, word_of};
use super::line::Line;
use super::period::BillingPeriod;
use super::quantities::Quantities;
use domain::{Day, Instant, Zone};
use futures::FutureExt as _;
use futures::future::BoxFuture;
use reqwest::header::AUTHORIZATION;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value};
use std::collections::BTreeMap;
use std::sync::Arc;

const USAGE: &str = "/accounts/{}/billable-usage";
const INFO: &str = "/accounts/{}/billable-usage/info";
/// Columns that are none of FOCUS, and are named as FOCUS names those.
const OWN_COLUMNS: [&str; 6] = [
    "CumulatedContractedCost",
    "CumulatedPricingQuantity",
    "ServiceFamilyName",
    "SubscriptionId",
    "ZoneId",
    "ZoneName",
];
/// Families of services, and what they are in FOCUS. Others are `Other`.
const CATEGORIES: [(&str, &str); 12] = [
    ("R2", "Storage"),
    ("Workers", "Compute"),
    ("Durable Objects", "Compute"),
    ("Containers", "Compute"),
    ("Pages", "Web"),
    ("D1", "Databases"),
    ("KV", "Databases"),
    ("Queues", "Integration"),
    ("Workers AI", "AI and Machine Learning"),
    ("Stream", "Media"),
    ("Images", "Media"),
    ("Argo", "Networking"),
];
/// Units of Cloudflare, and what they are in FOCUS. Others stay as they are.
const UNITS: [(&str, &str); 2] = [("GB-months", "GB-Months"), ("requests", "Requests")];

/// What is the same for every source of this kind.
pub static SPEC: Spec = Spec {
    name: "cloudflare",
    provider: "Cloudflare",
    bases: &["https://api.cloudflare.com/client/v4"],
    allowed: &[Allowed::get(USAGE), Allowed::get(INFO)],
    credentials: &[CredentialSpec { key: "token", env: "CLOUDFLARE_API_TOKEN", is_required: true }],
    gigabyte: Gigabyte::Gb,
    zone: "UTC",
    final_after_days: 5,
    levels: &[],
    reclassify: as_usual,
};

/// The kind `cloudflare`.
pub const KIND: Kind = Kind { spec: &SPEC, build };

/// Keys of a source of this kind.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Cloudflare {
    /// Id of the account.
    account: String,
}

fn build(keys: Value) -> Result<Arc<dyn Collector>, String> {
    let collector: Cloudflare = read_keys(keys)?;
    match is_id(&collector.account) {
        true => Ok(Arc::new(collector)),
        false => Err("`account` is the account's id, 32 letters and digits; the dashboard shows it".to_owned()),
    }
}

impl Collector for Cloudflare {
    fn spec(&self) -> &'static Spec {
        &SPEC
    }

    fn billing_day<'a>(&'a self, fetch: &'a Fetch) -> BoxFuture<'a, Result<Option<u8>, CollectError>> {
        async { billing_day(&self.ask::<Info>(fetch, Request::get(INFO)).await?) }.boxed()
    }

    fn collect<'a>(&'a self, fetch: &'a Fetch, task: &'a Task) -> BoxFuture<'a, Result<Collected, CollectError>> {
        self.read(fetch, &task.period).boxed()
    }
}

impl Cloudflare {
    async fn read(&self, fetch: &Fetch, period: &BillingPeriod) -> Result<Collected, CollectError> {
        let mut collected = Collected { account: self.account.clone(), ..Collected::default() };
        let (Some(range), Some(closed)) = (period.closed_range(), period.closed()) else { return Ok(collected) };
        // Whether the last day of a question is part of it is not documented: a day more is asked for and left out.
        let request = Request::get(USAGE).query("from", closed.from()).query("to", closed.to().plus(1));
        let rows: Vec<Map<String, Value>> = self.ask(fetch, request).await?;
        let mut sums = Quantities::default();
        for row in rows {
            let start = charge_start(&row)?;
            if start < range.start {
                return Err(CollectError::schema(format!("a charge of {start} was not asked for")));
            }
            if start < range.end {
                add_usage(&mut sums, &row, period.zone().day_of(start))?;
                collected.lines.push(line(row));
            }
        }
        collected.usage = sums.into_usage();
        collected.usage_days = Some(closed);
        Ok(collected)
    }

    async fn ask<T: DeserializeOwned>(&self, fetch: &Fetch, request: Request<'static>) -> Result<T, CollectError> {
        let token = bearer(fetch.credentials(), "token")?;
        let answer = fetch.send(request.argument(&self.account).header(AUTHORIZATION, token)).await?;
        unwrapped(answer.json()?)
    }
}

/// What is around every answer.
#[derive(Deserialize)]
struct Envelope<T> {
    success: bool,
    #[serde(default)]
    errors: Vec<Value>,
    result: Option<T>,
}

fn unwrapped<T>(envelope: Envelope<T>) -> Result<T, CollectError> {
    if !envelope.success {
        let said: Vec<&str> = envelope.errors.iter().filter_map(|error| error.get("message")?.as_str()).collect();
        let said = crate::prometheus::shown(&said.join("; "));
        return Err(CollectError::new(Cause::Refused, format!("the provider did not succeed: {said}")));
    }
    envelope.result.ok_or_else(|| CollectError::schema("the answer has no `result`"))
}

#[derive(Deserialize)]
struct Info {
    #[serde(default)]
    covered: Option<bool>,
    #[serde(default)]
    subscriptions: Vec<Subscription>,
}

#[derive(Deserialize)]
struct Subscription {
    billing_cycle_anchor_timestamp: String,
}

/// The day on which the billing periods of all subscriptions begin.
fn billing_day(info: &Info) -> Result<Option<u8>, CollectError> {
    if info.covered == Some(false) {
        let detail = "Cloudflare does not tell the billable usage of this account; enter its invoices as manual costs";
        return Err(CollectError::new(Cause::Refused, detail));
    }
    let mut days = Vec::new();
    for subscription in &info.subscriptions {
        let anchor = Instant::parse_lenient(&subscription.billing_cycle_anchor_timestamp)
            .map_err(|error| CollectError::schema(format!("billing_cycle_anchor_timestamp: {error}")))?;
        days.push(Zone::utc().day_of(anchor).date().day());
    }
    days.sort_unstable();
    days.dedup();
    match days[..] {
        [] => Ok(None),
        [day] => Ok(u8::try_from(day).ok()),
        _ => Err(CollectError::schema(
            "the subscriptions of the account begin on several days; set `billing_day` to the one that is billed",
        )),
    }
}

fn charge_start(row: &Map<String, Value>) -> Result<Instant, CollectError> {
    let text = row.get("ChargePeriodStart").and_then(Value::as_str).unwrap_or_default();
    Instant::parse_lenient(text).map_err(|error| CollectError::schema(format!("ChargePeriodStart: {error}")))
}

/// The row as a line: its own columns get the `x_` that FOCUS wants, and what FOCUS has a place for stands there too.
fn line(mut row: Map<String, Value>) -> Line {
    let text = |row: &Map<String, Value>, name: &str| row.get(name).and_then(Value::as_str).map(str::to_owned);
    let (subscription, zone) = (text(&row, "SubscriptionId"), text(&row, "ZoneId"));
    let (zone_name, family) = (text(&row, "ZoneName"), text(&row, "ServiceFamilyName"));
    for name in OWN_COLUMNS {
        if let Some(value) = row.remove(name) {
            row.insert(format!("x_{name}"), value);
        }
    }
    let is_of_zone = zone.as_ref().map(|_| "Zone");
    let is_of_subscription = subscription.as_ref().map(|_| "Subscription");
    Line::of_focus(row)
        .cell("ServiceCategory", category(family.as_deref()))
        .maybe("SubAccountId", subscription)
        .maybe("SubAccountType", is_of_subscription)
        .maybe("ResourceId", zone)
        .maybe("ResourceName", zone_name)
        .maybe("ResourceType", is_of_zone)
}

fn category(family: Option<&str>) -> &'static str {
    let found = CATEGORIES.into_iter().find(|(name, _)| Some(*name) == family);
    found.map_or("Other", |(_, category)| category)
}

fn add_usage(sums: &mut Quantities, row: &Map<String, Value>, day: Day) -> Result<(), CollectError> {
    let text = |name: &str| row.get(name).and_then(Value::as_str).filter(|text| !text.is_empty());
    let quantity = row.get("ConsumedQuantity").filter(|value| !value.is_null());
    let (Some(service), Some(unit), Some(quantity)) = (text("ServiceName"), text("ConsumedUnit"), quantity) else {
        return Ok(());
    };
    let quantity = Decimal::of(quantity);
    let quantity = quantity.map_err(|reason| CollectError::schema(format!("ConsumedQuantity: {reason}")))?;
    let unit = UNITS.into_iter().find(|(own, _)| *own == unit).map_or(unit, |(_, focus)| focus);
    let zone = text("ZoneId").map(|zone| ("zone".to_owned(), zone.to_owned()));
    sums.add(day, &word_of(service), unit, zone.into_iter().collect::<BTreeMap<_, _>>(), &quantity)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn row() -> Map<String, Value> {
        let text = r#"{"BilledCost":0.35,"BillingAccountId":"023e","BillingCurrency":"USD",
            "BillingPeriodStart":"2026-11-05T00:00:00Z","ChargeCategory":"Usage","ChargeClass":null,
            "ChargeDescription":"R2 Data Storage","ChargePeriodStart":"2026-11-18T00:00:00Z",
            "ChargePeriodEnd":"2026-11-19T00:00:00Z","ConsumedQuantity":23.40000000000000000001,"ConsumedUnit":"GB-months",
            "ContractedCost":0.35,"CumulatedContractedCost":4.9,"EffectiveCost":0.35,"ListCost":0.35,
            "ServiceName":"R2 Data Storage","ServiceFamilyName":"R2","SubscriptionId":"sub_composed","ZoneId":null}"#;
        serde_json::from_str(text).expect("a row")
    }

    #[test]
    fn a_row_is_focus_with_the_columns_of_its_own_set_apart() {
        let line = line(row());
        let found = ["SubAccountId", "ServiceCategory", "x_ServiceFamilyName", "ServiceName"];
        let found = found.map(|column| line.text(column).unwrap_or("-"));
        assert_eq!(found, ["sub_composed", "Storage", "R2", "R2 Data Storage"]);
        assert_eq!(line.get("BilledCost").map(Value::to_string).as_deref(), Some("0.35"));
        assert!(line.get("CumulatedContractedCost").is_none() && line.get("x_CumulatedContractedCost").is_some());
        assert!(line.get("ResourceId").is_none());
    }

    #[test]
    fn what_is_consumed_is_counted_in_units_of_focus() {
        let mut sums = Quantities::default();
        let day: Day = "2026-11-18".parse().expect("a day");
        add_usage(&mut sums, &row(), day).expect("a quantity");
        add_usage(&mut sums, &row(), day).expect("a quantity");
        let usage = sums.into_usage();
        assert_eq!((usage.len(), usage[0].resource.as_str()), (1, "r2_data_storage"));
        assert_eq!((usage[0].unit.as_str(), usage[0].quantity.as_str()), ("GB-Months", "46.8"));
    }

    #[test]
    fn a_cycle_begins_on_the_day_of_its_anchor() {
        let day =
            |value: Value| billing_day(&serde_json::from_value(value).expect("info")).map_err(|error| error.cause);
        let anchored =
            |day: &str| json!({"id": "s", "billing_cycle_anchor_timestamp": format!("2026-11-{day}T00:00:00Z")});
        assert_eq!(day(json!({"covered": true, "subscriptions": [anchored("05")]})), Ok(Some(5)));
        assert_eq!(day(json!({"covered": true, "subscriptions": [anchored("05"), anchored("05")]})), Ok(Some(5)));
        assert_eq!(day(json!({"subscriptions": []})), Ok(None));
        assert_eq!(day(json!({"subscriptions": [anchored("05"), anchored("07")]})), Err(Cause::Schema));
        assert_eq!(day(json!({"covered": false})), Err(Cause::Refused));
    }

    #[test]
    fn an_envelope_without_success_is_no_answer() {
        let envelope = |text: &str| serde_json::from_str::<Envelope<Vec<Value>>>(text).expect("an envelope");
        let failed =
            unwrapped(envelope(r#"{"success":false,"errors":[{"code":1,"message":"no access"}],"result":null}"#));
        let failed = failed.expect_err("no success");
        assert!(failed.cause == Cause::Refused && failed.detail.contains("no access"), "{failed}");
        let empty = unwrapped(envelope(r#"{"success":true,"errors":[],"result":null}"#)).map_err(|error| error.cause);
        assert_eq!(empty, Err(Cause::Schema));
    }
}
