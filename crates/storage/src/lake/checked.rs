//! No damaged data file is read silently: a file's bytes are compared with the hash in the log before
//! this process reads it for the first time.

use std::collections::HashSet;
use std::fs::File;
use std::ops::Range;
use std::os::unix::fs::FileExt as _;
use std::sync::{Arc, Mutex, PoisonError};

use futures::{FutureExt, StreamExt, TryStreamExt};
use object_store::path::Path;
use object_store::{Error as StoreError, GetResult, GetResultPayload, ObjectStore, ObjectStoreExt};
use sha2::{Digest, Sha256};

use super::error::LakeError;
use super::hash::crc32_hex;
use super::log::state::LakeFile;
use super::table::Table;

/// Files hashed at the same time.
const CHECKS_MAX: usize = 4;

/// The files that this process wrote or has compared with the log.
#[derive(Debug, Default)]
pub(crate) struct Checked {
    hashes: Mutex<HashSet<String>>,
}

impl Checked {
    /// Notes a file whose bytes are known to be right.
    pub fn note(&self, sha256: &str) {
        self.hashes.lock().unwrap_or_else(PoisonError::into_inner).insert(sha256.to_owned());
    }

    fn knows(&self, sha256: &str) -> bool {
        self.hashes.lock().unwrap_or_else(PoisonError::into_inner).contains(sha256)
    }

    /// Compares all files that are not known yet with the log.
    pub async fn check(&self, store: &dyn ObjectStore, table: Table, files: &[Arc<LakeFile>]) -> Result<(), LakeError> {
        // Files of other writers carry no hash; there is nothing to compare them with.
        let is_unknown = |file: &&Arc<LakeFile>| file.sha256().is_some_and(|sha256| !self.knows(sha256));
        let mut checks = Vec::new();
        for file in files.iter().filter(is_unknown) {
            checks.push(self.check_file(store, table, Arc::clone(file)).boxed());
        }
        futures::stream::iter(checks).buffer_unordered(CHECKS_MAX).try_collect().await
    }

    async fn check_file(&self, store: &dyn ObjectStore, table: Table, file: Arc<LakeFile>) -> Result<(), LakeError> {
        let path = format!("{}/{}", table.name(), file.path);
        // Whoever wants to change what the ledger says could match a CRC; an accident cannot.
        let sum = if table == Table::Ledger || file.crc32().is_none() { Checksum::Sha256 } else { Checksum::Crc32 };
        if let Some(reason) = fault(store, &path, &file, sum).await? {
            return Err(LakeError::damaged(path, reason));
        }
        self.note(file.sha256().unwrap_or_default());
        Ok(())
    }
}

/// By what a file is told from a damaged one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Checksum {
    /// No other bytes have the same.
    Sha256,
    /// Many times faster; every accident but one in 2³² shows.
    Crc32,
}

/// What is wrong with a data file, if anything; reads it once, in pieces.
pub(crate) async fn fault(
    store: &dyn ObjectStore,
    path: &str,
    file: &LakeFile,
    sum: Checksum,
) -> Result<Option<String>, LakeError> {
    let found = match store.get(&Path::from(path)).await {
        Ok(found) => found,
        Err(StoreError::NotFound { .. }) => return Ok(Some("the data file is missing".to_owned())),
        Err(error) => return Err(LakeError::store(format!("reading {path}"))(error)),
    };
    if found.meta.size != file.size {
        return Ok(Some(format!("it has {} bytes, the log says {}", found.meta.size, file.size)));
    }
    let expected = match sum {
        Checksum::Sha256 => file.sha256(),
        Checksum::Crc32 => file.crc32(),
    };
    let is_same = Some(sum_of(found, path, sum).await?.as_str()) == expected;
    Ok((!is_same).then(|| "its bytes are not those that were committed".to_owned()))
}

async fn sum_of(found: GetResult, path: &str, sum: Checksum) -> Result<String, LakeError> {
    match found.payload {
        // The store's own stream would read a local file in pieces of 8 KiB, each on another thread.
        GetResultPayload::File(file, _) => {
            sum_of_file(Arc::new(file), found.meta.size, sum).await.map_err(LakeError::io(format!("reading {path}")))
        }
        GetResultPayload::Stream(mut stream) => {
            let mut summed = Summed::new(sum);
            while let Some(bytes) = stream.try_next().await.map_err(LakeError::store(format!("reading {path}")))? {
                summed.update(&bytes);
            }
            Ok(summed.finish())
        }
    }
}

/// Bytes of a local file read at a time.
const PIECE_BYTES: usize = 1 << 20;
/// Bytes of a local file that one thread reads at most, where a checksum can be put together from parts.
const PART_BYTES: u64 = 32 << 20;

async fn sum_of_file(file: Arc<File>, size: u64, sum: Checksum) -> std::io::Result<String> {
    let part_bytes = if sum == Checksum::Crc32 { PART_BYTES } else { u64::MAX };
    let mut parts = Vec::new();
    let mut from = 0;
    while from < size || parts.is_empty() {
        let to = size.min(from.saturating_add(part_bytes));
        let file = Arc::clone(&file);
        parts.push(tokio::task::spawn_blocking(move || sum_of_part(&file, from..to, sum)));
        from = to;
    }
    let mut whole = Summed::new(sum);
    for part in parts {
        whole = whole.followed_by(part.await.map_err(std::io::Error::other).flatten()?);
    }
    Ok(whole.finish())
}

fn sum_of_part(file: &File, range: Range<u64>, sum: Checksum) -> std::io::Result<Summed> {
    let mut summed = Summed::new(sum);
    let wanted = |at: u64| usize::try_from(range.end - at).map_or(PIECE_BYTES, |left| left.min(PIECE_BYTES));
    let mut piece = vec![0; wanted(range.start)];
    let mut at = range.start;
    while at < range.end {
        let wanted = wanted(at);
        file.read_exact_at(&mut piece[..wanted], at)?;
        summed.update(&piece[..wanted]);
        at += wanted as u64;
    }
    Ok(summed)
}

/// A checksum being made.
enum Summed {
    Sha256(Sha256),
    Crc32(crc32fast::Hasher),
}

impl Summed {
    fn new(sum: Checksum) -> Self {
        match sum {
            Checksum::Sha256 => Self::Sha256(Sha256::new()),
            Checksum::Crc32 => Self::Crc32(crc32fast::Hasher::new()),
        }
    }

    fn update(&mut self, bytes: &[u8]) {
        match self {
            Self::Sha256(hash) => hash.update(bytes),
            Self::Crc32(hasher) => hasher.update(bytes),
        }
    }

    /// Returns the sum of these bytes and those after them; of a SHA-256 there is only one part.
    fn followed_by(self, rest: Self) -> Self {
        match (self, rest) {
            (Self::Crc32(mut hasher), Self::Crc32(rest)) => {
                hasher.combine(&rest);
                Self::Crc32(hasher)
            }
            (_, rest) => rest,
        }
    }

    fn finish(self) -> String {
        match self {
            Self::Sha256(hash) => hex::encode(hash.finalize()),
            Self::Crc32(hasher) => crc32_hex(hasher),
        }
    }
}
