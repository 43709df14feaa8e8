use super::given::{Given, Store, days, given, only};
use domain::policy::{Method, Tier};
use domain::tenant::{IDLE, OVERHEAD};
use domain::{Currency, TenantScope};
use engine::query::CostTable;
use ledger::Status;
use storage::catalog::NewTenantFact;

const ALL: TenantScope = TenantScope::All;

/// Keys and costs in the order of the rows.
fn printed(table: &CostTable) -> Vec<String> {
    let row = |row: &engine::query::CostRow| {
        let key: Vec<&str> = row.key.iter().map(|(_, value)| value.as_str()).collect();
        format!("{} {}", key.join("|"), domain::money::format_atoms(row.cost))
    };
    table.rows.iter().map(row).collect()
}

fn small() -> Vec<Given> {
    let with = |change: fn(&mut Given), entry: Given| {
        let mut entry = entry;
        change(&mut entry);
        entry
    };
    vec![
        with(|entry| entry.consumer.1 = Some("bob"), given("2026-11-01", "west", "acme", "30.00")),
        with(|entry| entry.team = Some("blue"), given("2026-11-02", "west", "acme", "10.00")),
        given("2026-11-02", "west", "globex", "20.00"),
        given("2026-11-02", "west", IDLE, "5.00"),
        with(
            |entry| (entry.tier, entry.method) = (Tier::Overhead, Method::None),
            given("2026-11-03", "rent", OVERHEAD, "35.00"),
        ),
        with(|entry| (entry.memo, entry.method) = (true, Method::Rated), given("2026-11-01", "est", "acme", "7.00")),
    ]
}

async fn small_store() -> Store {
    let mut store = Store::new().await;
    store.post(&small(), &small()).await;
    store
}

#[tokio::test]
async fn one_row_has_its_place_among_all_and_leaves_shares_and_totals_as_they_are() {
    let store = small_store().await;
    let november = days("2026-11-01", "2026-11-30");
    let of = async |scope: &TenantScope, params: &[(&str, &str)]| {
        let table = store.costs(scope, november, params).await.unwrap();
        let rank = |row: &engine::query::CostRow| row.rank.map(|rank| (rank.place, rank.of));
        let rows: Vec<_> = table.rows.iter().map(|row| (row.share, rank(row))).collect();
        (printed(&table), rows, table.totals.cost / domain::money::ATOMS_PER_UNIT, table.next_cursor)
    };
    let printed = |text: &str| vec![text.to_owned()];
    let globex = of(&ALL, &[("key", "globex"), ("sort", "key"), ("limit", "1")]).await;
    assert_eq!(globex, (printed("globex 20.00"), vec![(Some(200_000), Some((2, 2)))], 100, None));
    let idle = of(&ALL, &[("key", IDLE)]).await;
    assert_eq!(idle, (printed("__idle__ 5.00"), vec![(Some(50_000), None)], 100, None), "nobody's cost has no place");
    let own = of(&only("acme"), &[("key", "acme")]).await;
    assert_eq!(
        own,
        (printed("acme 40.00"), vec![(Some(1_000_000), None)], 40, None),
        "a tenant does not learn of others"
    );
    assert_eq!(of(&ALL, &[("key", "nobody")]).await, (vec![], vec![], 100, None));
    let pools = of(&ALL, &[("key", "west"), ("group_by", "pool"), ("filter", "-tenant:globex")]).await;
    assert_eq!(pools, (printed("west 45.00"), vec![(Some(562_500), Some((1, 2)))], 80, None));
}

#[tokio::test]
async fn rows_are_what_each_group_cost_and_say_how_sure_they_are() {
    let store = small_store().await;
    let november = days("2026-11-01", "2026-11-30");
    let table = store.costs(&ALL, november, &[]).await.unwrap();
    assert_eq!(printed(&table), ["acme 40.00", "__overhead__ 35.00", "globex 20.00", "__idle__ 5.00"]);
    let shares: Vec<Option<i64>> = table.rows.iter().map(|row| row.share).collect();
    assert_eq!(shares, [Some(400_000), Some(350_000), Some(200_000), Some(50_000)]);
    let reserved = table.totals.reserved.unwrap();
    let unit = domain::money::ATOMS_PER_UNIT;
    assert_eq!((table.totals.cost, table.totals.memo), (100 * unit, 7 * unit));
    assert_eq!((reserved.overhead, reserved.idle, reserved.unattributed), (35 * unit, 5 * unit, 0));
    let meta = &table.meta;
    let conservation = meta.conservation.clone().unwrap();
    assert_eq!((conservation.cost_lines, conservation.difference), (100 * unit, 0));
    let coverage = meta.coverage.unwrap();
    assert_eq!((coverage.measured, coverage.proxy, coverage.idle, coverage.overhead), (600_000, 0, 50_000, 350_000));
    assert_eq!((meta.posting, meta.data_through), (Some(1), Some("2026-11-03".parse().unwrap())));
    assert_eq!(meta.policy_versions, ["v1"]);
    assert!(meta.ledger_head.as_ref().unwrap().starts_with("sha256:"));
}

#[tokio::test]
async fn a_reserved_consumer_shows_its_word_in_every_dimension_and_real_values_elsewhere() {
    let store = small_store().await;
    let november = days("2026-11-01", "2026-11-30");
    let by = async |keys: &str| store.costs(&ALL, november, &[("group_by", keys), ("sort", "key")]).await.unwrap();
    assert_eq!(
        printed(&by("tenant,user").await),
        ["__idle__|__idle__ 5.00", "__overhead__|__overhead__ 35.00", "acme| 10.00", "acme|bob 30.00", "globex| 20.00"]
    );
    assert_eq!(
        printed(&by("label:team,pool").await),
        ["|west 50.00", "__idle__|west 5.00", "__overhead__|rent 35.00", "blue|west 10.00"]
    );
    assert_eq!(printed(&by("tier").await), ["direct 65.00", "overhead 35.00"]);
    assert!(by("tier").await.rows[0].parts.is_none());
    assert_eq!(printed(&by("memo").await), ["false 100.00", "true 7.00"]);
    assert_eq!(printed(&by("origin").await), [" 100.00"]);
}

#[tokio::test]
async fn filters_narrow_rows_and_totals_but_not_conservation() {
    let store = small_store().await;
    let november = days("2026-11-01", "2026-11-30");
    let check = async |filter: &str, expected: &[&str]| {
        let table = store.costs(&ALL, november, &[("filter", filter)]).await.unwrap();
        assert_eq!(printed(&table), expected, "{filter}");
        assert_eq!(table.totals.cost, table.rows.iter().map(|row| row.cost).sum::<i128>());
        assert_eq!(table.meta.conservation.clone().unwrap().difference, 0);
    };
    check("pool:west -tenant:acme", &["globex 20.00", "__idle__ 5.00"]).await;
    check("tenant:__*", &["__overhead__ 35.00", "__idle__ 5.00"]).await;
    check("tenant:acme,globex user:bob", &["acme 30.00"]).await;
    check("tenant:acme user:\"\"", &["acme 10.00"]).await;
    check("label:team:bl*", &["acme 10.00"]).await;
    check("-label:team:blue pool:west", &["acme 30.00", "globex 20.00", "__idle__ 5.00"]).await;
    check("tenant:nobody", &[]).await;
    check("pool:we_t", &[]).await;
    check("pool:w*t", &["acme 40.00", "globex 20.00", "__idle__ 5.00"]).await;
    check("memo:true", &["acme 7.00"]).await;
    check("memo:*", &["acme 47.00", "__overhead__ 35.00", "globex 20.00", "__idle__ 5.00"]).await;
    assert!(store.costs(&ALL, november, &[("filter", "tennant:acme")]).await.is_err());
}

#[tokio::test]
async fn a_tenant_sees_its_own_share_of_its_own_total() {
    let store = small_store().await;
    let november = days("2026-11-01", "2026-11-30");
    let table = store.costs(&only("acme"), november, &[("group_by", "user")]).await.unwrap();
    assert_eq!(printed(&table), ["bob 30.00", " 10.00"]);
    assert_eq!(table.rows[0].share, Some(750_000));
    assert_eq!(table.totals.reserved, None);
    let meta = &table.meta;
    assert!(meta.conservation.is_none() && meta.coverage.is_none() && meta.ledger_head.is_none());
    let foreign = store.costs(&only("acme"), november, &[("filter", "tenant:globex")]).await.unwrap_err();
    let missing = store.costs(&only("acme"), november, &[("filter", "tenant:nobody")]).await.unwrap_err();
    assert_eq!(foreign.to_string().replace("globex", "x"), missing.to_string().replace("nobody", "x"));
}

#[tokio::test]
async fn an_earlier_state_is_repeated_exactly() {
    let mut store = Store::new().await;
    let first = vec![given("2026-11-01", "west", "acme", "10.00")];
    store.post(&first, &first).await;
    let november = days("2026-11-01", "2026-11-30");
    let before = store.costs(&ALL, november, &[("as_of", "posting:1")]).await.unwrap();
    store.clock.set("2026-11-21T12:00:00Z".parse().unwrap());
    let more = vec![given("2026-11-01", "west", "acme", "-4.00"), given("2026-11-01", "west", "globex", "6.00")];
    let after = vec![given("2026-11-01", "west", "acme", "12.00")];
    store.post(&more, &after).await;
    let now = store.costs(&ALL, november, &[]).await.unwrap();
    assert_eq!(printed(&now), ["acme 6.00", "globex 6.00"]);
    assert_eq!(now.meta.conservation.clone().unwrap().difference, 0);
    assert_eq!(store.costs(&ALL, november, &[("as_of", "posting:1")]).await.unwrap(), before);
    let by_day = store.costs(&ALL, november, &[("as_of", "2026-11-20")]).await.unwrap();
    assert_eq!((by_day.rows, by_day.totals), (before.rows, before.totals));
    assert!(store.costs(&ALL, november, &[("as_of", "posting:3")]).await.is_err());
    assert_eq!(store.costs(&ALL, november, &[("as_of", "2026-11-19")]).await.unwrap().rows, []);
}

#[tokio::test]
async fn pages_show_one_state_also_when_the_ledger_moves_on() {
    let mut store = small_store().await;
    let november = days("2026-11-01", "2026-11-30");
    let whole = store.costs(&ALL, november, &[]).await.unwrap();
    let first = store.costs(&ALL, november, &[("limit", "3")]).await.unwrap();
    let more = vec![given("2026-11-01", "west", "initech", "1000.00")];
    store.post(&more, &[small(), more.clone()].concat()).await;
    let cursor = first.next_cursor.clone().unwrap();
    let second = store.costs(&ALL, november, &[("limit", "3"), ("cursor", &cursor)]).await.unwrap();
    assert_eq!([first.rows, second.rows].concat(), whole.rows);
    assert_eq!((second.next_cursor, second.totals), (None, whole.totals));
    let other = store.costs(&ALL, november, &[("group_by", "pool"), ("cursor", &cursor)]).await;
    assert!(other.unwrap_err().to_string().contains("another question"));
}

#[tokio::test]
async fn currencies_are_never_added() {
    let mut store = Store::new().await;
    let mut euro = given("2026-11-01", "west", "globex", "8.00");
    euro.currency = Currency::EUR;
    let entries = vec![given("2026-11-01", "west", "acme", "10.00"), euro];
    store.post(&entries, &entries).await;
    let november = days("2026-11-01", "2026-11-30");
    let refused = store.costs(&ALL, november, &[("measure", "billed_amount")]).await.unwrap_err();
    assert!(refused.to_string().contains("EUR, USD"), "{refused}");
    let euros = store.costs(&ALL, november, &[("measure", "billed_amount"), ("currency", "EUR")]).await.unwrap();
    assert_eq!((printed(&euros), euros.meta.currency), (vec!["globex 8.00".to_owned()], Currency::EUR));
    assert_eq!(euros.meta.conservation.clone().unwrap().difference, 0);
    let own = store.costs(&only("acme"), november, &[("measure", "billed_amount")]).await.unwrap();
    assert_eq!(printed(&own), ["acme 10.00"]);
}

#[tokio::test]
async fn a_plan_is_that_of_the_day() {
    let store = small_store().await;
    let fact = |plan: &str, from: &str| NewTenantFact {
        plan: Some(plan.to_owned()),
        valid_from: from.to_owned(),
        entered_by: "put".to_owned(),
        ..NewTenantFact::system("acme")
    };
    let catalog = store.engine.catalog();
    for (plan, from) in [("free", storage::catalog::ALWAYS), ("pro", "2026-11-02")] {
        catalog.put_tenant(&fact(plan, from), &[], 2_000_000_000_000_000).await.unwrap();
    }
    let november = days("2026-11-01", "2026-11-30");
    let table = store.costs(&ALL, november, &[("group_by", "plan"), ("filter", "pool:west"), ("sort", "key")]).await;
    assert_eq!(printed(&table.unwrap()), [" 20.00", "__idle__ 5.00", "free 30.00", "pro 10.00"]);
    let filtered = store.costs(&ALL, november, &[("filter", "plan:pro")]).await.unwrap();
    assert_eq!(printed(&filtered), ["acme 10.00"]);
}

#[tokio::test]
async fn series_cover_every_bucket_and_rounded_rows_add_up() {
    let mut store = Store::new().await;
    let entries: Vec<Given> = ["acme", "globex", "initech"]
        .into_iter()
        .flat_map(|tenant| ["2026-10-30", "2026-11-02"].map(|day| given(day, "west", tenant, "0.3333")))
        .collect();
    store.post(&entries, &entries).await;
    let range = days("2026-10-30", "2026-11-03");
    let table = store.costs(&ALL, range, &[("granularity", "day"), ("round", "minor")]).await.unwrap();
    let cent = domain::money::ATOMS_PER_UNIT / 100;
    assert_eq!(table.totals.cost, 200 * cent);
    let costs: Vec<i128> = table.rows.iter().map(|row| row.cost / cent).collect();
    assert_eq!(costs, [67, 67, 66]);
    for row in &table.rows {
        let series = row.series.as_ref().unwrap();
        assert_eq!(series.len(), 5);
        assert_eq!(series.iter().map(|(_, atoms)| *atoms).sum::<i128>(), row.cost);
    }
    let months = store.costs(&ALL, range, &[("granularity", "month"), ("compare", "prev")]).await.unwrap();
    let starts: Vec<String> = months.rows[0].series.as_ref().unwrap().iter().map(|(day, _)| day.to_string()).collect();
    assert_eq!(starts, ["2026-10-01", "2026-11-01"]);
    assert_eq!(months.rows[0].previous.unwrap().cost, 0);
    let later = store.costs(&ALL, days("2026-11-04", "2026-11-08"), &[("compare", "prev")]).await.unwrap();
    assert_eq!(printed(&later)[0], "acme 0.00");
    assert_eq!(domain::money::format_atoms(later.rows[0].previous.unwrap().change), "-0.6666");
}

#[tokio::test]
async fn a_change_leaves_out_days_that_are_not_complete_or_not_final() {
    let mut store = Store::new().await;
    let entries = [
        given("2026-11-12", "west", "acme", "10.005"),
        given("2026-11-13", "west", "acme", "20.00"),
        given("2026-11-14", "west", "acme", "30.00"),
        given("2026-11-15", "west", "acme", "50.00"),
        Given { status: Status::Pending, ..given("2026-11-16", "gather", "globex", "7.00") },
        given("2026-11-17", "west", "acme", "1.00"),
    ];
    store.post(&entries, &entries).await;
    let asked = async |from: &str, to: &str, more: &[(&str, &str)]| {
        let params: Vec<(&str, &str)> = [("compare", "final")].into_iter().chain(more.iter().copied()).collect();
        let table = store.costs(&ALL, days(from, to), &params).await.unwrap();
        let text = domain::money::format_atoms;
        let row = |row: &engine::query::CostRow| {
            let compared = row.previous.map(|found| format!("{} {}", text(found.cost), text(found.change)));
            format!("{} {}", text(row.cost), compared.unwrap_or_default())
        };
        let compared = table.meta.compared.map(|found| {
            format!("{} {} {} {}", found.range.from(), found.range.to(), found.previous.from(), found.previous.to())
        });
        (table.rows.iter().map(row).collect::<Vec<_>>(), compared.unwrap_or_default())
    };
    // The first day that is not final ends what is compared, whoever has it; the cost is that of all days.
    let whole = asked("2026-11-14", "2026-11-17", &[]).await;
    let expected = vec!["81.00 30.005 49.995".to_owned(), "7.00 0.00 0.00".to_owned()];
    assert_eq!(whole, (expected, "2026-11-14 2026-11-15 2026-11-12 2026-11-13".to_owned()));
    // Rows without it are compared through the last day that has entries.
    let acme = asked("2026-11-14", "2026-11-19", &[("filter", "tenant:acme")]).await;
    assert_eq!(
        acme,
        (vec!["81.00 30.005 50.995".to_owned()], "2026-11-14 2026-11-17 2026-11-10 2026-11-13".to_owned())
    );
    let rounded = asked("2026-11-14", "2026-11-17", &[("filter", "tenant:acme"), ("round", "minor")]).await;
    assert_eq!(rounded.0, ["81.00 30.00 51.00"]);
    assert_eq!(
        asked("2026-11-16", "2026-11-17", &[]).await,
        (vec!["7.00 ".to_owned(), "1.00 ".to_owned()], String::new())
    );
}
