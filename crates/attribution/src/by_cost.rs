//! What other pools cost their consumers, as weights.

use crate::cells::{Cell, Cells, Consumer};
use crate::day::{Finding, NotRun, PoolOutcome};
use crate::fx::convert_parts;
use crate::pool::{Amounts, Component, Trail};
use crate::share::{Converted, Share, share_out};
use domain::dimension::Dimension;
use domain::policy::Pool;
use domain::tenant::{OVERHEAD, VARIANCE};
use num_bigint::BigUint;
use std::collections::BTreeMap;
use std::sync::Arc;

/// Cost of one consumer of a base pool on the day, from one trail.
#[derive(Clone, Debug)]
pub struct BaseCost {
    /// Dimensions of the base's own `by`.
    pub by: Arc<[Dimension]>,
    /// Who pays there.
    pub consumer: Consumer,
    /// Where the cost came from, as far as it is known.
    pub trail: Trail,
    /// Cost in the currency that all bases share, or in the reporting currency.
    pub amount: i128,
    /// Why the consumer is a reserved word.
    pub reason: Option<&'static str>,
}

/// Returns the costs of the base pools that count as weights: charge categories Usage and Purchase, no memo.
///
/// With `trailed` each cost keeps its source, sub-account and service.
#[must_use]
pub fn base_costs(bases: &[(&Pool, &PoolOutcome)], trailed: bool) -> Vec<BaseCost> {
    let mut counted: Vec<(Arc<[Dimension]>, &Share, Trail)> = Vec::new();
    for (pool, outcome) in bases.iter().filter(|(pool, _)| !pool.is_memo()) {
        let by: Arc<[Dimension]> = pool.by().into();
        let shares: Vec<(&Share, Trail)> = match trailed {
            true => outcome.trailed.iter().map(|(share, trail)| (share, trail.clone())).collect(),
            false => outcome.shares.iter().map(|share| (share, Trail::default())).collect(),
        };
        let is_counted = |share: &Share| {
            let category = share.component.charge_category.as_deref();
            matches!(category, Some("Usage" | "Purchase"))
                && !matches!(share.consumer, Consumer::Reserved(OVERHEAD | VARIANCE))
        };
        counted.extend(
            shares
                .into_iter()
                .filter(|(share, _)| is_counted(share))
                .map(|(share, trail)| (Arc::clone(&by), share, trail)),
        );
    }
    let first = counted.first().map(|(_, share, _)| share.component.currency);
    let one_currency = counted.iter().all(|(_, share, _)| Some(share.component.currency) == first);
    let cost = |(by, share, trail): (Arc<[Dimension]>, &Share, Trail)| BaseCost {
        by,
        consumer: share.consumer.clone(),
        trail,
        amount: if one_currency { share.amount } else { share.reporting },
        reason: share.reason,
    };
    counted.into_iter().map(cost).collect()
}

/// Returns the shares of one component of a pool that follows the invoice, with the trail of each.
///
/// # Errors
/// [`NotRun`] when a part of the component does not fit.
pub fn share_by_trail(
    pool: &Pool,
    converted: &Converted<'_>,
    bases: &[BaseCost],
    findings: &mut Vec<Finding>,
) -> Result<Vec<(Share, Trail)>, NotRun> {
    let parts: Vec<(&Trail, Amounts)> =
        converted.component.by_trail.iter().map(|(trail, amounts)| (trail, *amounts)).collect();
    let amounts: Vec<i128> = parts.iter().map(|(_, amounts)| amounts.amount).collect();
    let reporting =
        convert_parts(converted.reporting, &amounts, converted.rate).ok_or_else(NotRun::part_out_of_bound)?;
    let mut shares = Vec::new();
    for ((trail, amounts), reporting) in parts.into_iter().zip(reporting) {
        let cells = followed(pool, bases, trail, findings);
        let part = Component { amounts, by_category: converted.component.by_category.clone(), ..Component::default() };
        let whole = converted.component.amounts.amount;
        let part = Converted { component: &part, reporting, ..*converted };
        let out = share_out(&part, &cells, false);
        shares.extend(out.into_iter().map(|share| (Share { pool_amount: whole, ..share }, trail.clone())));
    }
    Ok(shares)
}

/// Cells of the bases with the same trail; service, then sub-account, then source are dropped until one remains.
fn followed(pool: &Pool, bases: &[BaseCost], trail: &Trail, findings: &mut Vec<Finding>) -> Cells {
    let fits = |kept: usize, base: &&BaseCost| {
        (kept < 1 || base.trail.source == trail.source)
            && (kept < 2 || base.trail.sub_account == trail.sub_account)
            && (kept < 3 || base.trail.service == trail.service)
    };
    for kept in (0..=3).rev() {
        let cells = cells_by_cost(pool, bases.iter().filter(|base| fits(kept, base)), findings);
        if !cells.weigh_nothing() {
            return cells;
        }
    }
    Cells::default()
}

/// Returns a cell for each consumer of the bases, by what it costs there; a reserved word keeps the reason of
/// the first base that gives one.
pub fn cells_by_cost<'b>(pool: &Pool, bases: impl Iterator<Item = &'b BaseCost>, findings: &mut Vec<Finding>) -> Cells {
    let mut costs: BTreeMap<Consumer, (i128, Option<&'static str>)> = BTreeMap::new();
    for base in bases {
        let (amount, reason) = costs.entry(seen_by(pool, base)).or_default();
        *amount += base.amount;
        *reason = reason.or(base.reason);
    }
    let mut cells = BTreeMap::new();
    for (consumer, (amount, reason)) in costs {
        if amount < 0 {
            findings.push(Finding::negative_driver(pool, &consumer, "cost", amount));
        }
        let weight = BigUint::from(u128::try_from(amount).unwrap_or(0));
        cells.insert((consumer, None), Cell { reason, ..Cell::of_weight(weight) });
    }
    Cells { cells, scale: BigUint::from(domain::money::ATOMS_PER_UNIT.unsigned_abs()) }
}

/// The base's consumer in the dimensions of this pool's own `by`.
fn seen_by(pool: &Pool, base: &BaseCost) -> Consumer {
    let Consumer::Values(values) = &base.consumer else { return base.consumer.clone() };
    let value = |dimension: &Dimension| {
        let at = base.by.iter().position(|other| other == dimension)?;
        values.get(at).cloned().flatten()
    };
    Consumer::Values(pool.by().iter().map(value).collect())
}
