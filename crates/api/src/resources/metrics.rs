//! Metrics as they are pushed: by OpenTelemetry exporters and by Prometheus. Those of `[[ingest.metric]]` become events.

use crate::access::EventWriter;
use crate::app::App;
use crate::body::content_type;
use crate::memory::EventShare;
use crate::parsers::Size;
use crate::problem::ApiError;
use crate::query::QueryPairs;
use crate::resources::events::{PREPARED_TIMES_MAX, Received, read};
use axum::body::Body;
use axum::extract::{Request, State};
use axum::http::{HeaderName, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse as _, Response};
use metering::MeteringError;
use metering::streams::otlp::{self, OtlpEncoding};
use metering::streams::remote_write::{self, RemoteWrite};
use metering::streams::{Outcome, Point, PushLimits, Pushed, Refused};
use serde::Serialize;
use std::sync::Arc;
use utoipa::ToSchema;

/// Path of OTLP metrics; its errors are told in OTLP's own form.
pub(crate) const OTLP_PATH: &str = "/api/v1/otlp/v1/metrics";

/// Bytes of memory for each byte of a push that is decoded: itself, in a list that grows, and its texts once more.
const DECODED_FACTOR: usize = 4;
/// Bytes of memory of a point and of the event that it becomes, as they usually are.
const POINT_BYTES: usize = 2 * 1024;

/// What a version 2 sender must be told, by header.
const WRITTEN: [HeaderName; 3] = [
    HeaderName::from_static("x-prometheus-remote-write-samples-written"),
    HeaderName::from_static("x-prometheus-remote-write-histograms-written"),
    HeaderName::from_static("x-prometheus-remote-write-exemplars-written"),
];

/// The answer to an export of metrics.
#[derive(Clone, Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct OtlpAnswerBody {
    /// Absent if every data point was taken.
    pub partial_success: Option<OtlpPartialBody>,
}

/// What of an export was refused.
#[derive(Clone, Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct OtlpPartialBody {
    /// How many data points were refused.
    pub rejected_data_points: String,
    /// Why.
    pub error_message: String,
}

/// Takes metrics of an OpenTelemetry exporter (OTLP/HTTP, protobuf or JSON, plain or gzip); each data point counts once.
///
/// Metrics without an `[[ingest.metric]]` are skipped. Errors are a `Status` in the encoding of the request.
#[utoipa::path(post, path = "/api/v1/otlp/v1/metrics", tag = "events",
    request_body(content((String = "application/x-protobuf"), (String = "application/json"))),
    responses((status = 200, body = OtlpAnswerBody, description = "Taken; some data points may be refused")))]
pub async fn post_otlp_metrics(
    writer: EventWriter,
    State(app): State<App>,
    query: QueryPairs,
    request: Request,
) -> Result<Response, ApiError> {
    query.none()?;
    let encoding = OtlpEncoding::of(&content_type(request.headers()))
        .ok_or_else(|| ApiError::MediaType("send application/x-protobuf or application/json".to_owned()))?;
    let is_gzip = match encoding_of(&request) {
        b"" | b"identity" => false,
        b"gzip" => true,
        _ => return Err(ApiError::MediaType("the content encoding known here is gzip".to_owned())),
    };
    let Received { bytes, share } = read(&app, request).await?;
    let (map, limits, size) = (Arc::clone(&app.metrics), push_limits(&app), Size::of(bytes.len(), is_gzip));
    let decode = move |share: &mut EventShare| {
        grow_to_decode(share, otlp::decoded_bytes(&bytes, is_gzip, &limits)?)?;
        Ok::<_, ApiError>(otlp::decode(bytes, is_gzip, encoding, &map, &limits)?)
    };
    // The share is held to the end.
    let (pushed, _share) = decoded(&app, size, share, decode).await?;
    let outcome = store(&app, &writer, pushed).await?;
    let mut response = Response::new(Body::from(otlp::response(encoding, &outcome.refused)));
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(encoding.content_type()));
    Ok(response)
}

/// Takes samples of Prometheus (remote write 1.0 and 2.0, protobuf in a snappy block); each sample counts once.
///
/// Metrics without an `[[ingest.metric]]` are skipped. 400 when some samples are refused; the others are stored.
#[utoipa::path(post, path = "/api/v1/write", tag = "events",
    request_body(content((String = "application/x-protobuf"))),
    responses((status = 204, description = "Every sample is stored, came before, or is of a metric that is not counted")))]
pub async fn post_remote_write(
    writer: EventWriter,
    State(app): State<App>,
    query: QueryPairs,
    request: Request,
) -> Result<Response, ApiError> {
    query.none()?;
    let content_type = request.headers().get(header::CONTENT_TYPE).map_or(Ok(""), HeaderValue::to_str);
    let version = content_type.ok().and_then(RemoteWrite::of).ok_or_else(|| {
        let known = "application/x-protobuf with proto=prometheus.WriteRequest or proto=io.prometheus.write.v2.Request";
        ApiError::MediaType(format!("send {known}"))
    })?;
    if !matches!(encoding_of(&request), b"" | b"snappy") {
        return Err(ApiError::MediaType("the content encoding known here is snappy".to_owned()));
    }
    let Received { bytes, share } = read(&app, request).await?;
    let (map, limits, size) = (Arc::clone(&app.metrics), push_limits(&app), Size::of(bytes.len(), true));
    let decode = move |share: &mut EventShare| {
        grow_to_decode(share, remote_write::decoded_bytes(&bytes, &limits)?)?;
        Ok::<_, ApiError>(remote_write::decode(&bytes, version, &map, &limits)?)
    };
    // The share is held to the end.
    let (pushed, _share) = decoded(&app, size, share, decode).await?;
    let received = pushed.received;
    let outcome = store(&app, &writer, pushed).await?;
    let mut response = match outcome.refused.count {
        0 => StatusCode::NO_CONTENT.into_response(),
        _ => ApiError::SamplesRefused(outcome.refused.message("samples")).into_response(),
    };
    if version == RemoteWrite::V2 {
        // What is not counted on purpose is dealt with: the sender must not take it for lost.
        let samples = received.saturating_sub(outcome.refused.count);
        for (name, written) in WRITTEN.into_iter().zip([samples, 0, 0]) {
            response.headers_mut().insert(name, written.into());
        }
    }
    Ok(response)
}

fn encoding_of(request: &Request) -> &[u8] {
    request.headers().get(header::CONTENT_ENCODING).map_or(b"", HeaderValue::as_bytes)
}

fn push_limits(app: &App) -> PushLimits {
    PushLimits {
        decoded_bytes_max: app.limits.events_decoded_bytes_max,
        series_max: app.limits.metric_series_max,
        points_max: app.limits.events_max,
    }
}

/// Decodes a push, and takes the memory of its points beside what decoding took.
async fn decoded(
    app: &App,
    size: Size,
    mut share: EventShare,
    decode: impl FnOnce(&mut EventShare) -> Result<Pushed, ApiError> + Send + 'static,
) -> Result<(Pushed, EventShare), ApiError> {
    let work = move || {
        let pushed = decode(&mut share)?;
        share.grow(POINT_BYTES * pushed.points.len())?;
        Ok::<_, ApiError>((pushed, share))
    };
    app.parsers.run(size, work).await
}

fn grow_to_decode(share: &mut EventShare, bytes: u64) -> Result<(), ApiError> {
    share.grow(usize::try_from(bytes).unwrap_or(usize::MAX).saturating_mul(DECODED_FACTOR))
}

async fn store(app: &App, writer: &EventWriter, pushed: Pushed) -> Result<Outcome, ApiError> {
    let Pushed { points, refused, .. } = pushed;
    for _ in 1..PREPARED_TIMES_MAX {
        match store_once(app, writer, points.clone(), &refused).await {
            Err(ApiError::Metering(MeteringError::MetersChanged)) => {}
            stored => return stored,
        }
    }
    store_once(app, writer, points, &refused).await
}

/// Makes events of the points by the meters of this moment, and stores them.
async fn store_once(
    app: &App,
    writer: &EventWriter,
    points: Vec<Point>,
    refused: &Refused,
) -> Result<Outcome, ApiError> {
    let preparer = app.events.preparer(writer.scope().clone());
    let intake = app.metric_streams.prepare(points, &app.metrics, preparer).await?;
    app.rates.take(intake.tenants(), app.now())?;
    let mut outcome = intake.store(&app.events).await?;
    outcome.refused.merge(refused);
    app.exporter.counters().count_samples(outcome.accepted, outcome.duplicates, outcome.refused.count);
    Ok(outcome)
}
