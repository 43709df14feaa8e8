//! Costs that are caused once and used by many: the events that carry them, and the windows in which they are used.

use crate::Currency;
use crate::time::MICROS_PER_SECOND;
use serde::de::Error as _;
use serde::{Deserialize, Deserializer};
use serde_json_path::JsonPath;
use std::fmt;
use std::str::FromStr;

/// Longest window with a length of its own, in days: raw events are kept as long as a window may need them.
pub const WINDOW_DAYS_MAX: i64 = 35;
const MICROS_MAX: i64 = WINDOW_DAYS_MAX * 86_400 * MICROS_PER_SECOND;
/// How a window that ends with an event is written.
const UNTIL: &str = "until:";

/// Events that carry a pool's cost.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct EventSource {
    /// Their type.
    pub event_type: String,
    /// What uses of the cost name too.
    #[serde(default)]
    pub key: Option<EventPath>,
    /// Where an event says what it cost.
    #[serde(default)]
    pub cost: Option<EventPath>,
    /// Currency of `cost`.
    #[serde(default)]
    pub currency: Option<Currency>,
    /// Instead of `cost`: the meter whose price in the rate card is paid for `quantity`.
    #[serde(default)]
    pub meter: Option<String>,
    /// Where an event says how much of the meter it took.
    #[serde(default)]
    pub quantity: Option<EventPath>,
}

/// How long a cost may be used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum WindowLength {
    /// So many microseconds from the cost event on.
    For(i64),
    /// Up to the first event of this type after it, with its key.
    Until(String),
}

/// What a use of a cost weighs.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Each {
    /// Each distinct consumer weighs one.
    #[default]
    Consumer,
    /// Each read weighs one.
    Read,
    /// Each read weighs what this meter reads from it.
    Meter(String),
}

/// A JSONPath into the data of an event, known to be one.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct EventPath(String);

/// The text is no window, weight or path.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum WindowError {
    /// Not a length.
    #[error("`{0}` is not a window; write a length such as 30m, 24h or 7d, at most 35d, or until:<event type>")]
    Length(String),
    /// Empty.
    #[error("`each` is `consumer`, `read` or the name of a meter")]
    Each,
    /// Not a JSONPath.
    #[error("`{0}` is not a JSONPath; write one such as $.gather_id")]
    Path(String),
}

impl FromStr for WindowLength {
    type Err = WindowError;

    fn from_str(text: &str) -> Result<Self, WindowError> {
        let error = || WindowError::Length(text.chars().take(60).collect());
        if let Some(event_type) = text.strip_prefix(UNTIL) {
            return if event_type.is_empty() { Err(error()) } else { Ok(Self::Until(event_type.to_owned())) };
        }
        let digits = text.bytes().take_while(u8::is_ascii_digit).count();
        let (number, unit) = text.split_at(digits);
        let seconds = match unit {
            "s" => 1,
            "m" => 60,
            "h" => 3_600,
            "d" => 86_400,
            _ => return Err(error()),
        };
        let number: i64 = number.parse().map_err(|_| error())?;
        let micros = number.checked_mul(seconds * MICROS_PER_SECOND).ok_or_else(error)?;
        if (1..=MICROS_MAX).contains(&micros) { Ok(Self::For(micros)) } else { Err(error()) }
    }
}

impl fmt::Display for WindowLength {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let micros = match self {
            Self::Until(event_type) => return write!(out, "{UNTIL}{event_type}"),
            Self::For(micros) => micros,
        };
        let seconds = micros / MICROS_PER_SECOND;
        let units = [(3_600, "h"), (60, "m"), (1, "s")];
        let (length, unit) = units.into_iter().find(|(length, _)| seconds % length == 0).unwrap_or((1, "s"));
        write!(out, "{}{unit}", seconds / length)
    }
}

impl FromStr for Each {
    type Err = WindowError;

    fn from_str(text: &str) -> Result<Self, WindowError> {
        match text {
            "" => Err(WindowError::Each),
            "consumer" => Ok(Self::Consumer),
            "read" => Ok(Self::Read),
            meter => Ok(Self::Meter(meter.to_owned())),
        }
    }
}

impl fmt::Display for Each {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(match self {
            Self::Consumer => "consumer",
            Self::Read => "read",
            Self::Meter(meter) => meter,
        })
    }
}

impl EventPath {
    /// Returns the path's text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for EventPath {
    type Err = WindowError;

    fn from_str(text: &str) -> Result<Self, WindowError> {
        match JsonPath::parse(text) {
            Ok(_) => Ok(Self(text.to_owned())),
            Err(_) => Err(WindowError::Path(text.chars().take(60).collect())),
        }
    }
}

impl fmt::Display for EventPath {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(&self.0)
    }
}

impl<'de> Deserialize<'de> for WindowLength {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(D::Error::custom)
    }
}

impl<'de> Deserialize<'de> for Each {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(D::Error::custom)
    }
}

impl<'de> Deserialize<'de> for EventPath {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(D::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_window_is_a_length_or_ends_with_an_event() {
        let hour = 3_600 * MICROS_PER_SECOND;
        for (text, expected, printed) in [
            ("24h", WindowLength::For(24 * hour), "24h"),
            ("7d", WindowLength::For(7 * 24 * hour), "168h"),
            ("90m", WindowLength::For(hour + hour / 2), "90m"),
            ("45s", WindowLength::For(45 * MICROS_PER_SECOND), "45s"),
            ("until:vm.cooled", WindowLength::Until("vm.cooled".to_owned()), "until:vm.cooled"),
        ] {
            let read = text.parse::<WindowLength>();
            assert_eq!(read.as_ref(), Ok(&expected));
            assert_eq!(read.map(|read| read.to_string()).as_deref(), Ok(printed));
        }
        for text in ["", "0h", "24", "h", "-1h", "1w", "36d", "until:", "99999999999999999999d", "1.5h"] {
            assert!(text.parse::<WindowLength>().is_err(), "{text}");
        }
    }

    #[test]
    fn a_path_is_one() {
        assert!("$.gather_id".parse::<EventPath>().is_ok() && "gather_id".parse::<EventPath>().is_err());
    }
}
