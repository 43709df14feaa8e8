//! One parsed row, re-used for the next.

use std::collections::BTreeMap;
use std::sync::LazyLock;

use domain::{Currency, Instant};
use storage::lake::schemas::focus::COLUMNS;

/// One cell of a known column.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Cell {
    /// Nothing.
    #[default]
    Null,
    /// Atoms of the column's scale.
    Decimal(i128),
    /// A point in time.
    Instant(Instant),
    /// Where the text stands in the line's buffer.
    Text {
        /// First byte.
        start: usize,
        /// Byte after the last.
        end: usize,
    },
}

/// Something that is unusual about a row, but not wrong enough to refuse it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Note {
    /// A cost is null and counts as 0.
    NullCost,
    /// The charge period has no start or no end after it: the whole amount is on one day.
    ChargePeriod,
    /// The billing period has no end after its start: it ends a month later.
    BillingPeriodEnd,
    /// BillingAccountId is null.
    NoBillingAccount,
    /// Tags are not a JSON object; their text is kept in `x`.
    TagsNotJson,
    /// A tag stands twice; the last counts and the text is kept in `x`.
    DuplicateTag,
    /// A file of the set holds the same rows as another one.
    RepeatedFile,
}

impl Note {
    /// Returns the stable word of the warning.
    #[must_use]
    pub fn code(self) -> &'static str {
        match self {
            Self::NullCost => "null_cost",
            Self::ChargePeriod => "charge_period",
            Self::BillingPeriodEnd => "billing_period_end",
            Self::NoBillingAccount => "no_billing_account",
            Self::TagsNotJson => "tags_not_json",
            Self::DuplicateTag => "duplicate_tag",
            Self::RepeatedFile => "repeated_file",
        }
    }

    /// Returns what it means, as a sentence.
    #[must_use]
    pub fn message(self) -> &'static str {
        match self {
            Self::NullCost => "a cost is null and counts as 0",
            Self::ChargePeriod => "the charge period does not end after it starts, so the whole amount is on one day",
            Self::BillingPeriodEnd => "the billing period does not end after it starts, so a month was taken",
            Self::NoBillingAccount => "BillingAccountId is null",
            Self::TagsNotJson => "Tags are not a JSON object; their text is kept in x",
            Self::DuplicateTag => "a tag stands twice; the last one counts and the text is kept in x",
            Self::RepeatedFile => {
                "a file holds the same rows as another one of the set, and both count; import the set without it unless \
                 they are two charges"
            }
        }
    }
}

/// A row of a bill with its cells by position in [`COLUMNS`].
#[derive(Clone, Debug, Default)]
pub struct CostLine {
    cells: Vec<Cell>,
    text: String,
    /// Tags by key; a value may be null.
    pub tags: BTreeMap<String, Option<String>>,
    /// Columns that FOCUS does not have, under the provider's names. Nulls are left out.
    pub x: BTreeMap<String, String>,
    /// Cells whose digits beyond the scale were rounded away.
    pub rounded: u64,
    /// What is unusual.
    pub notes: Vec<Note>,
}

impl CostLine {
    /// Empties the line for the next row.
    pub fn clear(&mut self) {
        self.cells.clear();
        self.cells.resize(COLUMNS.len(), Cell::Null);
        self.text.clear();
        self.tags.clear();
        self.x.clear();
        self.rounded = 0;
        self.notes.clear();
    }

    /// Returns the cell of a column.
    #[must_use]
    pub fn cell(&self, column: usize) -> Cell {
        self.cells[column]
    }

    /// Returns the text of a column; `None` if it is null.
    #[must_use]
    pub fn text(&self, column: usize) -> Option<&str> {
        match self.cells[column] {
            Cell::Text { start, end } => Some(&self.text[start..end]),
            Cell::Null | Cell::Decimal(_) | Cell::Instant(_) => None,
        }
    }

    /// Returns the atoms of a column, 0 if it is null.
    #[must_use]
    pub fn decimal(&self, column: usize) -> i128 {
        match self.cells[column] {
            Cell::Decimal(atoms) => atoms,
            Cell::Null | Cell::Instant(_) | Cell::Text { .. } => 0,
        }
    }

    /// Returns the time in a column.
    #[must_use]
    pub fn instant(&self, column: usize) -> Option<Instant> {
        match self.cells[column] {
            Cell::Instant(instant) => Some(instant),
            Cell::Null | Cell::Decimal(_) | Cell::Text { .. } => None,
        }
    }

    /// Returns BillingCurrency, which every complete line has.
    #[must_use]
    pub fn currency(&self) -> Currency {
        let code = self.text(COLUMN.billing_currency);
        code.and_then(|code| code.parse().ok()).expect("a complete line has a currency; rows without one are refused")
    }

    /// Returns BillingAccountId; a null one is the empty text.
    #[must_use]
    pub fn billing_account(&self) -> &str {
        self.text(COLUMN.billing_account_id).unwrap_or("")
    }

    /// Returns BillingPeriodStart, which every complete line has.
    #[must_use]
    pub fn billing_period_start(&self) -> Instant {
        self.instant(COLUMN.billing_period_start).expect("a complete line has a billing period; others are refused")
    }

    /// Returns BillingPeriodEnd, which every complete line has.
    #[must_use]
    pub fn billing_period_end(&self) -> Instant {
        self.instant(COLUMN.billing_period_end).expect("a complete line has a billing period; others are refused")
    }

    /// Returns the bounds of charge period and billing period.
    pub(crate) fn times(&self) -> [Option<Instant>; 4] {
        [COLUMN.charge_period_start, COLUMN.charge_period_end, COLUMN.billing_period_start, COLUMN.billing_period_end]
            .map(|column| self.instant(column))
    }

    pub(crate) fn set(&mut self, column: usize, cell: Cell) {
        self.cells[column] = cell;
    }

    pub(crate) fn set_text(&mut self, column: usize, text: &str) {
        let start = self.text.len();
        self.text.push_str(text);
        self.cells[column] = Cell::Text { start, end: self.text.len() };
    }

    pub(crate) fn note(&mut self, note: Note) {
        if !self.notes.contains(&note) {
            self.notes.push(note);
        }
    }
}

/// Positions in [`COLUMNS`] of the columns that mean something to an import.
pub(crate) static COLUMN: LazyLock<Positions> = LazyLock::new(Positions::new);

pub(crate) struct Positions {
    pub billed_cost: usize,
    pub effective_cost: usize,
    pub list_cost: usize,
    pub contracted_cost: usize,
    pub billing_account_id: usize,
    pub billing_currency: usize,
    pub billing_period_start: usize,
    pub billing_period_end: usize,
    pub charge_period_start: usize,
    pub charge_period_end: usize,
    pub charge_category: usize,
    pub charge_frequency: usize,
    pub charge_description: usize,
    pub service_name: usize,
    pub service_provider_name: usize,
    pub invoice_issuer_name: usize,
    pub resource_id: usize,
}

impl Positions {
    fn new() -> Self {
        let at = |name: &str| {
            COLUMNS.iter().position(|column| column.name == name).expect("the lake has every FOCUS column")
        };
        Self {
            billed_cost: at("billed_cost"),
            effective_cost: at("effective_cost"),
            list_cost: at("list_cost"),
            contracted_cost: at("contracted_cost"),
            billing_account_id: at("billing_account_id"),
            billing_currency: at("billing_currency"),
            billing_period_start: at("billing_period_start"),
            billing_period_end: at("billing_period_end"),
            charge_period_start: at("charge_period_start"),
            charge_period_end: at("charge_period_end"),
            charge_category: at("charge_category"),
            charge_frequency: at("charge_frequency"),
            charge_description: at("charge_description"),
            service_name: at("service_name"),
            service_provider_name: at("service_provider_name"),
            invoice_issuer_name: at("invoice_issuer_name"),
            resource_id: at("resource_id"),
        }
    }

    pub fn costs(&self) -> [usize; 4] {
        [self.billed_cost, self.effective_cost, self.list_cost, self.contracted_cost]
    }
}
