//! Pure: bytes in, bytes out. The layout is described in the [module](super).

use super::machine::Position;
use crc32fast::Hasher;
use std::hash::{BuildHasher, Hasher as _, RandomState};
use std::iter;

/// Bytes that a record takes in addition to its own.
pub const RECORD_PREFIX_BYTES: usize = 4;
/// Bytes of the segment header; the first frame comes behind it.
pub(super) const HEADER_BYTES: usize = 4096;
/// Bytes of a tag.
pub(super) const TAG_BYTES: usize = 24;
/// What frames and seals begin at a multiple of.
pub(super) const ALIGNMENT: usize = 8;

const MAGIC: u64 = u64::from_le_bytes(*b"\x89APPOWAL");
const FORMAT_VERSION: u32 = 1;
/// Bytes of the header that have a meaning; the last four are the checksum of the others.
const HEADER_USED_BYTES: usize = 48;

/// What stands at the beginning of a segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Header {
    /// Number of the segment.
    pub number: u64,
    /// Sequence of its first frame, whether or not that was written.
    pub first_sequence: u64,
    /// Size of the segment.
    pub bytes: usize,
    /// What frames begin with; seals begin with its complement.
    pub mark: u64,
}

/// What the first bytes of a segment turned out to be.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum HeaderRead {
    /// A header.
    Valid(Header),
    /// A header of a format this program does not know.
    Unknown(u32),
    /// No header.
    Invalid,
}

impl Header {
    /// Returns a header with a mark of its own.
    pub fn new(number: u64, first_sequence: u64, bytes: usize) -> Self {
        // Two fixed bits keep the mark and its complement from being zero, which is free space.
        let mark = (RandomState::new().build_hasher().finish() | 1) & !2;
        Self { number, first_sequence, bytes, mark }
    }

    /// Returns the whole header block.
    pub fn encode(&self) -> Vec<u8> {
        let mut block = Vec::with_capacity(HEADER_BYTES);
        for field in [MAGIC, self.number, self.first_sequence, self.bytes as u64, self.mark] {
            block.extend_from_slice(&field.to_le_bytes());
        }
        block.extend_from_slice(&FORMAT_VERSION.to_le_bytes());
        block.extend_from_slice(&crc32fast::hash(&block).to_le_bytes());
        block.resize(HEADER_BYTES, 0);
        block
    }

    /// Reads a header block.
    pub fn decode(block: &[u8]) -> HeaderRead {
        let (fields, crc) = block[..HEADER_USED_BYTES].split_at(HEADER_USED_BYTES - 4);
        if u64_at(fields, 0) != MAGIC || crc32fast::hash(fields) != u32_at(crc, 0) {
            return HeaderRead::Invalid;
        }
        let version = u32_at(fields, 40);
        match usize::try_from(u64_at(fields, 24)) {
            Ok(bytes) if version == FORMAT_VERSION => HeaderRead::Valid(Self {
                number: u64_at(fields, 8),
                first_sequence: u64_at(fields, 16),
                bytes,
                mark: u64_at(fields, 32),
            }),
            _ => HeaderRead::Unknown(version),
        }
    }
}

/// The 24 bytes that open a frame or seal it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Tag {
    /// The segment's mark, or its complement.
    pub mark: u64,
    /// The frame's number over all segments.
    pub sequence: u64,
    /// Payload bytes in a frame, the frame's checksum in a seal.
    pub word: u32,
    crc: u32,
}

impl Tag {
    /// Returns what a frame with this payload begins with.
    pub fn of_frame(mark: u64, sequence: u64, payload: &[u8]) -> Self {
        let bytes = u32::try_from(payload.len()).expect("a frame fits in a segment, which is at most 2^30 bytes");
        Self { mark, sequence, word: bytes, crc: 0 }.with_crc(payload)
    }

    /// Returns the seal of the frame that begins with this tag.
    pub fn seal(self) -> Self {
        Self { mark: !self.mark, sequence: self.sequence, word: self.crc, crc: 0 }.with_crc(&[])
    }

    fn with_crc(self, payload: &[u8]) -> Self {
        let mut hasher = Hasher::new();
        hasher.update(&self.encode()[..TAG_BYTES - 4]);
        hasher.update(payload);
        Self { crc: hasher.finalize(), ..self }
    }

    /// Returns its bytes.
    pub fn encode(self) -> [u8; TAG_BYTES] {
        let mut bytes = [0; TAG_BYTES];
        bytes[..8].copy_from_slice(&self.mark.to_le_bytes());
        bytes[8..16].copy_from_slice(&self.sequence.to_le_bytes());
        bytes[16..20].copy_from_slice(&self.word.to_le_bytes());
        bytes[20..].copy_from_slice(&self.crc.to_le_bytes());
        bytes
    }

    /// Reads a tag; whether it is right shows when it equals the one that should be there.
    pub fn decode(bytes: &[u8]) -> Self {
        let (mark, sequence) = (u64_at(bytes, 0), u64_at(bytes, 8));
        Self { mark, sequence, word: u32_at(bytes, 16), crc: u32_at(bytes, 20) }
    }
}

/// Returns the bytes of a frame up to its seal.
pub(super) fn frame_bytes(payload_bytes: usize) -> usize {
    (TAG_BYTES + payload_bytes).next_multiple_of(ALIGNMENT)
}

/// The records of the group that is being made. They are written together or not at all.
#[derive(Debug)]
pub struct Records<'a> {
    frame: &'a mut Vec<u8>,
}

impl<'a> Records<'a> {
    /// Returns an empty group in this buffer, with room in front for the tag.
    pub(super) fn begin(frame: &'a mut Vec<u8>) -> Self {
        frame.clear();
        frame.resize(TAG_BYTES, 0);
        Self { frame }
    }

    /// Adds a record behind the others.
    ///
    /// # Panics
    /// If the record has 4 GiB or more; no segment could hold it.
    pub fn push(&mut self, record: &[u8]) {
        self.push_with(record, |_| {});
    }

    /// Adds a record of these bytes and those that `end` writes behind them.
    ///
    /// # Panics
    /// As [`Records::push`].
    pub fn push_with(&mut self, record: &[u8], end: impl FnOnce(&mut Vec<u8>)) {
        let start = self.frame.len() + RECORD_PREFIX_BYTES;
        self.frame.extend_from_slice(&[0; RECORD_PREFIX_BYTES]);
        self.frame.extend_from_slice(record);
        end(self.frame);
        let bytes =
            u32::try_from(self.frame.len() - start).expect("a record fits in a segment, which is at most 2^30 bytes");
        self.frame[start - RECORD_PREFIX_BYTES..start].copy_from_slice(&bytes.to_le_bytes());
    }
}

/// What was appended together, read back.
#[derive(Clone, Copy, Debug)]
pub struct Frame<'a> {
    /// Where it stands.
    pub position: Position,
    payload: &'a [u8],
}

impl<'a> Frame<'a> {
    pub(crate) fn new(position: Position, payload: &'a [u8]) -> Self {
        Self { position, payload }
    }

    /// Returns all records as they stand in the log: enough to make the frame again.
    pub(crate) fn payload(&self) -> &'a [u8] {
        self.payload
    }

    /// Returns the records in the order in which they were pushed.
    pub fn records(&self) -> impl Iterator<Item = &'a [u8]> + use<'a> {
        let mut rest = self.payload;
        iter::from_fn(move || take_record(&mut rest))
    }
}

/// Returns whether the payload is a list of records and nothing else.
pub(super) fn is_list_of_records(mut payload: &[u8]) -> bool {
    while take_record(&mut payload).is_some() {}
    payload.is_empty()
}

fn take_record<'a>(rest: &mut &'a [u8]) -> Option<&'a [u8]> {
    let (prefix, behind) = rest.split_first_chunk()?;
    let (record, behind) = behind.split_at_checked(u32::from_le_bytes(*prefix) as usize)?;
    *rest = behind;
    Some(record)
}

/// Returns the number at this place.
pub(super) fn u64_at(bytes: &[u8], at: usize) -> u64 {
    u64::from_le_bytes(bytes[at..at + 8].try_into().expect("a range of eight bytes"))
}

fn u32_at(bytes: &[u8], at: usize) -> u32 {
    u32::from_le_bytes(bytes[at..at + 4].try_into().expect("a range of four bytes"))
}
