//! The only place where the log meets a file system, so that a simulated one can take its place.

use std::fmt;
use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::fs::FileExt;
use std::path::Path;

/// Folders and names of files.
pub trait Disk: Send + Sync + fmt::Debug + 'static {
    /// Makes the folder and those above it, durably; an existing one is fine.
    fn create_dir(&self, dir: &Path) -> io::Result<()>;
    /// Returns the names in the folder, in any order.
    fn list(&self, dir: &Path) -> io::Result<Vec<String>>;
    /// Returns a new, empty file; fails if the name is taken, or early if `bytes` would not fit.
    fn create(&self, path: &Path, bytes: usize) -> io::Result<Box<dyn DiskFile>>;
    /// Returns an existing file.
    fn open(&self, path: &Path) -> io::Result<Box<dyn DiskFile>>;
    /// Removes a file.
    fn remove(&self, path: &Path) -> io::Result<()>;
    /// Returns when all names in the folder are as durable as they are visible.
    fn sync_dir(&self, dir: &Path) -> io::Result<()>;
}

/// One open file.
pub trait DiskFile: Send + fmt::Debug {
    /// Returns its length in bytes.
    fn bytes(&self) -> io::Result<u64>;
    /// Fills the buffer from this offset on.
    fn read_at(&self, buffer: &mut [u8], offset: usize) -> io::Result<()>;
    /// Writes all bytes at this offset.
    fn write_at(&self, bytes: &[u8], offset: usize) -> io::Result<()>;
    /// Returns when everything written to the file is on stable storage.
    fn sync_data(&self) -> io::Result<()>;
}

/// The file system of this machine.
#[derive(Clone, Copy, Debug, Default)]
pub struct RealDisk {
    /// Space that a new file must leave free, so that deletes, recovery and the catalog still work.
    pub reserve_bytes: u64,
}

impl RealDisk {
    /// Asking first keeps a log that waits for space from filling the disk again and again.
    fn check_room(&self, dir: &Path, bytes: usize) -> io::Result<()> {
        let file_system = rustix::fs::statvfs(dir)?;
        let free = file_system.f_bavail.saturating_mul(file_system.f_frsize);
        if free < self.reserve_bytes.saturating_add(bytes as u64) {
            return Err(io::ErrorKind::StorageFull.into());
        }
        Ok(())
    }
}

impl Disk for RealDisk {
    fn create_dir(&self, dir: &Path) -> io::Result<()> {
        let Some(parent) = dir.parent() else { return Ok(()) };
        let parent = if parent.as_os_str().is_empty() { Path::new(".") } else { parent };
        if !dir.is_dir() {
            self.create_dir(parent)?;
            fs::create_dir(dir)?;
        }
        // An existing folder too: the process that made it may have died before it synced the name.
        self.sync_dir(parent)
    }

    fn list(&self, dir: &Path) -> io::Result<Vec<String>> {
        // A name that is not UTF-8 is not ours, and comes out as one that is not ours either.
        fs::read_dir(dir)?.map(|entry| Ok(entry?.file_name().to_string_lossy().into_owned())).collect()
    }

    fn create(&self, path: &Path, bytes: usize) -> io::Result<Box<dyn DiskFile>> {
        self.check_room(path.parent().unwrap_or(path), bytes)?;
        Ok(Box::new(OpenOptions::new().read(true).write(true).create_new(true).open(path)?))
    }

    fn open(&self, path: &Path) -> io::Result<Box<dyn DiskFile>> {
        Ok(Box::new(OpenOptions::new().read(true).write(true).open(path)?))
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        fs::remove_file(path)
    }

    fn sync_dir(&self, dir: &Path) -> io::Result<()> {
        File::open(dir)?.sync_all()
    }
}

impl DiskFile for File {
    fn bytes(&self) -> io::Result<u64> {
        Ok(self.metadata()?.len())
    }

    fn read_at(&self, buffer: &mut [u8], offset: usize) -> io::Result<()> {
        self.read_exact_at(buffer, offset as u64)
    }

    fn write_at(&self, bytes: &[u8], offset: usize) -> io::Result<()> {
        self.write_all_at(bytes, offset as u64)
    }

    fn sync_data(&self) -> io::Result<()> {
        self.sync_data()
    }
}
