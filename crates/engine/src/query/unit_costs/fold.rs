//! Adding up by row: cost, outcomes, weeks, and in the mode that asks for it a part of the overhead.

use super::entries::EntrySum;
use super::outcomes::{Facts, Outcome, OutcomeKind};
use super::{Cohort, Unit, UnitCostMode, UnitCostQuery, UnitCostRow, UnitCostTotals, UnitFigures, UnitSums};
use crate::query::Granularity;
use crate::query::costs::bucket_of;
use attribution::split::split_like;
use domain::Day;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// The question, and what is known of workflows.
pub(super) struct Folding<'a> {
    pub query: &'a UnitCostQuery,
    pub facts: &'a Facts,
    pub outcomes: &'a [Outcome],
}

/// What came of a workflow by the end of the range.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum State {
    InProgress,
    Failed,
    /// It completed, or a pull request of it was merged.
    Done,
}

/// One row while it grows.
#[derive(Default)]
struct Group {
    figures: UnitFigures,
    weeks: BTreeMap<Day, UnitSums>,
    failed: BTreeSet<Unit>,
    in_progress: BTreeSet<Unit>,
}

type Groups = BTreeMap<Arc<str>, Group>;

impl Folding<'_> {
    /// Returns the rows in key order, and the totals.
    pub(super) fn fold(
        &self,
        in_range: &[EntrySum],
        life: &[EntrySum],
        overhead: i128,
    ) -> (Vec<UnitCostRow>, UnitCostTotals) {
        let mut groups = Groups::new();
        let mut totals = UnitCostTotals { overhead, ..UnitCostTotals::default() };
        self.add_range(&mut groups, in_range, &mut totals);
        match self.query.cohort {
            Cohort::Period => self.count_period(&mut groups),
            Cohort::Merged => self.add_merged(&mut groups, life),
        }
        let merged = self.outcomes_in_range().filter(|outcome| outcome.kind == OutcomeKind::Merged);
        totals.prs_without_workflow = merged.filter(|outcome| outcome.unit.is_none()).map(|_| 1_u64).sum();
        if self.query.mode == UnitCostMode::Marginal {
            divide(overhead, &mut groups);
        }
        let weeks = self.weeks();
        let rows: Vec<UnitCostRow> = groups.into_iter().map(|(key, group)| group.into_row(key, &weeks)).collect();
        rows.iter().for_each(|row| totals.figures.add(&row.figures));
        (rows, totals)
    }

    /// Adds the cost of the range: to the rows if that is what is asked, and to what failed or goes on in any case.
    fn add_range(&self, groups: &mut Groups, sums: &[EntrySum], totals: &mut UnitCostTotals) {
        let states = self.states();
        for sum in sums {
            let counted = self.counted(sum);
            let Some(key) = self.key(sum.unit.as_ref(), sum.repo.as_ref(), sum.task_class.as_ref()) else {
                totals.without_workflow += counted;
                continue;
            };
            let state = sum.unit.as_ref().map(|unit| states.get(unit).copied().unwrap_or(State::InProgress));
            let (is_period, goes_on) =
                (self.query.cohort == Cohort::Period, state.is_some_and(|state| state != State::Done));
            if !is_period && !goes_on {
                continue;
            }
            let group = groups.entry(key).or_default();
            if let (Some(unit), Some(state)) = (&sum.unit, state) {
                group.note_state(unit, state, counted);
            }
            if is_period {
                group.add(sum, counted, sum.day.map(week_of));
            }
        }
    }

    /// Counts what was merged and completed in the range. A workflow completes once, however often it says so.
    fn count_period(&self, groups: &mut Groups) {
        let mut completed: BTreeMap<&Unit, &Outcome> = BTreeMap::new();
        for outcome in self.outcomes_in_range() {
            match (outcome.kind, &outcome.unit) {
                (OutcomeKind::Merged, _) => self.count(groups, outcome, |sums| sums.n += 1),
                (OutcomeKind::Completed, None) => self.count(groups, outcome, |sums| sums.completed += 1),
                (OutcomeKind::Completed, Some(unit)) => {
                    let last = completed.entry(unit).or_insert(outcome);
                    if (last.time, last.day) < (outcome.time, outcome.day) {
                        *last = outcome;
                    }
                }
                (OutcomeKind::Failed, _) => {}
            }
        }
        for outcome in completed.into_values() {
            self.count(groups, outcome, |sums| sums.completed += 1);
        }
    }

    fn count(&self, groups: &mut Groups, outcome: &Outcome, add: impl Fn(&mut UnitSums)) {
        let key = self.key(outcome.unit.as_ref(), outcome.repo.as_ref(), outcome.task_class.as_ref());
        let group = groups.entry(key.unwrap_or_default()).or_default();
        add(&mut group.figures.sums);
        add(group.weeks.entry(week_of(outcome.day)).or_default());
    }

    /// Adds the life-time cost of the workflows whose pull request was merged in the range, in the week of the last one.
    fn add_merged(&self, groups: &mut Groups, life: &[EntrySum]) {
        let mut cohort: BTreeMap<&Unit, (Day, u64)> = BTreeMap::new();
        for outcome in self.outcomes_in_range().filter(|outcome| outcome.kind == OutcomeKind::Merged) {
            let Some(unit) = &outcome.unit else { continue };
            let (last, merged) = cohort.entry(unit).or_insert((outcome.day, 0));
            *last = outcome.day.max(*last);
            *merged += 1;
        }
        let is_completed = |outcome: &&Outcome| outcome.kind == OutcomeKind::Completed;
        let completed: BTreeSet<&Unit> =
            self.outcomes.iter().filter(is_completed).filter_map(|outcome| outcome.unit.as_ref()).collect();
        for (&unit, (last, merged)) in &cohort {
            let group = groups.entry(self.key(Some(unit), None, None).unwrap_or_default()).or_default();
            let is_complete = u64::from(completed.contains(unit));
            for sums in [&mut group.figures.sums, group.weeks.entry(week_of(*last)).or_default()] {
                sums.n += merged;
                sums.completed += is_complete;
            }
        }
        for sum in life {
            let Some((&unit, (last, _))) = sum.unit.as_ref().and_then(|unit| cohort.get_key_value(unit)) else {
                continue;
            };
            // All cost of a workflow stands in the row that counts its pull requests, whatever single entries say.
            let group = groups.entry(self.key(Some(unit), None, None).unwrap_or_default()).or_default();
            group.add(sum, self.counted(sum), Some(week_of(*last)));
        }
    }

    /// The key of a row; none for what belongs to no row. Of a workflow whose value nobody knows it is empty.
    fn key(&self, unit: Option<&Unit>, repo: Option<&Arc<str>>, task_class: Option<&Arc<str>>) -> Option<Arc<str>> {
        let value = self.facts.value(self.query.by, unit, repo, task_class);
        value.or_else(|| unit.map(|_| Arc::default()))
    }

    /// What of a sum the mode counts.
    fn counted(&self, sum: &EntrySum) -> i128 {
        if sum.is_amortized && self.query.mode == UnitCostMode::WorkflowLocal { 0 } else { sum.atoms }
    }

    fn outcomes_in_range(&self) -> impl Iterator<Item = &Outcome> {
        self.outcomes.iter().filter(|outcome| self.query.range.contains(outcome.day))
    }

    /// What came of each workflow by the end of the range: a merged pull request settles it, else the last event.
    fn states(&self) -> BTreeMap<&Unit, State> {
        let mut last: BTreeMap<&Unit, (bool, i64, OutcomeKind)> = BTreeMap::new();
        for outcome in self.outcomes.iter().filter(|outcome| outcome.day <= self.query.range.to()) {
            let Some(unit) = &outcome.unit else { continue };
            let said = (outcome.kind == OutcomeKind::Merged, outcome.time, outcome.kind);
            let known = last.entry(unit).or_insert(said);
            *known = said.max(*known);
        }
        let state = |kind| if kind == OutcomeKind::Failed { State::Failed } else { State::Done };
        last.into_iter().map(|(unit, (.., kind))| (unit, state(kind))).collect()
    }

    fn weeks(&self) -> Vec<Day> {
        let mut weeks: Vec<Day> = self.query.range.days().map(week_of).collect();
        weeks.dedup();
        weeks
    }
}

fn week_of(day: Day) -> Day {
    bucket_of(Granularity::Week, day)
}

/// Adds to each row its part of the overhead, in proportion to direct and amortized cost; a row below 0 gets nothing.
///
/// Where no row has any, nothing is divided.
fn divide(overhead: i128, groups: &mut Groups) {
    let weight = |group: &Group| (group.figures.sums.direct + group.figures.sums.amortized).max(0);
    let weights: Vec<i128> = groups.values().map(weight).collect();
    let Some(parts) = split_like(overhead, &weights) else { return };
    for (group, part) in groups.values_mut().zip(parts) {
        group.figures.overhead_share = part;
        group.figures.sums.cost += part;
    }
}

impl Group {
    fn add(&mut self, sum: &EntrySum, counted: i128, week: Option<Day>) {
        let figures = &mut self.figures;
        figures.pending += if sum.is_pending { counted } else { 0 };
        figures.memo_cost += if sum.is_memo { counted } else { 0 };
        figures.sums.add_entry(sum, counted);
        if let Some(week) = week {
            self.weeks.entry(week).or_default().add_entry(sum, counted);
        }
    }

    fn note_state(&mut self, unit: &Unit, state: State, counted: i128) {
        let (units, cost) = match state {
            State::Done => return,
            State::Failed => (&mut self.failed, &mut self.figures.failed_cost),
            State::InProgress => (&mut self.in_progress, &mut self.figures.in_progress_cost),
        };
        if !units.contains(unit) {
            units.insert(unit.clone());
        }
        *cost += counted;
    }

    fn into_row(mut self, key: Arc<str>, weeks: &[Day]) -> UnitCostRow {
        let count = |units: &BTreeSet<Unit>| u64::try_from(units.len()).unwrap_or(u64::MAX);
        (self.figures.failed, self.figures.in_progress) = (count(&self.failed), count(&self.in_progress));
        let series = weeks.iter().map(|week| (*week, self.weeks.remove(week).unwrap_or_default())).collect();
        UnitCostRow { key, figures: self.figures, series }
    }
}

impl UnitSums {
    fn add_entry(&mut self, sum: &EntrySum, counted: i128) {
        let tier = if sum.is_amortized { &mut self.amortized } else { &mut self.direct };
        *tier += sum.atoms;
        self.cost += counted;
        if counted != 0 {
            *self.by_category.entry(Arc::clone(&sum.category)).or_default() += counted;
        }
    }

    fn add(&mut self, other: &Self) {
        self.cost += other.cost;
        self.direct += other.direct;
        self.amortized += other.amortized;
        self.n += other.n;
        self.completed += other.completed;
        for (category, atoms) in &other.by_category {
            *self.by_category.entry(Arc::clone(category)).or_default() += atoms;
        }
    }
}

impl UnitFigures {
    fn add(&mut self, other: &Self) {
        self.sums.add(&other.sums);
        self.overhead_share += other.overhead_share;
        self.pending += other.pending;
        self.memo_cost += other.memo_cost;
        self.failed_cost += other.failed_cost;
        self.in_progress_cost += other.in_progress_cost;
        self.failed += other.failed;
        self.in_progress += other.in_progress;
    }
}
