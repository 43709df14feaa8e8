//! Request bodies: strict JSON, text, and files spooled to disk.

use crate::app::App;
use crate::limits::BodySize;
use crate::problem::ApiError;
use axum::body::{Body, Bytes};
use axum::extract::multipart::MultipartError;
use axum::extract::{FromRequest, Multipart, Request};
use axum::http::{HeaderMap, header};
use domain::toml_text::with_nearest_key;
use futures::{Stream, StreamExt as _};
use serde::de::DeserializeOwned;
use serde_json::Value;
use sha2::{Digest, Sha256};
use std::sync::Arc;
use std::time::Duration;
use tempfile::TempPath;
use tokio::io::AsyncWriteExt as _;
use tokio_util::io::ReaderStream;

/// Bodies up to this size are spooled in memory.
const MEMORY_BYTES_MAX: u64 = 1024 * 1024;
/// Content type of a body that holds several files.
pub(crate) const MULTIPART: &str = "multipart/form-data";

/// A JSON body: every key known, none twice, numbers with their digits.
#[derive(Clone, Debug)]
pub struct Json<T>(pub T);

impl<T: DeserializeOwned> FromRequest<App> for Json<T> {
    type Rejection = ApiError;

    async fn from_request(request: Request, app: &App) -> Result<Self, ApiError> {
        let kind = content_type(request.headers());
        if !matches!(kind.as_str(), "" | "application/json") && !kind.ends_with("+json") {
            return Err(ApiError::MediaType(format!("`{kind}` is not taken here; send application/json")));
        }
        let text = text_of(request, app, BodySize::Json).await?;
        if text.trim().is_empty() {
            return Err(ApiError::body("", "the body is empty; send a JSON object"));
        }
        object_of(json_of(&text)?).map(Json)
    }
}

/// A JSON body that may be left out, or null.
#[derive(Clone, Debug)]
pub struct OptionalJson<T>(pub T);

impl<T: DeserializeOwned + Default> FromRequest<App> for OptionalJson<T> {
    type Rejection = ApiError;

    async fn from_request(request: Request, app: &App) -> Result<Self, ApiError> {
        let text = text_of(request, app, BodySize::Json).await?;
        let value = if text.trim().is_empty() { Value::Null } else { json_of(&text)? };
        if value.is_null() { Ok(Self(T::default())) } else { object_of(value).map(Self) }
    }
}

/// Returns the value that a JSON text is.
pub(crate) fn json_of(text: &str) -> Result<Value, ApiError> {
    let value = metering::json::parse_value(text).map_err(|error| ApiError::Json(error.to_string()))?;
    Ok(value.to_value())
}

/// Returns the body that the value describes. It is an object: a list would be taken for the members in their order.
pub(crate) fn object_of<T: DeserializeOwned>(value: Value) -> Result<T, ApiError> {
    if value.is_object() { typed(value) } else { Err(ApiError::body("", "send a JSON object")) }
}

/// Returns what the value describes.
pub(crate) fn typed<T: DeserializeOwned>(mut value: Value) -> Result<T, ApiError> {
    keep_digits(&mut value);
    serde_json::from_value(value).map_err(|error| ApiError::body("", with_nearest_key(&error.to_string())))
}

/// Gives every number that is not whole one zero more.
///
/// A number is handed on by its digits, so that a decimal takes all of them, unless a float prints the same ones: then
/// serde_json hands it on as a float, which no decimal takes. No float prints a zero too many.
fn keep_digits(value: &mut Value) {
    match value {
        Value::Number(number) => {
            let digits = number.to_string();
            if digits.contains(['.', 'e', 'E']) {
                *number = with_zero(&digits).parse().expect("a number with a zero more is one");
            }
        }
        Value::Array(items) => items.iter_mut().for_each(keep_digits),
        Value::Object(members) => members.values_mut().for_each(keep_digits),
        Value::Null | Value::Bool(_) | Value::String(_) => {}
    }
}

fn with_zero(digits: &str) -> String {
    let (mantissa, exponent) = digits.split_at(digits.find(['e', 'E']).unwrap_or(digits.len()));
    let point = if mantissa.contains('.') { "" } else { "." };
    format!("{mantissa}{point}0{exponent}")
}

/// A body of text, with its content type.
#[derive(Clone, Debug)]
pub struct Text {
    /// The text.
    pub text: String,
    /// Its content type without parameters, in lower case; empty if none is given.
    pub content_type: String,
}

impl FromRequest<App> for Text {
    type Rejection = ApiError;

    async fn from_request(request: Request, app: &App) -> Result<Self, ApiError> {
        let content_type = content_type(request.headers());
        let text = text_of(request, app, BodySize::Text).await?;
        Ok(Self { text, content_type })
    }
}

/// Returns the content type without parameters, in lower case.
pub(crate) fn content_type(headers: &HeaderMap) -> String {
    let text = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    text.split(';').next().unwrap_or_default().trim().to_ascii_lowercase()
}

/// Returns the body as text, not compressed and not longer than bodies of its kind may be.
pub(crate) async fn text_of(request: Request, app: &App, size: BodySize) -> Result<String, ApiError> {
    refuse_encoding(request.headers())?;
    let (limit, key) = size.bytes_max(&app.limits);
    let mut bytes = Vec::new();
    let mut pieces = pieces(app, request.into_body());
    while let Some(piece) = pieces.next().await {
        let piece = piece?;
        if limit < (bytes.len() + piece.len()) as u64 {
            return Err(ApiError::TooLarge { what: "bytes", limit, key });
        }
        bytes.extend_from_slice(&piece);
    }
    String::from_utf8(bytes).map_err(|_| ApiError::body("", "the body is not UTF-8"))
}

fn refuse_encoding(headers: &HeaderMap) -> Result<(), ApiError> {
    match headers.get(header::CONTENT_ENCODING).map(|value| value.as_bytes()) {
        None | Some(b"identity" | b"") => Ok(()),
        Some(_) => Err(ApiError::MediaType("send this body without Content-Encoding".to_owned())),
    }
}

/// Returns the body piece by piece; one that stands still for too long is an error.
pub(crate) fn pieces(app: &App, body: Body) -> impl Stream<Item = Result<Bytes, ApiError>> + Unpin + use<> {
    let seconds = app.limits.upload_idle_seconds_max;
    Box::pin(futures::stream::unfold(body.into_data_stream(), move |mut stream| async move {
        let piece = match tokio::time::timeout(Duration::from_secs(seconds), stream.next()).await {
            Ok(None) => return None,
            Ok(Some(piece)) => piece.map_err(|error| ApiError::BrokenBody(error.to_string())),
            Err(_) => Err(ApiError::UploadStoodStill(seconds)),
        };
        Some((piece, stream))
    }))
}

/// A body that was read to its end.
pub(crate) struct Spooled {
    /// SHA-256 of its bytes, in hex.
    pub(crate) sha256: String,
    kept: Kept,
}

enum Kept {
    Memory(Bytes),
    Disk(Arc<TempPath>),
}

impl Spooled {
    /// Returns the body once more.
    pub(crate) async fn body(&self) -> Result<Body, ApiError> {
        match &self.kept {
            Kept::Memory(bytes) => Ok(Body::from(bytes.clone())),
            Kept::Disk(path) => {
                let path = Arc::clone(path);
                let file = tokio::fs::File::open(&**path).await.map_err(disk_failed)?;
                // The path goes with the stream: the file is removed when nobody reads it any more.
                let stream = ReaderStream::with_capacity(file, 256 * 1024).map(move |piece| {
                    let _keeps_the_file = &path;
                    piece
                });
                Ok(Body::from_stream(stream))
            }
        }
    }
}

/// Reads a body to its end: a small one into memory, a large one onto disk.
pub(crate) async fn spool(app: &App, body: Body, size: BodySize) -> Result<Spooled, ApiError> {
    let (limit, key) = size.bytes_max(&app.limits);
    let mut hash = Sha256::new();
    let (mut memory, mut disk): (Vec<u8>, Option<(tokio::fs::File, TempPath)>) = (Vec::new(), None);
    let mut size = 0_u64;
    let mut pieces = pieces(app, body);
    while let Some(piece) = pieces.next().await {
        let piece = piece?;
        size += piece.len() as u64;
        if limit < size {
            return Err(ApiError::TooLarge { what: "bytes", limit, key });
        }
        hash.update(&piece);
        if disk.is_none() && size <= MEMORY_BYTES_MAX {
            memory.extend_from_slice(&piece);
            continue;
        }
        let (file, _) = match &mut disk {
            Some(disk) => disk,
            None => {
                let (mut file, path) = temporary(app).await?;
                file.write_all(&memory).await.map_err(disk_failed)?;
                memory = Vec::new();
                disk.insert((file, path))
            }
        };
        file.write_all(&piece).await.map_err(disk_failed)?;
    }
    let kept = match disk {
        None => Kept::Memory(memory.into()),
        Some((mut file, path)) => {
            file.flush().await.map_err(disk_failed)?;
            Kept::Disk(Arc::new(path))
        }
    };
    Ok(Spooled { sha256: hex::encode(hash.finalize()), kept })
}

/// Returns the reader of a body's parts. The stream that may stand still is the one below it.
pub(crate) async fn multipart(app: &App, request: Request) -> Result<Multipart, ApiError> {
    let (parts, body) = request.into_parts();
    // It looks twice at the body before it looks for its first part, and takes it for broken off if all of it came, and
    // ended, in between. So the end comes a moment after what stands before it.
    let end = futures::stream::once(tokio::task::yield_now()).filter_map(|()| std::future::ready(None));
    let body = Body::from_stream(pieces(app, body).map(|piece| piece.map_err(std::io::Error::other)).chain(end));
    let refuse = |error| ApiError::body("", format!("the multipart body cannot be read: {error}"));
    Multipart::from_request(Request::from_parts(parts, body), app).await.map_err(refuse)
}

/// Returns what a part that cannot be read means.
pub(crate) fn broken_part(error: MultipartError) -> ApiError {
    if error.status().is_server_error() {
        return disk_failed(std::io::Error::other(error.body_text()));
    }
    ApiError::BrokenBody(error.body_text())
}

/// Writes pieces to a new file of the spool; it is removed with the path. Returns it with its size.
pub(crate) async fn to_file<E: Into<ApiError>>(
    app: &App,
    mut pieces: impl Stream<Item = Result<Bytes, E>> + Unpin,
    bytes_max: u64,
) -> Result<(TempPath, u64), ApiError> {
    let (mut file, path) = temporary(app).await?;
    let mut size = 0_u64;
    while let Some(piece) = pieces.next().await {
        let piece = piece.map_err(Into::into)?;
        size += piece.len() as u64;
        if bytes_max < size {
            let (limit, key) = BodySize::Upload.bytes_max(&app.limits);
            return Err(ApiError::TooLarge { what: "bytes", limit, key });
        }
        file.write_all(&piece).await.map_err(disk_failed)?;
    }
    file.flush().await.map_err(disk_failed)?;
    Ok((path, size))
}

async fn temporary(app: &App) -> Result<(tokio::fs::File, TempPath), ApiError> {
    tokio::fs::create_dir_all(&app.spool).await.map_err(disk_failed)?;
    let file = tempfile::Builder::new().prefix("upload-").tempfile_in(&app.spool).map_err(disk_failed)?;
    let (file, path) = file.into_parts();
    Ok((tokio::fs::File::from_std(file), path))
}

pub(crate) fn disk_failed(error: std::io::Error) -> ApiError {
    ApiError::Internal(format!("the spool folder failed: {error}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use domain::money::parse_atoms;
    use domain::toml_text::DecimalText;

    #[test]
    fn a_decimal_may_be_a_number_and_keeps_its_digits() {
        for digits in [
            "0",
            "-7",
            "185.5",
            "0.10",
            "1.0",
            "0.000002",
            "2e-6",
            "1E+2",
            "1e2",
            "-0.25",
            "0.1234567890123456",
            "12345678.000000000000001",
        ] {
            let read = |text: &str| typed::<Vec<DecimalText>>(json_of(&format!("[{text}]")).expect("JSON"));
            let read = |text: &str| read(text).expect("a decimal").remove(0).0;
            let expected = parse_atoms(digits).expect("a decimal");
            for text in [digits.to_owned(), format!("\"{digits}\"")] {
                assert_eq!(parse_atoms(&read(&text)).expect("a decimal"), expected, "{text}");
            }
        }
    }
}
