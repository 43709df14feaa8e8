//! Values at the bounds: exact or refused by name, never wrapped and never a panic.

use super::case::{Card, Case, Line, Origin, PoolSpec, RuleSpec, Use, Values};
use super::check;

const MOST: &str = "1000000000000";
const LEAST: &str = "-1000000000000";
const QUANTITY_MOST: &str = "1000000000000000000";

fn pool(method: &'static str, origin: Origin) -> PoolSpec {
    PoolSpec {
        name: "p".to_owned(),
        cluster: false,
        tier: if method == "none" { "overhead" } else { "direct" },
        metric: None,
        origin,
        method,
        by: vec!["tenant".to_owned()],
        drivers: None,
        weights: vec![("cpu_core_hours".to_owned(), "1000000000".to_owned())],
        resource_share: false,
        meters: vec!["*".to_owned()],
        of: Vec::new(),
        of_users: false,
        percent: vec![("a".to_owned(), "0.000001".to_owned())],
        follow: false,
        capacity: Vec::new(),
        idle: "separate",
        detail: Vec::new(),
    }
}

fn day(pool: PoolSpec, lines: &[(&str, &str, &str)], usage: &[(&str, &str, &str)], price: &str) -> Case {
    let line = |(tenant, currency, amount): &(&str, &str, &str)| Line {
        values: Values::from(
            [("tags.team", *tenant), ("charge_category", "Usage"), ("source", "s")]
                .map(|(key, value)| (key.to_owned(), value.to_owned())),
        ),
        currency: (*currency).to_owned(),
        costs: ["billed", "effective", "contracted", "list"]
            .into_iter()
            .map(|metric| (metric, (*amount).to_owned()))
            .collect(),
    };
    let used = |(tenant, meter, amount): &(&str, &str, &str)| Use {
        values: Values::from(
            [("tenant", *tenant), ("origin", "events")].map(|(key, value)| (key.to_owned(), value.to_owned())),
        ),
        meter: (*meter).to_owned(),
        sum: (*amount).to_owned(),
        last: (*amount).to_owned(),
        count: 1,
    };
    Case {
        metric: "effective",
        rules: vec![RuleSpec { of_usage: false, when: None, tenant: "{tags.team}".to_owned() }],
        pools: vec![pool],
        lines: lines.iter().map(line).collect(),
        usage: usage.iter().map(used).collect(),
        active: vec!["a".to_owned()],
        card: Some(Card {
            currency: "USD".to_owned(),
            prices: vec![("cpu_core_hours".to_owned(), price.to_owned(), "unit", Vec::new())],
        }),
        fx: Vec::new(),
        day_hours: 24,
    }
}

/// Not-run codes by pool; a day that runs must equal the reference.
fn outcome(case: &Case) -> String {
    let codes: Vec<&str> = case
        .attribute()
        .pools
        .iter()
        .map(|pool| pool.not_run.as_ref().map_or("exact", |not_run| not_run.code))
        .collect();
    if codes.iter().all(|code| *code == "exact") {
        check(case, &mut super::Seen::default()).unwrap_or_else(|difference| panic!("{difference}"));
    }
    codes.join(" ")
}

fn selected(method: &'static str) -> PoolSpec {
    pool(method, Origin::Select(Vec::new()))
}

#[test]
fn c3_amounts_at_the_bound_are_exact_and_beyond_it_out_of_bound() {
    let used = [("a", "cpu_core_hours", QUANTITY_MOST), ("b", "cpu_core_hours", "0.000000001")];
    for method in ["direct", "weighted", "proportional", "even", "fixed", "rated", "none"] {
        for (lines, expected) in [
            (vec![("a", "USD", MOST)], "exact"),
            (vec![("a", "USD", LEAST)], "exact"),
            (vec![("a", "USD", MOST), ("a", "USD", "0.000000000000001")], "out_of_bound"),
            (vec![("a", "USD", LEAST), ("a", "USD", LEAST)], "out_of_bound"),
            (vec![("a", "USD", MOST), ("a", "USD", LEAST)], "exact"),
        ] {
            let case = day(selected(method), &lines, &used, "0.000001");
            assert_eq!(outcome(&case), expected, "{method} {lines:?}");
        }
    }
}

#[test]
fn a_share_beyond_the_bound_refuses_the_pool_though_its_sum_is_within() {
    let lines = [("a", "USD", MOST), ("a", "USD", MOST), ("b", "USD", LEAST), ("b", "USD", LEAST)];
    assert_eq!(outcome(&day(selected("direct"), &lines, &[], "1")), "out_of_bound");
    let mut recovering =
        day(pool("rated", Origin::Recovers(Vec::new())), &[("a", "USD", LEAST)], &[("a", "cpu_core_hours", "1")], MOST);
    assert_eq!(outcome(&recovering), "out_of_bound");
    recovering.lines.clear();
    assert_eq!(outcome(&recovering), "exact");
}

#[test]
fn c3_conversion_at_the_bound_never_wraps() {
    for (rate, expected) in [("0", "exact"), ("1", "exact"), ("1.1", "out_of_bound"), (MOST, "out_of_bound")] {
        for lines in [vec![("a", "EUR", MOST)], vec![("a", "EUR", LEAST)]] {
            let mut case = day(selected("direct"), &lines, &[], "1");
            case.fx.push(("EUR".to_owned(), "USD".to_owned(), 0, rate.to_owned()));
            assert_eq!(outcome(&case), expected, "{rate} {lines:?}");
        }
        // The whole converts to nothing, its parts to more than a row can hold.
        let mut mixed = day(selected("direct"), &[("a", "EUR", MOST), ("b", "EUR", LEAST)], &[], "1");
        mixed.fx.push(("EUR".to_owned(), "USD".to_owned(), 0, rate.to_owned()));
        assert_eq!(outcome(&mixed), expected, "{rate} of both signs");
        mixed.lines.extend(mixed.lines.clone());
        mixed.lines.extend(mixed.lines.clone());
        assert_eq!(outcome(&mixed), "out_of_bound", "{rate} of both signs, four times");
    }
}

#[test]
fn weights_of_zero_and_of_a_thousand_million_are_exact() {
    let used = [
        ("a", "cpu_core_hours", QUANTITY_MOST),
        ("b", "memory_gib_hours", QUANTITY_MOST),
        ("c", "memory_gib_hours", "-1000000000000000000"),
    ];
    for weights in [["0", "1000000000"], ["1000000000", "0"], ["0.000001", "1000000000"]] {
        for resource_share in [false, true] {
            let mut weighted = selected("weighted");
            weighted.resource_share = resource_share;
            weighted.weights = ["cpu_core_hours", "memory_gib_hours"]
                .map(str::to_owned)
                .into_iter()
                .zip(weights.map(str::to_owned))
                .collect();
            weighted.capacity = vec![("cpu_core_hours".to_owned(), "1".to_owned())];
            assert_eq!(outcome(&day(weighted, &[("a", "USD", MOST)], &used, "1")), "exact", "{weights:?}");
        }
    }
}

#[test]
fn an_idle_quantity_beyond_the_bound_refuses_the_pool() {
    for (capacity, expected) in [("41666666666666666", "exact"), (QUANTITY_MOST, "out_of_bound")] {
        let mut weighted = selected("weighted");
        weighted.capacity = vec![("cpu_core_hours".to_owned(), capacity.to_owned())];
        assert_eq!(outcome(&day(weighted, &[("a", "USD", "1")], &[], "1")), expected, "{capacity}");
    }
}

#[test]
fn c6_prices_of_zero_and_of_a_million_million_are_exact_or_out_of_bound() {
    let table = [
        ("0", QUANTITY_MOST, "exact"),
        (MOST, "1", "exact"),
        (MOST, "1.000000001", "out_of_bound"),
        (MOST, QUANTITY_MOST, "out_of_bound"),
        (MOST, "-1", "exact"),
        ("0.000000000000001", QUANTITY_MOST, "exact"),
    ];
    for origin in [Origin::Memo, Origin::Select(Vec::new()), Origin::Recovers(Vec::new())] {
        let line = [("a", "USD", "1")];
        let lines = if origin == Origin::Memo { &line[..0] } else { &line[..] };
        for (price, amount, expected) in table {
            let case = day(pool("rated", origin.clone()), lines, &[("a", "cpu_core_hours", amount)], price);
            assert_eq!(outcome(&case), expected, "{origin:?} {price} × {amount}");
        }
        if origin == Origin::Memo {
            let both = [("a", "cpu_core_hours", "1"), ("b", "cpu_core_hours", "1")];
            let case = day(pool("rated", origin.clone()), &[], &both, MOST);
            assert_eq!(outcome(&case), "out_of_bound", "the sum is beyond the bound");
        }
    }
}

#[test]
fn costs_of_bases_at_the_bound_are_weights() {
    let mut follower = selected("by_cost");
    (follower.name, follower.follow) = ("q".to_owned(), true);
    follower.origin = Origin::Select(vec![("charge_category".to_owned(), vec!["Tax".to_owned()])]);
    let mut case =
        day(follower, &[("a", "USD", MOST), ("b", "USD", LEAST), ("c", "USD", "0.000000000000001")], &[], "1");
    case.pools.push(selected("direct"));
    case.pools[0].of = vec!["p".to_owned()];
    let mut tax = case.lines[0].clone();
    tax.values.insert("charge_category".to_owned(), "Tax".to_owned());
    case.lines.push(tax);
    assert_eq!(outcome(&case), "exact exact");
}
