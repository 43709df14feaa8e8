//! Query parameters of a request, each of them used exactly once.

use crate::EngineError;
use domain::range::parse_range;
use domain::{Day, DayRange};
use std::collections::BTreeMap;
use std::fmt::Display;
use std::str::FromStr;

/// Days of a question that names none.
pub const RANGE_DEFAULT: &str = "30d";

/// What bounds a question and what it means where it says nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct QueryLimits {
    /// The current day of the organisation's zone.
    pub today: Day,
    /// Longest range of days.
    pub range_days_max: i32,
    /// Rows of a page that says nothing.
    pub rows_default: usize,
    /// Most rows of a page.
    pub rows_max: usize,
}

/// The parameters of one request. Whoever answers takes those it knows; [`Params::finish`] refuses the rest,
/// so that a misspelled parameter is never ignored. A parameter with an empty value is as if it were absent.
#[derive(Clone, Debug)]
pub struct Params {
    given: BTreeMap<String, String>,
    taken: Vec<&'static str>,
}

impl Params {
    /// Returns the parameters of a request.
    ///
    /// # Errors
    /// When one is given twice.
    pub fn new<K: AsRef<str>, V: AsRef<str>>(given: &[(K, V)]) -> Result<Self, EngineError> {
        let mut map = BTreeMap::new();
        for (name, value) in given {
            if map.insert(name.as_ref().to_owned(), value.as_ref().to_owned()).is_some() {
                let name = shorten(name.as_ref());
                return Err(EngineError::parameter(&name, format!("parameter `{name}` is given twice")));
            }
        }
        Ok(Self { given: map, taken: Vec::new() })
    }

    /// Takes the text of a parameter.
    pub fn text(&mut self, name: &'static str) -> Option<String> {
        self.taken.push(name);
        self.given.remove(name).filter(|value| !value.is_empty())
    }

    /// Takes a parameter that is parsed.
    ///
    /// # Errors
    /// When its text is not one.
    pub fn parsed<T: FromStr<Err: Display>>(&mut self, name: &'static str) -> Result<Option<T>, EngineError> {
        let parse =
            |text: String| text.parse().map_err(|error: T::Err| EngineError::parameter(name, error.to_string()));
        self.text(name).map(parse).transpose()
    }

    /// Takes a parameter whose value is one of these words; the first is the default.
    ///
    /// # Errors
    /// When it is another word.
    pub fn word<T: Copy>(&mut self, name: &'static str, words: &[(&str, T)]) -> Result<T, EngineError> {
        let Some(text) = self.text(name) else { return Ok(words[0].1) };
        let found = words.iter().find(|(word, _)| *word == text).map(|(_, value)| *value);
        found.ok_or_else(|| {
            let known: Vec<&str> = words.iter().map(|(word, _)| *word).collect();
            EngineError::parameter(name, format!("`{}` is not one of {}", shorten(&text), known.join(", ")))
        })
    }

    /// Takes `range`, or `from` and `to`; `None` when neither is given.
    ///
    /// # Errors
    /// When they contradict each other, name no days, or more than `range_days_max`.
    pub fn range(&mut self, limits: &QueryLimits) -> Result<Option<DayRange>, EngineError> {
        self.any_range(limits, false)
    }

    fn any_range(&mut self, limits: &QueryLimits, include_today: bool) -> Result<Option<DayRange>, EngineError> {
        let (range, from, to) = (self.text("range"), self.parsed::<Day>("from")?, self.parsed::<Day>("to")?);
        let found = match (range, from, to) {
            (None, None, None) => return Ok(None),
            (Some(text), None, None) => parse_range(&text, limits.today, include_today)
                .map_err(|error| EngineError::parameter("range", error.to_string()))?,
            (None, Some(from), Some(to)) => DayRange::new(from, to)
                .ok_or_else(|| EngineError::parameter("to", format!("`to` ({to}) lies before `from` ({from})")))?,
            (Some(_), ..) => return Err(EngineError::parameter("range", "give either `range` or `from` and `to`")),
            (None, None, Some(_)) => return Err(EngineError::parameter("from", "`to` needs `from`")),
            (None, Some(_), None) => return Err(EngineError::parameter("to", "`from` needs `to`")),
        };
        check_length(found, limits)?;
        Ok(Some(found))
    }

    /// Takes the range as [`Params::range`], the last 30 complete days when none is given.
    ///
    /// # Errors
    /// As [`Params::range`].
    pub fn range_or_default(&mut self, limits: &QueryLimits) -> Result<DayRange, EngineError> {
        let found = self.range(limits)?;
        Ok(found.unwrap_or_else(|| default_range(limits, false)))
    }

    /// Takes the range as [`Params::range_or_default`], where rolling ranges end with today.
    ///
    /// # Errors
    /// As [`Params::range`].
    pub fn range_to_today_or_default(&mut self, limits: &QueryLimits) -> Result<DayRange, EngineError> {
        let found = self.any_range(limits, true)?;
        Ok(found.unwrap_or_else(|| default_range(limits, true)))
    }

    /// Takes `limit`.
    ///
    /// # Errors
    /// When it is no number from 1 to the most rows of a page.
    pub fn limit(&mut self, limits: &QueryLimits) -> Result<usize, EngineError> {
        let Some(text) = self.text("limit") else { return Ok(limits.rows_default) };
        let found = text.parse::<usize>().ok().filter(|rows| (1..=limits.rows_max).contains(rows));
        let refuse = || EngineError::parameter("limit", format!("`limit` is a number from 1 to {}", limits.rows_max));
        found.ok_or_else(refuse)
    }

    /// Ends the reading.
    ///
    /// # Errors
    /// When a parameter is left that nobody took.
    pub fn finish(self) -> Result<(), EngineError> {
        let Some(name) = self.given.keys().next() else { return Ok(()) };
        let near = domain::toml_text::nearest(name, self.taken.iter().copied());
        let hint = match near {
            Some(near) => format!("; did you mean `{near}`?"),
            None => format!("; known are {}", self.taken.join(", ")),
        };
        let name = shorten(name);
        Err(EngineError::parameter(&name, format!("unknown parameter `{name}`{hint}")))
    }
}

fn default_range(limits: &QueryLimits, include_today: bool) -> DayRange {
    parse_range(RANGE_DEFAULT, limits.today, include_today).expect("the default range is one of the forms")
}

fn check_length(range: DayRange, limits: &QueryLimits) -> Result<(), EngineError> {
    if limits.range_days_max < range.len() {
        let detail =
            format!("{} days are more than the {} one question may ask for", range.len(), limits.range_days_max);
        return Err(EngineError::parameter("range", detail));
    }
    Ok(())
}

/// Returns the first characters of a text that came from outside, for messages.
pub(crate) fn shorten(text: &str) -> String {
    text.chars().take(60).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn limits() -> QueryLimits {
        QueryLimits {
            today: "2026-11-20".parse().expect("a day"),
            range_days_max: 400,
            rows_default: 100,
            rows_max: 1000,
        }
    }

    fn range(given: &[(&str, &str)]) -> String {
        let mut params = Params::new(given).expect("no doubles");
        match params.range_or_default(&limits()).and_then(|range| params.finish().map(|()| range)) {
            Ok(range) => format!("{}..{}", range.from(), range.to()),
            Err(error) => error.to_string(),
        }
    }

    #[test]
    fn days_are_given_as_a_range_or_from_and_to() {
        assert_eq!(range(&[]), "2026-10-21..2026-11-19");
        assert_eq!(range(&[("range", "2026-10")]), "2026-10-01..2026-10-31");
        assert_eq!(range(&[("from", "2026-10-02"), ("to", "2026-10-03")]), "2026-10-02..2026-10-03");
        assert_eq!(range(&[("from", "2026-10-02")]), "`from` needs `to`");
        assert_eq!(range(&[("range", "7d"), ("to", "2026-10-03")]), "give either `range` or `from` and `to`");
        assert_eq!(
            range(&[("from", "2026-10-04"), ("to", "2026-10-03")]),
            "`to` (2026-10-03) lies before `from` (2026-10-04)"
        );
        assert!(range(&[("range", "500d")]).starts_with("500 days are more"));
    }

    #[test]
    fn rolling_ranges_end_today_where_a_day_is_complete_when_it_is_there() {
        let range = |given: &[(&str, &str)]| {
            let range = Params::new(given).expect("no doubles").range_to_today_or_default(&limits()).expect("days");
            format!("{}..{}", range.from(), range.to())
        };
        assert_eq!(range(&[]), "2026-10-22..2026-11-20");
        assert_eq!(range(&[("range", "7d")]), "2026-11-14..2026-11-20");
        assert_eq!(range(&[("range", "2026-10")]), "2026-10-01..2026-10-31");
    }

    #[test]
    fn a_parameter_nobody_knows_or_given_twice_is_refused() {
        assert_eq!(range(&[("rnge", "7d")]), "unknown parameter `rnge`; did you mean `range`?");
        assert_eq!(
            Params::new(&[("a", "1"), ("a", "1")]).expect_err("twice").to_string(),
            "parameter `a` is given twice"
        );
    }

    #[test]
    fn limits_are_numbers_within_bounds() {
        let limit = |text: &str| Params::new(&[("limit", text)]).expect("one").limit(&limits()).ok();
        assert_eq!([limit(""), limit("1"), limit("1000")], [Some(100), Some(1), Some(1000)]);
        assert_eq!([limit("0"), limit("1001"), limit("-1"), limit("x")], [None; 4]);
    }
}
