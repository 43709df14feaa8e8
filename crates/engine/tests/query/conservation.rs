use super::given::{Given, Store, days, given, only};
use domain::policy::{Method, Tier};
use domain::tenant::{IDLE, OVERHEAD, UNATTRIBUTED, VARIANCE};
use domain::{DayRange, TenantScope};
use engine::query::{FlowColumn, Flows, FlowsQuery};
use proptest::prelude::*;
use proptest::strategy::ValueTree;
use proptest::test_runner::{Config, RngAlgorithm, TestRng, TestRunner};
use std::collections::BTreeMap;

/// Questions of the gate and of the long run.
const CASES: usize = 1000;
const CASES_LONG: usize = 10_000;
/// Of so many questions one is paged to its end, the others for a few pages.
const PAGED_WHOLE_EACH: usize = 40;
const PAGES_READ_MAX: usize = 2;
const KEYS: [&str; 12] =
    ["tenant", "user", "plan", "parent", "label:team", "pool", "tier", "basis", "memo", "category", "meter", "origin"];
const FILTERS: [&str; 8] =
    ["", "tenant:acme", "-tenant:acme", "pool:w*,rent", "-tier:overhead", "tenant:__*", "label:team:blue", "memo:true"];

fn entry() -> impl Strategy<Value = Given> {
    let consumer = prop::sample::select(vec!["acme", "globex", "initech", IDLE, OVERHEAD, UNATTRIBUTED, VARIANCE]);
    let user = prop::option::of(prop::sample::select(vec!["ann", "bob/c", ""]));
    let texts = (
        prop::sample::select(vec!["west", "east", "rent"]),
        prop::option::of(prop::sample::select(vec!["cpu_core_hours", "llm_tokens"])),
        prop::sample::select(vec!["compute", "other"]),
        prop::option::of(prop::sample::select(vec!["blue", "red"])),
    );
    let tier = prop::sample::select(vec![Tier::Direct, Tier::Amortized, Tier::Overhead]);
    (consumer, user, texts, tier, any::<bool>(), 0..20_i32, -10_i128.pow(20)..10_i128.pow(20)).prop_map(
        |(consumer, user, (pool, meter, category, team), tier, memo, day, amount)| Given {
            day: given("2026-11-01", "", "", "0").day.plus(day),
            pool,
            consumer: (consumer, user),
            tier,
            memo,
            method: if memo { Method::Rated } else { Method::Even },
            meter,
            category,
            team,
            amount,
            ..given("2026-11-01", "", "", "0")
        },
    )
}

#[derive(Clone, Debug)]
struct Question {
    keys: Vec<&'static str>,
    filter: &'static str,
    sort: &'static str,
    limit: usize,
    from: i32,
    length: i32,
}

fn question() -> impl Strategy<Value = Question> {
    let keys = prop::sample::subsequence(KEYS.to_vec(), 1..=4).prop_shuffle();
    let filter = prop::sample::select(FILTERS.to_vec());
    let sort = prop::sample::select(vec!["-cost", "cost", "key", "-direct", "pending"]);
    (keys, filter, sort, 1..7_usize, 0..15_i32, 1..20_i32)
        .prop_map(|(keys, filter, sort, limit, from, length)| Question { keys, filter, sort, limit, from, length })
}

/// Σ of the entries that the question means, by a second way.
fn expected(entries: &[Given], question: &Question, range: DayRange) -> i128 {
    let named = question.keys.contains(&"memo") || question.filter.starts_with("memo");
    let holds = |entry: &Given| {
        let reserved = entry.consumer.0.starts_with("__");
        match question.filter {
            "tenant:acme" => entry.consumer.0 == "acme",
            "-tenant:acme" => entry.consumer.0 != "acme",
            "pool:w*,rent" => entry.pool != "east",
            "-tier:overhead" => entry.tier != Tier::Overhead,
            "tenant:__*" => reserved,
            "label:team:blue" => !reserved && entry.team == Some("blue"),
            "memo:true" => entry.memo,
            _ => true,
        }
    };
    let wanted = entries.iter().filter(|entry| range.contains(entry.day) && (named || !entry.memo) && holds(entry));
    wanted.map(|entry| entry.amount).sum()
}

#[tokio::test]
async fn c2_totals_and_pages_agree_whatever_is_grouped_filtered_and_sorted() {
    let rng = TestRng::from_seed(RngAlgorithm::ChaCha, &[7; 32]);
    let mut runner = TestRunner::new_with_rng(Config::default(), rng);
    let mut draw = |strategy: &BoxedStrategy<Vec<Given>>| strategy.new_tree(&mut runner).unwrap().current();
    let many = prop::collection::vec(entry(), 60..90).boxed();
    let mut store = Store::new().await;
    let mut entries = Vec::new();
    for _ in 0..3 {
        let more = draw(&many);
        entries.extend(more.clone());
        store.post(&more, &entries).await;
    }
    let cases = std::env::var("APPORTION_TEST_CASES").map_or(0, |count| count.parse::<usize>().unwrap());
    let questions = prop::collection::vec(question(), (cases / 100).clamp(CASES, CASES_LONG));
    let (mut asked, mut pages) = (0, 0);
    for question in questions.new_tree(&mut runner).unwrap().current() {
        let pages_max = if asked % PAGED_WHOLE_EACH == 0 { usize::MAX } else { PAGES_READ_MAX };
        pages += check(&store, &entries, &question, pages_max).await;
        asked += 1;
    }
    println!("C2: {asked} questions, {pages} pages");
}

/// Returns how many pages were read.
async fn check(store: &Store, entries: &[Given], question: &Question, pages_max: usize) -> usize {
    let first = days("2026-11-01", "2026-11-01").from().plus(question.from);
    let range = DayRange::new(first, first.plus(question.length - 1)).unwrap();
    let (keys, limit) = (question.keys.join(","), question.limit.to_string());
    let params = [("group_by", keys.as_str()), ("filter", question.filter), ("sort", question.sort)];
    let told = format!("{keys} filter={} sort={} {range:?}", question.filter, question.sort);

    let whole = store.costs(&TenantScope::All, range, &[&params[..], &[("limit", "10000")]].concat()).await.unwrap();
    assert_eq!(whole.totals.cost, expected(entries, question, range), "{told}");
    assert_eq!(whole.rows.iter().map(|row| row.cost).sum::<i128>(), whole.totals.cost, "{told}");
    if let Some(shares) =
        whole.rows.iter().map(|row| row.share).collect::<Option<Vec<i64>>>().filter(|all| !all.is_empty())
    {
        assert_eq!(shares.iter().sum::<i64>(), 1_000_000, "{told}");
    }

    let (mut pages, mut cursor, mut read) = (Vec::new(), String::new(), 0);
    let mut is_whole = false;
    while !is_whole && read < pages_max {
        let paged = [&params[..], &[("limit", limit.as_str()), ("cursor", cursor.as_str())]].concat();
        let page = store.costs(&TenantScope::All, range, &paged).await.unwrap();
        assert_eq!(page.totals, whole.totals, "{told}");
        pages.extend(page.rows);
        read += 1;
        is_whole = page.next_cursor.is_none();
        cursor = page.next_cursor.unwrap_or_default();
    }
    assert_eq!(pages[..], whole.rows[..pages.len()], "{told}");
    assert!(!is_whole || pages.len() == whole.rows.len(), "{told}");
    read
}

#[tokio::test]
async fn c2_conservation_holds_for_every_range() {
    let rng = TestRng::from_seed(RngAlgorithm::ChaCha, &[8; 32]);
    let mut runner = TestRunner::new_with_rng(Config::default(), rng);
    let many = prop::collection::vec(entry(), 80).boxed();
    let entries = many.new_tree(&mut runner).unwrap().current();
    let mut store = Store::new().await;
    store.post(&entries, &entries).await;
    for (from, to) in [("2026-11-01", "2026-11-30"), ("2026-11-03", "2026-11-03"), ("2026-10-01", "2026-10-31")] {
        let table = store.costs(&TenantScope::All, days(from, to), &[("group_by", "pool,tier")]).await.unwrap();
        let conservation = table.meta.conservation.clone().unwrap();
        assert_eq!((conservation.cost_lines, conservation.difference), (table.totals.cost, 0));
        let own = store.costs(&only("acme"), days(from, to), &[]).await.unwrap();
        assert!(own.rows.iter().all(|row| row.key[0].1 == "acme"));
    }
}

/// Σ of the links that leave, or reach, each node of a column.
fn by_node(flows: &Flows, column: FlowColumn, reaches: bool) -> BTreeMap<&str, i128> {
    let mut sums: BTreeMap<&str, i128> = BTreeMap::new();
    for link in flows.links.iter().filter(|link| link.column == column) {
        let node = if reaches { &link.to } else { &link.from };
        *sums.entry(node.as_str()).or_default() += link.amount;
    }
    sums.retain(|_, amount| *amount != 0);
    sums
}

#[tokio::test]
async fn what_flows_into_a_pool_flows_out_of_it_and_all_of_it_is_the_cost() {
    let rng = TestRng::from_seed(RngAlgorithm::ChaCha, &[9; 32]);
    let mut runner = TestRunner::new_with_rng(Config::default(), rng);
    let many = prop::collection::vec(entry(), 40..80).boxed();
    let mut store = Store::new().await;
    let mut entries = Vec::new();
    for _ in 0..3 {
        let more = many.new_tree(&mut runner).unwrap().current();
        entries.extend(more.clone());
        store.post(&more, &entries).await;
    }
    for (from, to) in [("2026-11-01", "2026-11-30"), ("2026-11-03", "2026-11-07"), ("2026-10-01", "2026-10-31")] {
        for top in ["1", "2", "100"] {
            for as_of in ["", "posting:1", "posting:2"] {
                let limits = store.engine.cost_limits();
                let asked = [("from", from), ("to", to), ("top", top), ("as_of", as_of)];
                let flows = store.engine.flows_all_tenants(&FlowsQuery::parse(&asked, &limits).unwrap()).await.unwrap();
                let costs = store.costs(&TenantScope::All, days(from, to), &[("as_of", as_of)]).await.unwrap();
                assert_eq!(flows.total, costs.totals.cost, "{asked:?}");
                let nodes = |column: FlowColumn| -> BTreeMap<&str, i128> {
                    let of_column = flows.nodes.iter().filter(|node| node.column == column && node.amount != 0);
                    of_column.map(|node| (node.id.as_str(), node.amount)).collect()
                };
                assert_eq!(by_node(&flows, FlowColumn::Provider, false), nodes(FlowColumn::Provider), "{asked:?}");
                assert_eq!(by_node(&flows, FlowColumn::Provider, true), nodes(FlowColumn::Pool), "{asked:?}");
                assert_eq!(by_node(&flows, FlowColumn::Pool, false), nodes(FlowColumn::Pool), "{asked:?}");
                assert_eq!(by_node(&flows, FlowColumn::Pool, true), nodes(FlowColumn::Tenant), "{asked:?}");
                assert_eq!(nodes(FlowColumn::Tenant).values().sum::<i128>(), flows.total, "{asked:?}");
                // No pool of these has a provider, and none has a difference.
                let mut providers = flows.nodes.iter().filter(|node| node.column == FlowColumn::Provider);
                assert!(providers.all(|node| node.id == "__several__"), "{asked:?}");
            }
        }
    }
}
