//! The prices by which a pool prices what the tenant used.

use super::Asked;
use super::cells::{ExplainedCell, ExplainedComponent};
use super::replay::Replay;
use super::words::PoolWords;
use crate::Engine;
use crate::month_prices::MonthPrice;
use attribution::rating::price_of_day;
use domain::TenantScope;
use domain::policy::Pool;
use domain::rates::{Match, PriceRow, canonical};

/// A price of what the tenant used; a graduated one is told once for each of its tiers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ExplainedPrice {
    /// Version of the card that it is of.
    pub rate_card_version: String,
    /// The price, and what a unit costs in the month of the day.
    pub month_price: MonthPrice,
    /// The meter's quantity is divided by this before it is priced.
    pub divisor: u64,
    /// What the tenant used at it on the days of the month before, in atoms of the meter's unit; only of a graduated
    /// price, and only where the day can be computed again.
    pub used_before: Option<i128>,
}

impl Engine {
    /// Returns the prices by which the pool's cards price what the tenant used, each with the month of the day.
    ///
    /// Labels of prices may name others: a caller who sees some tenants only gets the prices without labels and those that
    /// cells state, and no labels.
    pub(super) fn prices_of(
        &self,
        asked: &Asked<'_>,
        words: &PoolWords,
        pool: Option<&Pool>,
        components: &[ExplainedComponent],
        replay: Option<&Replay>,
    ) -> Vec<ExplainedPrice> {
        let (date, books) = (asked.query.date, asked.books);
        let sees_all = *asked.scope == TenantScope::All;
        let cells: Vec<&ExplainedCell> = components.iter().flat_map(|component| &component.cells).collect();
        // Of events that carry a quantity, what they cost is priced; the cells are parts of that and have no meter.
        let source_meter = pool.and_then(|pool| pool.source.as_ref()?.meter.as_deref());
        let seconds = self.settings.zone.day_range(date).seconds();
        let is_told = |row: &PriceRow| {
            let (meter, divisor) = canonical(&row.meter);
            let price = price_of_day(&Match { row, divisor }, date, seconds);
            let states_it = |cell: &ExplainedCell| {
                let stated = cell.unit_price.and_then(|price| price.checked_mul(i128::from(divisor)));
                // No cell states a graduated price: one that begins with the same is another's.
                row.tiers.is_empty() && stated.is_some() && stated == price
            };
            let is_for_all = sees_all || row.labels.is_empty();
            let mut of_meter = cells.iter().filter(|cell| cell.meter.as_deref() == Some(meter));
            (is_for_all && source_meter == Some(meter)) || of_meter.any(|cell| is_for_all || states_it(cell))
        };
        let cards = words.rate_card_versions.iter().filter_map(|name| Some((name, books.card_named(name, date)?)));
        let mut prices = Vec::new();
        for (name, card) in cards {
            for row in card.content.prices.iter().filter(|row| is_told(row)) {
                let graduated = replay.filter(|_| !row.tiers.is_empty());
                let used_before =
                    graduated.and_then(|replay| replay.used_before(&pool?.name, row, &asked.query.tenant));
                for mut month_price in self.row_prices(row, books, date.month()) {
                    if !sees_all {
                        month_price.labels.clear();
                    }
                    let (rate_card_version, divisor) = (name.clone(), canonical(&row.meter).1);
                    prices.push(ExplainedPrice { rate_card_version, month_price, divisor, used_before });
                }
            }
        }
        prices
    }
}
