//! Which billing months are closed, and in which month a cost is therefore billed.

use domain::Month;

use crate::posting::{PeriodChange, Posting};
use crate::words::EntryKind;

/// The closed billing months of a ledger after some posting.
///
/// Months close in order and only the latest is reopened, so the closed ones are a stretch without gaps. Months before the
/// first one count as closed too: nothing of them was left open when it was closed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Periods {
    /// First and last closed month.
    closed: Option<(Month, Month)>,
}

/// Why a posting cannot change the months, or is not billed in the month it should be.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PeriodFault {
    /// The month is closed already.
    #[error("{0} is closed already")]
    Closed(Month),
    /// Months close in order.
    #[error("{month} cannot be closed before {next}")]
    OutOfOrder {
        /// The month.
        month: Month,
        /// The month whose turn it is.
        next: Month,
    },
    /// Only the latest closed month may be reopened.
    #[error("{month} cannot be reopened: {}", latest_text(.latest))]
    NotLatest {
        /// The month.
        month: Month,
        /// The latest closed month, if one is closed.
        latest: Option<Month>,
    },
    /// An entry is billed in another month than the rule says.
    #[error("line {line} is billed in {found}, but {expected} was the month to bill it in")]
    Billed {
        /// The line.
        line: i32,
        /// The month that is stored.
        found: Month,
        /// The month of the rule.
        expected: Month,
    },
}

fn latest_text(latest: &Option<Month>) -> String {
    latest.map_or_else(|| "no month is closed".to_owned(), |month| format!("{month} is the latest closed month"))
}

impl Periods {
    /// Returns the state in which these months and all between them are closed.
    ///
    /// # Errors
    /// [`PeriodFault::OutOfOrder`] when the last lies before the first.
    pub fn closed_between(first: Month, last: Month) -> Result<Self, PeriodFault> {
        if last < first {
            return Err(PeriodFault::OutOfOrder { month: last, next: first });
        }
        Ok(Self { closed: Some((first, last)) })
    }

    /// Returns the first and the last closed month, or `None` while no month is closed.
    #[must_use]
    pub fn closed(&self) -> Option<(Month, Month)> {
        self.closed
    }

    /// Returns the closed months in order.
    pub fn closed_months(&self) -> impl Iterator<Item = Month> + use<> {
        let (first, last) = self.closed.unzip();
        std::iter::successors(first, |month| Some(month.next())).take_while(move |month| last >= Some(*month))
    }

    /// Returns the latest closed month.
    #[must_use]
    pub fn latest_closed(&self) -> Option<Month> {
        self.closed.map(|(_, last)| last)
    }

    /// Returns whether costs of the month can no longer be billed in it.
    #[must_use]
    pub fn is_closed(&self, month: Month) -> bool {
        self.latest_closed().is_some_and(|last| month <= last)
    }

    /// Returns the month on whose statement a cost of this month goes: the month itself while it is open, else the
    /// earliest open one.
    ///
    /// # Source
    /// Spec 3-attribution, section 4, "Periods".
    #[must_use]
    pub fn billing_month(&self, charge_month: Month) -> Month {
        self.latest_closed().map_or(charge_month, |last| charge_month.max(last.next()))
    }

    /// Returns the state after a month was closed or reopened.
    ///
    /// # Errors
    /// [`PeriodFault`] when it is not the month's turn.
    pub fn after(self, change: PeriodChange, month: Month) -> Result<Self, PeriodFault> {
        match (change, self.closed) {
            (PeriodChange::Close, None) => Ok(Self { closed: Some((month, month)) }),
            (PeriodChange::Close, Some((_, last))) if month <= last => Err(PeriodFault::Closed(month)),
            (PeriodChange::Close, Some((first, last))) if month == last.next() => {
                Ok(Self { closed: Some((first, month)) })
            }
            (PeriodChange::Close, Some((_, last))) => Err(PeriodFault::OutOfOrder { month, next: last.next() }),
            (PeriodChange::Reopen, Some((first, last))) if month == last => {
                Ok(Self { closed: (first < last).then(|| (first, last.previous())) })
            }
            (PeriodChange::Reopen, closed) => {
                Err(PeriodFault::NotLatest { month, latest: closed.map(|(_, last)| last) })
            }
        }
    }

    /// Follows the next posting of the chain.
    ///
    /// # Errors
    /// [`PeriodFault`] when it closes or reopens a month out of turn, or an entry of it is billed in another month than
    /// [`Periods::billing_month`] says; the state stays.
    pub fn accept(&mut self, posting: &Posting) -> Result<(), PeriodFault> {
        let mut next = *self;
        for entry in &posting.entries {
            match (entry.kind, entry.charge_month) {
                (EntryKind::Close, _) => next = next.after(PeriodChange::Close, entry.billing_month)?,
                (EntryKind::Reopen, _) => next = next.after(PeriodChange::Reopen, entry.billing_month)?,
                (EntryKind::Cost | EntryKind::Adjustment, Some(charged)) => {
                    let (found, expected) = (entry.billing_month, next.billing_month(charged));
                    if found != expected {
                        return Err(PeriodFault::Billed { line: entry.line, found, expected });
                    }
                }
                (EntryKind::Cost | EntryKind::Adjustment, None) => {}
            }
        }
        *self = next;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn month(text: &str) -> Month {
        text.parse().expect("a month")
    }

    fn closed(first: &str, last: &str) -> Periods {
        Periods::closed_between(month(first), month(last)).expect("in order")
    }

    #[test]
    fn months_close_in_order_and_only_the_latest_reopens() {
        let none = Periods::default();
        let one = none.after(PeriodChange::Close, month("2026-09")).expect("the first");
        let two = one.after(PeriodChange::Close, month("2026-10")).expect("the next");
        assert_eq!(two, closed("2026-09", "2026-10"));
        assert_eq!(two.closed_months().collect::<Vec<_>>(), [month("2026-09"), month("2026-10")]);
        assert_eq!(none.closed_months().count(), 0);
        assert_eq!(two.after(PeriodChange::Close, month("2026-10")), Err(PeriodFault::Closed(month("2026-10"))));
        assert_eq!(two.after(PeriodChange::Close, month("2026-08")), Err(PeriodFault::Closed(month("2026-08"))));
        let skipped = PeriodFault::OutOfOrder { month: month("2026-12"), next: month("2026-11") };
        assert_eq!(two.after(PeriodChange::Close, month("2026-12")), Err(skipped));
        let older = PeriodFault::NotLatest { month: month("2026-09"), latest: Some(month("2026-10")) };
        assert_eq!(two.after(PeriodChange::Reopen, month("2026-09")), Err(older));
        assert_eq!(two.after(PeriodChange::Reopen, month("2026-10")), Ok(one));
        assert_eq!(one.after(PeriodChange::Reopen, month("2026-09")), Ok(none));
        let open = PeriodFault::NotLatest { month: month("2026-09"), latest: None };
        assert_eq!(none.after(PeriodChange::Reopen, month("2026-09")), Err(open));
    }

    #[test]
    fn a_cost_is_billed_in_its_month_or_else_in_the_earliest_open_one() {
        let check = |periods: Periods, charged: &str, billed: &str| {
            assert_eq!(periods.billing_month(month(charged)), month(billed), "{charged}");
        };
        check(Periods::default(), "2026-01", "2026-01");
        check(closed("2026-09", "2026-12"), "2026-10", "2027-01");
        check(closed("2026-09", "2026-12"), "2025-01", "2027-01");
        check(closed("2026-09", "2026-12"), "2027-01", "2027-01");
        check(closed("2026-09", "2026-12"), "2027-02", "2027-02");
    }
}
