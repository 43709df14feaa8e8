use super::{Asked, ExplainedCell, ExplainedPool};
use crate::Engine;
use crate::month_prices::MonthPrice;
use attribution::rating::price_of_day;
use domain::TenantScope;
use domain::rates::{Match, PriceRow, canonical};

impl Engine {
    /// Returns the prices by which the pool's cards price what the tenant used, each with the month of the day.
    ///
    /// Labels of prices may name others: a caller who sees some tenants only gets the prices without labels and those that
    /// cells state, and no labels.
    pub(super) fn prices_of(&self, asked: Asked<'_>, pool: &ExplainedPool) -> Vec<MonthPrice> {
        let (date, books) = (asked.query.date, asked.books);
        let sees_all = *asked.scope == TenantScope::All;
        let cells: Vec<&ExplainedCell> = pool.components.iter().flat_map(|component| &component.cells).collect();
        let seconds = self.settings.zone.day_range(date).seconds();
        let is_told = |row: &&PriceRow| {
            let row: &PriceRow = row;
            let (meter, divisor) = canonical(&row.meter);
            let price = price_of_day(&Match { row, divisor }, date, seconds);
            let states_it = |cell: &ExplainedCell| {
                let stated = cell.unit_price.and_then(|price| price.checked_mul(i128::from(divisor)));
                stated.is_some() && stated == price
            };
            let mut of_meter = cells.iter().filter(|cell| cell.meter.as_deref() == Some(meter));
            of_meter.any(|cell| sees_all || row.labels.is_empty() || states_it(cell))
        };
        let cards = pool.rate_card_versions.iter().filter_map(|version| books.card_named(version, date));
        let rows = cards.flat_map(|card| &card.content.prices).filter(is_told);
        let mut prices: Vec<MonthPrice> = rows.flat_map(|row| self.row_prices(row, books, date.month())).collect();
        if !sees_all {
            prices.iter_mut().for_each(|price| price.labels.clear());
        }
        prices
    }
}
