use domain::{Day, DayRange, Instant, InstantRange, Zone};

/// Latest day of a month on which billing periods may begin by configuration: every month has it.
pub const BILLING_DAY_MAX: u8 = 28;

/// One billing period of a provider, by days of the provider's own zone.
#[derive(Clone, Debug)]
pub struct BillingPeriod {
    days: DayRange,
    closed: Option<DayRange>,
    zone: Zone,
    is_inferred: bool,
}

impl BillingPeriod {
    /// Returns the period that contains a day, if periods begin on the given day of each month (on its last day where it
    /// has fewer). Days that are over at `now` are closed.
    #[must_use]
    pub fn containing(day: Day, billing_day: u8, zone: &Zone, now: Instant) -> Self {
        let month = day.month();
        let this = first_day(month, billing_day);
        let first = if day < this { first_day(month.previous(), billing_day) } else { this };
        let next = first_day(first.month().next(), billing_day);
        let days = DayRange::new(first, next.plus(-1)).expect("a period begins before the next one");
        let yesterday = zone.day_of(now).plus(-1);
        Self { days, closed: DayRange::new(first, yesterday.min(days.to())), zone: zone.clone(), is_inferred: false }
    }

    /// Returns the same period, noted as one whose beginning nobody told, or as one that somebody did.
    #[must_use]
    pub fn inferred(self, is_inferred: bool) -> Self {
        Self { is_inferred, ..self }
    }

    /// Returns whether it begins with a month only because nobody told when it begins.
    #[must_use]
    pub fn is_inferred(&self) -> bool {
        self.is_inferred
    }

    /// Returns the period before.
    #[must_use]
    pub fn previous(&self, billing_day: u8, now: Instant) -> Self {
        Self::containing(self.days.from().plus(-1), billing_day, &self.zone, now)
    }

    /// Returns its days.
    #[must_use]
    pub fn days(&self) -> DayRange {
        self.days
    }

    /// Returns its days that are over; none on its first day.
    #[must_use]
    pub fn closed(&self) -> Option<DayRange> {
        self.closed
    }

    /// Returns whether all of its days are over.
    #[must_use]
    pub fn is_over(&self) -> bool {
        self.closed.is_some_and(|closed| closed.to() == self.days.to())
    }

    /// Returns its instants: from midnight to midnight in the provider's zone.
    #[must_use]
    pub fn range(&self) -> InstantRange {
        InstantRange { start: self.zone.start_of(self.days.from()), end: self.zone.start_of(self.days.to().plus(1)) }
    }

    /// Returns the instants of its days that are over.
    #[must_use]
    pub fn closed_range(&self) -> Option<InstantRange> {
        let closed = self.closed?;
        Some(InstantRange { start: self.zone.start_of(closed.from()), end: self.zone.start_of(closed.to().plus(1)) })
    }

    /// Returns the provider's zone.
    #[must_use]
    pub fn zone(&self) -> &Zone {
        &self.zone
    }

    /// Returns how the lake names it: `YYYY-MM`, or the first day if it does not begin with a month.
    #[must_use]
    pub fn name(&self) -> String {
        let first = self.days.from();
        if first == first.month().first_day() { first.month().to_string() } else { first.to_string() }
    }

    /// Returns BillingPeriodStart: never before the first day begins in UTC, because that day names the period in the lake.
    pub(super) fn billing_start(&self) -> Instant {
        self.range().start.max(Zone::utc().start_of(self.days.from()))
    }
}

fn first_day(month: domain::Month, billing_day: u8) -> Day {
    let days = i32::from(billing_day.max(1)).min(month.days());
    month.first_day().plus(days - 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(day: &str, billing_day: u8, zone: &str, now: &str, expected: &str) {
        let zone: Zone = zone.parse().expect("a zone");
        let now = now.parse().expect("an instant");
        let period = BillingPeriod::containing(day.parse().expect("a day"), billing_day, &zone, now);
        let closed = period.closed().map_or_else(|| "nothing".to_owned(), |closed| closed.to().to_string());
        let range = period.range();
        assert_eq!(format!("{} {} {} {closed}", period.name(), range.start, range.end), expected, "{day} {now}");
    }

    #[test]
    fn a_period_is_a_month_or_begins_on_a_day_of_it() {
        check(
            "2026-11-20",
            1,
            "UTC",
            "2026-11-20T05:00:00Z",
            "2026-11 2026-11-01T00:00:00Z 2026-12-01T00:00:00Z 2026-11-19",
        );
        check(
            "2026-11-20",
            1,
            "America/Los_Angeles",
            "2026-11-20T05:00:00Z",
            "2026-11 2026-11-01T07:00:00Z 2026-12-01T08:00:00Z 2026-11-18",
        );
        check(
            "2026-11-04",
            5,
            "UTC",
            "2026-11-04T00:00:00Z",
            "2026-10-05 2026-10-05T00:00:00Z 2026-11-05T00:00:00Z 2026-11-03",
        );
        check(
            "2026-02-28",
            31,
            "UTC",
            "2026-02-28T12:00:00Z",
            "2026-02-28 2026-02-28T00:00:00Z 2026-03-31T00:00:00Z nothing",
        );
        check(
            "2026-01-15",
            1,
            "UTC",
            "2026-11-01T00:00:00Z",
            "2026-01 2026-01-01T00:00:00Z 2026-02-01T00:00:00Z 2026-01-31",
        );
    }

    #[test]
    fn periods_follow_each_other_without_a_gap() {
        let zone = Zone::utc();
        let now = "2026-11-20T00:00:00Z".parse().expect("an instant");
        for billing_day in [1, 5, 28, 31] {
            let mut period = BillingPeriod::containing(zone.day_of(now), billing_day, &zone, now);
            for _ in 0..30 {
                let before = period.previous(billing_day, now);
                assert_eq!(before.days().to().plus(1), period.days().from(), "day {billing_day}");
                assert!(before.is_over());
                period = before;
            }
        }
    }

    #[test]
    fn a_zone_east_of_utc_keeps_its_periods_in_their_month() {
        let zone: Zone = "Europe/Paris".parse().expect("a zone");
        let now = "2026-11-20T00:00:00Z".parse().expect("an instant");
        let period = BillingPeriod::containing(zone.day_of(now), 1, &zone, now);
        assert_eq!(period.range().start.to_string(), "2026-10-31T23:00:00Z");
        assert_eq!(period.billing_start().to_string(), "2026-11-01T00:00:00Z");
    }
}
