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
    divide_half_even(&(BigInt::from(a) * BigInt::from(b)), &BigInt::from(divisor)).to_i128()
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
    fn products_beyond_128_bits_are_exact() {
        assert_eq!(multiply_divide_half_even(10_i128.pow(37), 10_i128.pow(20), 10_i128.pow(25)), Some(10_i128.pow(32)));
        assert_eq!(multiply_divide_half_even(i128::MAX, i128::MAX, 1), None);
    }
}
