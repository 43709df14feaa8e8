//! Adds bills up a second time, from the text of the files that were imported.
//!
//! Nothing here is shared with the road of imports but the names of keys: separated values are taken apart, numbers read
//! and rounded by code of its own. So a mistake there does not repeat itself here, and a sum that differs is found.

/// Decimal text to atoms.
mod number;
/// Records of separated values.
mod records;
/// Files to sums.
mod text;

use crate::cost_lines::ImportKey;
use domain::Instant;
use std::collections::{BTreeMap, BTreeSet};
use storage::catalog::{Catalog, CatalogError};
use storage::lake::{Imports, LakeError};

/// What the lake holds of a billing account, billing period and currency, as far as one import brought it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredBill {
    /// Who sent it.
    pub source: String,
    /// The import.
    pub import_id: String,
    /// BillingAccountId; empty if the lines have none.
    pub billing_account: String,
    /// BillingPeriodStart.
    pub billing_period_start: Instant,
    /// Currency of the amounts.
    pub currency: String,
    /// What its lines add up to.
    pub sums: BillSums,
}

/// What lines add up to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct BillSums {
    /// Lines.
    pub lines: u64,
    /// BilledCost in atoms.
    pub billed: i128,
    /// EffectiveCost in atoms.
    pub effective: i128,
}

impl BillSums {
    /// Adds further lines; false if the sum cannot be held.
    fn add(&mut self, other: Self) -> bool {
        let sum = self.billed.checked_add(other.billed).zip(self.effective.checked_add(other.effective));
        let Some((billed, effective)) = sum else { return false };
        *self = Self { lines: self.lines + other.lines, billed, effective };
        true
    }
}

/// What came of adding up a bill again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BillState {
    /// Its files and the lake agree.
    Proved,
    /// They do not.
    Failed,
    /// It has no files: what it costs was entered, not imported.
    NoFiles,
    /// Its files could not be added up.
    NotCounted,
}

impl BillState {
    /// Returns the word of answers.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Proved => "proved",
            Self::Failed => "failed",
            Self::NoFiles => "no_files",
            Self::NotCounted => "not_counted",
        }
    }
}

/// A bill in one currency, added up twice.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BillCount {
    /// Source, billing account, billing period.
    pub key: ImportKey,
    /// The import that brought it.
    pub import_id: String,
    /// Currency of the amounts.
    pub currency: String,
    /// By the lake.
    pub stored: BillSums,
    /// By the text of its files; none if they could not be added up.
    pub in_files: Option<BillSums>,
    /// Whether both agree.
    pub state: BillState,
    /// Why its files could not be added up.
    pub reason: Option<String>,
}

impl BillCount {
    /// Returns BilledCost by the files less that by the lake, in atoms: 0. None if the files could not be added up.
    #[must_use]
    pub fn billed_difference(&self) -> Option<i128> {
        self.in_files.map(|in_files| in_files.billed - self.stored.billed)
    }

    /// Returns the same of EffectiveCost.
    #[must_use]
    pub fn effective_difference(&self) -> Option<i128> {
        self.in_files.map(|in_files| in_files.effective - self.stored.effective)
    }
}

/// Sums by key and currency.
type ByBill = BTreeMap<(ImportKey, String), BillSums>;

/// Returns what each of these bills adds up to by the files that were kept of its import, by source, billing account, billing
/// period and currency.
///
/// # Errors
/// When the catalog fails. A file that is gone or cannot be read is told of its bill.
///
/// # Source
/// Spec 3-attribution, section 4, proof.
pub async fn recount(
    catalog: &Catalog,
    imports: &Imports,
    stored: Vec<StoredBill>,
) -> Result<Vec<BillCount>, CatalogError> {
    let mut by_import: BTreeMap<(String, String), ByBill> = BTreeMap::new();
    for bill in stored {
        let key = ImportKey::new(&bill.source, &bill.billing_account, bill.billing_period_start);
        let of_import = by_import.entry((bill.import_id, bill.source)).or_default();
        // Rows at the bound do not fill a sum, so this one can always be held.
        of_import.entry((key, bill.currency)).or_default().add(bill.sums);
    }
    let mut counts = Vec::new();
    for ((import_id, source), stored) in by_import {
        let files = files_of(catalog, &import_id).await?;
        let counted = match &files[..] {
            [] => Err((BillState::NoFiles, None)),
            files => count(imports, &source, files).await.map_err(|reason| (BillState::NotCounted, Some(reason))),
        };
        counts.extend(compared(&import_id, stored, counted));
    }
    counts.sort_by(|one, other| (&one.key, &one.currency).cmp(&(&other.key, &other.currency)));
    Ok(counts)
}

/// The hashes of the files of an import.
async fn files_of(catalog: &Catalog, import_id: &str) -> Result<Vec<String>, CatalogError> {
    let row = catalog.import_all_tenants(import_id).await?;
    let body: Option<serde_json::Value> = row.and_then(|row| serde_json::from_str(&row.body).ok());
    let files = body.as_ref().and_then(|body| body["files"].as_array()).into_iter().flatten();
    Ok(files.filter_map(|file| file["sha256"].as_str().map(str::to_owned)).collect())
}

/// Adds up the files of one import, or says why that is impossible.
async fn count(imports: &Imports, source: &str, files: &[String]) -> Result<ByBill, String> {
    let mut sums = ByBill::new();
    for sha256 in files {
        let file = imports.open_import(sha256).await.map_err(|error| match error {
            LakeError::ImportMissing(_) => format!("file {sha256} is not kept any more"),
            error => {
                tracing::error!(?error, sha256, "a kept import cannot be opened");
                format!("file {sha256} cannot be opened")
            }
        })?;
        let source = source.to_owned();
        let reading = tokio::task::spawn_blocking(move || {
            let mut sums = sums;
            text::add(file, &source, &mut sums).map(|()| sums)
        });
        let read = reading.await.map_err(|_| "its files could not be read to their end".to_owned())?;
        sums = read.map_err(|reason| format!("file {sha256}: {reason}"))?;
    }
    Ok(sums)
}

/// Sets the two sums of each bill beside each other.
fn compared(
    import_id: &str,
    stored: ByBill,
    counted: Result<ByBill, (BillState, Option<String>)>,
) -> impl Iterator<Item = BillCount> {
    // What is in the files and not in the lake counts for the keys that the lake has of this import: others were replaced.
    let keys: BTreeSet<&ImportKey> = stored.keys().map(|(key, _)| key).collect();
    let mut bills: Vec<(ImportKey, String)> = stored.keys().cloned().collect();
    if let Ok(counted) = &counted {
        bills.extend(counted.keys().filter(|bill| keys.contains(&bill.0) && !stored.contains_key(*bill)).cloned());
    }
    let import_id = import_id.to_owned();
    bills.into_iter().map(move |bill| {
        let stored = stored.get(&bill).copied().unwrap_or_default();
        let (in_files, state, reason) = match &counted {
            Ok(counted) => {
                let in_files = counted.get(&bill).copied().unwrap_or_default();
                let state = if in_files == stored { BillState::Proved } else { BillState::Failed };
                (Some(in_files), state, None)
            }
            Err((state, reason)) => (None, *state, reason.clone()),
        };
        let (key, currency) = bill;
        BillCount { key, import_id: import_id.clone(), currency, stored, in_files, state, reason }
    })
}
