//! A statement as JSON: the shapes, and how they are filled.

use super::content::{Content, Row, RowKey, minor};
use crate::EngineError;
use attribution::statement::{LineKey, Printed};
use domain::Currency;
use domain::decimal::parse_scaled;
use domain::money::{MONEY_SCALE, format_atoms};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::sync::Arc;

/// A statement of a month: of everybody, or a tenant's own.
///
/// Amounts are decimal text with the digits of the currency's minor unit; `exact` and `rounding` have all of theirs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct StatementDocument {
    /// Number of the statement.
    pub number: String,
    /// The billing month.
    pub month: String,
    /// From 1.
    pub version: i64,
    /// Number of the version that this one replaces.
    pub replaces: Option<String>,
    /// Whose own statement; null for everybody's.
    pub tenant: Option<String>,
    /// The posting that closed the month.
    pub posting: i64,
    /// When it was booked.
    pub closed_at: String,
    /// Hash of that posting; null in a tenant's own statement.
    pub ledger_head: Option<String>,
    /// Sums by currency.
    pub totals: Vec<StatementTotal>,
    /// Sums by currency and consumer.
    pub consumers: Vec<StatementConsumer>,
    /// The lines.
    pub rows: Vec<StatementLine>,
    /// Lines that the version before printed otherwise; null in a first version.
    pub differences: Option<Vec<StatementDifference>>,
}

/// A currency's sum.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct StatementTotal {
    /// ISO-4217 code.
    pub currency: String,
    /// Sum of the printed lines.
    pub amount: String,
    /// Sum of the exact ones.
    pub exact: String,
    /// What rounding added.
    pub rounding: String,
    /// The same sum in the version before.
    pub previous: Option<String>,
    /// `amount` less `previous`.
    pub difference: Option<String>,
}

/// A consumer's sum.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct StatementConsumer {
    /// ISO-4217 code.
    pub currency: String,
    /// Tenant or reserved word.
    pub consumer: String,
    /// The tenant's name on the last day of the month.
    pub name: Option<String>,
    /// `showback`, `chargeback` or `central` on that day.
    pub billing_mode: Option<String>,
    /// Cost centre on that day.
    pub cost_center: Option<String>,
    /// Account on that day.
    pub gl_account: Option<String>,
    /// Sum of the printed lines.
    pub amount: String,
    /// Sum of the exact ones.
    pub exact: String,
    /// What rounding added.
    pub rounding: String,
}

/// A line.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct StatementLine {
    /// ISO-4217 code.
    pub currency: String,
    /// Tenant or reserved word.
    pub consumer: String,
    /// The pool; empty for adjustments that name none.
    pub pool: String,
    /// Category of the meter or service.
    pub category: String,
    /// FOCUS ChargeCategory.
    pub charge_category: String,
    /// What is charged.
    pub amount: String,
    /// The exact amount.
    pub exact: String,
    /// What rounding added.
    pub rounding: String,
}

/// A line that the version before printed otherwise.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct StatementDifference {
    /// ISO-4217 code.
    pub currency: String,
    /// Tenant or reserved word.
    pub consumer: String,
    /// The pool.
    pub pool: String,
    /// Category of the meter or service.
    pub category: String,
    /// FOCUS ChargeCategory.
    pub charge_category: String,
    /// What the version before printed.
    pub previous: String,
    /// What this one prints.
    pub amount: String,
    /// `amount` less `previous`.
    pub difference: String,
}

/// Sums of some rows.
#[derive(Clone, Copy, Default)]
struct Sum {
    printed: Printed,
    previous: Option<i128>,
}

impl Sum {
    fn add(&mut self, row: &Row) {
        self.printed.exact += row.printed.exact;
        self.printed.amount += row.printed.amount;
        if let Some(previous) = row.previous {
            self.previous = Some(self.previous.unwrap_or_default() + previous);
        }
    }
}

impl StatementDocument {
    /// Returns the statement of these rows: everybody's, or those of the tenant. Then nothing in it depends on what others
    /// are charged but the minor unit by which rounding may differ.
    #[must_use]
    pub fn of(content: &Content, tenant: Option<&str>, rows: &[Row]) -> Self {
        let closing = &content.closing;
        let mut totals: BTreeMap<Currency, Sum> = BTreeMap::new();
        let mut consumers: BTreeMap<(Currency, &str), Sum> = BTreeMap::new();
        for row in rows {
            totals.entry(row.key.currency).or_default().add(row);
            consumers.entry((row.key.currency, &*row.key.consumer)).or_default().add(row);
        }
        Self {
            number: closing.number(),
            month: closing.month.to_string(),
            version: closing.version,
            replaces: content.previous.as_ref().map(|previous| previous.number.clone()),
            tenant: tenant.map(str::to_owned),
            posting: closing.posting,
            closed_at: closing.booked_at.to_string(),
            ledger_head: tenant.is_none().then(|| closing.ledger_head.clone()),
            totals: totals.into_iter().map(|(currency, sum)| total(currency, sum)).collect(),
            consumers: consumers
                .into_iter()
                .map(|((currency, name), sum)| consumer(content, currency, name, sum))
                .collect(),
            // A line that only the version before has is a difference, not a line.
            rows: rows.iter().filter(|row| row.printed != Printed::default()).map(line).collect(),
            differences: content.previous.is_some().then(|| rows.iter().filter_map(difference).collect()),
        }
    }

    /// Returns the document as it is stored.
    ///
    /// # Panics
    /// Never: texts, numbers and lists are JSON.
    #[must_use]
    pub fn to_text(&self) -> String {
        serde_json::to_string(self).expect("a document of texts is JSON") + "\n"
    }

    /// Returns what a stored document printed, for comparison with the next version.
    ///
    /// # Errors
    /// [`EngineError::Corrupt`] when the text is not one of ours.
    pub(super) fn printed_amounts(text: &str, version: &str) -> Result<BTreeMap<RowKey, i128>, EngineError> {
        let corrupt = |detail: String| EngineError::Corrupt { what: format!("statement {version}"), detail };
        let document: Self = serde_json::from_str(text).map_err(|error| corrupt(error.to_string()))?;
        let mut amounts = BTreeMap::new();
        for row in document.rows {
            let currency: Currency = row.currency.parse().map_err(|_| corrupt(row.currency.clone()))?;
            let amount = parse_scaled(&row.amount, MONEY_SCALE).map_err(|error| corrupt(error.to_string()))?;
            let line = LineKey {
                pool: row.pool.into(),
                category: row.category.into(),
                charge_category: row.charge_category.into(),
            };
            amounts.insert(RowKey { currency, consumer: Arc::from(row.consumer), line }, amount.atoms);
        }
        Ok(amounts)
    }
}

fn total(currency: Currency, sum: Sum) -> StatementTotal {
    StatementTotal {
        currency: currency.to_string(),
        amount: minor(sum.printed.amount, currency),
        exact: format_atoms(sum.printed.exact),
        rounding: format_atoms(sum.printed.rounding()),
        previous: sum.previous.map(|previous| minor(previous, currency)),
        difference: sum.previous.map(|previous| minor(sum.printed.amount - previous, currency)),
    }
}

fn consumer(content: &Content, currency: Currency, name: &str, sum: Sum) -> StatementConsumer {
    let party = content.party(name);
    StatementConsumer {
        currency: currency.to_string(),
        consumer: name.to_owned(),
        name: party.name,
        billing_mode: party.billing_mode,
        cost_center: party.cost_center,
        gl_account: party.gl_account,
        amount: minor(sum.printed.amount, currency),
        exact: format_atoms(sum.printed.exact),
        rounding: format_atoms(sum.printed.rounding()),
    }
}

fn line(row: &Row) -> StatementLine {
    let RowKey { currency, consumer, line } = &row.key;
    StatementLine {
        currency: currency.to_string(),
        consumer: consumer.to_string(),
        pool: line.pool.to_string(),
        category: line.category.to_string(),
        charge_category: line.charge_category.to_string(),
        amount: minor(row.printed.amount, *currency),
        exact: format_atoms(row.printed.exact),
        rounding: format_atoms(row.printed.rounding()),
    }
}

fn difference(row: &Row) -> Option<StatementDifference> {
    let previous = row.previous.filter(|previous| *previous != row.printed.amount)?;
    let RowKey { currency, consumer, line } = &row.key;
    Some(StatementDifference {
        currency: currency.to_string(),
        consumer: consumer.to_string(),
        pool: line.pool.to_string(),
        category: line.category.to_string(),
        charge_category: line.charge_category.to_string(),
        previous: minor(previous, *currency),
        amount: minor(row.printed.amount, *currency),
        difference: minor(row.printed.amount - previous, *currency),
    })
}
