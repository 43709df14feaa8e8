//! What can be typed: commands and flags. A flag is defined once and feeds help and completion.

/// Commands that tell what changed, or would change.
mod changes;
/// Commands for what people enter.
mod entered;
/// Commands for Grafana and Prometheus.
mod observability;
/// Commands for statements and invoices.
mod statements;

pub use changes::{CostChangesArgs, CostsCommand, LedgerChangesArgs, SimulateArgs, SimulateView};
pub use entered::{
    AdjustArgs, FixedCostArgs, FixedCostsCommand, FxCommand, PeriodCommand, PolicyCommand, RatesCommand, TenantArgs,
    TenantsCommand, TokensCommand, VersionCommand,
};
pub use observability::{ObservabilityCommand, ObservabilityExport};
pub use statements::{InvoiceArgs, InvoicesCommand, StatementArgs};

use clap::{Args, Parser, Subcommand, ValueEnum};
use std::path::PathBuf;

/// Turns usage and provider bills into an exact, explainable cost ledger.
#[derive(Debug, Parser)]
#[command(name = "apportion", version, disable_help_subcommand = false, max_term_width = 100)]
pub struct Cli {
    /// Flags that every command takes.
    #[command(flatten)]
    pub globals: Globals,
    /// What to do; without it, help.
    #[command(subcommand)]
    pub command: Option<Command>,
}

/// Flags that every command takes.
#[derive(Clone, Debug, Default, Args)]
#[command(next_help_heading = "Global flags")]
pub struct Globals {
    /// Configuration file [default: ./apportion.toml if it exists]
    #[arg(long, global = true, value_name = "FILE", env = "APPORTION_CONFIG")]
    pub config: Option<PathBuf>,
    /// Ask this server instead of opening the local store
    #[arg(long, global = true, value_name = "URL", env = "APPORTION_SERVER")]
    pub server: Option<String>,
    /// Token for --server
    #[arg(long, global = true, value_name = "TOKEN", env = "APPORTION_TOKEN", hide_env_values = true)]
    pub token: Option<String>,
    /// Output format [default: table]
    #[arg(short, long, global = true, value_enum, value_name = "FORMAT")]
    pub output: Option<Format>,
    /// Days: 7d, 30d, mtd, last_month, qtd, ytd, 2026-10, 2026-10-01..2026-10-31
    #[arg(long, global = true, value_name = "RANGE", conflicts_with_all = ["from", "to"])]
    pub range: Option<String>,
    /// First day
    #[arg(long, global = true, value_name = "DAY")]
    pub from: Option<String>,
    /// Last day, included
    #[arg(long, global = true, value_name = "DAY")]
    pub to: Option<String>,
    /// Terms such as "cluster:shared-west-us -tier:overhead"
    #[arg(long, global = true, value_name = "TERMS", allow_hyphen_values = true)]
    pub filter: Option<String>,
    /// No progress and no notes
    #[arg(short, long, global = true)]
    pub quiet: bool,
    /// More log lines (repeat for more)
    #[arg(short, long, global = true, action = clap::ArgAction::Count)]
    pub verbose: u8,
    /// No colours (also NO_COLOR)
    #[arg(long, global = true)]
    pub no_color: bool,
    /// Answer every question with yes
    #[arg(long, global = true)]
    pub yes: bool,
}

/// How answers are printed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum Format {
    /// A table on a terminal, plain columns when piped.
    #[default]
    Table,
    /// The API's JSON.
    Json,
    /// One JSON object per row.
    Ndjson,
    /// Comma-separated values.
    Csv,
}

/// Every command of this release.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Serve API and scheduled attribution in one process
    Serve(ServeArgs),
    /// Make seeded sample data in a temporary folder, attribute it and serve it
    Demo(DemoArgs),
    /// Write commented configuration files into this folder
    Init(InitArgs),
    /// Validate all configuration and say what each pool selects
    Check,
    /// Show the configuration
    #[command(subcommand)]
    Config(ConfigCommand),
    /// Import bills or usage events
    #[command(subcommand)]
    Import(ImportCommand),
    /// Attribute cost for a range of days and post the differences
    Attribute(AttributeArgs),
    /// Who costs how much
    Costs(CostsArgs),
    /// Explain one cell of the ledger
    Explain(ExplainArgs),
    /// Verify, prove and list the ledger
    #[command(subcommand)]
    Ledger(LedgerCommand),
    /// Merge, expire and vacuum the files of the tables
    #[command(subcommand)]
    Lake(LakeCommand),
    /// Rate cards
    #[command(subcommand)]
    Rates(RatesCommand),
    /// Policies: pools and rules
    #[command(subcommand)]
    Policy(PolicyCommand),
    /// Rates of exchange
    #[command(subcommand)]
    Fx(FxCommand),
    /// Recurring and manual costs
    #[command(subcommand)]
    FixedCosts(FixedCostsCommand),
    /// Move cost from one tenant to another; only another adjustment undoes it
    Adjust(AdjustArgs),
    /// Billing months: list, close, reopen, sweep
    #[command(subcommand)]
    Period(PeriodCommand),
    /// Totals of providers' invoices
    #[command(subcommand)]
    Invoices(InvoicesCommand),
    /// Compare bills with invoices and with the ledger [--range]
    Reconciliation {
        /// Only this source
        #[arg(long, value_name = "NAME")]
        source: Option<String>,
    },
    /// Print the statement of a closed month, as it was issued
    Statement(StatementArgs),
    /// Who can be charged
    #[command(subcommand)]
    Tenants(TenantsCommand),
    /// Access tokens
    #[command(subcommand)]
    Tokens(TokensCommand),
    /// How events become quantities
    #[command(subcommand)]
    Meters(MetersCommand),
    /// Where usage is read from
    #[command(subcommand)]
    Sources(SourcesCommand),
    /// Daily snapshots of the workspaces of applications
    #[command(subcommand)]
    Snapshot(SnapshotCommand),
    /// Runs of attribution
    #[command(subcommand)]
    Runs(RunsCommand),
    /// Export the ledger, the cost lines or the usage
    #[command(subcommand)]
    Export(ExportCommand),
    /// How much of the cost was attributed by measurement, by proxy or not at all
    Coverage,
    /// Cost per merged pull request and per completed workflow
    UnitCosts(UnitCostsArgs),
    /// Dashboard, alerts and scrape job for Grafana and Prometheus
    #[command(subcommand)]
    Observability(ObservabilityCommand),
    /// Print the OpenAPI document
    Openapi,
    /// Print a completion script
    Completion {
        /// For which shell
        shell: clap_complete::Shell,
    },
    /// Print the manual page, for `man -l -`
    Man,
    /// Print the version
    Version,
}

/// Flags of `serve`.
#[derive(Debug, Args)]
pub struct ServeArgs {
    /// Address [default: server.listen]
    #[arg(long, value_name = "ADDRESS")]
    pub listen: Option<String>,
    /// Write log lines as JSON
    #[arg(long)]
    pub log_json: bool,
}

/// Flags of `demo`.
#[derive(Debug, Args)]
pub struct DemoArgs {
    /// How many tenants
    #[arg(long, default_value_t = 40, value_parser = clap::value_parser!(u32).range(4..=2000))]
    pub tenants: u32,
    /// How many days, ending yesterday
    #[arg(long, default_value_t = 90, value_parser = clap::value_parser!(u32).range(1..=400))]
    pub days: u32,
    /// Same seed, same data
    #[arg(long, default_value_t = 7)]
    pub seed: u64,
    /// Last day of the data [default: yesterday]
    #[arg(long, value_name = "DAY")]
    pub until: Option<String>,
    /// Keep the data in this new or empty folder [default: a temporary one]
    #[arg(long, value_name = "DIR")]
    pub folder: Option<PathBuf>,
    /// Address to serve on [default: 127.0.0.1:8082, or a free port]
    #[arg(long, value_name = "ADDRESS")]
    pub listen: Option<String>,
    /// Stop after printing the result
    #[arg(long)]
    pub no_serve: bool,
}

/// Flags of `init`.
#[derive(Debug, Args)]
pub struct InitArgs {
    /// What to start from
    #[arg(long, value_enum)]
    pub preset: Option<Preset>,
}

/// A set of files to start from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Preset {
    /// Tenants of a multi-tenant application
    Saas,
    /// Teams on shared clusters
    Kubernetes,
    /// Workflows of coding agents
    AgentWorkflows,
    /// Teams on a shared log platform
    LogPlatform,
}

/// `config …`.
#[derive(Debug, Subcommand)]
pub enum ConfigCommand {
    /// Print every key and its value; secrets are hidden
    Show {
        /// Say where each value came from
        #[arg(long)]
        origin: bool,
    },
}

/// `import …`.
#[derive(Debug, Subcommand)]
pub enum ImportCommand {
    /// Import FOCUS bills (CSV, Parquet, JSONL; plain, gzip or zstd) as one set
    Focus {
        /// Files or folders
        #[arg(required = true, value_name = "FILE|DIR")]
        paths: Vec<PathBuf>,
        /// Name of the bill's origin
        #[arg(long, value_name = "NAME")]
        source: String,
        /// A bill that shrinks by more than a fifth is meant
        #[arg(long)]
        confirm: bool,
    },
    /// Import usage events (CloudEvents as NDJSON); `-` reads standard input
    Events {
        /// File, or `-`
        #[arg(value_name = "FILE|-")]
        path: PathBuf,
    },
}

/// Flags of `attribute`.
#[derive(Debug, Args)]
pub struct AttributeArgs {
    /// One day
    #[arg(long, value_name = "DAY", conflicts_with_all = ["range", "from", "to", "due"])]
    pub date: Option<String>,
    /// Every day whose inputs changed since it was last attributed
    #[arg(long, conflicts_with_all = ["range", "from", "to"])]
    pub due: bool,
    /// Only this pool (repeat for more)
    #[arg(long = "pool", value_name = "POOL")]
    pub pools: Vec<String>,
    /// Say what would be posted, post nothing
    #[arg(long)]
    pub dry_run: bool,
}

/// Flags of `costs`.
#[derive(Debug, Args)]
#[command(args_conflicts_with_subcommands = true)]
pub struct CostsArgs {
    /// Another question about costs
    #[command(subcommand)]
    pub command: Option<CostsCommand>,
    /// Dimensions, comma-separated: tenant, pool, tier, cluster, label:<key> …
    #[arg(long, default_value = "tenant", value_name = "DIMENSIONS")]
    pub by: String,
    /// none, day, week or month
    #[arg(long, value_name = "STEP")]
    pub granularity: Option<String>,
    /// Compare with the range before: `prev`, or `final` up to the last complete, final day
    #[arg(long, value_name = "WITH")]
    pub compare: Option<String>,
    /// posted or current_rates
    #[arg(long)]
    pub view: Option<String>,
    /// charged or billed
    #[arg(long)]
    pub clock: Option<String>,
    /// amount or billed_amount
    #[arg(long)]
    pub measure: Option<String>,
    /// Entries booked in this currency only
    #[arg(long)]
    pub currency: Option<String>,
    /// `minor` rounds to minor units
    #[arg(long)]
    pub round: Option<String>,
    /// As known then: a time, a day, or posting:12
    #[arg(long, value_name = "T")]
    pub as_of: Option<String>,
    /// Column to sort by, `-` in front for descending
    #[arg(long, allow_hyphen_values = true)]
    pub sort: Option<String>,
    /// Only so many rows
    #[arg(long, value_name = "N")]
    pub top: Option<u32>,
    /// Continue where `next_cursor` says
    #[arg(long)]
    pub cursor: Option<String>,
}

/// Flags of `unit-costs`.
#[derive(Debug, Args)]
pub struct UnitCostsArgs {
    /// workflow, repo or task_class
    #[arg(long, default_value = "workflow", value_name = "DIMENSION")]
    pub by: String,
    /// period (cost of the days) or merged (life-time cost of what was merged in them)
    #[arg(long)]
    pub cohort: Option<String>,
    /// tiered, workflow_local (direct only) or marginal (overhead divided too)
    #[arg(long)]
    pub mode: Option<String>,
    /// As known then: a time, a day, or posting:12
    #[arg(long, value_name = "T")]
    pub as_of: Option<String>,
    /// Column to sort by, `-` in front for descending
    #[arg(long, allow_hyphen_values = true)]
    pub sort: Option<String>,
    /// Only so many rows
    #[arg(long, value_name = "N")]
    pub top: Option<u32>,
    /// Continue where `next_cursor` says
    #[arg(long)]
    pub cursor: Option<String>,
}

/// Flags of `explain`.
#[derive(Debug, Args)]
pub struct ExplainArgs {
    /// Whose cost
    #[arg(long)]
    pub tenant: String,
    /// Of which day
    #[arg(long, value_name = "DAY")]
    pub date: String,
    /// Of which pool [default: all]
    #[arg(long)]
    pub pool: Option<String>,
    /// As known then: a time, a day, or posting:12
    #[arg(long, value_name = "T")]
    pub as_of: Option<String>,
}

/// Which entries or proofs.
#[derive(Debug, Args)]
pub struct LedgerFilter {
    /// Of this day
    #[arg(long, value_name = "DAY")]
    pub charge_date: Option<String>,
    /// Of this pool
    #[arg(long)]
    pub pool: Option<String>,
    /// Of this tenant
    #[arg(long)]
    pub tenant: Option<String>,
    /// Of this posting
    #[arg(long)]
    pub posting: Option<u64>,
    /// As known then: a time, a day, or posting:12
    #[arg(long, value_name = "T")]
    pub as_of: Option<String>,
    /// Rows per page [default: all rows]
    #[arg(long, value_name = "N")]
    pub limit: Option<u32>,
    /// Continue where `next_cursor` says
    #[arg(long)]
    pub cursor: Option<String>,
}

/// Which proofs, and how far they go.
#[derive(Debug, Args)]
pub struct ProofArgs {
    /// Which.
    #[command(flatten)]
    pub filter: LedgerFilter,
    /// Add up every bill around the days again, from the text of its files; exit 7 if one differs or cannot be read
    #[arg(long)]
    pub independent: bool,
}

/// Which page of a list.
#[derive(Debug, Args)]
pub struct PageArgs {
    /// Rows per page [default: all rows]
    #[arg(long, value_name = "N")]
    pub limit: Option<u32>,
    /// Continue where `next_cursor` says
    #[arg(long)]
    pub cursor: Option<String>,
}

/// `ledger …`.
#[derive(Debug, Subcommand)]
pub enum LedgerCommand {
    /// Check file hashes, chain, sums and proofs; exit 7 if one fails
    Verify {
        /// The head that was recorded elsewhere
        #[arg(long, value_name = "SHA256")]
        expect_head: Option<String>,
    },
    /// What went into each pool and day and where it went; exit 7 if a difference is not 0
    Proof(ProofArgs),
    /// The entries
    Entries(LedgerFilter),
    /// The postings, newest first
    Postings(PageArgs),
    /// What was booked between two states, and why
    Changes(LedgerChangesArgs),
}

/// `lake …`.
#[derive(Debug, Subcommand)]
pub enum LakeCommand {
    /// Merge small files of one day into few large ones; no row changes
    Compact,
    /// Take raw events out that are older than retention.events_days; usage and ids stay
    ExpireEvents(DryRunArgs),
    /// Delete files that nothing needs; never of the ledger
    Vacuum(DryRunArgs),
}

/// Whether anything happens.
#[derive(Debug, Args)]
pub struct DryRunArgs {
    /// Say what would go, change nothing
    #[arg(long)]
    pub dry_run: bool,
}

/// `meters …`.
#[derive(Debug, Subcommand)]
pub enum MetersCommand {
    /// List the meters
    List,
    /// Show one meter
    Show {
        /// Its name
        name: String,
    },
    /// Meter stored events that came before the meter, each once
    Backfill {
        /// Its name
        name: String,
        /// First day
        #[arg(long, value_name = "DAY")]
        from: String,
    },
}

/// `sources …`.
#[derive(Debug, Subcommand)]
pub enum SourcesCommand {
    /// List the sources and how each fared
    List,
    /// Read a source now; --from reads hours, of a collector billing periods, from there on again
    Refresh {
        /// Its name
        name: String,
        /// Accept that a billing period of a collector loses more than a fifth of its lines or of its amount
        #[arg(long)]
        confirm: bool,
    },
    /// Ask each query for the last hour, a collector for the current billing period, store nothing
    Test {
        /// Its name
        name: String,
    },
}

/// `snapshot …`.
#[derive(Debug, Subcommand)]
pub enum SnapshotCommand {
    /// Measure every workspace now; a day that is measured again is replaced
    Run {
        /// Day of the snapshots; of a past day counters are measured, levels stay [default: today]
        #[arg(long, value_name = "DAY")]
        date: Option<String>,
        /// Measure, store nothing
        #[arg(long)]
        dry_run: bool,
    },
    /// How the last runs ended
    Status,
}

/// `runs …`.
#[derive(Debug, Subcommand)]
pub enum RunsCommand {
    /// List the runs
    List,
    /// Show one run
    Show {
        /// Its id
        id: String,
    },
}

/// `export …`.
#[derive(Debug, Subcommand)]
pub enum ExportCommand {
    /// Every entry of the ledger
    Ledger(ExportArgs),
    /// Every cost line
    CostLines(ExportArgs),
    /// One row for each workspace and snapshot day, with its cost
    Usage {
        /// current_rates (default) or posted
        #[arg(long)]
        view: Option<String>,
        /// `minor` rounds costs to minor units
        #[arg(long)]
        round: Option<String>,
        /// Where to and how
        #[command(flatten)]
        export: ExportArgs,
    },
}

/// Flags of an export.
#[derive(Debug, Args)]
pub struct ExportArgs {
    /// File format
    #[arg(long, value_enum, default_value_t = ExportFormat::Csv)]
    pub format: ExportFormat,
    /// Write to this file [default: standard output]
    #[arg(long, value_name = "FILE")]
    pub file: Option<PathBuf>,
}

/// Format of an export.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum ExportFormat {
    /// Comma-separated values
    Csv,
    /// One JSON object per line
    Ndjson,
    /// Apache Parquet
    Parquet,
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn the_command_line_is_consistent() {
        crate::later::add_to(Cli::command()).debug_assert();
    }
}
