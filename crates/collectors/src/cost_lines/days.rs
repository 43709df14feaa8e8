//! Which days a line touches, and sets of days.

use std::collections::BTreeMap;

use domain::{Day, DayRange, Zone};

use crate::focus::{COLUMN, CostLine};

/// Returns the first and last day on which any part of the line's cost may fall.
///
/// The charge period's days; its start's day if it does not end after it starts; the first day of the
/// billing period if it has no start, and also if none of it lies inside the billing period, because
/// that is where the billed cost then goes.
#[must_use]
pub fn charge_days(line: &CostLine, zone: &Zone) -> DayRange {
    let (billing_start, billing_end) = (line.billing_period_start(), line.billing_period_end());
    let start = line.instant(COLUMN.charge_period_start);
    let end = line.instant(COLUMN.charge_period_end);
    let Some(start) = start else { return DayRange::single(zone.day_of(billing_start)) };
    let last = end.filter(|end| start < *end).map_or(start, |end| end.plus_micros(-1));
    let (mut from, mut to) = (zone.day_of(start), zone.day_of(last));
    if last < billing_start || billing_end <= start {
        let billing_day = zone.day_of(billing_start);
        (from, to) = (from.min(billing_day), to.max(billing_day));
    }
    DayRange::new(from, to).expect("the last instant of a period is not before its first")
}

/// A set of days as ranges that neither touch nor overlap.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DaySet {
    /// First day to last day, both inclusive, as days since 1970.
    ranges: BTreeMap<i32, i32>,
}

impl DaySet {
    /// Adds all days of a range.
    pub fn insert(&mut self, days: DayRange) {
        let (mut from, mut to) = (days.from().epoch_days(), days.to().epoch_days());
        if let Some((start, end)) = self.ranges.range(..=from).next_back() {
            if to <= *end {
                return;
            }
            if from <= end + 1 {
                from = *start;
            }
        }
        // Everything that begins inside the new range, or right after it, becomes part of it.
        while let Some((start, end)) = self.ranges.range(from..=to.saturating_add(1)).next() {
            let (start, end) = (*start, *end);
            to = to.max(end);
            self.ranges.remove(&start);
        }
        self.ranges.insert(from, to);
    }

    /// Adds all days of another set.
    pub fn extend(&mut self, other: &Self) {
        for range in other.ranges() {
            self.insert(range);
        }
    }

    /// Returns the ranges in order.
    pub fn ranges(&self) -> impl Iterator<Item = DayRange> + '_ {
        self.ranges.iter().map(|(from, to)| {
            DayRange::new(Day::from_epoch_days(*from), Day::from_epoch_days(*to)).expect("ranges are kept in order")
        })
    }

    /// Returns whether there is no day in it.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.ranges.is_empty()
    }

    /// Returns the set as JSON: pairs of first and last day.
    #[must_use]
    pub fn to_json(&self) -> serde_json::Value {
        self.ranges().map(|range| vec![range.from().to_string(), range.to().to_string()]).collect()
    }

    /// Returns the set that [`DaySet::to_json`] wrote; `None` if it is not such a text.
    #[must_use]
    pub fn from_json(value: &serde_json::Value) -> Option<Self> {
        let mut set = Self::default();
        for pair in value.as_array()? {
            let from = pair.get(0)?.as_str()?.parse().ok()?;
            let to = pair.get(1)?.as_str()?.parse().ok()?;
            set.insert(DayRange::new(from, to)?);
        }
        Some(set)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use std::collections::BTreeSet;

    use super::*;

    fn range(from: i32, to: i32) -> DayRange {
        DayRange::new(Day::from_epoch_days(from), Day::from_epoch_days(to)).expect("in order")
    }

    proptest! {
        #[test]
        fn a_set_of_days_is_the_union_of_its_ranges(ranges in proptest::collection::vec((-50..50_i32, 0..20_i32), 0..30)) {
            let (mut set, mut days) = (DaySet::default(), BTreeSet::new());
            for (from, more) in ranges {
                set.insert(range(from, from + more));
                days.extend(from..=from + more);
            }
            let listed: Vec<i32> = set.ranges().flat_map(|range| range.days().map(Day::epoch_days).collect::<Vec<_>>()).collect();
            prop_assert_eq!(listed, days.into_iter().collect::<Vec<_>>());
            let ranges: Vec<DayRange> = set.ranges().collect();
            prop_assert!(ranges.windows(2).all(|pair| pair[0].to().plus(1) < pair[1].from()));
            prop_assert_eq!(DaySet::from_json(&set.to_json()), Some(set));
        }
    }
}
