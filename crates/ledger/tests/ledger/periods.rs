//! Closed months as the chain tells them.

use crate::samples::{instant, month, sparse_line, two_postings};
use ledger::{EntryKind, Head, Header, Line, PeriodChange, PeriodFault, Periods, Posting};
use proptest::prelude::*;

fn header(head: &Head) -> Header {
    Header::after(head, instant("2026-11-02T00:00:00Z"), None)
}

/// A posting of one cost of October that is billed in this month.
fn billed_in(head: &Head, of: &str) -> Posting {
    let line = Line { billing_month: month(of), ..sparse_line() };
    Posting::seal(header(head), EntryKind::Cost, vec![line])
}

#[test]
fn a_cost_of_a_closed_month_must_be_billed_in_the_earliest_open_one() {
    let closed = Posting::seal_period(header(&Head::EMPTY), PeriodChange::Close, month("2026-10"));
    let mut periods = Periods::default();
    assert_eq!(periods.accept(&billed_in(&Head::EMPTY, "2026-10")), Ok(()));
    periods.accept(&closed).expect("the first close");
    let wrong = |found: &str| PeriodFault::Billed { line: 1, found: month(found), expected: month("2026-11") };
    assert_eq!(periods.accept(&billed_in(&closed.head(), "2026-10")), Err(wrong("2026-10")));
    assert_eq!(periods.accept(&billed_in(&closed.head(), "2026-12")), Err(wrong("2026-12")));
    assert_eq!(periods.accept(&billed_in(&closed.head(), "2026-11")), Ok(()));
    assert_eq!(periods.accept(&closed), Err(PeriodFault::Closed(month("2026-10"))));
    assert_eq!(periods, Periods::closed_between(month("2026-10"), month("2026-10")).expect("in order"));
}

#[test]
fn a_posting_that_does_not_fit_leaves_the_state_as_it_was() {
    let postings = two_postings();
    let [first, close] = &postings[..] else { panic!("two postings") };
    let mut periods = Periods::default();
    // The sample bills October in November while no month is closed.
    assert!(matches!(periods.accept(first), Err(PeriodFault::Billed { .. })));
    assert_eq!(periods, Periods::default());
    periods.accept(close).expect("nothing is closed");
    assert_eq!(periods.latest_closed(), Some(month("2026-10")));
}

proptest! {
    /// Whatever is tried: closed months have no gaps, a month is billed in itself or in the first open one, and a reopen
    /// takes back the close before it.
    #[test]
    fn closed_months_are_a_stretch_without_gaps(tries in prop::collection::vec((any::<bool>(), 1_u8..=12), 0..60)) {
        let mut periods = Periods::default();
        for (closes, number) in tries {
            let of = month(&format!("2026-{number:02}"));
            let change = if closes { PeriodChange::Close } else { PeriodChange::Reopen };
            let Ok(next) = periods.after(change, of) else { continue };
            if closes {
                prop_assert_eq!(next.after(PeriodChange::Reopen, of), Ok(periods));
            }
            periods = next;
            let months: Vec<_> = periods.closed_months().collect();
            prop_assert!(months.windows(2).all(|pair| pair[0].next() == pair[1]));
            prop_assert_eq!(months.last().copied(), periods.latest_closed());
            for number in 1..=12 {
                let of = month(&format!("2026-{number:02}"));
                let billed = periods.billing_month(of);
                prop_assert_eq!(billed == of, !periods.is_closed(of));
                prop_assert!(!periods.is_closed(billed) && of <= billed);
            }
        }
    }
}
