use super::given::{Given, Store, given, only};
use super::lake::{Happened, emit, happened};
use domain::money::{format_atoms, parse_atoms};
use domain::policy::{Method, Tier};
use domain::tenant::{IDLE, OVERHEAD};
use domain::{TenantId, TenantScope};
use engine::EngineError;
use engine::query::unit_costs::UnitCostRow;
use engine::query::{UnitCostQuery, UnitCostTable};
use ledger::Status;
use storage::catalog::RetractionRow;

const ALL: TenantScope = TenantScope::All;
const NOVEMBER: (&str, &str) = ("2026-11-01", "2026-11-19");

fn atoms(text: &str) -> i128 {
    parse_atoms(text).unwrap().atoms
}

fn of(workflow: &'static str, entry: Given) -> Given {
    Given { workflow: Some(workflow), category: "ai", ..entry }
}

/// Four workflows: `w1` and `w2` of one repo were merged, `w3` failed, of `w4` nothing came; and cost that is of none.
fn entries() -> Vec<Given> {
    let amortized = |entry: Given| Given { tier: Tier::Amortized, category: "other", ..entry };
    let rest = Given { tier: Tier::Overhead, method: Method::None, ..given("2026-11-05", "rent", OVERHEAD, "31.00") };
    vec![
        of("w1", given("2026-11-02", "llm", "acme", "10.00")),
        amortized(of("w1", given("2026-11-02", "gather", "acme", "2.00"))),
        of("w2", given("2026-10-30", "llm", "acme", "4.00")),
        of("w2", given("2026-11-09", "llm", "acme", "5.00")),
        Given { status: Status::Pending, ..amortized(of("w2", given("2026-11-09", "gather", "acme", "1.00"))) },
        of("w3", given("2026-11-10", "llm", "globex", "7.00")),
        Given { memo: true, method: Method::Rated, ..of("w3", given("2026-11-10", "est", "globex", "3.00")) },
        Given { task_class: Some("chore"), ..of("w4", given("2026-11-11", "llm", "globex", "1.00")) },
        given("2026-11-10", "llm", IDLE, "4.00"),
        rest,
    ]
}

fn events() -> Vec<Happened> {
    let web = |event: Happened| Happened { repo: Some("web"), task_class: Some("fix"), ..event };
    vec![
        web(happened("2026-11-03T10:00:00Z", "pr.merged", "acme", "w1")),
        happened("2026-11-03T10:00:01Z", "workflow.completed", "acme", "w1"),
        web(happened("2026-11-10T10:00:00Z", "pr.merged", "acme", "w2")),
        happened("2026-11-12T10:00:00Z", "pr.merged", "acme", "w2"),
        happened("2026-11-12T10:00:01Z", "workflow.completed", "acme", "w2"),
        happened("2026-11-12T10:00:02Z", "workflow.completed", "acme", "w2"),
        Happened { repo: Some("old"), ..happened("2026-11-10T08:00:00Z", "llm.completion", "globex", "w3") },
        Happened { repo: Some("api"), ..happened("2026-11-10T09:00:00Z", "llm.completion", "globex", "w3") },
        happened("2026-11-10T11:00:00Z", "workflow.failed", "globex", "w3"),
    ]
}

async fn store() -> Store {
    let mut store = Store::new().await;
    store.post(&entries(), &entries()).await;
    emit(&store, 0, &events()).await;
    store
}

async fn ask(
    store: &Store,
    scope: &TenantScope,
    (from, to): (&str, &str),
    params: &[(&str, &str)],
) -> Result<UnitCostTable, EngineError> {
    let mut given = vec![("from", from), ("to", to)];
    given.extend(params);
    let query = UnitCostQuery::parse(&given, &store.engine.query_limits(100, 1000))?;
    store.engine.unit_costs(scope, &query).await
}

/// Key, cost, merged pull requests and the first ratio of a row.
fn printed(table: &UnitCostTable) -> Vec<String> {
    let row = |row: &UnitCostRow| {
        let sums = &row.figures.sums;
        let ratio = sums.cost_per_merged_pr().map_or_else(|| "none".to_owned(), format_atoms);
        format!("{} {} {} {ratio}", row.key, format_atoms(sums.cost), sums.n)
    };
    table.rows.iter().map(row).collect()
}

fn row<'t>(table: &'t UnitCostTable, key: &str) -> &'t UnitCostRow {
    table.rows.iter().find(|row| *row.key == *key).unwrap()
}

#[tokio::test]
async fn the_cost_of_the_range_is_set_against_what_was_merged_in_it() {
    let store = store().await;
    let table = ask(&store, &ALL, NOVEMBER, &[("by", "repo")]).await.unwrap();
    assert_eq!(printed(&table), ["web 18.00 3 6.00", "api 10.00 0 none", " 1.00 0 none"]);
    let web = &row(&table, "web").figures;
    assert_eq!((web.sums.direct, web.sums.amortized, web.pending), (atoms("15"), atoms("3"), atoms("1")));
    assert_eq!((web.sums.completed, web.sums.cost_per_completed_workflow()), (2, Some(atoms("9"))));
    assert_eq!(web.pending_share(), Some(55_556));
    let api = &row(&table, "api").figures;
    assert_eq!((api.memo_cost, api.failed_cost, api.failed), (atoms("3"), atoms("10"), 1));
    let unknown = &row(&table, "").figures;
    assert_eq!((unknown.in_progress_cost, unknown.in_progress, unknown.failed_cost), (atoms("1"), 1, 0));
    let totals = &table.totals;
    assert_eq!((totals.figures.sums.cost, totals.figures.sums.n), (atoms("29"), 3));
    assert_eq!(totals.figures.sums.cost_per_merged_pr(), Some(atoms("9.666666666666667")));
    assert_eq!((totals.overhead, totals.without_workflow), (atoms("31"), atoms("4")));
    assert_eq!((table.posting, table.events_from), (Some(1), Some("2026-11-03".parse().unwrap())));
    assert!(table.ledger_head.is_some());
}

#[tokio::test]
async fn rows_are_workflows_repos_or_task_classes() {
    let store = store().await;
    let by = async |key: &str| printed(&ask(&store, &ALL, NOVEMBER, &[("by", key), ("sort", "key")]).await.unwrap());
    assert_eq!(by("workflow").await, ["w1 12.00 1 12.00", "w2 6.00 2 3.00", "w3 10.00 0 none", "w4 1.00 0 none"]);
    assert_eq!(by("task_class").await, [" 10.00 0 none", "chore 1.00 0 none", "fix 18.00 3 6.00"]);
    let worst = ask(&store, &ALL, NOVEMBER, &[("by", "workflow"), ("sort", "-cost_per_merged_pr")]).await.unwrap();
    let keys: Vec<&str> = worst.rows.iter().map(|row| &*row.key).collect();
    assert_eq!(keys, ["w1", "w2", "w3", "w4"], "rows without the ratio come last");
}

#[tokio::test]
async fn a_cohort_of_what_was_merged_has_its_whole_life() {
    let store = store().await;
    let week = ("2026-11-08", "2026-11-14");
    let period = ask(&store, &ALL, week, &[("by", "repo")]).await.unwrap();
    assert_eq!(printed(&period), ["api 10.00 0 none", "web 6.00 2 3.00", " 1.00 0 none"]);
    let merged = ask(&store, &ALL, week, &[("by", "repo"), ("cohort", "merged")]).await.unwrap();
    assert_eq!(printed(&merged), ["web 10.00 2 5.00", " 0.00 0 none", "api 0.00 0 none"]);
    let totals = &merged.totals.figures;
    assert_eq!((totals.sums.completed, totals.pending), (1, atoms("1")));
    assert_eq!(
        (totals.failed_cost, totals.in_progress_cost),
        (atoms("10"), atoms("1")),
        "beside the cost, of the range"
    );
    let series: Vec<(String, i128, u64)> =
        row(&merged, "web").series.iter().map(|(week, sums)| (week.to_string(), sums.cost, sums.n)).collect();
    assert_eq!(series, [("2026-11-02".to_owned(), 0, 0), ("2026-11-09".to_owned(), atoms("10"), 2)]);
}

#[tokio::test]
async fn modes_count_other_tiers_and_only_one_divides_overhead() {
    let store = store().await;
    let local = ask(&store, &ALL, NOVEMBER, &[("by", "repo"), ("mode", "workflow_local")]).await.unwrap();
    assert_eq!(printed(&local), ["web 15.00 3 5.00", "api 10.00 0 none", " 1.00 0 none"]);
    let web = &row(&local, "web").figures;
    assert_eq!((web.sums.amortized, web.pending, web.overhead_share), (atoms("3"), 0, 0));
    let marginal = ask(&store, &ALL, NOVEMBER, &[("by", "repo"), ("mode", "marginal")]).await.unwrap();
    // 31.00 over 18, 10 and 1 of 29.
    let shares: Vec<String> =
        ["web", "api", ""].map(|key| format_atoms(row(&marginal, key).figures.overhead_share)).to_vec();
    assert_eq!(shares, ["19.241379310344828", "10.689655172413793", "1.068965517241379"]);
    assert_eq!(marginal.totals.figures.overhead_share, atoms("31"));
    assert_eq!((marginal.totals.figures.sums.cost, marginal.totals.overhead), (atoms("60"), atoms("31")));
    let nothing = ("2026-11-05", "2026-11-05");
    let nobody = ask(&store, &ALL, nothing, &[("mode", "marginal")]).await.unwrap();
    assert!(nobody.rows.is_empty() && nobody.totals.overhead == atoms("31"));
}

#[tokio::test]
async fn weeks_and_categories_add_up_to_their_row() {
    let store = store().await;
    for mode in ["tiered", "workflow_local"] {
        let table = ask(&store, &ALL, NOVEMBER, &[("by", "repo"), ("mode", mode)]).await.unwrap();
        for row in &table.rows {
            let weeks: Vec<String> = row.series.iter().map(|(week, _)| week.to_string()).collect();
            assert_eq!(weeks, ["2026-10-26", "2026-11-02", "2026-11-09", "2026-11-16"]);
            let sums = &row.figures.sums;
            assert_eq!(row.series.iter().map(|(_, week)| week.cost).sum::<i128>(), sums.cost);
            assert_eq!(row.series.iter().map(|(_, week)| week.n).sum::<u64>(), sums.n);
            assert_eq!(row.series.iter().map(|(_, week)| week.completed).sum::<u64>(), sums.completed);
            assert_eq!(sums.by_category.values().sum::<i128>(), sums.cost);
            for (category, atoms) in &sums.by_category {
                let weeks = row.series.iter().filter_map(|(_, week)| week.by_category.get(category)).sum::<i128>();
                assert_eq!(weeks, *atoms, "{category}");
            }
        }
    }
}

#[tokio::test]
async fn a_tenant_sees_its_own_workflows_only() {
    let store = store().await;
    let table = ask(&store, &only("acme"), NOVEMBER, &[("by", "repo"), ("mode", "marginal")]).await.unwrap();
    assert_eq!(printed(&table), ["web 18.00 3 6.00"]);
    assert_eq!((table.totals.overhead, table.totals.without_workflow, table.ledger_head), (0, 0, None));
    let globex = ask(&store, &only("globex"), NOVEMBER, &[("by", "repo")]).await.unwrap();
    assert_eq!(printed(&globex), ["api 10.00 0 none", " 1.00 0 none"]);
    let nobody: TenantId = "initech".parse().unwrap();
    let none = ask(&store, &TenantScope::Only([nobody].into()), NOVEMBER, &[]).await.unwrap();
    assert!(none.rows.is_empty());
}

#[tokio::test]
async fn two_tenants_may_use_the_same_id() {
    let mut store = store().await;
    let same = [of("w1", given("2026-11-02", "llm", "globex", "100.00"))];
    store.post(&same, &same).await;
    let table = ask(&store, &ALL, NOVEMBER, &[("by", "repo")]).await.unwrap();
    assert_eq!(printed(&table)[0], " 101.00 0 none", "nobody knows the repo of the other tenant's workflow");
    assert_eq!(
        printed(&ask(&store, &only("acme"), NOVEMBER, &[]).await.unwrap()),
        ["w1 12.00 1 12.00", "w2 6.00 2 3.00"]
    );
}

#[tokio::test]
async fn what_was_taken_back_or_says_that_it_failed_did_not_complete() {
    let store = store().await;
    let failed = Happened {
        data: Some(r#"{"status":"failed"}"#),
        ..happened("2026-11-13T10:00:00Z", "workflow.completed", "globex", "w4")
    };
    emit(&store, 100, &[happened("2026-11-13T10:00:00Z", "pr.merged", "globex", "w3"), failed]).await;
    let row_of = |id: &str| RetractionRow { tenant: "globex".into(), source: "/test".into(), id: id.into() };
    store.engine.catalog().put_retractions(&[row_of("100")], 1).await.unwrap();
    let table = ask(&store, &ALL, NOVEMBER, &[]).await.unwrap();
    let (w3, w4) = (&row(&table, "w3").figures, &row(&table, "w4").figures);
    assert_eq!((w3.sums.n, w3.failed_cost), (0, atoms("10")));
    assert_eq!((w4.sums.completed, w4.failed_cost, w4.in_progress_cost), (0, atoms("1"), 0));
}

#[tokio::test]
async fn a_workflow_that_failed_after_the_range_was_in_progress_in_it() {
    let store = store().await;
    let table = ask(&store, &ALL, ("2026-11-02", "2026-11-02"), &[]).await.unwrap();
    let w1 = &row(&table, "w1").figures;
    assert_eq!((w1.in_progress_cost, w1.in_progress), (atoms("12"), 1));
    let merged_without_cost = ask(&store, &ALL, ("2026-11-03", "2026-11-03"), &[]).await.unwrap();
    assert_eq!(printed(&merged_without_cost), ["w1 0.00 1 0.00"]);
}

#[tokio::test]
async fn pages_show_the_policy_of_the_first_one_or_say_that_it_is_gone() {
    let store = store().await;
    let policy = |version: &str, day: &str, pool: &str| {
        format!(
            "version = '{version}'\nvalid_from = {day}\n[[pool]]\nname = '{pool}'\nselect = {{}}\nsplit = {{ method = 'even' }}"
        )
    };
    let publish = async |text: String| store.engine.publish_policy(&text, "policy.toml").await.unwrap();
    publish(policy("one", "2026-01-01", "x")).await;
    let first = ask(&store, &ALL, NOVEMBER, &[("sort", "key"), ("limit", "3")]).await.unwrap();
    let cursor = first.next_cursor.clone().unwrap();
    let next = [("sort", "key"), ("limit", "3"), ("cursor", cursor.as_str())];

    publish(policy("two", "2026-01-02", "x")).await;
    let second = ask(&store, &ALL, NOVEMBER, &next).await.unwrap();
    assert_eq!((second.rows.len(), &second.totals, &second.caps), (1, &first.totals, &first.caps));

    publish(policy("one", "2026-01-01", "y")).await;
    let refused = ask(&store, &ALL, NOVEMBER, &next).await.unwrap_err().to_string();
    assert!(refused.contains("the policy changed since the first page"), "{refused}");
}

#[tokio::test]
async fn pages_show_one_state_and_an_earlier_state_repeats() {
    let mut store = store().await;
    let asked = [("by", "workflow"), ("sort", "key"), ("limit", "3")];
    let first = ask(&store, &ALL, NOVEMBER, &asked).await.unwrap();
    let cursor = first.next_cursor.clone().unwrap();
    let more = [of("w9", given("2026-11-14", "llm", "acme", "8.00"))];
    store.post(&more, &more).await;
    emit(&store, 200, &[happened("2026-11-14T10:00:00Z", "pr.merged", "acme", "w1")]).await;
    let taken_back = RetractionRow { tenant: "acme".into(), source: "/test".into(), id: "0".into() };
    store.engine.catalog().put_retractions(&[taken_back], 1).await.unwrap();
    let second = [asked[0], asked[1], asked[2], ("cursor", cursor.as_str())];
    let second = ask(&store, &ALL, NOVEMBER, &second).await.unwrap();
    assert_eq!(printed(&second), ["w4 1.00 0 none"]);
    assert_eq!((&second.totals, second.posting, second.next_cursor), (&first.totals, first.posting, None));
    let other = [("by", "repo"), asked[1], asked[2], ("cursor", cursor.as_str())];
    assert!(ask(&store, &ALL, NOVEMBER, &other).await.is_err());

    let whole = [("by", "workflow"), ("sort", "key"), ("as_of", "posting:1")];
    let then = ask(&store, &ALL, NOVEMBER, &whole).await.unwrap();
    assert_eq!((then.rows.len(), then.posting), (4, Some(1)));
    assert_eq!(ask(&store, &ALL, NOVEMBER, &whole).await.unwrap(), then);
    let now = ask(&store, &ALL, NOVEMBER, &whole[..2]).await.unwrap();
    assert_eq!((now.rows.len(), now.posting), (5, Some(2)));
    let empty = ask(&store, &ALL, NOVEMBER, &[("as_of", "posting:0")]).await.unwrap();
    assert!(empty.rows.is_empty() && empty.totals.overhead == 0);
}

#[tokio::test]
async fn caps_say_how_much_of_them_is_used() {
    let store = store().await;
    let policy = "version = 'caps'\nvalid_from = 2026-11-01\n\
        [[cap]]\ntask_class = 'fix'\namount = '11.00'\nper = 'workflow'\n\
        [[cap]]\ntask_class = 'fix'\namount = '72.00'\nper = 'month'\n\
        [[cap]]\ntask_class = 'none'\namount = '1.00'\nper = 'workflow'\n";
    store.engine.publish_policy(policy, "policy.toml").await.unwrap();
    let check = async |range: (&str, &str), mode: &str, expected: [(&str, &str, Option<i64>, u64); 3]| {
        let table = ask(&store, &ALL, range, &[("mode", mode)]).await.unwrap();
        let found: Vec<(String, &str, Option<i64>, u64)> = table
            .caps
            .iter()
            .map(|cap| (format_atoms(cap.used), cap.workflow.as_deref().unwrap_or("-"), cap.share_used, cap.over))
            .collect();
        let found: Vec<(&str, &str, Option<i64>, u64)> =
            found.iter().map(|(used, workflow, share, over)| (used.as_str(), *workflow, *share, *over)).collect();
        assert_eq!(found, expected);
    };
    let none = ("0.00", "-", Some(0), 0);
    let month = ("18.00", "-", Some(250_000), 0);
    check(NOVEMBER, "workflow_local", [("12.00", "w1", Some(1_090_909), 1), month, none]).await;
    // Only `w2` has cost in this week; its life began in October, and the month is the whole of November.
    check(("2026-11-08", "2026-11-14"), "tiered", [("10.00", "w2", Some(909_091), 0), month, none]).await;
    let before = ask(&store, &ALL, ("2026-10-01", "2026-10-31"), &[]).await.unwrap();
    assert!(before.caps.is_empty(), "the policy of that day has none");
}
