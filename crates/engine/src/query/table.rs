//! Rows of a table as they are, for lists and exports of many columns.

use arrow::array::{Array, AsArray, RecordBatch};
use arrow::datatypes::{DataType, Date32Type, Decimal128Type, Int32Type, Int64Type, TimestampMicrosecondType};
use domain::{Day, Instant};

/// One value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Cell {
    /// None.
    Null,
    /// Text.
    Text(String),
    /// A whole number.
    Int(i64),
    /// A decimal: atoms of 10⁻ˢᶜᵃˡᵉ.
    Decimal {
        /// The atoms.
        atoms: i128,
        /// Fractional digits.
        scale: u32,
    },
    /// True or false.
    Bool(bool),
    /// A day.
    Day(Day),
    /// An instant.
    Instant(Instant),
    /// Keys and values in key order.
    Map(Vec<(String, String)>),
}

/// A page of rows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TablePage {
    /// Names of the columns.
    pub columns: Vec<String>,
    /// The rows; every row has one cell per column.
    pub rows: Vec<Vec<Cell>>,
    /// Where the next page begins; none on the last one.
    pub next_cursor: Option<String>,
}

/// The rows of these batches.
pub(crate) fn to_rows(batches: &[RecordBatch]) -> Vec<Vec<Cell>> {
    let row = |batch: &RecordBatch, row: usize| batch.columns().iter().map(|column| cell(column, row)).collect();
    batches.iter().flat_map(|batch| (0..batch.num_rows()).map(move |index| row(batch, index))).collect()
}

fn cell(column: &dyn Array, row: usize) -> Cell {
    if column.is_null(row) {
        return Cell::Null;
    }
    match column.data_type() {
        DataType::Utf8 => Cell::Text(column.as_string::<i32>().value(row).to_owned()),
        DataType::Int64 => Cell::Int(column.as_primitive::<Int64Type>().value(row)),
        DataType::Int32 => Cell::Int(column.as_primitive::<Int32Type>().value(row).into()),
        DataType::Decimal128(_, scale) => Cell::Decimal {
            atoms: column.as_primitive::<Decimal128Type>().value(row),
            scale: u32::try_from(*scale).expect("our decimals have no negative scale"),
        },
        DataType::Boolean => Cell::Bool(column.as_boolean().value(row)),
        DataType::Date32 => Cell::Day(Day::from_epoch_days(column.as_primitive::<Date32Type>().value(row))),
        DataType::Timestamp(..) => {
            Cell::Instant(Instant::from_micros(column.as_primitive::<TimestampMicrosecondType>().value(row)))
        }
        DataType::Map(..) => {
            let pairs = column.as_map().value(row);
            let (keys, values) = (pairs.column(0).as_string::<i32>(), pairs.column(1).as_string::<i32>());
            let text = |value: Option<&str>| value.unwrap_or_default().to_owned();
            Cell::Map(keys.iter().zip(values).map(|(key, value)| (text(key), text(value))).collect())
        }
        other => unreachable!("no table has a column of type {other}"),
    }
}
