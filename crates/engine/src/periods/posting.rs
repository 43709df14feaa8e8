//! Closing and reopening a month: one posting each.

use super::checklist::days_of;
use super::{Checklist, EvidenceFile, Obstacle};
use crate::books::corrupt;
use crate::posting_commit::LedgerEnd;
use crate::{Engine, EngineError};
use domain::{Instant, Month};
use ledger::{Header, PeriodChange, Periods, Posting};
use serde_json::{Map, Value};
use std::collections::BTreeMap;
use storage::catalog::{PeriodChangeRow, PostingRow};
use storage::lake::{LakeError, PinnedLake, Table};

/// How often a close starts again because somebody else posted meanwhile.
const ATTEMPTS_MAX: u32 = 20;

/// What is asked of a close.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CloseRequest {
    /// The month.
    pub month: Month,
    /// Close although reasons stand against it; needs a reason.
    pub force: bool,
    /// Why it is forced.
    pub reason: Option<String>,
    /// Who asks.
    pub requested_by: String,
    /// What names the request when it may come again: then what it did the first time is found and not done again.
    pub request: Option<String>,
}

/// What is asked of a reopening.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReopenRequest {
    /// The month.
    pub month: Month,
    /// Why.
    pub reason: String,
    /// Who asks.
    pub requested_by: String,
    /// What names the request when it may come again: then what it did the first time is found and not done again.
    pub request: Option<String>,
}

/// A close of a month: what its documents are about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClosedMonth {
    /// The month.
    pub month: Month,
    /// The posting that closed it; documents show the ledger up to it.
    pub posting: i64,
    /// When it was booked.
    pub booked_at: Instant,
    /// How often the month was closed by then, from 1; more than 1 after it was reopened.
    pub version: u32,
    /// Who closed it.
    pub closed_by: String,
    /// Files of the lake with what the windows of the month looked like.
    pub evidence: Vec<EvidenceFile>,
}

/// A month that was closed or reopened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PeriodChanged {
    /// The month.
    pub month: Month,
    /// Whether it is closed now.
    pub is_closed: bool,
    /// The posting that did it.
    pub posting: i64,
    /// When it was booked.
    pub booked_at: Instant,
    /// What stood against a close that was forced.
    pub forced: Vec<Obstacle>,
}

/// What the commit of a close or reopen says beside its posting.
struct Told<'t> {
    actor: &'t str,
    request: Option<&'t str>,
    reason: Option<&'t str>,
    forced: &'t [Obstacle],
    evidence: &'t [EvidenceFile],
}

impl Engine {
    /// Closes a month: keeps what its windows rest on, then one posting, then its documents.
    ///
    /// # Source
    /// Spec 3-attribution, section 4, "Periods".
    ///
    /// # Errors
    /// [`EngineError::PeriodClosed`]; [`EngineError::PeriodNotClosable`] with every reason that stands against it; or when
    /// a store fails. Documents that cannot be made after the posting are no failure: they are made later.
    pub async fn close_period(&self, request: &CloseRequest) -> Result<PeriodChanged, EngineError> {
        if request.force && request.reason.is_none() {
            return Err(EngineError::parameter("reason", "say why the close is forced: a `reason` is stored with it"));
        }
        // What is acknowledged and not in the lake yet makes days due, too.
        self.flush_hot().await?;
        for _ in 0..ATTEMPTS_MAX {
            let pinned = self.lake.pin().await?;
            let (request_id, kind) = (request.request.as_deref(), PeriodChange::Close);
            if let Some(done) = self.done_before(&pinned, request_id, kind, request.month).await? {
                self.try_to_make_documents(done.posting).await;
                return Ok(done);
            }
            let Some(end) = self.end_unless_posted(&pinned).await? else { continue };
            let periods = self.months_after_close(&pinned, &end, request.month)?;
            let forced = self.overruled(&pinned, request).await?;
            let evidence = self.keep_window_evidence(&pinned, days_of(request.month)).await?;
            storage::failpoint::hit("period-evidence");
            let (actor, reason) = (request.requested_by.as_str(), request.reason.as_deref());
            let told = Told { actor, request: request_id, reason, forced: &forced, evidence: &evidence };
            let changed = self.change_period(&pinned, &end, kind, request.month, periods, &told).await;
            match changed {
                Err(EngineError::Lake(LakeError::Conflict { .. })) => {}
                Err(error) => return Err(error),
                Ok(changed) => {
                    storage::failpoint::hit("period-closed");
                    self.try_to_make_documents(changed.posting).await;
                    return Ok(changed);
                }
            }
        }
        Err(busy(request.month))
    }

    /// Reopens the latest closed month.
    ///
    /// # Errors
    /// [`EngineError::Period`] for any other month.
    pub async fn reopen_period(&self, request: &ReopenRequest) -> Result<PeriodChanged, EngineError> {
        for _ in 0..ATTEMPTS_MAX {
            let pinned = self.lake.pin().await?;
            let (request_id, kind) = (request.request.as_deref(), PeriodChange::Reopen);
            if let Some(done) = self.done_before(&pinned, request_id, kind, request.month).await? {
                return Ok(done);
            }
            let Some(end) = self.end_unless_posted(&pinned).await? else { continue };
            let periods = end.periods.after(kind, request.month).map_err(EngineError::Period)?;
            let (actor, reason) = (request.requested_by.as_str(), Some(request.reason.as_str()));
            let told = Told { actor, request: request_id, reason, forced: &[], evidence: &[] };
            let changed = self.change_period(&pinned, &end, kind, request.month, periods, &told).await;
            match changed {
                Err(EngineError::Lake(LakeError::Conflict { .. })) => {}
                done => return done,
            }
        }
        Err(busy(request.month))
    }

    /// Returns every close, in the order of their postings.
    ///
    /// # Errors
    /// When the catalog fails.
    pub async fn closes_all_tenants(&self) -> Result<Vec<ClosedMonth>, EngineError> {
        let mut versions: BTreeMap<Month, u32> = BTreeMap::new();
        let mut closes = Vec::new();
        for row in self.catalog.period_changes().await?.into_iter().filter(|row| row.kind == CLOSE) {
            let month: Month = row.month.parse().map_err(|error| corrupt("a closed month", &error))?;
            let version = versions.entry(month).or_default();
            *version += 1;
            closes.push(ClosedMonth {
                month,
                posting: row.posting,
                booked_at: Instant::from_micros(row.at),
                version: *version,
                closed_by: row.actor,
                evidence: evidence_of(&row.evidence)?,
            });
        }
        Ok(closes)
    }

    /// Returns which months are closed in the newest state of the ledger.
    ///
    /// # Errors
    /// When the lake fails.
    pub async fn periods_now(&self) -> Result<Periods, EngineError> {
        self.periods_in(&self.lake.pin_table(Table::Ledger).await?).await
    }

    /// What the same request did to the month before, also where nobody was told: its posting names it.
    async fn done_before(
        &self,
        pinned: &PinnedLake,
        request: Option<&str>,
        change: PeriodChange,
        month: Month,
    ) -> Result<Option<PeriodChanged>, EngineError> {
        let Some(request) = request else { return Ok(None) };
        self.cache_missing_postings(pinned.table(Table::Ledger)).await?;
        for row in self.catalog.postings_by_hand_all_tenants(request).await? {
            let Some(said) = period_change_of(&row)? else { continue };
            let says: Value = serde_json::from_str(&row.body).unwrap_or_default();
            let is_it = says.get(REQUEST).and_then(Value::as_str) == Some(request);
            if !is_it || said.kind != word(change) || said.month != month.to_string() {
                continue;
            }
            return Ok(Some(PeriodChanged {
                month,
                is_closed: change == PeriodChange::Close,
                posting: row.posting,
                booked_at: Instant::from_micros(row.booked_at),
                forced: serde_json::from_str(&said.forced)
                    .map_err(|error| corrupt("what stood against a close", &error))?,
            }));
        }
        Ok(None)
    }

    /// Where the pinned ledger ends; `None` when somebody posted since it was pinned.
    async fn end_unless_posted(&self, pinned: &PinnedLake) -> Result<Option<LedgerEnd>, EngineError> {
        match self.ledger_end(pinned.table(Table::Ledger)).await {
            Err(EngineError::Lake(LakeError::Conflict { .. })) => Ok(None),
            end => end.map(Some),
        }
    }

    /// The closed months after this close, if it is the month's turn: no reason overrules that.
    fn months_after_close(&self, pinned: &PinnedLake, end: &LedgerEnd, month: Month) -> Result<Periods, EngineError> {
        let refuse = |code: &str, detail: String| {
            let obstacles = vec![Obstacle::new(code, month, detail)];
            Err(EngineError::PeriodNotClosable { month, obstacles })
        };
        if end.periods.is_closed(month) {
            return Err(EngineError::PeriodClosed(month));
        }
        match self.next_to_close(pinned, end.periods) {
            None => refuse("no_entries", "nothing was attributed yet; run `apportion attribute`".to_owned()),
            Some(next) if next != month => {
                refuse("out_of_order", format!("months close in order and {next} is the next one"))
            }
            Some(_) if self.today() <= month.last_day() => {
                refuse("not_ended", format!("the month ends with {}", month.last_day()))
            }
            Some(_) => end.periods.after(PeriodChange::Close, month).map_err(EngineError::Period),
        }
    }

    /// What stands against the close and is overruled; refuses it where nothing overrules.
    async fn overruled(&self, pinned: &PinnedLake, request: &CloseRequest) -> Result<Vec<Obstacle>, EngineError> {
        let Checklist { obstacles, .. } = self.checklist(pinned, request.month).await?;
        if obstacles.is_empty() || request.force {
            return Ok(obstacles);
        }
        Err(EngineError::PeriodNotClosable { month: request.month, obstacles })
    }

    async fn change_period(
        &self,
        pinned: &PinnedLake,
        end: &LedgerEnd,
        change: PeriodChange,
        month: Month,
        periods: Periods,
        told: &Told<'_>,
    ) -> Result<PeriodChanged, EngineError> {
        let header = Header::after(&end.head, self.clock.now(), None);
        let posting = Posting::seal_period(header, change, month);
        // From now on no fact is recorded as of then: documents made after a crash tell the same as those made at once.
        self.catalog.pin_recorded_at(posting.header.booked_at.micros()).await?;
        let says = says_of(change, month, told);
        self.append_posting(pinned.table(Table::Ledger), &posting, periods, says).await?;
        Ok(PeriodChanged {
            month,
            is_closed: change == PeriodChange::Close,
            posting: posting.header.posting,
            booked_at: posting.header.booked_at,
            forced: told.forced.to_vec(),
        })
    }
}

const CLOSE: &str = "close";
/// Key of the commit's metadata under which the request stands.
const REQUEST: &str = "request";

fn word(change: PeriodChange) -> &'static str {
    match change {
        PeriodChange::Close => CLOSE,
        PeriodChange::Reopen => "reopen",
    }
}

fn says_of(change: PeriodChange, month: Month, told: &Told<'_>) -> Map<String, Value> {
    let mut says: Map<String, Value> = Map::from_iter([
        ("kind".to_owned(), word(change).into()),
        ("month".to_owned(), month.to_string().into()),
        ("by".to_owned(), told.actor.into()),
        ("reason".to_owned(), told.reason.into()),
        ("forced".to_owned(), serde_json::json!(told.forced)),
        ("evidence".to_owned(), serde_json::json!(told.evidence)),
    ]);
    says.extend(told.request.map(|request| (REQUEST.to_owned(), request.into())));
    says
}

fn evidence_of(text: &str) -> Result<Vec<EvidenceFile>, EngineError> {
    serde_json::from_str(text).map_err(|error| corrupt("the evidence of a closed month", &error))
}

/// Returns the close or reopen that a posting's header tells of; `None` for a posting that is neither.
///
/// # Errors
/// [`EngineError::Corrupt`] when the header is not what the writer wrote.
pub(crate) fn period_change_of(posting: &PostingRow) -> Result<Option<PeriodChangeRow>, EngineError> {
    let wrong = |error: &dyn std::fmt::Display| corrupt(&format!("the header of posting {}", posting.posting), error);
    let says: Value = serde_json::from_str(&posting.body).map_err(|error| wrong(&error))?;
    let text = |name: &str| says.get(name).and_then(Value::as_str).map(str::to_owned);
    let kind = text("kind").filter(|kind| [CLOSE, word(PeriodChange::Reopen)].contains(&kind.as_str()));
    let Some(kind) = kind else { return Ok(None) };
    let list = |name: &str| says.get(name).map_or_else(|| "[]".to_owned(), Value::to_string);
    Ok(Some(PeriodChangeRow {
        posting: posting.posting,
        month: text("month").ok_or_else(|| wrong(&"it names no month"))?,
        kind,
        at: posting.booked_at,
        actor: text("by").unwrap_or_default(),
        reason: text("reason"),
        forced: list("forced"),
        evidence: list("evidence"),
    }))
}

fn busy(month: Month) -> EngineError {
    EngineError::RunInProgress { run: format!("{ATTEMPTS_MAX} others"), range: format!("{month}; they posted first") }
}
