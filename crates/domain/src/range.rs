//! Ranges of days as users write them.

use crate::{Day, DayRange, Month};

/// Longest rolling range, ten years.
const ROLLING_DAYS_MAX: i32 = 3660;

/// A range text that names no days.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RangeError {
    /// Not one of the forms.
    #[error(
        "`{0}` is not a range; write 7d, 30d, 90d, 365d, mtd, last_month, qtd, ytd, 2026-10 or 2026-10-01..2026-10-31"
    )]
    Unknown(String),
    /// The end lies before the start.
    #[error("`{0}` ends before it begins")]
    Backwards(String),
}

/// Returns the days that `text` means, given the organisation's current day.
///
/// Rolling ranges (`30d`) end with the last complete day, yesterday, unless `include_today`; `mtd`, `qtd`
/// and `ytd` always end today.
///
/// # Errors
/// [`RangeError`] for any other text.
///
/// # Source
/// Spec 2-model, section 2.
pub fn parse_range(text: &str, today: Day, include_today: bool) -> Result<DayRange, RangeError> {
    let unknown = || RangeError::Unknown(text.chars().take(60).collect());
    let since = |from: Day| DayRange::new(from, today).ok_or_else(unknown);
    match text {
        "mtd" => since(today.month().first_day()),
        "qtd" => since(today.month().quarter_start().first_day()),
        "ytd" => {
            let january: Month = format!("{:04}-01", today.month().year()).parse().map_err(|_| unknown())?;
            since(january.first_day())
        }
        "last_month" => Ok(whole_month(today.month().previous())),
        _ => rolling(text, today, include_today)
            .or_else(|| text.parse().ok().map(whole_month))
            .map_or_else(|| between(text), Ok),
    }
}

fn whole_month(month: Month) -> DayRange {
    DayRange::new(month.first_day(), month.last_day()).expect("a month has days")
}

fn rolling(text: &str, today: Day, include_today: bool) -> Option<DayRange> {
    let digits = text.strip_suffix('d').filter(|digits| digits.bytes().all(|byte| byte.is_ascii_digit()))?;
    let days: i32 = digits.parse().ok().filter(|days| (1..=ROLLING_DAYS_MAX).contains(days))?;
    let to = if include_today { today } else { today.plus(-1) };
    DayRange::new(to.plus(1 - days), to)
}

fn between(text: &str) -> Result<DayRange, RangeError> {
    let unknown = || RangeError::Unknown(text.chars().take(60).collect());
    let (from, to) = text.split_once("..").unwrap_or((text, text));
    let from: Day = from.parse().map_err(|_| unknown())?;
    let to: Day = to.parse().map_err(|_| unknown())?;
    DayRange::new(from, to).ok_or_else(|| RangeError::Backwards(text.chars().take(60).collect()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str, expected: &str) {
        let today: Day = "2026-11-20".parse().expect("a day");
        let range = parse_range(text, today, false).map(|range| format!("{}..{}", range.from(), range.to()));
        assert_eq!(range.unwrap_or_else(|error| error.to_string().chars().take(5).collect()), expected, "{text}");
    }

    #[test]
    fn rolling_ranges_end_yesterday_and_to_date_ranges_today() {
        check("7d", "2026-11-13..2026-11-19");
        check("mtd", "2026-11-01..2026-11-20");
        check("qtd", "2026-10-01..2026-11-20");
        check("ytd", "2026-01-01..2026-11-20");
        check("last_month", "2026-10-01..2026-10-31");
        check("2026-02", "2026-02-01..2026-02-28");
        check("2026-10-01..2026-10-31", "2026-10-01..2026-10-31");
        check("2026-10-05", "2026-10-05..2026-10-05");
    }

    #[test]
    fn other_texts_are_refused() {
        let today = Day::from_epoch_days(20_000);
        for text in ["", "d", "0d", "-3d", "99999d", "2026-13", "yesterday", "2026-10-31..2026-10-01", "a..b"] {
            assert!(parse_range(text, today, false).is_err(), "{text}");
        }
    }
}
