//! Shares of a total, by the split rule.

use attribution::split::{split_like, truncated_share};

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

#[cfg(test)]
mod tests {
    use super::*;
    use domain::money::parse_atoms;

    fn atoms(texts: &[&str]) -> Vec<i128> {
        texts.iter().map(|text| parse_atoms(text).expect("an amount").atoms).collect()
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
}
