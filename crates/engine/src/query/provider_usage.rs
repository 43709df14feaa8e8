//! How much was used of what providers limit, day by day: what collectors read of usage, and the consumed quantities of
//! the cost lines.

use super::columns::rows;
use super::select::{self, all_of};
use crate::{Engine, EngineError};
use datafusion::functions_aggregate::expr_fn::sum;
use datafusion::prelude::{Expr, SessionContext, ident, lit};
use domain::decimal::DecimalError;
use domain::{Day, DayRange, Instant, Quantity};
use std::collections::{BTreeMap, BTreeSet};
use storage::lake::Table;

/// How far back a billing period may have begun that is still looked for, in months.
const BILLING_MONTHS_BACK: usize = 2;

/// What one resource of a provider was used on each day.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ResourceDays {
    /// Whose resource, in lower case.
    pub provider: String,
    /// Which one.
    pub resource: String,
    /// What the quantities count in.
    pub unit: String,
    /// Quantities in atoms of 10⁻⁹; a day without any is absent.
    pub days: BTreeMap<Day, i128>,
}

/// Billing periods that are under way, by provider in lower case.
pub type BillingCycles = BTreeMap<String, DayRange>;

impl Engine {
    /// Returns what was used of every resource on the days of the range, by provider, resource and unit.
    ///
    /// Collectors name their resources; the provider is their kind, the days are its own. Of a provider that no collector
    /// tells the usage of, cost lines do: the resource is the service, the quantity the consumed quantity, the day the
    /// first one of the charge period. Lines without a quantity, and those that are no usage, say nothing.
    ///
    /// # Errors
    /// When a store cannot be read, or a stored quantity is none.
    pub async fn provider_usage_all_tenants(&self, range: DayRange) -> Result<Vec<ResourceDays>, EngineError> {
        let session = self.session_now().await?;
        let mut found = resources_of_lines(&session, range).await?;
        let collected = self.collected_usage_all_tenants(range).await?;
        // A collector's bills have the same quantities under the names of services.
        let told: BTreeSet<&str> = collected.keys().map(|(provider, ..)| provider.as_str()).collect();
        found.retain(|(provider, ..), _| !told.contains(provider.as_str()));
        found.extend(collected);
        let resource = |((provider, resource, unit), days)| ResourceDays { provider, resource, unit, days };
        Ok(found.into_iter().map(resource).collect())
    }

    /// What collectors read, a day at a time: a large account has very many rows.
    async fn collected_usage_all_tenants(&self, range: DayRange) -> Result<Found, EngineError> {
        let unusable = |detail: String| EngineError::Corrupt { what: "provider_usage".to_owned(), detail };
        let mut found = Found::new();
        for day in range.days() {
            let text = day.to_string();
            for row in self.catalog.provider_usage(None, &text, &text).await? {
                let quantity: Quantity =
                    row.quantity.parse().map_err(|error: DecimalError| unusable(error.to_string()))?;
                let days = found.entry((row.provider.to_lowercase(), row.resource, row.unit)).or_default();
                *days.entry(day).or_default() += quantity.atoms();
            }
        }
        Ok(found)
    }

    /// Returns the billing period of today of every provider whose bills name one; the one that began last.
    ///
    /// # Errors
    /// When the lake cannot be read.
    pub async fn billing_cycles_all_tenants(&self) -> Result<BillingCycles, EngineError> {
        let now = self.clock.now();
        let month = self.today().month();
        let first = (0..BILLING_MONTHS_BACK).fold(month, |month, _| month.previous());
        let batches = self
            .session_now()
            .await?
            .table(Table::CostLines.name())
            .await?
            .filter(ident("billing_month").gt_eq(lit(first.to_string())))?
            .select(["service_provider_name", "billing_period_start", "billing_period_end"].map(ident))?
            .distinct()?
            .collect()
            .await?;
        let mut cycles = BillingCycles::new();
        for row in rows(&batches) {
            let (Some(start), Some(end)) = (row.micros(1), row.micros(2)) else { continue };
            if now.micros() < start || end <= now.micros() {
                continue;
            }
            let zone = &self.settings.zone;
            let (from, to) = (zone.day_of(Instant::from_micros(start)), zone.day_of(Instant::from_micros(end - 1)));
            let Some(cycle) = DayRange::new(from, to) else { continue };
            let kept = cycles.entry(row.text_or_empty(0).to_lowercase()).or_insert(cycle);
            if (kept.from(), kept.to()) < (from, to) {
                *kept = cycle;
            }
        }
        Ok(cycles)
    }
}

/// Quantities by day, by provider, resource and unit.
type Found = BTreeMap<(String, String, String), BTreeMap<Day, i128>>;

async fn resources_of_lines(session: &SessionContext, range: DayRange) -> Result<Found, EngineError> {
    let batches = session
        .table(Table::CostLines.name())
        .await?
        .filter(all_of([
            Expr::IsNotNull(Box::new(ident("consumed_quantity"))),
            ident("charge_category").eq(lit("Usage")),
            ident("charge_date_from").gt_eq(select::day(range.from())),
            ident("charge_date_from").lt_eq(select::day(range.to())),
        ]))?
        .aggregate(
            ["service_provider_name", "service_name", "consumed_unit", "charge_date_from"].map(ident).to_vec(),
            vec![sum(ident("consumed_quantity")).alias("quantity")],
        )?
        .collect()
        .await?;
    let mut found = Found::new();
    for row in rows(&batches) {
        let text = |at| row.text_or_empty(at).to_owned();
        let Some(day) = row.day(3) else { continue };
        *found.entry((text(0).to_lowercase(), text(1), text(2))).or_default().entry(day).or_default() += row.atoms(4);
    }
    Ok(found)
}
