//! Reading a pinned table with DataFusion: a plain Parquet scan of the pinned file list.
//!
//! Files are skipped by partition values and by the least and greatest values in the log before
//! anything is opened; row groups and pages are then skipped by the Parquet reader. Batches come out
//! with exactly [`Table::schema`](super::Table::schema): plain `Utf8`, no dictionaries, and views only
//! where [`LakeTable::with_views`] asks for them.

use std::sync::Arc;

use arrow::datatypes::{DataType, Field, FieldRef, Schema, SchemaRef};
use async_trait::async_trait;
use datafusion::catalog::{Session, TableProvider};
use datafusion::common::config::TableParquetOptions;
use datafusion::common::{DFSchema, DataFusionError, Result, Statistics, project_schema, stats::Precision};
use datafusion::datasource::TableType;
use datafusion::datasource::listing::PartitionedFile;
use datafusion::datasource::object_store::ObjectStoreUrl;
use datafusion::datasource::physical_plan::{FileGroup, FileScanConfigBuilder, ParquetSource};
use datafusion::datasource::source::DataSourceExec;
use datafusion::datasource::table_schema::TableSchema;
use datafusion::logical_expr::utils::conjunction;
use datafusion::logical_expr::{Expr, TableProviderFilterPushDown};
use datafusion::physical_optimizer::pruning::PruningPredicateBuilder;
use datafusion::physical_plan::ExecutionPlan;
use datafusion::physical_plan::empty::EmptyExec;
use object_store::ObjectMeta;
use object_store::path::Path;

use super::log::state::LakeFile;
use super::pinned::PinnedTable;
use super::table::Table;
use prune::FileListStatistics;

/// Skips files by what the log says about them.
mod prune;

/// A pinned table, or some of its files, as a DataFusion table.
#[derive(Debug)]
pub struct LakeTable {
    pinned: PinnedTable,
    files: Vec<Arc<LakeFile>>,
    has_views: bool,
}

impl LakeTable {
    /// All files of the pinned version.
    pub fn new(pinned: &PinnedTable) -> Self {
        Self { pinned: pinned.clone(), files: pinned.files().cloned().collect(), has_views: false }
    }

    /// Only the files that the caller wants, e.g. those that an import is about to replace.
    pub fn of_files(pinned: &PinnedTable, mut wanted: impl FnMut(&LakeFile) -> bool) -> Self {
        let files = pinned.files().filter(|file| wanted(file)).cloned().collect();
        Self { pinned: pinned.clone(), files, has_views: false }
    }

    /// The same table with its texts as `Utf8View`: they are grouped without being copied out of the file's pages.
    #[must_use]
    pub fn with_views(self) -> Self {
        Self { has_views: true, ..self }
    }

    /// The files that a scan with these filters would open.
    ///
    /// # Errors
    /// If a filter names an unknown column.
    pub fn files_matching(&self, session: &dyn Session, filters: &[Expr]) -> Result<Vec<Arc<LakeFile>>> {
        let Some(filter) = conjunction(filters.iter().cloned()) else { return Ok(self.files.clone()) };
        let schema = self.schema();
        let filter = session.create_physical_expr(filter, &DFSchema::try_from(Arc::clone(&schema))?)?;
        let Ok(predicate) = PruningPredicateBuilder::new().with_file_schema(Arc::clone(&schema)).try_build(filter)
        else {
            return Ok(self.files.clone()); // nothing in the filter can be decided from ranges
        };
        let keep = predicate.prune(&FileListStatistics::new(&self.files, &schema))?;
        Ok(self.files.iter().zip(keep).filter(|(_, keep)| *keep).map(|(file, _)| Arc::clone(file)).collect())
    }

    fn table(&self) -> Table {
        self.pinned.table()
    }

    fn partitioned_file(&self, file: &LakeFile) -> Result<PartitionedFile> {
        let meta = ObjectMeta {
            location: Path::from(format!("{}/{}", self.table().name(), file.path)),
            last_modified: Default::default(),
            size: file.size,
            e_tag: None,
            version: None,
        };
        let values = partition_fields(self.table()).into_iter();
        let values = values.map(|field| prune::partition_scalar(file, &field)).collect::<Result<Vec<_>>>()?;
        Ok(PartitionedFile::new_from_meta(meta).with_partition_values(values))
    }
}

/// The schema with texts as views, but for the columns that stand in folder names.
fn viewed(schema: &SchemaRef, but: &[&str]) -> SchemaRef {
    let field = |field: &FieldRef| match field.data_type() {
        DataType::Utf8 if !but.contains(&field.name().as_str()) => {
            Arc::new(field.as_ref().clone().with_data_type(DataType::Utf8View))
        }
        _ => Arc::clone(field),
    };
    Arc::new(Schema::new(schema.fields().iter().map(field).collect::<Vec<_>>()))
}

fn partition_fields(table: Table) -> Vec<FieldRef> {
    let schema = table.schema();
    let field = |name: &&str| {
        let field: &Field = schema.field_with_name(name).expect("partition columns stand in the schema");
        Arc::new(field.clone())
    };
    table.partition_columns().iter().map(field).collect()
}

/// Positions in the scan's order (file columns, then partition columns) of the columns wanted.
fn scan_projection(table: Table, projection: Option<&Vec<usize>>, scan: &SchemaRef) -> Vec<usize> {
    let schema = table.schema();
    let all: Vec<usize> = (0..schema.fields().len()).collect();
    let position = |index: &usize| scan.index_of(schema.field(*index).name()).expect("the scan has every column");
    projection.unwrap_or(&all).iter().map(position).collect()
}

#[async_trait]
impl TableProvider for LakeTable {
    fn schema(&self) -> SchemaRef {
        match self.has_views {
            true => viewed(&self.table().schema(), self.table().partition_columns()),
            false => self.table().schema(),
        }
    }

    fn table_type(&self) -> TableType {
        TableType::Base
    }

    fn supports_filters_pushdown(&self, filters: &[&Expr]) -> Result<Vec<TableProviderFilterPushDown>> {
        // Filters skip files and row groups; what is left is filtered row by row above the scan.
        Ok(vec![TableProviderFilterPushDown::Inexact; filters.len()])
    }

    async fn scan(
        &self,
        session: &dyn Session,
        projection: Option<&Vec<usize>>,
        filters: &[Expr],
        limit: Option<usize>,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        let files = self.files_matching(session, filters)?;
        if files.is_empty() {
            return Ok(Arc::new(EmptyExec::new(project_schema(&self.schema(), projection)?)));
        }
        let store = &self.pinned.log.store;
        let checked = self.pinned.checked.check(store.as_ref(), self.table(), &files).await;
        checked.map_err(|error| DataFusionError::External(Box::new(error)))?;
        let url = ObjectStoreUrl::parse(format!("lake://{}", self.pinned.lake_id))?;
        session.runtime_env().register_object_store(url.as_ref(), Arc::clone(store));

        let file_schema = match self.has_views {
            true => viewed(&self.table().file_schema(), &[]),
            false => self.table().file_schema(),
        };
        let scan_schema =
            TableSchema::builder(file_schema).with_table_partition_cols(partition_fields(self.table())).build();
        let wanted = scan_projection(self.table(), projection, scan_schema.table_schema());
        let statistics = estimate(&files, scan_schema.table_schema());
        let group = files.iter().map(|file| self.partitioned_file(file)).collect::<Result<Vec<_>>>()?;
        let groups = FileGroup::new(group).split_files(session.config().target_partitions().max(1));
        let options = TableParquetOptions {
            global: session.config_options().execution.parquet.clone(),
            ..TableParquetOptions::default()
        };
        let source = Arc::new(ParquetSource::new(scan_schema).with_table_parquet_options(options));
        let config = FileScanConfigBuilder::new(url, source)
            .with_file_groups(groups)
            .with_statistics(statistics)
            .with_projection_indices(Some(wanted))?
            .with_limit(limit)
            .build();
        Ok(DataSourceExec::from_data_source(config))
    }
}

/// Row counts as estimates only: no query may be answered from the log without reading the files.
fn estimate(files: &[Arc<LakeFile>], schema: &SchemaRef) -> Statistics {
    let total = |value: fn(&LakeFile) -> u64| {
        let total: u64 = files.iter().map(|file| value(file)).sum();
        Precision::Inexact(usize::try_from(total).unwrap_or(usize::MAX))
    };
    let mut statistics = Statistics::new_unknown(schema);
    statistics.num_rows = total(|file| file.rows);
    statistics.total_byte_size = total(|file| file.size);
    statistics
}
