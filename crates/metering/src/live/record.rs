//! An accepted event as the log keeps it: all that the tables and the hot usage need, measured already.
//!
//! The event is not measured again when the log is read: the meters may be others by then.

use crate::event::{Event, EventDimensions, Retracted};
use crate::ids::{IdContent, IdKey};
use crate::labels::{Label, Labels};
use crate::meters::{MeterTag, MeteredValue};
use crate::rules::PlacedEvent;
use domain::meter::MeterKind;
use domain::{Day, Instant, Quantity};
use serde::{Deserialize, Serialize};
use std::borrow::Cow;
use std::ops::Range;

/// Format of the records; a reader refuses others.
const VERSION: u8 = 2;

/// Room for everything but the data of an event as it usually comes.
const FIXED_BYTES: usize = 384;

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
    pub fn retain_counted(&self, values: &mut Vec<MeteredValue<'_>>) {
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

/// One accepted event, borrowed from its bytes.
#[derive(Debug, PartialEq, Deserialize)]
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
#[derive(Debug, PartialEq, Deserialize)]
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

/// What a [`Record`] begins with, up to the id of its event.
type Head<'a> = (IdKey, IdContent, i64, i64, i32, i64, &'a str, &'a str, &'a str);

/// The rest of it.
#[derive(Serialize)]
struct Tail<'a> {
    kind: &'a str,
    plain: [Option<&'a str>; 5],
    labels: &'a [Label<'a>],
    data: Option<&'a str>,
    retracts: Option<(&'a str, &'a str)>,
    values: Vec<ValueTail<'a>>,
}

/// A [`ValueRecord`] as it is written.
#[derive(Serialize)]
struct ValueTail<'a> {
    meter: &'a str,
    unit: &'a str,
    is_gauge: bool,
    atoms: i128,
    labels: Option<&'a [Label<'a>]>,
    unique: Option<&'a str>,
}

/// Returns the bytes of an accepted event, without the writer's verdict, and where its id stands among them.
pub(crate) fn encode(
    placed: &PlacedEvent<'_>,
    values: &[MeteredValue<'_>],
    (key, content): (IdKey, IdContent),
    received_at: Instant,
) -> (Vec<u8>, Range<usize>) {
    let event = &placed.event;
    let (day, hour) = (placed.day.epoch_days(), placed.hour.micros());
    let texts: [&str; 3] = [&placed.tenant, &event.source, &event.id];
    let [tenant, source, id] = texts;
    let head: Head<'_> = (key, content, received_at.micros(), placed.time.micros(), day, hour, tenant, source, id);
    let [_, plain @ ..] = &event.dimensions.plain;
    let tail = Tail {
        kind: &event.kind,
        plain: plain.each_ref().map(Option::as_deref),
        labels: event.dimensions.labels.pairs(),
        data: event.data_text,
        retracts: event.retracts.as_ref().map(|retracted| (&*retracted.source, &*retracted.id)),
        values: values.iter().map(|value| ValueTail::of(value, event.dimensions.labels.key())).collect(),
    };
    let written = "a record has no types that postcard cannot write";
    let mut bytes = Vec::with_capacity(FIXED_BYTES + event.data_text.map_or(0, str::len));
    bytes.push(VERSION);
    let bytes = postcard::to_extend(&head, bytes).expect(written);
    // A text ends with its bytes.
    let id = bytes.len() - id.len()..bytes.len();
    (postcard::to_extend(&tail, bytes).expect(written), id)
}

impl<'a> ValueTail<'a> {
    fn of(value: &'a MeteredValue<'_>, event_labels_key: &str) -> Self {
        let own = value.own_labels.as_ref().filter(|own| own.key() != event_labels_key);
        Self {
            meter: value.meter.name,
            unit: value.meter.unit,
            is_gauge: value.meter.kind == MeterKind::Gauge,
            atoms: value.quantity.atoms(),
            labels: own.map(Labels::pairs),
            unique: value.unique.as_deref(),
        }
    }
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

fn labels_of<'a>(pairs: &[(&'a str, &'a str)]) -> Labels<'a> {
    Labels::new(pairs.iter().map(|(key, value)| (Cow::Borrowed(*key), Cow::Borrowed(*value))).collect())
}

impl<'a> Record<'a> {
    /// Returns the event as the tables hold it; its data only as text.
    pub fn placed(&self) -> PlacedEvent<'a> {
        let mut dimensions = EventDimensions { labels: labels_of(&self.labels), ..EventDimensions::default() };
        for (into, value) in dimensions.plain[1..].iter_mut().zip(self.plain) {
            *into = value.map(Cow::Borrowed);
        }
        let time = Instant::from_micros(self.time);
        let event = Event {
            id: self.id.into(),
            source: self.source.into(),
            kind: self.kind.into(),
            time: Some(time),
            dimensions,
            data_text: self.data,
            retracts: self.retracted(),
        };
        let (day, hour) = (Day::from_epoch_days(self.day), Instant::from_micros(self.hour));
        PlacedEvent { event, tenant: self.tenant.into(), time, day, hour }
    }

    /// Returns what it takes back.
    pub fn retracted(&self) -> Option<Retracted<'a>> {
        self.retracts.map(|(source, id)| Retracted { source: source.into(), id: id.into() })
    }

    /// Returns what the meters read, whether it counts or not.
    pub fn measured(&self) -> Result<Vec<MeteredValue<'a>>, RecordError> {
        let value = |value: &ValueRecord<'a>| {
            let kind = if value.is_gauge { MeterKind::Gauge } else { MeterKind::Counter };
            Ok(MeteredValue {
                meter: MeterTag { name: value.meter, unit: value.unit, kind },
                quantity: Quantity::from_atoms(value.atoms).ok_or(RecordError::Quantity)?,
                own_labels: value.labels.as_deref().map(labels_of),
                unique: value.unique.map(Cow::Borrowed),
            })
        };
        self.values.iter().map(value).collect()
    }

    /// Returns what counts of it.
    pub fn counted(&self, verdict: &Verdict) -> Result<Vec<MeteredValue<'a>>, RecordError> {
        let mut values = self.measured()?;
        verdict.retain_counted(&mut values);
        Ok(values)
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
        let meters = MeterSet::new(builtin()).unwrap();
        let values = meters.measure(&placed.event, &data).unwrap().values;
        let (mut bytes, id) = encode(&placed, &values, ([1; 16], [2; 16]), Instant::from_micros(9));
        assert_eq!(&bytes[id], b"1");
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
        assert_eq!(record.measured().unwrap(), values);
    }

    #[test]
    fn a_record_has_the_bytes_that_it_always_had() {
        let text = r#"{"specversion":"1.0","id":"1","source":"/s","type":"t","tenant":"a","user":"u","time":"1970-01-01T00:00:01Z","data":{"v":1}}"#;
        let rules = EventRules::new(Zone::utc());
        let (placed, _) = rules.place(parse_event(text).unwrap(), Instant::from_micros(7)).unwrap();
        let value = MeteredValue {
            meter: MeterTag { name: "m", unit: "U", kind: MeterKind::Gauge },
            quantity: Quantity::from_atoms(-5).unwrap(),
            own_labels: Some(Labels::new(vec![("k".into(), "v".into())])),
            unique: Some("x".into()),
        };
        let (bytes, id) = encode(&placed, &[value], ([1; 16], [2; 16]), Instant::from_micros(9));
        let head: [&[u8]; 4] = [&[2], &[1; 16], &[2; 16], b"\x12\x80\x89\x7a\0\0\x01a\x02/s\x011"];
        let event = b"\x01t\x01\x01u\0\0\0\0\0\x01\x07{\"v\":1}\0";
        let value = b"\x01\x01m\x01U\x01\x09\x01\x01\x01k\x01v\x01\x01x";
        assert_eq!(id.end, head.concat().len());
        assert_eq!(bytes, [&head.concat()[..], event, value].concat());
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
            let (mut bytes, _) = encode(&placed, &values, ([1; 16], [2; 16]), Instant::from_micros(9));
            Verdict { fate, firsts: vec![first] }.append_to(&mut bytes);
            let (record, verdict) = decode(&bytes).unwrap();
            assert_eq!(record.measured().unwrap(), values);
            let found = record.counted(&verdict).unwrap();
            assert_eq!(found.iter().map(|value| value.meter.name).collect::<Vec<_>>(), expected);
            bytes.pop();
            assert!(matches!(decode(&bytes), Err(RecordError::Verdict)), "a verdict on each value");
        };
        check(Fate::Counts, true, &["actors", "queries"]);
        check(Fate::Counts, false, &["queries"]);
        check(Fate::TakenBack, false, &[]);
        let keys = [&values[0], &values[1]].map(|value| value.labels(&placed.event).key());
        assert_eq!(keys, ["{}", r#"{"env":"prod"}"#]);
    }
}
