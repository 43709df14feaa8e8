//! What went into pools as rows of the table `pool_days` and back, without loss.

use arrow::array::RecordBatch;
use domain::policy::{Basis, Method, Tier};
use ledger::{PoolDay, PoolState};

use super::columns::{self, Columns, bools, days, int64s, money, texts};
use super::error::LakeError;
use super::table::Table;

/// The rows of these pool days, with all columns of the table `pool_days`, `charge_month` among them.
///
/// # Errors
/// If a decimal has more than 38 digits; pool days do not.
pub fn to_batch(pool_days: &[PoolDay]) -> Result<RecordBatch, LakeError> {
    let all = || pool_days.iter();
    let columns = vec![
        ("run", texts(all().map(|row| Some(&row.run)))),
        ("charge_month", texts(all().map(|row| Some(row.charge_date.month().to_string())))),
        ("charge_date", days(all().map(|row| Some(row.charge_date)))),
        ("pool", texts(all().map(|row| Some(&row.pool)))),
        ("tier", texts(all().map(|row| Some(row.tier.as_str())))),
        ("basis", texts(all().map(|row| Some(row.basis.as_str())))),
        ("method", texts(all().map(|row| Some(row.method.as_str())))),
        ("memo", bools(all().map(|row| Some(row.memo)))),
        ("state", texts(all().map(|row| Some(row.state.to_string())))),
        ("charge_category", texts(all().map(|row| row.charge_category.as_deref()))),
        ("service", texts(all().map(|row| row.service.as_deref()))),
        ("provider", texts(all().map(|row| row.provider.as_deref()))),
        ("source", texts(all().map(|row| row.source.as_deref()))),
        ("commitment_status", texts(all().map(|row| row.commitment_status.as_deref()))),
        ("invoice_id", texts(all().map(|row| row.invoice_id.as_deref()))),
        ("category", texts(all().map(|row| row.category.as_deref()))),
        ("amount", money(all().map(|row| Some(row.amount)))?),
        ("billed_amount", money(all().map(|row| Some(row.billed_amount)))?),
        ("currency", texts(all().map(|row| Some(row.currency.to_string())))),
        ("amount_reporting", money(all().map(|row| row.amount_reporting))?),
        ("fx_rate", money(all().map(|row| row.fx_rate))?),
        ("fx_date", days(all().map(|row| row.fx_date))),
        ("lines", int64s(all().map(|row| row.lines))),
        ("inputs", texts(all().map(|row| Some(&row.inputs)))),
    ];
    columns::batch(Table::PoolDays, columns)
}

/// The pool days of rows read from the table `pool_days`, in their order; every column must be there.
///
/// # Errors
/// [`LakeError::Damaged`] if a row holds something that was never written.
pub fn from_batch(batch: &RecordBatch) -> Result<Vec<PoolDay>, LakeError> {
    const LENGTH: &str = "columns of a batch are equally long";
    let columns = Columns { table: Table::PoolDays, batch };
    let mut run = columns.required("run", columns.texts("run")?)?.into_iter();
    let mut charge_date = columns.required("charge_date", columns.days("charge_date")?)?.into_iter();
    let mut pool = columns.required("pool", columns.texts("pool")?)?.into_iter();
    let mut tier = columns.required("tier", columns.parsed("tier", Tier::from_word)?)?.into_iter();
    let mut basis = columns.required("basis", columns.parsed("basis", Basis::from_word)?)?.into_iter();
    let mut method = columns.required("method", columns.parsed("method", Method::from_word)?)?.into_iter();
    let mut memo = columns.required("memo", columns.bools("memo")?)?.into_iter();
    let mut state = columns.required("state", columns.parsed("state", PoolState::from_text)?)?.into_iter();
    let mut charge_category = columns.texts("charge_category")?.into_iter();
    let mut service = columns.texts("service")?.into_iter();
    let mut provider = columns.texts("provider")?.into_iter();
    let mut source = columns.texts("source")?.into_iter();
    let mut commitment_status = columns.texts("commitment_status")?.into_iter();
    let mut invoice_id = columns.texts("invoice_id")?.into_iter();
    let mut category = columns.texts("category")?.into_iter();
    let mut amount = columns.required("amount", columns.atoms("amount")?)?.into_iter();
    let mut billed_amount = columns.required("billed_amount", columns.atoms("billed_amount")?)?.into_iter();
    let mut currency = columns.required("currency", columns.parsed("currency", |text| text.parse().ok())?)?.into_iter();
    let mut amount_reporting = columns.atoms("amount_reporting")?.into_iter();
    let mut fx_rate = columns.atoms("fx_rate")?.into_iter();
    let mut fx_date = columns.days("fx_date")?.into_iter();
    let mut lines = columns.required("lines", columns.int64s("lines")?)?.into_iter();
    let mut inputs = columns.required("inputs", columns.texts("inputs")?)?.into_iter();
    let row = |_| PoolDay {
        run: run.next().expect(LENGTH),
        charge_date: charge_date.next().expect(LENGTH),
        pool: pool.next().expect(LENGTH),
        tier: tier.next().expect(LENGTH),
        basis: basis.next().expect(LENGTH),
        method: method.next().expect(LENGTH),
        memo: memo.next().expect(LENGTH),
        state: state.next().expect(LENGTH),
        charge_category: charge_category.next().expect(LENGTH),
        service: service.next().expect(LENGTH),
        provider: provider.next().expect(LENGTH),
        source: source.next().expect(LENGTH),
        commitment_status: commitment_status.next().expect(LENGTH),
        invoice_id: invoice_id.next().expect(LENGTH),
        category: category.next().expect(LENGTH),
        amount: amount.next().expect(LENGTH),
        billed_amount: billed_amount.next().expect(LENGTH),
        currency: currency.next().expect(LENGTH),
        amount_reporting: amount_reporting.next().expect(LENGTH),
        fx_rate: fx_rate.next().expect(LENGTH),
        fx_date: fx_date.next().expect(LENGTH),
        lines: lines.next().expect(LENGTH),
        inputs: inputs.next().expect(LENGTH),
    };
    Ok((0..batch.num_rows()).map(row).collect())
}
