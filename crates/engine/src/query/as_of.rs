//! Which state of the ledger is asked.

use crate::{Engine, EngineError};
use domain::{Day, Instant};
use std::fmt;
use std::str::FromStr;
use storage::catalog::PostingRow;

/// An earlier state of the ledger.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AsOf {
    /// After this posting; 0 is the empty ledger.
    Posting(i64),
    /// As it was known at this instant.
    Instant(Instant),
    /// As it was known at the end of this day.
    EndOf(Day),
}

/// The text names no state.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not a state of the ledger; write posting:12, 2026-10-31 or 2026-10-31T12:00:00Z")]
pub struct AsOfError(String);

impl FromStr for AsOf {
    type Err = AsOfError;

    fn from_str(text: &str) -> Result<Self, AsOfError> {
        let refuse = || AsOfError(super::params::shorten(text));
        if let Some(number) = text.strip_prefix("posting:") {
            let digits = !number.is_empty() && number.bytes().all(|byte| byte.is_ascii_digit());
            return number.parse().ok().filter(|_| digits).map(Self::Posting).ok_or_else(refuse);
        }
        if let Ok(day) = text.parse() {
            return Ok(Self::EndOf(day));
        }
        text.parse().map(Self::Instant).map_err(|_| refuse())
    }
}

impl fmt::Display for AsOf {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Posting(posting) => write!(out, "posting:{posting}"),
            Self::Instant(instant) => instant.fmt(out),
            Self::EndOf(day) => day.fmt(out),
        }
    }
}

/// A state of the ledger, and with it of the facts that answers look up.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Head {
    /// The last posting that counts; none before the first.
    pub posting: Option<i64>,
    /// `sha256:` and the hash of that posting.
    pub hash: Option<String>,
    /// Facts recorded up to this many microseconds count.
    pub recorded_up_to: i64,
}

impl Head {
    /// Returns the number of the last posting that counts, 0 for none: entries above it are not seen.
    #[must_use]
    pub fn number(&self) -> i64 {
        self.posting.unwrap_or(0)
    }

    fn of(row: Option<&PostingRow>, recorded_up_to: i64) -> Self {
        Self { posting: row.map(|row| row.posting), hash: row.map(|row| hash_text(&row.hash)), recorded_up_to }
    }
}

/// Returns a posting's hash as answers print it.
pub(crate) fn hash_text(hash: &str) -> String {
    format!("sha256:{}", hash.strip_prefix("sha256:").unwrap_or(hash))
}

impl Engine {
    /// Returns the state that is asked: the newest for `None`.
    ///
    /// Postings are read before the lake is pinned, so every posting named here is in the pinned ledger.
    ///
    /// # Errors
    /// [`EngineError::InvalidParameter`] for a posting that does not exist.
    pub async fn head(&self, as_of: Option<&AsOf>) -> Result<Head, EngineError> {
        match as_of {
            None => {
                let newest = self.catalog.list_postings_all_tenants(None, 1).await?;
                Ok(Head::of(newest.first(), i64::MAX))
            }
            Some(AsOf::Posting(0)) => Ok(Head { posting: None, hash: None, recorded_up_to: self.end_of(0).await? }),
            Some(AsOf::Posting(number)) => {
                let row = self.catalog.posting_all_tenants(*number).await?;
                let refuse = || EngineError::parameter("as_of", format!("posting {number} does not exist"));
                let row = row.ok_or_else(refuse)?;
                Ok(Head::of(Some(&row), self.end_of(*number).await?))
            }
            Some(AsOf::Instant(instant)) => self.head_at(instant.micros()).await,
            Some(AsOf::EndOf(day)) => {
                let next = self.settings.zone.start_of(Day::plus(*day, 1));
                self.head_at(next.micros() - 1).await
            }
        }
    }

    async fn head_at(&self, micros: i64) -> Result<Head, EngineError> {
        let row = self.catalog.posting_as_of_all_tenants(micros).await?;
        Ok(Head::of(row.as_ref(), micros))
    }

    /// Until when answers showed this posting: facts recorded later came after the next posting.
    async fn end_of(&self, posting: i64) -> Result<i64, EngineError> {
        let next = self.catalog.posting_all_tenants(posting + 1).await?;
        Ok(next.map_or(i64::MAX, |next| next.booked_at - 1))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn states_are_postings_days_or_instants() {
        for text in ["posting:0", "posting:12", "2026-10-31", "2026-10-31T12:00:00Z"] {
            assert_eq!(text.parse::<AsOf>().map(|as_of| as_of.to_string()), Ok(text.to_owned()));
        }
        for text in
            ["12", "posting:", "posting:-1", "posting:+1", "yesterday", "2026-13-01", "posting:99999999999999999999"]
        {
            assert!(text.parse::<AsOf>().is_err(), "{text}");
        }
    }
}
