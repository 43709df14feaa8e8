//! Conversion between currencies.

use crate::exact::multiply_divide_half_even;
use domain::money::ATOMS_PER_UNIT;
use domain::{Currency, Day, Price};
use std::collections::BTreeMap;

/// Oldest rate that may be used, in days before the day of the cost.
pub const RATE_AGE_DAYS_MAX: i32 = 7;

/// Dated exchange rates: one `from` costs `rate` `to`.
#[derive(Clone, Debug, Default)]
pub struct FxTable(BTreeMap<(Currency, Currency), BTreeMap<Day, Price>>);

/// The rate that was used, and its date.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FxRate {
    /// How much of the target one unit of the origin costs.
    pub rate: Price,
    /// The date of the rate.
    pub date: Day,
}

impl FxTable {
    /// Enters a rate; of two for one date the later entered one holds.
    pub fn insert(&mut self, date: Day, from: Currency, to: Currency, rate: Price) {
        self.0.entry((from, to)).or_default().insert(date, rate);
    }

    /// Returns the latest rate on or before the day that is at most 7 days old; no inverse, no detour.
    #[must_use]
    pub fn rate(&self, from: Currency, to: Currency, day: Day) -> Option<FxRate> {
        let dated = self.0.get(&(from, to))?;
        let (date, rate) = dated.range(day.plus(-RATE_AGE_DAYS_MAX)..=day).next_back()?;
        Some(FxRate { rate: *rate, date: *date })
    }
}

/// Returns the amount in the other currency, rounded half-even to an atom, or `None` when it does not fit.
#[must_use]
pub fn convert_half_even(amount: i128, rate: Price) -> Option<i128> {
    multiply_divide_half_even(amount, rate.atoms(), ATOMS_PER_UNIT)
}

/// Returns the converted parts of an amount whose whole converts to `total`; they add up to it exactly.
///
/// Parts of one sign are a split of the total by the split rule. Where signs differ, each part is converted on
/// its own and the atoms that rounding leaves go one each to the first parts that are not zero. `None` when a
/// part does not fit: parts of both signs may be larger than their sum.
#[must_use]
pub fn convert_parts(total: i128, parts: &[i128], rate: Option<Price>) -> Option<Vec<i128>> {
    let Some(rate) = rate else { return Some(parts.to_vec()) };
    if let Some(split) = crate::split::split_like(total, parts) {
        return Some(split);
    }
    let mut converted = parts.iter().map(|part| convert_half_even(*part, rate)).collect::<Option<Vec<i128>>>()?;
    let sum = converted.iter().try_fold(0_i128, |sum, part| sum.checked_add(*part))?;
    let rest = total.checked_sub(sum)?;
    let mut takers: Vec<usize> = (0..parts.len()).filter(|at| parts[*at] != 0).collect();
    if takers.is_empty() {
        takers.extend(0..parts.len().min(1));
    }
    let count = usize::try_from(rest.unsigned_abs()).expect("rounding leaves less than one atom a part");
    for at in takers.into_iter().cycle().take(count) {
        converted[at] += rest.signum();
    }
    Some(converted)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn converted_parts_add_up_whatever_their_signs() {
        let rate: Price = "1.1".parse().expect("a rate");
        for parts in [vec![3, 3, 4], vec![5, -5, 5, -6], vec![0, 0], vec![-1, -2]] {
            let total = convert_half_even(parts.iter().sum(), rate).expect("small");
            let converted = convert_parts(total, &parts, Some(rate)).expect("small");
            assert_eq!(converted.iter().sum::<i128>(), total, "{parts:?}");
        }
    }

    #[test]
    fn a_rate_is_at_most_seven_days_old_and_never_inverted() {
        let day = |text: &str| text.parse::<Day>().expect("a day");
        let mut table = FxTable::default();
        table.insert(day("2026-11-02"), Currency::EUR, Currency::USD, "1.10".parse().expect("a rate"));
        assert_eq!(
            table.rate(Currency::EUR, Currency::USD, day("2026-11-09")).map(|found| found.date),
            Some(day("2026-11-02"))
        );
        assert_eq!(table.rate(Currency::EUR, Currency::USD, day("2026-11-10")), None);
        assert_eq!(table.rate(Currency::EUR, Currency::USD, day("2026-11-01")), None);
        assert_eq!(table.rate(Currency::USD, Currency::EUR, day("2026-11-02")), None);
    }
}
