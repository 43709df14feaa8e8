use crate::cases;
use attribution::statement::{ExactAmounts, LineKey, Statement, state};
use domain::Currency;
use domain::decimal::{format_scaled, parse_scaled};
use domain::money::MONEY_SCALE;
use domain::tenant::IDLE;
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::test_runner::{TestCaseError, TestRunner};
use std::collections::BTreeMap;

const CONSUMERS: [&str; 6] = [IDLE, "acme", "globex", "initech", "umbrella", "Ünïcode"];
const POOLS: [&str; 3] = ["", "east", "west"];
const CATEGORIES: [&str; 2] = ["Credit", "Usage"];
/// Currencies whose minor units have no, two, three and four digits.
const CURRENCIES: [&str; 4] = ["JPY", "USD", "KWD", "CLF"];

/// Consumer, pool, charge category, amount in atoms.
type Row = (usize, usize, usize, i128);

fn amounts(rows: &[Row]) -> ExactAmounts {
    let mut amounts = ExactAmounts::new();
    for (consumer, pool, category, atoms) in rows {
        let key = LineKey {
            pool: POOLS[*pool].into(),
            category: "compute".into(),
            charge_category: CATEGORIES[*category].into(),
        };
        *amounts.entry(CONSUMERS[*consumer].into()).or_default().entry(key).or_default() += atoms;
    }
    amounts
}

/// Amounts of every size: dust below a minor unit, halves of one, and large ones with dust.
fn amount() -> impl Strategy<Value = i128> {
    let unit = 10_i128.pow(MONEY_SCALE - 2);
    prop_oneof![
        -unit..unit,
        (-500..500_i128).prop_map(move |halves| halves * unit / 2),
        -10_i128.pow(24)..10_i128.pow(24),
        Just(0),
    ]
}

fn row() -> impl Strategy<Value = Row> {
    (0..CONSUMERS.len(), 0..POOLS.len(), 0..CATEGORIES.len(), amount())
}

/// Half-even by the printer and parser of numbers, which know nothing of splitting.
fn rounded_by_text(atoms: i128, currency: Currency) -> i128 {
    let digits = currency.minor_unit_digits();
    let text = format_scaled(atoms, MONEY_SCALE, 0);
    let whole = parse_scaled(&text, digits).expect("a printed number").atoms;
    whole * 10_i128.pow(MONEY_SCALE - digits)
}

fn sums(statement: &Statement) -> BTreeMap<&str, (i128, i128)> {
    let sum = |lines: &[(LineKey, attribution::statement::Printed)]| {
        lines.iter().fold((0, 0), |(exact, amount), (_, line)| (exact + line.exact, amount + line.amount))
    };
    statement.charged.iter().map(|charged| (&*charged.consumer, sum(&charged.lines))).collect()
}

/// Every printed sum is the sum of the printed lines, the total is the rounded exact total, and nothing is lost.
fn check(rows: &[Row], currency: &str) -> Result<(), TestCaseError> {
    let currency: Currency = currency.parse().expect("a currency");
    let unit = 10_i128.pow(MONEY_SCALE - currency.minor_unit_digits());
    let statement = state(currency, amounts(rows));
    let exact: i128 = rows.iter().map(|(.., atoms)| atoms).sum();
    prop_assert_eq!(statement.total.exact, exact);
    prop_assert_eq!(statement.total.amount, rounded_by_text(exact, currency));
    let sums = sums(&statement);
    prop_assert_eq!(sums.values().map(|(_, amount)| amount).sum::<i128>(), statement.total.amount);
    for charged in &statement.charged {
        prop_assert_eq!(sums[&*charged.consumer], (charged.total.exact, charged.total.amount));
        for (_, line) in &charged.lines {
            prop_assert_eq!(line.amount % unit, 0);
            prop_assert!(line.exact != 0);
            prop_assert_eq!(line.exact + line.rounding(), line.amount);
        }
    }
    Ok(())
}

#[test]
fn c8_printed_sums_are_the_sums_of_printed_lines() {
    let config = ProptestConfig { source_file: Some(file!()), ..cases(2_000) };
    let wanted = config.cases;
    let mut runner = TestRunner::new(config);
    let statement = (vec(row(), 0..40), proptest::sample::select(CURRENCIES.to_vec()));
    let counted = std::cell::Cell::new(0_usize);
    let done = runner.run(&statement, |(rows, currency)| {
        counted.set(counted.get() + rows.len());
        check(&rows, currency)
    });
    println!("C8: {wanted} statements of {} entries, in currencies with 0, 2, 3 and 4 decimals", counted.get());
    done.unwrap_or_else(|error| panic!("{error}"));
}

proptest! {
    #![proptest_config(cases(2_000))]

    /// Entries may be read in any order.
    #[test]
    fn the_order_of_entries_never_matters(rows in vec(row(), 0..40)) {
        let mut reversed = rows.clone();
        reversed.reverse();
        prop_assert_eq!(state(Currency::USD, amounts(&rows)), state(Currency::USD, amounts(&reversed)));
    }

    /// Without credits no line changes its sign, and no consumer is further than one and a half minor units from its due.
    #[test]
    fn charges_stay_charges_and_near_what_is_due(
        rows in vec((0..CONSUMERS.len(), 0..POOLS.len(), Just(1_usize), 1..10_i128.pow(20)), 1..40),
    ) {
        let statement = state(Currency::USD, amounts(&rows));
        let unit = 10_i128.pow(MONEY_SCALE - 2);
        for charged in &statement.charged {
            prop_assert!(charged.lines.iter().all(|(_, line)| 0 <= line.amount));
            prop_assert!(2 * charged.total.rounding().abs() <= 3 * unit, "{}", charged.total.rounding());
        }
    }
}
