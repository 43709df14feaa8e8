//! Every way in which stored postings can differ from what was written is found and named.

use crate::samples::{day, full_line, instant, key, month, two_postings};
use domain::policy::{Basis, Method, Tier};
use domain::{Currency, Instant};
use ledger::{
    Broken, ByKey, COLUMNS, Cause, Chain, ChainFault, ChainHash, Desired, Difference, Entry, EntryKind, Existing, Head,
    Header, Line, Posting, Status, Sums, Totals, verify_chain,
};

type Mutation = (&'static str, fn(&mut Entry));

/// One change per column, of the sample in which hardly any column is null.
const MUTATIONS: &[Mutation] = &[
    ("posting", |entry| entry.posting += 1),
    ("line", |entry| entry.line += 1),
    ("kind", |entry| entry.kind = EntryKind::Adjustment),
    ("booked_at", |entry| entry.booked_at = entry.booked_at.plus_micros(1)),
    ("billing_month", |entry| entry.billing_month = entry.billing_month.next()),
    ("charge_month", |entry| entry.charge_month = None),
    ("charge_date", |entry| entry.charge_date = entry.charge_date.map(|day| day.plus(1))),
    ("tier", |entry| entry.tier = Some(Tier::Overhead)),
    ("basis", |entry| entry.basis = Some(Basis::Event)),
    ("memo", |entry| entry.memo = entry.memo.map(|memo| !memo)),
    ("status", |entry| entry.status = None::<Status>),
    ("reason", |entry| entry.reason = Some("".into())),
    ("cause", |entry| entry.cause = Some(Cause::First)),
    ("charge_category", |entry| entry.charge_category = Some("usage".into())),
    ("charge_class", |entry| entry.charge_class = None),
    ("pool", |entry| entry.pool = Some("shared-west-uS".into())),
    ("method", |entry| entry.method = Some(Method::None)),
    ("consumer", |entry| entry.consumer = Some("acme/ci/nightly".into())),
    ("tenant", |entry| entry.tenant = Some("globex".into())),
    ("user", |entry| entry.user = None),
    ("workflow", |entry| entry.workflow = None),
    ("repo", |entry| entry.repo = None),
    ("task_class", |entry| entry.task_class = None),
    ("cluster", |entry| entry.cluster = None),
    ("labels", |entry| {
        entry.labels.insert("model".into(), "small-2".into());
    }),
    ("labels_key", |entry| entry.labels_key = Some("{}".into())),
    ("provider", |entry| entry.provider = None),
    ("service", |entry| entry.service = None),
    ("source", |entry| entry.source = None),
    ("commitment_status", |entry| entry.commitment_status = None),
    ("invoice_id", |entry| entry.invoice_id = None),
    ("category", |entry| entry.category = None),
    ("meter", |entry| entry.meter = None),
    ("unit", |entry| entry.unit = None),
    ("quantity", |entry| entry.quantity = entry.quantity.map(|atoms| atoms + 1)),
    ("unit_price", |entry| entry.unit_price = entry.unit_price.map(|atoms| atoms + 1)),
    ("weight", |entry| entry.weight = Some(0)),
    ("pool_amount", |entry| entry.pool_amount = None),
    ("amount", |entry| entry.amount += 1),
    ("billed_amount", |entry| entry.billed_amount = -entry.billed_amount),
    ("currency", |entry| entry.currency = Some(Currency::USD)),
    ("amount_reporting", |entry| entry.amount_reporting -= 1),
    ("fx_rate", |entry| entry.fx_rate = None),
    ("fx_date", |entry| entry.fx_date = entry.fx_date.map(|day| day.plus(-1))),
    ("policy_version", |entry| entry.policy_version = Some("2026-11".into())),
    ("rate_card_version", |entry| entry.rate_card_version = None),
    ("run", |entry| entry.run = Some("run-0002".into())),
    ("prev_hash", |entry| entry.prev_hash.0[31] ^= 1),
    ("hash", |entry| entry.hash.0[0] ^= 128),
];

fn fault(change: impl FnOnce(&mut Vec<Posting>)) -> ChainFault {
    let mut postings = two_postings();
    change(&mut postings);
    verify_chain(postings).expect_err("the change must be found")
}

#[test]
fn a_change_of_any_column_is_found() {
    let columns = COLUMNS.iter().map(|(name, _)| *name).chain(["prev_hash", "hash"]);
    assert!(MUTATIONS.iter().map(|(name, _)| *name).eq(columns), "MUTATIONS must name every column in order");
    for (name, mutate) in MUTATIONS {
        let mut postings = two_postings();
        let before = postings[0].entries[1].clone();
        mutate(&mut postings[0].entries[1]);
        assert_ne!(postings[0].entries[1], before, "the mutation of {name} changes nothing");
        assert_eq!(verify_chain(postings).expect_err(name).posting, 1, "{name}");
    }
}

#[test]
fn the_hash_itself_depends_on_every_column() {
    let entry = two_postings().remove(0).entries.remove(1);
    let hash = ledger::posting_hash(&ChainHash::ZERO, [&entry]);
    for (name, mutate) in MUTATIONS.iter().filter(|(name, _)| !["prev_hash", "hash"].contains(name)) {
        let mut changed = entry.clone();
        mutate(&mut changed);
        assert_ne!(ledger::posting_hash(&ChainHash::ZERO, [&changed]), hash, "{name}");
    }
    assert_ne!(ledger::posting_hash(&ChainHash([1; 32]), [&entry]), hash);
}

#[test]
fn the_first_broken_posting_is_named() {
    assert_eq!(fault(|postings| drop(postings.remove(0))), ChainFault { posting: 2, what: Broken::Number(1) });
    assert_eq!(fault(|postings| postings.push(postings[1].clone())).what, Broken::Number(3));
    assert_eq!(fault(|postings| postings[0].entries.clear()).what, Broken::Empty);
    assert_eq!(fault(|postings| drop(postings[0].entries.remove(0))).what, Broken::Line(1));
    assert_eq!(fault(|postings| postings[0].entries.swap(0, 1)).what, Broken::Line(1));
    assert!(matches!(fault(|postings| drop(postings[0].entries.remove(1))).what, Broken::Hash { .. }));
    let differs = |column| Broken::Differs { line: 2, column };
    assert_eq!(fault(|postings| postings[0].entries[1].run = None).what, differs("run"));
    assert_eq!(fault(|postings| postings[1].header.prev_hash = ChainHash::ZERO).posting, 2);
}

#[test]
fn time_moves_forward_even_when_the_clock_does_not() {
    let postings = two_postings();
    let now = instant("2026-11-02T00:30:00.000001Z");
    assert_eq!(postings[0].header.booked_at, now);
    assert_eq!(postings[1].header.booked_at, now.plus_micros(1));

    let mut late = two_postings();
    let last = &mut late[1];
    last.header.booked_at = now;
    last.entries[0].booked_at = now;
    last.hash = ledger::posting_hash(&last.header.prev_hash, &last.entries);
    last.entries[0].hash = last.hash;
    assert_eq!(verify_chain(late), Err(ChainFault { posting: 2, what: Broken::BookedAt }));
}

#[test]
fn a_rewritten_posting_breaks_the_next_one() {
    let mut postings = two_postings();
    let first = &mut postings[0];
    for entry in &mut first.entries {
        entry.amount += 1;
    }
    first.hash = ledger::posting_hash(&first.header.prev_hash, &first.entries);
    for entry in &mut first.entries {
        entry.hash = first.hash;
    }
    let fault = verify_chain(postings).expect_err("posting 2 was made for another posting 1");
    assert!(matches!(fault, ChainFault { posting: 2, what: Broken::PrevHash { .. } }));
}

#[test]
fn stored_entries_come_back_as_the_posting_they_were() {
    for posting in two_postings() {
        let mut entries = posting.entries.clone();
        entries.reverse();
        assert_eq!(Posting::from_stored(entries), Ok(posting));
    }
    assert_eq!(Posting::from_stored(Vec::new()).expect_err("nothing stored").what, Broken::Empty);
}

#[test]
fn a_chain_can_be_checked_from_a_known_head_on() {
    let postings = two_postings();
    let mut chain = Chain::after(postings[0].head());
    assert_eq!(chain.accept(&postings[1]), Ok(()));
    assert_eq!(chain.head(), postings[1].head());
    assert!(chain.accept(&postings[1]).is_err());
    assert_eq!(chain.head(), postings[1].head(), "a refused posting leaves the head");
}

#[test]
fn a_line_of_an_earlier_month_is_a_correction() {
    let posting = &two_postings()[0];
    let classes: Vec<_> = posting.entries.iter().map(|entry| entry.charge_class.map(|class| class.as_str())).collect();
    assert_eq!(classes, [None, Some("correction")]);
}

#[test]
fn closing_is_one_line_with_all_else_null() {
    let close = two_postings().remove(1);
    let header = &close.header;
    let expected = Entry {
        prev_hash: header.prev_hash,
        hash: close.hash,
        ..Entry::blank(2, 1, EntryKind::Close, header.booked_at, month("2026-10"))
    };
    assert_eq!(close.entries, [expected]);
    assert_eq!(close.entries[0].key(), None);
}

fn header() -> Header {
    Header::after(&Head::EMPTY, Instant::from_micros(1), Some("run".into()))
}

fn line(who: &str, amount: i128) -> Line {
    let says = Desired { amount, billed_amount: amount, amount_reporting: amount, ..Desired::default() };
    let difference = Difference { key: key("a", who), existed: false, says };
    Line { difference, cause: Cause::First, billing_month: month("2026-10") }
}

fn totals(amount: i128) -> Totals {
    let sums = Sums { amount, billed_amount: amount, amount_reporting: amount, quantity: 0 };
    ledger::totals_of([(&key("a", "acme"), sums)])
}

#[test]
fn a_balanced_posting_counts_what_stands_already() {
    let sums = Sums { amount: 4, billed_amount: 4, amount_reporting: 4, quantity: 0 };
    let existing = ByKey::existing(vec![(key("a", "globex"), Existing::from(sums))]);
    let posting = Posting::seal_run(header(), vec![line("acme", 6)], &existing, &totals(10));
    assert_eq!(posting.entries.len(), 1);
}

#[test]
#[should_panic(expected = "a posting must conserve cost: pool \"a\" on 2026-10-31 in USD: entries add up to")]
fn a_lost_atom_is_never_posted() {
    let _ = Posting::seal_run(header(), vec![line("acme", 9)], &ByKey::default(), &totals(10));
}

#[test]
#[should_panic(expected = "a posting must conserve cost")]
fn a_pool_without_entries_is_never_posted() {
    let mut totals = totals(10);
    totals.extend(ledger::totals_of([(&key("forgotten", "acme"), Sums { billed_amount: 1, ..Sums::default() })]));
    let _ = Posting::seal_run(header(), vec![line("acme", 10)], &ByKey::default(), &totals);
}

#[test]
#[should_panic(expected = "an adjustment must cancel out in USD")]
fn an_adjustment_creates_no_cost() {
    let _ = Posting::seal_adjustment(header(), vec![line("acme", 10), line("globex", -9)]);
}

#[test]
fn an_adjustment_that_cancels_out_is_posted() {
    let posting = Posting::seal_adjustment(header(), vec![line("globex", -10), line("acme", 10)]);
    assert!(posting.entries.iter().all(|entry| entry.kind == EntryKind::Adjustment));
}

#[test]
fn a_chain_whose_hashes_are_right_holds_no_adjustment_that_creates_cost() {
    let unbalanced = Posting::seal(header(), EntryKind::Adjustment, vec![line("globex", -10), line("acme", 11)]);
    assert_eq!(verify_chain([unbalanced]), Err(ChainFault { posting: 1, what: Broken::Unbalanced }));
    let balanced = Posting::seal_adjustment(header(), vec![line("globex", -10), line("acme", 10)]);
    assert_eq!(verify_chain([balanced.clone()]), Ok(balanced.head()));
}

#[test]
fn a_chain_whose_hashes_are_right_closes_no_month_with_an_amount() {
    let closing = Posting::seal(header(), EntryKind::Close, vec![line("acme", 1)]);
    assert_eq!(verify_chain([closing]), Err(ChainFault { posting: 1, what: Broken::Period }));
    let twice = Posting::seal(header(), EntryKind::Reopen, vec![line("acme", 0), line("globex", 0)]);
    assert_eq!(verify_chain([twice]), Err(ChainFault { posting: 1, what: Broken::Period }));
}

#[test]
#[should_panic(expected = "one line per key")]
fn a_key_stands_once_in_a_posting() {
    let _ = Posting::seal(header(), EntryKind::Cost, vec![line("acme", 1), line("acme", 2)]);
}

#[test]
#[should_panic(expected = "at least one line")]
fn nothing_is_not_a_posting() {
    let _ = Posting::seal(header(), EntryKind::Cost, Vec::new());
}

#[test]
#[should_panic(expected = "2026-10-31 cannot be billed in 2026-09")]
fn nothing_is_billed_before_it_arose() {
    let early = Line { billing_month: month("2026-09"), ..line("acme", 1) };
    let _ = Posting::seal(header(), EntryKind::Cost, vec![early]);
}

#[test]
fn a_row_outside_the_bound_is_seen_before_it_is_posted() {
    assert!(!line("acme", 10_i128.pow(27)).is_out_of_bound());
    assert!(line("acme", -(10_i128.pow(27)) - 1).is_out_of_bound());
    let mut much = full_line();
    much.difference.says.quantity = Some(10_i128.pow(27) + 1);
    assert!(much.is_out_of_bound());
    assert_eq!(full_line().difference.key.charge_date, day("2026-10-31"));
}
