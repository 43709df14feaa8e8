use domain::Instant;
use serde_json::{Map, Value};

/// Whose event it is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Dimensions {
    pub tenant: Option<String>,
    pub user: Option<String>,
    pub workflow: Option<String>,
    pub repo: Option<String>,
    pub task_class: Option<String>,
}

/// An event that is made of a payload.
pub(super) struct Draft<'d> {
    /// Unique per tenant and source.
    pub id: String,
    /// Who said it.
    pub source: &'d str,
    /// CloudEvents type.
    pub kind: &'d str,
    pub time: Instant,
    pub dimensions: &'d Dimensions,
    pub data: Map<String, Value>,
}

impl Draft<'_> {
    /// Returns the CloudEvent; the same draft gives the same text.
    pub fn text(self) -> String {
        let mut event = Map::new();
        let mut put = |name: &str, value: &str| drop(event.insert(name.to_owned(), Value::String(value.to_owned())));
        put("specversion", "1.0");
        put("id", &self.id);
        put("source", self.source);
        put("type", self.kind);
        put("time", &self.time.to_string());
        let Dimensions { tenant, user, workflow, repo, task_class } = self.dimensions;
        let named = [
            ("tenant", tenant),
            ("user", user),
            ("workflow", workflow),
            ("repo", repo),
            // Names of CloudEvents attributes have no underscore.
            ("taskclass", task_class),
        ];
        for (name, value) in named {
            if let Some(value) = value {
                put(name, value);
            }
        }
        event.insert("data".to_owned(), Value::Object(self.data));
        Value::Object(event).to_string()
    }
}
