//! Quantities of a day, and how they fold into one.

use crate::rating::QUANTITY_ATOMS_PER_UNIT;
use domain::condition::{Conditions, UsageAttribute};
use domain::dimension::Dimensions;
use domain::meter::{Aggregation, Category, Meter, MeterKind};
use num_bigint::BigInt;
use num_traits::ToPrimitive;
use std::collections::BTreeMap;
use std::sync::Arc;

/// What was measured of one meter for one set of dimensions on one day.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UsageCell {
    /// Where it belongs; the tenant is already resolved through rules, aliases and merges.
    pub dimensions: Dimensions,
    /// Where it was measured: events, metrics_server, collector, snapshot.
    pub origin: Arc<str>,
    /// Which meter.
    pub meter: Arc<str>,
    /// The meter's unit when it was measured.
    pub unit: Arc<str>,
    /// Counter or gauge.
    pub kind: MeterKind,
    /// The measurements.
    pub measure: Measure,
}

impl UsageCell {
    /// Returns whether the conditions hold for the cell.
    #[must_use]
    pub fn fits(&self, conditions: &Conditions<UsageAttribute>) -> bool {
        conditions.hold(|attribute| match attribute {
            UsageAttribute::Origin => Some(&*self.origin),
            UsageAttribute::Dimension(dimension) => self.dimensions.get(dimension).map(|value| &**value),
        })
    }
}

/// Measurements of one meter that fold into one quantity, in atoms of 10⁻⁹.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Measure {
    /// Σ value.
    pub sum: i128,
    /// Number of values.
    pub count: i128,
    /// Smallest value.
    pub min: Option<i128>,
    /// Largest value.
    pub max: Option<i128>,
    /// Σ of the last value of each full key.
    pub last: i128,
}

impl Measure {
    /// Adds another measurement of the same meter.
    pub fn fold(&mut self, other: &Self) {
        self.sum += other.sum;
        self.count += other.count;
        self.min = [self.min, other.min].into_iter().flatten().min();
        self.max = [self.max, other.max].into_iter().flatten().max();
        self.last += other.last;
    }

    /// Returns the quantity that the meter's aggregation makes of the measurements.
    #[must_use]
    pub fn quantity(&self, aggregation: Aggregation) -> i128 {
        match aggregation {
            Aggregation::Sum | Aggregation::UniqueCount => self.sum,
            Aggregation::Count => self.count * QUANTITY_ATOMS_PER_UNIT,
            Aggregation::Min => self.min.unwrap_or(0),
            Aggregation::Max => self.max.unwrap_or(0),
            Aggregation::Last => self.last,
            Aggregation::Avg if self.count > 0 => {
                let average = crate::exact::divide_half_even(&BigInt::from(self.sum), &BigInt::from(self.count));
                average.to_i128().expect("an average is no larger than the sum")
            }
            Aggregation::Avg => 0,
        }
    }
}

/// The meters by name.
#[derive(Clone, Debug, Default)]
pub struct MeterBook(BTreeMap<Arc<str>, Meter>);

impl MeterBook {
    /// Returns the book of these meters.
    #[must_use]
    pub fn new(meters: impl IntoIterator<Item = Meter>) -> Self {
        Self(meters.into_iter().map(|meter| (Arc::from(meter.name.as_str()), meter)).collect())
    }

    /// Returns the meter of this name.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&Meter> {
        self.0.get(name)
    }

    /// Returns every meter.
    pub fn iter(&self) -> impl Iterator<Item = &Meter> {
        self.0.values()
    }

    /// Returns the category that cost by this meter appears under.
    #[must_use]
    pub fn category(&self, name: &str) -> Category {
        self.get(name).map_or(Category::Other, |meter| meter.category)
    }

    /// Returns how the cell's measurements become one quantity; a meter no longer known goes by its kind.
    #[must_use]
    pub fn aggregation(&self, name: &str, kind: MeterKind) -> Aggregation {
        let by_kind = if kind == MeterKind::Gauge { Aggregation::Last } else { Aggregation::Sum };
        self.get(name).map_or(by_kind, |meter| meter.aggregation)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_aggregation_makes_its_own_quantity() {
        let units = |units: i128| units * QUANTITY_ATOMS_PER_UNIT;
        let (min, max) = (Some(units(1)), Some(units(6)));
        let measure = Measure { sum: units(9), count: 3, min, max, last: units(2) };
        for (aggregation, expected) in [
            (Aggregation::Sum, 9),
            (Aggregation::Count, 3),
            (Aggregation::Min, 1),
            (Aggregation::Max, 6),
            (Aggregation::Avg, 3),
            (Aggregation::Last, 2),
        ] {
            assert_eq!(measure.quantity(aggregation), units(expected), "{aggregation:?}");
        }
    }
}
