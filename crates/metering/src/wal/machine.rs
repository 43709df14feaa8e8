use super::error::WalError;
use super::format::{Frame, Records};

/// Where a group of records stands in the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Position {
    /// Number of the segment, from 1.
    pub segment: u64,
    /// Number of the group's frame, from 1, consecutive over all segments.
    pub sequence: u64,
}

/// What the owner of the log does in its writer thread, in the order of the log.
///
/// A group is everything that waited when the last sync returned. For each group the thread calls
/// `prepare` once per request, then writes and syncs, then `commit` once per request in the same order,
/// then `publish`; only then are the answers sent. Groups do not overlap, so what `prepare` finds
/// committed is durable, and what it finds prepared in this group shares the group's fate.
pub trait StateMachine: Send + 'static {
    /// What a task asks for.
    type Request: Send + 'static;
    /// What was decided about a request, until its records are durable.
    type Prepared: Send + 'static;
    /// What the task is told.
    type Answer: Send + 'static;

    /// Returns the most bytes the request can add to the log, with [`RECORD_PREFIX_BYTES`] per record.
    ///
    /// [`RECORD_PREFIX_BYTES`]: super::RECORD_PREFIX_BYTES
    fn bytes_max(request: &Self::Request) -> usize;

    /// Decides about a request and pushes what has to be logged for it, which may be nothing.
    ///
    /// If no request of a group pushes a record, nothing is written or synced: whatever the answers
    /// rest on, for instance an earlier event of the same id, is durable already.
    fn prepare(&mut self, request: Self::Request, records: &mut Records<'_>) -> Self::Prepared;

    /// Applies a request whose records are durable and returns its answer.
    ///
    /// The position is that of the group; `None` if the group has no records.
    fn commit(&mut self, prepared: Self::Prepared, position: Option<Position>) -> Self::Answer;

    /// Undoes `prepare`; called for all requests of a failed group, the last one first.
    ///
    /// After [`WalError::SyncFailed`] the records may or may not come back at the next start. After any
    /// other error they are not in the log.
    fn reject(&mut self, prepared: Self::Prepared, error: &WalError);

    /// Makes the commits of a group visible at once, before the first of them is answered.
    ///
    /// The frame is what was written; `None` if the group has no records.
    fn publish(&mut self, _group: Option<Frame<'_>>) {}

    /// Takes note that a segment is complete: it can be read, and removed once its content is elsewhere.
    ///
    /// Called once per segment and process, in order, behind the last commit to it and before the first
    /// to the next one. Complete segments that a start finds come first.
    fn segment_ended(&mut self, segment: u64);
}
