//! What the cost of nobody is made of, and which tenant rules would give most of it to somebody.

use super::costs::RangeBody;
use super::coverage::{DaysAsked, DaysParams};
use crate::access::AdminReader;
use crate::app::App;
use crate::convert::{day, money, owned, share};
use crate::list::{ListAsked, columns_of};
use crate::problem::ApiError;
use crate::query::QueryPairs;
use axum::extract::State;
use axum::response::Response;
use engine::query::{SuggestedRule, Unattributed, UnattributedRow};
use serde::Serialize;
use utoipa::ToSchema;

/// Cost of nobody of one kind.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct UnattributedRowBody {
    /// The pool; `unattributed` for lines that no pool takes.
    pub pool: String,
    /// `no_pool`: no pool takes the lines. `no_mapping`: a pool of method `direct` takes them and no rule maps them to a
    /// tenant. `tenant_refused`: a rule does, and `[tenants] unknown = "reject"` refuses the tenant. `no_usage`: nothing to
    /// share the pool by was measured. `remainder`: what fixed percentages leave. `unknown`: the entries say none.
    pub why: String,
    /// Currency of the amount.
    pub currency: String,
    /// Who bills it. As the other attributes of lines: null where lines have none, or where no lines tell the amount.
    pub provider: Option<String>,
    /// BillingAccountId.
    pub billing_account: Option<String>,
    /// SubAccountId.
    pub sub_account: Option<String>,
    /// ServiceName.
    pub service: Option<String>,
    /// ServiceCategory.
    pub service_category: Option<String>,
    /// Lines, each counted on every day that it touches; null where no lines tell the amount: usage decides it, or the
    /// lines, the policy or the tenants changed since the run.
    pub lines: Option<u64>,
    /// How much.
    pub amount: String,
    /// The first day on which it arose.
    pub first_day: String,
    /// The last day.
    pub last_day: String,
    /// The place in `rules`, counted from 1, of the first rule that would map any of it; null if none would.
    pub rule: Option<usize>,
}

/// What the cost of nobody in one currency adds up to.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct UnattributedTotalBody {
    /// The currency.
    pub currency: String,
    /// The ledger's entries of `__unattributed__`, estimates aside.
    pub amount: String,
}

/// A tenant rule that would map lines without a tenant.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct SuggestedRuleBody {
    /// Currency of the amount.
    pub currency: String,
    /// What it tests: `sub_account`, `billing_account`, `service`, `provider` or `tags.<key>`.
    pub attribute: String,
    /// The values that fit; `*` for any.
    pub values: Vec<String>,
    /// Whether the value is the tenant, because each is a known one or an alias. Otherwise `toml` says
    /// `{choose-a-tenant}`, which no policy accepts.
    pub fills_tenant: bool,
    /// The rule as it is added at the end of policy.toml; there it takes no line from another rule.
    pub toml: String,
    /// What it maps beyond the rules before it.
    pub amount: String,
    /// Lines that it maps beyond the rules before it, each counted on every day that it touches.
    pub lines: u64,
    /// What part of the cost of nobody in this currency it maps together with the rules before it. Amounts count without
    /// their sign, so that no credit hides a cost.
    pub mapped_share: Option<String>,
}

/// The cost of nobody in a range.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct UnattributedBody {
    /// What it is made of, by currency, the dearest first; the rows of all pages add up to `totals`.
    pub rows: Vec<UnattributedRowBody>,
    /// Whether there were more kinds of lines than are told apart: `rules` look at no tags of those beyond, and of yet more only
    /// the pool is told.
    pub truncated: bool,
    /// The sums by currency.
    pub totals: Vec<UnattributedTotalBody>,
    /// By currency the rules that would map most: first those that fill in the tenant by themselves, then those for which
    /// one has to be chosen; of either the one that maps most of what is left.
    pub rules: Vec<SuggestedRuleBody>,
    /// The first day on which any of it arose; null if there is none.
    pub oldest_day: Option<String>,
    /// The days.
    pub range: RangeBody,
    /// The posting that the answer shows.
    pub posting: Option<i64>,
    /// Where the next page begins; null on the last one.
    pub next_cursor: Option<String>,
}

/// Returns what the cost of nobody in a range is made of, and which tenant rules would give most of it to somebody.
#[utoipa::path(get, path = "/api/v1/unattributed", tag = "costs", params(DaysParams), responses((status = 200, body = UnattributedBody)))]
pub async fn show_unattributed(
    _reader: AdminReader,
    State(app): State<App>,
    query: QueryPairs,
    asked: ListAsked,
) -> Result<Response, ApiError> {
    let days = DaysAsked::parse("unattributed", &query, &app)?;
    let found = app.engine.unattributed_all_tenants(days.range, days.as_of.as_ref()).await?;
    let body = to_api_unattributed(&app, &days, &found);
    asked.answer(&body, columns_of::<UnattributedRowBody>, body.next_cursor.as_deref())
}

fn to_api_unattributed(app: &App, days: &DaysAsked, found: &Unattributed) -> UnattributedBody {
    let (rows, next_cursor) = days.page(found.rows.iter().collect());
    let total = |(currency, amount): &(domain::Currency, i128)| UnattributedTotalBody {
        currency: currency.to_string(),
        amount: money(*amount),
    };
    UnattributedBody {
        rows: rows.into_iter().map(to_api_row).collect(),
        truncated: found.is_folded,
        totals: found.totals.iter().map(total).collect(),
        rules: found.rules.iter().map(to_api_rule).collect(),
        oldest_day: found.rows.iter().map(|row| row.first_day).min().map(day),
        range: RangeBody {
            from: day(found.range.from()),
            to: day(found.range.to()),
            timezone: app.zone().name().to_owned(),
        },
        posting: found.posting,
        next_cursor,
    }
}

fn to_api_row(row: &UnattributedRow) -> UnattributedRowBody {
    UnattributedRowBody {
        pool: row.pool.to_string(),
        why: row.why.to_string(),
        currency: row.currency.to_string(),
        provider: owned(&row.provider),
        billing_account: owned(&row.billing_account),
        sub_account: owned(&row.sub_account),
        service: owned(&row.service),
        service_category: owned(&row.service_category),
        lines: row.lines,
        amount: money(row.amount),
        first_day: day(row.first_day),
        last_day: day(row.last_day),
        rule: row.rule,
    }
}

fn to_api_rule(rule: &SuggestedRule) -> SuggestedRuleBody {
    SuggestedRuleBody {
        currency: rule.currency.to_string(),
        attribute: rule.attribute.to_string(),
        values: rule.patterns.clone(),
        fills_tenant: rule.fills_tenant,
        toml: rule.toml(),
        amount: money(rule.amount),
        lines: rule.lines,
        mapped_share: rule.mapped_share.map(share),
    }
}
