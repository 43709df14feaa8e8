//! Bills compared with invoices on one side and with the ledger on the other.

use crate::books::corrupt;
use crate::inputs::rows::Rows;
use crate::inputs::{lines, repeated};
use crate::periods::SourceState;
use crate::query::columns::rows;
use crate::query::select::{all_of, charged_in, up_to_posting};
use crate::{Engine, EngineError};
use attribution::line::{AttributeSet, LinePart};
use attribution::pool::pool_of;
use attribution::split::split_like;
use datafusion::functions_aggregate::expr_fn::sum;
use datafusion::prelude::{Expr, SessionContext, ident, lit};
use domain::condition::ChargeAttribute;
use domain::money::parse_atoms;
use domain::policy::UNATTRIBUTED_POOL;
use domain::{Currency, Day, DayRange, Month};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use storage::lake::Table;

/// What a row is about.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct InvoiceKey {
    /// Billing period.
    pub month: Month,
    /// Source of the lines.
    pub source: String,
    /// InvoiceId of the lines; empty for lines without one.
    pub invoice_id: String,
    /// Currency of the lines.
    pub currency: Currency,
}

impl InvoiceKey {
    /// Returns the key of the lines of the same bill that name no invoice.
    fn of_no_invoice(&self) -> Self {
        Self { invoice_id: String::new(), ..self.clone() }
    }
}

/// What a source billed in a billing period under one invoice. Money in atoms.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReconciliationRow {
    /// What it is about.
    pub key: InvoiceKey,
    /// What the invoice says, if one was entered.
    pub invoice_total: Option<i128>,
    /// BilledCost of the lines.
    pub billed: i128,
    /// What of it the ledger has attributed.
    pub attributed: i128,
    /// What of it falls on days from today on, which are not attributed yet.
    pub not_yet_due: i128,
    /// EffectiveCost of the lines. It never ties to an invoice.
    pub effective: i128,
    /// Whether the provider's billing period is still open: then the amounts are estimates.
    pub estimated: bool,
    /// What of it falls on each day and pool, in their order; it adds up to `billed`, `attributed` and `not_yet_due`. Only where
    /// it is asked for.
    parts: Vec<ReconciliationPart>,
}

/// What of a bill falls on one day and pool. Money in atoms.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReconciliationPart {
    /// The day.
    pub day: Day,
    /// The pool that takes the lines by the policy of the day; `unattributed` for those that none takes.
    pub pool: String,
    /// BilledCost of the lines.
    pub billed: i128,
    /// What of it the ledger has attributed.
    pub attributed: i128,
    /// What of it is not attributed yet, because the day is not over.
    pub not_yet_due: i128,
}

impl ReconciliationPart {
    /// Returns what the lines say more than the ledger, of what is due.
    #[must_use]
    pub fn attribution_difference(&self) -> i128 {
        self.billed - self.not_yet_due - self.attributed
    }
}

/// What a comparison came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// There is an invoice and both differences are 0.
    Reconciled,
    /// There is an invoice and some difference is not 0.
    Differs,
    /// There is no invoice to compare with.
    NoInvoice,
}

impl Verdict {
    /// Returns the word for programs.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Reconciled => "reconciled",
            Self::Differs => "differs",
            Self::NoInvoice => "no_invoice",
        }
    }

    /// Returns the mark for people.
    #[must_use]
    pub fn mark(self) -> &'static str {
        match self {
            Self::Reconciled => "✓",
            Self::Differs => "differs",
            Self::NoInvoice => "no invoice to compare",
        }
    }
}

impl ReconciliationRow {
    /// Returns what the invoice says more than the lines.
    #[must_use]
    pub fn invoice_difference(&self) -> Option<i128> {
        self.invoice_total.map(|total| total - self.billed)
    }

    /// Returns what the lines say more than the ledger, of what is due.
    #[must_use]
    pub fn attribution_difference(&self) -> i128 {
        self.billed - self.not_yet_due - self.attributed
    }

    /// Returns what the comparison came to.
    #[must_use]
    pub fn verdict(&self) -> Verdict {
        match self.invoice_difference() {
            None => Verdict::NoInvoice,
            Some(0) if self.attribution_difference() == 0 => Verdict::Reconciled,
            Some(_) => Verdict::Differs,
        }
    }
}

/// The comparison of some billing periods.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reconciliation {
    /// The rows in order of billing period, source, invoice and currency.
    pub rows: Vec<ReconciliationRow>,
    /// The posting that the answer shows.
    pub posting: Option<i64>,
}

/// A pool on a day, in one currency.
type Cell = (Day, String, Currency);
/// Source and invoice of some lines.
type Origin = (String, String);
/// Billed cost of lines by cell and origin, in atoms.
type Billed = BTreeMap<Cell, BTreeMap<Origin, i128>>;

impl Engine {
    /// Returns what sources billed in the billing periods that the days touch, beside the invoices and the ledger.
    ///
    /// The ledger need not keep invoices, so what it has attributed is told by pool and day: where the billed amount of a
    /// pool and day is what its lines say, they are attributed; where it is not, the difference is handed out to the lines
    /// of that pool and day in proportion to their size.
    ///
    /// # Errors
    /// When a store fails.
    ///
    /// # Source
    /// Spec 3-attribution, section 6, "Reconciliation".
    pub async fn reconciliation_all_tenants(
        &self,
        days: DayRange,
        source: Option<&str>,
    ) -> Result<Reconciliation, EngineError> {
        self.reconcile(days, source, None).await
    }

    async fn reconcile(
        &self,
        days: DayRange,
        source: Option<&str>,
        parts_of: Option<&InvoiceKey>,
    ) -> Result<Reconciliation, EngineError> {
        let head = self.head(None).await?;
        let session = self.session(&self.lake.pin().await?)?;
        let months: BTreeSet<Month> = days.days().map(|day| day.month()).collect();
        let (first, last) = (days.from().month(), days.to().month());
        let mut found = billed_rows(&session, first, last).await?;
        for month in months {
            self.add_attributed(&session, head.number(), month, (&mut found, parts_of)).await?;
        }
        self.add_invoices(first, last, &mut found).await?;
        self.mark_invoice_estimates(&mut found).await?;
        let wanted = |row: &ReconciliationRow| source.is_none_or(|source| row.key.source == source);
        Ok(Reconciliation { rows: found.into_values().filter(wanted).collect(), posting: head.posting })
    }

    /// Returns what of a bill falls on each day and pool, as [`Self::reconciliation_all_tenants`] adds it up.
    ///
    /// # Errors
    /// [`EngineError::NotFound`] for a bill that no row of the reconciliation is about, or when a store fails.
    pub async fn reconciliation_parts_all_tenants(
        &self,
        key: &InvoiceKey,
    ) -> Result<Vec<ReconciliationPart>, EngineError> {
        let month = DayRange::single(key.month.first_day());
        let found = self.reconcile(month, Some(&key.source), Some(key)).await?;
        let row = found.rows.into_iter().find(|row| row.key == *key);
        let missing = || format!("{} {} {} {}", key.source, key.month, key.invoice_id, key.currency);
        Ok(row.ok_or_else(|| EngineError::NotFound { kind: "bill", name: missing() })?.parts)
    }

    /// Adds what is attributed and what is not yet due of the billing period's lines.
    async fn add_attributed(
        &self,
        session: &SessionContext,
        posting: i64,
        month: Month,
        (found, parts_of): (&mut BTreeMap<InvoiceKey, ReconciliationRow>, Option<&InvoiceKey>),
    ) -> Result<(), EngineError> {
        let of_month = self.empty_session()?;
        let lines = session.table(Table::CostLines.name()).await?;
        let lines = lines.filter(ident("billing_month").eq(lit(month.to_string())))?;
        of_month.register_table(Table::CostLines.name(), lines.into_view())?;
        let Some(range) = days_of(&of_month).await? else { return Ok(()) };
        let mut ours = self.billed_by_cell(&of_month, session, range).await?;
        ours.retain(|_, origins| origins.values().any(|billed| *billed != 0));
        let touched = ours.keys().map(|(day, ..)| *day);
        let Some(range) = touched.clone().min().zip(touched.max()).and_then(|(from, to)| DayRange::new(from, to))
        else {
            return Ok(());
        };
        let all = self.billed_by_cell(session, session, range).await?;
        let booked = booked(session, posting, range).await?;
        let today = self.today();
        for (cell, origins) in &ours {
            let (day, pool, currency) = cell;
            let lines = all.get(cell).unwrap_or(origins);
            let attributed = attributed(origins, lines, booked.get(cell).copied().unwrap_or_default());
            for ((source, invoice_id), billed) in origins {
                let key =
                    InvoiceKey { month, source: source.clone(), invoice_id: invoice_id.clone(), currency: *currency };
                let Some(row) = found.get_mut(&key) else { continue };
                let (attributed, not_yet_due) = match today <= *day {
                    true => (0, *billed),
                    false => (attributed[&(source.clone(), invoice_id.clone())], 0),
                };
                row.attributed += attributed;
                row.not_yet_due += not_yet_due;
                // Lines that name no invoice may be those of the only one.
                if parts_of.is_some_and(|bill| key == *bill || key == bill.of_no_invoice()) {
                    let (day, pool, billed) = (*day, pool.clone(), *billed);
                    row.parts.push(ReconciliationPart { day, pool, billed, attributed, not_yet_due });
                }
            }
        }
        Ok(())
    }

    /// Billed cost of the lines of `bills` by the pool that takes them and the day.
    async fn billed_by_cell(
        &self,
        bills: &SessionContext,
        session: &SessionContext,
        range: DayRange,
    ) -> Result<Billed, EngineError> {
        let books = self.books_now().await?;
        let policies = books.policies_in(range);
        let attributes = AttributeSet::needed_by(policies.iter().copied());
        let loaded = lines::load(bills, range, &self.settings.zone, &attributes).await?;
        let repeated = repeated::first_days(session, &policies, range.to()).await?;
        let mut found = Billed::new();
        for (day, parts) in &loaded.days {
            let values = repeated.up_to(*day, &books.tenants);
            let policy = attribution::expand::expand(&books.policy_on(*day).content, &values);
            for part in parts {
                let pool = pool_of(&policy, part).map_or(UNATTRIBUTED_POOL, |at| policy.pools[at].name.as_str());
                let cell = (*day, pool.to_owned(), part.currency);
                *found.entry(cell).or_default().entry(origin_of(part)).or_default() += part.cost.billed;
            }
        }
        Ok(found)
    }

    /// Puts the totals of invoices beside what they bill.
    async fn add_invoices(
        &self,
        first: Month,
        last: Month,
        found: &mut BTreeMap<InvoiceKey, ReconciliationRow>,
    ) -> Result<(), EngineError> {
        let mut invoices: BTreeMap<InvoiceKey, i128> = BTreeMap::new();
        for row in self.catalog.invoices_between(&first.to_string(), &last.to_string()).await? {
            let wrong = |error: &dyn std::fmt::Display| corrupt(&format!("invoice `{}`", row.invoice_id), error);
            let key = InvoiceKey {
                month: row.billing_month.parse().map_err(|error| wrong(&error))?,
                currency: row.currency.parse().map_err(|error| wrong(&error))?,
                source: row.source.clone(),
                invoice_id: row.invoice_id.clone(),
            };
            invoices.insert(key, parse_atoms(&row.total).map_err(|error| wrong(&error))?.atoms);
        }
        for (key, total) in &invoices {
            let is_same_bill = |other: &InvoiceKey| {
                (other.month, &other.source, other.currency) == (key.month, &key.source, key.currency)
            };
            // Many bills name no invoice in their lines. If there is one invoice for them, it is theirs.
            let is_only = invoices.keys().filter(|other| is_same_bill(other)).count() == 1;
            let nameless = key.of_no_invoice();
            let named = found.keys().any(|other| is_same_bill(other) && !other.invoice_id.is_empty());
            if is_only
                && !named
                && let Some(mut row) = found.remove(&nameless)
            {
                row.key = key.clone();
                found.insert(key.clone(), row);
            }
            found.entry(key.clone()).or_insert_with(|| blank(key.clone())).invoice_total = Some(*total);
        }
        Ok(())
    }

    async fn mark_invoice_estimates(
        &self,
        found: &mut BTreeMap<InvoiceKey, ReconciliationRow>,
    ) -> Result<(), EngineError> {
        let periods = self.source_periods_all_tenants().await?.into_iter();
        let open: BTreeSet<(String, Month)> = periods
            .filter(|period| period.state == SourceState::Open)
            .map(|period| (period.source, period.month))
            .collect();
        for row in found.values_mut() {
            row.estimated = open.contains(&(row.key.source.clone(), row.key.month));
        }
        Ok(())
    }
}

fn blank(key: InvoiceKey) -> ReconciliationRow {
    ReconciliationRow {
        key,
        invoice_total: None,
        billed: 0,
        attributed: 0,
        not_yet_due: 0,
        effective: 0,
        estimated: false,
        parts: Vec::new(),
    }
}

fn origin_of(part: &LinePart) -> Origin {
    let text = |attribute| part.get(&attribute).map(|value| value.to_string()).unwrap_or_default();
    (text(ChargeAttribute::Source), text(ChargeAttribute::InvoiceId))
}

/// What of each origin's billed cost in a cell is attributed, when the ledger has `booked` for all lines of the cell.
fn attributed(ours: &BTreeMap<Origin, i128>, all: &BTreeMap<Origin, i128>, booked: i128) -> BTreeMap<Origin, i128> {
    let missing = booked - all.values().sum::<i128>();
    // Lines of other billing periods that fall into the same pool and day have their part of what is missing, too.
    let others = all.iter().map(|(origin, billed)| billed - ours.get(origin).copied().unwrap_or_default());
    let amounts: Vec<i128> = ours.values().copied().chain(others).collect();
    let weights: Vec<i128> = amounts.iter().map(|amount| amount.abs()).collect();
    let shares = split_like(missing, &weights).unwrap_or_else(|| vec![0; weights.len()]);
    let attributed = amounts.iter().zip(shares).map(|(amount, share)| amount + share);
    ours.keys().cloned().zip(attributed).collect()
}

/// The days that the lines of the session touch; none without lines.
async fn days_of(session: &SessionContext) -> Result<Option<DayRange>, EngineError> {
    let sql = "SELECT min(charge_date_from) AS first_day, max(charge_date_to) AS last_day FROM cost_lines";
    for batch in session.sql(sql).await?.collect().await? {
        let rows = Rows(&batch);
        let (first, last) = (rows.days_or_null("first_day")?, rows.days_or_null("last_day")?);
        if let Some((Some(first), Some(last))) = first.into_iter().zip(last).next() {
            return Ok(DayRange::new(first, last));
        }
    }
    Ok(None)
}

/// Billed and effective cost of the lines of these billing periods.
async fn billed_rows(
    session: &SessionContext,
    first: Month,
    last: Month,
) -> Result<BTreeMap<InvoiceKey, ReconciliationRow>, EngineError> {
    let sql = format!(
        "SELECT billing_month, source, coalesce(invoice_id, '') AS invoice, billing_currency, \
         sum(coalesce(billed_cost, 0)) AS billed, sum(coalesce(effective_cost, 0)) AS effective FROM cost_lines \
         WHERE billing_month >= '{first}' AND billing_month <= '{last}' \
         GROUP BY billing_month, source, coalesce(invoice_id, ''), billing_currency"
    );
    let mut found = BTreeMap::new();
    for batch in session.sql(&sql).await?.collect().await? {
        let rows = Rows(&batch);
        let [months, sources, invoices, currencies] = [
            rows.texts("billing_month")?,
            rows.texts("source")?,
            rows.texts("invoice")?,
            rows.texts("billing_currency")?,
        ];
        let (billed, effective) = (rows.decimals("billed")?, rows.decimals("effective")?);
        let text = |column: &[Option<Arc<str>>], row: usize| column[row].as_deref().unwrap_or_default().to_owned();
        for row in 0..batch.num_rows() {
            let key = InvoiceKey {
                month: text(&months, row).parse().map_err(|error| corrupt("a billing month", &error))?,
                source: text(&sources, row),
                invoice_id: text(&invoices, row),
                currency: text(&currencies, row).parse().map_err(|error| corrupt("a billing currency", &error))?,
            };
            let amounts = (billed[row].unwrap_or_default(), effective[row].unwrap_or_default());
            let blank = blank(key.clone());
            found.insert(key, ReconciliationRow { billed: amounts.0, effective: amounts.1, ..blank });
        }
    }
    Ok(found)
}

/// What runs have booked of billed cost, by cell. Adjustments move it between tenants and belong to no bill.
async fn booked(session: &SessionContext, posting: i64, range: DayRange) -> Result<BTreeMap<Cell, i128>, EngineError> {
    let conditions = [
        ident("kind").eq(lit("cost")),
        up_to_posting(posting),
        charged_in(range),
        Expr::IsNotTrue(Box::new(ident("memo"))),
    ];
    let batches = session
        .table(Table::Ledger.name())
        .await?
        .filter(all_of(conditions))?
        .aggregate(
            vec![ident("charge_date"), ident("pool"), ident("currency")],
            vec![sum(ident("billed_amount")).alias("billed")],
        )?
        .collect()
        .await?;
    let mut found = BTreeMap::new();
    for row in rows(&batches) {
        let Some(day) = row.day(0) else { continue };
        let currency: Currency =
            row.text_or_empty(2).parse().map_err(|error| corrupt("currency of an entry", &error))?;
        *found.entry((day, row.text_or_empty(1).to_owned(), currency)).or_default() += row.atoms(3);
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn origins(rows: &[(&str, i128)]) -> BTreeMap<Origin, i128> {
        rows.iter().map(|(invoice, billed)| (("aws".to_owned(), (*invoice).to_owned()), *billed)).collect()
    }

    #[test]
    fn lines_are_attributed_when_the_ledger_has_what_they_say() {
        let (ours, all) = (origins(&[("1", 60), ("2", 30)]), origins(&[("1", 70), ("2", 30)]));
        assert_eq!(attributed(&ours, &all, 100), ours);
        assert_eq!(attributed(&ours, &all, 0), origins(&[("1", 0), ("2", 0)]));
        assert_eq!(attributed(&ours, &all, 90), origins(&[("1", 54), ("2", 27)]));
        assert_eq!(attributed(&ours, &all, 110), origins(&[("1", 66), ("2", 33)]));
    }

    #[test]
    fn a_mark_needs_an_invoice_and_no_difference() {
        let key = InvoiceKey {
            month: "2026-10".parse().expect("a month"),
            source: "aws".to_owned(),
            invoice_id: "1".to_owned(),
            currency: Currency::USD,
        };
        let check = |total: Option<i128>, attributed: i128, not_yet_due: i128, mark: &str| {
            let row =
                ReconciliationRow { invoice_total: total, billed: 10, attributed, not_yet_due, ..blank(key.clone()) };
            assert_eq!(row.verdict().mark(), mark, "{row:?}");
        };
        check(Some(10), 10, 0, "✓");
        check(Some(10), 7, 3, "✓");
        check(Some(10), 7, 0, "differs");
        check(Some(11), 10, 0, "differs");
        check(None, 10, 0, "no invoice to compare");
    }
}
