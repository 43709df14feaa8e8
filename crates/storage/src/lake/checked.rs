//! No damaged data file is read silently: a file's bytes are compared with the hash in the log before
//! this process reads it for the first time.

use std::collections::HashSet;
use std::sync::{Arc, Mutex, PoisonError};

use futures::{FutureExt, StreamExt, TryStreamExt};
use object_store::path::Path;
use object_store::{Error as StoreError, ObjectStore, ObjectStoreExt};
use sha2::{Digest, Sha256};

use super::error::LakeError;
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
        if let Some(reason) = fault(store, &path, &file).await? {
            return Err(LakeError::damaged(path, reason));
        }
        self.note(file.sha256().unwrap_or_default());
        Ok(())
    }
}

/// What is wrong with a data file, if anything; reads it once, in pieces.
pub(crate) async fn fault(store: &dyn ObjectStore, path: &str, file: &LakeFile) -> Result<Option<String>, LakeError> {
    let found = match store.get(&Path::from(path)).await {
        Ok(found) => found,
        Err(StoreError::NotFound { .. }) => return Ok(Some("the data file is missing".to_owned())),
        Err(error) => return Err(LakeError::store(format!("reading {path}"))(error)),
    };
    if found.meta.size != file.size {
        return Ok(Some(format!("it has {} bytes, the log says {}", found.meta.size, file.size)));
    }
    let mut hash = Sha256::new();
    let mut stream = found.into_stream();
    while let Some(bytes) = stream.try_next().await.map_err(LakeError::store(format!("reading {path}")))? {
        hash.update(&bytes);
    }
    let same = file.sha256() == Some(hex::encode(hash.finalize()).as_str());
    Ok((!same).then(|| "its bytes are not those that were committed".to_owned()))
}
