//! Adding up what DataFusion grouped: by key, by bucket, by reserved consumer.

use super::super::columns::{Row, rows};
use super::super::cost_query::{CostQuery, Granularity};
use super::super::filter::Term;
use super::super::keys::GroupKey;
use super::{CostParts, ReservedTotals};
use crate::EngineError;
use arrow::array::RecordBatch;
use domain::tenant::{IDLE, OVERHEAD, TenantBook, UNATTRIBUTED, UNCONSUMED, VARIANCE};
use domain::{Day, Month};
use std::collections::BTreeMap;

/// Sums as DataFusion returned them, and which column is what.
pub(super) struct Groups {
    pub batches: Vec<RecordBatch>,
    pub word: usize,
    pub tier: usize,
    pub status: usize,
    pub memo: usize,
    /// charge_date and billing_month, when there is a series.
    pub series: Option<(usize, usize)>,
    pub keys: Vec<Source>,
    /// Terms of the filter that no column answers.
    pub terms: Vec<(Source, Term)>,
    pub total: usize,
}

/// Where the value of a key comes from: columns of the grouped result.
pub(super) enum Source {
    Column(usize),
    Label { word: usize, labels: usize, label: String },
    Plan { tenant: usize, day: usize },
    Parent { tenant: usize, day: usize },
}

/// Cost of one key.
#[derive(Clone, Debug, Default)]
pub(super) struct Group {
    pub cost: i128,
    pub parts: CostParts,
    pub series: BTreeMap<Day, i128>,
}

/// Everything that the answer shows of one range.
#[derive(Default)]
pub(super) struct Folded {
    pub rows: BTreeMap<Vec<String>, Group>,
    pub reserved: ReservedTotals,
    pub memo: i128,
}

/// Returns whether the query needs facts about tenants.
pub(super) fn looks_up_tenants(query: &CostQuery) -> bool {
    let looked_up = |key: &GroupKey| matches!(key, GroupKey::Plan | GroupKey::Parent);
    query.group_by.iter().any(looked_up) || query.filter.terms.iter().any(|term| looked_up(&term.key))
}

/// Adds up groups by key. Estimates are kept out of the rows unless the query names memo.
pub(super) fn fold(query: &CostQuery, book: &TenantBook, groups: &Groups) -> Result<Folded, EngineError> {
    let mut folded = Folded::default();
    for row in rows(&groups.batches) {
        if !holds_all(&groups.terms, book, &row)? {
            continue;
        }
        let atoms = row.atoms(groups.total);
        let is_memo = row.is_true(groups.memo);
        if is_memo {
            folded.memo += atoms;
        }
        if is_memo && !query.shows_memo() {
            continue;
        }
        folded.reserved.add(row.text_or_empty(groups.word), atoms);
        let key = groups.keys.iter().map(|source| source.value(book, &row)).collect::<Result<_, _>>()?;
        let group = folded.rows.entry(key).or_default();
        group.add(atoms, row.text_or_empty(groups.tier), row.text_or_empty(groups.status));
        if let Some((day, month)) = groups.series {
            let bucket = bucket(query, row.day(day), row.text_or_empty(month))?;
            *group.series.entry(bucket).or_default() += atoms;
        }
    }
    Ok(folded)
}

fn holds_all(terms: &[(Source, Term)], book: &TenantBook, row: &Row<'_>) -> Result<bool, EngineError> {
    for (source, term) in terms {
        if !term.holds(&source.value(book, row)?) {
            return Ok(false);
        }
    }
    Ok(true)
}

impl Group {
    fn add(&mut self, atoms: i128, tier: &str, status: &str) {
        self.cost += atoms;
        match tier {
            "direct" => self.parts.direct += atoms,
            "amortized" => self.parts.amortized += atoms,
            _ => {}
        }
        if status == "pending" {
            self.parts.pending += atoms;
        }
    }
}

impl ReservedTotals {
    fn add(&mut self, word: &str, atoms: i128) {
        match word {
            OVERHEAD => self.overhead += atoms,
            IDLE => self.idle += atoms,
            UNATTRIBUTED => self.unattributed += atoms,
            UNCONSUMED => self.unconsumed += atoms,
            VARIANCE => self.variance += atoms,
            _ => {}
        }
    }
}

impl Source {
    fn value(&self, book: &TenantBook, row: &Row<'_>) -> Result<String, EngineError> {
        match self {
            Self::Column(index) => Ok(row.text_or_empty(*index).to_owned()),
            Self::Label { word, labels, label } => {
                let word = row.text_or_empty(*word);
                if word.is_empty() { label_of(row.text_or_empty(*labels), label) } else { Ok(word.to_owned()) }
            }
            Self::Plan { tenant, day } => {
                Ok(fact(row, *tenant, *day, |tenant, day| book.fact(tenant, day)?.plan.clone()))
            }
            Self::Parent { tenant, day } => {
                Ok(fact(row, *tenant, *day, |tenant, day| book.fact(tenant, day)?.parent.clone()))
            }
        }
    }
}

/// What the facts say about the row's tenant on its day; a reserved consumer's word stays.
fn fact(
    row: &Row<'_>,
    tenant: usize,
    day: usize,
    look_up: impl Fn(&str, Day) -> Option<std::sync::Arc<str>>,
) -> String {
    let tenant = row.text_or_empty(tenant);
    if domain::tenant::RESERVED.contains(&tenant) {
        return tenant.to_owned();
    }
    let found = row.day(day).and_then(|day| look_up(tenant, day));
    found.map_or_else(String::new, |value| value.to_string())
}

fn label_of(labels_key: &str, label: &str) -> Result<String, EngineError> {
    if matches!(labels_key, "" | "{}") {
        return Ok(String::new());
    }
    let labels = ledger::labels_of_key(labels_key)
        .ok_or_else(|| EngineError::Corrupt { what: "labels of an entry".to_owned(), detail: labels_key.to_owned() })?;
    Ok(labels.get(label).map_or_else(String::new, |value| value.to_string()))
}

/// The first day of the bucket in which an entry is shown. By the billing clock, a correction of an earlier
/// month stands on the first day of the month that bills it.
fn bucket(query: &CostQuery, charged: Option<Day>, billing_month: &str) -> Result<Day, EngineError> {
    let month: Month = billing_month.parse().map_err(|_| EngineError::Corrupt {
        what: "billing month of an entry".to_owned(),
        detail: billing_month.to_owned(),
    })?;
    let day = match query.clock {
        super::super::Clock::Charged => charged.unwrap_or_else(|| month.first_day()),
        super::super::Clock::Billed => charged.filter(|day| day.month() == month).unwrap_or_else(|| month.first_day()),
    };
    Ok(bucket_of(query.granularity, day))
}

/// Returns the first day of the calendar bucket in which a day lies.
pub(in crate::query) fn bucket_of(granularity: Granularity, day: Day) -> Day {
    match granularity {
        Granularity::None | Granularity::Day => day,
        // 1970-01-01 was a Thursday, three days after a Monday.
        Granularity::Week => day.plus(-(day.epoch_days() + 3).rem_euclid(7)),
        Granularity::Month => day.month().first_day(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn buckets_are_days_weeks_from_monday_and_months() {
        let day = |text: &str| text.parse::<Day>().expect("a day");
        let bucket = |granularity, text| bucket_of(granularity, day(text)).to_string();
        assert_eq!(bucket(Granularity::Day, "2026-11-19"), "2026-11-19");
        assert_eq!(bucket(Granularity::Week, "2026-11-19"), "2026-11-16");
        assert_eq!(bucket(Granularity::Week, "2026-11-16"), "2026-11-16");
        assert_eq!(bucket(Granularity::Week, "1969-12-28"), "1969-12-22");
        assert_eq!(bucket(Granularity::Month, "2026-11-19"), "2026-11-01");
    }
}
