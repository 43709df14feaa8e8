use domain::decimal::{DecimalError, parse_scaled};
use domain::money::MONEY_SCALE;
use serde::de::{Deserialize, Deserializer, Error as _};
use serde_json::Value;
use std::fmt;

/// A number as the provider wrote it, in JSON as a number or as text. It never passes through a float.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Decimal(String);

impl Decimal {
    /// Returns the number that a JSON value spells.
    ///
    /// # Errors
    /// A sentence that says what it is instead.
    pub fn of(value: &Value) -> Result<Self, String> {
        let text = match value {
            Value::Number(number) => number.to_string(),
            Value::String(text) => text.trim().to_owned(),
            Value::Null => return Err("null is no number".to_owned()),
            Value::Bool(_) | Value::Array(_) | Value::Object(_) => return Err("it is no number".to_owned()),
        };
        match parse_scaled(&text, MONEY_SCALE) {
            Err(DecimalError::NotANumber(_)) => Err("it is no number".to_owned()),
            // What is out of bound is refused where it would be stored, which says so better.
            Ok(_) | Err(DecimalError::OutOfBound(_) | DecimalError::NotBetween { .. }) => Ok(Self(text)),
        }
    }

    /// Returns the digits.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Returns the number with its point moved by so many places: −2 makes dollars of cents. No digit is lost.
    #[must_use]
    pub fn shifted(&self, places: i64) -> String {
        match self.0.split_once(['e', 'E']) {
            Some((mantissa, exponent)) => match exponent.parse::<i64>() {
                Ok(exponent) => format!("{mantissa}e{}", exponent.saturating_add(places)),
                // Further away than any number that is stored: zero, or out of bound, with the point moved or not.
                Err(_) => self.0.clone(),
            },
            None => format!("{}e{places}", self.0),
        }
    }

    /// Returns the number in units of 10⁻ˢᶜᵃˡᵉ, rounded half-even; `None` if it is out of bound.
    #[must_use]
    pub fn scaled(&self, scale: u32) -> Option<i128> {
        parse_scaled(&self.0, scale).ok().map(|parsed| parsed.atoms)
    }
}

impl fmt::Display for Decimal {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(&self.0)
    }
}

impl From<Decimal> for String {
    fn from(decimal: Decimal) -> Self {
        decimal.0
    }
}

impl<'de> Deserialize<'de> for Decimal {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Self::of(&Value::deserialize(deserializer)?).map_err(D::Error::custom)
    }
}

/// Returns a × b ÷ c, rounded half-even once; `None` if it does not fit or `c` is not positive.
#[must_use]
pub fn rated(quantity: i128, price: i128, divisor: i128) -> Option<i128> {
    (divisor > 0).then_some(())?;
    Some(crate::fixed::round_half_even(quantity.checked_mul(price)?, divisor))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_keeps_its_text() {
        #[derive(serde::Deserialize)]
        struct Row {
            amount: Decimal,
        }
        for (text, expected) in [
            (r#"{"amount":0.10000000000000000001}"#, Some("0.10000000000000000001")),
            (r#"{"amount":1e-7}"#, Some("1e-7")),
            (r#"{"amount":" 12.5 "}"#, Some("12.5")),
            (r#"{"amount":-3}"#, Some("-3")),
            (r#"{"amount":null}"#, None),
            (r#"{"amount":"NaN"}"#, None),
            (r#"{"amount":true}"#, None),
            (r#"{"amount":{}}"#, None),
        ] {
            let row = serde_json::from_str::<Row>(text).ok();
            assert_eq!(row.as_ref().map(|row| row.amount.as_str()), expected, "{text}");
        }
    }

    #[test]
    fn a_point_is_moved_without_losing_a_digit() {
        let cents = |text: &str| {
            let shifted = Decimal::of(&Value::from(text)).expect("a number").shifted(-2);
            parse_scaled(&shifted, MONEY_SCALE).map(|parsed| domain::money::format_atoms(parsed.atoms))
        };
        assert_eq!(cents("123.45"), Ok("1.2345".to_owned()));
        assert_eq!(cents("-0.00425"), Ok("-0.0000425".to_owned()));
        assert_eq!((cents("1.5E3"), cents("1e+2")), (Ok("15.00".to_owned()), Ok("1.00".to_owned())));
        assert_eq!(cents("0E-6176"), Ok("0.00".to_owned()));
    }

    #[test]
    fn a_rate_is_rounded_once_and_half_even() {
        assert_eq!(rated(1, 5, 2), Some(2));
        assert_eq!(rated(3, 5, 2), Some(8));
        assert_eq!(rated(-1, 5, 2), Some(-2));
        assert_eq!((rated(1, 1, 0), rated(i128::MAX, 2, 1)), (None, None));
    }
}
