//! Usage × one card over a range: what it would cost, nothing posted.
//!
//! DataFusion filters and sums, `attribution` prices, and what is here decides which sums are needed.

/// The card in force.
mod card;
/// Quantities as prices need them.
mod cells;
/// What was measured on a day.
mod day_quantities;
/// The usage CSV.
pub mod export;
/// A thread of its own for a long answer.
mod one_thread;
/// From quantities to amounts.
mod price;
/// A draft card against the ledger.
pub mod simulate;

pub use card::{CurrentCard, UnitCosts};
pub(crate) use cells::KeptCells;
pub(crate) use export::KeptQualities;
pub(in crate::query) use price::{Asked, PricedCell};

use super::usage::UsageNow;
use crate::books::Books;
use crate::{Engine, EngineError};
use datafusion::datasource::MemTable;
use datafusion::prelude::SessionContext;
use domain::{Day, DayRange};
use std::collections::BTreeSet;
use std::sync::Arc;
use storage::lake::{LakeTable, PinnedTable, Table};

impl Engine {
    /// Returns a session with usage and snapshots apart, the hot rows among the usage.
    pub(in crate::query) fn session_for_prices(&self, now: &UsageNow) -> Result<SessionContext, EngineError> {
        let session = self.empty_session()?;
        let table = |pinned: &PinnedTable| Arc::new(LakeTable::new(pinned).with_views());
        session.register_table(Table::Snapshots.name(), table(&now.snapshots))?;
        if now.hot.is_empty() {
            session.register_table(Table::Usage.name(), table(&now.pinned))?;
            return Ok(session);
        }
        let usage = session.read_table(Arc::new(LakeTable::new(&now.pinned)))?;
        let hot = session.read_table(Arc::new(MemTable::try_new(Table::Usage.schema(), vec![now.hot.clone()])?))?;
        session.register_table(Table::Usage.name(), usage.union(hot)?.into_view())?;
        Ok(session)
    }
}

/// Returns what names a state of usage, tenants and meters: the same state gives the same quantities.
pub(in crate::query) fn state_of(now: &UsageNow, books: &Books) -> String {
    let tenants = books.tenants.recorded_up_to().map_or(0, domain::Instant::micros);
    let (usage, snapshots) = now.versions();
    format!("{usage}.{snapshots}.{}.{tenants}.{}", now.additions, books.meters_recorded)
}

/// Returns the days of the range that have rows in the table, hot rows aside; `column` is its partition.
pub(in crate::query) fn days_with_rows(pinned: &PinnedTable, column: &str, range: DayRange) -> BTreeSet<Day> {
    let day_of = |value: &Option<String>| value.as_deref().and_then(|text| text.parse::<Day>().ok());
    let days = pinned.files().filter_map(|file| file.partition_values.get(column).and_then(day_of));
    days.filter(|day| range.contains(*day)).collect()
}
