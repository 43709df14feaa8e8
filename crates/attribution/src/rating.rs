//! Quantity × price.

use crate::exact::divide_half_even;
use crate::split::split_small;
use domain::rates::{Match, Per};
use domain::{Day, DayRange, Month};
use num_bigint::BigInt;
use num_traits::ToPrimitive;

/// Atoms of a quantity in one unit.
pub(crate) const QUANTITY_ATOMS_PER_UNIT: i128 = 10_i128.pow(domain::quantity::QUANTITY_SCALE);

/// A sum of quantity × price that is rounded only once, at its end.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Rated {
    /// Σ quantity atoms × price atoms × (LCM of divisors ÷ divisor).
    numerator: BigInt,
    divisor: BigInt,
}

impl Rated {
    /// Adds a quantity at a price.
    ///
    /// `quantity` in atoms of 10⁻⁹, `price` in atoms of 10⁻¹⁵ per `divisor` units.
    pub fn add(&mut self, quantity: i128, price: i128, divisor: u64) {
        let divisor = BigInt::from(divisor);
        let product = BigInt::from(quantity) * BigInt::from(price);
        if self.divisor == BigInt::ZERO {
            (self.numerator, self.divisor) = (product, divisor);
        } else if self.divisor == divisor {
            self.numerator += product;
        } else {
            self.numerator = &self.numerator * &divisor + product * &self.divisor;
            self.divisor = &self.divisor * &divisor;
        }
    }

    /// Returns the amount in atoms of 10⁻¹⁵, rounded half-even once, or `None` when it does not fit.
    #[must_use]
    pub fn round_half_even(&self) -> Option<i128> {
        if self.divisor == BigInt::ZERO {
            return Some(0);
        }
        divide_half_even(&self.numerator, &(&self.divisor * BigInt::from(QUANTITY_ATOMS_PER_UNIT))).to_i128()
    }
}

/// Returns what one unit costs on the day, in atoms of 10⁻¹⁵.
///
/// A price per hour counts the hours of the day (23, 24 or 25); a price per month is shared by the month's
/// days with the split rule, so that the days add up to it exactly.
///
/// # Source
/// Spec 2-model, section 6 (rates.toml).
#[must_use]
pub fn price_of_day(found: &Match<'_>, day: Day, day_seconds: i64) -> Option<i128> {
    let price = found.row.price.atoms();
    match found.row.per.unwrap_or_default() {
        Per::Unit | Per::Day => Some(price),
        Per::Hour => crate::exact::multiply_divide_half_even(price, i128::from(day_seconds), 3600),
        Per::Month => {
            let days = usize::try_from(day.month().days()).expect("a month has days");
            let index = usize::try_from(day.epoch_days() - day.month().first_day().epoch_days())
                .expect("the day is in its month");
            split_small(price, &vec![1; days]).map(|shares| shares[index])
        }
    }
}

/// Returns what one unit costs in the whole month if it is there each day, in atoms of 10⁻¹⁵.
///
/// # Source
/// Spec 2-model, section 6: wherever a price is shown, its month is shown.
#[must_use]
pub fn price_of_month(found: &Match<'_>, month: Month, day_seconds: impl Fn(Day) -> i64) -> Option<i128> {
    let days = DayRange::new(month.first_day(), month.last_day()).expect("a month has days");
    days.days().try_fold(0_i128, |sum, day| sum.checked_add(price_of_day(found, day, day_seconds(day))?))
}

#[cfg(test)]
mod tests {
    use super::*;
    use domain::rates::PriceRow;

    fn row(price: &str, per: Per) -> PriceRow {
        PriceRow {
            meter: "m".to_owned(),
            price: price.parse().expect("a price"),
            per: Some(per),
            labels: [].into(),
            tiers: Vec::new(),
        }
    }

    fn of_day(row: &PriceRow, day: &str, seconds: i64) -> Option<i128> {
        price_of_day(&Match { row, divisor: 1 }, day.parse().expect("a day"), seconds)
    }

    #[test]
    fn a_monthly_price_is_the_sum_of_its_days() {
        let row = row("100.00", Per::Month);
        let days =
            DayRange::new("2026-02-01".parse().expect("a day"), "2026-02-28".parse().expect("a day")).expect("a range");
        let sum: i128 = days.days().map(|day| of_day(&row, &day.to_string(), 86_400).expect("small")).sum();
        assert_eq!(sum, row.price.atoms());
        assert_eq!(of_day(&row, "2026-02-01", 86_400), Some(3_571_428_571_428_572));
        assert_eq!(of_day(&row, "2026-02-28", 86_400), Some(3_571_428_571_428_571));
    }

    #[test]
    fn a_price_has_its_month() {
        let of_month = |row: &PriceRow, day: &str| {
            let month = day.parse::<Day>().expect("a day").month();
            price_of_month(&Match { row, divisor: 1 }, month, |_| 86_400).map(domain::money::format_atoms)
        };
        assert_eq!(of_month(&row("5.00", Per::Unit), "2026-10-09").as_deref(), Some("155.00"));
        assert_eq!(of_month(&row("5.00", Per::Day), "2026-02-01").as_deref(), Some("140.00"));
        assert_eq!(of_month(&row("1", Per::Hour), "2026-11-30").as_deref(), Some("720.00"));
        assert_eq!(of_month(&row("100", Per::Month), "2026-02-01").as_deref(), Some("100.00"));
    }

    #[test]
    fn an_hourly_price_counts_the_hours_of_the_day() {
        assert_eq!(of_day(&row("1", Per::Hour), "2026-10-25", 25 * 3600), Some(25 * 10_i128.pow(15)));
    }

    #[test]
    fn rounding_happens_once_at_the_end() {
        let mut rated = Rated::default();
        for _ in 0..2 {
            rated.add(1, 5 * 10_i128.pow(8), 1); // half an atom each
        }
        assert_eq!(rated.round_half_even(), Some(1));
        let mut storage = Rated::default();
        storage.add(2_500_000_000 * QUANTITY_ATOMS_PER_UNIT, 10_i128.pow(14), 1_000_000_000);
        assert_eq!(storage.round_half_even(), Some(250_000_000_000_000));
    }
}
