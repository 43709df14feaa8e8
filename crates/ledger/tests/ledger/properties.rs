//! What must hold for any ledger: differences lead to what is desired, and no byte can change unnoticed.

use crate::samples::{day, key, month};
use domain::Instant;
use ledger::{
    ByKey, Cause, Desired, EntryKey, Existing, Head, Header, Line, Posting, Sums, Totals, check_totals, differences,
    totals_of, verify_chain,
};
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::test_runner::{TestCaseError, TestRunner};

/// A billion units: sums of all samples stay inside the bound of a row.
const ATOMS: i128 = 10_i128.pow(24);

fn any_key() -> impl Strategy<Value = EntryKey> {
    (0..3_i32, 0..3_usize, 0..3_usize, any::<bool>()).prop_map(|(date, pool, tenant, metered)| EntryKey {
        charge_date: day("2026-10-30").plus(date),
        meter: metered.then(|| "cpu_core_hours".into()),
        ..key(["a", "b", "c"][pool], ["acme", "globex", "__idle__"][tenant])
    })
}

fn any_desired() -> impl Strategy<Value = Desired> {
    let money = || prop_oneof![Just(0), -ATOMS..ATOMS];
    (money(), money(), money(), proptest::option::of(-5..5_i128), proptest::option::of(1..3_i128)).prop_map(
        |(amount, billed_amount, amount_reporting, quantity, stated)| Desired {
            amount,
            billed_amount,
            amount_reporting,
            quantity,
            unit_price: stated,
            weight: stated,
            pool_amount: stated,
            unit: stated.map(|stated| stated.to_string().into()),
            reason: stated.map(|stated| stated.to_string().into()),
            ..Desired::default()
        },
    )
}

fn any_parts() -> impl Strategy<Value = Vec<(EntryKey, Desired)>> {
    vec((any_key(), any_desired()), 0..30)
}

fn set(parts: &[(EntryKey, Desired)]) -> ByKey<Desired> {
    ByKey::desired(parts.to_vec())
}

/// What the ledger says after the entries of these postings.
fn sums_of(postings: &[Posting]) -> ByKey<Existing> {
    let entries = postings.iter().flat_map(|posting| &posting.entries);
    let part = |entry: &ledger::Entry| (entry.key().expect("a cost entry has a key"), Existing::from(entry.sums()));
    ByKey::existing(entries.map(part).collect())
}

fn totals(desired: &ByKey<Desired>) -> Totals {
    totals_of(desired.iter().map(|(key, desired)| (key, desired.sums())))
}

/// Posts what differs, as a run does.
fn post(postings: &mut Vec<Posting>, desired: &ByKey<Desired>) -> bool {
    let existing = sums_of(postings);
    let lines: Vec<Line> = differences(desired.clone(), &existing)
        .map(|difference| Line { difference, cause: Cause::First, billing_month: month("2026-11") })
        .collect();
    if lines.is_empty() {
        return false;
    }
    let head = postings.last().map_or(Head::EMPTY, Posting::head);
    let header = Header::after(&head, Instant::from_micros(7), Some("run".into()));
    postings.push(Posting::seal_run(header, lines, &existing, &totals(desired)));
    true
}

/// As many cases as the gate asks for, or the long run: `make soak` says how many those are.
fn cases(gate: u32) -> ProptestConfig {
    let long = std::env::var("PROPTEST_CASES").ok().map(|count| count.parse::<u32>().expect("a count"));
    ProptestConfig { source_file: Some(file!()), ..ProptestConfig::with_cases(gate.max(long.unwrap_or(0))) }
}

/// Whatever was posted before: afterwards the ledger says what is desired, a second run posts nothing, pools add up, the
/// chain holds, and what an earlier posting said is what its entries still say.
fn restated(states: &[Vec<(EntryKey, Desired)>]) -> Result<usize, TestCaseError> {
    let mut postings = Vec::new();
    let mut said: Vec<(usize, ByKey<Existing>)> = Vec::new();
    for parts in states {
        let desired = set(parts);
        post(&mut postings, &desired);

        let existing = sums_of(&postings);
        for key in existing.iter().map(|(key, _)| key).chain(desired.iter().map(|(key, _)| key)) {
            let stands = existing.get(key).map(|stands| stands.sums).unwrap_or_default();
            prop_assert_eq!(stands, desired.get(key).map(Desired::sums).unwrap_or_default());
        }
        let found = totals_of(existing.iter().map(|(key, stands)| (key, stands.sums)));
        prop_assert_eq!(check_totals(&totals(&desired), &found), Ok(()));
        prop_assert!(!post(&mut postings, &desired), "a second run must post nothing");
        said.push((postings.len(), existing));
    }
    for (count, existing) in said {
        prop_assert_eq!(sums_of(&postings[..count]), existing);
    }
    let (count, head) = (postings.len(), postings.last().map_or(Head::EMPTY, Posting::head));
    prop_assert_eq!(verify_chain(postings), Ok(head));
    Ok(count)
}

#[test]
fn l4_random_restatements_lead_to_what_is_desired_and_leave_every_state_before_as_it_was() {
    let config = cases(500);
    let wanted = config.cases;
    let posted = std::cell::Cell::new(0_usize);
    let done = TestRunner::new(config).run(&vec(any_parts(), 1..4), |states| {
        posted.set(posted.get() + restated(&states)?);
        Ok(())
    });
    println!("L4: {wanted} ledgers with {} postings", posted.get());
    done.unwrap_or_else(|error| panic!("{error}"));
}

proptest! {
    #[test]
    fn the_order_of_shares_does_not_matter((parts, shuffled) in any_parts().prop_flat_map(|parts| {
        (Just(parts.clone()), Just(parts).prop_shuffle())
    })) {
        prop_assert_eq!(set(&parts), set(&shuffled));
    }

    #[test]
    fn differences_come_in_key_order_and_never_for_nothing(before in any_parts(), after in any_parts()) {
        let stands = set(&before).into_iter().map(|(key, desired)| (key, Existing::from(desired.sums())));
        let existing = ByKey::existing(stands.collect());
        let differences: Vec<_> = differences(set(&after), &existing).collect();
        prop_assert!(differences.windows(2).all(|pair| pair[0].key < pair[1].key));
        prop_assert!(differences.iter().all(|difference| difference.says.sums() != Sums::default()));
    }
}

#[test]
fn a_key_no_longer_desired_is_taken_back_with_its_unit_and_reason() {
    let sums = Sums { amount: 5, billed_amount: 6, amount_reporting: 7, quantity: 8 };
    let stands = Existing { sums, unit: Some("Hours".into()), reason: Some("no_usage".into()) };
    let existing = ByKey::existing(vec![(key("old", "acme"), stands)]);

    let differences: Vec<_> = differences(ByKey::default(), &existing).collect();

    let [only] = &differences[..] else { panic!("one difference, not {differences:?}") };
    assert!(only.existed);
    assert_eq!(only.says.sums(), Sums { amount: -5, billed_amount: -6, amount_reporting: -7, quantity: -8 });
    assert_eq!((only.says.unit.as_deref(), only.says.reason.as_deref()), (Some("Hours"), Some("no_usage")));
}

#[test]
fn a_quantity_of_none_counts_as_zero() {
    let existing = ByKey::existing(vec![(key("a", "acme"), Existing::from(Sums { amount: 5, ..Sums::default() }))]);
    let says = |quantity| {
        let desired = vec![(key("a", "acme"), Desired { amount: 5, quantity, ..Desired::default() })];
        differences(ByKey::desired(desired), &existing).map(|difference| difference.says.quantity).collect::<Vec<_>>()
    };
    assert_eq!([says(None), says(Some(0)), says(Some(3))], [vec![], vec![], vec![Some(3)]]);
}

#[test]
fn parts_that_disagree_leave_the_statement_out() {
    let part = |unit_price, reason: &str| Desired {
        amount: 1,
        unit_price: Some(unit_price),
        pool_amount: Some(9),
        reason: Some(reason.into()),
        ..Desired::default()
    };
    let merged = set(&[
        (key("a", "acme"), part(1, "remainder")),
        (key("a", "acme"), part(2, "no_usage")),
        (key("a", "acme"), part(1, "remainder")),
    ]);
    let only = merged.get(&key("a", "acme")).expect("one key");
    assert_eq!((only.amount, only.unit_price, only.pool_amount), (3, None, Some(9)));
    assert_eq!(only.reason.as_deref(), Some("no_usage"));
}
