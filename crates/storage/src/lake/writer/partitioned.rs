//! Routes rows to one file per partition.

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, RecordBatch, UInt32Array};
use arrow::compute::{partition, take_record_batch};
use arrow::datatypes::{DataType, Date32Type};
use object_store::ObjectStore;

use super::{DataFileWriter, NewFile, PartitionValues, bad};
use crate::lake::error::LakeError;
use crate::lake::table::Table;
use crate::lake::writing::Writing;

/// Open files at most; with more partitions the one with most rows is finished first.
const OPEN_FILES_MAX: usize = 32;
/// Bytes that all open files together keep in memory at most, give or take one batch.
const BUFFERED_BYTES_MAX: usize = 128 * 1024 * 1024;

/// Splits rows by their partition columns and writes a file (rarely more) for each partition.
pub struct PartitionedWriter {
    store: Arc<dyn ObjectStore>,
    writing: Arc<Writing>,
    table: Table,
    open: BTreeMap<PartitionValues, DataFileWriter>,
    finished: Vec<NewFile>,
}

impl PartitionedWriter {
    pub(in crate::lake) fn new(store: Arc<dyn ObjectStore>, writing: Arc<Writing>, table: Table) -> Self {
        Self { store, writing, table, open: BTreeMap::new(), finished: Vec::new() }
    }

    /// Adds rows that carry all columns of the table, partition columns included.
    ///
    /// # Errors
    /// [`LakeError::BadBatch`] if the columns are not those of the table.
    pub async fn write(&mut self, batch: &RecordBatch) -> Result<(), LakeError> {
        for (values, runs) in split(self.table, batch)? {
            let part = match &*runs {
                [run] => batch.slice(run.start, run.len()),
                runs => {
                    let rows = runs.iter().cloned().flatten().map(u32::try_from).collect::<Result<Vec<_>, _>>();
                    let rows = rows.map_err(|_| bad(self.table, "a batch has more than 2^32 rows".to_owned()))?;
                    take_record_batch(batch, &UInt32Array::from(rows))?
                }
            };
            self.writer(values).await?.write(&part).await?;
            while 1 < self.open.len() && BUFFERED_BYTES_MAX < self.buffered_bytes() {
                self.finish_largest().await?;
            }
        }
        Ok(())
    }

    /// Returns the files that are complete, which no commit will name; those that are open leave nothing.
    #[must_use]
    pub fn into_finished(self) -> Vec<NewFile> {
        self.finished
    }

    /// Completes and syncs all files, in the order of their partitions.
    ///
    /// # Errors
    /// If the store fails.
    pub async fn finish(mut self) -> Result<Vec<NewFile>, LakeError> {
        for (_, writer) in std::mem::take(&mut self.open) {
            self.finished.push(writer.finish().await?);
        }
        Ok(self.finished)
    }

    async fn writer(&mut self, values: PartitionValues) -> Result<&mut DataFileWriter, LakeError> {
        if !self.open.contains_key(&values) {
            if OPEN_FILES_MAX <= self.open.len() {
                self.finish_largest().await?;
            }
            let writer = DataFileWriter::create(&self.store, &self.writing, self.table, values.clone()).await?;
            self.open.insert(values.clone(), writer);
        }
        Ok(self.open.get_mut(&values).expect("the writer was there or was just inserted"))
    }

    fn buffered_bytes(&self) -> usize {
        self.open.values().map(DataFileWriter::buffered_bytes).sum()
    }

    async fn finish_largest(&mut self) -> Result<(), LakeError> {
        let largest = self.open.iter().max_by_key(|(_, writer)| writer.rows()).map(|(values, _)| values.clone());
        if let Some(writer) = largest.and_then(|values| self.open.remove(&values)) {
            self.finished.push(writer.finish().await?);
        }
        Ok(())
    }
}

/// The rows of each partition.
fn split(table: Table, batch: &RecordBatch) -> Result<BTreeMap<PartitionValues, Vec<Range<usize>>>, LakeError> {
    let names = table.partition_columns();
    let column = |name: &&'static str| {
        batch.column_by_name(name).cloned().ok_or_else(|| bad(table, format!("column {name} is missing")))
    };
    let columns = names.iter().map(column).collect::<Result<Vec<_>, _>>()?;
    let mut parts: BTreeMap<PartitionValues, Vec<Range<usize>>> = BTreeMap::new();
    for run in runs(&columns, batch.num_rows())? {
        let value =
            |(name, column): (&&str, &ArrayRef)| Ok(((*name).to_owned(), value_text(table, column, run.start)?));
        let values = names.iter().zip(&columns).map(value).collect::<Result<PartitionValues, LakeError>>()?;
        parts.entry(values).or_default().push(run);
    }
    Ok(parts)
}

/// Neighbouring rows that have the same values in all of these columns: most batches are one such run, and its value is made
/// a text once.
pub(super) fn runs(columns: &[ArrayRef], rows: usize) -> Result<Vec<Range<usize>>, LakeError> {
    Ok(match columns {
        [] => Vec::from_iter((0 < rows).then_some(0..rows)),
        columns => partition(columns)?.ranges(),
    })
}

/// A partition value in Delta's text form.
pub(super) fn value_text(table: Table, column: &ArrayRef, row: usize) -> Result<Option<String>, LakeError> {
    if column.is_null(row) {
        return Ok(None);
    }
    match column.data_type() {
        DataType::Utf8 => Ok(Some(column.as_string::<i32>().value(row).to_owned())),
        DataType::Date32 => {
            Ok(Some(domain::Day::from_epoch_days(column.as_primitive::<Date32Type>().value(row)).to_string()))
        }
        other => Err(bad(table, format!("a partition column has type {other}"))),
    }
}
