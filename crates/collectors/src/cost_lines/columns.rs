//! Lines as columns.

use std::sync::Arc;

use arrow::array::{
    ArrayRef, Date32Builder, Decimal128Builder, Int64Builder, MapBuilder, RecordBatch, StringArray, StringBuilder,
    TimestampMicrosecondBuilder,
};
use arrow::error::ArrowError;
use domain::DayRange;
use storage::lake::schemas::focus::{COLUMNS, Kind};
use storage::lake::schemas::map_builder;

use crate::focus::{Cell, CostLine};

/// Gathers lines and turns them into the columns of `cost_lines`, partition columns left out.
pub(crate) struct LineColumns {
    line_no: Int64Builder,
    charge_date_from: Date32Builder,
    charge_date_to: Date32Builder,
    cells: Vec<Column>,
    tags: MapBuilder<StringBuilder, StringBuilder>,
    x: MapBuilder<StringBuilder, StringBuilder>,
    rows: usize,
}

enum Column {
    Decimal(Decimal128Builder),
    Instant(TimestampMicrosecondBuilder),
    Text(StringBuilder),
}

impl LineColumns {
    pub fn new() -> Self {
        let column = |kind: Kind| match kind {
            Kind::Money | Kind::Quantity => Column::Decimal(Decimal128Builder::new().with_data_type(kind.data_type())),
            Kind::Instant => Column::Instant(TimestampMicrosecondBuilder::new().with_data_type(kind.data_type())),
            Kind::Text => Column::Text(StringBuilder::new()),
        };
        Self {
            line_no: Int64Builder::new(),
            charge_date_from: Date32Builder::new(),
            charge_date_to: Date32Builder::new(),
            cells: COLUMNS.iter().map(|focus| column(focus.kind)).collect(),
            tags: map_builder(),
            x: map_builder(),
            rows: 0,
        }
    }

    /// Lines gathered so far.
    pub fn rows(&self) -> usize {
        self.rows
    }

    pub fn push(&mut self, line: &CostLine, line_no: u64, days: DayRange) -> Result<(), ArrowError> {
        self.line_no.append_value(i64::try_from(line_no).unwrap_or(i64::MAX));
        self.charge_date_from.append_value(days.from().epoch_days());
        self.charge_date_to.append_value(days.to().epoch_days());
        for (at, column) in self.cells.iter_mut().enumerate() {
            match column {
                Column::Decimal(builder) => builder.append_option(match line.cell(at) {
                    Cell::Decimal(atoms) => Some(atoms),
                    Cell::Null | Cell::Instant(_) | Cell::Text { .. } => None,
                }),
                Column::Instant(builder) => builder.append_option(line.instant(at).map(domain::Instant::micros)),
                Column::Text(builder) => builder.append_option(line.text(at)),
            }
        }
        for (key, value) in &line.tags {
            self.tags.keys().append_value(key);
            self.tags.values().append_option(value.as_deref());
        }
        self.tags.append(true)?;
        for (key, value) in &line.x {
            self.x.keys().append_value(key);
            self.x.values().append_value(value);
        }
        self.x.append(true)?;
        self.rows += 1;
        Ok(())
    }

    /// Returns the lines gathered and starts anew.
    pub fn take(&mut self, import_id: &str) -> Result<RecordBatch, ArrowError> {
        let import_ids = StringArray::from_iter_values(std::iter::repeat_n(import_id, self.rows));
        self.rows = 0;
        let mut columns: Vec<(&str, ArrayRef)> = vec![
            ("import_id", Arc::new(import_ids)),
            ("line_no", Arc::new(self.line_no.finish())),
            ("charge_date_from", Arc::new(self.charge_date_from.finish())),
            ("charge_date_to", Arc::new(self.charge_date_to.finish())),
        ];
        for (focus, column) in COLUMNS.iter().zip(&mut self.cells) {
            let array: ArrayRef = match column {
                Column::Decimal(builder) => Arc::new(builder.finish()),
                Column::Instant(builder) => Arc::new(builder.finish()),
                Column::Text(builder) => Arc::new(builder.finish()),
            };
            columns.push((focus.name, array));
        }
        columns.push(("tags", Arc::new(self.tags.finish())));
        columns.push(("x", Arc::new(self.x.finish())));
        RecordBatch::try_from_iter(columns)
    }
}
