use super::IdContent;
use super::error::IdsError;
use super::filter::Probe;
use super::folder::Folder;
use super::guide::Guide;
use super::manifest::RunName;
use super::run_file::RunFile;
use std::sync::Arc;

/// A run and what memory holds of it; cheap to clone.
#[derive(Clone, Debug)]
pub struct Run {
    pub file: Arc<RunFile>,
    pub guide: Arc<Guide>,
}

impl Run {
    /// Returns the run, with a guide that has room in the memory for filters.
    pub fn open(folder: &Folder, name: RunName, filter_bytes_left: usize) -> Result<Self, IdsError> {
        let file = Arc::new(RunFile::open(folder, name)?);
        let guide = Arc::new(Guide::open(folder, &file, filter_bytes_left)?);
        Ok(Self { file, guide })
    }

    /// Returns what identifies the run.
    pub fn name(&self) -> RunName {
        self.file.name
    }

    /// Returns the content of the key; reads the disk only if the filter cannot rule the key out.
    pub fn get(&self, key: u128, probe: &Probe) -> Result<Option<IdContent>, IdsError> {
        if self.guide.may_contain(probe) { self.read(key) } else { Ok(None) }
    }

    #[cold]
    fn read(&self, key: u128) -> Result<Option<IdContent>, IdsError> {
        // The last page first: if several may hold the key, it is most often the first of that page.
        let mut pages = self.guide.pages_of(key).rev();
        pages.find_map(|page| self.file.find_in_page(page, key).transpose()).transpose()
    }

    /// Returns the same run with a filter that rules out nothing.
    pub fn without_filter(&self) -> Self {
        Self { file: Arc::clone(&self.file), guide: Arc::new(self.guide.without_filter()) }
    }
}
