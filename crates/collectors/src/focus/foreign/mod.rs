//! Bills in a provider's own columns: told by their header, translated row by row.
//!
//! A translation moves cells to FOCUS columns and works out costs; every cell that it does not move stays in
//! `x` under the provider's name. It never drops a row: what must not count twice has a cost of 0.

/// AWS: CUR 2.0, and the older report with the same words.
mod aws;
/// Azure: FOCUS exports and actual-cost exports.
mod azure;
/// Google Cloud: the FOCUS table and the detailed export.
mod google;
/// The cells of one row, and what becomes of them.
mod row;

use std::collections::HashMap;
use std::sync::Arc;

use super::header;
use super::line::{COLUMN, Cell, CostLine};
use super::row::{CellError, RowReader};
use crate::error::ImportError;
use row::{ForeignCell, ForeignRow};

/// Whose columns a file has, when they are not plain FOCUS.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Dialect {
    /// CUR 2.0 of AWS.
    AwsCur,
    /// Actual costs of Azure.
    AzureCosts,
    /// FOCUS of Azure, which needs a few repairs.
    AzureFocus,
    /// The detailed export of Google Cloud.
    GoogleDetailed,
    /// FOCUS of Google Cloud, which has no tags of its own.
    GoogleFocus,
}

/// Columns by which a dialect is told, as they are compared.
const SIGNS: [(Dialect, &[&str]); 5] = [
    (Dialect::AwsCur, &["lineitemlineitemtype", "lineitemunblendedcost"]),
    (Dialect::AzureCosts, &["costinbillingcurrency", "chargetype"]),
    (Dialect::AzureFocus, &["billedcost", "xskumetersubcategory"]),
    (Dialect::GoogleDetailed, &["usagestarttime", "cost", "currency"]),
    (Dialect::GoogleFocus, &["billedcost", "xexporttime"]),
];

impl Dialect {
    /// Returns the dialect of a file with these columns; `None` for plain FOCUS and for what is no bill.
    fn told_by(plain_names: &[String]) -> Option<Self> {
        let has = |sign: &&str| plain_names.iter().any(|name| name == sign);
        SIGNS.into_iter().find(|(_, signs)| signs.iter().all(has)).map(|(dialect, _)| dialect)
    }

    fn title(self) -> &'static str {
        match self {
            Self::AwsCur => "a cost and usage report (CUR) of AWS",
            Self::AzureCosts => "a cost export of Azure",
            Self::AzureFocus => "a FOCUS export of Azure",
            Self::GoogleDetailed => "a detailed usage export of Google Cloud",
            Self::GoogleFocus => "a FOCUS export of Google Cloud",
        }
    }

    /// Columns without which nothing can be made of it. Those of FOCUS are checked as for every FOCUS file.
    fn required(self) -> &'static [&'static str] {
        match self {
            Self::AwsCur => &aws::REQUIRED,
            Self::AzureCosts => &azure::REQUIRED,
            Self::GoogleDetailed => &google::REQUIRED,
            Self::AzureFocus | Self::GoogleFocus => &[],
        }
    }

    /// Whether its costs are worked out here: FOCUS files tell all four themselves.
    fn works_out_costs(self) -> bool {
        matches!(self, Self::AwsCur | Self::AzureCosts | Self::GoogleDetailed)
    }

    fn translate(self, row: &mut ForeignRow<'_>) -> Result<(), CellError> {
        match self {
            Self::AwsCur => aws::translate(row),
            Self::AzureCosts => azure::translate_costs(row),
            Self::AzureFocus => azure::translate_focus(row),
            Self::GoogleDetailed => google::translate_detailed(row),
            Self::GoogleFocus => google::translate_focus(row),
        }
    }
}

/// The name as it is compared here: reports of AWS and flattened tables of Google separate words by `/` or `.` too.
fn plain(name: &str) -> String {
    name.chars().filter(|letter| !matches!(letter, '_' | ' ' | '/' | '.')).flat_map(char::to_lowercase).collect()
}

/// Returns the dialect of a file with these columns, which must be those of a bill.
pub(super) fn check_columns<'a>(
    file: &str,
    names: impl Iterator<Item = &'a str>,
) -> Result<Option<Dialect>, ImportError> {
    let names: Vec<&str> = names.collect();
    let plain_names: Vec<String> = names.iter().map(|name| plain(name)).collect();
    let dialect = Dialect::told_by(&plain_names);
    match dialect {
        None | Some(Dialect::AzureFocus | Dialect::GoogleFocus) => header::check_required(file, names.into_iter())?,
        Some(dialect) => {
            let has = |needed: &str| {
                let needed = plain(needed);
                // A nested column stands for its members: `invoice` for `invoice.month`.
                plain_names.iter().any(|name| needed == *name || nested_in(name, &needed))
            };
            let missing: Vec<&str> = dialect.required().iter().copied().filter(|needed| !has(needed)).collect();
            if !missing.is_empty() {
                let reason = format!("it looks like {}, but column {} is missing", dialect.title(), missing.join(", "));
                return Err(ImportError::Unreadable { file: file.to_owned(), reason });
            }
        }
    }
    Ok(dialect)
}

/// Returns whether a column of this name may hold that member as part of a record.
fn nested_in(name: &str, needed: &str) -> bool {
    google::RECORDS.contains(&name) && needed.starts_with(name)
}

/// The state of reading a file in a dialect.
#[derive(Debug)]
pub(super) struct Foreign {
    dialect: Dialect,
    plain_names: HashMap<String, Arc<str>>,
    cells: HashMap<Arc<str>, ForeignCell>,
}

impl Foreign {
    pub fn new(dialect: Dialect) -> Self {
        Self { dialect, plain_names: HashMap::new(), cells: HashMap::new() }
    }

    pub fn begin(&mut self) {
        self.cells.clear();
    }

    /// Takes one cell. The word `NULL` and the empty text are null.
    pub fn set(&mut self, name: &str, raw: &str) {
        let trimmed = raw.trim();
        if trimmed.is_empty() || trimmed.eq_ignore_ascii_case("null") {
            return;
        }
        let key = match self.plain_names.get(name) {
            Some(key) => Arc::clone(key),
            None => {
                let key: Arc<str> = plain(name).into();
                self.plain_names.insert(name.to_owned(), Arc::clone(&key));
                key
            }
        };
        self.cells.insert(key, ForeignCell { name: name.to_owned(), text: raw.to_owned() });
    }

    /// Translates the cells of the row into the line.
    pub fn finish(&mut self, reader: &mut RowReader, line: &mut CostLine) -> Result<(), CellError> {
        let mut row = ForeignRow::new(&mut self.cells);
        self.dialect.translate(&mut row)?;
        row.write(reader, line)?;
        if self.dialect.works_out_costs() {
            derive_costs(line);
        }
        Ok(())
    }
}

/// Puts the effective cost where a bill tells neither list nor contracted cost: a null one would be stored as 0.
fn derive_costs(line: &mut CostLine) {
    let effective = line.cell(COLUMN.effective_cost);
    let mut derived = Vec::new();
    for (name, column) in [("ListCost", COLUMN.list_cost), ("ContractedCost", COLUMN.contracted_cost)] {
        if line.cell(column) == Cell::Null {
            line.set(column, effective);
            derived.push(name);
        }
    }
    if !derived.is_empty() {
        line.x.insert("x_DerivedCosts".to_owned(), derived.join(", "));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Reads one row in the dialect that its columns tell.
    pub(super) fn read(cells: &[(&str, &str)]) -> Result<CostLine, String> {
        let names = cells.iter().map(|(name, _)| *name);
        let dialect = check_columns("bill", names).map_err(|error| error.to_string())?;
        let dialect = dialect.ok_or("it is plain FOCUS")?;
        let (mut line, mut reader) = (CostLine::default(), RowReader::new(36_600));
        reader.begin(&mut line);
        let mut foreign = Foreign::new(dialect);
        foreign.begin();
        for (name, text) in cells {
            foreign.set(name, text);
        }
        let failed = |error: CellError| format!("{}: {}", error.column, error.reason);
        foreign.finish(&mut reader, &mut line).map_err(failed)?;
        reader.finish(&mut line).map_err(failed)?;
        Ok(line)
    }

    /// Replaces cells of a row by name and adds those that are new.
    pub(super) fn changed<'a>(row: &[(&'a str, &'a str)], changes: &[(&'a str, &'a str)]) -> Vec<(&'a str, &'a str)> {
        let kept = row.iter().filter(|(name, _)| !changes.iter().any(|(other, _)| name == other));
        kept.chain(changes).copied().collect()
    }

    /// Billed and effective cost as text.
    pub(super) fn costs(line: &CostLine) -> (String, String) {
        let text = |column| domain::money::format_atoms(line.decimal(column));
        (text(COLUMN.billed_cost), text(COLUMN.effective_cost))
    }

    /// List and contracted cost as text, and which of them the bill does not tell.
    pub(super) fn other_costs(line: &CostLine) -> (String, String, String) {
        let text = |column| domain::money::format_atoms(line.decimal(column));
        let derived = line.x.get("x_DerivedCosts").cloned().unwrap_or_default();
        (text(COLUMN.list_cost), text(COLUMN.contracted_cost), derived)
    }

    /// The text of a FOCUS column.
    pub(super) fn text(line: &CostLine, focus: &str) -> String {
        let columns = storage::lake::schemas::focus::COLUMNS;
        let at = columns.iter().position(|column| column.focus == focus).expect("a FOCUS column");
        line.text(at).unwrap_or("-").to_owned()
    }

    #[test]
    fn a_dialect_is_told_by_its_columns_and_what_is_missing_is_named() {
        let told = |names: &[&str]| check_columns("bill", names.iter().copied()).map_err(|error| error.to_string());
        assert_eq!(told(&header::REQUIRED), Ok(None));
        let focus = header::REQUIRED.iter().copied();
        let google: Vec<&str> = focus.clone().chain(["x_ExportTime"]).collect();
        assert_eq!(told(&google), Ok(Some(Dialect::GoogleFocus)));
        let azure: Vec<&str> = focus.chain(["x_SkuMeterSubcategory"]).collect();
        assert_eq!(told(&azure), Ok(Some(Dialect::AzureFocus)));
        assert_eq!(told(&aws::REQUIRED), Ok(Some(Dialect::AwsCur)));
        assert_eq!(told(&azure::REQUIRED), Ok(Some(Dialect::AzureCosts)));
        assert_eq!(told(&google::REQUIRED), Ok(Some(Dialect::GoogleDetailed)));
        let records = ["billing_account_id", "invoice", "cost_type", "usage_start_time", "cost", "currency"];
        assert_eq!(told(&records), Ok(Some(Dialect::GoogleDetailed)));
        let older = ["lineItem/LineItemType", "lineItem/UnblendedCost", "bill/PayerAccountId"];
        let error = told(&older).expect_err("columns are missing");
        assert!(error.contains("(CUR) of AWS") && error.contains("bill_billing_period_start_date"), "{error}");
        let error = told(&["date", "cost"]).expect_err("no bill");
        assert!(error.contains("is not a FOCUS file"), "{error}");
    }
}
