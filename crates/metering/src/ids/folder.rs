//! The index's folder: names of its files, and the order in which they reach the disk.

use super::error::IdsError;
use super::manifest::RunName;
use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};

/// Where the files of an index are, and whom to tell after each step of writing them.
#[derive(Clone, Debug)]
pub struct Folder {
    pub path: PathBuf,
    pub at_step: fn(&str),
}

impl Folder {
    /// Returns the path of a run's ids.
    pub fn run(&self, number: u64) -> PathBuf {
        self.path.join(format!("run-{number:08}.ids"))
    }

    /// Returns the path of a run's guide.
    pub fn guide(&self, number: u64) -> PathBuf {
        self.path.join(format!("run-{number:08}.guide"))
    }

    /// Returns the path of the list of runs.
    pub fn manifest(&self) -> PathBuf {
        self.path.join("manifest")
    }

    /// Returns the path of the list that will replace it.
    pub fn manifest_new(&self) -> PathBuf {
        self.path.join("manifest.new")
    }

    /// Returns the length of a run's guide, a little more than its filter takes in memory.
    pub fn guide_bytes(&self, number: u64) -> Result<usize, IdsError> {
        let path = self.guide(number);
        let file = std::fs::metadata(&path).map_err(IdsError::io("measuring", &path))?;
        Ok(usize::try_from(file.len()).unwrap_or(usize::MAX))
    }

    /// Makes created, renamed and removed names durable.
    pub fn sync(&self) -> Result<(), IdsError> {
        File::open(&self.path).and_then(|folder| folder.sync_all()).map_err(IdsError::io("syncing", &self.path))
    }

    /// Returns the files of all runs there are, named by a manifest or not.
    pub fn run_files(&self) -> Result<Vec<PathBuf>, IdsError> {
        let folder = std::fs::read_dir(&self.path).map_err(IdsError::io("listing", &self.path))?;
        let files: Result<Vec<_>, _> = folder.map(|file| Ok(file?.path())).collect();
        let files = files.map_err(IdsError::io("listing", &self.path))?;
        Ok(files.into_iter().filter(|path| is_of_run(path)).collect())
    }

    /// Removes the files of all runs but these, which a crash may have left behind.
    pub fn remove_other_runs(&self, runs: &[RunName]) -> Result<(), IdsError> {
        let kept: Vec<_> = self.files_of(runs).collect();
        remove(self.run_files()?.into_iter().filter(|path| !kept.contains(path)));
        Ok(())
    }

    /// Removes the files of runs.
    pub fn remove_runs(&self, runs: &[RunName]) {
        remove(self.files_of(runs));
    }

    fn files_of(&self, runs: &[RunName]) -> impl Iterator<Item = PathBuf> {
        runs.iter().flat_map(|run| [self.run(run.number), self.guide(run.number)])
    }
}

/// Whether only this module gives files such names. Anything else in the folder is left alone.
fn is_of_run(path: &Path) -> bool {
    let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
    name.starts_with("run-") && (name.ends_with(".ids") || name.ends_with(".guide"))
}

/// Removes files that no manifest names; one that stays takes space until the next start, no more.
fn remove(files: impl Iterator<Item = PathBuf>) {
    for path in files {
        match std::fs::remove_file(&path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                tracing::warn!(path = %path.display(), %error, "an unused file of the id index cannot be removed");
            }
            _ => {}
        }
    }
}
