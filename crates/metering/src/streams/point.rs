use crate::json::{Json, write_canonical};
use serde_json::{Map, Value};
use std::collections::BTreeMap;
use std::sync::Arc;

/// Longest source that names a stream in full; a longer one is a hash.
const SOURCE_BYTES_MAX: usize = 1024;
/// Different reasons kept of all that a push was refused for.
const REASONS_MAX: usize = 3;
/// Longest reason kept.
const REASON_CHARS_MAX: usize = 300;

/// Attributes or labels by name.
pub type Attributes = BTreeMap<String, Value>;

/// Who pushes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Protocol {
    /// OpenTelemetry.
    Otlp,
    /// Prometheus remote write.
    Prometheus,
}

/// What a stream of values is of: its metric and all its attributes.
#[derive(Clone, Debug, PartialEq)]
pub struct Series {
    /// Who pushes it.
    pub protocol: Protocol,
    /// Name of the metric.
    pub metric: String,
    /// Attributes of the data point, or labels.
    pub point: Attributes,
    /// Attributes of the resource.
    pub resource: Arc<Attributes>,
    /// Attributes of the instrumentation scope, its name and version among them.
    pub scope: Arc<Attributes>,
}

impl Series {
    /// Returns the text of an attribute: of the data point, else of the resource, else of the scope.
    ///
    /// What is empty or no text, number or boolean counts as absent.
    #[must_use]
    pub fn find(&self, name: &str) -> Option<String> {
        let found = self.point.get(name).or_else(|| self.resource.get(name)).or_else(|| self.scope.get(name));
        found.and_then(|value| Json::of(value).scalar_text().map(str::to_owned)).filter(|text| !text.is_empty())
    }

    /// Returns the one text that equal series share: the source of their events.
    #[must_use]
    pub fn source(&self) -> String {
        let word = match self.protocol {
            Protocol::Otlp => "otlp",
            Protocol::Prometheus => "prometheus",
        };
        let mut identity = Map::new();
        identity.insert("metric".to_owned(), Value::String(self.metric.clone()));
        for (name, attributes) in [("point", &self.point), ("resource", &*self.resource), ("scope", &*self.scope)] {
            if !attributes.is_empty() {
                identity.insert(name.to_owned(), attributes.clone().into_iter().collect());
            }
        }
        let mut canonical = Vec::new();
        write_canonical(&Json::of(&Value::Object(identity)), &mut canonical);
        if canonical.len() <= SOURCE_BYTES_MAX {
            format!("{word}:{}", String::from_utf8_lossy(&canonical))
        } else {
            format!("{word}:blake3:{}", blake3::hash(&canonical))
        }
    }
}

/// What the value of a point means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PointKind {
    /// What was added since the point before.
    Delta,
    /// All that was added since the start.
    Cumulative,
    /// A level.
    Gauge,
    /// Nobody said; the kind of the meter decides between cumulative and gauge.
    Unsaid,
}

/// One pushed value.
#[derive(Clone, Debug, PartialEq)]
pub struct Point {
    /// What it is of.
    pub series: Arc<Series>,
    /// Its time in nanoseconds since 1970.
    pub at_nanos: i64,
    /// Since when it counts, in nanoseconds since 1970; not after its time.
    pub start_nanos: Option<i64>,
    /// A finite decimal.
    pub value: String,
    /// What the value means.
    pub kind: PointKind,
}

/// What a push holds.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Pushed {
    /// The points of mapped metrics.
    pub points: Vec<Point>,
    /// All points, also of metrics that are not mapped.
    pub received: u64,
    /// Points that are none of ours: of metrics that are not mapped, or markers without a value.
    pub skipped: u64,
    /// What cannot be counted.
    pub refused: Refused,
}

/// How many points were refused, and why.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Refused {
    /// How many.
    pub count: u64,
    /// The first few reasons that differ.
    pub reasons: Vec<String>,
}

impl Refused {
    /// Refuses so many points.
    pub fn add(&mut self, count: u64, reason: impl AsRef<str>) {
        self.count += count;
        let reason: String = reason.as_ref().chars().take(REASON_CHARS_MAX).collect();
        if self.reasons.len() < REASONS_MAX && !self.reasons.contains(&reason) {
            self.reasons.push(reason);
        }
    }

    /// Adds what somebody else refused.
    pub fn merge(&mut self, other: &Self) {
        self.count += other.count;
        other.reasons.iter().for_each(|reason| self.add(0, reason));
    }

    /// Returns a sentence about all of them.
    #[must_use]
    pub fn message(&self, what: &str) -> String {
        format!("{} {what} refused: {}", self.count, self.reasons.join("; "))
    }
}

/// How much one push may hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PushLimits {
    /// Bytes after decompression.
    pub decoded_bytes_max: u64,
    /// Series, mapped or not.
    pub series_max: usize,
    /// Points of mapped metrics.
    pub points_max: u64,
}

/// Why nothing of a push was taken.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PushError {
    /// It cannot be read.
    #[error("{0}")]
    Undecodable(String),
    /// It is of a kind that is not taken.
    #[error("{0}")]
    Unsupported(String),
    /// It decompresses to too many bytes.
    #[error("more than {0} bytes after decompression")]
    DecodedTooLarge(u64),
    /// It holds too many series.
    #[error("more than {0} series")]
    TooManySeries(usize),
    /// It holds too many points of mapped metrics.
    #[error("more than {0} points of mapped metrics")]
    TooManyPoints(u64),
}

/// Returns the shortest decimal that reads back as the double; `None` for infinities and what is no number.
pub(super) fn decimal_text(value: f64) -> Option<String> {
    value.is_finite().then(|| value.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn series(point: &[(&str, Value)], resource: &[(&str, Value)]) -> Series {
        let attributes =
            |of: &[(&str, Value)]| of.iter().map(|(name, value)| ((*name).to_owned(), value.clone())).collect();
        Series {
            protocol: Protocol::Otlp,
            metric: "m".to_owned(),
            point: attributes(point),
            resource: Arc::new(attributes(resource)),
            scope: Arc::default(),
        }
    }

    #[test]
    fn equal_series_have_one_source_and_different_ones_do_not() {
        let one = series(&[("b", json!(1)), ("a", json!("x"))], &[("r", json!(true))]);
        assert_eq!(one.source(), r#"otlp:{"metric":"m","point":{"a":"x","b":1},"resource":{"r":true}}"#);
        assert_ne!(series(&[("a", json!("1"))], &[]).source(), series(&[("a", json!(1))], &[]).source());
        assert_ne!(series(&[("a", json!(1))], &[]).source(), series(&[], &[("a", json!(1))]).source());
        let long = series(&[("a", json!("x".repeat(2000)))], &[]).source();
        assert!(long.starts_with("otlp:blake3:") && long.len() == 12 + 64, "{long}");
    }

    #[test]
    fn the_nearest_attribute_that_is_a_scalar_is_found() {
        let one = series(&[("a", json!("")), ("l", json!([1]))], &[("a", json!("far")), ("n", json!(7))]);
        assert_eq!((one.find("a"), one.find("l"), one.find("n")), (None, None, Some("7".to_owned())));
    }

    #[test]
    fn doubles_become_the_shortest_decimal() {
        for (value, expected) in [
            (0.1, Some("0.1")),
            (1e21, Some("1000000000000000000000")),
            (-2.5e-7, Some("-0.00000025")),
            (f64::NAN, None),
        ] {
            assert_eq!(decimal_text(value).as_deref(), expected);
        }
        assert_eq!(decimal_text(f64::INFINITY), None);
    }

    #[test]
    fn reasons_are_few_and_differ() {
        let mut refused = Refused::default();
        for at in 0..10 {
            refused.add(1, format!("reason {}", at / 2));
        }
        assert_eq!(refused.message("points"), "10 points refused: reason 0; reason 1; reason 2");
    }
}
