use super::error::Cause;
use domain::Instant;
use std::collections::BTreeMap;
use std::sync::Mutex;

/// What the exporter shows of one collector. Counts begin with the process.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CollectorFigures {
    /// `cost_collector_errors_total{collector,cause}`, every cause, also those that never happened.
    pub errors: BTreeMap<Cause, u64>,
    /// `apportion_collector_duration_seconds{collector}`: how long the last collection took, in microseconds.
    pub duration_micros: Option<i64>,
    /// `apportion_collector_last_success_timestamp_seconds{collector}`, also of a process before this one.
    pub last_success_at: Option<Instant>,
}

/// The figures of all collectors of this process, by name of the source.
#[derive(Debug, Default)]
pub struct Figures(Mutex<BTreeMap<String, CollectorFigures>>);

impl Figures {
    /// Returns figures in which every collector stands with all of its errors at 0, so that the first one is a rise.
    #[must_use]
    pub fn of(collectors: impl IntoIterator<Item = String>) -> Self {
        let zero = || CollectorFigures {
            errors: Cause::ALL.into_iter().map(|cause| (cause, 0)).collect(),
            ..CollectorFigures::default()
        };
        Self(Mutex::new(collectors.into_iter().map(|name| (name, zero())).collect()))
    }

    /// Returns the figures as they are now, by name of the source.
    #[must_use]
    pub fn now(&self) -> BTreeMap<String, CollectorFigures> {
        self.with(|figures| figures.clone())
    }

    pub(crate) fn failed(&self, collector: &str, cause: Cause) {
        self.with(|figures| *figures.entry(collector.to_owned()).or_default().errors.entry(cause).or_default() += 1);
    }

    pub(crate) fn took(&self, collector: &str, duration_micros: i64) {
        self.with(|figures| figures.entry(collector.to_owned()).or_default().duration_micros = Some(duration_micros));
    }

    pub(super) fn succeeded(&self, collector: &str, at: Instant) {
        self.with(|figures| figures.entry(collector.to_owned()).or_default().last_success_at = Some(at));
    }

    fn with<T>(&self, work: impl FnOnce(&mut BTreeMap<String, CollectorFigures>) -> T) -> T {
        // A count is whole at any time, so one of a thread that died is as good as any.
        work(&mut self.0.lock().unwrap_or_else(std::sync::PoisonError::into_inner))
    }
}
