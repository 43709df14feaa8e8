//! Several data files at once, with bounded memory.

use std::collections::BTreeMap;

use arrow::array::RecordBatch;
use storage::lake::{DataFileWriter, Lake, LakeError, NewFile, PartitionValues, Table};

use super::key::ImportKey;

/// Rows of a data file; then another one is begun.
const FILE_ROWS_MAX: u64 = 4_000_000;

/// Lines of one key, all short or all long.
pub(crate) struct FileBatch {
    pub key: ImportKey,
    /// Whether the lines touch more than one day. They get files of their own, so that the others can
    /// be skipped by day.
    pub long: bool,
    pub rows: RecordBatch,
}

/// The data files being written. The caller bounds how many keys it sends at a time.
pub(crate) struct FileSet {
    lake: Lake,
    open: BTreeMap<(ImportKey, bool), DataFileWriter>,
    finished: BTreeMap<ImportKey, Vec<NewFile>>,
}

impl FileSet {
    pub fn new(lake: Lake) -> Self {
        Self { lake, open: BTreeMap::new(), finished: BTreeMap::new() }
    }

    pub async fn write(&mut self, batch: FileBatch) -> Result<(), LakeError> {
        let slot = (batch.key, batch.long);
        if !self.open.contains_key(&slot) {
            let writer = self.lake.data_file(Table::CostLines, partition(&slot.0)).await?;
            self.open.insert(slot.clone(), writer);
        }
        let writer = self.open.get_mut(&slot).expect("the writer was there or was just inserted");
        writer.write(&batch.rows).await?;
        if FILE_ROWS_MAX <= writer.rows()
            && let Some(writer) = self.open.remove(&slot)
        {
            self.finished.entry(slot.0).or_default().push(writer.finish().await?);
        }
        Ok(())
    }

    /// Completes and syncs all files. Returns them by key.
    pub async fn finish(mut self) -> Result<BTreeMap<ImportKey, Vec<NewFile>>, LakeError> {
        self.complete().await?;
        Ok(self.finished)
    }

    /// Completes and syncs all files.
    pub async fn complete(&mut self) -> Result<(), LakeError> {
        for ((key, _), writer) in std::mem::take(&mut self.open) {
            self.finished.entry(key).or_default().push(writer.finish().await?);
        }
        Ok(())
    }

    /// Returns the files that are complete, by key; the others are given up.
    pub fn into_finished(self) -> BTreeMap<ImportKey, Vec<NewFile>> {
        self.finished
    }
}

fn partition(key: &ImportKey) -> PartitionValues {
    PartitionValues::from([
        ("source".to_owned(), Some(key.source.clone())),
        ("billing_month".to_owned(), Some(key.billing_month().to_owned())),
    ])
}
