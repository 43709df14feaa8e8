//! What people enter: rate cards and policies, exchange rates, fixed costs, adjustments, billing months, tenants, tokens.

use super::{SimulateArgs, SimulateView};
use clap::{Args, Subcommand};
use std::path::PathBuf;

/// `rates …`.
#[derive(Debug, Subcommand)]
pub enum RatesCommand {
    /// What rates and policies have in common
    #[command(flatten)]
    Version(VersionCommand),
    /// Say what a draft would change for each tenant [--range] [--filter], without publishing it
    Simulate {
        /// TOML file
        file: PathBuf,
        /// Only so many rows, the largest changes first
        #[arg(long, value_name = "N")]
        top: Option<u32>,
        /// What it is compared with
        #[arg(long, value_enum, default_value_t = SimulateView::CurrentRates)]
        view: SimulateView,
    },
}

/// `policy …`.
#[derive(Debug, Subcommand)]
pub enum PolicyCommand {
    /// What rates and policies have in common
    #[command(flatten)]
    Version(VersionCommand),
    /// Say what a draft would change for each tenant [--range], without publishing it
    Simulate(SimulateArgs),
}

/// `rates …` and `policy …`.
#[derive(Debug, Subcommand)]
pub enum VersionCommand {
    /// List the versions
    List,
    /// Show a version [default: the newest]
    Show {
        /// Which version
        version: Option<String>,
    },
    /// Check a file without publishing it
    Validate {
        /// TOML file
        file: PathBuf,
    },
    /// Compare two versions
    Diff {
        /// Old version
        left: String,
        /// New version
        right: String,
    },
    /// Publish a file as a version
    Publish {
        /// TOML file
        file: PathBuf,
    },
}

/// `fx …`.
#[derive(Debug, Subcommand)]
pub enum FxCommand {
    /// Import rates: CSV (date,from,to,rate), the ECB's CSV, or JSON
    Import {
        /// File, or `-`
        #[arg(value_name = "FILE|-")]
        path: PathBuf,
    },
    /// List the rates
    List,
}

/// `fixed-costs …`.
#[derive(Debug, Subcommand)]
pub enum FixedCostsCommand {
    /// Add a cost; --from and --to give its days
    Add(FixedCostArgs),
    /// List the costs
    List,
    /// Remove a cost
    Rm {
        /// Id, as `list` shows it
        id: String,
    },
}

/// Flags of `fixed-costs add`.
#[derive(Debug, Args)]
pub struct FixedCostArgs {
    /// Who is paid
    #[arg(long)]
    pub provider: String,
    /// For what
    #[arg(long)]
    pub service: Option<String>,
    /// How much each period costs, such as 310.00
    #[arg(long, allow_hyphen_values = true)]
    pub amount: String,
    /// In which currency
    #[arg(long)]
    pub currency: String,
    /// day, month, year or once
    #[arg(long)]
    pub per: String,
    /// fixed (recurring) or manual
    #[arg(long)]
    pub source: Option<String>,
    /// Free text
    #[arg(long)]
    pub description: Option<String>,
    /// Tag of the cost lines (repeat for more)
    #[arg(long = "tag", value_name = "KEY=VALUE", value_parser = key_and_value)]
    pub tags: Vec<(String, String)>,
}

/// Flags of `adjust`.
#[derive(Debug, Args)]
pub struct AdjustArgs {
    /// Day whose cost is corrected
    #[arg(long, value_name = "DAY")]
    pub date: String,
    /// Who pays less
    #[arg(long, value_name = "TENANT")]
    pub from_tenant: String,
    /// Who pays more
    #[arg(long, value_name = "TENANT")]
    pub to_tenant: String,
    /// How much, such as 127.50
    #[arg(long, allow_hyphen_values = true)]
    pub amount: String,
    /// In which currency
    #[arg(long)]
    pub currency: String,
    /// Why; tenants do not see it
    #[arg(long)]
    pub reason: String,
    /// Where it was decided, such as the number of a ticket
    #[arg(long)]
    pub reference: String,
    /// Book it once however often the command is repeated with this key
    #[arg(long, value_name = "KEY")]
    pub idempotency_key: Option<String>,
}

fn key_and_value(text: &str) -> Result<(String, String), String> {
    let found = text.split_once('=').filter(|(key, _)| !key.is_empty());
    found.map(|(key, value)| (key.to_owned(), value.to_owned())).ok_or_else(|| "write it as key=value".to_owned())
}

/// `period …`.
#[derive(Debug, Subcommand)]
pub enum PeriodCommand {
    /// List the billing months, what stands against closing the next one, and what is not corrected
    List,
    /// Close a month that has ended
    Close {
        /// The month, such as 2026-10
        month: String,
        /// Close it although reasons stand against it
        #[arg(long, requires = "reason")]
        force: bool,
        /// Why it is forced
        #[arg(long, value_name = "TEXT")]
        reason: Option<String>,
    },
    /// Open the latest closed month again
    Reopen {
        /// The month, such as 2026-10
        month: String,
        /// Why
        #[arg(long, value_name = "TEXT")]
        reason: String,
    },
    /// Post the differences of closed months that were too small to be posted by themselves
    Sweep,
    /// List the billing periods of sources: open at the provider, closed or missing
    Sources,
    /// Say that a source's billing period is open or closed
    Source {
        /// The source
        source: String,
        /// The month, such as 2026-10
        #[arg(required_unless_present = "file")]
        month: Option<String>,
        /// open or closed
        #[arg(required_unless_present = "file")]
        state: Option<String>,
        /// Only this billing account
        #[arg(long, value_name = "ACCOUNT")]
        account: Option<String>,
        /// Free text
        #[arg(long, value_name = "TEXT")]
        note: Option<String>,
        /// FOCUS BillingPeriod rows as CSV, instead of a month
        #[arg(long, value_name = "FILE|-", conflicts_with_all = ["month", "state", "account", "note"])]
        file: Option<PathBuf>,
    },
}

/// `tenants …`.
#[derive(Debug, Subcommand)]
#[expect(clippy::large_enum_variant, reason = "one command is parsed per process")]
pub enum TenantsCommand {
    /// List the tenants
    List,
    /// Show one tenant
    Show {
        /// Its id
        id: String,
    },
    /// Create or change a tenant; only the given facts change
    Set(TenantArgs),
}

/// Flags of `tenants set`.
#[derive(Debug, Args)]
pub struct TenantArgs {
    /// Its id
    pub id: String,
    /// Display name
    #[arg(long)]
    pub name: Option<String>,
    /// Display slug
    #[arg(long)]
    pub slug: Option<String>,
    /// Commercial plan
    #[arg(long)]
    pub plan: Option<String>,
    /// active or archived
    #[arg(long)]
    pub status: Option<String>,
    /// Parent tenant
    #[arg(long)]
    pub parent: Option<String>,
    /// Incoming value that means this tenant (repeat for more)
    #[arg(long = "alias", value_name = "VALUE")]
    pub aliases: Vec<String>,
    /// Owner (repeat for more)
    #[arg(long = "owner", value_name = "USER")]
    pub owners: Vec<String>,
    /// Cost centre
    #[arg(long)]
    pub cost_center: Option<String>,
    /// Account for the journal
    #[arg(long)]
    pub gl_account: Option<String>,
    /// showback, chargeback or central
    #[arg(long, value_name = "MODE")]
    pub billing_mode: Option<String>,
    /// Tenant that takes over from --valid-from on
    #[arg(long, value_name = "TENANT")]
    pub merged_into: Option<String>,
    /// First day on which the facts hold
    #[arg(long, value_name = "DAY")]
    pub valid_from: Option<String>,
    /// Last day on which they hold
    #[arg(long, value_name = "DAY")]
    pub valid_to: Option<String>,
}

/// `tokens …`.
#[derive(Debug, Subcommand)]
pub enum TokensCommand {
    /// List the tokens, without their secrets
    List,
    /// Create a token; it is shown once
    Create {
        /// platform_admin, finance, admin, tenant_owner, tenant_viewer, ingest or metrics
        #[arg(long)]
        role: String,
        /// For whom or what
        #[arg(long)]
        name: Option<String>,
        /// Bound to this tenant (repeat for more)
        #[arg(long = "tenant", value_name = "TENANT")]
        tenants: Vec<String>,
        /// What of its role it may do: `read` changes nothing [default: everything]
        #[arg(long = "scope", value_name = "SCOPE")]
        scopes: Vec<String>,
        /// When it ends
        #[arg(long, value_name = "TIME")]
        expires: Option<String>,
    },
    /// Revoke a token
    Revoke {
        /// Id, as `list` shows it
        id: String,
    },
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tag_is_a_key_and_a_value() {
        assert_eq!(key_and_value("team=a=b"), Ok(("team".to_owned(), "a=b".to_owned())));
        assert!(key_and_value("team").is_err() && key_and_value("=a").is_err());
    }
}
