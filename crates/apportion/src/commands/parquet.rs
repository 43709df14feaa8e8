//! Rows of the API as Parquet, with the column types of their table or of the usage CSV.

use ::parquet::arrow::ArrowWriter;
use ::parquet::basic::{Compression, ZstdLevel};
use ::parquet::file::properties::WriterProperties;
use anyhow::{Context as _, Result};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use arrow::json::ReaderBuilder;
use engine::query::cost_lines::ESTIMATED;
use serde_json::Value;
use std::io::Write;
use std::sync::Arc;
use storage::lake::{Table, schemas};

/// Writes pages of rows as one Parquet file.
pub struct Sink {
    schema: SchemaRef,
    writer: ArrowWriter<Box<dyn Write + Send>>,
}

impl Sink {
    /// Returns a file of the table's columns, all of them nullable: a reader may see fewer than are stored. Cost lines have
    /// one more, which the API adds.
    ///
    /// # Errors
    /// The file cannot be written.
    pub fn new(table: Table, out: Box<dyn Write + Send>) -> Result<Self> {
        let stored = table.schema();
        let stored = stored.fields().iter().map(|field| field.as_ref().clone().with_nullable(true));
        let added = (table == Table::CostLines).then(|| Field::new(ESTIMATED, DataType::Boolean, true));
        Self::of(stored.chain(added).collect(), out)
    }

    /// Returns a file of the usage CSV's columns: slug, name, day, the nine fields, the cost, and further metrics.
    ///
    /// # Errors
    /// The file cannot be written.
    pub fn of_usage(columns: &[String], out: Box<dyn Write + Send>) -> Result<Self> {
        // Of the names that may begin so the cost stands first: only metrics of one's own follow it.
        let cost = columns.iter().position(|name| name.starts_with("cost_"));
        let kind = |at: usize| match at {
            0 | 1 => DataType::Utf8,
            2 => DataType::Date32,
            _ if Some(at) == cost => schemas::money(),
            _ => schemas::quantity(),
        };
        Self::of(columns.iter().enumerate().map(|(at, name)| Field::new(name, kind(at), true)).collect(), out)
    }

    fn of(fields: Vec<Field>, out: Box<dyn Write + Send>) -> Result<Self> {
        let schema = Arc::new(Schema::new(fields));
        let compression = Compression::ZSTD(ZstdLevel::default());
        let properties = WriterProperties::builder().set_compression(compression).build();
        let writer = ArrowWriter::try_new(out, Arc::clone(&schema), Some(properties))?;
        Ok(Self { schema, writer })
    }

    /// Adds rows.
    ///
    /// # Errors
    /// A row does not fit the table's columns, or the file cannot be written.
    pub fn write(&mut self, rows: &[Value]) -> Result<()> {
        // As text, because numbers keep their digits only there.
        let lines: Vec<String> = rows.iter().map(Value::to_string).collect();
        let text = lines.join("\n");
        let reader = ReaderBuilder::new(Arc::clone(&self.schema)).with_coerce_primitive(true);
        let reader = reader.with_batch_size(rows.len().max(1)).build(text.as_bytes())?;
        for batch in reader {
            self.writer.write(&batch.context("the API's rows do not fit the table's columns")?)?;
        }
        Ok(())
    }

    /// Ends the file.
    ///
    /// # Errors
    /// The file cannot be written.
    pub fn finish(self) -> Result<()> {
        self.writer.close()?;
        Ok(())
    }
}
