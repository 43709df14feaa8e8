//! Why a tenant's cost of one range is another one than that of an earlier range, in terms that add up exactly.
//!
//! In every pool the things that make the cost are put as they are in the later range, one after the other, and each term
//! is what that changes. A caller who sees some tenants only gets what the others use, and what the pool costs, folded
//! into one number: in a pool of two, anything finer would give the other away.

use super::as_of::AsOf;
use super::explain::{DISCLOSED_FROM_TENANTS, policy_of};
use super::params::{Params, QueryLimits};
use crate::books::Books;
use crate::run::Redefined;
use crate::{Engine, EngineError};
use datafusion::prelude::SessionContext;
use domain::policy::Policy;
use domain::range::parse_range;
use domain::rates::{PriceRow, canonical};
use domain::tenant::RESERVED;
use domain::{Currency, Day, DayRange, TenantScope};
use facts::{PoolFacts, Reader};
use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};
use terms::{Given, Model, Side};

/// Sums of a tenant's pools.
mod facts;
/// The arithmetic of a change.
mod terms;

pub use terms::{ChangeTerm, Terms};

/// Whose cost of which ranges.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CostChangesQuery {
    /// The later range.
    pub range: DayRange,
    /// The range that it is compared with.
    pub compare: DayRange,
    /// Whose; the caller's own tenant when it has one only.
    pub tenant: Option<String>,
    /// Which state of the ledger; the newest when none is named.
    pub as_of: Option<AsOf>,
}

impl CostChangesQuery {
    /// Returns the question that the query parameters of a request ask: `compare` is `prev`, as many days just before,
    /// or a range.
    ///
    /// # Errors
    /// [`EngineError::InvalidParameter`] for an unknown parameter or a value that is none.
    pub fn parse<K: AsRef<str>, V: AsRef<str>>(given: &[(K, V)], limits: &QueryLimits) -> Result<Self, EngineError> {
        let mut params = Params::new(given)?;
        let range = params.range_or_default(limits)?;
        let compare = match params.text("compare").as_deref() {
            None | Some("prev") => days_before(range)?,
            Some(text) => compared(text, limits)?,
        };
        let query = Self { range, compare, tenant: params.text("tenant"), as_of: params.parsed("as_of")? };
        params.finish()?;
        Ok(query)
    }

    /// Whose cost is asked for; also of a reserved consumer, where all may be read.
    fn tenant_in(&self, scope: &TenantScope) -> Result<String, EngineError> {
        let only = match scope {
            TenantScope::All => None,
            TenantScope::Only(tenants) => tenants.first().filter(|_| tenants.len() == 1),
        };
        let found = self.tenant.clone().or_else(|| only.map(|tenant| tenant.as_str().to_owned()));
        found.ok_or_else(|| EngineError::parameter("tenant", "`tenant` is required: whose cost changed"))
    }
}

/// As many days just before; years before 0 are no text that a date has.
fn days_before(range: DayRange) -> Result<DayRange, EngineError> {
    let found = DayRange::new(range.from().plus(-range.len()), range.from().plus(-1));
    let found = found.expect("a range is at least one day long");
    if found.from().date().year() < 0 {
        let detail = "the days before it begin before the year 0; ask for a later range, or name `compare`";
        return Err(EngineError::parameter("compare", detail));
    }
    Ok(found)
}

fn compared(text: &str, limits: &QueryLimits) -> Result<DayRange, EngineError> {
    let refuse = |detail: String| EngineError::parameter("compare", detail);
    let range = parse_range(text, limits.today, false).map_err(|error| refuse(format!("write prev, or: {error}")))?;
    if limits.range_days_max < range.len() {
        let detail = format!("{} days are more than {}", range.len(), limits.range_days_max);
        return Err(refuse(detail));
    }
    Ok(range)
}

/// Why a cost changed. Money in atoms of the reporting currency, estimates aside.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CostChanges {
    /// Whose.
    pub tenant: String,
    /// The later range.
    pub range: DayRange,
    /// The earlier range.
    pub compare: DayRange,
    /// The reporting currency.
    pub currency: Currency,
    /// What the earlier range cost.
    pub previous: i128,
    /// What the later range costs.
    pub cost: i128,
    /// What the terms of all pools add up to: together `cost` less `previous`.
    pub terms: Terms,
    /// The pools, the largest change first, then by name.
    pub pools: Vec<PoolChange>,
    /// The posting that the answer shows.
    pub posting: Option<i64>,
}

/// Why the cost of one pool changed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PoolChange {
    /// The pool.
    pub pool: String,
    /// What the earlier range cost.
    pub previous: i128,
    /// What the later range costs.
    pub cost: i128,
    /// The terms: together `cost` less `previous`.
    pub terms: Terms,
    /// Whether what the others use is told apart from what the pool costs.
    pub disclosed: bool,
}

impl PoolChange {
    /// Returns the cost less what the earlier range cost.
    #[must_use]
    pub fn change(&self) -> i128 {
        self.cost - self.previous
    }
}

/// One pool in both ranges.
struct Pair<'p> {
    pool: &'p str,
    before: &'p PoolFacts,
    after: &'p PoolFacts,
}

impl Engine {
    /// Returns why a tenant's cost changed.
    ///
    /// # Errors
    /// [`EngineError::TenantNotFound`] also for a tenant outside the scope; otherwise when a store fails.
    ///
    /// # Source
    /// Spec 3-attribution, section 6 (why did it change).
    pub async fn cost_changes(
        &self,
        scope: &TenantScope,
        query: &CostChangesQuery,
    ) -> Result<CostChanges, EngineError> {
        let tenant = query.tenant_in(scope)?;
        let reads_all = *scope == TenantScope::All;
        if !reads_all || !RESERVED.contains(&tenant.as_str()) {
            self.check_tenant_exists(scope, &tenant).await?;
        }
        let head = self.head(query.as_of.as_ref()).await?;
        let session = self.session_now().await?;
        let books = self.books(head.recorded_up_to).await?;
        let reads_others = reads_all || self.settings.disclose_pools;
        let reader = Reader { session: &session, head: &head, tenant: &tenant, reads_others };
        let mut names = reader.pools(query.compare).await?;
        names.extend(reader.pools(query.range).await?);
        let before = reader.facts(query.compare, &names).await?;
        let after = reader.facts(query.range, &names).await?;
        let nothing = PoolFacts::default();
        let versions =
            Versions::load(&session, &books, query.range.to(), before.values().chain(after.values())).await?;
        let mut pools = Vec::new();
        for pool in &names {
            let (earlier, later) = (before.get(pool), after.get(pool));
            let pair = Pair { pool, before: earlier.unwrap_or(&nothing), after: later.unwrap_or(&nothing) };
            pools.push(self.change_of(&pair, &versions, reads_all));
        }
        pools.sort_by_key(|pool| Reverse(pool.change().unsigned_abs()));
        let mut terms = Terms::new();
        for (term, amount) in pools.iter().flat_map(|pool| &pool.terms) {
            *terms.entry(*term).or_default() += amount;
        }
        Ok(CostChanges {
            tenant,
            range: query.range,
            compare: query.compare,
            currency: self.settings.reporting_currency,
            previous: pools.iter().map(|pool| pool.previous).sum(),
            cost: pools.iter().map(|pool| pool.cost).sum(),
            terms,
            pools,
            posting: head.posting,
        })
    }

    fn change_of(&self, pair: &Pair<'_>, versions: &Versions<'_>, reads_all: bool) -> PoolChange {
        let Pair { pool, before, after } = pair;
        let disclosed = reads_all || (self.settings.disclose_pools && has_enough_tenants(before, after));
        let mut terms = Terms::from([
            (ChangeTerm::OwnVolume, 0),
            (ChangeTerm::PolicyOrRateVersion, 0),
            (ChangeTerm::Fx, 0),
            (ChangeTerm::Corrections, after.corrections - before.corrections),
            (ChangeTerm::NewOrRemovedPools, 0),
        ]);
        let reporting = |facts: &PoolFacts| facts.sides.values().map(|side| side.reporting).sum::<i128>();
        let of_rule = [reporting(before), reporting(after)];
        // Where the others are not told of, a pool is there when the tenant itself has a share in it.
        let is_there =
            |facts: &PoolFacts, own: i128| if disclosed { facts.is_there() } else { facts.is_there() && own != 0 };
        if is_there(before, of_rule[0]) && is_there(after, of_rule[1]) {
            for (term, amount) in terms_of_pair(pair, versions, disclosed) {
                *terms.entry(term).or_default() += amount;
            }
        } else {
            terms.insert(ChangeTerm::NewOrRemovedPools, of_rule[1] - of_rule[0]);
        }
        PoolChange {
            pool: (*pool).to_owned(),
            previous: of_rule[0] + before.corrections,
            cost: of_rule[1] + after.corrections,
            terms,
            disclosed,
        }
    }
}

/// A day with fewer tenants would give a peer away, whatever the settings say.
fn has_enough_tenants(before: &PoolFacts, after: &PoolFacts) -> bool {
    let enough = |facts: &PoolFacts| {
        !facts.is_there() || facts.tenants_min.is_some_and(|tenants| DISCLOSED_FROM_TENANTS <= tenants)
    };
    enough(before) && enough(after)
}

fn terms_of_pair(pair: &Pair<'_>, versions: &Versions<'_>, disclosed: bool) -> Terms {
    let Pair { pool, before, after } = pair;
    let rules: BTreeSet<&(String, String)> = before.rules.iter().chain(&after.rules).collect();
    let models: BTreeSet<&str> = rules.iter().map(|(method, _)| method.as_str()).collect();
    let model = rules.iter().map(|(method, basis)| Model::of(method, basis)).next_back().unwrap_or(Model::Own);
    let meters: BTreeSet<&String> = before.meters().chain(after.meters()).collect();
    let repriced: BTreeSet<String> =
        meters.into_iter().filter(|meter| versions.reprice(before, after, meter)).cloned().collect();
    let is_redefined = models.len() > 1
        || versions.redefine(pool, before, after)
        || (model == Model::Split && !repriced.is_empty() && models.contains("rated"));
    let given = Given { model, is_redefined, repriced: &repriced, disclosed };
    let currencies: BTreeSet<&String> = before.sides.keys().chain(after.sides.keys()).collect();
    let nothing = Side::default();
    let mut terms = Terms::new();
    for currency in currencies {
        let of = |facts: &'_ PoolFacts| facts.sides.get(currency).cloned().unwrap_or_else(|| nothing.clone());
        for (term, amount) in terms::terms_of(&of(before), &of(after), given) {
            *terms.entry(term).or_default() += amount;
        }
    }
    terms
}

/// The policies and rate cards that the entries of both ranges name.
struct Versions<'b> {
    books: &'b Books,
    date: Day,
    /// `for_each` repeated; without those that are not known any more.
    policies: BTreeMap<String, Policy>,
}

impl<'b> Versions<'b> {
    async fn load<'f>(
        session: &SessionContext,
        books: &'b Books,
        date: Day,
        facts: impl Iterator<Item = &'f PoolFacts>,
    ) -> Result<Self, EngineError> {
        let names: BTreeSet<&String> = facts.flat_map(|facts| &facts.policies).collect();
        let mut policies = BTreeMap::new();
        for name in names {
            if let Some(policy) = policy_of(session, books, name, date).await? {
                policies.insert(name.clone(), policy);
            }
        }
        Ok(Self { books, date, policies })
    }

    /// Whether a policy of the later range defines the pool otherwise than one of the earlier range.
    fn redefine(&self, pool: &str, before: &PoolFacts, after: &PoolFacts) -> bool {
        differing(&before.policies, &after.policies).any(|(earlier, later)| {
            let (earlier, later) = (self.policies.get(earlier), self.policies.get(later));
            later.is_none_or(|later| Redefined::between(earlier, later).has(pool))
        })
    }

    /// Whether a rate card of the later range prices the meter otherwise than one of the earlier range.
    fn reprice(&self, before: &PoolFacts, after: &PoolFacts, meter: &str) -> bool {
        differing(&before.cards, &after.cards).any(|(earlier, later)| {
            let cards = [earlier, later].map(|name| self.books.card_named(name, self.date));
            let [Some(earlier), Some(later)] = cards else { return true };
            let is_of_meter = |row: &&PriceRow| canonical(&row.meter).0 == meter;
            let (old, new) = (&earlier.content, &later.content);
            let is_same = old.prices.iter().filter(is_of_meter).eq(new.prices.iter().filter(is_of_meter));
            old.currency != new.currency || !is_same
        })
    }
}

/// Every two versions of which one is of the earlier and one of the later range.
fn differing<'v>(
    before: &'v BTreeSet<String>,
    after: &'v BTreeSet<String>,
) -> impl Iterator<Item = (&'v String, &'v String)> {
    let pairs = before.iter().flat_map(|earlier| after.iter().map(move |later| (earlier, later)));
    pairs.filter(|(earlier, later)| earlier != later)
}
