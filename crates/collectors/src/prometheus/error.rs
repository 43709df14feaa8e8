use std::time::Duration;

/// Why a server gave no usable answer. The texts hold neither secrets nor addresses with secrets.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PrometheusError {
    /// No connection.
    #[error("the server cannot be reached: {0}")]
    Unreachable(String),
    /// No whole answer in time.
    #[error("no answer within {0:?}; raise `timeout` or lower `chunk`")]
    TimedOut(Duration),
    /// The answer ended too early.
    #[error("the answer broke off: {0}")]
    BrokenOff(String),
    /// The answer is larger than allowed.
    #[error("the answer has more than {0} bytes; raise `response` or lower `chunk`")]
    TooLarge(u64),
    /// The answer is not that of a Prometheus server.
    #[error("the answer is not Prometheus' JSON but begins with `{0}`; is `url` right?")]
    NotJson(String),
    /// JSON that says something that was not asked for.
    #[error("the answer makes no sense: {0}")]
    Unexpected(String),
    /// 401.
    #[error("the server wants another token or password (401)")]
    Unauthorized,
    /// 403.
    #[error("the server forbids the query (403)")]
    Forbidden,
    /// 404: not the same as no usage.
    #[error("the server has no /api/v1/query_range below `url` (404)")]
    NotFound,
    /// 429.
    #[error("the server asks to wait (429)")]
    Throttled {
        /// How long, if it says so.
        wait: Option<Duration>,
    },
    /// 400, 422, or an error in the answer itself.
    #[error("the server refuses the query: {0}")]
    BadQuery(String),
    /// 500, 502, 503, 504.
    #[error("the server failed ({status}): {detail}")]
    Failed {
        /// HTTP status.
        status: u16,
        /// What it says.
        detail: String,
        /// When to come back, if it says so.
        wait: Option<Duration>,
    },
    /// Any other status.
    #[error("the server answered {0}")]
    Status(u16),
    /// More series than allowed.
    #[error("the query answers {found} series, more than `series_max` = {max}; sum by fewer labels")]
    TooManySeries {
        /// How many there are.
        found: usize,
        /// How many may be.
        max: usize,
    },
    /// A token, password or address cannot be had.
    #[error("{0}")]
    Secret(String),
    /// The client itself cannot be made.
    #[error("cannot set up HTTP: {0}")]
    Setup(String),
}

impl PrometheusError {
    /// Returns the stable word for what went wrong, as metrics and status show it.
    #[must_use]
    pub fn cause(&self) -> &'static str {
        match self {
            Self::Unreachable(_) => "unreachable",
            Self::TimedOut(_) => "timeout",
            Self::BrokenOff(_) => "broken_off",
            Self::TooLarge(_) => "too_large",
            Self::NotJson(_) => "not_json",
            Self::Unexpected(_) => "unexpected",
            Self::Unauthorized => "unauthorized",
            Self::Forbidden => "forbidden",
            Self::NotFound => "not_found",
            Self::Throttled { .. } => "throttled",
            Self::BadQuery(_) => "bad_query",
            Self::Failed { .. } => "server_error",
            Self::Status(_) => "status",
            Self::TooManySeries { .. } => "too_many_series",
            Self::Secret(_) => "secret",
            Self::Setup(_) => "setup",
        }
    }

    /// Returns whether the same request may succeed a little later.
    #[must_use]
    pub fn is_passing(&self) -> bool {
        match self {
            Self::Unreachable(_)
            | Self::TimedOut(_)
            | Self::BrokenOff(_)
            | Self::Throttled { .. }
            | Self::Failed { .. } => true,
            Self::TooLarge(_)
            | Self::NotJson(_)
            | Self::Unexpected(_)
            | Self::Unauthorized
            | Self::Forbidden
            | Self::NotFound
            | Self::BadQuery(_)
            | Self::Status(_)
            | Self::TooManySeries { .. }
            | Self::Secret(_)
            | Self::Setup(_) => false,
        }
    }

    /// Returns how long the server asks to wait.
    pub(super) fn wait(&self) -> Option<Duration> {
        match self {
            Self::Throttled { wait } | Self::Failed { wait, .. } => *wait,
            _ => None,
        }
    }
}

/// Longest text of a server that is passed on.
const DETAIL_LETTERS_MAX: usize = 300;

/// Returns text of a server, safe to print and of bounded length.
pub(crate) fn shown(text: &str) -> String {
    text.trim().chars().take(DETAIL_LETTERS_MAX).flat_map(printable).collect()
}

/// Returns how the answer begins, safe to print.
pub(crate) fn beginning(bytes: &[u8]) -> String {
    let start = &bytes[..bytes.len().min(200)];
    String::from_utf8_lossy(start).trim().chars().take(60).flat_map(printable).collect()
}

/// The letter, or its escape if it does something to a terminal.
fn printable(letter: char) -> Vec<char> {
    if letter.is_control() { letter.escape_debug().collect() } else { vec![letter] }
}
