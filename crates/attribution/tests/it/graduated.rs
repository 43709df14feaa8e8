//! Graduated prices against a reference that walks unit by unit.

use crate::given::{Given, money, quantity};
use attribution::day::DayOutcome;
use attribution::graduated::MonthSoFar;
use attribution::usage::MeterBook;
use domain::meter::builtin;
use proptest::collection::vec;
use proptest::prelude::*;

const POOL: &str = "[[pool]]\nname='p'\nsplit={method='rated',by=['tenant','user'],meters=['mcp_reads']}";

/// Tenant, user, whole units.
type Use = (usize, usize, u32);

fn day_of(uses: &[Use], card: &str, so_far: MonthSoFar) -> Given {
    let mut given = Given::policy(POOL).rates(card);
    for (tenant, user, units) in uses {
        let (tenant, user) = (format!("t{tenant}"), format!("u{user}"));
        given = given.usage("mcp_reads", &units.to_string(), &[("tenant", &tenant), ("user", &user)]);
    }
    given.month_so_far = so_far;
    given
}

/// Attributes the days one after the other, each with what the days before it add up to.
fn month_of(days: &[Vec<Use>], card: &str) -> Vec<DayOutcome> {
    let mut so_far = MonthSoFar::default();
    let one = |uses: &Vec<Use>| {
        let given = day_of(uses, card, so_far.clone());
        let priced_by = given.card.as_ref().expect("a card");
        so_far.add_day(&given.policy, priced_by, &MeterBook::new(builtin()), &given.usage);
        given.attribute()
    };
    days.iter().map(one).collect()
}

fn total(outcomes: &[DayOutcome], tenant: Option<&str>) -> i128 {
    let shares = outcomes.iter().flat_map(|day| &day.pools[0].shares);
    let is_own = |share: &&attribution::share::Share| {
        tenant.is_none_or(|tenant| match &share.consumer {
            attribution::cells::Consumer::Values(values) => values[0].as_deref() == Some(tenant),
            attribution::cells::Consumer::Reserved(_) => false,
        })
    };
    shares.filter(is_own).map(|share| share.amount).sum()
}

/// What so many units of a month cost: each unit on its own, at the price of the tier that it lies in.
fn unit_by_unit(units: u32, base: i128, tiers: &[(u32, i128)]) -> i128 {
    let price = |unit: u32| tiers.iter().rev().find(|(above, _)| *above < unit).map_or(base, |(_, price)| *price);
    (1..=units).map(price).sum()
}

fn card_of(base: u32, tiers: &[(u32, i128)]) -> String {
    let tiers: Vec<String> =
        tiers.iter().map(|(above, price)| format!("{{above='{above}',price='{}'}}", cents(*price))).collect();
    format!("[[price]]\nmeter='mcp_reads'\nprice='{}'\ntiers=[{}]", cents(i128::from(base)), tiers.join(","))
}

fn cents(cents: i128) -> String {
    format!("{}.{:02}", cents / 100, cents % 100)
}

proptest! {
    #![proptest_config(crate::cases(300))]

    /// Each tenant's month costs what its units cost one by one, whatever days and users they fall on, and every day's
    /// cells add up to what went in.
    #[test]
    fn a_month_costs_what_its_units_cost_one_by_one(
        days in vec(vec((0..3_usize, 0..3_usize, 0..60_u32), 0..6), 1..8),
        base in 0..500_u32,
        steps in vec((1..40_u32, 0..500_u32), 1..4),
    ) {
        let mut above = 0;
        let tiers: Vec<(u32, i128)> = steps.iter().map(|(step, price)| {
            above += step;
            (above, i128::from(*price))
        }).collect();
        let outcomes = month_of(&days, &card_of(base, &tiers));
        for tenant in 0..3 {
            let units = days.iter().flatten().filter(|(one, ..)| *one == tenant).map(|(.., units)| units).sum();
            let expected = unit_by_unit(units, i128::from(base), &tiers) * money("0.01");
            prop_assert_eq!(total(&outcomes, Some(&format!("t{tenant}"))), expected);
        }
        let went_in: i128 = outcomes.iter().flat_map(|day| &day.pools[0].components).map(|part| part.amounts.amount).sum();
        prop_assert_eq!(total(&outcomes, None), went_in);
    }

    /// The order of the cells of a day never matters.
    #[test]
    fn the_order_of_uses_never_matters(uses in vec((0..3_usize, 0..3_usize, 0..60_u32), 1..8)) {
        let card = card_of(7, &[(5, 3), (50, 1)]);
        let mut reversed = uses.clone();
        reversed.reverse();
        let shares = |uses: &[Use]| day_of(uses, &card, MonthSoFar::default()).shares();
        prop_assert_eq!(shares(&uses), shares(&reversed));
    }
}

#[test]
fn the_days_cost_is_divided_over_its_cells_by_quantity() {
    // Ten at 1.00 and five at 0.10 are 10.50: two thirds and one third of it.
    let card = "[[price]]\nmeter='mcp_reads'\nprice='1'\ntiers=[{above='10',price='0.10'}]";
    let shares = day_of(&[(0, 0, 10), (0, 1, 5)], card, MonthSoFar::default()).shares();
    assert_eq!(shares, ["p t0/u0 mcp_reads 7.00", "p t0/u1 mcp_reads 3.50"]);
}

#[test]
fn the_next_day_goes_on_where_the_month_stands() {
    let card = "[[price]]\nmeter='mcp_reads'\nprice='1'\ntiers=[{above='10',price='0.10'}]";
    let outcomes = month_of(&[vec![(0, 0, 8)], vec![], vec![(0, 1, 4), (1, 0, 1)]], card);
    let amounts: Vec<i128> = outcomes.iter().map(|day| total(std::slice::from_ref(day), None)).collect();
    // Two more at 1.00, two at 0.10; the other tenant begins at the bottom.
    assert_eq!(amounts, [money("8"), 0, money("3.20")]);
}

#[test]
fn a_days_cost_is_rounded_once() {
    // A third of an atom each: three together are one atom, and it goes to the first of equal cells.
    let card = "[[price]]\nmeter='mcp_reads'\nprice='0.000000000000001'\ntiers=[{above='1',price='0'}]";
    let mut given = Given::policy(POOL).rates(card);
    for user in ["a", "b", "c"] {
        given = given.usage("mcp_reads", "0.333333333", &[("tenant", "t"), ("user", user)]);
    }
    assert_eq!(given.shares(), ["p t/a mcp_reads 0.000000000000001"]);
}

#[test]
fn a_graduated_row_counts_only_what_it_prices() {
    let card = "[[price]]\nmeter='llm_tokens'\nprice='1'\n[[price]]\nmeter='llm_tokens'\nprice='2'\n\
                labels={model='a'}\ntiers=[{above='3',price='0'}]";
    let given = Given::policy("[[pool]]\nname='p'\nsplit={method='rated',meters=['llm_tokens']}")
        .rates(card)
        .usage("llm_tokens", "5", &[("tenant", "t"), ("label:model", "a")])
        .usage("llm_tokens", "4", &[("tenant", "t"), ("label:model", "b")]);
    assert_eq!(given.shares(), ["p t llm_tokens 10.00"], "three at 2, the rest free, and four at 1");
    let share = &given.attribute().pools[0].shares[0];
    assert_eq!((share.quantity, share.unit_price), (Some(quantity("9")), None));
}

#[test]
fn usage_below_zero_neither_costs_nor_takes_back() {
    let card = "[[price]]\nmeter='mcp_reads'\nprice='1'\ntiers=[{above='10',price='0.10'}]";
    let given = Given::policy(POOL).rates(card).usage("mcp_reads", "-3", &[("tenant", "t"), ("user", "a")]).usage(
        "mcp_reads",
        "4",
        &[("tenant", "t"), ("user", "b")],
    );
    assert_eq!(given.shares(), ["p t/b mcp_reads 4.00"]);
}
