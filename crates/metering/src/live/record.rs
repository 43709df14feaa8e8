//! An accepted event as the log keeps it: all that the tables and the hot usage need, measured already.
//!
//! The event is not measured again when the log is read: the meters may be others by then.

use crate::event::{Event, Labels};
use crate::ids::{IdContent, IdKey};
use crate::meters::{MeterTag, MeteredValue};
use crate::rules::PlacedEvent;
use domain::dimension::{Dimensions, labels_key};
use domain::meter::MeterKind;
use domain::{Day, Instant, Quantity};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::sync::Arc;

/// Format of the records; a reader refuses others.
const VERSION: u8 = 1;

/// Why a record cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum RecordError {
    /// Its bytes are no record.
    #[error("a record of the log cannot be read: {0}")]
    Broken(#[from] postcard::Error),
    /// Another version of the program wrote it.
    #[error("a record of the log has format {0}, which this version cannot read; start the newer version again")]
    Version(u8),
    /// A quantity is larger than any that was accepted.
    #[error("a record of the log holds a quantity out of bound")]
    Quantity,
}

/// One accepted event.
#[derive(Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Record<'a> {
    pub key: IdKey,
    pub content: IdContent,
    pub received_at: i64,
    pub time: i64,
    pub day: i32,
    pub hour: i64,
    pub tenant: &'a str,
    pub source: &'a str,
    pub id: &'a str,
    pub kind: &'a str,
    /// User, workflow, repo, task class, cluster.
    #[serde(borrow)]
    pub plain: [Option<&'a str>; 5],
    #[serde(borrow)]
    pub labels: Vec<(&'a str, &'a str)>,
    pub data: Option<&'a str>,
    #[serde(borrow)]
    pub values: Vec<ValueRecord<'a>>,
}

/// What one meter read from it.
#[derive(Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct ValueRecord<'a> {
    pub meter: &'a str,
    pub unit: &'a str,
    pub is_gauge: bool,
    pub atoms: i128,
    /// All labels of the value, where they are not those of the event.
    #[serde(borrow)]
    pub labels: Option<Vec<(&'a str, &'a str)>>,
}

/// Returns the bytes of an accepted event.
pub(crate) fn encode(
    placed: &PlacedEvent,
    values: &[MeteredValue],
    id: (IdKey, IdContent),
    received_at: Instant,
) -> Vec<u8> {
    let event = &placed.event;
    let [_, plain @ ..] = &event.dimensions.plain;
    let record = Record {
        key: id.0,
        content: id.1,
        received_at: received_at.micros(),
        time: placed.time.micros(),
        day: placed.day.epoch_days(),
        hour: placed.hour.micros(),
        tenant: &placed.tenant,
        source: &event.source,
        id: &event.id,
        kind: &event.kind,
        plain: plain.each_ref().map(Option::as_deref),
        labels: pairs(&event.dimensions.labels),
        data: event.data_text.as_deref(),
        values: values.iter().map(|value| ValueRecord::of(value, &event.labels_key)).collect(),
    };
    postcard::to_extend(&record, vec![VERSION]).expect("a record has no types that postcard cannot write")
}

/// Returns the event of a record.
pub(crate) fn decode(bytes: &[u8]) -> Result<Record<'_>, RecordError> {
    match bytes.split_first() {
        Some((&VERSION, rest)) => Ok(postcard::from_bytes(rest)?),
        Some((other, _)) => Err(RecordError::Version(*other)),
        None => Err(RecordError::Broken(postcard::Error::DeserializeUnexpectedEnd)),
    }
}

fn pairs(labels: &Labels) -> Vec<(&str, &str)> {
    labels.iter().map(|(key, value)| (&**key, &**value)).collect()
}

fn labels_of(pairs: &[(&str, &str)]) -> Labels {
    pairs.iter().map(|(key, value)| (Arc::from(*key), Arc::from(*value))).collect()
}

impl<'a> ValueRecord<'a> {
    fn of(value: &'a MeteredValue, event_labels_key: &str) -> Self {
        Self {
            meter: &value.meter.name,
            unit: &value.meter.unit,
            is_gauge: value.meter.kind == MeterKind::Gauge,
            atoms: value.quantity.atoms(),
            labels: (*value.labels_key != *event_labels_key).then(|| pairs(&value.labels)),
        }
    }
}

impl Record<'_> {
    /// Returns the event as the tables hold it; its data only as text.
    pub fn placed(&self) -> PlacedEvent {
        let labels = labels_of(&self.labels);
        let tenant: Arc<str> = self.tenant.into();
        let mut dimensions = Dimensions { labels, ..Dimensions::default() };
        dimensions.plain[0] = Some(Arc::clone(&tenant));
        for (into, value) in dimensions.plain[1..].iter_mut().zip(self.plain) {
            *into = value.map(Into::into);
        }
        let time = Instant::from_micros(self.time);
        let event = Event {
            id: self.id.into(),
            source: self.source.into(),
            kind: self.kind.into(),
            time: Some(time),
            labels_key: labels_key(&dimensions.labels).into(),
            dimensions,
            data: Value::Null,
            data_text: self.data.map(Into::into),
        };
        PlacedEvent { event, tenant, time, day: Day::from_epoch_days(self.day), hour: Instant::from_micros(self.hour) }
    }

    /// Returns what the meters read; `placed` is this record's event.
    pub fn measured(&self, placed: &PlacedEvent) -> Result<Vec<MeteredValue>, RecordError> {
        let shared = Arc::new(placed.event.dimensions.labels.clone());
        let value = |value: &ValueRecord<'_>| {
            let kind = if value.is_gauge { MeterKind::Gauge } else { MeterKind::Counter };
            let (labels, key) = match &value.labels {
                None => (Arc::clone(&shared), Arc::clone(&placed.event.labels_key)),
                Some(own) => {
                    let own = labels_of(own);
                    let key = labels_key(&own).into();
                    (Arc::new(own), key)
                }
            };
            Ok(MeteredValue {
                meter: Arc::new(MeterTag { name: value.meter.into(), unit: value.unit.into(), kind }),
                quantity: Quantity::from_atoms(value.atoms).ok_or(RecordError::Quantity)?,
                labels,
                labels_key: key,
            })
        };
        self.values.iter().map(value).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::parse_event;
    use crate::meters::MeterSet;
    use crate::rules::EventRules;
    use domain::Zone;
    use domain::meter::builtin;

    #[test]
    fn a_record_gives_back_event_and_values() {
        let text = r#"{"specversion":"1.0","id":"1","source":"/s","type":"llm.completion","tenant":"ä","user":"u","time":"2026-01-01T00:30:00Z","data":{"tokens":"5.5","model":"m","labels":{"env":"prod"}}}"#;
        let placed = EventRules::new(Zone::utc()).place(parse_event(text).unwrap(), Instant::from_micros(7)).unwrap();
        let values = MeterSet::new(builtin()).unwrap().measure(&placed.event).unwrap().values;
        let bytes = encode(&placed, &values, ([1; 16], [2; 16]), Instant::from_micros(9));

        let record = decode(&bytes).unwrap();
        let back = record.placed();
        assert_eq!((record.key, record.content, record.received_at), ([1; 16], [2; 16], 9));
        assert_eq!(back.event.dimensions, placed.event.dimensions);
        assert_eq!(back.event.data_text, placed.event.data_text);
        assert_eq!(
            (back.time, back.day, back.hour, back.tenant.clone()),
            (placed.time, placed.day, placed.hour, placed.tenant)
        );
        assert_eq!(record.measured(&back).unwrap(), values);
    }

    #[test]
    fn bytes_of_other_versions_and_cut_records_are_refused() {
        assert!(matches!(decode(&[2, 0]), Err(RecordError::Version(2))));
        assert!(matches!(decode(&[]), Err(RecordError::Broken(_))));
        assert!(matches!(decode(&[1, 3]), Err(RecordError::Broken(_))));
    }
}
