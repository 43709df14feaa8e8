use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::array::{ArrayRef, RecordBatch, StringArray};
use domain::policy::{Basis, Method, Tier};
use domain::{Currency, Instant};
use ledger::{
    Cause, ChainHash, ChargeClass, Desired, Difference, Entry, EntryKey, EntryKind, Head, Header, Line, PeriodChange,
    PoolDay, PoolState, Posting, Status, verify_chain,
};
use storage::lake::{LakeError, Table, ledger_rows, pool_day_rows};
use tempfile::TempDir;

use super::sample;

fn some(text: &str) -> Option<Arc<str>> {
    Some(text.into())
}

/// No column is null, every number is at an edge.
fn full_entry() -> Entry {
    let text = |name: &str| some(&format!("{name} “ü”/%"));
    Entry {
        charge_month: "2026-10".parse().ok(),
        charge_date: "2026-10-31".parse().ok(),
        tier: Some(Tier::Overhead),
        basis: Some(Basis::Adjustment),
        memo: Some(true),
        status: Some(Status::Pending),
        reason: text("reason"),
        cause: Some(Cause::WindowClosed),
        charge_category: text("charge_category"),
        charge_class: Some(ChargeClass::Correction),
        pool: text("pool"),
        method: Some(Method::ByCost),
        consumer: text("consumer"),
        tenant: text("tenant"),
        user: text("user"),
        workflow: text("workflow"),
        repo: text("repo"),
        task_class: text("task_class"),
        cluster: text("cluster"),
        labels: BTreeMap::from([("a".into(), "".into()), ("ü".into(), "\"x\"".into())]),
        labels_key: text("labels_key"),
        provider: text("provider"),
        service: text("service"),
        source: text("source"),
        commitment_status: text("commitment_status"),
        invoice_id: text("invoice_id"),
        category: text("category"),
        meter: text("meter"),
        unit: text("unit"),
        quantity: Some(-(10_i128.pow(27))),
        unit_price: Some(10_i128.pow(27)),
        weight: Some(1),
        pool_amount: Some(10_i128.pow(38) - 1),
        amount: -1,
        billed_amount: 10_i128.pow(27),
        currency: Some(Currency::EUR),
        amount_reporting: i128::from(i64::MAX) + 1,
        fx_rate: Some(1_085_000_000_000_000),
        fx_date: "1969-12-31".parse().ok(),
        policy_version: text("policy_version"),
        rate_card_version: text("rate_card_version"),
        run: text("run"),
        prev_hash: ChainHash([7; 32]),
        hash: ChainHash([255; 32]),
        ..Entry::blank(i64::MAX, i32::MAX, EntryKind::Adjustment, sample::NOW, "2026-11".parse().unwrap())
    }
}

fn blank_entry() -> Entry {
    Entry::blank(1, 1, EntryKind::Close, sample::NOW, "2026-10".parse().unwrap())
}

fn pool_day(state: PoolState) -> PoolDay {
    PoolDay {
        run: "run-1".into(),
        charge_date: "2026-10-31".parse().unwrap(),
        pool: "shared".into(),
        tier: Tier::Amortized,
        basis: Basis::Billed,
        memo: false,
        method: Method::Weighted,
        state,
        charge_category: some("Usage"),
        service: some("AmazonEC2"),
        provider: some("AWS"),
        source: some("aws"),
        commitment_status: some("Used"),
        invoice_id: some("INV-7"),
        category: some("compute"),
        amount: 10_i128.pow(27),
        billed_amount: -1,
        currency: Currency::USD,
        amount_reporting: Some(5),
        fx_rate: Some(1),
        fx_date: "2026-10-30".parse().ok(),
        lines: 12,
        inputs: r#"{"imports":["a"]}"#.into(),
    }
}

#[test]
fn entries_come_back_as_they_were() {
    let entries = [full_entry(), blank_entry(), full_entry()];
    let batch = ledger_rows::to_batch(&entries).unwrap();
    assert_eq!(batch.schema(), Table::Ledger.schema());
    assert_eq!(ledger_rows::from_batch(&batch).unwrap(), entries);
    assert_eq!(ledger_rows::from_batch(&ledger_rows::to_batch(&[]).unwrap()).unwrap(), []);
}

#[test]
fn pool_days_come_back_as_they_were() {
    let not_run = PoolDay {
        charge_category: None,
        service: None,
        provider: None,
        source: None,
        commitment_status: None,
        invoice_id: None,
        category: None,
        amount_reporting: None,
        fx_rate: None,
        fx_date: None,
        ..pool_day(PoolState::NotRun("fx_missing".into()))
    };
    let pool_days = [pool_day(PoolState::Run), not_run];
    let batch = pool_day_rows::to_batch(&pool_days).unwrap();
    assert_eq!(batch.schema(), Table::PoolDays.schema());
    assert_eq!(pool_day_rows::from_batch(&batch).unwrap(), pool_days);
}

#[test]
fn a_row_that_was_never_written_is_refused() {
    let batch = ledger_rows::to_batch(&[full_entry()]).unwrap();
    for (column, text) in [("cause", "because"), ("hash", "00"), ("charge_month", "2026"), ("currency", "usd")] {
        let index = batch.schema().index_of(column).unwrap();
        let mut columns: Vec<ArrayRef> = batch.columns().to_vec();
        columns[index] = Arc::new(StringArray::from(vec![text]));
        let changed = RecordBatch::try_new(batch.schema(), columns).unwrap();
        let error = ledger_rows::from_batch(&changed).unwrap_err();
        assert!(matches!(&error, LakeError::Damaged { reason, .. } if reason.contains(column)), "{error}");
    }
}

fn line(tenant: &str, day: &str, amount: i128) -> Line {
    let key = EntryKey {
        charge_date: day.parse().unwrap(),
        tier: Tier::Direct,
        basis: Basis::Rated,
        memo: true,
        status: Status::Final,
        charge_category: some("Usage"),
        pool: "platform-usage".into(),
        method: Some(Method::Rated),
        consumer: tenant.into(),
        tenant: some(tenant),
        user: None,
        workflow: None,
        repo: None,
        task_class: None,
        cluster: None,
        labels_key: r#"{"env":"prod","team":"a"}"#.into(),
        provider: None,
        service: None,
        source: None,
        commitment_status: None,
        invoice_id: None,
        category: None,
        meter: some("api_calls"),
        currency: Currency::USD,
    };
    let says = Desired { amount, billed_amount: amount, quantity: Some(3), unit: some("Calls"), ..Desired::default() };
    let difference = Difference { key, existed: false, says };
    Line { difference, cause: Cause::First, billing_month: "2026-11".parse().unwrap() }
}

/// Lines of two months, then a close: three files in two commits, one of them without a month.
fn postings() -> [Posting; 2] {
    let header = Header::after(&Head::EMPTY, sample::NOW, some("run-1"));
    let lines = vec![line("acme", "2026-11-01", 5), line("acme", "2026-10-31", 6), line("globex", "2026-10-31", -7)];
    let first = Posting::seal(header, EntryKind::Cost, lines);
    let header = Header::after(&first.head(), Instant::from_micros(0), None);
    let second = Posting::seal_period(header, PeriodChange::Close, "2026-10".parse().unwrap());
    [first, second]
}

#[tokio::test]
async fn a_chain_holds_after_it_was_stored() {
    let folder = TempDir::new().unwrap();
    let lake = sample::open(folder.path()).await;
    let written = postings();
    for posting in &written {
        sample::append_newest(&lake, Table::Ledger, &ledger_rows::to_batch(&posting.entries).unwrap()).await;
    }

    let pinned = sample::open(folder.path()).await.pin_table(Table::Ledger).await.unwrap();
    let mut stored: BTreeMap<i64, Vec<Entry>> = BTreeMap::new();
    for batch in sample::query(&pinned, "SELECT * FROM ledger").await {
        for entry in ledger_rows::from_batch(&batch).unwrap() {
            stored.entry(entry.posting).or_default().push(entry);
        }
    }
    let read: Vec<Posting> = stored.into_values().map(|entries| Posting::from_stored(entries).unwrap()).collect();
    assert_eq!(read, written);
    assert_eq!(verify_chain(read), Ok(written[1].head()));
}
