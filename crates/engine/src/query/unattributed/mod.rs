//! What the cost of nobody is made of, and which tenant rules would give most of it to somebody.
//!
//! The ledger says how much it is. Where it went to nobody because of lines, the lines as they stand tell what it is made
//! of, provided that they add up to it; everything else is told by its pool. So the rows always add up to the ledger.

use super::as_of::{AsOf, Head};
use super::columns::rows;
use super::select::{all_of, charged_in, of_cost, up_to_posting};
use crate::books::{Books, corrupt};
use crate::due::ranges_of;
use crate::inputs::lines;
use crate::inputs::repeated::{self, FirstDays};
use crate::{Engine, EngineError};
use attribution::line::AttributeSet;
use datafusion::functions_aggregate::expr_fn::{max, sum};
use datafusion::prelude::{Expr, SessionContext, ident, lit};
use domain::policy::Policy;
use domain::tenant::UNATTRIBUTED;
use domain::{Currency, Day, DayRange, TenantId};
use found::{Found, Kind, SHOWN, Sum, WholeKey, nobodys};
use rules::Search;
use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use storage::lake::Table;

/// Cost lines by what a rule can name.
mod found;
/// Tenant rules that would map them.
mod rules;
/// Tags that can tell tenants apart.
mod tags;

pub use rules::{RULES_MAX, SuggestedRule, TENANT_TO_CHOOSE};

/// No pool takes the line.
const NO_POOL: &str = "no_pool";
/// A pool of method `direct` took the line, and no rule maps it to a tenant.
const NO_MAPPING: &str = "no_mapping";
/// The same, but a rule maps it to a tenant that `[tenants] unknown = "reject"` refuses.
pub const TENANT_REFUSED: &str = "tenant_refused";
/// Of entries that give no reason.
const UNKNOWN: &str = "unknown";

/// Days whose lines are in memory at a time. They are told apart by more tags than in a run, so a day has more of them.
const PIECE_DAYS: i32 = 1;

/// A day of a pool, in one currency.
type PoolDayKey = (Day, Arc<str>, Currency);

/// The cost of nobody in a range of days.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unattributed {
    /// The days.
    pub range: DayRange,
    /// What it is made of: by currency, the dearest first.
    pub rows: Vec<UnattributedRow>,
    /// What the rows of each currency add up to, in atoms: the ledger's entries of `__unattributed__`.
    pub totals: Vec<(Currency, i128)>,
    /// The tenant rules that would map most of it, by currency.
    pub rules: Vec<SuggestedRule>,
    /// Whether there were more kinds of lines than are told apart; rules know nothing of the tags of those beyond, and of yet
    /// more only the pool is told.
    pub is_folded: bool,
    /// The posting that the answer shows.
    pub posting: Option<i64>,
}

/// Cost of nobody of one kind.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UnattributedRow {
    /// The pool; `unattributed` for lines that no pool takes.
    pub pool: Arc<str>,
    /// `no_pool`, `no_mapping`, `tenant_refused`, `no_usage`, `remainder`; `unknown` of entries that say none.
    pub why: Arc<str>,
    /// Currency of the amount.
    pub currency: Currency,
    /// ServiceProviderName of the lines. As the other attributes: none where lines have none or do not tell the amount.
    pub provider: Option<Arc<str>>,
    /// BillingAccountId.
    pub billing_account: Option<Arc<str>>,
    /// SubAccountId.
    pub sub_account: Option<Arc<str>>,
    /// ServiceName.
    pub service: Option<Arc<str>>,
    /// ServiceCategory.
    pub service_category: Option<Arc<str>>,
    /// Lines, each counted on every day of the range that it touches; none where no lines tell the amount.
    pub lines: Option<u64>,
    /// In atoms.
    pub amount: i128,
    /// The first day on which it arose.
    pub first_day: Day,
    /// The last day.
    pub last_day: Day,
    /// The place in `rules`, counted from 1, of the first rule that would map any of it.
    pub rule: Option<usize>,
}

/// What the ledger says of a pool's day.
#[derive(Default)]
struct Posted {
    amount: i128,
    /// The newest posting that gives a reason, and the reason: a correction need not repeat it.
    said: (i64, Arc<str>),
}

impl Posted {
    fn why(&self) -> &str {
        &self.said.1
    }

    fn is_of_lines(&self) -> bool {
        [NO_POOL, NO_MAPPING].contains(&self.why())
    }
}

/// What tells to whom a line belongs.
struct Whose<'a> {
    books: &'a Books,
    repeated: &'a FirstDays,
    /// Whether a rule that names an unknown tenant maps to nobody.
    rejects_unknown: bool,
}

impl Whose<'_> {
    /// What the policies of these days look at.
    fn attributes_in(&self, range: DayRange) -> AttributeSet {
        AttributeSet::needed_by(self.books.policies_in(range))
    }

    /// The policy of a day, with a pool for each value that one stands for.
    fn policy_on(&self, day: Day) -> Policy {
        let values = self.repeated.up_to(day, &self.books.tenants);
        attribution::expand::expand(&self.books.policy_on(day).content, &values)
    }

    /// The tenant of what a rule yields, unless it is refused.
    fn tenant(&self, value: &str, day: Day) -> Option<Arc<str>> {
        let tenant = self.books.tenants.resolve(value, day);
        (!self.rejects_unknown || self.books.tenants.knows(&tenant)).then_some(tenant)
    }
}

impl Engine {
    /// Returns what the posted cost of nobody is made of, estimates aside, and which tenant rules would map most of it.
    ///
    /// The rows of a currency add up to the ledger's entries of `__unattributed__` of these days. A pool's day whose
    /// lines, policy or tenants changed since its run is told by its pool, as is cost that no line tells.
    ///
    /// # Source
    /// Spec 3-attribution, sections 1 and 3; 5-web, page `/close`.
    ///
    /// # Errors
    /// For a state that does not exist, or when a store fails.
    pub async fn unattributed_all_tenants(
        &self,
        range: DayRange,
        as_of: Option<&AsOf>,
    ) -> Result<Unattributed, EngineError> {
        let head = self.head(as_of).await?;
        let session = self.session_of(&head).await?;
        let posted = posted(&session, &head, range).await?;
        let books = self.books(head.recorded_up_to).await?;
        let repeated = repeated::first_days(&session, &books.policies_in(range), range.to()).await?;
        let rejects_unknown = self.settings.reject_unknown_tenants;
        let whose = Whose { books: &books, repeated: &repeated, rejects_unknown };
        // Only a rule for lines that have no tenant looks at tags.
        let unmapped: BTreeSet<Day> = days_of(&posted, |posted| posted.why() == NO_MAPPING);
        let mut found = Found::new(tags::telling_tags(&session, &whose, &unmapped).await?);
        for piece in ranges_of(days_of(&posted, Posted::is_of_lines), PIECE_DAYS) {
            self.add_lines_of(&session, &whose, piece, &posted, &mut found).await?;
        }
        for (key, posted) in &posted {
            found.add_whole(key, &posted.said.1, posted.amount);
        }
        let (totals, is_folded) = (totals_of(&posted), found.is_folded);
        let (rows, rules) = told(found, &books);
        Ok(Unattributed { range, rows, totals, rules, is_folded, posting: head.posting })
    }

    /// Adds the lines of a few days, where they add up to what the ledger says.
    async fn add_lines_of(
        &self,
        session: &SessionContext,
        whose: &Whose<'_>,
        piece: DayRange,
        posted: &BTreeMap<PoolDayKey, Posted>,
        found: &mut Found,
    ) -> Result<(), EngineError> {
        let needed = whose.attributes_in(piece);
        let attributes = AttributeSet::of(needed.attributes().iter().chain(&found.attributes).cloned());
        let loaded = lines::load(session, piece, &self.settings.zone, &attributes).await?;
        for (day, parts) in &loaded.days {
            let policy = whose.policy_on(*day);
            for ((pool, currency), lines) in nobodys(&policy, parts, &|value: &str| whose.tenant(value, *day)) {
                let total: i128 = lines.iter().map(|line| line.amount).sum();
                let key = (*day, pool, currency);
                let is_told = |posted: &Posted| posted.is_of_lines() && posted.amount == total;
                if posted.get(&key).is_some_and(is_told) {
                    found.add_lines(key, &lines);
                }
            }
        }
        Ok(())
    }
}

/// What the ledger gives to nobody, by day, pool and currency.
async fn posted(
    session: &SessionContext,
    head: &Head,
    range: DayRange,
) -> Result<BTreeMap<PoolDayKey, Posted>, EngineError> {
    let money = Expr::IsNotTrue(Box::new(ident("memo")));
    let to_nobody = ident("consumer").eq(lit(UNATTRIBUTED));
    let batches = session
        .table(Table::Ledger.name())
        .await?
        .filter(all_of([of_cost(), up_to_posting(head.number()), charged_in(range), money, to_nobody]))?
        .aggregate(
            vec![ident("charge_date"), ident("pool"), ident("currency"), ident("reason")],
            vec![sum(ident("amount")).alias("total"), max(ident("posting")).alias("last")],
        )?
        .collect()
        .await?;
    let mut posted: BTreeMap<PoolDayKey, Posted> = BTreeMap::new();
    for row in rows(&batches) {
        let Some(day) = row.day(0) else { continue };
        let currency: Currency =
            row.text_or_empty(2).parse().map_err(|error| corrupt("the currency of an entry", &error))?;
        let of_pool = posted.entry((day, row.text_or_empty(1).into(), currency)).or_default();
        of_pool.amount += row.atoms(4);
        let said: (i64, Arc<str>) = (row.int(5).unwrap_or_default(), row.text_or_empty(3).into());
        if !said.1.is_empty() && of_pool.said < said {
            of_pool.said = said;
        }
    }
    for of_pool in posted.values_mut().filter(|posted| posted.why().is_empty()) {
        of_pool.said.1 = UNKNOWN.into();
    }
    Ok(posted)
}

/// The days of such pools' days.
fn days_of(posted: &BTreeMap<PoolDayKey, Posted>, is_asked: impl Fn(&Posted) -> bool) -> BTreeSet<Day> {
    posted.iter().filter(|(_, posted)| is_asked(posted)).map(|((day, ..), _)| *day).collect()
}

fn totals_of(posted: &BTreeMap<PoolDayKey, Posted>) -> Vec<(Currency, i128)> {
    let mut totals: BTreeMap<Currency, i128> = BTreeMap::new();
    for ((_, _, currency), posted) in posted {
        *totals.entry(*currency).or_default() += posted.amount;
    }
    totals.into_iter().collect()
}

/// What a row shows.
type RowKey = (Currency, Arc<str>, Arc<str>, Vec<Option<Arc<str>>>);

/// The rows, and the rules that would map most of them.
fn told(found: Found, books: &Books) -> (Vec<UnattributedRow>, Vec<SuggestedRule>) {
    let has_unseen = |(_, _, why): &WholeKey| **why == *NO_MAPPING;
    let is_all_seen = !found.is_folded && !found.wholes.keys().any(has_unseen);
    let kinds: Vec<(Kind, Sum)> = found.kinds.into_iter().collect();
    let mut magnitudes: BTreeMap<Currency, i128> = BTreeMap::new();
    let amounts = kinds.iter().map(|(kind, sum)| (kind.currency, sum.amount));
    for (currency, amount) in amounts.chain(found.wholes.iter().map(|((currency, ..), sum)| (*currency, sum.amount))) {
        *magnitudes.entry(currency).or_default() += amount.abs();
    }
    let is_tenant = |value: &str, day: Day| {
        value.parse::<TenantId>().is_ok() && books.tenants.knows(&books.tenants.resolve(value, day))
    };
    let search = Search {
        attributes: &found.attributes,
        kinds: &kinds,
        is_all_seen,
        magnitudes: &magnitudes,
        is_tenant: &is_tenant,
    };
    let suggestions = search.suggest();
    let mut rows: BTreeMap<RowKey, (Sum, Option<usize>)> = BTreeMap::new();
    for ((kind, sum), rule) in kinds.iter().zip(&suggestions.of_kind) {
        let shown = kind.values.iter().take(SHOWN.len()).cloned().collect();
        let key = (kind.currency, Arc::clone(&kind.pool), Arc::clone(&kind.why), shown);
        let add = |(known, first): &mut (Sum, Option<usize>)| {
            known.add(sum);
            *first = [*first, *rule].into_iter().flatten().min();
        };
        rows.entry(key).and_modify(add).or_insert((*sum, *rule));
    }
    let no_attributes = vec![None; SHOWN.len()];
    let wholes = found.wholes.into_iter().map(|((currency, pool, why), sum)| {
        let key = (currency, pool, why, no_attributes.clone());
        to_row(key, Sum { lines: None, ..sum }, None)
    });
    let mut rows: Vec<UnattributedRow> =
        rows.into_iter().map(|(key, (sum, rule))| to_row(key, sum, rule)).chain(wholes).collect();
    rows.sort_by_key(|row| (row.currency, Reverse(row.amount)));
    (rows, suggestions.rules)
}

fn to_row((currency, pool, why, shown): RowKey, sum: Sum, rule: Option<usize>) -> UnattributedRow {
    let mut shown = shown.into_iter();
    let mut next = || shown.next().flatten();
    UnattributedRow {
        pool,
        why,
        currency,
        provider: next(),
        billing_account: next(),
        sub_account: next(),
        service: next(),
        service_category: next(),
        lines: sum.lines,
        amount: sum.amount,
        first_day: sum.first_day,
        last_day: sum.last_day,
        rule: rule.map(|at| at + 1),
    }
}
