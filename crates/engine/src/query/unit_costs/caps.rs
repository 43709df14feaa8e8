//! How much of each cap is used. Always of direct and amortized cost, whatever mode is asked.

use super::entries::EntrySum;
use super::outcomes::Facts;
use super::{Unit, UnitKey, part_of};
use domain::policy::{Cap, CapPer};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// A cap of a task class, and what is used of it. Amounts in atoms of the reporting currency.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UnitCap {
    /// The task class.
    pub task_class: String,
    /// What may cost so much.
    pub per: CapPer,
    /// How much.
    pub amount: i128,
    /// Per workflow the greatest life-time cost of one that has cost in the range; per month the cost of the class in the
    /// month of the last day.
    pub used: i128,
    /// Part of the cap in millionths.
    pub share_used: Option<i64>,
    /// The workflow that costs most, of a cap per workflow.
    pub workflow: Option<Arc<str>>,
    /// How many workflows, or months, cost more than the cap.
    pub over: u64,
}

/// Returns what is used of the caps, in the order of the policy.
pub(super) fn used(
    caps: &[Cap],
    facts: &Facts,
    in_range: &[EntrySum],
    in_month: &[EntrySum],
    life: &[EntrySum],
) -> Vec<UnitCap> {
    let class =
        |sum: &EntrySum| facts.value(UnitKey::TaskClass, sum.unit.as_ref(), sum.repo.as_ref(), sum.task_class.as_ref());
    let mut months: BTreeMap<Arc<str>, i128> = BTreeMap::new();
    for sum in in_month {
        if let Some(class) = class(sum) {
            *months.entry(class).or_default() += sum.atoms;
        }
    }
    let mut units: BTreeMap<Arc<str>, BTreeSet<&Unit>> = BTreeMap::new();
    for sum in in_range {
        if let (Some(class), Some(unit)) = (class(sum), &sum.unit) {
            units.entry(class).or_default().insert(unit);
        }
    }
    let mut lives: BTreeMap<&Unit, i128> = BTreeMap::new();
    for sum in life {
        if let Some(unit) = &sum.unit {
            *lives.entry(unit).or_default() += sum.atoms;
        }
    }
    let one = |cap: &Cap| {
        let amount = cap.amount.atoms();
        let (used, workflow, over) = match cap.per {
            CapPer::Month => {
                let used = months.get(cap.task_class.as_str()).copied().unwrap_or_default();
                (used, None, u64::from(amount < used))
            }
            CapPer::Workflow => {
                let costs = units.get(cap.task_class.as_str()).into_iter().flatten();
                let costs = costs.map(|unit| (lives.get(unit).copied().unwrap_or_default(), *unit));
                dearest(costs, amount)
            }
        };
        let share_used = part_of(used, amount);
        UnitCap { task_class: cap.task_class.clone(), per: cap.per, amount, used, share_used, workflow, over }
    };
    caps.iter().map(one).collect()
}

/// The greatest cost, its workflow, and how many cost more than the amount. Of equal costs the first workflow counts.
fn dearest<'u>(costs: impl Iterator<Item = (i128, &'u Unit)>, amount: i128) -> (i128, Option<Arc<str>>, u64) {
    let (mut most, mut over): (Option<(i128, &Unit)>, u64) = (None, 0);
    for (cost, unit) in costs {
        over += u64::from(amount < cost);
        if most.is_none_or(|(known, _)| known < cost) {
            most = Some((cost, unit));
        }
    }
    (most.map_or(0, |(cost, _)| cost), most.map(|(_, unit)| Arc::clone(&unit.workflow)), over)
}
