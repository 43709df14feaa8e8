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

/// The room on disk that the files of a billing period share.
#[derive(Debug)]
pub struct SpoolRoom {
    bytes_max: u64,
    bytes_taken: u64,
}

impl SpoolRoom {
    /// Returns room for so many bytes, none of them taken.
    #[must_use]
    pub fn new(bytes_max: u64) -> Self {
        Self { bytes_max, bytes_taken: 0 }
    }

    /// Takes room for more bytes of the file `name`.
    ///
    /// # Errors
    /// [`ImportError::TooLarge`] if there is none left; then none is taken.
    pub fn take(&mut self, name: &str, bytes: u64) -> Result<(), ImportError> {
        let taken = self.bytes_taken.saturating_add(bytes);
        if self.bytes_max < taken {
            let (file, what) = (name.to_owned(), "bytes in all files of a billing period");
            return Err(ImportError::TooLarge { file, what, limit: self.bytes_max, key: "limits.upload_body" });
        }
        self.bytes_taken = taken;
        Ok(())
    }
}

/// A temporary file that is still being written; it goes away with this value unless it is finished.
#[derive(Debug)]
pub struct SpoolWriter {
    name: String,
    file: tokio::fs::File,
    path: tempfile::TempPath,
    bytes: u64,
}

impl SpoolWriter {
    /// Returns an empty temporary file in `folder`.
    ///
    /// # Errors
    /// [`ImportError::Unreadable`] if the disk fails.
    pub fn new(folder: &Path, name: &str) -> Result<Self, ImportError> {
        let made = tempfile::NamedTempFile::new_in(folder).map_err(|error| unreadable(name, &error))?;
        let (file, path) = made.into_parts();
        Ok(Self { name: name.to_owned(), file: tokio::fs::File::from_std(file), path, bytes: 0 })
    }

    /// Returns how many bytes were written.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Writes at the end.
    ///
    /// # Errors
    /// [`ImportError::Unreadable`] if the disk fails.
    pub async fn write(&mut self, part: &[u8]) -> Result<(), ImportError> {
        self.file.write_all(part).await.map_err(|error| unreadable(&self.name, &error))?;
        self.bytes += part.len() as u64;
        Ok(())
    }

    /// Returns the whole file.
    ///
    /// # Errors
    /// [`ImportError::Unreadable`] if the disk fails.
    pub async fn finish(mut self) -> Result<SpooledFile, ImportError> {
        self.file.flush().await.map_err(|error| unreadable(&self.name, &error))?;
        Ok(SpooledFile { file: InputFile { name: self.name, path: self.path.to_path_buf() }, _path: self.path })
    }
}

/// Writes a stream to a temporary file in `folder`, as long as there is room.
///
/// # Errors
/// [`ImportError::TooLarge`], or [`ImportError::Unreadable`] if stream or disk fail.
pub async fn spool<E: Into<io::Error>>(
    folder: &Path,
    name: &str,
    bytes: impl Stream<Item = Result<Bytes, E>>,
    room: &mut SpoolRoom,
) -> Result<SpooledFile, ImportError> {
    let mut writer = SpoolWriter::new(folder, name)?;
    let mut bytes = std::pin::pin!(bytes);
    while let Some(part) = bytes.try_next().await.map_err(|error| unreadable(name, &error.into()))? {
        room.take(name, part.len() as u64)?;
        writer.write(&part).await?;
    }
    writer.finish().await
}

fn unreadable(name: &str, error: &io::Error) -> ImportError {
    ImportError::Unreadable { file: name.to_owned(), reason: error.to_string() }
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn check(parts: &[&'static str], bytes_max: u64, expected: Option<&str>) {
        let folder = tempfile::tempdir().expect("a folder");
        let stream =
            futures::stream::iter(parts.iter().map(|part| Ok::<_, io::Error>(Bytes::from_static(part.as_bytes()))));
        let spooled = spool(folder.path(), "bill.csv", stream, &mut SpoolRoom::new(bytes_max)).await;
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

    #[tokio::test]
    async fn files_of_a_set_share_their_room() {
        let folder = tempfile::tempdir().expect("a folder");
        let mut room = SpoolRoom::new(10);
        let mut kept = Vec::new();
        for (name, bytes) in [("a.csv", "123456"), ("b.csv", "1234"), ("c.csv", "")] {
            let stream = futures::stream::iter([Ok::<_, io::Error>(Bytes::from_static(bytes.as_bytes()))]);
            kept.push(spool(folder.path(), name, stream, &mut room).await.expect("room is left"));
        }
        let stream = futures::stream::iter([Ok::<_, io::Error>(Bytes::from_static(b"1"))]);
        let refused = spool(folder.path(), "d.csv", stream, &mut room).await.map(|file| file.input().name);
        assert_eq!(
            refused.map_err(|error| error.to_string()),
            Err("d.csv is too large: more than 10 bytes in all files of a billing period; split it, or raise \
                 limits.upload_body"
                .to_owned())
        );
        assert_eq!(std::fs::read_dir(folder.path()).expect("a folder").count(), kept.len(), "what was refused is gone");
    }
}
