//! Keys, and what the lake holds of each.

use std::collections::{BTreeMap, BTreeSet};

use domain::{Currency, Instant, Zone, money};
use serde::{Deserialize, Serialize};
use storage::lake::{BILL_KEY_TAG, PinnedTable};

use super::days::DaySet;
use super::sums::{CurrencySums, KeySums};

/// Tag of a data file that says which key it belongs to and what the whole key holds.
pub(super) const KEY_TAG: &str = BILL_KEY_TAG;

/// What an import replaces as a whole.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ImportKey {
    /// Who sent it.
    pub source: String,
    /// BillingAccountId.
    pub billing_account: String,
    /// `YYYY-MM` if the billing period begins with a month (UTC), else the day on which it begins.
    pub billing_period: String,
}

impl ImportKey {
    /// Returns the key of lines of this account whose billing period begins at that instant.
    #[must_use]
    pub fn new(source: &str, billing_account: &str, billing_period_start: Instant) -> Self {
        let day = Zone::utc().day_of(billing_period_start);
        let month = day.month();
        let billing_period = if month.first_day() == day { month.to_string() } else { day.to_string() };
        Self { source: source.to_owned(), billing_account: billing_account.to_owned(), billing_period }
    }

    /// Returns the month in which the billing period begins, `YYYY-MM`: a partition of the table.
    #[must_use]
    pub fn billing_month(&self) -> &str {
        self.billing_period.get(..7).unwrap_or(&self.billing_period)
    }
}

/// What the lake holds of one key.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct StoredKey {
    /// Hash of its rows.
    pub sha256: String,
    /// Rows.
    pub rows: u64,
    /// Sum of the magnitudes of BilledCost by currency, in atoms.
    pub billed_magnitudes: BTreeMap<String, i128>,
    /// Sum of BilledCost by currency, in atoms; empty for keys stored before it was kept.
    pub net_billed: BTreeMap<String, i128>,
    /// Days that its lines touch.
    pub days: DaySet,
    /// The import that brought it.
    pub import_id: String,
    /// Its data files.
    pub files: Vec<String>,
}

/// The tag's content: what the whole key holds, the same at each of its files.
#[derive(Debug, Deserialize, Serialize)]
struct KeyTag {
    billing_account: String,
    billing_period: String,
    sha256: String,
    rows: u64,
    billed_magnitudes: BTreeMap<String, String>,
    #[serde(default)]
    net_billed: BTreeMap<String, String>,
    days: serde_json::Value,
    import: String,
}

/// Returns what a version of `cost_lines` holds of a source, by key.
#[must_use]
pub fn stored_keys(pinned: &PinnedTable, source: &str) -> BTreeMap<ImportKey, StoredKey> {
    let mut keys: BTreeMap<ImportKey, StoredKey> = BTreeMap::new();
    for file in pinned.files().filter(|file| file.partition("source") == Some(source)) {
        let tag = file.tags.get(KEY_TAG).and_then(|text| serde_json::from_str::<KeyTag>(text).ok());
        let Some(tag) = tag else {
            tracing::warn!(file = %file.path, "a file of cost lines has no key; it is never replaced");
            continue;
        };
        let key = ImportKey {
            source: source.to_owned(),
            billing_account: tag.billing_account,
            billing_period: tag.billing_period,
        };
        let stored = keys.entry(key).or_default();
        stored.sha256 = tag.sha256;
        stored.rows = tag.rows;
        stored.billed_magnitudes = tag.billed_magnitudes.into_iter().filter_map(to_atoms).collect();
        stored.net_billed = tag.net_billed.into_iter().filter_map(to_atoms).collect();
        stored.days = DaySet::from_json(&tag.days).unwrap_or_default();
        stored.import_id = tag.import;
        stored.files.push(file.path.clone());
    }
    keys
}

/// Returns the other sources of which a version of `cost_lines` holds lines of the same account and billing period.
pub(crate) fn other_sources(pinned: &PinnedTable, key: &ImportKey) -> BTreeSet<String> {
    let mut sources = BTreeSet::new();
    for file in pinned.files().filter(|file| file.partition("billing_month") == Some(key.billing_month())) {
        let Some(source) = file.partition("source").filter(|source| *source != key.source) else { continue };
        let tag = file.tags.get(KEY_TAG).and_then(|text| serde_json::from_str::<KeyTag>(text).ok());
        let is_same =
            |tag: KeyTag| tag.billing_account == key.billing_account && tag.billing_period == key.billing_period;
        if tag.is_some_and(is_same) {
            sources.insert(source.to_owned());
        }
    }
    sources
}

fn to_atoms((currency, amount): (String, String)) -> Option<(String, i128)> {
    let parsed = domain::decimal::parse_scaled(&amount, money::MONEY_SCALE).ok()?;
    Some((currency, parsed.atoms))
}

/// Returns the tag of the files of a key.
pub(super) fn key_tag(key: &ImportKey, sums: &KeySums, import_id: &str) -> String {
    let by_currency = |sum: fn(&CurrencySums) -> i128| {
        let text = |(currency, sums): (&Currency, _)| (currency.to_string(), money::format_atoms(sum(sums)));
        sums.currencies.iter().map(text).collect()
    };
    let tag = KeyTag {
        billing_account: key.billing_account.clone(),
        billing_period: key.billing_period.clone(),
        sha256: sums.hash.to_hex(),
        rows: sums.rows,
        billed_magnitudes: by_currency(|sums| sums.billed_magnitude),
        net_billed: by_currency(|sums| sums.billed),
        days: sums.days.to_json(),
        import: import_id.to_owned(),
    };
    serde_json::to_string(&tag).expect("a tag is text and numbers")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_period_is_named_by_its_month_or_else_by_its_first_day() {
        let key = |start: &str| ImportKey::new("s", "a", Instant::parse_lenient(start).expect("a time"));
        assert_eq!(key("2024-09-01 00:00:00").billing_period, "2024-09");
        assert_eq!(key("2024-09-08").billing_period, "2024-09-08");
        assert_eq!(key("2024-09-08").billing_month(), "2024-09");
    }
}
