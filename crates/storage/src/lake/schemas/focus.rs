//! FOCUS Cost and Usage, versions 1.0 to 1.4: every column with the name it has in `cost_lines`.
//!
//! `Tags` is not listed: it is parsed into the map `tags`. A column that stands neither here nor in
//! [`ALIASES`] is kept in the map `x` under the provider's name.

use arrow::datatypes::DataType;

use super::{instant, money, quantity};

/// How a FOCUS column is stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Costs and unit prices: `Decimal128(38, 15)`.
    Money,
    /// `Decimal128(38, 9)`.
    Quantity,
    /// Begin and end of periods: microseconds, UTC.
    Instant,
    /// Everything else; JSON columns too, as the text that was sent.
    Text,
}

impl Kind {
    /// The Arrow type of the column.
    pub fn data_type(self) -> DataType {
        match self {
            Self::Money => money(),
            Self::Quantity => quantity(),
            Self::Instant => instant(),
            Self::Text => DataType::Utf8,
        }
    }
}

/// One FOCUS column.
#[derive(Clone, Copy, Debug)]
pub struct Column {
    /// Name in FOCUS, e.g. `BilledCost`.
    pub focus: &'static str,
    /// Name in `cost_lines`, e.g. `billed_cost`.
    pub name: &'static str,
    /// How it is stored.
    pub kind: Kind,
}

const fn column(focus: &'static str, name: &'static str, kind: Kind) -> Column {
    Column { focus, name, kind }
}

/// Older FOCUS names and the column that took their place. Where a file has both, the newer one
/// fills the column and the older one belongs into `x`.
pub const ALIASES: &[(&str, &str)] = &[("ProviderName", "service_provider_name")];

/// The column that a FOCUS header name (of any version) fills, compared exactly.
pub fn column_of(focus: &str) -> Option<&'static Column> {
    let alias = ALIASES.iter().find(|(old, _)| *old == focus).map(|(_, name)| *name);
    COLUMNS.iter().find(|column| column.focus == focus || alias == Some(column.name))
}

/// All columns, by FOCUS name.
pub const COLUMNS: &[Column] = &[
    column("AllocatedMethodDetails", "allocated_method_details", Kind::Text), // JSON
    column("AllocatedMethodId", "allocated_method_id", Kind::Text),
    column("AllocatedResourceId", "allocated_resource_id", Kind::Text),
    column("AllocatedResourceName", "allocated_resource_name", Kind::Text),
    column("AllocatedTags", "allocated_tags", Kind::Text), // JSON
    column("AvailabilityZone", "availability_zone", Kind::Text),
    column("BilledCost", "billed_cost", Kind::Money),
    column("BillingAccountId", "billing_account_id", Kind::Text),
    column("BillingAccountName", "billing_account_name", Kind::Text),
    column("BillingAccountType", "billing_account_type", Kind::Text),
    column("BillingCurrency", "billing_currency", Kind::Text),
    column("BillingPeriodEnd", "billing_period_end", Kind::Instant),
    column("BillingPeriodStart", "billing_period_start", Kind::Instant),
    column("CapacityReservationId", "capacity_reservation_id", Kind::Text),
    column("CapacityReservationStatus", "capacity_reservation_status", Kind::Text),
    column("ChargeCategory", "charge_category", Kind::Text),
    column("ChargeClass", "charge_class", Kind::Text),
    column("ChargeDescription", "charge_description", Kind::Text),
    column("ChargeFrequency", "charge_frequency", Kind::Text),
    column("ChargePeriodEnd", "charge_period_end", Kind::Instant),
    column("ChargePeriodStart", "charge_period_start", Kind::Instant),
    column("CommitmentDiscountCategory", "commitment_discount_category", Kind::Text),
    column("CommitmentDiscountId", "commitment_discount_id", Kind::Text),
    column("CommitmentDiscountName", "commitment_discount_name", Kind::Text),
    column("CommitmentDiscountQuantity", "commitment_discount_quantity", Kind::Quantity),
    column("CommitmentDiscountStatus", "commitment_discount_status", Kind::Text),
    column("CommitmentDiscountType", "commitment_discount_type", Kind::Text),
    column("CommitmentDiscountUnit", "commitment_discount_unit", Kind::Text),
    column("CommitmentProgramEligibilityDetails", "commitment_program_eligibility_details", Kind::Text), // JSON
    column("ConsumedQuantity", "consumed_quantity", Kind::Quantity),
    column("ConsumedUnit", "consumed_unit", Kind::Text),
    column("ContractApplied", "contract_applied", Kind::Text), // JSON
    column("ContractedCost", "contracted_cost", Kind::Money),
    column("ContractedUnitPrice", "contracted_unit_price", Kind::Money),
    column("EffectiveCost", "effective_cost", Kind::Money),
    column("HostProviderName", "host_provider_name", Kind::Text),
    column("InvoiceDetailId", "invoice_detail_id", Kind::Text),
    column("InvoiceId", "invoice_id", Kind::Text),
    column("InvoiceIssuerName", "invoice_issuer_name", Kind::Text),
    column("ListCost", "list_cost", Kind::Money),
    column("ListUnitPrice", "list_unit_price", Kind::Money),
    column("PricingCategory", "pricing_category", Kind::Text),
    column("PricingCurrency", "pricing_currency", Kind::Text),
    column("PricingCurrencyContractedUnitPrice", "pricing_currency_contracted_unit_price", Kind::Money),
    column("PricingCurrencyEffectiveCost", "pricing_currency_effective_cost", Kind::Money),
    column("PricingCurrencyListUnitPrice", "pricing_currency_list_unit_price", Kind::Money),
    column("PricingQuantity", "pricing_quantity", Kind::Quantity),
    column("PricingUnit", "pricing_unit", Kind::Text),
    column("PublisherName", "publisher_name", Kind::Text), // until 1.3
    column("RegionId", "region_id", Kind::Text),
    column("RegionName", "region_name", Kind::Text),
    column("ResourceId", "resource_id", Kind::Text),
    column("ResourceName", "resource_name", Kind::Text),
    column("ResourceType", "resource_type", Kind::Text),
    column("ServiceCategory", "service_category", Kind::Text),
    column("ServiceName", "service_name", Kind::Text),
    column("ServiceProviderName", "service_provider_name", Kind::Text),
    column("ServiceSubcategory", "service_subcategory", Kind::Text),
    column("SkuId", "sku_id", Kind::Text),
    column("SkuMeter", "sku_meter", Kind::Text),
    column("SkuPriceDetails", "sku_price_details", Kind::Text), // JSON
    column("SkuPriceId", "sku_price_id", Kind::Text),
    column("SubAccountId", "sub_account_id", Kind::Text),
    column("SubAccountName", "sub_account_name", Kind::Text),
    column("SubAccountType", "sub_account_type", Kind::Text),
];
