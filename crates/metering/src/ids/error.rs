use std::io;
use std::path::{Path, PathBuf};

/// What can go wrong in the id index. None of it is ever answered by a guess.
#[derive(Debug, thiserror::Error)]
pub enum IdsError {
    /// The operating system refused.
    #[error("{doing} {path} failed")]
    Io {
        /// What was tried.
        doing: &'static str,
        /// On which file or folder.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// A page of a run is not what was written.
    #[error("page {page} of {path} is damaged: {problem}; restore the file from a backup")]
    Damaged {
        /// The run's file.
        path: PathBuf,
        /// Number of the page, from 0.
        page: u64,
        /// What is wrong.
        problem: &'static str,
    },
    /// The list of runs is not what was written.
    #[error("{path} is damaged: {problem}; restore the folder from a backup")]
    DamagedManifest {
        /// The manifest.
        path: PathBuf,
        /// What is wrong.
        problem: &'static str,
    },
}

impl IdsError {
    /// Returns a function that says what failed where, for `map_err`.
    pub(super) fn io(doing: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Self {
        move |source| Self::Io { doing, path: path.to_owned(), source }
    }
}
