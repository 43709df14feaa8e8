//! How much was used: the usage of the lake and what was acknowledged since, as one.
//!
//! DataFusion sums by what a row needs to be told apart; tenants are resolved and filtered here, by the facts of each
//! day, and the meter's aggregation makes one quantity of the sums.

/// The parameters of a question.
mod question;
/// The sums that a question needs.
mod sums;

pub use question::{UsageGranularity, UsageQuery};

use super::Page;
use super::cursor;
use super::keys::GroupKey;
use crate::{Engine, EngineError};
use attribution::usage::Measure;
use domain::meter::{Aggregation, MeterKind};
use domain::{Day, Instant, TenantScope};
use std::collections::BTreeMap;
use std::sync::Arc;

/// One quantity.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UsageRow {
    /// The values of `group_by`, in its order; the meter comes last if the question names none.
    pub key: Vec<(String, Option<Arc<str>>)>,
    /// When the bucket begins; for no granularity the first day of the range.
    pub start: BucketStart,
    /// In atoms of 10⁻⁹.
    pub quantity: i128,
    /// What it counts in.
    pub unit: Arc<str>,
    /// Values that went in.
    pub events: i128,
}

/// When a bucket begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum BucketStart {
    /// A day of the organisation's zone.
    Day(Day),
    /// A clock hour.
    Hour(Instant),
}

/// What sums are kept apart by until they are a row.
type RowKey = (BucketStart, Vec<Option<Arc<str>>>, Arc<str>);

/// Sums of one row, with the meter's unit and kind.
struct Folded {
    measure: Measure,
    unit: Arc<str>,
    kind: MeterKind,
}

impl Engine {
    /// Returns a page of quantities, everything acknowledged so far included.
    ///
    /// # Units
    /// Quantities in atoms of 10⁻⁹ of the meter's unit. Over a bucket: sums are summed, averages weighted by their
    /// values, `last` is the last value of each full key, summed, and `unique_count` the sum of the days' counts.
    ///
    /// # Errors
    /// For a granularity finer than a day with a `unique_count` meter, and when the lake fails.
    pub async fn usage(&self, scope: &TenantScope, query: &UsageQuery) -> Result<Page<UsageRow>, EngineError> {
        let question = format!("{scope:?} {query:?}");
        let after: Option<usize> = query.cursor.as_deref().map(|text| cursor::decode(&question, text)).transpose()?;
        let mut rows = self.usage_rows(scope, query).await?;
        let first = after.unwrap_or(0).min(rows.len());
        let rest = rows.split_off(first);
        let has_more = query.limit < rest.len();
        let rows: Vec<UsageRow> = rest.into_iter().take(query.limit).collect();
        let next_cursor = has_more.then(|| cursor::encode(&question, &(first + rows.len())));
        Ok(Page { rows, next_cursor, posting: None })
    }

    /// Returns every quantity of a question, in order of bucket and key.
    ///
    /// # Errors
    /// As [`Engine::usage`].
    pub async fn usage_rows(&self, scope: &TenantScope, query: &UsageQuery) -> Result<Vec<UsageRow>, EngineError> {
        super::select::check_named_tenants(scope, &query.filter)?;
        let books = self.books_now().await?;
        let mut folded: BTreeMap<RowKey, Folded> = BTreeMap::new();
        for sum in self.usage_sums(query).await? {
            let tenant = books.tenants.resolve(&sum.tenant, sum.day);
            let fact = books.tenants.fact(&tenant, sum.day);
            let value = |key: &GroupKey| match key {
                GroupKey::Dimension(domain::dimension::Dimension::Tenant) => Some(Arc::clone(&tenant)),
                GroupKey::Plan => fact.and_then(|fact| fact.plan.clone()),
                GroupKey::Parent => fact.and_then(|fact| fact.parent.clone()),
                other => sum.value(other, &books.meters),
            };
            let holds = |term: &super::filter::Term| term.holds(value(&term.key).as_deref().unwrap_or_default());
            if !scope.allows(&tenant) || !query.filter.terms.iter().all(holds) {
                continue;
            }
            let key = (sum.start, query.group_by.iter().map(value).collect(), Arc::clone(&sum.meter));
            let entry = folded.entry(key).or_insert_with(|| Folded {
                measure: Measure::default(),
                unit: Arc::clone(&sum.unit),
                kind: sum.kind,
            });
            if entry.unit != sum.unit {
                let detail = format!(
                    "`{}` was measured in {} and in {}; ask for a shorter range",
                    sum.meter, entry.unit, sum.unit
                );
                return Err(EngineError::parameter("range", detail));
            }
            entry.measure.fold(&sum.measure);
        }
        let names: Vec<String> = query.group_by.iter().map(ToString::to_string).collect();
        let row = |((start, values, meter), folded): (RowKey, Folded)| {
            let aggregation = books.meters.aggregation(&meter, folded.kind);
            if aggregation == Aggregation::UniqueCount && query.granularity == UsageGranularity::Hour {
                let detail = format!("`{meter}` counts distinct values of a day; ask by day");
                return Err(EngineError::parameter("granularity", detail));
            }
            let mut key: Vec<_> = names.iter().cloned().zip(values).collect();
            if query.names_meters() {
                key.push(("meter".to_owned(), Some(meter)));
            }
            let quantity = folded.measure.quantity(aggregation);
            Ok(UsageRow { key, start, quantity, unit: folded.unit, events: folded.measure.count })
        };
        folded.into_iter().map(row).collect()
    }
}
