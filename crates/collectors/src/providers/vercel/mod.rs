//! Vercel: FOCUS charges of a team, and usage from them or from its observability.
//!
//! The amount of a line depends on the days that are asked for, because what a plan includes is spread over them: the
//! days of a billing period that are over are asked for at once, never day by day. Days begin at midnight in Los Angeles.
//! Charges do not say when the billing period begins; the team does, to some.

/// Lines of charges.
mod charges;
/// Usage of a day by metric.
mod observability;
/// When the team's bills begin.
mod team;

use super::collector::{Collected, Collector, Gigabyte, Kind, Spec, Task, as_usual};
use super::credentials::CredentialSpec;
use super::error::CollectError;
use super::fetch::{Allowed, Fetch};
use super::keys::{is_id, read_keys};
use futures::FutureExt as _;
use futures::future::BoxFuture;
use serde::Deserialize;
use std::sync::Arc;

const CHARGES: &str = "/v1/billing/charges";
const QUERY: &str = "/v2/observability/query";
const TEAM: &str = "/v2/teams/{}";

/// What is the same for every source of this kind.
pub static SPEC: Spec = Spec {
    name: "vercel",
    provider: "Vercel",
    bases: &["https://api.vercel.com"],
    allowed: &[Allowed::get(CHARGES), Allowed::post(QUERY), Allowed::get(TEAM)],
    credentials: &[CredentialSpec { key: "token", env: "VERCEL_API_TOKEN", is_required: true }],
    gigabyte: Gigabyte::Gb,
    zone: "America/Los_Angeles",
    final_after_days: 7,
    levels: &[],
    reclassify: as_usual,
};

/// The kind `vercel`.
pub const KIND: Kind = Kind { spec: &SPEC, build };

/// Keys of a source of this kind.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Keys {
    /// Id of the team, `team_…`; none asks for the account of the token.
    team: Option<String>,
    /// Whether charges are read; teams of the plan Hobby have none.
    #[serde(default = "yes")]
    charges: bool,
    /// Whether invocations, bandwidth and GB-hours are read from observability.
    #[serde(default)]
    observability: bool,
}

fn yes() -> bool {
    true
}

fn build(keys: serde_json::Value) -> Result<Arc<dyn Collector>, String> {
    let keys: Keys = read_keys(keys)?;
    if keys.team.as_deref().is_some_and(|team| !is_id(team)) {
        return Err("`team` is the team's id, such as team_9fX; find it in the team's settings".to_owned());
    }
    if keys.observability && keys.team.is_none() {
        return Err("`observability` needs the id of the `team`".to_owned());
    }
    if !keys.charges && !keys.observability {
        return Err("nothing is asked: leave `charges` as it is, or set `observability = true`".to_owned());
    }
    Ok(Arc::new(Vercel { keys }))
}

/// Reads one team.
struct Vercel {
    keys: Keys,
}

impl Vercel {
    /// BillingAccountId of all lines.
    fn account(&self) -> &str {
        self.keys.team.as_deref().unwrap_or("personal")
    }

    async fn collect_all(&self, fetch: &Fetch, task: &Task) -> Result<Collected, CollectError> {
        let mut collected = Collected { account: self.account().to_owned(), ..Collected::default() };
        if self.keys.charges {
            charges::collect(fetch, self.keys.team.as_deref(), &task.period, &mut collected).await?;
            if self.keys.observability {
                // Usage comes from one place, or it would count twice.
                collected.usage.clear();
            }
        }
        if self.keys.observability
            && let Some(team) = &self.keys.team
        {
            observability::collect(fetch, team, task, &mut collected).await?;
        }
        Ok(collected)
    }
}

impl Collector for Vercel {
    fn spec(&self) -> &'static Spec {
        &SPEC
    }

    fn looks_back(&self) -> bool {
        self.keys.observability
    }

    fn billing_day<'a>(&'a self, fetch: &'a Fetch) -> BoxFuture<'a, Result<Option<u8>, CollectError>> {
        match &self.keys.team {
            Some(team) => team::billing_day(fetch, team).boxed(),
            None => async { Ok(None) }.boxed(),
        }
    }

    fn collect<'a>(&'a self, fetch: &'a Fetch, task: &'a Task) -> BoxFuture<'a, Result<Collected, CollectError>> {
        self.collect_all(fetch, task).boxed()
    }
}

#[cfg(test)]
mod tests {
    use super::build;
    use serde_json::json;

    #[test]
    fn each_contradiction_of_the_keys_is_named() {
        let refused = |keys: serde_json::Value| build(keys).err().unwrap_or_default();
        assert_eq!(refused(json!({})), "");
        assert_eq!(refused(json!({ "team": "team_1", "charges": false, "observability": true })), "");
        assert!(refused(json!({ "team": "a/b" })).starts_with("`team` is the team's id"));
        assert!(refused(json!({ "observability": true })).contains("needs the id of the `team`"));
        assert!(refused(json!({ "charges": false })).contains("nothing is asked"));
        assert!(refused(json!({ "teem": "a" })).contains("unknown field `teem`"));
    }
}
