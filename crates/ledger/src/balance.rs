//! That the entries of a pool and day add up to what went into it.

use domain::{Currency, Day};
use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use crate::difference::Sums;
use crate::key::EntryKey;

/// One pool on one day in one currency.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PoolOfDay {
    /// The day.
    pub charge_date: Day,
    /// The pool.
    pub pool: Arc<str>,
    /// The currency of its amounts.
    pub currency: Currency,
}

/// The measures that conserve, each on its own, in atoms of 10⁻¹⁵.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Measures {
    /// The cost metric.
    pub amount: i128,
    /// BilledCost.
    pub billed_amount: i128,
    /// The cost metric in the reporting currency.
    pub amount_reporting: i128,
}

impl Measures {
    /// Returns the sums of both.
    #[must_use]
    pub fn plus(self, other: Self) -> Self {
        let add = |left: i128, right: i128| left.checked_add(right).expect("stored rows are bounded so that sums fit");
        Self {
            amount: add(self.amount, other.amount),
            billed_amount: add(self.billed_amount, other.billed_amount),
            amount_reporting: add(self.amount_reporting, other.amount_reporting),
        }
    }
}

impl From<Sums> for Measures {
    fn from(sums: Sums) -> Self {
        Self { amount: sums.amount, billed_amount: sums.billed_amount, amount_reporting: sums.amount_reporting }
    }
}

/// Measures by pool, day and currency.
pub type Totals = BTreeMap<PoolOfDay, Measures>;

/// A pool whose entries do not add up.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{what}: entries add up to {found}, but {expected} went in")]
pub struct Imbalance {
    /// Which pool, day and currency.
    pub what: PoolOfDay,
    /// What went in.
    pub expected: Measures,
    /// What the entries say.
    pub found: Measures,
}

/// Returns the totals of entries or of what is desired.
pub fn totals_of<'a>(entries: impl IntoIterator<Item = (&'a EntryKey, Sums)>) -> Totals {
    let mut totals = Totals::new();
    let mut add = |key: &EntryKey, sums: Measures| {
        let what = PoolOfDay { charge_date: key.charge_date, pool: Arc::clone(&key.pool), currency: key.currency };
        let total = totals.entry(what).or_default();
        *total = total.plus(sums);
    };
    // Entries of one pool and day mostly stand together: they are summed before they are looked up.
    let mut run: Option<(&EntryKey, Measures)> = None;
    for (key, sums) in entries {
        match &mut run {
            Some((of, total)) if is_same_pool(of, key) => *total = total.plus(sums.into()),
            other => {
                if let Some((of, total)) = other.replace((key, sums.into())) {
                    add(of, total);
                }
            }
        }
    }
    if let Some((of, total)) = run {
        add(of, total);
    }
    totals
}

fn is_same_pool(left: &EntryKey, right: &EntryKey) -> bool {
    (left.charge_date, left.currency) == (right.charge_date, right.currency) && left.pool == right.pool
}

/// Returns whether both say the same of every pool, day and currency; one that is missing counts as zero.
///
/// # Errors
/// [`Imbalance`] names the first that differs.
pub fn check_totals(expected: &Totals, found: &Totals) -> Result<(), Box<Imbalance>> {
    let none = Measures::default();
    for what in expected.keys().chain(found.keys()) {
        let expected = *expected.get(what).unwrap_or(&none);
        let found = *found.get(what).unwrap_or(&none);
        if expected != found {
            return Err(Box::new(Imbalance { what: what.clone(), expected, found }));
        }
    }
    Ok(())
}

impl fmt::Display for PoolOfDay {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "pool \"{}\" on {} in {}", self.pool, self.charge_date, self.currency)
    }
}

impl fmt::Display for Measures {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [amount, billed, reporting] =
            [self.amount, self.billed_amount, self.amount_reporting].map(domain::money::format_atoms);
        write!(out, "amount {amount}, billed_amount {billed}, amount_reporting {reporting}")
    }
}
