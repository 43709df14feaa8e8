use super::point::PointKind;
use crate::error::MeteringError;
use domain::Quantity;
use domain::dimension::PLAIN;
use domain::meter::{Aggregation, Meter, MeterKind};
use domain::unit::conversion;
use std::collections::{BTreeMap, HashMap};

/// Fields of an event's data that say what the event is, so that no attribute may be called so.
const OWN_FIELDS: [&str; 4] = ["labels", "cumulative", "start", "tenant"];

/// How one metric is counted: an element of `[[ingest.metric]]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MetricRule {
    /// Name of the metric.
    pub name: String,
    /// Name of the meter that counts it.
    pub meter: String,
    /// Attributes that name the tenant, tried in this order.
    pub tenant: Vec<String>,
    /// Field of the event's data by the attribute it is read from. Nothing else is kept.
    pub attributes: BTreeMap<String, String>,
    /// Unit of the metric, if it is not the meter's.
    pub unit: Option<String>,
    /// What the metric is, if its sender does not say or says it otherwise.
    pub kind: Option<MeterKind>,
}

impl MetricRule {
    /// Returns what a point is: the rule's word counts, else the sender's.
    pub(super) fn kind_of(&self, said: PointKind) -> PointKind {
        match (self.kind, said) {
            (Some(MeterKind::Counter), PointKind::Gauge | PointKind::Unsaid) => PointKind::Cumulative,
            (Some(MeterKind::Gauge), PointKind::Cumulative | PointKind::Unsaid) => PointKind::Gauge,
            _ => said,
        }
    }

    fn check(&self) -> Result<(), String> {
        if self.name.is_empty() || self.meter.is_empty() {
            return Err("`name` and `meter` must not be empty".to_owned());
        }
        if self.tenant.iter().any(String::is_empty) {
            return Err("`tenant` names attributes; an empty name is none".to_owned());
        }
        for (field, attribute) in &self.attributes {
            if !is_name(field) {
                return Err(format!("attributes: `{field}` must be of letters, digits and _, a letter first"));
            }
            if OWN_FIELDS.contains(&field.as_str()) {
                return Err(format!("attributes: `{field}` is a field of every event; choose another name"));
            }
            if attribute.is_empty() {
                return Err(format!("attributes: `{field}` names no attribute"));
            }
        }
        Ok(())
    }
}

/// The metrics that are counted, by name.
#[derive(Debug, Default)]
pub struct MetricMap(HashMap<String, MetricRule>);

impl MetricMap {
    /// Returns the map of these rules.
    ///
    /// # Errors
    /// [`MeteringError::InvalidMetric`] for a name given twice or a rule that makes no sense by itself.
    pub fn new(rules: Vec<MetricRule>) -> Result<Self, MeteringError> {
        let mut map = HashMap::new();
        for rule in rules {
            rule.check().map_err(|problem| invalid(&rule, problem))?;
            if map.contains_key(&rule.name) {
                return Err(invalid(&rule, "the name is given twice".to_owned()));
            }
            map.insert(rule.name.clone(), rule);
        }
        Ok(Self(map))
    }

    /// Refuses rules whose meter does not exist or cannot count them.
    ///
    /// # Errors
    /// [`MeteringError::InvalidMetric`] of the first such rule, by name.
    pub fn check(&self, meters: &[Meter]) -> Result<(), MeteringError> {
        let mut rules: Vec<&MetricRule> = self.0.values().collect();
        rules.sort_by_key(|rule| &rule.name);
        for rule in rules {
            let meter = meters.iter().find(|meter| meter.name == rule.meter);
            Binding::new(rule, meter).map_err(|problem| invalid(rule, problem))?;
        }
        Ok(())
    }

    /// Returns how the metric is counted; `None` if it is not.
    #[must_use]
    pub fn get(&self, metric: &str) -> Option<&MetricRule> {
        self.0.get(metric)
    }
}

fn invalid(rule: &MetricRule, problem: String) -> MeteringError {
    MeteringError::InvalidMetric { metric: rule.name.clone(), problem }
}

/// A rule together with its meter as it is now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Binding {
    pub rule: MetricRule,
    pub event_type: String,
    /// Where in an event's data the meter reads its value.
    pub value_path: Vec<String>,
    pub kind: MeterKind,
    /// From the metric's unit to the meter's.
    factor: (u128, u128),
}

impl Binding {
    /// Returns the rule with its meter, or what keeps them apart.
    pub fn new(rule: &MetricRule, meter: Option<&Meter>) -> Result<Self, String> {
        let meter = meter.ok_or_else(|| format!("there is no meter `{}`", rule.meter))?;
        let name = &meter.name;
        if meter.aggregation == Aggregation::Count {
            return Err(format!("meter `{name}` counts events, not what they say; give it another aggregation"));
        }
        if meter.kind == MeterKind::Counter && meter.aggregation != Aggregation::Sum {
            return Err(format!(
                "meter `{name}` is a counter that does not sum; a metric's increases can only be summed"
            ));
        }
        if let Some(kind) = rule.kind.filter(|kind| *kind != meter.kind) {
            return Err(format!("kind is {}, but meter `{name}` is a {}", kind.as_str(), meter.kind.as_str()));
        }
        let value_path = match &meter.value {
            None => vec!["value".to_owned()],
            Some(path) => simple_path(path).ok_or_else(|| {
                format!("meter `{name}` reads `{path}`; for metrics it must be a path such as $.value")
            })?,
        };
        if rule.attributes.contains_key(&value_path[0]) || OWN_FIELDS.contains(&value_path[0].as_str()) {
            return Err(format!("meter `{name}` reads its value from the field `{}`, which is taken", value_path[0]));
        }
        let unit = rule.unit.as_ref().unwrap_or(&meter.unit);
        let factor = conversion(unit, &meter.unit)
            .ok_or_else(|| format!("unit `{unit}` does not convert to `{}`, the unit of meter `{name}`", meter.unit))?;
        Ok(Self { rule: rule.clone(), event_type: meter.event_type.clone(), value_path, kind: meter.kind, factor })
    }

    /// Returns the quantity in the meter's unit, rounded half-even to its nine digits; `None` if it is out of bound.
    pub fn convert_rounding(&self, quantity: Quantity) -> Option<Quantity> {
        let (numerator, denominator) = (i128::try_from(self.factor.0).ok()?, i128::try_from(self.factor.1).ok()?);
        let product = quantity.atoms().checked_mul(numerator)?;
        let (whole, rest) = (product.div_euclid(denominator), product.rem_euclid(denominator));
        let is_up = match (rest * 2).cmp(&denominator) {
            std::cmp::Ordering::Less => false,
            std::cmp::Ordering::Equal => whole % 2 != 0,
            std::cmp::Ordering::Greater => true,
        };
        Quantity::from_atoms(whole + i128::from(is_up))
    }
}

/// Returns whether the field is a dimension of events; others are labels.
pub(super) fn is_dimension(field: &str) -> bool {
    PLAIN.iter().any(|dimension| dimension.to_string() == field)
}

fn is_name(text: &str) -> bool {
    text.starts_with(|first: char| first.is_ascii_alphabetic() || first == '_')
        && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
}

/// The names of a path such as `$.a.b`.
fn simple_path(path: &str) -> Option<Vec<String>> {
    path.strip_prefix("$.")?.split('.').map(|name| is_name(name).then(|| name.to_owned())).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use domain::meter::builtin;

    fn rule(meter: &str) -> MetricRule {
        MetricRule {
            name: "m".to_owned(),
            meter: meter.to_owned(),
            tenant: vec!["tenant".to_owned()],
            attributes: BTreeMap::new(),
            unit: None,
            kind: None,
        }
    }

    fn check(rule: MetricRule, expected: &str) {
        let problem = MetricMap::new(vec![rule]).and_then(|map| map.check(&builtin()));
        let found = problem.map_or_else(|error| error.to_string(), |()| "ok".to_owned());
        assert_eq!(found, expected);
    }

    fn of(attributes: &[(&str, &str)]) -> BTreeMap<String, String> {
        attributes.iter().map(|(field, name)| ((*field).to_owned(), (*name).to_owned())).collect()
    }

    #[test]
    fn a_rule_that_its_meter_cannot_count_is_refused_with_the_reason() {
        check(rule("llm_tokens"), "ok");
        check(rule("tokens"), "ingest.metric `m`: there is no meter `tokens`");
        check(
            rule("prs_merged"),
            "ingest.metric `m`: meter `prs_merged` counts events, not what they say; give it another aggregation",
        );
        let gauge = MetricRule { kind: Some(MeterKind::Gauge), ..rule("llm_tokens") };
        check(gauge, "ingest.metric `m`: kind is gauge, but meter `llm_tokens` is a counter");
        let bytes = MetricRule { unit: Some("Bytes".to_owned()), ..rule("network_gib") };
        check(bytes, "ok");
        let tokens = MetricRule { unit: Some("Bytes".to_owned()), ..rule("llm_tokens") };
        check(tokens, "ingest.metric `m`: unit `Bytes` does not convert to `Tokens`, the unit of meter `llm_tokens`");
        let taken = MetricRule { attributes: of(&[("tokens", "a")]), ..rule("llm_tokens") };
        check(taken, "ingest.metric `m`: meter `llm_tokens` reads its value from the field `tokens`, which is taken");
    }

    #[test]
    fn a_rule_that_makes_no_sense_is_refused_by_itself() {
        let labels = MetricRule { attributes: of(&[("labels", "a")]), ..rule("llm_tokens") };
        check(labels, "ingest.metric `m`: attributes: `labels` is a field of every event; choose another name");
        let odd = MetricRule { attributes: of(&[("a.b", "a")]), ..rule("llm_tokens") };
        check(odd, "ingest.metric `m`: attributes: `a.b` must be of letters, digits and _, a letter first");
        let twice = MetricMap::new(vec![rule("llm_tokens"), rule("log_queries")]);
        assert!(twice.is_err_and(|error| error.to_string().contains("twice")));
    }

    #[test]
    fn paths_of_values_are_simple() {
        assert_eq!(simple_path("$.a.b").map(|names| names.join("/")).as_deref(), Some("a/b"));
        for path in ["$", "$.", "$.a[0]", "$..a", "$['a']", "$.a.", "$.1"] {
            assert_eq!(simple_path(path), None, "{path}");
        }
    }

    #[test]
    fn quantities_convert_exactly_and_round_once() {
        let bytes = MetricRule { unit: Some("Bytes".to_owned()), ..rule("network_gib") };
        let meters = builtin();
        let binding = Binding::new(&bytes, meters.iter().find(|meter| meter.name == "network_gib")).unwrap();
        let convert = |text: &str| binding.convert_rounding(text.parse().unwrap()).map(|quantity| quantity.to_string());
        assert_eq!(convert("1073741824").as_deref(), Some("1"));
        assert_eq!(convert("1").as_deref(), Some("0.000000001"));
        assert_eq!(convert("0.5").as_deref(), Some("0"));
        assert_eq!(convert("-1073741824").as_deref(), Some("-1"));
        let plain = Binding::new(&rule("llm_tokens"), meters.iter().find(|meter| meter.name == "llm_tokens")).unwrap();
        assert_eq!(plain.convert_rounding("1e18".parse().unwrap()), Some("1e18".parse().unwrap()));
    }
}
