//! A run: a file of ids in order of their keys, page after page, then one page as a footer.
//!
//! The footer holds the magic and the number of ids. A run never changes once it is written.

use super::IdContent;
use super::cursor::Cursor;
use super::error::IdsError;
use super::folder::Folder;
use super::guide::blocks_for;
use super::guide_file::GuideWriter;
use super::manifest::RunName;
use super::page::{ENTRIES_PER_PAGE, Entry, PAGE_BYTES, Page, array_at, check_page, close_page, find, put_entry};
use std::fs::File;
use std::io::Write;
use std::os::unix::fs::FileExt;
use std::path::PathBuf;
use std::sync::Arc;

/// First bytes of the footer; the last digit is the version of the format.
const MAGIC: &[u8; 16] = b"apportion-idrun1";
const PAGES_PER_WRITE: usize = 64;

/// Synced in steps, because one large sync at the end would keep the log's small ones waiting.
const PAGES_PER_SYNC: u64 = 4096;

/// An open file of ids.
#[derive(Debug)]
pub struct RunFile {
    pub path: PathBuf,
    pub name: RunName,
    /// Pages of ids, without the footer.
    pub pages: u64,
    file: File,
}

impl RunFile {
    /// Returns the file if its length and footer are those of this run.
    pub fn open(folder: &Folder, name: RunName) -> Result<Self, IdsError> {
        let path = folder.run(name.number);
        let file = File::open(&path).map_err(IdsError::io("opening", &path))?;
        let bytes = file.metadata().map_err(IdsError::io("measuring", &path))?.len();
        let pages = name.entries.div_ceil(ENTRIES_PER_PAGE as u64);
        let run = Self { path, name, pages, file };
        if bytes != (pages + 1) * PAGE_BYTES as u64 {
            return Err(run.damaged(bytes / PAGE_BYTES as u64, "the file has another length"));
        }
        let (footer, _) = run.page(pages)?;
        if &array_at(&footer, 0) != MAGIC || array_at(&footer, MAGIC.len()) != name.entries.to_le_bytes() {
            return Err(run.damaged(pages, "it is not the footer of this run"));
        }
        Ok(run)
    }

    /// Returns the content of the key, if it is in this page.
    pub fn find_in_page(&self, page: u64, key: u128) -> Result<Option<IdContent>, IdsError> {
        let (page, entries) = self.page(page)?;
        Ok(find(&page, entries, key))
    }

    /// Returns all entries in order of their keys.
    pub fn entries(self: &Arc<Self>) -> Cursor {
        Cursor::new(Arc::clone(self))
    }

    /// Fills the buffer with the pages from this one on.
    pub fn read(&self, first: u64, pages: &mut [Page]) -> Result<(), IdsError> {
        let offset = first * PAGE_BYTES as u64;
        self.file.read_exact_at(pages.as_flattened_mut(), offset).map_err(IdsError::io("reading", &self.path))
    }

    /// Returns how many entries the page has that was read, if it is as it was written.
    pub fn check(&self, number: u64, page: &Page) -> Result<usize, IdsError> {
        check_page(page, self.name.number, number).map_err(|problem| self.damaged(number, problem))
    }

    fn page(&self, number: u64) -> Result<(Page, usize), IdsError> {
        let mut page = [[0; PAGE_BYTES]];
        self.read(number, &mut page)?;
        let entries = self.check(number, &page[0])?;
        Ok((page[0], entries))
    }

    fn damaged(&self, page: u64, problem: &'static str) -> IdsError {
        IdsError::Damaged { path: self.path.clone(), page, problem }
    }
}

/// Writes a run and its guide, durably, and returns how many ids they have.
///
/// `entries` come in order of their keys, each key once, and are no more than `entries_max`. After an
/// error nothing is left, because a full disk must not fill up with attempts.
pub fn write_run(
    folder: &Folder,
    number: u64,
    entries_max: u64,
    filter_bytes_left: usize,
    entries: impl Iterator<Item = Result<Entry, IdsError>>,
) -> Result<u64, IdsError> {
    let write = || {
        let guide = GuideWriter::create(folder, number, blocks_for(entries_max, filter_bytes_left))?;
        let mut writer = RunWriter::create(folder, number, guide)?;
        for entry in entries {
            writer.add(entry?)?;
        }
        writer.finish(folder)
    };
    write().inspect_err(|_| folder.remove_runs(&[RunName { number, entries: 0 }]))
}

struct RunWriter {
    path: PathBuf,
    file: File,
    guide: GuideWriter,
    number: u64,
    /// The page that is being filled, and how many entries it has.
    page: Page,
    in_page: usize,
    /// Complete pages that are not yet in the file, and how many are.
    complete: Vec<Page>,
    written: u64,
    entries: u64,
}

impl RunWriter {
    fn create(folder: &Folder, number: u64, guide: GuideWriter) -> Result<Self, IdsError> {
        let path = folder.run(number);
        let file = File::create_new(&path).map_err(IdsError::io("creating", &path))?;
        Ok(Self {
            path,
            file,
            guide,
            number,
            page: [0; PAGE_BYTES],
            in_page: 0,
            complete: Vec::new(),
            written: 0,
            entries: 0,
        })
    }

    fn add(&mut self, entry: Entry) -> Result<(), IdsError> {
        if self.in_page == ENTRIES_PER_PAGE {
            self.turn_page()?;
        }
        put_entry(&mut self.page, self.in_page, entry);
        self.in_page += 1;
        self.entries += 1;
        self.guide.add(entry.key)
    }

    fn finish(mut self, folder: &Folder) -> Result<u64, IdsError> {
        if self.in_page > 0 {
            self.turn_page()?;
        }
        self.page[..16].copy_from_slice(MAGIC);
        self.page[16..24].copy_from_slice(&self.entries.to_le_bytes());
        self.turn_page()?;
        self.write()?;
        (folder.at_step)("ids-run-written");
        self.guide.finish()?;
        self.file.sync_all().map_err(IdsError::io("syncing", &self.path))?;
        folder.sync()?;
        (folder.at_step)("ids-run-durable");
        Ok(self.entries)
    }

    /// Completes the page and begins the next.
    fn turn_page(&mut self) -> Result<(), IdsError> {
        let number = self.written + self.complete.len() as u64;
        close_page(&mut self.page, self.number, number, self.in_page);
        self.complete.push(self.page);
        (self.page, self.in_page) = ([0; PAGE_BYTES], 0);
        if self.complete.len() == PAGES_PER_WRITE { self.write() } else { Ok(()) }
    }

    fn write(&mut self) -> Result<(), IdsError> {
        self.file.write_all(self.complete.as_flattened()).map_err(IdsError::io("writing", &self.path))?;
        self.written += self.complete.len() as u64;
        self.complete.clear();
        if self.written.is_multiple_of(PAGES_PER_SYNC) {
            self.file.sync_data().map_err(IdsError::io("syncing", &self.path))?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Format 1. A change here needs new magics, and code that reads both.
    #[test]
    fn a_run_and_its_guide_have_the_golden_bytes_of_format_1() {
        let temporary = tempfile::tempdir().unwrap();
        let folder = Folder { path: temporary.path().to_owned(), at_step: |_| {} };
        let entries = (0..200_u8).map(|key| Ok(Entry { key: u128::from(key) << 120 | 0xabcd, content: [key; 16] }));
        assert_eq!(write_run(&folder, 7, 200, 1 << 20, entries).unwrap(), 200);
        let check = |path: PathBuf, expected: (usize, u32)| {
            let bytes = std::fs::read(path).unwrap();
            assert_eq!((bytes.len(), crc32c::crc32c(&bytes)), expected);
        };
        check(folder.run(7), (3 * 4096, 0x09e43f71));
        check(folder.guide(7), (4 * 64 + 2 * 8 + 64, 0x48674bc7));
    }
}
