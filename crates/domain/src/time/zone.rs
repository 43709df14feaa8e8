use super::{Day, Instant, InstantRange, MICROS_PER_DAY, MICROS_PER_HOUR, MICROS_PER_SECOND, TimeError};
use jiff::tz::TimeZone;
use std::str::FromStr;
use std::sync::Arc;

/// Times before which a zone's offsets are in its table, from 1970 on: the year 2100.
const TABLE_END_MICROS: i64 = 4_102_444_800 * MICROS_PER_SECOND;

/// The organisation's time zone; it decides where a day begins.
#[derive(Clone, Debug)]
pub struct Zone {
    zone: TimeZone,
    name: String,
    /// From when on which offset holds, both in microseconds, between 1970 and 2100: days and hours of events are asked
    /// for more often than anything else.
    offsets: Arc<[(i64, i64)]>,
    /// Where the clock was set back over midnight (America/St_Johns until 2010): until midnight comes again it shows the
    /// day before, but the day that had begun goes on.
    begun_twice: Arc<[(InstantRange, Day)]>,
}

impl Zone {
    /// Returns UTC.
    #[must_use]
    pub fn utc() -> Self {
        Self::new(TimeZone::UTC, "UTC")
    }

    fn new(zone: TimeZone, name: &str) -> Self {
        let micros = |offset: jiff::tz::Offset| i64::from(offset.seconds()) * MICROS_PER_SECOND;
        let epoch = jiff::Timestamp::UNIX_EPOCH;
        let changes =
            zone.following(epoch).map(|change| (change.timestamp().as_microsecond(), micros(change.offset())));
        let changes = changes.take_while(|(from, _)| *from < TABLE_END_MICROS);
        let offsets: Arc<[(i64, i64)]> = std::iter::once((0, micros(zone.to_offset(epoch)))).chain(changes).collect();
        let begun_twice = offsets.windows(2).filter_map(|pair| begun_twice(pair[0].1, pair[1])).collect();
        Self { zone, name: name.to_owned(), offsets, begun_twice }
    }

    /// The offset at an instant of the table.
    fn offset_at(&self, instant: Instant) -> Option<i64> {
        if !(0..TABLE_END_MICROS).contains(&instant.0) {
            return None;
        }
        let after = self.offsets.partition_point(|(from, _)| *from <= instant.0);
        self.offsets.get(after.checked_sub(1)?).map(|(_, offset)| *offset)
    }

    /// Returns the zone's IANA name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Returns the day in which the instant lies.
    #[must_use]
    pub fn day_of(&self, instant: Instant) -> Day {
        if let Some(offset) = self.offset_at(instant) {
            let days = (instant.0 + offset).div_euclid(MICROS_PER_DAY);
            let shown = Day(i32::try_from(days).expect("days before 2100 are few"));
            return self
                .begun_twice
                .iter()
                .find(|(goes_on, _)| goes_on.contains(instant))
                .map_or(shown, |(_, day)| *day);
        }
        let clamped = instant.0.clamp(-62_135_596_800_000_000, 253_402_207_200_000_000);
        let timestamp = jiff::Timestamp::from_microsecond(clamped).expect("years 1 to 9999 are representable");
        Day::from_date(self.zone.to_datetime(timestamp).date())
    }

    /// Returns the instant at which the day begins.
    #[must_use]
    pub fn start_of(&self, day: Day) -> Instant {
        let start = day.date().to_zoned(self.zone.clone()).expect("days of years 1 to 9999 begin in every zone");
        Instant(start.timestamp().as_microsecond())
    }

    /// Returns the instant at which the clock shows so many minutes after midnight on the day; the first of two, and the
    /// one just as long after the gap if the clock skips it.
    #[must_use]
    pub fn at_minutes(&self, day: Day, minutes: u16) -> Instant {
        let minutes = minutes.min(24 * 60 - 1);
        let (hour, minute) = (i8::try_from(minutes / 60), i8::try_from(minutes % 60));
        let (Ok(hour), Ok(minute)) = (hour, minute) else { unreachable!("a day has 24 hours of 60 minutes") };
        let shown = day.date().at(hour, minute, 0, 0);
        let zoned = shown.to_zoned(self.zone.clone()).expect("times of years 1 to 9999 exist in every zone");
        Instant(zoned.timestamp().as_microsecond())
    }

    /// Returns the instants of the day: 23, 24 or 25 hours.
    #[must_use]
    pub fn day_range(&self, day: Day) -> InstantRange {
        InstantRange { start: self.start_of(day), end: self.start_of(day.plus(1)) }
    }

    /// Returns the instant at which the clock hour of this zone begins that contains `instant`.
    #[must_use]
    pub fn hour_of(&self, instant: Instant) -> Instant {
        let offset = match self.offset_at(instant) {
            Some(offset) => offset,
            None => {
                let Ok(timestamp) = jiff::Timestamp::from_microsecond(instant.0) else { return instant };
                i64::from(self.zone.to_offset(timestamp).seconds()) * MICROS_PER_SECOND
            }
        };
        Instant((instant.0 + offset).div_euclid(MICROS_PER_HOUR) * MICROS_PER_HOUR - offset)
    }
}

/// The day that has begun when a clock with the offset `before` is set back over midnight, and how long it goes on until
/// the clock shows it again.
fn begun_twice(before: i64, (at, after): (i64, i64)) -> Option<(InstantRange, Day)> {
    let (begun, shown) = ((at - 1 + before).div_euclid(MICROS_PER_DAY), (at + after).div_euclid(MICROS_PER_DAY));
    let goes_on = InstantRange { start: Instant(at), end: Instant(begun * MICROS_PER_DAY - after) };
    let day = Day(i32::try_from(begun).expect("days before 2100 are few"));
    (shown < begun).then_some((goes_on, day))
}

impl FromStr for Zone {
    type Err = TimeError;

    fn from_str(name: &str) -> Result<Self, TimeError> {
        let zone = TimeZone::get(name).map_err(|_| TimeError::Zone(name.chars().take(60).collect()))?;
        Ok(Self::new(zone, name))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_day_lasts_23_24_or_25_hours() {
        let berlin: Zone = "Europe/Berlin".parse().expect("a zone");
        let hours = |day: &str| berlin.day_range(day.parse().expect("a day")).seconds() / 3600;
        assert_eq!([hours("2026-03-29"), hours("2026-03-30"), hours("2026-10-25")], [23, 24, 25]);
    }

    #[test]
    fn c4_every_instant_lies_in_exactly_one_day() {
        // Zones that moved their clocks at midnight, by half an hour, twice a year the other way round, or skipped a day.
        let zones = "UTC Europe/Berlin Europe/London Europe/Dublin Europe/Moscow America/New_York America/Sao_Paulo \
                     America/Havana America/St_Johns America/Caracas Asia/Kolkata Asia/Kathmandu Asia/Tehran Asia/Gaza \
                     Asia/Pyongyang Australia/Lord_Howe Africa/Casablanca Pacific/Apia Pacific/Kiritimati Pacific/Chatham";
        let zones: Vec<Zone> = zones.split(' ').map(|name| name.parse().expect("a zone")).collect();
        let (first, last) = ("1970-01-01".parse::<Day>().expect("a day"), "2100-12-31".parse::<Day>().expect("a day"));
        let mut days = 0;
        for zone in &zones {
            let mut end = zone.start_of(first);
            for day in (first.epoch_days()..=last.epoch_days()).map(Day::from_epoch_days) {
                let range = zone.day_range(day);
                assert_eq!(range.start, end, "{} {day} begins where the day before ends", zone.name());
                end = range.end;
                if range.end <= range.start {
                    continue; // A day that the zone skipped altogether (Apia, 2011-12-30).
                }
                let inside = [range.start, Instant((range.start.0 + range.end.0) / 2), Instant(range.end.0 - 1)];
                assert_eq!(inside.map(|instant| zone.day_of(instant)), [day; 3], "{} {day}", zone.name());
                days += 1;
            }
            // Wherever the clock was moved, too, an instant lies within the day that it is said to lie in.
            for (at, _) in zone.offsets.iter().skip(1) {
                for minutes in [-61, -30, -1, 0, 1, 30, 61] {
                    let instant = Instant(at + minutes * 60_000_000);
                    let day = zone.day_of(instant);
                    assert!(zone.day_range(day).contains(instant), "{} {instant} {day}", zone.name());
                }
            }
        }
        println!("C4: {days} days of {} zones from {first} to {last}", zones.len());
        assert_eq!(zones.len(), 20);
    }

    #[test]
    fn the_table_of_offsets_says_what_the_zone_says() {
        let zones =
            ["UTC", "Europe/Berlin", "Asia/Kolkata", "Pacific/Apia", "Australia/Lord_Howe", "Africa/Casablanca"];
        for zone in zones.map(|name| name.parse::<Zone>().expect("a zone")) {
            let check = |micros: i64| {
                let instant = Instant(micros);
                let timestamp = jiff::Timestamp::from_microsecond(micros).expect("a time");
                let offset = i64::from(zone.zone.to_offset(timestamp).seconds()) * MICROS_PER_SECOND;
                assert_eq!(zone.offset_at(instant), Some(offset), "{} {instant}", zone.name());
                let day = Day::from_date(zone.zone.to_datetime(timestamp).date());
                assert_eq!(zone.day_of(instant), day, "{} {instant}", zone.name());
            };
            (0..TABLE_END_MICROS).step_by(70 * 3_599_000_000).for_each(check);
            for (from, _) in zone.offsets.iter().skip(1) {
                [*from - 1, *from, *from + 1].into_iter().for_each(check);
            }
            let outside = [Instant(-1), Instant(TABLE_END_MICROS)].map(|instant| zone.offset_at(instant));
            assert_eq!(outside, [None, None]);
        }
    }
}
