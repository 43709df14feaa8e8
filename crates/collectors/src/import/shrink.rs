//! What would be lost: a bill that comes back much smaller is usually a broken export.

use std::collections::{BTreeMap, BTreeSet};

use domain::money::format_atoms;

use super::Analysis;
use crate::cost_lines::{CurrencySums, ImportKey, KeySums, StoredKey};
use crate::error::{ImportError, Shrink};

/// Refuses keys that would lose more than a fifth of their rows, or of their billed amount in any currency.
///
/// The billed amount counts twice: as the sum of magnitudes, so that no credit hides what is missing, and as it
/// is, where it is a cost: that is what somebody pays.
pub(super) fn check(
    analysis: &Analysis,
    stored: &BTreeMap<ImportKey, StoredKey>,
    changed: &[ImportKey],
) -> Result<(), ImportError> {
    let keys = changed.iter().filter_map(|key| Some((key, stored.get(key)?, &analysis.keys[key])));
    let shrinks: Vec<Shrink> = keys.flat_map(|(key, old, new)| shrinks(key, old, new)).collect();
    if shrinks.is_empty() { Ok(()) } else { Err(ImportError::WouldShrink(shrinks)) }
}

fn shrinks(key: &ImportKey, old: &StoredKey, new: &KeySums) -> Vec<Shrink> {
    let new_sums: BTreeMap<String, CurrencySums> =
        new.currencies.iter().map(|(currency, sums)| (currency.to_string(), *sums)).collect();
    let rows_lost = loses_a_fifth(i128::from(old.rows), i128::from(new.rows));
    let currencies: BTreeSet<&String> = old.billed_magnitudes.keys().chain(new_sums.keys()).collect();
    let lost = currencies.into_iter().filter_map(|currency| {
        let before = old.billed_magnitudes.get(currency).copied().unwrap_or(0);
        let after = new_sums.get(currency).copied().unwrap_or_default();
        // Keys stored before this sum was kept do not know it.
        let net_before = old.net_billed.get(currency).copied();
        let net_lost = net_before.is_some_and(|net| 0 < net && loses_a_fifth(net, after.billed));
        (rows_lost || net_lost || loses_a_fifth(before, after.billed_magnitude)).then(|| Shrink {
            billing_account: key.billing_account.clone(),
            billing_period: key.billing_period.clone(),
            rows_before: old.rows,
            rows_after: new.rows,
            currency: currency.clone(),
            billed_before: format_atoms(before),
            billed_after: format_atoms(after.billed_magnitude),
            net_before: net_before.map(format_atoms),
            net_after: format_atoms(after.billed),
        })
    });
    lost.collect()
}

/// Whether more than 20 % is gone.
fn loses_a_fifth(before: i128, after: i128) -> bool {
    after * 5 < before * 4
}

#[cfg(test)]
mod tests {
    use super::loses_a_fifth;

    #[test]
    fn a_fifth_may_go_but_no_more() {
        assert!(!loses_a_fifth(10, 8));
        assert!(loses_a_fifth(10, 7));
        assert!(loses_a_fifth(1_000_000, 799_999));
        assert!(!loses_a_fifth(0, 0));
    }
}
