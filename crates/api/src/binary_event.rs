//! A CloudEvent in binary mode: its attributes are headers of the request, its data the body.

use crate::problem::ApiError;
use crate::resources::events::RefusedEventBody;
use axum::http::{HeaderMap, HeaderValue};
use metering::event::EVENT_BYTES_MAX;
use metering::json::parse_value;
use metering::refusal::RefusalCode;

/// How the headers of attributes begin.
const PREFIX: &str = "ce-";
/// The attribute that every event in binary mode has; its header tells the mode.
const SPECVERSION: &str = "ce-specversion";

/// Most bytes of the data.
pub(crate) const DATA_BYTES_MAX: u64 = EVENT_BYTES_MAX as u64;

/// What the headers of a request say about its one event.
#[derive(Debug)]
pub(crate) struct BinaryEvent {
    /// Names and values in the order of the headers; equal names are refused with the event.
    attributes: Vec<(String, String)>,
    is_text: bool,
}

impl BinaryEvent {
    /// Returns the event that the headers begin, if the request is in binary mode.
    ///
    /// # Errors
    /// `invalid_event` for a header that is no attribute, [`ApiError::MediaType`] for data that are neither JSON nor text.
    ///
    /// # Source
    /// CloudEvents 1.0, HTTP protocol binding, section 3.1.
    pub(crate) fn of(headers: &HeaderMap, content_type: &str) -> Result<Option<Self>, ApiError> {
        if !headers.contains_key(SPECVERSION) || content_type.starts_with("application/cloudevents") {
            return Ok(None);
        }
        let is_text = content_type.starts_with("text/");
        let is_json = matches!(content_type, "" | "application/json" | "text/json") || content_type.ends_with("+json");
        if !is_text && !is_json {
            return Err(ApiError::MediaType("send the data of an event in binary mode as JSON or text".to_owned()));
        }
        let named = headers.iter().filter_map(|(name, value)| Some((name.as_str().strip_prefix(PREFIX)?, value)));
        let attributes = named.map(|(name, value)| attribute(name, value)).collect::<Result<_, _>>()?;
        Ok(Some(Self { attributes, is_text: is_text && !is_json }))
    }

    /// Returns the event in structured mode: its JSON with the body as data.
    ///
    /// # Errors
    /// `invalid_event` for a body that is no UTF-8, [`ApiError::Json`] for one that is not JSON.
    pub(crate) fn text(&self, body: &[u8]) -> Result<String, ApiError> {
        let body = std::str::from_utf8(body).map_err(|_| invalid("the data are not UTF-8".to_owned()))?;
        let quoted = |text: &str| serde_json::Value::from(text).to_string();
        let mut members: Vec<String> =
            self.attributes.iter().map(|(name, value)| format!("{}:{}", quoted(name), quoted(value))).collect();
        if self.is_text {
            members.push(format!("\"data\":{}", quoted(body)));
        } else if !body.trim_ascii().is_empty() {
            // Or a body could end its member and begin others.
            parse_value(body).map_err(|error| ApiError::Json(error.to_string()))?;
            members.push(format!("\"data\":{body}"));
        }
        Ok(format!("{{{}}}", members.join(",")))
    }
}

fn attribute(name: &str, value: &HeaderValue) -> Result<(String, String), ApiError> {
    let is_name = !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit());
    if !is_name || name == "data" {
        return Err(invalid(format!("the header `{PREFIX}{name}` is no attribute of a CloudEvent")));
    }
    let decoded = decoded(value.as_bytes());
    let decoded =
        decoded.ok_or_else(|| invalid(format!("the header `{PREFIX}{name}` is not percent-encoded UTF-8")))?;
    Ok((name.to_owned(), decoded))
}

/// Returns the value of a header: without its quotes, then percent-decoded.
fn decoded(value: &[u8]) -> Option<String> {
    let inner = value.strip_prefix(b"\"").and_then(|rest| rest.strip_suffix(b"\""));
    let (bytes, is_quoted) = inner.map_or((value, false), |inner| (inner, true));
    let mut decoded = Vec::with_capacity(bytes.len());
    let mut rest = bytes.iter().copied();
    while let Some(byte) = rest.next() {
        decoded.push(match byte {
            b'\\' if is_quoted => rest.next()?,
            b'%' => hex_digit(rest.next()?)? << 4 | hex_digit(rest.next()?)?,
            other => other,
        });
    }
    String::from_utf8(decoded).ok()
}

fn hex_digit(byte: u8) -> Option<u8> {
    char::from(byte).to_digit(16).and_then(|digit| u8::try_from(digit).ok())
}

/// Returns the refusal of an event whose data alone are longer than an event may be.
pub(crate) fn too_long() -> ApiError {
    invalid(format!("longer than {EVENT_BYTES_MAX} bytes"))
}

fn invalid(detail: String) -> ApiError {
    let code = RefusalCode::InvalidEvent.as_str().to_owned();
    ApiError::EventRefused(RefusedEventBody { index: 0, id: None, code, detail })
}

#[cfg(test)]
mod tests {
    use super::*;
    use axum::http::HeaderName;

    fn text(headers: &[(&'static str, &str)], content_type: &str, body: &str) -> Result<Option<String>, String> {
        let mut map = HeaderMap::new();
        for (name, value) in headers {
            map.append(HeaderName::from_static(name), HeaderValue::from_bytes(value.as_bytes()).expect("a value"));
        }
        let event = BinaryEvent::of(&map, content_type).map_err(|error| error.code().to_owned())?;
        event.map(|event| event.text(body.as_bytes())).transpose().map_err(|error| error.code().to_owned())
    }

    #[test]
    fn headers_and_body_become_one_event() {
        let headers = [("ce-specversion", "1.0"), ("ce-id", "7"), ("ce-tenant", "Z%C3%BCrich"), ("x-ce-id", "8")];
        let check = |content_type: &str, body: &str, expected: &str| {
            let expected = format!(r#"{{"specversion":"1.0","id":"7","tenant":"Zürich"{expected}}}"#);
            assert_eq!(text(&headers, content_type, body), Ok(Some(expected)), "{content_type} {body}");
        };
        check("application/json", r#"{ "value": 1 }"#, r#","data":{ "value": 1 }"#);
        check("application/vnd.x+json", "[1]", r#","data":[1]"#);
        check("text/plain", "a \"b\"", r#","data":"a \"b\"""#);
        check("", "", "");
        assert_eq!(text(&headers, "application/cloudevents+json", "{}"), Ok(None), "the content type decides");
        assert_eq!(text(&headers[1..], "application/json", "{}"), Ok(None));
    }

    #[test]
    fn what_is_no_event_is_refused() {
        let refused = |name: &'static str, value: &str, content_type: &str, body: &str| {
            text(&[("ce-specversion", "1.0"), (name, value)], content_type, body).expect_err(body)
        };
        let json = "application/json";
        assert_eq!(refused("ce-task_class", "x", json, "1"), "invalid_event");
        assert_eq!(refused("ce-data", "1", json, "1"), "invalid_event");
        assert_eq!(refused("ce-user", "%ff", json, "1"), "invalid_event");
        assert_eq!(refused("ce-user", "100%", json, "1"), "invalid_event");
        assert_eq!(refused("ce-id", "1", json, r#"1,"tenant":"globex""#), "invalid_json");
        assert_eq!(refused("ce-id", "1", "image/png", "1"), "unsupported_media_type");
    }

    #[test]
    fn values_are_unquoted_and_percent_decoded() {
        let check = |value: &str, expected: Option<&str>| assert_eq!(decoded(value.as_bytes()).as_deref(), expected);
        check("plain", Some("plain"));
        check("Euro%20%E2%82%AC%20%f0%9f%98%80", Some("Euro € 😀"));
        check("%2525", Some("%25"));
        check(r#""a \"b\" \\""#, Some(r#"a "b" \"#));
        check("\"", Some("\""));
        check("%4", None);
        check("%+1", None);
        check("%c3%28", None);
    }
}
