//! Asking the ledger. Every answer names the posting it shows, and that posting repeats it.
//!
//! Every function takes the caller's [`domain::TenantScope`]; those that cross tenants end in
//! `_all_tenants`. DataFusion filters and sums, `attribution` divides, and what is left here is shape.

/// Which state of the ledger is asked.
pub mod as_of;
/// What the lines of each bill add up to.
pub mod bill_sums;
/// Why a cost changed.
pub mod changes;
/// Shared clusters (S2).
pub mod clusters;
/// Reading the columns of a result.
pub mod columns;
/// Bills, line by line.
pub mod cost_lines;
/// The one query object.
pub mod cost_query;
/// Cost by any dimension.
pub mod costs;
/// How much of the cost was measured.
pub mod coverage;
/// Usage at the prices of one card.
pub mod current;
/// Opaque continuation of a list.
pub mod cursor;
/// Entries as they are.
pub mod entries;
/// Events as they were accepted.
pub mod events;
/// Where one amount comes from.
pub mod explain;
/// The filter language: `cluster:west,east -tier:overhead`.
pub mod filter;
/// Where the money goes, from providers through pools to tenants.
pub mod flows;
/// Which run counts for a day, told by the postings.
pub mod history;
/// What rows can be grouped and filtered by.
pub mod keys;
/// What two states of the ledger differ by.
pub mod ledger_changes;
/// How much of providers' limits is used.
pub mod limits;
/// The current month, as metrics show it.
pub mod month_to_date;
/// Costs that nobody is charged for, and fixed costs.
pub mod overhead;
/// Which rows of a table are of tenants that the caller may see.
mod own;
/// Query parameters of a request, each of them used exactly once.
pub mod params;
/// What went into the pools.
pub mod pool_days;
/// Headers of postings.
pub mod postings;
/// That what went in is what came out.
pub mod proof;
/// What each provider costs in a month.
pub mod provider_costs;
/// How much was used of what providers limit.
pub mod provider_usage;
/// Days that were corrected after they were posted.
mod restated;
/// Sums of neighbouring rows, before grouping.
mod run_sums;
/// Conditions that every question about the ledger shares.
pub mod select;
/// What a policy would do to the lines of a range.
pub mod selection;
/// Pinned tables as DataFusion tables.
pub mod session;
/// Shares of a total.
pub mod shares;
/// Snapshots of tenants, day by day.
pub mod snapshots;
/// Rows of a table as they are.
pub mod table;
/// What pools take of the cost lines as they stand.
pub(crate) mod taken;
/// What the cost of nobody is made of.
pub mod unattributed;
/// What a merged pull request and a completed workflow cost.
pub mod unit_costs;
/// How much was used.
pub mod usage;
/// That nothing was changed.
pub mod verify;

pub use as_of::{AsOf, Head};
pub use changes::{ChangeTerm, CostChanges, CostChangesQuery, PoolChange};
pub use clusters::{ClusterAttribution, ClusterComparison, ClusterTenant, CostBreakdown, TenantBreakdown, TrendPoint};
pub use cost_lines::CostLineFilter;
pub use cost_query::{Clock, Compare, CostQuery, Granularity, Measure, Sort, SortKey, View};
pub use costs::{Compared, Conservation, CostMeta, CostRow, CostTable, CostTotals, CurrentRates, Rank, ReservedTotals};
pub use coverage::Coverage;
pub use current::export::{UsageCsv, UsageDay, UsageExport};
pub use current::simulate::{RateSimulation, SimulatedRow, SimulationQuery};
pub use current::{CurrentCard, UnitCosts};
pub use entries::EntryFilter;
pub use explain::{ExplainQuery, Explanation};
pub use filter::Filter;
pub use flows::{FlowColumn, FlowLink, FlowNode, Flows, FlowsQuery};
pub use keys::GroupKey;
pub use ledger_changes::{LedgerChange, LedgerChanges, LedgerChangesQuery};
pub use limits::LimitStatus;
pub use month_to_date::{MonthToDate, MonthVersion, ResourceUsage, TenantCost};
pub use params::{Params, QueryLimits};
pub use proof::{ProofAnswer, ProofFilter};
pub use provider_costs::ProviderCost;
pub use provider_usage::ResourceDays;
pub use restated::RestatedDay;
pub use table::{Cell, TablePage};
pub use unattributed::{SuggestedRule, Unattributed, UnattributedRow};
pub use unit_costs::{UnitCostQuery, UnitCostTable};
pub use verify::{VerifyFault, VerifyReport};

/// A page of a list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Page<T> {
    /// The rows.
    pub rows: Vec<T>,
    /// Where the next page begins; none on the last one.
    pub next_cursor: Option<String>,
    /// The posting that all pages show; none before the first posting.
    pub posting: Option<i64>,
}
