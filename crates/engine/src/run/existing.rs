//! What the ledger says: sums of all entries of kind `cost` of some days, by key, whatever pool they name.

use crate::EngineError;
use crate::inputs::rows::{Rows, unexpected};
use datafusion::prelude::SessionContext;
use domain::DayRange;
use domain::policy::{Basis, Method, Tier};
use ledger::{EntryKey, Existing, Status, Sums};
use std::collections::BTreeMap;
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
pub(super) async fn load(
    session: &SessionContext,
    range: DayRange,
) -> Result<BTreeMap<EntryKey, Existing>, EngineError> {
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
    let mut existing = BTreeMap::new();
    for batch in session.sql(&sql).await?.collect().await? {
        read(&Rows(&batch), batch.num_rows(), &mut existing)?;
    }
    Ok(existing)
}

fn read(rows: &Rows<'_>, count: usize, existing: &mut BTreeMap<EntryKey, Existing>) -> Result<(), EngineError> {
    let days = rows.days("charge_date")?;
    let text = |name: &str| rows.texts(name);
    let (tiers, bases, statuses, methods, memos) =
        (text("tier")?, text("basis")?, text("status")?, text("method")?, text("memo")?);
    let columns: BTreeMap<&str, Vec<Option<Arc<str>>>> =
        TEXTS.iter().map(|name| Ok((*name, text(name)?))).collect::<Result<_, EngineError>>()?;
    let decimals = |name: &str| rows.decimals(name);
    let (amount, billed) = (decimals("amount")?, decimals("billed_amount")?);
    let (reporting, quantity) = (decimals("amount_reporting")?, decimals("quantity")?);
    let (units, reasons) = (text("unit")?, text("reason")?);
    for row in 0..count {
        let column = |name: &str| columns[name][row].clone();
        let required = |name: &str| column(name).ok_or_else(|| unexpected(name, "null in an entry of kind cost"));
        let key = EntryKey {
            charge_date: days[row],
            tier: word("tier", &tiers[row], Tier::from_word)?,
            basis: word("basis", &bases[row], Basis::from_word)?,
            memo: memos[row].as_deref() == Some("true"),
            status: word("status", &statuses[row], Status::from_word)?,
            charge_category: column("charge_category"),
            pool: required("pool")?,
            method: methods[row].as_ref().map(|_| word("method", &methods[row], Method::from_word)).transpose()?,
            consumer: required("consumer")?,
            tenant: column("tenant"),
            user: column("user"),
            workflow: column("workflow"),
            repo: column("repo"),
            task_class: column("task_class"),
            cluster: column("cluster"),
            labels_key: required("labels_key")?,
            provider: column("provider"),
            service: column("service"),
            source: column("source"),
            commitment_status: column("commitment_status"),
            invoice_id: column("invoice_id"),
            category: column("category"),
            meter: column("meter"),
            currency: required("currency")?.parse().map_err(|error| unexpected("currency", error))?,
        };
        let sums = Sums {
            amount: amount[row].unwrap_or(0),
            billed_amount: billed[row].unwrap_or(0),
            amount_reporting: reporting[row].unwrap_or(0),
            quantity: quantity[row].unwrap_or(0),
        };
        existing.insert(key, Existing { sums, unit: units[row].clone(), reason: reasons[row].clone() });
    }
    Ok(())
}

fn word<T>(name: &str, text: &Option<Arc<str>>, read: impl Fn(&str) -> Option<T>) -> Result<T, EngineError> {
    let text = text.as_deref().unwrap_or_default();
    read(text).ok_or_else(|| unexpected(name, format!("`{text}` is not a word of the ledger")))
}
