use super::WalError;
use super::disk::Disk;
use super::format::{Frame, HEADER_BYTES, TAG_BYTES, Tag, frame_bytes, is_list_of_records};
use super::machine::Position;
use super::segment::{CHUNK_BYTES, Segment};
use std::path::Path;

/// The frames of one segment, in order. Holds one frame, or one chunk of small ones, in memory.
#[derive(Debug)]
pub struct SegmentReader {
    pub(super) segment: Segment,
    /// Sequence of the first frame behind the segment, if a next segment says so.
    end: Option<u64>,
    /// Where the next frame should be.
    pub(super) offset: usize,
    /// What its sequence should be.
    pub(super) sequence: u64,
    last: Option<LastFrame>,
    window: Window,
}

/// Where the frame that was read last is, with its tag.
#[derive(Clone, Copy, Debug)]
pub(super) struct LastFrame {
    pub offset: usize,
    pub tag: Tag,
}

impl LastFrame {
    /// Returns the bytes of the frame up to its seal.
    pub fn bytes(&self) -> usize {
        frame_bytes(self.tag.word as usize)
    }
}

impl SegmentReader {
    /// Returns a reader of a segment that has a successor.
    pub(super) fn of_complete(disk: &dyn Disk, dir: &Path, number: u64) -> Result<Self, WalError> {
        let next = open_begun(disk, dir, number + 1)?;
        Self::open(disk, dir, number, Some(next.header.first_sequence))
    }

    pub(super) fn open(disk: &dyn Disk, dir: &Path, number: u64, end: Option<u64>) -> Result<Self, WalError> {
        let segment = open_begun(disk, dir, number)?;
        let sequence = segment.header.first_sequence;
        Ok(Self { segment, end, offset: HEADER_BYTES, sequence, last: None, window: Window::default() })
    }

    /// Returns the next frame, `None` behind the last.
    ///
    /// # Errors
    /// [`WalError::Damaged`] if the segment does not hold what it held when it was ended, or the file
    /// system's error.
    pub fn next_frame(&mut self) -> Result<Option<Frame<'_>>, WalError> {
        Ok(if self.step()? { self.frame() } else { None })
    }

    /// Moves to the next frame; `false` if there is none.
    pub(super) fn step(&mut self) -> Result<bool, WalError> {
        if self.end == Some(self.sequence) {
            return Ok(false);
        }
        match self.check()? {
            Ok(tag) => {
                let last = LastFrame { offset: self.offset, tag };
                self.offset += last.bytes() + TAG_BYTES;
                self.sequence += 1;
                self.last = Some(last);
                Ok(true)
            }
            Err(reason) if self.end.is_some() => Err(self.segment.damaged(self.offset, reason)),
            Err(_) => Ok(false),
        }
    }

    /// Returns the frame that `step` moved to, `None` before the first.
    pub(super) fn frame(&self) -> Option<Frame<'_>> {
        let last = self.last?;
        let position = Position { segment: self.segment.header.number, sequence: last.tag.sequence };
        Some(Frame::new(position, self.window.payload(last)))
    }

    /// Returns where the frame is that `step` moved to.
    pub(super) fn last(&self) -> Option<LastFrame> {
        self.last
    }

    /// Returns the tag of the frame that begins at `offset`, or why it is none.
    fn check(&mut self) -> Result<Result<Tag, &'static str>, WalError> {
        let space = self.segment.header.bytes.saturating_sub(self.offset);
        if space < TAG_BYTES {
            return Ok(Err("the segment ends before its last frame"));
        }
        let tag = Tag::decode(self.window.load(&self.segment, self.offset, TAG_BYTES)?);
        if tag.mark != self.segment.header.mark {
            return Ok(Err("no frame begins where one should"));
        }
        if tag.sequence != self.sequence {
            return Ok(Err("a frame has another number than it should"));
        }
        let bytes = frame_bytes(tag.word as usize);
        if space < bytes + TAG_BYTES {
            return Ok(Err("the length of a frame is impossible"));
        }
        let frame = self.window.load(&self.segment, self.offset, bytes)?;
        let payload = &frame[TAG_BYTES..TAG_BYTES + tag.word as usize];
        if Tag::of_frame(tag.mark, tag.sequence, payload) != tag {
            return Ok(Err("the checksum of a frame is wrong"));
        }
        Ok(if is_list_of_records(payload) { Ok(tag) } else { Err("a frame is no list of records") })
    }
}

/// Opens a segment that must have a header.
fn open_begun(disk: &dyn Disk, dir: &Path, number: u64) -> Result<Segment, WalError> {
    let blank = || WalError::Damaged {
        path: super::segment::segment_path(dir, number),
        offset: 0,
        reason: "the header of the segment is gone",
    };
    Segment::open(disk, dir, number)?.ok_or_else(blank)
}

/// The part of the segment that is in memory.
#[derive(Debug, Default)]
struct Window {
    start: usize,
    /// Bytes that are loaded; the buffer may be longer, because what is written over need not be cleared.
    loaded: usize,
    bytes: Vec<u8>,
}

impl Window {
    /// Returns this range of the segment, which lies within it; reads ahead if it has to read.
    fn load(&mut self, segment: &Segment, offset: usize, bytes: usize) -> Result<&[u8], WalError> {
        let is_loaded = self.start <= offset && offset + bytes <= self.start + self.loaded;
        if !is_loaded {
            let ahead = bytes.max(CHUNK_BYTES).min(segment.header.bytes - offset);
            if self.bytes.len() < ahead {
                self.bytes.resize(ahead, 0);
            }
            (self.start, self.loaded) = (offset, 0);
            segment.read(&mut self.bytes[..ahead], offset)?;
            self.loaded = ahead;
        }
        Ok(&self.bytes[offset - self.start..][..bytes])
    }

    /// Returns the payload of a frame that was loaded last.
    fn payload(&self, frame: LastFrame) -> &[u8] {
        &self.bytes[frame.offset - self.start + TAG_BYTES..][..frame.tag.word as usize]
    }
}
