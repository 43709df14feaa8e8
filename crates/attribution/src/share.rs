//! Cells and components become shares.

use crate::cells::{Cell, CellKey, Cells, Consumer};
use crate::exact::weight_for_display;
use crate::pool::{Amounts, Component, ComponentKey};
use crate::split::{split_exact, split_like};
use domain::meter::Category;
use domain::tenant::UNATTRIBUTED;
use std::collections::BTreeMap;
use std::sync::Arc;

/// One consumer's part of one component.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Share {
    /// The component.
    pub component: ComponentKey,
    /// Who pays.
    pub consumer: Consumer,
    /// By which meter, if by one.
    pub meter: Option<Arc<str>>,
    /// Compute, storage, network, ai, labor, other.
    pub category: Category,
    /// Labels of a reserved consumer (`service` of lines that no pool takes).
    pub labels: BTreeMap<Arc<str>, Arc<str>>,
    /// The part of the cost metric.
    pub amount: i128,
    /// The part of BilledCost.
    pub billed: i128,
    /// The part of the converted amount.
    pub reporting: i128,
    /// The measured quantity; only on one component (of usage, if there is one), so that it may be summed.
    pub quantity: Option<i128>,
    /// The meter's unit.
    pub unit: Option<Arc<str>>,
    /// Price of one unit.
    pub unit_price: Option<i128>,
    /// The weight as a decimal of fifteen digits.
    pub weight: Option<i128>,
    /// The amount of the component.
    pub pool_amount: i128,
    /// Why the consumer is a reserved word.
    pub reason: Option<&'static str>,
    /// Whether the share moves to tier overhead.
    pub overhead: bool,
    /// Whether a window is still open, so that later uses can change it.
    pub pending: bool,
}

/// A component with its converted amount.
#[derive(Clone, Copy, Debug)]
pub struct Converted<'c> {
    /// The key.
    pub key: &'c ComponentKey,
    /// The amounts.
    pub component: &'c Component,
    /// The amount in the reporting currency.
    pub reporting: i128,
    /// The rate it was converted at, unless it is in the reporting currency already.
    pub rate: Option<domain::Price>,
}

/// Returns the shares of a component by cells; `__unattributed__`, `no_usage`, when they weigh nothing.
#[must_use]
pub fn share_out(converted: &Converted<'_>, cells: &Cells, with_quantity: bool) -> Vec<Share> {
    if cells.weigh_nothing() {
        return share_out(converted, &Cells::whole(UNATTRIBUTED, Some("no_usage")), false);
    }
    let weights = cells.weights();
    let split = |amount| split_exact(amount, &weights).expect("some weight is positive");
    let amounts = converted.component.amounts;
    let amount = split(amounts.amount);
    // Mostly all three measures are the same, and equal amounts have equal shares.
    let like_amount = |measure| if measure == amounts.amount { amount.clone() } else { split(measure) };
    let (billed, reporting) = (like_amount(amounts.billed), like_amount(converted.reporting));
    let mut shares = Vec::with_capacity(cells.cells.len());
    for (at, (key, cell)) in cells.cells.iter().enumerate() {
        let parts = Parts { amount: amount[at], billed: billed[at], reporting: reporting[at] };
        let whole = share(converted, key, cell, parts, cells, with_quantity);
        match cell.category {
            Some(_) => shares.push(whole),
            None => shares.extend(by_category(whole, &converted.component.by_category)),
        }
    }
    shares
}

/// The three measures of one share.
#[derive(Clone, Copy)]
pub(crate) struct Parts {
    pub(crate) amount: i128,
    pub(crate) billed: i128,
    pub(crate) reporting: i128,
}

pub(crate) fn share(
    converted: &Converted<'_>,
    (consumer, meter): &CellKey,
    cell: &Cell,
    parts: Parts,
    cells: &Cells,
    with_quantity: bool,
) -> Share {
    Share {
        component: converted.key.clone(),
        consumer: consumer.clone(),
        meter: meter.clone(),
        category: cell.category.unwrap_or(Category::Other),
        labels: BTreeMap::new(),
        amount: parts.amount,
        billed: parts.billed,
        reporting: parts.reporting,
        quantity: cell.quantity.filter(|_| with_quantity),
        unit: cell.unit.clone(),
        unit_price: cell.unit_price,
        weight: weight_for_display(&cell.weight, &cells.scale),
        pool_amount: converted.component.amounts.amount,
        reason: cell.reason,
        overhead: cell.overhead,
        pending: false,
    }
}

/// Returns the share divided over the categories of the component's lines; the parts add up to the share.
///
/// The component is split between consumers first, so that shares do not depend on how many categories its
/// lines have; each consumer's share then follows the mix of the lines (ADR-0003). Where the mix has
/// both signs, the share stays whole under `other`.
#[must_use]
pub fn by_category(whole: Share, mix: &BTreeMap<Category, Amounts>) -> Vec<Share> {
    if let Some((category, _)) = mix.iter().next().filter(|_| mix.len() == 1) {
        return vec![Share { category: *category, ..whole }];
    }
    let categories: Vec<Category> = mix.keys().copied().collect();
    let amount_mix: Vec<i128> = mix.values().map(|amounts| amounts.amount).collect();
    let billed_mix: Vec<i128> = mix.values().map(|amounts| amounts.billed).collect();
    let divide = |part: i128, mix: &[i128]| match part {
        0 => Some(vec![0; categories.len()]),
        part => split_like(part, mix),
    };
    let parts =
        (divide(whole.amount, &amount_mix), divide(whole.billed, &billed_mix), divide(whole.reporting, &amount_mix));
    let (Some(amount), Some(billed), Some(reporting)) = parts else {
        return vec![Share { category: Category::Other, ..whole }];
    };
    let part = |(at, category): (usize, &Category)| Share {
        category: *category,
        amount: amount[at],
        billed: billed[at],
        reporting: reporting[at],
        quantity: whole.quantity.filter(|_| at == 0),
        ..whole.clone()
    };
    categories.iter().enumerate().map(part).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use domain::Currency;

    fn component(parts: &[(Category, i128, i128)]) -> Component {
        let mut component = Component::default();
        for (category, amount, billed) in parts {
            let amounts = Amounts { amount: *amount, billed: *billed };
            component.amounts.add(amounts);
            component.by_category.entry(*category).or_default().add(amounts);
        }
        component
    }

    fn shares(component: &Component, tenants: &[&str]) -> Vec<(String, Category, i128, i128)> {
        let key = ComponentKey::usage(Currency::USD);
        let cells = tenants.iter().map(|tenant| {
            let cell = Cell { category: None, ..Cells::whole("x", None).cells.into_values().next().expect("one cell") };
            ((Consumer::Values(vec![Some((*tenant).into())]), None), cell)
        });
        let cells = Cells { cells: cells.collect(), scale: 1_u8.into() };
        let converted = Converted { key: &key, component, reporting: component.amounts.amount, rate: None };
        let word = |share: &Share| format!("{:?}", share.consumer);
        share_out(&converted, &cells, false)
            .iter()
            .map(|share| (word(share), share.category, share.amount, share.billed))
            .collect()
    }

    #[test]
    fn categories_never_change_what_a_consumer_pays() {
        let mixed = shares(&component(&[(Category::Compute, 50, 1), (Category::Storage, 51, 1)]), &["a", "b"]);
        let of =
            |tenant: &str| mixed.iter().filter(|share| share.0.contains(tenant)).map(|share| share.2).sum::<i128>();
        assert_eq!((of("\"a\""), of("\"b\"")), (51, 50));
    }

    #[test]
    fn a_mix_of_both_signs_stays_whole() {
        let mixed = shares(&component(&[(Category::Compute, 50, 0), (Category::Storage, -10, 0)]), &["a"]);
        assert_eq!(mixed, vec![("Values([Some(\"a\")])".to_owned(), Category::Other, 40, 0)]);
    }
}
