//! Graduated prices: what a day adds to a calendar month that is priced by how much there is of it.

use crate::cells::Consumer;
use crate::rated::by_price;
use crate::rating::Rated;
use crate::usage::{MeterBook, UsageCell};
use domain::policy::{Method, Policy};
use domain::rates::{Match, RateCard};
use std::collections::BTreeMap;
use std::sync::Arc;

/// Quantities at graduated prices since the first of the month, by pool, row of the card, and tenant.
///
/// It belongs to one policy and one card: another card's rows are others.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct MonthSoFar(BTreeMap<(String, usize), BTreeMap<Arc<str>, i128>>);

impl MonthSoFar {
    /// Returns how many quantities it holds.
    #[must_use]
    pub fn cells(&self) -> usize {
        self.0.values().map(BTreeMap::len).sum()
    }

    /// Returns the quantity in atoms of the meter's unit, 0 for what nobody used yet.
    #[must_use]
    pub fn quantity(&self, pool: &str, row: usize, tenant: &str) -> i128 {
        self.0.get(&(pool.to_owned(), row)).and_then(|tenants| tenants.get(tenant)).copied().unwrap_or(0)
    }

    /// Adds the usage of a day, as the rated pools of the policy price it.
    ///
    /// A quantity below 0 counts as none, as it does on its own day. Usage that two prices fit equally well is left out:
    /// its day is not run before the card decides.
    pub fn add_day(&mut self, policy: &Policy, card: &RateCard, meters: &MeterBook, usage: &[UsageCell]) {
        for pool in policy.pools.iter().filter(|pool| pool.method() == Method::Rated) {
            let Some(Ok(found)) = pool.split.as_ref().map(|split| by_price(split, usage, card, meters)) else {
                continue;
            };
            for ((consumer, _, row), quantity) in found.quantities {
                if card.prices[row].tiers.is_empty() || quantity <= 0 {
                    continue;
                }
                let tenants = self.0.entry((pool.name.clone(), row)).or_default();
                *tenants.entry(tenant_of(&consumer)).or_default() += quantity;
            }
        }
    }
}

/// Returns the tenant of a consumer of usage: `by` begins with it, and usage without one has no consumer.
pub(crate) fn tenant_of(consumer: &Consumer) -> Arc<str> {
    match consumer {
        Consumer::Values(values) => values.first().cloned().flatten().unwrap_or_else(|| Arc::from("")),
        Consumer::Reserved(word) => Arc::from(*word),
    }
}

/// Adds what the quantity between `before` and `after` costs, F(after) − F(before), not rounded.
///
/// # Units
/// Quantities in atoms of the meter's unit, not below 0, `before` not above `after`.
///
/// # Source
/// Spec 2-model, section 6 (rates.toml): F is graduated, so each part costs the price of the tier that it lies in.
pub fn add_between(rated: &mut Rated, found: &Match<'_>, before: i128, after: i128) {
    assert!((0..=after).contains(&before), "a month's quantity only grows");
    // At most 10²⁷ atoms × 2³⁰ units a key: far below 2¹²⁷.
    let above = |atoms: i128| atoms * i128::from(found.divisor);
    let tiers = found.row.tiers.iter().map(|tier| (above(tier.above.atoms()), tier.price.atoms()));
    let tiers: Vec<(i128, i128)> = std::iter::once((0, found.row.price.atoms())).chain(tiers).collect();
    for (at, (from, price)) in tiers.iter().enumerate() {
        let to = tiers.get(at + 1).map_or(i128::MAX, |(next, _)| *next);
        let part = after.clamp(*from, to) - before.clamp(*from, to);
        if part > 0 {
            rated.add(part, *price, found.divisor);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rating::QUANTITY_ATOMS_PER_UNIT;
    use domain::rates::canonical;

    fn card(row: &str) -> RateCard {
        let text = format!("version='v'\ncurrency='USD'\nvalid_from=2026-01-01\n[[price]]\n{row}");
        RateCard::read("rates.toml", &text).expect("a valid card")
    }

    fn check(row: &str, before: i128, after: i128, expected: &str) {
        let card = card(row);
        let row = &card.prices[0];
        let mut rated = Rated::default();
        let found = Match { row, divisor: canonical(&row.meter).1 };
        add_between(&mut rated, &found, before * QUANTITY_ATOMS_PER_UNIT, after * QUANTITY_ATOMS_PER_UNIT);
        let cost = domain::money::format_atoms(rated.round_half_even().expect("small"));
        assert_eq!(cost, expected, "{before} to {after}");
    }

    #[test]
    fn each_part_costs_the_price_of_the_tier_that_it_lies_in() {
        let row = "meter='m'\nprice='3'\ntiers=[{above='10',price='2'},{above='20',price='0.5'}]";
        check(row, 0, 0, "0.00");
        check(row, 0, 10, "30.00");
        check(row, 0, 11, "32.00");
        check(row, 9, 12, "7.00");
        check(row, 5, 30, "40.00");
        check(row, 20, 22, "1.00");
    }

    #[test]
    fn bounds_are_in_units_of_the_cards_own_key() {
        let row = "meter='storage_gb'\nprice='0.10'\ntiers=[{above='1',price='0.05'}]";
        check(row, 0, 3_000_000_000, "0.20");
        check(row, 1_000_000_000, 2_000_000_000, "0.05");
    }
}
