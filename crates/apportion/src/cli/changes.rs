//! Commands that tell what changed, or would change.

use clap::{Args, Subcommand, ValueEnum};
use std::path::PathBuf;

/// `costs …`.
#[derive(Debug, Subcommand)]
pub enum CostsCommand {
    /// Why a tenant's cost changed, in terms that add up exactly
    Changes(CostChangesArgs),
}

/// Flags of `costs changes`.
#[derive(Debug, Args)]
pub struct CostChangesArgs {
    /// Whose cost; a token of one tenant needs it not
    #[arg(long)]
    pub tenant: Option<String>,
    /// Compare with: `prev` (as many days just before) or a range [default: prev]
    #[arg(long, value_name = "RANGE")]
    pub compare: Option<String>,
    /// As known then: a time, a day, or posting:12
    #[arg(long, value_name = "T")]
    pub as_of: Option<String>,
}

/// Flags of `ledger changes`.
#[derive(Debug, Args)]
pub struct LedgerChangesArgs {
    /// The earlier state: a time, a day, or posting:12
    #[arg(long, value_name = "T")]
    pub from_booked: String,
    /// The later state [default: now]
    #[arg(long, value_name = "T")]
    pub to_booked: Option<String>,
    /// Of this tenant
    #[arg(long)]
    pub tenant: Option<String>,
    /// Of this pool
    #[arg(long)]
    pub pool: Option<String>,
    /// Rows per page [default: all rows]
    #[arg(long, value_name = "N")]
    pub limit: Option<u32>,
    /// Continue where `next_cursor` says
    #[arg(long)]
    pub cursor: Option<String>,
}

/// Flags of `policy simulate`.
#[derive(Debug, Args)]
pub struct SimulateArgs {
    /// TOML file
    pub file: PathBuf,
    /// Only so many rows, the largest changes first
    #[arg(long, value_name = "N")]
    pub top: Option<u32>,
}

/// What a draft of prices is compared with.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
#[value(rename_all = "snake_case")]
pub enum SimulateView {
    /// All usage at the draft's prices, beside what rated pools posted.
    #[default]
    CurrentRates,
    /// What runs of the days would post with the draft, against the whole ledger.
    Posted,
}
