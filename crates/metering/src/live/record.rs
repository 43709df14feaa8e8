//! An accepted event as the log keeps it: all that the tables and the hot usage need, measured already.
//!
//! The event is not measured again when the log is read: the meters may be others by then.

use crate::event::{Event, Labels, Retracted};
use crate::ids::{IdContent, IdKey};
use crate::meters::{MeterTag, MeteredValue};
use crate::rules::PlacedEvent;
use domain::dimension::{Dimensions, labels_key};
use domain::meter::MeterKind;
use domain::{Day, Instant, Quantity};
use serde::{Deserialize, Serialize};
use std::sync::Arc;

/// Format of the records; a reader refuses others.
const VERSION: u8 = 2;

/// Room for everything but the data of an event as it usually comes.
const FIXED_BYTES: usize = 256;

/// What the log's writer found out about an accepted event, in the order of the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Fate {
    /// Its values count.
    Counts = 0,
    /// It was taken back before it came.
    TakenBack = 1,
    /// A retraction of an event that came before.
    Retracts = 2,
    /// A retraction of an event that has not come yet.
    Waits = 3,
    /// A retraction of an event that was taken back already.
    Repeats = 4,
}

impl Fate {
    const ALL: [Self; 5] = [Self::Counts, Self::TakenBack, Self::Retracts, Self::Waits, Self::Repeats];
}

/// What the writer adds to a record: the fate, and for each value that counts once a day whether it is the first.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Verdict {
    pub fate: Fate,
    pub firsts: Vec<bool>,
}

impl Verdict {
    /// Returns the bytes that it takes.
    pub const fn bytes(unique_values: usize) -> usize {
        1 + unique_values
    }

    /// Adds it to a record.
    pub fn append_to(&self, record: &mut Vec<u8>) {
        record.push(self.fate as u8);
        record.extend(self.firsts.iter().map(|first| u8::from(*first)));
    }

    /// Keeps the values that count.
    pub fn retain_counted(&self, values: &mut Vec<MeteredValue>) {
        if self.fate == Fate::TakenBack {
            values.clear();
        }
        let mut firsts = self.firsts.iter();
        values.retain(|value| value.unique.is_none() || *firsts.next().expect("a verdict on each such value"));
    }
}

/// Why a record cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum RecordError {
    /// Its bytes are no record.
    #[error("a record of the log cannot be read: {0}")]
    Broken(#[from] postcard::Error),
    /// Another version of the program wrote it.
    #[error("a record of the log has format {0}, which this version cannot read; start the newer version again")]
    Version(u8),
    /// What the writer found out about it is not there.
    #[error("a record of the log ends before its verdict")]
    Verdict,
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
    /// Source and id of the event that it takes back.
    #[serde(borrow)]
    pub retracts: Option<(&'a str, &'a str)>,
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
    /// The value, if it counts only once a day.
    pub unique: Option<&'a str>,
}

/// Returns the bytes of an accepted event, without the writer's verdict.
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
        retracts: event.retracts.as_ref().map(|retracted| (&*retracted.source, &*retracted.id)),
        values: values.iter().map(|value| ValueRecord::of(value, &event.labels_key)).collect(),
    };
    let mut bytes = Vec::with_capacity(FIXED_BYTES + event.data_text.as_ref().map_or(0, |text| text.len()));
    bytes.push(VERSION);
    postcard::to_extend(&record, bytes).expect("a record has no types that postcard cannot write")
}

/// Returns the event of a record, and the verdict on it.
pub(crate) fn decode(bytes: &[u8]) -> Result<(Record<'_>, Verdict), RecordError> {
    let rest = match bytes.split_first() {
        Some((&VERSION, rest)) => rest,
        Some((other, _)) => return Err(RecordError::Version(*other)),
        None => return Err(RecordError::Broken(postcard::Error::DeserializeUnexpectedEnd)),
    };
    let (record, verdict): (Record<'_>, &[u8]) = postcard::take_from_bytes(rest)?;
    let (&fate, firsts) = verdict.split_first().ok_or(RecordError::Verdict)?;
    let fate = Fate::ALL.into_iter().find(|known| *known as u8 == fate).ok_or(RecordError::Verdict)?;
    let uniques = record.values.iter().filter(|value| value.unique.is_some()).count();
    if firsts.len() != uniques || firsts.iter().any(|first| 1 < *first) {
        return Err(RecordError::Verdict);
    }
    let firsts = firsts.iter().map(|first| *first == 1).collect();
    Ok((record, Verdict { fate, firsts }))
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
            unique: value.unique.as_deref(),
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
            data_text: self.data.map(Into::into),
            retracts: self.retracts.map(|(source, id)| Retracted { source: source.into(), id: id.into() }),
        };
        PlacedEvent { event, tenant, time, day: Day::from_epoch_days(self.day), hour: Instant::from_micros(self.hour) }
    }

    /// Returns what the meters read, whether it counts or not; `placed` is this record's event.
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
                unique: value.unique.map(Into::into),
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
        let rules = EventRules::new(Zone::utc());
        let (placed, data) = rules.place(parse_event(text).unwrap(), Instant::from_micros(7)).unwrap();
        let values = MeterSet::new(builtin()).unwrap().measure(&placed.event, &data).unwrap().values;
        let mut bytes = encode(&placed, &values, ([1; 16], [2; 16]), Instant::from_micros(9));
        let verdict = Verdict { fate: Fate::Counts, firsts: Vec::new() };
        verdict.append_to(&mut bytes);

        let (record, found) = decode(&bytes).unwrap();
        assert_eq!(found, verdict);
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
        assert!(matches!(decode(&[1, 0]), Err(RecordError::Version(1))));
        assert!(matches!(decode(&[]), Err(RecordError::Broken(_))));
        assert!(matches!(decode(&[2, 3]), Err(RecordError::Broken(_))));
    }

    #[test]
    fn a_verdict_says_which_values_count() {
        let meters = "[[meter]]\nname = 'actors'\nunit = 'Users'\ncategory = 'other'\nkind = 'counter'\nevent_type = 'q'\nvalue = '$.user'\naggregation = 'unique_count'\n\
                      [[meter]]\nname = 'queries'\nunit = 'Requests'\ncategory = 'other'\nkind = 'counter'\nevent_type = 'q'\naggregation = 'count'";
        let meters = MeterSet::new(domain::meter::read_meters("meters.toml", meters).unwrap()).unwrap();
        let text = r#"{"specversion":"1.0","id":"1","source":"/s","type":"q","tenant":"a","time":"2026-01-01T00:30:00Z","data":{"user":"u","labels":{"env":"prod"}}}"#;
        let rules = EventRules::new(Zone::utc());
        let (placed, data) = rules.place(parse_event(text).unwrap(), Instant::from_micros(7)).unwrap();
        let values = meters.measure(&placed.event, &data).unwrap().values;
        let check = |fate: Fate, first: bool, expected: &[&str]| {
            let mut bytes = encode(&placed, &values, ([1; 16], [2; 16]), Instant::from_micros(9));
            Verdict { fate, firsts: vec![first] }.append_to(&mut bytes);
            let (record, verdict) = decode(&bytes).unwrap();
            let mut found = record.measured(&record.placed()).unwrap();
            assert_eq!(found, values);
            verdict.retain_counted(&mut found);
            assert_eq!(found.iter().map(|value| &*value.meter.name).collect::<Vec<_>>(), expected);
            bytes.pop();
            assert!(matches!(decode(&bytes), Err(RecordError::Verdict)), "a verdict on each value");
        };
        check(Fate::Counts, true, &["actors", "queries"]);
        check(Fate::Counts, false, &["queries"]);
        check(Fate::TakenBack, false, &[]);
        assert_eq!((&*values[0].labels_key, &*values[1].labels_key), ("{}", r#"{"env":"prod"}"#));
    }
}
