//! A store in which every method is at work: each share is explained, each change adds up, each draft is tried.

use super::given::{Store, days, only};
use super::lake::{BillLine, Used, bill_line, import, measure, run};
use domain::money::format_atoms;
use domain::policy::Policy;
use domain::rates::RateCard;
use domain::tenant::{IDLE, OVERHEAD, UNATTRIBUTED, VARIANCE};
use domain::{DayRange, TenantScope};
use engine::query::explain::{ExplainedPrice, RecomputedFrom};
use engine::query::{
    ChangeTerm, CostChangesQuery, EntryFilter, ExplainQuery, LedgerChangesQuery, QueryLimits, params::Params,
};
use engine::run::{Draft, WhatIfQuery};
use engine::{EngineError, Settings};
use std::collections::BTreeMap;

const DAYS: [&str; 6] = ["2026-11-10", "2026-11-11", "2026-11-12", "2026-11-13", "2026-11-14", "2026-11-15"];
const TENANTS: [&str; 3] = ["acme", "globex", "initech"];
const POOLS: &str = "
[[tenant_rule]]
when = { tags.cluster = '*' }
tenant = '{tags.cluster}'

[[pool]]
name = 'shared'
select = { provider = 'W' }
capacity = { cpu_core_hours = '1' }
split = { method = 'weighted', weights = { cpu_core_hours = '0.5', memory_gib_hours = '0.3' } }

[[pool]]
name = 'logs'
select = { provider = 'P' }
split = { method = 'proportional', meter = 'log_queries' }

[[pool]]
name = 'seats'
select = { provider = 'E' }
split = { method = 'even' }

[[pool]]
name = 'agreed'
select = { provider = 'F' }
split = { method = 'fixed', percent = { acme = '33.3', globex = '41' } }

[[pool]]
name = 'activity'
select = { provider = 'R' }
split = { method = 'rated', meters = ['log_queries'] }

[[pool]]
name = 'llm'
recovers = { provider = 'L' }
split = { method = 'rated', meters = ['llm_tokens'] }

[[pool]]
name = 'estimate'
split = { method = 'rated', meters = ['llm_tokens', 'log_queries'] }

[[pool]]
name = 'own'
select = { provider = 'D' }
split = { method = 'direct' }

[[pool]]
name = 'tax'
select = { provider = 'T' }
split = { method = 'by_cost', of = ['shared', 'logs', 'own'] }

[[pool]]
name = 'credits'
select = { provider = 'I' }
split = { method = 'by_cost', follow = 'invoice' }

[[pool]]
name = 'rent'
tier = 'overhead'
select = { provider = 'O' }
";

fn policy(version: &str, pools: &str) -> String {
    format!("version = '{version}'\nvalid_from = 2026-11-01\n{pools}")
}

fn card(version: &str, tokens: &str) -> String {
    format!(
        "version = '{version}'\ncurrency = 'USD'\nvalid_from = 2026-11-01\n\
         [[price]]\nmeter = 'llm_tokens'\nprice = '{tokens}'\ntiers = [{{ above = '25', price = '{tokens}1' }}]\n\
         [[price]]\nmeter = 'log_queries'\nprice = '0.3'\n"
    )
}

/// Numbers that look like chance and are the same each time.
struct Chance(u64);

impl Chance {
    fn below(&mut self, bound: usize) -> usize {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        usize::try_from(self.0 >> 33).unwrap() % bound
    }
}

const AMOUNTS: [&str; 6] = ["100.00", "61.07", "0.000000000000007", "-12.50", "999.999999999", "33.333333"];

async fn everything(settings: Settings) -> Store {
    let store = Store::with(settings).await;
    store.engine.publish_policy(&policy("v1", POOLS), "policy.toml").await.unwrap();
    store.engine.publish_rate_card(&card("c1", "0.000123"), "rates.toml", true).await.unwrap();
    let mut chance = Chance(7);
    let (mut lines, mut used) = (Vec::new(), Vec::new());
    for day in DAYS {
        for provider in ["W", "P", "E", "F", "R", "L", "T", "I", "O", "X"] {
            lines.push(bill_line(day, provider, AMOUNTS[chance.below(AMOUNTS.len())]));
        }
        for tenant in TENANTS {
            lines.push(BillLine { cluster: Some(tenant), ..bill_line(day, "D", AMOUNTS[chance.below(4)]) });
            for meter in ["cpu_core_hours", "memory_gib_hours", "log_queries", "llm_tokens"] {
                let quantity = i128::try_from(1 + chance.below(16)).unwrap() * 700_000_001;
                used.push(Used { day, tenant, cluster: "west", meter, quantity });
            }
        }
    }
    import(&store, &lines).await;
    measure(&store, &used).await;
    run(&store, DAYS[0], DAYS[5]).await;
    store
}

fn limits(store: &Store) -> QueryLimits {
    store.engine.query_limits(100, 1_000)
}

#[tokio::test]
async fn every_share_of_every_method_is_computed_again_from_what_the_run_read() {
    let store = everything(Settings::default()).await;
    let words = [IDLE, OVERHEAD, UNATTRIBUTED, VARIANCE];
    let (mut cells, mut methods) = (0, BTreeMap::<String, usize>::new());
    for day in DAYS {
        for tenant in TENANTS.into_iter().chain(words) {
            let query = ExplainQuery { tenant: tenant.to_owned(), date: day.parse().unwrap(), pool: None, as_of: None };
            let explained = store.engine.explain(&TenantScope::All, &query).await.unwrap();
            for pool in &explained.pools {
                assert_eq!(pool.matches, Some(true), "{day} {tenant}: {pool:?}");
                *methods.entry(pool.method.clone()).or_default() += 1;
                for cell in pool.components.iter().flat_map(|component| &component.cells) {
                    assert!(cell.recomputed_from.contains(&RecomputedFrom::Inputs), "{day} {tenant}: {pool:?}");
                    cells += 1;
                }
                let posted: i128 = pool
                    .components
                    .iter()
                    .flat_map(|component| &component.cells)
                    .map(|cell| cell.amount_reporting)
                    .sum();
                assert_eq!(posted, pool.cost);
            }
        }
    }
    let all = ["by_cost", "direct", "even", "fixed", "none", "proportional", "rated", "weighted"];
    assert_eq!(methods.keys().map(String::as_str).collect::<Vec<_>>(), all);
    println!("explain: {cells} cells of {} days", DAYS.len());
}

#[tokio::test]
async fn a_rule_is_told_with_its_prices_and_what_its_tiers_rest_on() {
    let store = everything(Settings::default()).await;
    let explained = |tenant: &str, pool: &str| ExplainQuery {
        tenant: tenant.to_owned(),
        date: DAYS[5].parse().unwrap(),
        pool: Some(pool.to_owned()),
        as_of: None,
    };
    let llm = store.engine.explain(&TenantScope::All, &explained("acme", "llm")).await.unwrap();
    let prices = &llm.pools[0].prices;
    let told = |price: &ExplainedPrice| {
        let of = &price.month_price;
        (
            of.key.clone(),
            of.above.clone(),
            format_atoms(of.price.atoms()),
            price.rate_card_version.clone(),
            price.divisor,
        )
    };
    let expected = |above: Option<&str>, price: &str| {
        ("llm_tokens".to_owned(), above.map(str::to_owned), price.to_owned(), "c1".to_owned(), 1)
    };
    let all: Vec<_> = prices.iter().map(told).collect();
    assert_eq!(all, [expected(None, "0.000123"), expected(Some("25"), "0.0001231")]);
    let mut before = 0;
    for day in &DAYS[..5] {
        let query = ExplainQuery { date: day.parse().unwrap(), ..explained("acme", "llm") };
        let of_day = store.engine.explain(&TenantScope::All, &query).await.unwrap();
        let cells = of_day.pools.iter().flat_map(|pool| &pool.components).flat_map(|component| &component.cells);
        before += cells.filter_map(|cell| cell.quantity).sum::<i128>();
    }
    assert_eq!(prices[0].used_before, Some(before), "what was used on the days of the month before");
    let logs = store.engine.explain(&TenantScope::All, &explained("acme", "estimate")).await.unwrap();
    let logs = logs.pools[0].prices.iter().find(|price| price.month_price.key == "log_queries").unwrap();
    assert_eq!((&logs.month_price.above, logs.used_before), (&None, None), "it has no tiers");

    let agreed = store.engine.explain(&TenantScope::All, &explained("globex", "agreed")).await.unwrap();
    assert_eq!(agreed.pools[0].rule.clone().unwrap().percent.as_deref(), Some("41"));
    let agreed = store.engine.explain(&only("globex"), &explained("globex", "agreed")).await.unwrap();
    assert_eq!(agreed.pools[0].rule.clone().unwrap().percent, None, "its amount ÷ 41 % is what all pay");
    let shared = store.engine.explain(&only("globex"), &explained("globex", "shared")).await.unwrap();
    assert_eq!(shared.pools[0].rule.clone().unwrap().capacity, None);
    assert_eq!(shared.pools[0].rule.clone().unwrap().weights["cpu_core_hours"], "0.5");
    let shared = store.engine.explain(&TenantScope::All, &explained("globex", "shared")).await.unwrap();
    assert_eq!(shared.pools[0].rule.clone().unwrap().capacity.unwrap()["cpu_core_hours"], "1");
}

#[tokio::test]
async fn t8_labels_of_prices_are_not_told_to_a_tenant() {
    let store = everything(Settings::default()).await;
    let labelled = "[[price]]\nmeter = 'log_queries'\nlabels = { team = 'canary' }\nprice = '0.4'\n";
    let graduated = "[[price]]\nmeter = 'log_queries'\nlabels = { team = 'other' }\nprice = '0.5'\n\
                     tiers = [{ above = '1', price = '0.0777' }]\n";
    let card = format!("{}{labelled}{graduated}", card("c2", "0.000123").replace("'0.3'", "'0.5'"));
    store.engine.publish_rate_card(&card, "rates.toml", true).await.unwrap();
    run(&store, DAYS[5], DAYS[5]).await;
    let query = ExplainQuery {
        tenant: "acme".to_owned(),
        date: DAYS[5].parse().unwrap(),
        pool: Some("estimate".to_owned()),
        as_of: None,
    };
    let all = store.engine.explain(&TenantScope::All, &query).await.unwrap();
    let own = store.engine.explain(&only("acme"), &query).await.unwrap();
    assert!(!own.pools[0].prices.is_empty());
    for secret in ["canary", "0.0777"] {
        assert!(format!("{:?}", all.pools[0].prices).contains(secret), "{all:?}");
        assert!(!format!("{own:?}").contains(secret), "{own:?}");
    }
}

#[tokio::test]
async fn t8_lines_of_a_direct_pool_are_not_told_to_a_tenant_however_many_there_are() {
    let store = Store::with(Settings { disclose_pools: true, ..Settings::default() }).await;
    store.engine.publish_policy(&policy("v1", POOLS), "policy.toml").await.unwrap();
    let tenants = ["acme", "globex", "initech", "umbrella", "wayne"];
    let own = tenants.map(|tenant| BillLine { cluster: Some(tenant), ..bill_line(DAYS[0], "D", "77.07") });
    let mut lines = own.to_vec();
    lines.push(bill_line(DAYS[0], "P", "50.00"));
    import(&store, &lines).await;
    let used = tenants.map(|tenant| Used {
        day: DAYS[0],
        tenant,
        cluster: "west",
        meter: "log_queries",
        quantity: 1_000_000_000,
    });
    measure(&store, &used).await;
    run(&store, DAYS[0], DAYS[0]).await;
    let query = ExplainQuery { tenant: "acme".to_owned(), date: DAYS[0].parse().unwrap(), pool: None, as_of: None };
    for (scope, lines_of_own) in [(TenantScope::All, true), (only("acme"), false)] {
        let explained = store.engine.explain(&scope, &query).await.unwrap();
        let of = |pool: &str| explained.pools.iter().find(|found| found.pool == pool).unwrap();
        assert_eq!((of("own").disclosed, of("own").bills.is_some()), (true, lines_of_own));
        assert!(of("logs").bills.is_some(), "lines that all share are told");
    }
}

/// Two ranges of the six days, anywhere and of any length.
fn two_ranges(chance: &mut Chance) -> [DayRange; 2] {
    [(); 2].map(|()| {
        let from = chance.below(DAYS.len());
        let to = from + chance.below(DAYS.len() - from);
        days(DAYS[from], DAYS[to])
    })
}

#[tokio::test]
async fn the_terms_of_any_two_ranges_add_up_to_what_costs_say() {
    let mut pairs = 0;
    for disclose_pools in [false, true] {
        let store = everything(Settings { disclose_pools, ..Settings::default() }).await;
        store.engine.publish_policy(&policy("v2", &POOLS.replace("33.3", "20")), "policy.toml").await.unwrap();
        store.engine.publish_rate_card(&card("c2", "0.0002"), "rates.toml", true).await.unwrap();
        run(&store, DAYS[3], DAYS[5]).await;
        let mut chance = Chance(11);
        for _ in 0..60 {
            let [range, compare] = two_ranges(&mut chance);
            let tenant = TENANTS[chance.below(3)];
            let scope = if chance.below(2) == 0 { TenantScope::All } else { only(tenant) };
            let query = CostChangesQuery { range, compare, tenant: Some(tenant.to_owned()), as_of: None };
            let found = store.engine.cost_changes(&scope, &query).await.unwrap();
            let said = async |range: DayRange| {
                let filter = format!("tenant:{tenant}");
                store.costs(&scope, range, &[("filter", filter.as_str())]).await.unwrap().totals.cost
            };
            assert_eq!((found.previous, found.cost), (said(compare).await, said(range).await), "{query:?}");
            assert_eq!(found.terms.values().sum::<i128>(), found.cost - found.previous, "{found:?}");
            for pool in &found.pools {
                assert_eq!(pool.terms.values().sum::<i128>(), pool.change(), "{pool:?}");
                // Three tenants are too few to tell one of the others.
                let tells_others = pool.terms.contains_key(&ChangeTerm::OthersVolume);
                assert!(scope == TenantScope::All || (!tells_others && !pool.disclosed), "{pool:?}");
            }
            pairs += 1;
        }
    }
    println!("changes: {pairs} pairs of ranges");
}

#[tokio::test]
async fn another_rule_and_another_price_are_told_as_such() {
    let store = everything(Settings::default()).await;
    store.engine.publish_policy(&policy("v2", &POOLS.replace("33.3", "20")), "policy.toml").await.unwrap();
    store.engine.publish_rate_card(&card("c2", "0.0002"), "rates.toml", true).await.unwrap();
    run(&store, DAYS[3], DAYS[5]).await;
    let (range, compare) = (days(DAYS[3], DAYS[5]), days(DAYS[0], DAYS[2]));
    let query = CostChangesQuery { range, compare, tenant: Some("acme".to_owned()), as_of: None };
    let found = store.engine.cost_changes(&TenantScope::All, &query).await.unwrap();
    let of = |pool: &str| found.pools.iter().find(|found| found.pool == pool).unwrap().terms.clone();
    assert_ne!(of("agreed")[&ChangeTerm::PolicyOrRateVersion], 0, "the percent is another one");
    assert_ne!(of("llm")[&ChangeTerm::PolicyOrRateVersion], 0, "the price is another one");
    for pool in ["shared", "logs", "own"] {
        assert_eq!(of(pool)[&ChangeTerm::PolicyOrRateVersion], 0, "{pool} is shared out as before");
    }
    assert_eq!(of("own")[&ChangeTerm::PriceOrPoolAmount], {
        let own = found.pools.iter().find(|found| found.pool == "own").unwrap();
        own.change()
    });
    let foreign = store.engine.cost_changes(&only("globex"), &query).await.unwrap_err();
    assert!(matches!(foreign, EngineError::TenantNotFound(_)));
}

#[tokio::test]
async fn what_was_booked_between_two_states_is_their_difference() {
    let store = everything(Settings::default()).await;
    import(&store, &[bill_line(DAYS[1], "P", "7.77"), bill_line(DAYS[2], "X", "5.00")]).await;
    run(&store, DAYS[0], DAYS[5]).await;
    store.engine.publish_policy(&policy("v2", &POOLS.replace("33.3", "20")), "policy.toml").await.unwrap();
    run(&store, DAYS[0], DAYS[5]).await;
    let range = days(DAYS[0], DAYS[5]);
    let total =
        async |as_of: &str| store.costs(&TenantScope::All, range, &[("as_of", as_of)]).await.unwrap().totals.cost;
    for (from, to) in [(0, 1), (0, 3), (1, 2), (2, 3), (1, 3), (3, 3)] {
        let (from, to) = (format!("posting:{from}"), format!("posting:{to}"));
        let mut query = LedgerChangesQuery::parse(
            &[("from_booked", from.as_str()), ("to_booked", to.as_str()), ("limit", "7")],
            &limits(&store),
        )
        .unwrap();
        let (mut sum, mut causes) = (0, BTreeMap::<Option<String>, usize>::new());
        loop {
            let page = store.engine.ledger_changes_all_tenants(&query).await.unwrap();
            let difference = total(&to).await - total(&from).await;
            assert_eq!(page.amount_reporting, difference, "{query:?}");
            for row in page.rows {
                sum += if row.memo { 0 } else { row.amount_reporting };
                *causes.entry(row.cause).or_default() += 1;
            }
            query.cursor = page.next_cursor;
            if query.cursor.is_none() {
                assert_eq!(sum, difference, "the rows of all pages");
                break;
            }
        }
        match (from.as_str(), to.as_str()) {
            ("posting:0", "posting:1") => assert!(causes.keys().all(|cause| cause.as_deref() == Some("first"))),
            ("posting:1", "posting:2") => assert!(causes.contains_key(&Some("bill_restated".to_owned()))),
            ("posting:2", "posting:3") => assert!(causes.contains_key(&Some("new_policy".to_owned()))),
            ("posting:3", "posting:3") => assert!(causes.is_empty()),
            _ => {}
        }
    }
    let parse = |given: &[(&str, &str)]| LedgerChangesQuery::parse(given, &limits(&store));
    assert!(matches!(parse(&[]), Err(EngineError::InvalidParameter { .. })));
    let backwards = parse(&[("from_booked", "posting:2"), ("to_booked", "posting:1")]).unwrap();
    assert!(store.engine.ledger_changes_all_tenants(&backwards).await.is_err());
}

/// What every tenant and reserved consumer costs over the days, estimates aside and apart.
async fn costs_of(store: &Store, range: DayRange) -> BTreeMap<String, [i128; 2]> {
    let mut found = BTreeMap::<String, [i128; 2]>::new();
    for (at, filter) in ["memo:false", "memo:true"].into_iter().enumerate() {
        let table = store.costs(&TenantScope::All, range, &[("filter", filter)]).await.unwrap();
        for row in table.rows {
            found.entry(row.key[0].1.clone()).or_default()[at] = row.cost;
        }
    }
    found
}

async fn check_what_if(store: &Store, draft: Draft, text: &str) {
    let range = days(DAYS[0], DAYS[5]);
    let (before, postings) = (costs_of(store, range).await, store.engine.head(None).await.unwrap().posting);
    let is_policy = matches!(draft, Draft::Policy(_));
    let told = std::sync::Mutex::new(Vec::new());
    let progress = |done: i32, total: i32| told.lock().unwrap().push((done, total));
    let query = WhatIfQuery { range, limit: 100 };
    let found = store.engine.what_if_all_tenants(draft, &query, progress).await.unwrap();
    assert_eq!(told.into_inner().unwrap(), (1..=6).map(|day| (day, 6)).collect::<Vec<_>>());
    assert_eq!(store.engine.head(None).await.unwrap().posting, postings, "nothing is posted");
    assert_eq!((found.posting, found.not_run, found.due_days.len()), (postings, 0, 0));
    assert_ne!(found.totals.change.abs() + found.rows.iter().map(|row| row.change.abs()).sum::<i128>(), 0);
    for row in &found.rows {
        assert_eq!([row.posted, row.posted_memo], before.get(&row.tenant).copied().unwrap_or_default(), "{row:?}");
    }
    match is_policy {
        true => drop(store.engine.publish_policy(text, "policy.toml").await.unwrap()),
        false => drop(store.engine.publish_rate_card(text, "rates.toml", true).await.unwrap()),
    }
    run(store, DAYS[0], DAYS[5]).await;
    let after = costs_of(store, range).await;
    let of_draft: BTreeMap<String, [i128; 2]> =
        found.rows.iter().map(|row| (row.tenant.clone(), [row.cost(), row.cost_memo()])).collect();
    let stands = |costs: BTreeMap<String, [i128; 2]>| -> BTreeMap<String, [i128; 2]> {
        costs.into_iter().filter(|(_, costs)| *costs != [0, 0]).collect()
    };
    assert_eq!(stands(of_draft), stands(after), "what was tried is what is posted later");
}

#[tokio::test]
async fn a_draft_says_beforehand_what_it_posts_afterwards() {
    let store = everything(Settings::default()).await;
    let policy = policy(
        "v2",
        &POOLS.replace("33.3", "20").replace("method = 'even'", "method = 'proportional', meter = 'log_queries'"),
    );
    check_what_if(&store, Draft::Policy(Policy::read("p", &policy).unwrap()), &policy).await;
    let card = card("c2", "0.0002");
    check_what_if(&store, Draft::RateCard(RateCard::read("r", &card).unwrap()), &card).await;
}

#[tokio::test]
async fn a_draft_is_tried_over_days_that_are_there() {
    let store = everything(Settings::default()).await;
    let asked = |given: &[(&str, &str)]| WhatIfQuery::from_params(Params::new(given).unwrap(), &limits(&store));
    assert_eq!(asked(&[("from", DAYS[0]), ("to", DAYS[1])]).unwrap().range, days(DAYS[0], DAYS[1]));
    assert!(asked(&[("from", DAYS[0]), ("to", "2026-11-21")]).is_err(), "tomorrow");
    assert!(asked(&[("filter", "tenant:acme")]).is_err(), "the ledger is computed whole");
}

#[tokio::test]
async fn what_the_cost_of_nobody_is_made_of_adds_up_to_its_entries_whatever_the_method() {
    let store = everything(Settings::default()).await;
    let mut reasons = BTreeMap::<String, usize>::new();
    for (at, from) in DAYS.into_iter().enumerate() {
        for to in &DAYS[at..] {
            let range = days(from, to);
            let filter = EntryFilter { range: Some(range), limit: 100_000, ..EntryFilter::all() };
            let mut expected = BTreeMap::<String, i128>::new();
            for entry in store.engine.ledger_entries(&TenantScope::All, &filter).await.unwrap().rows {
                if entry.consumer.as_deref() == Some(UNATTRIBUTED) && entry.memo == Some(false) {
                    *expected.entry(entry.pool.unwrap().to_string()).or_default() += entry.amount;
                }
            }
            let told = store.engine.unattributed_all_tenants(range, None).await.unwrap();
            let mut found = BTreeMap::<String, i128>::new();
            for row in &told.rows {
                *found.entry(row.pool.to_string()).or_default() += row.amount;
                *reasons.entry(row.why.to_string()).or_default() += 1;
                assert!(row.first_day <= row.last_day && range.contains(row.first_day) && range.contains(row.last_day));
                assert_eq!(row.lines.is_some(), &*row.why == "no_pool", "{row:?}");
            }
            let total: i128 = expected.values().sum();
            expected.retain(|_, amount| *amount != 0);
            found.retain(|_, amount| *amount != 0);
            assert_eq!(found, expected, "{range:?}");
            assert_eq!(told.totals.iter().map(|(_, total)| *total).sum::<i128>(), total);
            assert!(told.rules.is_empty(), "no line lacks a tenant only");
        }
    }
    assert!(["no_pool", "remainder"].iter().all(|reason| reasons.contains_key(*reason)), "{reasons:?}");
}
