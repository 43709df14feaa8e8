//! Reading result columns by name.

use crate::EngineError;
use arrow::array::{Array, AsArray, RecordBatch, StringArray};
use arrow::datatypes::{DataType, Date32Type, Decimal128Type, Int64Type, TimestampMicrosecondType};
use std::sync::Arc;

/// The rows of one batch, by column name.
pub(crate) struct Rows<'b>(pub &'b RecordBatch);

impl Rows<'_> {
    fn column(&self, name: &str) -> Result<&Arc<dyn Array>, EngineError> {
        self.0.column_by_name(name).ok_or_else(|| unexpected(name, "missing"))
    }

    /// A column of texts, whatever way the engine holds them.
    pub(crate) fn text_array(&self, name: &str) -> Result<StringArray, EngineError> {
        let column =
            arrow::compute::cast(self.column(name)?, &DataType::Utf8).map_err(|error| unexpected(name, error))?;
        Ok(column.as_string::<i32>().clone())
    }

    /// The texts of a column, whatever way the engine holds them.
    pub(crate) fn texts(&self, name: &str) -> Result<Vec<Option<Arc<str>>>, EngineError> {
        let column = self.column(name)?;
        if let Some(texts) = column.as_string_view_opt() {
            return Ok(shared(texts.iter()));
        }
        let texts = arrow::compute::cast(column, &DataType::Utf8).map_err(|error| unexpected(name, error))?;
        Ok(shared(texts.as_string::<i32>().iter()))
    }

    /// The integers of a decimal column, nulls as they are.
    pub(crate) fn decimals(&self, name: &str) -> Result<Vec<Option<i128>>, EngineError> {
        let column =
            self.column(name)?.as_primitive_opt::<Decimal128Type>().ok_or_else(|| unexpected(name, "not a decimal"))?;
        Ok(column.iter().collect())
    }

    /// The integers of a whole-number column, null as zero.
    pub(crate) fn integers(&self, name: &str) -> Result<Vec<i64>, EngineError> {
        let column =
            arrow::compute::cast(self.column(name)?, &DataType::Int64).map_err(|error| unexpected(name, error))?;
        Ok(column.as_primitive::<Int64Type>().iter().map(Option::unwrap_or_default).collect())
    }

    /// The days of a date column.
    pub(crate) fn days(&self, name: &str) -> Result<Vec<domain::Day>, EngineError> {
        let column =
            self.column(name)?.as_primitive_opt::<Date32Type>().ok_or_else(|| unexpected(name, "not a date"))?;
        Ok(column.iter().map(|day| domain::Day::from_epoch_days(day.unwrap_or_default())).collect())
    }

    /// The days of a date column, nulls as they are.
    pub(crate) fn days_or_null(&self, name: &str) -> Result<Vec<Option<domain::Day>>, EngineError> {
        let column =
            self.column(name)?.as_primitive_opt::<Date32Type>().ok_or_else(|| unexpected(name, "not a date"))?;
        Ok(column.iter().map(|day| day.map(domain::Day::from_epoch_days)).collect())
    }

    /// The truths of a boolean column, null as true: nothing speaks against it.
    pub(crate) fn truths(&self, name: &str) -> Result<Vec<bool>, EngineError> {
        let column = self.column(name)?.as_boolean_opt().ok_or_else(|| unexpected(name, "not a truth"))?;
        Ok(column.iter().map(|truth| truth.unwrap_or(true)).collect())
    }

    /// The instants of a timestamp column.
    pub(crate) fn instants(&self, name: &str) -> Result<Vec<Option<domain::Instant>>, EngineError> {
        let column = self
            .column(name)?
            .as_primitive_opt::<TimestampMicrosecondType>()
            .ok_or_else(|| unexpected(name, "not a time"))?;
        Ok(column.iter().map(|micros| micros.map(domain::Instant::from_micros)).collect())
    }
}

/// Texts to own: neighbouring rows often repeat a value and share it.
fn shared<'t>(texts: impl Iterator<Item = Option<&'t str>>) -> Vec<Option<Arc<str>>> {
    let mut last: Option<Arc<str>> = None;
    let mut share = |text: &str| match &last {
        Some(known) if **known == *text => Arc::clone(known),
        _ => Arc::clone(last.insert(text.into())),
    };
    texts.map(|text| text.map(&mut share)).collect()
}

pub(crate) fn unexpected(column: &str, detail: impl std::fmt::Display) -> EngineError {
    EngineError::Corrupt { what: format!("column {column}"), detail: detail.to_string() }
}

/// A column name or text as SQL text.
pub(crate) fn literal(text: &str) -> String {
    format!("'{}'", text.replace('\'', "''"))
}
