//! Imported files, kept compressed under their hash, so that old explanations still find their rows.

use std::io::{Read, Write};
use std::path::Path as FsPath;
use std::sync::Arc;

use bytes::Bytes;
use futures::{Stream, TryStreamExt};
use object_store::path::Path;
use object_store::{Error as StoreError, GetResultPayload, ObjectStore, ObjectStoreExt, WriteMultipart};
use sha2::{Digest, Sha256};

use super::error::LakeError;
use super::hash::random_hex;
use super::store::SyncedLocalStore;

/// Bytes compressed before they are handed to the store.
const PIECE_BYTES: usize = 1024 * 1024;

/// A file that is kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeptImport {
    /// SHA-256 of the bytes as they were given, in hex; the name of the kept file.
    pub sha256: String,
    /// Length of the bytes as they were given.
    pub size: u64,
}

/// The folder of kept imports.
#[derive(Clone, Debug)]
pub struct Imports {
    store: Arc<dyn ObjectStore>,
}

impl Imports {
    /// Opens the folder, creating it if needed.
    ///
    /// # Errors
    /// If the folder cannot be made.
    pub fn open(folder: &FsPath) -> Result<Self, LakeError> {
        std::fs::create_dir_all(folder).map_err(LakeError::io(format!("creating {}", folder.display())))?;
        let store = SyncedLocalStore::new(folder).map_err(LakeError::store("opening the imports folder"))?;
        Ok(Self { store: Arc::new(store) })
    }

    /// Keeps a file; synced when this returns. Keeping the same bytes again changes nothing.
    ///
    /// # Errors
    /// If the stream or the store fails; then nothing is kept under the hash.
    pub async fn keep<E>(&self, bytes: impl Stream<Item = Result<Bytes, E>>) -> Result<KeptImport, LakeError>
    where
        E: Into<std::io::Error>,
    {
        let incoming = Path::from(format!("incoming-{}", random_hex()));
        let upload = self.store.put_multipart(&incoming).await.map_err(LakeError::store("keeping an import"))?;
        let kept = upload_compressed(bytes, WriteMultipart::new(upload)).await?;
        let name = Path::from(kept.sha256.as_str());
        match self.store.rename_if_not_exists(&incoming, &name).await {
            Ok(()) => {}
            Err(StoreError::AlreadyExists { .. }) => {
                self.store.delete(&incoming).await.map_err(LakeError::store("removing a second copy"))?;
            }
            Err(error) => return Err(LakeError::store("keeping an import")(error)),
        }
        Ok(kept)
    }

    /// Reads a kept file, decompressed. The reader blocks: use it where blocking is fine.
    ///
    /// # Errors
    /// [`LakeError::ImportMissing`] if nothing is kept under this hash.
    pub async fn open_import(&self, sha256: &str) -> Result<Box<dyn Read + Send>, LakeError> {
        let is_hash = sha256.len() == 64 && sha256.bytes().all(|byte| byte.is_ascii_hexdigit());
        let missing = || LakeError::ImportMissing(sha256.chars().take(64).collect());
        if !is_hash {
            return Err(missing());
        }
        let found = match self.store.get(&Path::from(sha256)).await {
            Ok(found) => found,
            Err(StoreError::NotFound { .. }) => return Err(missing()),
            Err(error) => return Err(LakeError::store("opening a kept import")(error)),
        };
        let compressed: Box<dyn Read + Send> = match found.payload {
            GetResultPayload::File(file, _) => Box::new(file),
            GetResultPayload::Stream(stream) => {
                let parts: Vec<Bytes> =
                    stream.try_collect().await.map_err(LakeError::store("reading a kept import"))?;
                Box::new(std::io::Cursor::new(parts.concat()))
            }
        };
        let decoder = zstd::stream::read::Decoder::new(compressed).map_err(LakeError::io("reading a kept import"))?;
        Ok(Box::new(decoder))
    }
}

/// Compresses into the upload and completes it, or leaves nothing.
async fn upload_compressed<E>(
    bytes: impl Stream<Item = Result<Bytes, E>>,
    mut upload: WriteMultipart,
) -> Result<KeptImport, LakeError>
where
    E: Into<std::io::Error>,
{
    match compress(bytes, &mut upload).await {
        Ok(kept) => {
            upload.finish().await.map_err(LakeError::store("keeping an import"))?;
            Ok(kept)
        }
        Err(error) => {
            // The first error is the one to tell; a leftover is invisible and harmless.
            drop(upload.abort().await);
            Err(error)
        }
    }
}

async fn compress<E>(
    bytes: impl Stream<Item = Result<Bytes, E>>,
    upload: &mut WriteMultipart,
) -> Result<KeptImport, LakeError>
where
    E: Into<std::io::Error>,
{
    let io = || LakeError::io("keeping an import");
    let mut hash = Sha256::new();
    let mut size = 0_u64;
    let mut encoder = zstd::stream::write::Encoder::new(Vec::new(), 0).map_err(io())?;
    let mut bytes = std::pin::pin!(bytes);
    while let Some(part) = bytes.try_next().await.map_err(|error| io()(error.into()))? {
        hash.update(&part);
        size += part.len() as u64;
        encoder.write_all(&part).map_err(io())?;
        if PIECE_BYTES <= encoder.get_ref().len() {
            upload.wait_for_capacity(2).await.map_err(LakeError::store("keeping an import"))?;
            upload.put(Bytes::from(std::mem::take(encoder.get_mut())));
        }
    }
    upload.put(Bytes::from(encoder.finish().map_err(io())?));
    Ok(KeptImport { sha256: hex::encode(hash.finalize()), size })
}
