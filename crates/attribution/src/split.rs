//! The split rule: the only place where cost is divided.

use num_bigint::BigUint;
use num_traits::{ToPrimitive, Zero};
use std::cmp::Reverse;

/// Returns one share per weight, in the same order; the shares add up to `amount` exactly, or `None`
/// when every weight is zero.
///
/// Each share is `|amount| × weight ÷ Σ weights` rounded toward zero. The atoms left over, fewer than the
/// number of cells, go one each to the largest remainders; ties go to the cell that comes first, so the
/// caller passes cells in the order of their keys. A zero weight gets exactly zero. The sign is restored.
///
/// # Units
/// `amount` in atoms, of any sign. Weights in any one unit; it cancels.
///
/// # Source
/// Spec 3-attribution, section 3 (largest remainder, Hamilton); `docs/method.md`.
///
/// # Example
/// ```
/// use attribution::split::split_exact;
/// let weights = [1_u32, 1, 1].map(Into::into);
/// assert_eq!(split_exact(-100, &weights), Some(vec![-34, -33, -33]));
/// ```
#[must_use]
pub fn split_exact(amount: i128, weights: &[BigUint]) -> Option<Vec<i128>> {
    let total: BigUint = weights.iter().sum();
    if total.is_zero() {
        return None;
    }
    let magnitude = amount.unsigned_abs();
    let shares = match narrow(magnitude, weights, &total) {
        Some((weights, total)) => split_narrow(magnitude, &weights, total),
        None => split_wide(magnitude, weights, &total),
    };
    assert_eq!(shares.iter().sum::<u128>(), magnitude, "shares add up to the amount");
    let signed = |share: u128| {
        let share = i128::try_from(share).expect("a share is no larger than the amount");
        if amount < 0 { -share } else { share }
    };
    Some(shares.into_iter().map(signed).collect())
}

/// Returns one share per whole-number weight; like [`split_exact`], for weights that are small by nature.
#[must_use]
pub fn split_small(amount: i128, weights: &[u64]) -> Option<Vec<i128>> {
    let weights: Vec<BigUint> = weights.iter().map(|weight| BigUint::from(*weight)).collect();
    split_exact(amount, &weights)
}

/// The weights as 128-bit numbers, if no product with the amount can overflow.
fn narrow(magnitude: u128, weights: &[BigUint], total: &BigUint) -> Option<(Vec<u128>, u128)> {
    let total = total.to_u128()?;
    magnitude.checked_mul(total)?;
    let weights = weights.iter().map(|weight| weight.to_u128().expect("no weight exceeds the total")).collect();
    Some((weights, total))
}

fn split_narrow(magnitude: u128, weights: &[u128], total: u128) -> Vec<u128> {
    let mut shares = Vec::with_capacity(weights.len());
    let mut remainders = Vec::with_capacity(weights.len());
    for weight in weights {
        let product = magnitude * weight;
        shares.push(product / total);
        remainders.push(product % total);
    }
    hand_out_left_over(magnitude, &mut shares, &remainders);
    shares
}

fn split_wide(magnitude: u128, weights: &[BigUint], total: &BigUint) -> Vec<u128> {
    let mut shares = Vec::with_capacity(weights.len());
    let mut remainders = Vec::with_capacity(weights.len());
    for weight in weights {
        let product = weight * magnitude;
        let quotient = &product / total;
        remainders.push(product - &quotient * total);
        shares.push(quotient.to_u128().expect("a share is no larger than the amount"));
    }
    hand_out_left_over(magnitude, &mut shares, &remainders);
    shares
}

fn hand_out_left_over<R: Ord>(magnitude: u128, shares: &mut [u128], remainders: &[R]) {
    let left_over = magnitude - shares.iter().sum::<u128>();
    let left_over = usize::try_from(left_over).expect("fewer atoms are left over than there are cells");
    if left_over == 0 {
        return;
    }
    let mut order: Vec<usize> = (0..shares.len()).collect();
    let (chosen, _, _) = order.select_nth_unstable_by_key(left_over, |cell| (Reverse(&remainders[*cell]), *cell));
    for cell in chosen {
        shares[*cell] += 1;
    }
}

/// Returns `amount` divided over parts in proportion to what they hold, or `None` when they do not all
/// pull in one direction (signs differ, or everything is zero).
#[must_use]
pub fn split_like(amount: i128, parts: &[i128]) -> Option<Vec<i128>> {
    let same_sign = parts.iter().all(|part| *part >= 0) || parts.iter().all(|part| *part <= 0);
    if !same_sign {
        return None;
    }
    let weights: Vec<BigUint> = parts.iter().map(|part| BigUint::from(part.unsigned_abs())).collect();
    split_exact(amount, &weights)
}

/// Returns `amount` × weight ÷ total weight rounded toward zero: a share before left-over atoms are handed out.
///
/// # Panics
/// When the weight is negative or larger than the total, or the total is not positive.
#[must_use]
pub fn truncated_share(amount: i128, weight: i128, total: i128) -> i128 {
    assert!((0..=total).contains(&weight) && 0 < total, "a weight is part of a positive total");
    let product = BigUint::from(amount.unsigned_abs()) * weight.unsigned_abs();
    let share = (product / total.unsigned_abs()).to_i128().expect("a share is no larger than the amount");
    if amount < 0 { -share } else { share }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(amount: i128, weights: &[u64], expected: Option<&[i128]>) {
        assert_eq!(split_small(amount, weights).as_deref(), expected, "{amount} over {weights:?}");
    }

    #[test]
    fn left_over_atoms_go_to_the_largest_remainders_then_to_the_first() {
        check(100, &[1, 1, 1], Some(&[34, 33, 33]));
        check(2, &[1, 1, 1], Some(&[1, 1, 0]));
        check(1, &[1, 999], Some(&[0, 1]));
        check(-100, &[1, 2], Some(&[-33, -67]));
        check(10, &[0, 3, 0], Some(&[0, 10, 0]));
        check(0, &[1, 2], Some(&[0, 0]));
        check(7, &[0, 0], None);
        check(7, &[], None);
    }

    #[test]
    fn a_truncated_share_is_what_the_weight_alone_gives() {
        assert_eq!([truncated_share(100, 1, 3), truncated_share(-100, 2, 3), truncated_share(7, 0, 3)], [33, -66, 0]);
        assert_eq!(truncated_share(i128::MAX, 10_i128.pow(30), 10_i128.pow(30)), i128::MAX);
    }

    #[test]
    fn wide_and_narrow_arithmetic_agree() {
        let weights: Vec<u128> = vec![3, 5, 0, 11, 1];
        let wide: Vec<BigUint> = weights.iter().map(|weight| BigUint::from(*weight)).collect();
        for magnitude in [0, 1, 7, 1000, 999_999_999_999] {
            assert_eq!(split_narrow(magnitude, &weights, 20), split_wide(magnitude, &wide, &BigUint::from(20_u8)));
        }
    }
}
