//! Entries of the ledger as rows of its table and back, without loss.

use arrow::array::{ArrayRef, RecordBatch, StringArray, StringBuilder};
use domain::policy::{Basis, Method, Tier};
use domain::{Day, Instant};
use ledger::{Cause, ChainHash, ChargeClass, Entry, EntryKind, Status};
use std::sync::Arc;

use super::columns::{self, Columns, bools, days, instants, int32s, int64s, maps, money, quantities, texts};
use super::error::LakeError;
use super::table::Table;

/// The rows of these entries, with all columns of the table `ledger`.
///
/// Write them with [`Lake::partitioned`](super::Lake::partitioned): it takes `charge_month` out of the rows,
/// null for close and reopen, and makes a file for each.
///
/// # Errors
/// If a decimal has more than 38 digits; entries of a posting do not.
pub fn to_batch(entries: &[Entry]) -> Result<RecordBatch, LakeError> {
    let columns = vec![
        ("posting", int64s(entries.iter().map(|row| row.posting))),
        ("line", int32s(entries.iter().map(|row| row.line))),
        ("kind", texts(entries.iter().map(|row| Some(row.kind.as_str())))),
        ("booked_at", instants(entries.iter().map(|row| row.booked_at))),
        ("billing_month", texts(entries.iter().map(|row| Some(row.billing_month.to_string())))),
        ("charge_month", texts(entries.iter().map(|row| row.charge_month.map(|month| month.to_string())))),
        ("charge_date", days(entries.iter().map(|row| row.charge_date))),
        ("tier", texts(entries.iter().map(|row| row.tier.map(|word| word.as_str())))),
        ("basis", texts(entries.iter().map(|row| row.basis.map(|word| word.as_str())))),
        ("memo", bools(entries.iter().map(|row| row.memo))),
        ("status", texts(entries.iter().map(|row| row.status.map(|word| word.as_str())))),
        ("reason", texts(entries.iter().map(|row| row.reason.as_deref()))),
        ("cause", texts(entries.iter().map(|row| row.cause.map(|word| word.as_str())))),
        ("charge_category", texts(entries.iter().map(|row| row.charge_category.as_deref()))),
        ("charge_class", texts(entries.iter().map(|row| row.charge_class.map(|word| word.as_str())))),
        ("pool", texts(entries.iter().map(|row| row.pool.as_deref()))),
        ("method", texts(entries.iter().map(|row| row.method.map(|word| word.as_str())))),
        ("consumer", texts(entries.iter().map(|row| row.consumer.as_deref()))),
        ("tenant", texts(entries.iter().map(|row| row.tenant.as_deref()))),
        ("user", texts(entries.iter().map(|row| row.user.as_deref()))),
        ("workflow", texts(entries.iter().map(|row| row.workflow.as_deref()))),
        ("repo", texts(entries.iter().map(|row| row.repo.as_deref()))),
        ("task_class", texts(entries.iter().map(|row| row.task_class.as_deref()))),
        ("cluster", texts(entries.iter().map(|row| row.cluster.as_deref()))),
        ("labels", maps(entries.iter().map(|row| &row.labels))?),
        ("labels_key", texts(entries.iter().map(|row| row.labels_key.as_deref()))),
        ("provider", texts(entries.iter().map(|row| row.provider.as_deref()))),
        ("service", texts(entries.iter().map(|row| row.service.as_deref()))),
        ("source", texts(entries.iter().map(|row| row.source.as_deref()))),
        ("commitment_status", texts(entries.iter().map(|row| row.commitment_status.as_deref()))),
        ("invoice_id", texts(entries.iter().map(|row| row.invoice_id.as_deref()))),
        ("category", texts(entries.iter().map(|row| row.category.as_deref()))),
        ("meter", texts(entries.iter().map(|row| row.meter.as_deref()))),
        ("unit", texts(entries.iter().map(|row| row.unit.as_deref()))),
        ("quantity", quantities(entries.iter().map(|row| row.quantity))?),
        ("unit_price", money(entries.iter().map(|row| row.unit_price))?),
        ("weight", money(entries.iter().map(|row| row.weight))?),
        ("pool_amount", money(entries.iter().map(|row| row.pool_amount))?),
        ("amount", money(entries.iter().map(|row| Some(row.amount)))?),
        ("billed_amount", money(entries.iter().map(|row| Some(row.billed_amount)))?),
        ("currency", texts(entries.iter().map(|row| row.currency.map(|currency| currency.to_string())))),
        ("amount_reporting", money(entries.iter().map(|row| Some(row.amount_reporting)))?),
        ("fx_rate", money(entries.iter().map(|row| row.fx_rate))?),
        ("fx_date", days(entries.iter().map(|row| row.fx_date))),
        ("policy_version", texts(entries.iter().map(|row| row.policy_version.as_deref()))),
        ("rate_card_version", texts(entries.iter().map(|row| row.rate_card_version.as_deref()))),
        ("run", texts(entries.iter().map(|row| row.run.as_deref()))),
        ("prev_hash", hashes(entries, |row| row.prev_hash)),
        ("hash", hashes(entries, |row| row.hash)),
    ];
    columns::batch(Table::Ledger, columns)
}

/// The same rows with the hash of their posting, which was not known when they were made.
///
/// # Errors
/// If the rows are not those of [`to_batch`].
pub fn with_hash(batch: RecordBatch, hash: ChainHash) -> Result<RecordBatch, LakeError> {
    let (schema, mut columns, rows) = batch.into_parts();
    let at = schema.index_of("hash")?;
    columns[at] = Arc::new(StringArray::from_iter_values(std::iter::repeat_n(hash.to_string(), rows)));
    Ok(RecordBatch::try_new(schema, columns)?)
}

/// Entries of one posting have the same hashes: each is written out once.
fn hashes(entries: &[Entry], hash_of: impl Fn(&Entry) -> ChainHash) -> ArrayRef {
    let mut written = (ChainHash::ZERO, ChainHash::ZERO.to_string());
    let mut texts = StringBuilder::new();
    for hash in entries.iter().map(hash_of) {
        if hash != written.0 {
            written = (hash, hash.to_string());
        }
        texts.append_value(&written.1);
    }
    Arc::new(texts.finish())
}

/// The entries of rows read from the table `ledger`, in their order; every column must be there.
///
/// # Errors
/// [`LakeError::Damaged`] if a row holds something that was never written.
pub fn from_batch(batch: &RecordBatch) -> Result<Vec<Entry>, LakeError> {
    let columns = Columns { table: Table::Ledger, batch };
    let start = Instant::from_micros(0);
    let blank = Entry::blank(0, 0, EntryKind::Cost, start, Day::from_epoch_days(0).month());
    let mut rows = vec![blank; batch.num_rows()];
    fill_booking(&mut rows, &columns)?;
    fill_owner(&mut rows, &columns)?;
    fill_measures(&mut rows, &columns)?;
    Ok(rows)
}

fn fill<T>(rows: &mut [Entry], values: Vec<T>, set: impl Fn(&mut Entry, T)) {
    for (row, value) in rows.iter_mut().zip(values) {
        set(row, value);
    }
}

/// From `posting` to `cause`.
fn fill_booking(rows: &mut [Entry], columns: &Columns<'_>) -> Result<(), LakeError> {
    fill(rows, columns.required("posting", columns.int64s("posting")?)?, |row, value| row.posting = value);
    fill(rows, columns.required("line", columns.int32s("line")?)?, |row, value| row.line = value);
    fill(rows, columns.required("kind", columns.parsed("kind", EntryKind::from_word)?)?, |row, value| row.kind = value);
    fill(rows, columns.required("booked_at", columns.instants("booked_at")?)?, |row, value| row.booked_at = value);
    fill(
        rows,
        columns.required("billing_month", columns.parsed("billing_month", |text| text.parse().ok())?)?,
        |row, value| row.billing_month = value,
    );
    fill(rows, columns.parsed("charge_month", |text| text.parse().ok())?, |row, value| row.charge_month = value);
    fill(rows, columns.days("charge_date")?, |row, value| row.charge_date = value);
    fill(rows, columns.parsed("tier", Tier::from_word)?, |row, value| row.tier = value);
    fill(rows, columns.parsed("basis", Basis::from_word)?, |row, value| row.basis = value);
    fill(rows, columns.bools("memo")?, |row, value| row.memo = value);
    fill(rows, columns.parsed("status", Status::from_word)?, |row, value| row.status = value);
    fill(rows, columns.texts("reason")?, |row, value| row.reason = value);
    fill(rows, columns.parsed("cause", Cause::from_word)?, |row, value| row.cause = value);
    Ok(())
}

/// From `charge_category` to `unit`.
fn fill_owner(rows: &mut [Entry], columns: &Columns<'_>) -> Result<(), LakeError> {
    fill(rows, columns.texts("charge_category")?, |row, value| row.charge_category = value);
    fill(rows, columns.parsed("charge_class", ChargeClass::from_word)?, |row, value| row.charge_class = value);
    fill(rows, columns.texts("pool")?, |row, value| row.pool = value);
    fill(rows, columns.parsed("method", Method::from_word)?, |row, value| row.method = value);
    fill(rows, columns.texts("consumer")?, |row, value| row.consumer = value);
    fill(rows, columns.texts("tenant")?, |row, value| row.tenant = value);
    fill(rows, columns.texts("user")?, |row, value| row.user = value);
    fill(rows, columns.texts("workflow")?, |row, value| row.workflow = value);
    fill(rows, columns.texts("repo")?, |row, value| row.repo = value);
    fill(rows, columns.texts("task_class")?, |row, value| row.task_class = value);
    fill(rows, columns.texts("cluster")?, |row, value| row.cluster = value);
    fill(rows, columns.required("labels", columns.maps("labels")?)?, |row, value| row.labels = value);
    fill(rows, columns.texts("labels_key")?, |row, value| row.labels_key = value);
    fill(rows, columns.texts("provider")?, |row, value| row.provider = value);
    fill(rows, columns.texts("service")?, |row, value| row.service = value);
    fill(rows, columns.texts("source")?, |row, value| row.source = value);
    fill(rows, columns.texts("commitment_status")?, |row, value| row.commitment_status = value);
    fill(rows, columns.texts("invoice_id")?, |row, value| row.invoice_id = value);
    fill(rows, columns.texts("category")?, |row, value| row.category = value);
    fill(rows, columns.texts("meter")?, |row, value| row.meter = value);
    fill(rows, columns.texts("unit")?, |row, value| row.unit = value);
    Ok(())
}

/// From `quantity` to `hash`.
fn fill_measures(rows: &mut [Entry], columns: &Columns<'_>) -> Result<(), LakeError> {
    fill(rows, columns.atoms("quantity")?, |row, value| row.quantity = value);
    fill(rows, columns.atoms("unit_price")?, |row, value| row.unit_price = value);
    fill(rows, columns.atoms("weight")?, |row, value| row.weight = value);
    fill(rows, columns.atoms("pool_amount")?, |row, value| row.pool_amount = value);
    fill(rows, columns.required("amount", columns.atoms("amount")?)?, |row, value| row.amount = value);
    fill(rows, columns.required("billed_amount", columns.atoms("billed_amount")?)?, |row, value| {
        row.billed_amount = value
    });
    fill(rows, columns.parsed("currency", |text| text.parse().ok())?, |row, value| row.currency = value);
    fill(rows, columns.required("amount_reporting", columns.atoms("amount_reporting")?)?, |row, value| {
        row.amount_reporting = value
    });
    fill(rows, columns.atoms("fx_rate")?, |row, value| row.fx_rate = value);
    fill(rows, columns.days("fx_date")?, |row, value| row.fx_date = value);
    fill(rows, columns.texts("policy_version")?, |row, value| row.policy_version = value);
    fill(rows, columns.texts("rate_card_version")?, |row, value| row.rate_card_version = value);
    fill(rows, columns.texts("run")?, |row, value| row.run = value);
    fill(rows, columns.required("prev_hash", columns.parsed("prev_hash", |text| text.parse().ok())?)?, |row, value| {
        row.prev_hash = value
    });
    fill(rows, columns.required("hash", columns.parsed("hash", |text| text.parse().ok())?)?, |row, value| {
        row.hash = value
    });
    Ok(())
}
