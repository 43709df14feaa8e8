//! A local object store that syncs.
//!
//! `object_store`'s own local store never calls fsync. Here a put returns only when the bytes, the
//! name and every directory above it up to the lake's root are on stable storage, and a file becomes
//! visible only when it is complete and synced.

use std::collections::HashSet;
use std::fmt;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::path::{Path as FsPath, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use async_trait::async_trait;
use bytes::Bytes;
use futures::stream::{self, BoxStream};
use futures::{StreamExt, TryStreamExt};
use object_store::local::LocalFileSystem;
use object_store::path::Path;
use object_store::{
    CopyOptions, Error, GetOptions, GetResult, ListResult, MultipartUpload, ObjectMeta, ObjectStore, PutMode,
    PutMultipartOptions, PutOptions, PutPayload, PutResult, RenameOptions, Result, UploadPart,
};

const STORE: &str = "synced local folder";
/// Version 0 creates a table; the failpoint is about commits of rows.
const FIRST_LOG_ENTRY: &str = "00000000000000000000.json";

/// A failed fsync: what is on stable storage is unknown from here on.
#[derive(Debug, thiserror::Error)]
#[error("fsync of {} failed", .path.display())]
struct SyncFailure {
    path: PathBuf,
    source: io::Error,
}

/// Whether an error of this store came from fsync, after which a retry would prove nothing.
pub(super) fn is_sync_failure(error: &Error) -> bool {
    matches!(error, Error::Generic { source, .. } if source.is::<SyncFailure>())
}

/// Local files, synced before any write counts.
#[derive(Clone, Debug)]
pub struct SyncedLocalStore {
    inner: Arc<LocalFileSystem>,
    dirs: Arc<Dirs>,
}

/// The directories below the root, and which of them are known to be on stable storage.
#[derive(Debug)]
struct Dirs {
    root: PathBuf,
    synced: Mutex<HashSet<PathBuf>>,
}

impl SyncedLocalStore {
    /// Opens a store on an existing folder.
    ///
    /// # Errors
    /// If the folder cannot be resolved.
    pub fn new(root: &FsPath) -> Result<Self> {
        let inner = LocalFileSystem::new_with_prefix(root)?;
        let root = fs::canonicalize(root).map_err(|source| generic(Box::new(source)))?;
        let dirs = Dirs { root, synced: Mutex::default() };
        Ok(Self { inner: Arc::new(inner), dirs: Arc::new(dirs) })
    }
}

impl fmt::Display for SyncedLocalStore {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "SyncedLocalStore({})", self.dirs.root.display())
    }
}

impl Dirs {
    fn create_parents(&self, path: &FsPath) -> Result<()> {
        let parent = path.parent().unwrap_or(&self.root);
        fs::create_dir_all(parent).map_err(|source| generic(Box::new(source)))
    }

    /// Makes the name `path` durable: syncs its directory, and all above it the first time.
    fn sync_name(&self, path: &FsPath) -> Result<()> {
        let parent = path.parent().unwrap_or(&self.root).to_path_buf();
        sync(&parent)?;
        let known = self.synced.lock().unwrap_or_else(PoisonError::into_inner).contains(&parent);
        if known {
            return Ok(());
        }
        for dir in parent.ancestors().skip(1).take_while(|dir| dir.starts_with(&self.root)) {
            sync(dir)?;
        }
        self.synced.lock().unwrap_or_else(PoisonError::into_inner).insert(parent);
        Ok(())
    }

    fn put(&self, path: &FsPath, payload: &PutPayload, mode: &PutMode) -> Result<()> {
        self.create_parents(path)?;
        let staged = staged_path(path);
        let placed = write_synced(&staged, payload).and_then(|()| place(&staged, path, mode));
        if *mode == PutMode::Create || placed.is_err() {
            // Already linked or of no use; a leftover is invisible to listings and harmless.
            drop(fs::remove_file(&staged));
        }
        placed?;
        self.sync_name(path)
    }
}

/// A name that object_store's listings skip: `<name>#<digits>`.
fn staged_path(path: &FsPath) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(format!("#{}", rand::random::<u64>()));
    PathBuf::from(name)
}

fn write_synced(path: &FsPath, payload: &PutPayload) -> Result<()> {
    let io = |source| generic(Box::new(source));
    let mut file = OpenOptions::new().write(true).create_new(true).open(path).map_err(io)?;
    for part in payload {
        file.write_all(part).map_err(io)?;
    }
    file.sync_all().map_err(|source| sync_failure(path, source))
}

/// Gives the complete, synced file its name. A hard link fails if the name is taken: put-if-absent.
fn place(staged: &FsPath, path: &FsPath, mode: &PutMode) -> Result<()> {
    if *mode != PutMode::Create {
        return fs::rename(staged, path).map_err(|source| generic(Box::new(source)));
    }
    let is_log_entry = path.parent().is_some_and(|parent| parent.ends_with("_delta_log"));
    if is_log_entry && !path.ends_with(FIRST_LOG_ENTRY) {
        crate::failpoint::hit("mid-commit");
    }
    fs::hard_link(staged, path).map_err(|source| match source.kind() {
        io::ErrorKind::AlreadyExists => {
            Error::AlreadyExists { path: path.display().to_string(), source: Box::new(source) }
        }
        _ => generic(Box::new(source)),
    })
}

fn sync(path: &FsPath) -> Result<()> {
    File::open(path).and_then(|file| file.sync_all()).map_err(|source| sync_failure(path, source))
}

fn sync_failure(path: &FsPath, source: io::Error) -> Error {
    generic(Box::new(SyncFailure { path: path.to_path_buf(), source }))
}

fn generic(source: Box<dyn std::error::Error + Send + Sync>) -> Error {
    Error::Generic { store: STORE, source }
}

/// Listings come in name order, as from a bucket: deltalake-core relies on it.
fn in_name_order(listing: BoxStream<'static, Result<ObjectMeta>>) -> BoxStream<'static, Result<ObjectMeta>> {
    let sorted = async move {
        let mut objects: Vec<ObjectMeta> = listing.try_collect().await?;
        objects.sort_unstable_by(|left, right| left.location.cmp(&right.location));
        Ok::<_, Error>(stream::iter(objects.into_iter().map(Ok)))
    };
    stream::once(sorted).try_flatten().boxed()
}

async fn blocking<T: Send + 'static>(work: impl FnOnce() -> Result<T> + Send + 'static) -> Result<T> {
    tokio::task::spawn_blocking(work).await.map_err(|source| Error::JoinError { source })?
}

#[async_trait]
impl ObjectStore for SyncedLocalStore {
    async fn put_opts(&self, location: &Path, payload: PutPayload, opts: PutOptions) -> Result<PutResult> {
        if matches!(opts.mode, PutMode::Update(_)) {
            return Err(Error::NotImplemented {
                operation: "conditional update".into(),
                implementer: self.to_string(),
            });
        }
        let path = self.inner.path_to_filesystem(location)?;
        let dirs = Arc::clone(&self.dirs);
        blocking(move || dirs.put(&path, &payload, &opts.mode)).await?;
        Ok(PutResult { e_tag: None, version: None })
    }

    async fn put_multipart_opts(&self, location: &Path, opts: PutMultipartOptions) -> Result<Box<dyn MultipartUpload>> {
        let path = self.inner.path_to_filesystem(location)?;
        let inner = self.inner.put_multipart_opts(location, opts).await?;
        Ok(Box::new(SyncedUpload { inner, path, dirs: Arc::clone(&self.dirs) }))
    }

    async fn get_opts(&self, location: &Path, options: GetOptions) -> Result<GetResult> {
        self.inner.get_opts(location, options).await
    }

    async fn get_ranges(&self, location: &Path, ranges: &[std::ops::Range<u64>]) -> Result<Vec<Bytes>> {
        self.inner.get_ranges(location, ranges).await
    }

    fn delete_stream(&self, locations: BoxStream<'static, Result<Path>>) -> BoxStream<'static, Result<Path>> {
        self.inner.delete_stream(locations)
    }

    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, Result<ObjectMeta>> {
        in_name_order(self.inner.list(prefix))
    }

    fn list_with_offset(&self, prefix: Option<&Path>, offset: &Path) -> BoxStream<'static, Result<ObjectMeta>> {
        in_name_order(self.inner.list_with_offset(prefix, offset))
    }

    async fn list_with_delimiter(&self, prefix: Option<&Path>) -> Result<ListResult> {
        self.inner.list_with_delimiter(prefix).await
    }

    async fn copy_opts(&self, from: &Path, to: &Path, options: CopyOptions) -> Result<()> {
        self.inner.copy_opts(from, to, options).await?;
        self.sync_both(from, to).await
    }

    async fn rename_opts(&self, from: &Path, to: &Path, options: RenameOptions) -> Result<()> {
        self.inner.rename_opts(from, to, options).await?;
        self.sync_both(from, to).await
    }
}

impl SyncedLocalStore {
    async fn sync_both(&self, from: &Path, to: &Path) -> Result<()> {
        let (from, to) = (self.inner.path_to_filesystem(from)?, self.inner.path_to_filesystem(to)?);
        let dirs = Arc::clone(&self.dirs);
        blocking(move || {
            dirs.sync_name(&to)?;
            dirs.sync_name(&from)
        })
        .await
    }
}

/// An upload that syncs when it completes. The file gets its name just before the sync; nothing
/// refers to a data file before the commit, which comes after.
#[derive(Debug)]
struct SyncedUpload {
    inner: Box<dyn MultipartUpload>,
    path: PathBuf,
    dirs: Arc<Dirs>,
}

#[async_trait]
impl MultipartUpload for SyncedUpload {
    fn put_part(&mut self, data: PutPayload) -> UploadPart {
        self.inner.put_part(data)
    }

    async fn complete(&mut self) -> Result<PutResult> {
        let result = self.inner.complete().await?;
        let (path, dirs) = (self.path.clone(), Arc::clone(&self.dirs));
        blocking(move || {
            sync(&path)?;
            dirs.sync_name(&path)
        })
        .await?;
        Ok(result)
    }

    async fn abort(&mut self) -> Result<()> {
        self.inner.abort().await
    }
}
