//! From files to a log that takes events: what the lake does not have yet becomes hot again.

use super::hot::Hot;
use super::machine::Machine;
use super::recover::Follower;
use super::switch::Stamps;
use super::waiting::Waiting;
use super::{EventLog, Inner, Setup};
use crate::content::IdSalt;
use crate::error::MeteringError;
use crate::ids::{IdIndex, IdOptions};
use crate::wal::{Options, RealDisk, Recovery, Wal, WalError};
use domain::Clock;
use std::path::{Path, PathBuf};
use std::sync::{Arc, RwLock};
use storage::catalog::Catalog;
use storage::lake::{Lake, Table};
use tokio::sync::{Mutex, OnceCell, watch};

/// File in the log's folder with the node's name, which is random: a new log is never taken for an old one.
const NODE_FILE: &str = "node";
/// Space that a new segment leaves free, so that the catalog, deletes and the next start still work on a full disk.
const RESERVE_BYTES: u64 = 16 << 20;

/// How a log behaves.
#[derive(Clone, Debug)]
pub struct EventLogOptions {
    /// Folder of the log.
    pub wal: PathBuf,
    /// Folder of the ids.
    pub ids: PathBuf,
    /// Bytes of a segment.
    pub segment_bytes: usize,
    /// Memory of the id index, in bytes.
    pub id_memory_bytes_max: usize,
}

/// What is needed to start the log.
pub(super) struct Opening {
    folder: PathBuf,
    options: Options,
    /// The first segment that is needed.
    first: u64,
    /// The last segment of which the usage table has all.
    in_usage: Option<u64>,
    ids: Arc<IdIndex>,
    hot: Arc<Hot>,
    waiting: Arc<Waiting>,
    salt: IdSalt,
    ended: watch::Sender<u64>,
}

impl EventLog {
    /// Returns the log of a data folder; what it holds beyond the lake is hot from the start.
    ///
    /// # Errors
    /// [`MeteringError::Log`] if the log is damaged, [`MeteringError::Ids`] if the ids are; then nothing is changed.
    pub async fn open(
        options: EventLogOptions,
        lake: Lake,
        catalog: Catalog,
        clock: Arc<dyn Clock>,
        setup: Setup,
    ) -> Result<Self, MeteringError> {
        let writer = format!("wal-{}", node_name(&options.wal)?);
        let id_options = IdOptions { filter_bytes_max: options.id_memory_bytes_max, ..IdOptions::default() };
        let folder = options.ids.clone();
        let ids = tokio::task::spawn_blocking(move || IdIndex::open(&folder, id_options)).await??;
        let ids = Arc::new(ids);
        let (in_events, in_usage) =
            (through(&lake, Table::UsageEvents, &writer).await?, through(&lake, Table::Usage, &writer).await?);
        let everywhere = in_events.min(in_usage).min(ids.through_segment()).unwrap_or(0);
        let (ended, listener) = watch::channel(everywhere);
        let (hot, waiting) = (Arc::new(Hot::default()), Arc::new(Waiting::default()));
        let salt = IdSalt::of_lake(lake.id());
        let opening = Opening {
            folder: options.wal,
            options: Options { segment_bytes: options.segment_bytes, ..Options::default() },
            first: everywhere + 1,
            in_usage,
            ids: Arc::clone(&ids),
            hot: Arc::clone(&hot),
            waiting: Arc::clone(&waiting),
            salt,
            ended,
        };
        let log = Self {
            inner: Arc::new(Inner {
                wal: OnceCell::new(),
                start: watch::channel(None).0,
                opening,
                ids,
                hot,
                waiting,
                salt,
                lake,
                catalog,
                stamps: Stamps::new(Arc::clone(&clock)),
                clock,
                setup: RwLock::new(setup),
                recents: Arc::default(),
                set_up_turn: Mutex::new(()),
                backfill_turn: Mutex::new(()),
                noted: RwLock::default(),
                writer,
                ended: listener,
                flushed: Mutex::new(everywhere),
                adopted: Mutex::new(None),
                flushes: watch::Sender::new(0),
                gate: tokio::sync::RwLock::new(()),
            }),
        };
        log.adopt().await?;
        log.await_retracted().await?;
        if log.inner.opening.holds_events()? {
            log.wal().await?;
        }
        Ok(log)
    }
}

impl Opening {
    /// Whether there is anything that the lake may not have. Without, the log is started by the first event: starting
    /// makes room for a segment.
    fn holds_events(&self) -> Result<bool, MeteringError> {
        if !self.has_segments()? {
            return Ok(false);
        }
        let mut log = self.recover()?;
        Ok(log.next_frame()?.is_some())
    }

    fn recover(&self) -> Result<Recovery, WalError> {
        let disk = RealDisk { reserve_bytes: RESERVE_BYTES };
        Recovery::open(Arc::new(disk), &self.folder, self.options, Some(self.first))
    }

    fn has_segments(&self) -> Result<bool, MeteringError> {
        let failed = |source| MeteringError::Folder { path: self.folder.clone(), source };
        for entry in std::fs::read_dir(&self.folder).map_err(failed)? {
            if entry.map_err(failed)?.path().extension().is_some_and(|extension| extension == "wal") {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Reads what the log holds and starts it.
    pub async fn start(&self) -> Result<Wal<Machine>, MeteringError> {
        let this = self.shared();
        tokio::task::spawn_blocking(move || this.start_blocking()).await?
    }

    fn shared(&self) -> Self {
        Self {
            folder: self.folder.clone(),
            options: self.options,
            first: self.first,
            in_usage: self.in_usage,
            ids: Arc::clone(&self.ids),
            hot: Arc::clone(&self.hot),
            waiting: Arc::clone(&self.waiting),
            salt: self.salt,
            ended: self.ended.clone(),
        }
    }

    fn start_blocking(self) -> Result<Wal<Machine>, MeteringError> {
        let mut log = self.recover()?;
        let follower = Follower {
            folder: &self.folder,
            first: self.first,
            in_usage: self.in_usage,
            ids: &self.ids,
            hot: &self.hot,
            waiting: &self.waiting,
            salt: self.salt,
        };
        let sealed = follower.follow(&mut log)?;
        Ok(log.start(Machine::new(self.ids, self.hot, self.waiting, self.ended, sealed))?)
    }
}

/// The last segment that a table contains.
async fn through(lake: &Lake, table: Table, writer: &str) -> Result<Option<u64>, MeteringError> {
    let txn = lake.pin_table(table).await?.txn(writer);
    Ok(txn.map(|segment| u64::try_from(segment).expect("segments are counted from 1")))
}

/// The node's name, made with the folder.
fn node_name(folder: &Path) -> Result<String, MeteringError> {
    let failed = |source| MeteringError::Folder { path: folder.to_owned(), source };
    let file = folder.join(NODE_FILE);
    match std::fs::read_to_string(&file) {
        Ok(name) if !name.trim().is_empty() => return Ok(name.trim().to_owned()),
        Ok(_) => {}
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
        Err(error) => return Err(failed(error)),
    }
    std::fs::create_dir_all(folder).map_err(failed)?;
    let name = hex::encode(rand::random::<[u8; 6]>());
    let staged = folder.join("node.new");
    std::fs::write(&staged, &name).and_then(|()| std::fs::File::open(&staged)?.sync_all()).map_err(failed)?;
    std::fs::rename(&staged, &file).and_then(|()| std::fs::File::open(folder)?.sync_all()).map_err(failed)?;
    Ok(name)
}
