//! Usage events as they happen. The answer is sent when the accepted ones are on stable storage.

use crate::access::EventWriter;
use crate::app::App;
use crate::binary_event::{BinaryEvent, DATA_BYTES_MAX, too_long};
use crate::body::{content_type, pieces};
use crate::limits::ApiLimits;
use crate::memory::EventShare;
use crate::parsers::Size;
use crate::problem::ApiError;
use crate::query::QueryPairs;
use axum::body::{Bytes, HttpBody as _};
use axum::extract::{Request, State};
use axum::http::{StatusCode, header};
use axum::response::Response;
use domain::TenantScope;
use futures::StreamExt;
use metering::MeteringError;
use metering::import::{EventReader, Item, is_compressed, read_whole, reading_bytes_max};
use metering::json::VALUES_MAX;
use metering::live::{Decision, Offered, PreparedEvent, Preparer};
use metering::refusal::{Refusal, RefusalCode};
use serde::Serialize;
use std::sync::Arc;
use utoipa::{IntoParams, ToSchema};

/// How often a batch is prepared when other meters begin to apply meanwhile.
pub(crate) const PREPARED_TIMES_MAX: u32 = 3;
/// Bytes of memory for each byte of the event that is being parsed: its values, its text once more, its record.
const PARSED_FACTOR: usize = 6;
/// And for each of its values, in a list that grows.
const PARSED_VALUE_BYTES: usize = 128;
/// From this length on the values of an event are counted; of a shorter one each second byte may be one.
const COUNTED_FROM_BYTES: usize = 4096;
/// Bytes of memory for each value of a payload that is parsed as a whole, however short its text: the value as it is read
/// and as paths look at it, its share of events and refusals.
const VALUE_BYTES: usize = 384;
/// Bytes of memory of an event that is known already: its number, in a list that grows.
const KNOWN_BYTES: usize = 64;
/// Bytes of memory of a refused event: what is said of it as it is found, as a body, and as JSON in a list that grows.
const REFUSED_BYTES: usize = 768;
/// And for each byte of the texts that say so.
const REFUSED_FACTOR: usize = 5;

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
    let mut body = Sent { bytes: bytes.into(), encoding, shape };
    if let Some(event) = binary {
        body = structured(&app, event, body, share.part()).await?;
    }
    answer(take(&app, writer.scope(), (&body, &share), atomic).await?)
}

/// Takes events that were made of something else, one per line, and returns what became of each.
pub(crate) async fn take_lines(
    app: &App,
    scope: &TenantScope,
    lines: String,
    share: &EventShare,
) -> Result<EventsBody, ApiError> {
    let body = Sent { bytes: lines.into_bytes().into(), encoding: Encoding::Plain, shape: Shape::Lines };
    Ok(take(app, scope, (&body, share), false).await?.outcome)
}

/// Returns the text of a body, decompressed, and the memory that it takes until it is read.
pub(crate) async fn read_text(app: &App, request: Request) -> Result<(String, EventShare), ApiError> {
    let encoding = Encoding::of(&request)?;
    let Received { bytes, share } = read(app, request).await?;
    let body = Sent { bytes: bytes.into(), encoding, shape: Shape::Lines };
    let (limit, mut of_text, size) = (app.limits.events_decoded_bytes_max, share.part(), body.size());
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
    app.parsers.run(size, decoded).await
}

/// Returns the same event as it would be in structured mode.
async fn structured(app: &App, event: BinaryEvent, body: Sent, mut share: EventShare) -> Result<Sent, ApiError> {
    let size = body.size();
    let text = move || {
        check_encoding(&body)?;
        grow_to_read(&mut share, &body.bytes, DATA_BYTES_MAX)?;
        let room = |piece: &[u8]| grow_to_parse(&mut share, piece);
        let data = read_whole(body.bytes, DATA_BYTES_MAX, room).map_err(|error| match error {
            ApiError::Metering(error) if error.is_too_large() => too_long(),
            other => other,
        })?;
        Ok::<_, ApiError>(Sent { bytes: event.text(&data)?.into_bytes().into(), encoding: Encoding::Plain, ..body })
    };
    app.parsers.run(size, text).await
}

/// What was sent.
#[derive(Clone)]
struct Sent {
    bytes: Bytes,
    encoding: Encoding,
    shape: Shape,
}

impl Sent {
    fn size(&self) -> Size {
        Size::of(self.bytes.len(), self.encoding == Encoding::Compressed)
    }
}

/// What became of the events.
struct Taken {
    outcome: EventsBody,
    /// Whether it is a request with one event.
    is_single: bool,
    /// The memory of the answer.
    answers: EventShare,
}

/// Stores the events, whatever meters begin to apply meanwhile.
async fn take(
    app: &App,
    scope: &TenantScope,
    (body, share): (&Sent, &EventShare),
    atomic: bool,
) -> Result<Taken, ApiError> {
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
    (body, share): (&Sent, &EventShare),
    atomic: bool,
) -> Result<Taken, ApiError> {
    let mut preparer = app.events.preparer(scope.clone());
    let (limits, share, body, size) = (Arc::clone(&app.limits), share.part(), body.clone(), body.size());
    let offers = app.parsers.run(size, move || offer(&mut preparer, body, &limits, share)).await?;
    let Offers { prepared, indexes, known, mut refused, is_single, share, answers } = offers;
    if atomic && !(refused.is_empty() && known.iter().all(|(_, decision)| *decision == Decision::Duplicate)) {
        let conflicts = known.into_iter().filter(|(_, decision)| *decision == Decision::Conflict);
        refused.extend(conflicts.map(|(index, _)| (index, conflict(None))));
        return Err(all_refused(app, refused));
    }
    app.rates.take(prepared.iter().map(PreparedEvent::tenant), app.now())?;
    let outcome = decide(app, (prepared, indexes), known, refused, atomic).await?;
    drop(share);
    Ok(Taken { outcome, is_single, answers })
}

/// What the body holds.
struct Offers {
    prepared: Vec<PreparedEvent>,
    /// Their numbers in the batch.
    indexes: Vec<u64>,
    known: Vec<(u64, Decision)>,
    refused: Vec<(u64, Refusal)>,
    is_single: bool,
    /// The memory that those take which are to be stored.
    share: EventShare,
    /// The memory of the answer.
    answers: EventShare,
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
                self.answers.grow(KNOWN_BYTES)?;
                self.known.push((index, decision));
            }
            Err(refusal) => {
                let said = refusal.detail.len() + refusal.id.as_ref().map_or(0, String::len);
                self.answers.grow(REFUSED_BYTES + REFUSED_FACTOR * said)?;
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

fn answer(taken: Taken) -> Result<Response, ApiError> {
    let Taken { outcome: body, is_single, answers } = taken;
    match body.rejected.first() {
        Some(_) if is_single => {
            Err(ApiError::EventRefused(body.rejected.into_iter().next().expect("there is a first")))
        }
        first => {
            let status = if first.is_some() { StatusCode::MULTI_STATUS } else { StatusCode::OK };
            let mut response = crate::list::json(&body)?;
            *response.status_mut() = status;
            Ok(answers.held_until_sent(response))
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
    // A list of the right length from the start is there once. One that grows is there twice, and of twice the length,
    // while it is copied to a larger place.
    let length = request.body().size_hint().exact().and_then(|length| usize::try_from(length).ok());
    let length = length.filter(|length| *length <= limit);
    let factor = if length.is_some() { 1 } else { 3 };
    let (mut bytes, mut share) = (Vec::with_capacity(length.unwrap_or(0)), app.event_memory.share());
    let mut pieces = pieces(app, request.into_body());
    while let Some(piece) = pieces.next().await {
        let piece = piece?;
        if limit < bytes.len() + piece.len() {
            return Err(ApiError::TooLarge { what: "bytes", limit: limit as u64, key: "limits.events_body" });
        }
        share.grow(factor * piece.len())?;
        bytes.extend_from_slice(&piece);
    }
    Ok(Received { bytes, share })
}

fn check_encoding(body: &Sent) -> Result<(), ApiError> {
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

/// Returns how many bytes of memory an event takes while it is parsed.
fn parsing_bytes(text: &str) -> usize {
    let values = match text.len() < COUNTED_FROM_BYTES {
        true => text.len() / 2,
        false => text.bytes().filter(|byte| matches!(byte, b',' | b'[' | b'{')).count(),
    };
    PARSED_FACTOR * text.len() + PARSED_VALUE_BYTES * values.min(VALUES_MAX)
}

fn limited(error: MeteringError, limit: u64) -> ApiError {
    match error.is_too_large() {
        true => ApiError::TooLarge { what: "decoded bytes", limit, key: "limits.events_decoded" },
        false => error.into(),
    }
}

/// Reads and prepares all events of a body.
fn offer(preparer: &mut Preparer, body: Sent, limits: &ApiLimits, share: EventShare) -> Result<Offers, ApiError> {
    check_encoding(&body)?;
    let (decoded_max, events_max) = (limits.events_decoded_bytes_max, limits.events_max);
    let limited = |error: MeteringError| limited(error, decoded_max);
    let Sent { bytes, shape, .. } = body;
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
    let answers = share.part();
    let mut offers = Offers { prepared, indexes, known, refused, is_single, share, answers };
    let mut taken = 0;
    while let Some((index, item)) = reader.next_item().map_err(limited)? {
        if events_max <= index {
            return Err(ApiError::TooLarge { what: "events", limit: events_max, key: "limits.events" });
        }
        if is_single && index > 0 {
            return Err(ApiError::body("", "more than one event; send a list or application/x-ndjson"));
        }
        let offered = match item {
            Item::Text(text) => {
                let wanted = parsing_bytes(text);
                reading.grow(wanted.saturating_sub(taken))?;
                taken = taken.max(wanted);
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
    fn what_parsing_takes_follows_from_the_values_that_there_may_be() {
        let event = |values: usize| format!("{{\"data\":[{}]}}", vec!["1"; values].join(","));
        let short = event(100);
        assert_eq!(parsing_bytes(&short), PARSED_FACTOR * short.len() + PARSED_VALUE_BYTES * (short.len() / 2));
        let long = event(10_000);
        assert_eq!(parsing_bytes(&long), PARSED_FACTOR * long.len() + PARSED_VALUE_BYTES * 10_001);
        let text = format!("{{\"data\":\"{}\"}}", "x".repeat(100_000));
        assert_eq!(parsing_bytes(&text), PARSED_FACTOR * text.len() + PARSED_VALUE_BYTES, "one value, however long");
        let most = event(VALUES_MAX * 2);
        assert_eq!(parsing_bytes(&most) - PARSED_FACTOR * most.len(), PARSED_VALUE_BYTES * VALUES_MAX);
    }

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
