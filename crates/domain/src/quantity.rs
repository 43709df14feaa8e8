//! Quantities, unit prices and weights: decimals without a currency.

use crate::decimal::{self, DecimalError};
use std::fmt;
use std::str::FromStr;

/// Fractional digits of quantities.
pub const QUANTITY_SCALE: u32 = 9;
/// Fractional digits of unit prices and exchange rates.
pub const PRICE_SCALE: u32 = 15;
/// Fractional digits of resource weights and percents.
pub const WEIGHT_SCALE: u32 = 6;

macro_rules! scaled_decimal {
    ($(#[$doc:meta])* $name:ident, $scale:expr, $min:expr, $max:expr) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(i128);

        impl $name {
            /// Returns the value of so many atoms, or `None` outside the bound of a stored row.
            #[must_use]
            pub fn from_atoms(atoms: i128) -> Option<Self> {
                ($min..=$max).contains(&atoms).then_some(Self(atoms))
            }

            /// Returns the value in atoms.
            #[must_use]
            pub fn atoms(self) -> i128 {
                self.0
            }

            /// Returns the parsed value and whether digits beyond the scale were rounded away.
            ///
            /// # Errors
            /// Not a decimal, or outside the bound of a stored row.
            pub fn parse_rounding(text: &str) -> Result<(Self, bool), DecimalError> {
                let parsed = decimal::parse_scaled(text, $scale)?;
                let bound = |atoms| decimal::format_scaled(atoms, $scale, 0);
                let value = Self::from_atoms(parsed.atoms).ok_or_else(|| DecimalError::NotBetween {
                    text: text.trim().chars().take(60).collect(),
                    min: bound($min),
                    max: bound($max),
                })?;
                Ok((value, parsed.rounded))
            }
        }

        impl FromStr for $name {
            type Err = DecimalError;

            fn from_str(text: &str) -> Result<Self, DecimalError> {
                Self::parse_rounding(text).map(|(value, _)| value)
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
                out.write_str(&decimal::format_scaled(self.0, $scale, 0))
            }
        }

        impl serde::Serialize for $name {
            fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.collect_str(self)
            }
        }

        impl<'de> serde::Deserialize<'de> for $name {
            fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                crate::toml_text::DecimalText::deserialize(deserializer)?.0.parse().map_err(serde::de::Error::custom)
            }
        }
    };
}

scaled_decimal!(
    /// How much of something: atoms of 10⁻⁹, magnitude at most 10¹⁸.
    Quantity, QUANTITY_SCALE, -10_i128.pow(27), 10_i128.pow(27)
);
scaled_decimal!(
    /// Price of one unit or an exchange rate: atoms of 10⁻¹⁵, magnitude at most 10¹².
    Price, PRICE_SCALE, -10_i128.pow(27), 10_i128.pow(27)
);
scaled_decimal!(
    /// A resource weight or percent: atoms of 10⁻⁶, from 0 to 10⁹.
    Weight, WEIGHT_SCALE, 0, 10_i128.pow(15)
);

impl Weight {
    /// The weight one.
    pub const ONE: Self = Self(1_000_000);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn weights_are_never_negative() {
        assert!("-0.1".parse::<Weight>().is_err());
        assert_eq!("0.15".parse::<Weight>().map(Weight::atoms), Ok(150_000));
    }

    #[test]
    fn quantities_are_bounded_and_print_without_trailing_zeros() {
        assert!("1000000000000000001".parse::<Quantity>().is_err());
        assert_eq!("84100000.50".parse::<Quantity>().map(|quantity| quantity.to_string()), Ok("84100000.5".to_owned()));
    }
}
