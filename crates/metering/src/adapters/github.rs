use super::made::Draft;
use super::place::AdapterRule;
use super::{Unusable, at, text_at};
use domain::Instant;
use serde_json::{Map, Value};

/// Type of the event that a merge becomes.
pub(super) const MERGED: &str = "pr.merged";

/// Returns the events of a delivery: one `pr.merged` if a pull request was merged, else none.
///
/// The id is the pull request's, which can be merged once; so a delivery that is sent again counts once, and so does the
/// same merge told by two webhooks.
///
/// # Errors
/// [`Unusable`] if a merged pull request does not say which one it is or when it was merged.
///
/// # Source
/// GitHub's webhook event `pull_request`, action `closed`.
pub fn events_of(payload: &Value, rule: &AdapterRule) -> Result<Vec<String>, Unusable> {
    let is_merged = at(payload, &["pull_request", "merged"]) == Some(&Value::Bool(true));
    if at(payload, &["action"]).and_then(Value::as_str) != Some("closed") || !is_merged {
        return Ok(Vec::new());
    }
    let missing = |what: &str| Unusable(format!("a merged pull request without `{what}`"));
    let id = text_at(payload, &["pull_request", "id"]).ok_or_else(|| missing("pull_request.id"))?;
    let time = text_at(payload, &["pull_request", "merged_at"]).and_then(|text| text.parse::<Instant>().ok());
    let time = time.ok_or_else(|| missing("pull_request.merged_at"))?;
    let mut data = Map::new();
    for (name, place) in [("number", ["pull_request", "number"]), ("url", ["pull_request", "html_url"])] {
        if let Some(value) = at(payload, &place) {
            data.insert(name.to_owned(), value.clone());
        }
    }
    let dimensions = rule.dimensions_of(payload);
    let draft = Draft { id: format!("pull-{id}"), source: "github", kind: MERGED, time, dimensions: &dimensions, data };
    Ok(vec![draft.text()])
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::adapters::AdapterKind;
    use crate::event::parse_event;
    use domain::dimension::Dimension;
    use serde_json::json;
    use std::collections::BTreeMap;

    fn delivery() -> Value {
        json!({
            "action": "closed",
            "number": 42,
            "pull_request": {
                "id": 1_234_567_890_u64, "number": 42, "html_url": "https://github.com/acme/shop/pull/42", "state": "closed",
                "title": "Move to the new client", "body": "Text.", "user": { "login": "agent-bot" }, "merged": true,
                "merged_at": "2026-11-19T10:15:00Z", "head": { "ref": "agent/wf-7" }, "base": { "ref": "main" }, "labels": [],
            },
            "repository": { "id": 99, "full_name": "acme/shop", "owner": { "login": "acme" } },
        })
    }

    fn events(payload: &Value) -> Result<Vec<String>, Unusable> {
        let rule = AdapterRule::new(AdapterKind::Github, &BTreeMap::new(), Some("agent/*")).unwrap();
        events_of(payload, &rule)
    }

    #[test]
    fn a_merged_pull_request_is_one_event_with_its_repo_and_workflow() {
        let made = events(&delivery()).unwrap();
        assert_eq!(made.len(), 1);
        let event = parse_event(&made[0]).unwrap().event;
        assert_eq!((&*event.id, &*event.source, &*event.kind), ("pull-1234567890", "github", "pr.merged"));
        assert_eq!(event.time, Some("2026-11-19T10:15:00Z".parse().unwrap()));
        let dimension = |dimension| event.dimensions.get(&dimension);
        assert_eq!(dimension(Dimension::Tenant), Some("acme"));
        assert_eq!(dimension(Dimension::Repo), Some("acme/shop"));
        assert_eq!(dimension(Dimension::Workflow), Some("wf-7"));
        assert_eq!(dimension(Dimension::User), Some("agent-bot"));
        assert_eq!(made, events(&delivery()).unwrap(), "the same delivery gives the same text");
    }

    #[test]
    fn what_is_no_merge_is_no_event() {
        let mut unmerged = delivery();
        unmerged["pull_request"]["merged"] = json!(false);
        let mut opened = delivery();
        opened["action"] = json!("labeled");
        for other in [unmerged, opened, json!({ "zen": "Keep it simple.", "hook_id": 1 }), json!([])] {
            assert_eq!(events(&other), Ok(Vec::new()), "{other}");
        }
    }

    #[test]
    fn a_merge_that_does_not_say_when_is_unusable() {
        let mut payload = delivery();
        payload["pull_request"]["merged_at"] = Value::Null;
        let Unusable(problem) = events(&payload).expect_err("unusable");
        assert_eq!(problem, "a merged pull request without `pull_request.merged_at`");
    }
}
