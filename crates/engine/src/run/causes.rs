//! Why a difference arose: what changed since the day's last run.

use crate::due::{SeenInputs, TouchedDays};
use domain::Day;
use ledger::Cause;

/// Returns why a day's entries differ, the first of: first run, other policy, restated bill, late usage, other
/// rates, exchange rates, facts about tenants.
pub(super) fn cause(day: Day, before: Option<&SeenInputs>, now: &SeenInputs, touched: &TouchedDays) -> Cause {
    let Some(before) = before else { return Cause::First };
    if before.policy != now.policy {
        Cause::NewPolicy
    } else if touched.lines_since(day, before) {
        Cause::BillRestated
    } else if touched.usage_since(day, before) {
        Cause::LateUsage
    } else if before.rate_card != now.rate_card {
        Cause::NewRates
    } else if before.fx != now.fx {
        Cause::Fx
    } else if before.tenants != now.tenants {
        Cause::TenantFacts
    } else {
        Cause::LateUsage
    }
}
