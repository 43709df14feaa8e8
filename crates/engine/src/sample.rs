//! An engine over empty stores, for unit tests of what callers cannot see.

use crate::{Engine, Settings};
use domain::{FixedClock, Instant};
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
