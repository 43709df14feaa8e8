//! Files that are kept beside the tables under the hash of their bytes: what a closed month rests on and no table keeps.

use object_store::path::Path;
use object_store::{Error as StoreError, ObjectStoreExt, PutMode, PutOptions};

use super::Lake;
use super::error::LakeError;
use super::hash::sha256_hex;

/// Folder of these files below the lake's root.
const FOLDER: &str = "evidence";

impl Lake {
    /// Keeps these bytes and returns their SHA-256, under which they are found again. Durable when this returns; kept
    /// once more they are the same file.
    ///
    /// # Errors
    /// If the store fails.
    pub async fn keep_evidence(&self, bytes: Vec<u8>) -> Result<String, LakeError> {
        let sha256 = sha256_hex(&bytes);
        let options = PutOptions::from(PutMode::Create);
        match self.store().put_opts(&path_of(&sha256), bytes.into(), options).await {
            Ok(_) | Err(StoreError::AlreadyExists { .. }) => Ok(sha256),
            Err(error) => Err(LakeError::store("keeping evidence")(error)),
        }
    }

    /// Returns the bytes that were kept under this hash.
    ///
    /// # Errors
    /// [`LakeError::Damaged`] if they are other ones now; else if the store fails.
    pub async fn evidence(&self, sha256: &str) -> Result<Vec<u8>, LakeError> {
        let path = path_of(sha256);
        let found = self.store().get(&path).await.map_err(LakeError::store("reading evidence"))?;
        let bytes = found.bytes().await.map_err(LakeError::store("reading evidence"))?;
        if sha256_hex(&bytes) != sha256 {
            return Err(LakeError::damaged(path, "its bytes have another hash".to_owned()));
        }
        Ok(bytes.to_vec())
    }
}

fn path_of(sha256: &str) -> Path {
    Path::from(format!("{FOLDER}/{sha256}.jsonl"))
}
