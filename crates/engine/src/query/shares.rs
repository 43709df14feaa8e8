//! Shares of a total and rounding to minor units, by the split rule.

use attribution::exact::multiply_divide_half_even;
use attribution::split::{split_like, truncated_share};
use domain::Currency;
use domain::money::MONEY_SCALE;

/// A whole in the six-digit fractions that shares are printed in.
pub const WHOLE: i64 = 1_000_000;
/// Hundred percent with six decimals.
pub const HUNDRED_PERCENT: i64 = 100_000_000;

/// Returns each amount's part of `whole`, adding up to `whole` exactly; `None` when the total is not positive.
///
/// An amount below 0 weighs 0. Left-over parts go to the largest remainders, ties to the amount that comes first.
#[must_use]
pub fn parts_of(whole: i64, amounts: &[i128]) -> Option<Vec<i64>> {
    if amounts.iter().sum::<i128>() <= 0 {
        return None;
    }
    let weights: Vec<i128> = amounts.iter().map(|amount| (*amount).max(0)).collect();
    let parts = split_like(i128::from(whole), &weights)?;
    Some(parts.into_iter().map(|part| i64::try_from(part).expect("a part is no larger than the whole")).collect())
}

/// Returns each amount's part of `whole` as [`parts_of`] does, also of a total below 0, such as that of a day of
/// refunds: then an amount above 0 weighs 0. `None` only when the total is 0.
#[must_use]
pub fn parts_of_either_sign(whole: i64, amounts: &[i128]) -> Option<Vec<i64>> {
    let sign = amounts.iter().sum::<i128>().signum();
    parts_of(whole, &amounts.iter().map(|amount| amount * sign).collect::<Vec<_>>())
}

/// Returns the amount rounded half-even to the currency's minor unit, in atoms.
#[must_use]
pub fn round_to_minor_units(atoms: i128, currency: Currency) -> i128 {
    let unit = atoms_per_minor_unit(currency);
    multiply_divide_half_even(atoms, 1, unit).expect("a quotient of an amount fits") * unit
}

/// Returns the amounts in whole minor units so that they add up to the rounded total.
///
/// The parts above and below zero are rounded apart: the negative ones add up to their rounded sum, the
/// positive ones to what then is left of the rounded total; inside each part the split rule hands out minor
/// units with the exact amounts as weights.
#[must_use]
pub fn round_all_to_minor_units(amounts: &[i128], currency: Currency) -> Vec<i128> {
    let total = round_to_minor_units(amounts.iter().sum(), currency);
    round_all_to_total(amounts, total, currency)
}

/// Returns the amounts in whole minor units so that they add up to `total`, which is one of whole minor units.
///
/// # Source
/// Spec 3-attribution, section 6 (statements) and section 3 (the split rule).
#[must_use]
pub fn round_all_to_total(amounts: &[i128], total: i128, currency: Currency) -> Vec<i128> {
    let unit = atoms_per_minor_unit(currency);
    let positive: Vec<i128> = amounts.iter().map(|amount| (*amount).max(0)).collect();
    let negative: Vec<i128> = amounts.iter().map(|amount| (*amount).min(0)).collect();
    let has_positive = positive.iter().any(|amount| *amount != 0);
    let below = if has_positive { round_to_minor_units(negative.iter().sum(), currency) } else { total };
    let above = total - below;
    let share =
        |total: i128, weights: &[i128]| split_like(total / unit, weights).unwrap_or_else(|| vec![0; weights.len()]);
    let (above, below) = (share(above, &positive), share(below, &negative));
    above.iter().zip(&below).map(|(above, below)| (above + below) * unit).collect()
}

/// Returns each weight's share of the amount by the split rule, and whether one of the left-over atoms went to
/// it; `None` when every weight is zero or one is negative.
#[must_use]
pub fn split_with_rounding(amount: i128, weights: &[i128]) -> Option<Vec<(i128, bool)>> {
    if weights.iter().any(|weight| *weight < 0) {
        return None;
    }
    let total: i128 = weights.iter().sum();
    let shares = split_like(amount, weights)?;
    let rounded = |weight: i128, share: i128| share != truncated_share(amount, weight, total);
    Some(weights.iter().zip(shares).map(|(weight, share)| (share, rounded(*weight, share))).collect())
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

    fn check_rounding(amounts: &[&str], currency: &str, expected: &[&str]) {
        let currency = currency.parse().expect("a currency");
        assert_eq!(round_all_to_minor_units(&atoms(amounts), currency), atoms(expected), "{amounts:?} {currency}");
    }

    #[test]
    fn rounded_rows_add_up_to_the_rounded_total() {
        check_rounding(&["0.333", "0.333", "0.334"], "USD", &["0.33", "0.33", "0.34"]);
        check_rounding(&["0.004", "0.004", "0.004"], "USD", &["0.01", "0.00", "0.00"]);
        check_rounding(&["10.005", "-0.005"], "USD", &["10.00", "0.00"]);
        check_rounding(&["-1.004", "-1.004"], "USD", &["-1.01", "-1.00"]);
        check_rounding(&["1.5", "1.5"], "JPY", &["2", "1"]);
        check_rounding(&["0.0005", "0.0015"], "KWD", &["0.001", "0.001"]);
        check_rounding(&[], "USD", &[]);
        check_rounding(&["0", "0"], "USD", &["0", "0"]);
    }

    #[test]
    fn shares_add_up_to_the_whole_and_a_negative_amount_weighs_nothing() {
        assert_eq!(parts_of(WHOLE, &atoms(&["1", "1", "1"])), Some(vec![333_334, 333_333, 333_333]));
        assert_eq!(parts_of(WHOLE, &atoms(&["2", "-1"])), Some(vec![WHOLE, 0]));
        assert_eq!(parts_of(WHOLE, &atoms(&["1", "-1"])), None);
        assert_eq!(parts_of(WHOLE, &[]), None);
        assert_eq!(parts_of(WHOLE, &[10_i128.pow(37), 10_i128.pow(37)]), Some(vec![500_000, 500_000]));
    }

    #[test]
    fn a_total_below_zero_has_shares_too() {
        assert_eq!(parts_of_either_sign(WHOLE, &atoms(&["-1", "-3"])), Some(vec![250_000, 750_000]));
        assert_eq!(parts_of_either_sign(WHOLE, &atoms(&["-2", "1"])), Some(vec![WHOLE, 0]));
        assert_eq!(parts_of_either_sign(WHOLE, &atoms(&["2", "-1"])), Some(vec![WHOLE, 0]));
        assert_eq!(parts_of_either_sign(WHOLE, &atoms(&["1", "-1"])), None);
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
