//! Cost by any dimension.

use crate::access::CostReader;
use crate::app::App;
use crate::convert::{day, factor, money, part, quantity, share};
use crate::list::ListAsked;
use crate::problem::ApiError;
use crate::query::{QueryPairs, flag};
use axum::extract::State;
use axum::response::Response;
use domain::{DayRange, TenantScope};
use engine::periods::SourcePeriod;
use engine::query::{Conservation, CostMeta, CostQuery, CostRow, CostTable, CostTotals, Coverage, RestatedDay, View};
use serde::Serialize;
use serde_json::{Map, Value};
use std::collections::{BTreeMap, BTreeSet};
use storage::catalog::fact_on;
use utoipa::{IntoParams, ToSchema};

/// The query parameters of `/costs`.
#[derive(Clone, Debug, IntoParams)]
#[into_params(parameter_in = Query)]
pub struct CostParams {
    /// `7d 30d 90d 365d mtd last_month qtd ytd 2026-10 2026-10-01..2026-10-31`; default `30d`.
    pub range: Option<String>,
    /// First day, with `to` instead of `range`.
    pub from: Option<String>,
    /// Last day, included.
    pub to: Option<String>,
    /// At most four of tenant, user, workflow, repo, task_class, cluster, plan, parent, label:<key>, pool, tier,
    /// status, basis, memo, origin, charge_category, category, meter; default `tenant`.
    pub group_by: Option<String>,
    /// `none`, `day`, `week` or `month`: adds a series to each row.
    pub granularity: Option<String>,
    /// Terms ANDed, separated by spaces: `[-]key:value[,value…]`, `*` globs, "quoted" values.
    pub filter: Option<String>,
    /// `prev` adds the range before; `final` compares only up to the last day that is complete and final, with as many
    /// days before.
    pub compare: Option<String>,
    /// `posted`, or `current_rates`: all usage at the prices in force, an estimate; rolling ranges then end with today.
    pub view: Option<String>,
    /// `charged` or `billed`.
    pub clock: Option<String>,
    /// `amount` or `billed_amount`.
    pub measure: Option<String>,
    /// Only entries booked in this currency.
    pub currency: Option<String>,
    /// `minor` rounds rows to minor units so that they sum to the rounded total.
    pub round: Option<String>,
    /// `posting:12`, a day or an instant: the ledger as it was known then.
    pub as_of: Option<String>,
    /// Only the row with this value of the one grouped key, with its `rank`; shares and totals stay those of all rows.
    pub key: Option<String>,
    /// `true` adds `name` and `slug` of today to rows of tenants.
    pub names: Option<bool>,
    /// `cost`, `key`, `direct`, `amortized`, `pending`, `previous`, `change`; `-` before it for descending.
    pub sort: Option<String>,
    /// Rows of a page, 1 to 10000.
    pub limit: Option<u32>,
    /// Where the page begins: `next_cursor` of the page before.
    pub cursor: Option<String>,
}

/// A place among all rows by cost, those of reserved consumers apart.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct RankBody {
    /// From 1, the largest cost; rows of equal cost by key.
    pub place: usize,
    /// How many rows there are.
    pub of: usize,
}

/// The cost of one group.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct CostRowBody {
    /// Value of each grouped key; of a reserved consumer its word.
    #[schema(value_type = std::collections::HashMap<String, String>)]
    pub key: Map<String, Value>,
    /// The tenant's name of today, with `names=true`; absent where it has none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// The tenant's short name of today, with `names=true`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub slug: Option<String>,
    /// The cost.
    pub cost: String,
    /// Of tier direct; absent when tier or status is grouped.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub direct: Option<String>,
    /// Of tier amortized.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub amortized: Option<String>,
    /// Of status pending.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pending: Option<String>,
    /// Part of the total, six decimals; null when the total is not positive.
    pub share: Option<String>,
    /// Its place, with `key`; absent for tenants and reserved consumers.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rank: Option<RankBody>,
    /// Cost of the days before, with `compare`: those of `meta.compared.previous`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub previous: Option<String>,
    /// Cost of the days of `meta.compared.range` less that.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub change: Option<String>,
    /// First day and cost of every bucket, with a granularity.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<Vec<Vec<String>>>)]
    pub series: Option<Vec<(String, String)>>,
    /// Quantities by meter, with `view=current_rates`: counters are summed, of gauges it is the last value.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub usage: Option<BTreeMap<String, String>>,
}

/// Totals over all pages.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct CostTotalsBody {
    /// What the rows of all pages add up to.
    pub cost: String,
    /// Of `__overhead__`; absent for tenants, as the next four.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub overhead: Option<String>,
    /// Of `__idle__`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub idle: Option<String>,
    /// Of `__unattributed__`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub unattributed: Option<String>,
    /// Of `__unconsumed__`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub unconsumed: Option<String>,
    /// Of `__variance__`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub variance: Option<String>,
    /// Estimates beside the money.
    pub memo: String,
}

/// Days that were asked for.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct RangeBody {
    /// First day.
    pub from: String,
    /// Last day, included.
    pub to: String,
    /// The organisation's zone.
    pub timezone: String,
}

impl RangeBody {
    /// Returns the days as answers echo them.
    pub(crate) fn of(range: DayRange, app: &App) -> Self {
        Self { from: day(range.from()), to: day(range.to()), timezone: app.zone().name().to_owned() }
    }
}

/// What went into the pools of the range.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct ConservationBody {
    /// The cost lines.
    pub cost_lines: String,
    /// Less what the ledger holds: 0.
    pub difference: String,
    /// Lines without a rate into the currency of the answer, by their own currency; not in `cost_lines`. Absent when
    /// there are none.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub unconverted: BTreeMap<String, String>,
}

/// A billing period whose amounts are estimates.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct EstimatedPeriodBody {
    /// The source.
    pub source: String,
    /// BillingAccountId.
    pub billing_account: String,
    /// `YYYY-MM`.
    pub billing_period: String,
}

/// A day that was corrected after it was posted: late usage, another bill, other rules.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct RestatedDayBody {
    /// The day.
    pub date: String,
    /// How many postings corrected it.
    pub times: usize,
    /// The newest five of them, newest first.
    pub postings: Vec<i64>,
}

/// The days that changes are measured by.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct ComparedBody {
    /// The later days: the range, or with `compare=final` its part up to the last day that is complete and final.
    pub range: RangeBody,
    /// As many days before the range.
    pub previous: RangeBody,
}

/// How much of the cost was measured; parts of one.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct CoverageBody {
    /// By measurement.
    pub measured: String,
    /// By something that stands for it.
    pub proxy: String,
    /// Paid, unused capacity.
    pub idle: String,
    /// Never divided.
    pub overhead: String,
    /// Bill minus rated recovery.
    pub variance: String,
    /// Not at all.
    pub unattributed: String,
}

/// What an answer says about itself.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct CostMetaBody {
    /// The days.
    pub range: RangeBody,
    /// Currency of every amount.
    pub currency: String,
    /// Where the amounts come from.
    pub view: String,
    /// The state that was asked for.
    pub as_of: Option<String>,
    /// Last day of the range that has entries.
    pub data_through: Option<String>,
    /// Days of the range with pending entries.
    pub pending_days: usize,
    /// Versions of the policies that entries name.
    pub policy_versions: Vec<String>,
    /// Whether a billing period of the range is still open at its provider, so that its amounts are estimates; false with
    /// `as_of`.
    pub estimated: bool,
    /// Which ones; absent for tenants.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub estimated_periods: Option<Vec<EstimatedPeriodBody>>,
    /// Absent for tenants.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub conservation: Option<ConservationBody>,
    /// Absent for tenants.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub coverage: Option<CoverageBody>,
    /// The posting that the answer shows; `as_of=posting:<it>` repeats it.
    pub posting: Option<i64>,
    /// Hash of that posting; absent for tenants.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    pub ledger_head: Option<Option<String>>,
    /// Which days were compared; absent without `compare`, and with `final` when no day is complete and final.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub compared: Option<ComparedBody>,
    /// Days of these rows that were corrected after they were posted; empty without `granularity` or at current rates.
    pub restated: Vec<RestatedDayBody>,
    /// Usage without a price.
    pub unpriced_metrics: Vec<String>,
    /// What the amounts are; with `view=current_rates` only, as the next seven.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub label: Option<String>,
    /// The card that priced all usage; that of the environment has the hash of its content.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rate_card_version: Option<String>,
    /// What the ledger holds for the same days, estimates apart.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub posted: Option<String>,
    /// The ledger's own estimates for the same days.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub posted_memo: Option<String>,
    /// By which factor every price would have to change for the total to be `posted`; null when one of both is not
    /// positive.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    pub calibration: Option<Option<String>>,
    /// Prices 100 times or more away from those of the published card.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub price_warnings: Option<Vec<String>>,
    /// Keys of the environment's card that price no known meter.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub unknown_keys: Option<Vec<String>>,
    /// How often a metric of the snapshots of these days is degraded or missing, such as `degraded storage_bytes 12`;
    /// absent for tenants.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub gaps: Option<Vec<String>>,
}

/// Cost by any dimension.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct CostsBody {
    /// The rows of this page.
    pub rows: Vec<CostRowBody>,
    /// Totals over all pages.
    pub totals: CostTotalsBody,
    /// What the answer says about itself.
    pub meta: CostMetaBody,
    /// Where the next page begins; null on the last one.
    pub next_cursor: Option<String>,
}

/// Returns what tenants, pools or any other dimension cost.
#[utoipa::path(get, path = "/api/v1/costs", tag = "costs", params(CostParams), responses((status = 200, body = CostsBody)))]
pub async fn list_costs(
    reader: CostReader,
    State(app): State<App>,
    query: QueryPairs,
    asked: ListAsked,
) -> Result<Response, ApiError> {
    let (names, pairs): (Vec<_>, Vec<_>) = query.0.into_iter().partition(|(name, _)| name == "names");
    let names = flag(&mut QueryPairs(names).params()?, "names")?;
    let query = CostQuery::parse(&pairs, &app.cost_limits())?;
    let scope = reader.scope_in(query.view)?;
    let mut body = to_api_costs(app.engine.costs(scope, &query).await?);
    if names {
        app.name_tenants(scope, &mut body.rows).await?;
    }
    if asked.is_csv() {
        let (columns, rows) = flat(&body, &query)?;
        return asked.answer(&serde_json::json!({ "rows": rows }), || columns, body.next_cursor.as_deref());
    }
    asked.answer(&body, Vec::new, body.next_cursor.as_deref())
}

impl App {
    /// Gives rows of tenants the names that these have today.
    async fn name_tenants(&self, scope: &TenantScope, rows: &mut [CostRowBody]) -> Result<(), ApiError> {
        let tenant_of = |row: &CostRowBody| row.key.get("tenant").and_then(Value::as_str).map(str::to_owned);
        let ids: BTreeSet<String> = rows.iter().filter_map(tenant_of).collect();
        let names = self.tenant_names(scope, ids.iter().map(String::as_str)).await?;
        for row in rows {
            if let Some(known) = tenant_of(row).and_then(|tenant| names.get(&tenant)) {
                (row.name, row.slug) = known.clone();
            }
        }
        Ok(())
    }

    /// Returns name and slug of these tenants today; those that nobody knows are left out.
    pub(crate) async fn tenant_names<'a>(
        &self,
        scope: &TenantScope,
        ids: impl Iterator<Item = &'a str>,
    ) -> Result<BTreeMap<String, TenantNames>, ApiError> {
        let today = self.today().to_string();
        let known = self.catalog().facts_of_tenants(scope, &ids.collect::<Vec<_>>()).await?;
        let named = known.into_iter().filter_map(|(tenant, facts)| {
            let fact = fact_on(&facts, &today).or(facts.last())?;
            Some((tenant, (fact.name.clone(), fact.slug.clone())))
        });
        Ok(named.collect())
    }
}

/// Name and slug of a tenant.
pub(crate) type TenantNames = (Option<String>, Option<String>);

fn to_api_costs(table: CostTable) -> CostsBody {
    let meta = to_api_meta(table.meta, table.totals.reserved.is_some());
    CostsBody {
        rows: table.rows.into_iter().map(to_api_row).collect(),
        totals: to_api_totals(table.totals),
        meta,
        next_cursor: table.next_cursor,
    }
}

fn to_api_row(row: CostRow) -> CostRowBody {
    let parts = row.parts;
    CostRowBody {
        key: row.key.into_iter().map(|(name, value)| (name, Value::String(value))).collect(),
        name: None,
        slug: None,
        rank: row.rank.map(|rank| RankBody { place: rank.place, of: rank.of }),
        cost: money(row.cost),
        direct: parts.map(|parts| money(parts.direct)),
        amortized: parts.map(|parts| money(parts.amortized)),
        pending: parts.map(|parts| money(parts.pending)),
        share: row.share.map(share),
        previous: row.previous.map(|previous| money(previous.cost)),
        change: row.previous.map(|previous| money(previous.change)),
        series: row.series.map(|series| series.into_iter().map(|(date, cost)| (day(date), money(cost))).collect()),
        usage: row
            .usage
            .map(|usage| usage.iter().map(|(meter, atoms)| (meter.to_string(), quantity(*atoms))).collect()),
    }
}

fn to_api_totals(totals: CostTotals) -> CostTotalsBody {
    let reserved = totals.reserved;
    CostTotalsBody {
        cost: money(totals.cost),
        overhead: reserved.map(|reserved| money(reserved.overhead)),
        idle: reserved.map(|reserved| money(reserved.idle)),
        unattributed: reserved.map(|reserved| money(reserved.unattributed)),
        unconsumed: reserved.map(|reserved| money(reserved.unconsumed)),
        variance: reserved.map(|reserved| money(reserved.variance)),
        memo: money(totals.memo),
    }
}

/// What amounts at current rates are called wherever they stand.
const ESTIMATE: &str = "at current rates: estimate, not a bill";

fn to_api_meta(meta: CostMeta, is_full: bool) -> CostMetaBody {
    let current = meta.current.as_ref();
    let range_of =
        |range: DayRange| RangeBody { from: day(range.from()), to: day(range.to()), timezone: meta.timezone.clone() };
    CostMetaBody {
        range: range_of(meta.range),
        compared: meta
            .compared
            .map(|found| ComparedBody { range: range_of(found.range), previous: range_of(found.previous) }),
        currency: meta.currency.to_string(),
        view: match meta.view {
            View::Posted => "posted".to_owned(),
            View::CurrentRates => "current_rates".to_owned(),
        },
        as_of: meta.as_of,
        data_through: meta.data_through.map(day),
        pending_days: meta.pending_days,
        policy_versions: meta.policy_versions,
        estimated: !meta.estimated.is_empty(),
        estimated_periods: is_full.then(|| meta.estimated.iter().map(to_api_estimated).collect()),
        conservation: meta.conservation.map(to_api_conservation),
        coverage: meta.coverage.map(to_api_coverage),
        posting: meta.posting,
        ledger_head: is_full.then_some(meta.ledger_head),
        restated: meta.restated.iter().map(to_api_restated).collect(),
        unpriced_metrics: meta.unpriced_metrics,
        label: current.map(|_| ESTIMATE.to_owned()),
        rate_card_version: current.map(|current| current.card.version.clone()),
        posted: current.map(|current| money(current.posted)),
        posted_memo: current.map(|current| money(current.posted_memo)),
        calibration: current.map(|current| current.calibration.map(factor)),
        price_warnings: current.map(|current| current.card.price_warnings.clone()),
        unknown_keys: current.map(|current| current.card.unknown_keys.clone()),
        gaps: current.and_then(|current| current.gaps.clone()),
    }
}

fn to_api_estimated(period: &SourcePeriod) -> EstimatedPeriodBody {
    EstimatedPeriodBody {
        source: period.source.clone(),
        billing_account: period.billing_account.clone(),
        billing_period: period.month.to_string(),
    }
}

/// Returns a restated day with its postings.
pub(super) fn to_api_restated(restated: &RestatedDay) -> RestatedDayBody {
    RestatedDayBody { date: day(restated.day), times: restated.times, postings: restated.postings.clone() }
}

fn to_api_conservation(found: Conservation) -> ConservationBody {
    let unconverted = found.unconverted.into_iter().map(|(currency, atoms)| (currency.to_string(), money(atoms)));
    ConservationBody {
        cost_lines: money(found.cost_lines),
        difference: money(found.difference),
        unconverted: unconverted.collect(),
    }
}

/// Returns coverage as parts of one.
pub(super) fn to_api_coverage(coverage: Coverage) -> CoverageBody {
    CoverageBody {
        measured: part(coverage.measured),
        proxy: part(coverage.proxy),
        idle: part(coverage.idle),
        overhead: part(coverage.overhead),
        variance: part(coverage.variance),
        unattributed: part(coverage.unattributed),
    }
}

/// Column of a meter's quantities: no number of a row is called so.
fn usage_column(meter: &str) -> String {
    format!("usage.{meter}")
}

/// A table for spreadsheets: a column per grouped key, one per number, one per meter used, one per bucket of the series.
fn flat(body: &CostsBody, query: &CostQuery) -> Result<(Vec<String>, Vec<Value>), ApiError> {
    let mut columns: Vec<String> = query.group_by.iter().map(ToString::to_string).collect();
    let numbers = ["cost", "direct", "amortized", "pending", "share", "previous", "change"];
    let buckets = body.rows.first().and_then(|row| row.series.as_ref()).into_iter().flatten();
    let buckets: Vec<String> = buckets.map(|(date, _)| date.clone()).collect();
    let used = body.rows.iter().flat_map(|row| row.usage.iter().flatten());
    let meters: BTreeSet<&str> = used.map(|(meter, _)| meter.as_str()).collect();
    let mut rows = Vec::new();
    for row in &body.rows {
        let Value::Object(numbers) =
            serde_json::to_value(row).map_err(|error| ApiError::Internal(error.to_string()))?
        else {
            continue;
        };
        let mut flat = row.key.clone();
        flat.extend(numbers.into_iter().filter(|(name, _)| !matches!(name.as_str(), "key" | "series" | "usage")));
        let used = row.usage.iter().flatten();
        flat.extend(used.map(|(meter, quantity)| (usage_column(meter), Value::String(quantity.clone()))));
        flat.extend(row.series.iter().flatten().map(|(date, cost)| (date.clone(), Value::String(cost.clone()))));
        rows.push(Value::Object(flat));
    }
    let has = |name: &&str| {
        body.rows.first().is_none_or(|row| match *name {
            "direct" | "amortized" | "pending" => row.direct.is_some(),
            "previous" | "change" => row.previous.is_some(),
            _ => true,
        })
    };
    columns.extend(numbers.iter().filter(|name| has(name)).map(|name| (*name).to_owned()));
    columns.extend(meters.into_iter().map(usage_column));
    columns.extend(buckets);
    Ok((columns, rows))
}
