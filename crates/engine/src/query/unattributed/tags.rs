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
/// Keys that are counted; further ones are not.
const KEYS_MAX: usize = 2_000;

/// A key, as far as it was seen.
#[derive(Default)]
struct Seen {
    lines: u64,
    /// Hashes of its values, of which it only matters how many there are.
    values: HashSet<u64>,
}

/// Returns the tags that most lines of these days carry and that have few values, the most frequent first.
///
/// # Errors
/// When a query fails or the tags of a line are damaged.
pub(super) async fn telling_tags(
    session: &SessionContext,
    days: &[DayRange],
) -> Result<Vec<ChargeAttribute>, EngineError> {
    let mut seen: BTreeMap<String, Seen> = BTreeMap::new();
    for range in days {
        let sql = format!("SELECT tags FROM cost_lines WHERE {}", overlap(*range));
        let mut batches = session.sql(&sql).await?.execute_stream().await?;
        while let Some(batch) = batches.try_next().await? {
            note(&mut seen, &batch)?;
        }
    }
    let few = seen.into_iter().filter(|(key, seen)| seen.values.len() <= TAG_VALUES_MAX && key != FIXED_POOL_TAG);
    let mut keys: Vec<(String, u64)> = few.map(|(key, seen)| (key, seen.lines)).collect();
    keys.sort_by(|(key, lines), (other_key, other)| other.cmp(lines).then_with(|| key.cmp(other_key)));
    Ok(keys.into_iter().take(TAGS_MAX).map(|(key, _)| ChargeAttribute::Tag(key.into())).collect())
}

fn note(seen: &mut BTreeMap<String, Seen>, batch: &RecordBatch) -> Result<(), EngineError> {
    let tags = batch.column(0).as_map_opt().ok_or_else(|| unexpected("tags", "not a map"))?;
    let texts =
        |array: &ArrayRef| arrow::compute::cast(array, &DataType::Utf8).map_err(|error| unexpected("tags", error));
    let (keys, values) = (texts(tags.keys())?, texts(tags.values())?);
    let (keys, values) = (keys.as_string::<i32>(), values.as_string::<i32>());
    // A batch may be a part of a larger one: only what lies between its first and last offset is its own.
    let place = |offset: Option<&i32>| offset.and_then(|offset| usize::try_from(*offset).ok()).unwrap_or(0);
    let offsets = tags.value_offsets();
    for at in place(offsets.first())..place(offsets.last()) {
        if values.is_null(at) || values.value(at).is_empty() || keys.value(at).is_empty() {
            continue;
        }
        let (key, has_room) = (keys.value(at), seen.len() < KEYS_MAX);
        let known = match seen.get_mut(key) {
            Some(known) => known,
            None if has_room => seen.entry(key.to_owned()).or_default(),
            None => continue,
        };
        known.lines += 1;
        if known.values.len() <= TAG_VALUES_MAX {
            let mut hasher = DefaultHasher::new();
            values.value(at).hash(&mut hasher);
            known.values.insert(hasher.finish());
        }
    }
    Ok(())
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
        let mut seen = BTreeMap::new();
        note(&mut seen, &batch.slice(1, 3)).expect("counted");
        let counted: Vec<(&str, u64, usize)> =
            seen.iter().map(|(key, seen)| (key.as_str(), seen.lines, seen.values.len())).collect();
        assert_eq!(counted, [("owner", 1, 1), ("team", 1, 1)]);
    }
}
