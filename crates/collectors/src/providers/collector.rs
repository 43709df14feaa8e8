use super::credentials::CredentialSpec;
use super::error::{Cause, CollectError};
use super::exports::ExportSource;
use super::fetch::{Allowed, Fetch};
use super::line::Line;
use super::period::BillingPeriod;
use domain::{Day, DayRange};
use futures::FutureExt as _;
use futures::future::BoxFuture;
use std::collections::BTreeMap;
use std::sync::Arc;

/// Reads the bills or the usage of one provider.
///
/// A collector fetches and translates, nothing more. Scheduling, retries, limits, storing, and the metrics of errors,
/// durations and successes belong to [`Providers`](super::Providers), for all alike.
pub trait Collector: Send + Sync {
    /// Returns what is the same for every source of this kind.
    fn spec(&self) -> &'static Spec;

    /// Returns on which day of a month billing periods begin, if the provider says so reliably.
    ///
    /// # Errors
    /// [`CollectError`]; then nothing is collected.
    fn billing_day<'a>(&'a self, _fetch: &'a Fetch) -> BoxFuture<'a, Result<Option<u8>, CollectError>> {
        async { Ok(None) }.boxed()
    }

    /// Returns what is read instead, if the bills are files and no answers.
    fn export(&self) -> Option<&ExportSource> {
        None
    }

    /// Returns whether it wants to know what was collected before: [`Task::known_usage`] is empty otherwise.
    fn looks_back(&self) -> bool {
        false
    }

    /// Returns everything of the days of a billing period that are over, or as many of them from [`Task::from`] on as fit
    /// in memory; see [`Collected::next`]. Asked twice, it returns the same.
    ///
    /// # Errors
    /// [`CollectError`]; then what was collected before stays as it is.
    fn collect<'a>(&'a self, fetch: &'a Fetch, task: &'a Task) -> BoxFuture<'a, Result<Collected, CollectError>>;
}

/// What is the same for every source of a kind.
#[derive(Debug)]
pub struct Spec {
    /// The kind in `[[source]]`, and the name of a source that has none. Never changes once released.
    pub name: &'static str,
    /// The provider as FOCUS names it: ServiceProviderName unless a line says otherwise.
    pub provider: &'static str,
    /// Addresses at which it is asked; the first one unless `url` names another one of them.
    pub bases: &'static [&'static str],
    /// Everything that may be asked.
    pub allowed: &'static [Allowed],
    /// What it needs to be let in.
    pub credentials: &'static [CredentialSpec],
    /// What a gigabyte is in its answers.
    pub gigabyte: Gigabyte,
    /// IANA name of the zone in which its days and billing periods begin.
    pub zone: &'static str,
    /// How many days after its end a billing period is still corrected; after them it is final and read no more.
    pub final_after_days: i32,
    /// Resources that are levels, such as stored bytes: those of several days are never added up.
    pub levels: &'static [&'static str],
    /// The cause of a status, where the provider uses statuses in its own way; see [`as_usual`].
    pub reclassify: fn(status: u16, body: &[u8]) -> Option<Cause>,
}

/// Returns no other cause than the usual one of a status.
#[must_use]
pub fn as_usual(_status: u16, _body: &[u8]) -> Option<Cause> {
    None
}

/// What a provider means by a gigabyte.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Gigabyte {
    /// 10⁹ bytes.
    Gb,
    /// 2³⁰ bytes.
    Gib,
}

impl Gigabyte {
    /// Returns the unit as FOCUS spells it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Gb => "GB",
            Self::Gib => "GiB",
        }
    }
}

/// A kind of source that is a collector: how one is made of its keys in `[[source]]`.
#[derive(Clone, Copy)]
pub struct Kind {
    /// What is the same for all of them.
    pub spec: &'static Spec,
    /// Returns a collector, given the keys that are not common to all kinds; an error is a sentence that names the key.
    pub build: fn(keys: serde_json::Value) -> Result<Arc<dyn Collector>, String>,
}

/// What a collector is asked for.
#[derive(Clone, Debug)]
pub struct Task {
    /// The billing period; at least one of its days is over.
    pub period: BillingPeriod,
    /// The first day that is wanted: the first of the period, unless the days before it were returned already.
    pub from: Day,
    /// What was collected of its usage before, for providers that tell the present only.
    pub known_usage: Vec<ProviderUsage>,
}

/// What a provider says of a billing period.
#[derive(Clone, Debug, Default)]
pub struct Collected {
    /// BillingAccountId of all lines. It may never change: with the billing period it is what lines are replaced by.
    pub account: String,
    /// The cost lines. None at all means that there is nothing to say, not that it costs nothing.
    pub lines: Vec<Line>,
    /// The quantities of `usage_days`.
    pub usage: Vec<ProviderUsage>,
    /// The days whose quantities are replaced; those of other days stay.
    pub usage_days: Option<DayRange>,
    /// The first day that is over and not in here, because it would be too much at once: it is asked for next.
    pub next: Option<Day>,
    /// Whether the provider says that the period is final, or that it is not.
    pub is_final: Option<bool>,
    /// What somebody should look at.
    pub warnings: Vec<String>,
}

/// What was used of one resource on one day.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProviderUsage {
    /// What, in words that stay: `function_invocations`, `bucket_bytes`. Small letters, digits and `_`.
    pub resource: String,
    /// A FOCUS unit.
    pub unit: String,
    /// The day, in the provider's zone.
    pub day: Day,
    /// Decimal text.
    pub quantity: String,
    /// Of what: project, bucket, region, … Two quantities of a resource and day differ in it.
    pub labels: BTreeMap<String, String>,
}
