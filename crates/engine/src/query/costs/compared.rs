//! The days that a change is measured by.

use super::super::cost_query::{Compare, CostQuery};
use super::fold::Group;
use domain::{Day, DayRange};
use std::collections::BTreeMap;

/// What is compared with what.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Compared {
    /// The later days: the range, or its part up to the last day that is complete and final.
    pub range: DayRange,
    /// As many days before the range.
    pub previous: DayRange,
}

/// What is known of the days of a range.
#[derive(Clone, Copy, Debug)]
pub(super) struct Known {
    /// The last one that has entries.
    pub through: Option<Day>,
    pub today: Day,
    /// The first one whose cost is not final.
    pub pending: Option<Day>,
}

/// The groups of the days that are compared.
pub(super) struct Sides {
    /// Of the later days; none where they are the whole range.
    pub later: Option<BTreeMap<Vec<String>, Group>>,
    pub previous: BTreeMap<Vec<String>, Group>,
}

impl Compared {
    /// Returns what the query compares; none if it compares nothing, or the first day is not complete or not final.
    pub(super) fn of(query: &CostQuery, days: DayRange, known: Known) -> Option<Self> {
        let range = match query.compare {
            Compare::None => None,
            Compare::Prev => Some(days),
            Compare::Final => up_to_final(days, known),
        };
        range.map(|range| Self { range, previous: query.days_before(range) })
    }
}

/// Every day from the first one on that is over, has been posted and may not change.
fn up_to_final(days: DayRange, Known { through, today, pending }: Known) -> Option<DayRange> {
    let before = |day: Day| day.plus(-1);
    let last = days.to().min(through?).min(before(today)).min(pending.map_or(days.to(), before));
    DayRange::new(days.from(), last)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(through: Option<&str>, today: &str, pending: Option<&str>, expected: Option<&str>) {
        let day = |text: &str| text.parse::<Day>().expect("a day");
        let days = DayRange::new(day("2026-11-10"), day("2026-11-19")).expect("in order");
        let known = Known { through: through.map(day), today: day(today), pending: pending.map(day) };
        assert_eq!(up_to_final(days, known).map(|found| found.to().to_string()).as_deref(), expected);
    }

    #[test]
    fn a_change_ends_before_the_first_day_that_is_not_complete_or_not_final() {
        check(Some("2026-11-19"), "2026-11-20", None, Some("2026-11-19"));
        check(Some("2026-11-17"), "2026-11-20", None, Some("2026-11-17"));
        check(Some("2026-11-19"), "2026-11-19", None, Some("2026-11-18"));
        check(Some("2026-11-19"), "2026-11-20", Some("2026-11-12"), Some("2026-11-11"));
        check(Some("2026-11-19"), "2026-11-20", Some("2026-11-10"), None);
        check(None, "2026-11-20", None, None);
    }
}
