//! The lines that no pool takes, by service.

use crate::cells::Cells;
use crate::day::{Computed, DayInputs, NotRun, PoolOutcome, convert_all, converted_parts, unconverted, within_bounds};
use crate::pool::{Component, ComponentKey, Components, Taken};
use crate::share::{Converted, Share, share_out};
use domain::policy::{Basis, Method, Tier, UNATTRIBUTED_POOL};
use domain::tenant::UNATTRIBUTED;
use std::collections::BTreeMap;
use std::sync::Arc;

type ByService = BTreeMap<Option<Arc<str>>, Components>;

/// Returns what becomes of the lines that no pool takes; `None` when there are none.
pub(crate) fn unattributed(inputs: &DayInputs<'_>, taken: &Taken) -> Option<PoolOutcome> {
    if taken.unattributed.is_empty() {
        return None;
    }
    let whole = of_all_services(&taken.unattributed);
    let (not_run, (components, shares, trailed)) = match by_service(inputs, &whole, &taken.unattributed) {
        Ok(computed) => (None, computed),
        Err(not_run) => (Some(not_run), (unconverted(&whole), Vec::new(), Vec::new())),
    };
    Some(PoolOutcome {
        name: UNATTRIBUTED_POOL.to_owned(),
        tier: Tier::Direct,
        basis: Basis::Billed,
        memo: false,
        method: Method::None,
        components,
        shares,
        trailed,
        window: None,
        not_run,
    })
}

fn of_all_services(services: &ByService) -> Components {
    let mut whole = Components::new();
    for (key, component) in services.values().flatten() {
        let total = whole.entry(key.clone()).or_default();
        total.amounts.add(component.amounts);
        total.by_trail.extend(component.by_trail.clone()); // trails name the service: none is met twice
        total.lines += component.lines;
    }
    whole
}

/// Each component is converted once, as a whole, and then divided over the services.
fn by_service(inputs: &DayInputs<'_>, whole: &Components, services: &ByService) -> Result<Computed, NotRun> {
    let pool_components = convert_all(inputs, whole)?;
    let cells = Cells::whole(UNATTRIBUTED, Some("no_pool"));
    let mut shares = Vec::new();
    for entry in &pool_components {
        let parts = parts_of(&entry.key, services);
        let rate = entry.fx.map(|fx| fx.rate);
        let amounts = parts.iter().map(|(_, component)| component.amounts.amount);
        let reporting = converted_parts(entry.reporting, amounts, rate)?;
        for ((service, component), reporting) in parts.into_iter().zip(reporting) {
            let part = Converted { key: &entry.key, component, reporting, rate };
            let labels: BTreeMap<Arc<str>, Arc<str>> =
                service.iter().map(|service| (Arc::from("service"), Arc::clone(service))).collect();
            shares.extend(share_out(&part, &cells, false).into_iter().map(|share| Share {
                weight: None,
                pool_amount: entry.amounts.amount,
                labels: labels.clone(),
                ..share
            }));
        }
    }
    within_bounds((pool_components, shares, Vec::new()))
}

fn parts_of<'s>(key: &ComponentKey, services: &'s ByService) -> Vec<(&'s Option<Arc<str>>, &'s Component)> {
    services.iter().filter_map(|(service, components)| Some((service, components.get(key)?))).collect()
}
