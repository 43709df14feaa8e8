//! Values that more than one test file needs.

use domain::policy::{Basis, Method, Tier};
use domain::{Currency, Day, Instant, Month};
use ledger::{
    Cause, Desired, Difference, EntryKey, EntryKind, Head, Header, Line, PeriodChange, Posting, Status, consumer,
};

pub fn day(text: &str) -> Day {
    text.parse().expect("a day")
}

pub fn month(text: &str) -> Month {
    text.parse().expect("a month")
}

pub fn instant(text: &str) -> Instant {
    text.parse().expect("an instant")
}

/// A key with as little as possible.
pub fn key(pool: &str, who: &str) -> EntryKey {
    EntryKey {
        charge_date: day("2026-10-31"),
        tier: Tier::Direct,
        basis: Basis::Billed,
        memo: false,
        status: Status::Final,
        charge_category: Some("Usage".into()),
        pool: pool.into(),
        method: Some(Method::Even),
        consumer: who.into(),
        tenant: (!who.starts_with("__")).then(|| who.into()),
        user: None,
        workflow: None,
        repo: None,
        task_class: None,
        cluster: None,
        labels_key: "{}".into(),
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

/// A line in which no column is null but `reason`.
pub fn full_line() -> Line {
    let key = EntryKey {
        tier: Tier::Amortized,
        basis: Basis::Rated,
        status: Status::Pending,
        pool: "shared-west-us".into(),
        method: Some(Method::Weighted),
        consumer: consumer(&[Some("acme".into()), Some("ci/nightly".into())]),
        tenant: Some("acme".into()),
        user: Some("user-1".into()),
        workflow: Some("ci/nightly".into()),
        repo: Some("acme/shop".into()),
        task_class: Some("refactor".into()),
        cluster: Some("west".into()),
        labels_key: r#"{"model":"small-1","team":"Müller"}"#.into(),
        provider: Some("AWS".into()),
        service: Some("AmazonEC2".into()),
        source: Some("aws".into()),
        commitment_status: Some("Used".into()),
        invoice_id: Some("INV-7".into()),
        category: Some("compute".into()),
        meter: Some("cpu_core_hours".into()),
        currency: Currency::EUR,
        ..key("", "")
    };
    let says = Desired {
        amount: 8_196_721_311_475_410,
        billed_amount: -1,
        amount_reporting: 9_016_393_442_622_951,
        quantity: Some(10_000_000_000),
        unit: Some("Core-Hours".into()),
        unit_price: Some(500_000_000_000_000),
        weight: Some(5_000_000_000_000_000),
        pool_amount: Some(100_000_000_000_000_000),
        reason: None,
        policy_version: Some("2026-10".into()),
        rate_card_version: Some("2026-09".into()),
        fx_rate: Some(1_100_000_000_000_000),
        fx_date: Some(day("2026-10-30")),
    };
    let difference = Difference { key, existed: false, says };
    Line { difference, cause: Cause::LateUsage, billing_month: month("2026-11") }
}

/// A line with as many nulls as a cost entry can have.
pub fn sparse_line() -> Line {
    let key = EntryKey { charge_category: None, ..key("unattributed", "__unattributed__") };
    let says = Desired { amount: 1, reason: Some("no_pool".into()), ..Desired::default() };
    let difference = Difference { key, existed: true, says };
    Line { difference, cause: Cause::BillRestated, billing_month: month("2026-10") }
}

/// A ledger of two postings: two cost entries, then the close of a month.
pub fn two_postings() -> Vec<Posting> {
    let now = instant("2026-11-02T00:30:00.000001Z");
    let header = Header::after(&Head::EMPTY, now, Some("run-0001".into()));
    let first = Posting::seal(header, EntryKind::Cost, vec![sparse_line(), full_line()]);
    let close = Header::after(&first.head(), now, None);
    vec![first, Posting::seal_period(close, PeriodChange::Close, month("2026-10"))]
}
