//! Statements of closed months: made once from the ledger at the close, kept, and served as they were made.
//!
//! A statement is a function of the entries up to the posting that closed its month, of the facts that were recorded until
//! then, and of the version before it. So one that a crash kept from being stored is made later, byte for byte the same.

use crate::books::corrupt;
use crate::periods::ClosedMonth;
use crate::query::as_of::hash_text;
use crate::query::columns::rows;
use crate::query::select::{all_of, of_cost, up_to_posting};
use crate::{Engine, EngineError};
use attribution::statement::{ExactAmounts, LineKey, state};
use content::{Closing, Content, Party, Previous};
use datafusion::functions::core::expr_fn::coalesce;
use datafusion::functions_aggregate::expr_fn::sum;
use datafusion::prelude::{Expr, ident, lit};
use document::StatementDocument;
use domain::{Currency, Month, TenantId, TenantScope};
use sha2::{Digest, Sha256};
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::Arc;
use storage::catalog::{StatementDocumentRow, StatementRow, TenantFactRow, fact_on};
use storage::lake::Table;

/// What a statement says, before it is a text.
mod content;
/// A statement as JSON.
pub mod document;
/// A statement and its journal as CSV.
mod tables;

/// The form of a document.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StatementFormat {
    /// The statement as JSON.
    Json,
    /// Its lines as CSV.
    Csv,
    /// Debit and credit as CSV.
    Journal,
}

impl StatementFormat {
    /// Returns the word under which it is stored.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Json => "json",
            Self::Csv => "csv",
            Self::Journal => "journal",
        }
    }
}

impl fmt::Display for StatementFormat {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(self.as_str())
    }
}

/// Which document is asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StatementAsked {
    /// The billing month.
    pub month: Month,
    /// Its form.
    pub format: StatementFormat,
    /// Which version; the newest for none.
    pub version: Option<i64>,
    /// Whose own statement; everybody's for none, or the one tenant of the caller's.
    pub tenant: Option<String>,
}

/// A document as it was issued.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Issued {
    /// Number of the statement.
    pub number: String,
    /// SHA-256 of the text, hex.
    pub sha256: String,
    /// The text.
    pub text: String,
}

/// A statement without its text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StatementSummary {
    /// What is stored of it.
    pub row: StatementRow,
    /// SHA-256 of everybody's documents by form.
    pub hashes: BTreeMap<String, String>,
}

impl Engine {
    /// Makes the statement of a close, and those of earlier closes of the same month, as far as they are not stored.
    ///
    /// Where they are, nothing is done; so it may be called again and again until it succeeded.
    ///
    /// # Errors
    /// When a store fails. Statements made until then are stored.
    pub(crate) async fn issue_statements(&self, closed: &ClosedMonth) -> Result<(), EngineError> {
        let month = closed.month.to_string();
        let stored: BTreeSet<i64> =
            self.catalog.statements_of(&month).await?.into_iter().map(|row| row.version).collect();
        // A version is compared with the one before it, so they are made in order.
        let closes = self.closes_all_tenants().await?.into_iter();
        for closed in closes.filter(|close| close.month == closed.month && close.version <= closed.version) {
            if stored.contains(&i64::from(closed.version)) {
                continue;
            }
            // A close is cached a moment before its posting is; whoever closed the month makes the statement then.
            let Some(closing) = self.closing_of(&closed).await? else { return Ok(()) };
            self.issue(&closing).await?;
        }
        Ok(())
    }

    /// Returns a document as it was issued: everybody's, or a tenant's own.
    ///
    /// # Errors
    /// [`EngineError::PeriodOpen`] for a month that was never closed, [`EngineError::TenantNotFound`] for a tenant that is
    /// not the caller's, [`EngineError::NotFound`] for a version or a tenant's statement that does not exist.
    pub async fn statement(&self, scope: &TenantScope, asked: &StatementAsked) -> Result<Issued, EngineError> {
        let tenant = self.whose(scope, asked.tenant.as_deref()).await?;
        let statement = self.statement_row(asked.month, asked.version).await?;
        let (month, version, format) = (&statement.month, statement.version, asked.format.as_str());
        let document = match &tenant {
            None => self.catalog.statement_all_tenants(month, version, format).await?,
            Some(tenant) => self.catalog.statement_of_tenant(scope, tenant, month, version, format).await?,
        };
        let name = tenant.map_or_else(|| month.clone(), |tenant| format!("{month} of {tenant}"));
        let document = document.ok_or(EngineError::NotFound { kind: "statement", name })?;
        Ok(Issued { number: statement.number, sha256: document.sha256, text: document.body })
    }

    /// Returns every statement in the order of the closes.
    ///
    /// # Errors
    /// When the catalog fails.
    pub async fn statements_all_tenants(&self) -> Result<Vec<StatementSummary>, EngineError> {
        let mut hashes: BTreeMap<(String, i64), BTreeMap<String, String>> = BTreeMap::new();
        for row in self.catalog.statement_hashes_all_tenants().await? {
            hashes.entry((row.month, row.version)).or_default().insert(row.format, row.sha256);
        }
        let rows = self.catalog.list_statements().await?.into_iter();
        let summary = |row: StatementRow| StatementSummary {
            hashes: hashes.remove(&(row.month.clone(), row.version)).unwrap_or_default(),
            row,
        };
        Ok(rows.map(summary).collect())
    }

    /// Whose own statement is asked for; `None` is everybody's.
    async fn whose(&self, scope: &TenantScope, asked: Option<&str>) -> Result<Option<String>, EngineError> {
        match (scope, asked) {
            (TenantScope::All, None) => Ok(None),
            (_, Some(tenant)) => match self.catalog.tenant(scope, tenant).await? {
                Some(found) => Ok(Some(found.id)),
                None => Err(EngineError::TenantNotFound(crate::query::params::shorten(tenant))),
            },
            (TenantScope::Only(tenants), None) => match tenants.first() {
                Some(only) if tenants.len() == 1 => Ok(Some(TenantId::as_str(only).to_owned())),
                _ => {
                    let detail =
                        "the token is of several tenants, each with a statement of its own; name one with `tenant`";
                    Err(EngineError::parameter("tenant", detail))
                }
            },
        }
    }

    /// The statement of the month, its newest for no version.
    async fn statement_row(&self, month: Month, version: Option<i64>) -> Result<StatementRow, EngineError> {
        let name = month.to_string();
        let mut closes = self.closes_all_tenants().await?.into_iter().filter(|closed| closed.month == month);
        let mut stored = self.catalog.statements_of(&name).await?;
        // One that is missing was kept from being written: it is made now.
        if let Some(last) = closes.next_back().filter(|last| !stored.iter().any(|row| row.posting == last.posting)) {
            self.issue_statements(&last).await?;
            stored = self.catalog.statements_of(&name).await?;
        }
        if stored.is_empty() {
            return Err(EngineError::PeriodOpen(month));
        }
        let found = match version {
            None => stored.pop(),
            Some(version) => stored.into_iter().find(|row| row.version == version),
        };
        let missing =
            || EngineError::NotFound { kind: "statement", name: content::number(month, version.unwrap_or_default()) };
        found.ok_or_else(missing)
    }

    /// The close with its hash; `None` while its posting is not in the catalog yet.
    async fn closing_of(&self, closed: &ClosedMonth) -> Result<Option<Closing>, EngineError> {
        let posting = self.catalog.posting_all_tenants(closed.posting).await?;
        Ok(posting.map(|posting| Closing {
            month: closed.month,
            version: i64::from(closed.version),
            posting: closed.posting,
            booked_at: closed.booked_at,
            ledger_head: hash_text(&posting.hash),
        }))
    }

    /// Makes the statement of a close and stores it, unless it is there already.
    async fn issue(&self, closing: &Closing) -> Result<(), EngineError> {
        let content = self.content_of(closing).await?;
        let statement = StatementRow {
            month: closing.month.to_string(),
            version: closing.version,
            number: closing.number(),
            posting: closing.posting,
            booked_at: closing.booked_at.micros(),
            ledger_head: closing.ledger_head.clone(),
        };
        let documents = documents_of(&content, &self.settings.clearing);
        let is_new = self.catalog.insert_statement(&statement, &documents).await?;
        if is_new {
            tracing::info!(
                statement.number = %statement.number,
                posting = statement.posting,
                "statement {} was issued",
                statement.number
            );
        }
        Ok(())
    }

    async fn content_of(&self, closing: &Closing) -> Result<Content, EngineError> {
        let mut statements = BTreeMap::new();
        for (currency, amounts) in self.billed(closing).await? {
            statements.insert(currency, state(currency, amounts));
        }
        let previous = match closing.version {
            ..=1 => None,
            version => Some(self.printed(closing.month, version - 1).await?),
        };
        Ok(Content { closing: closing.clone(), statements, parties: self.parties(closing).await?, previous })
    }

    /// Billed amounts of the month's entries up to the close, estimates left out.
    async fn billed(&self, closing: &Closing) -> Result<BTreeMap<Currency, ExactAmounts>, EngineError> {
        let month = closing.month.to_string();
        let text = |column: &str| coalesce(vec![ident(column), lit("")]).alias(format!("{column}_text"));
        let grouped = vec![
            text("currency"),
            coalesce(vec![ident("tenant"), ident("consumer"), lit("")]).alias("charged"),
            text("pool"),
            text("category"),
            text("charge_category"),
        ];
        let conditions = [
            of_cost(),
            up_to_posting(closing.posting),
            // Nothing is billed before the month in which it arose.
            ident("charge_month").lt_eq(lit(month.as_str())),
            ident("billing_month").eq(lit(month.as_str())),
            Expr::IsNotTrue(Box::new(ident("memo"))),
        ];
        let batches = self
            .session_now()
            .await?
            .table(Table::Ledger.name())
            .await?
            .filter(all_of(conditions))?
            .aggregate(grouped, vec![sum(ident("billed_amount")).alias("billed")])?
            .collect()
            .await?;
        let mut found: BTreeMap<Currency, ExactAmounts> = BTreeMap::new();
        for row in rows(&batches) {
            let currency: Currency =
                row.text_or_empty(0).parse().map_err(|error| corrupt("currency of an entry", &error))?;
            let line = LineKey {
                pool: row.text_or_empty(2).into(),
                category: row.text_or_empty(3).into(),
                charge_category: row.text_or_empty(4).into(),
            };
            let consumer: Arc<str> = row.text_or_empty(1).into();
            let lines = found.entry(currency).or_default().entry(consumer).or_default();
            *lines.entry(line).or_default() += row.atoms(5);
        }
        Ok(found)
    }

    /// What the facts say of every tenant on the last day of the month, as they were recorded at the close.
    async fn parties(&self, closing: &Closing) -> Result<BTreeMap<String, Party>, EngineError> {
        // From now on nothing is recorded as of then, so that whoever reads later reads the same.
        self.catalog.pin_recorded_at(closing.booked_at.micros()).await?;
        let day = closing.month.last_day().to_string();
        let mut by_tenant: BTreeMap<String, Vec<TenantFactRow>> = BTreeMap::new();
        for fact in self.catalog.tenant_facts_all_tenants(closing.booked_at.micros()).await? {
            by_tenant.entry(fact.tenant.clone()).or_default().push(fact);
        }
        let party = |(tenant, facts): (String, Vec<TenantFactRow>)| {
            let fact = fact_on(&facts, &day)?;
            let party = Party {
                name: fact.name.clone(),
                billing_mode: Some(fact.billing_mode.clone()),
                cost_center: fact.cost_center.clone(),
                gl_account: fact.gl_account.clone(),
            };
            Some((tenant, party))
        };
        Ok(by_tenant.into_iter().filter_map(party).collect())
    }

    /// What an earlier version printed.
    async fn printed(&self, month: Month, version: i64) -> Result<Previous, EngineError> {
        let number = content::number(month, version);
        let format = StatementFormat::Json.as_str();
        let document = self.catalog.statement_all_tenants(&month.to_string(), version, format).await?;
        let document = document.ok_or_else(|| corrupt("the statement before", &format!("{number} is missing")))?;
        Ok(Previous { amounts: StatementDocument::printed_amounts(&document.body, &number)?, number })
    }
}

/// Every document of a statement: everybody's three, and JSON and CSV for each tenant.
fn documents_of(content: &Content, clearing: &crate::settings::ClearingAccount) -> Vec<StatementDocumentRow> {
    let mut documents = vec![stored("", StatementFormat::Journal, tables::journal_csv(content, clearing))];
    let rows = content.rows();
    let own = content::by_tenant(&rows);
    let everybody = std::iter::once((None, rows.as_slice()));
    let each = own.iter().map(|(tenant, rows)| (Some(*tenant), rows.as_slice()));
    for (tenant, rows) in everybody.chain(each) {
        let name = tenant.unwrap_or_default();
        let json = StatementDocument::of(content, tenant, rows).to_text();
        documents.push(stored(name, StatementFormat::Json, json));
        documents.push(stored(name, StatementFormat::Csv, tables::statement_csv(content, tenant, rows)));
    }
    documents
}

fn stored(tenant: &str, format: StatementFormat, body: String) -> StatementDocumentRow {
    StatementDocumentRow {
        tenant: tenant.to_owned(),
        format: format.to_string(),
        sha256: hex::encode(Sha256::digest(body.as_bytes())),
        body,
    }
}

#[cfg(test)]
mod tests;
