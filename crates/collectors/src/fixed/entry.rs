//! What recurs: entries of the catalog and of policies.

use std::collections::BTreeMap;

use domain::policy::{FixedCost, FixedPer, Policy};
use domain::{Currency, Day, Price};
use storage::catalog::FixedCostRow;

use crate::error::ImportError;

/// Tag by which a pool knows the lines of its own `fixed`.
pub const POOL_TAG: &str = "apportion:pool";

/// Which source the lines get.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FixedSource {
    /// Recurring costs, and `fixed` of policies.
    Fixed,
    /// Entered by hand.
    Manual,
}

impl FixedSource {
    /// Returns the source's name in `cost_lines`.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Fixed => "fixed",
            Self::Manual => "manual",
        }
    }
}

/// A fixed or manual cost.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FixedEntry {
    /// Its id; `policy:<pool>` for `fixed` of a policy. Stands in the lines as billing account and resource.
    pub id: String,
    /// Which source the lines get.
    pub source: FixedSource,
    /// Who is paid.
    pub provider: String,
    /// For what.
    pub service: String,
    /// In which currency.
    pub currency: Currency,
    /// How much each whole period costs.
    pub amount: Price,
    /// Length of a period.
    pub per: FixedPer,
    /// First day.
    pub from: Day,
    /// Last day, included; open if `None`. A cost that is paid once then lies on its first day.
    pub to: Option<Day>,
    /// Free text; becomes the charge's description.
    pub note: Option<String>,
    /// Tags of the lines.
    pub tags: BTreeMap<String, String>,
}

/// Returns the entry of a catalog row.
///
/// # Errors
/// [`ImportError::BadFixedCost`] if the row holds something that is not what its column is for.
pub fn from_row_fixed_cost(row: &FixedCostRow) -> Result<FixedEntry, ImportError> {
    let bad = |reason: String| ImportError::BadFixedCost { id: row.id.clone(), reason };
    let day = |text: &str| text.parse::<Day>().map_err(|error| bad(error.to_string()));
    let tags: BTreeMap<String, String> =
        serde_json::from_str(&row.tags).map_err(|_| bad("its tags are not a JSON map of texts".to_owned()))?;
    Ok(FixedEntry {
        id: row.id.clone(),
        source: match row.source.as_str() {
            "fixed" => FixedSource::Fixed,
            "manual" => FixedSource::Manual,
            other => return Err(bad(format!("`{other}` is not a source; use fixed or manual"))),
        },
        provider: row.provider.clone(),
        service: if row.service.is_empty() { row.provider.clone() } else { row.service.clone() },
        currency: row.currency.parse().map_err(|error: domain::currency::CurrencyError| bad(error.to_string()))?,
        amount: row.amount.parse().map_err(|error: domain::decimal::DecimalError| bad(error.to_string()))?,
        per: match row.per.as_str() {
            "day" => FixedPer::Day,
            "month" => FixedPer::Month,
            "year" => FixedPer::Year,
            "once" => FixedPer::Once,
            other => return Err(bad(format!("`{other}` is not a period; use day, month, year or once"))),
        },
        from: day(&row.from_date)?,
        to: row.to_date.as_deref().map(day).transpose()?,
        note: row.note.clone(),
        tags,
    })
}

/// Returns the entries that pools with `fixed = {…}` stand for.
///
/// `policies` in the order in which they were published. Each applies from its `valid_from` until the
/// day before the next one's; of equal dates the one published last applies. A cost that stays the same
/// from one version to the next is one entry, so that publishing a version does not cut a month in two.
#[must_use]
pub fn policy_entries(policies: &[Policy]) -> Vec<FixedEntry> {
    let mut in_force: BTreeMap<Day, &Policy> = BTreeMap::new();
    for policy in policies {
        in_force.insert(policy.valid_from, policy);
    }
    let mut entries: Vec<FixedEntry> = Vec::new();
    for (valid_from, policy) in &in_force {
        let next = in_force.range(valid_from.plus(1)..).next().map(|(day, _)| *day);
        for pool in &policy.pools {
            if let Some(fixed) = &pool.fixed
                && let Some(entry) = policy_entry(&pool.name, fixed, *valid_from, next.map(|next| next.plus(-1)))
            {
                add_or_extend(&mut entries, entry);
            }
        }
    }
    entries
}

fn policy_entry(pool: &str, fixed: &FixedCost, valid_from: Day, valid_to: Option<Day>) -> Option<FixedEntry> {
    // A cost paid once is not cut by versions: it belongs to the version of its first day.
    let once = fixed.per == FixedPer::Once;
    let from = if once { fixed.from } else { fixed.from.max(valid_from) };
    let to = match (fixed.to, valid_to) {
        (to, _) if once => Some(to.unwrap_or(fixed.from)),
        (Some(one), Some(other)) => Some(one.min(other)),
        (one, other) => one.or(other),
    };
    let applies =
        if once { valid_from <= from && valid_to.is_none_or(|to| from <= to) } else { to.is_none_or(|to| from <= to) };
    applies.then(|| FixedEntry {
        id: format!("policy:{pool}"),
        source: FixedSource::Fixed,
        provider: fixed.provider.clone(),
        service: fixed.service.clone().unwrap_or_else(|| fixed.provider.clone()),
        currency: fixed.currency,
        amount: fixed.amount,
        per: fixed.per,
        from,
        to,
        note: None,
        tags: BTreeMap::from([(POOL_TAG.to_owned(), pool.to_owned())]),
    })
}

fn add_or_extend(entries: &mut Vec<FixedEntry>, entry: FixedEntry) {
    let continued = entries.iter_mut().find(|earlier| {
        earlier.per != FixedPer::Once
            && earlier.to.is_some_and(|to| to.plus(1) == entry.from)
            && FixedEntry { from: entry.from, to: entry.to, ..(*earlier).clone() } == entry
    });
    match continued {
        Some(earlier) => earlier.to = entry.to,
        None => entries.push(entry),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn policy(valid_from: &str, amount: &str) -> Policy {
        let text = format!(
            "version = \"{valid_from}-{amount}\"\nvalid_from = {valid_from}\n[[pool]]\nname = \"temporal\"\ntier = \"overhead\"\n\
             fixed = {{ provider = \"own\", amount = \"{amount}\", currency = \"USD\", per = \"month\", from = 2026-01-01 }}\n"
        );
        domain::toml_text::parse_toml("policy.toml", &text).expect("a valid policy")
    }

    fn spans(policies: &[Policy]) -> Vec<(String, String, Option<String>)> {
        let entries = policy_entries(policies);
        let text = |day: Day| day.to_string();
        entries.iter().map(|entry| (entry.amount.to_string(), text(entry.from), entry.to.map(text))).collect()
    }

    #[test]
    fn each_version_applies_until_the_next() {
        let policies = [policy("2026-02-01", "310"), policy("2026-03-16", "620")];
        let first = ("310".to_owned(), "2026-02-01".to_owned(), Some("2026-03-15".to_owned()));
        assert_eq!(spans(&policies), [first, ("620".to_owned(), "2026-03-16".to_owned(), None)]);
    }

    #[test]
    fn a_cost_that_stays_the_same_is_one_entry() {
        let policies = [policy("2025-12-01", "310"), policy("2026-03-16", "310")];
        assert_eq!(spans(&policies), [("310".to_owned(), "2026-01-01".to_owned(), None)]);
    }

    #[test]
    fn of_equal_dates_the_one_published_last_applies() {
        let policies = [policy("2026-02-01", "310"), policy("2026-02-01", "620")];
        assert_eq!(spans(&policies), [("620".to_owned(), "2026-02-01".to_owned(), None)]);
    }
}
