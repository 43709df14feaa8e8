//! Where the money goes: from providers through pools to tenants.

use super::as_of::{AsOf, Head};
use super::columns::rows;
use super::filter::Filter;
use super::params::{Params, QueryLimits};
use super::pool_days;
use super::select::{self, all_of};
use crate::books::Books;
use crate::{Engine, EngineError};
use datafusion::functions_aggregate::expr_fn::sum;
use datafusion::prelude::{Expr, SessionContext, ident, lit};
use domain::condition::{ChargeAttribute, Conditions, Pattern};
use domain::policy::{Policy, Pool};
use domain::{Currency, Day, DayRange};
use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};
use storage::lake::Table;

/// Providers, pools and tenants that are shown by name when the question does not say how many.
pub const FLOWS_TOP_DEFAULT: usize = 14;
/// Most of each that are shown by name.
pub const FLOWS_TOP_MAX: usize = 100;
/// Everything beyond the largest of a column.
pub const OTHER: &str = "__other__";
/// Cost of pools that neither keep the provider nor name a single one in their rule.
pub const SEVERAL: &str = "__several__";
/// What the ledger holds of a pool and no pool day explains: half of an adjustment whose other half is on other days.
pub const DIFFERENCE: &str = "__difference__";

/// Which flows are asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FlowsQuery {
    /// The days.
    pub range: DayRange,
    /// Which state of the ledger; the newest when none is named.
    pub as_of: Option<AsOf>,
    /// Only what was booked in this currency; otherwise everything in the reporting currency.
    pub currency: Option<Currency>,
    /// Which entries count. With a filter nothing is told of providers: what went into a pool is nobody's part of it yet.
    pub filter: Filter,
    /// How many of each column are shown by name.
    pub top: usize,
}

impl FlowsQuery {
    /// Returns the question that the query parameters of a request ask.
    ///
    /// # Errors
    /// [`EngineError::InvalidParameter`] for an unknown parameter or a value that is none.
    pub fn parse<K: AsRef<str>, V: AsRef<str>>(given: &[(K, V)], limits: &QueryLimits) -> Result<Self, EngineError> {
        let mut params = Params::new(given)?;
        let range = params.range_or_default(limits)?;
        params.word("view", &[("posted", true)])?;
        let (as_of, currency) = (params.parsed("as_of")?, params.parsed("currency")?);
        let filter = Filter::parse(&params.text("filter").unwrap_or_default())?;
        select::check_columns(&filter)?;
        let top = params.text("top");
        params.finish()?;
        let refuse = || EngineError::parameter("top", format!("`top` is a number from 1 to {FLOWS_TOP_MAX}"));
        let number = |text: String| {
            text.parse::<usize>().ok().filter(|top| (1..=FLOWS_TOP_MAX).contains(top)).ok_or_else(refuse)
        };
        let top = top.map(number).transpose()?.unwrap_or(FLOWS_TOP_DEFAULT);
        Ok(Self { range, as_of, currency, filter, top })
    }
}

/// Where on its way money is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum FlowColumn {
    /// Who bills it.
    Provider,
    /// What it is shared out by.
    Pool,
    /// Who is charged for it.
    Tenant,
}

impl FlowColumn {
    /// Returns the column's word.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Provider => "provider",
            Self::Pool => "pool",
            Self::Tenant => "tenant",
        }
    }
}

/// A provider, pool, tenant or reserved consumer, or all beyond the largest.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FlowNode {
    /// What it is.
    pub column: FlowColumn,
    /// Its name, or a word between `__`.
    pub id: String,
    /// What flows through it, in atoms.
    pub amount: i128,
    /// How many it stands for.
    pub count: usize,
}

/// Money on its way from one node to a node of the next column.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FlowLink {
    /// The column that it leaves.
    pub column: FlowColumn,
    /// The node that it leaves.
    pub from: String,
    /// The node that it reaches.
    pub to: String,
    /// How much, in atoms; below zero for what is given back.
    pub amount: i128,
}

/// Where the money of a range goes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Flows {
    /// The days.
    pub range: DayRange,
    /// Currency of every amount.
    pub currency: Currency,
    /// The state that was asked for, as it was written.
    pub as_of: Option<String>,
    /// The posting that the answer shows.
    pub posting: Option<i64>,
    /// `sha256:` and the hash of that posting.
    pub ledger_head: Option<String>,
    /// What each column adds up to, in atoms: the total of the same question about cost.
    pub total: i128,
    /// The nodes, column by column, the largest first.
    pub nodes: Vec<FlowNode>,
    /// The links, in the order of their nodes. What reaches a pool is what leaves it.
    pub links: Vec<FlowLink>,
}

/// Amounts by both ends.
type Amounts = BTreeMap<(String, String), i128>;

impl Engine {
    /// Returns where the posted cost of a range comes from and where it goes, estimates aside.
    ///
    /// What reaches a pool is told by its pool days, what leaves it by its entries; a difference of both is a node of its
    /// own, so that both sides of every pool are the same amount and each column adds up to the total of the range.
    ///
    /// # Source
    /// Spec 5-web, page `/flow`.
    ///
    /// # Errors
    /// For a state that does not exist, or when a store fails.
    pub async fn flows_all_tenants(&self, query: &FlowsQuery) -> Result<Flows, EngineError> {
        let head = self.head(query.as_of.as_ref()).await?;
        let session = self.session_now().await?;
        let out_of_pools = out_of_pools(&session, &head, query).await?;
        let into_pools = match query.filter.terms.is_empty() {
            true => balanced(self.amounts_into_pools(&session, &head, query).await?, &out_of_pools),
            false => Amounts::new(),
        };
        let total: i128 = out_of_pools.values().sum();
        let providers = Shown::new(FlowColumn::Provider, sums(&into_pools, |(from, _)| from), query.top);
        // A pool of which everything was taken back has nothing on one of its sides.
        let mut by_pool = sums(&out_of_pools, |(from, _)| from);
        for (_, pool) in into_pools.keys() {
            by_pool.entry(pool.clone()).or_default();
        }
        let pools = Shown::new(FlowColumn::Pool, by_pool, query.top);
        let tenants = Shown::new(FlowColumn::Tenant, sums(&out_of_pools, |(_, to)| to), query.top);
        let links = [links(&into_pools, &providers, &pools), links(&out_of_pools, &pools, &tenants)].concat();
        Ok(Flows {
            range: query.range,
            currency: query.currency.unwrap_or(self.settings.reporting_currency),
            as_of: query.as_of.map(|as_of| as_of.to_string()),
            posting: head.posting,
            ledger_head: head.hash,
            total,
            nodes: [providers.nodes, pools.nodes, tenants.nodes].concat(),
            links,
        })
    }

    /// What went into each pool, by provider.
    async fn amounts_into_pools(
        &self,
        session: &SessionContext,
        head: &Head,
        query: &FlowsQuery,
    ) -> Result<Amounts, EngineError> {
        let history = self.history_all_tenants(head, Some(query.range)).await?;
        let books = self.books(head.recorded_up_to).await?;
        let column = column_of(query);
        let found = pool_days::by_provider_in(session, &history, query.range, column, query.currency).await?;
        let mut amounts = Amounts::new();
        for ((day, pool, provider), atoms) in found {
            let policy = || provider_named(&books, day, &pool);
            let provider = provider.or_else(policy).unwrap_or_else(|| SEVERAL.to_owned());
            *amounts.entry((provider, pool)).or_default() += atoms;
        }
        Ok(amounts)
    }
}

fn column_of(query: &FlowsQuery) -> &'static str {
    if query.currency.is_some() { "amount" } else { "amount_reporting" }
}

/// What each pool's entries charge to each tenant or reserved consumer.
async fn out_of_pools(session: &SessionContext, head: &Head, query: &FlowsQuery) -> Result<Amounts, EngineError> {
    let booked_in = query.currency.map(|currency| ident("currency").eq(lit(currency.code())));
    let money = Expr::IsNotTrue(Box::new(ident("memo")));
    let charged = select::charged_in(query.range);
    let conditions = [select::of_cost(), select::up_to_posting(head.number()), charged, money];
    let terms = query.filter.terms.iter().filter_map(select::condition);
    let consumer = vec![ident("pool"), ident("tenant"), select::reserved_word().alias("word")];
    let batches = session
        .table(Table::Ledger.name())
        .await?
        .filter(all_of(conditions.into_iter().chain(booked_in).chain(terms)))?
        .aggregate(consumer, vec![sum(ident(column_of(query))).alias("total")])?
        .collect()
        .await?;
    let mut amounts = Amounts::new();
    for row in rows(&batches) {
        let (tenant, word) = (row.text_or_empty(1), row.text_or_empty(2));
        let consumer = if word.is_empty() { tenant } else { word };
        *amounts.entry((row.text_or_empty(0).to_owned(), consumer.to_owned())).or_default() += row.atoms(3);
    }
    Ok(amounts)
}

/// The one provider whose cost the rule of a pool takes, if it names a single one.
fn provider_named(books: &Books, day: Day, pool: &str) -> Option<String> {
    let pool = rule_of(&books.policy_on(day).content, pool)?;
    if let Some(fixed) = &pool.fixed {
        return Some(fixed.provider.clone());
    }
    pool.select.as_ref().or(pool.recovers.as_ref()).and_then(single_provider)
}

fn single_provider(conditions: &Conditions<ChargeAttribute>) -> Option<String> {
    let mut tests = conditions.tests().filter(|(attribute, _)| matches!(attribute, ChargeAttribute::Provider));
    let text = match tests.next() {
        Some((_, patterns)) => match &patterns[..] {
            [only] => Pattern::as_str(only),
            _ => return None,
        },
        None => return None,
    };
    (!text.contains('*') && !text.contains("{each}")).then(|| text.to_owned())
}

/// The rule that made a pool of this name: its own, or one that makes a pool of each value.
fn rule_of<'p>(policy: &'p Policy, name: &str) -> Option<&'p Pool> {
    let makes = |pool: &&Pool| {
        let around = pool.name.split_once("{each}");
        pool.for_each.is_some()
            && around.is_some_and(|(before, after)| name.starts_with(before) && name.ends_with(after))
    };
    let own = policy.pools.iter().find(|pool| pool.for_each.is_none() && pool.name == name);
    own.or_else(|| policy.pools.iter().find(makes))
}

/// What reaches each pool, with [`DIFFERENCE`] for what its entries hold beyond that.
fn balanced(mut into: Amounts, out: &Amounts) -> Amounts {
    let mut lacking = sums(out, |(from, _)| from);
    for ((_, pool), atoms) in &into {
        *lacking.entry(pool.clone()).or_default() -= atoms;
    }
    for (pool, atoms) in lacking.into_iter().filter(|(_, atoms)| *atoms != 0) {
        into.insert((DIFFERENCE.to_owned(), pool), atoms);
    }
    into
}

fn sums(amounts: &Amounts, end: impl Fn(&(String, String)) -> &String) -> BTreeMap<String, i128> {
    let mut sums: BTreeMap<String, i128> = BTreeMap::new();
    for (ends, atoms) in amounts {
        *sums.entry(end(ends).clone()).or_default() += *atoms;
    }
    sums
}

/// The nodes of a column, and which of its ids have none of their own.
struct Shown {
    column: FlowColumn,
    nodes: Vec<FlowNode>,
    folded: BTreeSet<String>,
}

impl Shown {
    /// Words between `__` are few and always shown; of all others the `top` largest, and the rest as one.
    fn new(column: FlowColumn, sums: BTreeMap<String, i128>, top: usize) -> Self {
        let (words, mut names): (Vec<_>, Vec<_>) = sums.into_iter().partition(|(id, _)| id.starts_with("__"));
        names.sort_by(|(id, atoms), (other_id, other)| Reverse(atoms).cmp(&Reverse(other)).then(id.cmp(other_id)));
        let rest = names.split_off(top.min(names.len()));
        let node = |(id, amount): (String, i128)| FlowNode { column, id, amount, count: 1 };
        let mut nodes: Vec<FlowNode> = names.into_iter().chain(words).map(node).collect();
        if !rest.is_empty() {
            let amount: i128 = rest.iter().map(|(_, atoms)| atoms).sum();
            nodes.push(FlowNode { column, id: OTHER.to_owned(), amount, count: rest.len() });
        }
        nodes.sort_by(|node, other| Reverse(node.amount).cmp(&Reverse(other.amount)).then(node.id.cmp(&other.id)));
        Self { column, nodes, folded: rest.into_iter().map(|(id, _)| id).collect() }
    }

    fn id_of<'n>(&self, id: &'n str) -> &'n str {
        if self.folded.contains(id) { OTHER } else { id }
    }

    fn places(&self) -> BTreeMap<&str, usize> {
        self.nodes.iter().enumerate().map(|(at, node)| (node.id.as_str(), at)).collect()
    }
}

fn links(amounts: &Amounts, left: &Shown, right: &Shown) -> Vec<FlowLink> {
    let mut folded: BTreeMap<(&str, &str), i128> = BTreeMap::new();
    for ((from, to), atoms) in amounts {
        *folded.entry((left.id_of(from), right.id_of(to))).or_default() += atoms;
    }
    let (leaving, reaching) = (left.places(), right.places());
    let mut found: Vec<_> = folded.into_iter().filter(|(_, atoms)| *atoms != 0).collect();
    found.sort_by_key(|((from, to), _)| (leaving.get(from).copied(), reaching.get(to).copied()));
    let link = |((from, to), amount): ((&str, &str), i128)| FlowLink {
        column: left.column,
        from: from.to_owned(),
        to: to.to_owned(),
        amount,
    };
    found.into_iter().map(link).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_provider_of_a_pool_is_the_single_one_that_its_rule_names() {
        let check = |rule: &str, name: &str, expected: Option<&str>| {
            let policy = Policy::read("p", &format!("version='v'\nvalid_from=2026-01-01\n{rule}")).expect("valid");
            let found = rule_of(&policy, name).and_then(|pool| pool.select.as_ref()).and_then(single_provider);
            assert_eq!(found.as_deref(), expected, "{rule}");
        };
        let pool =
            |select: &str| format!("[[pool]]\nname='a'\nselect={{{select}}}\nsplit={{method='even',of='active'}}");
        check(&pool("provider='AWS'"), "a", Some("AWS"));
        check(&pool("provider='AWS',service='S3'"), "a", Some("AWS"));
        check(&pool("provider=['AWS','GCP']"), "a", None);
        check(&pool("provider='A*'"), "a", None);
        check(&pool("service='S3'"), "a", None);
        check(&pool("provider='AWS'"), "b", None);
    }

    #[test]
    fn all_beyond_the_largest_is_one_node_and_words_keep_their_own() {
        let sums = [("a", 5), ("b", -2), ("c", 7), ("d", 1), ("__idle__", 3)];
        let sums = sums.map(|(id, atoms)| (id.to_owned(), atoms)).into();
        let shown = Shown::new(FlowColumn::Tenant, sums, 2);
        let printed: Vec<(&str, i128, usize)> =
            shown.nodes.iter().map(|node| (node.id.as_str(), node.amount, node.count)).collect();
        assert_eq!(printed, [("c", 7, 1), ("a", 5, 1), ("__idle__", 3, 1), (OTHER, -1, 2)]);
        assert_eq!([shown.id_of("b"), shown.id_of("c")], [OTHER, "c"]);
    }
}
