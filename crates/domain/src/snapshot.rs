//! The daily measurement of a tenant: what was read, of which kind, and how well.

use crate::meter::MeterKind;
use crate::{Day, Instant, Quantity};
use std::sync::Arc;

/// Origin of usage that comes from snapshots, as conditions and filters see it.
pub const ORIGIN_SNAPSHOT: &str = "snapshot";
/// How the name of a metric ends that counts the 24 hours before its day.
const DELTA_SUFFIX: &str = "_24h";

/// What the quantity of a metric says.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum SnapshotKind {
    /// A level at the moment at which the snapshot was taken.
    Gauge,
    /// What was counted on the whole day before the snapshot's day.
    Delta24h,
}

impl SnapshotKind {
    /// Returns the kind's word.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Gauge => "gauge",
            Self::Delta24h => "delta_24h",
        }
    }

    /// Returns the kind of this word.
    #[must_use]
    pub fn from_word(word: &str) -> Option<Self> {
        [Self::Gauge, Self::Delta24h].into_iter().find(|kind| kind.as_str() == word)
    }

    /// Returns the kind that usage of such a metric has.
    #[must_use]
    pub const fn meter_kind(self) -> MeterKind {
        match self {
            Self::Gauge => MeterKind::Gauge,
            Self::Delta24h => MeterKind::Counter,
        }
    }

    /// Returns the kind of a metric by its name: as the built-in fields say, else by its ending `_24h`.
    ///
    /// # Example
    /// ```
    /// use domain::snapshot::SnapshotKind;
    /// assert_eq!(SnapshotKind::of_metric("storage_bytes"), SnapshotKind::Gauge);
    /// assert_eq!(SnapshotKind::of_metric("logins_24h"), SnapshotKind::Delta24h);
    /// ```
    #[must_use]
    pub fn of_metric(metric: &str) -> Self {
        let built_in = FIELDS.iter().find(|(name, _)| *name == metric).map(|(_, kind)| *kind);
        built_in.unwrap_or(if metric.ends_with(DELTA_SUFFIX) { Self::Delta24h } else { Self::Gauge })
    }
}

/// The metrics that every snapshot has unless configured otherwise, in the order of the usage CSV.
///
/// Meters of the same names are built in; they carry the units.
///
/// # Source
/// Seed rows S0-03 and S0-04.
pub const FIELDS: [(&str, SnapshotKind); 9] = [
    ("member_count", SnapshotKind::Gauge),
    ("api_call_count_24h", SnapshotKind::Delta24h),
    ("storage_bytes", SnapshotKind::Gauge),
    ("change_count_24h", SnapshotKind::Delta24h),
    ("incident_count_24h", SnapshotKind::Delta24h),
    ("monitored_host_count", SnapshotKind::Gauge),
    ("audit_event_count_24h", SnapshotKind::Delta24h),
    ("webhook_delivery_count_24h", SnapshotKind::Delta24h),
    ("celery_task_count_24h", SnapshotKind::Delta24h),
];

/// How well a metric was measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Quality {
    /// As it should be.
    Ok,
    /// The quantity stands in for one that could not be read, often 0.
    Degraded,
    /// There is no quantity.
    Missing,
}

impl Quality {
    /// Returns the quality's word.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Degraded => "degraded",
            Self::Missing => "missing",
        }
    }

    /// Returns the quality of this word.
    #[must_use]
    pub fn from_word(word: &str) -> Option<Self> {
        [Self::Ok, Self::Degraded, Self::Missing].into_iter().find(|quality| quality.as_str() == word)
    }
}

/// What was found of a metric.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Measured {
    /// This quantity.
    Exactly(Quantity),
    /// This quantity in place of one that could not be read.
    Degraded(Quantity),
    /// Nothing.
    Nothing,
}

impl Measured {
    /// Returns the quantity; none if nothing was found.
    #[must_use]
    pub const fn quantity(self) -> Option<Quantity> {
        match self {
            Self::Exactly(quantity) | Self::Degraded(quantity) => Some(quantity),
            Self::Nothing => None,
        }
    }

    /// Returns how well it was measured.
    #[must_use]
    pub const fn quality(self) -> Quality {
        match self {
            Self::Exactly(_) => Quality::Ok,
            Self::Degraded(_) => Quality::Degraded,
            Self::Nothing => Quality::Missing,
        }
    }

    /// Returns what quantity and quality say together; none where they contradict each other.
    #[must_use]
    pub const fn new(quantity: Option<Quantity>, quality: Quality) -> Option<Self> {
        match (quantity, quality) {
            (Some(quantity), Quality::Ok) => Some(Self::Exactly(quantity)),
            (Some(quantity), Quality::Degraded) => Some(Self::Degraded(quantity)),
            (None, Quality::Missing) => Some(Self::Nothing),
            (Some(_), Quality::Missing) | (None, Quality::Ok | Quality::Degraded) => None,
        }
    }
}

/// One metric of one tenant on one day.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Measurement {
    /// What its quantity says.
    pub kind: SnapshotKind,
    /// What was found.
    pub measured: Measured,
    /// Why it is degraded or missing, for people.
    pub note: Option<Arc<str>>,
}

/// One row of the table `snapshots`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SnapshotRow {
    /// Who measured.
    pub source: Arc<str>,
    /// The day.
    pub snapshot_date: Day,
    /// The tenant, as the source names it. Aliases and merges are applied when it is read.
    pub tenant: Arc<str>,
    /// Name of the metric, which is that of its meter.
    pub metric: Arc<str>,
    /// The measurement.
    pub measurement: Measurement,
    /// When it was taken.
    pub taken_at: Instant,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::meter::builtin;

    #[test]
    fn every_field_has_a_built_in_meter_of_its_kind() {
        let meters = builtin();
        for (name, kind) in FIELDS {
            let meter = meters.iter().find(|meter| meter.name == name).expect("a meter of every field");
            assert_eq!(meter.kind, kind.meter_kind(), "{name}");
            assert_eq!(kind == SnapshotKind::Delta24h, name.ends_with(DELTA_SUFFIX), "{name}");
        }
    }

    #[test]
    fn words_come_back_as_they_went() {
        for kind in [SnapshotKind::Gauge, SnapshotKind::Delta24h] {
            assert_eq!(SnapshotKind::from_word(kind.as_str()), Some(kind));
        }
        for quality in [Quality::Ok, Quality::Degraded, Quality::Missing] {
            assert_eq!(Quality::from_word(quality.as_str()), Some(quality));
        }
        assert_eq!((SnapshotKind::from_word("delta24h"), Quality::from_word("")), (None, None));
    }

    #[test]
    fn a_quantity_is_missing_exactly_where_the_quality_says_so() {
        let one = "1".parse::<Quantity>().ok();
        for quality in [Quality::Ok, Quality::Degraded, Quality::Missing] {
            let quantity = if quality == Quality::Missing { None } else { one };
            let measured = Measured::new(quantity, quality).expect("they agree");
            assert_eq!((measured.quantity(), measured.quality()), (quantity, quality));
            let other = if quantity.is_none() { one } else { None };
            assert_eq!(Measured::new(other, quality), None);
        }
    }
}
