//! Clients of buckets that can list and read, and nothing else.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use http_body_util::BodyExt as _;
use object_store::aws::AmazonS3Builder;
use object_store::azure::MicrosoftAzureBuilder;
use object_store::client::{
    HttpClient, HttpConnector, HttpError, HttpErrorKind, HttpRequest, HttpResponse, HttpResponseBody, HttpService,
};
use object_store::gcp::GoogleCloudStorageBuilder;
use object_store::{BackoffConfig, ClientOptions, ObjectStore, RetryConfig};
use url::Url;

use super::super::fetch::{http_client, is_private, parse_base};
use crate::prometheus::asked_wait;
use crate::providers::{Cause, CollectError, Credentials};

/// Where credentials are exchanged for tokens; the only addresses that may be sent anything.
const TOKEN_HOSTS: [&str; 2] = ["oauth2.googleapis.com", "login.microsoftonline.com"];
/// Where Google Cloud's buckets are.
const GOOGLE_ADDRESS: &str = "https://storage.googleapis.com";
/// How long a store may ask to wait before the next attempt, so that all attempts fit into the patience of one request.
const ASKED_WAIT_MAX: Duration = Duration::from_secs(10);
/// Longest time over all attempts of one request.
const RETRY_MAX: Duration = Duration::from_secs(180);

/// Whose bucket it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BucketKind {
    /// `s3://bucket/prefix`, of AWS or of anybody who speaks its protocol.
    S3,
    /// `az://container/prefix`.
    Azure,
    /// `gs://bucket/prefix`.
    Google,
}

/// A bucket and how it is reached, without credentials.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BucketAddress {
    /// Whose it is.
    pub kind: BucketKind,
    /// Bucket or container.
    pub name: String,
    /// Prefix of all keys; no slash at either end.
    pub prefix: String,
    /// Region of an S3 bucket.
    pub region: Option<String>,
    /// Address of another server than that of AWS, Azure or Google. `http` only on this machine's loopback.
    pub endpoint: Option<String>,
    /// Storage account of Azure.
    pub account: Option<String>,
    /// Attempts after the first that fails.
    pub retries: usize,
}

impl BucketAddress {
    /// Returns the address that a text such as `s3://bucket/prefix` spells.
    ///
    /// # Errors
    /// A sentence that says what is wrong with it.
    pub fn parse(text: &str) -> Result<Self, String> {
        let url = Url::parse(text).map_err(|error| format!("`bucket` cannot be read: {error}"))?;
        let kind = match url.scheme() {
            "s3" => BucketKind::S3,
            "az" => BucketKind::Azure,
            "gs" => BucketKind::Google,
            _ => return Err("`bucket` must begin with s3://, az:// or gs://; a folder is given as `path`".to_owned()),
        };
        let name = url.host_str().filter(|name| !name.is_empty()).ok_or("`bucket` must name one")?;
        if !url.username().is_empty() || url.password().is_some() || url.query().is_some() || url.fragment().is_some() {
            return Err("`bucket` must hold a bucket and a prefix, and nothing else".to_owned());
        }
        let prefix = object_store::path::Path::from_url_path(url.path().trim_matches('/'))
            .map_err(|_| "the prefix in `bucket` cannot be one of keys".to_owned())?;
        let (name, prefix) = (name.to_owned(), prefix.to_string());
        Ok(Self { kind, name, prefix, region: None, endpoint: None, account: None, retries: 3 })
    }

    /// Returns a client.
    ///
    /// # Errors
    /// [`Cause::Secret`] if a credential is missing or unusable, [`Cause::NotAllowed`] if the endpoint may not be asked.
    pub fn client(&self, credentials: &Credentials) -> Result<Arc<dyn ObjectStore>, CollectError> {
        let http = ReadOnlyHttp { is_stand_in: self.check_endpoint()? };
        let retry =
            RetryConfig { backoff: BackoffConfig::default(), max_retries: self.retries, retry_timeout: RETRY_MAX };
        let built = match self.kind {
            BucketKind::S3 => {
                let store = self.s3(credentials)?.with_allow_http(http.is_stand_in);
                let store = store.with_retry(retry).with_http_connector(http).build();
                store.map(|store| Arc::new(store) as Arc<dyn ObjectStore>)
            }
            BucketKind::Azure => {
                let store = self.azure(credentials)?.with_allow_http(http.is_stand_in);
                let store = store.with_retry(retry).with_http_connector(http).build();
                store.map(|store| Arc::new(store) as Arc<dyn ObjectStore>)
            }
            BucketKind::Google => {
                let store = self.google(credentials)?.with_retry(retry).with_http_connector(http).build();
                store.map(|store| Arc::new(store) as Arc<dyn ObjectStore>)
            }
        };
        // The reason may quote what was given, so it is not repeated.
        built.map_err(|_| CollectError::new(Cause::Secret, "the credentials of the bucket cannot be used as they are"))
    }

    fn s3(&self, credentials: &Credentials) -> Result<AmazonS3Builder, CollectError> {
        let mut builder = AmazonS3Builder::new()
            .with_bucket_name(&self.name)
            .with_region(self.region.as_deref().unwrap_or("us-east-1"))
            .with_access_key_id(credentials.get("access_key")?)
            .with_secret_access_key(credentials.get("secret_key")?);
        if let Ok(token) = credentials.get("session_token") {
            builder = builder.with_token(token);
        }
        if let Some(endpoint) = &self.endpoint {
            builder = builder.with_endpoint(endpoint);
        }
        Ok(builder)
    }

    fn azure(&self, credentials: &Credentials) -> Result<MicrosoftAzureBuilder, CollectError> {
        let account = self.account.as_deref().ok_or_else(|| {
            CollectError::new(Cause::Secret, "`account` is missing: the storage account of the container")
        })?;
        let mut builder = MicrosoftAzureBuilder::new().with_account(account).with_container_name(&self.name);
        if let Some(endpoint) = &self.endpoint {
            builder = builder.with_endpoint(endpoint.trim_end_matches('/').to_owned());
        }
        if let Ok(sas) = credentials.get("sas_token") {
            let pairs = url::form_urlencoded::parse(sas.trim_start_matches('?').as_bytes()).into_owned();
            return Ok(builder.with_sas_authorization(pairs.collect::<Vec<_>>()));
        }
        let (client, tenant) = (credentials.get("client_id")?, credentials.get("tenant_id")?);
        Ok(builder.with_client_secret_authorization(client, credentials.get("client_secret")?, tenant))
    }

    fn google(&self, credentials: &Credentials) -> Result<GoogleCloudStorageBuilder, CollectError> {
        let key = credentials.get("service_account")?;
        // Always set: a key may name an address of its own, which nobody has looked at.
        let endpoint = self.endpoint.as_deref().unwrap_or(GOOGLE_ADDRESS).trim_end_matches('/');
        let builder = GoogleCloudStorageBuilder::new().with_bucket_name(&self.name).with_base_url(endpoint);
        Ok(builder.with_service_account_key(key))
    }

    /// Returns whether the endpoint stands in for a store on this machine; there is none unless it says so.
    fn check_endpoint(&self) -> Result<bool, CollectError> {
        let Some(text) = &self.endpoint else { return Ok(false) };
        let is_stand_in = text.starts_with("http://");
        match parse_base(text, is_stand_in) {
            Ok(_) => Ok(is_stand_in),
            Err(problem) => Err(CollectError::new(Cause::NotAllowed, format!("endpoint: {problem}"))),
        }
    }
}

/// Makes HTTP clients that only read, only where collectors may.
#[derive(Debug)]
struct ReadOnlyHttp {
    is_stand_in: bool,
}

impl HttpConnector for ReadOnlyHttp {
    fn connect(&self, _options: &ClientOptions) -> object_store::Result<HttpClient> {
        let client = http_client(self.is_stand_in)
            .map_err(|error| object_store::Error::Generic { store: "bucket", source: Box::new(error) })?;
        Ok(HttpClient::new(ReadOnlyService(client)))
    }
}

#[derive(Debug)]
struct ReadOnlyService(reqwest::Client);

#[async_trait]
impl HttpService for ReadOnlyService {
    async fn call(&self, request: HttpRequest) -> Result<HttpResponse, HttpError> {
        let (parts, body) = request.into_parts();
        let refused = || HttpError::new(HttpErrorKind::Unknown, NotSent("the request is no reading one"));
        // What reads has no body, and a question for a token is one piece.
        let body = body.as_bytes().cloned().ok_or_else(refused)?;
        if !may_be_sent(parts.method.as_str(), parts.uri.host().unwrap_or_default()) {
            return Err(refused());
        }
        let sent = self.0.request(parts.method, parts.uri.to_string()).headers(parts.headers).body(body);
        let answer = sent.send().await.map_err(http_error)?;
        let (status, headers) = (answer.status(), answer.headers().clone());
        if matches!(status.as_u16(), 429 | 503)
            && let Some(wait) = asked_wait(&headers).filter(|wait| *wait <= ASKED_WAIT_MAX)
        {
            tokio::time::sleep(wait).await;
        }
        let body = reqwest::Body::from(answer).map_err(http_error);
        let mut response = HttpResponse::new(HttpResponseBody::new(body));
        *response.status_mut() = status;
        *response.headers_mut() = headers;
        Ok(response)
    }
}

/// The kind of an error, which tells whether the request is tried again. Addresses may be signed and are left out.
fn http_error(error: reqwest::Error) -> HttpError {
    if is_private(&error) {
        return HttpError::new(HttpErrorKind::Unknown, NotSent("the name leads to a private address"));
    }
    let kind = if error.is_timeout() {
        HttpErrorKind::Timeout
    } else if error.is_connect() {
        HttpErrorKind::Connect
    } else if error.is_body() || error.is_decode() {
        HttpErrorKind::Interrupted
    } else if error.is_request() {
        HttpErrorKind::Request
    } else {
        HttpErrorKind::Unknown
    };
    HttpError::new(kind, error.without_url())
}

/// Nothing was sent. The credentials may be able to write; this client is not.
#[derive(Debug, thiserror::Error)]
#[error("{0}; it was not sent")]
pub(super) struct NotSent(pub &'static str);

fn may_be_sent(method: &str, host: &str) -> bool {
    match method {
        "GET" | "HEAD" => true,
        "POST" => TOKEN_HOSTS.contains(&host),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_a_bucket_and_a_prefix() {
        let parsed = |text: &str| BucketAddress::parse(text).map(|address| (address.name, address.prefix));
        let pair = |name: &str, prefix: &str| Ok((name.to_owned(), prefix.to_owned()));
        assert_eq!(parsed("s3://acme-billing/focus/acme-focus12/"), pair("acme-billing", "focus/acme-focus12"));
        assert_eq!(parsed("gs://acme-billing"), pair("acme-billing", ""));
        assert_eq!(parsed("az://exports/focus%20cost"), pair("exports", "focus cost"));
        for bad in ["", "acme-billing", "https://acme.example/x", "file:///etc", "s3:///x", "s3://a:b@c/d", "gs://a?b"]
        {
            assert!(parsed(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn an_endpoint_is_https_or_on_this_machine() {
        let check = |endpoint: &str| {
            let address = BucketAddress {
                endpoint: Some(endpoint.to_owned()),
                ..BucketAddress::parse("s3://a").expect("an address")
            };
            address.check_endpoint().map_err(|error| error.cause)
        };
        assert_eq!(check("https://s3.eu-central-1.wasabisys.com"), Ok(false));
        assert_eq!((check("http://127.0.0.1:9000"), check("http://[::1]:9000")), (Ok(true), Ok(true)));
        for bad in [
            "https://169.254.169.254/latest",
            "https://127.0.0.1:9000",
            "http://minio:9000",
            "http://169.254.169.254",
            "http://localhost:9000",
            "file:///etc",
            "nowhere",
        ] {
            assert_eq!(check(bad), Err(Cause::NotAllowed), "{bad}");
        }
    }

    #[test]
    fn s6_nothing_but_a_read_is_sent() {
        for method in ["PUT", "DELETE", "PATCH", "POST", "OPTIONS"] {
            assert!(!may_be_sent(method, "acme-billing.s3.amazonaws.com"), "{method}");
        }
        assert!(may_be_sent("GET", "acme-billing.s3.amazonaws.com") && may_be_sent("HEAD", "127.0.0.1"));
        assert!(may_be_sent("POST", "oauth2.googleapis.com") && !may_be_sent("POST", "oauth2.googleapis.com.example"));
    }
}
