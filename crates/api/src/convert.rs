//! Numbers, days and instants as the wire prints them.

use domain::decimal::format_scaled;
use domain::money::format_atoms;
use domain::{Day, Instant};
use serde::{Serialize, Serializer};
use serde_json::Number;
use std::sync::Arc;

/// Fractional digits of shares, coverage and percentages.
const SHARE_DIGITS: u32 = 6;

/// Returns an amount: at least two decimals.
pub(crate) fn money(atoms: i128) -> String {
    format_atoms(atoms)
}

/// Returns a quantity.
pub(crate) fn quantity(atoms: i128) -> String {
    format_scaled(atoms, 9, 0)
}

/// Returns a price, a weight or a rate in atoms of 10⁻¹⁵.
pub(crate) fn factor(atoms: i128) -> String {
    format_scaled(atoms, 15, 0)
}

/// Returns a part of one, with all six decimals.
pub(crate) fn share(millionths: i64) -> String {
    format_scaled(i128::from(millionths), SHARE_DIGITS, 6)
}

/// Returns a part of one, with at least two decimals.
pub(crate) fn part(millionths: i64) -> String {
    format_scaled(i128::from(millionths), SHARE_DIGITS, 2)
}

/// Returns an instant given in microseconds since 1970.
pub(crate) fn instant(micros: i64) -> String {
    Instant::from_micros(micros).to_string()
}

/// Returns an owned text.
pub(crate) fn owned(text: &Option<Arc<str>>) -> Option<String> {
    text.as_ref().map(ToString::to_string)
}

/// Returns an owned text of a day.
pub(crate) fn day(day: Day) -> String {
    day.to_string()
}

/// Returns what amounts were made of, as the run noted it in JSON.
pub(crate) fn inputs<T: AsRef<str>>(texts: &[T]) -> Vec<serde_json::Value> {
    let read = |text: &T| serde_json::from_str(text.as_ref()).unwrap_or_else(|_| text.as_ref().into());
    texts.iter().map(read).collect()
}

/// A JSON number whose digits come from the decimal, never through a float.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Exact(String);

impl Exact {
    /// Returns an amount as a number.
    pub(crate) fn money(atoms: i128) -> Self {
        Self(format_atoms(atoms))
    }

    /// Returns a quantity as a number.
    pub(crate) fn quantity(atoms: i128) -> Self {
        Self(format_scaled(atoms, 9, 2))
    }

    /// Returns a resource weight as a number.
    pub(crate) fn weight(atoms: i128) -> Self {
        Self(format_scaled(atoms, SHARE_DIGITS, 2))
    }

    /// Returns a percentage as a number with six decimals.
    pub(crate) fn percent(millionths: i64) -> Self {
        Self(share(millionths))
    }
}

impl Serialize for Exact {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.0.parse::<Number>().map_err(serde::ser::Error::custom)?.serialize(serializer)
    }
}

impl utoipa::PartialSchema for Exact {
    fn schema() -> utoipa::openapi::RefOr<utoipa::openapi::schema::Schema> {
        utoipa::openapi::ObjectBuilder::new().schema_type(utoipa::openapi::schema::Type::Number).build().into()
    }
}

impl utoipa::ToSchema for Exact {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_keep_every_digit() {
        let printed = |exact: Exact| {
            let value = serde_json::to_value(&exact).expect("a number");
            assert!(value.is_number());
            serde_json::to_string(&value).expect("JSON")
        };
        assert_eq!(printed(Exact::money(52_622_950_819_672_131)), "52.622950819672131");
        assert_eq!(printed(Exact::money(100 * 10_i128.pow(15))), "100.00");
        assert_eq!(printed(Exact::percent(100_000_000)), "100.000000");
        assert_eq!(printed(Exact::weight(500_000)), "0.50");
    }
}
