/// Which event was the last of each row.
mod last_ids;
/// Texts and labels that rows have in common.
mod texts;

use crate::labels::{LabelList, Labels};
use crate::meters::{MeterTag, MeteredValue};
use crate::rules::{Origin, PlacedEvent};
use crate::wire::Malformed;
use ahash::RandomState;
use domain::meter::MeterKind;
use domain::{Day, Instant, Quantity};
use hashbrown::HashTable;
use hashbrown::hash_table::Entry;
use last_ids::{IdPlace, LastIds};
use std::sync::Arc;
use texts::{LabelSets, NO_TEXT, Place, Texts};

/// What usage is kept apart by. Orders as the table is sorted: day, tenant, meter, hour.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct UsageKey {
    /// Day of the organisation's zone.
    pub day: Day,
    /// Whose usage.
    pub tenant: Arc<str>,
    /// The meter.
    pub meter: Arc<str>,
    /// When the clock hour of the zone begins; none for values that count once a day.
    pub hour: Option<Instant>,
    /// User, workflow, repo, task class, cluster; none for values that count once a day.
    pub plain: [Option<Arc<str>>; 5],
    /// Canonical JSON of the labels.
    pub labels_key: Arc<str>,
    /// Where it was measured.
    pub origin: Origin,
}

impl UsageKey {
    /// Returns the key under which rows of all origins are the same: earlier builds wrote `events` for all of them.
    #[must_use]
    pub(crate) fn of_any_origin(self) -> Self {
        Self { origin: Origin::Events, ..self }
    }
}

/// The values of one key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UsageCell {
    /// What the meter counts in.
    pub unit: Arc<str>,
    /// Counter or gauge.
    pub kind: MeterKind,
    /// The labels.
    pub labels: Arc<Labels<'static>>,
    /// Σ value, in atoms of 10⁻⁹, within the bound of a stored row.
    pub sum: i128,
    /// Number of values.
    pub count: i64,
    /// Smallest value.
    pub min: i128,
    /// Largest value.
    pub max: i128,
    /// Value with the greatest time; of equal times that of the greater event id.
    pub last: i128,
    /// Its time.
    pub last_at: Instant,
}

/// A row of usage.
pub type UsageRow = (UsageKey, UsageCell);

/// What a roll-up takes of an event; owns nothing. Its texts are bytes, checked to be texts when they are new to the roll-up.
#[derive(Clone, Copy, Debug)]
pub(crate) struct EventPart<'e> {
    pub day: Day,
    pub hour: Instant,
    pub time: Instant,
    pub tenant: &'e [u8],
    pub id: &'e [u8],
    /// User, workflow, repo, task class, cluster.
    pub plain: [Option<&'e [u8]>; 5],
    pub origin: Origin,
}

impl<'e> EventPart<'e> {
    fn of(placed: &'e PlacedEvent<'_>) -> Self {
        let [_, plain @ ..] = &placed.event.dimensions.plain;
        Self {
            day: placed.day,
            hour: placed.hour,
            time: placed.time,
            tenant: placed.tenant.as_bytes(),
            id: placed.event.id.as_bytes(),
            plain: plain.each_ref().map(|text| text.as_deref().map(str::as_bytes)),
            origin: Origin::of_source(&placed.event.source),
        }
    }
}

/// What a roll-up takes of a value that counts; owns nothing.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ValuePart<'v> {
    pub meter: &'v [u8],
    pub unit: &'v [u8],
    pub kind: MeterKind,
    /// Within the bound of a stored row.
    pub atoms: i128,
    pub labels: LabelList<'v>,
    /// Whether it counts once a day, so that it is of no hour, user or other dimension.
    pub is_daily: bool,
}

/// A value on its way to its row. Its texts are in the roll-up already; of it are borrowed only those that few values need.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Arriving<'v> {
    key: RowKey,
    hash: u64,
    time: Instant,
    id: &'v [u8],
    unit: &'v [u8],
    kind: MeterKind,
    atoms: i128,
}

/// Values that are added together: so many rows are brought near at a time.
pub(crate) const ARRIVING: usize = 64;

/// Sums of usage per clock hour and full key.
///
/// Rows of several roll-ups of one key add up: sum and count by sum, min and max by themselves, last
/// by the greatest `last_at`.
#[derive(Debug, Default)]
pub struct Rollup {
    /// In the order in which their keys came.
    rows: Vec<Row>,
    ids: LastIds,
    /// Hash of each key, and where the row is that takes its values.
    places: HashTable<(u64, usize)>,
    hashing: RandomState,
    texts: Texts,
    label_sets: LabelSets,
    /// Labels of a value that comes without a list of them.
    buffer: Vec<u8>,
}

/// A row as it is kept: most values go to rows that exist, so rows are small and their keys numbers.
#[derive(Debug)]
struct Row {
    key: RowKey,
    unit: Place,
    kind: MeterKind,
    sums: Sums,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct RowKey {
    day: Day,
    hour: Option<Instant>,
    tenant: Place,
    meter: Place,
    plain: [Place; 5],
    labels: Place,
    origin: Origin,
}

#[derive(Debug)]
struct Sums {
    sum: i128,
    min: i128,
    max: i128,
    last: i128,
    count: i64,
    last_at: Instant,
    last_id: IdPlace,
}

impl Sums {
    fn of(Arriving { atoms, time, id, .. }: &Arriving<'_>, ids: &mut LastIds) -> Self {
        let last_id = ids.push(id);
        Self { sum: *atoms, min: *atoms, max: *atoms, last: *atoms, count: 1, last_at: *time, last_id }
    }

    fn add(&mut self, Arriving { atoms, time, id, .. }: &Arriving<'_>, ids: &mut LastIds) {
        self.sum += atoms;
        self.count += 1;
        self.min = self.min.min(*atoms);
        self.max = self.max.max(*atoms);
        // Texts order as their bytes do.
        if self.last_at < *time || self.last_at == *time && ids.get(self.last_id) < *id {
            self.last = *atoms;
            self.last_at = *time;
            ids.replace(&mut self.last_id, id);
        }
    }
}

impl Rollup {
    /// Returns how many rows there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.rows.len()
    }

    /// Returns whether there is no usage.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    /// Adds what the meters read from one event. A key whose sum would leave the bound of a stored row begins another
    /// row.
    pub fn add(&mut self, placed: &PlacedEvent<'_>, values: &[MeteredValue<'_>]) {
        let mut buffer = std::mem::take(&mut self.buffer);
        let event = EventPart::of(placed);
        for value in values {
            let labels = LabelList::write(value.labels(&placed.event).pairs(), &mut buffer);
            let MeterTag { name, unit, kind } = value.meter;
            let (meter, unit) = (name.as_bytes(), unit.as_bytes());
            let (atoms, is_daily) = (value.quantity.atoms(), value.unique.is_some());
            let part = ValuePart { meter, unit, kind, atoms, labels, is_daily };
            let readable = "all of its texts are texts";
            let arriving = self.arriving(&event, &part).expect(readable);
            self.add_one(&arriving).expect(readable);
        }
        self.buffer = buffer;
    }

    /// Returns the value as it is added, with its texts in the roll-up.
    ///
    /// # Errors
    /// If bytes that are new to the roll-up are no text.
    pub(crate) fn arriving<'v>(
        &mut self,
        event: &EventPart<'v>,
        value: &ValuePart<'v>,
    ) -> Result<Arriving<'v>, Malformed> {
        let key = self.key_of(event, value)?;
        let (hash, EventPart { time, id, .. }) = (self.hashing.hash_one(key), *event);
        Ok(Arriving { key, hash, time, id, unit: value.unit, kind: value.kind, atoms: value.atoms })
    }

    /// Adds the values, best some [`ARRIVING`] at a time.
    ///
    /// # Errors
    /// If the unit of a new row is no text.
    pub(crate) fn add_all(&mut self, values: &[Arriving<'_>]) -> Result<(), Malformed> {
        self.warm(values);
        values.iter().try_for_each(|value| self.add_one(value))
    }

    /// Brings the rows of these values into the processor's caches. Nothing depends on it but time: one value after the other
    /// would wait for its place and then for its row, here many are under way at once.
    fn warm(&self, values: &[Arriving<'_>]) {
        let row_of = |value: &Arriving<'_>| {
            let place = self.places.find(value.hash, |(other, _)| *other == value.hash);
            place.map(|(_, at)| &self.rows[*at])
        };
        let touched = values.iter().filter_map(row_of).fold(0, |touched, row| touched ^ row.sums.count);
        // Or else the reads would be left out.
        std::hint::black_box(touched);
    }

    fn add_one(&mut self, value: &Arriving<'_>) -> Result<(), Malformed> {
        let Self { rows, ids, places, hashing, texts, .. } = self;
        let Arriving { key, hash, .. } = *value;
        let is_same = |(other, at): &(u64, usize)| *other == hash && rows[*at].key == key;
        let new = rows.len();
        let unit = match places.entry(hash, is_same, |(hash, _)| *hash) {
            Entry::Occupied(mut place) => {
                let sums = &mut rows[place.get().1].sums;
                if Quantity::from_atoms(sums.sum + value.atoms).is_some() {
                    sums.add(value, ids);
                    return Ok(());
                }
                let unit = texts.place(value.unit, hashing)?;
                place.get_mut().1 = new;
                unit
            }
            Entry::Vacant(place) => {
                let unit = texts.place(value.unit, hashing)?;
                place.insert((hash, new));
                unit
            }
        };
        rows.push(Row { key, unit, kind: value.kind, sums: Sums::of(value, ids) });
        Ok(())
    }

    fn key_of(&mut self, event: &EventPart<'_>, value: &ValuePart<'_>) -> Result<RowKey, Malformed> {
        let Self { texts, label_sets, hashing, .. } = self;
        let labels = label_sets.place(value.labels, texts, hashing)?;
        let mut plain = [NO_TEXT; 5];
        if !value.is_daily {
            for (place, text) in plain.iter_mut().zip(event.plain) {
                *place = text.map_or(Ok(NO_TEXT), |text| texts.place(text, hashing))?;
            }
        }
        Ok(RowKey {
            day: event.day,
            hour: (!value.is_daily).then_some(event.hour),
            tenant: texts.place(event.tenant, hashing)?,
            meter: texts.place(value.meter, hashing)?,
            plain,
            labels,
            origin: event.origin,
        })
    }

    /// Returns all rows in the order of their keys; of equal keys that which came first.
    #[must_use]
    pub fn sorted(&self) -> Vec<UsageRow> {
        // Numbers that order as the texts do, so that each text is compared with others once and not for every row.
        let ranks = self.texts.ranks();
        let rank = |place: Place| ranks[place as usize];
        let order_of = |Row { key, .. }: &Row| {
            let labels_key = self.label_sets.sets[key.labels as usize].key;
            let plain = key.plain.map(rank);
            (key.day, rank(key.tenant), rank(key.meter), key.hour, plain, rank(labels_key), key.origin)
        };
        let mut order: Vec<usize> = (0..self.rows.len()).collect();
        order.sort_by_cached_key(|at| order_of(&self.rows[*at]));
        order.into_iter().map(|at| self.row(&self.rows[at])).collect()
    }

    /// Returns all rows in the order of their keys, and forgets them.
    #[must_use]
    pub fn drain_sorted(&mut self) -> Vec<UsageRow> {
        std::mem::take(self).sorted()
    }

    fn row(&self, Row { key, unit, kind, sums }: &Row) -> UsageRow {
        let texts = &self.texts;
        let set = &self.label_sets.sets[key.labels as usize];
        let usage_key = UsageKey {
            day: key.day,
            tenant: texts.shared(key.tenant),
            meter: texts.shared(key.meter),
            hour: key.hour,
            plain: key.plain.map(|place| texts.optional(place)),
            labels_key: texts.shared(set.key),
            origin: key.origin,
        };
        let cell = UsageCell {
            unit: texts.shared(*unit),
            kind: *kind,
            labels: Arc::clone(&set.labels),
            sum: sums.sum,
            count: sums.count,
            min: sums.min,
            max: sums.max,
            last: sums.last,
            last_at: sums.last_at,
        };
        (usage_key, cell)
    }
}

/// Returns what the value is kept apart by.
pub(crate) fn usage_key(placed: &PlacedEvent<'_>, value: &MeteredValue<'_>) -> UsageKey {
    let is_daily = value.unique.is_some();
    let [_, plain @ ..] = placed.event.dimensions.plain.each_ref().map(|text| text.as_deref().map(Arc::from));
    UsageKey {
        day: placed.day,
        tenant: (&*placed.tenant).into(),
        meter: value.meter.name.into(),
        hour: (!is_daily).then_some(placed.hour),
        plain: if is_daily { Default::default() } else { plain },
        labels_key: value.labels(&placed.event).key().into(),
        origin: Origin::of_source(&placed.event.source),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::parse_event;
    use crate::meters::MeterSet;
    use crate::rules::EventRules;
    use domain::meter::builtin;
    use proptest::prelude::*;
    use std::borrow::Cow;
    use std::collections::BTreeMap;

    fn meters() -> MeterSet {
        MeterSet::new(builtin()).unwrap()
    }

    fn placed(zone: &str, tenant: &str, id: u32, time: &str, kind: &str, value: &str) -> PlacedEvent<'static> {
        let text = format!(
            r#"{{"specversion":"1.0","id":"{id:04}","source":"/s","type":"{kind}","tenant":"{tenant}","time":"{time}","data":{{"value":{value}}}}}"#
        );
        let parsed = parse_event(text.leak()).unwrap();
        EventRules::new(zone.parse().unwrap()).place(parsed, Instant::from_micros(0)).unwrap().0
    }

    fn add(rollup: &mut Rollup, meters: &MeterSet, event: &PlacedEvent<'_>) {
        let data = crate::json::parse_value(event.event.data_text.unwrap()).unwrap();
        rollup.add(event, &meters.measure(&event.event, &data).unwrap().values);
    }

    #[test]
    fn a_sum_that_would_leave_the_bound_begins_another_row() {
        let (meters, mut rollup) = (meters(), Rollup::default());
        let event = |id, value| placed("UTC", "a", id, "2026-01-01T00:00:00Z", "log_queries", value);
        for (id, value) in [(1, "1e18"), (2, "0.000000001"), (3, "2")] {
            add(&mut rollup, &meters, &event(id, value));
        }
        let rows = rollup.drain_sorted();
        let sums: Vec<_> = rows.iter().map(|(_, cell)| (cell.sum, cell.count)).collect();
        assert_eq!(sums, [(10_i128.pow(27), 1), (2_000_000_001, 2)]);
        assert_eq!(rows[0].0, rows[1].0);
    }

    #[test]
    fn usage_of_metrics_servers_and_collectors_is_kept_apart_from_that_of_events() {
        let (meters, mut rollup) = (meters(), Rollup::default());
        for (id, source) in
            [(1, "/s"), (2, "otlp:{}"), (3, "prometheus:k8s/cpu{}"), (4, "otlp"), (5, "collector:vercel/requests{}")]
        {
            let mut event = placed("UTC", "a", id, "2026-01-01T00:00:00Z", "log_queries", "1");
            event.event.source = source.into();
            add(&mut rollup, &meters, &event);
        }
        let rows = rollup.drain_sorted();
        let found: Vec<_> = rows.iter().map(|(key, cell)| (key.origin.as_str(), cell.count)).collect();
        assert_eq!(found, [("events", 2), ("metrics_server", 2), ("collector", 1)]);
        assert_eq!(rows[0].0.clone().of_any_origin(), rows[1].0.clone().of_any_origin());
    }

    #[test]
    fn the_last_value_is_that_of_the_greatest_time_then_id() {
        let (meters, mut rollup) = (meters(), Rollup::default());
        for (id, time, value) in [
            (2, "00:10:00", "5"),
            (1, "00:20:00", "7"),
            (3, "00:20:00", "-2"),
            (2, "00:20:00", "9"),
            (9, "00:05:00", "1"),
        ] {
            let event = placed("UTC", "a", id, &format!("2026-01-01T{time}Z"), "member_count", value);
            add(&mut rollup, &meters, &event);
        }
        let (key, cell) = rollup.drain_sorted().remove(0);
        let units = |atoms: i128| atoms / 1_000_000_000;
        assert_eq!([units(cell.last), units(cell.min), units(cell.max), units(cell.sum)], [-2, -2, 9, 20]);
        assert_eq!(
            (cell.last_at, key.hour),
            ("2026-01-01T00:20:00Z".parse().unwrap(), Some("2026-01-01T00:00:00Z".parse().unwrap()))
        );
    }

    #[test]
    fn hours_are_clock_hours_of_the_zone_also_when_clocks_change() {
        let hour = |zone: &str, time: &str| {
            let event = placed(zone, "a", 1, time, "log_queries", "1");
            (event.day.to_string(), event.hour.to_string())
        };
        let expect = |day: &str, hour: &str| (day.to_owned(), hour.to_owned());
        // The clock hour 02:00 happens twice on this day; its two runs are different hours.
        assert_eq!(hour("Europe/Berlin", "2026-10-25T00:30:00Z"), expect("2026-10-25", "2026-10-25T00:00:00Z"));
        assert_eq!(hour("Europe/Berlin", "2026-10-25T01:30:00Z"), expect("2026-10-25", "2026-10-25T01:00:00Z"));
        assert_eq!(hour("Europe/Berlin", "2026-10-25T22:59:59Z"), expect("2026-10-25", "2026-10-25T22:00:00Z"));
        assert_eq!(hour("Europe/Berlin", "2026-10-25T23:00:00Z"), expect("2026-10-26", "2026-10-25T23:00:00Z"));
        // Hours of a zone off by half an hour begin at half past in UTC.
        assert_eq!(hour("Asia/Kolkata", "2026-01-01T18:29:59Z"), expect("2026-01-01", "2026-01-01T17:30:00Z"));
        assert_eq!(hour("Asia/Kolkata", "2026-01-01T18:30:00Z"), expect("2026-01-02", "2026-01-01T18:30:00Z"));
    }

    /// Half hour, order of arrival, atoms.
    type SlowValue = (i64, usize, i128);

    proptest! {
        /// However events arrive, the rows say what a plain loop over all of them says.
        #[test]
        fn rows_equal_a_slow_sum(
            events in proptest::collection::vec((0..3_u8, 0..50_i64, 0..3_u8, -1_000_000_000_000_i64..1_000_000_000_000), 0..60),
        ) {
            const KINDS: [&str; 3] = ["member_count", "storage_bytes", "monitored_host_count"];
            let (meters, mut rollup) = (meters(), Rollup::default());
            let mut slow: BTreeMap<(String, u8, i64), Vec<SlowValue>> = BTreeMap::new();
            for (at, (tenant, half_hour, kind, nanos)) in events.iter().enumerate() {
                let tenant = format!("t{tenant}");
                let time = Instant::from_micros(half_hour * 1_800_000_000);
                let value = domain::decimal::format_scaled(i128::from(*nanos), 9, 0);
                let event = placed("UTC", &tenant, u32::try_from(at).unwrap(), &time.to_string(), KINDS[usize::from(*kind)], &value);
                add(&mut rollup, &meters, &event);
                slow.entry((tenant, *kind, half_hour / 2)).or_default().push((*half_hour, at, i128::from(*nanos)));
            }
            let rows = rollup.drain_sorted();
            prop_assert!(rows.windows(2).all(|pair| pair[0].0 < pair[1].0));
            prop_assert_eq!(rows.len(), slow.len());
            for (key, cell) in rows {
                let kind = u8::try_from(KINDS.iter().position(|kind| **kind == *key.meter).unwrap()).unwrap();
                let values = &slow[&(key.tenant.to_string(), kind, key.hour.unwrap().micros() / 3_600_000_000)];
                let atoms = || values.iter().map(|(_, _, atoms)| *atoms);
                prop_assert_eq!(cell.sum, atoms().sum::<i128>());
                prop_assert_eq!(usize::try_from(cell.count).unwrap(), values.len());
                prop_assert_eq!(Some(cell.min), atoms().min());
                prop_assert_eq!(Some(cell.max), atoms().max());
                prop_assert_eq!(cell.last, values.iter().max().unwrap().2);
            }
        }

        /// Rows are numbers within; what comes out has the keys that were put in, in their order, whatever texts they have.
        #[test]
        fn rows_have_the_keys_of_their_values_in_order(
            events in proptest::collection::vec(
                ("[ab]{1,2}", proptest::option::of("[ab]{0,2}"), proptest::option::of("[ab]{0,2}"), 0..3_i64, 0..3_u8),
                0..40,
            ),
        ) {
            let (meters, mut rollup) = (meters(), Rollup::default());
            let mut expected: BTreeMap<UsageKey, i64> = BTreeMap::new();
            for (at, (tenant, user, label, hour, kind)) in events.iter().enumerate() {
                let kind = ["member_count", "log_queries", "storage_bytes"][usize::from(*kind)];
                let time = Instant::from_micros(hour * 3_600_000_000).to_string();
                let mut event = placed("UTC", tenant, u32::try_from(at).unwrap(), &time, kind, "1");
                event.event.dimensions.plain[1] = user.clone().map(Cow::Owned);
                let labels = label.iter().map(|label| (Cow::Borrowed("l"), Cow::<'static, str>::Owned(label.clone())));
                event.event.dimensions.labels = Labels::new(labels.collect());
                let data = crate::json::parse_value(event.event.data_text.unwrap()).unwrap();
                let values = meters.measure(&event.event, &data).unwrap().values;
                rollup.add(&event, &values);
                for value in &values {
                    *expected.entry(usage_key(&event, value)).or_default() += 1;
                }
            }
            let found: Vec<(UsageKey, i64)> =
                rollup.drain_sorted().into_iter().map(|(key, cell)| (key, cell.count)).collect();
            prop_assert_eq!(found, Vec::from_iter(expected));
            prop_assert!(rollup.is_empty());
        }
    }
}
