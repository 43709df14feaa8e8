use super::error::CollectError;
use super::fetch::{Fetch, Pages, Request};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::value::RawValue;
use sha2::{Digest as _, Sha256};
use std::collections::BTreeSet;

/// Pages of one question at most.
const PAGES_MAX: usize = 1000;

/// A page of a provider that names the next one.
#[derive(Deserialize)]
struct Page {
    data: Box<RawValue>,
    has_more: bool,
    #[serde(default)]
    next_page: Option<String>,
}

/// Returns the rows of all pages; `question` is asked again with `page` for each further one.
///
/// # Errors
/// [`CollectError`]; [`Cause::Paging`](super::Cause::Paging) if pages repeat or never end.
pub(super) async fn read_pages<T: DeserializeOwned>(
    fetch: &Fetch,
    question: impl Fn() -> Result<Request<'static>, CollectError>,
) -> Result<Vec<T>, CollectError> {
    let mut pages = Pages::new(PAGES_MAX);
    let (mut rows, mut seen): (Vec<T>, BTreeSet<[u8; 32]>) = (Vec::new(), BTreeSet::new());
    let mut next: Option<String> = None;
    loop {
        let mut request = question()?;
        if let Some(page) = &next {
            request = request.query("page", page);
        }
        let page: Page = fetch.send(request).await?.json()?;
        let found: Vec<T> = rows_of(page.data.get())?;
        pages.note(page.data.get().as_bytes(), found.is_empty())?;
        note_rows(page.data.get(), &mut seen)?;
        rows.extend(found);
        match (page.has_more, page.next_page) {
            (false, _) => return Ok(rows),
            (true, Some(token)) if !token.is_empty() && next.as_ref() != Some(&token) => next = Some(token),
            (true, Some(_)) => return Err(CollectError::paging("the page after this one is the same again")),
            (true, None) => return Err(CollectError::schema("there are more pages, but `next_page` is missing")),
        }
    }
}

fn rows_of<T: DeserializeOwned>(text: &str) -> Result<Vec<T>, CollectError> {
    serde_json::from_str(text).map_err(|error| {
        let reason = crate::prometheus::shown(&error.to_string());
        CollectError::schema(format!("a row is not as documented: {reason}"))
    })
}

/// Notices a row that stood on an earlier page, as when pages shift while they are read: it would count twice.
fn note_rows(text: &str, seen: &mut BTreeSet<[u8; 32]>) -> Result<(), CollectError> {
    // They were read as rows before.
    let rows: Vec<&RawValue> = serde_json::from_str(text).unwrap_or_default();
    let hashes: Vec<[u8; 32]> = rows.iter().map(|row| Sha256::digest(row.get()).into()).collect();
    if hashes.iter().any(|hash| seen.contains(hash)) {
        return Err(CollectError::paging("a row came on two pages"));
    }
    seen.extend(hashes);
    Ok(())
}
