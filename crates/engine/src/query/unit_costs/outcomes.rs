//! What came of workflows, told by events: merged, completed, failed; and of which repo and task class they are.

use super::entries::EntrySum;
use super::pins::Stores;
use super::{Unit, UnitKey};
use crate::query::as_of::Head;
use crate::query::columns::rows;
use crate::query::select::{self, all_of};
use crate::{Engine, EngineError};
use datafusion::common::ScalarValue;
use datafusion::functions_aggregate::expr_fn::max;
use datafusion::logical_expr::when;
use datafusion::prelude::{Expr, ident, lit};
use domain::{Day, DayRange, TenantScope};
use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;
use storage::lake::{LakeTable, PinnedTable};

/// Type of the event that a pull request was merged.
const MERGED: &str = "pr.merged";
/// Type of the event that a workflow ended.
const COMPLETED: &str = "workflow.completed";
/// Type of the event that a workflow failed.
const FAILED: &str = "workflow.failed";
/// What `status` in the data of [`COMPLETED`] says of a workflow that failed.
const FAILED_STATUS: &str = "failed";
/// A day after every day that a table can have.
const FAR_DAY: Day = Day::from_epoch_days(2_900_000);

/// What can come of a workflow. In this order: of two events at one instant the later kind counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum OutcomeKind {
    /// It failed.
    Failed,
    /// It completed.
    Completed,
    /// A pull request of it was merged.
    Merged,
}

/// One event that says what came of a workflow.
#[derive(Clone, Debug)]
pub(super) struct Outcome {
    /// The day.
    pub day: Day,
    /// When, in microseconds.
    pub time: i64,
    /// The workflow, if the event names one.
    pub unit: Option<Unit>,
    /// The event's own repo.
    pub repo: Option<Arc<str>>,
    /// The event's own task class.
    pub task_class: Option<Arc<str>>,
    /// What came of it.
    pub kind: OutcomeKind,
}

/// What events are read from, and for whom.
pub(super) struct Reading<'a> {
    /// Whose events count.
    pub scope: &'a TenantScope,
    /// The state that is asked for: events received later do not count.
    pub head: &'a Head,
    /// What is read, pinned.
    pub stores: &'a Stores,
}

impl Reading<'_> {
    fn unit(&self, tenant: &str, workflow: &str, day: Day) -> Unit {
        Unit::new(self.stores.books.tenants.resolve(tenant, day), workflow)
    }

    /// Events that were received when the state was the newest one.
    fn received(&self) -> Option<Expr> {
        let at = self.head.recorded_up_to;
        let literal = lit(ScalarValue::TimestampMicrosecond(Some(at), Some("UTC".into())));
        (at != i64::MAX).then(|| ident("received_at").lt_eq(literal))
    }
}

/// Who told a fact about a workflow; the last one is believed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum ToldBy {
    /// An entry of the ledger.
    Entry,
    /// Usage, which knows the hour only but is kept for ever.
    Usage,
    /// An event.
    Event,
}

/// A value of a workflow: the greatest by source, then time, is the last one.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Known {
    told_by: ToldBy,
    at: i64,
    value: Arc<str>,
}

/// The last repo and task class of each workflow.
#[derive(Clone, Debug, Default)]
pub(super) struct Facts {
    repos: BTreeMap<Unit, Known>,
    task_classes: BTreeMap<Unit, Known>,
}

impl Facts {
    /// Returns the value of a workflow, or of what has none, by its own values; none where nobody knows it.
    pub(super) fn value(
        &self,
        by: UnitKey,
        unit: Option<&Unit>,
        repo: Option<&Arc<str>>,
        task_class: Option<&Arc<str>>,
    ) -> Option<Arc<str>> {
        let known = |facts: &BTreeMap<Unit, Known>| Some(Arc::clone(&facts.get(unit?)?.value));
        match by {
            UnitKey::Workflow => unit.map(|unit| Arc::clone(&unit.workflow)),
            UnitKey::Repo => known(&self.repos).or_else(|| repo.cloned()),
            UnitKey::TaskClass => known(&self.task_classes).or_else(|| task_class.cloned()),
        }
    }

    fn note(&mut self, unit: &Unit, (told_by, at): (ToldBy, i64), repo: Option<&str>, task_class: Option<&str>) {
        let pairs = [(&mut self.repos, repo), (&mut self.task_classes, task_class)];
        for (known, value) in pairs.into_iter().filter_map(|(known, value)| Some((known, value?))) {
            let new = Known { told_by, at, value: value.into() };
            if known.get(unit).is_none_or(|old| *old < new) {
                known.insert(unit.clone(), new);
            }
        }
    }
}

impl Engine {
    /// Returns the events that say what came of workflows, those that were taken back left out.
    pub(super) async fn outcomes(&self, reading: &Reading<'_>) -> Result<Vec<Outcome>, EngineError> {
        let own = self.own_rows(&reading.stores.events, "event_date", all_days(), reading.scope, None).await?;
        let Some(own) = own else { return Ok(Vec::new()) };
        let kinds = ident("type").in_list([MERGED, COMPLETED, FAILED].map(lit).to_vec(), false);
        // The data of a merged pull request can be the whole of a webhook, and nothing of it is needed.
        let data = when(ident("type").eq(lit(COMPLETED)), ident("data")).end()?.alias("data");
        let named = ["event_date", "time", "tenant", "source", "id", "type", "workflow", "repo", "task_class"];
        let batches = self
            .empty_session()?
            .read_table(Arc::new(LakeTable::new(&reading.stores.events)))?
            .filter(all_of([own, kinds].into_iter().chain(reading.received())))?
            .select(named.map(ident).into_iter().chain([data]).collect::<Vec<_>>())?
            .collect()
            .await?;
        let retracted = self.catalog.retractions_all_tenants(reading.stores.facts).await?;
        let retracted: HashSet<(&str, &str, &str)> =
            retracted.iter().map(|row| (row.tenant.as_str(), row.source.as_str(), row.id.as_str())).collect();
        let mut found = Vec::new();
        for row in rows(&batches) {
            let tenant = row.text_or_empty(2);
            let (Some(day), Some(time)) = (row.day(0), row.micros(1)) else { continue };
            if retracted.contains(&(tenant, row.text_or_empty(3), row.text_or_empty(4))) {
                continue;
            }
            let kind = match row.text_or_empty(5) {
                MERGED => OutcomeKind::Merged,
                COMPLETED if !says_failed(row.text_or_empty(9)) => OutcomeKind::Completed,
                _ => OutcomeKind::Failed,
            };
            found.push(Outcome {
                day,
                time,
                unit: row.text(6).map(|workflow| reading.unit(tenant, workflow, day)),
                repo: row.text(7).map(Into::into),
                task_class: row.text(8).map(Into::into),
                kind,
            });
        }
        Ok(found)
    }

    /// Returns the last repo and task class of each workflow: from events since this day, else from usage, else from
    /// the entries themselves.
    pub(super) async fn facts(
        &self,
        reading: &Reading<'_>,
        since: Day,
        outcomes: &[Outcome],
        sums: [&[EntrySum]; 3],
    ) -> Result<Facts, EngineError> {
        let mut facts = Facts::default();
        for sum in sums.into_iter().flatten() {
            let Some(unit) = &sum.unit else { continue };
            let told = (ToldBy::Entry, sum.day.map_or(i64::MIN, |day| i64::from(day.epoch_days())));
            facts.note(unit, told, sum.repo.as_deref(), sum.task_class.as_deref());
        }
        let Stores { usage, events, .. } = reading.stores;
        self.note_rows(reading, usage, ("usage_date", "hour"), (ToldBy::Usage, None), &mut facts).await?;
        self.note_rows(reading, events, ("event_date", "time"), (ToldBy::Event, Some(since)), &mut facts).await?;
        for outcome in outcomes {
            let Some(unit) = &outcome.unit else { continue };
            let told = (ToldBy::Event, outcome.time);
            facts.note(unit, told, outcome.repo.as_deref(), outcome.task_class.as_deref());
        }
        Ok(facts)
    }

    /// Notes what the rows of a table say of workflows; `date` and `moment` are its columns of days and instants.
    async fn note_rows(
        &self,
        reading: &Reading<'_>,
        pinned: &PinnedTable,
        (date, moment): (&'static str, &'static str),
        (told_by, since): (ToldBy, Option<Day>),
        facts: &mut Facts,
    ) -> Result<(), EngineError> {
        let Some(own) = self.own_rows(pinned, date, all_days(), reading.scope, None).await? else { return Ok(()) };
        let named = ident("repo").is_not_null().or(ident("task_class").is_not_null());
        let conditions = [own, ident("workflow").is_not_null(), named]
            .into_iter()
            .chain(since.map(|day| ident(date).gt_eq(select::day(day))))
            .chain(reading.received().filter(|_| told_by == ToldBy::Event));
        let grouped = [date, "tenant", "workflow", "repo", "task_class"].map(ident).to_vec();
        let batches = self
            .empty_session()?
            .read_table(Arc::new(LakeTable::new(pinned)))?
            .filter(all_of(conditions))?
            .aggregate(grouped, vec![max(ident(moment)).alias("last")])?
            .collect()
            .await?;
        for row in rows(&batches) {
            let (Some(day), Some(tenant), Some(workflow)) = (row.day(0), row.text(1), row.text(2)) else { continue };
            let at = row.micros(5).unwrap_or_else(|| self.settings.zone.start_of(day).micros());
            facts.note(&reading.unit(tenant, workflow, day), (told_by, at), row.text(3), row.text(4));
        }
        Ok(())
    }
}

/// Returns the first day of which events are stored, if there is any.
pub(super) fn first_day(events: &PinnedTable) -> Option<Day> {
    events.files().filter_map(|file| file.partition("event_date")?.parse().ok()).min()
}

fn all_days() -> DayRange {
    DayRange::new(Day::from_epoch_days(0), FAR_DAY).expect("the far day lies after 1970")
}

fn says_failed(data: &str) -> bool {
    serde_json::from_str::<serde_json::Value>(data).is_ok_and(|data| data["status"] == FAILED_STATUS)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_value_that_is_known_counts_and_events_know_best() {
        let (unit, mut facts) = (Unit::new("acme", "w1"), Facts::default());
        facts.note(&unit, (ToldBy::Event, 10), Some("old"), Some("fix"));
        facts.note(&unit, (ToldBy::Event, 20), Some("new"), None);
        facts.note(&unit, (ToldBy::Event, 15), Some("between"), None);
        facts.note(&unit, (ToldBy::Usage, 99), Some("usage"), Some("usage"));
        facts.note(&unit, (ToldBy::Entry, 99), Some("entry"), None);
        let value = |by| facts.value(by, Some(&unit), Some(&"own".into()), None);
        assert_eq!(value(UnitKey::Repo).as_deref(), Some("new"));
        assert_eq!(value(UnitKey::TaskClass).as_deref(), Some("fix"));
        assert_eq!(value(UnitKey::Workflow).as_deref(), Some("w1"));
        assert_eq!(facts.value(UnitKey::Repo, None, Some(&"own".into()), None).as_deref(), Some("own"));
        assert_eq!(facts.value(UnitKey::Repo, Some(&Unit::new("globex", "w1")), None, None), None);
    }

    #[test]
    fn a_completion_can_say_that_it_failed() {
        assert!(says_failed(r#"{"status":"failed"}"#));
        for data in ["", "{}", "[]", "7", r#"{"status":"succeeded"}"#, r#"{"state":"failed"}"#, "no JSON"] {
            assert!(!says_failed(data), "{data}");
        }
    }
}
