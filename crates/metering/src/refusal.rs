use serde::{Deserialize, Serialize};
use std::fmt;

/// Why an event is refused; the words are part of the API.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RefusalCode {
    /// Not a CloudEvent that we can read.
    InvalidEvent,
    /// Nothing says whose event it is.
    TenantMissing,
    /// The caller may not write for this tenant.
    TenantForbidden,
    /// The tenant does not exist and may not be created.
    TenantUnknown,
    /// More than an hour ahead of the clock.
    TimeInFuture,
    /// Older than accepted.
    TimeTooOld,
    /// A counter was given a negative quantity.
    NegativeQuantity,
    /// A quantity, or the sum it goes into, is too large to be stored.
    OutOfBound,
    /// The same tenant, source and id came before with other content.
    IdConflict,
}

impl RefusalCode {
    /// Every code.
    pub const ALL: [Self; 9] = [
        Self::InvalidEvent,
        Self::TenantMissing,
        Self::TenantForbidden,
        Self::TenantUnknown,
        Self::TimeInFuture,
        Self::TimeTooOld,
        Self::NegativeQuantity,
        Self::OutOfBound,
        Self::IdConflict,
    ];

    /// Returns the code's word.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::InvalidEvent => "invalid_event",
            Self::TenantMissing => "tenant_missing",
            Self::TenantForbidden => "tenant_forbidden",
            Self::TenantUnknown => "tenant_unknown",
            Self::TimeInFuture => "time_in_future",
            Self::TimeTooOld => "time_too_old",
            Self::NegativeQuantity => "negative_quantity",
            Self::OutOfBound => "out_of_bound",
            Self::IdConflict => "id_conflict",
        }
    }
}

impl fmt::Display for RefusalCode {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(self.as_str())
    }
}

/// One event refused, and why.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{code}: {detail}")]
pub struct Refusal {
    /// Which rule.
    pub code: RefusalCode,
    /// A sentence for people.
    pub detail: String,
    /// Whether the text is not even JSON; then a body that is one JSON document is refused whole.
    pub not_json: bool,
    /// The event's id, if it could be read.
    pub id: Option<String>,
}

impl Refusal {
    /// Returns a refusal of an event whose id is told later.
    #[must_use]
    pub fn new(code: RefusalCode, detail: impl Into<String>) -> Self {
        Self { code, detail: detail.into(), not_json: false, id: None }
    }

    /// Returns the refusal of something that is not an event we can read.
    #[must_use]
    pub fn invalid(detail: impl Into<String>) -> Self {
        Self::new(RefusalCode::InvalidEvent, detail)
    }

    /// Returns the refusal with the event's id.
    #[must_use]
    pub fn of(mut self, id: &str) -> Self {
        self.id = Some(id.chars().take(200).collect());
        self
    }
}
