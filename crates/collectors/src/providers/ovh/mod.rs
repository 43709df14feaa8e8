//! OVHcloud: bills, or what is consumed until there is one.
//!
//! Bills are the truth and come once a month; consumption is an estimate, finer and earlier. Both tell the same money, so
//! a source reads one of them. Links and passwords of bills open them for everybody: they are not even read.

/// What bills and refunds say.
mod bills;
/// What is consumed and not billed yet.
mod consumption;
/// Amounts with a currency, as OVHcloud writes them.
mod price;
/// The signature of a request.
mod signature;

use super::collector::{Collected, Collector, Gigabyte, Kind, Spec, Task, as_usual};
use super::credentials::CredentialSpec;
use super::error::CollectError;
use super::fetch::{Allowed, Fetch, Request};
use super::keys::read_keys;
use super::period::BillingPeriod;
use domain::time::MICROS_PER_SECOND;
use futures::FutureExt as _;
use futures::future::BoxFuture;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use std::sync::Arc;

const TIME: &str = "/auth/time";
const ME: &str = "/me";
const BILLS: &str = "/me/bill";
const BILL: &str = "/me/bill/{}";
const BILL_DETAILS: &str = "/me/bill/{}/details";
const BILL_DETAIL: &str = "/me/bill/{}/details/{}";
const REFUNDS: &str = "/me/refund";
const REFUND: &str = "/me/refund/{}";
const REFUND_DETAILS: &str = "/me/refund/{}/details";
const REFUND_DETAIL: &str = "/me/refund/{}/details/{}";
const CURRENT: &str = "/me/consumption/usage/current";
const HISTORY: &str = "/me/consumption/usage/history";

/// What is the same for every source of this kind.
pub static SPEC: Spec = Spec {
    name: "ovhcloud",
    provider: "OVHcloud",
    bases: &["https://eu.api.ovh.com/1.0", "https://ca.api.ovh.com/1.0", "https://api.us.ovhcloud.com/1.0"],
    allowed: &[
        Allowed::get(TIME),
        Allowed::get(ME),
        Allowed::get(BILLS),
        Allowed::get(BILL),
        Allowed::get(BILL_DETAILS),
        Allowed::get(BILL_DETAIL),
        Allowed::get(REFUNDS),
        Allowed::get(REFUND),
        Allowed::get(REFUND_DETAILS),
        Allowed::get(REFUND_DETAIL),
        Allowed::get(CURRENT),
        Allowed::get(HISTORY),
    ],
    credentials: &[
        CredentialSpec { key: "application_key", env: "OVH_APPLICATION_KEY", is_required: true },
        CredentialSpec { key: "application_secret", env: "OVH_APPLICATION_SECRET", is_required: true },
        CredentialSpec { key: "consumer_key", env: "OVH_CONSUMER_KEY", is_required: true },
    ],
    gigabyte: Gigabyte::Gib,
    zone: "Europe/Paris",
    final_after_days: 10,
    levels: &[],
    reclassify: as_usual,
};

/// The kind `ovhcloud`.
pub const KIND: Kind = Kind { spec: &SPEC, build };

/// What is read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Costs {
    /// Bills and refunds of the month that they are dated in.
    #[default]
    Bills,
    /// What is consumed in the month, billed or not.
    Consumption,
}

/// Keys of a source of this kind.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Ovh {
    /// Which of the two tells the costs.
    #[serde(default)]
    costs: Costs,
}

fn build(keys: serde_json::Value) -> Result<Arc<dyn Collector>, String> {
    let collector: Ovh = read_keys(keys)?;
    Ok(Arc::new(collector))
}

impl Collector for Ovh {
    fn spec(&self) -> &'static Spec {
        &SPEC
    }

    fn collect<'a>(&'a self, fetch: &'a Fetch, task: &'a Task) -> BoxFuture<'a, Result<Collected, CollectError>> {
        self.read(fetch, &task.period).boxed()
    }
}

impl Ovh {
    async fn read(&self, fetch: &Fetch, period: &BillingPeriod) -> Result<Collected, CollectError> {
        let client = Client::new(fetch).await?;
        let me: Me = client.get(Request::get(ME)).await?;
        let mut collected = Collected { account: me.nichandle, ..Collected::default() };
        match self.costs {
            Costs::Bills => bills::collect(&client, period, &mut collected).await?,
            Costs::Consumption => consumption::collect(&client, period, &mut collected).await?,
        }
        Ok(collected)
    }
}

#[derive(Deserialize)]
struct Me {
    nichandle: String,
}

/// Asks with signed requests. The provider's clock counts, so its difference to ours is asked for first.
struct Client<'a> {
    fetch: &'a Fetch,
    clock_seconds: i64,
}

impl<'a> Client<'a> {
    async fn new(fetch: &'a Fetch) -> Result<Self, CollectError> {
        let theirs: i64 = fetch.send(Request::get(TIME)).await?.json()?;
        let ours = fetch.now().micros().div_euclid(MICROS_PER_SECOND);
        Ok(Self { fetch, clock_seconds: theirs.saturating_sub(ours) })
    }

    async fn get<T: DeserializeOwned>(&self, request: Request<'_>) -> Result<T, CollectError> {
        let credentials = self.fetch.credentials();
        let offset = self.clock_seconds;
        let sign = |outgoing: &super::fetch::Outgoing<'_>| signature::headers(credentials, outgoing, offset);
        self.fetch.send(request.signed(&sign)).await?.json()
    }
}

#[cfg(test)]
mod tests {
    use super::build;
    use serde_json::json;

    #[test]
    fn a_source_reads_bills_or_consumption() {
        assert!(build(json!({})).is_ok() && build(json!({"costs": "consumption"})).is_ok());
        assert!(build(json!({"costs": "both"})).is_err() && build(json!({"project": "x"})).is_err());
    }
}
