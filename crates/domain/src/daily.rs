use crate::{Day, Instant, Zone};

/// A time of day at which something is done once a day, by the clock of a zone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Daily {
    minutes: u16,
}

impl Daily {
    /// Returns the time so many minutes after midnight.
    #[must_use]
    pub fn at_minutes(minutes: u16) -> Self {
        Self { minutes }
    }

    /// Returns the moment at which the day's work may begin.
    #[must_use]
    pub fn on(self, zone: &Zone, day: Day) -> Instant {
        zone.at_minutes(day, self.minutes)
    }

    /// Returns the last day whose moment has come.
    #[must_use]
    pub fn last_day(self, zone: &Zone, now: Instant) -> Day {
        let today = zone.day_of(now);
        if self.on(zone, today) <= now { today } else { today.plus(-1) }
    }

    /// Returns the next moment.
    #[must_use]
    pub fn next(self, zone: &Zone, now: Instant) -> Instant {
        self.on(zone, self.last_day(zone, now).plus(1))
    }
}

impl std::fmt::Display for Daily {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(out, "{:02}:{:02}", self.minutes / 60, self.minutes % 60)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Asks at `now` and compares the last day whose moment came and the next moment.
    fn check(zone: &str, minutes: u16, now: &str, last: &str, next: &str) {
        let (zone, now): (Zone, Instant) = (zone.parse().expect("a zone"), now.parse().expect("a time"));
        let daily = Daily::at_minutes(minutes);
        let found = (daily.last_day(&zone, now).to_string(), daily.next(&zone, now).to_string());
        assert_eq!(found, (last.to_owned(), next.to_owned()), "{daily} in {} at {now}", zone.name());
    }

    #[test]
    fn a_day_begins_at_its_time_in_the_organisations_zone() {
        check("UTC", 10, "2026-11-20T00:09:59Z", "2026-11-19", "2026-11-20T00:10:00Z");
        check("UTC", 10, "2026-11-20T00:10:00Z", "2026-11-20", "2026-11-21T00:10:00Z");
        check("Europe/Berlin", 10, "2026-11-19T23:09:00Z", "2026-11-19", "2026-11-19T23:10:00Z");
        check("Europe/Berlin", 10, "2026-11-19T23:10:00Z", "2026-11-20", "2026-11-20T23:10:00Z");
    }

    #[test]
    fn a_time_that_the_clock_skips_or_shows_twice_comes_once() {
        check("Europe/Berlin", 150, "2026-03-29T00:59:00Z", "2026-03-28", "2026-03-29T01:30:00Z");
        check("Europe/Berlin", 150, "2026-10-25T00:30:00Z", "2026-10-25", "2026-10-26T01:30:00Z");
        check("Europe/Berlin", 150, "2026-10-25T01:45:00Z", "2026-10-25", "2026-10-26T01:30:00Z");
    }
}
