//! What a statement says, before it is a text.

use attribution::statement::{LineKey, Printed, Statement};
use domain::decimal::format_scaled;
use domain::money::MONEY_SCALE;
use domain::{Currency, Instant, Month};
use std::collections::BTreeMap;
use std::sync::Arc;

/// The close that a statement belongs to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Closing {
    /// The month.
    pub month: Month,
    /// From 1: how often the month was closed.
    pub version: i64,
    /// The posting that closed it.
    pub posting: i64,
    /// When it was booked.
    pub booked_at: Instant,
    /// `sha256:` and the hash of that posting.
    pub ledger_head: String,
}

impl Closing {
    /// Returns the statement's number: one for each close, so that numbers have no gaps.
    #[must_use]
    pub fn number(&self) -> String {
        number(self.month, self.version)
    }
}

/// Returns the number of a month's statement of this version.
#[must_use]
pub fn number(month: Month, version: i64) -> String {
    format!("ST-{month}-{version}")
}

/// Whom an amount is charged to, as the facts say on the last day of the month.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Party {
    /// Name for people.
    pub name: Option<String>,
    /// `showback`, `chargeback` or `central`; none for a reserved consumer.
    pub billing_mode: Option<String>,
    /// Cost centre for the journal.
    pub cost_center: Option<String>,
    /// Account for the journal.
    pub gl_account: Option<String>,
}

/// What tells rows of a statement apart.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RowKey {
    /// In which currency.
    pub currency: Currency,
    /// Tenant or reserved word.
    pub consumer: Arc<str>,
    /// The line.
    pub line: LineKey,
}

/// What the version before printed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Previous {
    /// Its number.
    pub number: String,
    /// Printed amounts in atoms.
    pub amounts: BTreeMap<RowKey, i128>,
}

/// A line, and what the version before printed of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Row {
    /// What it is about.
    pub key: RowKey,
    /// What is printed.
    pub printed: Printed,
    /// What the version before printed; none in a first version.
    pub previous: Option<i128>,
}

/// A statement of a month, of all tenants.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Content {
    /// The close.
    pub closing: Closing,
    /// What is charged, by currency.
    pub statements: BTreeMap<Currency, Statement>,
    /// Tenants by id.
    pub parties: BTreeMap<String, Party>,
    /// The version before, if there is one.
    pub previous: Option<Previous>,
}

impl Content {
    /// Returns every line in order of currency, consumer and line. Lines that only the version before has are printed with
    /// zero.
    #[must_use]
    pub fn rows(&self) -> Vec<Row> {
        let mut printed: BTreeMap<RowKey, Printed> = BTreeMap::new();
        for (currency, statement) in &self.statements {
            for charged in &statement.charged {
                for (line, amounts) in &charged.lines {
                    let key =
                        RowKey { currency: *currency, consumer: Arc::clone(&charged.consumer), line: line.clone() };
                    printed.insert(key, *amounts);
                }
            }
        }
        let known = self.previous.as_ref().map(|previous| &previous.amounts);
        for key in known.into_iter().flat_map(BTreeMap::keys) {
            printed.entry(key.clone()).or_default();
        }
        let previous = |key: &RowKey| known.map(|amounts| amounts.get(key).copied().unwrap_or_default());
        printed.into_iter().map(|(key, printed)| Row { previous: previous(&key), key, printed }).collect()
    }

    /// Returns the party behind a consumer.
    #[must_use]
    pub fn party(&self, consumer: &str) -> Party {
        self.parties.get(consumer).cloned().unwrap_or_default()
    }
}

/// Returns the rows of each tenant: those of a statement of its own. Reserved consumers are nobody's.
#[must_use]
pub fn by_tenant(rows: &[Row]) -> BTreeMap<&str, Vec<Row>> {
    let mut found: BTreeMap<&str, Vec<Row>> = BTreeMap::new();
    for row in rows.iter().filter(|row| !is_reserved(&row.key.consumer)) {
        found.entry(&row.key.consumer).or_default().push(row.clone());
    }
    found
}

/// Returns whether the consumer is a reserved word.
#[must_use]
pub fn is_reserved(consumer: &str) -> bool {
    domain::tenant::RESERVED.contains(&consumer)
}

/// Returns an amount with the digits of the currency's minor unit.
#[must_use]
pub fn minor(atoms: i128, currency: Currency) -> String {
    let digits = usize::try_from(currency.minor_unit_digits()).expect("a minor unit has few digits");
    format_scaled(atoms, MONEY_SCALE, digits)
}
