//! What of the lake's past attribution still needs.

use crate::query::columns::rows;
use crate::{Engine, EngineError};
use futures::TryStreamExt;
use serde::Deserialize;
use std::collections::{BTreeMap, BTreeSet};
use storage::lake::Table;

/// What a run noted of its inputs: see `pool_days.inputs`.
#[derive(Deserialize)]
struct Inputs {
    usage: u64,
    /// Runs before there was such a table read none.
    snapshots: Option<u64>,
}

impl Engine {
    /// Returns the versions of `usage` and `snapshots` that postings name as what they were computed from.
    ///
    /// Runs that posted nothing are among them: to keep a little more is harmless.
    ///
    /// # Errors
    /// When the lake cannot be read, or a row does not say what it was computed from.
    pub async fn cited_versions(&self) -> Result<BTreeMap<Table, BTreeSet<u64>>, EngineError> {
        let sql = "SELECT DISTINCT inputs FROM pool_days WHERE inputs IS NOT NULL";
        let mut batches = self.session_now().await?.sql(sql).await?.execute_stream().await?;
        let mut cited: BTreeMap<Table, BTreeSet<u64>> = BTreeMap::new();
        while let Some(batch) = batches.try_next().await? {
            for row in rows(std::slice::from_ref(&batch)) {
                let read = serde_json::from_str::<Inputs>(row.text_or_empty(0));
                let read = read.map_err(|error| crate::books::corrupt("pool_days.inputs", &error))?;
                cited.entry(Table::Usage).or_default().insert(read.usage);
                cited.entry(Table::Snapshots).or_default().extend(read.snapshots);
            }
        }
        Ok(cited)
    }
}
