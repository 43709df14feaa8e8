//! What the sender is told.

use std::collections::BTreeMap;

use domain::Currency;
use domain::money::format_atoms;
use serde::Serialize;

use super::Analysis;
use crate::cost_lines::{CurrencySums, ImportKey, StoredKey};

/// The answer to an import.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct ImportReport {
    /// The import; of an unchanged set the one that brought it.
    pub import_id: String,
    /// Rows of all files.
    pub rows: u64,
    /// Values whose digits beyond the scale were rounded away, half-even.
    pub rounded_values: u64,
    /// Sums over all rows, by currency.
    pub totals: Vec<ImportTotal>,
    /// The keys that the set contains.
    pub billing_periods: Vec<PeriodReport>,
    /// What is unusual about some rows.
    pub warnings: Vec<ImportWarning>,
    /// Whether every row was there already.
    pub unchanged: bool,
}

/// Sums of one currency.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct ImportTotal {
    /// ISO-4217 code.
    pub currency: String,
    /// Sum of BilledCost.
    pub billed: String,
    /// Sum of EffectiveCost.
    pub effective: String,
}

/// One key of the set.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct PeriodReport {
    /// BillingAccountId.
    pub billing_account: String,
    /// `YYYY-MM`, or the day on which a period begins that does not begin with a month.
    pub billing_period: String,
    /// Rows of the set.
    pub rows: u64,
    /// Rows that were there before.
    pub replaced_rows: u64,
    /// Sums over the rows of the set, by currency.
    pub totals: Vec<ImportTotal>,
    /// Whether they are the same rows.
    pub unchanged: bool,
}

/// Something unusual, counted.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct ImportWarning {
    /// Stable word.
    pub code: &'static str,
    /// What it means.
    pub message: &'static str,
    /// Rows concerned.
    pub count: u64,
    /// Where it was met first.
    pub first: WarningPlace,
}

/// A row of a file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct WarningPlace {
    /// Name of the file.
    pub file: String,
    /// Line of a text file, row of a Parquet file, from 1.
    pub line: u64,
}

/// The answer to a set of which every key is there already.
pub(super) fn unchanged(analysis: &Analysis, stored: &BTreeMap<ImportKey, StoredKey>) -> ImportReport {
    let import_id = analysis.keys.keys().find_map(|key| stored.get(key)).map(|stored| stored.import_id.clone());
    report(&import_id.unwrap_or_default(), analysis, stored, &[])
}

/// The answer to a set that changed these keys.
pub(super) fn imported(
    import_id: &str,
    analysis: &Analysis,
    stored: &BTreeMap<ImportKey, StoredKey>,
    changed: &[ImportKey],
) -> ImportReport {
    report(import_id, analysis, stored, changed)
}

fn report(
    import_id: &str,
    analysis: &Analysis,
    stored: &BTreeMap<ImportKey, StoredKey>,
    changed: &[ImportKey],
) -> ImportReport {
    let mut all: BTreeMap<Currency, CurrencySums> = BTreeMap::new();
    for (currency, sums) in analysis.keys.values().flat_map(|key| &key.currencies) {
        let total = all.entry(*currency).or_default();
        total.billed += sums.billed;
        total.effective += sums.effective;
    }
    let periods = analysis.keys.iter().map(|(key, sums)| PeriodReport {
        billing_account: key.billing_account.clone(),
        billing_period: key.billing_period.clone(),
        rows: sums.rows,
        replaced_rows: stored.get(key).map_or(0, |stored| stored.rows),
        totals: totals(&sums.currencies),
        unchanged: !changed.contains(key),
    });
    let warnings = analysis.notes.iter().map(|(note, (count, file, line))| ImportWarning {
        code: note.code(),
        message: note.message(),
        count: *count,
        first: WarningPlace { file: file.clone(), line: *line },
    });
    ImportReport {
        import_id: import_id.to_owned(),
        rows: analysis.rows,
        rounded_values: analysis.rounded_values,
        totals: totals(&all),
        billing_periods: periods.collect(),
        warnings: warnings.collect(),
        unchanged: changed.is_empty(),
    }
}

fn totals(sums: &BTreeMap<Currency, CurrencySums>) -> Vec<ImportTotal> {
    let total = |(currency, sums): (&Currency, &CurrencySums)| ImportTotal {
        currency: currency.to_string(),
        billed: format_atoms(sums.billed),
        effective: format_atoms(sums.effective),
    };
    sums.iter().map(total).collect()
}
