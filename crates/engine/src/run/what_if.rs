//! What-if: a draft policy or rate card over a range of days, against what the ledger holds. It is a run whose
//! differences are added up by tenant instead of posted: nothing is written.

use super::compute::Computed;
use super::post::settle;
use super::{DAYS_AT_ONCE, RunRequest, RunWarning};
use crate::books::{Books, Version};
use crate::posting_commit::end_of;
use crate::query::columns::rows;
use crate::query::params::{Params, QueryLimits};
use crate::query::select::{self, all_of, charged_in};
use crate::{Engine, EngineError};
use datafusion::functions_aggregate::expr_fn::sum;
use datafusion::prelude::{SessionContext, ident};
use domain::policy::Policy;
use domain::rates::RateCard;
use domain::{Currency, Day, DayRange};
use ledger::Line;
use std::cmp::Reverse;
use std::collections::BTreeMap;
use storage::lake::Table;

/// What stands where the id of a run stands otherwise; nothing is stored under it.
const NO_RUN: &str = "what-if";

/// What is tried. It applies on every day of the range, whatever its `valid_from` says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Draft {
    /// In the place of the policies.
    Policy(Policy),
    /// In the place of the rate cards.
    RateCard(RateCard),
}

impl Draft {
    /// Returns the name of the draft's version.
    #[must_use]
    pub fn version(&self) -> &str {
        match self {
            Self::Policy(policy) => &policy.version,
            Self::RateCard(card) => &card.version,
        }
    }

    fn put_into(self, books: &Books) -> Books {
        match self {
            Self::Policy(policy) => {
                let (version, valid_from) = (policy.version.clone(), policy.valid_from);
                books.with_policy(Version::draft(&version, valid_from, policy))
            }
            Self::RateCard(card) => {
                let (version, valid_from) = (card.version.clone(), card.valid_from);
                books.with_card(Version::draft(&version, valid_from, card))
            }
        }
    }
}

/// Over which days a draft is tried.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WhatIfQuery {
    /// The days.
    pub range: DayRange,
    /// Rows of the answer.
    pub limit: usize,
}

impl WhatIfQuery {
    /// Returns what the parameters ask; rolling ranges end with the last complete day.
    ///
    /// # Errors
    /// For an unknown parameter, a value that cannot be used, or days that lie in the future.
    pub fn from_params(mut params: Params, limits: &QueryLimits) -> Result<Self, EngineError> {
        let query = Self { range: params.range_or_default(limits)?, limit: params.limit(limits)? };
        params.finish()?;
        if limits.today < query.range.to() {
            let detail = format!("{} lies in the future; the last day is {}", query.range.to(), limits.today);
            return Err(EngineError::parameter("to", detail));
        }
        Ok(query)
    }
}

/// What a draft changes for one tenant or reserved consumer, in atoms of the reporting currency.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct WhatIfRow {
    /// The tenant, or the word of a reserved consumer; empty in totals.
    pub tenant: String,
    /// What the ledger holds for the days.
    pub posted: i128,
    /// What the draft would add to it.
    pub change: i128,
    /// The estimates that the ledger holds beside the money.
    pub posted_memo: i128,
    /// What the draft would add to them.
    pub change_memo: i128,
}

impl WhatIfRow {
    /// Returns what it would cost.
    #[must_use]
    pub fn cost(&self) -> i128 {
        self.posted + self.change
    }

    /// Returns what would be estimated.
    #[must_use]
    pub fn cost_memo(&self) -> i128 {
        self.posted_memo + self.change_memo
    }

    fn add(&mut self, other: &Self) {
        self.posted += other.posted;
        self.change += other.change;
        self.posted_memo += other.posted_memo;
        self.change_memo += other.change_memo;
    }

    /// By how much it changes, estimates after money.
    fn size(&self) -> (u128, u128) {
        (self.change.unsigned_abs(), self.change_memo.unsigned_abs())
    }
}

/// What a draft changes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WhatIf {
    /// The days.
    pub range: DayRange,
    /// The reporting currency, in which every amount is.
    pub currency: Currency,
    /// Name of the draft.
    pub version: String,
    /// The largest changes first, then by name, at most as many as asked for.
    pub rows: Vec<WhatIfRow>,
    /// How many tenants and reserved consumers there are.
    pub rows_total: usize,
    /// Of all of them.
    pub totals: WhatIfRow,
    /// Pools that the draft could not run keep what is posted, and whatever else a run would warn of.
    pub warnings: Vec<RunWarning>,
    /// How many pools and days could not be run.
    pub not_run: usize,
    /// Days that must run anyway: part of their change comes from what arrived since, not from the draft.
    pub due_days: Vec<Day>,
    /// The last posting that it was compared with.
    pub posting: Option<i64>,
}

/// Rows by tenant or reserved word.
type ByConsumer = BTreeMap<String, WhatIfRow>;

impl Engine {
    /// Returns what a draft would change over the range. Nothing is written, but that usage which is acknowledged comes
    /// into the lake first, as before a run; dropping the future ends it.
    ///
    /// `progress` is told, after each day, how many days are done and how many there are.
    ///
    /// # Errors
    /// When a store fails.
    ///
    /// # Source
    /// Spec 3-attribution, section 6 (what-if).
    pub async fn what_if_all_tenants(
        &self,
        draft: Draft,
        query: &WhatIfQuery,
        progress: impl Fn(i32, i32) + Send + Sync,
    ) -> Result<WhatIf, EngineError> {
        let (range, version) = (query.range, draft.version().to_owned());
        let begun = self.clock.now();
        self.flush_hot().await?;
        let pinned = self.lake.pin().await?;
        let end = end_of(pinned.table(Table::Ledger)).await?;
        let books = draft.put_into(&self.books_now().await?);
        let mut found = posted(&self.session(&pinned)?, range).await?;
        let touched = self.touched_days(&pinned).await?;
        let before = self.seen_inputs(Some(range)).await?;
        let mut computed = Computed::new(pinned, books, before, touched, begun, end.periods);
        let mut from = range.from();
        while from <= range.to() {
            let to = from.plus(DAYS_AT_ONCE - 1).min(range.to());
            let piece = DayRange::new(from, to).expect("a piece has days");
            let done = |day: Day| progress(day.epoch_days() - range.from().epoch_days() + 1, range.len());
            self.compute_piece(&mut computed, NO_RUN, piece, done).await?;
            take_differences(&mut computed, piece, &mut found);
            from = to.plus(1);
        }
        let due = self.due_days().await?;
        let due_days = due.due.into_iter().chain(due.stale).filter(|day| range.contains(*day));
        let mut totals = WhatIfRow::default();
        found.values().for_each(|row| totals.add(row));
        let mut rows: Vec<WhatIfRow> = found.into_values().collect();
        rows.sort_by_key(|row| Reverse(row.size()));
        let rows_total = rows.len();
        rows.truncate(query.limit);
        Ok(WhatIf {
            range,
            currency: self.settings.reporting_currency,
            version,
            rows,
            rows_total,
            totals,
            not_run: computed.not_run.len(),
            warnings: computed.warnings.into_iter().collect(),
            due_days: due_days.collect(),
            posting: (end.head.posting > 0).then_some(end.head.posting),
        })
    }
}

/// Adds the differences of some days to the rows, and forgets them: a long range takes no more memory than a short one.
fn take_differences(computed: &mut Computed, piece: DayRange, found: &mut ByConsumer) {
    let request = RunRequest { dry_run: true, ..RunRequest::of(piece, NO_RUN) };
    settle(computed, &request);
    for Line { difference, .. } in computed.lines.drain(..) {
        let name = difference.key.tenant.as_ref().unwrap_or(&difference.key.consumer);
        let row = row_of(found, name);
        let change = if difference.key.memo { &mut row.change_memo } else { &mut row.change };
        *change += difference.says.amount_reporting;
    }
    computed.pool_days.clear();
}

fn row_of<'f>(found: &'f mut ByConsumer, name: &str) -> &'f mut WhatIfRow {
    found.entry(name.to_owned()).or_insert_with(|| WhatIfRow { tenant: name.to_owned(), ..WhatIfRow::default() })
}

/// What the pinned ledger holds for the days.
async fn posted(session: &SessionContext, range: DayRange) -> Result<ByConsumer, EngineError> {
    let batches = session
        .table(Table::Ledger.name())
        .await?
        .filter(all_of([select::of_cost(), charged_in(range)]))?
        .aggregate(
            vec![ident("tenant"), select::reserved_word().alias("reserved"), ident("memo")],
            vec![sum(ident("amount_reporting")).alias("total")],
        )?
        .collect()
        .await?;
    let mut found = ByConsumer::new();
    for row in rows(&batches) {
        let of_consumer = row_of(&mut found, row.text(0).unwrap_or_else(|| row.text_or_empty(1)));
        let posted = if row.is_true(2) { &mut of_consumer.posted_memo } else { &mut of_consumer.posted };
        *posted += row.atoms(3);
    }
    Ok(found)
}
