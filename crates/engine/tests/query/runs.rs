use super::given::{Store, days};
use super::lake::{bill_line, import, run};
use domain::TenantScope;
use engine::Settings;
use engine::query::EntryFilter;
use engine::run::{RunRequest, RunStatus, RunView};

const ALL: TenantScope = TenantScope::All;
const DAY: &str = "2026-11-10";

/// A policy with these pools, each with the lines of the provider of its name.
fn policy(version: &str, pools: &[&str]) -> String {
    let pool = |name: &&str| {
        format!("[[pool]]\nname = '{name}'\nselect = {{ provider = '{name}' }}\nsplit = {{ method = 'direct' }}\n")
    };
    format!("version = '{version}'\nvalid_from = 2026-11-01\n{}", pools.iter().map(pool).collect::<String>())
}

#[tokio::test]
async fn days_before_1970_are_attributed_by_the_built_in_policy() {
    let store = Store::new().await;
    import(&store, &[bill_line("1969-12-30", "A", "5.00")]).await;
    let done = run(&store, "1969-12-30", "1969-12-31").await;
    assert_eq!((done.status, done.entries, done.posting), (RunStatus::Succeeded, 1, Some(1)));
}

#[tokio::test]
async fn due_days_run_in_stretches_no_longer_than_a_range_may_be() {
    let store = Store::with(Settings { range_days_max: 2, ..Settings::default() }).await;
    let lines = ["2026-11-10", "2026-11-11", "2026-11-12", "2026-11-13", "2026-11-14"];
    import(&store, &lines.map(|day| bill_line(day, "A", "1.00"))).await;
    let (runs, _) = store.engine.run_due("test").await.unwrap();
    let stretches: Vec<String> = runs.iter().map(|run| format!("{}..{}", run.from, run.to)).collect();
    assert_eq!(stretches, ["2026-11-10..2026-11-11", "2026-11-12..2026-11-13", "2026-11-14..2026-11-14"]);
    assert_eq!(store.engine.due_days().await.unwrap().due, []);
}

#[tokio::test]
async fn a_dry_run_says_what_the_run_will_say() {
    let store = Store::new().await;
    store.engine.publish_policy(&policy("v1", &["A", "B"]), "policy.toml").await.unwrap();
    import(&store, &[bill_line(DAY, "A", "1.00"), bill_line(DAY, "B", "2.00")]).await;
    let only_a = async |dry_run: bool| -> RunView {
        let pools = Some(vec!["A".to_owned()]);
        let request = RunRequest { pools, dry_run, ..RunRequest::of(days(DAY, DAY), "test") };
        store.engine.run_and_wait(request).await.unwrap()
    };
    let (tried, done) = (only_a(true).await, only_a(false).await);
    let codes: Vec<&str> = tried.warnings.iter().map(|warning| warning.code.as_str()).collect();
    assert_eq!((codes, tried.posting), (vec!["widened"], None));
    assert_eq!((tried.warnings, tried.entries), (done.warnings, done.entries));
}

#[tokio::test]
async fn what_is_taken_back_names_the_policy_that_takes_it_back() {
    let store = Store::new().await;
    import(&store, &[bill_line(DAY, "A", "1.00"), bill_line(DAY, "B", "2.00")]).await;
    store.engine.publish_policy(&policy("v1", &["A", "B"]), "policy.toml").await.unwrap();
    run(&store, DAY, DAY).await;
    store.engine.publish_policy(&policy("v2", &["B", "C"]), "policy.toml").await.unwrap();
    run(&store, DAY, DAY).await;
    let filter = EntryFilter { posting: Some(2), ..EntryFilter::all() };
    let mut told: Vec<(String, Option<String>, String)> = Vec::new();
    for entry in store.engine.ledger_entries(&ALL, &filter).await.unwrap().rows {
        let cause = entry.cause.map(|cause| cause.as_str().to_owned()).unwrap_or_default();
        told.push((entry.pool.unwrap().to_string(), entry.policy_version.map(|version| version.to_string()), cause));
    }
    told.sort();
    let by_v2 = |pool: &str| (pool.to_owned(), Some("v2".to_owned()), "new_policy".to_owned());
    assert_eq!(told, [by_v2("A"), by_v2("unattributed")]);
}
