//! Reading and building the typed columns of a batch, so that rows can be converted column by column.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, AsArray, BooleanArray, Date32Array, Decimal128Array, Int32Array, Int64Array, RecordBatch,
    StringArray, TimestampMicrosecondArray,
};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Date32Type, Decimal128Type, Int32Type, Int64Type, TimestampMicrosecondType};
use domain::{Day, Instant};

use super::error::LakeError;
use super::schemas::map_builder;
use super::table::Table;

/// A map column's value.
pub(super) type Labels = BTreeMap<Arc<str>, Arc<str>>;

/// The columns of rows that were read from a table.
pub(super) struct Columns<'a> {
    pub(super) table: Table,
    pub(super) batch: &'a RecordBatch,
}

impl Columns<'_> {
    /// The values of a text column; equal neighbours share their text.
    pub(super) fn texts(&self, name: &str) -> Result<Vec<Option<Arc<str>>>, LakeError> {
        let column = self.column(name)?;
        let mut last: Option<Arc<str>> = None;
        Ok(column.as_string::<i32>().iter().map(|text| text.map(|text| shared(&mut last, text))).collect())
    }

    /// The values of a text column of a few known words, or of anything else that `parse` understands.
    pub(super) fn parsed<T>(&self, name: &str, parse: impl Fn(&str) -> Option<T>) -> Result<Vec<Option<T>>, LakeError> {
        let column = self.column(name)?;
        let read = |text: Option<&str>| match text {
            None => Ok(None),
            Some(text) => match parse(text) {
                Some(value) => Ok(Some(value)),
                None => Err(self.damaged(format!("`{text}` in column {name} is not known"))),
            },
        };
        column.as_string::<i32>().iter().map(read).collect()
    }

    /// The values of a decimal column, in atoms.
    pub(super) fn atoms(&self, name: &str) -> Result<Vec<Option<i128>>, LakeError> {
        Ok(self.column(name)?.as_primitive::<Decimal128Type>().iter().collect())
    }

    /// The values of a column of days.
    pub(super) fn days(&self, name: &str) -> Result<Vec<Option<Day>>, LakeError> {
        let column = self.column(name)?;
        Ok(column.as_primitive::<Date32Type>().iter().map(|days| days.map(Day::from_epoch_days)).collect())
    }

    /// The values of a column of instants.
    pub(super) fn instants(&self, name: &str) -> Result<Vec<Option<Instant>>, LakeError> {
        let column = self.column(name)?;
        let column = column.as_primitive::<TimestampMicrosecondType>();
        Ok(column.iter().map(|micros| micros.map(Instant::from_micros)).collect())
    }

    /// The values of a column of 64-bit integers.
    pub(super) fn int64s(&self, name: &str) -> Result<Vec<Option<i64>>, LakeError> {
        Ok(self.column(name)?.as_primitive::<Int64Type>().iter().collect())
    }

    /// The values of a column of 32-bit integers.
    pub(super) fn int32s(&self, name: &str) -> Result<Vec<Option<i32>>, LakeError> {
        Ok(self.column(name)?.as_primitive::<Int32Type>().iter().collect())
    }

    /// The values of a column of truth values.
    pub(super) fn bools(&self, name: &str) -> Result<Vec<Option<bool>>, LakeError> {
        Ok(self.column(name)?.as_boolean().iter().collect())
    }

    /// The values of a map column, which are never null.
    pub(super) fn maps(&self, name: &str) -> Result<Vec<Option<Labels>>, LakeError> {
        let column = self.column(name)?;
        let read = |row: usize| {
            let maps = column.as_map();
            if maps.is_null(row) {
                return Ok(None);
            }
            let pairs = maps.value(row);
            let (keys, values) = (pairs.column(0).as_string::<i32>(), pairs.column(1).as_string::<i32>());
            let mut labels = Labels::new();
            for (key, value) in keys.iter().zip(values) {
                let (Some(key), Some(value)) = (key, value) else {
                    return Err(self.damaged(format!("a value in column {name} is null")));
                };
                labels.insert(key.into(), value.into());
            }
            Ok(Some(labels))
        };
        (0..column.len()).map(read).collect()
    }

    /// The values of a column in which we never write null.
    pub(super) fn required<T>(&self, name: &str, values: Vec<Option<T>>) -> Result<Vec<T>, LakeError> {
        let values: Option<Vec<T>> = values.into_iter().collect();
        values.ok_or_else(|| self.damaged(format!("column {name} holds null")))
    }

    fn column(&self, name: &str) -> Result<ArrayRef, LakeError> {
        let schema = self.table.schema();
        let expected: &DataType = schema.field_with_name(name)?.data_type();
        let column = self
            .batch
            .column_by_name(name)
            .ok_or_else(|| LakeError::BadBatch { table: self.table, reason: format!("column {name} is missing") })?;
        if column.data_type() == expected { Ok(Arc::clone(column)) } else { Ok(cast(column, expected)?) }
    }

    fn damaged(&self, reason: String) -> LakeError {
        LakeError::Damaged { file: self.table.name().to_owned(), reason }
    }
}

fn shared(last: &mut Option<Arc<str>>, text: &str) -> Arc<str> {
    match last {
        Some(held) if &**held == text => Arc::clone(held),
        _ => Arc::clone(last.insert(text.into())),
    }
}

/// A text column.
pub(super) fn texts<T: AsRef<str>>(values: impl Iterator<Item = Option<T>>) -> ArrayRef {
    Arc::new(values.collect::<StringArray>())
}

/// A column of money, prices, weights or rates.
pub(super) fn money(values: impl Iterator<Item = Option<i128>>) -> Result<ArrayRef, LakeError> {
    decimals(values, 15)
}

/// A column of quantities.
pub(super) fn quantities(values: impl Iterator<Item = Option<i128>>) -> Result<ArrayRef, LakeError> {
    decimals(values, 9)
}

fn decimals(values: impl Iterator<Item = Option<i128>>, scale: i8) -> Result<ArrayRef, LakeError> {
    Ok(Arc::new(values.collect::<Decimal128Array>().with_precision_and_scale(38, scale)?))
}

/// A column of days.
pub(super) fn days(values: impl Iterator<Item = Option<Day>>) -> ArrayRef {
    Arc::new(values.map(|day| day.map(Day::epoch_days)).collect::<Date32Array>())
}

/// A column of instants.
pub(super) fn instants(values: impl Iterator<Item = Instant>) -> ArrayRef {
    let micros: TimestampMicrosecondArray = values.map(|instant| Some(instant.micros())).collect();
    Arc::new(micros.with_timezone("UTC"))
}

/// A column of 64-bit integers.
pub(super) fn int64s(values: impl Iterator<Item = i64>) -> ArrayRef {
    Arc::new(Int64Array::from_iter_values(values))
}

/// A column of 32-bit integers.
pub(super) fn int32s(values: impl Iterator<Item = i32>) -> ArrayRef {
    Arc::new(Int32Array::from_iter_values(values))
}

/// A column of truth values.
pub(super) fn bools(values: impl Iterator<Item = Option<bool>>) -> ArrayRef {
    Arc::new(values.collect::<BooleanArray>())
}

/// A map column.
pub(super) fn maps<'a>(values: impl Iterator<Item = &'a Labels>) -> Result<ArrayRef, LakeError> {
    let mut builder = map_builder();
    for labels in values {
        for (key, value) in labels {
            builder.keys().append_value(key);
            builder.values().append_value(value);
        }
        builder.append(true)?;
    }
    Ok(Arc::new(builder.finish()))
}

/// The batch of these columns, which must be those of the table in its order.
pub(super) fn batch(table: Table, columns: Vec<(&'static str, ArrayRef)>) -> Result<RecordBatch, LakeError> {
    let schema = table.schema();
    let named = columns.iter().map(|(name, _)| *name);
    assert!(named.eq(schema.fields().iter().map(|field| field.name().as_str())), "columns of {table} changed");
    Ok(RecordBatch::try_new(schema, columns.into_iter().map(|(_, column)| column).collect())?)
}
