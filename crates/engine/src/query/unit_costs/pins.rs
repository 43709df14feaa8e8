//! What unit costs read beside the ledger, the same on all pages.

use crate::books::{Books, Version};
use crate::query::as_of::Head;
use crate::{Engine, EngineError};
use domain::Day;
use domain::policy::Policy;
use serde::{Deserialize, Serialize};
use std::sync::Arc;
use storage::lake::{PinnedTable, Table};

/// The tables and facts that pages read.
#[derive(Debug)]
pub(super) struct Stores {
    /// Raw events.
    pub events: PinnedTable,
    /// Usage.
    pub usage: PinnedTable,
    /// Facts, and events that were taken back, count up to this many microseconds.
    pub facts: i64,
    /// Tenants and policies in the state that is asked for.
    pub books: Books,
}

/// What a cursor says of them.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Pins {
    events: u64,
    usage: u64,
    facts: i64,
    /// Hash of the policy whose caps are shown: one that nothing was posted with can be replaced.
    policy: Arc<str>,
}

impl Stores {
    /// Returns the policy whose caps are shown, that of the last day.
    pub(super) fn policy(&self, last_day: Day) -> &Version<Policy> {
        self.books.policy_on(last_day)
    }

    /// Returns what a cursor says of them.
    pub(super) fn pins(&self, last_day: Day) -> Pins {
        Pins {
            events: self.events.version(),
            usage: self.usage.version(),
            facts: self.facts,
            policy: Arc::clone(&self.policy(last_day).sha256),
        }
    }
}

impl Engine {
    /// Returns what the first page reads, or what it read if there are pins.
    ///
    /// # Errors
    /// [`EngineError::InvalidParameter`] if the policy was replaced since the first page; when a store fails.
    pub(super) async fn unit_cost_stores(
        &self,
        head: &Head,
        last_day: Day,
        pins: Option<&Pins>,
    ) -> Result<Stores, EngineError> {
        let events = self.pin_events(pins.map(|pins| pins.events)).await?;
        let (usage, facts) = match pins {
            // After the events: which of the pinned ones were taken back is noted before they can be read.
            None => (self.lake.pin_table(Table::Usage).await?, self.catalog.recorded_high_water().await?),
            Some(pins) => (self.pin_named(Table::Usage, pins.usage).await?, pins.facts),
        };
        let books = self.books(head.recorded_up_to.min(facts)).await?;
        let stores = Stores { events, usage, facts, books };
        if pins.is_some_and(|pins| pins.policy != stores.policy(last_day).sha256) {
            let detail = "the policy changed since the first page; leave the cursor out to start over";
            return Err(EngineError::parameter("cursor", detail));
        }
        Ok(stores)
    }
}
