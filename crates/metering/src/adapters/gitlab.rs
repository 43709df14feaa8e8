use super::github::MERGED;
use super::made::Draft;
use super::place::AdapterRule;
use super::{Unusable, at, text_at};
use domain::Instant;
use serde_json::{Map, Value};

/// Returns the events of a delivery: one `pr.merged` if a merge request was merged, else none.
///
/// The id is the merge request's, which can be merged once. Its time is `merged_at`, or `updated_at` of servers that do not
/// send the former.
///
/// # Errors
/// [`Unusable`] if a merged merge request does not say which one it is or when it was merged.
///
/// # Source
/// GitLab's webhook "Merge Request Hook", action `merge`.
pub fn events_of(payload: &Value, rule: &AdapterRule) -> Result<Vec<String>, Unusable> {
    let is = |names: &[&str], word: &str| at(payload, names).and_then(Value::as_str) == Some(word);
    if !is(&["object_kind"], "merge_request") || !is(&["object_attributes", "action"], "merge") {
        return Ok(Vec::new());
    }
    let missing = |what: &str| Unusable(format!("a merged merge request without `{what}`"));
    let id = text_at(payload, &["object_attributes", "id"]).ok_or_else(|| missing("object_attributes.id"))?;
    let time_at = |name: &str| Instant::parse_lenient(&text_at(payload, &["object_attributes", name])?).ok();
    let time = time_at("merged_at").or_else(|| time_at("updated_at"));
    let time = time.ok_or_else(|| missing("object_attributes.merged_at"))?;
    let mut data = Map::new();
    for (name, place) in [("number", ["object_attributes", "iid"]), ("url", ["object_attributes", "url"])] {
        if let Some(value) = at(payload, &place) {
            data.insert(name.to_owned(), value.clone());
        }
    }
    let dimensions = rule.dimensions_of(payload);
    let draft = Draft {
        id: format!("merge-request-{id}"),
        source: "gitlab",
        kind: MERGED,
        time,
        dimensions: &dimensions,
        data,
    };
    Ok(vec![draft.text()])
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::adapters::AdapterKind;
    use crate::event::parse_event;
    use domain::dimension::Dimension;
    use serde_json::json;

    fn delivery() -> Value {
        json!({
            "object_kind": "merge_request", "event_type": "merge_request",
            "user": { "id": 1, "name": "Agent", "username": "agent-bot" },
            "project": { "id": 5, "name": "Shop", "namespace": "Acme", "path_with_namespace": "acme/shop" },
            "object_attributes": {
                "id": 9001, "iid": 42, "source_branch": "agent/wf-7", "target_branch": "main", "state": "merged",
                "action": "merge", "title": "Move to the new client", "description": "Workflow-Id: wf-7",
                "updated_at": "2026-11-19 10:15:00 UTC", "url": "https://gitlab.example.com/acme/shop/-/merge_requests/42",
            },
            "labels": [{ "title": "migration" }],
        })
    }

    fn events(payload: &Value) -> Result<Vec<String>, Unusable> {
        let given = [
            ("workflow".to_owned(), vec!["$.object_attributes.description".to_owned()]),
            ("task_class".to_owned(), vec!["$.labels[*].title".to_owned()]),
        ];
        let rule = AdapterRule::new(AdapterKind::Gitlab, &given.into(), Some("Workflow-Id: *")).unwrap();
        events_of(payload, &rule)
    }

    #[test]
    fn a_merged_merge_request_is_one_event() {
        let made = events(&delivery()).unwrap();
        assert_eq!(made.len(), 1);
        let event = parse_event(&made[0]).unwrap().event;
        assert_eq!((&*event.id, &*event.source, &*event.kind), ("merge-request-9001", "gitlab", "pr.merged"));
        assert_eq!(event.time, Some("2026-11-19T10:15:00Z".parse().unwrap()));
        let dimension = |dimension| event.dimensions.get(&dimension);
        assert_eq!(dimension(Dimension::Tenant), Some("Acme"));
        assert_eq!(dimension(Dimension::Repo), Some("acme/shop"));
        assert_eq!(dimension(Dimension::Workflow), Some("wf-7"));
        assert_eq!(dimension(Dimension::TaskClass), Some("migration"));
    }

    #[test]
    fn the_time_of_the_merge_counts_before_that_of_the_last_change() {
        let mut payload = delivery();
        payload["object_attributes"]["merged_at"] = json!("2026-11-19T10:00:00Z");
        let made = events(&payload).unwrap();
        assert!(made[0].contains(r#""time":"2026-11-19T10:00:00Z""#), "{}", made[0]);
    }

    #[test]
    fn other_actions_and_hooks_are_no_event() {
        for action in ["open", "update", "close", "approved"] {
            let mut payload = delivery();
            payload["object_attributes"]["action"] = json!(action);
            assert_eq!(events(&payload), Ok(Vec::new()), "{action}");
        }
        assert_eq!(events(&json!({ "object_kind": "push" })), Ok(Vec::new()));
    }
}
