//! What pools take of the cost lines as they stand, for days of which no posting tells yet.

use crate::books::Books;
use crate::inputs::{lines, repeated};
use crate::{Engine, EngineError};
use attribution::line::AttributeSet;
use attribution::pool::{Component, ComponentKey, Taken, take_lines};
use datafusion::prelude::SessionContext;
use domain::policy::{Policy, Pool, UNATTRIBUTED_POOL};
use domain::{Day, DayRange};
use std::collections::BTreeMap;

/// The lines of a day, handed to the pools of its policy.
pub(crate) struct TakenDay {
    policy: Policy,
    taken: Taken,
}

impl TakenDay {
    /// Returns everything that was taken, also by no pool.
    pub(crate) fn components(&self) -> impl Iterator<Item = (&ComponentKey, &Component)> {
        self.taken.pools.values().chain(self.taken.unattributed.values()).flatten()
    }

    /// Returns the pool of this name, if the policy has one.
    pub(crate) fn pool(&self, name: &str) -> Option<&Pool> {
        self.policy.pools.iter().find(|pool| pool.name == name)
    }

    /// Returns what the pool of this name took.
    pub(crate) fn components_of(&self, name: &str) -> Vec<(&ComponentKey, &Component)> {
        if name == UNATTRIBUTED_POOL {
            return self.taken.unattributed.values().flatten().collect();
        }
        let at = self.policy.pools.iter().position(|pool| pool.name == name);
        at.and_then(|at| self.taken.pools.get(&at)).into_iter().flatten().collect()
    }
}

impl Engine {
    /// Returns what pools take of the session's cost lines on each day of the range; a day without lines takes
    /// nothing.
    pub(crate) async fn taken_in(
        &self,
        session: &SessionContext,
        books: &Books,
        range: DayRange,
    ) -> Result<BTreeMap<Day, TakenDay>, EngineError> {
        let policies = books.policies_in(range);
        let attributes = AttributeSet::needed_by(policies.iter().copied());
        let mut loaded = lines::load(session, range, &self.settings.zone, &attributes).await?;
        let repeated = repeated::first_days(session, &policies, range.to()).await?;
        let taken = |day: Day| {
            let parts = loaded.days.remove(&day).unwrap_or_default();
            let values = repeated.up_to(day, &books.tenants);
            let policy = attribution::expand::expand(&books.policy_on(day).content, &values);
            let taken = take_lines(&policy, &parts, |_| None);
            (day, TakenDay { policy, taken })
        };
        Ok(range.days().map(taken).collect())
    }
}
