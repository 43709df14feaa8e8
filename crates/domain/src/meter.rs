//! How events become quantities.

use crate::toml_text::{TomlError, parse_toml};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// What a meter's quantity is a kind of; decides the breakdown that cost of it appears in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Category {
    /// CPU and memory.
    Compute,
    /// Bytes at rest.
    Storage,
    /// Bytes in motion.
    Network,
    /// Model usage.
    Ai,
    /// People's time.
    Labor,
    /// Anything else.
    Other,
}

impl Category {
    /// Returns the category's word.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Compute => "compute",
            Self::Storage => "storage",
            Self::Network => "network",
            Self::Ai => "ai",
            Self::Labor => "labor",
            Self::Other => "other",
        }
    }

    /// Returns the category of a cost without a meter, from its FOCUS ServiceCategory.
    #[must_use]
    pub fn of_service_category(service_category: Option<&str>) -> Self {
        match service_category {
            Some("Compute") => Self::Compute,
            Some("Storage") => Self::Storage,
            Some("Networking") => Self::Network,
            Some("AI and Machine Learning") => Self::Ai,
            _ => Self::Other,
        }
    }
}

/// Whether quantities add up over time (counter) or are levels at a time (gauge).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum MeterKind {
    /// Adds up; never negative.
    Counter,
    /// A level: the last value of a day counts.
    Gauge,
}

impl MeterKind {
    /// Returns the kind's word.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Counter => "counter",
            Self::Gauge => "gauge",
        }
    }
}

/// How the values of a day become one quantity.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Aggregation {
    /// Σ value.
    Sum,
    /// Number of events.
    Count,
    /// Smallest value.
    Min,
    /// Largest value.
    Max,
    /// Σ value ÷ number, half-even to 10⁻⁹ at the asked grouping.
    Avg,
    /// Last value per full key, then summed.
    Last,
    /// Distinct values per tenant, labels and day.
    UniqueCount,
}

/// One meter: name, unit, category and how its quantity is read from events.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Meter {
    /// Unique name.
    pub name: String,
    /// FOCUS unit, printed beside every quantity.
    pub unit: String,
    /// Breakdown category.
    pub category: Category,
    /// Counter or gauge.
    pub kind: MeterKind,
    /// CloudEvents type that it meters.
    pub event_type: String,
    /// JSONPath into the event's data; without it every event counts one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub value: Option<String>,
    /// How values become one quantity.
    pub aggregation: Aggregation,
    /// Labels by name, each a JSONPath into the event's data.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub group_by: BTreeMap<String, String>,
}

/// What is wrong with a meter.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum MeterError {
    /// Not readable.
    #[error(transparent)]
    Toml(#[from] TomlError),
    /// Readable but contradictory.
    #[error("meter `{meter}`: {problem}")]
    Invalid {
        /// Name of the meter.
        meter: String,
        /// What is wrong.
        problem: String,
    },
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct MetersFile {
    #[serde(default, rename = "meter")]
    meters: Vec<Meter>,
}

/// Returns the built-in meters with those of the file added; a file's meter replaces the built-in of its name.
///
/// # Errors
/// [`MeterError`] for unreadable text, a name given twice or a definition that makes no sense.
pub fn read_meters(file: &str, text: &str) -> Result<Vec<Meter>, MeterError> {
    let parsed: MetersFile = parse_toml(file, text)?;
    let mut meters: BTreeMap<String, Meter> = builtin().into_iter().map(|meter| (meter.name.clone(), meter)).collect();
    let mut seen = std::collections::BTreeSet::new();
    for meter in parsed.meters {
        check_meter(&meter)?;
        if !seen.insert(meter.name.clone()) {
            return Err(invalid(&meter, "the name is given twice"));
        }
        meters.insert(meter.name.clone(), meter);
    }
    Ok(meters.into_values().collect())
}

/// Returns whether a definition makes sense.
///
/// # Errors
/// [`MeterError::Invalid`] that says what does not.
pub fn check_meter(meter: &Meter) -> Result<(), MeterError> {
    if meter.name.is_empty() || meter.unit.is_empty() || meter.event_type.is_empty() {
        return Err(invalid(meter, "name, unit and event_type must not be empty"));
    }
    if meter.aggregation == Aggregation::UniqueCount && meter.kind != MeterKind::Counter {
        return Err(invalid(meter, "`unique_count` counts the values of a day: its kind must be `counter`"));
    }
    if meter.value.is_none() && meter.aggregation != Aggregation::Count {
        return Err(invalid(meter, "without `value` the aggregation must be `count`"));
    }
    for path in meter.value.iter().chain(meter.group_by.values()) {
        serde_json_path::JsonPath::parse(path)
            .map_err(|error| invalid(meter, &format!("`{path}` is not a JSONPath: {error}")))?;
    }
    Ok(())
}

fn invalid(meter: &Meter, problem: &str) -> MeterError {
    MeterError::Invalid { meter: meter.name.clone(), problem: problem.to_owned() }
}

/// Names that rate cards accept for a built-in meter, with the divisor that turns its quantity into theirs.
pub const RATE_ALIASES: [(&str, &str, u64); 9] = [
    ("storage_gb", "storage_bytes", 1_000_000_000),
    ("storage_gib", "storage_bytes", 1 << 30),
    ("api_call", "api_call_count_24h", 1),
    ("change", "change_count_24h", 1),
    ("incident", "incident_count_24h", 1),
    ("monitored_host", "monitored_host_count", 1),
    ("audit_event", "audit_event_count_24h", 1),
    ("webhook_delivery", "webhook_delivery_count_24h", 1),
    ("celery_task", "celery_task_count_24h", 1),
];

/// Returns the meters that exist without any configuration.
///
/// # Source
/// Spec 2-model, section 6.
#[must_use]
pub fn builtin() -> Vec<Meter> {
    use Category::{Ai, Compute, Labor, Network, Other, Storage};
    use MeterKind::{Counter, Gauge};
    let plain = [
        ("member_count", "Members", Other, Gauge),
        ("api_call_count_24h", "Requests", Compute, Counter),
        ("storage_bytes", "Bytes", Storage, Gauge),
        ("change_count_24h", "Changes", Other, Counter),
        ("incident_count_24h", "Incidents", Other, Counter),
        ("monitored_host_count", "Hosts", Compute, Gauge),
        ("audit_event_count_24h", "Events", Other, Counter),
        ("webhook_delivery_count_24h", "Requests", Network, Counter),
        ("celery_task_count_24h", "Tasks", Compute, Counter),
        ("cpu_core_hours", "Core-Hours", Compute, Counter),
        ("memory_gib_hours", "GiB-Hours", Compute, Counter),
        ("storage_gib_hours", "GiB-Hours", Storage, Counter),
        ("network_gib", "GiB", Network, Counter),
        // What there was of it, used or not: for `capacity` of a pool. No rule splits by these.
        ("cpu_core_hours_capacity", "Core-Hours", Compute, Counter),
        ("memory_gib_hours_capacity", "GiB-Hours", Compute, Counter),
        ("sandbox_seconds", "Seconds", Compute, Counter),
        ("mcp_reads", "Requests", Compute, Counter),
        ("reviewer_minutes", "Minutes", Labor, Counter),
        ("repo_context_reads", "Requests", Other, Counter),
        ("log_ingest_gb", "GB", Network, Counter),
        ("log_stored_gb_days", "GB-Days", Storage, Counter),
        ("log_queries", "Requests", Compute, Counter),
        ("alerts_generated", "Alerts", Other, Counter),
    ];
    let mut meters: Vec<Meter> =
        plain.into_iter().map(|(name, unit, category, kind)| valued(name, unit, category, kind)).collect();
    meters.push(Meter {
        event_type: "llm.completion".to_owned(),
        value: Some("$.tokens".to_owned()),
        group_by: BTreeMap::from(
            [("model", "$.model"), ("direction", "$.direction")].map(|(key, path)| (key.to_owned(), path.to_owned())),
        ),
        ..valued("llm_tokens", "Tokens", Ai, Counter)
    });
    meters.push(Meter {
        event_type: "pr.merged".to_owned(),
        value: None,
        aggregation: Aggregation::Count,
        ..valued("prs_merged", "Pull Requests", Other, Counter)
    });
    meters
}

/// A meter of events of its own name with the value `$.value`.
fn valued(name: &str, unit: &str, category: Category, kind: MeterKind) -> Meter {
    Meter {
        name: name.to_owned(),
        unit: unit.to_owned(),
        category,
        kind,
        event_type: name.to_owned(),
        value: Some("$.value".to_owned()),
        aggregation: if kind == MeterKind::Counter { Aggregation::Sum } else { Aggregation::Last },
        group_by: BTreeMap::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_replaces_built_in_meters_by_name() {
        let text = "[[meter]]\nname = 'log_queries'\nunit = 'Requests'\ncategory = 'other'\nkind = 'counter'\nevent_type = 'q'\naggregation = 'count'";
        let meters = read_meters("meters.toml", text).expect("valid meters");
        let replaced = meters.iter().find(|meter| meter.name == "log_queries").expect("it is there");
        assert_eq!((replaced.event_type.as_str(), meters.len()), ("q", builtin().len()));
    }

    #[test]
    fn distinct_values_add_up_over_days_and_so_need_a_counter() {
        let text = "[[meter]]\nname = 'u'\nunit = 'Users'\ncategory = 'other'\nkind = 'counter'\nevent_type = 'q'\nvalue = '$.u'\naggregation = 'unique_count'";
        assert!(read_meters("meters.toml", text).is_ok());
        assert!(read_meters("meters.toml", &text.replace("'counter'", "'gauge'")).is_err());
        assert!(read_meters("meters.toml", &text.replace("value = '$.u'\n", "")).is_err());
    }
}
