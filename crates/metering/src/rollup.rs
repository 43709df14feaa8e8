use crate::labels::Labels;
use crate::meters::MeteredValue;
use crate::rules::{Origin, PlacedEvent};
use ahash::RandomState;
use domain::meter::MeterKind;
use domain::{Day, Instant, Quantity};
use hashbrown::HashTable;
use hashbrown::hash_table::Entry;
use std::collections::{HashMap, HashSet};
use std::sync::Arc;

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

    fn borrowed(&self) -> KeyRef<'_> {
        KeyRef {
            day: self.day,
            tenant: &self.tenant,
            meter: &self.meter,
            hour: self.hour,
            plain: self.plain.each_ref().map(Option::as_deref),
            labels_key: &self.labels_key,
            origin: self.origin,
        }
    }
}

/// A [`UsageKey`] that owns nothing: most values go to rows that exist.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct KeyRef<'k> {
    day: Day,
    tenant: &'k str,
    meter: &'k str,
    hour: Option<Instant>,
    plain: [Option<&'k str>; 5],
    labels_key: &'k str,
    origin: Origin,
}

impl<'k> KeyRef<'k> {
    fn of(placed: &'k PlacedEvent<'_>, value: &'k MeteredValue<'_>, labels: &'k Labels<'_>) -> Self {
        let [_, plain @ ..] = &placed.event.dimensions.plain;
        let is_daily = value.unique.is_some();
        Self {
            day: placed.day,
            tenant: &placed.tenant,
            meter: value.meter.name,
            hour: (!is_daily).then_some(placed.hour),
            plain: if is_daily { Default::default() } else { plain.each_ref().map(Option::as_deref) },
            labels_key: labels.key(),
            origin: Origin::of_source(&placed.event.source),
        }
    }

    fn owned(&self, mut share: impl FnMut(&str) -> Arc<str>) -> UsageKey {
        UsageKey {
            day: self.day,
            tenant: share(self.tenant),
            meter: share(self.meter),
            hour: self.hour,
            plain: self.plain.map(|text| text.map(&mut share)),
            labels_key: share(self.labels_key),
            origin: self.origin,
        }
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
    last_id: String,
}

/// A row of usage.
pub type UsageRow = (UsageKey, UsageCell);

/// Sums of usage per clock hour and full key.
///
/// Rows of several roll-ups of one key add up: sum and count by sum, min and max by themselves, last
/// by the greatest `last_at`.
#[derive(Debug, Default)]
pub struct Rollup {
    /// In the order in which their keys came.
    rows: Vec<UsageRow>,
    /// Hash of each key, and where the row is that takes its values.
    places: HashTable<(u64, usize)>,
    hashing: RandomState,
    shared: Shared,
}

/// What many rows have in common.
#[derive(Debug, Default)]
struct Shared {
    texts: HashSet<Arc<str>, RandomState>,
    labels: HashMap<Arc<str>, Arc<Labels<'static>>, RandomState>,
}

impl Shared {
    fn text(&mut self, text: &str) -> Arc<str> {
        if let Some(known) = self.texts.get(text) {
            return Arc::clone(known);
        }
        let new: Arc<str> = text.into();
        self.texts.insert(Arc::clone(&new));
        new
    }

    fn labels(&mut self, labels: &Labels<'_>) -> Arc<Labels<'static>> {
        if let Some(known) = self.labels.get(labels.key()) {
            return Arc::clone(known);
        }
        let (key, new) = (self.text(labels.key()), Arc::new(labels.to_static()));
        self.labels.insert(key, Arc::clone(&new));
        new
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
        for value in values {
            let labels = value.labels(&placed.event);
            self.add_value(&KeyRef::of(placed, value, labels), labels, value, (placed.time, &*placed.event.id));
        }
    }

    fn add_value(
        &mut self,
        key: &KeyRef<'_>,
        labels: &Labels<'_>,
        value: &MeteredValue<'_>,
        (time, id): (Instant, &str),
    ) {
        let Self { rows, places, hashing, shared } = self;
        let hash = hashing.hash_one(key);
        let is_same = |(other, at): &(u64, usize)| *other == hash && rows[*at].0.borrowed() == *key;
        let atoms = value.quantity.atoms();
        let new = rows.len();
        match places.entry(hash, is_same, |(hash, _)| *hash) {
            Entry::Occupied(mut place) => {
                let cell = &mut rows[place.get().1].1;
                if Quantity::from_atoms(cell.sum + atoms).is_some() {
                    cell.add(atoms, time, id);
                    return;
                }
                place.get_mut().1 = new;
            }
            Entry::Vacant(place) => {
                place.insert((hash, new));
            }
        }
        let cell = UsageCell {
            unit: shared.text(value.meter.unit),
            kind: value.meter.kind,
            labels: shared.labels(labels),
            sum: atoms,
            count: 1,
            min: atoms,
            max: atoms,
            last: atoms,
            last_at: time,
            last_id: id.to_owned(),
        };
        rows.push((key.owned(|text| shared.text(text)), cell));
    }

    /// Returns all rows in the order of their keys.
    #[must_use]
    pub fn sorted(&self) -> Vec<&UsageRow> {
        let mut rows: Vec<&UsageRow> = self.rows.iter().collect();
        rows.sort_by(|(left, _), (right, _)| left.cmp(right));
        rows
    }

    /// Returns all rows in the order of their keys, and forgets them.
    #[must_use]
    pub fn drain_sorted(&mut self) -> Vec<UsageRow> {
        let mut rows = std::mem::take(self).rows;
        rows.sort_by(|(left, _), (right, _)| left.cmp(right));
        rows
    }
}

/// Returns what the value is kept apart by.
pub(crate) fn usage_key(placed: &PlacedEvent<'_>, value: &MeteredValue<'_>) -> UsageKey {
    KeyRef::of(placed, value, value.labels(&placed.event)).owned(|text| text.into())
}

impl UsageCell {
    fn add(&mut self, atoms: i128, time: Instant, id: &str) {
        self.sum += atoms;
        self.count += 1;
        self.min = self.min.min(atoms);
        self.max = self.max.max(atoms);
        if (self.last_at, &*self.last_id) < (time, id) {
            self.last = atoms;
            self.last_at = time;
            self.last_id.clear();
            self.last_id.push_str(id);
        }
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
    }
}
