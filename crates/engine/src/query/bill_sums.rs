//! What the lines of each bill add up to, as they stand.

use crate::inputs::rows::Rows;
use crate::{Engine, EngineError};
use domain::{DayRange, Instant};
use std::sync::Arc;

/// What one import brought of a billing account, billing period and currency.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BillSum {
    /// Who sent it.
    pub source: String,
    /// The import.
    pub import_id: String,
    /// BillingAccountId; empty if the lines have none.
    pub billing_account: String,
    /// BillingPeriodStart.
    pub billing_period_start: Instant,
    /// Currency of the amounts.
    pub currency: String,
    /// Lines.
    pub lines: u64,
    /// BilledCost in atoms.
    pub billed: i128,
    /// EffectiveCost in atoms.
    pub effective: i128,
}

impl Engine {
    /// Returns what every bill adds up to; with a range, those whose lines lie around any of its days, whole.
    ///
    /// # Errors
    /// When the lake cannot be read.
    pub async fn bill_sums_all_tenants(&self, range: Option<DayRange>) -> Result<Vec<BillSum>, EngineError> {
        let touches = |range: DayRange| {
            let (from, to) = (range.from(), range.to());
            format!("HAVING min(charge_date_from) <= DATE '{to}' AND max(charge_date_to) >= DATE '{from}'")
        };
        let sql = format!(
            "SELECT source, import_id, billing_account_id, billing_period_start, billing_currency, count(*) AS lines, \
             sum(coalesce(billed_cost, 0)) AS billed, sum(coalesce(effective_cost, 0)) AS effective FROM cost_lines \
             GROUP BY source, import_id, billing_account_id, billing_period_start, billing_currency {}",
            range.map_or_else(String::new, touches)
        );
        let session = self.session_now().await?;
        let mut sums = Vec::new();
        for batch in session.sql(&sql).await?.collect().await? {
            let rows = Rows(&batch);
            let (sources, imports) = (rows.texts("source")?, rows.texts("import_id")?);
            let (accounts, currencies) = (rows.texts("billing_account_id")?, rows.texts("billing_currency")?);
            let (starts, lines) = (rows.instants("billing_period_start")?, rows.integers("lines")?);
            let (billed, effective) = (rows.decimals("billed")?, rows.decimals("effective")?);
            let text = |column: &[Option<Arc<str>>], row: usize| column[row].as_deref().unwrap_or("").to_owned();
            sums.extend((0..batch.num_rows()).map(|row| BillSum {
                source: text(&sources, row),
                import_id: text(&imports, row),
                billing_account: text(&accounts, row),
                billing_period_start: starts[row].unwrap_or(Instant::from_micros(0)),
                currency: text(&currencies, row),
                lines: u64::try_from(lines[row]).unwrap_or(0),
                billed: billed[row].unwrap_or(0),
                effective: effective[row].unwrap_or(0),
            }));
        }
        Ok(sums)
    }
}
