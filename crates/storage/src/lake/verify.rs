//! Finding any change to the stored files of a table.
//!
//! Every log entry names its own hash and that of the entry before it, every `add` the hash of its file; the newest
//! entry is compared with a head recorded outside the store. Nothing here trusts what it reads, and
//! nothing panics on damage: what cannot be read is a fault that names its file.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use bytes::Bytes;
use futures::TryStreamExt;
use object_store::ObjectStore;
use object_store::path::Path;

use super::checked::{self, Checksum};
use super::error::LakeError;
use super::hash::sha256_hex;
use super::log::actions::{self, CommitInfo};
use super::log::checkpoint::{self, Hint};
use super::log::state::{Gathered, LakeFile};
use super::log::{TableLog, entry_path, entry_version, read_if_exists};
use super::pinned::LogHead;
use super::table::Table;

/// One stored file that is not what was written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FileFault {
    /// Path below the lake's root.
    pub file: String,
    /// The version that wrote the file, if it is known.
    pub version: Option<u64>,
    /// What is wrong, for people.
    pub reason: String,
}

/// What `verify_files` found.
#[derive(Clone, Debug, Default)]
pub struct FileReport {
    /// Changed, missing or unreadable files, in log order.
    pub faults: Vec<FileFault>,
    /// Files in the table's folder that no commit names: left by a crash, harmless.
    pub strays: Vec<String>,
    /// Log entries read.
    pub versions: u64,
    /// Data files hashed.
    pub data_files: u64,
    /// Version and hash of the newest entry as it stands, to be recorded outside the store.
    pub head: Option<LogHead>,
}

/// Checks every stored file of a table, also of one that does not open.
///
/// `expected` is the newest head known from elsewhere. Without it a change to the very last log entry
/// cannot be told from an entry that was written that way.
///
/// # Errors
/// Only if the store itself fails; damage is reported, not returned as an error.
pub async fn verify_files(
    store: Arc<dyn ObjectStore>,
    table: Table,
    expected: Option<&LogHead>,
) -> Result<FileReport, LakeError> {
    let listed = list(store.as_ref(), table).await?;
    let log = TableLog { table, store };
    let mut check = Check { log, report: FileReport::default(), named: BTreeMap::new(), seen: BTreeSet::new() };
    check.entries(&listed, expected).await?;
    check.hint().await?;
    check.data_files().await?;
    check.strays(&listed);
    Ok(check.report)
}

async fn list(store: &dyn ObjectStore, table: Table) -> Result<BTreeSet<String>, LakeError> {
    let prefix = Path::from(table.name());
    let names = store.list(Some(&prefix)).map_ok(|object| object.location.to_string()).try_collect().await;
    names.map_err(LakeError::store(format!("listing {table}")))
}

struct Check {
    log: TableLog,
    report: FileReport,
    /// Every file that a commit ever added, and is not removed: path → (version, file).
    named: BTreeMap<String, (u64, Arc<LakeFile>)>,
    /// Files accounted for.
    seen: BTreeSet<String>,
}

impl Check {
    fn fault(&mut self, file: impl Into<String>, version: Option<u64>, reason: impl Into<String>) {
        self.report.faults.push(FileFault { file: file.into(), version, reason: reason.into() });
    }

    async fn entries(&mut self, listed: &BTreeSet<String>, expected: Option<&LogHead>) -> Result<(), LakeError> {
        let table = self.log.table;
        let versions = listed.iter().filter_map(|path| entry_version(path.rsplit('/').next()?));
        let Some(newest) = versions.chain(expected.map(|head| head.version)).max() else {
            self.fault(entry_path(table, 0), Some(0), "the table has no log");
            return Ok(());
        };
        let mut state = Gathered::default();
        let mut previous: Option<String> = None;
        for version in 0..=newest {
            let path = entry_path(table, version);
            self.seen.insert(path.to_string());
            let Some(bytes) = read_if_exists(self.log.store.as_ref(), &path).await? else {
                self.fault(path, Some(version), "the log entry is missing");
                previous = None;
                continue;
            };
            self.report.versions += 1;
            let hash = sha256_hex(&bytes);
            self.expected(version, &hash, expected);
            self.entry(&mut state, version, &bytes, previous.as_deref());
            self.checkpoint(&state, version, listed).await?;
            self.report.head = Some(LogHead { version, sha256: hash.clone() });
            previous = Some(hash);
        }
        Ok(())
    }

    fn expected(&mut self, version: u64, hash: &str, expected: Option<&LogHead>) {
        if let Some(head) = expected
            && head.version == version
            && head.sha256 != hash
        {
            self.fault(entry_path(self.log.table, version), Some(version), "it is not the expected head of the log");
        }
    }

    /// Applies one entry and compares what it says of the entry before it.
    fn entry(&mut self, state: &mut Gathered, version: u64, bytes: &[u8], previous: Option<&str>) {
        let mut added = Vec::new();
        let applied = actions::parse(bytes).and_then(|lines| {
            added.extend(lines.iter().filter_map(|line| line.add.as_ref()).map(|add| add.path.clone()));
            let removed = lines.iter().filter_map(|line| line.remove.as_ref());
            removed.for_each(|remove| self.removed(&remove.path));
            let info = state.apply(lines)?;
            actions::check_seal(bytes, info.as_ref())?;
            Ok(info)
        });
        match applied {
            Ok(info) => self.link(version, &info.unwrap_or_default(), previous),
            Err(reason) => {
                let path = entry_path(self.log.table, version);
                self.fault(path, Some(version), reason);
            }
        }
        for path in added {
            if let Some(file) = state.files.get(path.as_str()) {
                self.named.insert(path, (version, Arc::clone(file)));
            }
        }
    }

    /// A file taken out stays on disk for readers of older versions: neither checked nor a stray.
    fn removed(&mut self, path: &str) {
        self.named.remove(path);
        self.seen.insert(format!("{}/{path}", self.log.table.name()));
    }

    fn link(&mut self, version: u64, info: &CommitInfo, previous: Option<&str>) {
        let table = self.log.table;
        match (info.prev_log_sha256.as_deref(), previous) {
            (Some(named), Some(previous)) if named != previous => {
                let before = version - 1;
                let reason = format!("its bytes are not those that version {version} continues");
                self.fault(entry_path(table, before), Some(before), reason);
            }
            (None, _) if version != 0 && table.append_only() => {
                self.fault(entry_path(table, version), Some(version), "it was not written by apportion");
            }
            _ => {}
        }
    }

    /// Compares a checkpoint with what the log says at that version.
    async fn checkpoint(&mut self, state: &Gathered, version: u64, listed: &BTreeSet<String>) -> Result<(), LakeError> {
        let path = checkpoint::checkpoint_path(self.log.table, version);
        if !listed.contains(path.as_ref()) {
            return Ok(());
        }
        self.seen.insert(path.to_string());
        let bytes = read_if_exists(self.log.store.as_ref(), &path).await?.unwrap_or_default();
        match decode_guarded(bytes).await {
            Err(reason) => self.fault(path, Some(version), format!("it cannot be read: {reason}")),
            Ok(found) if !same(&found, state) => {
                self.fault(path, Some(version), "it does not say what the log says");
            }
            Ok(_) => {}
        }
        Ok(())
    }

    async fn hint(&mut self) -> Result<(), LakeError> {
        let path = checkpoint::hint_path(self.log.table);
        self.seen.insert(path.to_string());
        let store = Arc::clone(&self.log.store);
        let Some(bytes) = read_if_exists(store.as_ref(), &path).await? else { return Ok(()) };
        let hint = match Hint::parse(&bytes) {
            Ok(hint) => hint,
            Err(reason) => {
                self.fault(path, None, format!("it cannot be read: {reason}"));
                return Ok(());
            }
        };
        if hint.sha256.is_none() {
            return Ok(()); // written, and not yet one that counts: no reader takes it
        }
        let named = checkpoint::checkpoint_path(self.log.table, hint.version);
        let found = read_if_exists(store.as_ref(), &named).await?;
        if found.map(|bytes| sha256_hex(&bytes)) != hint.sha256 {
            self.fault(named, Some(hint.version), "its bytes are not those that _last_checkpoint names");
        }
        Ok(())
    }

    async fn data_files(&mut self) -> Result<(), LakeError> {
        let mut files: Vec<_> = self.named.values().cloned().collect();
        files.sort_by(|(left, a), (right, b)| (left, &a.path).cmp(&(right, &b.path)));
        for (version, file) in files {
            let path = format!("{}/{}", self.log.table.name(), file.path);
            self.seen.insert(path.clone());
            self.report.data_files += 1;
            if let Some(reason) = checked::fault(self.log.store.as_ref(), &path, &file, Checksum::Sha256).await? {
                self.fault(path, Some(version), reason);
            }
        }
        Ok(())
    }

    fn strays(&mut self, listed: &BTreeSet<String>) {
        self.report.strays = listed.difference(&self.seen).cloned().collect();
    }
}

/// A damaged Parquet file may make the reader panic; a task of its own turns that into a fault.
async fn decode_guarded(bytes: Bytes) -> Result<Gathered, String> {
    let decoded = tokio::task::spawn_blocking(move || checkpoint::decode(bytes)).await;
    decoded.unwrap_or_else(|_| Err("the parquet reader gave up on it".to_owned()))
}

fn same(left: &Gathered, right: &Gathered) -> bool {
    left.protocol == right.protocol
        && left.metadata == right.metadata
        && left.files == right.files
        && left.txns == right.txns
}
