//! What the ledger says: sums of all entries of kind `cost` of some days, by key, whatever pool they name.

use crate::EngineError;
use crate::inputs::rows::{Rows, unexpected};
use datafusion::prelude::SessionContext;
use domain::policy::{Basis, Method, Tier};
use domain::{Currency, Day, DayRange};
use ledger::{ByKey, EntryKey, Existing, Status};
use std::sync::Arc;

const TEXTS: [&str; 18] = [
    "charge_category",
    "tenant",
    "user",
    "workflow",
    "repo",
    "task_class",
    "cluster",
    "provider",
    "service",
    "source",
    "commitment_status",
    "invoice_id",
    "category",
    "meter",
    "pool",
    "consumer",
    "labels_key",
    "currency",
];

/// Returns the sums by key of the days' entries.
///
/// # Errors
/// When the query fails or an entry holds a word that was never written.
pub(super) async fn load(session: &SessionContext, range: DayRange) -> Result<ByKey<Existing>, EngineError> {
    let texts = TEXTS.map(|name| format!("\"{name}\"")).join(", ");
    let (first, last) = (range.from().month(), range.to().month());
    let sql = format!(
        "SELECT charge_date, tier, basis, memo, status, method, {texts}, sum(amount) AS amount, sum(billed_amount) AS billed_amount, \
         sum(amount_reporting) AS amount_reporting, sum(coalesce(quantity, 0)) AS quantity, max(unit) AS unit, max(reason) AS reason \
         FROM ledger WHERE kind = 'cost' AND charge_month >= '{first}' AND charge_month <= '{last}' \
         AND charge_date >= DATE '{}' AND charge_date <= DATE '{}' \
         GROUP BY charge_date, tier, basis, memo, status, method, {texts}",
        range.from(),
        range.to()
    );
    let mut existing = Vec::new();
    for batch in session.sql(&sql).await?.collect().await? {
        existing.append(&mut read(&Rows(&batch))?);
    }
    Ok(ByKey::existing(existing))
}

fn read(rows: &Rows<'_>) -> Result<Vec<(EntryKey, Existing)>, EngineError> {
    let mut found: Vec<_> =
        rows.days("charge_date")?.into_iter().map(|day| (blank(day), Existing::default())).collect();
    let found = &mut found;
    fill(found, words(rows, "tier", Tier::from_word)?, |row, tier| row.0.tier = tier);
    fill(found, words(rows, "basis", Basis::from_word)?, |row, basis| row.0.basis = basis);
    fill(found, rows.texts("memo")?, |row, memo| row.0.memo = memo.as_deref() == Some("true"));
    fill(found, words(rows, "status", Status::from_word)?, |row, status| row.0.status = status);
    fill(found, rows.texts("charge_category")?, |row, text| row.0.charge_category = text);
    fill(found, required(rows, "pool")?, |row, text| row.0.pool = text);
    fill(found, optional_words(rows, "method", Method::from_word)?, |row, method| row.0.method = method);
    fill(found, required(rows, "consumer")?, |row, text| row.0.consumer = text);
    fill(found, rows.texts("tenant")?, |row, text| row.0.tenant = text);
    fill(found, rows.texts("user")?, |row, text| row.0.user = text);
    fill(found, rows.texts("workflow")?, |row, text| row.0.workflow = text);
    fill(found, rows.texts("repo")?, |row, text| row.0.repo = text);
    fill(found, rows.texts("task_class")?, |row, text| row.0.task_class = text);
    fill(found, rows.texts("cluster")?, |row, text| row.0.cluster = text);
    fill(found, required(rows, "labels_key")?, |row, text| row.0.labels_key = text);
    fill(found, rows.texts("provider")?, |row, text| row.0.provider = text);
    fill(found, rows.texts("service")?, |row, text| row.0.service = text);
    fill(found, rows.texts("source")?, |row, text| row.0.source = text);
    fill(found, rows.texts("commitment_status")?, |row, text| row.0.commitment_status = text);
    fill(found, rows.texts("invoice_id")?, |row, text| row.0.invoice_id = text);
    fill(found, rows.texts("category")?, |row, text| row.0.category = text);
    fill(found, rows.texts("meter")?, |row, text| row.0.meter = text);
    fill(found, words(rows, "currency", |word| word.parse().ok())?, |row, currency| row.0.currency = currency);
    fill(found, rows.decimals("amount")?, |row, atoms| row.1.sums.amount = atoms.unwrap_or(0));
    fill(found, rows.decimals("billed_amount")?, |row, atoms| row.1.sums.billed_amount = atoms.unwrap_or(0));
    fill(found, rows.decimals("amount_reporting")?, |row, atoms| row.1.sums.amount_reporting = atoms.unwrap_or(0));
    fill(found, rows.decimals("quantity")?, |row, atoms| row.1.sums.quantity = atoms.unwrap_or(0));
    fill(found, rows.texts("unit")?, |row, text| row.1.unit = text);
    fill(found, rows.texts("reason")?, |row, text| row.1.reason = text);
    Ok(std::mem::take(found))
}

type Row = (EntryKey, Existing);

fn fill<T>(rows: &mut [Row], values: Vec<T>, set: impl Fn(&mut Row, T)) {
    for (row, value) in rows.iter_mut().zip(values) {
        set(row, value);
    }
}

/// A key of the day; [`read`] fills in every other column.
fn blank(charge_date: Day) -> EntryKey {
    let nothing: Arc<str> = Arc::default();
    EntryKey {
        charge_date,
        tier: Tier::Direct,
        basis: Basis::Billed,
        memo: false,
        status: Status::Final,
        charge_category: None,
        pool: Arc::clone(&nothing),
        method: None,
        consumer: Arc::clone(&nothing),
        tenant: None,
        user: None,
        workflow: None,
        repo: None,
        task_class: None,
        cluster: None,
        labels_key: nothing,
        provider: None,
        service: None,
        source: None,
        commitment_status: None,
        invoice_id: None,
        category: None,
        meter: None,
        currency: Currency::USD,
    }
}

fn required(rows: &Rows<'_>, name: &str) -> Result<Vec<Arc<str>>, EngineError> {
    let missing = || unexpected(name, "null in an entry of kind cost");
    rows.texts(name)?.into_iter().map(|text| text.ok_or_else(missing)).collect()
}

fn words<T>(rows: &Rows<'_>, name: &str, read: impl Fn(&str) -> Option<T>) -> Result<Vec<T>, EngineError> {
    required(rows, name)?.iter().map(|text| word(name, text, &read)).collect()
}

fn optional_words<T>(
    rows: &Rows<'_>,
    name: &str,
    read: impl Fn(&str) -> Option<T>,
) -> Result<Vec<Option<T>>, EngineError> {
    rows.texts(name)?.iter().map(|text| text.as_deref().map(|text| word(name, text, &read)).transpose()).collect()
}

fn word<T>(name: &str, text: &str, read: impl Fn(&str) -> Option<T>) -> Result<T, EngineError> {
    read(text).ok_or_else(|| unexpected(name, format!("`{text}` is not a word of the ledger")))
}
