//! Writing data files. Nothing written here counts until a commit names it.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::array::{Array, RecordBatch};
use bytes::Bytes;
use crc32fast::Hasher;
use futures::FutureExt;
use futures::future::BoxFuture;
use object_store::path::Path;
use object_store::{ObjectStore, ObjectStoreExt, WriteMultipart};
use parquet::arrow::AsyncArrowWriter;
use parquet::arrow::async_writer::AsyncFileWriter;
use parquet::basic::{Compression, ZstdLevel};
use parquet::errors::{ParquetError, Result as ParquetResult};
use parquet::file::properties::WriterProperties;
use sha2::{Digest, Sha256};

use super::error::LakeError;
use super::hash::{crc32_hex, random_hex};
use super::log::state::CRC32_TAG;
use super::table::Table;
use super::writing::Writing;
use crate::failpoint;
use stats::StatsBuilder;

/// Splits rows by their partition and writes a file for each.
mod partitioned;
/// Least and greatest values for the log.
mod stats;

pub use partitioned::PartitionedWriter;

/// Rows in a row group at most.
const ROW_GROUP_ROWS_MAX: usize = 128 * 1024;
/// Bytes of encoded rows kept in memory at most, before a row group is closed.
const ROW_GROUP_BYTES_MAX: usize = 32 * 1024 * 1024;
/// Parts of one upload in flight.
const PARTS_IN_FLIGHT_MAX: usize = 2;

/// Partition column → value as text, `None` for null.
pub type PartitionValues = BTreeMap<String, Option<String>>;

/// A data file that is written and synced, but belongs to no commit yet.
#[derive(Clone, Debug)]
pub struct NewFile {
    /// The table it was written for.
    pub table: Table,
    /// Path below the table's folder.
    pub path: String,
    /// Its partition.
    pub partition_values: PartitionValues,
    /// Bytes.
    pub size: u64,
    /// Rows.
    pub rows: u64,
    /// SHA-256 of its bytes, in hex.
    pub sha256: String,
    /// Statistics as Delta's JSON.
    pub stats_json: String,
    /// Anything the caller wants to find again at the file, e.g. the key that an import replaces.
    pub tags: BTreeMap<String, String>,
}

impl NewFile {
    /// Path below the lake's root.
    pub(super) fn store_path(&self) -> String {
        format!("{}/{}", self.table.name(), self.path)
    }
}

/// Streams rows of one partition into one Parquet file. Memory is bounded by the row group.
///
/// Dropped without [`DataFileWriter::finish`], it leaves nothing, or at worst a file no commit names.
pub struct DataFileWriter {
    table: Table,
    path: String,
    partition_values: PartitionValues,
    writer: AsyncArrowWriter<HashingUpload>,
    stats: StatsBuilder,
}

impl DataFileWriter {
    /// Starts a file of `table` in the given partition.
    ///
    /// # Errors
    /// [`LakeError::BadBatch`] if the partition columns are not those of the table.
    pub(super) async fn create(
        store: &Arc<dyn ObjectStore>,
        writing: &Writing,
        table: Table,
        partition_values: PartitionValues,
    ) -> Result<Self, LakeError> {
        if !partition_values.keys().map(String::as_str).eq(sorted(table.partition_columns())) {
            return Err(bad(table, format!("its partition columns are {:?}", table.partition_columns())));
        }
        let path = format!("{}part-{}.zstd.parquet", folder(table, &partition_values), random_hex());
        let location = Path::from(format!("{}/{path}", table.name()));
        writing.begin(&location);
        let upload = store.put_multipart(&location).await.map_err(LakeError::store(format!("creating {location}")))?;
        let upload = WriteMultipart::new(upload);
        let upload = HashingUpload { upload: Some(upload), hash: Sha256::new(), crc: Hasher::new(), size: 0 };
        let writer = AsyncArrowWriter::try_new(upload, table.file_schema(), Some(properties()))?;
        Ok(Self { table, path, partition_values, writer, stats: StatsBuilder::new(table) })
    }

    /// Adds rows. Columns are taken by name; partition columns may be there and must then hold the
    /// partition's value.
    ///
    /// # Errors
    /// [`LakeError::BadBatch`] if a column is missing, has another type, or is null where it must not be.
    pub async fn write(&mut self, batch: &RecordBatch) -> Result<(), LakeError> {
        let batch = self.project(batch)?;
        // Slices keep what is encoded at once small, however large the caller's batch is.
        for offset in (0..batch.num_rows()).step_by(ROW_GROUP_ROWS_MAX / 8) {
            let slice = batch.slice(offset, (ROW_GROUP_ROWS_MAX / 8).min(batch.num_rows() - offset));
            self.stats.add(&slice)?;
            self.writer.write(&slice).await?;
            if ROW_GROUP_BYTES_MAX < self.writer.in_progress_size() {
                self.writer.flush().await?;
            }
        }
        Ok(())
    }

    /// Bytes held in memory until the row group is closed.
    fn buffered_bytes(&self) -> usize {
        self.writer.memory_size()
    }

    /// Rows so far.
    pub const fn rows(&self) -> u64 {
        self.stats.rows
    }

    /// Completes and syncs the file.
    ///
    /// # Errors
    /// If the store fails; then the file does not exist or is named by no commit.
    pub async fn finish(mut self) -> Result<NewFile, LakeError> {
        self.writer.finish().await.map_err(|error| unwrap_store_error(error, &self.path))?;
        let upload = self.writer.into_inner();
        failpoint::hit("after-data-file");
        Ok(NewFile {
            table: self.table,
            path: self.path,
            partition_values: self.partition_values,
            size: upload.size,
            rows: self.stats.rows,
            sha256: hex::encode(upload.hash.finalize()),
            stats_json: self.stats.to_json(),
            tags: BTreeMap::from([(CRC32_TAG.to_owned(), crc32_hex(upload.crc))]),
        })
    }

    fn project(&self, batch: &RecordBatch) -> Result<RecordBatch, LakeError> {
        self.check_partition(batch)?;
        let schema = self.table.file_schema();
        let column = |name: &str| {
            batch.column_by_name(name).cloned().ok_or_else(|| bad(self.table, format!("column {name} is missing")))
        };
        let columns = schema.fields().iter().map(|field| column(field.name())).collect::<Result<Vec<_>, _>>()?;
        RecordBatch::try_new(schema, columns).map_err(|error| bad(self.table, error.to_string()))
    }

    fn check_partition(&self, batch: &RecordBatch) -> Result<(), LakeError> {
        for (name, value) in &self.partition_values {
            let Some(column) = batch.column_by_name(name) else { continue };
            for run in partitioned::runs(std::slice::from_ref(column), column.len())? {
                if partitioned::value_text(self.table, column, run.start)? != *value {
                    return Err(bad(self.table, format!("row {} belongs to another {name} than {value:?}", run.start)));
                }
            }
        }
        Ok(())
    }
}

fn sorted(columns: &[&'static str]) -> Vec<&'static str> {
    let mut columns = columns.to_vec();
    columns.sort_unstable();
    columns
}

pub(super) fn bad(table: Table, reason: String) -> LakeError {
    LakeError::BadBatch { table, reason }
}

fn properties() -> WriterProperties {
    WriterProperties::builder()
        .set_compression(Compression::ZSTD(ZstdLevel::default()))
        .set_max_row_group_row_count(Some(ROW_GROUP_ROWS_MAX))
        .set_created_by(concat!("apportion ", env!("CARGO_PKG_VERSION")).to_owned())
        .build()
}

/// `column=value/` for each partition column. Readers take values from the log, never from the path,
/// so characters that would need escaping are simply replaced.
fn folder(table: Table, values: &PartitionValues) -> String {
    let plain = |c: char| if c.is_ascii_alphanumeric() || "._-".contains(c) { c } else { '_' };
    let mut folder = String::new();
    for column in table.partition_columns() {
        let value = values.get(*column).cloned().flatten();
        let value: String =
            value.as_deref().unwrap_or("__HIVE_DEFAULT_PARTITION__").chars().map(plain).take(80).collect();
        folder.push_str(&format!("{column}={value}/"));
    }
    folder
}

/// An upload that hashes what passes through.
struct HashingUpload {
    upload: Option<WriteMultipart>,
    hash: Sha256,
    crc: Hasher,
    size: u64,
}

impl AsyncFileWriter for HashingUpload {
    fn write(&mut self, bytes: Bytes) -> BoxFuture<'_, ParquetResult<()>> {
        async move {
            let upload = self.upload.as_mut().ok_or_else(|| ParquetError::General("upload is finished".into()))?;
            upload.wait_for_capacity(PARTS_IN_FLIGHT_MAX).await?;
            self.hash.update(&bytes);
            self.crc.update(&bytes);
            self.size += bytes.len() as u64;
            upload.put(bytes);
            Ok(())
        }
        .boxed()
    }

    fn complete(&mut self) -> BoxFuture<'_, ParquetResult<()>> {
        async move {
            if let Some(upload) = self.upload.take() {
                upload.finish().await?;
            }
            Ok(())
        }
        .boxed()
    }
}

/// A store error inside a Parquet error, so that a failed sync is recognised.
fn unwrap_store_error(error: ParquetError, path: &str) -> LakeError {
    match error {
        ParquetError::External(source) => match source.downcast::<object_store::Error>() {
            Ok(source) => LakeError::store(format!("writing {path}"))(*source),
            Err(source) => ParquetError::External(source).into(),
        },
        other => other.into(),
    }
}
