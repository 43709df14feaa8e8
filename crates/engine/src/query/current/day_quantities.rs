//! What was measured on a day, read into memory that serves the next day again.

use super::one_thread::{Answer, OneThread};
use crate::EngineError;
use crate::books::Books;
use crate::inputs::rows::Rows;
use arrow::array::RecordBatch;
use datafusion::prelude::SessionContext;
use domain::Day;
use futures::stream::TryStreamExt;
use std::collections::BTreeMap;
use std::ops::Bound;
use std::sync::Arc;

/// Reads the snapshots of a day.
pub(super) struct Reader {
    pub session: SessionContext,
    pub books: Arc<Books>,
    pub metrics: Vec<String>,
}

/// A day that is being read.
pub(super) type Reading = (Day, Answer<Result<DayQuantities, EngineError>>);

/// What was measured of each tenant on a day, by metric.
///
/// Tenants keep their place from day to day. Two of these take turns in an export of any length: one is sent while the
/// other is read, and no day asks for memory of its own.
#[derive(Debug, Default)]
pub(super) struct DayQuantities {
    /// Number of metrics.
    width: usize,
    places: BTreeMap<Arc<str>, usize>,
    /// By place: whether the tenant has snapshots of the day at all.
    is_there: Vec<bool>,
    /// By place and metric, in atoms of 10⁻⁹; 0 where nothing was measured.
    sums: Vec<i128>,
    /// By place and metric.
    is_measured: Vec<bool>,
}

impl Reader {
    /// Starts to read a day, if there is one, into the memory of a day that is done with.
    pub fn start(
        reader: &Arc<Self>,
        thread: &OneThread,
        day: Option<Day>,
        spare: Option<DayQuantities>,
    ) -> Option<Reading> {
        let day = day?;
        let reader = Arc::clone(reader);
        Some((day, thread.run(async move { reader.measured(day, spare.unwrap_or_default()).await })))
    }

    /// What was measured of each tenant, its sources added up.
    async fn measured(&self, day: Day, spare: DayQuantities) -> Result<DayQuantities, EngineError> {
        let sql = format!("SELECT tenant, metric, quantity FROM snapshots WHERE snapshot_date = DATE '{day}'");
        let at: BTreeMap<&str, usize> = self.metrics.iter().enumerate().map(|(at, name)| (name.as_str(), at)).collect();
        let mut found = spare.emptied(self.metrics.len());
        let mut batches = self.session.sql(&sql).await?.execute_stream().await?;
        while let Some(batch) = batches.try_next().await? {
            self.add(&batch, day, &at, &mut found)?;
        }
        Ok(found)
    }

    fn add(
        &self,
        batch: &RecordBatch,
        day: Day,
        at: &BTreeMap<&str, usize>,
        found: &mut DayQuantities,
    ) -> Result<(), EngineError> {
        let columns = Rows(batch);
        let (tenants, metrics) = (columns.text_array("tenant")?, columns.text_array("metric")?);
        let quantities = columns.decimals("quantity")?;
        // A tenant's metrics lie together.
        let mut first = 0;
        while first < batch.num_rows() {
            let value = tenants.value(first);
            let next = (first..batch.num_rows()).find(|row| tenants.value(*row) != value);
            let next = next.unwrap_or(batch.num_rows());
            let place = found.place_of(self.books.tenants.resolve(value, day));
            for (row, quantity) in (first..next).zip(&quantities[first..next]) {
                if let (Some(quantity), Some(at)) = (quantity, at.get(metrics.value(row))) {
                    found.add(place, *at, *quantity);
                }
            }
            first = next;
        }
        Ok(())
    }
}

impl DayQuantities {
    /// The same memory without anything measured, for so many metrics.
    fn emptied(mut self, width: usize) -> Self {
        if self.width != width {
            return Self { width, ..Self::default() };
        }
        self.is_there.fill(false);
        self.sums.fill(0);
        self.is_measured.fill(false);
        self
    }

    /// Where the tenant stands; from now on it has snapshots of the day.
    fn place_of(&mut self, tenant: Arc<str>) -> usize {
        let next = self.is_there.len();
        let place = *self.places.entry(tenant).or_insert(next);
        if place == next {
            self.is_there.push(false);
            self.sums.resize((next + 1) * self.width, 0);
            self.is_measured.resize((next + 1) * self.width, false);
        }
        self.is_there[place] = true;
        place
    }

    fn add(&mut self, place: usize, metric: usize, quantity: i128) {
        let cell = place * self.width + metric;
        self.sums[cell] += quantity;
        self.is_measured[cell] = true;
    }

    /// The tenants with snapshots of the day that come after this one, or all of them, in order, each with its place.
    pub fn tenants_after(&self, after: Option<&str>) -> impl Iterator<Item = (&Arc<str>, usize)> {
        let range: (Bound<&str>, Bound<&str>) = (after.map_or(Bound::Unbounded, Bound::Excluded), Bound::Unbounded);
        let tenants = self.places.range::<str, _>(range).map(|(tenant, place)| (tenant, *place));
        tenants.filter(move |(_, place)| self.is_there[*place])
    }

    /// What was measured of the tenant at a place, metric by metric.
    pub fn quantities(&self, place: usize) -> impl Iterator<Item = Option<i128>> {
        let cells = place * self.width..(place + 1) * self.width;
        let sums = self.sums[cells.clone()].iter().zip(&self.is_measured[cells]);
        sums.map(|(sum, is_measured)| is_measured.then_some(*sum))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn put(measured: &mut DayQuantities, tenant: &str, metric: usize, quantity: i128) {
        let place = measured.place_of(tenant.into());
        measured.add(place, metric, quantity);
    }

    fn shown(measured: &DayQuantities, after: Option<&str>) -> Vec<(String, Vec<Option<i128>>)> {
        let row = |(tenant, place): (&Arc<str>, usize)| (tenant.to_string(), measured.quantities(place).collect());
        measured.tenants_after(after).map(row).collect()
    }

    #[test]
    fn a_day_shows_nothing_of_the_day_whose_memory_it_has() {
        let mut day = DayQuantities::default().emptied(2);
        put(&mut day, "b", 0, 1);
        put(&mut day, "c", 1, 2);
        put(&mut day, "a", 1, 0);
        put(&mut day, "b", 0, 3);
        let row = |tenant: &str, cells: [Option<i128>; 2]| (tenant.to_owned(), cells.to_vec());
        let expected = [row("a", [None, Some(0)]), row("b", [Some(4), None]), row("c", [None, Some(2)])];
        assert_eq!(shown(&day, None), expected);
        assert_eq!(shown(&day, Some("a")), expected[1..]);
        assert_eq!(shown(&day, Some("bb")), expected[2..]);
        assert!(shown(&day, Some("c")).is_empty());

        let mut next = day.emptied(2);
        assert!(shown(&next, None).is_empty());
        put(&mut next, "d", 0, 9);
        put(&mut next, "b", 1, 5);
        next.place_of("a".into());
        let expected = [row("a", [None, None]), row("b", [None, Some(5)]), row("d", [Some(9), None])];
        assert_eq!(shown(&next, None), expected);
    }
}
