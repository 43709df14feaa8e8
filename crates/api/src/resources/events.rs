//! Usage events as they happen. The answer is sent when the accepted ones are on stable storage.

use crate::access::EventWriter;
use crate::app::App;
use crate::binary_event::{BinaryEvent, DATA_BYTES_MAX, too_long};
use crate::body::{content_type, pieces};
use crate::limits::ApiLimits;
use crate::memory::EventShare;
use crate::problem::ApiError;
use crate::query::QueryPairs;
use axum::extract::{Request, State};
use axum::http::{StatusCode, header};
use axum::response::Response;
use domain::TenantScope;
use futures::StreamExt;
use metering::MeteringError;
use metering::import::{EventReader, Item, is_compressed, read_whole, reading_bytes_max};
use metering::live::{Decision, Offered, PreparedEvent, Preparer};
use metering::refusal::{Refusal, RefusalCode};
use serde::Serialize;
use std::sync::Arc;
use utoipa::{IntoParams, ToSchema};

/// How often a batch is prepared when other meters begin to apply meanwhile.
pub(crate) const PREPARED_TIMES_MAX: u32 = 3;
/// Bytes of memory for each byte of the event that is being parsed: its values, its text once more, its record.
const PARSED_FACTOR: usize = 6;
/// Bytes of memory for each value of a payload that is parsed as a whole, however short its text: the value as it is read
/// and as paths look at it, its share of events and refusals.
const VALUE_BYTES: usize = 384;
/// Bytes of memory of an event about which only the answer is kept, beside its text.
const ANSWERED_BYTES: usize = 256;

/// How a batch with refused events is taken.
#[derive(Clone, Debug, IntoParams)]
#[into_params(parameter_in = Query)]
pub struct EventParams {
    /// `true` stores all events or none: one refused event answers 422.
    pub atomic: Option<bool>,
}

/// What became of a batch.
#[derive(Clone, Debug, Default, Serialize, ToSchema)]
pub struct EventsBody {
    /// Events stored.
    pub accepted: u64,
    /// Events that came before with the same content.
    pub duplicates: u64,
    /// Events refused, by their number in the batch.
    pub rejected: Vec<RefusedEventBody>,
}

/// One refused event.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
pub struct RefusedEventBody {
    /// Its number in the batch, from 0.
    pub index: u64,
    /// Its id, if it could be read.
    pub id: Option<String>,
    /// Which rule.
    pub code: String,
    /// A sentence for people.
    pub detail: String,
}

/// What the content type says about the body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Shape {
    /// One event.
    One,
    /// A JSON list.
    Batch,
    /// One event or a JSON list.
    Json,
    /// One event per line.
    Lines,
}

impl Shape {
    fn of(content_type: &str) -> Result<Self, ApiError> {
        Ok(match content_type {
            "application/cloudevents+json" => Self::One,
            "application/cloudevents-batch+json" => Self::Batch,
            "application/json" => Self::Json,
            "application/x-ndjson" | "application/ndjson" => Self::Lines,
            _ => {
                let known = "application/cloudevents+json, application/cloudevents-batch+json, application/json or application/x-ndjson";
                return Err(ApiError::MediaType(format!("send events as {known}")));
            }
        })
    }
}

/// Takes usage events as CloudEvents 1.0: one, a JSON list, or one per line; plain, gzip or zstd. Each counts once.
///
/// One event may also come in binary mode: attributes as headers `ce-…`, data as the body (JSON or text).
///
/// 200 when every event is accepted or a duplicate, 207 when some are refused. A request with one event answers its own
/// status.
#[utoipa::path(post, path = "/api/v1/events", tag = "events", params(EventParams),
    request_body(content((String = "application/cloudevents+json"), (String = "application/cloudevents-batch+json"),
        (String = "application/json"), (String = "application/x-ndjson"))),
    responses((status = 200, body = EventsBody), (status = 207, body = EventsBody, description = "Some events are refused")))]
pub async fn post_events(
    writer: EventWriter,
    State(app): State<App>,
    query: QueryPairs,
    request: Request,
) -> Result<Response, ApiError> {
    let mut params = query.params()?;
    let atomic = params.word("atomic", &[("false", false), ("true", true)])?;
    params.finish()?;
    let content_type = content_type(request.headers());
    let binary = BinaryEvent::of(request.headers(), &content_type)?;
    let shape = if binary.is_some() { Shape::One } else { Shape::of(&content_type)? };
    let encoding = Encoding::of(&request)?;
    // The share is held to the end.
    let Received { bytes, share } = read(&app, request).await?;
    let mut body = Body { bytes: bytes.into(), encoding, shape };
    if let Some(event) = binary {
        body = structured(event, body, share.part()).await?;
    }
    let (outcome, is_single) = take(&app, writer.scope(), (&body, &share), atomic).await?;
    answer(outcome, is_single)
}

/// Takes events that were made of something else, one per line, and returns what became of each.
pub(crate) async fn take_lines(
    app: &App,
    scope: &TenantScope,
    lines: String,
    share: &EventShare,
) -> Result<EventsBody, ApiError> {
    let body = Body { bytes: lines.into_bytes().into(), encoding: Encoding::Plain, shape: Shape::Lines };
    let (outcome, _) = take(app, scope, (&body, share), false).await?;
    Ok(outcome)
}

/// Returns the text of a body, decompressed, and the memory that it takes until it is read.
pub(crate) async fn read_text(app: &App, request: Request) -> Result<(String, EventShare), ApiError> {
    let encoding = Encoding::of(&request)?;
    let Received { bytes, share } = read(app, request).await?;
    let body = Body { bytes: bytes.into(), encoding, shape: Shape::Lines };
    let (limit, mut of_text) = (app.limits.events_decoded_bytes_max, share.part());
    let decoded = move || {
        check_encoding(&body)?;
        grow_to_read(&mut of_text, &body.bytes, limit)?;
        let room = |piece: &[u8]| grow_to_parse(&mut of_text, piece);
        let bytes = read_whole(body.bytes, limit, room).map_err(|error| match error {
            ApiError::Metering(error) => limited(error, limit),
            other => other,
        })?;
        let text = String::from_utf8(bytes).map_err(|_| ApiError::body("", "the body is not UTF-8"))?;
        Ok::<_, ApiError>((text, of_text))
    };
    tokio::task::spawn_blocking(decoded).await.map_err(|error| ApiError::Internal(error.to_string()))?
}

/// Returns the same event as it would be in structured mode.
async fn structured(event: BinaryEvent, body: Body, mut share: EventShare) -> Result<Body, ApiError> {
    let text = move || {
        check_encoding(&body)?;
        grow_to_read(&mut share, &body.bytes, DATA_BYTES_MAX)?;
        let room = |piece: &[u8]| grow_to_parse(&mut share, piece);
        let data = read_whole(body.bytes, DATA_BYTES_MAX, room).map_err(|error| match error {
            ApiError::Metering(error) if error.is_too_large() => too_long(),
            other => other,
        })?;
        Ok::<_, ApiError>(Body { bytes: event.text(&data)?.into_bytes().into(), encoding: Encoding::Plain, ..body })
    };
    tokio::task::spawn_blocking(text).await.map_err(|error| ApiError::Internal(error.to_string()))?
}

/// What was sent.
#[derive(Clone)]
struct Body {
    bytes: Arc<[u8]>,
    encoding: Encoding,
    shape: Shape,
}

/// Stores the events, whatever meters begin to apply meanwhile; says as well whether it is a request with one event.
async fn take(
    app: &App,
    scope: &TenantScope,
    (body, share): (&Body, &EventShare),
    atomic: bool,
) -> Result<(EventsBody, bool), ApiError> {
    for _ in 1..PREPARED_TIMES_MAX {
        match take_once(app, scope, (body, share), atomic).await {
            Err(ApiError::Metering(MeteringError::MetersChanged)) => {}
            taken => return taken,
        }
    }
    take_once(app, scope, (body, share), atomic).await
}

/// Prepares the events by the rules and meters of this moment, and stores them.
async fn take_once(
    app: &App,
    scope: &TenantScope,
    (body, share): (&Body, &EventShare),
    atomic: bool,
) -> Result<(EventsBody, bool), ApiError> {
    let mut preparer = app.events.preparer(scope.clone());
    let (limits, share, body) = (Arc::clone(&app.limits), share.part(), body.clone());
    let offers = move || offer(&mut preparer, body, &limits, share);
    let offers = tokio::task::spawn_blocking(offers).await.map_err(|error| ApiError::Internal(error.to_string()))??;
    let Offers { prepared, indexes, known, mut refused, is_single, share } = offers;
    if atomic && !(refused.is_empty() && known.iter().all(|(_, decision)| *decision == Decision::Duplicate)) {
        let conflicts = known.into_iter().filter(|(_, decision)| *decision == Decision::Conflict);
        refused.extend(conflicts.map(|(index, _)| (index, conflict(None))));
        return Err(all_refused(app, refused));
    }
    app.rates.take(prepared.iter().map(PreparedEvent::tenant), app.now())?;
    let outcome = decide(app, (prepared, indexes), known, refused, atomic).await?;
    drop(share);
    Ok((outcome, is_single))
}

/// What the body holds.
struct Offers {
    prepared: Vec<PreparedEvent>,
    /// Their numbers in the batch.
    indexes: Vec<u64>,
    known: Vec<(u64, Decision)>,
    refused: Vec<(u64, Refusal)>,
    is_single: bool,
    /// The memory that they take.
    share: EventShare,
}

impl Offers {
    /// Adds what can be said of an event.
    fn add(&mut self, index: u64, offered: Result<Offered, Refusal>) -> Result<(), ApiError> {
        match offered {
            Ok(Offered::Prepared(event)) => {
                self.share.grow(event.memory_bytes())?;
                self.prepared.push(event);
                self.indexes.push(index);
            }
            Ok(Offered::Known(decision)) => {
                self.share.grow(ANSWERED_BYTES)?;
                self.known.push((index, decision));
            }
            Err(refusal) => {
                self.share.grow(ANSWERED_BYTES + refusal.detail.len())?;
                self.refused.push((index, refusal));
            }
        }
        Ok(())
    }
}

async fn decide(
    app: &App,
    (prepared, indexes): (Vec<PreparedEvent>, Vec<u64>),
    known: Vec<(u64, Decision)>,
    mut refused: Vec<(u64, Refusal)>,
    atomic: bool,
) -> Result<EventsBody, ApiError> {
    let ids = Ids::of(&prepared);
    let decisions = if prepared.is_empty() { Vec::new() } else { app.events.append(prepared, atomic).await? };
    let decided = indexes.into_iter().zip(decisions).enumerate();
    let decided = decided.map(|(at, (index, decision))| (index, Some(at), decision));
    let mut body = EventsBody::default();
    for (index, at, decision) in decided.chain(known.into_iter().map(|(index, decision)| (index, None, decision))) {
        match decision {
            Decision::Accepted => body.accepted += 1,
            Decision::Duplicate => body.duplicates += 1,
            Decision::Conflict => refused.push((index, conflict(at.map(|at| ids.get(at))))),
            Decision::NotStored => {}
        }
    }
    if atomic && !refused.is_empty() {
        return Err(all_refused(app, refused));
    }
    body.rejected = to_api_refused(refused);
    app.exporter.counters().count(body.accepted, body.duplicates, codes_of(&body.rejected));
    Ok(body)
}

/// The ids of events, one behind the other: few of them are asked for.
struct Ids {
    texts: String,
    ends: Vec<usize>,
}

impl Ids {
    fn of(events: &[PreparedEvent]) -> Self {
        let (mut texts, mut ends) = (String::new(), Vec::with_capacity(events.len()));
        for event in events {
            texts.push_str(event.id());
            ends.push(texts.len());
        }
        Self { texts, ends }
    }

    fn get(&self, at: usize) -> &str {
        let start = at.checked_sub(1).map_or(0, |before| self.ends[before]);
        &self.texts[start..self.ends[at]]
    }
}

fn conflict(id: Option<&str>) -> Refusal {
    let detail = "this tenant and source sent this id before with other content";
    let refusal = Refusal::new(RefusalCode::IdConflict, detail);
    match id {
        Some(id) => refusal.of(id),
        None => refusal,
    }
}

/// The error of an atomic request with refused events; they are counted, for nothing else is said of them.
fn all_refused(app: &App, refused: Vec<(u64, Refusal)>) -> ApiError {
    let refused = to_api_refused(refused);
    app.exporter.counters().count(0, 0, codes_of(&refused));
    ApiError::EventsRefused(refused)
}

fn codes_of(refused: &[RefusedEventBody]) -> impl Iterator<Item = &str> {
    refused.iter().map(|event| event.code.as_str())
}

fn to_api_refused(mut refused: Vec<(u64, Refusal)>) -> Vec<RefusedEventBody> {
    refused.sort_by_key(|(index, _)| *index);
    let body = |(index, refusal): (u64, Refusal)| RefusedEventBody {
        index,
        id: refusal.id,
        code: refusal.code.as_str().to_owned(),
        detail: refusal.detail,
    };
    refused.into_iter().map(body).collect()
}

fn answer(body: EventsBody, is_single: bool) -> Result<Response, ApiError> {
    match body.rejected.first() {
        Some(_) if is_single => {
            Err(ApiError::EventRefused(body.rejected.into_iter().next().expect("there is a first")))
        }
        first => {
            let status = if first.is_some() { StatusCode::MULTI_STATUS } else { StatusCode::OK };
            let mut response = crate::list::json(&body)?;
            *response.status_mut() = status;
            Ok(response)
        }
    }
}

/// How the body is compressed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Encoding {
    Plain,
    /// gzip or zstd; which of them shows its content.
    Compressed,
}

impl Encoding {
    fn of(request: &Request) -> Result<Self, ApiError> {
        match request.headers().get(header::CONTENT_ENCODING).map(|value| value.as_bytes()) {
            None | Some(b"identity" | b"") => Ok(Self::Plain),
            Some(b"gzip" | b"zstd") => Ok(Self::Compressed),
            Some(_) => Err(ApiError::MediaType("the content encodings known here are gzip and zstd".to_owned())),
        }
    }
}

/// A body as it was sent, and the memory that it takes.
pub(crate) struct Received {
    pub(crate) bytes: Vec<u8>,
    pub(crate) share: EventShare,
}

/// Reads a batch as it was sent.
pub(crate) async fn read(app: &App, request: Request) -> Result<Received, ApiError> {
    let limit = app.limits.events_bytes_max;
    let (mut bytes, mut share) = (Vec::new(), app.event_memory.share());
    let mut pieces = pieces(app, request.into_body());
    while let Some(piece) = pieces.next().await {
        let piece = piece?;
        if limit < bytes.len() + piece.len() {
            return Err(ApiError::TooLarge { what: "bytes", limit: limit as u64, key: "limits.events_body" });
        }
        // Twice, because the list grows by halves and is copied once.
        share.grow(2 * piece.len())?;
        bytes.extend_from_slice(&piece);
    }
    Ok(Received { bytes, share })
}

fn check_encoding(body: &Body) -> Result<(), ApiError> {
    match is_compressed(&body.bytes) == (body.encoding == Encoding::Compressed) {
        true => Ok(()),
        false => Err(ApiError::BrokenBody("Content-Encoding does not say what the body is".to_owned())),
    }
}

fn grow_to_read(share: &mut EventShare, bytes: &[u8], decoded_bytes_max: u64) -> Result<(), ApiError> {
    share.grow(usize::try_from(reading_bytes_max(bytes, decoded_bytes_max)).unwrap_or(usize::MAX))
}

/// Takes what a piece of text needs that is parsed as a whole: its length, and the values that it may begin.
pub(crate) fn grow_to_parse(share: &mut EventShare, piece: &[u8]) -> Result<(), ApiError> {
    let values = piece.iter().filter(|byte| matches!(byte, b',' | b'[' | b'{' | b'\n')).count();
    share.grow(PARSED_FACTOR * piece.len() + VALUE_BYTES * values)
}

fn limited(error: MeteringError, limit: u64) -> ApiError {
    match error.is_too_large() {
        true => ApiError::TooLarge { what: "decoded bytes", limit, key: "limits.events_decoded" },
        false => error.into(),
    }
}

/// Reads and prepares all events of a body.
fn offer(preparer: &mut Preparer, body: Body, limits: &ApiLimits, share: EventShare) -> Result<Offers, ApiError> {
    check_encoding(&body)?;
    let (decoded_max, events_max) = (limits.events_decoded_bytes_max, limits.events_max);
    let limited = |error: MeteringError| limited(error, decoded_max);
    let Body { bytes, shape, .. } = body;
    let mut reading = share.part();
    grow_to_read(&mut reading, &bytes, decoded_max)?;
    let mut reader = EventReader::of_bytes(bytes, decoded_max).map_err(limited)?;
    let is_list = reader.is_list();
    if (shape == Shape::Batch) != is_list && shape != Shape::Json {
        let expected = if shape == Shape::Batch { "a JSON list" } else { "no JSON list" };
        return Err(ApiError::body("", format!("the content type promises {expected}")));
    }
    let is_single = !is_list && shape != Shape::Lines;
    let (prepared, indexes, known, refused) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
    let mut offers = Offers { prepared, indexes, known, refused, is_single, share };
    let mut longest = 0;
    while let Some((index, item)) = reader.next_item().map_err(limited)? {
        if events_max <= index {
            return Err(ApiError::TooLarge { what: "events", limit: events_max, key: "limits.events" });
        }
        if is_single && index > 0 {
            return Err(ApiError::body("", "more than one event; send a list or application/x-ndjson"));
        }
        let offered = match item {
            Item::Text(text) => {
                reading.grow(PARSED_FACTOR * text.len().saturating_sub(longest))?;
                longest = longest.max(text.len());
                preparer.prepare(text).map_err(MeteringError::from)?
            }
            Item::TooLong => Err(Refusal::invalid("longer than an event may be")),
            Item::NotUtf8 => Err(Refusal::invalid("not UTF-8")),
        };
        match offered {
            Err(refusal) if refusal.not_json && shape != Shape::Lines => return Err(ApiError::Json(refusal.detail)),
            offered => offers.add(index, offered)?,
        }
    }
    if is_single && offers.prepared.is_empty() && offers.known.is_empty() && offers.refused.is_empty() {
        return Err(ApiError::body("", "the body is empty"));
    }
    Ok(offers)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::memory::EventMemory;

    #[test]
    fn many_short_values_take_more_memory_than_their_text() {
        let memory = EventMemory::new(32 * 1024 * 1024);
        let long = vec![b'x'; 1024 * 1024];
        grow_to_parse(&mut memory.share(), &long).expect("one long text");
        for short in ["0,", "[]", "{}\n", "1\n"] {
            let text = short.repeat(512 * 1024);
            let grown = grow_to_parse(&mut memory.share(), text.as_bytes());
            assert!(matches!(grown, Err(ApiError::TooLarge { .. })), "{short:?}");
        }
    }
}
