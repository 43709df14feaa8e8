use std::fmt;
use std::time::Duration;

/// Why a provider was not read, as a stable word: the label `cause` of `cost_collector_errors_total`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Cause {
    /// 401 or 403: another credential is needed, or more rights.
    Auth,
    /// 404 or 410. It is never read as zero.
    NotFound,
    /// 429, or what the provider sends in its place.
    RateLimited,
    /// 5xx.
    Server,
    /// Any other status.
    Refused,
    /// 3xx; it is not followed.
    Redirect,
    /// No whole answer in time.
    Timeout,
    /// No connection.
    Unreachable,
    /// The answer ended too early.
    Truncated,
    /// The answer is larger than allowed.
    TooLarge,
    /// The answer is not JSON, a page of HTML for instance.
    NotJson,
    /// JSON that lacks what was documented, or has it in another shape.
    Schema,
    /// Pages that repeat, or never end.
    Paging,
    /// A request off the collector's list, or an address that may not be asked. Nothing was sent.
    NotAllowed,
    /// A credential cannot be had.
    Secret,
    /// The answer would take more than a fifth of a billing period away.
    WouldShrink,
    /// The answer would make two billing periods of one account overlap.
    Overlap,
    /// What was read could not be stored.
    Store,
}

impl Cause {
    /// Every cause, in the order of their words in documents.
    pub const ALL: [Self; 18] = [
        Self::Auth,
        Self::NotFound,
        Self::RateLimited,
        Self::Server,
        Self::Refused,
        Self::Redirect,
        Self::Timeout,
        Self::Unreachable,
        Self::Truncated,
        Self::TooLarge,
        Self::NotJson,
        Self::Schema,
        Self::Paging,
        Self::NotAllowed,
        Self::Secret,
        Self::WouldShrink,
        Self::Overlap,
        Self::Store,
    ];

    /// Returns the stable word.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Auth => "auth",
            Self::NotFound => "not_found",
            Self::RateLimited => "rate_limited",
            Self::Server => "server",
            Self::Refused => "refused",
            Self::Redirect => "redirect",
            Self::Timeout => "timeout",
            Self::Unreachable => "unreachable",
            Self::Truncated => "truncated",
            Self::TooLarge => "too_large",
            Self::NotJson => "not_json",
            Self::Schema => "schema",
            Self::Paging => "paging",
            Self::NotAllowed => "not_allowed",
            Self::Secret => "secret",
            Self::WouldShrink => "would_shrink",
            Self::Overlap => "overlap",
            Self::Store => "store",
        }
    }

    /// Returns whether the same request may succeed a little later.
    #[must_use]
    pub const fn is_passing(self) -> bool {
        matches!(self, Self::RateLimited | Self::Server | Self::Timeout | Self::Unreachable | Self::Truncated)
    }
}

impl fmt::Display for Cause {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(self.as_str())
    }
}

/// A provider that was not read to its end. The text holds no secret: whoever makes one of it that may, scrubs it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{detail} ({cause})")]
pub struct CollectError {
    /// Why, in one word.
    pub cause: Cause,
    /// Why, for people: what, where, and what to do.
    pub detail: String,
    /// How long the provider asks to wait.
    pub wait: Option<Duration>,
}

impl CollectError {
    /// Returns an error.
    #[must_use]
    pub fn new(cause: Cause, detail: impl Into<String>) -> Self {
        Self { cause, detail: detail.into(), wait: None }
    }

    /// Returns the error of an answer that lacks what was documented.
    #[must_use]
    pub fn schema(detail: impl Into<String>) -> Self {
        Self::new(Cause::Schema, detail)
    }

    /// Returns the error of pages that repeat or never end.
    #[must_use]
    pub fn paging(detail: impl Into<String>) -> Self {
        Self::new(Cause::Paging, detail)
    }

    /// Returns the error with how long to wait.
    #[must_use]
    pub(super) fn after(self, wait: Option<Duration>) -> Self {
        Self { wait, ..self }
    }
}

/// Why a collection did not go to its end.
#[derive(Clone, Debug)]
pub(super) enum Stopped {
    /// The provider was not read, or what it said was not stored.
    Failed(CollectError),
    /// Somebody asked for the end, and nothing of what was under way was stored.
    Cancelled,
}

impl From<CollectError> for Stopped {
    fn from(error: CollectError) -> Self {
        Self::Failed(error)
    }
}

#[cfg(test)]
mod tests {
    use super::Cause;
    use std::collections::BTreeSet;

    #[test]
    fn every_cause_has_a_word_of_its_own() {
        let words: BTreeSet<&str> = Cause::ALL.into_iter().map(Cause::as_str).collect();
        assert_eq!(words.len(), Cause::ALL.len());
    }

    #[test]
    fn the_page_about_collectors_names_every_cause() {
        let page = include_str!("../../../../docs/collectors.md");
        for cause in Cause::ALL {
            assert!(page.contains(&format!("| `{cause}` |")), "docs/collectors.md lacks `{cause}`");
        }
    }
}
