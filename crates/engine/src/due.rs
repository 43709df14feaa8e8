//! Which days must run: derived from what changed since each day's last run, never remembered.

use crate::books::Books;
use crate::{Engine, EngineError};
use domain::{Day, DayRange};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};
use storage::lake::{PinnedLake, Table};

/// Which versions of all inputs a day's run saw.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SeenInputs {
    /// Version of the table `cost_lines`.
    pub cost_lines: u64,
    /// Version of the table `usage`.
    pub usage: u64,
    /// Policy version and hash.
    pub policy: String,
    /// Rate card version and hash; empty when none applied.
    pub rate_card: String,
    /// When the newest tenant fact or alias was recorded.
    pub tenants: i64,
    /// When the newest exchange rate was recorded.
    pub fx: i64,
    /// When the newest meter was recorded.
    pub meters: i64,
}

impl SeenInputs {
    /// Returns what a run of the day sees with these books and this pinned lake.
    #[must_use]
    pub fn of_day(day: Day, books: &Books, pinned: &PinnedLake) -> Self {
        let policy = books.policy_on(day);
        let card = books.card_on(day);
        Self {
            cost_lines: pinned.table(Table::CostLines).version(),
            usage: pinned.table(Table::Usage).version(),
            policy: format!("{}@{}", policy.name, policy.sha256),
            rate_card: card.map_or_else(String::new, |card| format!("{}@{}", card.name, card.sha256)),
            tenants: books.tenants.recorded_up_to().map_or(0, domain::Instant::micros),
            fx: books.fx_recorded,
            meters: books.meters_recorded,
        }
    }

    /// Returns whether the rows of the catalog that feed attribution are the same.
    #[must_use]
    pub fn same_catalog(&self, other: &Self) -> bool {
        let rows = |seen: &Self| (seen.policy.clone(), seen.rate_card.clone(), seen.tenants, seen.fx, seen.meters);
        rows(self) == rows(other)
    }
}

/// Days that must run, and days that changed but lie too far back to run by themselves.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DueDays {
    /// To be run, oldest first.
    pub due: Vec<Day>,
    /// Older than `[schedule] trailing_days`, with other catalog rows than at their last run.
    pub stale: Vec<Day>,
}

impl DueDays {
    /// Returns the due days as ranges without gaps.
    #[must_use]
    pub fn ranges(&self) -> Vec<DayRange> {
        let mut ranges: Vec<DayRange> = Vec::new();
        for day in &self.due {
            match ranges.last_mut() {
                Some(last) if last.to().plus(1) == *day => {
                    *last = DayRange::new(last.from(), *day).expect("days ascend")
                }
                _ => ranges.push(DayRange::single(*day)),
            }
        }
        ranges
    }
}

impl Engine {
    /// Returns the days before today whose inputs changed since they were last run.
    ///
    /// # Source
    /// Spec 3-attribution, section 4.
    ///
    /// # Errors
    /// When catalog or lake fail.
    pub async fn due_days(&self) -> Result<DueDays, EngineError> {
        let pinned = self.lake.pin().await?;
        let books = self.books_now().await?;
        let seen = self.seen_inputs().await?;
        let touched = TouchedDays::read(&pinned).await?;
        let today = self.today();
        let mut days = DueDays::default();
        for day in touched.all().into_iter().chain(seen.keys().copied()).collect::<BTreeSet<Day>>() {
            if day >= today {
                continue;
            }
            let Some(before) = seen.get(&day) else {
                days.due.push(day);
                continue;
            };
            let now = SeenInputs::of_day(day, &books, &pinned);
            if touched.since(day, before) {
                days.due.push(day);
            } else if !before.same_catalog(&now) {
                let trails = day >= today.plus(-self.settings.trailing_days);
                if trails { days.due.push(day) } else { days.stale.push(day) }
            }
        }
        Ok(days)
    }

    /// Returns the days of the range whose cost lines changed since their last run, or that were never run, as
    /// ranges without gaps.
    pub(crate) async fn ranges_with_new_lines(&self, range: DayRange) -> Result<Vec<DayRange>, EngineError> {
        let pinned = self.lake.pin().await?;
        let seen = self.seen_inputs().await?;
        let touched = TouchedDays::read(&pinned).await?;
        let is_new = |day: &Day| match seen.get(day) {
            Some(before) => touched.lines_since(*day, before),
            None => touched.cost_lines.contains_key(day),
        };
        Ok(DueDays { due: range.days().filter(is_new).collect(), stale: Vec::new() }.ranges())
    }

    /// Returns what the last run of each day saw.
    pub(crate) async fn seen_inputs(&self) -> Result<BTreeMap<Day, SeenInputs>, EngineError> {
        let rows = self.catalog.run_days("0000-00-00", "9999-99-99").await?;
        let read = |row: &storage::catalog::RunDayRow| {
            let day = row.day.parse().map_err(|error| crate::books::corrupt("run_days", &error))?;
            let seen = serde_json::from_str(&row.inputs).map_err(|error| crate::books::corrupt("run_days", &error))?;
            Ok((day, seen))
        };
        rows.iter().map(read).collect()
    }
}

/// By day, the newest version of each table that touched it.
#[derive(Debug, Default)]
pub(crate) struct TouchedDays {
    cost_lines: BTreeMap<Day, u64>,
    usage: BTreeMap<Day, u64>,
}

impl TouchedDays {
    /// Reads which days every commit touched.
    pub(crate) async fn read(pinned: &PinnedLake) -> Result<Self, EngineError> {
        Ok(Self { cost_lines: touched(pinned, Table::CostLines).await?, usage: touched(pinned, Table::Usage).await? })
    }

    fn all(&self) -> BTreeSet<Day> {
        self.cost_lines.keys().chain(self.usage.keys()).copied().collect()
    }

    /// Returns whether a commit after those that the run saw touched the day.
    pub(crate) fn since(&self, day: Day, seen: &SeenInputs) -> bool {
        self.lines_since(day, seen) || self.usage_since(day, seen)
    }

    pub(crate) fn lines_since(&self, day: Day, seen: &SeenInputs) -> bool {
        self.cost_lines.get(&day).is_some_and(|version| *version > seen.cost_lines)
    }

    pub(crate) fn usage_since(&self, day: Day, seen: &SeenInputs) -> bool {
        self.usage.get(&day).is_some_and(|version| *version > seen.usage)
    }
}

async fn touched(pinned: &PinnedLake, table: Table) -> Result<BTreeMap<Day, u64>, EngineError> {
    let mut days = BTreeMap::new();
    for record in pinned.table(table).commits_since(None).await? {
        for item in record.metadata.get("touched_days").and_then(serde_json::Value::as_array).into_iter().flatten() {
            let range = read_days(item).ok_or_else(|| crate::books::corrupt("touched_days", item))?;
            days.extend(range.days().map(|day| (day, record.version)));
        }
    }
    Ok(days)
}

/// A day, or a pair of first and last day.
fn read_days(item: &serde_json::Value) -> Option<DayRange> {
    match item {
        serde_json::Value::String(day) => day.parse().ok().map(DayRange::single),
        serde_json::Value::Array(pair) => match pair.as_slice() {
            [from, to] => DayRange::new(from.as_str()?.parse().ok()?, to.as_str()?.parse().ok()?),
            _ => None,
        },
        _ => None,
    }
}
