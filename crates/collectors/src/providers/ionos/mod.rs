//! IONOS Cloud: the invoice of a month, and until it is there, utilization at the contract's prices.
//!
//! Only invoices are binding. An estimate has a line for each meter of a data centre, as an invoice has, so that the one
//! replaces the other.

/// Utilization at the contract's prices.
mod estimate;
/// Invoices.
mod invoice;

use super::collector::{Collected, Collector, Gigabyte, Kind, Spec, Task, as_usual};
use super::credentials::{CredentialSpec, bearer};
use super::decimal::Decimal;
use super::error::CollectError;
use super::fetch::{Allowed, Fetch, Request};
use super::keys::{is_id, read_keys};
use super::line::Line;
use super::period::BillingPeriod;
use domain::money::parse_atoms;
use domain::{Currency, InstantRange};
use futures::FutureExt as _;
use futures::future::BoxFuture;
use reqwest::header::AUTHORIZATION;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use std::sync::Arc;

const INVOICES: &str = "/{}/invoices";
const INVOICE: &str = "/{}/invoices/{}";
const PRODUCTS: &str = "/{}/products";
const DAILY: &str = "/{}/utilization/daily/{}";
/// Units of IONOS, and what they are in FOCUS. Others stay as they are.
const UNITS: [(&str, &str); 6] = [
    ("1hour", "Hours"),
    ("1G*1hour", "GB-Hours"),
    ("1G*30Days", "GB-Months"),
    ("1G", "GB"),
    ("1GB", "GB"),
    ("1item", "Items"),
];

/// What is the same for every source of this kind.
pub static SPEC: Spec = Spec {
    name: "ionos",
    provider: "IONOS",
    bases: &["https://api.ionos.com/billing"],
    allowed: &[Allowed::get(INVOICES), Allowed::get(INVOICE), Allowed::get(PRODUCTS), Allowed::get(DAILY)],
    credentials: &[CredentialSpec { key: "token", env: "IONOS_TOKEN", is_required: true }],
    gigabyte: Gigabyte::Gb,
    zone: "UTC",
    final_after_days: 40,
    levels: &[],
    reclassify: as_usual,
};

/// The kind `ionos`.
pub const KIND: Kind = Kind { spec: &SPEC, build };

/// Keys of a source of this kind.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Ionos {
    /// Number of the contract.
    contract: String,
}

fn build(keys: serde_json::Value) -> Result<Arc<dyn Collector>, String> {
    let collector: Ionos = read_keys(keys)?;
    match is_id(&collector.contract) {
        true => Ok(Arc::new(collector)),
        false => Err("`contract` is the contract's number, as text; the DCD shows it".to_owned()),
    }
}

impl Collector for Ionos {
    fn spec(&self) -> &'static Spec {
        &SPEC
    }

    fn collect<'a>(&'a self, fetch: &'a Fetch, task: &'a Task) -> BoxFuture<'a, Result<Collected, CollectError>> {
        self.read(fetch, &task.period).boxed()
    }
}

impl Ionos {
    async fn read(&self, fetch: &Fetch, period: &BillingPeriod) -> Result<Collected, CollectError> {
        let client = Client { fetch, contract: &self.contract };
        let mut collected = Collected { account: self.contract.clone(), ..Collected::default() };
        if period.is_over() && invoice::collect(&client, period, &mut collected).await? {
            return Ok(collected);
        }
        estimate::collect(&client, period, &mut collected).await?;
        collected.is_final = Some(false);
        Ok(collected)
    }
}

/// Asks about one contract.
struct Client<'a> {
    fetch: &'a Fetch,
    contract: &'a str,
}

impl Client<'_> {
    async fn get<T: DeserializeOwned>(&self, path: &'static str, argument: Option<&str>) -> Result<T, CollectError> {
        let mut request = Request::get(path).argument(self.contract);
        if let Some(argument) = argument {
            request = request.argument(argument);
        }
        let token = bearer(self.fetch.credentials(), "token")?;
        self.fetch.send(request.header(AUTHORIZATION, token)).await?.json()
    }
}

/// A number and what it counts: a currency, or a unit.
#[derive(Clone, Debug, Deserialize)]
struct Amount {
    quantity: Decimal,
    unit: String,
}

impl Amount {
    /// Returns currency and atoms of an amount of money.
    fn money(&self) -> Result<(Currency, i128), CollectError> {
        let currency = self.unit.trim().to_ascii_uppercase().parse::<Currency>();
        let currency = currency.map_err(|error| CollectError::schema(format!("an amount has a unit: {error}")))?;
        let atoms = parse_atoms(self.quantity.as_str());
        let atoms = atoms.map_err(|error| CollectError::schema(format!("an amount: {error}")))?;
        Ok((currency, atoms.atoms))
    }

    fn focus_unit(&self) -> &str {
        UNITS.into_iter().find(|(own, _)| *own == self.unit).map_or(self.unit.as_str(), |(_, focus)| focus)
    }
}

/// A data centre, or the bucket that other products have in its place.
#[derive(Debug, Deserialize)]
struct DataCenter<T> {
    id: String,
    #[serde(default)]
    name: Option<String>,
    #[serde(default)]
    location: Option<String>,
    #[serde(default = "Vec::new")]
    meters: Vec<T>,
    #[serde(default)]
    rebate: Option<Amount>,
}

/// A line about a data centre.
fn line<T>(category: &'static str, charged: InstantRange, center: &DataCenter<T>) -> Line {
    Line::new(category, charged)
        .cell("ServiceName", "IONOS Cloud")
        .cell("ServiceCategory", "Other")
        .cell("SubAccountId", center.id.as_str())
        .cell("SubAccountType", "VDC")
        .maybe("SubAccountName", center.name.clone())
        .maybe("RegionId", center.location.clone())
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_contract_is_an_id_and_an_amount_has_a_currency() {
        assert!(build(json!({"contract": "12345678"})).is_ok());
        assert!(build(json!({})).is_err() && build(json!({"contract": "1/2"})).is_err());
        let money = |unit: &str| {
            let amount: Amount = serde_json::from_value(json!({"quantity": "1.5", "unit": unit})).expect("an amount");
            amount.money().map(|(currency, _)| currency.to_string()).ok()
        };
        assert_eq!((money("EUR").as_deref(), money("1hour")), (Some("EUR"), None));
    }
}
