//! A statement and its journal as CSV.

use super::content::{Content, Party, Row, is_reserved, minor};
use crate::settings::ClearingAccount;
use crate::spreadsheet::push_row;
use domain::Currency;
use domain::money::format_atoms;

/// Columns of a statement. Only lines are rows, so every column of money may be summed by currency.
const STATEMENT: [&str; 18] = [
    "number",
    "month",
    "version",
    "posting",
    "ledger_head",
    "currency",
    "consumer",
    "name",
    "billing_mode",
    "cost_center",
    "gl_account",
    "pool",
    "category",
    "charge_category",
    "amount",
    "exact",
    "rounding",
    "previous",
];

/// The column that closes a row of a statement.
const DIFFERENCE: &str = "difference";

/// Columns of the journal.
const JOURNAL: [&str; 13] = [
    "number",
    "line",
    "month",
    "date",
    "currency",
    "consumer",
    "name",
    "billing_mode",
    "cost_center",
    "gl_account",
    "debit",
    "credit",
    "missing",
];

/// Returns these rows of the statement as CSV: everybody's, or those of the tenant.
///
/// In a version that replaces another, every row says what that one printed, and rows that only that one has are printed
/// with zero: the difference table.
#[must_use]
pub fn statement_csv(content: &Content, tenant: Option<&str>, rows: &[Row]) -> String {
    let closing = &content.closing;
    let (number, month) = (closing.number(), closing.month.to_string());
    let (version, posting) = (closing.version.to_string(), closing.posting.to_string());
    let head = if tenant.is_none() { closing.ledger_head.as_str() } else { "" };
    let mut text = String::new();
    push_row(&mut text, STATEMENT.into_iter().chain([DIFFERENCE]));
    for row in rows {
        let (currency, line) = (row.key.currency, &row.key.line);
        let party = content.party(&row.key.consumer);
        let optional = |value: Option<String>| value.unwrap_or_default();
        let cells = [
            number.clone(),
            month.clone(),
            version.clone(),
            posting.clone(),
            head.to_owned(),
            currency.to_string(),
            row.key.consumer.to_string(),
            optional(party.name),
            optional(party.billing_mode),
            optional(party.cost_center),
            optional(party.gl_account),
            line.pool.to_string(),
            line.category.to_string(),
            line.charge_category.to_string(),
            minor(row.printed.amount, currency),
            format_atoms(row.printed.exact),
            format_atoms(row.printed.rounding()),
            optional(row.previous.map(|previous| minor(previous, currency))),
            optional(row.previous.map(|previous| minor(row.printed.amount - previous, currency))),
        ];
        push_row(&mut text, cells);
    }
    text
}

/// Returns the journal of the statement as CSV: for every consumer and currency one line on its own account and one on the
/// account that paid the bills, so that debit and credit are equal for each pair, for each currency, and for whatever
/// is left out by `billing_mode`.
///
/// What no tenant is charged for stays where it was paid: both lines of a reserved consumer are on that account. An account
/// that nobody entered is empty, and `missing` names it.
#[must_use]
pub fn journal_csv(content: &Content, clearing: &ClearingAccount) -> String {
    let closing = &content.closing;
    let paid = Party {
        name: None,
        billing_mode: None,
        cost_center: Some(clearing.cost_center.clone()).filter(|text| !text.is_empty()),
        gl_account: Some(clearing.gl_account.clone()).filter(|text| !text.is_empty()),
    };
    let mut text = String::new();
    push_row(&mut text, JOURNAL);
    let mut number = 0;
    for (currency, statement) in &content.statements {
        for charged in statement.charged.iter().filter(|charged| charged.total.amount != 0) {
            let own = match is_reserved(&charged.consumer) {
                true => Party { billing_mode: Some("central".to_owned()), ..paid.clone() },
                false => content.party(&charged.consumer),
            };
            let other = Party { name: own.name.clone(), billing_mode: own.billing_mode.clone(), ..paid.clone() };
            let amount = charged.total.amount;
            for (party, amount) in [(own, amount), (other, -amount)] {
                number += 1;
                let entry = Entry { number, consumer: &charged.consumer, party, currency: *currency, amount };
                entry.push(&mut text, closing);
            }
        }
    }
    text
}

/// A line of the journal; a positive amount is a debit.
struct Entry<'a> {
    number: usize,
    consumer: &'a str,
    party: Party,
    currency: Currency,
    amount: i128,
}

impl Entry<'_> {
    fn push(self, text: &mut String, closing: &super::content::Closing) {
        let missing = self.missing();
        let Self { number, consumer, party, currency, amount } = self;
        let cells = [
            closing.number(),
            number.to_string(),
            closing.month.to_string(),
            closing.month.last_day().to_string(),
            currency.to_string(),
            consumer.to_owned(),
            party.name.unwrap_or_default(),
            party.billing_mode.unwrap_or_default(),
            party.cost_center.unwrap_or_default(),
            party.gl_account.unwrap_or_default(),
            minor(amount.max(0), currency),
            minor((-amount).max(0), currency),
            missing,
        ];
        push_row(text, cells);
    }

    fn missing(&self) -> String {
        let known = [("cost_center", &self.party.cost_center), ("gl_account", &self.party.gl_account)];
        let missing: Vec<&str> = known.into_iter().filter(|(_, value)| value.is_none()).map(|(name, _)| name).collect();
        missing.join(" ")
    }
}
