//! The checkable statement per day, pool and measure: what went in, who got it, and that nothing is left.

use domain::tenant::{IDLE, OVERHEAD, UNATTRIBUTED, UNCONSUMED, VARIANCE};
use domain::{Currency, Day};
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::Arc;

use crate::pool_day::{PoolDay, PoolState};

/// Whose share an entry is, as far as the proof tells them apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ConsumerClass {
    /// A tenant's.
    Tenant,
    /// Paid, unused capacity.
    Idle,
    /// No rule or no driver.
    Unattributed,
    /// Amortized, nobody read it.
    Unconsumed,
    /// Bill minus rated recovery.
    Variance,
    /// Never divided.
    Overhead,
}

impl ConsumerClass {
    /// Returns the class of an entry's consumer.
    #[must_use]
    pub fn of(consumer: &str) -> Self {
        match consumer {
            IDLE => Self::Idle,
            UNATTRIBUTED => Self::Unattributed,
            UNCONSUMED => Self::Unconsumed,
            VARIANCE => Self::Variance,
            OVERHEAD => Self::Overhead,
            _ => Self::Tenant,
        }
    }
}

/// What the entries of kind `cost` of a day, pool, currency and class of consumers add up to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LedgerSum {
    /// The day.
    pub charge_date: Day,
    /// The pool.
    pub pool: Arc<str>,
    /// The currency.
    pub currency: Currency,
    /// Whether the entries are an estimate beside the money.
    pub memo: bool,
    /// Whose shares.
    pub class: ConsumerClass,
    /// Σ amount in atoms.
    pub amount: i128,
    /// Σ billed_amount in atoms.
    pub billed_amount: i128,
    /// Postings that the entries belong to.
    pub postings: BTreeSet<i64>,
}

/// What a proof row is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Measure {
    /// The cost metric.
    Amount,
    /// BilledCost.
    BilledAmount,
}

impl Measure {
    /// Returns the measure's word.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Amount => "amount",
            Self::BilledAmount => "billed_amount",
        }
    }
}

/// What a proof row shows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ProofState {
    /// What went in is what was shared out.
    Proved,
    /// The pool could not be run and keeps its older entries, so they need not match.
    NotRun,
    /// The pool was run and does not add up: the ledger is broken.
    Failed,
}

impl ProofState {
    /// Returns the state's word.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Proved => "proved",
            Self::NotRun => "not_run",
            Self::Failed => "failed",
        }
    }
}

impl fmt::Display for ProofState {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(self.as_str())
    }
}

/// One line of the proof. All amounts in atoms of 10⁻¹⁵.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProofRow {
    /// The day.
    pub charge_date: Day,
    /// The pool.
    pub pool: Arc<str>,
    /// The currency.
    pub currency: Currency,
    /// Which measure.
    pub measure: Measure,
    /// Whether the pool is an estimate beside the money; such rows are never added to the others.
    pub memo: bool,
    /// What it shows.
    pub state: ProofState,
    /// What went into the pool; 0 for a pool that no longer exists.
    pub amount_in: i128,
    /// What tenants got.
    pub shares: i128,
    /// What `__idle__` got.
    pub idle: i128,
    /// What `__unattributed__` got.
    pub unattributed: i128,
    /// What `__unconsumed__` got.
    pub unconsumed: i128,
    /// What `__variance__` got.
    pub variance: i128,
    /// What `__overhead__` got.
    pub overhead: i128,
    /// `amount_in` less all of these: 0.
    pub difference: i128,
    /// Where the amounts came from: the distinct `inputs` of the pool's components, each JSON.
    pub inputs: Vec<Arc<str>>,
    /// Postings that the entries belong to, in order.
    pub postings: Vec<i64>,
}

#[derive(Default)]
struct Gathered {
    amount_in: [i128; 2],
    by_class: BTreeMap<ConsumerClass, [i128; 2]>,
    inputs: BTreeSet<Arc<str>>,
    postings: BTreeSet<i64>,
    not_run: bool,
}

/// Returns the proof: two rows, one per measure, for every day, pool, currency and memo that was put in or stands
/// in the ledger, in that order.
///
/// `pool_days` are the rows of each day's last run that a posting names or that found nothing to post; `sums` are
/// of kind `cost` only. A pool of the ledger without pool days was renamed or removed: its `amount_in` is 0.
#[must_use]
pub fn prove(pool_days: &[PoolDay], sums: &[LedgerSum]) -> Vec<ProofRow> {
    let mut gathered: BTreeMap<(Day, Arc<str>, Currency, bool), Gathered> = BTreeMap::new();
    for row in pool_days {
        let into = gathered.entry((row.charge_date, Arc::clone(&row.pool), row.currency, row.memo)).or_default();
        add(&mut into.amount_in, [row.amount, row.billed_amount]);
        into.inputs.insert(Arc::clone(&row.inputs));
        into.not_run |= row.state != PoolState::Run;
    }
    for sum in sums {
        let into = gathered.entry((sum.charge_date, Arc::clone(&sum.pool), sum.currency, sum.memo)).or_default();
        add(into.by_class.entry(sum.class).or_default(), [sum.amount, sum.billed_amount]);
        into.postings.extend(&sum.postings);
    }
    let mut rows = Vec::with_capacity(2 * gathered.len());
    for ((charge_date, pool, currency, memo), found) in gathered {
        for measure in [Measure::Amount, Measure::BilledAmount] {
            rows.push(found.row(charge_date, Arc::clone(&pool), currency, memo, measure));
        }
    }
    rows
}

impl Gathered {
    fn row(&self, charge_date: Day, pool: Arc<str>, currency: Currency, memo: bool, measure: Measure) -> ProofRow {
        let index = match measure {
            Measure::Amount => 0,
            Measure::BilledAmount => 1,
        };
        let of = |class| self.by_class.get(&class).map_or(0, |sums| sums[index]);
        let out: i128 = self.by_class.values().map(|sums| sums[index]).sum();
        let difference = self.amount_in[index] - out;
        ProofRow {
            charge_date,
            pool,
            currency,
            measure,
            memo,
            state: match (self.not_run, difference) {
                (true, _) => ProofState::NotRun,
                (false, 0) => ProofState::Proved,
                (false, _) => ProofState::Failed,
            },
            amount_in: self.amount_in[index],
            shares: of(ConsumerClass::Tenant),
            idle: of(ConsumerClass::Idle),
            unattributed: of(ConsumerClass::Unattributed),
            unconsumed: of(ConsumerClass::Unconsumed),
            variance: of(ConsumerClass::Variance),
            overhead: of(ConsumerClass::Overhead),
            difference,
            inputs: self.inputs.iter().cloned().collect(),
            postings: self.postings.iter().copied().collect(),
        }
    }
}

fn add(into: &mut [i128; 2], what: [i128; 2]) {
    for (sum, atoms) in into.iter_mut().zip(what) {
        *sum = sum.checked_add(atoms).expect("stored rows are bounded so that their sums fit");
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use domain::policy::{Basis, Method, Tier};

    fn day() -> Day {
        "2026-10-31".parse().expect("a day")
    }

    fn pool_day(pool: &str, amount: i128, state: PoolState) -> PoolDay {
        PoolDay {
            run: "run-1".into(),
            charge_date: day(),
            pool: pool.into(),
            tier: Tier::Direct,
            basis: Basis::Billed,
            memo: false,
            method: Method::Even,
            state,
            charge_category: Some("Usage".into()),
            service: None,
            provider: None,
            source: None,
            commitment_status: None,
            invoice_id: None,
            category: None,
            amount,
            billed_amount: 2 * amount,
            currency: Currency::USD,
            amount_reporting: Some(amount),
            fx_rate: None,
            fx_date: None,
            lines: 1,
            inputs: "{}".into(),
        }
    }

    fn sum(pool: &str, consumer: &str, amount: i128, posting: i64) -> LedgerSum {
        LedgerSum {
            charge_date: day(),
            pool: pool.into(),
            currency: Currency::USD,
            memo: false,
            class: ConsumerClass::of(consumer),
            amount,
            billed_amount: 2 * amount,
            postings: BTreeSet::from([posting]),
        }
    }

    #[test]
    fn what_went_in_is_what_every_class_got() {
        let pool_days = [pool_day("a", 60, PoolState::Run), pool_day("a", 40, PoolState::Run)];
        let names = ["acme", "globex", IDLE, UNATTRIBUTED, UNCONSUMED, VARIANCE, OVERHEAD];
        let sums: Vec<LedgerSum> =
            names.iter().zip([50, 20, 10, 9, 8, -7, 10]).map(|(name, amount)| sum("a", name, amount, 3)).collect();

        let rows = prove(&pool_days, &sums);

        assert_eq!(rows.len(), 2);
        let [first, second] = &rows[..] else { panic!("two rows") };
        assert_eq!((first.measure, second.measure), (Measure::Amount, Measure::BilledAmount));
        assert_eq!((first.amount_in, first.shares, first.idle, first.variance), (100, 70, 10, -7));
        assert_eq!((second.amount_in, second.shares), (200, 140));
        assert_eq!((first.difference, first.state, &first.postings[..]), (0, ProofState::Proved, &[3][..]));
        assert_eq!(first.inputs.len(), 1);
    }

    #[test]
    fn a_missing_atom_fails_the_proof() {
        let rows = prove(&[pool_day("a", 100, PoolState::Run)], &[sum("a", "acme", 99, 1)]);
        assert_eq!((rows[0].difference, rows[0].state), (1, ProofState::Failed));
    }

    #[test]
    fn a_removed_pool_had_nothing_put_in() {
        let settled = prove(&[], &[sum("old", "acme", 0, 1)]);
        assert_eq!((settled[0].amount_in, settled[0].state), (0, ProofState::Proved));
        let unsettled = prove(&[], &[sum("old", "acme", 5, 1)]);
        assert_eq!((unsettled[0].difference, unsettled[0].state), (-5, ProofState::Failed));
    }

    #[test]
    fn a_pool_that_was_not_run_is_neither_proved_nor_failed() {
        let state = PoolState::NotRun("fx_missing".into());
        let rows = prove(&[pool_day("a", 100, state)], &[sum("a", "acme", 90, 1)]);
        assert!(rows.iter().all(|row| row.state == ProofState::NotRun));
    }
}
