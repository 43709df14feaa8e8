use super::WalError;
use super::disk::{Disk, DiskFile};
use super::format::{Frame, HEADER_BYTES, Header, Records, TAG_BYTES, Tag, frame_bytes};
use super::machine::Position;
use super::segment::{Segment, make_blank};
use super::segment_reader::SegmentReader;
use std::path::PathBuf;
use std::sync::Arc;
use std::thread::{self, JoinHandle};

type Blank = Result<Box<dyn DiskFile>, WalError>;

/// The end of the log: one group after the other goes in here.
///
/// After [`WalError::SyncFailed`] it must not be used any more, not even closed: the writer sees to that.
#[derive(Debug)]
pub(super) struct Log {
    disk: Arc<dyn Disk>,
    dir: PathBuf,
    /// Size of the segments made from now on.
    segment_bytes: usize,
    segment: Segment,
    /// Where the next frame goes.
    offset: usize,
    /// Sequence of the next frame.
    sequence: u64,
    /// Whether the last seal may not be durable.
    has_loose_seal: bool,
    /// The next segment, being made meanwhile.
    spare: Option<JoinHandle<Blank>>,
    /// The group that is being made, reused for all.
    frame: Vec<u8>,
}

impl Log {
    /// Returns an empty log whose first segment is durable.
    pub fn create(disk: Arc<dyn Disk>, dir: PathBuf, segment_bytes: usize) -> Result<Self, WalError> {
        let file = make_blank(&*disk, &dir, 1, segment_bytes)?;
        let segment = Segment::begin(&dir, file, Header::new(1, 1, segment_bytes))?;
        Ok(Self::at(disk, dir, segment_bytes, segment, HEADER_BYTES, 1))
    }

    /// Returns the log that goes on behind what the reader has read.
    pub fn resume(disk: Arc<dyn Disk>, dir: PathBuf, segment_bytes: usize, reader: SegmentReader) -> Self {
        Self::at(disk, dir, segment_bytes, reader.segment, reader.offset, reader.sequence)
    }

    fn at(
        disk: Arc<dyn Disk>,
        dir: PathBuf,
        segment_bytes: usize,
        segment: Segment,
        offset: usize,
        sequence: u64,
    ) -> Self {
        let (has_loose_seal, frame) = (HEADER_BYTES < offset, Vec::new());
        let mut log = Self { disk, dir, segment_bytes, segment, offset, sequence, has_loose_seal, spare: None, frame };
        log.prepare_spare();
        log
    }

    /// Returns the number of the segment that is being written.
    pub fn number(&self) -> u64 {
        self.segment.header.number
    }

    /// Returns the disk and the folder it is in.
    pub fn place(&self) -> (Arc<dyn Disk>, PathBuf) {
        (Arc::clone(&self.disk), self.dir.clone())
    }

    /// Returns the most bytes of records that a group may have to fit in a segment made from now on.
    pub fn group_bytes_max(&self) -> usize {
        self.segment_bytes - HEADER_BYTES - 2 * TAG_BYTES
    }

    /// Returns whether the current segment has no frame.
    pub fn is_empty(&self) -> bool {
        self.offset == HEADER_BYTES
    }

    /// Begins a group and returns the place for its records.
    pub fn begin_group(&mut self) -> Records<'_> {
        Records::begin(&mut self.frame)
    }

    /// Returns how many bytes of records the group has.
    pub fn group_bytes(&self) -> usize {
        self.frame.len().saturating_sub(TAG_BYTES)
    }

    /// Returns whether the group fits behind the frames of the current segment.
    pub fn has_room(&self) -> bool {
        self.offset + frame_bytes(self.group_bytes()) + TAG_BYTES <= self.segment.header.bytes
    }

    /// Returns the position of the group, which is durable then. It must fit.
    pub fn write_group(&mut self) -> Result<Position, WalError> {
        let position = Position { segment: self.number(), sequence: self.sequence };
        let tag = Tag::of_frame(self.segment.header.mark, self.sequence, &self.frame[TAG_BYTES..]);
        let seal_offset = self.offset + frame_bytes(self.group_bytes());
        self.frame[..TAG_BYTES].copy_from_slice(&tag.encode());
        self.segment.write(&self.frame, self.offset)?;
        self.segment.sync()?;
        self.segment.write(&tag.seal().encode(), seal_offset)?;
        self.has_loose_seal = true;
        self.offset = seal_offset + TAG_BYTES;
        self.sequence += 1;
        Ok(position)
    }

    /// Returns the group that was written last, at this position.
    pub fn group(&self, position: Position) -> Frame<'_> {
        Frame::new(position, &self.frame[TAG_BYTES..])
    }

    /// Goes on in a new segment; returns the number of the one that is complete now.
    ///
    /// # Errors
    /// [`WalError::DiskFull`] if there is no room for it: the log is as before, and the next call tries
    /// again.
    pub fn rotate(&mut self) -> Result<u64, WalError> {
        let complete = self.number();
        let file = self.take_spare()?;
        let header = Header::new(complete + 1, self.sequence, self.segment_bytes);
        self.segment = Segment::begin(&self.dir, file, header)?;
        self.offset = HEADER_BYTES;
        self.has_loose_seal = false;
        self.prepare_spare();
        Ok(complete)
    }

    /// Makes the last seal durable, so that no damage to the last frame can pass for a torn write.
    pub fn close(&mut self) -> Result<(), WalError> {
        if self.has_loose_seal { self.segment.sync() } else { Ok(()) }
    }

    /// Returns when the thread that makes the next segment is gone.
    pub fn join_spare(&mut self) {
        drop(self.spare.take().map(JoinHandle::join));
    }

    /// Zero-filling takes long, so it is done while the current segment fills.
    fn prepare_spare(&mut self) {
        let (disk, dir, number, bytes) =
            (Arc::clone(&self.disk), self.dir.clone(), self.number() + 1, self.segment_bytes);
        let make = move || make_blank(&*disk, &dir, number, bytes);
        // Without a thread it is made when it is needed.
        self.spare = thread::Builder::new().name("wal-spare".to_owned()).spawn(make).ok();
    }

    /// A spare that could not be made was tried long ago: now that it is needed, there may be room.
    fn take_spare(&mut self) -> Blank {
        match self.spare.take().map(JoinHandle::join) {
            Some(Ok(Ok(file))) => Ok(file),
            _ => make_blank(&*self.disk, &self.dir, self.number() + 1, self.segment_bytes),
        }
    }
}
