//! Usage of acknowledged events that is not in the lake yet, by segment of the log.

use super::record::{self, RecordError};
use crate::error::MeteringError;
use crate::rollup::{ARRIVING, Rollup};
use crate::rows::usage_batch;
use arrow::array::RecordBatch;
use std::collections::BTreeMap;
use std::ops::RangeInclusive;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};
use storage::lake::{HotSnapshot, LakeError};

/// The usage of the segments that may be missing in the lake.
///
/// Changed by the log's writer, a group at a time; read by anybody.
#[derive(Debug, Default)]
pub(crate) struct Hot {
    segments: RwLock<BTreeMap<u64, Segment>>,
    /// How often [`Hot::add`] was called; changed and read while the segments are locked.
    additions: AtomicU64,
}

#[derive(Debug, Default)]
struct Segment {
    /// Shared once the segment is complete, when nothing is added any more.
    rollup: Arc<Rollup>,
    events: u64,
    /// Rows of the roll-up as it stands.
    rows: Option<Arc<RecordBatch>>,
}

impl Hot {
    /// Adds the events of one group, all at once, by their records.
    ///
    /// # Errors
    /// If a record cannot be read.
    pub fn add<'r>(&self, segment: u64, records: impl IntoIterator<Item = &'r [u8]>) -> Result<(), RecordError> {
        let mut segments = self.write();
        let into = segments.entry(segment).or_default();
        let rollup = Arc::get_mut(&mut into.rollup).expect("nothing is added to a segment that is complete");
        into.rows = None;
        let (mut arriving, mut values) = (Vec::with_capacity(ARRIVING), Vec::new());
        for bytes in records {
            record::arrive(bytes, rollup, &mut values, &mut arriving)?;
            into.events += 1;
            if ARRIVING <= arriving.len() {
                rollup.add_all(&arriving)?;
                arriving.clear();
            }
        }
        rollup.add_all(&arriving)?;
        self.additions.fetch_add(1, Ordering::Relaxed);
        Ok(())
    }

    /// Returns the usage of segments that are complete, in their order.
    pub fn complete(&self, segments: RangeInclusive<u64>) -> Vec<Arc<Rollup>> {
        self.read().range(segments).map(|(_, segment)| Arc::clone(&segment.rollup)).collect()
    }

    /// Forgets the segments up to this one; their usage is in the lake.
    pub fn drop_through(&self, segment: u64) {
        let mut segments = self.write();
        *segments = segments.split_off(&(segment + 1));
    }

    /// Returns how many events there are.
    pub fn events(&self) -> u64 {
        self.read().values().map(|segment| segment.events).sum()
    }

    /// Returns the usage as it stands; nothing that happens later changes it.
    pub fn snapshot(&self) -> Result<Snapshot, MeteringError> {
        let mut segments = self.write();
        let mut rows = BTreeMap::new();
        for (number, segment) in segments.iter_mut() {
            let held = match &segment.rows {
                Some(held) => Arc::clone(held),
                None => Arc::clone(segment.rows.insert(Arc::new(usage_batch(&segment.rollup.sorted())?))),
            };
            rows.insert(*number, held);
        }
        Ok(Snapshot { rows, additions: self.additions.load(Ordering::Relaxed) })
    }

    fn read(&self) -> RwLockReadGuard<'_, BTreeMap<u64, Segment>> {
        self.segments.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> RwLockWriteGuard<'_, BTreeMap<u64, Segment>> {
        self.segments.write().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The hot usage at one moment.
#[derive(Debug)]
pub(crate) struct Snapshot {
    rows: BTreeMap<u64, Arc<RecordBatch>>,
    additions: u64,
}

impl HotSnapshot for Snapshot {
    fn additions(&self) -> u64 {
        self.additions
    }

    fn usage_after(&self, segment: Option<u64>) -> Result<Vec<RecordBatch>, LakeError> {
        let first = segment.map_or(0, |segment| segment + 1);
        Ok(self.rows.range(first..).map(|(_, rows)| RecordBatch::clone(rows)).collect())
    }
}
