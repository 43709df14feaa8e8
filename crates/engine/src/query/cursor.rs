//! Opaque continuation of a list: which question, which state, where.

use crate::EngineError;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

/// Longest cursor text accepted.
const CURSOR_BYTES_MAX: usize = 4096;

#[derive(Serialize, Deserialize)]
struct Sealed<T> {
    /// Fingerprint of the question, so that a cursor cannot continue another one.
    q: String,
    at: T,
}

/// Returns the cursor that continues `question` at this place.
///
/// # Panics
/// Never: places are plain values.
#[must_use]
pub fn encode<T: Serialize>(question: &str, at: &T) -> String {
    let sealed = Sealed { q: fingerprint(question), at };
    hex::encode(serde_json::to_vec(&sealed).expect("a place is plain JSON"))
}

/// Returns the place at which a cursor continues `question`.
///
/// # Errors
/// When it is no cursor, or one of another question.
pub fn decode<T: DeserializeOwned>(question: &str, cursor: &str) -> Result<T, EngineError> {
    let refuse = |detail: &str| EngineError::parameter("cursor", detail);
    let foreign = "this is not a cursor of this list; leave it out to start over";
    if CURSOR_BYTES_MAX < cursor.len() {
        return Err(refuse(foreign));
    }
    let bytes = hex::decode(cursor).map_err(|_| refuse(foreign))?;
    let sealed: Sealed<T> = serde_json::from_slice(&bytes).map_err(|_| refuse(foreign))?;
    if sealed.q != fingerprint(question) {
        return Err(refuse("the cursor belongs to another question; leave it out or repeat its parameters"));
    }
    Ok(sealed.at)
}

fn fingerprint(question: &str) -> String {
    hex::encode(&Sha256::digest(question.as_bytes())[..8])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cursor_continues_its_own_question_only() {
        let cursor = encode("costs by tenant", &(41_i64, 7_u64));
        assert_eq!(decode::<(i64, u64)>("costs by tenant", &cursor).expect("its own"), (41, 7));
        assert!(decode::<(i64, u64)>("costs by pool", &cursor).is_err());
        for foreign in ["", "x", "7b7d", "é", &"0".repeat(5000)] {
            assert!(decode::<(i64, u64)>("costs by tenant", foreign).is_err(), "{foreign}");
        }
    }
}
