use storage::catalog::{
    CatalogError, ImportRow, MetricStreamRow, PendingCorrectionRow, PeriodChangeRow, PostingRow, ProviderUsageRow,
    RunDayRow, RunPoolStateRow, RunRow, SourcePeriodRow, SourceRow,
};

use super::open;

const HOUR: i64 = 3_600_000_000;

fn import(id: &str, at: i64) -> ImportRow {
    ImportRow {
        id: id.to_owned(),
        kind: "focus".to_owned(),
        source: "aws".to_owned(),
        imported_at: at,
        table_name: "cost_lines".to_owned(),
        version: 3,
        row_count: 12,
        body: "{}".to_owned(),
    }
}

fn posting(number: i64, booked_at: i64) -> PostingRow {
    PostingRow {
        posting: number,
        run: Some("run-1".to_owned()),
        booked_at,
        version: number,
        entries: 5,
        hash: format!("h{number}"),
        prev_hash: format!("h{}", number - 1),
        log_sha256: "l".to_owned(),
        body: "{}".to_owned(),
    }
}

fn run(id: &str, from_day: &str, to_day: &str, created_at: i64) -> RunRow {
    RunRow {
        id: id.to_owned(),
        status: "queued".to_owned(),
        from_day: from_day.to_owned(),
        to_day: to_day.to_owned(),
        pools: None,
        dry_run: false,
        created_at,
        started_at: None,
        finished_at: None,
        posting: None,
        entries: 0,
        warnings: "[]".to_owned(),
        error: None,
        requested_by: "tok-1".to_owned(),
        body: "{}".to_owned(),
    }
}

#[tokio::test]
async fn repair_makes_the_caches_say_exactly_what_the_lake_says() {
    let (catalog, _folder) = open().await;
    catalog.insert_import(&import("stale", 100)).await.unwrap();
    catalog.insert_import(&import("kept", 110)).await.unwrap();
    catalog.insert_import(&import("kept", 110)).await.unwrap();
    catalog.insert_posting(&posting(1, 100)).await.unwrap();
    catalog.insert_posting(&posting(1, 100)).await.unwrap();
    let forged = PostingRow { hash: "other".to_owned(), ..posting(1, 100) };
    let error = catalog.insert_posting(&forged).await.unwrap_err();
    assert!(matches!(error, CatalogError::Mismatch { .. }), "{error:?}");

    let cached = catalog.import_ids().await.unwrap();
    catalog.insert_import(&import("meanwhile", 130)).await.unwrap();
    catalog.replace_imports(&cached, &[import("kept", 110), import("new", 120)]).await.unwrap();
    catalog.replace_all_postings(&[posting(1, 100), posting(2, 200)]).await.unwrap();

    let imports = catalog.list_imports_all_tenants(None, 10).await.unwrap();
    assert_eq!(imports, [import("meanwhile", 130), import("new", 120), import("kept", 110)]);
    assert_eq!(catalog.import_all_tenants("stale").await.unwrap(), None);
    assert_eq!(catalog.list_postings_all_tenants(Some(2), 10).await.unwrap(), [posting(1, 100)]);
    assert_eq!(catalog.posting_all_tenants(2).await.unwrap(), Some(posting(2, 200)));
    assert_eq!(catalog.posting_of_run("run-1").await.unwrap(), Some(posting(2, 200)));
    assert_eq!(catalog.posting_of_run("run-9").await.unwrap(), None);
    assert_eq!(catalog.posting_as_of_all_tenants(199).await.unwrap(), Some(posting(1, 100)));
    assert_eq!(catalog.posting_as_of_all_tenants(99).await.unwrap(), None);
}

#[tokio::test]
async fn pages_of_imports_taken_at_one_instant_miss_none() {
    let (catalog, _folder) = open().await;
    for id in ["a", "b", "c"] {
        catalog.insert_import(&import(id, 100)).await.unwrap();
    }
    let first = catalog.list_imports_all_tenants(None, 2).await.unwrap();
    let last = first.last().unwrap();
    let second = catalog.list_imports_all_tenants(Some((last.imported_at, &last.id)), 2).await.unwrap();
    let ids = first.iter().chain(&second).map(|row| row.id.as_str()).collect::<Vec<_>>();
    assert_eq!(ids, ["c", "b", "a"]);
}

#[tokio::test]
async fn a_run_waits_for_one_that_shares_a_day_with_it() {
    let (catalog, _folder) = open().await;
    let first = run("r1", "2026-01-01", "2026-01-31", 100);
    assert_eq!(catalog.insert_run(&first, "me", HOUR).await.unwrap(), None);

    assert_eq!(
        catalog.insert_run(&run("r2", "2026-01-31", "2026-02-02", 110), "me", HOUR).await.unwrap(),
        Some(first.clone())
    );
    assert_eq!(catalog.run("r2").await.unwrap(), None);
    assert_eq!(catalog.insert_run(&run("r3", "2026-02-01", "2026-02-02", 120), "me", HOUR).await.unwrap(), None);
    let dry = RunRow { dry_run: true, ..run("r4", "2026-01-01", "2026-01-01", 130) };
    assert_eq!(catalog.insert_run(&dry, "me", HOUR).await.unwrap(), None);
    assert_eq!(catalog.run("r4").await.unwrap(), Some(dry));

    let done = RunRow { status: "succeeded".to_owned(), posting: Some(7), entries: 3, finished_at: Some(140), ..first };
    catalog.update_run(&done).await.unwrap();
    assert_eq!(catalog.run("r1").await.unwrap(), Some(done));
    assert_eq!(catalog.insert_run(&run("r2", "2026-01-31", "2026-01-31", 150), "me", HOUR).await.unwrap(), None);
    let missing = catalog.update_run(&run("r9", "2026-01-01", "2026-01-01", 1)).await.unwrap_err();
    assert!(matches!(missing, CatalogError::NotFound { .. }), "{missing:?}");

    assert_eq!(catalog.fail_abandoned_runs(200, Some("me")).await.unwrap(), 3);
    let page = catalog.list_runs(Some((130, "r4")), 10).await.unwrap();
    assert_eq!(
        page.iter().map(|row| (row.id.as_str(), row.status.as_str())).collect::<Vec<_>>(),
        [("r3", "failed"), ("r1", "succeeded")]
    );
}

#[tokio::test]
async fn only_a_run_that_is_not_over_can_be_cancelled_and_the_first_who_asks_is_noted() {
    let (catalog, _folder) = open().await;
    let first = run("r1", "2026-01-01", "2026-01-31", 100);
    assert_eq!(catalog.insert_run(&first, "me", HOUR).await.unwrap(), None);
    assert_eq!(catalog.run_cancelled_by("r1").await.unwrap(), None);
    catalog.cancel_run("r1", "ann", 110).await.unwrap();
    catalog.cancel_run("r1", "bob", 120).await.unwrap();
    assert_eq!(catalog.run_cancelled_by("r1").await.unwrap().as_deref(), Some("ann"));

    let over = RunRow { status: "cancelled".to_owned(), finished_at: Some(130), ..first };
    catalog.update_run(&over).await.unwrap();
    let again = run("r2", "2026-01-01", "2026-01-31", 140);
    assert_eq!(catalog.insert_run(&again, "me", HOUR).await.unwrap(), None, "its days are free");
    let done = RunRow { status: "succeeded".to_owned(), finished_at: Some(150), ..again };
    catalog.update_run(&done).await.unwrap();
    catalog.cancel_run("r2", "ann", 160).await.unwrap();
    catalog.cancel_run("none", "ann", 160).await.unwrap();
    assert_eq!(catalog.run_cancelled_by("r2").await.unwrap(), None);
    assert_eq!(catalog.run_cancelled_by("none").await.unwrap(), None);
}

#[tokio::test]
async fn a_days_pool_states_are_those_of_its_last_run() {
    let (catalog, _folder) = open().await;
    let day = |run: &str| RunDayRow {
        day: "2026-01-05".to_owned(),
        run: run.to_owned(),
        inputs: "{}".to_owned(),
        updated_at: 100,
    };
    let state = |run: &str, pool: &str, reason: Option<&str>| RunPoolStateRow {
        day: "2026-01-05".to_owned(),
        pool: pool.to_owned(),
        run: run.to_owned(),
        state: if reason.is_some() { "not_run" } else { "run" }.to_owned(),
        reason: reason.map(str::to_owned),
    };

    catalog
        .record_run_days(&[day("r1")], &[state("r1", "old", None), state("r1", "eu", Some("fx_missing"))])
        .await
        .unwrap();
    catalog.record_run_days(&[day("r2")], &[state("r2", "eu", None)]).await.unwrap();

    assert_eq!(catalog.run_days("2026-01-05", "2026-01-05").await.unwrap(), [day("r2")]);
    assert_eq!(catalog.run_pool_states("2026-01-01", "2026-01-31").await.unwrap(), [state("r2", "eu", None)]);
    assert!(catalog.run_days("2026-01-06", "2026-01-31").await.unwrap().is_empty());
}

#[tokio::test]
async fn the_row_of_a_metric_stream_is_replaced_as_a_whole() {
    let (catalog, _folder) = open().await;
    let first = MetricStreamRow {
        stream: "aa".to_owned(),
        tenant: "acme".to_owned(),
        source: "otlp:{}".to_owned(),
        event_id: "0-1795172400000000001".to_owned(),
        current_start: None,
        current_at: 1_795_172_400_000_000_001,
        current_value: "0.1".to_owned(),
        previous_start: None,
        previous_at: None,
        previous_value: None,
        updated_at: 100,
    };
    let second = MetricStreamRow {
        event_id: "5-1795172400000000002".to_owned(),
        current_start: Some(5),
        current_at: 1_795_172_400_000_000_002,
        current_value: "123456789012345678.123456789".to_owned(),
        previous_at: Some(first.current_at),
        previous_value: Some("0.1".to_owned()),
        updated_at: 200,
        ..first.clone()
    };
    let other = MetricStreamRow { stream: "bb".to_owned(), ..first.clone() };

    catalog.put_metric_streams(&[first.clone(), other.clone()]).await.unwrap();
    assert_eq!(catalog.metric_stream_all_tenants("aa").await.unwrap(), Some(first));
    catalog.put_metric_streams(std::slice::from_ref(&second)).await.unwrap();

    assert_eq!(catalog.metric_stream_all_tenants("aa").await.unwrap(), Some(second));
    assert_eq!(catalog.metric_stream_all_tenants("bb").await.unwrap(), Some(other));
    assert_eq!(catalog.metric_stream_all_tenants("cc").await.unwrap(), None);
}

#[tokio::test]
async fn a_metric_stream_is_forgotten_when_it_was_not_seen_for_long() {
    let (catalog, _folder) = open().await;
    let row = |stream: &str, updated_at: i64| MetricStreamRow {
        stream: stream.to_owned(),
        tenant: "acme".to_owned(),
        source: "otlp:{}".to_owned(),
        event_id: "0-1".to_owned(),
        current_start: None,
        current_at: 1,
        current_value: "0.1".to_owned(),
        previous_start: None,
        previous_at: None,
        previous_value: None,
        updated_at,
    };
    catalog.put_metric_streams(&[row("aa", 100), row("bb", 100), row("cc", 200)]).await.unwrap();
    catalog.touch_metric_streams(&["bb".to_owned(), "unknown".to_owned()], 200).await.unwrap();
    assert_eq!(catalog.forget_metric_streams_all_tenants(200).await.unwrap(), 1);
    assert_eq!(catalog.metric_stream_all_tenants("aa").await.unwrap(), None);
    assert_eq!(catalog.metric_stream_all_tenants("bb").await.unwrap(), Some(row("bb", 200)));
    assert_eq!(catalog.metric_stream_all_tenants("cc").await.unwrap(), Some(row("cc", 200)));
}

#[tokio::test]
async fn what_is_known_of_a_source_is_replaced() {
    let (catalog, _folder) = open().await;
    assert_eq!(catalog.source("east").await.unwrap(), None);
    let begun = SourceRow {
        name: "east".to_owned(),
        kind: "prometheus".to_owned(),
        last_started_at: Some(100),
        ..SourceRow::default()
    };
    catalog.put_source(&begun).await.unwrap();
    let failed = SourceRow { last_error_at: Some(110), last_error: Some("timeout".to_owned()), ..begun.clone() };
    catalog.put_source(&failed).await.unwrap();
    assert_eq!(catalog.source("east").await.unwrap(), Some(failed));
    let ended = SourceRow { last_success_at: Some(120), row_count: 7, cursor_json: Some("{}".to_owned()), ..begun };
    catalog.put_source(&ended).await.unwrap();
    assert_eq!(catalog.source("east").await.unwrap(), Some(ended.clone()));
    assert_eq!(catalog.source("west").await.unwrap(), None);
    let sent = SourceRow { name: "cron".to_owned(), kind: "http_snapshot".to_owned(), ..SourceRow::default() };
    catalog.put_source(&sent).await.unwrap();
    assert_eq!(catalog.sources_of_kind("prometheus").await.unwrap(), [ended]);
    assert_eq!(catalog.sources_of_kind("http_snapshot").await.unwrap(), [sent]);
    assert_eq!(catalog.sources_of_kind("vercel").await.unwrap(), []);
}

fn change(posting: i64, month: &str, kind: &str) -> PeriodChangeRow {
    PeriodChangeRow {
        posting,
        month: month.to_owned(),
        kind: kind.to_owned(),
        at: posting * 10,
        actor: "finance".to_owned(),
        reason: None,
        forced: "[]".to_owned(),
        evidence: "[]".to_owned(),
    }
}

#[tokio::test]
async fn closes_and_reopens_are_a_copy_that_is_replaced_up_to_a_posting() {
    let (catalog, _folder) = open().await;
    catalog.insert_period_change(&change(1, "2026-09", "close")).await.unwrap();
    catalog.insert_period_change(&change(1, "2026-09", "close")).await.unwrap();
    catalog.insert_period_change(&change(9, "2026-10", "close")).await.unwrap();
    catalog.replace_period_changes(5, &[change(2, "2026-09", "close"), change(3, "2026-09", "reopen")]).await.unwrap();
    let expected = [change(2, "2026-09", "close"), change(3, "2026-09", "reopen"), change(9, "2026-10", "close")];
    assert_eq!(catalog.period_changes().await.unwrap(), expected);
}

#[tokio::test]
async fn what_is_not_corrected_is_replaced_by_day() {
    let (catalog, _folder) = open().await;
    let noted = |day: &str, pool: &str| PendingCorrectionRow {
        day: day.to_owned(),
        pool: pool.to_owned(),
        month: day[..7].to_owned(),
        run: "run-1".to_owned(),
        noted_at: 1,
        consumers: "[]".to_owned(),
    };
    let (a, b, c) = (noted("2026-10-01", "a"), noted("2026-10-01", "b"), noted("2026-10-02", "a"));
    let days = ["2026-10-01", "2026-10-02"].map(str::to_owned);
    catalog.replace_pending_corrections(&days, &[b.clone(), a, c.clone()]).await.unwrap();
    catalog.replace_pending_corrections(&days[..1], std::slice::from_ref(&b)).await.unwrap();
    assert_eq!(catalog.pending_corrections_all_tenants().await.unwrap(), [b, c]);
}

#[tokio::test]
async fn what_is_not_corrected_is_noted_only_beside_what_was_reckoned_with() {
    let (catalog, _folder) = open().await;
    let noted = |day: &str, run: &str| PendingCorrectionRow {
        day: day.to_owned(),
        pool: "a".to_owned(),
        month: day[..7].to_owned(),
        run: run.to_owned(),
        noted_at: 1,
        consumers: "[]".to_owned(),
    };
    let (fifth, sixth) = (noted("2026-10-05", "run-1"), noted("2026-10-06", "run-2"));
    let (on_fifth, on_sixth) = (("2026-10-05", "2026-10-05"), ("2026-10-06", "2026-10-06"));
    assert!(catalog.note_pending_corrections(on_fifth, &[], std::slice::from_ref(&fifth)).await.unwrap());
    assert!(!catalog.note_pending_corrections(on_sixth, &[], std::slice::from_ref(&sixth)).await.unwrap());
    assert_eq!(catalog.pending_corrections_all_tenants().await.unwrap(), std::slice::from_ref(&fifth));
    let beside = std::slice::from_ref(&fifth);
    assert!(catalog.note_pending_corrections(on_sixth, beside, std::slice::from_ref(&sixth)).await.unwrap());
    let again = noted("2026-10-05", "run-3");
    let beside = std::slice::from_ref(&sixth);
    assert!(catalog.note_pending_corrections(on_fifth, beside, std::slice::from_ref(&again)).await.unwrap());
    assert_eq!(catalog.pending_corrections_all_tenants().await.unwrap(), [again, sixth]);
}

#[tokio::test]
async fn what_is_said_of_a_sources_period_replaces_what_the_same_speaker_said() {
    let (catalog, _folder) = open().await;
    let said = |by: &str, state: &str| SourcePeriodRow {
        source: "aws".to_owned(),
        billing_account: String::new(),
        billing_month: "2026-10".to_owned(),
        said_by: by.to_owned(),
        state: state.to_owned(),
        actor: "finance".to_owned(),
        note: Some("final".to_owned()),
        updated_at: 1,
    };
    catalog.put_source_periods(&[said("person", "open"), said("billing_period", "open")]).await.unwrap();
    catalog.put_source_periods(&[said("person", "closed")]).await.unwrap();
    let expected = [said("billing_period", "open"), said("person", "closed")];
    assert_eq!(catalog.source_periods().await.unwrap(), expected);
    assert!(catalog.invoiced_periods().await.unwrap().is_empty());
}

#[tokio::test]
async fn what_a_provider_was_used_for_is_replaced_day_by_day() {
    let (catalog, _folder) = open().await;
    let row = |source: &str, day: &str, resource: &str, quantity: &str| ProviderUsageRow {
        source: source.to_owned(),
        provider: "vercel".to_owned(),
        usage_date: day.to_owned(),
        resource: resource.to_owned(),
        labels_key: "{}".to_owned(),
        unit: "Requests".to_owned(),
        quantity: quantity.to_owned(),
        collected_at: 1,
    };
    let replace = async |source: &str, days: &[&str], rows: &[ProviderUsageRow]| {
        let mut changed = 0;
        for day in days {
            let of_day: Vec<ProviderUsageRow> = rows.iter().filter(|row| row.usage_date == *day).cloned().collect();
            changed += catalog.replace_provider_usage(source, day, &of_day).await.unwrap();
        }
        changed
    };
    let days = ["2026-11-01", "2026-11-02"];
    let first = [row("v", "2026-11-01", "a", "1"), row("v", "2026-11-01", "b", "2"), row("v", "2026-11-02", "a", "3")];
    assert_eq!(replace("v", &days, &first).await, 3);
    assert_eq!(replace("w", &days, &[row("w", "2026-11-01", "a", "9")]).await, 1);
    assert_eq!(replace("v", &days, &first).await, 0, "the same again changes nothing");

    let restated = [row("v", "2026-11-01", "a", "5")];
    assert_eq!(replace("v", &days[..1], &restated).await, 2, "one is another one, one is gone");

    let found = catalog.provider_usage(Some("v"), "2026-11-01", "2026-11-30").await.unwrap();
    assert_eq!(found, [restated[0].clone(), first[2].clone()]);
    let found = catalog.provider_usage(None, "2026-11-01", "2026-11-01").await.unwrap();
    assert_eq!(found, [restated[0].clone(), row("w", "2026-11-01", "a", "9")]);
    let any = async |from: &str, to: &str| catalog.any_provider_usage("v", from, to).await.unwrap();
    assert_eq!(any("2026-11-01", "2026-11-30").await, Some(restated[0].clone()));
    assert_eq!(any("2026-11-03", "2026-11-30").await, None);
}

#[tokio::test]
async fn a_day_of_very_many_quantities_is_replaced_as_a_whole() {
    let (catalog, _folder) = open().await;
    let row = |number: usize, quantity: usize| ProviderUsageRow {
        source: "w".to_owned(),
        provider: "wasabi".to_owned(),
        usage_date: "2026-11-01".to_owned(),
        resource: format!("resource_{}", number % 7),
        labels_key: format!(r#"{{"bucket":"b'{number:04} \"x\" $1 ?"}}"#),
        unit: "Bytes".to_owned(),
        quantity: quantity.to_string(),
        collected_at: 1,
    };
    let beside = ProviderUsageRow { source: "v".to_owned(), ..row(3, 9) };
    let before = ProviderUsageRow { usage_date: "2026-10-31".to_owned(), ..row(3, 9) };
    for one in [&beside, &before] {
        let rows = std::slice::from_ref(one);
        assert_eq!(catalog.replace_provider_usage(&one.source, &one.usage_date, rows).await.unwrap(), 1);
    }
    let check = async |mut rows: Vec<ProviderUsageRow>, changed: u64| {
        let found = catalog.replace_provider_usage("w", "2026-11-01", &rows).await.unwrap();
        assert_eq!(found, changed);
        rows.sort_by(|one, other| (&one.resource, &one.labels_key).cmp(&(&other.resource, &other.labels_key)));
        let stored = catalog.provider_usage(Some("w"), "2026-11-01", "2026-11-01").await.unwrap();
        assert_eq!(stored, rows);
    };
    // More than one statement takes, to the row and beyond it.
    check((0..50).map(|number| row(number, 1)).collect(), 50).await;
    check((0..251).map(|number| row(number, 1)).collect(), 201).await;
    check((0..251).map(|number| row(number, 1)).collect(), 0).await;
    // Every third is another one, the last 101 are gone, and 60 are new.
    let restated = (0..150).chain(1_000..1_060).map(|number| row(number, if number % 3 == 0 { 2 } else { 1 }));
    check(restated.collect(), 50 + 101 + 60).await;
    check(Vec::new(), 210).await;
    assert_eq!(catalog.provider_usage(Some("v"), "2026-11-01", "2026-11-01").await.unwrap(), [beside]);
    assert_eq!(catalog.provider_usage(Some("w"), "2026-10-01", "2026-11-30").await.unwrap(), [before]);
}
