//! Tags of cost lines that can tell tenants apart.

use crate::EngineError;
use crate::inputs::lines::overlap;
use crate::inputs::rows::unexpected;
use arrow::array::{Array, ArrayRef, AsArray, RecordBatch};
use arrow::datatypes::DataType;
use attribution::line::FIXED_POOL_TAG;
use datafusion::prelude::SessionContext;
use domain::DayRange;
use domain::condition::ChargeAttribute;
use futures::TryStreamExt;
use std::collections::{BTreeMap, HashSet};
use std::hash::{DefaultHasher, Hash, Hasher};

/// Tags that are looked at.
const TAGS_MAX: usize = 8;
/// A tag of more values than this names resources, not whom they belong to.
const TAG_VALUES_MAX: usize = 500;
/// Keys whose values are counted: if there are more, those that most lines carry.
const KEYS_MAX: usize = 2_000;
/// Keys whose lines are counted, to find those: if there are more, the first by name.
const NAMES_MAX: usize = 100_000;

/// Returns the tags that most lines of these days carry and that have few values, the most frequent first. The order of the
/// lines does not matter.
///
/// # Errors
/// When a query fails or the tags of a line are damaged.
pub(super) async fn telling_tags(
    session: &SessionContext,
    days: &[DayRange],
) -> Result<Vec<ChargeAttribute>, EngineError> {
    let mut tally = Tally::of_values(BTreeMap::new());
    tally.read(session, days).await?;
    if tally.is_full {
        let mut names = Tally { has_values: false, keys_max: NAMES_MAX, ..Tally::of_values(BTreeMap::new()) };
        names.read(session, days).await?;
        let carried = most_carried(names.keys).into_iter().take(KEYS_MAX);
        tally = Tally::of_values(carried.map(|(key, _)| (key, Seen::default())).collect());
        tally.read(session, days).await?;
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

    async fn read(&mut self, session: &SessionContext, days: &[DayRange]) -> Result<(), EngineError> {
        for range in days {
            let sql = format!("SELECT tags FROM cost_lines WHERE {}", overlap(*range));
            let mut batches = session.sql(&sql).await?.execute_stream().await?;
            while let Some(batch) = batches.try_next().await? {
                self.note(&batch)?;
            }
        }
        Ok(())
    }

    fn note(&mut self, batch: &RecordBatch) -> Result<(), EngineError> {
        let tags = batch.column(0).as_map_opt().ok_or_else(|| unexpected("tags", "not a map"))?;
        let texts =
            |array: &ArrayRef| arrow::compute::cast(array, &DataType::Utf8).map_err(|error| unexpected("tags", error));
        let (keys, values) = (texts(tags.keys())?, texts(tags.values())?);
        let (keys, values) = (keys.as_string::<i32>(), values.as_string::<i32>());
        // A batch may be a part of a larger one: only what lies between its first and last offset is its own.
        let place = |offset: Option<&i32>| offset.and_then(|offset| usize::try_from(*offset).ok()).unwrap_or(0);
        let offsets = tags.value_offsets();
        for at in place(offsets.first())..place(offsets.last()) {
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

#[cfg(test)]
mod tests {
    use super::*;
    use arrow::datatypes::{Field, Schema};
    use std::sync::Arc;
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
        let mut tally = Tally::of_values(BTreeMap::new());
        tally.note(&batch.slice(1, 3)).expect("counted");
        let counted: Vec<(&str, u64, usize)> =
            tally.keys.iter().map(|(key, seen)| (key.as_str(), seen.lines, seen.values.len())).collect();
        assert_eq!(counted, [("owner", 1, 1), ("team", 1, 1)]);
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
