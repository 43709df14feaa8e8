//! Files on disk: compression and format are told by their first bytes, never by their names.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use flate2::bufread::MultiGzDecoder;
use storage::limited::{DecodedTooLarge, Limited};

use super::foreign::{Dialect, Foreign};
use super::header::Target;
use super::line::CostLine;
use super::row::{CellError, RowReader};
use super::{csv_rows, jsonl_rows, parquet_rows};
use crate::error::{ImportError, RowError};
use crate::limits::ImportLimits;

/// Bytes read at once.
pub(super) const BUFFER_BYTES: usize = 128 * 1024;
/// Largest window of a zstd frame: 2²⁷ bytes, the most that `zstd` makes unless asked for more.
const ZSTD_WINDOW_LOG_MAX: u32 = 27;

const GZIP: &[u8] = &[0x1f, 0x8b];
const ZSTD: &[u8] = &[0x28, 0xb5, 0x2f, 0xfd];
const PARQUET: &[u8] = b"PAR1";
const UTF8_BOM: &[u8] = &[0xef, 0xbb, 0xbf];
/// First bytes of what is not read, and what to do about it.
const REFUSED: [(&[u8], &str); 5] = [
    (b"PK\x03\x04", "it is a zip archive or a workbook; unpack it or save it as CSV"),
    (b"\xfd7zXZ", "it is compressed with xz; use gzip or zstd"),
    (b"BZh", "it is compressed with bzip2; use gzip or zstd"),
    (&[0xff, 0xfe], "it is UTF-16 text; save it as UTF-8"),
    (&[0xfe, 0xff], "it is UTF-16 text; save it as UTF-8"),
];

/// A file to import: on disk, because it is read more than once and kept afterwards.
#[derive(Clone, Debug)]
pub struct InputFile {
    /// The name its sender knows it by; nothing is concluded from it.
    pub name: String,
    /// Where its bytes are.
    pub path: PathBuf,
}

/// Told of each row: the line and its place in the file.
pub type LineSink<'a> = dyn FnMut(&CostLine, u64) -> Result<(), ImportError> + 'a;

/// Reads every row of a FOCUS file; blocks. `bytes_read` counts bytes of the file as it is stored.
///
/// What must be unpacked first (compressed Parquet) takes space in the file's own folder: that is where
/// uploads wait, on the disk that was given for them, and not the system's folder for temporary files.
///
/// # Errors
/// [`ImportError`] naming file, line and column; or whatever the sink answers.
pub fn read_focus(
    file: &InputFile,
    limits: &ImportLimits,
    bytes_read: &Arc<AtomicU64>,
    sink: &mut LineSink<'_>,
) -> Result<(), ImportError> {
    let mut rows = Rows {
        file: &file.name,
        folder: file.path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new(".")),
        limits,
        line: CostLine::default(),
        reader: RowReader::new(limits.charge_days_max),
        foreign: None,
        rows: 0,
        sink,
    };
    let mut disk = File::open(&file.path).map_err(|error| rows.unreadable(&error))?;
    let magic = first_bytes(&mut disk).map_err(|error| rows.unreadable(&error))?;
    if magic.starts_with(PARQUET) {
        return parquet_rows::read(disk, &mut rows);
    }
    let counted = BufReader::with_capacity(BUFFER_BYTES, Counted { inner: disk, bytes: Arc::clone(bytes_read) });
    let decoded: Box<dyn Read> = if magic.starts_with(GZIP) {
        Box::new(MultiGzDecoder::new(counted))
    } else if magic.starts_with(ZSTD) {
        let mut decoder = zstd::stream::read::Decoder::with_buffer(counted).map_err(|error| rows.unreadable(&error))?;
        decoder.window_log_max(ZSTD_WINDOW_LOG_MAX).map_err(|error| rows.unreadable(&error))?;
        Box::new(decoder)
    } else {
        Box::new(counted)
    };
    let limited = Limited::new(decoded, limits.decoded_bytes_max);
    read_text(BufReader::with_capacity(BUFFER_BYTES, limited), &mut rows)
}

fn read_text(mut text: BufReader<Limited>, rows: &mut Rows<'_, '_>) -> Result<(), ImportError> {
    let start = text.fill_buf().map_err(|error| rows.io(error))?;
    if start.starts_with(PARQUET) {
        return parquet_rows::read(unpacked(text, rows.folder).map_err(|error| rows.io(error))?, rows);
    }
    if let Some((_, reason)) = REFUSED.iter().find(|(magic, _)| start.starts_with(magic)) {
        return Err(rows.refused((*reason).to_owned()));
    }
    if start.starts_with(UTF8_BOM) {
        text.consume(UTF8_BOM.len());
    }
    let start = text.fill_buf().map_err(|error| rows.io(error))?;
    match start.iter().find(|byte| !byte.is_ascii_whitespace()) {
        None => Err(rows.refused("it is empty".to_owned())),
        Some(b'{') => jsonl_rows::read(text, rows),
        Some(b'[') => Err(rows.refused("it is a JSON array; write one object per line".to_owned())),
        Some(_) => {
            let delimiter = csv_rows::delimiter(start);
            csv_rows::read(text, delimiter, rows)
        }
    }
}

/// The state of reading one file, shared by all formats.
pub(super) struct Rows<'a, 'b> {
    pub file: &'a str,
    /// Where the file is.
    pub folder: &'a Path,
    pub limits: &'a ImportLimits,
    pub line: CostLine,
    reader: RowReader,
    /// What translates the rows, if they are not FOCUS.
    foreign: Option<Foreign>,
    pub rows: u64,
    pub sink: &'a mut LineSink<'b>,
}

impl Rows<'_, '_> {
    /// Says whose columns the rows have; nothing said is FOCUS.
    pub fn speak(&mut self, dialect: Option<Dialect>) {
        self.foreign = dialect.map(Foreign::new);
    }

    /// Begins a row.
    pub fn begin(&mut self) {
        self.reader.begin(&mut self.line);
        if let Some(foreign) = &mut self.foreign {
            foreign.begin();
        }
    }

    /// Takes one cell of the row that stands at this place.
    pub fn set(&mut self, place: u64, name: &str, target: &Target, text: &str) -> Result<(), ImportError> {
        match &mut self.foreign {
            Some(foreign) => {
                foreign.set(name, text);
                Ok(())
            }
            None => {
                let set = self.reader.set(&mut self.line, name, target, text);
                set.map_err(|error| self.cell(place, error))
            }
        }
    }

    /// Completes the row that was read from this place and hands it on.
    pub fn finish_row(&mut self, place: u64) -> Result<(), ImportError> {
        let translated = match &mut self.foreign {
            Some(foreign) => foreign.finish(&mut self.reader, &mut self.line),
            None => Ok(()),
        };
        let finished = translated.and_then(|()| self.reader.finish(&mut self.line));
        finished.map_err(|error| self.cell(place, error))?;
        self.rows += 1;
        if self.limits.rows_max < self.rows {
            return Err(self.too_large("rows", self.limits.rows_max, "limits.import_rows"));
        }
        (self.sink)(&self.line, place)
    }

    /// A cell that cannot be read.
    fn cell(&self, place: u64, error: CellError) -> ImportError {
        ImportError::Row(Box::new(RowError {
            file: self.file.to_owned(),
            line: place,
            column: Some(crate::error::shorten(&error.column)),
            value: error.value,
            reason: error.reason,
            out_of_bound: error.out_of_bound,
        }))
    }

    /// A row that cannot be read.
    pub fn row(&self, place: u64, reason: String) -> ImportError {
        let file = self.file.to_owned();
        ImportError::Row(Box::new(RowError {
            file,
            line: place,
            column: None,
            value: None,
            reason,
            out_of_bound: false,
        }))
    }

    pub fn refused(&self, reason: String) -> ImportError {
        ImportError::Unreadable { file: self.file.to_owned(), reason }
    }

    pub fn too_large(&self, what: &'static str, limit: u64, key: &'static str) -> ImportError {
        ImportError::TooLarge { file: self.file.to_owned(), what, limit, key }
    }

    pub fn decoded_too_large(&self) -> ImportError {
        self.too_large("bytes after decompression", self.limits.decoded_bytes_max, "limits.decoded_file")
    }

    pub fn row_too_large(&self) -> ImportError {
        let (what, limit) = ("bytes in one row (is a quote left open?)", self.limits.row_bytes_max as u64);
        self.too_large(what, limit, "limits.import_row")
    }

    fn unreadable(&self, error: &io::Error) -> ImportError {
        self.refused(error.to_string())
    }

    /// An error of a reader below: our own limit, or damage.
    pub fn io(&self, error: io::Error) -> ImportError {
        if DecodedTooLarge::is_cause_of(&error) {
            return self.decoded_too_large();
        }
        if error.get_ref().is_some_and(|inner| inner.is::<RowLimit>()) {
            return self.row_too_large();
        }
        if error.kind() == io::ErrorKind::UnexpectedEof {
            return self.refused("it is cut off; send the whole file".to_owned());
        }
        self.refused(format!("{error}; send the file again"))
    }
}

/// One row is longer than a row may be.
#[derive(Debug, thiserror::Error)]
#[error("row size limit")]
pub(super) struct RowLimit;

/// Counts the bytes that come off the disk, for the progress bar.
struct Counted {
    inner: File,
    bytes: Arc<AtomicU64>,
}

impl Read for Counted {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.inner.read(buffer)?;
        self.bytes.fetch_add(read as u64, Ordering::Relaxed);
        Ok(read)
    }
}

fn first_bytes(file: &mut File) -> io::Result<Vec<u8>> {
    let mut magic = Vec::new();
    Read::by_ref(file).take(8).read_to_end(&mut magic)?;
    file.seek(SeekFrom::Start(0))?;
    Ok(magic)
}

/// Parquet is read from its end, so a compressed file is unpacked to an unnamed one first.
fn unpacked(mut text: impl BufRead, folder: &Path) -> io::Result<File> {
    let mut file = tempfile::tempfile_in(folder)?;
    io::copy(&mut text, &mut file)?;
    file.flush()?;
    file.seek(SeekFrom::Start(0))?;
    Ok(file)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    #[cfg(target_os = "linux")]
    fn parquet_is_unpacked_into_the_folder_of_its_file() {
        use std::os::fd::AsRawFd;
        let folder = tempfile::tempdir().expect("a folder");
        let file = unpacked(&b"PAR1"[..], folder.path()).expect("an unpacked file");
        let place = std::fs::read_link(format!("/proc/self/fd/{}", file.as_raw_fd())).expect("a place");
        let expected = folder.path().canonicalize().expect("a folder");
        assert!(place.starts_with(expected), "{}", place.display());
        assert_eq!(std::fs::read_dir(folder.path()).expect("a folder").count(), 0, "nothing is left behind");
    }
}
