use super::made::Dimensions;
use crate::error::MeteringError;
use serde_json::Value;
use serde_json_path::JsonPath;
use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

/// Whose payloads an adapter reads.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum AdapterKind {
    /// Webhooks of GitHub.
    Github,
    /// Webhooks of GitLab.
    Gitlab,
    /// Logs of a LiteLLM proxy.
    Litellm,
    /// Exports of Langfuse.
    Langfuse,
}

impl AdapterKind {
    /// Every kind.
    pub const ALL: [Self; 4] = [Self::Github, Self::Gitlab, Self::Litellm, Self::Langfuse];

    /// Returns the kind's word.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Github => "github",
            Self::Gitlab => "gitlab",
            Self::Litellm => "litellm",
            Self::Langfuse => "langfuse",
        }
    }

    /// Returns whether its payloads come without a token, signed with a secret.
    #[must_use]
    pub const fn is_webhook(self) -> bool {
        matches!(self, Self::Github | Self::Gitlab)
    }

    /// The places that hold unless the configuration names others, by dimension.
    const fn usual_places(self) -> &'static [(&'static str, &'static [&'static str])] {
        match self {
            Self::Github => &[
                ("tenant", &["$.repository.owner.login"]),
                ("user", &["$.pull_request.user.login"]),
                ("workflow", &["$.pull_request.head.ref"]),
                ("repo", &["$.repository.full_name"]),
            ],
            Self::Gitlab => &[
                ("tenant", &["$.project.namespace"]),
                ("user", &["$.user.username"]),
                ("workflow", &["$.object_attributes.source_branch"]),
                ("repo", &["$.project.path_with_namespace"]),
            ],
            Self::Litellm => &[
                ("tenant", &["$.metadata.user_api_key_team_alias", "$.metadata.user_api_key_team_id"]),
                ("user", &["$.end_user", "$.metadata.user_api_key_user_id"]),
                ("workflow", &["$.metadata.requester_metadata.workflow", "$.metadata.spend_logs_metadata.workflow"]),
                ("repo", &["$.metadata.requester_metadata.repo", "$.metadata.spend_logs_metadata.repo"]),
                (
                    "task_class",
                    &["$.metadata.requester_metadata.task_class", "$.metadata.spend_logs_metadata.task_class"],
                ),
            ],
            Self::Langfuse => &[
                ("tenant", &["$.metadata.tenant"]),
                ("user", &["$.userId", "$.metadata.user"]),
                ("workflow", &["$.metadata.workflow"]),
                ("repo", &["$.metadata.repo"]),
                ("task_class", &["$.metadata.task_class"]),
            ],
        }
    }
}

impl fmt::Display for AdapterKind {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(self.as_str())
    }
}

/// The dimensions that a rule may place.
const PLACED: [&str; 5] = ["tenant", "user", "workflow", "repo", "task_class"];

/// Where a dimension stands.
#[derive(Clone, Debug)]
pub enum Place {
    /// It is always this.
    Text(String),
    /// At this path of the payload; of several values the first that can be used.
    Path(JsonPath),
}

impl FromStr for Place {
    type Err = String;

    /// A text that begins with `$` is a JSONPath, any other is the value itself.
    fn from_str(text: &str) -> Result<Self, String> {
        if text.is_empty() {
            return Err("an empty text names no place".to_owned());
        }
        if !text.starts_with('$') {
            return Ok(Self::Text(text.to_owned()));
        }
        JsonPath::parse(text).map(Self::Path).map_err(|error| format!("`{text}` is not a JSONPath: {error}"))
    }
}

/// What of a text is the id of a workflow: what stands for the one `*`.
///
/// The text before the `*` may stand anywhere. The id ends where the text behind the `*` begins, or at a space or the end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WorkflowPattern {
    before: String,
    behind: String,
}

impl WorkflowPattern {
    /// Returns the id of the workflow in the text.
    #[must_use]
    pub fn find<'t>(&self, text: &'t str) -> Option<&'t str> {
        let rest = &text[text.find(&self.before)? + self.before.len()..];
        let word = rest.split(char::is_whitespace).next().unwrap_or_default();
        let id = match self.behind.is_empty() {
            true => word,
            false => &word[..word.find(&self.behind)?],
        };
        (!id.is_empty()).then_some(id)
    }
}

impl FromStr for WorkflowPattern {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let problem = || format!("`{text}` must have one `*`, for the id of the workflow");
        let (before, behind) = text.split_once('*').ok_or_else(problem)?;
        if behind.contains('*') {
            return Err(problem());
        }
        Ok(Self { before: before.to_owned(), behind: behind.to_owned() })
    }
}

/// Where an adapter finds the dimensions of its events.
#[derive(Clone, Debug)]
pub struct AdapterRule {
    kind: AdapterKind,
    /// Places by dimension, tried in this order.
    places: BTreeMap<&'static str, Vec<Place>>,
    pattern: Option<WorkflowPattern>,
}

impl AdapterRule {
    /// Returns the rule of an adapter about which nothing is said.
    ///
    /// # Panics
    /// Never: the usual places are paths.
    #[must_use]
    pub fn usual(kind: AdapterKind) -> Self {
        Self::new(kind, &BTreeMap::new(), None).expect("the usual places are paths")
    }

    /// Returns the rule of these places by dimension; a dimension without any keeps its usual ones.
    ///
    /// # Errors
    /// [`MeteringError::InvalidAdapter`] for a place or pattern that cannot be read, or a dimension that is none.
    pub fn new(
        kind: AdapterKind,
        given: &BTreeMap<String, Vec<String>>,
        pattern: Option<&str>,
    ) -> Result<Self, MeteringError> {
        let invalid = |problem: String| MeteringError::InvalidAdapter { adapter: kind.as_str(), problem };
        let mut places = BTreeMap::new();
        for (name, usual) in kind.usual_places() {
            let read = usual.iter().map(|place| place.parse::<Place>()).collect::<Result<Vec<Place>, String>>();
            places.insert(*name, read.map_err(invalid)?);
        }
        for (name, texts) in given {
            let placed = PLACED.into_iter().find(|placed| *placed == name.as_str());
            let placed = placed.ok_or_else(|| invalid(format!("`{name}` is none of {}", PLACED.join(", "))))?;
            let read = texts.iter().map(|text| text.parse::<Place>()).collect::<Result<Vec<Place>, String>>();
            places.insert(placed, read.map_err(|problem| invalid(format!("{name}: {problem}")))?);
        }
        let pattern = pattern.map(str::parse::<WorkflowPattern>).transpose();
        let pattern = pattern.map_err(|problem| invalid(format!("workflow_pattern: {problem}")))?;
        Ok(Self { kind, places, pattern })
    }

    /// Returns the adapter that it is for.
    #[must_use]
    pub const fn kind(&self) -> AdapterKind {
        self.kind
    }

    /// Returns the dimensions that the payload names.
    pub(super) fn dimensions_of(&self, payload: &Value) -> Dimensions {
        let find = |name: &str, usable: &dyn Fn(&str) -> Option<String>| {
            self.places.get(name)?.iter().find_map(|place| match place {
                Place::Text(text) => Some(text.clone()),
                Place::Path(path) => path.query(payload).iter().find_map(|value| usable(&scalar_text(value)?)),
            })
        };
        let whole = |text: &str| (!text.is_empty()).then(|| text.to_owned());
        let of_pattern = |text: &str| match &self.pattern {
            Some(pattern) => pattern.find(text).map(str::to_owned),
            None => whole(text),
        };
        Dimensions {
            tenant: find("tenant", &whole),
            user: find("user", &whole),
            workflow: find("workflow", &of_pattern),
            repo: find("repo", &whole),
            task_class: find("task_class", &whole),
        }
    }
}

/// The text of a string or number.
fn scalar_text(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => Some(text.clone()),
        Value::Number(number) => Some(number.to_string()),
        Value::Null | Value::Bool(_) | Value::Array(_) | Value::Object(_) => None,
    }
}

/// The adapters of the configuration.
#[derive(Clone, Debug, Default)]
pub struct Adapters(BTreeMap<AdapterKind, AdapterRule>);

impl Adapters {
    /// Returns the adapters with these rules, the last of a kind counts.
    #[must_use]
    pub fn new(rules: impl IntoIterator<Item = AdapterRule>) -> Self {
        Self(rules.into_iter().map(|rule| (rule.kind, rule)).collect())
    }

    /// Returns the rule of a kind: the one given, else the usual one.
    #[must_use]
    pub fn rule(&self, kind: AdapterKind) -> AdapterRule {
        self.0.get(&kind).cloned().unwrap_or_else(|| AdapterRule::usual(kind))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn rule(given: &[(&str, &[&str])], pattern: Option<&str>) -> Result<AdapterRule, String> {
        let owned = |texts: &[&str]| texts.iter().map(|text| (*text).to_owned()).collect::<Vec<String>>();
        let given = given.iter().map(|(name, texts)| ((*name).to_owned(), owned(texts))).collect();
        AdapterRule::new(AdapterKind::Github, &given, pattern).map_err(|error| error.to_string())
    }

    #[test]
    fn the_id_of_a_workflow_stands_for_the_star() {
        let find =
            |pattern: &str, text: &str| pattern.parse::<WorkflowPattern>().unwrap().find(text).map(str::to_owned);
        assert_eq!(find("agent/*", "agent/wf-7").as_deref(), Some("wf-7"));
        assert_eq!(find("agent/*/", "refs/agent/wf-7/fix").as_deref(), Some("wf-7"));
        assert_eq!(find("Workflow-Id: *", "Text.\n\nWorkflow-Id: wf-7\nMore").as_deref(), Some("wf-7"));
        assert_eq!(find("[*]", "Fix it [wf-7] now").as_deref(), Some("wf-7"));
        assert_eq!(find("*", "wf-7 and more").as_deref(), Some("wf-7"));
        for (pattern, text) in [("agent/*", "feature/x"), ("agent/*", "agent/"), ("[*]", "[wf 7]"), ("[*]", "[]")] {
            assert_eq!(find(pattern, text), None, "{pattern} {text}");
        }
        for pattern in ["agent", "*-*", ""] {
            assert!(pattern.parse::<WorkflowPattern>().is_err(), "{pattern}");
        }
    }

    #[test]
    fn places_are_tried_in_order_and_values_until_one_can_be_used() {
        let given: [(&str, &[&str]); 3] =
            [("tenant", &["acme"]), ("workflow", &["$.none", "$.labels[*].name"]), ("task_class", &["$.number"])];
        let payload = json!({ "labels": [{ "name": "bug" }, { "name": "workflow:wf-7" }], "number": 5 });
        let found = rule(&given, Some("workflow:*")).unwrap().dimensions_of(&payload);
        let expected = Dimensions {
            tenant: Some("acme".to_owned()),
            workflow: Some("wf-7".to_owned()),
            task_class: Some("5".to_owned()),
            ..Dimensions::default()
        };
        assert_eq!(found, expected);
    }

    #[test]
    fn what_cannot_be_read_is_refused_with_its_adapter() {
        let refused = |given: &[(&str, &[&str])], pattern| rule(given, pattern).expect_err("refused");
        assert_eq!(
            refused(&[("team", &["x"])], None),
            "ingest.adapter `github`: `team` is none of tenant, user, workflow, repo, task_class"
        );
        assert!(
            refused(&[("repo", &["$["])], None).starts_with("ingest.adapter `github`: repo: `$[` is not a JSONPath")
        );
        assert!(refused(&[("repo", &[""])], None).contains("names no place"));
        assert!(refused(&[], Some("x")).contains("workflow_pattern: `x` must have one `*`"));
    }

    #[test]
    fn every_kind_has_usual_places() {
        for kind in AdapterKind::ALL {
            assert_eq!(AdapterRule::usual(kind).kind(), kind);
        }
    }
}
