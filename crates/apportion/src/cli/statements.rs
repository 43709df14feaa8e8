//! What a month ends with: statements, and the invoices that bills are compared with.

use clap::{Args, Subcommand};

/// Flags of `statement`.
#[derive(Debug, Args)]
pub struct StatementArgs {
    /// The month, such as 2026-10
    pub month: String,
    /// Print the journal, debit and credit as CSV
    #[arg(long)]
    pub journal: bool,
    /// Only this tenant's own statement
    #[arg(long, value_name = "TENANT", conflicts_with = "journal")]
    pub tenant: Option<String>,
    /// Which issue, from 1 [default: the newest]
    #[arg(long, value_name = "N")]
    pub issue: Option<u32>,
}

/// `invoices …`.
#[derive(Debug, Subcommand)]
pub enum InvoicesCommand {
    /// Enter the total of an invoice, in place of what was entered of it before
    Add(InvoiceArgs),
    /// List the invoices
    List,
}

/// Flags of `invoices add`.
#[derive(Debug, Args)]
pub struct InvoiceArgs {
    /// Source of the cost lines that it bills
    #[arg(long, value_name = "NAME")]
    pub source: String,
    /// Billing period, such as 2026-10
    #[arg(long, value_name = "MONTH")]
    pub period: String,
    /// Its number, as the lines name it
    #[arg(long, value_name = "NUMBER")]
    pub id: String,
    /// What it adds up to, such as 12480.11
    #[arg(long, value_name = "AMOUNT", allow_hyphen_values = true)]
    pub total: String,
    /// In which currency
    #[arg(long, value_name = "CODE")]
    pub currency: String,
    /// Day of issue
    #[arg(long, value_name = "DAY")]
    pub issued: Option<String>,
    /// Day by which it must be paid
    #[arg(long, value_name = "DAY")]
    pub due: Option<String>,
    /// Free text
    #[arg(long)]
    pub note: Option<String>,
}
