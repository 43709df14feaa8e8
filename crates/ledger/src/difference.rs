//! What the ledger should say minus what it says.

use domain::Day;
use std::collections::BTreeMap;
use std::collections::btree_map::Entry as Slot;
use std::sync::Arc;

use crate::key::EntryKey;

/// Why sums of entries stay inside 128 bits: see `ARCHITECTURE.md`, invariants of numbers.
const BOUNDED: &str = "stored rows are bounded so that their sums fit";

/// The measures that may be summed, in atoms: money 10⁻¹⁵, quantity 10⁻⁹.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Sums {
    /// The cost metric of the pool.
    pub amount: i128,
    /// BilledCost.
    pub billed_amount: i128,
    /// The cost metric in the reporting currency.
    pub amount_reporting: i128,
    /// Quantity of the driver; none counts as 0.
    pub quantity: i128,
}

impl Sums {
    /// Returns the sums of both.
    #[must_use]
    pub fn plus(self, other: Self) -> Self {
        self.zip(other, i128::checked_add)
    }

    /// Returns these sums less the others.
    #[must_use]
    pub fn minus(self, other: Self) -> Self {
        self.zip(other, i128::checked_sub)
    }

    fn zip(self, other: Self, calculate: fn(i128, i128) -> Option<i128>) -> Self {
        Self {
            amount: calculate(self.amount, other.amount).expect(BOUNDED),
            billed_amount: calculate(self.billed_amount, other.billed_amount).expect(BOUNDED),
            amount_reporting: calculate(self.amount_reporting, other.amount_reporting).expect(BOUNDED),
            quantity: calculate(self.quantity, other.quantity).expect(BOUNDED),
        }
    }
}

/// What all entries of a key say by now.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Existing {
    /// Their sums.
    pub sums: Sums,
    /// Unit of their quantity; repeated when the key is no longer desired.
    pub unit: Option<Arc<str>>,
    /// Their reason; repeated when the key is no longer desired.
    pub reason: Option<Arc<str>>,
}

impl From<Sums> for Existing {
    fn from(sums: Sums) -> Self {
        Self { sums, unit: None, reason: None }
    }
}

/// What the entries of a key should say. Money, prices, weights and rates in atoms of 10⁻¹⁵, quantity of 10⁻⁹.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Desired {
    /// The cost metric of the pool.
    pub amount: i128,
    /// BilledCost.
    pub billed_amount: i128,
    /// The cost metric in the reporting currency.
    pub amount_reporting: i128,
    /// Quantity of the driver, if there is one.
    pub quantity: Option<i128>,
    /// Unit of the quantity.
    pub unit: Option<Arc<str>>,
    /// Price per unit, if the share was rated.
    pub unit_price: Option<i128>,
    /// Weight of the cell in the split.
    pub weight: Option<i128>,
    /// What was split: the amount of the pool's component.
    pub pool_amount: Option<i128>,
    /// Why the consumer is a reserved word.
    pub reason: Option<Arc<str>>,
    /// Version of the policy.
    pub policy_version: Option<Arc<str>>,
    /// Version of the rate card.
    pub rate_card_version: Option<Arc<str>>,
    /// Rate from currency to reporting currency.
    pub fx_rate: Option<i128>,
    /// Day of that rate.
    pub fx_date: Option<Day>,
}

impl Desired {
    /// Returns the measures that may be summed.
    #[must_use]
    pub fn sums(&self) -> Sums {
        Sums {
            amount: self.amount,
            billed_amount: self.billed_amount,
            amount_reporting: self.amount_reporting,
            quantity: self.quantity.unwrap_or_default(),
        }
    }
}

/// Desired entries by key. A key that is added twice is summed; the order of adding does not matter.
#[derive(Clone, Debug, Default)]
pub struct DesiredSet {
    by_key: BTreeMap<EntryKey, Merged>,
}

#[derive(Clone, Debug)]
struct Merged {
    desired: Desired,
    /// Statements that differed between the parts and are therefore left out, in the order of `merge`.
    mixed: [bool; 6],
}

impl DesiredSet {
    /// Returns a set without entries.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds what a share says about its key.
    ///
    /// Measures are summed. A price, weight, pool amount, unit or rate on which the parts disagree is left
    /// out: no single value would be true. Of several reasons or versions the first in byte order stays.
    pub fn add(&mut self, key: EntryKey, desired: Desired) {
        match self.by_key.entry(key) {
            Slot::Vacant(slot) => {
                slot.insert(Merged { desired, mixed: [false; 6] });
            }
            Slot::Occupied(slot) => slot.into_mut().merge(desired),
        }
    }

    /// Returns how many keys there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.by_key.len()
    }

    /// Returns whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.by_key.is_empty()
    }

    /// Returns keys and what is desired of them, in key order.
    pub fn iter(&self) -> impl Iterator<Item = (&EntryKey, &Desired)> {
        self.by_key.iter().map(|(key, merged)| (key, &merged.desired))
    }

    /// Returns everything by key.
    #[must_use]
    pub fn into_map(self) -> BTreeMap<EntryKey, Desired> {
        self.by_key.into_iter().map(|(key, merged)| (key, merged.desired)).collect()
    }
}

impl Merged {
    fn merge(&mut self, part: Desired) {
        let sums = self.desired.sums().plus(part.sums());
        let into = &mut self.desired;
        into.amount = sums.amount;
        into.billed_amount = sums.billed_amount;
        into.amount_reporting = sums.amount_reporting;
        into.quantity = into.quantity.or(part.quantity).map(|_| sums.quantity);

        let [unit, unit_price, weight, pool_amount, fx_rate, fx_date] = &mut self.mixed;
        agree(&mut into.unit, part.unit, unit);
        agree(&mut into.unit_price, part.unit_price, unit_price);
        agree(&mut into.weight, part.weight, weight);
        agree(&mut into.pool_amount, part.pool_amount, pool_amount);
        agree(&mut into.fx_rate, part.fx_rate, fx_rate);
        agree(&mut into.fx_date, part.fx_date, fx_date);

        first(&mut into.reason, part.reason);
        first(&mut into.policy_version, part.policy_version);
        first(&mut into.rate_card_version, part.rate_card_version);
    }
}

/// Keeps a statement while all parts that make one make the same; `mixed` remembers that they did not.
fn agree<T: PartialEq>(into: &mut Option<T>, part: Option<T>, mixed: &mut bool) {
    match (&*into, part) {
        _ if *mixed => {}
        (None, part) => *into = part,
        (Some(held), Some(part)) if *held != part => {
            *mixed = true;
            *into = None;
        }
        (Some(_), _) => {}
    }
}

fn first(into: &mut Option<Arc<str>>, part: Option<Arc<str>>) {
    *into = match (into.take(), part) {
        (Some(held), Some(part)) => Some(held.min(part)),
        (held, part) => held.or(part),
    };
}

/// What has to be posted for one key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Difference {
    /// The key.
    pub key: EntryKey,
    /// Whether the ledger already has entries of the key.
    pub existed: bool,
    /// What the entry says: measures are differences, all else is the new absolute value.
    pub says: Desired,
}

/// Returns a difference for every key whose amount, billed_amount, amount_reporting or quantity is not what
/// it should be, in key order.
///
/// A key that is no longer desired has desired 0; its difference takes back all that stands. A desired quantity
/// of none counts as 0. Nothing is returned when nothing differs, so a second run posts nothing.
#[must_use]
pub fn difference(desired: BTreeMap<EntryKey, Desired>, existing: &BTreeMap<EntryKey, Existing>) -> Vec<Difference> {
    let gone = existing.iter().filter(|(key, _)| !desired.contains_key(key)).map(|(key, stands)| {
        let says = Desired { unit: stands.unit.clone(), reason: stands.reason.clone(), ..Desired::default() };
        (key.clone(), says)
    });
    let gone: Vec<_> = gone.collect();
    let mut differences: Vec<Difference> =
        desired.into_iter().chain(gone).filter_map(|(key, wanted)| of_key(key, wanted, existing)).collect();
    differences.sort_by(|left, right| left.key.cmp(&right.key));
    differences
}

fn of_key(key: EntryKey, wanted: Desired, existing: &BTreeMap<EntryKey, Existing>) -> Option<Difference> {
    let stands = existing.get(&key);
    let before = stands.map(|stands| stands.sums).unwrap_or_default();
    let sums = wanted.sums().minus(before);
    if sums == Sums::default() {
        return None;
    }
    let quantity = (wanted.quantity.is_some() || before.quantity != 0).then_some(sums.quantity);
    let Sums { amount, billed_amount, amount_reporting, .. } = sums;
    let says = Desired { amount, billed_amount, amount_reporting, quantity, ..wanted };
    Some(Difference { key, existed: stands.is_some(), says })
}
