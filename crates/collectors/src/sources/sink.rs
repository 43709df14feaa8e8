use super::error::SinkError;
use domain::Instant;
use domain::dimension::Dimension;
use futures::future::BoxFuture;
use std::sync::Arc;

/// What one tenant used of one thing in one hour, as a source tells it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UsagePoint {
    /// Source, query and labels. With the hour and the tenant it is the point's identity.
    pub series: Arc<str>,
    /// The meter that the value is a quantity of.
    pub meter: Arc<str>,
    /// When the hour begins.
    pub hour: Instant,
    /// Decimal text.
    pub value: String,
    /// Who used it, if the series says so.
    pub tenant: Option<Arc<str>>,
    /// In which cluster.
    pub cluster: Option<Arc<str>>,
    /// Further dimensions.
    pub attributes: Arc<[(Dimension, Arc<str>)]>,
}

/// Where points of usage go. Whoever keeps usage stands in the same layer as this crate, so the binary brings them together.
pub trait UsageSink: Send + Sync {
    /// Takes points, each once, however often it comes; returns when those that count are on stable storage.
    ///
    /// # Errors
    /// [`SinkError`]; some of the points may have been taken all the same, and offering them again is safe.
    fn take<'a>(&'a self, points: &'a [UsagePoint]) -> BoxFuture<'a, Result<Taken, SinkError>>;
}

/// What became of points.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Taken {
    /// They count from now on.
    pub accepted: u64,
    /// They came before.
    pub duplicates: u64,
    /// They came before with another value, and that one stays.
    pub changed_later: u64,
    /// They are no usage.
    pub rejected: u64,
    /// The first of those that are no usage.
    pub rejections: Vec<Rejection>,
}

/// Why a point is no usage.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rejection {
    /// Its series.
    pub series: String,
    /// When its hour begins.
    pub hour: Instant,
    /// Stable word.
    pub code: String,
    /// A sentence for people.
    pub detail: String,
}

/// Rejections that are kept of one refresh.
const REJECTIONS_MAX: usize = 20;

impl Taken {
    /// Notes a point that is no usage.
    pub fn reject(&mut self, rejection: Rejection) {
        self.rejected += 1;
        if self.rejections.len() < REJECTIONS_MAX {
            self.rejections.push(rejection);
        }
    }

    /// Adds what became of other points.
    pub(crate) fn add(&mut self, other: Self) {
        self.accepted += other.accepted;
        self.duplicates += other.duplicates;
        self.changed_later += other.changed_later;
        self.rejected += other.rejected;
        self.rejections.extend(other.rejections);
        self.rejections.truncate(REJECTIONS_MAX);
    }
}
