//! Tags of cost lines that can tell tenants apart.

use super::found::why_nobody;
use super::{NO_MAPPING, Whose};
use crate::EngineError;
use crate::inputs::lines::{named, overlap};
use crate::inputs::rows::{Rows, unexpected};
use arrow::array::{Array, ArrayRef, AsArray, RecordBatch};
use arrow::datatypes::DataType;
use attribution::line::{AttributeSet, Cost, FIXED_POOL_TAG, LinePart};
use datafusion::prelude::SessionContext;
use domain::condition::ChargeAttribute;
use domain::policy::Policy;
use domain::{Currency, Day, DayRange};
use futures::TryStreamExt;
use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::Arc;

/// Tags that are looked at.
const TAGS_MAX: usize = 8;
/// A tag of more values than this names resources, not whom they belong to.
const TAG_VALUES_MAX: usize = 500;
/// Keys whose values are counted: if there are more, those that most lines carry.
const KEYS_MAX: usize = 2_000;
/// Keys whose lines are counted, to find those: if there are more, the first by name.
const NAMES_MAX: usize = 100_000;

/// Returns the tags that most lines of these days carry which lack a tenant, and that have few values among them, the most
/// frequent first. A line counts on every day that it touches. The order of the lines does not matter.
///
/// # Errors
/// When a query fails or the tags of a line are damaged.
pub(super) async fn telling_tags(
    session: &SessionContext,
    whose: &Whose<'_>,
    days: &BTreeSet<Day>,
) -> Result<Vec<ChargeAttribute>, EngineError> {
    let mut tally = Tally::of_values(BTreeMap::new());
    tally.read(session, whose, days).await?;
    if tally.is_full {
        let mut names = Tally { has_values: false, keys_max: NAMES_MAX, ..Tally::of_values(BTreeMap::new()) };
        names.read(session, whose, days).await?;
        let carried = most_carried(names.keys).into_iter().take(KEYS_MAX);
        tally = Tally::of_values(carried.map(|(key, _)| (key, Seen::default())).collect());
        tally.read(session, whose, days).await?;
    }
    let mut keys = tally.keys;
    keys.retain(|key, seen| seen.values.len() <= TAG_VALUES_MAX && key != FIXED_POOL_TAG);
    let telling = most_carried(keys).into_iter().take(TAGS_MAX);
    Ok(telling.map(|(key, _)| ChargeAttribute::Tag(key.into())).collect())
}

fn most_carried(keys: BTreeMap<String, Seen>) -> Vec<(String, u64)> {
    let mut keys: Vec<(String, u64)> = keys.into_iter().map(|(key, seen)| (key, seen.lines)).collect();
    keys.sort_by(|(key, lines), (other_key, other)| other.cmp(lines).then_with(|| key.cmp(other_key)));
    keys
}

/// A key, as far as it was seen.
#[derive(Default)]
struct Seen {
    lines: u64,
    /// Hashes of its values, of which it only matters how many there are.
    values: HashSet<u64>,
}

/// Keys, as far as they were seen.
struct Tally {
    keys: BTreeMap<String, Seen>,
    keys_max: usize,
    /// Whether their values are counted, and not only their lines.
    has_values: bool,
    /// Whether there were more keys.
    is_full: bool,
}

impl Tally {
    fn of_values(keys: BTreeMap<String, Seen>) -> Self {
        Self { keys, keys_max: KEYS_MAX, has_values: true, is_full: false }
    }

    async fn read(
        &mut self,
        session: &SessionContext,
        whose: &Whose<'_>,
        days: &BTreeSet<Day>,
    ) -> Result<(), EngineError> {
        for day in days {
            let range = DayRange::single(*day);
            let mut unmapped = Unmapped::on(*day, whose);
            let columns = named(&unmapped.attributes);
            let sql = format!("SELECT tags, {columns} FROM cost_lines WHERE {}", overlap(range));
            let mut batches = session.sql(&sql).await?.execute_stream().await?;
            while let Some(batch) = batches.try_next().await? {
                self.note(&batch, &unmapped.rows(&batch)?)?;
            }
        }
        Ok(())
    }

    /// Counts the tags of these rows.
    fn note(&mut self, batch: &RecordBatch, wanted: &[usize]) -> Result<(), EngineError> {
        let tags = batch.column(0).as_map_opt().ok_or_else(|| unexpected("tags", "not a map"))?;
        let texts =
            |array: &ArrayRef| arrow::compute::cast(array, &DataType::Utf8).map_err(|error| unexpected("tags", error));
        let (keys, values) = (texts(tags.keys())?, texts(tags.values())?);
        let (keys, values) = (keys.as_string::<i32>(), values.as_string::<i32>());
        // A batch may be a part of a larger one: only what lies between a row's offsets is its own.
        let offsets = tags.value_offsets();
        let place = |at: usize| offsets.get(at).and_then(|offset| usize::try_from(*offset).ok()).unwrap_or(0);
        for at in wanted.iter().flat_map(|row| place(*row)..place(row + 1)) {
            if !values.is_null(at) && !values.value(at).is_empty() && !keys.value(at).is_empty() {
                self.add(keys.value(at), values.value(at));
            }
        }
        Ok(())
    }

    fn add(&mut self, key: &str, value: &str) {
        let known = match self.keys.get_mut(key) {
            Some(known) => known,
            None => {
                if !self.has_room(key) {
                    return;
                }
                self.keys.entry(key.to_owned()).or_default()
            }
        };
        known.lines += 1;
        if self.has_values && known.values.len() <= TAG_VALUES_MAX {
            let mut hasher = DefaultHasher::new();
            value.hash(&mut hasher);
            known.values.insert(hasher.finish());
        }
    }

    /// Whether a new key finds room; where only lines are counted, a later one by name makes it.
    fn has_room(&mut self, key: &str) -> bool {
        if self.keys.len() < self.keys_max {
            return true;
        }
        self.is_full = true;
        let is_earlier = !self.has_values && self.keys.last_key_value().is_some_and(|(last, _)| key < last.as_str());
        is_earlier && self.keys.pop_last().is_some()
    }
}

/// Which lines of a day lack a tenant.
struct Unmapped<'a> {
    whose: &'a Whose<'a>,
    day: Day,
    policy: Policy,
    attributes: AttributeSet,
    /// What is known of lines of these values.
    known: HashMap<Vec<Option<Arc<str>>>, bool>,
}

impl<'a> Unmapped<'a> {
    fn on(day: Day, whose: &'a Whose<'a>) -> Self {
        let attributes = whose.attributes_in(DayRange::single(day));
        Self { whose, day, policy: whose.policy_on(day), attributes, known: HashMap::new() }
    }

    /// The rows of such lines.
    fn rows(&mut self, batch: &RecordBatch) -> Result<Vec<usize>, EngineError> {
        let rows = Rows(batch);
        let names = (0..self.attributes.attributes().len()).map(|at| format!("a{at}"));
        let columns = names.map(|name| rows.texts(&name)).collect::<Result<Vec<_>, _>>()?;
        let values =
            |row: usize| -> Vec<Option<Arc<str>>> { columns.iter().map(|column| column[row].clone()).collect() };
        Ok((0..batch.num_rows()).filter(|row| self.includes(values(*row))).collect())
    }

    fn includes(&mut self, values: Vec<Option<Arc<str>>>) -> bool {
        if let Some(known) = self.known.get(&values) {
            return *known;
        }
        let (attributes, cost) = (self.attributes.clone(), Cost::default());
        let line = LinePart { attributes, values: values.clone(), currency: Currency::USD, cost, lines: 1 };
        let why = why_nobody(&self.policy, &line, &|value: &str| self.whose.tenant(value, self.day));
        let is_unmapped = why.is_some_and(|(_, why)| why == NO_MAPPING);
        self.known.insert(values, is_unmapped);
        is_unmapped
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use arrow::datatypes::{Field, Schema};
    use storage::lake::schemas::map_builder;

    #[test]
    fn a_part_of_a_batch_counts_its_own_tags_only() {
        let mut builder = map_builder();
        for (key, value) in [("owner", "a"), ("owner", "b"), ("team", "a"), ("owner", "")] {
            builder.keys().append_value(key);
            builder.values().append_value(value);
            builder.append(true).expect("a row");
        }
        let map: ArrayRef = Arc::new(builder.finish());
        let schema = Arc::new(Schema::new(vec![Field::new("tags", map.data_type().clone(), true)]));
        let batch = RecordBatch::try_new(schema, vec![map]).expect("a batch");
        let part = batch.slice(1, 3);
        let counted = |wanted: &[usize]| -> Vec<(String, u64, usize)> {
            let mut tally = Tally::of_values(BTreeMap::new());
            tally.note(&part, wanted).expect("counted");
            tally.keys.iter().map(|(key, seen)| (key.clone(), seen.lines, seen.values.len())).collect()
        };
        assert_eq!(counted(&[0, 1, 2]), [("owner".to_owned(), 1, 1), ("team".to_owned(), 1, 1)]);
        assert_eq!(counted(&[1]), [("team".to_owned(), 1, 1)]);
    }

    #[test]
    fn which_keys_are_counted_does_not_depend_on_the_order_of_the_lines() {
        let check = |keys: [&str; 6]| {
            let mut names = Tally { has_values: false, keys_max: 2, ..Tally::of_values(BTreeMap::new()) };
            for key in keys {
                names.add(key, "x");
            }
            assert!(names.is_full);
            assert_eq!(most_carried(names.keys), [("b".to_owned(), 2), ("a".to_owned(), 1)], "{keys:?}");
        };
        check(["b", "c", "c", "c", "a", "b"]);
        check(["c", "a", "c", "b", "b", "c"]);
        check(["a", "b", "b", "c", "c", "c"]);
    }
}
