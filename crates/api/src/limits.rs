//! How much a request may use. Every number has its unit in its name.

use std::time::Duration;

/// Bounds of requests and answers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ApiLimits {
    /// Bytes of a JSON body.
    pub json_bytes_max: usize,
    /// Bytes of a policy, a rate card, a table of exchange rates.
    pub text_bytes_max: usize,
    /// Bytes of an upload as it is sent: bills and event files.
    pub upload_bytes_max: u64,
    /// Bytes of a batch of events as it is sent.
    pub events_bytes_max: usize,
    /// Bytes of a batch of events after decompression.
    pub events_decoded_bytes_max: u64,
    /// Bytes of memory that the events of all requests in work may take together.
    pub events_memory_bytes_max: u64,
    /// Events of a batch.
    pub events_max: u64,
    /// Series of one push of metrics.
    pub metric_series_max: usize,
    /// Metrics of a tenant in one snapshot.
    pub snapshot_metrics_max: usize,
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
    /// Most rows of a page of costs.
    pub cost_rows_max: usize,
    /// Streams of live usage at once.
    pub live_streams_max: usize,
    /// Most rows of one of their events.
    pub live_rows_max: usize,
    /// Most totals that one of them keeps in memory.
    pub live_keys_max: usize,
    /// How long they wait between two looks.
    pub live_wait: Duration,
    /// Longest range of days over which a draft is tried.
    pub simulation_days_max: i32,
    /// Drafts that are tried at once.
    pub simulations_max: usize,
    /// Answers up to so many bytes carry an ETag.
    pub etag_bytes_max: u64,
    /// How long the first answer to a keyed write is kept for a repeat.
    pub idempotency_seconds: i64,
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
            events_bytes_max: 16 * 1024 * 1024,
            events_decoded_bytes_max: 64 * 1024 * 1024,
            events_memory_bytes_max: 512 * 1024 * 1024,
            events_max: 10_000,
            metric_series_max: 20_000,
            snapshot_metrics_max: 200,
            upload_files_max: 10_000,
            upload_idle_seconds_max: 60,
            read_seconds_max: 300,
            query_bytes_max: 16 * 1024,
            rows_default: 100,
            rows_max: 1_000,
            cost_rows_max: 10_000,
            live_streams_max: 32,
            live_rows_max: 1_000,
            live_keys_max: 50_000,
            live_wait: Duration::from_secs(1),
            simulation_days_max: 400,
            simulations_max: 1,
            etag_bytes_max: 64 * 1024 * 1024,
            idempotency_seconds: 7 * 86_400,
            idempotency_stale_seconds: 3600,
            token_used_seconds: 60,
        }
    }
}

/// What a route takes, which decides how large its body may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum BodySize {
    /// JSON, or no body.
    Json,
    /// A policy, a rate card, a table of exchange rates.
    Text,
    /// A batch of events.
    Events,
    /// Bills and event files.
    Upload,
}

impl BodySize {
    /// Returns how many bytes a body may have, and the configuration key that says so.
    pub(crate) fn bytes_max(self, limits: &ApiLimits) -> (u64, &'static str) {
        match self {
            Self::Json => (limits.json_bytes_max as u64, "limits.json_body"),
            Self::Text => (limits.text_bytes_max as u64, "limits.text_body"),
            Self::Events => (limits.events_bytes_max as u64, "limits.events_body"),
            Self::Upload => (limits.upload_bytes_max, "limits.upload_body"),
        }
    }
}
