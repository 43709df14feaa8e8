//! Shares by resource share (`normalize = "resource_share"`), recomputed from what the entries say was measured.

use super::cells::CellKey;
use attribution::cells::{Consumer, cells_of};
use attribution::day::DayInputs;
use attribution::fx::FxTable;
use attribution::graduated::MonthSoFar;
use attribution::split::split_exact;
use attribution::usage::{Measure, MeterBook, UsageCell};
use domain::condition::Conditions;
use domain::dimension::Dimensions;
use domain::meter::MeterKind;
use domain::policy::{Capacity, Policy, Pool};
use domain::{Currency, Day, Quantity};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// Seconds of an hour: what is measured stands for a whole day, so a day of one hour makes a capacity per hour of it.
const HOUR_SECONDS: i64 = 3600;

/// Returns the share of every cell; none when nothing weighs anything.
///
/// The quantities are fed to the rule as usage, what is idle as what the capacity leaves over.
pub(super) fn split_by_resource_share(
    pool: &Pool,
    amount: i128,
    quantities: &BTreeMap<&CellKey, i128>,
) -> Option<BTreeMap<CellKey, i128>> {
    let mut split = pool.split.clone()?;
    split.drivers = Conditions::default();
    let capacity = capacity_of(pool, quantities)?;
    let pool = Pool { capacity, split: Some(split), ..pool.clone() };
    let usage: Vec<UsageCell> =
        quantities.iter().filter_map(|(key, quantity)| as_usage(&pool, key, *quantity)).collect();
    let (policy, resolve) = (Policy::builtin(), |tenant: &str| Some(Arc::from(tenant)));
    let inputs = DayInputs {
        day: Day::from_epoch_days(0),
        day_seconds: HOUR_SECONDS,
        policy: &policy,
        lines: &[],
        usage: &usage,
        windows: &BTreeMap::new(),
        active_tenants: &BTreeSet::new(),
        rate_card: None,
        month_so_far: &MonthSoFar::default(),
        meters: &MeterBook::default(),
        reporting_currency: Currency::USD,
        fx: &FxTable::default(),
        resolve: &resolve,
    };
    let cells = cells_of(&pool, &inputs, &mut Vec::new()).ok()?;
    let shares = split_exact(amount, &cells.weights())?;
    let keys = cells.cells.keys().map(|(consumer, meter)| key_of(consumer, meter.as_deref()));
    Some(keys.zip(shares).collect())
}

/// What was used and what was idle of each resource that has a capacity.
fn capacity_of(pool: &Pool, quantities: &BTreeMap<&CellKey, i128>) -> Option<BTreeMap<String, Capacity>> {
    let of_meter = |meter: &String| {
        let measured = quantities.iter().filter(|(key, _)| key.2.as_ref() == Some(meter));
        let total: i128 = measured.map(|(_, quantity)| (*quantity).max(0)).sum();
        Some((meter.clone(), Capacity::PerHour(Quantity::from_atoms(total)?)))
    };
    pool.capacity.keys().map(of_meter).collect()
}

fn as_usage(pool: &Pool, (fields, is_reserved, meter): &CellKey, quantity: i128) -> Option<UsageCell> {
    if *is_reserved {
        return None;
    }
    let mut dimensions = Dimensions::default();
    for (dimension, value) in pool.by().iter().zip(fields) {
        dimensions.set(dimension, Some(Arc::<str>::from(value.as_str())).filter(|value| !value.is_empty()));
    }
    Some(UsageCell {
        dimensions,
        origin: "".into(),
        meter: meter.as_deref()?.into(),
        unit: "".into(),
        kind: MeterKind::Counter,
        measure: Measure { sum: quantity, ..Measure::default() },
    })
}

/// Returns the cell of a consumer, as entries are sorted into cells.
pub(super) fn key_of(consumer: &Consumer, meter: Option<&str>) -> CellKey {
    let meter = meter.map(str::to_owned);
    match consumer {
        Consumer::Reserved(word) => (vec![(*word).to_owned()], true, meter),
        Consumer::Values(values) => {
            let field = |value: &Option<Arc<str>>| value.as_deref().unwrap_or_default().to_owned();
            (values.iter().map(field).collect(), false, meter)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use domain::tenant::IDLE;

    #[test]
    fn thirds_are_divided_as_the_rule_divides_them() {
        let text = "version='v'\nvalid_from=2026-01-01\n[[pool]]\nname='a'\nselect={}\ncapacity={m='1'}\n\
                    split={method='weighted',normalize='resource_share',weights={m='1',n='1'},where={cluster='x'}}";
        let policy = Policy::read("p", text).expect("a valid policy");
        let key = |tenant: &str, meter: &str| (vec![tenant.to_owned()], tenant == IDLE, Some(meter.to_owned()));
        let used =
            [(key("a", "m"), 1), (key("b", "m"), 1), (key(IDLE, "m"), 1), (key("a", "n"), 1), (key("b", "n"), 6)];
        let quantities = used.iter().map(|(key, quantity)| (key, *quantity)).collect();
        let shares = split_by_resource_share(&policy.pools[0], 1000, &quantities).expect("something weighs");
        // m: 1/3 each of one half; n: 1/7 and 6/7 of the other.
        let expected = [(IDLE, "m", 167), ("a", "m", 167), ("a", "n", 71), ("b", "m", 167), ("b", "n", 428)];
        assert_eq!(shares, expected.map(|(tenant, meter, share)| (key(tenant, meter), share)).into());
    }
}
