use super::super::decimal::Decimal;
use super::super::error::CollectError;
use domain::Currency;
use domain::money::{ATOMS_PER_UNIT, parse_atoms};
use serde::Deserialize;

/// Micro-cents of a unit of currency.
const UCENTS_PER_UNIT: i128 = 100_000_000;

/// An amount: micro-cents, which are whole, where they are told, else the decimal.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Price {
    currency_code: String,
    value: Decimal,
    #[serde(default, alias = "priceInUcents")]
    value_in_ucents: Option<Decimal>,
}

impl Price {
    /// Returns the currency; nothing for points and whatever else is no money.
    pub fn currency(&self) -> Option<Currency> {
        self.currency_code.parse().ok()
    }

    /// Returns the currency's code as it was sent.
    pub fn code(&self) -> &str {
        &self.currency_code
    }

    /// Returns the amount in atoms of a currency: that of the bill or consumption that it is a part of.
    ///
    /// # Errors
    /// [`Cause::Schema`](super::super::error::Cause::Schema) if it is of another one, or out of bound.
    pub fn atoms_in(&self, currency: Currency) -> Result<i128, CollectError> {
        let atoms = self.atoms()?;
        if atoms == 0 || self.currency() == Some(currency) {
            return Ok(atoms);
        }
        let code = crate::prometheus::shown(&self.currency_code);
        Err(CollectError::schema(format!("an amount in `{code}` is part of one in {currency}")))
    }

    /// Returns the amount in atoms.
    ///
    /// # Errors
    /// [`Cause::Schema`](super::super::error::Cause::Schema) if it is out of bound.
    pub fn atoms(&self) -> Result<i128, CollectError> {
        let out_of_bound = || CollectError::schema(format!("a price of {} is out of bound", self.value));
        match &self.value_in_ucents {
            Some(ucents) => {
                let ucents = ucents.scaled(0).ok_or_else(out_of_bound)?;
                ucents.checked_mul(ATOMS_PER_UNIT / UCENTS_PER_UNIT).ok_or_else(out_of_bound)
            }
            None => parse_atoms(self.value.as_str()).map(|parsed| parsed.atoms).map_err(|_| out_of_bound()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str, currency: Option<&str>, amount: &str) {
        let price: Price = serde_json::from_str(text).expect("a price");
        let found = (price.currency().map(|currency| currency.to_string()), price.atoms().expect("an amount"));
        assert_eq!((found.0.as_deref(), domain::money::format_atoms(found.1).as_str()), (currency, amount), "{text}");
    }

    #[test]
    fn micro_cents_count_before_the_rounded_value() {
        check(
            r#"{"currencyCode":"EUR","value":12.35,"text":"12.35 €","valueInUcents":1234567890}"#,
            Some("EUR"),
            "12.3456789",
        );
        check(r#"{"currencyCode":"EUR","value":5.99,"text":"5.99 €","priceInUcents":599000000}"#, Some("EUR"), "5.99");
        check(r#"{"currencyCode":"EUR","value":5.99,"text":"5.99 €"}"#, Some("EUR"), "5.99");
        check(r#"{"currencyCode":"points","value":7,"text":"7"}"#, None, "7.00");
        check(r#"{"currencyCode":"N/A","value":0,"text":""}"#, None, "0.00");
    }

    #[test]
    fn amounts_of_several_currencies_are_never_added() {
        let of = |code: &str, value: i32| {
            let price = serde_json::json!({ "currencyCode": code, "value": value, "text": "" });
            let price: Price = serde_json::from_value(price).expect("a price");
            price.atoms_in(Currency::USD).ok()
        };
        assert_eq!((of("USD", 1), of("EUR", 1), of("points", 7)), (Some(ATOMS_PER_UNIT), None, None));
        assert_eq!(of("N/A", 0), Some(0));
    }
}
