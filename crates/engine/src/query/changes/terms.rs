//! The arithmetic of a change: what a pool's part of a tenant's cost would have been, one thing after the other put as it
//! is in the later range. The terms are the steps between these amounts, so they add up to the change whatever is rounded.

use attribution::exact::multiply_divide_half_even;
use std::collections::{BTreeMap, BTreeSet};

/// Why a cost is another one than it was. The order is that in which things are put as they are later.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum ChangeTerm {
    /// The tenant itself used more or less.
    OwnVolume,
    /// The pool cost more or less, or a unit did.
    PriceOrPoolAmount,
    /// The others in the pool used more or less.
    OthersVolume,
    /// More or less of the pool was idle.
    Idle,
    /// The last three together, where one of them alone would give a peer away.
    PoolAndOthers,
    /// Another rule or another price list.
    PolicyOrRateVersion,
    /// Another exchange rate.
    Fx,
    /// Corrections of closed months, and adjustments.
    Corrections,
    /// Pools that only one of the ranges has.
    NewOrRemovedPools,
}

impl ChangeTerm {
    /// Returns the term's word.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::OwnVolume => "own_volume",
            Self::PriceOrPoolAmount => "price_or_pool_amount",
            Self::OthersVolume => "others_volume",
            Self::Idle => "idle",
            Self::PoolAndOthers => "pool_and_others",
            Self::PolicyOrRateVersion => "policy_or_rate_version",
            Self::Fx => "fx",
            Self::Corrections => "corrections",
            Self::NewOrRemovedPools => "new_or_removed_pools",
        }
    }
}

/// Amounts by term, in atoms of the reporting currency.
pub type Terms = BTreeMap<ChangeTerm, i128>;

/// What a meter of the tenant stands for in a range: its amount, and its quantity if it was measured.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct OfMeter {
    pub(super) amount: i128,
    pub(super) quantity: Option<i128>,
}

/// Sums of weights of the tenant, of the others, and of what was idle.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Weights {
    pub(super) own: i128,
    pub(super) others: i128,
    pub(super) idle: i128,
}

/// A pool in one currency in one range.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Side {
    /// What the tenant pays, in atoms of the currency.
    pub(super) amount: i128,
    /// The same in the reporting currency.
    pub(super) reporting: i128,
    /// What all pay; only the tenant's own where the others are not looked at.
    pub(super) whole: i128,
    pub(super) weights: Weights,
    pub(super) meters: BTreeMap<String, OfMeter>,
}

/// How a pool's cost depends on what was used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Model {
    /// An amount is divided by weights.
    Split,
    /// An amount is divided by heads or percents: there are as many weights as days.
    Heads,
    /// Each unit has its price.
    Priced,
    /// The tenant's own lines or events, whatever was used.
    Own,
}

impl Model {
    /// Returns the model of a method and a basis.
    pub(super) fn of(method: &str, basis: &str) -> Self {
        match (method, basis) {
            ("weighted" | "proportional" | "by_cost", _) | ("rated", "billed") => Self::Split,
            ("even" | "fixed", _) => Self::Heads,
            ("rated", _) => Self::Priced,
            _ => Self::Own,
        }
    }

    fn is_shared(self) -> bool {
        matches!(self, Self::Split | Self::Heads)
    }
}

/// What decides which terms there are.
#[derive(Clone, Copy, Debug)]
pub(super) struct Given<'g> {
    pub(super) model: Model,
    /// Whether the policy defines the pool otherwise in the later range, so that weights do not compare.
    pub(super) is_redefined: bool,
    /// Meters that the later rate card prices otherwise.
    pub(super) repriced: &'g BTreeSet<String>,
    /// Whether the caller may know of the others in the pool.
    pub(super) disclosed: bool,
}

/// The amount of the later range as far as things were put as they are there, step by step.
struct Steps(Vec<(ChangeTerm, i128)>);

/// Returns the terms of a pool in one currency, without corrections.
pub(super) fn terms_of(before: &Side, after: &Side, given: Given<'_>) -> Terms {
    let steps = steps_of(before, after, given);
    let mut terms = Terms::new();
    let mut known = before.reporting;
    for (term, amount) in steps.0 {
        let reached = in_reporting(amount, before, after);
        *terms.entry(term).or_default() += reached - known;
        known = reached;
    }
    *terms.entry(ChangeTerm::Fx).or_default() += after.reporting - known;
    terms
}

/// At the earlier range's rate of exchange; at the later one's where the earlier has no cost.
fn in_reporting(amount: i128, before: &Side, after: &Side) -> i128 {
    let at = |side: &Side| part(amount, side.reporting, side.amount);
    at(before).or_else(|| at(after)).unwrap_or(amount)
}

fn steps_of(before: &Side, after: &Side, given: Given<'_>) -> Steps {
    use ChangeTerm::{OwnVolume, PolicyOrRateVersion, PoolAndOthers, PriceOrPoolAmount};
    let (first, last) = (before.amount, after.amount);
    let folds = given.model.is_shared() && !given.disclosed;
    let priced = if folds { PoolAndOthers } else { PriceOrPoolAmount };
    if given.is_redefined {
        let at_new_amount = part(first, after.whole, before.whole).filter(|_| given.disclosed).unwrap_or(first);
        return Steps(vec![(OwnVolume, first), (priced, at_new_amount), (PolicyOrRateVersion, last)]);
    }
    match given.model {
        Model::Priced => {
            let at_old_prices = at_old_prices(before, after);
            let own: i128 = at_old_prices.values().sum();
            let now = |meter: &String| after.meters.get(meter).map_or(0, |of| of.amount);
            let kept = at_old_prices.iter().filter(|(meter, _)| !given.repriced.contains(*meter));
            let by_price: i128 = kept.map(|(meter, amount)| now(meter) - amount).sum();
            Steps(vec![(OwnVolume, own), (priced, own + by_price), (PolicyOrRateVersion, last)])
        }
        Model::Own => Steps(vec![(OwnVolume, first), (priced, last), (PolicyOrRateVersion, last)]),
        Model::Split | Model::Heads if folds => {
            let own: i128 = at_old_prices(before, after).values().sum();
            Steps(vec![(OwnVolume, own), (priced, last), (PolicyOrRateVersion, last)])
        }
        Model::Split => shared(before, after, before.weights, after.weights),
        Model::Heads => {
            let (earlier, later) = by_head(before.weights, after.weights);
            shared(before, after, earlier, later)
        }
    }
}

/// What the later quantities cost at what a unit cost the tenant before; a meter that was not used before costs what it
/// costs now, and one that is not measured what it cost before.
fn at_old_prices(before: &Side, after: &Side) -> BTreeMap<String, i128> {
    let meters: BTreeSet<&String> = before.meters.keys().chain(after.meters.keys()).collect();
    let of = |side: &Side, meter: &String| side.meters.get(meter).copied().unwrap_or_default();
    let cost = |meter: &String| {
        let (earlier, later) = (of(before, meter), of(after, meter));
        match (earlier.quantity, later.quantity) {
            (None, None) => earlier.amount,
            (earlier_quantity, later_quantity) => {
                let later_quantity = later_quantity.unwrap_or(0).max(0);
                let before = earlier_quantity.filter(|quantity| *quantity > 0);
                before.and_then(|quantity| part(earlier.amount, later_quantity, quantity)).unwrap_or(later.amount)
            }
        }
    };
    meters.into_iter().map(|meter| (meter.clone(), cost(meter))).collect()
}

/// An amount that is divided by weights: own weight, amount, the others' weight and idle, one after the other.
///
/// The amount is the one that, divided by the range's weights, gives what the tenant pays: days on which a pool costs
/// more than on others are in it. What nobody's weight explains, such as an amount that cannot be computed, stands under
/// the amount too.
fn shared(before: &Side, after: &Side, earlier: Weights, later: Weights) -> Steps {
    use ChangeTerm::{Idle, OthersVolume, OwnVolume, PriceOrPoolAmount};
    let terms = [OwnVolume, PriceOrPoolAmount, OthersVolume, Idle];
    let by_amount = || [before.amount, after.amount, after.amount, after.amount];
    let reached = substituted(before, after, earlier, later).unwrap_or_else(by_amount);
    let mut steps: Vec<(ChangeTerm, i128)> = terms.into_iter().zip(reached).collect();
    steps.push((ChangeTerm::PolicyOrRateVersion, after.amount));
    Steps(steps)
}

fn substituted(before: &Side, after: &Side, earlier: Weights, later: Weights) -> Option<[i128; 4]> {
    let (old_amount, new_amount) = (divided_amount(before, earlier)?, divided_amount(after, later)?);
    let changes = [
        earlier.own != later.own,
        old_amount != new_amount,
        earlier.others != later.others,
        earlier.idle != later.idle,
    ];
    // From the last thing that changed on it is the later amount itself, not one that was rounded on the way.
    let last = changes.iter().rposition(|changed| *changed).unwrap_or(1);
    let others = |others: i128, idle: i128| Weights { own: later.own, others, idle };
    let ways = [
        (old_amount, others(earlier.others, earlier.idle)),
        (new_amount, others(earlier.others, earlier.idle)),
        (new_amount, others(later.others, earlier.idle)),
        (new_amount, others(later.others, later.idle)),
    ];
    let mut reached = [before.amount; 4];
    let mut known = before.amount;
    for (at, (amount, weights)) in ways.into_iter().enumerate() {
        if at >= last {
            known = after.amount;
        } else if changes[at] {
            known = own_part(amount, weights)?;
        }
        reached[at] = known;
    }
    Some(reached)
}

/// The amount whose part by these weights the tenant pays: what all pay, where that is it but for the atoms that were
/// rounded, or where the tenant has no weight.
fn divided_amount(side: &Side, weights: Weights) -> Option<i128> {
    const ROUNDED_ATOMS_MAX: u128 = 1_000;
    let of_whole = own_part(side.whole, weights)?;
    if weights.own <= 0 || of_whole.abs_diff(side.amount) <= ROUNDED_ATOMS_MAX {
        return Some(side.whole);
    }
    part(side.amount, total(weights)?, weights.own)
}

fn own_part(amount: i128, weights: Weights) -> Option<i128> {
    if weights.own <= 0 {
        return Some(0);
    }
    part(amount, weights.own, total(weights)?)
}

fn total(weights: Weights) -> Option<i128> {
    weights.own.checked_add(weights.others)?.checked_add(weights.idle)
}

/// Weights as they are on average for each of the tenant's own: heads are counted once a day, and a longer range has
/// more days, not more heads.
fn by_head(earlier: Weights, later: Weights) -> (Weights, Weights) {
    const HEAD: i128 = 1_000_000_000_000;
    let each = |weights: Weights| {
        let of = |weight: i128| part(weight, HEAD, weights.own);
        Some(Weights { own: HEAD, others: of(weights.others)?, idle: of(weights.idle)? })
    };
    each(earlier).zip(each(later)).unwrap_or((earlier, later))
}

/// `amount × numerator ÷ denominator`, half-even; none where that is no number, or larger than a sum of rows can be.
fn part(amount: i128, numerator: i128, denominator: i128) -> Option<i128> {
    const SUM_MAX: u128 = 10_u128.pow(37);
    let (numerator, denominator) = match denominator.signum() {
        0 => return None,
        1 => (numerator, denominator),
        _ => (numerator.checked_neg()?, denominator.checked_neg()?),
    };
    multiply_divide_half_even(amount, numerator, denominator).filter(|found| found.unsigned_abs() <= SUM_MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    const NONE: &BTreeSet<String> = &BTreeSet::new();

    fn given(model: Model, disclosed: bool) -> Given<'static> {
        Given { model, is_redefined: false, repriced: NONE, disclosed }
    }

    /// A pool of so much, divided by these weights; the quantity of the one meter is the own weight.
    fn side(whole: i128, own: i128, others: i128, idle: i128) -> Side {
        let amount = part(whole, own, own + others + idle).unwrap_or(0);
        let of = OfMeter { amount, quantity: Some(own) };
        Side {
            amount,
            reporting: amount,
            whole,
            weights: Weights { own, others, idle },
            meters: [("m".to_owned(), of)].into(),
        }
    }

    fn check(before: &Side, after: &Side, given: Given<'_>, expected: &[(ChangeTerm, i128)]) {
        let terms = terms_of(before, after, given);
        assert_eq!(terms.values().sum::<i128>(), after.reporting - before.reporting, "{terms:?}");
        let told: Vec<(ChangeTerm, i128)> = terms.into_iter().filter(|(_, amount)| *amount != 0).collect();
        assert_eq!(told, expected);
    }

    #[test]
    fn each_thing_is_put_as_it_is_later_one_after_the_other() {
        use ChangeTerm::{Idle, OthersVolume, OwnVolume, PriceOrPoolAmount};
        // 1200 × 1/4 = 300; own 2 of 5: 480; 1500: 600; others 6 of 8: 375; idle 2 of 10: 300.
        let expected = [(OwnVolume, 180), (PriceOrPoolAmount, 120), (OthersVolume, -225), (Idle, -75)];
        check(&side(1200, 1, 3, 0), &side(1500, 2, 6, 2), given(Model::Split, true), &expected);
        check(&side(1200, 1, 3, 0), &side(1200, 1, 5, 0), given(Model::Split, true), &[(OthersVolume, -100)]);
        check(&side(1200, 1, 3, 0), &side(2400, 1, 3, 0), given(Model::Split, true), &[(PriceOrPoolAmount, 300)]);
        check(&side(1200, 1, 2, 0), &side(1200, 1, 2, 3), given(Model::Split, true), &[(Idle, -200)]);
        check(&side(1200, 1, 3, 0), &side(1200, 1, 3, 0), given(Model::Split, true), &[]);
    }

    #[test]
    fn what_rounding_gave_is_no_other_amount() {
        let unit = 10_i128.pow(15);
        let (before, after) = (side(100 * unit, 1, 2, 0), side(100 * unit, 1, 6, 0));
        let terms = terms_of(&before, &after, given(Model::Split, true));
        assert_eq!(terms[&ChangeTerm::PriceOrPoolAmount], 0);
        assert_eq!(terms[&ChangeTerm::OthersVolume], after.amount - before.amount);
        // On two days of different use the parts of the sums are not the sum of the parts: that is of the amount.
        let two_days = Side { amount: 50 * unit, reporting: 50 * unit, ..side(200 * unit, 1, 2, 0) };
        let terms = terms_of(&before, &two_days, given(Model::Split, true));
        assert_eq!(terms[&ChangeTerm::PriceOrPoolAmount], 50 * unit - before.amount);
    }

    #[test]
    fn who_was_not_there_before_pays_for_own_volume() {
        use ChangeTerm::{OwnVolume, PriceOrPoolAmount};
        let expected = [(OwnVolume, 250), (PriceOrPoolAmount, 250)];
        check(&side(1000, 0, 3, 0), &side(2000, 1, 3, 0), given(Model::Split, true), &expected);
        check(&side(1000, 1, 3, 0), &side(1000, 0, 3, 0), given(Model::Split, true), &[(OwnVolume, -250)]);
    }

    #[test]
    fn a_longer_range_has_no_more_heads() {
        use ChangeTerm::{OthersVolume, PriceOrPoolAmount};
        let (february, march) = (side(2800, 28, 84, 0), side(3100, 31, 93, 0));
        check(&february, &march, given(Model::Heads, true), &[(PriceOrPoolAmount, 75)]);
        check(&february, &side(2800, 28, 28, 0), given(Model::Heads, true), &[(OthersVolume, 700)]);
    }

    #[test]
    fn t8_folded_terms_follow_from_own_numbers_alone() {
        // Own numbers are equal in both worlds, the neighbour's are not.
        let world = |whole, others| {
            let (before, after) = (side(1000, 2, 2, 0), side(whole, 3, others, 0));
            assert_eq!((before.amount, after.amount), (500, 600));
            terms_of(&before, &after, given(Model::Split, false))
        };
        assert_eq!(world(1000, 2), world(2000, 7));
        let expected = [(ChangeTerm::OwnVolume, 250), (ChangeTerm::PoolAndOthers, -150)];
        check(&side(1000, 2, 2, 0), &side(1000, 3, 2, 0), given(Model::Split, false), &expected);
    }

    #[test]
    fn prices_of_another_card_are_another_version() {
        let priced = |amount, quantity| Side {
            amount,
            reporting: amount,
            meters: [("m".to_owned(), OfMeter { amount, quantity: Some(quantity) })].into(),
            ..Side::default()
        };
        let repriced = BTreeSet::from(["m".to_owned()]);
        let of_card = Given { repriced: &repriced, ..given(Model::Priced, true) };
        let (before, after) = (priced(100, 10), priced(300, 20));
        let volume = (ChangeTerm::OwnVolume, 100);
        check(&before, &after, of_card, &[volume, (ChangeTerm::PolicyOrRateVersion, 100)]);
        check(&before, &after, given(Model::Priced, true), &[volume, (ChangeTerm::PriceOrPoolAmount, 100)]);
    }

    #[test]
    fn an_exchange_rate_is_the_last_of_a_pools_terms() {
        let mut before = side(1000, 1, 1, 0);
        let mut after = side(1000, 1, 3, 0);
        (before.reporting, after.reporting) = (550, 300);
        let expected = [(ChangeTerm::OthersVolume, -275), (ChangeTerm::Fx, 25)];
        check(&before, &after, given(Model::Split, true), &expected);
    }

    proptest::proptest! {
        #[test]
        fn terms_add_up_whatever_the_numbers(
            numbers in proptest::collection::vec(-10_i128.pow(30)..10_i128.pow(30), 8),
            weights in proptest::collection::vec(0..10_i128.pow(24), 6),
            is_redefined in proptest::bool::ANY,
            disclosed in proptest::bool::ANY,
            model in proptest::sample::select(vec![Model::Split, Model::Heads, Model::Priced, Model::Own]),
        ) {
            let side = |at: usize| Side {
                amount: numbers[at],
                reporting: numbers[at + 1],
                whole: numbers[at + 2],
                weights: Weights { own: weights[at / 4 * 3], others: weights[at / 4 * 3 + 1], idle: weights[at / 4 * 3 + 2] },
                meters: [("m".to_owned(), OfMeter { amount: numbers[at], quantity: Some(numbers[at + 3] / 1000) })].into(),
            };
            let (before, after) = (side(0), side(4));
            let terms = terms_of(&before, &after, Given { is_redefined, ..given(model, disclosed) });
            proptest::prop_assert_eq!(terms.values().sum::<i128>(), after.reporting - before.reporting);
        }
    }
}
