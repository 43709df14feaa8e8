//! How much a request may use. Every number has its unit in its name.

/// Bounds of requests and answers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ApiLimits {
    /// Bytes of a JSON body.
    pub json_bytes_max: usize,
    /// Bytes of a policy, a rate card, a table of exchange rates.
    pub text_bytes_max: usize,
    /// Bytes of an upload as it is sent: bills and event files.
    pub upload_bytes_max: u64,
    /// Files of an upload.
    pub upload_files_max: usize,
    /// How long an upload may stand still.
    pub upload_idle_seconds_max: u64,
    /// How long a question may take.
    pub read_seconds_max: u64,
    /// Bytes of a query string.
    pub query_bytes_max: usize,
    /// Rows of a page that says nothing.
    pub rows_default: usize,
    /// Most rows of a page, but for costs.
    pub rows_max: usize,
    /// Answers up to so many bytes carry an ETag.
    pub etag_bytes_max: u64,
    /// How long the first answer to a keyed write is kept for a repeat.
    pub idempotency_days: i64,
    /// After so long a keyed write that never ended belongs to a process that died.
    pub idempotency_stale_seconds: i64,
    /// How precisely a token's last use is noted.
    pub token_used_seconds: i64,
}

impl Default for ApiLimits {
    fn default() -> Self {
        Self {
            json_bytes_max: 1024 * 1024,
            text_bytes_max: 16 * 1024 * 1024,
            upload_bytes_max: 64 * 1024 * 1024 * 1024,
            upload_files_max: 10_000,
            upload_idle_seconds_max: 60,
            read_seconds_max: 300,
            query_bytes_max: 16 * 1024,
            rows_default: 100,
            rows_max: 1_000,
            etag_bytes_max: 64 * 1024 * 1024,
            idempotency_days: 7,
            idempotency_stale_seconds: 3600,
            token_used_seconds: 60,
        }
    }
}
