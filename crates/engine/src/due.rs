//! Which days must run: derived from what changed since each day's last run, never remembered.

use crate::books::{Books, Version};
use crate::inputs::windows::{INPUTS_EXPIRED, has_windows, reach};
use crate::{Engine, EngineError};
use attribution::day::PoolOutcome;
use domain::policy::{Method, Policy};
use domain::rates::RateCard;
use domain::{Day, DayRange, Instant};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard};
use storage::lake::{CommitRecord, PinnedLake, Table};

/// Which versions of all inputs a day's run saw.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SeenInputs {
    /// Version of the table `cost_lines`.
    pub cost_lines: u64,
    /// Version of the table `usage`.
    pub usage: u64,
    /// Version of the table `snapshots`; runs before there was such a table saw none.
    #[serde(default)]
    pub snapshots: u64,
    /// Policy version and hash.
    pub policy: String,
    /// Rate card version and hash.
    pub rate_card: String,
    /// When the newest tenant fact or alias was recorded.
    pub tenants: i64,
    /// When the newest exchange rate was recorded.
    pub fx: i64,
    /// When the newest meter was recorded.
    pub meters: i64,
    /// Version of the table `usage_events`; it matters where the policy has windows.
    #[serde(default)]
    pub events: u64,
    /// When the first pending cost of the day becomes final, in microseconds since 1970.
    #[serde(default)]
    pub ripens_at: Option<i64>,
    /// Whether a window pool of the day is not final, so that its events may not be dropped.
    #[serde(default)]
    pub awaits_events: bool,
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
            snapshots: pinned.table(Table::Snapshots).version(),
            policy: format!("{}@{}", policy.name, policy.sha256),
            rate_card: format!("{}@{}", card.name, card.sha256),
            tenants: books.tenants.recorded_up_to().map_or(0, Instant::micros),
            fx: books.fx_recorded,
            meters: books.meters_recorded,
            events: pinned.table(Table::UsageEvents).version(),
            ripens_at: None,
            awaits_events: false,
        }
    }

    /// Returns the same with what became of the day's windows.
    #[must_use]
    pub(crate) fn with_windows(self, pools: &[PoolOutcome]) -> Self {
        let windows = || pools.iter().filter(|pool| pool.method == Method::Window);
        let ripens_at = windows().filter_map(|pool| pool.window?.ripens_at).min();
        let waits = |pool: &PoolOutcome| pool.not_run.as_ref().is_some_and(|not_run| not_run.code != INPUTS_EXPIRED);
        Self {
            ripens_at: ripens_at.map(Instant::micros),
            awaits_events: ripens_at.is_some() || windows().any(waits),
            ..self
        }
    }

    /// Returns whether a pending cost of the day has become final since.
    pub(crate) fn has_ripened(&self, now: Instant) -> bool {
        self.ripens_at.is_some_and(|at| at <= now.micros())
    }

    /// Returns the policy that was seen, unless its version was replaced since.
    pub(crate) fn policy_in<'b>(&self, books: &'b Books) -> Option<&'b Version<Policy>> {
        books.policies().iter().find(|version| self.policy == format!("{}@{}", version.name, version.sha256))
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
    /// Returns the due days as ranges without gaps, none longer than a run may be.
    #[must_use]
    pub fn ranges(&self, days_max: i32) -> Vec<DayRange> {
        ranges_of(self.due.iter().copied(), days_max)
    }
}

/// Returns ascending days as ranges without gaps, none longer than `days_max`.
pub(crate) fn ranges_of(days: impl IntoIterator<Item = Day>, days_max: i32) -> Vec<DayRange> {
    let mut ranges: Vec<DayRange> = Vec::new();
    for day in days {
        match ranges.last_mut() {
            Some(last) if last.to().plus(1) == day && last.len() < days_max => {
                *last = DayRange::new(last.from(), day).expect("days ascend")
            }
            _ => ranges.push(DayRange::single(day)),
        }
    }
    ranges
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
        let seen = self.seen_inputs(None).await?;
        let touched = self.touched_days(&pinned).await?;
        let (today, instant) = (self.today(), self.clock.now());
        let periods = self.periods_in(pinned.table(Table::Ledger)).await?;
        let not_posted = self.noted_of_open_months(periods).await?;
        let mut days = DueDays::default();
        let reach = |day: Day| reach(&books.policy_on(day).content, day, &self.settings);
        let with_events = touched.events.keys().copied().filter(|day| reach(*day).is_some());
        for day in touched.all().into_iter().chain(with_events).chain(seen.keys().copied()).collect::<BTreeSet<Day>>() {
            if day >= today {
                continue;
            }
            let Some(before) = seen.get(&day) else {
                days.due.push(day);
                continue;
            };
            let now = SeenInputs::of_day(day, &books, &pinned);
            let card = &books.card_on(day).content;
            let is_read_anew = reach(day).is_some_and(|days| touched.events_since(days, before));
            if not_posted.contains(&day)
                || touched.since(day, before)
                || touched.priced_usage_since(day, card, before)
                || is_read_anew
                || before.has_ripened(instant)
            {
                days.due.push(day);
            } else if !before.same_catalog(&now) {
                let trails = day >= today.plus(-self.settings.trailing_days);
                if trails { days.due.push(day) } else { days.stale.push(day) }
            }
        }
        Ok(days)
    }

    /// Returns the first day whose raw events something will still read, if there is one: a window pool of that day has
    /// pending costs, could not be run, or must run again. Days from there on keep their events.
    ///
    /// # Source
    /// Spec 2-model, section 4: raw events are kept until every window pool that may read them is final.
    ///
    /// # Errors
    /// When catalog or lake fail.
    pub async fn events_needed_from(&self) -> Result<Option<Day>, EngineError> {
        let books = self.books_now().await?;
        if !books.policies().iter().any(|version| has_windows(&version.content)) {
            return Ok(None);
        }
        let seen = self.seen_inputs(None).await?;
        let waiting = seen.iter().find(|(_, seen)| seen.awaits_events).map(|(day, _)| *day);
        let due = self.due_days().await?.due.into_iter().find(|day| has_windows(&books.policy_on(*day).content));
        Ok(waiting.into_iter().chain(due).min())
    }

    /// Returns the days of the range whose cost lines changed since their last run, or that have lines and were
    /// never run.
    pub(crate) async fn days_with_new_lines(&self, range: DayRange) -> Result<BTreeSet<Day>, EngineError> {
        let pinned = self.lake.pin().await?;
        let seen = self.seen_inputs(Some(range)).await?;
        let touched = self.touched_days(&pinned).await?;
        let is_new = |day: &Day| match seen.get(day) {
            Some(before) => touched.lines_since(*day, before),
            None => touched.cost_lines.contains_key(day),
        };
        Ok(range.days().filter(is_new).collect())
    }

    /// Returns which days every commit up to the pinned versions touched.
    ///
    /// What a version changed never changes, so only commits are read that came after the last question.
    pub(crate) async fn touched_days(&self, pinned: &PinnedLake) -> Result<Arc<TouchedDays>, EngineError> {
        let known = Arc::clone(&self.touched.lock());
        if known.read_up_to == Some(versions(pinned)) {
            return Ok(known);
        }
        // What was read for newer versions says too much about older ones.
        let mut touched = if known.lies_before(pinned) { (*known).clone() } else { TouchedDays::default() };
        touched.read_on(pinned).await?;
        let touched = Arc::new(touched);
        let mut kept = self.touched.lock();
        if kept.lies_before(pinned) {
            *kept = Arc::clone(&touched);
        }
        drop(kept);
        Ok(touched)
    }

    /// Returns what the last run of each day of the range saw; of all days for `None`.
    pub(crate) async fn seen_inputs(&self, range: Option<DayRange>) -> Result<BTreeMap<Day, SeenInputs>, EngineError> {
        let rows = match range {
            Some(range) => self.catalog.run_days(&range.from().to_string(), &range.to().to_string()).await?,
            None => self.catalog.run_days("0000-00-00", "9999-99-99").await?,
        };
        let read = |row: &storage::catalog::RunDayRow| {
            let day = row.day.parse().map_err(|error| crate::books::corrupt("run_days", &error))?;
            let seen = serde_json::from_str(&row.inputs).map_err(|error| crate::books::corrupt("run_days", &error))?;
            Ok((day, seen))
        };
        rows.iter().map(read).collect()
    }
}

/// What was read last of the logs; shared by all questions.
#[derive(Debug, Default)]
pub(crate) struct KeptTouchedDays(Mutex<Arc<TouchedDays>>);

impl KeptTouchedDays {
    fn lock(&self) -> MutexGuard<'_, Arc<TouchedDays>> {
        self.0.lock().expect("nothing panics while it holds the lock")
    }
}

/// By day, the newest version of each table that touched it; and what the imports of cost lines contained.
#[derive(Clone, Debug, Default)]
pub(crate) struct TouchedDays {
    cost_lines: BTreeMap<Day, u64>,
    usage: BTreeMap<Day, u64>,
    snapshots: BTreeMap<Day, u64>,
    events: BTreeMap<Day, u64>,
    /// Days whose raw events were dropped.
    expired: BTreeSet<Day>,
    contents: BTreeMap<String, String>,
    /// When each version of `cost_lines` was committed.
    committed: BTreeMap<u64, Instant>,
    /// The versions up to which the logs were read.
    read_up_to: Option<ReadUpTo>,
}

/// Versions of the tables whose commits touch days.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct ReadUpTo {
    cost_lines: u64,
    usage: u64,
    snapshots: u64,
    events: u64,
}

fn versions(pinned: &PinnedLake) -> ReadUpTo {
    let version = |table: Table| pinned.table(table).version();
    ReadUpTo {
        cost_lines: version(Table::CostLines),
        usage: version(Table::Usage),
        snapshots: version(Table::Snapshots),
        events: version(Table::UsageEvents),
    }
}

impl TouchedDays {
    /// Adds what the commits say that were not read yet.
    async fn read_on(&mut self, pinned: &PinnedLake) -> Result<(), EngineError> {
        let read = self.read_up_to;
        for record in pinned.table(Table::CostLines).commits_since(read.map(|read| read.cost_lines)).await? {
            add_days(&mut self.cost_lines, &record)?;
            let text = |name: &str| record.metadata.get(name).and_then(serde_json::Value::as_str).map(str::to_owned);
            self.contents.extend(text("id").zip(text("content_sha256")));
            self.committed.insert(record.version, record.at);
        }
        for record in pinned.table(Table::Usage).commits_since(read.map(|read| read.usage)).await? {
            add_days(&mut self.usage, &record)?;
        }
        for record in pinned.table(Table::Snapshots).commits_since(read.map(|read| read.snapshots)).await? {
            add_days(&mut self.snapshots, &record)?;
        }
        for record in pinned.table(Table::UsageEvents).commits_since(read.map(|read| read.events)).await? {
            self.add_events(&record)?;
        }
        self.read_up_to = Some(versions(pinned));
        Ok(())
    }

    /// No meter may take an event, so the days are those of the files; a retraction adds none and names them.
    fn add_events(&mut self, record: &CommitRecord) -> Result<(), EngineError> {
        add_days(&mut self.events, record)?;
        let parsed = |day: &String| day.parse::<Day>().map_err(|error| crate::books::corrupt("event_date", &error));
        for day in record.partitions.iter().map(parsed) {
            self.events.insert(day?, record.version);
        }
        let dropped = record.metadata.get("days").filter(|_| is_expiry(record));
        for item in dropped.and_then(serde_json::Value::as_array).into_iter().flatten() {
            let days = read_days(item).ok_or_else(|| crate::books::corrupt("the days of an expiry", item))?;
            self.expired.extend(days.days());
        }
        Ok(())
    }

    /// Whether nothing was read that the pinned versions do not have.
    fn lies_before(&self, pinned: &PinnedLake) -> bool {
        let now = versions(pinned);
        self.read_up_to.is_none_or(|read| {
            read.cost_lines <= now.cost_lines
                && read.usage <= now.usage
                && read.snapshots <= now.snapshots
                && read.events <= now.events
        })
    }

    /// Returns the days whose raw events were dropped.
    pub(crate) fn expired(&self) -> &BTreeSet<Day> {
        &self.expired
    }

    /// Returns whether events of the days came after those that the run saw.
    pub(crate) fn events_since(&self, days: DayRange, seen: &SeenInputs) -> bool {
        self.events.range(days.from()..=days.to()).any(|(_, version)| *version > seen.events)
    }

    /// Returns the version of `cost_lines` that was the newest at the instant.
    pub(crate) fn cost_lines_at(&self, at: Instant) -> u64 {
        let known = |(_, committed): &(&u64, &Instant)| **committed <= at;
        self.committed.iter().rev().find(known).map_or(0, |(version, _)| *version)
    }

    /// Returns the hash of an import's lines, as its commit states it.
    pub(crate) fn content(&self, import: &str) -> Option<&str> {
        self.contents.get(import).map(String::as_str)
    }

    fn all(&self) -> BTreeSet<Day> {
        self.cost_lines.keys().chain(self.usage.keys()).chain(self.snapshots.keys()).copied().collect()
    }

    /// Returns whether a commit after those that the run saw touched the day.
    pub(crate) fn since(&self, day: Day, seen: &SeenInputs) -> bool {
        self.lines_since(day, seen) || self.usage_since(day, seen)
    }

    pub(crate) fn lines_since(&self, day: Day, seen: &SeenInputs) -> bool {
        self.cost_lines.get(&day).is_some_and(|version| *version > seen.cost_lines)
    }

    /// Returns whether usage that the run did not see can move the day's prices: its own, and where the card has
    /// graduated prices, that of any earlier day of the month.
    pub(crate) fn priced_usage_since(&self, day: Day, card: &RateCard, seen: &SeenInputs) -> bool {
        let from = if card.has_tiers() { day.month().first_day() } else { day };
        let days = DayRange::new(from, day).expect("a month begins before its days");
        days.days().any(|day| self.usage_since(day, seen))
    }

    /// Returns whether the day has usage, snapshots included.
    pub(crate) fn has_usage(&self, day: Day) -> bool {
        self.usage.contains_key(&day) || self.snapshots.contains_key(&day)
    }

    /// Returns whether usage of the day changed, snapshots included.
    pub(crate) fn usage_since(&self, day: Day, seen: &SeenInputs) -> bool {
        let is_newer = |days: &BTreeMap<Day, u64>, seen: u64| days.get(&day).is_some_and(|version| *version > seen);
        is_newer(&self.usage, seen.usage) || is_newer(&self.snapshots, seen.snapshots)
    }
}

/// Commits that dropped raw events say so with this word.
fn is_expiry(record: &CommitRecord) -> bool {
    record.metadata.get("kind").and_then(serde_json::Value::as_str) == Some("retention")
}

fn add_days(days: &mut BTreeMap<Day, u64>, record: &CommitRecord) -> Result<(), EngineError> {
    for item in record.metadata.get("touched_days").and_then(serde_json::Value::as_array).into_iter().flatten() {
        let range = read_days(item).ok_or_else(|| crate::books::corrupt("touched_days", item))?;
        days.extend(range.days().map(|day| (day, record.version)));
    }
    Ok(())
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

#[cfg(test)]
mod tests {
    use super::*;
    use storage::lake::Commit;

    fn day(text: &str) -> Day {
        text.parse().expect("a day")
    }

    #[test]
    fn long_stretches_are_cut_and_gaps_kept() {
        let due = day("2026-10-01");
        let days = [0, 1, 2, 3, 4, 7].map(|after| due.plus(after));
        let printed = |days_max| {
            let ranges = DueDays { due: days.to_vec(), stale: Vec::new() }.ranges(days_max);
            ranges
                .iter()
                .map(|range| (range.from().plus(-due.epoch_days()).epoch_days(), range.len()))
                .collect::<Vec<_>>()
        };
        assert_eq!(printed(100), [(0, 5), (7, 1)]);
        assert_eq!(printed(2), [(0, 2), (2, 2), (4, 1), (7, 1)]);
    }

    #[test]
    fn graduated_prices_make_the_rest_of_the_month_due() {
        let card = |tiers: &str| {
            let text =
                format!("version='v'\ncurrency='USD'\nvalid_from=2026-01-01\n[[price]]\nmeter='m'\nprice='1'\n{tiers}");
            RateCard::read("rates.toml", &text).expect("a card")
        };
        let touched = TouchedDays { usage: BTreeMap::from([(day("2026-11-05"), 7)]), ..TouchedDays::default() };
        let seen = |usage| SeenInputs {
            cost_lines: 0,
            usage,
            snapshots: 0,
            policy: String::new(),
            rate_card: String::new(),
            tenants: 0,
            fx: 0,
            meters: 0,
            events: 0,
            ripens_at: None,
            awaits_events: false,
        };
        let is_due = |tiers: &str, on: &str, usage| touched.priced_usage_since(day(on), &card(tiers), &seen(usage));
        let tiers = "tiers=[{above='1',price='2'}]";
        assert!(is_due("", "2026-11-05", 6) && !is_due("", "2026-11-05", 7) && !is_due("", "2026-11-06", 6));
        assert!(is_due(tiers, "2026-11-30", 6) && !is_due(tiers, "2026-11-30", 7));
        assert!(!is_due(tiers, "2026-11-04", 6) && !is_due(tiers, "2026-12-01", 6));
    }

    #[tokio::test]
    async fn events_count_for_the_days_whose_windows_reach_them_and_dropped_days_are_known() {
        let folder = tempfile::tempdir().expect("a folder");
        let engine = crate::sample::engine(folder.path()).await;
        let says = [
            serde_json::json!({ "kind": "retraction", "touched_days": ["2026-11-05"] }),
            serde_json::json!({ "kind": "retention", "before": "2026-10-03", "days": ["2026-10-01", "2026-10-02"] }),
        ];
        for metadata in says {
            let pinned = engine.lake.pin_table(Table::UsageEvents).await.expect("pinned");
            let mut commit = Commit::new(engine.clock.now(), "test");
            commit.metadata = metadata;
            engine.lake.commit(&pinned, commit).await.expect("committed");
        }
        let pinned = engine.lake.pin().await.expect("pinned");
        let touched = engine.touched_days(&pinned).await.expect("read");
        assert_eq!(*touched.expired(), ["2026-10-01", "2026-10-02"].map(day).into());
        let books = engine.books_now().await.expect("books");
        let seen = |events| SeenInputs { events, ..SeenInputs::of_day(day("2026-11-04"), &books, &pinned) };
        let text = "version='v'\nvalid_from=2026-01-01\n[[pool]]\nname='a'\nsource={event_type='c',cost='$.c',currency='USD'}\n\
                    split={method='window',event_type='r',window='24h'}";
        let policy = Policy::read("p", text).expect("a valid policy");
        let is_read_anew = |on: &str, events| {
            touched.events_since(reach(&policy, day(on), &engine.settings).expect("it has windows"), &seen(events))
        };
        let days = ["2026-11-03", "2026-11-04", "2026-11-05", "2026-11-06"];
        assert_eq!(days.map(|on| is_read_anew(on, 0)), [false, true, true, false]);
        assert_eq!(days.map(|on| is_read_anew(on, pinned.table(Table::UsageEvents).version())), [false; 4]);
        assert_eq!(reach(&Policy::builtin(), day("2026-11-04"), &engine.settings), None);
        assert_eq!(engine.events_needed_from().await.expect("read"), None);
    }

    async fn touch(engine: &Engine, days: &[&str], at: &str) {
        let pinned = engine.lake.pin_table(Table::CostLines).await.expect("pinned");
        let mut commit = Commit::new(at.parse().expect("an instant"), "test");
        commit.metadata = serde_json::json!({ "touched_days": days });
        engine.lake.commit(&pinned, commit).await.expect("committed");
    }

    #[tokio::test]
    async fn only_commits_that_came_since_are_read() {
        let folder = tempfile::tempdir().expect("a folder");
        let engine = crate::sample::engine(folder.path()).await;
        touch(&engine, &["2026-11-01"], "2026-11-20T13:00:00Z").await;
        let older = engine.lake.pin().await.expect("pinned");
        let first = engine.touched_days(&older).await.expect("read");
        assert!(Arc::ptr_eq(&first, &engine.touched_days(&older).await.expect("read")));

        touch(&engine, &["2026-11-02"], "2026-11-20T14:00:00Z").await;
        let newer = engine.lake.pin().await.expect("pinned");
        let second = engine.touched_days(&newer).await.expect("read");
        assert_eq!(second.all(), BTreeSet::from([day("2026-11-01"), day("2026-11-02")]));
        assert_eq!(engine.touched_days(&older).await.expect("read").all(), first.all());
        assert!(Arc::ptr_eq(&second, &engine.touched_days(&newer).await.expect("read")));
        let at = |text: &str| second.cost_lines_at(text.parse().expect("an instant"));
        let before = older.table(Table::CostLines).version();
        assert_eq!((at("2026-11-20T13:59:59Z"), at("2026-11-21T00:00:00Z")), (before, before + 1));
    }
}
