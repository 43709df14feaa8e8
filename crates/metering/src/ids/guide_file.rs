//! The file of a guide. It only saves the time to read the run: it can be made anew whenever it is bad.
//!
//! | bytes | content |
//! |---|---|
//! | 64 each | blocks of the filter |
//! | 8 each | upper half of the first key of each page, little-endian like all below |
//! | 64 | footer: magic, number of the run, pages, blocks, zeros, CRC-32C of all before |

use super::error::IdsError;
use super::filter::{BLOCK_BYTES, Block, Probe};
use super::folder::Folder;
use super::guide::{Guide, upper_half};
use super::page::{ENTRIES_PER_PAGE, array_at};
use super::run_file::RunFile;
use std::fs::File;
use std::io::{self, BufReader, BufWriter, Read, Write};
use std::os::unix::fs::FileExt;
use std::path::PathBuf;

/// First bytes of the footer; the last digit is the version of the format.
const MAGIC: &[u8; 16] = b"apportion-guide1";
const FOOTER_BYTES: usize = 64;
const CHECKSUM: usize = FOOTER_BYTES - 4;
const BUFFER_BYTES: usize = 1 << 18;

/// Writes a guide while its run is written or read: blocks are complete in the order of the keys.
#[derive(Debug)]
pub struct GuideWriter {
    path: PathBuf,
    out: BufWriter<File>,
    checksum: u32,
    run: u64,
    blocks: usize,
    /// The block that is being filled, and how many are before it.
    block: Block,
    complete: usize,
    entries: usize,
    first_keys: Vec<u64>,
}

impl GuideWriter {
    /// Returns a writer of a guide with a filter of so many blocks.
    pub fn create(folder: &Folder, run: u64, blocks: usize) -> Result<Self, IdsError> {
        let path = folder.guide(run);
        let file = File::create(&path).map_err(IdsError::io("creating", &path))?;
        let out = BufWriter::with_capacity(BUFFER_BYTES, file);
        let (block, first_keys) = (Block::default(), Vec::new());
        Ok(Self { path, out, checksum: 0, run, blocks, block, complete: 0, entries: 0, first_keys })
    }

    /// Adds the next key.
    pub fn add(&mut self, key: u128) -> Result<(), IdsError> {
        if self.entries.is_multiple_of(ENTRIES_PER_PAGE) {
            self.first_keys.push(upper_half(key));
        }
        self.entries += 1;
        if self.blocks == 0 {
            return Ok(());
        }
        let probe = Probe::new(key);
        self.complete_blocks(probe.block_of(self.blocks))?;
        self.block.add(&probe);
        Ok(())
    }

    /// Writes the rest and waits until the disk has it.
    pub fn finish(mut self) -> Result<(), IdsError> {
        self.complete_blocks(self.blocks)?;
        for first in std::mem::take(&mut self.first_keys) {
            self.put(&first.to_le_bytes())?;
        }
        let pages = self.entries.div_ceil(ENTRIES_PER_PAGE) as u64;
        let numbers = [self.run, pages, self.blocks as u64].map(u64::to_le_bytes);
        let mut footer = [0; CHECKSUM];
        footer[..16].copy_from_slice(MAGIC);
        footer[16..40].copy_from_slice(numbers.as_flattened());
        self.put(&footer)?;
        self.put(&self.checksum.to_le_bytes())?;
        let written = self.out.into_inner().map_err(io::IntoInnerError::into_error);
        written.and_then(|file| file.sync_all()).map_err(IdsError::io("writing", &self.path))
    }

    fn complete_blocks(&mut self, before: usize) -> Result<(), IdsError> {
        while self.complete < before {
            let block = std::mem::take(&mut self.block);
            self.put(&block.to_bytes())?;
            self.complete += 1;
        }
        Ok(())
    }

    fn put(&mut self, bytes: &[u8]) -> Result<(), IdsError> {
        self.checksum = crc32c::crc32c_append(self.checksum, bytes);
        self.out.write_all(bytes).map_err(IdsError::io("writing", &self.path))
    }
}

/// Returns the stored guide of the run, or why it cannot be used.
pub fn read_guide(folder: &Folder, run: &RunFile, filter_bytes_left: usize) -> Result<Guide, &'static str> {
    let file = File::open(folder.guide(run.name.number)).map_err(|_| "it cannot be opened")?;
    let footer = read_footer(&file).map_err(|_| "it cannot be read")?;
    let [number, pages, blocks] = [16, 24, 32].map(|offset| u64::from_le_bytes(array_at(&footer, offset)));
    if &array_at(&footer, 0) != MAGIC || (number, pages) != (run.name.number, run.pages) {
        return Err("it is not the guide of this run");
    }
    let [pages, blocks] = [pages, blocks].map(|count| usize::try_from(count).unwrap_or(usize::MAX));
    if filter_bytes_left / BLOCK_BYTES < blocks {
        return Err("its filter is larger than the memory left");
    }
    let mut body = Body { file: BufReader::with_capacity(BUFFER_BYTES, file), checksum: 0 };
    let guide = body.guide(blocks, pages).map_err(|_| "it ends too early")?;
    let is_whole = body.next::<CHECKSUM>().is_ok() && body.checksum == u32::from_le_bytes(array_at(&footer, CHECKSUM));
    if is_whole { Ok(guide) } else { Err("its checksum does not match") }
}

fn read_footer(file: &File) -> io::Result<[u8; FOOTER_BYTES]> {
    let mut footer = [0; FOOTER_BYTES];
    let start = file.metadata()?.len().saturating_sub(FOOTER_BYTES as u64);
    file.read_exact_at(&mut footer, start)?;
    Ok(footer)
}

/// Everything before the checksum, in order.
struct Body {
    file: BufReader<File>,
    checksum: u32,
}

impl Body {
    fn guide(&mut self, blocks: usize, pages: usize) -> io::Result<Guide> {
        // Sized before, because a list that grows may take twice the memory that is accounted for.
        let mut guide = Guide { blocks: Vec::with_capacity(blocks), first_keys: Vec::with_capacity(pages) };
        for _ in 0..blocks {
            guide.blocks.push(Block::from_bytes(&self.next()?));
        }
        for _ in 0..pages {
            guide.first_keys.push(u64::from_le_bytes(self.next()?));
        }
        Ok(guide)
    }

    fn next<const N: usize>(&mut self) -> io::Result<[u8; N]> {
        let mut bytes = [0; N];
        self.file.read_exact(&mut bytes)?;
        self.checksum = crc32c::crc32c_append(self.checksum, &bytes);
        Ok(bytes)
    }
}
