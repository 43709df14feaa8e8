//! Driver gaps: who was measured nearly every day and is not on this one. The others would pay its part without a word.

use super::view::RunWarning;
use crate::EngineError;
use crate::inputs::rows::{Rows, literal};
use attribution::cells::Consumer;
use attribution::day::PoolOutcome;
use datafusion::prelude::SessionContext;
use domain::Day;
use domain::policy::{Basis, Method, Policy};
use domain::tenant::RESERVED;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// Code of such warnings.
pub(crate) const DRIVER_GAP: &str = "driver_gap";
/// Days before a day that are looked at.
const DAYS_BEFORE: i32 = 7;
/// On how many of them there was usage.
const DAYS_USED_MIN: usize = 5;
/// Consumers named for one pool and day; further ones are counted.
pub(super) const NAMED_MAX: usize = 100;

/// The days before on which usage of a consumer drove a pool.
///
/// Days of the run are added as they are computed. Those before it are read from the ledger, which holds the quantities
/// that drove the pools: a nightly run need not read a week of usage.
#[derive(Debug, Default)]
pub(super) struct DriverDays(BTreeMap<Arc<str>, BTreeMap<Arc<str>, BTreeSet<Day>>>);

/// Returns whether some pool of the policy divides a bill by usage, so that a gap shifts cost to others.
pub(super) fn watches(policy: &Policy) -> bool {
    policy.pools.iter().any(|pool| is_watched(pool.method(), pool.basis(), pool.is_memo()))
}

/// In an estimate, or a pool that books what was not recovered, nobody pays for another one's gap.
pub(super) fn is_watched(method: Method, basis: Basis, is_memo: bool) -> bool {
    is_driven(method) && basis == Basis::Billed && !is_memo
}

/// Whether the method looks at quantities.
pub(super) fn is_driven(method: Method) -> bool {
    matches!(method, Method::Weighted | Method::Proportional | Method::Rated)
}

impl DriverDays {
    /// Returns what the ledger says about the days before this one.
    ///
    /// # Errors
    /// When the query fails.
    pub(super) async fn before(session: &SessionContext, day: Day) -> Result<Self, EngineError> {
        let (first, last) = (day.plus(-DAYS_BEFORE), day.plus(-1));
        let reserved: Vec<String> = RESERVED.iter().map(|word| literal(word)).collect();
        let methods = [Method::Weighted, Method::Proportional, Method::Rated].map(|method| literal(method.as_str()));
        let sql = format!(
            "SELECT charge_date, pool, consumer, meter FROM ledger WHERE kind = 'cost' \
             AND charge_month >= '{}' AND charge_month <= '{}' AND charge_date >= DATE '{first}' AND charge_date <= DATE '{last}' \
             AND NOT memo AND basis = {} AND method IN ({}) AND consumer NOT IN ({}) \
             GROUP BY charge_date, pool, consumer, meter HAVING sum(coalesce(quantity, 0)) > 0",
            first.month(),
            last.month(),
            literal(Basis::Billed.as_str()),
            methods.join(", "),
            reserved.join(", "),
        );
        let mut days = Self::default();
        for batch in session.sql(&sql).await?.collect().await? {
            let rows = Rows(&batch);
            let found = rows.days("charge_date")?.into_iter().zip(rows.texts("pool")?).zip(rows.texts("consumer")?);
            for ((day, pool), consumer) in found {
                days.add(day, &pool.unwrap_or_default(), consumer.unwrap_or_default());
            }
        }
        Ok(days)
    }

    /// Returns who was measured on most days before and is not on this one, pool by pool, then notes who is.
    pub(super) fn gaps(&mut self, day: Day, pools: &[PoolOutcome]) -> Vec<RunWarning> {
        let is_divided = |pool: &&PoolOutcome| {
            is_watched(pool.method, pool.basis, pool.memo) && pool.not_run.is_none() && !pool.components.is_empty()
        };
        let mut warnings = Vec::new();
        for pool in pools.iter().filter(is_divided) {
            let today = quantities(pool);
            warnings.extend(self.gaps_of(day, &pool.name, |consumer| today.contains_key(consumer)));
            let name: Arc<str> = pool.name.as_str().into();
            for (consumer, _) in today.into_iter().filter(|(_, quantity)| *quantity > 0) {
                self.add(day, &name, consumer);
            }
        }
        warnings
    }

    fn add(&mut self, day: Day, pool: &Arc<str>, consumer: Arc<str>) {
        let days = self.0.entry(Arc::clone(pool)).or_default().entry(consumer).or_default();
        days.insert(day);
        *days = days.split_off(&day.plus(-DAYS_BEFORE));
    }

    fn gaps_of(&self, day: Day, pool: &str, is_measured: impl Fn(&str) -> bool) -> Vec<RunWarning> {
        let warning = |detail: String| RunWarning {
            code: DRIVER_GAP.to_owned(),
            day: Some(day),
            pool: Some(pool.to_owned()),
            detail,
        };
        let used = |days: &BTreeSet<Day>| days.range(day.plus(-DAYS_BEFORE)..day).count();
        let consumers = self.0.get(pool).into_iter().flatten();
        let missing = consumers.map(|(consumer, days)| (consumer, used(days)));
        let mut missing = missing.filter(|(consumer, used)| DAYS_USED_MIN <= *used && !is_measured(consumer));
        let mut warnings: Vec<RunWarning> = missing
            .by_ref()
            .take(NAMED_MAX)
            .map(|(consumer, used)| {
                let before = format!("had usage on {used} of the {DAYS_BEFORE} days before");
                warning(format!("{consumer} {before} and has none on this day; the others pay its part"))
            })
            .collect();
        let more = missing.count();
        if more > 0 {
            warnings.push(warning(format!("and {more} more consumers without usage on this day")));
        }
        warnings
    }
}

/// The quantities by which a pool was divided, by consumer; who was measured and used nothing has 0.
fn quantities(pool: &PoolOutcome) -> BTreeMap<Arc<str>, i128> {
    let mut quantities: BTreeMap<Arc<str>, i128> = BTreeMap::new();
    for share in &pool.shares {
        if let (Consumer::Values(values), Some(quantity)) = (&share.consumer, share.quantity) {
            let parts: Vec<Option<&str>> = values.iter().map(Option::as_deref).collect();
            *quantities.entry(ledger::consumer(&parts).into()).or_default() += quantity.max(0);
        }
    }
    quantities
}

#[cfg(test)]
mod tests {
    use super::*;

    /// On which days of November, of 20 and before, the consumer had usage; who is measured on the 20th.
    fn check(used: &[&str], measured: &[&str], expected: &[&str]) {
        let day: Day = "2026-11-20".parse().expect("a day");
        let mut days = DriverDays::default();
        let pool: Arc<str> = "p".into();
        for (at, consumers) in (-8_i32..).zip(used) {
            for consumer in consumers.split(' ').filter(|consumer| !consumer.is_empty()) {
                days.add(day.plus(at), &pool, consumer.into());
            }
        }
        let gaps = days.gaps_of(day, "p", |consumer| measured.contains(&consumer));
        let named: Vec<String> = gaps.iter().map(|gap| gap.detail.chars().take(23).collect()).collect();
        assert_eq!(named, expected, "{used:?} {measured:?}");
        assert_eq!(days.gaps_of(day, "other", |_| false), []);
    }

    #[test]
    fn usage_on_five_of_seven_days_and_none_today_is_a_gap() {
        check(&["a", "a b", "a b", "a b", "a b", "", "", "a"], &["c"], &["a had usage on 5 of the"]);
        check(&["a", "a", "a", "a", "a", "", "", ""], &[], &[]);
        check(&["", "a", "a", "a", "a", "a", "a", "a"], &["a"], &[]);
        check(&["", "a", "a", "a", "a", "a", "a", "a"], &[], &["a had usage on 7 of the"]);
    }

    #[test]
    fn many_gaps_are_counted() {
        let names: Vec<String> = (0..NAMED_MAX + 3).map(|at| format!("t{at:04}")).collect();
        let mut days = DriverDays::default();
        let day: Day = "2026-11-20".parse().expect("a day");
        for (name, before) in names.iter().flat_map(|name| (1..=5).map(move |before| (name, before))) {
            days.add(day.plus(-before), &"p".into(), name.as_str().into());
        }
        let gaps = days.gaps_of(day, "p", |_| false);
        assert_eq!(gaps.len(), NAMED_MAX + 1);
        assert_eq!(gaps[NAMED_MAX].detail, "and 3 more consumers without usage on this day");
    }
}
