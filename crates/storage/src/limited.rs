//! Stops reading what others sent where it grows beyond its limit: a small file may unpack to a very large one.

use std::io::{self, Read};

/// The input holds more than it may.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("it holds more than {bytes_max} bytes after decompression; split it, or raise limits.decoded_file")]
pub struct DecodedTooLarge {
    /// How many bytes it may hold.
    pub bytes_max: u64,
}

impl DecodedTooLarge {
    /// Returns whether reading failed for this reason.
    #[must_use]
    pub fn is_cause_of(error: &io::Error) -> bool {
        error.get_ref().is_some_and(|inner| inner.is::<Self>())
    }
}

impl From<DecodedTooLarge> for io::Error {
    fn from(error: DecodedTooLarge) -> Self {
        Self::other(error)
    }
}

/// Hands on at most so many bytes; more of them are an error and are never buffered.
pub struct Limited {
    inner: Box<dyn Read>,
    left: u64,
    bytes_max: u64,
}

impl Limited {
    /// Returns a reader of at most `bytes_max` bytes; beyond them it fails with [`DecodedTooLarge`].
    #[must_use]
    pub fn new(inner: Box<dyn Read>, bytes_max: u64) -> Self {
        Self { inner, left: bytes_max, bytes_max }
    }
}

impl Read for Limited {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.inner.read(buffer)?;
        let left = self.left.checked_sub(read as u64);
        self.left = left.ok_or(DecodedTooLarge { bytes_max: self.bytes_max })?;
        Ok(read)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_fits_is_read_whole_and_one_byte_more_is_refused() {
        let read = |bytes_max: u64| {
            let mut out = Vec::new();
            Limited::new(Box::new(&b"12345"[..]), bytes_max).read_to_end(&mut out)
        };
        assert_eq!(read(5).expect("it fits"), 5);
        let error = read(4).expect_err("one byte more");
        assert!(DecodedTooLarge::is_cause_of(&error), "{error}");
        assert!(!DecodedTooLarge::is_cause_of(&io::Error::other("damage")));
    }
}
