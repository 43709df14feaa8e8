//! CloudEvents in NDJSON.

/// Events of one source; ids count from 0.
#[derive(Clone, Debug, Default)]
pub struct Events {
    lines: Vec<String>,
}

impl Events {
    /// Returns no events yet.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a measurement of a built-in meter by a tenant on a cluster at noon of a day.
    #[must_use]
    pub fn measured(mut self, day: &str, tenant: &str, cluster: &str, meter: &str, value: &str) -> Self {
        let event = serde_json::json!({
            "specversion": "1.0",
            "id": format!("{}", self.lines.len()),
            "source": "testkit",
            "type": meter,
            "time": format!("{day}T12:00:00Z"),
            "tenant": tenant,
            "cluster": cluster,
            "data": { "value": value },
        });
        self.lines.push(event.to_string());
        self
    }

    /// Returns one event per line.
    #[must_use]
    pub fn ndjson(&self) -> String {
        self.lines.join("\n")
    }
}
