use super::sums::UsageSum;
use super::{BucketStart, UsageQuery, UsageRow, UsageScope};
use crate::EngineError;
use crate::books::Books;
use crate::query::filter::Term;
use crate::query::keys::GroupKey;
use attribution::usage::Measure;
use domain::dimension::Dimension;
use domain::meter::MeterKind;
use domain::snapshot::ORIGIN_SNAPSHOT;
use std::collections::BTreeMap;
use std::sync::Arc;

/// Who asks what, and what is known of tenants and meters.
#[derive(Clone, Copy)]
pub(super) struct Asked<'a> {
    pub scope: &'a UsageScope,
    pub query: &'a UsageQuery,
    pub books: &'a Books,
}

/// What sums are kept apart by until they are a row.
type RowKey = (BucketStart, Vec<Option<Arc<str>>>, Arc<str>);

/// Sums of one row, with the meter's unit and kind.
#[derive(Clone)]
struct Folded {
    measure: Measure,
    unit: Arc<str>,
    kind: MeterKind,
}

/// Sums on their way to rows; those that the caller may not see never enter.
#[derive(Clone, Default)]
pub(super) struct Fold(BTreeMap<RowKey, Folded>);

impl Fold {
    /// Adds a sum, if the caller may see it and the filter lets it through. The one place that decides both for usage.
    pub fn add(&mut self, asked: &Asked<'_>, sum: &UsageSum) -> Result<(), EngineError> {
        let Asked { scope, query, books } = *asked;
        let tenant = books.tenants.resolve(&sum.tenant, sum.day);
        let fact = books.tenants.fact(&tenant, sum.day);
        let value = |key: &GroupKey| match key {
            GroupKey::Dimension(Dimension::Tenant) => Some(Arc::clone(&tenant)),
            GroupKey::Plan => fact.and_then(|fact| fact.plan.clone()),
            GroupKey::Parent => fact.and_then(|fact| fact.parent.clone()),
            other => sum.value(other, &books.meters),
        };
        let holds = |term: &Term| term.holds(value(&term.key).as_deref().unwrap_or_default());
        if !scope.allows(&tenant, &sum.origin) || !query.filter.terms.iter().all(holds) {
            return Ok(());
        }
        let key = (sum.start, query.group_by.iter().map(value).collect(), Arc::clone(&sum.meter));
        // A snapshot is measured in its meter's unit, whatever that is called by now.
        let unit: Arc<str> = match books.meters.get(&sum.meter) {
            Some(meter) if *sum.origin == *ORIGIN_SNAPSHOT => meter.unit.as_str().into(),
            _ => Arc::clone(&sum.unit),
        };
        let first = || Folded { measure: Measure::default(), unit: Arc::clone(&unit), kind: sum.kind };
        let entry = self.0.entry(key).or_insert_with(first);
        if entry.unit != unit {
            let detail =
                format!("`{}` was measured in {} and in {unit}; ask for a shorter range", sum.meter, entry.unit);
            return Err(EngineError::parameter("range", detail));
        }
        entry.measure.fold(&sum.measure);
        Ok(())
    }

    /// Returns how many rows there are so far.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Returns the rows in order of bucket and key.
    pub fn into_rows(self, asked: &Asked<'_>) -> Result<Vec<UsageRow>, EngineError> {
        let Asked { query, books, .. } = *asked;
        let names: Vec<String> = query.group_by.iter().map(ToString::to_string).collect();
        let row = |((start, values, meter), folded): (RowKey, Folded)| {
            let aggregation = books.meters.aggregation(&meter, folded.kind);
            query.check_finer(books.meters.get(&meter))?;
            let mut key: Vec<_> = names.iter().cloned().zip(values).collect();
            if query.names_meters() {
                key.push(("meter".to_owned(), Some(meter)));
            }
            let quantity = folded.measure.quantity(aggregation);
            Ok(UsageRow { key, start, quantity, unit: folded.unit, events: folded.measure.count })
        };
        self.0.into_iter().map(row).collect()
    }
}
