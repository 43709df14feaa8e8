//! Recurring and manual costs as cost lines.
//!
//! Subscriptions, one-off invoices, "the manual monthly entry": they become lines like any bill, so
//! that the bill is always the cost lines, all of them, and nothing else. The lines are made anew from
//! the entries each time; only months whose lines differ are committed.

use std::collections::BTreeMap;

use domain::{Day, Instant, Zone};
use serde_json::json;
use sha2::{Digest, Sha256};
use storage::catalog::Catalog;
use storage::lake::{Lake, LakeError, NewFile, PinnedTable, Table};

use crate::cost_lines::{
    FileBatch, FileSet, ImportFacts, ImportKey, KeySums, LineColumns, Replacement, StoredKey, charge_days,
    replace_keys, stored_keys,
};
use crate::error::ImportError;
use crate::focus::CostLine;

/// What recurs: entries of the catalog and of policies.
mod entry;
/// One part of a fixed cost as a FOCUS line.
mod line;
/// Which periods, and how much of each.
mod schedule;

pub use entry::{FixedEntry, FixedSource, POOL_TAG, from_row_fixed_cost, policy_entries};
pub(crate) use schedule::round_half_even;
pub use schedule::{Charge, charges, round_part};

/// The name under which all lines of a source and month are replaced together.
const ALL_ENTRIES: &str = "*";
/// Lines made at most: a daily cost for ten thousand entries and a year.
const LINES_MAX: usize = 4_000_000;
/// How often the commit starts over because another one came first.
const ATTEMPTS_MAX: usize = 8;

/// What making the lines needs.
#[derive(Clone, Debug)]
pub struct FixedContext {
    /// The lake.
    pub lake: Lake,
    /// The catalog.
    pub catalog: Catalog,
    /// The organisation's zone.
    pub zone: Zone,
    /// The time of the commit.
    pub now: Instant,
}

/// What making the lines did.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FixedReport {
    /// The import that was committed; `None` if every line was there already.
    pub import_id: Option<String>,
    /// Lines of all entries.
    pub lines: u64,
    /// Months whose lines changed, `YYYY-MM`.
    pub changed_months: Vec<String>,
}

/// The lines of one source and month.
#[derive(Default)]
struct Month {
    sums: KeySums,
    lines: Vec<CostLine>,
}

/// Makes the lines of all periods that begin on or before `up_to`, takes out those of entries that are
/// gone, and commits the months that changed. Doing it again changes nothing.
///
/// # Errors
/// [`ImportError::BadFixedCost`] if an entry cannot become lines; then nothing is changed.
pub async fn materialize_fixed(
    context: &FixedContext,
    entries: &[FixedEntry],
    up_to: Day,
) -> Result<FixedReport, ImportError> {
    let months = months(entries, up_to, &context.zone)?;
    for _ in 0..ATTEMPTS_MAX {
        let pinned = context.lake.pin_table(Table::CostLines).await?;
        let stored = stored(&pinned);
        let changed = changed(&months, &stored);
        let mut report =
            FixedReport { lines: months.values().map(|month| month.sums.rows).sum(), ..FixedReport::default() };
        if changed.is_empty() {
            return Ok(report);
        }
        report.changed_months = changed.iter().map(|key| key.billing_period.clone()).collect();
        report.changed_months.sort();
        report.changed_months.dedup();
        let id = import_id(&months, &changed, context.now);
        let mut written = write(context, &id, &months, &changed).await?;
        let facts = facts(&id, &months, &changed, &report);
        let replacements = replacements(&months, stored, &changed, &written);
        match replace_keys(&context.lake, &pinned, context.now, facts, replacements).await {
            Ok(row) => {
                crate::import::cache(&context.catalog, &row).await;
                report.import_id = Some(id);
                return Ok(report);
            }
            Err(LakeError::Conflict { .. }) => {
                crate::import::discard(&context.lake, std::mem::take(&mut written)).await
            }
            Err(error) => return Err(error.into()),
        }
    }
    Err(ImportError::Busy)
}

fn months(entries: &[FixedEntry], up_to: Day, zone: &Zone) -> Result<BTreeMap<ImportKey, Month>, ImportError> {
    let mut months: BTreeMap<ImportKey, Month> = BTreeMap::new();
    let mut buffer = Vec::new();
    let mut count = 0;
    for entry in entries {
        let charges = charges(entry, up_to).map_err(|reason| bad(entry, reason))?;
        for charge in charges {
            count += 1;
            if LINES_MAX < count {
                return Err(bad(entry, format!("fixed costs make more than {LINES_MAX} lines; shorten or merge them")));
            }
            let line = line::line(entry, &charge, zone);
            let key = ImportKey {
                source: entry.source.as_str().to_owned(),
                billing_account: ALL_ENTRIES.to_owned(),
                billing_period: charge.period_from.month().to_string(),
            };
            let month = months.entry(key).or_default();
            month.sums.add(&line, charge_days(&line, zone), &mut buffer);
            month.lines.push(line);
        }
    }
    Ok(months)
}

fn bad(entry: &FixedEntry, reason: String) -> ImportError {
    ImportError::BadFixedCost { id: entry.id.clone(), reason }
}

fn stored(pinned: &PinnedTable) -> BTreeMap<ImportKey, StoredKey> {
    let mut stored = stored_keys(pinned, FixedSource::Fixed.as_str());
    stored.extend(stored_keys(pinned, FixedSource::Manual.as_str()));
    stored
}

/// Months with other lines than before, months with lines for the first time, months without lines any more.
fn changed(months: &BTreeMap<ImportKey, Month>, stored: &BTreeMap<ImportKey, StoredKey>) -> Vec<ImportKey> {
    let differs =
        |key: &ImportKey, month: &Month| stored.get(key).is_none_or(|stored| stored.sha256 != month.sums.hash.to_hex());
    let changed = months.iter().filter(|(key, month)| differs(key, month)).map(|(key, _)| key);
    let gone = stored.keys().filter(|key| !months.contains_key(key));
    changed.chain(gone).cloned().collect()
}

fn import_id(months: &BTreeMap<ImportKey, Month>, changed: &[ImportKey], now: Instant) -> String {
    let mut hash = Sha256::new();
    for key in changed {
        let sha256 = months.get(key).map_or_else(String::new, |month| month.sums.hash.to_hex());
        hash.update(format!("{}\n{}\n{sha256}\n", key.source, key.billing_period));
    }
    hash.update(now.micros().to_le_bytes());
    format!("imp-{}", &hex::encode(hash.finalize())[..16])
}

async fn write(
    context: &FixedContext,
    import_id: &str,
    months: &BTreeMap<ImportKey, Month>,
    changed: &[ImportKey],
) -> Result<BTreeMap<ImportKey, Vec<NewFile>>, ImportError> {
    let mut written = BTreeMap::new();
    let mut line_no = 0;
    for key in changed {
        let Some(month) = months.get(key) else { continue };
        let mut columns = [LineColumns::new(), LineColumns::new()];
        for line in &month.lines {
            line_no += 1;
            let days = charge_days(line, &context.zone);
            columns[usize::from(days.len() > 1)].push(line, line_no, days)?;
        }
        // One month at a time: years of months would hold too many files open.
        let mut files = FileSet::new(context.lake.clone());
        for (mut columns, long) in columns.into_iter().zip([false, true]) {
            if columns.rows() > 0 {
                let rows = columns.take(import_id)?;
                files.write(FileBatch { key: key.clone(), long, rows }).await?;
            }
        }
        written.extend(files.finish().await?);
    }
    Ok(written)
}

fn facts(
    import_id: &str,
    months: &BTreeMap<ImportKey, Month>,
    changed: &[ImportKey],
    report: &FixedReport,
) -> ImportFacts {
    ImportFacts {
        kind: "fixed",
        id: import_id.to_owned(),
        source: FixedSource::Fixed.as_str().to_owned(),
        rows: changed.iter().filter_map(|key| months.get(key)).map(|month| month.sums.rows).sum(),
        body: json!({ "lines": report.lines, "changed_months": report.changed_months }),
    }
}

fn replacements(
    months: &BTreeMap<ImportKey, Month>,
    mut stored: BTreeMap<ImportKey, StoredKey>,
    changed: &[ImportKey],
    written: &BTreeMap<ImportKey, Vec<NewFile>>,
) -> Vec<Replacement> {
    let one = |key: &ImportKey| Replacement {
        key: key.clone(),
        old: stored.remove(key),
        new: months.get(key).map(|month| (month.sums.clone(), written.get(key).cloned().unwrap_or_default())),
    };
    changed.iter().map(one).collect()
}
