//! What can go wrong with an import. Knows nothing of HTTP.

use std::fmt;

use storage::lake::LakeError;

/// An import that did not happen. Whatever it is, the data is as it was before.
#[derive(Debug, thiserror::Error)]
pub enum ImportError {
    /// The columns are not those of a FOCUS file.
    #[error("{file} is not a FOCUS file: column {} missing; found {}", missing.join(", "), list(found))]
    NotFocus {
        /// Name of the file.
        file: String,
        /// FOCUS columns that are needed and not there.
        missing: Vec<&'static str>,
        /// Columns that are there.
        found: Vec<String>,
    },
    /// One row cannot be read.
    #[error(transparent)]
    Row(Box<RowError>),
    /// The file as a whole cannot be read.
    #[error("{file} cannot be read: {reason}")]
    Unreadable {
        /// Name of the file.
        file: String,
        /// Why, and what to do.
        reason: String,
    },
    /// The input is larger than an import may be.
    #[error("{file} is too large: more than {limit} {what}; split it, or raise {key}")]
    TooLarge {
        /// Name of the file, or of the set.
        file: String,
        /// What there is too much of.
        what: &'static str,
        /// How much is allowed.
        limit: u64,
        /// The limit's name.
        key: &'static str,
    },
    /// The files have columns but no rows.
    #[error("the files hold no rows; nothing was imported")]
    NoRows,
    /// The source's name cannot be used.
    #[error(
        "`{0}` cannot be a source: use 1 to 100 printable characters; `fixed` and `manual` are reserved for fixed costs"
    )]
    BadSource(String),
    /// Lines that are there would be lost without replacement.
    #[error("{}; nothing was changed: repeat with confirm=true if this is right", shrink_text(.0))]
    WouldShrink(Vec<Shrink>),
    /// A fixed cost cannot become lines.
    #[error("fixed cost {id}: {reason}")]
    BadFixedCost {
        /// The entry.
        id: String,
        /// What is wrong with it.
        reason: String,
    },
    /// Others kept committing first.
    #[error("other imports kept changing the cost lines; nothing was imported, try again")]
    Busy,
    /// The lake failed.
    #[error(transparent)]
    Lake(#[from] LakeError),
    /// Shaping rows failed.
    #[error("shaping cost lines failed")]
    Arrow(#[from] arrow::error::ArrowError),
    /// Somebody asked for it to end before it was committed.
    #[error("the import was cancelled; nothing was imported")]
    Cancelled,
    /// A worker thread died.
    #[error("the import was interrupted")]
    Interrupted,
}

/// One row that cannot be read, and where it stands.
#[derive(Debug, thiserror::Error)]
pub struct RowError {
    /// Name of the file.
    pub file: String,
    /// Line of the text file, or row of the Parquet file, from 1.
    pub line: u64,
    /// The column, if one cell is to blame.
    pub column: Option<String>,
    /// The cell's text, shortened.
    pub value: Option<String>,
    /// What is wrong and what to do.
    pub reason: String,
    /// Whether the value is a number or time that is too large to be stored.
    pub out_of_bound: bool,
}

impl fmt::Display for RowError {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{}: line {}", self.file, self.line)?;
        if let Some(column) = &self.column {
            write!(out, ", column {column}")?;
        }
        if let Some(value) = &self.value {
            write!(out, ", value `{value}`")?;
        }
        write!(out, ": {}; correct the row and import again, nothing was stored", self.reason)
    }
}

/// One key that would lose too much.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub struct Shrink {
    /// BillingAccountId.
    pub billing_account: String,
    /// `YYYY-MM`, or the day on which a period begins that does not begin with a month.
    pub billing_period: String,
    /// Rows that are stored.
    pub rows_before: u64,
    /// Rows of the new files.
    pub rows_after: u64,
    /// ISO-4217 code; a key with several currencies has a row for each.
    pub currency: String,
    /// Sum of the magnitudes of BilledCost that is stored.
    pub billed_before: String,
    /// Sum of the magnitudes of BilledCost of the new files.
    pub billed_after: String,
    /// Sum of BilledCost that is stored, unless it was stored before this sum was kept.
    pub net_before: Option<String>,
    /// Sum of BilledCost of the new files.
    pub net_after: String,
}

impl ImportError {
    /// Returns the stable word for what went wrong.
    #[must_use]
    pub fn code(&self) -> &'static str {
        match self {
            Self::NotFocus { .. } => "not_focus",
            Self::Row(row) if row.out_of_bound => "out_of_bound",
            Self::Row(_) => "invalid_row",
            Self::Unreadable { .. } => "unreadable_file",
            Self::TooLarge { .. } => "payload_too_large",
            Self::NoRows => "no_rows",
            Self::BadSource(_) => "invalid_source",
            Self::WouldShrink(_) => "would_shrink",
            Self::BadFixedCost { .. } => "invalid_fixed_cost",
            Self::Busy => "import_conflict",
            Self::Cancelled => "run_cancelled",
            Self::Lake(_) | Self::Arrow(_) | Self::Interrupted => "internal",
        }
    }

    /// Returns whether the sender can do something about it.
    #[must_use]
    pub fn is_senders_fault(&self) -> bool {
        self.code() != "internal" && self.code() != "import_conflict"
    }
}

/// Names shown of a wrong header.
const NAMES_SHOWN_MAX: usize = 12;
/// Keys shown of a refused import; the full list is in the error's value.
const KEYS_SHOWN_MAX: usize = 5;

fn list(names: &[String]) -> String {
    if names.is_empty() {
        return "no columns".to_owned();
    }
    let shown: Vec<String> = names.iter().take(NAMES_SHOWN_MAX).map(|name| shorten(name)).collect();
    let more = names.len().saturating_sub(NAMES_SHOWN_MAX);
    if more == 0 { shown.join(", ") } else { format!("{} and {more} more", shown.join(", ")) }
}

fn shrink_text(keys: &[Shrink]) -> String {
    let one = |key: &Shrink| {
        let net = key.net_before.iter().map(|before| format!(", net from {before} to {}", key.net_after));
        format!(
            "account {} in {} would go from {} to {} rows and from {} to {} {} billed (sum of magnitudes){}",
            key.billing_account,
            key.billing_period,
            key.rows_before,
            key.rows_after,
            key.billed_before,
            key.billed_after,
            key.currency,
            net.collect::<String>()
        )
    };
    let shown: Vec<String> = keys.iter().take(KEYS_SHOWN_MAX).map(one).collect();
    let more = keys.len().saturating_sub(KEYS_SHOWN_MAX);
    if more == 0 { shown.join("; ") } else { format!("{}; and {more} more", shown.join("; ")) }
}

/// Returns text from a file, safe to print and at most 60 characters long.
pub(crate) fn shorten(text: &str) -> String {
    text.chars().take(60).flat_map(char::escape_debug).collect()
}
