//! Amounts in whole minor units (cents) that add up.

use crate::exact::multiply_divide_half_even;
use crate::split::split_like;
use domain::Currency;
use domain::money::MONEY_SCALE;

/// Returns the amount rounded half-even to the currency's minor unit.
///
/// # Units
/// Both in atoms of 10⁻¹⁵.
///
/// # Example
/// ```
/// # use attribution::minor_units::round_to_minor_units;
/// # use domain::{Currency, money::parse_atoms};
/// let cents = |text: &str| parse_atoms(text).map(|parsed| parsed.atoms);
/// assert_eq!(round_to_minor_units(cents("10.005")?, Currency::USD), cents("10.00")?);
/// # Ok::<(), domain::decimal::DecimalError>(())
/// ```
#[must_use]
pub fn round_to_minor_units(atoms: i128, currency: Currency) -> i128 {
    let unit = atoms_per_minor_unit(currency);
    multiply_divide_half_even(atoms, 1, unit).expect("a quotient of an amount fits") * unit
}

/// Returns the amounts in whole minor units so that they add up to their rounded total.
///
/// As [`round_all_to_total`], of which the total is that of the amounts themselves.
#[must_use]
pub fn round_all_to_minor_units(amounts: &[i128], currency: Currency) -> Vec<i128> {
    let total = round_to_minor_units(amounts.iter().sum(), currency);
    round_all_to_total(amounts, total, currency)
}

/// Returns the amounts in whole minor units so that they add up to `total`, itself one of whole minor units.
///
/// The parts above and below zero are rounded apart: the negative ones add up to their rounded sum, the positive ones to
/// what then is left of the total; inside each part the split rule hands out minor units with the exact amounts as
/// weights, ties to the amount that comes first. No amount changes its sign, and one of zero stays zero: of nothing but
/// zeros no total can be made.
///
/// # Units
/// Everything in atoms of 10⁻¹⁵.
///
/// # Source
/// Spec 3-attribution, section 6 (statements) and section 3 (the split rule).
#[must_use]
pub fn round_all_to_total(amounts: &[i128], total: i128, currency: Currency) -> Vec<i128> {
    let unit = atoms_per_minor_unit(currency);
    let positive: Vec<i128> = amounts.iter().map(|amount| (*amount).max(0)).collect();
    let negative: Vec<i128> = amounts.iter().map(|amount| (*amount).min(0)).collect();
    let has = |part: &[i128]| part.iter().any(|amount| *amount != 0);
    let (has_positive, has_negative) = (has(&positive), has(&negative));
    let rounded = round_to_minor_units(negative.iter().sum(), currency);
    // A total that was itself handed out may lie below the rounded negative part; then nothing is left for the others.
    let takes_all = has_negative && (!has_positive || total < rounded);
    let below = if takes_all { total } else { rounded };
    let above = total - below;
    let share =
        |total: i128, weights: &[i128]| split_like(total / unit, weights).unwrap_or_else(|| vec![0; weights.len()]);
    let (above, below) = (share(above, &positive), share(below, &negative));
    above.iter().zip(&below).map(|(above, below)| (above + below) * unit).collect()
}

/// Rows that are rounded one after the other, before their total is known.
///
/// Each row gets what the rounded running total grows by, so that the rows up to any of them add up to their rounded total.
/// A row of zero stays zero, and no row changes its sign. Files that are sent as they are made are rounded so.
#[derive(Clone, Copy, Debug)]
pub struct RunningTotal {
    currency: Currency,
    exact: i128,
}

impl RunningTotal {
    /// Returns the running total before the first row.
    #[must_use]
    pub fn new(currency: Currency) -> Self {
        Self { currency, exact: 0 }
    }

    /// Returns the next row in whole minor units, in atoms like the exact amount that is given.
    pub fn round_next(&mut self, atoms: i128) -> i128 {
        let before = round_to_minor_units(self.exact, self.currency);
        self.exact += atoms;
        round_to_minor_units(self.exact, self.currency) - before
    }
}

fn atoms_per_minor_unit(currency: Currency) -> i128 {
    10_i128.pow(MONEY_SCALE - currency.minor_unit_digits())
}

#[cfg(test)]
mod tests {
    use super::*;
    use domain::money::parse_atoms;

    fn atoms(texts: &[&str]) -> Vec<i128> {
        texts.iter().map(|text| parse_atoms(text).expect("an amount").atoms).collect()
    }

    fn check(amounts: &[&str], currency: &str, expected: &[&str]) {
        let currency = currency.parse().expect("a currency");
        assert_eq!(round_all_to_minor_units(&atoms(amounts), currency), atoms(expected), "{amounts:?} {currency}");
    }

    #[test]
    fn rounded_rows_add_up_to_the_rounded_total() {
        check(&["0.333", "0.333", "0.334"], "USD", &["0.33", "0.33", "0.34"]);
        check(&["0.004", "0.004", "0.004"], "USD", &["0.01", "0.00", "0.00"]);
        check(&["10.005", "-0.005"], "USD", &["10.00", "0.00"]);
        check(&["-1.004", "-1.004"], "USD", &["-1.01", "-1.00"]);
        check(&["1.5", "1.5"], "JPY", &["2", "1"]);
        check(&["0.0005", "0.0015"], "KWD", &["0.001", "0.001"]);
        check(&[], "USD", &[]);
        check(&["0", "0"], "USD", &["0", "0"]);
    }

    #[test]
    fn a_total_below_the_negative_part_leaves_nothing_for_the_positive_one() {
        let rounded =
            |total: &str, amounts: &[&str]| round_all_to_total(&atoms(amounts), atoms(&[total])[0], Currency::USD);
        assert_eq!(rounded("-10.02", &["0.001", "-10.006"]), atoms(&["0.00", "-10.02"]));
        assert_eq!(rounded("-10.00", &["0.001", "-10.006"]), atoms(&["0.01", "-10.01"]));
        assert_eq!(rounded("5.00", &["5.004", "-0.004"]), atoms(&["5.00", "0.00"]));
    }

    #[test]
    fn a_running_total_is_rounded_after_every_row() {
        let mut total = RunningTotal::new(Currency::USD);
        let rows: Vec<i128> = atoms(&["0.004", "0.004", "0", "0.004", "-0.004", "1.00"]);
        let rounded: Vec<i128> = rows.into_iter().map(|row| total.round_next(row)).collect();
        assert_eq!(rounded, atoms(&["0.00", "0.01", "0.00", "0.00", "0.00", "1.00"]));
    }

    proptest::proptest! {
        #[test]
        fn any_rows_are_rounded_to_their_rounded_total(
            amounts in proptest::collection::vec(-10_i128.pow(20)..10_i128.pow(20), 0..20),
            digits in proptest::sample::select(vec!["USD", "JPY", "KWD", "CLF"]),
        ) {
            let currency: Currency = digits.parse().expect("a currency");
            let rounded = round_all_to_minor_units(&amounts, currency);
            proptest::prop_assert_eq!(
                rounded.iter().sum::<i128>(),
                round_to_minor_units(amounts.iter().sum(), currency)
            );
            for (exact, rounded) in amounts.iter().zip(&rounded) {
                proptest::prop_assert!(exact.signum() * rounded.signum() >= 0);
            }
        }
    }
}
