//! Comma-separated rows (or semicolons, tabs, bars: the header tells).

use std::io::{self, Read};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use csv::ByteRecord;

use super::header::Header;
use super::input::{BUFFER_BYTES, RowLimit, Rows};
use crate::error::ImportError;

/// Returns the separator that the first line uses most.
pub(super) fn delimiter(start: &[u8]) -> u8 {
    let mut quoted = false;
    let mut counts = [(b',', 0_u32), (b';', 0), (b'\t', 0), (b'|', 0)];
    for byte in start.iter().take_while(|byte| **byte != b'\n') {
        match byte {
            b'"' => quoted = !quoted,
            _ if quoted => {}
            byte => {
                if let Some((_, count)) = counts.iter_mut().find(|(delimiter, _)| delimiter == byte) {
                    *count += 1;
                }
            }
        }
    }
    // The comma stands first and wins ties.
    counts.iter().rev().max_by_key(|(_, count)| *count).map_or(b',', |(delimiter, _)| *delimiter)
}

/// Reads the rows of a CSV file.
pub(super) fn read(input: impl Read, delimiter: u8, rows: &mut Rows<'_, '_>) -> Result<(), ImportError> {
    let spent = Arc::new(AtomicU64::new(0));
    // What the parser reads ahead of a row's end is counted too, so the limit leaves room for it.
    let max = rows.limits.row_bytes_max as u64 + BUFFER_BYTES as u64;
    let budget = RowBudget { inner: input, spent: Arc::clone(&spent), max };
    let mut reader = csv::ReaderBuilder::new()
        .has_headers(false)
        .flexible(true)
        .delimiter(delimiter)
        .buffer_capacity(BUFFER_BYTES)
        .from_reader(budget);
    let mut record = ByteRecord::new();
    if !reader.read_byte_record(&mut record).map_err(|error| csv_error(rows, error))? {
        return Err(rows.refused("it is empty".to_owned()));
    }
    let header = header(&record, rows)?;
    rows.speak(header.dialect);
    loop {
        spent.store(0, Ordering::Relaxed);
        if !reader.read_byte_record(&mut record).map_err(|error| csv_error(rows, error))? {
            return Ok(());
        }
        let place = record.position().map_or(0, csv::Position::line);
        read_row(&record, place, &header, rows)?;
    }
}

fn header(record: &ByteRecord, rows: &Rows<'_, '_>) -> Result<Header, ImportError> {
    if rows.limits.columns_max < record.len() {
        return Err(rows.too_large("columns", rows.limits.columns_max as u64, "limits.import_columns"));
    }
    let names = record.iter().map(|name| std::str::from_utf8(name)).collect::<Result<Vec<_>, _>>();
    let names = names.map_err(|_| rows.refused("its first line is not UTF-8 text".to_owned()))?;
    Header::new(rows.file, names)
}

fn read_row(record: &ByteRecord, place: u64, header: &Header, rows: &mut Rows<'_, '_>) -> Result<(), ImportError> {
    if record.len() != header.columns.len() {
        if record.iter().all(|cell| cell.iter().all(u8::is_ascii_whitespace)) {
            return Ok(()); // An empty line, usually the last.
        }
        let reason = format!("it has {} cells, the header has {} columns", record.len(), header.columns.len());
        return Err(rows.row(place, reason));
    }
    rows.begin();
    for (cell, (name, target)) in record.iter().zip(&header.columns) {
        let text = std::str::from_utf8(cell)
            .map_err(|_| rows.row(place, format!("column {} is not UTF-8 text", crate::error::shorten(name))))?;
        rows.set(place, name, target, text)?;
    }
    rows.finish_row(place)
}

fn csv_error(rows: &Rows<'_, '_>, error: csv::Error) -> ImportError {
    let place = error.position().map_or(0, csv::Position::line);
    match error.into_kind() {
        csv::ErrorKind::Io(error) => rows.io(error),
        other => rows.row(place, format!("{other:?}")),
    }
}

/// Stops a row without end (a quote left open, a file without lines) before it is buffered.
struct RowBudget<R> {
    inner: R,
    spent: Arc<AtomicU64>,
    max: u64,
}

impl<R: Read> Read for RowBudget<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.inner.read(buffer)?;
        let spent = self.spent.fetch_add(read as u64, Ordering::Relaxed) + read as u64;
        if spent > self.max { Err(io::Error::other(RowLimit)) } else { Ok(read) }
    }
}

#[cfg(test)]
mod tests {
    use super::delimiter;

    #[test]
    fn the_header_tells_the_separator() {
        assert_eq!(delimiter(b"a,b,c\n1;2;3;4;5"), b',');
        assert_eq!(delimiter(b"a;b;\"c,d,e,f\"\n"), b';');
        assert_eq!(delimiter(b"a\tb"), b'\t');
        assert_eq!(delimiter(b"a"), b',');
    }
}
