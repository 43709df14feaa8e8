use crate::import::ImportTotal;
use crate::sources::Taken;
use domain::Instant;
use std::collections::BTreeMap;

/// What a collection is asked for beyond the billing periods that are not final.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CollectAsked {
    /// Collects every billing period that ends after this time, also those that are final.
    pub from: Option<Instant>,
    /// Asks the provider for the current billing period and stores nothing.
    pub dry_run: bool,
    /// Accepts that a billing period loses more than a fifth of its lines or of its amount.
    pub confirm: bool,
}

/// What a collection read and what became of it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CollectReport {
    /// The source.
    pub name: String,
    /// Whether nothing was stored.
    pub dry_run: bool,
    /// The billing periods, newest first.
    pub periods: Vec<PeriodReport>,
    /// What became of the points of usage.
    pub taken: Taken,
    /// What somebody should look at.
    pub warnings: Vec<String>,
    /// Of files: which content of a period was imported, so that the same is not read again.
    pub versions: BTreeMap<String, String>,
}

impl CollectReport {
    /// Returns whether anything was stored.
    pub(super) fn has_stored(&self) -> bool {
        !self.dry_run && (!self.periods.is_empty() || !self.versions.is_empty() || self.taken.accepted > 0)
    }
}

/// What was read of one billing period.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PeriodReport {
    /// `YYYY-MM`, or the day on which the period begins.
    pub period: String,
    /// BillingAccountId.
    pub account: String,
    /// Cost lines.
    pub lines: u64,
    /// Quantities.
    pub quantities: u64,
    /// Sums of the lines by currency; none of a dry run.
    pub totals: Vec<ImportTotal>,
    /// The import that holds the lines.
    pub import_id: Option<String>,
    /// Whether every line was there already.
    pub unchanged: bool,
    /// Whether the provider corrects it no more.
    pub is_final: bool,
    /// When the last day ends that was collected; none of files, and as long as only the lines are stored.
    pub through: Option<Instant>,
}
