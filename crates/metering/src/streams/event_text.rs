use super::delta::Reading;
use super::map::{Binding, is_dimension};
use super::point::Series;
use domain::{Instant, Quantity};
use serde_json::{Map, Number, Value, json};

const NANOS_PER_MICRO: i64 = 1_000;

/// A point that is about to become an event.
pub(super) struct Draft<'d> {
    pub binding: &'d Binding,
    pub series: &'d Series,
    pub source: &'d str,
    /// The tenant that an attribute names.
    pub tenant: Option<&'d str>,
    pub start_nanos: Option<i64>,
    pub at_nanos: i64,
    /// How much is counted, in the meter's unit.
    pub quantity: Quantity,
    /// The reading it comes from, in the meter's unit, if the stream is cumulative.
    pub cumulative: Option<Quantity>,
}

/// Returns the id of the event of a reading: a stream has one value at a time.
pub(super) fn event_id(start_nanos: Option<i64>, at_nanos: i64) -> String {
    format!("{}-{at_nanos}", start_nanos.unwrap_or(0))
}

impl Reading {
    /// Returns the id of the reading's event.
    pub fn event_id(&self) -> String {
        event_id(self.start_nanos, self.at_nanos)
    }
}

impl Draft<'_> {
    /// Returns the CloudEvent; the same draft gives the same text.
    pub fn text(&self) -> String {
        let mut event = Map::new();
        let mut put = |name: &str, value: String| drop(event.insert(name.to_owned(), Value::String(value)));
        put("specversion", "1.0".to_owned());
        put("id", event_id(self.start_nanos, self.at_nanos));
        put("source", self.source.to_owned());
        put("type", self.binding.event_type.clone());
        put("time", instant(self.at_nanos));
        if let Some(tenant) = self.tenant {
            put("tenant", tenant.to_owned());
        }
        event.insert("data".to_owned(), Value::Object(self.data()));
        Value::Object(event).to_string()
    }

    fn data(&self) -> Map<String, Value> {
        let mut data = Map::new();
        let (last, above) = self.binding.value_path.split_last().expect("a path has a name");
        let inner = above
            .iter()
            .rev()
            .fold(json!({ last.as_str(): number(self.quantity) }), |inner, name| json!({ name.as_str(): inner }));
        if let Value::Object(inner) = inner {
            data.extend(inner);
        }
        let mut labels = Map::new();
        for (field, attribute) in &self.binding.rule.attributes {
            let Some(text) = self.series.find(attribute) else { continue };
            if !is_dimension(field) {
                labels.insert(field.clone(), Value::String(text.clone()));
            }
            data.insert(field.clone(), Value::String(text));
        }
        if !labels.is_empty() {
            data.insert("labels".to_owned(), Value::Object(labels));
        }
        if let Some(cumulative) = self.cumulative {
            data.insert("cumulative".to_owned(), number(cumulative));
            if let Some(start) = self.start_nanos {
                data.insert("start".to_owned(), Value::String(instant(start)));
            }
        }
        data
    }
}

fn number(quantity: Quantity) -> Value {
    let number: Number = quantity.to_string().parse().expect("a decimal is a JSON number");
    Value::Number(number)
}

fn instant(nanos: i64) -> String {
    Instant::from_micros(nanos.div_euclid(NANOS_PER_MICRO)).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::parse_event;
    use crate::streams::tests::{map, meters, series};
    use domain::dimension::Dimension;

    #[test]
    fn an_event_says_where_it_comes_from_and_keeps_listed_attributes_only() {
        let map = map();
        let rule = map.get("tokens").unwrap();
        let meters = meters();
        let binding = Binding::new(rule, meters.iter().find(|meter| meter.name == rule.meter)).unwrap();
        let series = series("tokens", "acme");
        let source = series.source();
        let draft = Draft {
            binding: &binding,
            series: &series,
            source: &source,
            tenant: Some("acme"),
            start_nanos: Some(1_000_000_000),
            at_nanos: 1_500_000_999,
            quantity: "2.5".parse().unwrap(),
            cumulative: Some("10".parse().unwrap()),
        };
        let text = draft.text();
        let event = parse_event(&text).unwrap().event;
        assert_eq!((&*event.id, &*event.source, &*event.kind), ("1000000000-1500000999", &*source, "llm.completion"));
        assert_eq!(event.time.map(Instant::micros), Some(1_500_000));
        assert_eq!(event.dimensions.get(&Dimension::Tenant), Some("acme"));
        assert_eq!(event.dimensions.get(&Dimension::User), Some("ann"));
        assert_eq!(event.dimensions.labels.key(), r#"{"model":"small"}"#);
        let expected = r#"{"tokens":2.5,"model":"small","user":"ann","labels":{"model":"small"},"cumulative":10,"start":"1970-01-01T00:00:01Z"}"#;
        assert_eq!(event.data_text, Some(expected));
    }

    #[test]
    fn a_value_may_stand_deep_in_the_data() {
        let map = map();
        let meters = meters();
        let mut binding =
            Binding::new(map.get("tokens").unwrap(), meters.iter().find(|meter| meter.name == "llm_tokens")).unwrap();
        binding.value_path = ["a", "b", "c"].map(str::to_owned).to_vec();
        let series = series("tokens", "acme");
        let quantity = "-1".parse().unwrap();
        let draft = Draft {
            binding: &binding,
            series: &series,
            source: "s",
            tenant: None,
            start_nanos: None,
            at_nanos: 1,
            quantity,
            cumulative: None,
        };
        let text = draft.text();
        let event = parse_event(&text).unwrap().event;
        assert!(event.data_text.is_some_and(|text| text.starts_with(r#"{"a":{"b":{"c":-1}},"#)));
        assert_eq!(&*event.id, "0-1");
    }
}
