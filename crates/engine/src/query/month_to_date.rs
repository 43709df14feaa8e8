//! The current month up to its last complete day, as the metrics exporter shows it: the answers of the one query object
//! and of the provider questions, cut to so many tenants.

use super::costs::CostTable;
use super::keys::{Column, GroupKey};
use super::limits::{LimitStatus, reading_of};
use super::provider_costs::ProviderCost;
use super::provider_usage::ResourceDays;
use super::{CostQuery, Coverage};
use crate::reconciliation::ReconciliationRow;
use crate::{Engine, EngineError};
use domain::provider_limit::Reading;
use domain::tenant::RESERVED;
use domain::{Currency, Day, DayRange, Month, ProviderLimit, TenantScope};
use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};
use storage::catalog::InvoiceRow;
use storage::lake::Table;

/// Who stands for all tenants without a series of their own. No tenant can have this id.
pub const OTHER: &str = "__other__";

/// The current month up to its last complete day.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MonthToDate {
    /// The month.
    pub month: Month,
    /// Its last complete day; none on the first.
    pub through: Option<Day>,
    /// Currency of the costs of tenants: the reporting currency.
    pub currency: Currency,
    /// Costs by tenant and tier, reserved consumers and [`OTHER`] included: together the total.
    pub tenants: Vec<TenantCost>,
    /// What of it is `__overhead__`, in atoms.
    pub overhead: i128,
    /// What of it is `__unattributed__`, in atoms.
    pub unattributed: i128,
    /// How it was attributed; none without a positive total.
    pub coverage: Option<Coverage>,
    /// What does not tie, by currency, in atoms: what the cost lines of these days come to, less what the ledger holds of
    /// them; and where there are invoices of this billing month or the one before, what they differ from the lines.
    /// Lines that have no rate into the reporting currency, and invoices, stand under their own.
    pub differences: BTreeMap<String, i128>,
    /// What each provider costs.
    pub providers: Vec<ProviderCost>,
    /// What was used of the providers' resources.
    pub usage: Vec<ResourceUsage>,
    /// The limits and how much of each is used.
    pub limits: Vec<LimitStatus>,
}

/// What a tenant costs in one tier.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TenantCost {
    /// The tenant, a reserved consumer, or [`OTHER`].
    pub tenant: String,
    /// direct, amortized or overhead.
    pub tier: String,
    /// In atoms.
    pub cost: i128,
}

/// How much was used of a resource since the month began.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ResourceUsage {
    /// Whose resource, in lower case.
    pub provider: String,
    /// Which one.
    pub resource: String,
    /// What the quantity counts in.
    pub unit: String,
    /// In atoms of 10⁻⁹.
    pub quantity: i128,
}

/// What the answer depends on: as long as it is the same, so is the answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MonthVersion {
    today: Day,
    tables: Vec<u64>,
    collected: Option<i64>,
    posting: i64,
    recorded: Option<String>,
    invoices: Vec<InvoiceRow>,
}

/// The tables that the answer is made of.
const TABLES: [Table; 3] = [Table::CostLines, Table::PoolDays, Table::Ledger];

impl Engine {
    /// Returns what [`Engine::month_to_date_all_tenants`] depends on now. Cheap beside the answer itself.
    ///
    /// # Errors
    /// When a store cannot be read.
    pub async fn month_version_all_tenants(&self) -> Result<MonthVersion, EngineError> {
        let versions = self.lake.pin().await?.versions();
        Ok(MonthVersion {
            today: self.today(),
            tables: TABLES.iter().map(|table| versions.get(table).copied().unwrap_or_default()).collect(),
            posting: self.head(None).await?.number(),
            collected: self.catalog.provider_usage_collected_at().await?,
            recorded: self.catalog.recorded_up_to().await?,
            invoices: self.newest_invoices().await?,
        })
    }

    /// The invoices of this billing month and the one before: those that people still work on.
    async fn newest_invoices(&self) -> Result<Vec<InvoiceRow>, EngineError> {
        let month = self.today().month();
        Ok(self.catalog.invoices_between(&month.previous().to_string(), &month.to_string()).await?)
    }

    /// What the invoices of this billing month and the one before differ from the lines, and the lines of the month before
    /// from the ledger, by currency; nothing where there are no invoices.
    async fn invoice_differences_all_tenants(&self) -> Result<BTreeMap<Currency, i128>, EngineError> {
        if self.newest_invoices().await?.is_empty() {
            return Ok(BTreeMap::new());
        }
        let month = self.today().month();
        let days = DayRange::new(month.previous().first_day(), month.last_day()).expect("a month comes after the last");
        Ok(differences_of(&self.reconciliation_all_tenants(days, None).await?.rows, month))
    }

    /// Returns the current month up to its last complete day. The `tenants_max` most expensive tenants stand for
    /// themselves, equal ones by their id; all others are one, [`OTHER`], so that the sum is the total. `is_level` says which
    /// resource of which provider is a level: the last day of the month tells it, and not the sum of all.
    ///
    /// # Errors
    /// When a store cannot be read.
    pub async fn month_to_date_all_tenants(
        &self,
        tenants_max: usize,
        limits: &[ProviderLimit],
        is_level: fn(provider: &str, resource: &str) -> bool,
    ) -> Result<MonthToDate, EngineError> {
        let today = self.today();
        let (month, yesterday) = (today.month(), today.plus(-1));
        let days = DayRange::new(month.first_day(), yesterday);
        let through = days.map(|days| days.to());
        let to_date = DayRange::new(month.first_day(), today).expect("the month began by today");
        let limits = self.limits_all_tenants(limits).await?;
        let usage = self.provider_usage_all_tenants(to_date).await?;
        let mut answer = MonthToDate {
            month,
            through,
            currency: self.settings.reporting_currency,
            tenants: Vec::new(),
            overhead: 0,
            unattributed: 0,
            coverage: None,
            differences: BTreeMap::from([(self.settings.reporting_currency.code().to_owned(), 0)]),
            providers: self.provider_costs_all_tenants(month, through).await?,
            usage: usage.into_iter().filter_map(|resource| usage_of(resource, &limits, is_level)).collect(),
            limits,
        };
        if let Some(days) = days {
            let query = CostQuery {
                group_by: vec![GroupKey::TENANT, GroupKey::Column(Column::Tier)],
                limit: usize::MAX,
                ..CostQuery::of(days)
            };
            answer.take(&self.costs(&TenantScope::All, &query).await?, tenants_max);
        }
        for (currency, apart) in self.invoice_differences_all_tenants().await? {
            let difference = answer.differences.entry(currency.code().to_owned()).or_default();
            *difference = widened(*difference, apart);
        }
        Ok(answer)
    }
}

impl MonthToDate {
    fn take(&mut self, table: &CostTable, tenants_max: usize) {
        let costs = table.rows.iter().map(|row| {
            let value = |at: usize| row.key.get(at).map_or("", |(_, value)| value.as_str());
            TenantCost { tenant: value(0).to_owned(), tier: value(1).to_owned(), cost: row.cost }
        });
        self.tenants = cut(costs.collect(), tenants_max);
        let reserved = table.totals.reserved.unwrap_or_default();
        (self.overhead, self.unattributed) = (reserved.overhead, reserved.unattributed);
        self.coverage = table.meta.coverage.filter(|_| 0 < table.totals.cost);
        if let Some(conservation) = &table.meta.conservation {
            self.differences.insert(self.currency.code().to_owned(), conservation.difference);
            let unconverted = conservation.unconverted.iter();
            self.differences.extend(unconverted.map(|(currency, atoms)| (currency.code().to_owned(), *atoms)));
        }
    }
}

/// What does not tie of billing periods with an invoice, by currency; sizes, so that one too high hides none too low.
/// The lines of this month are compared with the ledger day by day elsewhere.
fn differences_of(rows: &[ReconciliationRow], this: Month) -> BTreeMap<Currency, i128> {
    let mut found = BTreeMap::new();
    for row in rows {
        let Some(of_invoice) = row.invoice_difference() else { continue };
        let of_ledger = if row.key.month < this { row.attribution_difference() } else { 0 };
        *found.entry(row.key.currency).or_default() += of_invoice.abs() + of_ledger.abs();
    }
    found
}

/// The difference made larger by so much, whatever its sign.
fn widened(difference: i128, apart: i128) -> i128 {
    if difference < 0 { difference - apart } else { difference + apart }
}

/// What was used of the resource in the month, read as its limit says; without a limit a level is that of the last day, and
/// everything else is summed.
fn usage_of(resource: ResourceDays, limits: &[LimitStatus], is_level: fn(&str, &str) -> bool) -> Option<ResourceUsage> {
    let limit = limits.iter().find(|status| status.limit.is_of(&resource.provider, &resource.resource));
    let usual = if is_level(&resource.provider, &resource.resource) { Reading::Last } else { Reading::Sum };
    let quantity = reading_of(limit.map_or(usual, |status| status.limit.reading), &resource.days)?;
    let ResourceDays { provider, resource, unit, .. } = resource;
    Some(ResourceUsage { provider, resource, unit, quantity })
}

/// Returns the costs in order of tenant and tier, those of all but the most expensive tenants as one.
fn cut(costs: Vec<TenantCost>, tenants_max: usize) -> Vec<TenantCost> {
    let mut totals: BTreeMap<&str, i128> = BTreeMap::new();
    for cost in costs.iter().filter(|cost| !RESERVED.contains(&cost.tenant.as_str())) {
        *totals.entry(&cost.tenant).or_default() += cost.cost;
    }
    let mut ranked: Vec<(&str, i128)> = totals.into_iter().collect();
    ranked.sort_by_key(|(tenant, total)| (Reverse(*total), *tenant));
    let others: BTreeSet<String> = ranked.iter().skip(tenants_max).map(|(tenant, _)| (*tenant).to_owned()).collect();
    let mut shown: BTreeMap<(String, String), i128> = BTreeMap::new();
    for TenantCost { tenant, tier, cost } in costs {
        let tenant = if others.contains(&tenant) { OTHER.to_owned() } else { tenant };
        *shown.entry((tenant, tier)).or_default() += cost;
    }
    shown.into_iter().map(|((tenant, tier), cost)| TenantCost { tenant, tier, cost }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cost((tenant, tier, cost): (&str, &str, i128)) -> TenantCost {
        TenantCost { tenant: tenant.to_owned(), tier: tier.to_owned(), cost }
    }

    fn check(given: &[(&str, &str, i128)], tenants_max: usize, expected: &[(&str, &str, i128)]) {
        let shown = cut(given.iter().copied().map(cost).collect(), tenants_max);
        assert_eq!(shown, expected.iter().copied().map(cost).collect::<Vec<_>>(), "{tenants_max}");
        let sum = |costs: &[(&str, &str, i128)]| costs.iter().map(|(.., cost)| cost).sum::<i128>();
        assert_eq!(sum(given), sum(expected), "the sum stays");
    }

    const GIVEN: [(&str, &str, i128); 6] = [
        ("b", "direct", 5),
        ("a", "direct", 3),
        ("a", "amortized", 2),
        ("c", "direct", -1),
        ("__idle__", "direct", 9),
        ("d", "amortized", 4),
    ];

    #[test]
    fn tenants_beyond_the_most_expensive_are_one_and_the_sum_stays() {
        check(
            &GIVEN,
            2,
            &[
                ("__idle__", "direct", 9),
                ("__other__", "amortized", 4),
                ("__other__", "direct", -1),
                ("a", "amortized", 2),
                ("a", "direct", 3),
                ("b", "direct", 5),
            ],
        );
        check(
            &GIVEN,
            1,
            &[
                ("__idle__", "direct", 9),
                ("__other__", "amortized", 4),
                ("__other__", "direct", 4),
                ("a", "amortized", 2),
                ("a", "direct", 3),
            ],
        );
        check(&GIVEN, 0, &[("__idle__", "direct", 9), ("__other__", "amortized", 6), ("__other__", "direct", 7)]);
    }

    #[test]
    fn a_level_is_that_of_the_last_day_and_everything_else_a_sum() {
        let day = |text: &str| text.parse::<Day>().expect("a day");
        let days = BTreeMap::from([(day("2026-11-18"), 5), (day("2026-11-19"), 7)]);
        let used = |resource: &str| {
            let (provider, unit) = ("wasabi".to_owned(), "Bytes".to_owned());
            let of_days = ResourceDays { provider, resource: resource.to_owned(), unit, days: days.clone() };
            usage_of(of_days, &[], |_, resource| resource == "bucket_bytes").map(|usage| usage.quantity)
        };
        assert_eq!((used("bucket_bytes"), used("upload_bytes")), (Some(7), Some(12)));
    }

    #[test]
    fn with_room_for_all_nobody_is_hidden() {
        let mut sorted = GIVEN;
        sorted.sort_unstable();
        check(&GIVEN, 4, &sorted);
        check(&[], 4, &[]);
    }
}
