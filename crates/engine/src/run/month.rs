//! What was used at graduated prices on the days of a month before each day of a run.

use crate::EngineError;
use crate::books::Books;
use crate::inputs::usage;
use attribution::graduated::MonthSoFar;
use attribution::usage::UsageCell;
use datafusion::prelude::SessionContext;
use domain::policy::Policy;
use domain::rates::canonical;
use domain::{Day, DayRange, Month};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// Usage of the meters with graduated prices, and what it adds up to under the policy and card asked last.
pub(crate) struct MonthUsage {
    meters: BTreeSet<String>,
    days: BTreeMap<Day, Vec<UsageCell>>,
    summed: Option<Summed>,
}

/// Quantities of a month up to a day, under one policy and one card.
struct Summed {
    month: Month,
    /// Names and hashes of policy and card.
    versions: [(Arc<str>, Arc<str>); 2],
    /// The first day that is not in the sums.
    next: Day,
    so_far: MonthSoFar,
}

impl MonthUsage {
    /// Returns the usage from the first of the month up to the day before the range, where the range has a card with
    /// graduated prices.
    pub(crate) async fn before(
        session: &SessionContext,
        range: DayRange,
        books: &Books,
        policies: &[&Policy],
    ) -> Result<Self, EngineError> {
        let rows = range.days().flat_map(|day| &books.card_on(day).content.prices);
        let graduated = rows.filter(|row| !row.tiers.is_empty());
        let meters = graduated.map(|row| canonical(&row.meter).0.to_owned()).collect();
        let mut usage = Self { meters, days: BTreeMap::new(), summed: None };
        let earlier = DayRange::new(range.from().month().first_day(), range.from().plus(-1));
        if let Some(earlier) = earlier.filter(|_| !usage.meters.is_empty()) {
            for (day, cells) in usage::load(session, earlier, books, policies).await? {
                usage.keep(day, &cells);
            }
        }
        Ok(usage)
    }

    /// Keeps what later days of the month need to know of a day.
    pub(crate) fn keep(&mut self, day: Day, cells: &[UsageCell]) {
        if self.meters.is_empty() {
            return;
        }
        let month = day.month().first_day();
        self.days.retain(|known, _| month <= *known);
        let kept = cells.iter().filter(|cell| self.meters.contains(&*cell.meter)).cloned().collect();
        self.days.insert(day, kept);
    }

    /// Returns what the day's own policy, `for_each` expanded, and card make of the days of the month before it.
    pub(crate) fn up_to(&mut self, day: Day, policy: &Policy, books: &Books) -> &MonthSoFar {
        let (rules, card) = (books.policy_on(day), books.card_on(day));
        let versions = [rules.name_and_hash(), card.name_and_hash()];
        let goes_on =
            |summed: &Summed| summed.month == day.month() && summed.versions == versions && summed.next <= day;
        let start = || Summed {
            month: day.month(),
            versions: versions.clone(),
            next: day.month().first_day(),
            so_far: MonthSoFar::default(),
        };
        let mut summed = self.summed.take().filter(goes_on).unwrap_or_else(start);
        if card.content.has_tiers() {
            for (_, cells) in self.days.range(summed.next..day) {
                summed.so_far.add_day(policy, &card.content, &books.meters, cells);
            }
        }
        summed.next = day;
        &self.summed.insert(summed).so_far
    }
}
