//! What can go wrong in a use case. Knows nothing of HTTP.

use crate::periods::{Obstacle, obstacles_text};
use domain::Month;
use domain::policy::PolicyError;
use domain::rates::RateError;
use ledger::PeriodFault;
use storage::catalog::CatalogError;
use storage::lake::LakeError;

/// What can go wrong in a use case.
#[derive(Debug, thiserror::Error)]
pub enum EngineError {
    /// A parameter cannot be used.
    #[error("{detail}")]
    InvalidParameter {
        /// Name of the parameter.
        parameter: String,
        /// What is wrong and what to do.
        detail: String,
    },
    /// A later release brings it.
    #[error("{0} is not available yet")]
    NotAvailable(String),
    /// No such tenant, or not the caller's.
    #[error("tenant `{0}` does not exist")]
    TenantNotFound(String),
    /// No pool of kind cluster has this name.
    #[error("cluster `{0}` does not exist; pools of kind `cluster` are in the policy")]
    ClusterNotFound(String),
    /// The day was never attributed.
    #[error("{day} was never attributed for `{pool}`; run `apportion attribute --date {day}`")]
    NotAttributed {
        /// The pool or cluster.
        pool: String,
        /// The day.
        day: domain::Day,
    },
    /// Some other named thing is missing.
    #[error("{kind} `{name}` does not exist")]
    NotFound {
        /// What kind of thing, e.g. `run`.
        kind: &'static str,
        /// Its name.
        name: String,
    },
    /// A run over some of these days is under way.
    #[error("run {run} is under way for {range}; wait for it or use wait=true")]
    RunInProgress {
        /// The run under way.
        run: String,
        /// Its days.
        range: String,
    },
    /// Somebody cancelled the run before it posted.
    #[error("run {run} was cancelled by {by} before it posted anything; start it again when it is wanted")]
    RunCancelled {
        /// The run.
        run: String,
        /// Who cancelled it.
        by: String,
    },
    /// There is no usable rate of exchange.
    #[error(
        "there is no rate from {from} to {to} of {day} or the 7 days before; enter one with `apportion fx import` and repeat"
    )]
    FxMissing {
        /// From which currency.
        from: domain::Currency,
        /// To which one.
        to: domain::Currency,
        /// On which day.
        day: domain::Day,
    },
    /// The month is closed.
    #[error("{0} is closed already; reopen it first if it must be closed again")]
    PeriodClosed(Month),
    /// Reasons stand against closing the month.
    #[error("{}", obstacles_text(.month, .obstacles))]
    PeriodNotClosable {
        /// The month.
        month: Month,
        /// Every reason.
        obstacles: Vec<Obstacle>,
    },
    /// It is not the month's turn.
    #[error(transparent)]
    Period(PeriodFault),
    /// A statement is asked for of a month that was never closed.
    #[error(
        "{0} is open: its statement is made when it is closed; until then ask for costs with clock=billed, \
         measure=billed_amount and round=minor"
    )]
    PeriodOpen(Month),
    /// The version was used by a posting and cannot change.
    #[error("{kind} `{version}` was already used by a posting and has other content; publish it under a new version")]
    VersionInUse {
        /// `policy` or `rate card`.
        kind: &'static str,
        /// The version.
        version: String,
    },
    /// A price is 100 times or more away from the previous card's.
    #[error("{0}")]
    SuspiciousPrice(String),
    /// The policy cannot be used.
    #[error(transparent)]
    Policy(#[from] PolicyError),
    /// The rate card cannot be used.
    #[error(transparent)]
    Rates(#[from] RateError),
    /// A stored text cannot be read back.
    #[error("{what} in the store is unreadable: {detail}")]
    Corrupt {
        /// Where it lies.
        what: String,
        /// What is wrong.
        detail: String,
    },
    /// The catalog failed.
    #[error(transparent)]
    Catalog(#[from] CatalogError),
    /// The lake failed.
    #[error(transparent)]
    Lake(#[from] LakeError),
    /// A query failed.
    #[error("a query failed: {0}")]
    Query(#[from] datafusion::error::DataFusionError),
}

impl EngineError {
    /// Returns the damaged file of the lake that a failure comes of, and what is wrong with it.
    pub fn damage(&self) -> Option<(&str, &str)> {
        match self {
            Self::Lake(error) => LakeError::damage_behind(error),
            Self::Query(error) => LakeError::damage_behind(error),
            _ => None,
        }
    }

    /// Returns the error of a parameter that cannot be used.
    pub fn parameter(parameter: &str, detail: impl Into<String>) -> Self {
        Self::InvalidParameter { parameter: parameter.to_owned(), detail: detail.into() }
    }
}
