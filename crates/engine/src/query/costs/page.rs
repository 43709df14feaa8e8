//! Shares, rounding and order of the rows.

use super::super::cost_query::{CostQuery, Granularity, SortKey};
use super::super::keys::{Column, GroupKey};
use super::super::shares::{self, WHOLE};
use super::compared::Sides;
use super::fold::{Group, bucket_of};
use super::{CostRow, CostTotals, Previous, Rank, ReservedTotals};
use attribution::minor_units;
use domain::tenant::{IDLE, OVERHEAD, RESERVED, UNATTRIBUTED, UNCONSUMED, VARIANCE};
use domain::{Currency, Day, DayRange};
use std::cmp::Ordering;
use std::collections::BTreeMap;

/// Returns all rows in the order asked, and the totals, both rounded if asked.
pub(super) fn shape(
    query: &CostQuery,
    days: DayRange,
    currency: Currency,
    mut groups: BTreeMap<Vec<String>, Group>,
    sides: Option<Sides>,
    totals: CostTotals,
) -> (Vec<CostRow>, CostTotals) {
    for key in sides.iter().flat_map(|sides| sides.previous.keys()) {
        if !groups.contains_key(key) {
            groups.insert(key.clone(), Group::default());
        }
    }
    // Rows are in key order here, so that equal remainders go to the lower key.
    let buckets = buckets(query.granularity, days);
    let shows_parts = !query.group_by.iter().any(|key| matches!(key, GroupKey::Column(Column::Tier | Column::Status)));
    let mut rows: Vec<CostRow> = groups
        .into_iter()
        .map(|(key, group)| CostRow {
            cost: group.cost,
            parts: shows_parts.then_some(group.parts),
            share: None,
            rank: None,
            previous: sides.as_ref().map(|sides| {
                let cost_in = |groups: &BTreeMap<Vec<String>, Group>| groups.get(&key).map_or(0, |group| group.cost);
                let (cost, later) = (cost_in(&sides.previous), sides.later.as_ref().map_or(group.cost, cost_in));
                Previous { cost, later, change: later - cost }
            }),
            series: buckets.as_ref().map(|buckets| {
                buckets.iter().map(|day| (*day, group.series.get(day).copied().unwrap_or_default())).collect()
            }),
            usage: None,
            key: query.group_by.iter().map(ToString::to_string).zip(key).collect(),
        })
        .collect();
    set_shares(&mut rows);
    let totals = if query.round_minor { round(&mut rows, totals, currency) } else { totals };
    if let Some(key) = &query.key {
        only(&mut rows, key, totals.reserved.is_some());
    }
    sort(query, &mut rows);
    (rows, totals)
}

/// Leaves the row of this key; only who sees all rows is told its rank.
fn only(rows: &mut Vec<CostRow>, key: &str, sees_all: bool) {
    let has = |row: &CostRow, value: &str| row.key.iter().any(|(_, known)| known == value);
    let is_reserved = |row: &CostRow| RESERVED.iter().any(|word| has(row, word));
    let mut ranked: Vec<&CostRow> = rows.iter().filter(|row| !is_reserved(row)).collect();
    ranked.sort_by(|left, right| right.cost.cmp(&left.cost).then_with(|| left.key.cmp(&right.key)));
    let place = ranked.iter().position(|row| has(row, key)).filter(|_| sees_all);
    let rank = place.map(|place| Rank { place: place + 1, of: ranked.len() });
    rows.retain(|row| has(row, key));
    for row in rows {
        row.rank = rank;
    }
}

fn buckets(granularity: Granularity, days: DayRange) -> Option<Vec<Day>> {
    (granularity != Granularity::None).then(|| {
        let mut buckets: Vec<Day> = days.days().map(|day| bucket_of(granularity, day)).collect();
        buckets.dedup();
        buckets
    })
}

fn set_shares(rows: &mut [CostRow]) {
    let costs: Vec<i128> = rows.iter().map(|row| row.cost).collect();
    let Some(parts) = shares::parts_of(WHOLE, &costs) else { return };
    for (row, part) in rows.iter_mut().zip(parts) {
        row.share = Some(part);
    }
}

/// Rounds every column so that its rows add up to its rounded total, and each series to its row.
fn round(rows: &mut [CostRow], totals: CostTotals, currency: Currency) -> CostTotals {
    fn column(rows: &mut [CostRow], currency: Currency, field: impl Fn(&mut CostRow) -> Option<&mut i128>) {
        let exact: Vec<i128> = rows.iter_mut().map(|row| field(row).map_or(0, |atoms| *atoms)).collect();
        let rounded = minor_units::round_all_to_minor_units(&exact, currency);
        for (row, rounded) in rows.iter_mut().zip(rounded) {
            if let Some(atoms) = field(row) {
                *atoms = rounded;
            }
        }
    }
    column(rows, currency, |row| Some(&mut row.cost));
    column(rows, currency, |row| row.parts.as_mut().map(|parts| &mut parts.direct));
    column(rows, currency, |row| row.parts.as_mut().map(|parts| &mut parts.amortized));
    column(rows, currency, |row| row.parts.as_mut().map(|parts| &mut parts.pending));
    column(rows, currency, |row| row.previous.as_mut().map(|previous| &mut previous.cost));
    column(rows, currency, |row| row.previous.as_mut().map(|previous| &mut previous.later));
    for row in rows.iter_mut() {
        if let Some(previous) = &mut row.previous {
            previous.change = previous.later - previous.cost;
        }
        if let Some(series) = &mut row.series {
            let exact: Vec<i128> = series.iter().map(|(_, atoms)| *atoms).collect();
            let rounded = minor_units::round_all_to_total(&exact, row.cost, currency);
            series.iter_mut().zip(rounded).for_each(|((_, atoms), rounded)| *atoms = rounded);
        }
    }
    let one = |atoms| minor_units::round_to_minor_units(atoms, currency);
    // A reserved consumer that has rows of its own costs what they print.
    let of = |word: &str, atoms| {
        let own = rows.iter().filter(|row| row.key.iter().any(|(_, value)| *value == word));
        own.map(|row| row.cost).reduce(|sum, cost| sum + cost).unwrap_or_else(|| one(atoms))
    };
    CostTotals {
        cost: one(totals.cost),
        memo: one(totals.memo),
        reserved: totals.reserved.map(|reserved| ReservedTotals {
            overhead: of(OVERHEAD, reserved.overhead),
            idle: of(IDLE, reserved.idle),
            unattributed: of(UNATTRIBUTED, reserved.unattributed),
            unconsumed: of(UNCONSUMED, reserved.unconsumed),
            variance: of(VARIANCE, reserved.variance),
        }),
    }
}

fn sort(query: &CostQuery, rows: &mut [CostRow]) {
    let parts = |row: &CostRow| row.parts.unwrap_or_default();
    let previous = |row: &CostRow| row.previous.unwrap_or_default();
    let by_key = |left: &CostRow, right: &CostRow| left.key.cmp(&right.key);
    rows.sort_by(|left, right| {
        let order = match query.sort.key {
            SortKey::Key => by_key(left, right),
            SortKey::Cost => left.cost.cmp(&right.cost),
            SortKey::Direct => parts(left).direct.cmp(&parts(right).direct),
            SortKey::Amortized => parts(left).amortized.cmp(&parts(right).amortized),
            SortKey::Pending => parts(left).pending.cmp(&parts(right).pending),
            SortKey::Previous => previous(left).cost.cmp(&previous(right).cost),
            SortKey::Change => previous(left).change.cmp(&previous(right).change),
        };
        let order = if query.sort.descending { order.reverse() } else { order };
        if order == Ordering::Equal { by_key(left, right) } else { order }
    });
}
