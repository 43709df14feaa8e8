//! Instants, days, months, ranges and the organisation's zone.

use jiff::civil::Date;
use jiff::tz::TimeZone;
use std::fmt;
use std::str::FromStr;

/// The organisation's zone: where days and hours begin.
mod zone;

pub use zone::Zone;

/// Microseconds in a second.
pub const MICROS_PER_SECOND: i64 = 1_000_000;
const MICROS_PER_HOUR: i64 = 3600 * MICROS_PER_SECOND;
const MICROS_PER_DAY: i64 = 24 * MICROS_PER_HOUR;

/// A text that is not a time of the wanted kind.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TimeError {
    /// Not a date.
    #[error("`{0}` is not a date; write it as 2026-10-31")]
    Date(String),
    /// Not a month.
    #[error("`{0}` is not a month; write it as 2026-10")]
    Month(String),
    /// Not an instant.
    #[error("`{0}` is not a time; write it as 2026-10-31T23:59:59Z")]
    Instant(String),
    /// Not an IANA zone.
    #[error("`{0}` is not a time zone; use an IANA name such as Europe/Berlin")]
    Zone(String),
}

/// A point in time: microseconds since 1970-01-01T00:00:00Z.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Instant(i64);

impl Instant {
    /// Returns the instant so many microseconds after the epoch.
    #[must_use]
    pub const fn from_micros(micros: i64) -> Self {
        Self(micros)
    }

    /// Returns the microseconds since the epoch.
    #[must_use]
    pub const fn micros(self) -> i64 {
        self.0
    }

    /// Returns the instant `micros` later.
    #[must_use]
    pub const fn plus_micros(self, micros: i64) -> Self {
        Self(self.0.saturating_add(micros))
    }

    /// Returns the instant that `text` spells. A time without a zone is UTC; a bare date is its midnight.
    ///
    /// # Errors
    /// [`TimeError::Instant`] for anything that is neither RFC 3339 nor such a text.
    pub fn parse_lenient(text: &str) -> Result<Self, TimeError> {
        let text = text.trim();
        let text = text.strip_suffix(" UTC").unwrap_or(text);
        if let Ok(timestamp) = text.parse::<jiff::Timestamp>() {
            return Ok(Self(timestamp.as_microsecond()));
        }
        let civil =
            text.parse::<jiff::civil::DateTime>().map_err(|_| TimeError::Instant(text.chars().take(60).collect()))?;
        let zoned = civil.to_zoned(TimeZone::UTC).map_err(|_| TimeError::Instant(text.chars().take(60).collect()))?;
        Ok(Self(zoned.timestamp().as_microsecond()))
    }
}

impl fmt::Display for Instant {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match jiff::Timestamp::from_microsecond(self.0) {
            Ok(timestamp) => write!(out, "{timestamp}"),
            Err(_) => write!(out, "{}us", self.0),
        }
    }
}

impl FromStr for Instant {
    type Err = TimeError;

    fn from_str(text: &str) -> Result<Self, TimeError> {
        if let Some(micros) = micros_of_usual(text.as_bytes()) {
            return Ok(Self(micros));
        }
        let timestamp: jiff::Timestamp =
            text.parse().map_err(|_| TimeError::Instant(text.chars().take(60).collect()))?;
        Ok(Self(timestamp.as_microsecond()))
    }
}

/// Days of a year before each month, and at last all, if it is no leap year.
const DAYS_BEFORE_MONTH: [i64; 13] = [0, 31, 59, 90, 120, 151, 181, 212, 243, 273, 304, 334, 365];
/// Days from 0001-01-01 to 1970-01-01.
const DAYS_BEFORE_EPOCH: i64 = 719_162;
/// Digits of a second's fraction that make microseconds.
const MICROS_DIGITS: usize = 6;

/// Returns the microseconds of a time as nearly all are written, such as `2026-10-31T23:59:59.123Z`: events have one each.
/// `None` for what is written in another way, or wrongly.
fn micros_of_usual(text: &[u8]) -> Option<i64> {
    let (civil, fraction) = text.strip_suffix(b"Z")?.split_first_chunk::<19>()?;
    if [civil[4], civil[7], civil[10], civil[13], civil[16]] != *b"--T::" {
        return None;
    }
    let (year, month, day) = (digits(&civil[..4])?, digits(&civil[5..7])?, digits(&civil[8..10])?);
    let (hour, minute, second) = (digits(&civil[11..13])?, digits(&civil[14..16])?, digits(&civil[17..])?);
    let is_leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
    let at = usize::try_from(month).ok().filter(|month| (1..=12).contains(month))?;
    let days_of_month = DAYS_BEFORE_MONTH[at] - DAYS_BEFORE_MONTH[at - 1] + i64::from(is_leap && at == 2);
    let is_usual = (1..=9998).contains(&year) && (1..=days_of_month).contains(&day);
    if !is_usual || 23 < hour || 59 < minute || 59 < second {
        return None;
    }
    let micros = match fraction {
        [] => 0,
        [b'.', fraction @ ..] if (1..=MICROS_DIGITS).contains(&fraction.len()) => {
            (fraction.len()..MICROS_DIGITS).fold(digits(fraction)?, |micros, _| micros * 10)
        }
        _ => return None,
    };
    let before = year - 1;
    let of_year = DAYS_BEFORE_MONTH[at - 1] + i64::from(is_leap && 2 < at) + day - 1;
    let days = 365 * before + before / 4 - before / 100 + before / 400 + of_year - DAYS_BEFORE_EPOCH;
    Some(days * MICROS_PER_DAY + ((hour * 60 + minute) * 60 + second) * MICROS_PER_SECOND + micros)
}

/// Returns the number that a few digits are.
fn digits(text: &[u8]) -> Option<i64> {
    text.iter().try_fold(0, |number, digit| digit.is_ascii_digit().then(|| number * 10 + i64::from(digit - b'0')))
}

/// Instants from `start` up to, but not including, `end`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct InstantRange {
    /// First instant inside.
    pub start: Instant,
    /// First instant after.
    pub end: Instant,
}

impl InstantRange {
    /// Returns the length in whole seconds (sub-second parts cut off).
    #[must_use]
    pub fn seconds(&self) -> i64 {
        (self.end.0 - self.start.0) / MICROS_PER_SECOND
    }

    /// Returns whether the instant lies inside.
    #[must_use]
    pub fn contains(&self, instant: Instant) -> bool {
        self.start <= instant && instant < self.end
    }
}

/// A calendar day of the organisation's zone, counted from 1970-01-01 (Arrow's `Date32`).
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Day(i32);

impl Day {
    /// Returns the day so many days after 1970-01-01.
    #[must_use]
    pub const fn from_epoch_days(days: i32) -> Self {
        Self(days)
    }

    /// Returns the days since 1970-01-01.
    #[must_use]
    pub const fn epoch_days(self) -> i32 {
        self.0
    }

    /// Returns the day of a calendar date.
    #[must_use]
    pub fn from_date(date: Date) -> Self {
        let epoch = jiff::civil::date(1970, 1, 1);
        Self((date - epoch).get_days())
    }

    /// Returns the calendar date.
    #[must_use]
    pub fn date(self) -> Date {
        jiff::civil::date(1970, 1, 1).saturating_add(jiff::Span::new().days(self.0.clamp(-4_000_000, 2_900_000)))
    }

    /// Returns the day `days` later (earlier when negative).
    #[must_use]
    pub const fn plus(self, days: i32) -> Self {
        Self(self.0 + days)
    }

    /// Returns the month the day lies in.
    #[must_use]
    pub fn month(self) -> Month {
        let date = self.date();
        Month { year: date.year(), month: date.month() }
    }
}

impl fmt::Display for Day {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{}", self.date())
    }
}

impl fmt::Debug for Day {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, out)
    }
}

impl FromStr for Day {
    type Err = TimeError;

    fn from_str(text: &str) -> Result<Self, TimeError> {
        let plain = text.len() == 10 && text.bytes().all(|byte| byte.is_ascii_digit() || byte == b'-');
        let date: Option<Date> = plain.then(|| text.parse().ok()).flatten();
        date.map(Self::from_date).ok_or_else(|| TimeError::Date(text.chars().take(40).collect()))
    }
}

impl serde::Serialize for Day {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> serde::Deserialize<'de> for Day {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        crate::toml_text::DateText::deserialize(deserializer)?.0.parse().map_err(serde::de::Error::custom)
    }
}

/// A calendar month, printed `2026-10`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Month {
    year: i16,
    month: i8,
}

impl Month {
    /// The English names of the months of a year.
    pub const NAMES: [&str; 12] = [
        "January",
        "February",
        "March",
        "April",
        "May",
        "June",
        "July",
        "August",
        "September",
        "October",
        "November",
        "December",
    ];

    /// Returns the English name, without the year.
    #[must_use]
    pub fn name(self) -> &'static str {
        Self::NAMES[usize::from(self.month.unsigned_abs()) - 1]
    }

    /// Returns the first day of the month.
    #[must_use]
    pub fn first_day(self) -> Day {
        Day::from_date(jiff::civil::date(self.year, self.month, 1))
    }

    /// Returns the last day of the month.
    #[must_use]
    pub fn last_day(self) -> Day {
        Day::from_date(jiff::civil::date(self.year, self.month, 1).last_of_month())
    }

    /// Returns how many days the month has.
    #[must_use]
    pub fn days(self) -> i32 {
        self.last_day().0 - self.first_day().0 + 1
    }

    /// Returns the month before.
    #[must_use]
    pub fn previous(self) -> Self {
        self.first_day().plus(-1).month()
    }

    /// Returns the month after.
    #[must_use]
    pub fn next(self) -> Self {
        self.last_day().plus(1).month()
    }

    /// Returns the calendar year.
    #[must_use]
    pub fn year(self) -> i16 {
        self.year
    }

    /// Returns the first month of the quarter the month lies in.
    #[must_use]
    pub fn quarter_start(self) -> Self {
        Self { year: self.year, month: (self.month - 1) / 3 * 3 + 1 }
    }
}

impl fmt::Display for Month {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{:04}-{:02}", self.year, self.month)
    }
}

impl FromStr for Month {
    type Err = TimeError;

    fn from_str(text: &str) -> Result<Self, TimeError> {
        let day: Day = format!("{text}-01").parse().map_err(|_| TimeError::Month(text.chars().take(40).collect()))?;
        Ok(day.month())
    }
}

/// Days from `from` to `to`, both inclusive; never empty.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct DayRange {
    from: Day,
    to: Day,
}

impl DayRange {
    /// Returns the range, or `None` when `to` lies before `from`.
    #[must_use]
    pub fn new(from: Day, to: Day) -> Option<Self> {
        (from <= to).then_some(Self { from, to })
    }

    /// Returns the range of one day.
    #[must_use]
    pub fn single(day: Day) -> Self {
        Self { from: day, to: day }
    }

    /// Returns the first day.
    #[must_use]
    pub fn from(&self) -> Day {
        self.from
    }

    /// Returns the last day.
    #[must_use]
    pub fn to(&self) -> Day {
        self.to
    }

    /// Returns whether the day lies inside.
    #[must_use]
    pub fn contains(&self, day: Day) -> bool {
        self.from <= day && day <= self.to
    }

    /// Returns whether the two ranges share a day.
    #[must_use]
    pub fn overlaps(&self, other: &Self) -> bool {
        self.from <= other.to && other.from <= self.to
    }

    /// Returns the days in order.
    pub fn days(&self) -> impl DoubleEndedIterator<Item = Day> + use<> {
        (self.from.0..=self.to.0).map(Day)
    }

    /// Returns how many days there are, at least one.
    #[must_use]
    pub fn len(&self) -> i32 {
        self.to.0 - self.from.0 + 1
    }

    /// Returns false: a range has at least one day.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        false
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn instant(text: &str) -> Instant {
        Instant::parse_lenient(text).expect("a valid time")
    }

    #[test]
    fn times_without_a_zone_are_utc() {
        assert_eq!(instant("2024-09-01 00:00:00"), instant("2024-09-01T00:00:00Z"));
        assert_eq!(instant("2024-09-01"), instant("2024-09-01T02:00:00+02:00"));
        assert_eq!(instant("2024-09-01T00:00:00.000Z"), instant("2024-09-01 00:00:00 UTC"));
        assert!(Instant::parse_lenient("yesterday").is_err());
    }

    fn check_usual(text: &str) {
        let expected = text.parse::<jiff::Timestamp>().ok().map(|timestamp| timestamp.as_microsecond());
        assert_eq!(text.parse::<Instant>().ok().map(Instant::micros), expected, "{text}");
    }

    #[test]
    fn a_time_as_nearly_all_are_written_is_the_same_as_any_other() {
        let is_usual = |text: &str| micros_of_usual(text.as_bytes()).is_some();
        assert!(is_usual("2026-10-31T23:59:59Z") && is_usual("1969-12-31T23:59:59.123456Z"));
        for day in (-719_162..2_932_000).step_by(97) {
            let text = format!("{}T12:34:56.5Z", Day::from_epoch_days(day));
            check_usual(&text);
            assert!(is_usual(&text) || text.starts_with("9999"), "{text}");
        }
        for year in ["0000", "0001", "1900", "1904", "2000", "2026", "2024", "9998", "9999"] {
            for (month, day) in (0..14).flat_map(|month| (0..33).map(move |day| (month, day))) {
                check_usual(&format!("{year}-{month:02}-{day:02}T00:00:00Z"));
            }
        }
        let times = "00:00:00Z 23:59:60Z 23:59:61Z 24:00:00Z 12:60:00Z 12:00:00.Z 12:00:00.1234567Z \
                     12:00:00.000001Z 12:00:00,5Z 12:00:00z 12:00:00+01:00 12:00:00 12:00Z 1a:00:00Z -1:00:00Z";
        for time in times.split(' ') {
            check_usual(&format!("2026-10-31T{time}"));
            check_usual(&format!("1960-02-29 {time}"));
            check_usual(&format!("1960-02-29t{time}"));
        }
    }

    #[test]
    fn days_and_months_print_and_parse() {
        let day: Day = "2024-02-29".parse().expect("a leap day");
        assert_eq!(day.to_string(), "2024-02-29");
        assert_eq!((day.month().to_string(), day.month().days()), ("2024-02".to_owned(), 29));
        assert!("2023-02-29".parse::<Day>().is_err());
        assert!("2023-2-9".parse::<Day>().is_err());
        assert_eq!("2026-11".parse::<Month>().map(|month| month.quarter_start().to_string()), Ok("2026-10".to_owned()));
    }
}
