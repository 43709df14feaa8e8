//! Adapters of the configuration, and how their deliveries are signed.

use crate::problem::ApiError;
use metering::adapters::{AdapterKind, AdapterRule, Adapters};
use ring::hmac;
use sha2::{Digest, Sha256};
use std::collections::BTreeMap;
use std::fmt;

/// How the header of a signature begins.
const SIGNATURE_START: &str = "sha256=";

/// Adapters of the configuration: where dimensions stand, and the secrets of those whose payloads come without a token.
#[derive(Clone, Debug, Default)]
pub struct AdapterSetup {
    rules: Adapters,
    secrets: BTreeMap<AdapterKind, Secret>,
}

impl AdapterSetup {
    /// Returns the adapters with the secrets of their webhooks.
    #[must_use]
    pub fn new(rules: Adapters, secrets: impl IntoIterator<Item = (AdapterKind, String)>) -> Self {
        let secrets = secrets.into_iter().map(|(kind, secret)| (kind, Secret(secret))).collect();
        Self { rules, secrets }
    }

    /// Returns where the dimensions of an adapter's events stand.
    pub(crate) fn rule(&self, kind: AdapterKind) -> AdapterRule {
        self.rules.rule(kind)
    }

    /// Returns the secret that both sides know.
    ///
    /// # Errors
    /// [`ApiError::NotFound`] if the configuration has no such webhook.
    pub(crate) fn secret(&self, kind: AdapterKind) -> Result<&Secret, ApiError> {
        let missing = || ApiError::NotFound { kind: "[[ingest.adapter]] of kind", name: kind.to_string() };
        self.secrets.get(&kind).ok_or_else(missing)
    }
}

/// What the sender of a webhook and we know. It does not print.
#[derive(Clone)]
pub(crate) struct Secret(String);

impl fmt::Debug for Secret {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("Secret(…)")
    }
}

impl Secret {
    /// Returns whether the header is the HMAC-SHA-256 of the body, as GitHub sends it. How long it takes tells nothing.
    pub(crate) fn signed(&self, body: &[u8], header: &str) -> bool {
        let Some(Ok(signature)) = header.strip_prefix(SIGNATURE_START).map(hex::decode) else { return false };
        hmac::verify(&hmac::Key::new(hmac::HMAC_SHA256, self.0.as_bytes()), body, &signature).is_ok()
    }

    /// Returns whether the header is the secret itself, as GitLab sends it. Hashes are compared, so how long it takes tells
    /// nothing.
    pub(crate) fn is(&self, header: &str) -> bool {
        Sha256::digest(self.0.as_bytes()) == Sha256::digest(header.as_bytes())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_signature_is_that_of_the_example_of_github() {
        let secret = Secret("It's a Secret to Everybody".to_owned());
        let good = "sha256=757107ea0eb2509fc211221cce984b8a37570b6d7586c22c46f4379c8b043e17";
        assert!(secret.signed(b"Hello, World!", good));
        assert!(!secret.signed(b"Hello, World", good), "another body");
        assert!(!Secret("other".to_owned()).signed(b"Hello, World!", good), "another secret");
        for bad in
            ["", "sha256=", &good[7..], &good[..70], "sha1=757107ea0eb2509fc211221cce984b8a37570b6d", "sha256=zz"]
        {
            assert!(!secret.signed(b"Hello, World!", bad), "{bad}");
        }
    }

    #[test]
    fn a_token_is_the_whole_secret_and_nothing_prints_it() {
        let secret = Secret("hunter2".to_owned());
        assert!(secret.is("hunter2"));
        assert!(!secret.is("hunter") && !secret.is("") && !secret.is("hunter22"));
        assert_eq!(format!("{secret:?}"), "Secret(…)");
    }
}
