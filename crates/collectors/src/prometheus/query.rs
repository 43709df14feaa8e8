use super::client::PrometheusClient;
use super::error::PrometheusError;
use super::hours::{HourSpan, POINTS_MAX};
use crate::sources::UsagePoint;
use domain::dimension::{Dimension, labels_key};
use domain::quantity::Quantity;
use std::collections::BTreeMap;
use std::sync::Arc;

/// One expression, and what its series mean.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UsageQuery {
    /// Its name within the source.
    pub name: String,
    /// The meter that its values are quantities of.
    pub meter: String,
    /// PromQL whose value at a full hour is the quantity of the hour before.
    pub expression: String,
    /// Label that names the tenant.
    pub tenant_label: String,
    /// The cluster that all of it is used in.
    pub cluster: Option<String>,
    /// Label by dimension.
    pub attributes: BTreeMap<Dimension, String>,
}

/// The queries of one server.
#[derive(Clone, Debug)]
pub struct PrometheusSource {
    /// Asks the server.
    pub client: PrometheusClient,
    /// What is asked.
    pub queries: Vec<UsageQuery>,
    /// Series of one query.
    pub series_max: usize,
}

/// What one query answered.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Pulled {
    /// Its points, by series and hour.
    pub points: Vec<UsagePoint>,
    /// How many series there are.
    pub series: u64,
    /// Values that are no numbers.
    pub skipped_values: u64,
    /// Values with more than nine fractional digits.
    pub rounded_values: u64,
    /// What the server warns of.
    pub warnings: Vec<String>,
}

/// A query that failed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("query `{query}`: {error}")]
pub struct PullError {
    /// Its name.
    pub query: String,
    /// Why.
    pub error: PrometheusError,
}

impl PrometheusSource {
    /// Returns the points of a query for whole hours. `source` is the name under which they are kept.
    ///
    /// # Errors
    /// [`PullError`]; then nothing of the answer may be used.
    pub async fn pull(&self, source: &str, query: &UsageQuery, span: HourSpan) -> Result<Pulled, PullError> {
        let mut pulled = Pulled::default();
        for piece in span.pieces(POINTS_MAX) {
            self.pull_piece(source, query, piece, &mut pulled)
                .await
                .map_err(|error| PullError { query: query.name.clone(), error })?;
        }
        Ok(pulled)
    }

    async fn pull_piece(
        &self,
        source: &str,
        query: &UsageQuery,
        span: HourSpan,
        pulled: &mut Pulled,
    ) -> Result<(), PrometheusError> {
        let answer = self.client.query_range(&query.expression, span).await?;
        let found = answer.series.len();
        if self.series_max < found {
            return Err(PrometheusError::TooManySeries { found, max: self.series_max });
        }
        pulled.series = pulled.series.max(found as u64);
        pulled.skipped_values += answer.skipped_values;
        pulled.warnings.extend(answer.warnings);
        pulled.warnings.dedup();
        for series in answer.series {
            let shape = Shape::of(source, query, &series.labels);
            for (hour, text) in series.points {
                let (value, rounded) = value_of(text);
                pulled.rounded_values += u64::from(rounded);
                pulled.points.push(shape.point(hour, value));
            }
        }
        Ok(())
    }
}

/// What all points of a series have in common.
struct Shape {
    series: Arc<str>,
    meter: Arc<str>,
    tenant: Option<Arc<str>>,
    cluster: Option<Arc<str>>,
    attributes: Arc<[(Dimension, Arc<str>)]>,
}

impl Shape {
    fn of(source: &str, query: &UsageQuery, labels: &BTreeMap<String, String>) -> Self {
        let label =
            |name: &str| labels.get(name).filter(|value| !value.is_empty()).map(|value| Arc::from(value.as_str()));
        let attribute = |(dimension, name): (&Dimension, &String)| Some((dimension.clone(), label(name)?));
        Self {
            series: format!("prometheus:{source}/{}{}", query.name, labels_key(labels)).into(),
            meter: query.meter.as_str().into(),
            tenant: label(&query.tenant_label),
            cluster: query.cluster.as_deref().map(Arc::from),
            attributes: query.attributes.iter().filter_map(attribute).collect(),
        }
    }

    fn point(&self, hour: domain::Instant, value: String) -> UsagePoint {
        UsagePoint {
            series: Arc::clone(&self.series),
            meter: Arc::clone(&self.meter),
            hour,
            value,
            tenant: self.tenant.clone(),
            cluster: self.cluster.clone(),
            attributes: Arc::clone(&self.attributes),
        }
    }
}

/// The value as a quantity, rounded half-even to nine digits, and whether that changed it. Rounded here, two answers that
/// differ in the last bits of a float are the same quantity. What is no quantity keeps its text and is refused later.
fn value_of(text: String) -> (String, bool) {
    match Quantity::parse_rounding(&text) {
        Ok((quantity, rounded)) => (quantity.to_string(), rounded),
        Err(_) => (text, false),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_labels_decide_who_and_which_series() {
        let query = UsageQuery {
            name: "cpu".to_owned(),
            meter: "cpu_core_hours".to_owned(),
            expression: String::new(),
            tenant_label: "tenant".to_owned(),
            cluster: Some("east".to_owned()),
            attributes: BTreeMap::from([
                (Dimension::Label("namespace".into()), "namespace".to_owned()),
                (Dimension::Repo, "repo".to_owned()),
            ]),
        };
        let labels = [("tenant", "acme"), ("namespace", "shop"), ("other", "\"x\"")];
        let labels = labels.map(|(name, value)| (name.to_owned(), value.to_owned())).into();
        let shape = Shape::of("prod", &query, &labels);
        assert_eq!(&*shape.series, r#"prometheus:prod/cpu{"namespace":"shop","other":"\"x\"","tenant":"acme"}"#);
        assert_eq!((shape.tenant.as_deref(), shape.cluster.as_deref()), (Some("acme"), Some("east")));
        assert_eq!(&*shape.attributes, &[(Dimension::Label("namespace".into()), Arc::from("shop"))]);
        assert_eq!(Shape::of("prod", &query, &BTreeMap::new()).tenant, None);
    }

    #[test]
    fn values_are_rounded_once_and_never_through_a_float() {
        let table = [
            ("1.8e+06", "1800000", false),
            ("-0", "0", false),
            ("0.30000000000000004", "0.3", true),
            ("9007199254740993", "9007199254740993", false),
            ("4.2e-07", "0.00000042", false),
            ("1e300", "1e300", false),
        ];
        for (text, value, rounded) in table {
            assert_eq!(value_of(text.to_owned()), (value.to_owned(), rounded), "{text}");
        }
    }
}
