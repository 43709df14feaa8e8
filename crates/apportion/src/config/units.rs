//! Durations, sizes and times of day as they are written in configuration.

use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error};
use std::fmt;
use std::str::FromStr;

/// A text that is not a duration, size or time of day.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum UnitError {
    /// Not a duration.
    #[error("`{0}` is not a duration; write it as 60s, 15m, 1h or 90d")]
    Duration(String),
    /// Not a size.
    #[error("`{0}` is not a size; write it as 256MiB or 2GiB")]
    Size(String),
    /// Not a time of day.
    #[error("`{0}` is not a time of day; write it as 00:30")]
    TimeOfDay(String),
}

/// A duration that prints as it was written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DurationText {
    text: String,
    seconds: u64,
}

impl DurationText {
    /// Returns the duration.
    pub fn duration(&self) -> std::time::Duration {
        std::time::Duration::from_secs(self.seconds)
    }
}

impl FromStr for DurationText {
    type Err = UnitError;

    fn from_str(text: &str) -> Result<Self, UnitError> {
        let error = || UnitError::Duration(text.chars().take(40).collect());
        let (number, unit) = split_number(text).ok_or_else(error)?;
        let factor = match unit {
            "s" => 1,
            "m" => 60,
            "h" => 3_600,
            "d" => 86_400,
            _ => return Err(error()),
        };
        Ok(Self { text: text.to_owned(), seconds: number.checked_mul(factor).ok_or_else(error)? })
    }
}

/// A number of bytes that prints as it was written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SizeText {
    text: String,
    bytes: u64,
}

impl SizeText {
    /// Returns the size in bytes.
    pub fn bytes(&self) -> u64 {
        self.bytes
    }
}

impl FromStr for SizeText {
    type Err = UnitError;

    fn from_str(text: &str) -> Result<Self, UnitError> {
        let error = || UnitError::Size(text.chars().take(40).collect());
        let (number, unit) = split_number(text).ok_or_else(error)?;
        let factor = match unit {
            "" | "B" => 1,
            "kB" => 1_000,
            "MB" => 1_000_000,
            "GB" => 1_000_000_000,
            "TB" => 1_000_000_000_000,
            "KiB" => 1 << 10,
            "MiB" => 1 << 20,
            "GiB" => 1 << 30,
            "TiB" => 1 << 40,
            _ => return Err(error()),
        };
        Ok(Self { text: text.to_owned(), bytes: number.checked_mul(factor).ok_or_else(error)? })
    }
}

/// Hours and minutes in the organisation's zone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TimeOfDay {
    minutes: u16,
}

impl TimeOfDay {
    /// Returns the minutes since the day began on the clock.
    pub fn minutes(self) -> u16 {
        self.minutes
    }
}

impl FromStr for TimeOfDay {
    type Err = UnitError;

    fn from_str(text: &str) -> Result<Self, UnitError> {
        let error = || UnitError::TimeOfDay(text.chars().take(40).collect());
        let (hours, minutes) = text.split_once(':').filter(|_| text.len() == 5).ok_or_else(error)?;
        let number = |part: &str, max: u16| part.parse::<u16>().ok().filter(|value| *value <= max).ok_or_else(error);
        Ok(Self { minutes: number(hours, 23)? * 60 + number(minutes, 59)? })
    }
}

fn split_number(text: &str) -> Option<(u64, &str)> {
    let end = text.find(|letter: char| !letter.is_ascii_digit()).unwrap_or(text.len());
    Some((text.get(..end)?.parse().ok()?, text.get(end..)?))
}

impl fmt::Display for DurationText {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(&self.text)
    }
}

impl fmt::Display for SizeText {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(&self.text)
    }
}

impl fmt::Display for TimeOfDay {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{:02}:{:02}", self.minutes / 60, self.minutes % 60)
    }
}

macro_rules! as_text {
    ($($name:ty),*) => {$(
        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.collect_str(self)
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                String::deserialize(deserializer)?.parse().map_err(D::Error::custom)
            }
        }
    )*};
}

as_text!(DurationText, SizeText, TimeOfDay);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_and_sizes_have_units() {
        let seconds = |text: &str| text.parse::<DurationText>().map(|span| span.seconds);
        assert_eq!(
            [seconds("60s"), seconds("15m"), seconds("1h"), seconds("2d")].map(Result::ok).map(Option::unwrap),
            [60, 900, 3_600, 172_800]
        );
        let bytes = |text: &str| text.parse::<SizeText>().map(|size| size.bytes);
        assert_eq!((bytes("2GiB"), bytes("5MB"), bytes("7")), (Ok(2 << 30), Ok(5_000_000), Ok(7)));
    }

    #[test]
    fn anything_else_is_refused_with_an_example() {
        for bad in ["", "60", "s", "1 h", "-1s", "1w", "99999999999999999999s"] {
            assert!(bad.parse::<DurationText>().is_err(), "{bad}");
        }
        for bad in ["", "GiB", "2 GiB", "2gib", "99999999999TiB"] {
            assert!(bad.parse::<SizeText>().is_err(), "{bad}");
        }
        for bad in ["", "24:00", "0:30", "00:60", "00-30", "noon"] {
            assert!(bad.parse::<TimeOfDay>().is_err(), "{bad}");
        }
        assert_eq!("00:30".parse::<TimeOfDay>().map(|time| time.to_string()), Ok("00:30".to_owned()));
    }
}
