use std::io::{self, BufRead, Bytes};

/// Bytes of one record.
const RECORD_BYTES_MAX: usize = 16 * 1024 * 1024;

/// Records of separated values, one after the other. A quoted value may hold separators, line ends and doubled quotes.
pub(super) struct Records<R> {
    bytes: Bytes<R>,
    separator: u8,
}

/// Where in a value a reader is.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Within {
    Start,
    Plain,
    Quoted,
    /// After a quote within quotes: it ends them, unless another one follows.
    Closed,
}

impl<R: BufRead> Records<R> {
    pub(super) fn new(input: R, separator: u8) -> Self {
        Self { bytes: input.bytes(), separator }
    }

    /// Returns the values of the next record that holds anything; `None` at the end.
    pub(super) fn next_record(&mut self) -> io::Result<Option<Vec<String>>> {
        loop {
            match self.read()? {
                Some(values) if values.iter().all(|value| value.trim().is_empty()) => {}
                read => return Ok(read),
            }
        }
    }

    fn read(&mut self) -> io::Result<Option<Vec<String>>> {
        let (mut values, mut value, mut within) = (Vec::new(), Vec::new(), Within::Start);
        let mut length = 0_usize;
        loop {
            let Some(byte) = self.bytes.next().transpose()? else {
                if length == 0 {
                    return Ok(None);
                }
                values.push(text(value)?);
                return Ok(Some(values));
            };
            length += 1;
            if RECORD_BYTES_MAX < length {
                return Err(io::Error::other("a row is too long"));
            }
            match (within, byte) {
                (Within::Quoted, b'"') => within = Within::Closed,
                (Within::Quoted, byte) => value.push(byte),
                (Within::Start, b'"') => within = Within::Quoted,
                (Within::Closed, b'"') => {
                    value.push(b'"');
                    within = Within::Quoted;
                }
                (_, b'\n' | b'\r') => {
                    values.push(text(value)?);
                    return Ok(Some(values));
                }
                (_, byte) if byte == self.separator => {
                    values.push(text(std::mem::take(&mut value))?);
                    within = Within::Start;
                }
                (_, byte) => {
                    value.push(byte);
                    within = Within::Plain;
                }
            }
        }
    }
}

fn text(bytes: Vec<u8>) -> io::Result<String> {
    String::from_utf8(bytes).map_err(|_| io::Error::other("it is not UTF-8 text"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quotes_hold_separators_line_ends_and_quotes() {
        let file = "a,\"b,\n\"\"c\"\"\",\r\n\r\n,x\"y,\"\"\nlast,1,2";
        let mut records = Records::new(file.as_bytes(), b',');
        let mut found = Vec::new();
        while let Some(values) = records.next_record().expect("text") {
            found.push(values);
        }
        assert_eq!(found, [vec!["a", "b,\n\"c\"", ""], vec!["", "x\"y", ""], vec!["last", "1", "2"]]);
        assert!(Records::new(&b"\xff\n"[..], b',').next_record().is_err());
    }
}
