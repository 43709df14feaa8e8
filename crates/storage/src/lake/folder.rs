//! The data folder of one process.

use std::fs::{File, OpenOptions, TryLockError};
use std::path::{Path, PathBuf};

use super::error::LakeError;

/// A data folder that this process, and no other, works on.
///
/// The lock is held until the value is dropped or the process ends, however it ends.
#[derive(Debug)]
pub struct DataFolder {
    path: PathBuf,
    _lock: File,
}

impl DataFolder {
    /// Creates the folder if needed and locks it.
    ///
    /// # Errors
    /// [`LakeError::Locked`] if another process holds it.
    pub fn lock(path: &Path) -> Result<Self, LakeError> {
        std::fs::create_dir_all(path).map_err(LakeError::io(format!("creating {}", path.display())))?;
        let file = path.join("lock");
        let doing = || format!("locking {}", file.display());
        let lock = OpenOptions::new().create(true).truncate(false).write(true).open(&file);
        let lock = lock.map_err(LakeError::io(doing()))?;
        match lock.try_lock() {
            Ok(()) => Ok(Self { path: path.to_path_buf(), _lock: lock }),
            Err(TryLockError::WouldBlock) => Err(LakeError::Locked(path.to_path_buf())),
            Err(TryLockError::Error(source)) => Err(LakeError::io(doing())(source)),
        }
    }

    /// The folder itself.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Where the lake is, unless configured elsewhere.
    pub fn lake(&self) -> PathBuf {
        self.path.join("lake")
    }

    /// Where the log of events is.
    pub fn wal(&self) -> PathBuf {
        self.path.join("wal")
    }

    /// Where imported files are kept.
    pub fn imports(&self) -> PathBuf {
        self.path.join("imports")
    }
}
