//! An engine over empty stores and a key of entries, for unit tests of what callers cannot see.

use crate::{Engine, Settings};
use domain::policy::{Basis, Method, Tier};
use domain::{Currency, FixedClock, Instant};
use ledger::{EntryKey, Status};
use std::path::Path;
use std::sync::Arc;
use storage::catalog::Catalog;
use storage::lake::Lake;

/// Returns an engine over empty stores in the folder; its clock stands at noon of 2026-11-20.
pub(crate) async fn engine(folder: &Path) -> Engine {
    let now: Instant = "2026-11-20T12:00:00Z".parse().expect("an instant");
    let lake = Lake::open(&folder.join("lake"), now).await.expect("a lake");
    let catalog = Catalog::open(&folder.join("catalog.db")).await.expect("a catalog");
    Engine::new(Arc::new(lake), Arc::new(catalog), Arc::new(FixedClock::at(now)), Settings::default())
}

/// Returns the key of a tenant's billed cost, in a pool that is divided by use and keeps no detail.
pub(crate) fn entry_key(day: &str, pool: &str, tenant: &str) -> EntryKey {
    EntryKey {
        charge_date: day.parse().expect("a day"),
        tier: Tier::Direct,
        basis: Basis::Billed,
        memo: false,
        status: Status::Final,
        charge_category: None,
        pool: pool.into(),
        method: Some(Method::Proportional),
        consumer: tenant.into(),
        tenant: Some(tenant.into()),
        user: None,
        workflow: None,
        repo: None,
        task_class: None,
        cluster: None,
        labels_key: "{}".into(),
        provider: None,
        service: None,
        source: None,
        commitment_status: None,
        invoice_id: None,
        category: None,
        meter: None,
        currency: Currency::USD,
    }
}
