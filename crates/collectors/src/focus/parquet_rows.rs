//! Parquet, cell by cell: each value becomes the text it prints as, so that a bill reads the same in every format.

use std::fmt::Write as _;
use std::fs::File;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, RecordBatch};
use arrow::datatypes::{DataType, Field, Schema};
use arrow::util::display::{ArrayFormatter, FormatOptions};
use parquet::arrow::arrow_reader::{ArrowReaderMetadata, ArrowReaderOptions, ParquetRecordBatchReaderBuilder};
use serde_json::{Map, Value};

use super::header::Header;
use super::input::Rows;
use crate::error::ImportError;

/// Rows decoded at once.
const BATCH_ROWS: usize = 1024;
/// Bytes of one column in one row group: what a reader may have to hold at once.
const COLUMN_CHUNK_BYTES_MAX: i64 = 1024 * 1024 * 1024;

/// Reads the rows of a Parquet file.
pub(super) fn read(file: File, rows: &mut Rows<'_, '_>) -> Result<(), ImportError> {
    let damaged =
        |rows: &Rows<'_, '_>, error: &dyn std::fmt::Display| rows.refused(format!("its Parquet is damaged: {error}"));
    let options = ArrowReaderOptions::new().with_skip_arrow_metadata(true);
    let plain = ArrowReaderMetadata::load(&file, options.clone()).map_err(|error| damaged(rows, &error))?;
    check_sizes(&plain, rows)?;
    let schema = with_views(plain.schema());
    let metadata = ArrowReaderMetadata::try_new(Arc::clone(plain.metadata()), options.with_schema(Arc::clone(&schema)))
        .map_err(|error| damaged(rows, &error))?;
    let header = Header::new(rows.file, schema.fields().iter().map(|field| field.name().as_str()))?;
    rows.speak(header.dialect);
    let reader = ParquetRecordBatchReaderBuilder::new_with_metadata(file, metadata).with_batch_size(BATCH_ROWS).build();
    let mut place = 0;
    for batch in reader.map_err(|error| damaged(rows, &error))? {
        let batch = batch.map_err(|error| damaged(rows, &error))?;
        read_batch(&batch, &header, &mut place, rows)?;
    }
    Ok(())
}

/// Refuses a bomb by what the file says of itself, before anything is decoded.
fn check_sizes(metadata: &ArrowReaderMetadata, rows: &Rows<'_, '_>) -> Result<(), ImportError> {
    if rows.limits.columns_max < metadata.schema().fields().len() {
        return Err(rows.too_large("columns", rows.limits.columns_max as u64, "limits.import_columns"));
    }
    let groups = metadata.metadata().row_groups();
    let bytes = groups.iter().map(|group| i128::from(group.total_byte_size())).sum::<i128>();
    if i128::from(rows.limits.decoded_bytes_max) < bytes {
        return Err(rows.decoded_too_large());
    }
    let count = groups.iter().map(|group| i128::from(group.num_rows())).sum::<i128>();
    if i128::from(rows.limits.rows_max) < count {
        return Err(rows.too_large("rows", rows.limits.rows_max, "limits.import_rows"));
    }
    let chunks = groups.iter().flat_map(|group| group.columns());
    if chunks.into_iter().any(|chunk| !(0..=COLUMN_CHUNK_BYTES_MAX).contains(&chunk.uncompressed_size())) {
        return Err(rows.refused(format!(
            "a column of one row group holds more than {COLUMN_CHUNK_BYTES_MAX} bytes; write smaller row groups"
        )));
    }
    Ok(())
}

/// Text as views into decoded pages: a long value that a dictionary repeats is held once.
fn with_views(schema: &Schema) -> Arc<Schema> {
    let fields = schema.fields().iter().map(|field| match field.data_type() {
        DataType::Utf8 | DataType::LargeUtf8 => {
            Arc::new(Field::new(field.name(), DataType::Utf8View, field.is_nullable()))
        }
        DataType::Binary | DataType::LargeBinary => {
            Arc::new(Field::new(field.name(), DataType::BinaryView, field.is_nullable()))
        }
        _ => Arc::clone(field),
    });
    Arc::new(Schema::new(fields.collect::<Vec<_>>()))
}

fn read_batch(
    batch: &RecordBatch,
    header: &Header,
    place: &mut u64,
    rows: &mut Rows<'_, '_>,
) -> Result<(), ImportError> {
    let cells = batch.columns().iter().map(Cells::new).collect::<Result<Vec<_>, _>>();
    let cells = cells.map_err(|reason| rows.refused(reason))?;
    let mut text = String::new();
    for row in 0..batch.num_rows() {
        *place += 1;
        rows.begin();
        for (cells, (name, target)) in cells.iter().zip(&header.columns) {
            cells.text(row, &mut text).map_err(|reason| rows.row(*place, format!("column {name}: {reason}")))?;
            if rows.limits.row_bytes_max < text.len() {
                return Err(rows.row_too_large());
            }
            rows.set(*place, name, target, &text)?;
        }
        rows.finish_row(*place)?;
    }
    Ok(())
}

/// How the cells of one column become text.
enum Cells<'a> {
    Text(&'a arrow::array::StringViewArray),
    Bytes(&'a arrow::array::BinaryViewArray),
    Nested(&'a ArrayRef),
    Scalar(&'a ArrayRef, ArrayFormatter<'a>),
}

impl<'a> Cells<'a> {
    fn new(column: &'a ArrayRef) -> Result<Self, String> {
        Ok(match column.data_type() {
            DataType::Utf8View => Self::Text(column.as_string_view()),
            DataType::BinaryView => Self::Bytes(column.as_binary_view()),
            DataType::Map(..) | DataType::Struct(_) | DataType::List(_) | DataType::LargeList(_) => {
                Self::Nested(column)
            }
            _ => Self::Scalar(column, formatter(column)?),
        })
    }

    /// Writes the cell's text; a null is the empty text.
    fn text(&self, row: usize, text: &mut String) -> Result<(), String> {
        text.clear();
        match self {
            Self::Text(column) if column.is_valid(row) => text.push_str(column.value(row)),
            Self::Bytes(column) if column.is_valid(row) => {
                text.push_str(std::str::from_utf8(column.value(row)).map_err(|_| "it is not UTF-8 text".to_owned())?);
            }
            Self::Nested(column) if column.is_valid(row) => {
                let value = json(column, row)?;
                write!(text, "{value}").map_err(|error| error.to_string())?;
            }
            Self::Scalar(column, formatter) if column.is_valid(row) => {
                write!(text, "{}", formatter.value(row)).map_err(|error| error.to_string())?;
            }
            Self::Text(_) | Self::Bytes(_) | Self::Nested(_) | Self::Scalar(..) => {}
        }
        Ok(())
    }
}

const FORMAT: FormatOptions<'static> = FormatOptions::new();

fn formatter(column: &ArrayRef) -> Result<ArrayFormatter<'_>, String> {
    ArrayFormatter::try_new(column.as_ref(), &FORMAT)
        .map_err(|_| format!("a column has type {}, which has no text form", column.data_type()))
}

/// A nested value as JSON; a map as an object.
fn json(column: &ArrayRef, row: usize) -> Result<Value, String> {
    if column.is_null(row) {
        return Ok(Value::Null);
    }
    match column.data_type() {
        DataType::Map(..) => {
            let entries = column.as_map().value(row);
            let mut object = Map::new();
            for entry in 0..entries.len() {
                let key = match json(entries.column(0), entry)? {
                    Value::String(key) => key,
                    other => other.to_string(),
                };
                object.insert(key, json(entries.column(1), entry)?);
            }
            Ok(Value::Object(object))
        }
        DataType::Struct(fields) => {
            let columns = fields.iter().zip(column.as_struct().columns());
            let members = columns.map(|(field, column)| Ok((field.name().clone(), json(column, row)?)));
            members.collect::<Result<Map<_, _>, String>>().map(Value::Object)
        }
        DataType::List(_) => items(&column.as_list::<i32>().value(row)),
        DataType::LargeList(_) => items(&column.as_list::<i64>().value(row)),
        DataType::Boolean => Ok(Value::Bool(column.as_boolean().value(row))),
        _ => Ok(Value::String(formatter(column)?.value(row).to_string())),
    }
}

fn items(list: &ArrayRef) -> Result<Value, String> {
    (0..list.len()).map(|item| json(list, item)).collect::<Result<Vec<_>, _>>().map(Value::Array)
}
