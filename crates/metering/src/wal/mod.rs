//! A write-ahead log: what was answered survives SIGKILL, power loss, a full disk and a failed fsync.
//!
//! Owns: segment files, one frame and one fdatasync for all waiting appends, recovery.
//! Never: what a record means, which record is a duplicate (the `StateMachine` decides), the lock on
//! the folder, the clock.
//! Start reading at `Recovery`, which opens a log, then `Wal`, which appends to it.
//!
//! # Format, version 1
//! Segments `%020d.wal`, numbered without gaps, each of a fixed size and zero-filled before use. All
//! integers are little-endian, all checksums CRC-32 (ISO-HDLC), all offsets below multiples of eight.
//!
//! | part | bytes |
//! |---|---|
//! | segment header, padded to 4096 | magic 8, number 8, first sequence 8, size 8, mark 8, version 4, CRC 4 |
//! | frame, padded to 8 | mark 8, sequence 8, payload bytes 4, CRC of these and the payload 4, payload |
//! | seal, behind its frame | inverted mark 8, sequence 8, CRC of the frame 4, CRC of these 4 |
//!
//! A payload is a list of records, each a length of 4 bytes and its bytes. The mark is a random number
//! of the segment that no client sees, so nothing in a payload can pass for a frame or a seal.
//!
//! # Invariants
//! * A frame is written only after the one before it was synced: at most one frame is not durable.
//! * A seal is written only after its frame was synced, and needs no sync of its own.
//! * The header of a segment is written and synced after all frames of its predecessor and before its
//!   own. So a segment that has a successor is complete, and the successor's header says where it ends;
//!   only in the last segment do seals decide anything.
//! * Writing over a part of a sector does not endanger the rest of it if power fails.
//!
//! # Why a frame that cannot be read is a torn tail or damage
//! Behind a frame that was never synced there is nothing: no frame, no seal, no next segment. If there
//! is something, the frame was synced and is now damaged, and only a person can decide what to do.
//! One case stays undecidable: a last frame whose seal a power cut took, damaged before the next start.

/// Files as the log needs them, and the real ones.
mod disk;
/// What can go wrong.
mod error;
/// The bytes of headers, frames and seals.
mod format;
/// The handle that many tasks append through.
mod handle;
/// The log without queue and threads: one frame after the other.
mod log;
/// What the owner of the log does in its writer thread.
mod machine;
/// From files to a log that can be appended to.
mod recovery;
/// One segment file: made, begun, opened, written.
mod segment;
/// The frames of one segment, in order.
mod segment_reader;
/// A disk that loses power, fails and fills up on demand.
#[cfg(test)]
pub mod sim;
/// What stands behind the last whole frame, and its repair.
mod tail;
/// The thread that makes groups of what waits and answers it.
mod writer;

#[cfg(test)]
mod tests;

pub use disk::{Disk, DiskFile, RealDisk};
pub use error::WalError;
pub use format::{Frame, RECORD_PREFIX_BYTES, Records};
pub use handle::Wal;
pub use machine::{Position, StateMachine};
pub use recovery::Recovery;
pub use segment_reader::SegmentReader;

/// How large the parts of a log may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Options {
    /// Size of a new segment: a multiple of 4096, from 8192 to 2³⁰. Existing segments keep theirs.
    pub segment_bytes: usize,
    /// Bytes that may wait in the queue, which is also the most that one append may have.
    pub queue_bytes_max: usize,
}

impl Default for Options {
    fn default() -> Self {
        Self { segment_bytes: 64 << 20, queue_bytes_max: 32 << 20 }
    }
}
