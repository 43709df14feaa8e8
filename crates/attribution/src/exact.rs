//! Exact products and quotients of integers of any size.

use num_bigint::{BigInt, BigUint, Sign};
use num_integer::Integer;
use num_traits::{Signed, ToPrimitive, Zero};

/// Returns `numerator ÷ denominator` rounded half-even to a whole number.
///
/// # Panics
/// When the denominator is zero or negative: callers divide by constants and checked totals.
#[must_use]
pub fn divide_half_even(numerator: &BigInt, denominator: &BigInt) -> BigInt {
    assert!(denominator.is_positive(), "a divisor is positive");
    let (quotient, rest) = numerator.abs().div_rem(denominator);
    let twice: BigInt = rest * 2;
    let up = match twice.cmp(denominator) {
        std::cmp::Ordering::Less => false,
        std::cmp::Ordering::Greater => true,
        std::cmp::Ordering::Equal => quotient.is_odd(),
    };
    let magnitude = if up { quotient + 1 } else { quotient };
    if numerator.is_negative() { -magnitude } else { magnitude }
}

/// Returns `a × b ÷ divisor` rounded half-even, or `None` when the result does not fit.
#[must_use]
pub fn multiply_divide_half_even(a: i128, b: i128, divisor: i128) -> Option<i128> {
    // Nearly every product fits, and then nothing is allocated.
    if let Some(product) = a.checked_mul(b).filter(|product| i128::MIN < *product) {
        return Some(divide_narrow_half_even(product, divisor));
    }
    divide_half_even(&(BigInt::from(a) * BigInt::from(b)), &BigInt::from(divisor)).to_i128()
}

fn divide_narrow_half_even(numerator: i128, denominator: i128) -> i128 {
    assert!(0 < denominator, "a divisor is positive");
    let (divided, by) = (numerator.unsigned_abs(), denominator.unsigned_abs());
    // One division: that of 128 bits is what a product costs most.
    let quotient = divided / by;
    let rest = divided - quotient * by;
    let half = by - rest;
    let up = match rest.cmp(&half) {
        std::cmp::Ordering::Less => false,
        std::cmp::Ordering::Greater => true,
        std::cmp::Ordering::Equal => quotient % 2 == 1,
    };
    let magnitude = quotient + u128::from(up);
    let magnitude = i128::try_from(magnitude).expect("a quotient is no larger than what is divided");
    if numerator < 0 { -magnitude } else { magnitude }
}

/// Returns the weight as a decimal of fifteen fractional digits (half-even), when its own scale is `10⁻ˢᶜᵃˡᵉ`.
#[must_use]
pub fn weight_for_display(weight: &BigUint, scale: &BigUint) -> Option<i128> {
    if scale.is_zero() {
        return None;
    }
    let shifted = BigInt::from_biguint(Sign::Plus, weight.clone()) * BigInt::from(domain::money::ATOMS_PER_UNIT);
    let shown = divide_half_even(&shifted, &BigInt::from_biguint(Sign::Plus, scale.clone())).to_i128()?;
    (shown < 10_i128.pow(38)).then_some(shown)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn halves_go_to_the_even_neighbour() {
        let check = |a, divisor, expected| {
            assert_eq!(multiply_divide_half_even(a, 1, divisor), Some(expected), "{a}/{divisor}")
        };
        check(5, 2, 2);
        check(7, 2, 4);
        check(-5, 2, -2);
        check(-7, 2, -4);
        check(8, 3, 3);
        check(7, 3, 2);
    }

    #[test]
    fn narrow_and_wide_division_agree() {
        for numerator in [0, 1, 5, 7, 8, 15, 24, 25, 26, 10_i128.pow(30) + 5, i128::MAX - 1, i128::MAX] {
            for divisor in [1, 2, 3, 10, 16, 10_i128.pow(9), i128::MAX] {
                for signed in [numerator, -numerator] {
                    let wide = divide_half_even(&BigInt::from(signed), &BigInt::from(divisor)).to_i128();
                    assert_eq!(Some(divide_narrow_half_even(signed, divisor)), wide, "{signed}/{divisor}");
                }
            }
        }
    }

    #[test]
    fn products_beyond_128_bits_are_exact() {
        assert_eq!(multiply_divide_half_even(10_i128.pow(37), 10_i128.pow(20), 10_i128.pow(25)), Some(10_i128.pow(32)));
        assert_eq!(multiply_divide_half_even(i128::MAX, i128::MAX, 1), None);
    }
}
