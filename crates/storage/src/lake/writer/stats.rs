//! Least and greatest value of some columns of a file, in Delta's JSON form.

use std::collections::BTreeMap;

use arrow::array::{Array, ArrayRef, AsArray, RecordBatch};
use arrow::compute::{max, max_string, min, min_string};
use arrow::datatypes::{DataType, Date32Type, Int64Type};
use serde_json::{Map, Value, json};

use crate::lake::error::LakeError;
use crate::lake::table::Table;

/// Longer texts are left out of the statistics rather than cut: a cut greatest value would be wrong.
const TEXT_BYTES_MAX: usize = 64;

/// Gathers statistics of the columns in [`Table::stats_columns`].
pub(super) struct StatsBuilder {
    table: Table,
    pub rows: u64,
    columns: BTreeMap<&'static str, ColumnStats>,
}

#[derive(Default)]
struct ColumnStats {
    nulls: u64,
    range: Option<(Scalar, Scalar)>,
    /// A value could not be stated, so no range can.
    unknown: bool,
}

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Scalar {
    Int(i64),
    Day(i32),
    Text(String),
}

impl StatsBuilder {
    pub fn new(table: Table) -> Self {
        let columns = table.stats_columns().iter().map(|name| (*name, ColumnStats::default())).collect();
        Self { table, rows: 0, columns }
    }

    /// Takes the rows of a batch into account.
    pub fn add(&mut self, batch: &RecordBatch) -> Result<(), LakeError> {
        self.rows += batch.num_rows() as u64;
        for (name, stats) in &mut self.columns {
            let column = batch.column_by_name(name);
            let column = column.ok_or_else(|| super::bad(self.table, format!("column {name} is missing")))?;
            stats.add(column);
        }
        Ok(())
    }

    /// The `stats` of an `add` action.
    pub fn to_json(&self) -> String {
        let mut least = Map::new();
        let mut greatest = Map::new();
        let mut nulls = Map::new();
        for (name, stats) in &self.columns {
            nulls.insert((*name).to_owned(), json!(stats.nulls));
            if let (Some((low, high)), false) = (&stats.range, stats.unknown) {
                least.insert((*name).to_owned(), low.to_json());
                greatest.insert((*name).to_owned(), high.to_json());
            }
        }
        json!({ "numRecords": self.rows, "minValues": least, "maxValues": greatest, "nullCount": nulls }).to_string()
    }
}

impl ColumnStats {
    fn add(&mut self, column: &ArrayRef) {
        self.nulls += column.null_count() as u64;
        if column.null_count() == column.len() {
            return;
        }
        let Some((low, high)) = range(column) else {
            self.unknown = true;
            return;
        };
        self.range = Some(match self.range.take() {
            Some((least, greatest)) => (least.min(low), greatest.max(high)),
            None => (low, high),
        });
    }
}

fn range(column: &ArrayRef) -> Option<(Scalar, Scalar)> {
    let short = |text: &str| (text.len() <= TEXT_BYTES_MAX).then(|| Scalar::Text(text.to_owned()));
    match column.data_type() {
        DataType::Int64 => {
            let column = column.as_primitive::<Int64Type>();
            Some((Scalar::Int(min(column)?), Scalar::Int(max(column)?)))
        }
        DataType::Date32 => {
            let column = column.as_primitive::<Date32Type>();
            Some((Scalar::Day(min(column)?), Scalar::Day(max(column)?)))
        }
        DataType::Utf8 => {
            let column = column.as_string::<i32>();
            Some((short(min_string(column)?)?, short(max_string(column)?)?))
        }
        _ => None,
    }
}

impl Scalar {
    fn to_json(&self) -> Value {
        match self {
            Self::Int(value) => json!(value),
            Self::Day(days) => json!(domain::Day::from_epoch_days(*days).to_string()),
            Self::Text(text) => json!(text),
        }
    }
}
