//! Closed months: corrections, materiality, what stands against a close, and what the lake alone can tell.

use super::given::{Store, days, only};
use super::lake::{BillLine, Used, bill_line, emit, happened, import, measure, run};
use domain::money::parse_atoms;
use domain::{Clock as _, Month, TenantScope, Weight};
use engine::periods::{CloseRequest, PeriodChanged, PeriodState, ReopenRequest, SaidBy, SaidPeriod, SourceState};
use engine::query::{EntryFilter, ProofFilter};
use engine::run::RunRequest;
use engine::{EngineError, Settings};
use ledger::{Entry, EntryKind, ProofState};
use std::collections::{BTreeMap, BTreeSet};
use storage::catalog::{NewTenantAlias, NewTenantFact};
use storage::lake::Table;

const ALL: TenantScope = TenantScope::All;
const POLICY: &str = r#"
version = "v1"
valid_from = 2026-01-01
[[pool]]
name = "shared"
select = { provider = "A" }
split = { method = "proportional", meter = "cpu_core_hours" }
"#;
/// Atoms of one core hour.
const HOUR: i128 = 1_000_000_000;

fn month(text: &str) -> Month {
    text.parse().unwrap()
}

fn atoms(text: &str) -> i128 {
    parse_atoms(text).unwrap().atoms
}

fn used(day: &'static str, tenant: &'static str, quantity: i128) -> Used {
    Used { day, tenant, cluster: "c", meter: "cpu_core_hours", quantity }
}

/// Two days of October, each a bill of 100.00 that two tenants used alike, attributed.
async fn october() -> Store {
    let store = Store::new().await;
    store.engine.publish_policy(POLICY, "policy.toml").await.unwrap();
    import(&store, &[bill_line("2026-10-05", "A", "100.00"), bill_line("2026-10-06", "A", "100.00")]).await;
    let all = ["2026-10-05", "2026-10-06"].map(|day| [used(day, "acme", HOUR), used(day, "globex", HOUR)]);
    measure(&store, &all.concat()).await;
    run(&store, "2026-10-01", "2026-10-31").await;
    store
}

fn asked(of: &str) -> CloseRequest {
    CloseRequest { month: month(of), force: false, reason: None, requested_by: "finance".to_owned(), request: None }
}

fn forced(of: &str) -> CloseRequest {
    CloseRequest { force: true, reason: Some("agreed with the auditor".to_owned()), ..asked(of) }
}

async fn close(store: &Store, of: &str) -> PeriodChanged {
    store.engine.close_period(&asked(of)).await.unwrap()
}

async fn reopen(store: &Store, of: &str) -> Result<PeriodChanged, EngineError> {
    let reason = "a bill came late".to_owned();
    store
        .engine
        .reopen_period(&ReopenRequest { month: month(of), reason, requested_by: "finance".to_owned(), request: None })
        .await
}

/// The codes of what stands against a close, each once.
async fn obstacles(store: &Store, of: &str) -> Vec<String> {
    match store.engine.close_period(&asked(of)).await {
        Err(EngineError::PeriodNotClosable { obstacles, .. }) => {
            let mut codes: Vec<String> = obstacles.into_iter().map(|obstacle| obstacle.code).collect();
            codes.dedup();
            codes
        }
        other => panic!("{other:?}"),
    }
}

/// What a month costs by a clock.
async fn cost(store: &Store, of: &str, clock: &str, more: &[(&str, &str)]) -> i128 {
    let of = month(of);
    let range = days(&of.first_day().to_string(), &of.last_day().to_string());
    let mut params = vec![("clock", clock)];
    params.extend_from_slice(more);
    store.costs(&ALL, range, &params).await.unwrap().totals.cost
}

async fn entries(store: &Store, posting: i64) -> Vec<Entry> {
    let filter = EntryFilter { posting: Some(posting), ..EntryFilter::all() };
    store.engine.ledger_entries(&ALL, &filter).await.unwrap().rows
}

async fn check_ledger(store: &Store) {
    let verified = store.engine.verify_all_tenants(None).await.unwrap();
    assert!(verified.ok, "{verified:?}");
    let proof = store.engine.proof_all_tenants(&ProofFilter::all()).await.unwrap();
    assert!(proof.rows.iter().all(|row| row.state == ProofState::Proved), "{:?}", proof.rows);
}

#[tokio::test]
async fn a_close_is_one_line_and_a_later_correction_is_billed_in_the_earliest_open_month() {
    let store = october().await;
    let closed = close(&store, "2026-10").await;
    assert_eq!((closed.posting, closed.is_closed, closed.forced.len()), (2, true, 0));
    let lines = entries(&store, 2).await;
    let [line] = &lines[..] else { panic!("one line: {lines:?}") };
    assert_eq!((line.kind, line.billing_month, line.charge_date), (EntryKind::Close, month("2026-10"), None));
    assert!(matches!(store.engine.close_period(&asked("2026-10")).await, Err(EngineError::PeriodClosed(_))));

    import(&store, &[bill_line("2026-10-05", "A", "10.00"), bill_line("2026-11-02", "A", "7.00")]).await;
    let posting = run(&store, "2026-10-01", "2026-11-19").await.posting.unwrap();

    for entry in entries(&store, posting).await {
        let is_late = entry.charge_month == Some(month("2026-10"));
        assert_eq!(entry.billing_month, month("2026-11"));
        assert_eq!(entry.charge_class.is_some(), is_late, "{entry:?}");
    }
    let both = [cost(&store, "2026-10", "charged", &[]).await, cost(&store, "2026-11", "charged", &[]).await];
    assert_eq!(both, [atoms("210.00"), atoms("7.00")]);
    let both = [cost(&store, "2026-10", "billed", &[]).await, cost(&store, "2026-11", "billed", &[]).await];
    assert_eq!(both, [atoms("200.00"), atoms("17.00")]);
    assert_eq!(cost(&store, "2026-10", "charged", &[("as_of", "posting:2")]).await, atoms("200.00"));
    check_ledger(&store).await;
}

/// T8: by the clock of statements, too, a tenant is told its own cost and nothing from which a peer's follows.
#[tokio::test]
async fn t8_by_the_billing_clock_a_tenant_sees_its_own_corrections_only() {
    let store = october().await;
    close(&store, "2026-10").await;
    measure(&store, &[used("2026-10-05", "globex", 2 * HOUR)]).await;
    run(&store, "2026-10-05", "2026-10-05").await;
    let november = days("2026-11-01", "2026-11-30");
    let own = store.costs(&only("acme"), november, &[("clock", "billed")]).await.unwrap();
    let named: Vec<&str> = own.rows.iter().flat_map(|row| &row.key).map(|(_, value)| value.as_str()).collect();
    assert_eq!((named, own.totals.cost), (vec!["acme"], atoms("-25.00")));
    assert_eq!((own.totals.reserved, own.meta.conservation, own.meta.ledger_head), (None, None, None));
    let peer = store.costs(&only("acme"), november, &[("clock", "billed"), ("filter", "tenant:globex")]).await;
    assert!(matches!(peer, Err(EngineError::TenantNotFound(_))));
    assert_eq!(cost(&store, "2026-11", "billed", &[]).await, 0);
}

#[tokio::test]
async fn a_run_and_a_close_at_once_are_one_after_the_other() {
    let store = october().await;
    for (of, day) in [("2026-10", "2026-10-07"), ("2026-10", "2026-10-08"), ("2026-10", "2026-10-09")] {
        import(&store, &[bill_line(day, "A", "3.00")]).await;
        let (closes, range) = (forced(of), days(day, day));
        let request = RunRequest::of(range, "test");
        let (closed, ran) = tokio::join!(store.engine.close_period(&closes), store.engine.run_and_wait(request));
        let (closed, posting) = (closed.unwrap().posting, ran.unwrap().posting.unwrap());
        let billed: BTreeSet<Month> = entries(&store, posting).await.iter().map(|entry| entry.billing_month).collect();
        let expected = if posting < closed { month("2026-10") } else { month("2026-11") };
        assert_eq!(billed, BTreeSet::from([expected]));
        reopen(&store, of).await.unwrap();
    }
    check_ledger(&store).await;
}

#[tokio::test]
async fn small_differences_of_a_closed_month_are_noted_and_swept_and_large_ones_are_posted() {
    let store = october().await;
    close(&store, "2026-10").await;
    // A hundredth more moves 25 cents from one to the other.
    measure(&store, &[used("2026-10-05", "acme", HOUR / 100), used("2026-10-06", "acme", HOUR / 100)]).await;
    let done = run(&store, "2026-10-01", "2026-10-31").await;
    let codes: Vec<&str> = done.warnings.iter().map(|warning| warning.code.as_str()).collect();
    assert_eq!((done.posting, codes), (None, vec!["pending_correction"; 2]));
    let noted = store.engine.pending_corrections_all_tenants().await.unwrap();
    let named: Vec<(String, &str)> = noted.iter().map(|one| (one.day.to_string(), one.pool.as_str())).collect();
    assert_eq!(named, [("2026-10-05".to_owned(), "shared"), ("2026-10-06".to_owned(), "shared")]);
    let net: i128 = noted[0].consumers.iter().map(|one| one.amount_reporting).sum();
    assert_eq!((net, store.engine.due_days().await.unwrap().due.len()), (0, 0));
    let listed = store.engine.list_periods_all_tenants(|_| true).await.unwrap();
    let row = listed.iter().find(|row| row.month == month("2026-10")).unwrap();
    assert_eq!((row.state, row.pending_corrections.len(), row.closes), (PeriodState::Closed, 2, 1));

    // Ten hours more are not small, and what was noted of the same day goes with them.
    measure(&store, &[used("2026-10-05", "globex", 10 * HOUR)]).await;
    let posting = run(&store, "2026-10-05", "2026-10-05").await.posting.unwrap();
    assert!(entries(&store, posting).await.iter().all(|entry| entry.billing_month == month("2026-11")));
    assert_eq!(store.engine.pending_corrections_all_tenants().await.unwrap().len(), 1);
    check_ledger(&store).await;

    let swept = store.engine.sweep_periods("finance").await.unwrap();
    assert_eq!((swept.len(), swept[0].posting), (1, Some(posting + 1)));
    assert_eq!(store.engine.pending_corrections_all_tenants().await.unwrap(), []);
    assert!(store.engine.sweep_periods("finance").await.unwrap().is_empty());
    assert_eq!(cost(&store, "2026-11", "billed", &[]).await, 0);
    assert_ne!(cost(&store, "2026-11", "billed", &[("filter", "tenant:acme")]).await, 0);
    check_ledger(&store).await;
}

#[tokio::test]
async fn two_runs_at_once_leave_no_more_undone_than_one() {
    let store = october().await;
    close(&store, "2026-10").await;
    // Each day moves 59 cents from one to the other: one of them may stay undone, both together may not.
    let small = 24 * HOUR / 1000;
    measure(&store, &[used("2026-10-05", "acme", small), used("2026-10-06", "acme", small)]).await;
    let run_of = |day: &'static str| store.engine.run_and_wait(RunRequest::of(days(day, day), "test"));
    let (first, second) = tokio::join!(run_of("2026-10-05"), run_of("2026-10-06"));
    let posted = [first.unwrap().posting, second.unwrap().posting];
    assert_eq!(posted.iter().flatten().count(), 1, "{posted:?}");
    let noted = store.engine.pending_corrections_all_tenants().await.unwrap();
    assert_eq!(noted.len(), 1, "{noted:?}");
    let is_small = |moved: i128| atoms("0.50") < moved && moved <= atoms("1.00");
    assert!(noted[0].consumers.iter().all(|one| is_small(one.amount_reporting.abs())), "{noted:?}");
    check_ledger(&store).await;
}

#[tokio::test]
async fn what_was_noted_of_a_month_is_due_when_the_month_is_open_again() {
    let store = october().await;
    close(&store, "2026-10").await;
    measure(&store, &[used("2026-10-05", "acme", HOUR / 100)]).await;
    assert_eq!(run(&store, "2026-10-05", "2026-10-05").await.posting, None);
    reopen(&store, "2026-10").await.unwrap();
    let due: Vec<String> = store.engine.due_days().await.unwrap().due.iter().map(ToString::to_string).collect();
    assert_eq!(due, ["2026-10-05"]);
    assert_eq!(obstacles(&store, "2026-10").await, ["days_due"]);
    let (runs, _) = store.engine.run_due("test").await.unwrap();
    assert!(entries(&store, runs[0].posting.unwrap()).await.iter().all(|entry| entry.charge_class.is_none()));
    assert_eq!(store.engine.pending_corrections_all_tenants().await.unwrap(), []);
    close(&store, "2026-10").await;
    check_ledger(&store).await;
}

#[tokio::test]
async fn months_close_in_order_after_they_ended_and_only_the_latest_reopens() {
    let store = Store::new().await;
    store.engine.publish_policy(POLICY, "policy.toml").await.unwrap();
    assert_eq!(obstacles(&store, "2026-10").await, ["no_entries"]);
    for day in ["2026-09-30", "2026-10-01", "2026-11-01"] {
        import(&store, &[bill_line(day, "A", "1.00")]).await;
        measure(&store, &[used(day, "acme", HOUR)]).await;
    }
    run(&store, "2026-09-01", "2026-11-19").await;
    assert_eq!(obstacles(&store, "2026-10").await, ["out_of_order"]);
    close(&store, "2026-09").await;
    close(&store, "2026-10").await;
    assert_eq!(obstacles(&store, "2026-11").await, ["not_ended"]);
    assert!(matches!(reopen(&store, "2026-09").await, Err(EngineError::Period(_))));
    assert!(!reopen(&store, "2026-10").await.unwrap().is_closed);
    assert!(matches!(reopen(&store, "2026-10").await, Err(EngineError::Period(_))));
    close(&store, "2026-10").await;
    let closes = store.engine.closes_all_tenants().await.unwrap();
    let told: Vec<(String, u32)> = closes.iter().map(|one| (one.month.to_string(), one.version)).collect();
    assert_eq!(told, [("2026-09", 1), ("2026-10", 1), ("2026-10", 2)].map(|(of, version)| (of.to_owned(), version)));

    // What the catalog knows of it is a copy: the log alone tells.
    store.engine.catalog().replace_period_changes(i64::MAX, &[]).await.unwrap();
    assert!(store.engine.closes_all_tenants().await.unwrap().is_empty());
    assert!(store.engine.periods_now().await.unwrap().is_closed(month("2026-10")));
    store.engine.repair().await.unwrap();
    assert_eq!(store.engine.closes_all_tenants().await.unwrap(), closes);
    check_ledger(&store).await;
}

#[tokio::test]
async fn everything_that_stands_against_a_close_is_told_and_can_be_overruled_with_a_reason() {
    let store = october().await;
    let other = |day| BillLine { source: "other", ..bill_line(day, "A", "1.00") };
    // Imported while the month ran: the provider may still change it.
    store.clock.set("2026-10-20T12:00:00Z".parse().unwrap());
    import(&store, &[other("2026-10-07")]).await;
    store.clock.set("2026-11-20T12:00:00Z".parse().unwrap());
    assert_eq!(obstacles(&store, "2026-10").await, ["days_due", "source_period_open"]);
    import(&store, &[bill_line("2026-10-08", "nobody's", "11.00")]).await;
    run(&store, "2026-10-01", "2026-10-31").await;
    // The bill of the 7th had no driver; together with the 8th that is more than 5 % of the month.
    assert_eq!(obstacles(&store, "2026-10").await, ["source_period_open", "unattributed"]);
    let said = SaidPeriod {
        source: "other".to_owned(),
        billing_account: String::new(),
        month: month("2026-10"),
        state: SourceState::Closed,
        said_by: SaidBy::Person,
        note: None,
    };
    store.engine.say_of_source_periods(&[said], "finance").await.unwrap();
    assert_eq!(obstacles(&store, "2026-10").await, ["unattributed"]);

    let silent = CloseRequest { reason: None, ..forced("2026-10") };
    assert!(matches!(store.engine.close_period(&silent).await, Err(EngineError::InvalidParameter { .. })));
    let closed = store.engine.close_period(&forced("2026-10")).await.unwrap();
    assert_eq!(closed.forced.iter().map(|one| one.code.as_str()).collect::<Vec<_>>(), ["unattributed"]);
    let listed = store.engine.list_periods_all_tenants(|_| true).await.unwrap();
    let changed = listed.iter().find(|row| row.month == month("2026-10")).unwrap().changed.clone().unwrap();
    assert_eq!((changed.reason.as_deref(), changed.forced), (Some("agreed with the auditor"), closed.forced));
}

#[tokio::test]
async fn what_was_entered_of_days_that_no_run_takes_by_itself_is_noted_before_their_month_is_closed() {
    let store = october().await;
    let notes = async || -> Vec<(String, String)> {
        let months = store.engine.list_periods_all_tenants(|_| true).await.unwrap();
        let row = months.into_iter().find(|row| row.is_next).unwrap();
        row.checklist.notes.into_iter().map(|note| (note.code, note.about)).collect()
    };
    assert!(notes().await.is_empty());
    let alias = NewTenantAlias {
        alias: "globex".to_owned(),
        tenant: Some("acme".to_owned()),
        valid_from: "2026-10-06".to_owned(),
        valid_to: None,
    };
    let now = store.clock.now().micros();
    store.engine.catalog().put_tenant(&NewTenantFact::system("acme"), &[alias], now).await.unwrap();
    // The later days are within those that a nightly run takes again.
    assert_eq!(notes().await, [("days_stale".to_owned(), "2026-10-01 to 2026-10-15".to_owned())]);
    run(&store, "2026-10-01", "2026-10-31").await;
    assert!(notes().await.is_empty());
    close(&store, "2026-10").await;
}

#[tokio::test]
async fn a_bill_that_the_month_before_has_is_missing_until_somebody_says_that_there_is_none() {
    let store = october().await;
    import(&store, &[BillLine { source: "gone", ..bill_line("2026-09-30", "A", "1.00") }]).await;
    measure(&store, &[used("2026-09-30", "acme", HOUR)]).await;
    run(&store, "2026-09-30", "2026-09-30").await;
    close(&store, "2026-09").await;
    assert_eq!(obstacles(&store, "2026-10").await, ["source_period_missing"]);
    let periods = store.engine.source_periods_all_tenants().await.unwrap();
    let told: Vec<String> = periods.iter().map(|one| format!("{} {}", one.name(), one.state.as_str())).collect();
    assert_eq!(told, ["bill 2026-10 closed", "gone 2026-09 closed", "gone 2026-10 missing"]);
}

#[tokio::test]
async fn a_window_that_is_open_stands_against_the_close_of_its_month() {
    let policy = r#"
version = "v1"
valid_from = 2026-01-01
[[pool]]
name = "gather"
tier = "amortized"
source = { event_type = "gathered", key = "$.id", cost = "$.cost", currency = "USD" }
split = { method = "window", by = ["tenant"], event_type = "read", key = "$.id", window = "24h", each = "consumer" }
"#;
    let store = Store::new().await;
    store.engine.publish_policy(policy, "policy.toml").await.unwrap();
    let mut caused = happened("2026-10-31T20:00:00Z", "gathered", "acme", "w");
    let mut read = happened("2026-10-31T21:00:00Z", "read", "globex", "w");
    (caused.data, read.data) = (Some(r#"{"id":"g","cost":"4.00"}"#), Some(r#"{"id":"g"}"#));
    emit(&store, 1, &[caused, read]).await;
    store.clock.set("2026-11-01T02:00:00Z".parse().unwrap());
    run(&store, "2026-10-31", "2026-10-31").await;
    assert_eq!(obstacles(&store, "2026-10").await, ["pending"]);
    store.clock.set("2026-11-02T02:00:00Z".parse().unwrap());
    assert_eq!(obstacles(&store, "2026-10").await, ["days_due", "pending"]);
    run(&store, "2026-10-31", "2026-10-31").await;
    close(&store, "2026-10").await;
    check_ledger(&store).await;

    let closes = store.engine.closes_all_tenants().await.unwrap();
    let [file] = &closes[0].evidence[..] else { panic!("one day with windows: {closes:?}") };
    let windows = store.engine.window_evidence_all_tenants(file).await.unwrap();
    let [window] = &windows[..] else { panic!("one window: {windows:?}") };
    let used = serde_json::json!([{ "consumer": "globex", "weight": "1" }]);
    for (name, value) in [("key", "g"), ("status", "final"), ("amount", "4.00"), ("day", "2026-10-31")] {
        assert_eq!(window[name], value, "{window}");
    }
    assert_eq!(window["consumers"], used);
    let path = store.table_folder(Table::Ledger).parent().unwrap().join(format!("evidence/{}.jsonl", file.sha256));
    std::fs::write(path, "{}").unwrap();
    let verified = store.engine.verify_all_tenants(None).await.unwrap();
    assert!(verified.faults[0].what.contains("the evidence of 2026-10-31"), "{verified:?}");
}

/// Numbers that look random and are the same every time.
struct Random(u64);

impl Random {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % bound
    }
}

const SIMULATED: [&str; 8] =
    ["2026-08-03", "2026-08-30", "2026-09-01", "2026-09-15", "2026-10-02", "2026-10-31", "2026-11-01", "2026-11-18"];
const AMOUNTS: [&str; 4] = ["0.01", "3.33", "-12.50", "250.00"];

/// L: whatever is restated, closed and reopened, a closed month is billed what it was billed when it was closed, nothing
/// is billed twice or not at all, and every answer is given again.
#[tokio::test]
async fn l_a_quarter_of_restatements_closes_and_reopens_keeps_every_closed_month_as_it_was() {
    let store = Store::with(Settings { unattributed_ratio_max: Weight::ONE, ..Settings::default() }).await;
    store.engine.publish_policy(POLICY, "policy.toml").await.unwrap();
    let mut random = Random(7);
    let mut closed: BTreeMap<Month, i128> = BTreeMap::new();
    let mut answers: Vec<(i64, i128)> = Vec::new();
    let (mut closes, mut reopens, mut corrections) = (0, 0, 0);
    for step in 0..60 {
        match random.below(6) {
            0 | 1 => {
                let next =
                    store.engine.list_periods_all_tenants(|_| true).await.unwrap().into_iter().find(|row| row.is_next);
                let Some(row) = next else { continue };
                store.engine.close_period(&forced(&row.month.to_string())).await.unwrap();
                closed.insert(row.month, cost(&store, &row.month.to_string(), "billed", &[]).await);
                closes += 1;
            }
            2 => {
                let Some((latest, _)) = closed.pop_last() else { continue };
                assert!(!reopen(&store, &latest.to_string()).await.unwrap().is_closed);
                reopens += 1;
            }
            _ => {
                let day = SIMULATED[usize::try_from(random.below(8)).unwrap()];
                let amount = AMOUNTS[usize::try_from(random.below(4)).unwrap()];
                import(&store, &[bill_line(day, "A", amount)]).await;
                if random.below(2) == 0 {
                    measure(&store, &[used(day, "acme", HOUR), used(day, "globex", HOUR / 3)]).await;
                }
                let (runs, _) = store.engine.run_due("test").await.unwrap();
                for posting in runs.iter().filter_map(|run| run.posting) {
                    corrections +=
                        entries(&store, posting).await.iter().filter(|one| one.charge_class.is_some()).count();
                }
            }
        }
        for (of, billed) in &closed {
            assert_eq!(cost(&store, &of.to_string(), "billed", &[]).await, *billed, "step {step}: {of}");
        }
        let year = days("2026-01-01", "2026-12-31");
        let by = async |clock: &str| store.costs(&ALL, year, &[("clock", clock)]).await.unwrap();
        let (charged, billed) = (by("charged").await, by("billed").await);
        assert_eq!(charged.totals.cost, billed.totals.cost, "step {step}");
        assert_eq!(charged.meta.conservation.unwrap().difference, 0, "step {step}");
        answers.extend(charged.meta.posting.map(|posting| (posting, charged.totals.cost)));
    }
    check_ledger(&store).await;
    let year = days("2026-01-01", "2026-12-31");
    for (posting, cost) in &answers {
        let state = format!("posting:{posting}");
        let again = store.costs(&ALL, year, &[("as_of", state.as_str())]).await.unwrap();
        assert_eq!(again.totals.cost, *cost, "posting {posting}");
    }
    for group_by in ["tenant", "pool", "tier", "charge_category"] {
        let params = [("clock", "billed"), ("group_by", group_by), ("limit", "10000")];
        let table = store.costs(&ALL, year, &params).await.unwrap();
        assert_eq!(table.rows.iter().map(|row| row.cost).sum::<i128>(), table.totals.cost, "{group_by}");
    }
    println!("L: {closes} closes, {reopens} reopens, {corrections} corrections, {} answers repeated", answers.len());
    assert!(closes > 3 && reopens > 1 && corrections > 3);
}
