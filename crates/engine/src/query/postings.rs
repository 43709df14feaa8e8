//! Headers of postings, newest first.

use super::history::PostingBody;
use super::{Page, as_of, cursor};
use crate::adjust::AdjustmentFacts;
use crate::{Engine, EngineError};
use domain::Instant;

/// What all entries of a posting have in common.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PostingSummary {
    /// Number, from 1, without gaps.
    pub posting: i64,
    /// The run that made it; none for closes, reopens and adjustments.
    pub run: Option<String>,
    /// When it was booked.
    pub booked_at: Instant,
    /// How many entries it has.
    pub entries: i64,
    /// `sha256:` and its hash.
    pub hash: String,
    /// `sha256:` and the hash before.
    pub prev_hash: String,
    /// The days that the run posted.
    pub days: Vec<String>,
    /// Versions of policies that applied.
    pub policy_versions: Vec<String>,
    /// Versions of rate cards that applied.
    pub rate_card_versions: Vec<String>,
    /// What was adjusted, if the posting is an adjustment.
    pub adjustment: Option<AdjustmentFacts>,
}

impl Engine {
    /// Returns postings, newest first. All pages show the postings up to the first page's newest.
    ///
    /// # Errors
    /// For a cursor of another list, or when the catalog fails.
    pub async fn postings_all_tenants(
        &self,
        limit: usize,
        cursor: Option<&str>,
    ) -> Result<Page<PostingSummary>, EngineError> {
        const QUESTION: &str = "postings";
        let place: Option<(i64, i64)> = cursor.map(|text| cursor::decode(QUESTION, text)).transpose()?;
        let rows_wanted = i64::try_from(limit).unwrap_or(i64::MAX - 1) + 1;
        let rows = self.catalog.list_postings_all_tenants(place.map(|(_, before)| before), rows_wanted).await?;
        let head = place.map(|(head, _)| head).or_else(|| rows.first().map(|row| row.posting));
        let mut found = Vec::new();
        for row in rows.iter().take(limit) {
            let body = PostingBody::of(row)?;
            found.push(PostingSummary {
                posting: row.posting,
                run: row.run.clone(),
                booked_at: Instant::from_micros(row.booked_at),
                entries: row.entries,
                hash: as_of::hash_text(&row.hash),
                prev_hash: as_of::hash_text(&row.prev_hash),
                days: body.days,
                policy_versions: body.policy_versions,
                rate_card_versions: body.rate_card_versions,
                adjustment: body.adjustment,
            });
        }
        let last = found.last().filter(|_| limit < rows.len()).map(|row| row.posting);
        let next_cursor = last.map(|last| cursor::encode(QUESTION, &(head.unwrap_or(last), last)));
        Ok(Page { rows: found, next_cursor, posting: head })
    }
}
