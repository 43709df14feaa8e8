//! The list of runs. It is replaced as a whole, so that a crash leaves the old one or the new one.
//!
//! ```text
//! apportion-ids 2
//! through 17
//! run 3 4000000
//! run 9 1000000
//! crc32c 2f3b0e48
//! ```
//! `through`: ids of log segments up to this one are in the runs, or `none`. `run`: its number and
//! how many ids it has, oldest first. The checksum is of the lines before it.

use super::error::IdsError;
use super::folder::Folder;
use std::fmt::Write as _;
use std::fs::File;
use std::io::{self, Write as _};

const FIRST_LINE: &str = "apportion-ids 2";

/// What is durable.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Manifest {
    pub through_segment: Option<u64>,
    /// Oldest first.
    pub runs: Vec<RunName>,
}

/// What identifies a run. Numbers are not used again while the index is open.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RunName {
    /// Number in the names of its files.
    pub number: u64,
    /// How many ids it has.
    pub entries: u64,
}

impl Manifest {
    /// Returns the folder's manifest; a folder without any file of the index gets an empty one.
    ///
    /// Runs without a manifest are damage: to begin anew would accept every stored id again.
    pub fn open(folder: &Folder) -> Result<Self, IdsError> {
        if let Some(manifest) = Self::read(folder)? {
            return Ok(manifest);
        }
        if !folder.run_files()?.is_empty() {
            let (path, problem) = (folder.manifest(), "it is missing, yet there are runs");
            return Err(IdsError::DamagedManifest { path, problem });
        }
        let empty = Self::default();
        empty.write(folder)?;
        Ok(empty)
    }

    /// Returns the manifest on disk, if there is one.
    pub fn read(folder: &Folder) -> Result<Option<Self>, IdsError> {
        let path = folder.manifest();
        match std::fs::read(&path) {
            Ok(bytes) => match Self::parse(&bytes) {
                Ok(manifest) => Ok(Some(manifest)),
                Err(problem) => Err(IdsError::DamagedManifest { path, problem }),
            },
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(IdsError::io("reading", &path)(error)),
        }
    }

    /// Makes this the manifest, durably.
    pub fn write(&self, folder: &Folder) -> Result<(), IdsError> {
        let path = folder.manifest_new();
        let mut file = File::create(&path).map_err(IdsError::io("creating", &path))?;
        file.write_all(self.to_text().as_bytes()).map_err(IdsError::io("writing", &path))?;
        (folder.at_step)("ids-manifest-written");
        file.sync_all().map_err(IdsError::io("syncing", &path))?;
        (folder.at_step)("ids-manifest-synced");
        std::fs::rename(&path, folder.manifest()).map_err(IdsError::io("renaming", &path))?;
        (folder.at_step)("ids-manifest-renamed");
        folder.sync()?;
        (folder.at_step)("ids-manifest-durable");
        Ok(())
    }

    fn to_text(&self) -> String {
        let through = self.through_segment.map_or("none".to_owned(), |segment| segment.to_string());
        let mut text = format!("{FIRST_LINE}\nthrough {through}\n");
        for RunName { number, entries } in &self.runs {
            writeln!(text, "run {number} {entries}").expect("a String takes all");
        }
        let checksum = crc32c::crc32c(text.as_bytes());
        writeln!(text, "crc32c {checksum:08x}").expect("a String takes all");
        text
    }

    /// Parses what [`Self::to_text`] writes, and nothing else.
    fn parse(bytes: &[u8]) -> Result<Self, &'static str> {
        let text = str::from_utf8(bytes).map_err(|_| "it is not text")?;
        let mut manifest = Self::default();
        for line in text.lines() {
            match line.split(' ').collect::<Vec<_>>()[..] {
                ["through", segment] => manifest.through_segment = segment.parse().ok(),
                ["run", number, entries] => {
                    let number = number.parse().map_err(|_| "the number of a run is none")?;
                    let entries = entries.parse().map_err(|_| "the length of a run is none")?;
                    manifest.runs.push(RunName { number, entries });
                }
                _ => {}
            }
        }
        // Whatever was understood must be the whole text, checksum and version included.
        if manifest.to_text() == text { Ok(manifest) } else { Err("it is not what format 2 writes") }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn manifest() -> Manifest {
        let run = |number, entries| RunName { number, entries };
        Manifest { through_segment: Some(17), runs: vec![run(3, 4_000_000), run(9, 1_000_000)] }
    }

    const GOLDEN: &str = "apportion-ids 2\nthrough 17\nrun 3 4000000\nrun 9 1000000\ncrc32c e0ed56a9\n";

    #[test]
    fn a_manifest_has_the_golden_text_of_format_2() {
        assert_eq!(manifest().to_text(), GOLDEN);
        assert_eq!(Manifest::parse(GOLDEN.as_bytes()), Ok(manifest()));
        let empty = Manifest::default();
        assert_eq!(Manifest::parse(empty.to_text().as_bytes()), Ok(empty));
    }

    #[test]
    fn every_flipped_bit_and_every_cut_of_a_manifest_is_found() {
        for bit in 0..GOLDEN.len() * 8 {
            let mut bytes = GOLDEN.as_bytes().to_vec();
            bytes[bit / 8] ^= 1 << (bit % 8);
            assert!(Manifest::parse(&bytes).is_err(), "bit {bit}");
            assert!(Manifest::parse(&GOLDEN.as_bytes()[..bit / 8]).is_err(), "cut at {}", bit / 8);
        }
    }
}
