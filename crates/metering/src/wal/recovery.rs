use super::disk::Disk;
use super::format::{Frame, HEADER_BYTES};
use super::handle::Wal;
use super::log::Log;
use super::machine::StateMachine;
use super::segment::{Segment, list_segments, remove_segments, segment_path};
use super::segment_reader::SegmentReader;
use super::tail::TornTail;
use super::{Options, WalError};
use std::path::{Path, PathBuf};
use std::sync::Arc;

const SEGMENT_BYTES_MAX: usize = 1 << 30;

/// A log that is being read; [`start`](Self::start) makes it one that can be appended to.
///
/// Until then nothing is changed, so a log found damaged stays as it was found.
#[derive(Debug)]
pub struct Recovery {
    disk: Arc<dyn Disk>,
    dir: PathBuf,
    options: Options,
    /// Number of each segment that is kept, and the sequence of its first frame.
    segments: Vec<(u64, u64)>,
    /// How many of them are opened; the reader is at the last of these.
    opened: usize,
    reader: Option<SegmentReader>,
    /// What stands behind the last frame, once that was reached.
    tail: Option<TornTail>,
    /// To be removed: what the caller has elsewhere, and a last segment that was never begun.
    leftovers: Vec<u64>,
}

impl Recovery {
    /// Returns the log in this folder, ready to be read; the folder is made if it is missing.
    ///
    /// `first_expected` is the first segment whose content the caller does not have elsewhere: older
    /// ones are not read and are removed by `start`, and if it is missing the log is damaged. `None`
    /// takes what there is.
    ///
    /// # Errors
    /// [`WalError::Damaged`] if a segment or a header is missing, [`WalError::SegmentSize`], or the file
    /// system's error.
    pub fn open(
        disk: Arc<dyn Disk>,
        dir: impl Into<PathBuf>,
        options: Options,
        first_expected: Option<u64>,
    ) -> Result<Self, WalError> {
        let (dir, bytes) = (dir.into(), options.segment_bytes);
        if !bytes.is_multiple_of(HEADER_BYTES) || !(2 * HEADER_BYTES..=SEGMENT_BYTES_MAX).contains(&bytes) {
            return Err(WalError::SegmentSize { bytes });
        }
        disk.create_dir(&dir).map_err(WalError::io("make the folder", &dir))?;
        let mut leftovers = list_segments(&*disk, &dir)?;
        let kept = leftovers.split_off(leftovers.partition_point(|number| *number < first_expected.unwrap_or(0)));
        let mut segments = Vec::with_capacity(kept.len());
        for number in &kept {
            match Segment::open(&*disk, &dir, *number)? {
                Some(segment) => segments.push((*number, segment.header.first_sequence)),
                None if kept.last() == Some(number) => leftovers.push(*number),
                None => return Err(damaged(&dir, *number, "the header of the segment is gone")),
            }
        }
        check_numbers(&dir, &kept, segments.len(), first_expected)?;
        Ok(Self { disk, dir, options, segments, opened: 0, reader: None, tail: None, leftovers })
    }

    /// Returns what was appended next, `None` behind the last: the whole log is checked then.
    ///
    /// # Errors
    /// [`WalError::Damaged`], or the file system's error.
    pub fn next_frame(&mut self) -> Result<Option<Frame<'_>>, WalError> {
        while !self.reader.as_mut().map_or(Ok(false), SegmentReader::step)? {
            let Some((number, _)) = self.segments.get(self.opened) else {
                if self.tail.is_none() {
                    self.tail = self.reader.as_ref().map(TornTail::find).transpose()?;
                }
                return Ok(None);
            };
            let end = self.segments.get(self.opened + 1).map(|(_, sequence)| *sequence);
            self.reader = Some(SegmentReader::open(&*self.disk, &self.dir, *number, end)?);
            self.opened += 1;
        }
        Ok(self.reader.as_ref().and_then(SegmentReader::frame))
    }

    /// Returns the log, ready for appends; reads over what the caller has not read yet.
    ///
    /// Cuts a torn tail, brings everything that was read to stable storage, and starts the writer
    /// thread, which owns the machine from now on and is told of the complete segments first.
    ///
    /// # Errors
    /// [`WalError::Damaged`] before anything is changed, or the file system's error.
    pub fn start<M: StateMachine>(mut self, machine: M) -> Result<Wal<M>, WalError> {
        while self.next_frame()?.is_some() {}
        remove_segments(&*self.disk, &self.dir, &self.leftovers)?;
        let (disk, segment_bytes) = (Arc::clone(&self.disk), self.options.segment_bytes);
        let log = match self.reader.zip(self.tail) {
            Some((reader, tail)) => {
                tail.repair(&reader)?;
                Log::resume(disk, self.dir, segment_bytes, reader)
            }
            None => Log::create(disk, self.dir, segment_bytes)?,
        };
        let complete = self.segments.first().map_or(log.number(), |(number, _)| *number)..log.number();
        Wal::start(log, machine, self.options.queue_bytes_max, complete)
    }
}

/// Checks that no segment is missing at the beginning or in the middle.
fn check_numbers(dir: &Path, kept: &[u64], begun: usize, first_expected: Option<u64>) -> Result<(), WalError> {
    let first = first_expected.or(kept.first().copied()).unwrap_or(1).max(1);
    if let Some((missing, _)) = (first..).zip(kept).find(|(expected, found)| expected != *found) {
        return Err(damaged(dir, missing, "the segment is missing"));
    }
    // A segment is removed only after the next one got its header, so only the very first may lack it.
    if begun == 0 && 1 < first {
        return Err(damaged(dir, first, "the segment is missing or has no header"));
    }
    Ok(())
}

fn damaged(dir: &Path, number: u64, reason: &'static str) -> WalError {
    WalError::Damaged { path: segment_path(dir, number), offset: 0, reason }
}
