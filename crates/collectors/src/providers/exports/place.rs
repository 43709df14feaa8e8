//! Where the files of an export are: a folder of this machine, or a bucket. It is listed and read, never written.

use std::collections::HashSet;
use std::error::Error as _;
use std::fmt;
use std::fs::Metadata;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path as FsPath, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use domain::Instant;
use futures::StreamExt as _;
use futures::stream::BoxStream;
use object_store::client::{HttpError, HttpErrorKind};
use object_store::local::LocalFileSystem;
use object_store::path::Path;
use object_store::{GetOptions, ObjectStore};
use sha2::{Digest as _, Sha256};

use super::bucket::{BucketAddress, NotSent};
use crate::error::ImportError;
use crate::import::{SpoolRoom, SpooledFile, spool};
use crate::providers::{Cause, CollectError, Credentials};

/// Objects listed at most.
const OBJECTS_MAX: usize = 200_000;
/// Bytes of a manifest.
const MANIFEST_BYTES_MAX: usize = 16 * 1024 * 1024;

/// One file of an export as it is listed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Object {
    /// Its key in the bucket, or its path below the folder.
    pub key: String,
    /// Bytes.
    pub size: u64,
    /// What tells one content from another, where the store says so.
    pub e_tag: Option<String>,
    /// When it was written.
    pub modified: Instant,
    /// When it came to lie here: later than that for a file of a folder that was copied and kept its time.
    pub arrived: Instant,
}

impl Object {
    /// Returns the last part of its key.
    #[must_use]
    pub fn name(&self) -> &str {
        self.key.rsplit('/').next().unwrap_or(&self.key)
    }

    /// Returns the parts of its key.
    pub fn parts(&self) -> impl DoubleEndedIterator<Item = &str> {
        self.key.split('/')
    }

    /// Adds what tells this content from another.
    pub(super) fn digest(&self, hash: &mut Sha256) {
        hash.update(format!("{}\n{}\n", self.key, self.size));
        match &self.e_tag {
            Some(e_tag) => hash.update(e_tag),
            None => hash.update(self.modified.micros().to_le_bytes()),
        }
    }
}

/// A place that is open for reading.
pub struct Place {
    store: Arc<dyn ObjectStore>,
    prefix: Option<Path>,
    bucket: Option<String>,
    folder: Option<PathBuf>,
    /// The store, if it is a folder.
    local: Option<LocalFileSystem>,
    /// How long nothing may come.
    patience: Duration,
}

impl fmt::Debug for Place {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (&self.folder, &self.bucket) {
            (Some(folder), _) => write!(out, "{}", folder.display()),
            (None, bucket) => write!(out, "bucket {}", bucket.as_deref().unwrap_or_default()),
        }
    }
}

impl Place {
    /// Opens a folder.
    ///
    /// # Errors
    /// [`Cause::NotFound`] if it is not there.
    pub fn folder(folder: &FsPath, patience: Duration) -> Result<Self, CollectError> {
        let store = LocalFileSystem::new_with_prefix(folder).map_err(|_| {
            CollectError::new(Cause::NotFound, format!("the folder {} cannot be opened", folder.display()))
        })?;
        let folder = std::fs::canonicalize(folder)
            .map_err(|error| CollectError::new(Cause::NotFound, format!("{}: {error}", folder.display())))?;
        let local = Some(store.clone());
        Ok(Self { store: Arc::new(store), prefix: None, bucket: None, folder: Some(folder), local, patience })
    }

    /// Opens a bucket. Nothing is sent yet.
    ///
    /// # Errors
    /// As [`BucketAddress::client`].
    pub fn bucket(
        address: &BucketAddress,
        credentials: &Credentials,
        patience: Duration,
    ) -> Result<Self, CollectError> {
        let prefix = Path::parse(&address.prefix)
            .map_err(|_| CollectError::new(Cause::NotAllowed, "the prefix in `bucket` cannot be one of keys"))?;
        let store = address.client(credentials)?;
        let prefix = (!prefix.is_root()).then_some(prefix);
        Ok(Self { store, prefix, bucket: Some(address.name.clone()), folder: None, local: None, patience })
    }

    /// Returns all files, sorted by key.
    ///
    /// # Errors
    /// [`CollectError`] with the store's cause; [`Cause::TooLarge`] beyond 200,000 objects, [`Cause::Paging`] if one comes
    /// twice, as when pages repeat.
    pub async fn list(&self) -> Result<Vec<Object>, CollectError> {
        let mut listed = self.store.list(self.prefix.as_ref());
        let (mut objects, mut seen) = (Vec::new(), HashSet::new());
        while let Some(meta) = self.within("listing", listed.next()).await? {
            let meta = meta.map_err(|error| failed("listing the files", &error))?;
            if OBJECTS_MAX <= objects.len() {
                let detail = format!("there are more than {OBJECTS_MAX} files; name a longer prefix");
                return Err(CollectError::new(Cause::TooLarge, detail));
            }
            let key = meta.location.to_string();
            if !seen.insert(key.clone()) {
                let key = crate::prometheus::shown(&key);
                return Err(CollectError::paging(format!("{key} is listed twice, as if pages repeated")));
            }
            let modified = Instant::from_micros(meta.last_modified.timestamp_micros());
            objects.push(Object { key, size: meta.size, e_tag: meta.e_tag, modified, arrived: modified });
        }
        objects.sort_by(|one, other| one.key.cmp(&other.key));
        match self.local.clone() {
            Some(local) => with_arrivals(local, objects).await,
            None => Ok(objects),
        }
    }

    /// Returns the content of a manifest.
    ///
    /// # Errors
    /// [`CollectError`] with the store's cause.
    pub async fn manifest(&self, object: &Object) -> Result<Vec<u8>, CollectError> {
        let mut parts = self.parts(object, false).await?;
        let mut bytes = Vec::new();
        while let Some(part) = self.within(&object.key, parts.next()).await? {
            let part = part.map_err(|error| failed(&object.key, &error))?;
            if MANIFEST_BYTES_MAX < bytes.len() + part.len() {
                let detail =
                    format!("{} has more than {MANIFEST_BYTES_MAX} bytes, too many for a manifest", object.key);
                return Err(CollectError::new(Cause::TooLarge, detail));
            }
            bytes.extend_from_slice(&part);
        }
        Ok(bytes)
    }

    /// Returns a copy of a file below `spool_folder`, of a folder's file too: it may change while it is imported.
    ///
    /// # Errors
    /// [`CollectError`] with the store's cause; [`Cause::Truncated`] if the file changed since it was listed,
    /// [`Cause::TooLarge`] if there is no room for it.
    pub async fn fetch(
        &self,
        object: &Object,
        spool_folder: &FsPath,
        room: &mut SpoolRoom,
    ) -> Result<SpooledFile, CollectError> {
        let parts = self.parts(object, true).await?;
        let mut cause = Cause::Truncated;
        let patience = self.patience;
        let noted = futures::stream::unfold(parts, |mut parts| async move {
            match tokio::time::timeout(patience, parts.next()).await {
                Ok(part) => part.map(|part| (part.map_err(std::io::Error::from), parts)),
                Err(_) => Some((Err(std::io::Error::from(std::io::ErrorKind::TimedOut)), parts)),
            }
        });
        let noted = noted.inspect(|part| {
            if let Err(error) = part
                && error.kind() == std::io::ErrorKind::TimedOut
            {
                cause = Cause::Timeout;
            }
        });
        let spooled = spool(spool_folder, &object.key, noted, room).await;
        spooled.map_err(|error| match error {
            ImportError::TooLarge { .. } => CollectError::new(Cause::TooLarge, error.to_string()),
            // The store's own words may hold a signed address.
            _ => CollectError::new(cause, format!("{} broke off while it was read", object.key)),
        })
    }

    async fn parts(
        &self,
        object: &Object,
        same_content: bool,
    ) -> Result<BoxStream<'static, object_store::Result<Bytes>>, CollectError> {
        let if_match = object.e_tag.clone().filter(|_| same_content);
        let options = GetOptions { if_match, ..GetOptions::default() };
        let path = Path::parse(&object.key)
            .map_err(|_| CollectError::new(Cause::NotAllowed, format!("`{}` is no key", object.key)))?;
        let found = self.within(&object.key, self.store.get_opts(&path, options)).await?;
        Ok(found.map_err(|error| failed(&object.key, &error))?.into_stream())
    }

    async fn within<T>(&self, what: &str, work: impl Future<Output = T>) -> Result<T, CollectError> {
        let done = tokio::time::timeout(self.patience, work).await;
        done.map_err(|_| CollectError::new(Cause::Timeout, format!("{what}: nothing came within {:?}", self.patience)))
    }

    /// Returns the listed object that a manifest names. Of a folder, which may be a copy of some lower part of the
    /// bucket, the longest end of the key counts.
    #[must_use]
    pub fn named<'a>(&self, objects: &'a [Object], key: &str) -> Option<&'a Object> {
        let find = |key: &str| {
            let at = objects.binary_search_by(|object| object.key.as_str().cmp(key)).ok()?;
            objects.get(at)
        };
        if self.folder.is_none() {
            return find(key);
        }
        let mut rest = key;
        loop {
            if let Some(object) = find(rest) {
                return Some(object);
            }
            rest = rest.split_once('/')?.1;
        }
    }

    /// Returns the bucket's name; none of a folder.
    #[must_use]
    pub fn bucket_name(&self) -> Option<&str> {
        self.bucket.as_deref()
    }
}

/// Returns files of a folder with the times at which they came there. Programs that copy often keep the times of what they
/// copy, so a folder that they are still filling would look as if it had been at rest for long.
async fn with_arrivals(local: LocalFileSystem, objects: Vec<Object>) -> Result<Vec<Object>, CollectError> {
    let look = move || {
        let look_at = |object: Object| {
            let path = Path::parse(&object.key).ok().and_then(|key| local.path_to_filesystem(&key).ok());
            let file = path.and_then(|path| std::fs::metadata(path).ok());
            let arrived = file.map_or(object.modified, |file| changed_at(&file).max(object.modified));
            Object { arrived, ..object }
        };
        objects.into_iter().map(look_at).collect::<Vec<Object>>()
    };
    tokio::task::spawn_blocking(look).await.map_err(|error| {
        tracing::error!(?error, "the files of an export were not looked at to the end");
        CollectError::new(Cause::Store, "the files were not looked at to the end")
    })
}

/// When a file was last written, moved or given another time; nobody can set it.
fn changed_at(file: &Metadata) -> Instant {
    Instant::from_micros(file.ctime().saturating_mul(domain::time::MICROS_PER_SECOND) + file.ctime_nsec() / 1_000)
}

/// Returns the error of a store. Its own words are left out: they may hold a signed address.
fn failed(what: &str, error: &object_store::Error) -> CollectError {
    let (cause, said) = match error {
        object_store::Error::NotFound { .. } => (Cause::NotFound, "it is not there"),
        object_store::Error::PermissionDenied { .. } | object_store::Error::Unauthenticated { .. } => {
            (Cause::Auth, "the store does not let us in; give the credentials the right to list and to read")
        }
        object_store::Error::Precondition { .. } => (Cause::Truncated, "it changed while it was read"),
        other => generic(other),
    };
    CollectError::new(cause, format!("{}: {said}", crate::prometheus::shown(what)))
}

/// Looks for what lies below an error that has no kind of its own.
fn generic(error: &object_store::Error) -> (Cause, &'static str) {
    let mut reason: Option<&(dyn std::error::Error + 'static)> = Some(error);
    while let Some(one) = reason {
        if let Some(http) = one.downcast_ref::<HttpError>() {
            if let Some(NotSent(said)) = http.source().and_then(|source| source.downcast_ref::<NotSent>()) {
                return (Cause::NotAllowed, *said);
            }
            return match http.kind() {
                HttpErrorKind::Timeout => (Cause::Timeout, "the store did not answer in time"),
                HttpErrorKind::Interrupted | HttpErrorKind::Decode => (Cause::Truncated, "the answer broke off"),
                _ => (Cause::Unreachable, "the store cannot be reached"),
            };
        }
        reason = one.source();
    }
    match status_of(&error.to_string()) {
        Some(401 | 403) => (Cause::Auth, "the store does not let us in"),
        Some(404 | 410) => (Cause::NotFound, "it is not there; check the bucket"),
        Some(429) => (Cause::RateLimited, "the store asks to come back later"),
        Some(300..=399) => (Cause::Redirect, "the store sends us elsewhere; check the region"),
        Some(500..=599) => (Cause::Server, "the store fails"),
        Some(_) => (Cause::Refused, "the store refuses"),
        None => (Cause::NotJson, "the store's answer cannot be read"),
    }
}

/// The status in an error's text; its type is not public.
fn status_of(text: &str) -> Option<u16> {
    let (_, after) = text.split_once("status code: ")?;
    after.get(..3)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_status_is_read_from_an_errors_text() {
        let text = "Generic S3 error: Error performing GET http://x in 1s - Server returned non-2xx status code: 503 \
                    Service Unavailable: busy";
        assert_eq!(status_of(text), Some(503));
        assert_eq!(status_of("Server returned error response: no"), None);
    }

    #[tokio::test]
    async fn a_folder_is_listed_in_order_and_names_in_manifests_are_found_by_their_end() {
        let folder = tempfile::tempdir().expect("a folder");
        std::fs::create_dir_all(folder.path().join("data/BILLING_PERIOD=2026-11")).expect("folders");
        for name in ["data/BILLING_PERIOD=2026-11/b.csv", "data/BILLING_PERIOD=2026-11/a.csv"] {
            std::fs::write(folder.path().join(name), "x").expect("a file");
        }
        let place = Place::folder(folder.path(), Duration::from_secs(5)).expect("a place");
        let objects = place.list().await.expect("a list");
        let names: Vec<&str> = objects.iter().map(Object::name).collect();
        assert_eq!(names, ["a.csv", "b.csv"]);
        let found = place.named(&objects, "focus/acme/data/BILLING_PERIOD=2026-11/b.csv");
        assert_eq!(found.map(Object::name), Some("b.csv"));
        assert_eq!(place.named(&objects, "focus/acme/c.csv"), None);
        assert_eq!(place.manifest(&objects[0]).await.expect("content"), b"x");
        let missing = Place::folder(&folder.path().join("none"), Duration::from_secs(5)).map_err(|error| error.cause);
        assert_eq!(missing.err(), Some(Cause::NotFound));
    }

    #[tokio::test]
    async fn a_copy_that_kept_its_time_arrived_when_it_was_copied() {
        let folder = tempfile::tempdir().expect("a folder");
        let below = folder.path().join("billing_period=2026-11");
        std::fs::create_dir(&below).expect("a folder");
        std::fs::write(below.join("new.csv"), "x").expect("a file");
        std::fs::write(below.join("copy of.csv"), "x").expect("a file");
        let copy = std::fs::File::options().write(true).open(below.join("copy of.csv")).expect("a file");
        copy.set_modified(std::time::UNIX_EPOCH + Duration::from_secs(1_600_000_000)).expect("another time");
        let place = Place::folder(folder.path(), Duration::from_secs(5)).expect("a place");
        let objects = place.list().await.expect("a list");
        let names: Vec<&str> = objects.iter().map(Object::name).collect();
        assert_eq!(names, ["copy of.csv", "new.csv"]);
        assert_eq!(objects[0].modified, Instant::from_micros(1_600_000_000_000_000));
        // Both came now; the clock of a file system may be some ticks behind.
        assert!(objects[1].modified <= objects[0].arrived.plus_micros(1_000_000), "{objects:?}");
    }
}
