//! Which periods, and how much of each: pure calendar arithmetic.

use domain::policy::{FIXED_COST_DAYS, FixedPer};
use domain::{Day, Month};

use super::entry::FixedEntry;

/// One line of a fixed cost: its days, its amount, and the billing period it belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Charge {
    /// First day of the charge.
    pub from: Day,
    /// Last day of the charge.
    pub to: Day,
    /// Amount in atoms.
    pub atoms: i128,
    /// First day of the billing period: of the calendar month or year around the charge.
    pub period_from: Day,
    /// Last day of the billing period.
    pub period_to: Day,
}

/// Returns one charge for each period of the entry that begins on or before `up_to`.
///
/// # Errors
/// A sentence, if the entry's days are out of order or out of bound.
pub fn charges(entry: &FixedEntry, up_to: Day) -> Result<Vec<Charge>, String> {
    if !FIXED_COST_DAYS.contains(&entry.from.epoch_days())
        || entry.to.is_some_and(|to| !FIXED_COST_DAYS.contains(&to.epoch_days()))
    {
        return Err("its days must lie between 1970-01-01 and 2199-12-31".to_owned());
    }
    if entry.to.is_some_and(|to| to < entry.from) {
        return Err("it ends before it begins".to_owned());
    }
    let up_to = up_to.min(Day::from_epoch_days(*FIXED_COST_DAYS.end()));
    Ok(match entry.per {
        FixedPer::Once => once(entry, up_to).into_iter().collect(),
        FixedPer::Day => {
            let last = entry.to.map_or(up_to, |to| to.min(up_to));
            let days = entry.from.epoch_days()..=last.epoch_days();
            days.map(|day| daily(entry, Day::from_epoch_days(day))).collect()
        }
        FixedPer::Month => calendar(entry, up_to, |day| (day.month().first_day(), day.month().last_day())),
        FixedPer::Year => calendar(entry, up_to, |day| (year_start(day), year_end(day))),
    })
}

fn once(entry: &FixedEntry, up_to: Day) -> Option<Charge> {
    let to = entry.to.unwrap_or(entry.from);
    let (period_from, period_to) = (entry.from.month().first_day(), to.month().last_day());
    let charge = Charge { from: entry.from, to, atoms: entry.amount.atoms(), period_from, period_to };
    (entry.from <= up_to).then_some(charge)
}

fn daily(entry: &FixedEntry, day: Day) -> Charge {
    let month = day.month();
    let (period_from, period_to) = (month.first_day(), month.last_day());
    Charge { from: day, to: day, atoms: entry.amount.atoms(), period_from, period_to }
}

fn calendar(entry: &FixedEntry, up_to: Day, period: impl Fn(Day) -> (Day, Day)) -> Vec<Charge> {
    let mut charges = Vec::new();
    let mut from = entry.from;
    while from <= up_to && entry.to.is_none_or(|to| from <= to) {
        let (period_from, period_to) = period(from);
        let to = entry.to.map_or(period_to, |to| to.min(period_to));
        let days = |from: Day, to: Day| i128::from(to.epoch_days() - from.epoch_days()) + 1;
        let atoms = round_part(entry.amount.atoms(), days(from, to), days(period_from, period_to));
        charges.push(Charge { from, to, atoms, period_from, period_to });
        from = period_to.plus(1);
    }
    charges
}

/// Returns amount × `days` ÷ `days_of_period`, rounded half-even once: the part of a period's amount that
/// falls on so many of its days. A whole period has the whole amount.
///
/// # Units
/// Atoms of 10⁻¹⁵, any sign; at most 10²⁷, so that the product fits.
///
/// # Source
/// Spec 2-model, section 4 (recurring and manual costs).
///
/// # Example
/// ```
/// use collectors::fixed::round_part;
/// assert_eq!([round_part(100, 1, 3), round_part(100, 2, 3), round_part(100, 3, 3)], [33, 67, 100]);
/// ```
#[must_use]
pub fn round_part(amount_atoms: i128, days: i128, days_of_period: i128) -> i128 {
    round_half_even(amount_atoms * days, days_of_period)
}

/// Returns the quotient, rounded half-even.
pub(crate) fn round_half_even(numerator: i128, denominator: i128) -> i128 {
    let (whole, rest) = (numerator.div_euclid(denominator), numerator.rem_euclid(denominator));
    match (rest * 2).cmp(&denominator) {
        std::cmp::Ordering::Less => whole,
        std::cmp::Ordering::Greater => whole + 1,
        std::cmp::Ordering::Equal => whole + whole.rem_euclid(2),
    }
}

fn year_start(day: Day) -> Day {
    january(day.month()).first_day()
}

fn year_end(day: Day) -> Day {
    let mut december = day.month();
    while december.next().year() == day.month().year() {
        december = december.next();
    }
    december.last_day()
}

fn january(month: Month) -> Month {
    let mut january = month;
    while january.previous().year() == month.year() {
        january = january.previous();
    }
    january
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use domain::Currency;
    use proptest::prelude::*;

    use super::*;
    use crate::fixed::FixedSource;

    fn entry(amount: &str, per: FixedPer, from: &str, to: Option<&str>) -> FixedEntry {
        FixedEntry {
            id: "e".to_owned(),
            source: FixedSource::Fixed,
            provider: "own".to_owned(),
            service: "own".to_owned(),
            currency: Currency::USD,
            amount: amount.parse().expect("an amount"),
            per,
            from: from.parse().expect("a day"),
            to: to.map(|to| to.parse().expect("a day")),
            note: None,
            tags: BTreeMap::new(),
        }
    }

    fn check(entry: &FixedEntry, up_to: &str, expected: &[(&str, &str, &str)]) {
        let charges = charges(entry, up_to.parse().expect("a day")).expect("valid days");
        let text = |charge: &Charge| {
            (charge.from.to_string(), charge.to.to_string(), domain::money::format_atoms(charge.atoms))
        };
        let expected: Vec<_> = expected
            .iter()
            .map(|(from, to, amount)| ((*from).to_owned(), (*to).to_owned(), (*amount).to_owned()))
            .collect();
        assert_eq!(charges.iter().map(text).collect::<Vec<_>>(), expected);
    }

    #[test]
    fn a_month_is_one_line_for_its_part() {
        let open = entry("310.00", FixedPer::Month, "2026-01-11", None);
        check(&open, "2026-01-10", &[]);
        check(&open, "2026-02-01", &[("2026-01-11", "2026-01-31", "210.00"), ("2026-02-01", "2026-02-28", "310.00")]);
        // 100 × 10 ÷ 31, rounded once.
        let inside = entry("100.00", FixedPer::Month, "2026-01-11", Some("2026-01-20"));
        check(&inside, "2030-01-01", &[("2026-01-11", "2026-01-20", "32.258064516129032")]);
        let ended = entry("290", FixedPer::Month, "2024-02-01", Some("2024-02-10"));
        check(&ended, "2030-01-01", &[("2024-02-01", "2024-02-10", "100.00")]);
    }

    #[test]
    fn a_year_knows_leap_years() {
        check(
            &entry("366", FixedPer::Year, "2024-12-31", Some("2025-01-01")),
            "2025-06-01",
            &[("2024-12-31", "2024-12-31", "1.00"), ("2025-01-01", "2025-01-01", "1.002739726027397")],
        );
        check(
            &entry("365", FixedPer::Year, "2025-01-01", None),
            "2025-01-01",
            &[("2025-01-01", "2025-12-31", "365.00")],
        );
    }

    #[test]
    fn a_day_is_one_line_and_once_is_one_line_over_its_days() {
        check(
            &entry("5", FixedPer::Day, "2024-02-28", Some("2024-03-01")),
            "2024-02-29",
            &[("2024-02-28", "2024-02-28", "5.00"), ("2024-02-29", "2024-02-29", "5.00")],
        );
        check(
            &entry("-9.99", FixedPer::Once, "2026-01-31", Some("2026-02-02")),
            "2026-01-31",
            &[("2026-01-31", "2026-02-02", "-9.99")],
        );
        check(&entry("9", FixedPer::Once, "2026-01-31", None), "2026-01-31", &[("2026-01-31", "2026-01-31", "9.00")]);
    }

    #[test]
    fn days_out_of_order_or_out_of_bound_are_refused() {
        let day = "2026-01-01".parse().expect("a day");
        assert!(charges(&entry("1", FixedPer::Day, "2026-01-02", Some("2026-01-01")), day).is_err());
        assert!(charges(&entry("1", FixedPer::Day, "1969-12-31", None), day).is_err());
        assert!(charges(&entry("1", FixedPer::Day, "2026-01-01", Some("2200-01-01")), day).is_err());
    }

    proptest! {
        /// A part is the nearest atom to its exact value, a whole period the amount, a credit the mirror of a cost.
        #[test]
        fn a_part_is_the_nearest_atom(
            atoms in -10_i128.pow(27)..10_i128.pow(27),
            days in 1..=366_i128,
            period in 28..=366_i128,
        ) {
            prop_assume!(days <= period);
            let part = round_part(atoms, days, period);
            prop_assert!((part * period - atoms * days).abs() * 2 <= period);
            prop_assert_eq!(round_part(atoms, period, period), atoms);
            prop_assert_eq!(round_part(-atoms, days, period), -part);
        }
    }
}
