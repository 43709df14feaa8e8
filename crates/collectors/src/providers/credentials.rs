use super::error::{Cause, CollectError};
use crate::prometheus::Secret;
use reqwest::header::HeaderValue;
use std::collections::BTreeMap;
use std::fmt;

/// Shortest credential that is looked for in texts; a shorter one would hide ordinary words.
const SCRUBBED_BYTES_MIN: usize = 6;

/// A credential that a collector needs: its key in `[[source]]`, and the variable of the environment that may hold it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CredentialSpec {
    /// Key of `[[source]]`; `<key>_file` names a file instead.
    pub key: &'static str,
    /// Variable of the environment; `<env>_FILE` names a file instead.
    pub env: &'static str,
    /// Whether nothing works without it.
    pub is_required: bool,
}

/// The credentials of one source as they are configured.
#[derive(Clone, Debug, Default)]
pub struct CredentialSet(BTreeMap<&'static str, Secret>);

impl CredentialSet {
    /// Returns the set.
    #[must_use]
    pub fn new(secrets: BTreeMap<&'static str, Secret>) -> Self {
        Self(secrets)
    }

    /// Returns the credentials as they are now; files are read each time, because tokens are replaced.
    ///
    /// # Errors
    /// [`Cause::Secret`], naming the key and the file.
    pub(super) async fn read(&self, specs: &'static [CredentialSpec]) -> Result<Credentials, CollectError> {
        let mut values = BTreeMap::new();
        for spec in specs {
            let missing = || {
                let CredentialSpec { key, env, .. } = spec;
                CollectError::new(Cause::Secret, format!("`{key}` is missing; give `{key}`, `{key}_file` or {env}"))
            };
            match self.0.get(spec.key) {
                Some(secret) => {
                    let text = secret.read().await.map_err(|reason| CollectError::new(Cause::Secret, reason))?;
                    if text.is_empty() && spec.is_required {
                        return Err(missing());
                    }
                    values.insert(spec.key, text);
                }
                None if spec.is_required => return Err(missing()),
                None => {}
            }
        }
        Ok(Credentials(values))
    }
}

/// Credentials that were read. They never print.
#[derive(Clone, Default)]
pub struct Credentials(BTreeMap<&'static str, String>);

impl fmt::Debug for Credentials {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_set().entries(self.0.keys()).finish()
    }
}

impl Credentials {
    /// Returns the credential of a key.
    ///
    /// # Errors
    /// [`Cause::Secret`] if it was not given.
    pub fn get(&self, key: &str) -> Result<&str, CollectError> {
        let found = self.0.get(key).map(String::as_str).filter(|text| !text.is_empty());
        found.ok_or_else(|| CollectError::new(Cause::Secret, format!("`{key}` is missing")))
    }

    /// Returns text without any of the credentials, also where it is spelled as in JSON or in an address.
    #[must_use]
    pub fn scrub(&self, text: &str) -> String {
        let mut clean = text.to_owned();
        for secret in self.0.values().filter(|secret| SCRUBBED_BYTES_MIN <= secret.len()) {
            let encoded: String = url::form_urlencoded::byte_serialize(secret.as_bytes()).collect();
            let quoted = serde_json::Value::from(secret.as_str()).to_string();
            for spelled in [secret.as_str(), &encoded, quoted.trim_matches('"')] {
                clean = clean.replace(spelled, "(hidden)");
            }
        }
        clean
    }
}

/// Returns text as the value of a header that nobody prints.
///
/// # Errors
/// [`Cause::Secret`] if it holds what no header can carry.
pub fn secret_header(text: &str) -> Result<HeaderValue, CollectError> {
    let mut value = HeaderValue::from_str(text)
        .map_err(|_| CollectError::new(Cause::Secret, "a credential has letters that no header can carry"))?;
    value.set_sensitive(true);
    Ok(value)
}

/// Returns `Bearer` and the credential as the value of the header `Authorization`.
///
/// # Errors
/// [`Cause::Secret`] if it is missing or cannot be sent.
pub fn bearer(credentials: &Credentials, key: &str) -> Result<HeaderValue, CollectError> {
    secret_header(&format!("Bearer {}", credentials.get(key)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn given(pairs: &[(&'static str, &str)]) -> Credentials {
        Credentials(pairs.iter().map(|(key, text)| (*key, (*text).to_owned())).collect())
    }

    #[test]
    fn a_credential_is_found_in_every_spelling() {
        let credentials = given(&[("token", "canary/+\"7"), ("user", "ab")]);
        let echoed = "bad canary/+\"7, canary%2F%2B%227 and canary/+\\\"7 of ab";
        assert_eq!(credentials.scrub(echoed), "bad (hidden), (hidden) and (hidden) of ab");
        assert!(!format!("{credentials:?}").contains("canary"));
        assert!(!format!("{:?}", bearer(&credentials, "token")).contains("canary"));
    }

    #[test]
    fn what_is_missing_or_empty_has_the_cause_secret() {
        let credentials = given(&[("token", "")]);
        for key in ["token", "other"] {
            assert_eq!(credentials.get(key).map_err(|error| error.cause), Err(Cause::Secret));
        }
        assert_eq!(secret_header("a\nb").map_err(|error| error.cause), Err(Cause::Secret));
    }
}
