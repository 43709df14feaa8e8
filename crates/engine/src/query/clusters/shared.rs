//! Which clusters were shared on a day.

use crate::inputs::usage;
use crate::{Engine, EngineError};
use domain::dimension::Dimension;
use domain::policy::{Pool, PoolKind};
use domain::{Day, DayRange};
use std::collections::BTreeSet;

impl Engine {
    /// Returns the pools of kind cluster whose meters more than one tenant used on the day, by name.
    ///
    /// # Errors
    /// [`EngineError::InvalidParameter`] for a day that has not come, or when a store fails.
    pub async fn shared_clusters_all_tenants(&self, date: Day) -> Result<Vec<String>, EngineError> {
        self.check_not_future("date", date)?;
        let (_, policy) = self.policy_for(date).await?;
        let books = self.books_now().await?;
        let session = self.session_now().await?;
        let mut days = usage::load(&session, DayRange::single(date), &books, &[&policy]).await?;
        let cells = days.remove(&date).unwrap_or_default();
        let is_shared = |pool: &&Pool| {
            let Some(split) = &pool.split else { return false };
            let drives = |meter: &str| match (&split.meter, split.weights.is_empty()) {
                (Some(only), _) => only == meter,
                (None, false) => split.weights.contains_key(meter),
                (None, true) => true,
            };
            let used = cells.iter().filter(|cell| drives(&cell.meter) && cell.fits(&split.drivers));
            used.filter_map(|cell| cell.dimensions.get(&Dimension::Tenant)).collect::<BTreeSet<_>>().len() > 1
        };
        let clusters = policy.pools.iter().filter(|pool| pool.kind == PoolKind::Cluster);
        let mut names: Vec<String> = clusters.filter(is_shared).map(|pool| pool.name.clone()).collect();
        names.sort();
        Ok(names)
    }
}
