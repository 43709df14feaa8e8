//! An accepted event as the log keeps it: all that the tables and the hot usage need, measured already.
//!
//! The event is not measured again when the log is read: the meters may be others by then.
//!
//! Records are written and read by hand, in the format of postcard, because each is read several times: when it becomes
//! visible, when it goes to the lake, and when the log is opened again. Reading one takes no memory.

use crate::event::{Event, EventDimensions, Retracted};
use crate::ids::{IdContent, IdKey};
use crate::labels::LabelList;
use crate::meters::{MeterTag, MeteredValue};
use crate::rollup::{Arriving, EventPart, Rollup, ValuePart};
use crate::rules::{Origin, PlacedEvent};
use crate::wire::{Malformed, RawText, Reader, put_number, put_option, put_signed, put_text, put_wide};
use domain::meter::MeterKind;
use domain::{Day, Instant, Quantity};
use std::borrow::Cow;
use std::ops::Range;

/// Format of the records; a reader refuses others.
const VERSION: u8 = 2;

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
        let mut counts = self.counting();
        values.retain(|value| counts(value.unique.is_some()));
    }

    /// Returns what says of one value after the other whether it counts; it is told whether that one counts once a day.
    fn counting(&self) -> impl FnMut(bool) -> bool {
        let mut firsts = self.firsts.iter();
        move |is_unique| {
            let is_first = !is_unique || *firsts.next().expect("a verdict on each such value");
            is_first && self.fate != Fate::TakenBack
        }
    }
}

/// Why a record cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum RecordError {
    /// Its bytes are no record.
    #[error("a record of the log cannot be read: {0}")]
    Broken(#[from] Malformed),
    /// It has no bytes.
    #[error("a record of the log is empty")]
    Empty,
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

/// One accepted event, borrowed from its bytes. The order of the fields is that of the format.
///
/// Its texts are checked to be texts when they are asked for: of most events only a few are.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Record<'a> {
    pub key: IdKey,
    pub content: IdContent,
    pub received_at: i64,
    pub time: i64,
    pub day: i32,
    pub hour: i64,
    pub tenant: RawText<'a>,
    source: RawText<'a>,
    id: RawText<'a>,
    kind: RawText<'a>,
    /// User, workflow, repo, task class, cluster.
    plain: [Option<RawText<'a>>; 5],
    labels: LabelList<'a>,
    data: Option<RawText<'a>>,
    /// Source and id of the event that it takes back.
    retracts: Option<(RawText<'a>, RawText<'a>)>,
    /// What the meters read from it: so many values, which are checked to be some, and where the first of them begins.
    values: (u64, Reader<'a>),
}

/// What one meter read from it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ValueRecord<'a> {
    meter: RawText<'a>,
    unit: RawText<'a>,
    is_gauge: bool,
    atoms: i128,
    /// All labels of the value, where they are not those of the event.
    labels: Option<LabelList<'a>>,
    /// The value, if it counts only once a day.
    unique: Option<RawText<'a>>,
}

/// Writes the record of an accepted event, without the writer's verdict; returns where its id stands in it.
pub(crate) fn encode(
    placed: &PlacedEvent<'_>,
    values: &[MeteredValue<'_>],
    (key, content): (IdKey, IdContent),
    received_at: Instant,
    out: &mut Vec<u8>,
) -> Range<usize> {
    let event = &placed.event;
    out.clear();
    out.push(VERSION);
    out.extend_from_slice(&key);
    out.extend_from_slice(&content);
    put_signed(received_at.micros(), out);
    put_signed(placed.time.micros(), out);
    put_signed(i64::from(placed.day.epoch_days()), out);
    put_signed(placed.hour.micros(), out);
    put_text(&placed.tenant, out);
    put_text(&event.source, out);
    put_text(&event.id, out);
    // A text ends with its bytes.
    let id = out.len() - event.id.len()..out.len();
    put_text(&event.kind, out);
    let [_, plain @ ..] = &event.dimensions.plain;
    plain.iter().for_each(|text| put_option(text.as_deref(), out, put_text));
    LabelList::append(event.dimensions.labels.pairs(), out);
    put_option(event.data_text, out, put_text);
    put_option(event.retracts.as_ref(), out, |retracted, out| {
        put_text(&retracted.source, out);
        put_text(&retracted.id, out);
    });
    put_number(values.len() as u64, out);
    values.iter().for_each(|value| put_value(value, event, out));
    id
}

fn put_value(value: &MeteredValue<'_>, event: &Event<'_>, out: &mut Vec<u8>) {
    put_text(value.meter.name, out);
    put_text(value.meter.unit, out);
    out.push(u8::from(value.meter.kind == MeterKind::Gauge));
    put_wide(value.quantity.atoms(), out);
    let own = value.own_labels.as_ref().map(|own| own.pairs());
    let own = own.filter(|own| *own != event.dimensions.labels.pairs());
    put_option(own, out, LabelList::append);
    put_option(value.unique.as_deref(), out, put_text);
}

/// Returns the key of a record's event, without reading the rest.
pub(crate) fn key_of(bytes: &[u8]) -> Option<&IdKey> {
    bytes.split_first()?.1.first_chunk()
}

/// Returns the event of a record, and the verdict on it.
pub(crate) fn decode(bytes: &[u8]) -> Result<(Record<'_>, Verdict), RecordError> {
    decode_with(bytes, |_| {})
}

/// The same; hands over what the meters read from the event.
fn decode_with<'a>(
    bytes: &'a [u8],
    mut take: impl FnMut(ValueRecord<'a>),
) -> Result<(Record<'a>, Verdict), RecordError> {
    let rest = match bytes.split_first() {
        Some((&VERSION, rest)) => rest,
        Some((other, _)) => return Err(RecordError::Version(*other)),
        None => return Err(RecordError::Empty),
    };
    let mut reader = Reader::new(rest);
    let record = Record::read(&mut reader)?;
    let mut uniques = 0;
    for _ in 0..record.values.0 {
        let value = ValueRecord::read(&mut reader)?;
        uniques += usize::from(value.unique.is_some());
        take(value);
    }
    let (&fate, firsts) = reader.rest().split_first().ok_or(RecordError::Verdict)?;
    let fate = Fate::ALL.into_iter().find(|known| *known as u8 == fate).ok_or(RecordError::Verdict)?;
    if firsts.len() != uniques || firsts.iter().any(|first| 1 < *first) {
        return Err(RecordError::Verdict);
    }
    let firsts = firsts.iter().map(|first| *first == 1).collect();
    Ok((record, Verdict { fate, firsts }))
}

/// Makes what counts of a record ready to be added to a roll-up; `values` is room for those of one record.
///
/// This is the one way from the log to usage: of events as they happen, and when the log is opened again.
pub(crate) fn arrive<'a>(
    bytes: &'a [u8],
    rollup: &mut Rollup,
    values: &mut Vec<ValueRecord<'a>>,
    arriving: &mut Vec<Arriving<'a>>,
) -> Result<(), RecordError> {
    values.clear();
    let (record, verdict) = decode_with(bytes, |value| values.push(value))?;
    let event = record.part();
    let mut counts = verdict.counting();
    for value in &*values {
        let atoms = value.quantity()?.atoms();
        let is_daily = value.unique.is_some();
        if counts(is_daily) {
            let labels = value.labels.unwrap_or(record.labels);
            let (meter, unit, kind) = (value.meter.bytes(), value.unit.bytes(), value.kind());
            arriving.push(rollup.arriving(&event, &ValuePart { meter, unit, kind, atoms, labels, is_daily })?);
        }
    }
    Ok(())
}

impl<'a> ValueRecord<'a> {
    fn read(from: &mut Reader<'a>) -> Result<Self, Malformed> {
        Ok(Self {
            meter: from.raw_text()?,
            unit: from.raw_text()?,
            is_gauge: from.flag()?,
            atoms: from.wide()?,
            labels: from.option(LabelList::read)?,
            unique: from.option(Reader::raw_text)?,
        })
    }

    const fn kind(&self) -> MeterKind {
        if self.is_gauge { MeterKind::Gauge } else { MeterKind::Counter }
    }

    fn quantity(&self) -> Result<Quantity, RecordError> {
        Quantity::from_atoms(self.atoms).ok_or(RecordError::Quantity)
    }
}

impl<'a> Record<'a> {
    /// Reads a record up to its values.
    fn read(from: &mut Reader<'a>) -> Result<Self, Malformed> {
        let mut record = Self {
            key: from.array()?,
            content: from.array()?,
            received_at: from.signed()?,
            time: from.signed()?,
            day: from.small()?,
            hour: from.signed()?,
            tenant: from.raw_text()?,
            source: from.raw_text()?,
            id: from.raw_text()?,
            kind: from.raw_text()?,
            plain: [None; 5],
            labels: LabelList::NONE,
            data: None,
            retracts: None,
            values: (0, *from),
        };
        for text in &mut record.plain {
            *text = from.option(Reader::raw_text)?;
        }
        record.labels = LabelList::read(from)?;
        record.data = from.option(Reader::raw_text)?;
        record.retracts = from.option(|from| Ok((from.raw_text()?, from.raw_text()?)))?;
        record.values = (from.number()?, *from);
        Ok(record)
    }

    /// Returns the event as the tables hold it; its data only as text.
    ///
    /// # Errors
    /// If one of its texts is none.
    pub fn placed(&self) -> Result<PlacedEvent<'a>, Malformed> {
        let mut dimensions = EventDimensions { labels: self.labels.labels()?, ..EventDimensions::default() };
        for (into, value) in dimensions.plain[1..].iter_mut().zip(self.plain) {
            *into = value.map(RawText::text).transpose()?.map(Cow::Borrowed);
        }
        let time = Instant::from_micros(self.time);
        let event = Event {
            id: self.id.text()?.into(),
            source: self.source.text()?.into(),
            kind: self.kind.text()?.into(),
            time: Some(time),
            dimensions,
            data_text: self.data.map(RawText::text).transpose()?,
            retracts: self.retracted()?,
        };
        let (day, hour) = (Day::from_epoch_days(self.day), Instant::from_micros(self.hour));
        Ok(PlacedEvent { event, tenant: self.tenant.text()?.into(), time, day, hour })
    }

    /// Returns what it takes back.
    ///
    /// # Errors
    /// If its source or id is no text.
    pub fn retracted(&self) -> Result<Option<Retracted<'a>>, Malformed> {
        let Some((source, id)) = self.retracts else { return Ok(None) };
        Ok(Some(Retracted { source: source.text()?.into(), id: id.text()?.into() }))
    }

    fn values(&self) -> impl Iterator<Item = Result<ValueRecord<'a>, Malformed>> + use<'a> {
        let (values, mut reader) = self.values;
        (0..values).map(move |_| ValueRecord::read(&mut reader))
    }

    /// Returns what the meters read, whether it counts or not.
    pub fn measured(&self) -> Result<Vec<MeteredValue<'a>>, RecordError> {
        let value = |value: Result<ValueRecord<'a>, Malformed>| {
            let value = value?;
            Ok(MeteredValue {
                meter: MeterTag { name: value.meter.text()?, unit: value.unit.text()?, kind: value.kind() },
                quantity: value.quantity()?,
                own_labels: value.labels.map(LabelList::labels).transpose()?,
                unique: value.unique.map(RawText::text).transpose()?.map(Cow::Borrowed),
            })
        };
        self.values().map(value).collect()
    }

    /// What a roll-up takes of it.
    fn part(&self) -> EventPart<'a> {
        EventPart {
            day: Day::from_epoch_days(self.day),
            hour: Instant::from_micros(self.hour),
            time: Instant::from_micros(self.time),
            tenant: self.tenant.bytes(),
            id: self.id.bytes(),
            plain: self.plain.map(|text| text.map(RawText::bytes)),
            origin: Origin::of_source_bytes(self.source.bytes()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::parse_event;
    use crate::labels::Labels;
    use crate::meters::MeterSet;
    use crate::rules::EventRules;
    use domain::Zone;
    use domain::meter::builtin;
    use proptest::prelude::*;
    use serde::Serialize;

    fn encoded(
        placed: &PlacedEvent<'_>,
        values: &[MeteredValue<'_>],
        ids: (IdKey, IdContent),
        received_at: Instant,
    ) -> (Vec<u8>, Range<usize>) {
        let mut bytes = b"of the record before".to_vec();
        let id = encode(placed, values, ids, received_at, &mut bytes);
        (bytes, id)
    }

    fn add_to(bytes: &[u8], rollup: &mut Rollup) -> Result<(), RecordError> {
        let mut arriving = Vec::new();
        arrive(bytes, rollup, &mut Vec::new(), &mut arriving)?;
        Ok(rollup.add_all(&arriving)?)
    }

    #[test]
    fn a_record_gives_back_event_and_values() {
        let text = r#"{"specversion":"1.0","id":"1","source":"/s","type":"llm.completion","tenant":"ä","user":"u","time":"2026-01-01T00:30:00Z","data":{"tokens":"5.5","model":"m","labels":{"env":"prod"}}}"#;
        let rules = EventRules::new(Zone::utc());
        let (placed, data) = rules.place(parse_event(text).unwrap(), Instant::from_micros(7)).unwrap();
        let meters = MeterSet::new(builtin()).unwrap();
        let values = meters.measure(&placed.event, &data).unwrap().values;
        let (mut bytes, id) = encoded(&placed, &values, ([1; 16], [2; 16]), Instant::from_micros(9));
        assert_eq!(&bytes[id], b"1");
        let verdict = Verdict { fate: Fate::Counts, firsts: Vec::new() };
        verdict.append_to(&mut bytes);

        let (record, found) = decode(&bytes).unwrap();
        assert_eq!(found, verdict);
        let back = record.placed().unwrap();
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
        let (bytes, id) = encoded(&placed, &[value], ([1; 16], [2; 16]), Instant::from_micros(9));
        let head: [&[u8]; 4] = [&[2], &[1; 16], &[2; 16], b"\x12\x80\x89\x7a\0\0\x01a\x02/s\x011"];
        let event = b"\x01t\x01\x01u\0\0\0\0\0\x01\x07{\"v\":1}\0";
        let value = b"\x01\x01m\x01U\x01\x09\x01\x01\x01k\x01v\x01\x01x";
        assert_eq!(id.end, head.concat().len());
        assert_eq!(bytes, [&head.concat()[..], event, value].concat());
    }

    #[test]
    fn bytes_of_other_versions_and_cut_records_are_refused() {
        assert!(matches!(decode(&[1, 0]), Err(RecordError::Version(1))));
        assert!(matches!(decode(&[]), Err(RecordError::Empty)));
        assert!(matches!(decode(&[2, 3]), Err(RecordError::Broken(_))));
    }

    #[test]
    fn a_text_that_is_none_is_refused_by_whoever_wants_it() {
        let text = r#"{"specversion":"1.0","id":"1","source":"/s","type":"llm.completion","tenant":"tenant","time":"2026-01-01T00:30:00Z","data":{"tokens":5}}"#;
        let rules = EventRules::new(Zone::utc());
        let (placed, data) = rules.place(parse_event(text).unwrap(), Instant::from_micros(7)).unwrap();
        let meters = MeterSet::new(builtin()).unwrap();
        let values = meters.measure(&placed.event, &data).unwrap().values;
        let (mut bytes, _) = encoded(&placed, &values, ([1; 16], [2; 16]), Instant::from_micros(9));
        Verdict { fate: Fate::Counts, firsts: Vec::new() }.append_to(&mut bytes);
        let tenant = bytes.windows(6).position(|window| window == b"tenant").unwrap();
        bytes[tenant] = 0xff;
        let (record, _) = decode(&bytes).unwrap();
        assert!(record.tenant.text().is_err() && record.placed().is_err());
        let mut rollup = Rollup::default();
        assert!(matches!(add_to(&bytes, &mut rollup), Err(RecordError::Broken(_))));
        assert!(rollup.is_empty());
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
            let (mut bytes, _) = encoded(&placed, &values, ([1; 16], [2; 16]), Instant::from_micros(9));
            Verdict { fate, firsts: vec![first] }.append_to(&mut bytes);
            let (record, verdict) = decode(&bytes).unwrap();
            assert_eq!(record.measured().unwrap(), values);
            let mut rollup = Rollup::default();
            add_to(&bytes, &mut rollup).unwrap();
            let mut retained = values.clone();
            verdict.retain_counted(&mut retained);
            assert_eq!(retained.iter().map(|value| value.meter.name).collect::<Vec<_>>(), expected);
            let mut of_values = Rollup::default();
            of_values.add(&placed, &retained);
            assert_eq!(rollup.drain_sorted(), of_values.drain_sorted(), "as without a log between");
            bytes.pop();
            assert!(matches!(decode(&bytes), Err(RecordError::Verdict)), "a verdict on each value");
        };
        check(Fate::Counts, true, &["actors", "queries"]);
        check(Fate::Counts, false, &["queries"]);
        check(Fate::TakenBack, false, &[]);
        let keys = [&values[0], &values[1]].map(|value| value.labels(&placed.event).key());
        assert_eq!(keys, ["{}", r#"{"env":"prod"}"#]);
    }

    /// A record as postcard writes it: what earlier builds did.
    #[derive(Serialize)]
    struct Told<'a> {
        head: (IdKey, IdContent, i64, i64, i32, i64),
        texts: [&'a str; 4],
        plain: [Option<&'a str>; 5],
        labels: &'a [(&'a str, &'a str)],
        data: Option<&'a str>,
        retracts: Option<(&'a str, &'a str)>,
        values: Vec<ToldValue<'a>>,
    }

    #[derive(Serialize)]
    struct ToldValue<'a> {
        meter: (&'a str, &'a str, bool),
        atoms: i128,
        labels: Option<&'a [(&'a str, &'a str)]>,
        unique: Option<&'a str>,
    }

    fn labels<'a>(pairs: &[(&'a str, &'a str)]) -> Labels<'a> {
        Labels::new(pairs.iter().map(|(key, value)| (Cow::Borrowed(*key), Cow::Borrowed(*value))).collect())
    }

    proptest! {
        #[test]
        fn records_have_the_bytes_that_postcard_gives_them_and_are_read_back(
            (key, content, times) in (any::<IdKey>(), any::<IdContent>(), any::<[i64; 3]>()),
            (day, texts) in (any::<i32>(), proptest::array::uniform4("[a-zé\"x]{0,9}")),
            plain in proptest::array::uniform5(proptest::option::of("[a-z]{0,140}")),
            (data, retracts) in (proptest::option::of(".{0,300}"), any::<bool>()),
            values in proptest::collection::vec((-10_i128.pow(27)..=10_i128.pow(27), 0..3_u8, any::<bool>()), 0..4),
        ) {
            let [received_at, time, hour] = times;
            let [tenant, source, id, kind] = texts.each_ref().map(String::as_str);
            let plain = plain.each_ref().map(Option::as_deref);
            let (of_event, own) = ([("a", tenant), ("b", "")], [("a", "1"), ("c", id)]);
            let retracts = retracts.then_some((source, id));
            let mut dimensions = EventDimensions { labels: labels(&of_event), ..EventDimensions::default() };
            dimensions.plain[1..].iter_mut().zip(plain).for_each(|(into, text)| *into = text.map(Cow::Borrowed));
            let event = Event {
                id: id.into(),
                source: source.into(),
                kind: kind.into(),
                time: None,
                dimensions,
                data_text: data.as_deref(),
                retracts: retracts.map(|(source, id)| Retracted { source: source.into(), id: id.into() }),
            };
            let instants = [received_at, time, hour].map(Instant::from_micros);
            let day_of = Day::from_epoch_days(day);
            let placed = PlacedEvent { event, tenant: tenant.into(), time: instants[1], day: day_of, hour: instants[2] };
            let measured: Vec<MeteredValue<'_>> = values.iter().map(|(atoms, labelled, is_gauge)| MeteredValue {
                meter: MeterTag { name: kind, unit: "U", kind: if *is_gauge { MeterKind::Gauge } else { MeterKind::Counter } },
                quantity: Quantity::from_atoms(*atoms).unwrap(),
                own_labels: [None, Some(labels(&own)), Some(labels(&of_event))][usize::from(*labelled)].clone(),
                unique: is_gauge.then_some(id.into()),
            }).collect();
            let told = Told {
                head: (key, content, received_at, time, day, hour),
                texts: [tenant, source, id, kind],
                plain,
                labels: &of_event,
                data: data.as_deref(),
                retracts,
                values: values.iter().map(|(atoms, labelled, is_gauge)| ToldValue {
                    meter: (kind, "U", *is_gauge),
                    atoms: *atoms,
                    labels: (*labelled == 1).then_some(&own[..]),
                    unique: is_gauge.then_some(id),
                }).collect(),
            };
            let (mut bytes, place) = encoded(&placed, &measured, (key, content), instants[0]);
            prop_assert_eq!(&bytes[place], id.as_bytes());
            prop_assert_eq!(&bytes[1..], &postcard::to_allocvec(&told).unwrap()[..]);

            let firsts = values.iter().filter(|(_, _, is_gauge)| *is_gauge).map(|_| true).collect();
            Verdict { fate: Fate::Counts, firsts }.append_to(&mut bytes);
            let (record, _) = decode(&bytes).unwrap();
            prop_assert_eq!((record.key, record.content, record.received_at), (key, content, received_at));
            let back = record.placed().unwrap();
            prop_assert_eq!(&back.event.dimensions, &placed.event.dimensions);
            prop_assert_eq!(&back.event.retracts, &placed.event.retracts);
            prop_assert_eq!((back.time, back.day, back.hour), (placed.time, placed.day, placed.hour));
            let (mut of_record, mut of_values) = (Rollup::default(), Rollup::default());
            add_to(&bytes, &mut of_record).unwrap();
            of_values.add(&placed, &measured);
            prop_assert_eq!(of_record.drain_sorted(), of_values.drain_sorted());
            for cut in 0..bytes.len() {
                prop_assert!(decode(&bytes[..cut]).is_err(), "cut at {}", cut);
            }
        }
    }
}
