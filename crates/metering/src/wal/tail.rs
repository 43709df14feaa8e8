use super::WalError;
use super::format::{ALIGNMENT, TAG_BYTES, Tag, u64_at};
use super::segment::{CHUNK_BYTES, Segment};
use super::segment_reader::SegmentReader;

/// What a write that was never synced left behind the last whole frame.
#[derive(Debug)]
pub(super) struct TornTail {
    /// End of the last word that is not zero; where the tail begins if all are.
    end: usize,
}

impl TornTail {
    /// Returns what stands behind the frames of the last segment; changes nothing.
    ///
    /// # Errors
    /// [`WalError::Damaged`] if it shows that the frame which cannot be read was synced: its seal or a
    /// later frame is there. No checksum is needed: nothing else can begin with the segment's mark.
    pub fn find(reader: &SegmentReader) -> Result<Self, WalError> {
        let (segment, begin) = (&reader.segment, reader.offset);
        let mark = segment.header.mark;
        let mut end = begin;
        let mut buffer = vec![0; CHUNK_BYTES];
        for at in (begin..segment.header.bytes).step_by(CHUNK_BYTES) {
            let chunk = &mut buffer[..CHUNK_BYTES.min(segment.header.bytes - at)];
            segment.read(chunk, at)?;
            for (index, word) in chunk.chunks_exact(ALIGNMENT).enumerate() {
                let (word, offset) = (u64_at(word, 0), at + index * ALIGNMENT);
                if word == !mark || (word == mark && offset != begin) {
                    return Err(segment.damaged(begin, "a frame that was acknowledged cannot be read"));
                }
                if word != 0 {
                    end = offset + ALIGNMENT;
                }
            }
        }
        Ok(Self { end })
    }

    /// Makes sure that what was read is durable and that free space is zero. A seal may be loose then.
    pub fn repair(&self, reader: &SegmentReader) -> Result<(), WalError> {
        self.cut(&reader.segment, reader.offset)?;
        let unsealed = write_unsealed_again(reader)?;
        reader.segment.sync()?;
        // The sync just now is the one that the seal stands for.
        unsealed.map_or(Ok(()), |(seal, offset)| reader.segment.write(&seal.encode(), offset))
    }

    fn cut(&self, segment: &Segment, begin: usize) -> Result<(), WalError> {
        if self.end == begin {
            return Ok(());
        }
        tracing::warn!(
            segment = segment.header.number,
            offset = begin,
            bytes = self.end - begin,
            "cut a torn write off the log; it was never acknowledged"
        );
        let zeroes = vec![0; CHUNK_BYTES.min(self.end - begin)];
        for at in (begin..self.end).step_by(zeroes.len()) {
            segment.write(&zeroes[..zeroes.len().min(self.end - at)], at)?;
        }
        Ok(())
    }
}

/// Writes again what may be in the page cache only, and returns the seal it lacks and its place.
///
/// After a failed sync the kernel may take pages for clean that never reached the disk: reading finds
/// them, and a new sync does not write them. Only the last frame can be in doubt, and in a segment
/// without frames its header.
fn write_unsealed_again(reader: &SegmentReader) -> Result<Option<(Tag, usize)>, WalError> {
    let Some(last) = reader.last() else {
        reader.segment.write_header()?;
        return Ok(None);
    };
    let (mut frame, seal, seal_offset) =
        (vec![0; last.bytes() + TAG_BYTES], last.tag.seal(), last.offset + last.bytes());
    reader.segment.read(&mut frame, last.offset)?;
    if frame.split_off(last.bytes()) == seal.encode() {
        return Ok(None);
    }
    reader.segment.write(&frame, last.offset)?;
    Ok(Some((seal, seal_offset)))
}
