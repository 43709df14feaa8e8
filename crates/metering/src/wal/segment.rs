use super::WalError;
use super::disk::{Disk, DiskFile};
use super::format::{HEADER_BYTES, Header, HeaderRead};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// How much is read or zero-filled at once.
pub(super) const CHUNK_BYTES: usize = 256 << 10;

/// A segment that has a header. A file without one is blank: made, but never written to.
#[derive(Debug)]
pub(super) struct Segment {
    /// Its name.
    pub path: PathBuf,
    /// Its header.
    pub header: Header,
    file: Box<dyn DiskFile>,
}

impl Segment {
    /// Returns an existing segment, or `None` if it is blank.
    ///
    /// The header is synced before the first frame is written. So a bad header before nothing but
    /// zeroes is that of a segment which power or a kill kept from being begun; before anything else
    /// it is damage. Frames begin right behind the header, so it suffices to look there.
    pub fn open(disk: &dyn Disk, dir: &Path, number: u64) -> Result<Option<Self>, WalError> {
        let path = segment_path(dir, number);
        let file = disk.open(&path).map_err(WalError::io("open", &path))?;
        let file_bytes = file.bytes().map_err(WalError::io("measure", &path))?;
        let known_bytes = usize::try_from(file_bytes).unwrap_or(usize::MAX);
        let mut start = vec![0; HEADER_BYTES + CHUNK_BYTES];
        let start_bytes = start.len().min(known_bytes);
        file.read_at(&mut start[..start_bytes], 0).map_err(WalError::io("read", &path))?;

        let damaged = |reason| Err(WalError::Damaged { path: path.clone(), offset: 0, reason });
        match Header::decode(&start) {
            HeaderRead::Unknown(version) => Err(WalError::UnknownFormat { path, version }),
            HeaderRead::Invalid if start[HEADER_BYTES..].iter().all(|byte| *byte == 0) => Ok(None),
            HeaderRead::Invalid => damaged("the header of the segment cannot be read"),
            HeaderRead::Valid(header) if header.number != number => damaged("the file is another segment, renamed"),
            HeaderRead::Valid(header) if known_bytes < header.bytes => damaged("the file was cut short"),
            HeaderRead::Valid(header) => Ok(Some(Self { path, header, file })),
        }
    }

    /// Returns the segment that a blank file becomes by its header, which is durable then.
    pub fn begin(dir: &Path, file: Box<dyn DiskFile>, header: Header) -> Result<Self, WalError> {
        let segment = Self { path: segment_path(dir, header.number), header, file };
        segment.write_header()?;
        segment.sync()?;
        Ok(segment)
    }

    /// Writes the header, not yet durably.
    pub fn write_header(&self) -> Result<(), WalError> {
        self.write(&self.header.encode(), 0)
    }

    /// Fills the buffer from this offset on.
    pub fn read(&self, buffer: &mut [u8], offset: usize) -> Result<(), WalError> {
        self.file.read_at(buffer, offset).map_err(WalError::io("read", &self.path))
    }

    /// Writes at this offset, not yet durably. The space was made before, so any failure is the disk's.
    pub fn write(&self, bytes: &[u8], offset: usize) -> Result<(), WalError> {
        self.file.write_at(bytes, offset).map_err(|source| self.failed(source))
    }

    /// Returns when everything written is durable.
    pub fn sync(&self) -> Result<(), WalError> {
        self.file.sync_data().map_err(|source| self.failed(source))
    }

    /// Returns the error that something in this segment is gone or changed.
    pub fn damaged(&self, offset: usize, reason: &'static str) -> WalError {
        WalError::Damaged { path: self.path.clone(), offset: offset as u64, reason }
    }

    fn failed(&self, source: io::Error) -> WalError {
        WalError::SyncFailed { path: self.path.clone(), source: Arc::new(source) }
    }
}

/// Returns a new blank file: zero-filled and durable, its name included.
pub(super) fn make_blank(
    disk: &dyn Disk,
    dir: &Path,
    number: u64,
    bytes: usize,
) -> Result<Box<dyn DiskFile>, WalError> {
    let path = segment_path(dir, number);
    fill_blank(disk, dir, &path, bytes).map_err(|source| {
        // Nothing was ever in it, and a full disk needs its space. If this fails, the next attempt
        // finds the name taken and gets here again.
        drop(disk.remove(&path));
        match source.kind() {
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => {
                WalError::DiskFull { path, bytes, source: Arc::new(source) }
            }
            _ => WalError::io("make the segment", path)(source),
        }
    })
}

fn fill_blank(disk: &dyn Disk, dir: &Path, path: &Path, bytes: usize) -> io::Result<Box<dyn DiskFile>> {
    let file = disk.create(path, bytes)?;
    let zeroes = vec![0; CHUNK_BYTES.min(bytes)];
    for offset in (0..bytes).step_by(zeroes.len()) {
        file.write_at(&zeroes[..zeroes.len().min(bytes - offset)], offset)?;
    }
    file.sync_data()?;
    disk.sync_dir(dir)?;
    Ok(file)
}

/// Returns the numbers of the segments in the folder, blank ones included, in order.
pub(super) fn list_segments(disk: &dyn Disk, dir: &Path) -> Result<Vec<u64>, WalError> {
    let names = disk.list(dir).map_err(WalError::io("list", dir))?;
    let mut numbers: Vec<u64> = names.iter().filter_map(|name| number_of(name)).collect();
    numbers.sort_unstable();
    Ok(numbers)
}

/// Removes these segments, in this order, durably.
pub(super) fn remove_segments(disk: &dyn Disk, dir: &Path, numbers: &[u64]) -> Result<(), WalError> {
    for number in numbers {
        let path = segment_path(dir, *number);
        disk.remove(&path).map_err(WalError::io("remove", &path))?;
        // One by one: else power loss could bring an older one back and leave a gap behind it.
        disk.sync_dir(dir).map_err(WalError::io("sync", dir))?;
    }
    Ok(())
}

/// Returns the file of a segment.
pub(super) fn segment_path(dir: &Path, number: u64) -> PathBuf {
    dir.join(format!("{number:020}.wal"))
}

fn number_of(name: &str) -> Option<u64> {
    let digits = name.strip_suffix(".wal")?;
    let is_ours = digits.len() == 20 && digits.bytes().all(|digit| digit.is_ascii_digit());
    digits.parse().ok().filter(|_| is_ours)
}
