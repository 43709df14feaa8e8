//! Bills, line by line.

use super::cursor;
use super::params::{Params, QueryLimits};
use super::select::{self, all_of};
use super::table::{Cell, TablePage, to_rows};
use crate::periods::SourceState;
use crate::{Engine, EngineError};
use datafusion::prelude::{Expr, ident, lit};
use domain::{DayRange, Month};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};
use storage::lake::{PinnedTable, Table};

/// Which cost lines are asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CostLineFilter {
    /// Lines whose charge period touches these days.
    pub range: DayRange,
    /// Only those with exactly these values, by column.
    pub equal: Vec<(&'static str, String)>,
    /// Rows of a page.
    pub limit: usize,
    /// Where the page begins.
    pub cursor: Option<String>,
}

/// Parameters that compare a column, and the column.
const EQUAL: [(&str, &str); 7] = [
    ("source", "source"),
    ("import_id", "import_id"),
    ("provider", "service_provider_name"),
    ("service", "service_name"),
    ("billing_account", "billing_account_id"),
    ("charge_category", "charge_category"),
    ("invoice_id", "invoice_id"),
];

/// The column beside those of the table: whether the line's billing period is still open at its provider.
pub const ESTIMATED: &str = "estimated";

/// What orders lines; no two lines are equal in all of it.
const ORDER: [&str; 4] = ["source", "billing_month", "import_id", "line_no"];

/// After which line a page begins, and the version of the table that all pages show.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct Place {
    version: u64,
    after: (String, String, String, i64),
}

impl CostLineFilter {
    /// Returns the filter that the query parameters of a request ask for.
    ///
    /// # Errors
    /// [`EngineError::InvalidParameter`] for an unknown parameter or a value that is none.
    pub fn parse<K: AsRef<str>, V: AsRef<str>>(given: &[(K, V)], limits: &QueryLimits) -> Result<Self, EngineError> {
        let mut params = Params::new(given)?;
        let equal = EQUAL.iter().filter_map(|(name, column)| Some((*column, params.text(name)?))).collect();
        let filter = Self {
            range: params.range_or_default(limits)?,
            equal,
            limit: params.limit(limits)?,
            cursor: params.text("cursor"),
        };
        params.finish()?;
        Ok(filter)
    }
}

impl Engine {
    /// Returns cost lines with every column and [`ESTIMATED`], by source, billing month, import and line.
    ///
    /// # Errors
    /// For a cursor of another list, or when the lake fails.
    pub async fn cost_lines_all_tenants(&self, filter: &CostLineFilter) -> Result<TablePage, EngineError> {
        let question = format!("cost-lines {:?} {:?}", filter.range, filter.equal);
        let place: Option<Place> = filter.cursor.as_ref().map(|text| cursor::decode(&question, text)).transpose()?;
        let pinned = match &place {
            Some(place) => self.lake.pin_at(&BTreeMap::from([(Table::CostLines, place.version)])).await?,
            None => self.lake.pin().await?,
        };
        let version = pinned.table(Table::CostLines).version();
        let touches = [
            ident("charge_date_from").lt_eq(select::day(filter.range.to())),
            ident("charge_date_to").gt_eq(select::day(filter.range.from())),
        ];
        let equal = filter.equal.iter().map(|(column, value)| ident(*column).eq(lit(value.as_str())));
        let after = place.map(|place| after(&place.after));
        let batches = self
            .session(&pinned)?
            .table(Table::CostLines.name())
            .await?
            .filter(all_of(touches.into_iter().chain(equal).chain(after)))?
            .sort(ORDER.iter().map(|column| ident(*column).sort(true, true)).collect())?
            .limit(0, Some(filter.limit + 1))?
            .collect()
            .await?;
        let columns: Vec<String> =
            Table::CostLines.schema().fields().iter().map(|field| field.name().clone()).collect();
        let mut rows = to_rows(&batches);
        let more = filter.limit < rows.len();
        rows.truncate(filter.limit);
        let next_cursor = rows
            .last()
            .filter(|_| more)
            .map(|last| cursor::encode(&question, &Place { version, after: order_of(&columns, last) }));
        let mut page = TablePage { columns, rows, next_cursor };
        self.mark_estimates(pinned.table(Table::CostLines), &mut page).await?;
        Ok(page)
    }

    /// Adds whether each line is of a billing period that is still open at its provider.
    async fn mark_estimates(&self, pinned: &PinnedTable, page: &mut TablePage) -> Result<(), EngineError> {
        let at = |name: &str| page.columns.iter().position(|column| column == name);
        let places = [at("source"), at("billing_account_id"), at("billing_month")];
        let key_of = |row: &[Cell]| places.map(|place| place.map_or_else(String::new, |at| text_of(&row[at])));
        let keys: BTreeSet<[String; 3]> = page.rows.iter().map(|row| key_of(row)).collect();
        let months: BTreeSet<Month> = keys.iter().filter_map(|[_, _, month]| month.parse().ok()).collect();
        let mut open: BTreeSet<[String; 3]> = BTreeSet::new();
        for period in self.source_periods_in(pinned, |month| months.contains(&month)).await? {
            if period.state == SourceState::Open {
                open.insert([period.source, period.billing_account, period.month.to_string()]);
            }
        }
        page.columns.push(ESTIMATED.to_owned());
        for row in &mut page.rows {
            let is_open = open.contains(&key_of(row));
            row.push(Cell::Bool(is_open));
        }
        Ok(())
    }
}

fn text_of(cell: &Cell) -> String {
    match cell {
        Cell::Text(text) => text.clone(),
        _ => String::new(),
    }
}

/// Lines after this one, in the order of [`ORDER`].
fn after((source, month, import, line): &(String, String, String, i64)) -> Expr {
    let values = [lit(source.as_str()), lit(month.as_str()), lit(import.as_str()), lit(*line)];
    let mut later = lit(false);
    for (column, value) in ORDER.iter().zip(values).rev() {
        let equal = ident(*column).eq(value.clone());
        later = ident(*column).gt(value).or(equal.and(later));
    }
    later
}

fn order_of(columns: &[String], row: &[Cell]) -> (String, String, String, i64) {
    let cell = |name: &str| columns.iter().position(|column| column == name).map(|at| &row[at]);
    let text = |name: &str| cell(name).map_or_else(String::new, text_of);
    let line = match cell("line_no") {
        Some(Cell::Int(line)) => *line,
        _ => 0,
    };
    (text("source"), text("billing_month"), text("import_id"), line)
}
