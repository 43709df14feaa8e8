//! Entries as they are, in the order in which they were posted.

use super::as_of::AsOf;
use super::filter::Filter;
use super::params::{Params, QueryLimits};
use super::select::{self, all_of};
use super::{Page, cursor};
use crate::{Engine, EngineError};
use datafusion::prelude::{DataFrame, Expr, ident, lit};
use domain::{DayRange, TenantScope};
use futures::stream::BoxStream;
use futures::{StreamExt, TryStreamExt};
use ledger::{ChainHash, Entry};
use serde::{Deserialize, Serialize};
use storage::lake::{Table, ledger_rows};

/// Rows of a page that says nothing.
pub const LIST_ROWS_DEFAULT: usize = 100;
/// Most rows of a page.
pub const LIST_ROWS_MAX: usize = 1_000;

/// Which entries are asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EntryFilter {
    /// Only those charged on these days; all days, and closes and reopens, for none.
    pub range: Option<DayRange>,
    /// Only those of this pool.
    pub pool: Option<String>,
    /// Only those of this tenant.
    pub tenant: Option<String>,
    /// Only those of this posting.
    pub posting: Option<i64>,
    /// Only those that fit.
    pub filter: Filter,
    /// Which state of the ledger; the newest when none is named.
    pub as_of: Option<AsOf>,
    /// Rows of a page.
    pub limit: usize,
    /// Where the page begins.
    pub cursor: Option<String>,
}

/// After which entry a page begins, and the last posting that all pages show.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
struct Place {
    head: i64,
    posting: i64,
    line: i32,
}

impl EntryFilter {
    /// Returns the filter of all entries.
    #[must_use]
    pub fn all() -> Self {
        Self {
            range: None,
            pool: None,
            tenant: None,
            posting: None,
            filter: Filter::default(),
            as_of: None,
            limit: LIST_ROWS_DEFAULT,
            cursor: None,
        }
    }

    /// Returns the filter that the query parameters of a request ask for.
    ///
    /// # Errors
    /// [`EngineError::InvalidParameter`] for an unknown parameter or a value that is none.
    pub fn parse<K: AsRef<str>, V: AsRef<str>>(given: &[(K, V)], limits: &QueryLimits) -> Result<Self, EngineError> {
        let mut params = Params::new(given)?;
        let wanted = Filter::parse(&params.text("filter").unwrap_or_default())?;
        select::check_columns(&wanted)?;
        let filter = Self {
            filter: wanted,
            range: days(&mut params, limits)?,
            pool: params.text("pool"),
            tenant: params.text("tenant"),
            posting: params.parsed("posting")?,
            as_of: params.parsed("as_of")?,
            limit: params.limit(limits)?,
            cursor: params.text("cursor"),
        };
        params.finish()?;
        Ok(filter)
    }

    fn conditions(&self, scope: &TenantScope, head: i64) -> Vec<Expr> {
        let equal = |column: &str, text: &String| ident(column).eq(lit(text.as_str()));
        [
            Some(select::up_to_posting(head)),
            self.range.map(select::charged_in),
            self.pool.as_ref().map(|pool| equal("pool", pool)),
            self.tenant.as_ref().map(|tenant| equal("tenant", tenant)),
            self.posting.map(|posting| ident("posting").eq(lit(posting))),
            select::in_scope(scope),
        ]
        .into_iter()
        .flatten()
        .chain(self.filter.terms.iter().filter_map(select::condition))
        .collect()
    }

    fn question(&self, scope: &TenantScope) -> String {
        format!("entries {scope:?} {:?}", Self { limit: 0, cursor: None, ..self.clone() })
    }
}

/// Takes `charge_date`, or a range, or neither for all days.
pub(crate) fn days(params: &mut Params, limits: &QueryLimits) -> Result<Option<DayRange>, EngineError> {
    match (params.range(limits)?, params.parsed("charge_date")?) {
        (range, None) => Ok(range),
        (None, Some(day)) => Ok(Some(DayRange::single(day))),
        (Some(_), Some(_)) => Err(EngineError::parameter("charge_date", "give either `charge_date` or a range")),
    }
}

impl Engine {
    /// Returns entries in the order of posting and line.
    ///
    /// A caller who sees some tenants only gets neither weights nor pool amounts: with the amount of a share
    /// they would give away what the others in the pool pay.
    ///
    /// # Errors
    /// For a cursor of another list, a tenant named outside the scope, or when a store fails.
    pub async fn ledger_entries(&self, scope: &TenantScope, filter: &EntryFilter) -> Result<Page<Entry>, EngineError> {
        check_tenant(scope, filter.tenant.as_deref())?;
        select::check_named_tenants(scope, &filter.filter)?;
        let question = filter.question(scope);
        let place: Option<Place> = filter.cursor.as_ref().map(|text| cursor::decode(&question, text)).transpose()?;
        let head = match place {
            Some(place) => place.head,
            None => self.head(filter.as_of.as_ref()).await?.number(),
        };
        let after = place.map(|place| {
            let later = ident("posting").gt(lit(place.posting));
            later.or(ident("posting").eq(lit(place.posting)).and(ident("line").gt(lit(place.line))))
        });
        let conditions = filter.conditions(scope, head).into_iter().chain(after);
        let frame = self.entries_frame(all_of(conditions)).await?.limit(0, Some(filter.limit + 1))?;
        let mut rows = Vec::new();
        for batch in frame.collect().await? {
            rows.extend(ledger_rows::from_batch(&batch)?);
        }
        let more = filter.limit < rows.len();
        rows.truncate(filter.limit);
        redact(scope, &mut rows);
        let next_cursor = rows
            .last()
            .filter(|_| more)
            .map(|last| cursor::encode(&question, &Place { head, posting: last.posting, line: last.line }));
        Ok(Page { rows, next_cursor, posting: (head > 0).then_some(head) })
    }

    /// Returns all entries that the filter asks for, batch by batch in constant memory; `limit` and `cursor`
    /// are ignored.
    ///
    /// # Errors
    /// As [`Engine::ledger_entries`]; the stream, when a store fails.
    pub async fn stream_entries(
        &self,
        scope: &TenantScope,
        filter: &EntryFilter,
    ) -> Result<BoxStream<'static, Result<Vec<Entry>, EngineError>>, EngineError> {
        check_tenant(scope, filter.tenant.as_deref())?;
        select::check_named_tenants(scope, &filter.filter)?;
        let head = self.head(filter.as_of.as_ref()).await?.number();
        let frame = self.entries_frame(all_of(filter.conditions(scope, head))).await?;
        let scope = scope.clone();
        let batches = frame.execute_stream().await?.map_err(EngineError::from);
        let entries = batches.map(move |batch| {
            let mut rows = ledger_rows::from_batch(&batch?)?;
            redact(&scope, &mut rows);
            Ok(rows)
        });
        Ok(entries.boxed())
    }

    /// Entries that meet the condition, in the order of posting and line.
    pub(crate) async fn entries_frame(&self, condition: Expr) -> Result<DataFrame, EngineError> {
        let session = self.session_now().await?;
        let order = vec![ident("posting").sort(true, true), ident("line").sort(true, true)];
        Ok(session.table(Table::Ledger.name()).await?.filter(condition)?.sort(order)?)
    }
}

/// Refuses a tenant outside the scope, foreign or missing alike.
pub(crate) fn check_tenant(scope: &TenantScope, tenant: Option<&str>) -> Result<(), EngineError> {
    let foreign = tenant.filter(|tenant| !scope.allows(tenant));
    foreign.map_or(Ok(()), |tenant| Err(EngineError::TenantNotFound(super::params::shorten(tenant))))
}

fn redact(scope: &TenantScope, rows: &mut [Entry]) {
    if *scope == TenantScope::All {
        return;
    }
    for row in rows {
        (row.weight, row.pool_amount) = (None, None);
        (row.prev_hash, row.hash) = (ChainHash::ZERO, ChainHash::ZERO);
    }
}
