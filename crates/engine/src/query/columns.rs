//! Reading the columns of a result by position. A column of another type is our own mistake.

use arrow::array::{Array, AsArray, RecordBatch};
use arrow::datatypes::{Date32Type, Decimal128Type, Int64Type, TimestampMicrosecondType};
use domain::Day;
use std::sync::Arc;

/// The rows of some batches, one after the other.
pub(crate) fn rows(batches: &[RecordBatch]) -> impl Iterator<Item = Row<'_>> {
    batches.iter().flat_map(|batch| (0..batch.num_rows()).map(move |row| Row { batch, row }))
}

/// One row of a result.
#[derive(Clone, Copy)]
pub(crate) struct Row<'a> {
    batch: &'a RecordBatch,
    row: usize,
}

impl<'a> Row<'a> {
    fn column(&self, index: usize) -> Option<&'a Arc<dyn Array>> {
        Some(self.batch.column(index)).filter(|column| column.is_valid(self.row))
    }

    /// The text of a column, if it is not null.
    pub(crate) fn text(&self, index: usize) -> Option<&'a str> {
        self.column(index).map(|column| column.as_string::<i32>().value(self.row))
    }

    /// The text of a column, empty if it is null.
    pub(crate) fn text_or_empty(&self, index: usize) -> &'a str {
        self.text(index).unwrap_or_default()
    }

    /// The atoms of a decimal column, 0 if it is null: an empty sum.
    pub(crate) fn atoms(&self, index: usize) -> i128 {
        self.atoms_or_none(index).unwrap_or_default()
    }

    /// The atoms of a decimal column, if it is not null.
    pub(crate) fn atoms_or_none(&self, index: usize) -> Option<i128> {
        self.column(index).map(|column| column.as_primitive::<Decimal128Type>().value(self.row))
    }

    /// The day of a date column, if it is not null.
    pub(crate) fn day(&self, index: usize) -> Option<Day> {
        self.column(index).map(|column| Day::from_epoch_days(column.as_primitive::<Date32Type>().value(self.row)))
    }

    /// The number of a 64-bit column, if it is not null.
    pub(crate) fn int(&self, index: usize) -> Option<i64> {
        self.column(index).map(|column| column.as_primitive::<Int64Type>().value(self.row))
    }

    /// The microseconds of an instant column, if it is not null.
    pub(crate) fn micros(&self, index: usize) -> Option<i64> {
        self.column(index).map(|column| column.as_primitive::<TimestampMicrosecondType>().value(self.row))
    }

    /// The truth of a boolean column, false if it is null.
    pub(crate) fn is_true(&self, index: usize) -> bool {
        self.column(index).is_some_and(|column| column.as_boolean().value(self.row))
    }
}
