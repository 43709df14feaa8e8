//! Versioned unit prices.

use crate::meter::{MeterKind, RATE_ALIASES};
use crate::toml_text::{TomlError, parse_toml};
use crate::{Currency, Day, Price};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};

/// What a price is per.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Per {
    /// Each unit; for a gauge each daily row.
    #[default]
    Unit,
    /// Each unit and hour of the day (gauges).
    Hour,
    /// Each unit and day (gauges).
    Day,
    /// Each unit and month (gauges): the month's days share the price exactly.
    Month,
}

/// One price of a card.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PriceRow {
    /// Meter, or one of its rate-card aliases.
    pub meter: String,
    /// Price of one unit in the card's currency.
    pub price: Price,
    /// What the price is per; gauges must name one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub per: Option<Per>,
    /// Labels that usage must carry for the price to apply.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub labels: BTreeMap<String, String>,
    /// Graduated tiers (a later release).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tiers: Option<serde_json::Value>,
}

/// A version of unit prices.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RateCard {
    /// Name of the version.
    pub version: String,
    /// Currency of every price.
    pub currency: Currency,
    /// First day on which it applies.
    pub valid_from: Day,
    /// The prices.
    #[serde(default, rename = "price")]
    pub prices: Vec<PriceRow>,
}

/// What is wrong with a rate card.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RateError {
    /// Not readable.
    #[error(transparent)]
    Toml(#[from] TomlError),
    /// Readable but contradictory.
    #[error("rate card `{version}`: {problem}")]
    Invalid {
        /// Version of the card.
        version: String,
        /// What is wrong.
        problem: String,
    },
    /// A later release brings it.
    #[error("rate card `{version}`: {what} is not available yet")]
    NotAvailable {
        /// Version of the card.
        version: String,
        /// What is asked for.
        what: String,
    },
}

/// A price that applies to one usage cell.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Match<'c> {
    /// The price row.
    pub row: &'c PriceRow,
    /// Divides the meter's quantity before pricing: `storage_gb` is `storage_bytes` ÷ 10⁹.
    pub divisor: u64,
}

/// Two prices of a card fit one usage cell equally well.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("two prices for `{meter}` with labels {labels} fit equally well; make one more specific")]
pub struct AmbiguousPrice {
    /// The meter.
    pub meter: String,
    /// The usage's labels.
    pub labels: String,
}

impl RateCard {
    /// Returns the card that the TOML text describes.
    ///
    /// # Errors
    /// [`RateError`] for unreadable or contradictory text; tiers are refused until they exist.
    pub fn read(file: &str, text: &str) -> Result<Self, RateError> {
        let card: Self = parse_toml(file, text)?;
        card.check()?;
        Ok(card)
    }

    /// Returns the built-in card `starter`: six prices in USD per unit, valid from 1970-01-01.
    #[must_use]
    pub fn starter() -> Self {
        let prices = [
            ("member_count", "5.00"),
            ("storage_gb", "0.10"),
            ("api_call", "0.000002"),
            ("celery_task", "0.0001"),
            ("monitored_host", "0.50"),
            ("webhook_delivery", "0.00005"),
        ];
        let row = |(meter, price): (&str, &str)| PriceRow {
            meter: meter.to_owned(),
            price: price.parse().expect("a constant price"),
            per: Some(Per::Unit),
            labels: BTreeMap::new(),
            tiers: None,
        };
        Self {
            version: "starter".to_owned(),
            currency: Currency::USD,
            valid_from: Day::from_epoch_days(0),
            prices: prices.into_iter().map(row).collect(),
        }
    }

    /// Checks that the card contradicts neither itself nor what this release can do.
    ///
    /// # Errors
    /// [`RateError::Invalid`] or [`RateError::NotAvailable`].
    pub fn check(&self) -> Result<(), RateError> {
        let invalid = |problem: String| RateError::Invalid { version: self.version.clone(), problem };
        if self.version.is_empty() {
            return Err(invalid("the version must not be empty".to_owned()));
        }
        let mut seen = BTreeSet::new();
        for row in &self.prices {
            if row.tiers.is_some() {
                return Err(RateError::NotAvailable {
                    version: self.version.clone(),
                    what: format!("`tiers` of {}", row.meter),
                });
            }
            if row.price.atoms() < 0 {
                return Err(invalid(format!("the price of {} is negative", row.meter)));
            }
            if !seen.insert((canonical(&row.meter).0.to_owned(), row.labels.clone())) {
                return Err(invalid(format!("{} is priced twice for the same labels", row.meter)));
            }
        }
        Ok(())
    }

    /// Checks that each price says what it is per as its meter needs it: a gauge must, and what a counter counts has
    /// no duration. `kind_of` tells a meter's kind; a meter that it does not know is left to the caller.
    ///
    /// # Errors
    /// [`RateError::Invalid`].
    pub fn check_per(&self, kind_of: impl Fn(&str) -> Option<MeterKind>) -> Result<(), RateError> {
        for row in &self.prices {
            let meter = &row.meter;
            let problem = match (kind_of(canonical(meter).0), row.per) {
                (Some(MeterKind::Gauge), None) => {
                    format!("{meter} is a gauge: say `per = \"unit\"`, \"hour\", \"day\" or \"month\"")
                }
                (Some(MeterKind::Counter), Some(Per::Hour | Per::Day | Per::Month)) => {
                    format!("{meter} is a counter: its price is per unit; leave `per` out or say `per = \"unit\"`")
                }
                (Some(MeterKind::Gauge), Some(_)) | (Some(MeterKind::Counter), None | Some(Per::Unit)) | (None, _) => {
                    continue;
                }
            };
            return Err(RateError::Invalid { version: self.version.clone(), problem });
        }
        Ok(())
    }

    /// Returns the most specific price for a meter among the rows whose labels all satisfy `has_label`.
    ///
    /// # Errors
    /// [`AmbiguousPrice`] when two prices are equally specific.
    pub fn price_where(
        &self,
        meter: &str,
        has_label: impl Fn(&str, &str) -> bool,
    ) -> Result<Option<Match<'_>>, AmbiguousPrice> {
        let fitting = self.prices.iter().filter_map(|row| {
            let (priced, divisor) = canonical(&row.meter);
            let fits = priced == meter && row.labels.iter().all(|(key, value)| has_label(key, value));
            fits.then_some(Match { row, divisor })
        });
        let mut fitting: Vec<Match<'_>> = fitting.collect();
        fitting.sort_by_key(|found| std::cmp::Reverse(found.row.labels.len()));
        match fitting.as_slice() {
            [first, second, ..] if first.row.labels.len() == second.row.labels.len() => {
                Err(AmbiguousPrice { meter: meter.to_owned(), labels: format!("{:?}", first.row.labels) })
            }
            found => Ok(found.first().copied()),
        }
    }
}

/// Returns the meter that a rate card's key prices, and the divisor of its quantity.
#[must_use]
pub fn canonical(key: &str) -> (&str, u64) {
    RATE_ALIASES.iter().find(|(alias, ..)| *alias == key).map_or((key, 1), |(_, meter, divisor)| (*meter, *divisor))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn card(rows: &str) -> RateCard {
        let text = format!("version = 'v'\ncurrency = 'USD'\nvalid_from = 2026-01-01\n{rows}");
        RateCard::read("rates.toml", &text).expect("a valid card")
    }

    #[test]
    fn the_most_specific_price_applies() {
        let card = card(
            "[[price]]\nmeter='llm_tokens'\nprice='1'\n[[price]]\nmeter='llm_tokens'\nprice='2'\nlabels={model='a'}\n\
             [[price]]\nmeter='llm_tokens'\nprice='3'\nlabels={model='a',direction='in'}",
        );
        let price = |labels: &[(&str, &str)]| {
            let matched = card.price_where("llm_tokens", |key, value| labels.contains(&(key, value)));
            matched.map(|found| found.map(|found| found.row.price.to_string()))
        };
        assert_eq!(price(&[]), Ok(Some("1".to_owned())));
        assert_eq!(price(&[("model", "a")]), Ok(Some("2".to_owned())));
        assert_eq!(price(&[("direction", "in"), ("model", "a")]), Ok(Some("3".to_owned())));
    }

    #[test]
    fn a_tie_between_prices_is_an_error() {
        let card =
            card("[[price]]\nmeter='m'\nprice='1'\nlabels={a='1'}\n[[price]]\nmeter='m'\nprice='2'\nlabels={b='1'}");
        assert!(card.price_where("m", |_, _| true).is_err());
        assert!(card.price_where("m", |key, _| key == "a").is_ok());
    }

    #[test]
    fn aliases_price_the_built_in_meters() {
        let starter = RateCard::starter();
        let found = starter.price_where("storage_bytes", |_, _| false).expect("no tie").expect("priced");
        assert_eq!((found.divisor, found.row.price.to_string()), (1_000_000_000, "0.1".to_owned()));
    }

    #[test]
    fn a_price_says_what_it_is_per_as_its_meter_needs_it() {
        let check = |row: &str, expected: &str| {
            let kind = |meter: &str| crate::meter::builtin().into_iter().find(|known| known.name == meter);
            let checked = card(&format!("[[price]]\nprice='1'\n{row}")).check_per(|meter| kind(meter).map(|m| m.kind));
            let text = checked.map_or_else(|error| error.to_string(), |()| "ok".to_owned());
            assert!(text.starts_with(expected), "{text}");
        };
        check("meter='storage_gb'", "rate card `v`: storage_gb is a gauge");
        check("meter='storage_gb'\nper='month'", "ok");
        check("meter='api_call'\nper='day'", "rate card `v`: api_call is a counter");
        check("meter='api_call'\nper='unit'", "ok");
        check("meter='nobody_knows'\nper='day'", "ok");
    }

    #[test]
    fn tiers_are_refused_until_they_exist() {
        let text = "version='v'\ncurrency='USD'\nvalid_from=2026-01-01\n[[price]]\nmeter='m'\nprice='1'\ntiers=[{above='1',price='2'}]";
        assert!(matches!(RateCard::read("rates.toml", text), Err(RateError::NotAvailable { .. })));
    }
}
