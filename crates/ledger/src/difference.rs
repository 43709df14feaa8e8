//! What the ledger should say minus what it says.

use domain::Day;
use std::cmp::Ordering;
use std::sync::Arc;

use crate::by_key::ByKey;
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

impl ByKey<Desired> {
    /// Returns what the parts say together; the order of the parts does not matter.
    ///
    /// Measures are summed. A price, weight, pool amount, unit or rate on which the parts of a key disagree is left
    /// out: no single value would be true. Of several reasons or versions the first in byte order stays.
    #[must_use]
    pub fn desired(parts: Vec<(EntryKey, Desired)>) -> Self {
        let mut mixed = None;
        Self::merged(parts, |key, desired, part| {
            if mixed.as_ref().is_none_or(|(of, _): &(EntryKey, _)| of != key) {
                mixed = Some((key.clone(), Mixed::default()));
            }
            let (_, mixed) = mixed.as_mut().expect("set above");
            desired.merge(part, mixed);
        })
    }
}

impl ByKey<Existing> {
    /// Returns what stands by key; sums of one key are added up.
    #[must_use]
    pub fn existing(parts: Vec<(EntryKey, Existing)>) -> Self {
        Self::merged(parts, |_, stands, further| {
            let Existing { sums, unit, reason } = std::mem::take(stands);
            *stands = Existing {
                sums: sums.plus(further.sums),
                unit: unit.max(further.unit),
                reason: reason.max(further.reason),
            };
        })
    }
}

/// Statements that differed between the parts of a key and are therefore left out, in the order of `merge`.
type Mixed = [bool; 6];

impl Desired {
    fn merge(&mut self, part: Self, mixed: &mut Mixed) {
        let sums = self.sums().plus(part.sums());
        self.amount = sums.amount;
        self.billed_amount = sums.billed_amount;
        self.amount_reporting = sums.amount_reporting;
        self.quantity = self.quantity.or(part.quantity).map(|_| sums.quantity);

        let [unit, unit_price, weight, pool_amount, fx_rate, fx_date] = mixed;
        agree(&mut self.unit, part.unit, unit);
        agree(&mut self.unit_price, part.unit_price, unit_price);
        agree(&mut self.weight, part.weight, weight);
        agree(&mut self.pool_amount, part.pool_amount, pool_amount);
        agree(&mut self.fx_rate, part.fx_rate, fx_rate);
        agree(&mut self.fx_date, part.fx_date, fx_date);

        first(&mut self.reason, part.reason);
        first(&mut self.policy_version, part.policy_version);
        first(&mut self.rate_card_version, part.rate_card_version);
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
pub fn differences(desired: ByKey<Desired>, existing: &ByKey<Existing>) -> impl Iterator<Item = Difference> {
    let (mut desired, mut existing) = (desired.into_iter().peekable(), existing.iter().peekable());
    std::iter::from_fn(move || {
        loop {
            let next = match (desired.peek(), existing.peek()) {
                (Some((wanted, _)), Some((stands, _))) => wanted.cmp(stands),
                (Some(_), None) => Ordering::Less,
                (None, Some(_)) => Ordering::Greater,
                (None, None) => return None,
            };
            let stands = if next == Ordering::Less { None } else { existing.next() };
            let (key, wanted) = match stands {
                Some((key, stands)) if next == Ordering::Greater => (key.clone(), gone(stands)),
                _ => desired.next()?,
            };
            if let Some(difference) = of_key(key, wanted, stands.map(|(_, stands)| stands)) {
                return Some(difference);
            }
        }
    })
}

/// What is desired of a key that stands and is desired no longer.
fn gone(stands: &Existing) -> Desired {
    Desired { unit: stands.unit.clone(), reason: stands.reason.clone(), ..Desired::default() }
}

fn of_key(key: EntryKey, wanted: Desired, stands: Option<&Existing>) -> Option<Difference> {
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
