//! Pools whose consumers pay what their usage is worth, whatever a bill says: estimates, and pools that recover lines.

use crate::cells::{Cells, magnitude};
use crate::day::{Computed, DayInputs, NotRun, convert, convert_all};
use crate::pool::{Amounts, Component, ComponentKey, Components, Trail};
use crate::share::{Converted, Parts, Share, by_category, share};
use crate::split::split_exact;
use domain::Currency;
use domain::money::MONEY_ATOMS_MAX;
use domain::tenant::VARIANCE;
use num_bigint::BigUint;
use std::collections::{BTreeMap, BTreeSet};

/// Divides what usage is worth, converted into the component's currency, between consumers.
pub(crate) type OwnShares<'f> = dyn Fn(&Converted<'_>, i128) -> Result<Vec<Share>, NotRun> + 'f;

/// What usage is worth by itself, before any bill is looked at.
pub(crate) struct Own<'f> {
    /// Whether there is nothing to pay for.
    pub(crate) is_empty: bool,
    /// What all of it is worth.
    pub(crate) total: Result<i128, NotRun>,
    /// In which currency.
    pub(crate) currency: Currency,
    /// Who pays.
    pub(crate) shares: &'f OwnShares<'f>,
}

/// Returns an estimate: what each consumer's usage is worth, in its own currency.
pub(crate) fn memo(inputs: &DayInputs<'_>, own: &Own<'_>) -> Result<Computed, NotRun> {
    if own.is_empty {
        return Ok(Computed::default());
    }
    let total = own.total.clone()?;
    let component = Component { amounts: Amounts { amount: total, billed: 0 }, ..Component::default() };
    let components = Components::from([(ComponentKey::usage(own.currency), component)]);
    let pool_components = convert_all(inputs, &components)?;
    let (key, component) = components.first_key_value().expect("one component");
    let fx = pool_components[0].fx;
    let converted = Converted { key, component, reporting: pool_components[0].reporting, rate: fx.map(|fx| fx.rate) };
    let shares = (own.shares)(&converted, total)?;
    Ok((pool_components, shares, Vec::new()))
}

/// Returns the worth of usage in the currency of the lines, and what is left of the lines as `__variance__`.
pub(crate) fn recover(
    inputs: &DayInputs<'_>,
    own: &Own<'_>,
    mut components: Components,
    trailed: bool,
) -> Result<Computed, NotRun> {
    if own.is_empty && components.is_empty() {
        return Ok(Computed::default());
    }
    let currency = currency_of(&components)?.unwrap_or(own.currency);
    let trails = if trailed { trails_of_usage(&components) } else { BTreeMap::new() };
    let usage = ComponentKey::usage(currency);
    components.entry(usage.clone()).or_default();
    let recovered = convert(inputs, own.total.clone()?, own.currency, currency)?;
    let pool_components = convert_all(inputs, &components)?;
    let (mut shares, mut by_trail) = (Vec::new(), Vec::new());
    for (entry, (key, component)) in pool_components.iter().zip(&components) {
        let converted = Converted { key, component, reporting: entry.reporting, rate: entry.fx.map(|fx| fx.rate) };
        let mut left = Parts {
            amount: component.amounts.amount,
            billed: component.amounts.billed,
            reporting: converted.reporting,
        };
        if *key == usage {
            let reporting = convert(inputs, recovered, currency, inputs.reporting_currency)?;
            let paid = (own.shares)(&Converted { reporting, ..converted }, recovered)?;
            let paid = paid.into_iter().map(|share| Share { billed: share.amount, ..share }).collect::<Vec<_>>();
            if trailed {
                by_trail.extend(paid.iter().flat_map(|share| over_trails(share, &trails)));
            }
            shares.extend(paid);
            (left.amount, left.billed, left.reporting) =
                (left.amount - recovered, left.billed - recovered, left.reporting - reporting);
        }
        shares.extend(variance(&converted, left));
    }
    Ok((pool_components.into_iter().filter(|entry| entry.lines > 0).collect(), shares, by_trail))
}

/// The one currency of the lines, if there are any.
pub(crate) fn currency_of(components: &Components) -> Result<Option<Currency>, NotRun> {
    let currencies: BTreeSet<Currency> = components.keys().map(|key| key.currency).collect();
    if currencies.len() > 1 {
        return Err(NotRun::new("currency_mixed", format!("the lines it recovers are in {currencies:?}")));
    }
    Ok(currencies.first().copied())
}

/// What all cells are rated at together.
pub(crate) fn rated_total(cells: &Cells) -> Result<i128, NotRun> {
    let total = cells.cells.values().filter_map(|cell| cell.rated).try_fold(0_i128, i128::checked_add);
    total
        .filter(|total| total.abs() <= MONEY_ATOMS_MAX)
        .ok_or_else(|| NotRun::new("out_of_bound", "the rated amounts add up to more than a row can hold".to_owned()))
}

/// One share per cell that *is* its rated amount, or its split of `total` when that was converted.
pub(crate) fn exactly_rated(converted: &Converted<'_>, cells: &Cells, total: i128) -> Vec<Share> {
    let weights = cells.weights();
    let zeros = || vec![0; weights.len()];
    let amounts = split_exact(total, &weights).unwrap_or_else(zeros);
    let reporting = split_exact(converted.reporting, &weights).unwrap_or_else(zeros);
    let parts = amounts.into_iter().zip(reporting).map(|(amount, reporting)| Parts { amount, billed: 0, reporting });
    let of_cell = |((key, cell), parts)| share(converted, key, cell, parts, cells, true);
    cells.cells.iter().zip(parts).map(of_cell).collect()
}

fn variance(converted: &Converted<'_>, left: Parts) -> Vec<Share> {
    if left.amount == 0 && left.billed == 0 && left.reporting == 0 {
        return Vec::new();
    }
    let variance = Cells::whole(VARIANCE, None);
    let (key, cell) = variance.cells.first_key_value().expect("one cell");
    let whole = Share { weight: None, ..share(converted, key, cell, left, &variance, false) };
    by_category(whole, &converted.component.by_category)
}

/// What each trail of the lines of usage costs, or of all lines where there is no usage among them.
fn trails_of_usage(components: &Components) -> BTreeMap<Trail, i128> {
    let has_usage = components.keys().any(ComponentKey::is_usage);
    let counted = components.iter().filter(|(key, _)| key.is_usage() || !has_usage);
    let mut trails: BTreeMap<Trail, i128> = BTreeMap::new();
    for (trail, amounts) in counted.flat_map(|(_, component)| &component.by_trail) {
        *trails.entry(trail.clone()).or_default() += amounts.amount;
    }
    trails
}

/// A rated share by the trails of the lines that it recovers, in proportion to what they cost; without a trail
/// where that is nothing.
fn over_trails(share: &Share, trails: &BTreeMap<Trail, i128>) -> Vec<(Share, Trail)> {
    let weights: Vec<BigUint> = trails.values().map(|amount| magnitude(*amount)).collect();
    let parts = [share.amount, share.billed, share.reporting].map(|part| split_exact(part, &weights));
    let [Some(amount), Some(billed), Some(reporting)] = parts else {
        return vec![(share.clone(), Trail::default())];
    };
    let part = |(at, trail): (usize, &Trail)| {
        let part = Share { amount: amount[at], billed: billed[at], reporting: reporting[at], ..share.clone() };
        (part, trail.clone())
    };
    trails.keys().enumerate().map(part).collect()
}
