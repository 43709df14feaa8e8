//! Versioned unit prices.

use crate::meter::{Aggregation, Meter, MeterKind, RATE_ALIASES};
use crate::toml_text::{TomlError, parse_toml};
use crate::{Currency, Day, Price, Quantity};
use serde::de::{Error as _, MapAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize};
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

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
    /// Prices of what lies above a quantity of the month, ascending; up to the first of them `price` applies.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub tiers: Vec<PriceTier>,
}

/// A graduated price: of what a tenant uses of the row in a calendar month, the part above a quantity.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PriceTier {
    /// In units of the row's own key: `storage_gb` counts gigabytes.
    pub above: Quantity,
    /// Price of one unit above it.
    pub price: Price,
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
    /// [`RateError`] for unreadable or contradictory text.
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
            tiers: Vec::new(),
        };
        Self {
            version: "starter".to_owned(),
            currency: Currency::USD,
            valid_from: Day::from_epoch_days(0),
            prices: prices.into_iter().map(row).collect(),
        }
    }

    /// Returns the card that a JSON object of prices by S0 key stands for: USD, per unit, valid always.
    ///
    /// # Errors
    /// [`RateError`] for anything but an object of prices, a key given twice, or a negative price.
    ///
    /// # Source
    /// Seed S0-09; spec 2-model, section 6.
    pub fn of_unit_costs(version: &str, json: &str) -> Result<Self, RateError> {
        let invalid = |problem: String| RateError::Invalid { version: version.to_owned(), problem };
        let UnitCosts(costs) = serde_json::from_str(json).map_err(|error| invalid(error.to_string()))?;
        let row = |(meter, price)| PriceRow {
            meter,
            price,
            per: Some(Per::Unit),
            labels: BTreeMap::new(),
            tiers: Vec::new(),
        };
        let card = Self {
            version: version.to_owned(),
            currency: Currency::USD,
            valid_from: Day::from_epoch_days(0),
            prices: costs.into_iter().map(row).collect(),
        };
        card.check()?;
        Ok(card)
    }

    /// Returns whether some price is graduated.
    #[must_use]
    pub fn has_tiers(&self) -> bool {
        self.prices.iter().any(|row| !row.tiers.is_empty())
    }

    /// Checks that the card does not contradict itself.
    ///
    /// # Errors
    /// [`RateError::Invalid`].
    pub fn check(&self) -> Result<(), RateError> {
        let invalid = |problem: String| RateError::Invalid { version: self.version.clone(), problem };
        if self.version.is_empty() {
            return Err(invalid("the version must not be empty".to_owned()));
        }
        let mut seen = BTreeSet::new();
        for row in &self.prices {
            let tier_prices = row.tiers.iter().map(|tier| tier.price);
            if std::iter::once(row.price).chain(tier_prices).any(|price| price.atoms() < 0) {
                return Err(invalid(format!("the price of {} is negative", row.meter)));
            }
            if let Some(problem) = problem_of_tiers(row) {
                return Err(invalid(problem));
            }
            if !seen.insert((canonical(&row.meter).0.to_owned(), row.labels.clone())) {
                return Err(invalid(format!("{} is priced twice for the same labels", row.meter)));
            }
        }
        Ok(())
    }

    /// Checks that the prices fit their meters: a gauge's price says what it is per, what a counter counts has no duration,
    /// and tiers are of a meter whose days add up. A meter that `meter_of` does not know is left to the caller.
    ///
    /// # Errors
    /// [`RateError::Invalid`].
    pub fn check_meters<'m>(&self, meter_of: impl Fn(&str) -> Option<&'m Meter>) -> Result<(), RateError> {
        let problem = |row: &PriceRow| {
            let meter = meter_of(canonical(&row.meter).0)?;
            problem_of_per(row, meter.kind).or_else(|| problem_of_adding_up(row, meter.aggregation))
        };
        let invalid = |problem| RateError::Invalid { version: self.version.clone(), problem };
        self.prices.iter().find_map(problem).map_or(Ok(()), |problem| Err(invalid(problem)))
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

fn problem_of_per(row: &PriceRow, kind: MeterKind) -> Option<String> {
    let meter = &row.meter;
    match (kind, row.per) {
        (MeterKind::Gauge, None) => {
            Some(format!("{meter} is a gauge: say `per = \"unit\"`, \"hour\", \"day\" or \"month\""))
        }
        (MeterKind::Counter, Some(Per::Hour | Per::Day | Per::Month)) => {
            Some(format!("{meter} is a counter: its price is per unit; leave `per` out or say `per = \"unit\"`"))
        }
        (MeterKind::Gauge, Some(_)) | (MeterKind::Counter, None | Some(Per::Unit)) => None,
    }
}

/// Graduated prices go by what a month adds up to.
fn problem_of_adding_up(row: &PriceRow, aggregation: Aggregation) -> Option<String> {
    let adds_up = !matches!(aggregation, Aggregation::Min | Aggregation::Max | Aggregation::Avg);
    let meter = &row.meter;
    (!row.tiers.is_empty() && !adds_up).then(|| format!("{meter} does not add up over days: leave its `tiers` out"))
}

/// A month's quantity is a sum of days: a price of hours or months is of something else.
fn problem_of_tiers(row: &PriceRow) -> Option<String> {
    let meter = &row.meter;
    if row.tiers.is_empty() {
        return None;
    }
    if matches!(row.per, Some(Per::Hour | Per::Month)) {
        return Some(format!("the tiers of {meter} need `per = \"unit\"` or \"day\""));
    }
    let bounds = std::iter::once(0).chain(row.tiers.iter().map(|tier| tier.above.atoms()));
    let ascend = bounds.clone().zip(bounds.skip(1)).all(|(lower, upper)| lower < upper);
    (!ascend).then(|| {
        format!("the tiers of {meter} must ascend: each `above` more than the one before, the first more than 0")
    })
}

/// Prices by key, in the order in which they are written.
struct UnitCosts(Vec<(String, Price)>);

impl<'de> Deserialize<'de> for UnitCosts {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(UnitCostsVisitor)
    }
}

struct UnitCostsVisitor;

impl<'de> Visitor<'de> for UnitCostsVisitor {
    type Value = UnitCosts;

    fn expecting(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("a JSON object of prices such as {\"member_count\": 5.00, \"api_call\": 0.000002}")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<UnitCosts, A::Error> {
        let mut costs: Vec<(String, Price)> = Vec::new();
        while let Some((key, price)) = map.next_entry::<String, Price>()? {
            if key.is_empty() || costs.iter().any(|(known, _)| *known == key) {
                return Err(A::Error::custom(format!("the key `{key}` is empty or given twice")));
            }
            costs.push((key, price));
        }
        Ok(UnitCosts(costs))
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

    fn problem(row: &str) -> String {
        let text =
            format!("version='v'\ncurrency='USD'\nvalid_from=2026-01-01\n[[price]]\nmeter='m'\nprice='1'\n{row}");
        RateCard::read("rates.toml", &text).map_or_else(|error| error.to_string(), |_| "ok".to_owned())
    }

    #[test]
    fn a_price_fits_its_meter() {
        let mut meters = crate::meter::builtin();
        let count = meters.iter().find(|meter| meter.name == "member_count").expect("built in").clone();
        meters.push(Meter { name: "most_members".to_owned(), aggregation: Aggregation::Max, ..count });
        let check = |row: &str, expected: &str| {
            let card = card(&format!("[[price]]\nprice='1'\n{row}"));
            let checked = card.check_meters(|name| meters.iter().find(|meter| meter.name == name));
            let text = checked.map_or_else(|error| error.to_string(), |()| "ok".to_owned());
            assert!(text.starts_with(expected), "{text}");
        };
        check("meter='storage_gb'", "rate card `v`: storage_gb is a gauge");
        check("meter='storage_gb'\nper='month'", "ok");
        check("meter='api_call'\nper='day'", "rate card `v`: api_call is a counter");
        check("meter='api_call'\nper='unit'", "ok");
        check("meter='nobody_knows'\nper='day'", "ok");
        let tiers = "per='unit'\ntiers=[{above='1',price='0.5'}]";
        check(&format!("meter='most_members'\n{tiers}"), "rate card `v`: most_members does not add up over days");
        check(&format!("meter='nobody_knows'\n{tiers}"), "ok");
    }

    #[test]
    fn tiers_ascend_and_are_of_units_or_days() {
        assert_eq!(problem("tiers=[{above='1000000',price='0.5'},{above=2000000,price='0'}]"), "ok");
        assert_eq!(problem("per='day'\ntiers=[{above='1',price='0.5'}]"), "ok");
        assert_eq!(problem("tiers=[]"), "ok");
        assert!(problem("tiers=[{above='2',price='1'},{above='2',price='1'}]").contains("must ascend"));
        assert!(problem("tiers=[{above='0',price='1'}]").contains("must ascend"));
        assert!(problem("per='month'\ntiers=[{above='1',price='1'}]").contains("need `per"));
        assert!(problem("tiers=[{above='1',price='-1'}]").contains("negative"));
        assert!(problem("tiers=[{abve='1',price='1'}]").contains("did you mean `above`"));
    }

    #[test]
    fn unit_costs_are_a_card_in_dollars_per_unit_with_every_digit_kept() {
        let read = |json: &str| RateCard::of_unit_costs("env", json).map_err(|error| error.to_string());
        let card = read(r#"{"member_count": 5.00, "storage_gb": "0.10", "api_call": 2e-6}"#).expect("a card");
        let prices: Vec<String> = card.prices.iter().map(|row| format!("{} {}", row.meter, row.price)).collect();
        assert_eq!(prices, ["member_count 5", "storage_gb 0.1", "api_call 0.000002"]);
        assert_eq!((card.currency, card.valid_from), (Currency::USD, Day::from_epoch_days(0)));
        assert!(card.prices.iter().all(|row| row.per == Some(Per::Unit)));
        assert_eq!(read("{}").map(|card| card.prices.len()), Ok(0));
        for (json, expected) in [
            ("[]", "JSON object"),
            ("", "rate card `env`"),
            (r#"{"api_call": 1, "api_call": 2}"#, "given twice"),
            (r#"{"api_call": 1, "api_call_count_24h": 2}"#, "priced twice"),
            (r#"{"api_call": -1}"#, "negative"),
            (r#"{"api_call": "many"}"#, "many"),
            (r#"{"api_call": null}"#, "rate card `env`"),
        ] {
            let refused = read(json).expect_err(json);
            assert!(refused.contains(expected), "{json}: {refused}");
        }
    }
}
