//! What the log says about each file, in the form DataFusion prunes by.

use std::collections::HashSet;
use std::sync::Arc;

use arrow::array::{ArrayRef, BooleanArray, UInt64Array};
use arrow::datatypes::{DataType, Field, SchemaRef};
use datafusion::common::pruning::PruningStatistics;
use datafusion::common::{Column, DataFusionError, Result, ScalarValue};
use serde_json::Value;

use crate::lake::log::state::LakeFile;

/// Least and greatest values of a list of files.
pub(super) struct FileListStatistics<'a> {
    files: &'a [Arc<LakeFile>],
    schema: &'a SchemaRef,
}

impl<'a> FileListStatistics<'a> {
    pub fn new(files: &'a [Arc<LakeFile>], schema: &'a SchemaRef) -> Self {
        Self { files, schema }
    }

    /// One value per file; unknown ones are null, which keeps the file.
    fn values(&self, column: &Column, value: impl Fn(&LakeFile, &Field) -> Option<ScalarValue>) -> Option<ArrayRef> {
        let field = self.schema.field_with_name(&column.name).ok()?;
        let unknown = ScalarValue::try_from(field.data_type()).ok()?;
        let values = self.files.iter().map(|file| value(file, field).unwrap_or_else(|| unknown.clone()));
        ScalarValue::iter_to_array(values).ok()
    }
}

impl PruningStatistics for FileListStatistics<'_> {
    fn min_values(&self, column: &Column) -> Option<ArrayRef> {
        self.values(column, |file, field| bound(file, field, &file.stats.min_values))
    }

    fn max_values(&self, column: &Column) -> Option<ArrayRef> {
        self.values(column, |file, field| bound(file, field, &file.stats.max_values))
    }

    fn num_containers(&self) -> usize {
        self.files.len()
    }

    fn null_counts(&self, column: &Column) -> Option<ArrayRef> {
        let nulls = |file: &Arc<LakeFile>| match file.partition_values.get(&column.name) {
            Some(Some(_)) => Some(0),
            Some(None) => Some(file.rows),
            None => file.stats.null_count.get(&column.name).copied(),
        };
        Some(Arc::new(self.files.iter().map(nulls).collect::<UInt64Array>()))
    }

    fn row_counts(&self) -> Option<ArrayRef> {
        Some(Arc::new(self.files.iter().map(|file| Some(file.rows)).collect::<UInt64Array>()))
    }

    fn contained(&self, _column: &Column, _values: &HashSet<ScalarValue>) -> Option<BooleanArray> {
        None
    }
}

fn bound(file: &LakeFile, field: &Field, bounds: &std::collections::BTreeMap<String, Value>) -> Option<ScalarValue> {
    if file.partition_values.contains_key(field.name()) {
        return partition_scalar(file, field).ok();
    }
    match (field.data_type(), bounds.get(field.name())?) {
        (DataType::Int64, Value::Number(number)) => number.as_i64().map(|value| ScalarValue::Int64(Some(value))),
        (kind, Value::String(text)) => scalar(kind, text),
        _ => None,
    }
}

/// The value of a partition column for the rows of a file.
pub(super) fn partition_scalar(file: &LakeFile, field: &Field) -> Result<ScalarValue> {
    match file.partition(field.name()) {
        None => ScalarValue::try_from(field.data_type()),
        Some(text) => scalar(field.data_type(), text).ok_or_else(|| {
            DataFusionError::Execution(format!("file {} has the unreadable {} {text:?}", file.path, field.name()))
        }),
    }
}

fn scalar(kind: &DataType, text: &str) -> Option<ScalarValue> {
    match kind {
        DataType::Utf8 => Some(ScalarValue::Utf8(Some(text.to_owned()))),
        DataType::Date32 => {
            let day: domain::Day = text.parse().ok()?;
            Some(ScalarValue::Date32(Some(day.epoch_days())))
        }
        _ => None,
    }
}
