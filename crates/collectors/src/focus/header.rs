//! Header names to columns. Case, order, spaces and underscores do not matter.

use std::collections::HashMap;
use std::sync::LazyLock;

use storage::lake::schemas::focus::{ALIASES, COLUMNS};

use super::foreign::{self, Dialect};
use crate::error::ImportError;

/// Columns without which a file is not a bill.
pub(crate) const REQUIRED: [&str; 7] = [
    "BilledCost",
    "EffectiveCost",
    "BillingCurrency",
    "BillingAccountId",
    "BillingPeriodStart",
    "ChargePeriodStart",
    "ChargeCategory",
];

/// Where the cells of a column go.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Target {
    /// Into the column at this position of [`COLUMNS`].
    Column(usize),
    /// Into that column if the newer name left it empty, else into `x`.
    Older(usize),
    /// Into the map of tags.
    Tags,
    /// Into `x`.
    Unknown,
}

static TARGETS: LazyLock<HashMap<String, Target>> = LazyLock::new(|| {
    let columns = COLUMNS.iter().enumerate().map(|(at, column)| (plain(column.focus), Target::Column(at)));
    let older = ALIASES.iter().filter_map(|(old, name)| {
        let at = COLUMNS.iter().position(|column| column.name == *name)?;
        Some((plain(old), Target::Older(at)))
    });
    columns.chain(older).chain([("tags".to_owned(), Target::Tags)]).collect()
});

/// The name as it is compared.
fn plain(name: &str) -> String {
    name.chars().filter(|c| !matches!(c, '_' | ' ')).flat_map(char::to_lowercase).collect()
}

/// Returns where the cells under this name go.
pub(super) fn target(name: &str) -> Target {
    TARGETS.get(&plain(name)).cloned().unwrap_or(Target::Unknown)
}

/// The columns of one file.
#[derive(Clone, Debug)]
pub(super) struct Header {
    /// Name and target, in the file's order.
    pub columns: Vec<(String, Target)>,
    /// Whose columns they are, if not those of FOCUS.
    pub dialect: Option<Dialect>,
}

impl Header {
    /// Returns the header of these names, which must be those of a bill.
    pub fn new<'a>(file: &str, names: impl IntoIterator<Item = &'a str>) -> Result<Self, ImportError> {
        let names: Vec<&str> = names.into_iter().map(str::trim).collect();
        let dialect = foreign::check_columns(file, names.iter().copied())?;
        let mut columns: Vec<(String, Target)> = Vec::new();
        for (at, name) in names.into_iter().enumerate() {
            let name = if name.is_empty() { format!("column_{}", at + 1) } else { name.to_owned() };
            let target = target(&name);
            let same = |other: &Target| target != Target::Unknown && *other == target;
            if columns.iter().any(|(other_name, other)| *other_name == name || same(other)) {
                let reason = format!("column {} stands twice; keep one of them", crate::error::shorten(&name));
                return Err(ImportError::Unreadable { file: file.to_owned(), reason });
            }
            columns.push((name, target));
        }
        Ok(Self { columns, dialect })
    }
}

/// Refuses names among which a required one is missing.
pub(super) fn check_required<'a>(file: &str, names: impl Iterator<Item = &'a str>) -> Result<(), ImportError> {
    let found: Vec<String> = names.map(str::to_owned).collect();
    let plain_found: Vec<String> = found.iter().map(|name| plain(name)).collect();
    let missing: Vec<&'static str> = REQUIRED.into_iter().filter(|name| !plain_found.contains(&plain(name))).collect();
    if missing.is_empty() { Ok(()) } else { Err(ImportError::NotFocus { file: file.to_owned(), missing, found }) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn case_order_and_separators_do_not_matter() {
        assert_eq!(target("billed_cost"), target("BilledCost"));
        assert_eq!(target("BILLEDCOST"), target("Billed Cost"));
        assert_eq!(target("Tags"), Target::Tags);
        assert_eq!(target("x_BilledCost"), Target::Unknown);
        assert!(matches!(target("ProviderName"), Target::Older(_)));
    }

    #[test]
    fn a_header_without_the_needed_columns_names_what_is_missing_and_what_was_found() {
        let error = Header::new("bill.csv", ["date", "cost"]).expect_err("not FOCUS").to_string();
        assert!(error.contains("bill.csv is not a FOCUS file"), "{error}");
        assert!(error.contains("BilledCost") && error.contains("found date, cost"), "{error}");
    }

    #[test]
    fn a_column_that_stands_twice_is_refused() {
        let names = REQUIRED.into_iter().chain(["billed_cost"]);
        assert!(Header::new("bill.csv", names).expect_err("twice").to_string().contains("stands twice"));
    }
}
