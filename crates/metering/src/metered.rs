//! Which meters counted a stored event: those that were in force when it was received, and those that were backfilled.

use crate::backfill::{Done, done_before, txn_writer};
use crate::error::MeteringError;
use crate::meters::MeterSet;
use crate::publish::meter_of_body;
use domain::Day;
use domain::meter::Meter;
use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use storage::catalog::Catalog;
use storage::lake::PinnedTable;

/// The definitions of all meters over time.
#[derive(Debug)]
pub(crate) struct MeterHistory {
    spans: Vec<Span>,
    backfilled: BTreeMap<String, Vec<Done>>,
    /// Sets of definitions, by their positions among the spans.
    sets: HashMap<Vec<usize>, Arc<MeterSet>>,
}

#[derive(Debug)]
struct Span {
    from: i64,
    until: Option<i64>,
    meter: Meter,
}

impl MeterHistory {
    /// Returns the history as catalog and table tell it.
    ///
    /// # Errors
    /// If the catalog fails, or holds something that is no meter.
    pub async fn load(catalog: &Catalog, usage: &PinnedTable) -> Result<Self, MeteringError> {
        let (mut spans, mut backfilled) = (Vec::new(), BTreeMap::new());
        for row in catalog.meter_spans().await? {
            let meter = meter_of_body(&row.name, &row.body)?;
            if usage.txn(&txn_writer(&row.name)).is_some() && !backfilled.contains_key(&row.name) {
                backfilled.insert(row.name.clone(), done_before(usage, &row.name).await?);
            }
            spans.push(Span { from: row.from_at, until: row.until_at, meter });
        }
        Ok(Self { spans, backfilled, sets: HashMap::new() })
    }

    /// Returns the meters that counted an event of that day, received at that instant in microseconds.
    ///
    /// # Errors
    /// If a definition makes no sense.
    pub fn of(&mut self, day: Day, received_at: i64) -> Result<Arc<MeterSet>, MeteringError> {
        // Spans stand in order of name and time: the last one that counted it is the definition in force.
        let mut counted: BTreeMap<&str, usize> = BTreeMap::new();
        for (at, span) in self.spans.iter().enumerate() {
            let in_force = span.from <= received_at && span.until.is_none_or(|until| received_at < until);
            let backfilled = self.backfilled.get(&span.meter.name);
            if in_force || backfilled.is_some_and(|done| done.iter().any(|done| done.covers(day, received_at))) {
                counted.insert(&span.meter.name, at);
            }
        }
        let counted: Vec<usize> = counted.into_values().collect();
        if let Some(set) = self.sets.get(&counted) {
            return Ok(Arc::clone(set));
        }
        let set = Arc::new(MeterSet::new(counted.iter().map(|at| self.spans[*at].meter.clone()).collect())?);
        Ok(Arc::clone(self.sets.entry(counted).or_insert(set)))
    }
}
