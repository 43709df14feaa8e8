//! Prices with what a unit costs in a month: what a daily price means is seen there.

use crate::Engine;
use crate::books::Books;
use attribution::rating::price_of_month;
use domain::meter::{Meter, MeterKind};
use domain::money::format_atoms;
use domain::rates::{Match, Per, PriceRow, RateCard, canonical};
use domain::{Month, Price};
use std::collections::BTreeMap;

/// A price, and its month.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MonthPrice {
    /// The key that the card prices: a meter or its alias.
    pub key: String,
    /// The meter.
    pub meter: String,
    /// Labels that usage must carry.
    pub labels: BTreeMap<String, String>,
    /// The quantity of a month above which it applies; none for the first price.
    pub above: Option<String>,
    /// Price of one unit.
    pub price: Price,
    /// What the price is per.
    pub per: Per,
    /// What one unit costs that is there the whole month, in atoms of 10⁻¹⁵; of what is counted, a unit costs its price.
    pub per_month: Option<i128>,
    /// The same as a sentence.
    pub text: String,
}

impl Engine {
    /// Returns every price of a card with its month.
    #[must_use]
    pub fn month_prices(&self, card: &RateCard, books: &Books, month: Month) -> Vec<MonthPrice> {
        card.prices.iter().flat_map(|row| self.row_prices(row, books, month)).collect()
    }

    /// Returns the price of a row and those of its tiers.
    pub(crate) fn row_prices(&self, row: &PriceRow, books: &Books, month: Month) -> Vec<MonthPrice> {
        let first = std::iter::once((None, row.price));
        let tiers = row.tiers.iter().map(|tier| (Some(tier.above.to_string()), tier.price));
        first.chain(tiers).map(|(above, price)| self.month_price(row, above, price, books, month)).collect()
    }

    fn month_price(
        &self,
        row: &PriceRow,
        above: Option<String>,
        price: Price,
        books: &Books,
        month: Month,
    ) -> MonthPrice {
        let (meter, divisor) = canonical(&row.meter);
        let known = books.meters.get(meter);
        let is_level = known.is_some_and(|meter| meter.kind == MeterKind::Gauge);
        let per = row.per.unwrap_or_default();
        let alone = PriceRow { price, tiers: Vec::new(), ..row.clone() };
        let found = Match { row: &alone, divisor };
        let seconds = |day| self.settings.zone.day_range(day).seconds();
        let per_month = match is_level {
            true => price_of_month(&found, month, seconds),
            false => Some(price.atoms()),
        };
        let (unit, each) = (unit_word(&row.meter, known), format_atoms(price.atoms()));
        let text = match per_month.filter(|_| is_level) {
            Some(total) => {
                let named = format!("{} {}", month.name(), month.year());
                format!("{each} per {unit}{} = {} per {unit} in {named}", every(per), format_atoms(total))
            }
            None => format!("{each} per {unit}"),
        };
        let text = above.as_ref().map_or_else(|| text.clone(), |above| format!("above {above}: {text}"));
        MonthPrice {
            key: row.meter.clone(),
            meter: meter.to_owned(),
            labels: row.labels.clone(),
            above,
            price,
            per,
            per_month,
            text,
        }
    }
}

fn every(per: Per) -> &'static str {
    match per {
        Per::Unit => " and snapshot-day",
        Per::Hour => " and hour",
        Per::Day => " and day",
        Per::Month => " and month",
    }
}

/// One unit, as a sentence names it: `Members` are counted by the member.
fn unit_word(key: &str, meter: Option<&Meter>) -> String {
    match (key, meter) {
        ("storage_gb", _) => "GB".to_owned(),
        ("storage_gib", _) => "GiB".to_owned(),
        (_, Some(meter)) => {
            let is_word = meter.unit.chars().skip(1).all(|letter| letter.is_ascii_lowercase());
            match meter.unit.strip_suffix('s').filter(|_| is_word) {
                Some(one) => one.to_lowercase(),
                None => meter.unit.clone(),
            }
        }
        (key, None) => key.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_price_says_what_its_month_costs() {
        let folder = tempfile::tempdir().expect("a folder");
        let engine = crate::sample::engine(folder.path()).await;
        let books = engine.books_now().await.expect("books");
        let month = "2026-10".parse().expect("a month");
        let texts = |rows: &str| -> Vec<String> {
            let text = format!("version='v'\ncurrency='USD'\nvalid_from=2026-01-01\n{rows}");
            let card = RateCard::read("rates.toml", &text).expect("a card");
            engine.month_prices(&card, &books, month).into_iter().map(|price| price.text).collect()
        };
        let check = |row: &str, expected: &str| assert_eq!(texts(&format!("[[price]]\n{row}")), [expected], "{row}");
        check(
            "meter='member_count'\nprice='5'\nper='unit'",
            "5.00 per member and snapshot-day = 155.00 per member in October 2026",
        );
        check(
            "meter='storage_gb'\nprice='0.10'\nper='unit'",
            "0.10 per GB and snapshot-day = 3.10 per GB in October 2026",
        );
        check(
            "meter='monitored_host'\nprice='31'\nper='month'",
            "31.00 per host and month = 31.00 per host in October 2026",
        );
        check("meter='api_call'\nprice='0.000002'", "0.000002 per request");
        check("meter='unheard_of'\nprice='1'", "1.00 per unheard_of");
        let tiers = texts("[[price]]\nmeter='api_call'\nprice='1'\ntiers=[{above='1000',price='0.5'}]");
        assert_eq!(tiers, ["1.00 per request", "above 1000: 0.50 per request"]);
    }
}
