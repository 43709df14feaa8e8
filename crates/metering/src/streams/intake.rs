//! From points to events. A cumulative reading counts what it adds to the one counted last, whatever happens in between:
//!
//! 1. The readings are compared with what was counted last, and the events prepared. Only one push does this at a time.
//! 2. The rows of the streams are written: the new reading with its event's id, and the reading before it.
//! 3. The events are appended.
//!
//! After a crash between 2 and 3 the index does not have the event, so the reading before it counts; after 3 it has. What
//! is held in memory is forgotten in 1 and put back after 3, so that any failure leads back to the rows.

use super::delta::{Reading, Step, step};
use super::event_text::Draft;
use super::map::{Binding, MetricMap};
use super::memory::{Held, Memory, StreamKey};
use super::point::{Point, PointKind, Refused, Series};
use crate::error::MeteringError;
use crate::ids::IdsError;
use crate::live::{Decision, EventLog, Offered, PreparedEvent, Preparer};
use crate::refusal::{Refusal, RefusalCode};
use domain::meter::MeterKind;
use domain::time::MICROS_PER_SECOND;
use domain::{Instant, Quantity};
use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use storage::catalog::{Catalog, MetricStreamRow};
use storage::failpoint;
use tokio::sync::{Mutex, OwnedMutexGuard};

/// Bytes of events appended at a time; half of what the log takes at once.
const APPEND_BYTES_MAX: usize = 4 << 20;
const DAY_MICROS: i64 = 86_400 * MICROS_PER_SECOND;
const NANOS_PER_MICRO: i64 = 1_000;
/// A stream that was not seen for so long is forgotten. Longer than a year, so that what runs once a year is known.
const KEPT_MICROS: i64 = 400 * DAY_MICROS;
/// A stream that does not grow is noted as seen after so long: often enough to be kept, too seldom to cost anything.
const SEEN_MICROS: i64 = 30 * DAY_MICROS;

/// The streams of one catalog. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Streams {
    catalog: Catalog,
    memory: Arc<Mutex<Memory>>,
}

/// A push that is prepared and not stored. Dropped, it changes nothing.
#[derive(Debug)]
pub struct Intake {
    catalog: Catalog,
    /// Held while cumulative readings are under way.
    memory: Option<OwnedMutexGuard<Memory>>,
    plan: Plan,
}

/// What became of the points of a push.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Outcome {
    /// Points that became events.
    pub accepted: u64,
    /// Points that say nothing new.
    pub duplicates: u64,
    /// Points that cannot be counted.
    pub refused: Refused,
}

impl Streams {
    /// Returns the streams of a catalog, so many of which are held in memory at most.
    #[must_use]
    pub fn new(catalog: Catalog, held_max: usize) -> Self {
        Self { catalog, memory: Arc::new(Mutex::new(Memory::new(held_max))) }
    }

    /// Returns the push, ready to be stored. Until it is stored or dropped, other cumulative pushes wait.
    ///
    /// # Errors
    /// If the catalog or the index of ids cannot be read; a point that cannot be counted is no error.
    pub async fn prepare(
        &self,
        points: Vec<Point>,
        map: &MetricMap,
        mut preparer: Preparer,
    ) -> Result<Intake, MeteringError> {
        let sorted = Sorted::of(points, map, &preparer);
        let (mut memory, mut lasts) = (None, HashMap::new());
        if !sorted.streams.is_empty() {
            let mut held = Arc::clone(&self.memory).lock_owned().await;
            for key in sorted.streams.keys() {
                if let Some(last) = self.last(&mut held, key).await? {
                    lasts.insert(*key, last);
                }
            }
            memory = Some(held);
        }
        let plan = tokio::task::spawn_blocking(move || Plan::of(sorted, &lasts, &mut preparer)).await??;
        Ok(Intake { catalog: self.catalog.clone(), memory, plan })
    }

    /// Forgets streams that were not seen for 400 days; returns how many.
    ///
    /// One that comes back all the same began before that, so its first reading is a baseline and counts nothing twice.
    ///
    /// # Errors
    /// If the catalog fails.
    pub async fn forget_unseen(&self, now: Instant) -> Result<u64, MeteringError> {
        Ok(self.catalog.forget_metric_streams_all_tenants(now.micros() - KEPT_MICROS).await?)
    }

    async fn last(&self, memory: &mut Memory, key: &StreamKey) -> Result<Option<Last>, MeteringError> {
        if let Some(held) = memory.take(key) {
            return Ok(Some(Last::Held(held)));
        }
        let row = self.catalog.metric_stream_all_tenants(&hex::encode(key)).await?;
        Ok(row.map(|row| Last::Stored(Box::new(row))))
    }
}

impl Intake {
    /// Returns the tenant of each event that would be stored.
    pub fn tenants(&self) -> impl Iterator<Item = &Arc<str>> {
        self.plan.events.iter().map(|planned| planned.event.tenant())
    }

    /// Returns what became of the points, once the accepted ones are on stable storage and visible.
    ///
    /// # Errors
    /// If the catalog or the log takes nothing; the push may then be sent again.
    pub async fn store(mut self, log: &EventLog) -> Result<Outcome, MeteringError> {
        self.write_rows().await?;
        failpoint::hit("metric-streams-written");
        let outcome = self.append(log).await?;
        failpoint::hit("metric-events-appended");
        self.remember();
        Ok(outcome)
    }

    pub(super) async fn write_rows(&self) -> Result<(), MeteringError> {
        if !self.plan.seen.is_empty() {
            self.catalog.touch_metric_streams(&self.plan.seen, self.plan.at).await?;
        }
        match self.plan.rows.as_slice() {
            [] => Ok(()),
            rows => Ok(self.catalog.put_metric_streams(rows).await?),
        }
    }

    pub(super) async fn append(&mut self, log: &EventLog) -> Result<Outcome, MeteringError> {
        let mut outcome =
            Outcome { accepted: 0, duplicates: self.plan.duplicates, refused: std::mem::take(&mut self.plan.refused) };
        let mut waiting = std::mem::take(&mut self.plan.events).into_iter().peekable();
        while waiting.peek().is_some() {
            let (mut events, mut kinds, mut bytes) = (Vec::new(), Vec::new(), 0);
            while let Some(Planned { event, source, is_cumulative, .. }) = waiting
                .next_if(|next| bytes == 0 || next.joins_last || bytes + next.event.record.len() <= APPEND_BYTES_MAX)
            {
                bytes += event.record.len();
                kinds.push((is_cumulative, source));
                events.push(event);
            }
            for (decision, (is_cumulative, source)) in log.append(events, false).await?.into_iter().zip(kinds) {
                match decision {
                    Decision::Accepted => outcome.accepted += 1,
                    Decision::Conflict | Decision::NotStored if !is_cumulative => {
                        let reason = format!(
                            "{}: another value for the same time came before: {source}",
                            RefusalCode::IdConflict
                        );
                        outcome.refused.add(1, reason);
                    }
                    Decision::Duplicate | Decision::Conflict | Decision::NotStored => outcome.duplicates += 1,
                }
            }
        }
        Ok(outcome)
    }

    fn remember(&mut self) {
        if let Some(memory) = &mut self.memory {
            self.plan.lasts.drain(..).for_each(|(key, held)| memory.put(key, held));
        }
    }
}

/// What was counted last of a stream.
#[derive(Debug)]
enum Last {
    Held(Held),
    Stored(Box<MetricStreamRow>),
}

impl Last {
    fn noted_at(&self) -> i64 {
        match self {
            Self::Held(held) => held.noted_at,
            Self::Stored(row) => row.updated_at,
        }
    }

    fn reading(&self, preparer: &Preparer) -> Result<Option<Reading>, MeteringError> {
        let row = match self {
            Self::Held(held) => return Ok(Some(held.reading)),
            Self::Stored(row) => row,
        };
        let read = |start_nanos, at_nanos, value: &str| {
            let value = value.parse::<Quantity>().map_err(|error| MeteringError::Damaged {
                what: format!("the metric stream {}", row.stream),
                problem: error.to_string(),
            })?;
            Ok(Some(Reading { start_nanos, at_nanos, value }))
        };
        if preparer.has_id(&row.tenant, &row.source, &row.event_id)? {
            return read(row.current_start, row.current_at, &row.current_value);
        }
        match (row.previous_at, &row.previous_value) {
            (Some(at), Some(value)) => read(row.previous_start, at, value),
            _ => Ok(None),
        }
    }
}

/// What points of one series have in common.
#[derive(Debug)]
struct Subject {
    series: Arc<Series>,
    source: Arc<str>,
    tenant: Option<String>,
    binding: Arc<Binding>,
}

impl Subject {
    /// The stream: its source, and the tenant that an attribute or the token names.
    fn key(&self, preparer: &Preparer) -> StreamKey {
        let token = preparer.only_tenant().map(|tenant| tenant.shared());
        let tenant = self.tenant.as_deref().or(token.as_deref()).unwrap_or_default();
        let len = (tenant.len() as u64).to_be_bytes();
        blake3::hash(&[&len, tenant.as_bytes(), self.source.as_bytes()].concat()).into()
    }
}

/// The points of a push by what is done with them.
#[derive(Debug, Default)]
struct Sorted {
    /// Deltas and levels: each stands for itself.
    plain: Vec<(Arc<Subject>, Point)>,
    streams: BTreeMap<StreamKey, (Arc<Subject>, Vec<Reading>)>,
    refused: Refused,
}

impl Sorted {
    fn of(points: Vec<Point>, map: &MetricMap, preparer: &Preparer) -> Self {
        let mut sorted = Self::default();
        let mut bindings: HashMap<String, Result<Arc<Binding>, String>> = HashMap::new();
        let mut last: Option<Arc<Subject>> = None;
        for point in points {
            let metric = &point.series.metric;
            let Some(rule) = map.get(metric) else { continue };
            let binding = bindings
                .entry(metric.clone())
                .or_insert_with(|| Binding::new(rule, preparer.setup.meters.find(&rule.meter)).map(Arc::new));
            let subject = match (last.take(), &*binding) {
                (Some(last), _) if Arc::ptr_eq(&last.series, &point.series) => last,
                (_, Ok(binding)) => Arc::new(Subject {
                    source: point.series.source().into(),
                    tenant: rule.tenant.iter().find_map(|name| point.series.find(name)),
                    series: Arc::clone(&point.series),
                    binding: Arc::clone(binding),
                }),
                (_, Err(problem)) => {
                    sorted.refused.add(1, format!("metric `{metric}`: {problem}"));
                    continue;
                }
            };
            if let Err(problem) = sorted.take(&subject, point, preparer) {
                sorted.refused.add(1, format!("metric `{}`: {problem}", subject.series.metric));
            }
            last = Some(subject);
        }
        sorted
    }

    fn take(&mut self, subject: &Arc<Subject>, point: Point, preparer: &Preparer) -> Result<(), String> {
        let meter = &subject.binding.rule.meter;
        match (point.kind, subject.binding.kind) {
            (PointKind::Delta, MeterKind::Counter)
            | (PointKind::Gauge, MeterKind::Gauge)
            | (PointKind::Unsaid, MeterKind::Gauge) => {
                self.plain.push((Arc::clone(subject), point));
                Ok(())
            }
            (PointKind::Cumulative | PointKind::Unsaid, MeterKind::Counter) => {
                let value = quantity_of(&point.value)?;
                let reading = Reading { start_nanos: point.start_nanos, at_nanos: point.at_nanos, value };
                let new = || (Arc::clone(subject), Vec::new());
                self.streams.entry(subject.key(preparer)).or_insert_with(new).1.push(reading);
                Ok(())
            }
            (PointKind::Gauge, MeterKind::Counter) => {
                Err(format!("it is a level, but meter `{meter}` is a counter; say kind = \"counter\" if it only grows"))
            }
            (PointKind::Cumulative, MeterKind::Gauge) => Err(format!(
                "it is a counter, but meter `{meter}` is a gauge; say kind = \"gauge\" to take it as a level"
            )),
            (PointKind::Delta, MeterKind::Gauge) => {
                Err(format!("it says changes, but meter `{meter}` is a gauge; send it cumulative"))
            }
        }
    }
}

fn quantity_of(value: &str) -> Result<Quantity, String> {
    value.parse().map_err(|error| format!("{}: {error}", RefusalCode::OutOfBound))
}

/// An event that a push would append.
#[derive(Debug)]
struct Planned {
    event: PreparedEvent,
    source: Arc<str>,
    is_cumulative: bool,
    /// Whether it is of the stream of the one before. The events of a stream are appended together: which reading counts
    /// last is told by the newest one alone.
    joins_last: bool,
}

/// What a push would store.
#[derive(Debug, Default)]
struct Plan {
    events: Vec<Planned>,
    rows: Vec<MetricStreamRow>,
    /// Streams that do not grow and are to be noted as seen.
    seen: Vec<String>,
    /// The time of the push, in microseconds.
    at: i64,
    /// What counts last once the push is stored.
    lasts: Vec<(StreamKey, Held)>,
    duplicates: u64,
    refused: Refused,
}

impl Plan {
    fn of(sorted: Sorted, lasts: &HashMap<StreamKey, Last>, preparer: &mut Preparer) -> Result<Self, MeteringError> {
        let mut plan = Self { refused: sorted.refused, at: preparer.now.micros(), ..Self::default() };
        for (subject, point) in sorted.plain {
            plan.take_plain(&subject, &point, preparer)?;
        }
        for (key, (subject, mut readings)) in sorted.streams {
            let last = lasts.get(&key);
            let noted_at = last.map_or(plan.at, Last::noted_at);
            let last = last.map(|last| last.reading(preparer)).transpose()?.flatten();
            readings.sort_by_key(|reading| (reading.start_nanos, reading.at_nanos));
            plan.take_stream((key, &*subject), (last, noted_at), &readings, preparer)?;
        }
        Ok(plan)
    }

    fn take_plain(&mut self, subject: &Subject, point: &Point, preparer: &mut Preparer) -> Result<(), IdsError> {
        let quantity = quantity_of(&point.value).and_then(|quantity| converted(subject, quantity));
        let quantity = match quantity {
            Ok(quantity) => quantity,
            Err(problem) => {
                self.refuse(subject, &problem);
                return Ok(());
            }
        };
        let text = draft(subject, (point.start_nanos, point.at_nanos), quantity, None).text();
        match preparer.prepare(&text)? {
            Ok(Offered::Prepared(event)) => self.add(subject, event, false),
            Ok(Offered::Known(Decision::Duplicate)) => self.duplicates += 1,
            Ok(Offered::Known(_)) => {
                let refusal = Refusal::new(RefusalCode::IdConflict, "another value for the same time came before");
                self.refuse(subject, &refusal.to_string());
            }
            Err(refusal) => self.refuse(subject, &refusal.to_string()),
        }
        Ok(())
    }

    fn take_stream(
        &mut self,
        (key, subject): (StreamKey, &Subject),
        (before, noted_at): (Option<Reading>, i64),
        readings: &[Reading],
        preparer: &mut Preparer,
    ) -> Result<(), IdsError> {
        let (mut last, mut tenant) = (before, None);
        for reading in readings {
            if let Some(owner) = self.take_reading(subject, last.as_ref(), reading, preparer)? {
                (last, tenant) = (Some(*reading), Some(owner));
            }
        }
        let Some(now) = last else { return Ok(()) };
        let is_stale = noted_at < self.at - SEEN_MICROS;
        if tenant.is_none() && is_stale {
            self.seen.push(hex::encode(key));
        }
        let noted_at = if tenant.is_some() || is_stale { self.at } else { noted_at };
        self.lasts.push((key, Held { reading: now, noted_at }));
        if let Some(tenant) = tenant {
            self.rows.push(MetricStreamRow {
                stream: hex::encode(key),
                tenant: tenant.to_string(),
                source: subject.source.to_string(),
                event_id: now.event_id(),
                current_start: now.start_nanos,
                current_at: now.at_nanos,
                current_value: now.value.to_string(),
                previous_start: before.and_then(|before| before.start_nanos),
                previous_at: before.map(|before| before.at_nanos),
                previous_value: before.map(|before| before.value.to_string()),
                updated_at: preparer.now.micros(),
            });
        }
        Ok(())
    }

    /// Takes one reading; returns the tenant if it is the one that counts last now.
    fn take_reading(
        &mut self,
        subject: &Subject,
        last: Option<&Reading>,
        reading: &Reading,
        preparer: &mut Preparer,
    ) -> Result<Option<Arc<str>>, IdsError> {
        let zero = Quantity::default();
        let (from, is_increase) = match self.step(last, reading) {
            Step::Known => {
                self.duplicates += 1;
                return Ok(None);
            }
            Step::Behind => {
                self.refuse_behind(subject, reading, preparer)?;
                return Ok(None);
            }
            Step::From(value) => (value, true),
            Step::Full => (zero, false),
            Step::Baseline => (reading.value, false),
        };
        let quantity = converted(subject, reading.value).and_then(|cumulative| {
            let added = cumulative.atoms() - converted(subject, from)?.atoms();
            Ok((Quantity::from_atoms(added).ok_or("it is too large")?, cumulative))
        });
        let (quantity, cumulative) = match quantity {
            // Nothing to tell; what is added later counts from the same reading.
            Ok((quantity, _)) if is_increase && quantity == zero => {
                self.duplicates += 1;
                return Ok(None);
            }
            Ok(found) => found,
            Err(problem) => {
                self.refuse(subject, &problem);
                return Ok(None);
            }
        };
        let text = draft(subject, (reading.start_nanos, reading.at_nanos), quantity, Some(cumulative)).text();
        match preparer.prepare(&text)? {
            Ok(Offered::Prepared(event)) => {
                let tenant = Arc::clone(event.tenant());
                // Counted by somebody whose row is lost: what comes next counts from here.
                match preparer.is_taken(&event)? {
                    true => self.duplicates += 1,
                    false => self.add(subject, event, true),
                }
                return Ok(Some(tenant));
            }
            Ok(Offered::Known(_)) => self.duplicates += 1,
            Err(refusal) => self.refuse(subject, &refusal.to_string()),
        }
        Ok(None)
    }

    /// What the reading adds. The row of a stream that began long ago may have been forgotten, whatever it counted.
    fn step(&self, last: Option<&Reading>, reading: &Reading) -> Step {
        // A day less, because the sender's clock may be ahead of this one.
        let known_since = self.at - KEPT_MICROS + DAY_MICROS;
        let began_before = |start: i64| start.div_euclid(NANOS_PER_MICRO) < known_since;
        match step(last, reading) {
            Step::Full if last.is_none() && reading.start_nanos.is_some_and(began_before) => Step::Baseline,
            other => other,
        }
    }

    /// A reading of an earlier life was either counted in time or is lost: it cannot be told what it adds.
    fn refuse_behind(&mut self, subject: &Subject, reading: &Reading, preparer: &Preparer) -> Result<(), IdsError> {
        let token = preparer.only_tenant().map(|tenant| tenant.shared());
        let tenant = subject.tenant.as_deref().or(token.as_deref()).unwrap_or_default();
        if preparer.has_id(tenant, &subject.source, &reading.event_id())? {
            self.duplicates += 1;
        } else {
            let problem = "it began before the reading counted last; two senders may share all attributes";
            self.refuse(subject, problem);
        }
        Ok(())
    }

    fn add(&mut self, subject: &Subject, event: PreparedEvent, is_cumulative: bool) {
        let is_of = |last: &Planned| last.is_cumulative && last.source == subject.source;
        let joins_last = is_cumulative && self.events.last().is_some_and(is_of);
        self.events.push(Planned { event, source: Arc::clone(&subject.source), is_cumulative, joins_last });
    }

    fn refuse(&mut self, subject: &Subject, problem: &str) {
        self.refused.add(1, format!("metric `{}`: {problem}", subject.series.metric));
    }
}

fn converted(subject: &Subject, quantity: Quantity) -> Result<Quantity, String> {
    let converted = subject.binding.convert_rounding(quantity);
    converted.ok_or_else(|| format!("{}: {quantity} is too large", RefusalCode::OutOfBound))
}

fn draft(
    subject: &Subject,
    (start_nanos, at_nanos): (Option<i64>, i64),
    quantity: Quantity,
    cumulative: Option<Quantity>,
) -> Draft<'_> {
    Draft {
        binding: &subject.binding,
        series: &subject.series,
        source: &subject.source,
        tenant: subject.tenant.as_deref(),
        start_nanos,
        at_nanos,
        quantity,
        cumulative,
    }
}
