//! A file that arrives as a stream is put on disk first: it is read more than once and kept.

use std::io;
use std::path::Path;

use bytes::Bytes;
use futures::{Stream, TryStreamExt};
use tokio::io::AsyncWriteExt;

use crate::error::ImportError;
use crate::focus::InputFile;

/// A file that arrived as a stream; it goes away with this value.
#[derive(Debug)]
pub struct SpooledFile {
    file: InputFile,
    /// Removes the file.
    _path: tempfile::TempPath,
}

impl SpooledFile {
    /// Returns the file, to be imported while this value lives.
    #[must_use]
    pub fn input(&self) -> InputFile {
        self.file.clone()
    }
}

/// Writes a stream to a temporary file in `folder`; refuses more than `bytes_max`.
///
/// # Errors
/// [`ImportError::TooLarge`], or [`ImportError::Unreadable`] if stream or disk fail.
pub async fn spool<E: Into<io::Error>>(
    folder: &Path,
    name: &str,
    bytes: impl Stream<Item = Result<Bytes, E>>,
    bytes_max: u64,
) -> Result<SpooledFile, ImportError> {
    let unreadable = |error: io::Error| ImportError::Unreadable { file: name.to_owned(), reason: error.to_string() };
    let (file, path) = tempfile::NamedTempFile::new_in(folder).map_err(unreadable)?.into_parts();
    let mut file = tokio::fs::File::from_std(file);
    let mut bytes = std::pin::pin!(bytes);
    let mut size = 0;
    while let Some(part) = bytes.try_next().await.map_err(|error| unreadable(error.into()))? {
        size += part.len() as u64;
        if bytes_max < size {
            let (file, what) = (name.to_owned(), "bytes");
            return Err(ImportError::TooLarge { file, what, limit: bytes_max, key: "limits.upload_body" });
        }
        file.write_all(&part).await.map_err(unreadable)?;
    }
    file.flush().await.map_err(unreadable)?;
    Ok(SpooledFile { file: InputFile { name: name.to_owned(), path: path.to_path_buf() }, _path: path })
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn check(parts: &[&'static str], bytes_max: u64, expected: Option<&str>) {
        let folder = tempfile::tempdir().expect("a folder");
        let stream =
            futures::stream::iter(parts.iter().map(|part| Ok::<_, io::Error>(Bytes::from_static(part.as_bytes()))));
        let spooled = spool(folder.path(), "bill.csv", stream, bytes_max).await;
        let text = spooled.as_ref().ok().map(|spooled| std::fs::read_to_string(&spooled.file.path).expect("a file"));
        assert_eq!(text.as_deref(), expected);
        drop(spooled);
        assert_eq!(std::fs::read_dir(folder.path()).expect("a folder").count(), 0, "nothing is left behind");
    }

    #[tokio::test]
    async fn a_stream_becomes_a_file_that_goes_away() {
        check(&["one,", "two"], 7, Some("one,two")).await;
        check(&["one,", "two!"], 7, None).await;
        check(&[], 0, Some("")).await;
    }
}
