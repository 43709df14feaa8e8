//! Prices 100 times or more away from those before: per-thousand prices are the most common mistake.

use crate::books::Books;
use crate::{Engine, EngineError};
use domain::Price;
use domain::rates::{PriceRow, RateCard, canonical};
use std::collections::BTreeMap;

/// From this factor on, a changed price is probably a mistake of unit.
const SUSPICIOUS_FACTOR: i128 = 100;

/// Two prices of a meter that are far apart: the first of their rows, or those of the same tier.
struct Jump<'c> {
    before: &'c PriceRow,
    after: &'c PriceRow,
    /// 0 for the rows' own prices.
    tier: usize,
}

impl Engine {
    /// Returns a sentence for every price that is 100 times or more away from the other card's, whatever names either gives
    /// the meters. Each price is told with the current month.
    pub(crate) fn price_warnings(&self, previous: &RateCard, card: &RateCard, books: &Books) -> Vec<String> {
        let month = self.today().month();
        let told = |row: &PriceRow, tier: usize| self.row_prices(row, books, month).swap_remove(tier).text;
        let sentence = |jump: Jump<'_>| {
            let Jump { before, after, tier } = jump;
            let named = if before.meter == after.meter { String::new() } else { format!(" ({})", before.meter) };
            let (meter, old, new) = (&after.meter, told(before, tier), told(after, tier));
            format!("{meter} goes from {old}{named} to {new}, 100 times or more: did you enter a per-thousand price?")
        };
        jumps(previous, card).into_iter().map(sentence).collect()
    }

    /// Compares with the card of another name that was published last.
    pub(crate) fn refuse_suspicious_prices(&self, books: &Books, card: &RateCard) -> Result<(), EngineError> {
        let previous = books.cards().iter().rev().find(|previous| *previous.name != *card.version);
        let found = previous.and_then(|known| self.price_warnings(&known.content, card, books).into_iter().next());
        found.map_or(Ok(()), |found| {
            let what_to_do = "Publish with --yes (confirm=true) if it is meant";
            Err(EngineError::SuspiciousPrice(format!("{found} {what_to_do}")))
        })
    }
}

fn jumps<'c>(previous: &'c RateCard, card: &'c RateCard) -> Vec<Jump<'c>> {
    let key = |row: &PriceRow| (canonical(&row.meter).0.to_owned(), row.labels.clone());
    let known: BTreeMap<_, &PriceRow> = previous.prices.iter().map(|row| (key(row), row)).collect();
    let jump = |after: &'c PriceRow| {
        let before = *known.get(&key(after))?;
        Some(Jump { before, after, tier: suspicious_tier(before, after)? })
    };
    card.prices.iter().filter_map(jump).collect()
}

/// The first price of two rows, that of each tier in its turn, which is suspicious.
fn suspicious_tier(before: &PriceRow, after: &PriceRow) -> Option<usize> {
    let prices = |row: &PriceRow| -> Vec<Price> {
        std::iter::once(row.price).chain(row.tiers.iter().map(|tier| tier.price)).collect()
    };
    let divisor = |row: &PriceRow| i128::from(canonical(&row.meter).1);
    let (before_divisor, after_divisor) = (divisor(before), divisor(after));
    let mut pairs = prices(before).into_iter().zip(prices(after));
    pairs.position(|(old, new)| is_suspicious((old, before_divisor), (new, after_divisor)))
}

/// Prices of one meter, possibly for other units of it: a price for `divisor` units is compared as that.
fn is_suspicious(before: (Price, i128), after: (Price, i128)) -> bool {
    let before_scaled = before.0.atoms().abs().saturating_mul(after.1);
    let after_scaled = after.0.atoms().abs().saturating_mul(before.1);
    let (small, large) = (before_scaled.min(after_scaled), before_scaled.max(after_scaled));
    small != 0 && large / SUSPICIOUS_FACTOR >= small
}

#[cfg(test)]
mod tests {
    use super::*;

    fn card(version: &str, rows: &str) -> RateCard {
        let text = format!("version='{version}'\ncurrency='USD'\nvalid_from=2026-01-01\n{rows}");
        RateCard::read("rates.toml", &text).expect("a valid card")
    }

    fn priced((meter, price): (&str, &str)) -> String {
        format!("[[price]]\nmeter='{meter}'\nprice='{price}'\nper='unit'\n")
    }

    #[test]
    fn prices_are_compared_by_what_one_unit_of_the_meter_costs() {
        let check = |before: (&str, &str), after: (&str, &str), expected: bool| {
            let (before, after) = (card("a", &priced(before)), card("b", &priced(after)));
            let found = !jumps(&before, &after).is_empty();
            assert_eq!(found, expected, "{} {}", before.prices[0].meter, after.prices[0].meter);
        };
        check(("api_call", "0.000002"), ("api_call_count_24h", "0.002"), true);
        check(("api_call", "0.000002"), ("api_call_count_24h", "0.000003"), false);
        check(("storage_gb", "0.10"), ("storage_bytes", "0.0000000001"), false);
        check(("storage_gb", "0.10"), ("storage_bytes", "0.10"), true);
        check(("storage_gb", "0.10"), ("storage_gib", "0.11"), false);
        check(("api_call", "0"), ("api_call", "1"), false);
        check(("api_call", "1"), ("api_call", "100"), true);
        check(("api_call", "1"), ("api_call", "99"), false);
    }

    #[tokio::test]
    async fn both_prices_are_told_with_their_month() {
        let folder = tempfile::tempdir().expect("a folder");
        let engine = crate::sample::engine(folder.path()).await;
        let books = engine.books_now().await.expect("books");
        let month = engine.today().month();
        let (named, days) = (format!("{} {}", month.name(), month.year()), i128::from(month.days()));
        let check = |before: &str, after: &str, expected: &str| {
            let warnings = engine.price_warnings(&card("a", before), &card("b", after), &books);
            let expected = format!("{expected}, 100 times or more: did you enter a per-thousand price?");
            assert_eq!(warnings, [expected]);
        };
        let of_month = |cents: i128| domain::money::format_atoms(cents * days * 10_i128.pow(13));
        check(
            &priced(("member_count", "5")),
            &priced(("member_count", "500")),
            &format!(
                "member_count goes from 5.00 per member and snapshot-day = {} per member in {named} \
                 to 500.00 per member and snapshot-day = {} per member in {named}",
                of_month(500),
                of_month(50_000)
            ),
        );
        check(
            &priced(("storage_gb", "0.1")),
            &priced(("storage_gib", "100")),
            &format!(
                "storage_gib goes from 0.10 per GB and snapshot-day = {} per GB in {named} (storage_gb) \
                 to 100.00 per GiB and snapshot-day = {} per GiB in {named}",
                of_month(10),
                of_month(10_000)
            ),
        );
        let tiers =
            |price: &str| format!("[[price]]\nmeter='api_call'\nprice='1'\ntiers=[{{above='9',price='{price}'}}]");
        check(
            &tiers("0.5"),
            &tiers("50"),
            "api_call goes from above 9: 0.50 per request to above 9: 50.00 per request",
        );
    }
}
