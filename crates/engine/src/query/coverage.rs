//! How much of the cost was measured: a proof that is 0 by construction is not yet good attribution.

use super::as_of::AsOf;
use super::columns::rows;
use super::cost_query::Clock;
use super::select::{all_of, of_cost, reserved_word, selected_by, up_to_posting};
use super::shares::{WHOLE, parts_of};
use crate::run::{DRIVER_GAP, RunView, RunWarning};
use crate::{Engine, EngineError};
use datafusion::functions_aggregate::expr_fn::sum;
use datafusion::prelude::{Expr, ident};
use domain::tenant::{IDLE, OVERHEAD, UNATTRIBUTED, UNCONSUMED, VARIANCE};
use domain::{Currency, Day, DayRange};
use std::collections::BTreeMap;
use storage::lake::Table;

/// How a part of the cost was attributed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum CoverageKind {
    /// By measurement.
    Measured,
    /// By something that stands for it.
    Proxy,
    /// Paid, unused capacity.
    Idle,
    /// Never divided.
    Overhead,
    /// Bill minus rated recovery.
    Variance,
    /// Not at all.
    Unattributed,
}

impl CoverageKind {
    /// Returns how entries of this consumer and method were attributed.
    ///
    /// `word` is the reserved word of the consumer, empty for all others.
    #[must_use]
    pub fn of(word: &str, method: &str) -> Self {
        match (word, method) {
            (IDLE, _) => Self::Idle,
            (OVERHEAD, _) => Self::Overhead,
            (VARIANCE, _) => Self::Variance,
            (UNATTRIBUTED | UNCONSUMED, _) => Self::Unattributed,
            (_, "direct" | "weighted" | "proportional" | "rated" | "window") => Self::Measured,
            _ => Self::Proxy,
        }
    }
}

/// Parts of a total that add up to [`WHOLE`]; all zero when the total is not positive.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Coverage {
    /// By measurement.
    pub measured: i64,
    /// By something that stands for it.
    pub proxy: i64,
    /// Paid, unused capacity.
    pub idle: i64,
    /// Never divided.
    pub overhead: i64,
    /// Bill minus rated recovery.
    pub variance: i64,
    /// Not at all.
    pub unattributed: i64,
}

/// Amounts by how they were attributed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CoverageAmounts([i128; 6]);

impl CoverageAmounts {
    /// Adds an amount.
    pub fn add(&mut self, kind: CoverageKind, atoms: i128) {
        self.0[kind as usize] += atoms;
    }

    /// Returns the amount attributed in this way.
    #[must_use]
    pub fn get(&self, kind: CoverageKind) -> i128 {
        self.0[kind as usize]
    }

    /// Returns the total.
    #[must_use]
    pub fn total(&self) -> i128 {
        self.0.iter().sum()
    }

    /// Returns the shares of the total by the split rule.
    #[must_use]
    pub fn shares(&self) -> Coverage {
        let Some(parts) = parts_of(WHOLE, &self.0) else { return Coverage::default() };
        Coverage {
            measured: parts[CoverageKind::Measured as usize],
            proxy: parts[CoverageKind::Proxy as usize],
            idle: parts[CoverageKind::Idle as usize],
            overhead: parts[CoverageKind::Overhead as usize],
            variance: parts[CoverageKind::Variance as usize],
            unattributed: parts[CoverageKind::Unattributed as usize],
        }
    }
}

/// Coverage of a range of days.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CoverageAnswer {
    /// The days.
    pub range: DayRange,
    /// Currency of the amounts: the reporting currency.
    pub currency: Currency,
    /// Amounts by kind.
    pub amounts: CoverageAmounts,
    /// Their shares.
    pub shares: Coverage,
    /// The posting that the answer shows.
    pub posting: Option<i64>,
    /// Driver gaps that the last run of each day found, by day and pool.
    pub driver_gaps: Vec<DriverGap>,
}

/// Somebody who was measured nearly every day and was not on this one, so that others pay its part.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct DriverGap {
    /// The day.
    pub day: Day,
    /// The pool.
    pub pool: String,
    /// Who, and how often it was measured before.
    pub detail: String,
}

impl Engine {
    /// Returns how much of a range's cost, estimates aside, was measured.
    ///
    /// # Errors
    /// For an unknown state, or when a store fails.
    pub async fn coverage_all_tenants(
        &self,
        range: DayRange,
        as_of: Option<&AsOf>,
    ) -> Result<CoverageAnswer, EngineError> {
        let head = self.head(as_of).await?;
        let session = self.session_now().await?;
        let money = Expr::IsNotTrue(Box::new(ident("memo")));
        let batches = session
            .table(Table::Ledger.name())
            .await?
            .filter(all_of([of_cost(), up_to_posting(head.number()), selected_by(Clock::Charged, range), money]))?
            .aggregate(
                vec![reserved_word().alias("word"), ident("method")],
                vec![sum(ident("amount_reporting")).alias("total")],
            )?
            .collect()
            .await?;
        let mut amounts = CoverageAmounts::default();
        for row in rows(&batches) {
            amounts.add(CoverageKind::of(row.text_or_empty(0), row.text_or_empty(1)), row.atoms(2));
        }
        Ok(CoverageAnswer {
            range,
            currency: self.settings.reporting_currency,
            amounts,
            shares: amounts.shares(),
            posting: head.posting,
            driver_gaps: self.driver_gaps_all_tenants(range).await?,
        })
    }

    /// Returns the driver gaps that the last run of each day of the range found, by day and pool.
    ///
    /// # Source
    /// Spec 3-attribution, section 3; what is a gap is in `docs/method.md`, section 3.
    ///
    /// # Errors
    /// When the catalog fails.
    pub async fn driver_gaps_all_tenants(&self, range: DayRange) -> Result<Vec<DriverGap>, EngineError> {
        let found = self.warnings_of_last_runs(range, DRIVER_GAP).await?;
        let gap = |found: RunWarning| Some(DriverGap { day: found.day?, pool: found.pool?, detail: found.detail });
        let mut gaps: Vec<DriverGap> = found.into_iter().filter_map(gap).collect();
        gaps.sort();
        Ok(gaps)
    }

    /// Returns the warnings of this code that the last run of each day of the range had about the day.
    ///
    /// # Errors
    /// When the catalog fails.
    pub(crate) async fn warnings_of_last_runs(
        &self,
        range: DayRange,
        code: &str,
    ) -> Result<Vec<RunWarning>, EngineError> {
        let (first, last) = (range.from().to_string(), range.to().to_string());
        let last_runs: BTreeMap<String, String> =
            self.catalog.run_days(&first, &last).await?.into_iter().map(|row| (row.day, row.run)).collect();
        let mut found = Vec::new();
        for row in self.catalog.last_runs(&first, &last).await? {
            let run = RunView::of_row(&row)?;
            let is_last =
                |warning: &RunWarning| warning.day.is_some_and(|day| last_runs.get(&day.to_string()) == Some(&run.id));
            found.extend(run.warnings.iter().filter(|warning| warning.code == code && is_last(warning)).cloned());
        }
        Ok(found)
    }
}
