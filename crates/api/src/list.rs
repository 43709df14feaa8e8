//! Answers that are lists: JSON or CSV, with a link to the next page.

use crate::around::wants_csv;
use crate::problem::ApiError;
use crate::query::PageAsked;
use crate::resources::costs::RangeBody;
use axum::body::Body;
use axum::extract::{FromRequestParts, OriginalUri};
use axum::http::request::Parts;
use axum::http::{HeaderValue, Uri, header};
use axum::response::Response;
use engine::query::cursor;
use engine::spreadsheet::safe;
use serde::Serialize;
use serde_json::Value;
use std::convert::Infallible;
use utoipa::ToSchema;
use utoipa::openapi::{RefOr, Schema};

/// What a list is asked for: which form, at which address.
#[derive(Clone, Debug)]
pub struct ListAsked {
    csv: bool,
    uri: Uri,
}

impl<S: Send + Sync> FromRequestParts<S> for ListAsked {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, _state: &S) -> Result<Self, Infallible> {
        let uri =
            parts.extensions.get::<OriginalUri>().map_or_else(|| parts.uri.clone(), |original| original.0.clone());
        Ok(Self { csv: wants_csv(&parts.headers), uri })
    }
}

/// A page of a list.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct Page<T: ToSchema> {
    /// The rows.
    pub rows: Vec<T>,
    /// The days that were asked for; absent where the list is not of days, or all of them were.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub range: Option<RangeBody>,
    /// Where the next page begins; null on the last one.
    pub next_cursor: Option<String>,
}

impl<T: ToSchema + Serialize> Page<T> {
    /// Returns the page of these rows, of which one more than `limit` was asked for; `place` names a row.
    pub(crate) fn cut<R>(
        mut found: Vec<R>,
        limit: usize,
        place: impl Fn(&R) -> String,
        to_api: impl Fn(&R) -> T,
    ) -> Self {
        let more = limit < found.len();
        found.truncate(limit);
        let next_cursor = found.last().filter(|_| more).map(place);
        Self { rows: found.iter().map(to_api).collect(), range: None, next_cursor }
    }

    /// Returns the page of rows that are all at hand; the cursor says how many of them come before it.
    ///
    /// # Errors
    /// For a cursor of another question.
    pub(crate) fn of_all<R>(
        all: Vec<R>,
        page: &PageAsked,
        question: &str,
        to_api: impl Fn(&R) -> T,
    ) -> Result<Self, ApiError> {
        let before: Option<usize> = page.cursor.as_ref().map(|text| cursor::decode(question, text)).transpose()?;
        let found = all.into_iter().enumerate().skip(before.unwrap_or(0)).take(page.limit + 1).collect();
        Ok(Self::cut(found, page.limit, |(at, _)| cursor::encode(question, &(at + 1)), |(_, row)| to_api(row)))
    }

    /// Returns the page with the days that were asked for.
    pub(crate) fn of_days(self, range: Option<RangeBody>) -> Self {
        Self { range, ..self }
    }

    /// Returns the page as JSON or CSV.
    pub(crate) fn answer(&self, asked: &ListAsked) -> Result<Response, ApiError> {
        asked.answer(self, || columns_of::<T>(), self.next_cursor.as_deref())
    }
}

impl ListAsked {
    /// Returns a list as JSON or CSV. `body` serialises to an object whose member `rows` holds the rows; the
    /// columns are their members.
    pub(crate) fn answer(
        &self,
        body: &impl Serialize,
        columns: impl FnOnce() -> Vec<String>,
        next_cursor: Option<&str>,
    ) -> Result<Response, ApiError> {
        let mut response = if self.csv {
            let value = serde_json::to_value(body).map_err(|error| ApiError::Internal(error.to_string()))?;
            let rows = value["rows"].as_array().map_or(&[][..], Vec::as_slice);
            csv_answer(&columns(), rows)?
        } else {
            json(body)?
        };
        if let Some(cursor) = next_cursor {
            let link = format!("<{}>; rel=\"next\"", self.with_cursor(cursor));
            if let Ok(value) = HeaderValue::from_str(&link) {
                response.headers_mut().insert(header::LINK, value);
            }
        }
        Ok(response)
    }

    /// Returns a list that is nothing but its rows, as JSON or CSV.
    pub(crate) fn answer_bare<T: Serialize + ToSchema>(&self, rows: &[T]) -> Result<Response, ApiError> {
        if !self.csv {
            return json(&rows);
        }
        let value = serde_json::to_value(rows).map_err(|error| ApiError::Internal(error.to_string()))?;
        csv_answer(&columns_of::<T>(), value.as_array().map_or(&[][..], Vec::as_slice))
    }

    /// Returns whether CSV is asked for.
    pub(crate) fn is_csv(&self) -> bool {
        self.csv
    }

    fn with_cursor(&self, cursor: &str) -> String {
        let query = self.uri.query().unwrap_or_default();
        let kept = query.split('&').filter(|piece| !piece.is_empty() && !piece.starts_with("cursor="));
        let query: Vec<String> = kept.map(str::to_owned).chain([format!("cursor={cursor}")]).collect();
        format!("{}?{}", self.uri.path(), query.join("&"))
    }
}

/// Returns a JSON answer.
pub(crate) fn json(body: &impl Serialize) -> Result<Response, ApiError> {
    let bytes = serde_json::to_vec(body).map_err(|error| ApiError::Internal(error.to_string()))?;
    let mut response = Response::new(Body::from(bytes));
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    Ok(response)
}

/// Returns the rows as CSV (RFC 4180) with these columns.
pub(crate) fn csv_answer(columns: &[String], rows: &[Value]) -> Result<Response, ApiError> {
    let failed = |error: &dyn std::fmt::Display| ApiError::Internal(format!("CSV cannot be written: {error}"));
    let mut writer = csv::WriterBuilder::new().terminator(csv::Terminator::CRLF).from_writer(Vec::new());
    writer.write_record(columns.iter().map(|column| safe(column).into_owned())).map_err(|error| failed(&error))?;
    for row in rows {
        let cells = columns.iter().map(|column| cell(&row[column.as_str()]));
        writer.write_record(cells).map_err(|error| failed(&error))?;
    }
    let bytes = writer.into_inner().map_err(|error| failed(&error))?;
    let mut response = Response::new(Body::from(bytes));
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("text/csv; charset=utf-8"));
    Ok(response)
}

fn cell(value: &Value) -> String {
    match value {
        Value::Null => String::new(),
        Value::String(text) => safe(text).into_owned(),
        other => other.to_string(),
    }
}

/// Returns the names of a row's members, in order, those of what is flattened into it where it stands.
pub(crate) fn columns_of<T: ToSchema>() -> Vec<String> {
    let mut named = Vec::new();
    T::schemas(&mut named);
    members_of(&T::schema(), &named)
}

fn members_of(schema: &RefOr<Schema>, named: &[(String, RefOr<Schema>)]) -> Vec<String> {
    match schema {
        RefOr::T(Schema::Object(object)) => object.properties.keys().cloned().collect(),
        RefOr::T(Schema::AllOf(parts)) => parts.items.iter().flat_map(|part| members_of(part, named)).collect(),
        RefOr::Ref(part) => {
            let found = named.iter().find(|(name, _)| part.ref_location.ends_with(&format!("/{name}")));
            found.map_or_else(Vec::new, |(_, part)| members_of(part, named))
        }
        RefOr::T(_) => Vec::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_link_keeps_the_question_and_changes_the_cursor() {
        let asked = ListAsked { csv: false, uri: Uri::from_static("/api/v1/runs?limit=2&cursor=old") };
        assert_eq!(asked.with_cursor("new"), "/api/v1/runs?limit=2&cursor=new");
    }
}
