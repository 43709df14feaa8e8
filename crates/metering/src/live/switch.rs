//! The moment at which other meters apply: which events a meter took is a question of when they were received.
//!
//! Invariants:
//! * An event prepared under the old meters was received before the moment, one under the new ones at it or after it:
//!   times of reception are held back while the moment is noted, and lifted to it afterwards.
//! * The moment is in the catalog before an event is metered by the new meters.
//! * After the moment nothing is appended that was received before it. So what a meter did not take is complete.

use super::{EventLog, Inner, Setup};
use crate::error::MeteringError;
use crate::publish::{defining_difference, meter_of_body, to_row_body};
use domain::meter::Meter;
use domain::{Clock, Instant};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use storage::catalog::MeterSpanRow;

/// Times of reception.
pub(super) struct Stamps {
    clock: Arc<dyn Clock>,
    bounds: Mutex<Bounds>,
}

#[derive(Clone, Copy, Debug)]
struct Bounds {
    /// The newest time given.
    newest: i64,
    /// When the meters in force began to apply.
    floor: i64,
    /// Just before other meters apply, while that is noted.
    ceiling: i64,
}

impl Stamps {
    pub fn new(clock: Arc<dyn Clock>) -> Self {
        let bounds = Bounds { newest: i64::MIN, floor: i64::MIN, ceiling: i64::MAX };
        Self { clock, bounds: Mutex::new(bounds) }
    }

    /// Returns the time at which something is received now. Call it while the setup is locked.
    pub fn stamp(&self) -> Instant {
        let mut bounds = self.lock();
        let at = self.clock.now().micros().max(bounds.floor).min(bounds.ceiling);
        bounds.newest = bounds.newest.max(at);
        Instant::from_micros(at)
    }

    /// Refuses what was received before the meters in force applied.
    pub fn check(&self, received_at: Instant) -> Result<(), MeteringError> {
        let is_older = received_at.micros() < self.lock().floor;
        if is_older { Err(MeteringError::MetersChanged) } else { Ok(()) }
    }

    /// Returns the moment at which other meters will apply, after all times given and `noted`; holds back the times.
    fn announce(&self, noted: i64) -> i64 {
        let mut bounds = self.lock();
        let known = bounds.newest.max(bounds.floor).max(noted);
        let at = self.clock.now().micros().max(known.saturating_add(1));
        bounds.ceiling = at - 1;
        at
    }

    fn withdraw(&self) {
        self.lock().ceiling = i64::MAX;
    }

    /// Lets times begin at the moment. Call it while the setup is locked.
    fn begin(&self, at: i64) {
        let mut bounds = self.lock();
        *bounds = Bounds { newest: bounds.newest, floor: bounds.floor.max(at), ceiling: i64::MAX };
    }

    fn lock(&self) -> MutexGuard<'_, Bounds> {
        self.bounds.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The right to replace rules, meters and tenants, one after the other.
pub struct SetUp<'l> {
    inner: &'l Inner,
    _turn: tokio::sync::MutexGuard<'l, ()>,
}

impl EventLog {
    /// Returns the right to set up rules, meters and tenants. Read them while you hold it, so that older ones never
    /// replace newer ones.
    pub async fn setting_up(&self) -> SetUp<'_> {
        SetUp { inner: &self.inner, _turn: self.inner.set_up_turn.lock().await }
    }

    /// Returns what is in force, and the time at which an event that comes now is received.
    #[must_use]
    pub fn in_force(&self) -> (Setup, Instant) {
        let setup = self.inner.setup.read().unwrap_or_else(PoisonError::into_inner);
        (setup.clone(), self.inner.stamps.stamp())
    }
}

impl SetUp<'_> {
    /// Replaces rules, meters and tenants for the events that come from now on.
    ///
    /// # Errors
    /// If the catalog fails; then those before stay in force.
    pub async fn finish(self, setup: Setup) -> Result<(), MeteringError> {
        let inner = self.inner;
        let spans = inner.catalog.meter_spans().await?;
        let noted = spans.iter().flat_map(|span| [Some(span.from_at), span.until_at]).flatten().max();
        let noted = noted.unwrap_or(i64::MIN);
        let change = Change::between(&spans, setup.meters.iter())?;
        if change.is_nothing() {
            inner.replace(setup, noted);
            return Ok(());
        }
        let at = inner.stamps.announce(noted);
        if let Err(error) = inner.catalog.switch_meter_spans(at, &change.ended, &change.begun).await {
            inner.stamps.withdraw();
            return Err(error.into());
        }
        let _nothing_is_appended = inner.gate.write().await;
        inner.replace(setup, at);
        Ok(())
    }
}

impl Inner {
    fn replace(&self, setup: Setup, at: i64) {
        let mut held = self.setup.write().unwrap_or_else(PoisonError::into_inner);
        *held = setup;
        self.stamps.begin(at);
    }
}

/// Which definitions stop and begin to take events.
struct Change {
    ended: Vec<String>,
    begun: Vec<(String, String)>,
}

impl Change {
    fn between<'m>(
        spans: &[MeterSpanRow],
        meters: impl Iterator<Item = &'m Meter> + Clone,
    ) -> Result<Self, MeteringError> {
        let (mut ended, mut staying) = (Vec::new(), Vec::new());
        for span in spans.iter().filter(|span| span.until_at.is_none()) {
            let before = meter_of_body(&span.name, &span.body)?;
            let now = meters.clone().find(|meter| meter.name == span.name);
            match now.filter(|now| defining_difference(&before, now).is_none()) {
                Some(now) => staying.push(&now.name),
                None => ended.push(span.name.clone()),
            }
        }
        let is_new = |meter: &&Meter| !staying.contains(&&meter.name);
        let begun = meters.filter(is_new).map(|meter| (meter.name.clone(), to_row_body(meter))).collect();
        Ok(Self { ended, begun })
    }

    fn is_nothing(&self) -> bool {
        self.ended.is_empty() && self.begun.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use domain::FixedClock;

    #[test]
    fn the_moment_lies_between_what_came_before_and_what_comes_after() {
        let clock = Arc::new(FixedClock::at(Instant::from_micros(100)));
        let stamps = Stamps::new(clock.clone());
        let stamp = || stamps.stamp().micros();
        assert_eq!(stamp(), 100);
        let at = stamps.announce(i64::MIN);
        assert_eq!((at, stamp()), (101, 100));
        clock.set(Instant::from_micros(500));
        assert_eq!(stamp(), 100, "held back while the moment is noted");
        stamps.begin(at);
        assert_eq!(stamp(), 500);
        assert!(stamps.check(Instant::from_micros(100)).is_err() && stamps.check(Instant::from_micros(101)).is_ok());
        clock.set(Instant::from_micros(50));
        assert_eq!(stamp(), 101, "a clock that goes back does not go before the moment");
        assert_eq!(stamps.announce(i64::MIN), 501);
        stamps.withdraw();
        assert_eq!(stamps.announce(900), 901);
    }

    #[test]
    fn only_what_counts_otherwise_begins_and_ends() {
        let meters = domain::meter::builtin();
        let span = |meter: &Meter| MeterSpanRow {
            name: meter.name.clone(),
            from_at: 1,
            until_at: None,
            body: to_row_body(meter),
        };
        let spans: Vec<MeterSpanRow> = meters.iter().map(span).collect();
        assert!(Change::between(&spans, meters.iter()).unwrap().is_nothing());
        let mut others = meters.clone();
        others[0].category = domain::meter::Category::Labor;
        assert!(Change::between(&spans, others.iter()).unwrap().is_nothing());
        others[0].event_type = "other".to_owned();
        let hidden = others.pop().unwrap().name;
        let change = Change::between(&spans, others.iter()).unwrap();
        assert_eq!(change.ended, [others[0].name.clone(), hidden]);
        assert_eq!(change.begun.iter().map(|(name, _)| name).collect::<Vec<_>>(), [&others[0].name]);
    }
}
