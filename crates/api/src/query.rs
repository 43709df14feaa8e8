//! Query parameters, each known or refused, and the one id of a path.

use crate::problem::ApiError;
use axum::extract::{FromRequestParts, Path};
use axum::http::request::Parts;
use domain::{Day, DayRange};
use engine::query::{Params, QueryLimits};

/// The query parameters of a request, decoded, in order.
#[derive(Clone, Debug)]
pub struct QueryPairs(pub Vec<(String, String)>);

impl<S: Send + Sync> FromRequestParts<S> for QueryPairs {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, _state: &S) -> Result<Self, ApiError> {
        let query = parts.uri.query().unwrap_or_default();
        let pieces = query.split('&').filter(|piece| !piece.is_empty());
        let pairs = pieces.map(|piece| {
            let (name, value) = piece.split_once('=').unwrap_or((piece, ""));
            Ok((decoded(name)?, decoded(value)?))
        });
        Ok(Self(pairs.collect::<Result<_, ApiError>>()?))
    }
}

impl QueryPairs {
    /// Returns the parameters, to be taken one by one.
    ///
    /// # Errors
    /// When one is given twice.
    pub(crate) fn params(&self) -> Result<Params, ApiError> {
        Ok(Params::new(&self.0)?)
    }

    /// Refuses every parameter.
    ///
    /// # Errors
    /// When there is one.
    pub(crate) fn none(&self) -> Result<(), ApiError> {
        Ok(self.params()?.finish()?)
    }

    /// Takes `limit` and `cursor`, and refuses every other parameter.
    ///
    /// # Errors
    /// When one cannot be used.
    pub(crate) fn page(&self, limits: &QueryLimits) -> Result<PageAsked, ApiError> {
        let mut params = self.params()?;
        let page = PageAsked::take(&mut params, limits)?;
        params.finish()?;
        Ok(page)
    }

    /// Takes `range` or `from` and `to`, and refuses every other parameter but those `more` takes.
    ///
    /// # Errors
    /// When one cannot be used.
    pub(crate) fn days<T>(
        &self,
        limits: &QueryLimits,
        more: impl FnOnce(&mut Params) -> Result<T, ApiError>,
    ) -> Result<(DayRange, T), ApiError> {
        let mut params = self.params()?;
        let range = params.range_or_default(limits)?;
        let rest = more(&mut params)?;
        params.finish()?;
        Ok((range, rest))
    }
}

/// Which page of a list.
#[derive(Clone, Debug)]
pub(crate) struct PageAsked {
    /// Rows.
    pub(crate) limit: usize,
    /// Where it begins.
    pub(crate) cursor: Option<String>,
}

impl PageAsked {
    /// Takes `limit` and `cursor`.
    ///
    /// # Errors
    /// When the limit is none.
    pub(crate) fn take(params: &mut Params, limits: &QueryLimits) -> Result<Self, ApiError> {
        Ok(Self { limit: params.limit(limits)?, cursor: params.text("cursor") })
    }

    /// One row more than the page has, to see whether another page follows.
    pub(crate) fn rows_wanted(&self) -> i64 {
        i64::try_from(self.limit).unwrap_or(i64::MAX - 1) + 1
    }
}

fn decoded(text: &str) -> Result<String, ApiError> {
    let refuse = |what: &str| ApiError::parameter("query", format!("a query parameter {what}"));
    let bytes = text.as_bytes();
    let mut plain = Vec::with_capacity(bytes.len());
    let mut at = 0;
    while at < bytes.len() {
        match bytes[at] {
            b'+' => plain.push(b' '),
            b'%' => {
                let digits =
                    text.get(at + 1..at + 3).filter(|digits| digits.bytes().all(|byte| byte.is_ascii_hexdigit()));
                let byte = digits.and_then(|digits| u8::from_str_radix(digits, 16).ok());
                plain.push(byte.ok_or_else(|| refuse("has a `%` without two hexadecimal digits"))?);
                at += 2;
            }
            byte => plain.push(byte),
        }
        at += 1;
    }
    let plain = String::from_utf8(plain).map_err(|_| refuse("is not UTF-8"))?;
    if plain.contains('\0') {
        return Err(refuse("contains a NUL character"));
    }
    Ok(plain)
}

/// The one variable part of a path.
#[derive(Clone, Debug)]
pub struct Id(pub String);

impl<S: Send + Sync> FromRequestParts<S> for Id {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, ApiError> {
        let refuse = |_| ApiError::parameter("path", "the path is not UTF-8");
        let Path(id) = Path::<String>::from_request_parts(parts, state).await.map_err(refuse)?;
        if id.contains('\0') {
            return Err(ApiError::parameter("path", "the path contains a NUL character"));
        }
        Ok(Self(id))
    }
}

/// Returns the day of a parameter.
pub(crate) fn day_of(params: &mut Params, name: &'static str) -> Result<Option<Day>, ApiError> {
    Ok(params.parsed(name)?)
}

/// Returns whether a parameter that says true or false says true; false when it is not given.
pub(crate) fn flag(params: &mut Params, name: &'static str) -> Result<bool, ApiError> {
    Ok(params.word(name, &[("false", false), ("true", true)])?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn escapes_are_decoded_and_broken_ones_refused() {
        assert_eq!(decoded("a+b%20c%C3%A9").ok().as_deref(), Some("a b cé"));
        for text in ["%", "%2", "%zz", "%+1", "%ff", "a%00b"] {
            assert!(decoded(text).is_err(), "{text}");
        }
    }
}
