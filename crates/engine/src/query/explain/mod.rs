//! Where one amount comes from: the pool, the rule, the drivers, the bill, and every change since.
//!
//! Every share is computed again in two ways that have only the split rule in common: from what the entries say of the
//! pool, and from bills, usage and events as the run read them. An answer that does not match says so. A caller who sees
//! some tenants only gets own quantities, prices, amounts, rules and causes: in a pool of two, anything about the whole
//! would give the other away.

use super::as_of::{AsOf, Head};
use super::columns::rows;
use super::params::{Params, QueryLimits};
use super::pool_days;
use super::select::{self, all_of, charged_in};
use crate::books::Books;
use crate::inputs::repeated;
use crate::run::{ConsumerCorrection, PendingCorrection};
use crate::{Engine, EngineError};
use cells::{PoolCells, Rule};
use datafusion::functions_aggregate::expr_fn::sum;
use datafusion::prelude::{Expr, SessionContext, ident, lit};
use domain::policy::{Method, Policy};
use domain::tenant::RESERVED;
use domain::{Currency, Day, DayRange, Instant, TenantScope};
use ledger::PoolDay;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use storage::lake::Table;

/// The lines of bills that went into a pool.
mod bills;
/// Shares by resource share.
mod by_resource;
/// All cells of a pool on a day, recomputed.
mod cells;
/// Days that were computed again last.
mod kept;
/// Prices of what was used.
mod prices;
/// The day computed again from what its run read.
mod replay;
/// What policy and rate card say of a pool.
mod rule;
/// Costs that events carry, and who used them.
mod windows;
/// What each pool says of itself.
mod words;

pub use bills::{BillImport, BillLine};
pub use cells::{ExplainedCell, ExplainedComponent, RecomputedFrom};
pub(crate) use kept::KeptReplays;
pub use prices::ExplainedPrice;
use replay::Replay;
pub use rule::ExplainedRule;
pub use windows::{ExplainedCost, ExplainedWindow};
use words::{PoolId, PoolWords};

/// With fewer tenants in a pool its totals would give a peer away, whatever the settings say.
pub(super) const DISCLOSED_FROM_TENANTS: usize = 5;

/// Which amount is to be explained.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ExplainQuery {
    /// Whose.
    pub tenant: String,
    /// Of which day.
    pub date: Day,
    /// In which pool; all of them for none.
    pub pool: Option<String>,
    /// Which state of the ledger; the newest when none is named.
    pub as_of: Option<AsOf>,
}

impl ExplainQuery {
    /// Returns the question that the query parameters of a request ask.
    ///
    /// # Errors
    /// [`EngineError::InvalidParameter`] for an unknown parameter, a value that is none, or without `tenant` and
    /// `date`.
    pub fn parse<K: AsRef<str>, V: AsRef<str>>(given: &[(K, V)], _limits: &QueryLimits) -> Result<Self, EngineError> {
        let mut params = Params::new(given)?;
        let missing = |name: &'static str| EngineError::parameter(name, format!("`{name}` is required"));
        let query = Self {
            tenant: params.text("tenant").ok_or_else(|| missing("tenant"))?,
            date: params.parsed("date")?.ok_or_else(|| missing("date"))?,
            pool: params.text("pool"),
            as_of: params.parsed("as_of")?,
        };
        params.finish()?;
        Ok(query)
    }
}

/// What a tenant paid on a day, explained. Money in atoms of 10⁻¹⁵, quantities of 10⁻⁹.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Explanation {
    /// Whose amount.
    pub tenant: String,
    /// Of which day.
    pub date: Day,
    /// The reporting currency, in which `cost` and `memo` are.
    pub currency: Currency,
    /// What the tenant paid that day in the pools shown, estimates aside.
    pub cost: i128,
    /// Its estimates.
    pub memo: i128,
    /// The pools in which it has a share.
    pub pools: Vec<ExplainedPool>,
    /// The posting that the answer shows.
    pub posting: Option<i64>,
}

/// One pool's part of the amount.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ExplainedPool {
    /// The pool.
    pub pool: String,
    /// Its tier.
    pub tier: String,
    /// Where its amount comes from.
    pub basis: String,
    /// Whether it is an estimate beside the money.
    pub memo: bool,
    /// How it is shared out; empty for an adjustment.
    pub method: String,
    /// The rule; none when the policy is not known any more.
    pub rule: Option<ExplainedRule>,
    /// Versions of the policy named by the entries of the rule that stands.
    pub policy_versions: Vec<String>,
    /// Versions of the rate card named by them.
    pub rate_card_versions: Vec<String>,
    /// What the tenant paid, in the reporting currency.
    pub cost: i128,
    /// Prices of what it used, where usage is priced.
    pub prices: Vec<ExplainedPrice>,
    /// Its shares by component.
    pub components: Vec<ExplainedComponent>,
    /// Every posting that changed the amount, in order, and why.
    pub changes: Vec<Change>,
    /// Whether the recomputed shares are the posted ones; none where nothing can be recomputed.
    pub matches: Option<bool>,
    /// What the tenant would be corrected by, when a difference of the closed month is noted and too small to be posted.
    /// Then nothing is recomputed from the inputs.
    pub pending_correction: Option<ConsumerCorrection>,
    /// Whether totals of the pool are shown.
    pub disclosed: bool,
    /// How many tenants have a share; none when not disclosed.
    pub tenants: Option<usize>,
    /// The bills that went in; none when not disclosed or when the pool takes no cost lines.
    pub bills: Option<Vec<BillImport>>,
    /// Its windows, if it has any.
    pub window: Option<ExplainedWindow>,
    /// Imports and versions that the run read, each JSON; empty when not disclosed.
    pub inputs: Vec<String>,
}

/// One posting that changed the amount.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change {
    /// The posting.
    pub posting: i64,
    /// When it was booked.
    pub booked_at: Option<Instant>,
    /// Why.
    pub cause: Option<String>,
    /// Whether it is a correction of a closed month.
    pub correction: bool,
    /// In which currency.
    pub currency: String,
    /// By how much the amount changed.
    pub amount: i128,
    /// By how much the billed amount changed.
    pub billed_amount: i128,
}

/// A question, the state it is asked of, and what was in force then.
#[derive(Clone, Copy)]
struct Asked<'a> {
    scope: &'a TenantScope,
    query: &'a ExplainQuery,
    session: &'a SessionContext,
    head: &'a Head,
    books: &'a Books,
}

impl Engine {
    /// Returns where a tenant's cost of a day comes from.
    ///
    /// # Errors
    /// [`EngineError::TenantNotFound`] also for a tenant outside the scope, [`EngineError::NotAttributed`] for a day
    /// without any posting, or when a store fails.
    pub async fn explain(&self, scope: &TenantScope, query: &ExplainQuery) -> Result<Explanation, EngineError> {
        let is_reserved = *scope == TenantScope::All && RESERVED.contains(&query.tenant.as_str());
        if !is_reserved {
            self.check_tenant_exists(scope, &query.tenant).await?;
        }
        let head = self.head(query.as_of.as_ref()).await?;
        let history = self.history_all_tenants(&head, Some(DayRange::single(query.date))).await?;
        let session = self.session_now().await?;
        let books = self.books(head.recorded_up_to).await?;
        let asked = Asked { scope, query, session: &session, head: &head, books: &books };
        let own = words::of_pools(&asked).await?;
        if own.is_empty() && !history.was_posted(query.date) {
            let pool = query.pool.clone().unwrap_or_else(|| query.tenant.clone());
            return Err(EngineError::NotAttributed { pool, day: query.date });
        }
        let day = DayRange::single(query.date);
        let put_in = pool_days::that_count(&session, &history, Some(day), query.pool.as_deref()).await?;
        let mut pools = Vec::new();
        let replays = self.replays(&asked, &own, &put_in, history.newest(query.date)).await?;
        // A state that is asked for answers the same for ever, whatever is noted by now.
        let noted = match head.is_now {
            true => self.pending_corrections_all_tenants().await?,
            false => Vec::new(),
        };
        for (id, words) in own {
            let went_in: Vec<PoolDay> = put_in.iter().filter(|row| id.is_of(row)).cloned().collect();
            let run = went_in.first().map(|row| &row.run);
            let replay = run.and_then(|run| replays.get(run)).and_then(Option::as_deref);
            let noted = noted_of(&noted, query, &id.pool);
            pools.push(self.explain_pool(asked, &id, words, &went_in, replay, noted).await?);
        }
        let total = |memo: bool| pools.iter().filter(|pool| pool.memo == memo).map(|pool| pool.cost).sum();
        Ok(Explanation {
            tenant: query.tenant.clone(),
            date: query.date,
            currency: self.settings.reporting_currency,
            cost: total(false),
            memo: total(true),
            pools,
            posting: head.posting,
        })
    }

    /// The day computed again for each run that the pools rest on: mostly it is one for all of them.
    async fn replays(
        &self,
        asked: &Asked<'_>,
        own: &BTreeMap<PoolId, PoolWords>,
        put_in: &[PoolDay],
        newest: Option<&str>,
    ) -> Result<BTreeMap<Arc<str>, Option<Arc<Replay>>>, EngineError> {
        let mut by_run: BTreeMap<Arc<str>, Vec<PoolDay>> = BTreeMap::new();
        for row in put_in.iter().filter(|row| own.keys().any(|id| id.is_of(row))) {
            by_run.entry(Arc::clone(&row.run)).or_default().push(row.clone());
        }
        let mut replays = BTreeMap::new();
        for (run, rows) in by_run {
            let is_newest = newest == Some(&*run);
            replays.insert(run, self.replay(asked, &rows, is_newest).await?);
        }
        Ok(replays)
    }

    async fn explain_pool(
        &self,
        asked: Asked<'_>,
        id: &PoolId,
        words: PoolWords,
        went_in: &[PoolDay],
        replay: Option<&Replay>,
        noted: Option<&ConsumerCorrection>,
    ) -> Result<ExplainedPool, EngineError> {
        let Asked { scope, query, session, head, books } = asked;
        let cells = PoolCells::load(session, head, query.date, id).await?;
        let tenants = cells.tenants();
        let sees_all = *scope == TenantScope::All;
        let disclosed = sees_all || (self.settings.disclose_pools && cells.are_of_enough(DISCLOSED_FROM_TENANTS));
        let policy = policy_of(session, books, &words.policy_version, query.date).await?;
        let defined = policy.iter().flat_map(|policy| &policy.pools).find(|defined| defined.name == id.pool);
        let card = books.card_named(&words.rate_card_version, query.date);
        let mut window = match policy.as_ref().zip(defined).filter(|_| words.method == Method::Window.as_str()) {
            Some((policy, defined)) => self.explain_window(&asked, policy, defined).await?,
            None => None,
        };
        let rule = Rule {
            method: &words.method,
            basis: &words.basis,
            pool: defined,
            card_currency: card.map(|card| card.content.currency),
            // Under the facts that are known by now the inputs give the share as it would be corrected.
            replayed: replay.filter(|_| noted.is_none()).and_then(|replay| replay.pool(&id.pool)),
        };
        let mut components = cells.explain(&query.tenant, rule, went_in);
        let prices = self.prices_of(&asked, &words, defined, &components, replay);
        let mut rule = defined.map(|pool| rule::rule_of(&asked, pool));
        let checked: Vec<bool> =
            components.iter().flat_map(|component| &component.cells).filter_map(|cell| cell.matches).collect();
        if !disclosed {
            components.iter_mut().for_each(ExplainedComponent::redact);
            rule.iter_mut().for_each(ExplainedRule::redact);
        }
        if !sees_all {
            window.iter_mut().for_each(|window| window.redact(disclosed));
        }
        let takes_lines = went_in.iter().any(|row| row.lines > 0);
        // Each line of a direct pool is one tenant's cost.
        let tells_lines = sees_all || (disclosed && words.method != Method::Direct.as_str());
        let bills = match takes_lines && tells_lines {
            true => Some(self.bills_of(books, query.date, &id.pool, went_in).await?),
            false => None,
        };
        Ok(ExplainedPool {
            changes: changes(session, head, query, id).await?,
            pool: id.pool.clone(),
            tier: words.tier,
            basis: words.basis,
            memo: id.memo,
            method: words.method,
            rule,
            policy_versions: words.policy_versions.into_iter().collect(),
            rate_card_versions: words.rate_card_versions.into_iter().collect(),
            cost: words.cost,
            prices,
            components,
            matches: (!checked.is_empty()).then(|| checked.iter().all(|matches| *matches)),
            pending_correction: noted.cloned(),
            disclosed,
            tenants: disclosed.then_some(tenants),
            bills,
            window,
            inputs: if disclosed { inputs_of(went_in) } else { Vec::new() },
        })
    }
}

/// What the runs noted that they read, each once.
fn inputs_of(went_in: &[PoolDay]) -> Vec<String> {
    let inputs: BTreeSet<String> = went_in.iter().map(|row| row.inputs.to_string()).collect();
    inputs.into_iter().collect()
}

/// What the tenant or reserved consumer of the question would be corrected by in a pool.
fn noted_of<'n>(noted: &'n [PendingCorrection], query: &ExplainQuery, pool: &str) -> Option<&'n ConsumerCorrection> {
    let of_pool = noted.iter().find(|one| one.day == query.date && one.pool == pool)?;
    of_pool.consumers.iter().find(|one| one.consumer == query.tenant)
}

/// Entries of the tenant or reserved consumer on the day.
fn own_entries(head: &Head, query: &ExplainQuery) -> Expr {
    let own = [
        select::of_cost(),
        select::up_to_posting(head.number()),
        charged_in(DayRange::single(query.date)),
        select::of_tenant(&query.tenant),
    ];
    all_of(own.into_iter().chain(query.pool.as_ref().map(|pool| ident("pool").eq(lit(pool.as_str())))))
}

/// Returns the policy that entries of the day name, `for_each` repeated; none that is not known any more.
pub(super) async fn policy_of(
    session: &SessionContext,
    books: &Books,
    version: &str,
    date: Day,
) -> Result<Option<Policy>, EngineError> {
    let Some(version) = books.policy_named(version, date) else { return Ok(None) };
    let values = repeated::first_days(session, &[&version.content], date).await?;
    Ok(Some(attribution::expand::expand(&version.content, &values.up_to(date, &books.tenants))))
}

async fn changes(
    session: &SessionContext,
    head: &Head,
    query: &ExplainQuery,
    id: &PoolId,
) -> Result<Vec<Change>, EngineError> {
    let of_pool = [own_entries(head, query), id.condition()];
    let columns = ["posting", "booked_at", "cause", "charge_class", "currency"].map(ident);
    let batches = session
        .table(Table::Ledger.name())
        .await?
        .filter(all_of(of_pool))?
        .aggregate(
            columns.to_vec(),
            vec![sum(ident("amount")).alias("amount"), sum(ident("billed_amount")).alias("billed")],
        )?
        .sort(vec![
            ident("posting").sort(true, true),
            ident("cause").sort(true, true),
            ident("currency").sort(true, true),
        ])?
        .collect()
        .await?;
    let change = |row: super::columns::Row<'_>| Change {
        posting: row.int(0).unwrap_or_default(),
        booked_at: row.micros(1).map(Instant::from_micros),
        cause: row.text(2).map(str::to_owned),
        correction: row.text(3) == Some("correction"),
        currency: row.text_or_empty(4).to_owned(),
        amount: row.atoms(5),
        billed_amount: row.atoms(6),
    };
    Ok(rows(&batches).map(change).collect())
}
