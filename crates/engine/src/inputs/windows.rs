//! The events that window pools look at: what was caused once, who used it, and what ends a window.

use super::rows::{Rows, literal};
use super::usage::column;
use crate::books::Books;
use crate::settings::Settings;
use crate::{Engine, EngineError};
use attribution::cells::Consumer;
use attribution::day::{Finding, NotRun};
use attribution::window::{CostEvent, Ends, Length, Read, Reads, Terms, WindowPool, amortize, price_event};
use datafusion::prelude::SessionContext;
use domain::condition::UsageAttribute;
use domain::dimension::{Dimension, Dimensions, PLAIN};
use domain::policy::{Each, EventPath, EventSource, Method, Policy, Pool, Split, WindowLength};
use domain::{Day, DayRange, Instant, Quantity};
use futures::TryStreamExt;
use serde_json::Value;
use serde_json_path::JsonPath;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// Code of pools whose events were dropped: they keep what was posted.
pub(crate) const INPUTS_EXPIRED: &str = "inputs_expired";
/// The unit weight of a use that its meter only counts.
const ONE: i128 = 1_000_000_000;
/// What conditions see as the origin of an event.
const ORIGIN_EVENTS: &str = "events";

/// Returns the days whose events the window pools of a day can need: from the day to the last one that a window
/// reaches. None without such a pool.
pub(crate) fn reach(policy: &Policy, day: Day, settings: &Settings) -> Option<DayRange> {
    let windows = policy.pools.iter().filter_map(window_of).map(|(_, split)| micros_of(split, settings));
    windows.max().map(|micros| reached(day, micros, settings))
}

/// Returns whether the policy has a window pool.
pub(crate) fn has_windows(policy: &Policy) -> bool {
    policy.pools.iter().any(|pool| pool.method() == Method::Window)
}

fn reached(day: Day, micros: i64, settings: &Settings) -> DayRange {
    let last = settings.zone.day_range(day).end.plus_micros(micros - 1);
    DayRange::new(day, settings.zone.day_of(last).max(day)).expect("a window does not end before it begins")
}

fn window_of(pool: &Pool) -> Option<(&EventSource, &Split)> {
    let split = pool.split.as_ref().filter(|split| split.method == Method::Window)?;
    Some((pool.source.as_ref()?, split))
}

/// The longest that a window of the pool can be.
fn micros_of(split: &Split, settings: &Settings) -> i64 {
    match split.window {
        Some(WindowLength::For(micros)) => micros,
        Some(WindowLength::Until(_)) | None => settings.window_micros_max.max(1),
    }
}

/// What is read from the events of one type.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Reading {
    event_type: String,
    key: Option<EventPath>,
    value: Wanted,
}

/// Which number of an event matters.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Wanted {
    /// None: the event counts by having happened.
    Nothing,
    /// What it cost.
    Money(EventPath),
    /// What a cost event took of a meter that the card prices.
    Priced(EventPath),
    /// What a use weighs.
    Weight(EventPath),
}

impl Wanted {
    fn path(&self) -> Option<&EventPath> {
        match self {
            Self::Nothing => None,
            Self::Money(path) | Self::Priced(path) | Self::Weight(path) => Some(path),
        }
    }

    fn is_cost(&self) -> bool {
        matches!(self, Self::Money(_) | Self::Priced(_))
    }

    fn number(&self, text: &str) -> Option<i128> {
        match self {
            Self::Nothing => None,
            Self::Money(_) => domain::money::parse_atoms(text).ok().map(|parsed| parsed.atoms),
            Self::Priced(_) | Self::Weight(_) => text.parse::<Quantity>().ok().map(Quantity::atoms),
        }
    }
}

/// What the pool reads of its cost events.
fn reading_of_costs(source: &EventSource) -> Option<Reading> {
    let money = source.cost.clone().map(Wanted::Money);
    let value = money.or_else(|| source.quantity.clone().map(Wanted::Priced))?;
    Some(Reading { event_type: source.event_type.clone(), key: source.key.clone(), value })
}

/// What the pool reads of the events that use its costs; none for a meter that nobody defined.
fn reading_of_reads(split: &Split, books: &Books) -> Option<Reading> {
    let value = match &split.each {
        Some(Each::Meter(meter)) => match &books.meters.get(meter)?.value {
            Some(path) => Wanted::Weight(path.parse().ok()?),
            None => Wanted::Nothing,
        },
        Some(Each::Consumer | Each::Read) | None => Wanted::Nothing,
    };
    Some(Reading { event_type: split.event_type.clone()?, key: split.key.clone(), value })
}

/// What the pool reads of the events that end its windows, if any do: they name what they end as the cost does.
fn reading_of_ends(source: &EventSource, split: &Split) -> Option<Reading> {
    let Some(WindowLength::Until(event_type)) = &split.window else { return None };
    Some(Reading { event_type: event_type.clone(), key: source.key.clone(), value: Wanted::Nothing })
}

fn readings_of(pool: &Pool, books: &Books) -> Vec<Reading> {
    let Some((source, split)) = window_of(pool) else { return Vec::new() };
    let all = [reading_of_costs(source), reading_of_reads(split, books), reading_of_ends(source, split)];
    all.into_iter().flatten().collect()
}

/// One event as a pool sees it.
#[derive(Clone, Debug)]
struct Found {
    time: Instant,
    key: Option<Arc<str>>,
    /// None where the event has no readable number.
    value: Option<i128>,
    /// Where its dimensions stand.
    who: usize,
    /// Tenant, source and id of a cost event, which together are its name.
    name: Option<Arc<str>>,
}

/// Events by what is read from them, in the order of time and name.
#[derive(Debug, Default)]
pub(crate) struct WindowEvents {
    found: BTreeMap<Reading, Vec<Found>>,
    dimensions: Vec<Dimensions>,
}

/// What a day's windows depend on beside the events.
#[derive(Clone, Copy)]
pub(crate) struct Around<'a> {
    pub(crate) books: &'a Books,
    pub(crate) settings: &'a Settings,
    /// When the run began, before what was acknowledged was brought to the lake.
    pub(crate) now: Instant,
    /// Days whose raw events were dropped.
    pub(crate) expired: &'a BTreeSet<Day>,
}

impl WindowEvents {
    /// Returns the events that the window pools of the days may need, also those of later days; without those that were
    /// taken back.
    ///
    /// # Errors
    /// When the query or the catalog fails.
    pub(crate) async fn load(
        engine: &Engine,
        session: &SessionContext,
        range: DayRange,
        books: &Books,
        policies: &[&Policy],
    ) -> Result<Self, EngineError> {
        let pools = || policies.iter().flat_map(|policy| &policy.pools);
        let readings: BTreeSet<Reading> = pools().flat_map(|pool| readings_of(pool, books)).collect();
        let last =
            policies.iter().filter_map(|policy| reach(policy, range.to(), &engine.settings)).map(|days| days.to());
        let Some(last) = last.max().filter(|_| !readings.is_empty()) else { return Ok(Self::default()) };
        // After the table was pinned: an event that it has and that was taken back before is known to be.
        let gone = Gone::load(engine).await?;
        let labels = labels_of(pools(), books, range);
        let mut reader = Reader::new(readings, labels, gone, range);
        let sql = reader.sql(DayRange::new(range.from(), last).expect("windows reach forward"));
        let mut batches = session.sql(&sql).await?.execute_stream().await?;
        while let Some(batch) = batches.try_next().await? {
            reader.read(&Rows(&batch))?;
        }
        Ok(reader.finish())
    }

    /// Returns what the events say of each window pool of the day's policy, `for_each` expanded.
    pub(crate) fn of_day(&self, day: Day, policy: &Policy, around: &Around<'_>) -> BTreeMap<String, WindowPool> {
        let pools = policy.pools.iter().filter_map(|pool| Some((pool, window_of(pool)?)));
        pools.map(|(pool, (source, split))| (pool.name.clone(), self.pool(day, pool, source, split, around))).collect()
    }

    fn pool(&self, day: Day, pool: &Pool, source: &EventSource, split: &Split, around: &Around<'_>) -> WindowPool {
        let card = &around.books.card_on(day).content;
        let mut window = WindowPool::nothing(source.currency.unwrap_or(card.currency));
        let micros = micros_of(split, around.settings);
        if let Some(gone) = reached(day, micros, around.settings).days().find(|day| around.expired.contains(day)) {
            let detail = format!("raw events of {gone} were dropped; what was posted of {day} stays");
            window.not_run = Some(NotRun { code: INPUTS_EXPIRED, detail });
            return window;
        }
        let Some(reads) = reading_of_reads(split, around.books) else {
            let meter = split.each.as_ref().map(ToString::to_string).unwrap_or_default();
            let detail = format!("the meter `{meter}`, by which uses weigh, does not exist");
            window.not_run = Some(NotRun { code: "meter_missing", detail });
            return window;
        };
        let costs = match self.costs(day, pool, source, around, &mut window.findings) {
            Ok(costs) => costs,
            Err(not_run) => {
                window.not_run = Some(not_run);
                return window;
            }
        };
        let start = around.settings.zone.day_range(day).start;
        let end = around.settings.zone.day_range(day).end.plus_micros(micros);
        let (length, ends) = match &split.window {
            Some(WindowLength::For(micros)) => (Length::For(*micros), Ends::default()),
            _ => (Length::Until(micros), self.ends(reading_of_ends(source, split), start, end)),
        };
        let keys: BTreeSet<&Arc<str>> = costs.iter().filter_map(|cost| cost.key.as_ref()).collect();
        let is_wanted =
            |found: &&Found| source.key.is_none() || found.key.as_ref().is_some_and(|key| keys.contains(key));
        let read = |found: &Found| Read {
            time: found.time,
            key: found.key.clone(),
            who: found.who,
            weight: if reads.value == Wanted::Nothing { ONE } else { found.value.unwrap_or(0) },
        };
        let uses = Reads::new(self.between(&reads, start, end).iter().filter(is_wanted).map(read).collect());
        let terms = Terms {
            has_keys: source.key.is_some(),
            length,
            grace: around.settings.window_grace_micros,
            is_weighted: matches!(split.each, Some(Each::Read | Each::Meter(_))),
            reads: &uses,
            ends: &ends,
            consumers: &self.consumers(day, split, around.books),
        };
        window.costs = amortize(costs, &terms, around.now);
        window
    }

    fn costs(
        &self,
        day: Day,
        pool: &Pool,
        source: &EventSource,
        around: &Around<'_>,
        findings: &mut Vec<Finding>,
    ) -> Result<Vec<CostEvent>, NotRun> {
        let Some(reading) = reading_of_costs(source) else { return Ok(Vec::new()) };
        let range = around.settings.zone.day_range(day);
        let card = &around.books.card_on(day).content;
        let mut costs = Vec::new();
        for found in self.between(&reading, range.start, range.end) {
            if found.value.is_none() {
                let name = found.name.as_deref().unwrap_or_default();
                findings.push(Finding::unreadable_event(pool, name, "cost"));
            }
            let value = found.value.unwrap_or(0);
            let amount = match &source.meter {
                Some(meter) => {
                    let labels = &self.dimensions[found.who].labels;
                    let has_label = |key: &str, value: &str| labels.get(key).is_some_and(|label| **label == *value);
                    price_event(card, meter, has_label, value, (day, range.seconds()))?
                }
                None => value,
            };
            let (key, name) = (found.key.clone(), found.name.clone());
            costs.push(CostEvent { time: found.time, key, amount, name });
        }
        Ok(costs)
    }

    /// Those of the events that happened in `[start, end)`.
    fn between(&self, reading: &Reading, start: Instant, end: Instant) -> &[Found] {
        let Some(found) = self.found.get(reading) else { return &[] };
        let before = |at: Instant| found.partition_point(|event| event.time < at);
        &found[before(start)..before(end)]
    }

    fn ends(&self, reading: Option<Reading>, start: Instant, end: Instant) -> Ends {
        let mut ends = Ends::default();
        for found in reading.iter().flat_map(|reading| self.between(reading, start, end)) {
            ends.insert(found.key.clone(), found.time);
        }
        ends
    }

    /// The consumer of each set of dimensions, as tenants are known on the day of the cost; none where `where` does not
    /// hold.
    fn consumers(&self, day: Day, split: &Split, books: &Books) -> Vec<Option<Consumer>> {
        let consumer = |own: &Dimensions| {
            let mut placed = own.clone();
            let tenant = own.get(&Dimension::Tenant).map(|tenant| books.tenants.resolve(tenant, day));
            placed.set(&Dimension::Tenant, tenant);
            let holds = split.drivers.hold(|attribute| match attribute {
                UsageAttribute::Origin => Some(ORIGIN_EVENTS),
                UsageAttribute::Dimension(dimension) => placed.get(dimension).map(|value| &**value),
            });
            let values = || split.by.iter().map(|dimension| placed.get(dimension).cloned()).collect();
            holds.then(|| Consumer::Values(values()))
        };
        self.dimensions.iter().map(consumer).collect()
    }
}

/// The labels that consumers, conditions and prices look at.
fn labels_of<'p>(pools: impl Iterator<Item = &'p Pool>, books: &Books, range: DayRange) -> Vec<Dimension> {
    let mut labels: BTreeSet<Dimension> = BTreeSet::new();
    for (source, split) in pools.filter_map(window_of) {
        labels.extend(split.by.iter().cloned());
        labels.extend(split.drivers.tests().filter_map(|(attribute, _)| match attribute {
            UsageAttribute::Dimension(dimension) => Some(dimension.clone()),
            UsageAttribute::Origin => None,
        }));
        if source.meter.is_some() {
            let prices = range.days().flat_map(|day| &books.card_on(day).content.prices);
            let keys = prices.flat_map(|price| price.labels.keys());
            labels.extend(keys.map(|key| Dimension::Label(key.as_str().into())));
        }
    }
    labels.into_iter().filter(|dimension| matches!(dimension, Dimension::Label(_))).collect()
}

/// Events that were taken back, by tenant: source and id.
struct Gone(BTreeMap<String, BTreeSet<(String, String)>>);

impl Gone {
    async fn load(engine: &Engine) -> Result<Self, EngineError> {
        let mut gone: BTreeMap<String, BTreeSet<(String, String)>> = BTreeMap::new();
        for row in engine.catalog.retractions_all_tenants(i64::MAX).await? {
            gone.entry(row.tenant).or_default().insert((row.source, row.id));
        }
        Ok(Self(gone))
    }

    fn has(&self, tenant: &str, source: &str, id: &str) -> bool {
        self.0.get(tenant).is_some_and(|events| events.contains(&(source.to_owned(), id.to_owned())))
    }
}

/// A reading with its paths ready.
struct Compiled {
    reading: Reading,
    key: Option<JsonPath>,
    value: Option<JsonPath>,
    found: Vec<Found>,
}

/// Reads rows of `usage_events`.
struct Reader {
    compiled: Vec<Compiled>,
    labels: Vec<Dimension>,
    gone: Gone,
    /// The days of the costs; uses and ends may lie after them.
    range: DayRange,
    known: BTreeMap<Dimensions, usize>,
}

impl Reader {
    fn new(readings: BTreeSet<Reading>, labels: Vec<Dimension>, gone: Gone, range: DayRange) -> Self {
        let path = |path: &EventPath| JsonPath::parse(path.as_str()).expect("a path of a policy was parsed before");
        let compiled = readings.into_iter().map(|reading| Compiled {
            key: reading.key.as_ref().map(path),
            value: reading.value.path().map(path),
            found: Vec::new(),
            reading,
        });
        Self { compiled: compiled.collect(), labels, gone, range, known: BTreeMap::new() }
    }

    fn sql(&self, days: DayRange) -> String {
        let types: BTreeSet<String> =
            self.compiled.iter().map(|compiled| literal(&compiled.reading.event_type)).collect();
        let dimensions = PLAIN;
        let plain = dimensions.iter().map(column);
        let labels = self.labels.iter().enumerate().map(|(at, label)| format!("{} AS l{at}", column(label)));
        format!(
            "SELECT event_date, \"time\", source, id, \"type\", {}, data FROM usage_events \
             WHERE event_date >= DATE '{}' AND event_date <= DATE '{}' AND \"type\" IN ({})",
            plain.chain(labels).collect::<Vec<_>>().join(", "),
            days.from(),
            days.to(),
            types.into_iter().collect::<Vec<_>>().join(", "),
        )
    }

    fn read(&mut self, rows: &Rows<'_>) -> Result<(), EngineError> {
        let (days, times) = (rows.days("event_date")?, rows.instants("time")?);
        let (sources, ids) = (rows.texts("source")?, rows.texts("id")?);
        let (types, data) = (rows.texts("type")?, rows.texts("data")?);
        let dimensions_of_all = PLAIN;
        let plain = dimensions_of_all
            .iter()
            .map(|dimension| rows.texts(&dimension.to_string()))
            .collect::<Result<Vec<_>, _>>()?;
        let labels = (0..self.labels.len()).map(|at| rows.texts(&format!("l{at}"))).collect::<Result<Vec<_>, _>>()?;
        for (row, day) in days.into_iter().enumerate() {
            let text = |column: &[Option<Arc<str>>]| column[row].clone().unwrap_or_default();
            let (source, id, kind) = (text(&sources), text(&ids), text(&types));
            let mut dimensions = Dimensions::default();
            for (dimension, column) in dimensions_of_all.iter().zip(&plain).chain(self.labels.iter().zip(&labels)) {
                dimensions.set(dimension, column[row].clone());
            }
            let tenant = dimensions.get(&Dimension::Tenant).cloned().unwrap_or_default();
            let Some(time) = times[row].filter(|_| !self.gone.has(&tenant, &source, &id)) else { continue };
            let next = self.known.len();
            let who = *self.known.entry(dimensions).or_insert(next);
            let data = data[row].as_deref().and_then(|data| serde_json::from_str(data).ok()).unwrap_or(Value::Null);
            let range = self.range;
            for compiled in self.compiled.iter_mut().filter(|compiled| *compiled.reading.event_type == *kind) {
                let is_cost = compiled.reading.value.is_cost();
                if is_cost && !range.contains(day) {
                    continue;
                }
                let key = compiled.key.as_ref().and_then(|path| scalar(path, &data)).map(Arc::from);
                let value = compiled.value.as_ref().and_then(|path| scalar(path, &data));
                let value = value.and_then(|text| compiled.reading.value.number(&text));
                let name = is_cost.then(|| format!("{tenant} {source} {id}").into());
                compiled.found.push(Found { time, key, value, who, name });
            }
        }
        Ok(())
    }

    fn finish(self) -> WindowEvents {
        let mut dimensions: Vec<(usize, Dimensions)> = self.known.into_iter().map(|(own, who)| (who, own)).collect();
        dimensions.sort_unstable_by_key(|(who, _)| *who);
        let in_order = |compiled: Compiled| {
            let mut found = compiled.found;
            found.sort_by(|left, right| (left.time, &left.name).cmp(&(right.time, &right.name)));
            (compiled.reading, found)
        };
        WindowEvents {
            found: self.compiled.into_iter().map(in_order).collect(),
            dimensions: dimensions.into_iter().map(|(_, own)| own).collect(),
        }
    }
}

/// The text of the one scalar that the path finds; empty text is none.
fn scalar(path: &JsonPath, data: &Value) -> Option<String> {
    let text = match path.query(data).exactly_one().ok()? {
        Value::String(text) => text.clone(),
        Value::Number(number) => number.to_string(),
        Value::Bool(flag) => flag.to_string(),
        Value::Null | Value::Array(_) | Value::Object(_) => return None,
    };
    Some(text).filter(|text| !text.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_scalar_is_a_key_or_a_number_and_nothing_else_is() {
        let read = |path: &str, data: &str| {
            scalar(&JsonPath::parse(path).expect("a path"), &serde_json::from_str(data).expect("JSON"))
        };
        let data = r#"{"id":"g","n":0.1000000000000000000001,"deep":{"id":7},"all":[1,2],"none":null,"empty":""}"#;
        for (path, expected) in [
            ("$.id", Some("g")),
            ("$.n", Some("0.1000000000000000000001")),
            ("$.deep.id", Some("7")),
            ("$.deep", None),
            ("$.all[*]", None),
            ("$.none", None),
            ("$.empty", None),
            ("$.missing", None),
        ] {
            assert_eq!(read(path, data).as_deref(), expected, "{path}");
        }
    }

    #[test]
    fn windows_reach_into_the_days_after_the_cost() {
        let day = |text: &str| text.parse::<Day>().expect("a day");
        let settings = Settings { zone: "Europe/Berlin".parse().expect("a zone"), ..Settings::default() };
        let reached_to = |window: &str| {
            let text = format!(
                "version='v'\nvalid_from=2026-01-01\n[[pool]]\nname='a'\nsource={{event_type='c',cost='$.c',currency='USD'}}\n\
                 split={{method='window',event_type='r',window='{window}'}}"
            );
            let policy = Policy::read("p", &text).expect("a valid policy");
            reach(&policy, day("2026-10-24"), &settings).expect("it has windows").to().to_string()
        };
        // The 25th has 25 hours, so that many from its midnight do not reach the 26th; an event ends a window after 24
        // hours at the latest.
        let windows = ["1s", "1h", "24h", "25h", "26h", "until:cooled"];
        let expected = ["2026-10-25", "2026-10-25", "2026-10-25", "2026-10-25", "2026-10-26", "2026-10-25"];
        assert_eq!(windows.map(reached_to), expected);
    }
}
