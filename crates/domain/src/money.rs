//! Exact amounts in one currency.

use crate::Currency;
use crate::decimal::{self, DecimalError};
use std::fmt;

/// Fractional digits of money: real bills carry up to fifteen decimals.
pub const MONEY_SCALE: u32 = 15;
/// Atoms in one currency unit.
pub const ATOMS_PER_UNIT: i128 = 10_i128.pow(MONEY_SCALE);
/// Largest magnitude of money in one stored row: 10¹² units. 10¹⁰ such rows add up to less than 2¹²⁷.
pub const MONEY_ATOMS_MAX: i128 = 10_i128.pow(12) * ATOMS_PER_UNIT;

/// An exact amount in one currency, counted in atoms of 10⁻¹⁵.
///
/// The lake's `Decimal128(38, 15)`, the maths and the ledger hold this same integer, so nothing is
/// converted on the way. Invariant: `|atoms| < 10³⁸`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Money {
    atoms: i128,
    currency: Currency,
}

/// What can go wrong with money.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum MoneyError {
    /// Two currencies met in one sum.
    #[error("cannot add {right} to {left}: convert one of them first")]
    CurrencyMismatch {
        /// Currency of the left operand.
        left: Currency,
        /// Currency of the right operand.
        right: Currency,
    },
    /// The amount does not fit.
    #[error("the amount is out of bound")]
    Overflow,
    /// The text is not a number.
    #[error(transparent)]
    Decimal(#[from] DecimalError),
}

impl Money {
    /// Returns `atoms` × 10⁻¹⁵ of `currency`.
    ///
    /// # Errors
    /// [`MoneyError::Overflow`] from 10³⁸ atoms on.
    pub fn from_atoms(atoms: i128, currency: Currency) -> Result<Self, MoneyError> {
        if atoms.unsigned_abs() < 10_u128.pow(38) { Ok(Self { atoms, currency }) } else { Err(MoneyError::Overflow) }
    }

    /// Returns the sum. There is no `+`: mixing currencies is a normal mistake in input data, not a panic.
    ///
    /// # Errors
    /// [`MoneyError::CurrencyMismatch`] or [`MoneyError::Overflow`].
    pub fn checked_add(self, other: Self) -> Result<Self, MoneyError> {
        if self.currency != other.currency {
            return Err(MoneyError::CurrencyMismatch { left: self.currency, right: other.currency });
        }
        Self::from_atoms(self.atoms.checked_add(other.atoms).ok_or(MoneyError::Overflow)?, self.currency)
    }

    /// Returns the amount in atoms of 10⁻¹⁵.
    #[must_use]
    pub fn atoms(&self) -> i128 {
        self.atoms
    }

    /// Returns the currency.
    #[must_use]
    pub fn currency(&self) -> Currency {
        self.currency
    }
}

impl fmt::Display for Money {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{} {}", format_atoms(self.atoms), self.currency)
    }
}

/// Returns money text in atoms and whether it was rounded, refusing what no row may hold.
///
/// # Errors
/// [`DecimalError::OutOfBound`] above 10¹² units.
pub fn parse_atoms(text: &str) -> Result<decimal::Parsed, DecimalError> {
    let parsed = decimal::parse_scaled(text, MONEY_SCALE)?;
    if parsed.atoms.abs() > MONEY_ATOMS_MAX {
        return Err(DecimalError::OutOfBound(text.trim().chars().take(60).collect()));
    }
    Ok(parsed)
}

/// Returns atoms as the wire prints money: at least two decimals, no further trailing zeros.
#[must_use]
pub fn format_atoms(atoms: i128) -> String {
    decimal::format_scaled(atoms, MONEY_SCALE, 2)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn currencies_never_mix() {
        let (usd, eur) = (Money::from_atoms(1, Currency::USD), Money::from_atoms(1, Currency::EUR));
        let sum = usd.expect("small").checked_add(eur.expect("small"));
        assert_eq!(sum, Err(MoneyError::CurrencyMismatch { left: Currency::USD, right: Currency::EUR }));
    }

    #[test]
    fn a_row_holds_at_most_a_trillion_units() {
        assert!(parse_atoms("1000000000000").is_ok());
        assert!(parse_atoms("-1000000000000.000000000000001").is_err());
    }
}
