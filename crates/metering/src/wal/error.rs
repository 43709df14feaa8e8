use std::io;
use std::path::PathBuf;
use std::sync::Arc;

/// What can go wrong in the log. One failure answers many appends, so it can be cloned.
#[derive(Clone, Debug, thiserror::Error)]
pub enum WalError {
    /// Something that was on stable storage is gone or changed. Recovery changes nothing then.
    #[error(
        "the log is damaged: {reason} ({} at byte {offset}); nothing was changed, restore the file from a backup",
        .path.display()
    )]
    Damaged {
        /// The segment.
        path: PathBuf,
        /// Where the damaged part begins.
        offset: u64,
        /// What is wrong.
        reason: &'static str,
    },
    /// A later version of this program wrote the segment.
    #[error("{} has log format {version}, which this version cannot read; start the newer version again", .path.display())]
    UnknownFormat {
        /// The segment.
        path: PathBuf,
        /// Its format.
        version: u32,
    },
    /// A new segment does not fit. Nothing was written; an append works again once there is room.
    #[error("there is no room for a log segment of {bytes} bytes at {}; free some space and send again", .path.display())]
    DiskFull {
        /// The segment that could not be made.
        path: PathBuf,
        /// Its size.
        bytes: usize,
        /// What the file system said.
        source: Arc<io::Error>,
    },
    /// What is on stable storage is unknown from here on: the log takes nothing more in this process.
    #[error("{} could not be brought to stable storage; check the disk, then start the process again", .path.display())]
    SyncFailed {
        /// The segment.
        path: PathBuf,
        /// What the file system said.
        source: Arc<io::Error>,
    },
    /// The append would not fit into the queue or a segment.
    #[error("an append of {bytes} bytes is larger than {bytes_max}; send it in smaller parts")]
    AppendTooLarge {
        /// Its size.
        bytes: usize,
        /// The most there may be.
        bytes_max: usize,
    },
    /// The segment is still being written.
    #[error("segment {segment} is not complete; end it by `rotate` first")]
    NotComplete {
        /// Its number.
        segment: u64,
    },
    /// The size of segments cannot be used.
    #[error("a log segment of {bytes} bytes is not possible; choose a multiple of 4096 from 8192 to 1073741824")]
    SegmentSize {
        /// The size asked for.
        bytes: usize,
    },
    /// A file operation failed that touches nothing acknowledged; it may be tried again.
    #[error("cannot {doing} {}", .path.display())]
    Io {
        /// What was tried.
        doing: &'static str,
        /// The file or folder.
        path: PathBuf,
        /// What the file system said.
        source: Arc<io::Error>,
    },
    /// The log was closed, or its writer thread died.
    #[error("the log is closed; whether the append was written is known after the next start")]
    Closed,
}

impl WalError {
    pub(crate) fn io(doing: &'static str, path: impl Into<PathBuf>) -> impl FnOnce(io::Error) -> Self {
        let path = path.into();
        move |source| Self::Io { doing, path, source: Arc::new(source) }
    }
}
