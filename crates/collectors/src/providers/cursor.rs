use super::error::CollectError;
use super::fetch::{Fetch, Pages, Request};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::value::RawValue;

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
    let mut rows: Vec<T> = Vec::new();
    let mut next: Option<String> = None;
    loop {
        let mut request = question()?;
        if let Some(page) = &next {
            request = request.query("page", page);
        }
        let page: Page = fetch.send(request).await?.json()?;
        let found: Vec<T> = rows_of(page.data.get())?;
        pages.note(page.data.get().as_bytes(), found.is_empty())?;
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
