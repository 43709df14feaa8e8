//! What the rows of a set add up to, by key.

use std::collections::BTreeMap;

use domain::{Currency, DayRange};

use super::days::DaySet;
use super::hash::{RowHash, RowSetHash};
use crate::focus::{COLUMN, CostLine};

/// Sums of one currency, in atoms.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CurrencySums {
    /// BilledCost.
    pub billed: i128,
    /// EffectiveCost.
    pub effective: i128,
    /// Magnitudes of BilledCost: a credit that is lost must not look like growth.
    pub billed_magnitude: i128,
}

/// What the rows of one key add up to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct KeySums {
    /// Rows.
    pub rows: u64,
    /// Rows that touch more than one day; they get files of their own.
    pub long_rows: u64,
    /// Hash of the rows, whatever their order.
    pub hash: RowSetHash,
    /// Sums by currency.
    pub currencies: BTreeMap<Currency, CurrencySums>,
    /// Days that the lines touch.
    pub days: DaySet,
}

impl KeySums {
    /// Adds a line, and returns its hash. `buffer` is scratch space.
    ///
    /// Sums cannot wrap: a row is bounded by 10²⁷ atoms and a set by far fewer than 10¹⁰ rows.
    pub fn add(&mut self, line: &CostLine, days: DayRange, buffer: &mut Vec<u8>) -> RowHash {
        self.rows += 1;
        self.long_rows += u64::from(days.len() > 1);
        let row = self.hash.add(line, buffer);
        self.days.insert(days);
        let billed = line.decimal(COLUMN.billed_cost);
        let sums = self.currencies.entry(line.currency()).or_default();
        sums.billed += billed;
        sums.effective += line.decimal(COLUMN.effective_cost);
        sums.billed_magnitude += billed.abs();
        row
    }
}
