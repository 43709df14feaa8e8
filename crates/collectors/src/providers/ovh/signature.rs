use super::super::credentials::{Credentials, secret_header};
use super::super::error::CollectError;
use super::super::fetch::Outgoing;
use domain::time::MICROS_PER_SECOND;
use reqwest::header::{HeaderName, HeaderValue};
use ring::digest::{SHA1_FOR_LEGACY_USE_ONLY, digest};

/// Returns the headers that sign a request, at the provider's time.
///
/// # Errors
/// [`Cause::Secret`](super::super::error::Cause::Secret) if a credential is missing.
pub(super) fn headers(
    credentials: &Credentials,
    outgoing: &Outgoing<'_>,
    clock_seconds: i64,
) -> Result<Vec<(HeaderName, HeaderValue)>, CollectError> {
    let consumer = credentials.get("consumer_key")?;
    let time = outgoing.now.micros().div_euclid(MICROS_PER_SECOND).saturating_add(clock_seconds).to_string();
    let body = String::from_utf8_lossy(outgoing.body);
    let secret = credentials.get("application_secret")?;
    let (verb, url) = (outgoing.verb.as_str(), outgoing.url.as_str());
    let signed = signature([secret, consumer, verb, url, body.as_ref(), time.as_str()]);
    let named =
        |name: &'static str, value: &str| secret_header(value).map(|value| (HeaderName::from_static(name), value));
    [
        named("x-ovh-application", credentials.get("application_key")?),
        named("x-ovh-consumer", consumer),
        named("x-ovh-timestamp", &time),
        named("x-ovh-signature", &signed),
    ]
    .into_iter()
    .collect()
}

/// The signature of the first version: SHA-1 is what the provider asks for.
fn signature(parts: [&str; 6]) -> String {
    let hash = digest(&SHA1_FOR_LEGACY_USE_ONLY, parts.join("+").as_bytes());
    format!("$1${}", hex::encode(hash))
}

#[cfg(test)]
mod tests {
    use super::signature;

    #[test]
    fn a_signature_is_the_hash_of_its_parts() {
        // As `printf %s 'secret+consumer+GET+https://…++1795132800' | sha1sum` says.
        let url = "https://eu.api.ovh.com/1.0/me/bill?date.from=2026-11-01";
        let signed = signature(["secret", "consumer", "GET", url, "", "1795132800"]);
        assert_eq!(signed, "$1$118a9535f8a13cbc9722aefb6bc8bd3f04ca1912");
    }
}
