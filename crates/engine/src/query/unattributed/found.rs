//! The cost lines that nobody pays, by what a rule can name.

use super::{NO_MAPPING, NO_POOL, PoolDayKey, TENANT_REFUSED};
use attribution::line::LinePart;
use attribution::mapping::{Mapped, tenant_by_rules};
use attribution::pool::pool_of;
use domain::condition::ChargeAttribute;
use domain::policy::{Method, Policy, UNATTRIBUTED_POOL};
use domain::{Currency, Day};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// Kinds of lines that are told apart.
const KINDS_MAX: usize = 20_000;
/// Further kinds, without their tags, so that a row holds the whole cost of what it shows. The lines of yet further ones are
/// told by their pool.
const PLAIN_KINDS_MAX: usize = 20_000;

/// Attributes of a row, in their order. Those after them are tags, and only rules look at them.
pub(super) const SHOWN: [ChargeAttribute; 5] = [
    ChargeAttribute::Provider,
    ChargeAttribute::BillingAccount,
    ChargeAttribute::SubAccount,
    ChargeAttribute::Service,
    ChargeAttribute::ServiceCategory,
];

/// Lines that no rule can tell apart.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Kind {
    pub(super) currency: Currency,
    pub(super) pool: Arc<str>,
    pub(super) why: Arc<str>,
    /// By [`Found::attributes`]; an empty text counts as none.
    pub(super) values: Vec<Option<Arc<str>>>,
}

/// What some of it costs, and on which days it arose.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Sum {
    /// In atoms.
    pub(super) amount: i128,
    /// Lines, each on every day that it touches; none where no lines tell the amount.
    pub(super) lines: Option<u64>,
    pub(super) first_day: Day,
    pub(super) last_day: Day,
}

impl Sum {
    fn nothing(day: Day) -> Self {
        Self { amount: 0, lines: Some(0), first_day: day, last_day: day }
    }

    /// Adds what is known of other days or lines.
    pub(super) fn add(&mut self, other: &Self) {
        self.amount += other.amount;
        self.lines = self.lines.zip(other.lines).map(|(lines, others)| lines + others);
        self.first_day = self.first_day.min(other.first_day);
        self.last_day = self.last_day.max(other.last_day);
    }
}

/// Cost that only a pool and a reason are known of.
pub(super) type WholeKey = (Currency, Arc<str>, Arc<str>);

/// Everything that the cost of nobody is made of.
pub(super) struct Found {
    /// What lines are told apart by.
    pub(super) attributes: Vec<ChargeAttribute>,
    /// Amounts that lines tell.
    pub(super) kinds: BTreeMap<Kind, Sum>,
    /// Amounts that only pools tell.
    pub(super) wholes: BTreeMap<WholeKey, Sum>,
    /// The pools' days whose amount is in `kinds`.
    told: BTreeSet<PoolDayKey>,
    /// Kinds that were entered without their tags.
    plain: usize,
    /// Whether there were more kinds than are told apart.
    pub(super) is_folded: bool,
}

impl Found {
    /// Returns that nothing was found yet; lines are told apart by [`SHOWN`] and these tags.
    pub(super) fn new(tags: Vec<ChargeAttribute>) -> Self {
        let attributes = SHOWN.into_iter().chain(tags).collect();
        let (kinds, wholes) = (BTreeMap::new(), BTreeMap::new());
        Self { attributes, kinds, wholes, told: BTreeSet::new(), plain: 0, is_folded: false }
    }

    /// Adds the lines of a pool's day.
    pub(super) fn add_lines(&mut self, key: PoolDayKey, lines: &[NobodysLine<'_>]) {
        let (day, pool, currency) = &key;
        for line in lines {
            let sum = Sum { amount: line.amount, lines: Some(line.part.lines), first_day: *day, last_day: *day };
            let value = |attribute| line.part.get(attribute).filter(|value| !value.is_empty()).cloned();
            let values = self.attributes.iter().map(value).collect();
            let kind = Kind { currency: *currency, pool: Arc::clone(pool), why: line.why.into(), values };
            self.add_kind(kind, &sum);
        }
        self.told.insert(key);
    }

    fn add_kind(&mut self, mut kind: Kind, sum: &Sum) {
        let nothing = || Sum::nothing(sum.first_day);
        if KINDS_MAX <= self.kinds.len() - self.plain && !self.kinds.contains_key(&kind) {
            self.is_folded = true;
            kind.values[SHOWN.len()..].fill(None);
            let is_new = !self.kinds.contains_key(&kind);
            if is_new && PLAIN_KINDS_MAX <= self.plain {
                let whole = self.wholes.entry((kind.currency, kind.pool, kind.why));
                return whole.or_insert_with(nothing).add(sum);
            }
            self.plain += usize::from(is_new);
        }
        self.kinds.entry(kind).or_insert_with(nothing).add(sum);
    }

    /// Adds what the ledger says of a pool's day, unless its lines tell it.
    pub(super) fn add_whole(&mut self, key: &PoolDayKey, why: &Arc<str>, amount: i128) {
        if amount == 0 || self.told.contains(key) {
            return;
        }
        let (day, pool, currency) = key;
        let whole = self.wholes.entry((*currency, Arc::clone(pool), Arc::clone(why)));
        let sum = Sum { amount, lines: None, ..Sum::nothing(*day) };
        whole.or_insert_with(|| Sum::nothing(*day)).add(&sum);
    }
}

/// A line, or several of equal attributes, that nobody pays.
pub(super) struct NobodysLine<'l> {
    /// The lines.
    pub(super) part: &'l LinePart,
    /// Why nobody does.
    why: &'static str,
    /// The cost by the metric of its pool, in atoms.
    pub(super) amount: i128,
}

/// Returns why nobody pays a line, with the place of the pool that takes it, if one does; none of any other line.
pub(super) fn why_nobody(
    policy: &Policy,
    part: &LinePart,
    resolve: &dyn Fn(&str) -> Option<Arc<str>>,
) -> Option<(Option<usize>, &'static str)> {
    let Some(at) = pool_of(policy, part) else { return Some((None, NO_POOL)) };
    if policy.pools[at].method() != Method::Direct {
        return None;
    }
    match tenant_by_rules(policy, part, resolve) {
        Mapped::Tenant(_) => None,
        Mapped::Refused => Some((Some(at), TENANT_REFUSED)),
        Mapped::Nobody => Some((Some(at), NO_MAPPING)),
    }
}

/// Returns the lines of a day that no pool takes, and those of pools of method `direct` that no tenant is found for.
pub(super) fn nobodys<'l>(
    policy: &Policy,
    parts: &'l [LinePart],
    resolve: &dyn Fn(&str) -> Option<Arc<str>>,
) -> BTreeMap<(Arc<str>, Currency), Vec<NobodysLine<'l>>> {
    let names: Vec<Arc<str>> = policy.pools.iter().map(|pool| pool.name.as_str().into()).collect();
    let no_pool: Arc<str> = UNATTRIBUTED_POOL.into();
    let mut found: BTreeMap<(Arc<str>, Currency), Vec<NobodysLine<'l>>> = BTreeMap::new();
    for part in parts {
        let Some((taker, why)) = why_nobody(policy, part, resolve) else { continue };
        let name = taker.map_or(&no_pool, |at| &names[at]);
        let metric = taker.and_then(|at| policy.pools[at].cost_metric).unwrap_or(policy.cost_metric);
        let lines = found.entry((Arc::clone(name), part.currency)).or_default();
        lines.push(NobodysLine { part, why, amount: part.cost.by(metric) });
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;
    use attribution::line::{AttributeSet, Cost};

    const OWNER: &str = "owner";

    /// Adds one line of this account and owner for each.
    fn add(found: &mut Found, lines: impl Iterator<Item = (usize, usize)>) {
        let attributes = AttributeSet::of([ChargeAttribute::SubAccount, ChargeAttribute::Tag(OWNER.into())]);
        let part = |(account, owner): (usize, usize)| {
            let value = |attribute: &ChargeAttribute| -> Option<Arc<str>> {
                let value = if *attribute == ChargeAttribute::SubAccount { account } else { owner };
                Some(value.to_string().into())
            };
            let values = attributes.attributes().iter().map(value).collect();
            LinePart {
                attributes: attributes.clone(),
                values,
                currency: Currency::USD,
                cost: Cost::default(),
                lines: 1,
            }
        };
        let parts: Vec<LinePart> = lines.map(part).collect();
        let lines: Vec<NobodysLine<'_>> =
            parts.iter().map(|part| NobodysLine { part, why: NO_MAPPING, amount: 1 }).collect();
        found.add_lines(("2026-11-18".parse().expect("a day"), "own".into(), Currency::USD), &lines);
    }

    fn amounts<'s>(sums: impl Iterator<Item = &'s Sum>) -> i128 {
        sums.map(|sum| sum.amount).sum()
    }

    #[test]
    fn what_is_too_much_loses_its_tags_before_it_loses_its_account() {
        let mut found = Found::new(vec![ChargeAttribute::Tag(OWNER.into())]);
        add(&mut found, (0..KINDS_MAX + 5).map(|owner| (owner % 2, owner)));
        let of_first = found.kinds.iter().filter(|(kind, _)| kind.values[2].as_deref() == Some("0"));
        assert_eq!(amounts(of_first.map(|(_, sum)| sum)), KINDS_MAX as i128 / 2 + 3);
        assert_eq!((found.is_folded, found.kinds.len(), found.wholes.len()), (true, KINDS_MAX + 2, 0));

        add(&mut found, (0..PLAIN_KINDS_MAX).map(|account| (account + 2, 0)));
        assert_eq!((found.kinds.len(), amounts(found.wholes.values())), (KINDS_MAX + PLAIN_KINDS_MAX, 2));
        let added = KINDS_MAX + 5 + PLAIN_KINDS_MAX;
        assert_eq!(amounts(found.kinds.values().chain(found.wholes.values())), added as i128);
    }
}
