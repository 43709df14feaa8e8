//! One part of a fixed cost as a FOCUS line.

use domain::Zone;
use domain::policy::FixedPer;

use super::entry::FixedEntry;
use super::schedule::Charge;
use crate::focus::{COLUMN, Cell, CostLine};

/// Returns the line of a charge. All four costs are the amount; its days are those of the zone.
pub(super) fn line(entry: &FixedEntry, charge: &Charge, zone: &Zone) -> CostLine {
    let mut line = CostLine::default();
    line.clear();
    for column in COLUMN.costs() {
        line.set(column, Cell::Decimal(charge.atoms));
    }
    for (column, day) in [
        (COLUMN.charge_period_start, charge.from),
        (COLUMN.charge_period_end, charge.to.plus(1)),
        (COLUMN.billing_period_start, charge.period_from),
        (COLUMN.billing_period_end, charge.period_to.plus(1)),
    ] {
        line.set(column, Cell::Instant(zone.start_of(day)));
    }
    let description = entry.note.as_deref().unwrap_or(&entry.service);
    for (column, text) in [
        (COLUMN.billing_account_id, entry.id.as_str()),
        (COLUMN.resource_id, entry.id.as_str()),
        (COLUMN.billing_currency, entry.currency.code()),
        (COLUMN.service_provider_name, entry.provider.as_str()),
        (COLUMN.invoice_issuer_name, entry.provider.as_str()),
        (COLUMN.service_name, entry.service.as_str()),
        (COLUMN.charge_description, description),
        (COLUMN.charge_category, "Purchase"),
        (COLUMN.charge_frequency, if entry.per == FixedPer::Once { "One-Time" } else { "Recurring" }),
    ] {
        line.set_text(column, text);
    }
    line.tags = entry.tags.iter().map(|(key, value)| (key.clone(), Some(value.clone()))).collect();
    line
}
