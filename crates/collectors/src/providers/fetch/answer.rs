//! The body of an answer: whole, within bounds, decompressed, and JSON whose numbers keep their digits.

use super::super::error::{Cause, CollectError};
use crate::prometheus::{beginning, shown};
use flate2::read::MultiGzDecoder;
use reqwest::header::HeaderMap;
use serde::de::DeserializeOwned;
use serde_json::error::Category;
use std::io::{self, Cursor, Read};
use storage::limited::{DecodedTooLarge, Limited};

/// A successful answer.
#[derive(Clone, Debug)]
pub struct Answer {
    /// 200 to 299.
    pub status: u16,
    /// Its headers.
    pub headers: HeaderMap,
    /// Its body, decompressed.
    pub body: Vec<u8>,
}

impl Answer {
    /// Returns the body as JSON. A number keeps its text if the type does: [`serde_json::Value`], or
    /// [`Decimal`](crate::providers::Decimal).
    ///
    /// # Errors
    /// [`Cause::Truncated`], [`Cause::NotJson`] or [`Cause::Schema`].
    pub fn json<T: DeserializeOwned>(&self) -> Result<T, CollectError> {
        read_json(&self.body)
    }

    /// Returns each line of the body as JSON; lines without text are left out.
    ///
    /// # Errors
    /// As [`Self::json`]; the last line is [`Cause::Truncated`] if it ends too early.
    pub fn json_lines<T: DeserializeOwned>(&self) -> Result<Vec<T>, CollectError> {
        let lines = self.body.split(|byte| *byte == b'\n').filter(|line| !line.trim_ascii().is_empty());
        lines.map(read_json).collect()
    }
}

/// Returns what a text of JSON says.
pub(super) fn read_json<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, CollectError> {
    serde_json::from_slice(bytes).map_err(|error| match error.classify() {
        Category::Eof if matches!(bytes.trim_ascii_start().first(), Some(b'{' | b'[')) => {
            CollectError::new(Cause::Truncated, format!("the answer's JSON ends after {} bytes", bytes.len()))
        }
        Category::Data => {
            CollectError::schema(format!("the answer is not as documented: {}", shown(&error.to_string())))
        }
        Category::Eof | Category::Syntax | Category::Io => {
            let detail = format!("the answer is not JSON but begins with `{}`", beginning(bytes));
            CollectError::new(Cause::NotJson, detail)
        }
    })
}

/// Returns the body without its compression.
pub(super) async fn decoded(encoding: &str, body: Vec<u8>, bytes_max: u64) -> Result<Vec<u8>, CollectError> {
    match encoding {
        "" | "identity" => Ok(body),
        "gzip" | "x-gzip" => {
            let unpacked = tokio::task::spawn_blocking(move || unpack(body, bytes_max)).await;
            unpacked.unwrap_or_else(|_| Err(CollectError::new(Cause::Store, "unpacking the answer was interrupted")))
        }
        other => {
            let detail = format!("the answer is encoded as `{}`, which was not asked for", shown(other));
            Err(CollectError::new(Cause::NotJson, detail))
        }
    }
}

fn unpack(body: Vec<u8>, bytes_max: u64) -> Result<Vec<u8>, CollectError> {
    let mut unpacked = Vec::new();
    let mut limited = Limited::new(Box::new(MultiGzDecoder::new(Cursor::new(body))), bytes_max);
    match limited.read_to_end(&mut unpacked) {
        Ok(_) => Ok(unpacked),
        Err(error) if DecodedTooLarge::is_cause_of(&error) => Err(too_large(bytes_max)),
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => {
            Err(CollectError::new(Cause::Truncated, "the compressed answer ends too early"))
        }
        Err(error) => {
            let detail = format!("the compressed answer is damaged: {}", shown(&error.to_string()));
            Err(CollectError::new(Cause::Truncated, detail))
        }
    }
}

pub(super) fn too_large(bytes_max: u64) -> CollectError {
    CollectError::new(Cause::TooLarge, format!("the answer has more than {bytes_max} bytes; raise `response`"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::Value;
    use std::io::Write as _;

    fn cause(text: &str) -> &'static str {
        read_json::<Vec<Value>>(text.as_bytes()).map_or_else(|error| error.cause.as_str(), |_| "ok")
    }

    #[test]
    fn what_is_wrong_with_json_has_a_cause() {
        assert_eq!(cause("[1,2]"), "ok");
        assert_eq!(cause("[1,2"), "truncated");
        assert_eq!(cause(""), "not_json");
        assert_eq!(cause("<html>Sign in</html>"), "not_json");
        assert_eq!(cause("{\"a\":1}"), "schema");
    }

    #[test]
    fn numbers_keep_their_digits_and_a_last_line_that_breaks_off_is_noticed() {
        let answer = |body: &str| Answer { status: 200, headers: HeaderMap::new(), body: body.as_bytes().to_vec() };
        let lines: Vec<Value> = answer("{\"a\":0.10000000000000000001}\n\n{\"a\":1e-7}\n").json_lines().expect("lines");
        let texts: Vec<String> = lines.iter().map(|line| line["a"].to_string()).collect();
        assert_eq!(texts, ["0.10000000000000000001", "1e-7"]);
        let broken = answer("{\"a\":1}\n{\"a\":").json_lines::<Value>();
        assert_eq!(broken.map_err(|error| error.cause), Err(Cause::Truncated));
    }

    #[tokio::test]
    async fn s6_compressed_answers_are_whole_and_bounded() {
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
        encoder.write_all(&[b'x'; 100_000]).expect("memory");
        let packed = encoder.finish().expect("memory");
        let cause = async |body: &[u8], max: u64| {
            decoded("gzip", body.to_vec(), max).await.map_or_else(|error| error.cause.as_str(), |_| "ok")
        };
        assert_eq!(cause(&packed, 100_000).await, "ok");
        assert_eq!(cause(&packed, 99_999).await, "too_large");
        assert_eq!(cause(&packed[..packed.len() / 2], 100_000).await, "truncated");
        assert_eq!(cause(b"plain", 100_000).await, "truncated");
        assert_eq!(decoded("br", Vec::new(), 9).await.map_err(|error| error.cause), Err(Cause::NotJson));
    }
}
