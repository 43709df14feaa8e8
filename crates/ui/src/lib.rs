//! Serves the pages: what `web/` is built into, as part of the binary.
//!
//! Owns: which addresses are pages, content types, caching, compression, and what a page may load.
//! Never: data or words of the product. The pages ask the public REST API, as everybody does.
//! Start reading at [`pages`].

/// The built files, listed by the build script.
mod built;

use axum::Router;
use axum::body::Bytes;
use axum::extract::Path;
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use built::{ASSETS, INDEX};

/// Addresses that the application in the browser knows; every other one stays 404.
pub const PAGES: [&str; 18] = [
    "/",
    "/login",
    "/platform/cost",
    "/tenants/{id}",
    "/clusters",
    "/clusters/{name}",
    "/unit-costs",
    "/overhead",
    "/flow",
    "/ledger",
    "/close",
    "/data",
    "/rates",
    "/policies",
    "/settings/usage",
    "/settings/tenants",
    "/settings/tokens",
    "/audit",
];

/// A page loads from this server only, and nothing that stands in the page itself runs.
const POLICY: &str = "default-src 'self'; object-src 'none'; base-uri 'self'; form-action 'self'; \
    frame-ancestors 'none'";
/// What the built page says before the server fills in where it is served.
const BASE: &str = "<base href=\"/\">";
/// The name of an asset holds the hash of its content, so that it never changes.
const FOR_EVER: &str = "public, max-age=31536000, immutable";

/// Returns the service of all pages and their assets, below `base_path`, which the pages are told; `/` is none.
pub fn pages<S: Clone + Send + Sync + 'static>(base_path: &str) -> Router<S> {
    let index = Bytes::from(index_at(base_path));
    let mut router = Router::new().route("/assets/{name}", get(asset));
    for page in PAGES {
        let index = index.clone();
        router = router.route(page, get(move || std::future::ready(shell(index))));
    }
    router
}

/// The built page with `<base href>` filled in, so that one build serves any base path.
fn index_at(base_path: &str) -> String {
    let base = base_path.trim_end_matches('/');
    let base = base.replace('&', "&amp;").replace('"', "&quot;").replace('<', "&lt;");
    INDEX.replacen(BASE, &format!("<base href=\"{base}/\">"), 1)
}

/// The page is the same for everybody: it asks the API who they are.
fn shell(index: Bytes) -> Response {
    let headers = [
        (header::CONTENT_TYPE, HeaderValue::from_static("text/html; charset=utf-8")),
        (header::CONTENT_SECURITY_POLICY, HeaderValue::from_static(POLICY)),
        (header::CACHE_CONTROL, HeaderValue::from_static("no-cache")),
        (header::VARY, HeaderValue::from_static("accept-encoding")),
    ];
    (headers, index).into_response()
}

async fn asset(Path(name): Path<String>, asked: HeaderMap) -> Response {
    let Some(asset) = ASSETS.iter().find(|asset| asset.name == name) else {
        return StatusCode::NOT_FOUND.into_response();
    };
    let headers = [
        (header::CONTENT_TYPE, HeaderValue::from_static(content_type(asset.name))),
        (header::CACHE_CONTROL, HeaderValue::from_static(FOR_EVER)),
        (header::VARY, HeaderValue::from_static("accept-encoding")),
    ];
    match asset.gzip.filter(|_| takes_gzip(&asked)) {
        Some(packed) => {
            let encoding = [(header::CONTENT_ENCODING, HeaderValue::from_static("gzip"))];
            (headers, encoding, Bytes::from_static(packed)).into_response()
        }
        None => (headers, Bytes::from_static(asset.bytes)).into_response(),
    }
}

fn content_type(name: &str) -> &'static str {
    match name.rsplit_once('.').map_or("", |(_, ending)| ending) {
        "js" => "text/javascript; charset=utf-8",
        "css" => "text/css; charset=utf-8",
        "svg" => "image/svg+xml",
        "png" => "image/png",
        "json" => "application/json",
        _ => "application/octet-stream",
    }
}

/// Whether the caller takes gzip: it names it without the quality 0.
fn takes_gzip(asked: &HeaderMap) -> bool {
    let values = asked.get_all(header::ACCEPT_ENCODING).iter().filter_map(|value| value.to_str().ok());
    values.flat_map(|value| value.split(',')).any(|coding| {
        let mut pieces = coding.split(';').map(str::trim);
        let is_gzip = pieces.next().is_some_and(|name| name.eq_ignore_ascii_case("gzip"));
        let quality = pieces.find_map(|piece| piece.strip_prefix("q=")).unwrap_or("1");
        is_gzip && quality.bytes().any(|digit| matches!(digit, b'1'..=b'9'))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use axum::body::Body;
    use axum::http::Request;
    use http_body_util::BodyExt as _;
    use tower::ServiceExt as _;

    async fn ask(base_path: &str, path: &str) -> (StatusCode, HeaderMap, String) {
        let router: Router = pages(base_path);
        let request = Request::builder().uri(path).body(Body::empty()).expect("a request");
        let response = router.oneshot(request).await.expect("an answer");
        let (status, headers) = (response.status(), response.headers().clone());
        let bytes = response.into_body().collect().await.expect("a body").to_bytes();
        (status, headers, String::from_utf8_lossy(&bytes).into_owned())
    }

    #[tokio::test]
    async fn a_page_knows_its_base_path_and_may_load_from_its_server_only() {
        for (base_path, written) in [("/", "<base href=\"/\">"), ("/costs/", "<base href=\"/costs/\">")] {
            for page in PAGES {
                // What varies may be any name, with any letters of an address.
                let address = page.replace("{id}", "a%2Fb%3Cscript%3E").replace("{name}", "shared-west-us");
                let (status, headers, text) = ask(base_path, &address).await;
                assert_eq!(status, StatusCode::OK, "{page}");
                assert!(text.contains(written), "{page} at {base_path}: {text}");
                assert_eq!(headers[header::CONTENT_SECURITY_POLICY], POLICY);
                assert_eq!(headers[header::CACHE_CONTROL], "no-cache");
                assert_eq!(headers[header::CONTENT_TYPE], "text/html; charset=utf-8");
            }
        }
    }

    #[tokio::test]
    async fn what_is_no_page_stays_missing() {
        let missing =
            ["/platform", "/tenants", "/tenants/a/b", "/clusters/", "/assets/none.js", "/assets/", "/elsewhere"];
        for path in missing {
            assert_eq!(ask("/", path).await.0, StatusCode::NOT_FOUND, "{path}");
        }
    }

    #[tokio::test]
    async fn every_asset_is_served_for_ever_with_its_type() {
        for asset in ASSETS {
            let (status, headers, _) = ask("/", &format!("/assets/{}", asset.name)).await;
            assert_eq!(status, StatusCode::OK, "{}", asset.name);
            assert_eq!(headers[header::CACHE_CONTROL], FOR_EVER);
            assert_ne!(headers[header::CONTENT_TYPE], "application/octet-stream", "{}", asset.name);
        }
    }

    #[test]
    fn the_page_has_the_one_place_that_is_filled_in() {
        assert_eq!(INDEX.matches(BASE).count(), 1);
        assert!(index_at("/a&\"<b").contains("<base href=\"/a&amp;&quot;&lt;b/\">"));
    }

    #[test]
    fn gzip_is_sent_to_those_who_take_it() {
        let takes = |value: &str| {
            let mut headers = HeaderMap::new();
            headers.insert(header::ACCEPT_ENCODING, value.parse().expect("a value"));
            takes_gzip(&headers)
        };
        assert_eq!(["gzip", "br, GZIP;q=0.5", "gzip;q=1.0"].map(takes), [true; 3]);
        assert_eq!(["", "br", "gzip;q=0", "gzip;q=0.000", "x-gzip"].map(takes), [false; 5]);
        assert!(!takes_gzip(&HeaderMap::new()));
    }
}
