//! How much was used: the usage of the lake and what was acknowledged since, as one.
//!
//! DataFusion sums by what a row needs to be told apart; tenants are resolved and filtered here, by the facts of each
//! day, and the meter's aggregation makes one quantity of the sums.

/// From sums to rows: whose they are and whether the caller may see them.
mod fold;
/// The same question, asked again and again.
mod live;
/// The parameters of a question.
mod question;
/// Who may see what.
mod scope;
/// The sums that a question needs.
mod sums;

pub use live::LiveUsage;
pub use question::{UsageGranularity, UsageQuery};
pub use scope::UsageScope;

use super::Page;
use super::cursor;
use crate::{Engine, EngineError};
use domain::meter::Aggregation;
use domain::{Day, Instant};
use fold::{Asked, Fold};
use std::sync::Arc;
pub(in crate::query) use sums::UsageNow;
use sums::{Part, Shape, UsageSum};

/// One quantity.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UsageRow {
    /// The values of `group_by`, in its order; the meter comes last if the question names none.
    pub key: Vec<(String, Option<Arc<str>>)>,
    /// When the bucket begins; for no granularity the first day of the range.
    pub start: BucketStart,
    /// In atoms of 10⁻⁹.
    pub quantity: i128,
    /// What it counts in.
    pub unit: Arc<str>,
    /// Values that went in.
    pub events: i128,
}

/// When a bucket begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum BucketStart {
    /// A day of the organisation's zone.
    Day(Day),
    /// A clock hour.
    Hour(Instant),
}

impl Engine {
    /// Returns a page of quantities, everything acknowledged so far included.
    ///
    /// # Units
    /// Quantities in atoms of 10⁻⁹ of the meter's unit. Over a bucket: sums are summed, averages weighted by their
    /// values, `last` is the last value of each full key, summed, and `unique_count` the sum of the days' counts.
    ///
    /// # Errors
    /// For a grouping finer than a `unique_count` meter counts, and when the lake fails.
    pub async fn usage(&self, scope: &UsageScope, query: &UsageQuery) -> Result<Page<UsageRow>, EngineError> {
        let question = format!("{scope:?} {query:?}");
        let after: Option<usize> = query.cursor.as_deref().map(|text| cursor::decode(&question, text)).transpose()?;
        let mut rows = self.usage_rows(scope, query).await?;
        let first = after.unwrap_or(0).min(rows.len());
        let rest = rows.split_off(first);
        let has_more = query.limit < rest.len();
        let rows: Vec<UsageRow> = rest.into_iter().take(query.limit).collect();
        let next_cursor = has_more.then(|| cursor::encode(&question, &(first + rows.len())));
        Ok(Page { rows, next_cursor, posting: None })
    }

    /// Returns every quantity of a question, in order of bucket and key.
    ///
    /// # Errors
    /// As [`Engine::usage`].
    pub async fn usage_rows(&self, scope: &UsageScope, query: &UsageQuery) -> Result<Vec<UsageRow>, EngineError> {
        super::select::check_named_tenants(&scope.tenants, &query.filter)?;
        let books = self.books_now().await?;
        query.check_finer(query.meter.as_ref().and_then(|name| books.meters.get(name)))?;
        let asked = Asked { scope, query, books: &books };
        let session = self.usage_session(&self.usage_now().await?, Part::All)?;
        let shape = Shape::of(query);
        let (mut fold, mut has_last) = (Fold::default(), false);
        let take = |sum: UsageSum| {
            has_last |= books.meters.aggregation(&sum.meter, sum.kind) == Aggregation::Last;
            fold.add(&asked, &sum)
        };
        shape.each_sum(&session, query, take).await?;
        if has_last {
            shape.each_last(&session, query, |sum| fold.add(&asked, &sum)).await?;
        }
        fold.into_rows(&asked)
    }
}
