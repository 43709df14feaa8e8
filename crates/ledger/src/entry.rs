//! One immutable line of the ledger.

use domain::policy::{Basis, Method, Tier};
use domain::{Currency, Day, Instant, Month};
use std::collections::BTreeMap;
use std::sync::Arc;

use crate::canonical::ChainHash;
use crate::difference::Sums;
use crate::key::EntryKey;
use crate::words::{Cause, ChargeClass, EntryKind, Status};

/// One line of the ledger, its columns in their order.
///
/// `amount`, `billed_amount`, `amount_reporting` and `quantity` are differences and may be summed;
/// `unit_price`, `weight` and `pool_amount` state the new absolute value and must not be.
/// Close and reopen are one line with `billing_month`, zero amounts and all else null.
///
/// # Units
/// `quantity` in atoms of 10⁻⁹; every other number in atoms of 10⁻¹⁵.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Number of the posting, from 1.
    pub posting: i64,
    /// Number of the line inside the posting, from 1.
    pub line: i32,
    /// What the entry does.
    pub kind: EntryKind,
    /// When it was booked; the same for all lines of a posting.
    pub booked_at: Instant,
    /// Month on whose statement it stands.
    pub billing_month: Month,
    /// Month of `charge_date`.
    pub charge_month: Option<Month>,
    /// Day on which the cost arose.
    pub charge_date: Option<Day>,
    /// How close the cost is to its cause.
    pub tier: Option<Tier>,
    /// Where the pool's amount comes from.
    pub basis: Option<Basis>,
    /// Whether it is an estimate beside the money.
    pub memo: Option<bool>,
    /// Whether later usage can still change it by rule.
    pub status: Option<Status>,
    /// Why the consumer is a reserved word.
    pub reason: Option<Arc<str>>,
    /// Why this difference arose.
    pub cause: Option<Cause>,
    /// FOCUS ChargeCategory.
    pub charge_category: Option<Arc<str>>,
    /// Correction, if booked in a later month than it arose in.
    pub charge_class: Option<ChargeClass>,
    /// Name of the pool.
    pub pool: Option<Arc<str>>,
    /// How the pool is shared out.
    pub method: Option<Method>,
    /// Who gets the share: joined `by` values or a reserved word.
    pub consumer: Option<Arc<str>>,
    /// Tenant; none with a reserved word, like all dimensions.
    pub tenant: Option<Arc<str>>,
    /// User of the tenant.
    pub user: Option<Arc<str>>,
    /// Workflow of the tenant.
    pub workflow: Option<Arc<str>>,
    /// Repository.
    pub repo: Option<Arc<str>>,
    /// Class of tasks.
    pub task_class: Option<Arc<str>>,
    /// Shared cluster.
    pub cluster: Option<Arc<str>>,
    /// Labels; empty for close and reopen.
    pub labels: BTreeMap<Arc<str>, Arc<str>>,
    /// Canonical JSON of the labels.
    pub labels_key: Option<Arc<str>>,
    /// Provider, when the pool keeps it.
    pub provider: Option<Arc<str>>,
    /// Service, when the pool keeps it.
    pub service: Option<Arc<str>>,
    /// Source of the cost lines, when the pool keeps it.
    pub source: Option<Arc<str>>,
    /// CommitmentDiscountStatus, when the pool keeps it.
    pub commitment_status: Option<Arc<str>>,
    /// InvoiceId, when the pool keeps it.
    pub invoice_id: Option<Arc<str>>,
    /// Category of the meter or service.
    pub category: Option<Arc<str>>,
    /// Meter of the cell.
    pub meter: Option<Arc<str>>,
    /// Unit of the quantity.
    pub unit: Option<Arc<str>>,
    /// Difference of the driver's quantity.
    pub quantity: Option<i128>,
    /// Price per unit.
    pub unit_price: Option<i128>,
    /// Weight of the cell.
    pub weight: Option<i128>,
    /// Amount that was split.
    pub pool_amount: Option<i128>,
    /// Difference of the cost metric.
    pub amount: i128,
    /// Difference of BilledCost.
    pub billed_amount: i128,
    /// Currency of amount and billed_amount.
    pub currency: Option<Currency>,
    /// Difference of the cost metric in the reporting currency.
    pub amount_reporting: i128,
    /// Rate from currency to reporting currency.
    pub fx_rate: Option<i128>,
    /// Day of that rate.
    pub fx_date: Option<Day>,
    /// Version of the policy.
    pub policy_version: Option<Arc<str>>,
    /// Version of the rate card.
    pub rate_card_version: Option<Arc<str>>,
    /// Id of the run that wrote it.
    pub run: Option<Arc<str>>,
    /// Hash of the posting before.
    pub prev_hash: ChainHash,
    /// Hash of this posting.
    pub hash: ChainHash,
}

impl Entry {
    /// Returns an entry with these five columns and all else null or zero.
    #[must_use]
    pub fn blank(posting: i64, line: i32, kind: EntryKind, booked_at: Instant, billing_month: Month) -> Self {
        Self {
            posting,
            line,
            kind,
            booked_at,
            billing_month,
            charge_month: None,
            charge_date: None,
            tier: None,
            basis: None,
            memo: None,
            status: None,
            reason: None,
            cause: None,
            charge_category: None,
            charge_class: None,
            pool: None,
            method: None,
            consumer: None,
            tenant: None,
            user: None,
            workflow: None,
            repo: None,
            task_class: None,
            cluster: None,
            labels: BTreeMap::new(),
            labels_key: None,
            provider: None,
            service: None,
            source: None,
            commitment_status: None,
            invoice_id: None,
            category: None,
            meter: None,
            unit: None,
            quantity: None,
            unit_price: None,
            weight: None,
            pool_amount: None,
            amount: 0,
            billed_amount: 0,
            currency: None,
            amount_reporting: 0,
            fx_rate: None,
            fx_date: None,
            policy_version: None,
            rate_card_version: None,
            run: None,
            prev_hash: ChainHash::ZERO,
            hash: ChainHash::ZERO,
        }
    }

    /// Returns the key, or `None` for close and reopen, which have none.
    #[must_use]
    pub fn key(&self) -> Option<EntryKey> {
        Some(EntryKey {
            charge_date: self.charge_date?,
            tier: self.tier?,
            basis: self.basis?,
            memo: self.memo?,
            status: self.status?,
            charge_category: self.charge_category.clone(),
            pool: self.pool.clone()?,
            method: self.method,
            consumer: self.consumer.clone()?,
            tenant: self.tenant.clone(),
            user: self.user.clone(),
            workflow: self.workflow.clone(),
            repo: self.repo.clone(),
            task_class: self.task_class.clone(),
            cluster: self.cluster.clone(),
            labels_key: self.labels_key.clone()?,
            provider: self.provider.clone(),
            service: self.service.clone(),
            source: self.source.clone(),
            commitment_status: self.commitment_status.clone(),
            invoice_id: self.invoice_id.clone(),
            category: self.category.clone(),
            meter: self.meter.clone(),
            currency: self.currency?,
        })
    }

    /// Returns the measures that may be summed; a quantity of none counts as 0.
    #[must_use]
    pub fn sums(&self) -> Sums {
        Sums {
            amount: self.amount,
            billed_amount: self.billed_amount,
            amount_reporting: self.amount_reporting,
            quantity: self.quantity.unwrap_or_default(),
        }
    }
}
