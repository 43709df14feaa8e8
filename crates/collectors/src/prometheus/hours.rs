use domain::Instant;
use domain::time::MICROS_PER_SECOND;

/// Most points of a series that a server answers at once.
pub const POINTS_MAX: i64 = 11_000;
/// Microseconds in an hour.
const HOUR: i64 = 3600 * MICROS_PER_SECOND;

/// Returns the start of the whole hour of UTC that holds the instant.
#[must_use]
pub fn hour_of(instant: Instant) -> Instant {
    Instant::from_micros(instant.micros().div_euclid(HOUR) * HOUR)
}

/// Whole hours of UTC, at least one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HourSpan {
    start: Instant,
    end: Instant,
}

impl HourSpan {
    /// Returns the hours between two instants, both cut to whole hours; `None` if there is none.
    #[must_use]
    pub fn new(start: Instant, end: Instant) -> Option<Self> {
        let (start, end) = (hour_of(start), hour_of(end));
        (start < end).then_some(Self { start, end })
    }

    /// Returns so many hours that end at the instant, cut to a whole hour.
    #[must_use]
    pub fn before(end: Instant, hours: i64) -> Option<Self> {
        Self::new(hour_of(end).plus_micros(-hours.max(0).saturating_mul(HOUR)), end)
    }

    /// Returns when the first hour begins.
    #[must_use]
    pub fn start(&self) -> Instant {
        self.start
    }

    /// Returns when the last hour ends.
    #[must_use]
    pub fn end(&self) -> Instant {
        self.end
    }

    /// Returns when the first hour ends: the time of its value.
    #[must_use]
    pub fn first_end(&self) -> Instant {
        self.start.plus_micros(HOUR)
    }

    /// Returns how many hours there are.
    #[must_use]
    pub fn hours(&self) -> i64 {
        (self.end.micros() - self.start.micros()) / HOUR
    }

    /// Returns the same hours in pieces of at most `hours_max`, oldest first.
    pub fn pieces(self, hours_max: i64) -> impl Iterator<Item = Self> {
        let step = hours_max.max(1).saturating_mul(HOUR);
        let mut start = self.start;
        std::iter::from_fn(move || {
            let end = start.plus_micros(step).min(self.end);
            let piece = Self::new(start, end)?;
            start = end;
            Some(piece)
        })
    }

    /// Returns the start of the hour that ends at this second of the epoch, if it is one of these.
    pub(super) fn hour_that_ends_at(&self, seconds: i128) -> Option<Instant> {
        let micros = i64::try_from(seconds).ok()?.checked_mul(MICROS_PER_SECOND)?;
        let is_one = micros % HOUR == 0 && self.start.micros() < micros && micros <= self.end.micros();
        is_one.then(|| Instant::from_micros(micros - HOUR))
    }
}

/// Returns the second of the epoch.
pub(super) fn seconds_of(instant: Instant) -> i64 {
    instant.micros().div_euclid(MICROS_PER_SECOND)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> Instant {
        text.parse().expect("an instant")
    }

    #[test]
    fn spans_are_whole_hours_or_nothing() {
        let span = HourSpan::new(at("2026-11-20T10:59:59Z"), at("2026-11-20T12:30:00Z")).expect("two hours");
        assert_eq!(
            (span.hours(), span.start(), span.end()),
            (2, at("2026-11-20T10:00:00Z"), at("2026-11-20T12:00:00Z"))
        );
        assert_eq!(HourSpan::new(at("2026-11-20T10:00:00Z"), at("2026-11-20T10:59:59Z")), None);
        assert_eq!(
            HourSpan::before(at("2026-11-20T10:12:00Z"), 3).map(|span| span.start()),
            Some(at("2026-11-20T07:00:00Z"))
        );
        assert_eq!(HourSpan::before(at("2026-11-20T10:12:00Z"), 0), None);
    }

    #[test]
    fn pieces_are_bounded_and_leave_nothing_out() {
        let span = HourSpan::before(at("2026-11-20T00:00:00Z"), 25_000).expect("hours");
        let pieces: Vec<HourSpan> = span.pieces(POINTS_MAX).collect();
        assert_eq!(pieces.iter().map(HourSpan::hours).collect::<Vec<_>>(), [11_000, 11_000, 3_000]);
        assert!(pieces.windows(2).all(|pair| pair[0].end() == pair[1].start()));
        assert_eq!((pieces[0].start(), pieces[2].end()), (span.start(), span.end()));
    }

    #[test]
    fn a_value_describes_the_hour_that_ends_at_its_time() {
        let span = HourSpan::new(at("2026-11-20T10:00:00Z"), at("2026-11-20T12:00:00Z")).expect("two hours");
        let ends = |text: &str| span.hour_that_ends_at(i128::from(seconds_of(at(text))));
        assert_eq!(ends("2026-11-20T11:00:00Z"), Some(at("2026-11-20T10:00:00Z")));
        assert_eq!(ends("2026-11-20T12:00:00Z"), Some(at("2026-11-20T11:00:00Z")));
        for other in ["2026-11-20T10:00:00Z", "2026-11-20T11:30:00Z", "2026-11-20T13:00:00Z"] {
            assert_eq!(ends(other), None, "{other}");
        }
        assert_eq!(span.hour_that_ends_at(i128::MAX), None);
    }
}
