use serde::de::DeserializeOwned;
use serde_json::Value;

/// Returns the keys of a kind, for [`Kind::build`](super::Kind).
///
/// # Errors
/// A sentence that names the key.
pub fn read_keys<T: DeserializeOwned>(keys: Value) -> Result<T, String> {
    serde_json::from_value(keys).map_err(|error| error.to_string())
}

/// Returns whether the text can be an id of a provider: letters, digits, `-`, `_` and `.`, at most 100 of them.
#[must_use]
pub fn is_id(text: &str) -> bool {
    let is_letter = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.');
    (1..=100).contains(&text.len()) && text.bytes().all(is_letter) && !text.starts_with('.')
}

/// Returns a word for a name: small letters and digits, everything else one `_`.
#[must_use]
pub fn word_of(name: &str) -> String {
    let mut word = String::with_capacity(name.len());
    for letter in name.chars() {
        if letter.is_ascii_alphanumeric() {
            word.push(letter.to_ascii_lowercase());
        } else if !word.is_empty() && !word.ends_with('_') {
            word.push('_');
        }
    }
    word.trim_end_matches('_').chars().take(100).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_become_words_and_ids_are_plain() {
        let words = ["Fast Data Transfer", "ISR Reads & Writes ", "éa", ""].map(word_of);
        assert_eq!(words, ["fast_data_transfer", "isr_reads_writes", "a", ""]);
        assert!(["team_9fX", "a.b-c"].into_iter().all(is_id));
        assert!(!["", ".", "..", "a/b", "a b", "a?"].into_iter().any(is_id));
    }
}
