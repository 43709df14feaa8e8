//! Which state of the ledger is asked.

use crate::{Engine, EngineError};
use datafusion::prelude::SessionContext;
use domain::{Day, Instant};
use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;
use storage::catalog::PostingRow;
use storage::lake::Table;

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
    /// Whether no state was asked for. Then what no posting tells yet is told too: lines that no run has seen, pools
    /// that could not be run. A state that is asked for answers the same for ever, so it tells what postings tell.
    pub is_now: bool,
}

impl Head {
    /// Returns the number of the last posting that counts, 0 for none: entries above it are not seen.
    #[must_use]
    pub fn number(&self) -> i64 {
        self.posting.unwrap_or(0)
    }

    fn of(row: Option<&PostingRow>, recorded_up_to: i64) -> Self {
        let hash = row.map(|row| hash_text(&row.hash));
        Self { posting: row.map(|row| row.posting), hash, recorded_up_to, is_now: false }
    }
}

/// Returns a posting's hash as answers print it.
pub(crate) fn hash_text(hash: &str) -> String {
    format!("sha256:{}", hash.strip_prefix("sha256:").unwrap_or(hash))
}

impl Engine {
    /// Returns the state that is asked: the newest for `None`.
    ///
    /// Postings are read before the lake is pinned, so every posting named here is in the pinned ledger. Of a named
    /// posting, facts count that were recorded until it was booked.
    ///
    /// # Errors
    /// [`EngineError::InvalidParameter`] for a posting that does not exist.
    pub async fn head(&self, as_of: Option<&AsOf>) -> Result<Head, EngineError> {
        match as_of {
            None => {
                let newest = self.catalog.list_postings_all_tenants(None, 1).await?;
                Ok(Head { is_now: true, ..Head::of(newest.first(), i64::MAX) })
            }
            Some(AsOf::Posting(0)) => Ok(Head::of(None, 0)),
            Some(AsOf::Posting(number)) => {
                let row = self.catalog.posting_all_tenants(*number).await?;
                let refuse = || EngineError::parameter("as_of", format!("posting {number} does not exist"));
                let row = row.ok_or_else(refuse)?;
                Ok(Head::of(Some(&row), row.booked_at))
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

    /// Returns a session over the cost lines as they were in this state, and the newest version of the other tables.
    pub(crate) async fn session_of(&self, head: &Head) -> Result<SessionContext, EngineError> {
        let pinned = self.lake.pin().await?;
        if head.is_now {
            return self.session(&pinned);
        }
        let version = self.touched_days(&pinned).await?.cost_lines_at(Instant::from_micros(head.recorded_up_to));
        self.session(&self.lake.pin_at(&BTreeMap::from([(Table::CostLines, version)])).await?)
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
