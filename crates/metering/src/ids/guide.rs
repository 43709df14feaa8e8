//! What memory holds of a run, so that a look-up reads no page of it, or just one.

use super::error::IdsError;
use super::filter::{BLOCK_BYTES, Block, Probe};
use super::folder::Folder;
use super::guide_file::{GuideWriter, read_guide};
use super::run_file::RunFile;
use std::io;
use std::ops::Range;
use std::sync::Arc;

/// Size of a filter if memory allows: it lets one key in a hundred pass that is not in the run.
const FILTER_BITS_PER_ID: u64 = 10;
const FIRST_KEY_BYTES: usize = size_of::<u64>();

/// The filter of a run, and the upper half of the first key of each of its pages.
#[derive(Debug)]
pub struct Guide {
    pub blocks: Vec<Block>,
    pub first_keys: Vec<u64>,
}

impl Guide {
    /// Returns the stored guide of the run if its filter has room, or else one made anew that has.
    pub fn open(folder: &Folder, run: &Arc<RunFile>, filter_bytes_left: usize) -> Result<Self, IdsError> {
        let problem = match read_guide(folder, run, filter_bytes_left) {
            Ok(guide) => return Ok(guide),
            Err(problem) => problem,
        };
        tracing::warn!(run = run.name.number, problem, "the guide of a run of ids is made anew");
        Self::rebuild(folder, run, filter_bytes_left)?;
        let path = folder.guide(run.name.number);
        read_guide(folder, run, filter_bytes_left)
            .map_err(io::Error::other)
            .map_err(IdsError::io("reading back", &path))
    }

    fn rebuild(folder: &Folder, run: &Arc<RunFile>, filter_bytes_left: usize) -> Result<(), IdsError> {
        let mut writer = GuideWriter::create(folder, run.name.number, blocks_for(run.name.entries, filter_bytes_left))?;
        let mut entries = run.entries();
        while let Some(entry) = entries.next().transpose()? {
            writer.add(entry.key)?;
        }
        writer.finish()
    }

    /// Returns `false` only if the key is not in the run.
    pub fn may_contain(&self, probe: &Probe) -> bool {
        probe.may_be_in(&self.blocks)
    }

    /// Returns the pages that may hold the key: one, unless pages begin with its very upper half.
    pub fn pages_of(&self, key: u128) -> Range<u64> {
        let upper_half = upper_half(key);
        let first = self.first_keys.partition_point(|first| *first < upper_half).saturating_sub(1);
        let end = self.first_keys.partition_point(|first| *first <= upper_half);
        first as u64..end as u64
    }

    /// Returns the same guide with a filter that rules out nothing.
    pub fn without_filter(&self) -> Self {
        Self { blocks: Vec::new(), first_keys: self.first_keys.clone() }
    }

    /// Returns the memory that the filter takes.
    pub fn filter_bytes(&self) -> usize {
        self.blocks.len() * BLOCK_BYTES
    }

    /// Returns the memory that the first keys take.
    pub fn first_keys_bytes(&self) -> usize {
        self.first_keys.len() * FIRST_KEY_BYTES
    }
}

/// Returns the number of blocks of a new filter.
///
/// A filter takes no more than half of what the others leave, so that there is always room for the
/// next one. When memory is short, it is thus the largest run that gets fewer bits per id.
pub fn blocks_for(entries: u64, filter_bytes_left: usize) -> usize {
    let wanted = (entries * FILTER_BITS_PER_ID).div_ceil(8 * BLOCK_BYTES as u64);
    let allowed = filter_bytes_left / 2 / BLOCK_BYTES;
    usize::try_from(wanted).map_or(allowed, |wanted| wanted.min(allowed))
}

/// Returns the half of the key that decides about its place.
pub fn upper_half(key: u128) -> u64 {
    (key >> 64) as u64
}
