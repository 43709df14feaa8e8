use crate::error::MeteringError;
use crate::event::{Event, Labels, scalar_text};
use crate::refusal::{Refusal, RefusalCode};
use domain::Quantity;
use domain::decimal::DecimalError;
use domain::dimension::labels_key;
use domain::meter::{Aggregation, Meter, MeterKind};
use serde_json::Value;
use serde_json_path::JsonPath;
use std::collections::HashMap;
use std::sync::Arc;

/// Atoms of the quantity one, which an event counts for a meter without a value.
const ONE_ATOMS: i128 = 1_000_000_000;

/// Meters made ready to read events.
#[derive(Debug)]
pub struct MeterSet {
    /// By name, so that a meter's position orders as its name does.
    meters: Vec<Compiled>,
    by_type: HashMap<String, Vec<usize>>,
}

/// What all rows of a meter's usage say of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MeterTag {
    /// Its name.
    pub name: Arc<str>,
    /// What it counts in.
    pub unit: Arc<str>,
    /// Counter or gauge.
    pub kind: MeterKind,
}

#[derive(Debug)]
struct Compiled {
    meter: Meter,
    tag: Arc<MeterTag>,
    value: Option<Path>,
    labels: Vec<(Arc<str>, Path)>,
}

/// What one meter reads from one event.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MeteredValue {
    /// The meter.
    pub meter: Arc<MeterTag>,
    /// How much.
    pub quantity: Quantity,
    /// `data.labels` and the meter's own labels, which win.
    pub labels: Arc<Labels>,
    /// Their canonical JSON.
    pub labels_key: Arc<str>,
}

/// What all meters read from one event.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Measured {
    /// One value for each meter that found one.
    pub values: Vec<MeteredValue>,
    /// Meters of the event's type that found no value.
    pub skipped: Vec<usize>,
    /// Values that had more than nine fractional digits.
    pub rounded: u64,
}

impl MeterSet {
    /// Returns the meters, ready to read events.
    ///
    /// # Errors
    /// [`MeteringError::InvalidMeter`] for a text that is not a JSONPath, a name given twice, or
    /// `unique_count`, which a later release brings.
    pub fn new(mut meters: Vec<Meter>) -> Result<Self, MeteringError> {
        meters.sort_by(|left, right| left.name.cmp(&right.name));
        if let Some(twice) = meters.windows(2).find(|pair| pair[0].name == pair[1].name) {
            return Err(invalid(&twice[0], "the name is given twice".to_owned()));
        }
        let meters = meters.into_iter().map(Compiled::new).collect::<Result<Vec<_>, _>>()?;
        let mut by_type: HashMap<String, Vec<usize>> = HashMap::new();
        for (at, compiled) in meters.iter().enumerate() {
            by_type.entry(compiled.meter.event_type.clone()).or_default().push(at);
        }
        Ok(Self { meters, by_type })
    }

    /// Returns the meter at a position.
    #[must_use]
    pub fn meter(&self, at: usize) -> &Meter {
        &self.meters[at].meter
    }

    /// Returns the meter of this name.
    #[must_use]
    pub fn find(&self, name: &str) -> Option<&Meter> {
        let found = self.meters.binary_search_by(|compiled| compiled.meter.name.as_str().cmp(name));
        found.ok().map(|at| &self.meters[at].meter)
    }

    /// Returns what every meter of the event's type reads from it.
    ///
    /// # Errors
    /// `invalid_event` for a value that is not a number, `negative_quantity` for a counter below
    /// zero, `out_of_bound` for a value too large to be stored.
    pub fn measure(&self, event: &Event) -> Result<Measured, Refusal> {
        let mut measured = Measured::default();
        let mut plain_labels: Option<Arc<Labels>> = None;
        for &at in self.by_type.get(&*event.kind).map(Vec::as_slice).unwrap_or_default() {
            let compiled = &self.meters[at];
            let Some((quantity, rounded)) = compiled.read(&event.data)? else {
                measured.skipped.push(at);
                continue;
            };
            measured.rounded += u64::from(rounded);
            let own = compiled.own_labels(&event.data);
            let (labels, labels_key) = if own.is_empty() {
                let shared = plain_labels.get_or_insert_with(|| Arc::new(event.dimensions.labels.clone()));
                (Arc::clone(shared), Arc::clone(&event.labels_key))
            } else {
                let mut labels = event.dimensions.labels.clone();
                labels.extend(own);
                let key = labels_key(&labels).into();
                (Arc::new(labels), key)
            };
            measured.values.push(MeteredValue { meter: Arc::clone(&compiled.tag), quantity, labels, labels_key });
        }
        Ok(measured)
    }
}

impl Compiled {
    fn new(meter: Meter) -> Result<Self, MeteringError> {
        if meter.aggregation == Aggregation::UniqueCount {
            return Err(invalid(&meter, "aggregation `unique_count` is not available yet".to_owned()));
        }
        let path = |text: &String| Path::new(text).map_err(|problem| invalid(&meter, problem));
        let value = meter.value.as_ref().map(path).transpose()?;
        let labels = meter.group_by.iter().map(|(key, text)| Ok((Arc::from(key.as_str()), path(text)?)));
        let labels = labels.collect::<Result<Vec<_>, MeteringError>>()?;
        let tag = MeterTag { name: meter.name.as_str().into(), unit: meter.unit.as_str().into(), kind: meter.kind };
        Ok(Self { value, labels, tag: Arc::new(tag), meter })
    }

    /// The value and whether it was rounded; `None` when the event has none.
    fn read(&self, data: &Value) -> Result<Option<(Quantity, bool)>, Refusal> {
        let one = Quantity::from_atoms(ONE_ATOMS).expect("one is within the bound");
        let Some(path) = &self.value else { return Ok(Some((one, false))) };
        if self.meter.aggregation == Aggregation::Count {
            let is_absent = matches!(path.find(data), Found::Nothing | Found::One(Value::Null));
            return Ok((!is_absent).then_some((one, false)));
        }
        let not_a_number = |found: &str| {
            let found: String = found.chars().take(60).collect();
            Refusal::invalid(format!("meter `{}` found {found} instead of a number", self.meter.name))
        };
        let text = match path.find(data) {
            Found::Nothing | Found::One(Value::Null) => return Ok(None),
            Found::Many => return Err(not_a_number("several values")),
            Found::One(Value::Number(number)) => number.to_string(),
            Found::One(Value::String(text)) => text.clone(),
            Found::One(other) => return Err(not_a_number(&other.to_string())),
        };
        let (quantity, rounded) = Quantity::parse_rounding(&text).map_err(|error| match error {
            DecimalError::NotANumber(text) => not_a_number(&format!("`{text}`")),
            DecimalError::OutOfBound(text) | DecimalError::NotBetween { text, .. } => {
                self.refuse(RefusalCode::OutOfBound, &format!("{text} is too large"))
            }
        })?;
        if self.meter.kind == MeterKind::Counter && quantity.atoms() < 0 {
            return Err(
                self.refuse(RefusalCode::NegativeQuantity, &format!("{quantity} is negative, but it is a counter"))
            );
        }
        Ok(Some((quantity, rounded)))
    }

    fn refuse(&self, code: RefusalCode, problem: &str) -> Refusal {
        Refusal::new(code, format!("meter `{}`: {problem}", self.meter.name))
    }

    /// Labels that the meter reads; what is absent or no scalar makes no label.
    fn own_labels(&self, data: &Value) -> Vec<(Arc<str>, Arc<str>)> {
        let read = |(key, path): &(Arc<str>, Path)| match path.find(data) {
            Found::One(value) => {
                let text = scalar_text(value).filter(|text| !text.contains('\0'))?;
                Some((Arc::clone(key), text.into()))
            }
            Found::Nothing | Found::Many => None,
        };
        self.labels.iter().filter_map(read).collect()
    }
}

fn invalid(meter: &Meter, problem: String) -> MeteringError {
    MeteringError::InvalidMeter { meter: meter.name.clone(), problem }
}

/// A JSONPath; the usual `$.a.b` without the general machinery.
#[derive(Debug)]
enum Path {
    Names(Vec<String>),
    General(JsonPath),
}

enum Found<'v> {
    Nothing,
    One(&'v Value),
    Many,
}

impl Path {
    fn new(text: &str) -> Result<Self, String> {
        let parsed = JsonPath::parse(text).map_err(|error| format!("`{text}` is not a JSONPath: {error}"))?;
        let is_name = |name: &str| {
            !name.is_empty()
                && !name.starts_with(|first: char| first.is_ascii_digit())
                && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
        };
        let names: Option<Vec<String>> = text
            .strip_prefix("$.")
            .and_then(|rest| rest.split('.').map(|name| is_name(name).then(|| name.to_owned())).collect());
        Ok(names.map_or(Self::General(parsed), Self::Names))
    }

    fn find<'v>(&self, data: &'v Value) -> Found<'v> {
        match self {
            Self::Names(names) => {
                let found = names.iter().try_fold(data, |value, name| value.as_object()?.get(name));
                found.map_or(Found::Nothing, Found::One)
            }
            Self::General(path) => {
                let nodes = path.query(data);
                match nodes.len() {
                    0 => Found::Nothing,
                    1 => nodes.first().map_or(Found::Nothing, Found::One),
                    _ => Found::Many,
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::parse_event;
    use domain::meter::{builtin, read_meters};

    fn event(kind: &str, data: &str) -> Event {
        let text =
            format!(r#"{{"specversion":"1.0","id":"1","source":"/s","type":"{kind}","tenant":"a","data":{data}}}"#);
        parse_event(&text).unwrap()
    }

    fn meters(text: &str) -> MeterSet {
        MeterSet::new(read_meters("meters.toml", text).unwrap()).unwrap()
    }

    fn quantities(set: &MeterSet, kind: &str, data: &str) -> Result<Vec<(String, String)>, RefusalCode> {
        let named = |value: &MeteredValue| (value.meter.name.to_string(), value.quantity.to_string());
        let measured = set.measure(&event(kind, data)).map_err(|refusal| refusal.code)?;
        Ok(measured.values.iter().map(named).collect())
    }

    fn check(kind: &str, data: &str, expected: Result<&str, RefusalCode>) {
        let found = quantities(&MeterSet::new(builtin()).unwrap(), kind, data);
        let found = found.map(|values| values.first().map_or(String::new(), |(_, quantity)| quantity.clone()));
        assert_eq!(found, expected.map(str::to_owned), "{kind} {data}");
    }

    #[test]
    fn values_are_numbers_or_their_text_and_exact() {
        check("log_queries", r#"{"value":3}"#, Ok("3"));
        check("log_queries", r#"{"value":"3.5"}"#, Ok("3.5"));
        check("log_queries", r#"{"value":1e-7}"#, Ok("0.0000001"));
        check("log_queries", r#"{"value":"0E-6176"}"#, Ok("0"));
        check("log_queries", r#"{"value":123456789012345678.123456789}"#, Ok("123456789012345678.123456789"));
        check("log_queries", r#"{"value":1000000000000000000}"#, Ok("1000000000000000000"));
        check("log_queries", r#"{"value":1000000000000000000.000000001}"#, Err(RefusalCode::OutOfBound));
        check("log_queries", r#"{"value":1e400}"#, Err(RefusalCode::OutOfBound));
    }

    #[test]
    fn an_event_without_the_value_is_skipped_and_a_non_number_refused() {
        check("log_queries", "{}", Ok(""));
        check("log_queries", r#"{"value":null}"#, Ok(""));
        check("log_queries", "null", Ok(""));
        for data in
            [r#"{"value":"many"}"#, r#"{"value":true}"#, r#"{"value":[1]}"#, r#"{"value":{}}"#, r#"{"value":""}"#]
        {
            check("log_queries", data, Err(RefusalCode::InvalidEvent));
        }
        let set = MeterSet::new(builtin()).unwrap();
        let measured = set.measure(&event("log_queries", "{}")).unwrap();
        assert_eq!(measured.skipped.iter().map(|at| set.meter(*at).name.as_str()).collect::<Vec<_>>(), ["log_queries"]);
    }

    #[test]
    fn counters_refuse_negative_quantities_and_gauges_do_not() {
        check("log_queries", r#"{"value":-0.000000001}"#, Err(RefusalCode::NegativeQuantity));
        check("log_queries", r#"{"value":-0.0}"#, Ok("0"));
        check("member_count", r#"{"value":-4}"#, Ok("-4"));
    }

    #[test]
    fn rounded_values_are_counted() {
        let set = MeterSet::new(builtin()).unwrap();
        let rounded =
            |value: &str| set.measure(&event("log_queries", &format!(r#"{{"value":{value}}}"#))).unwrap().rounded;
        assert_eq!([rounded("1.123456789"), rounded("1.1234567891"), rounded("1.1234567890")], [0, 1, 0]);
    }

    #[test]
    fn labels_of_the_meter_join_those_of_the_data_and_win() {
        let set = MeterSet::new(builtin()).unwrap();
        let data = r#"{"tokens":5,"model":"m","direction":1,"labels":{"model":"x","env":"prod"}}"#;
        let measured = set.measure(&event("llm.completion", data)).unwrap();
        assert_eq!(&*measured.values[0].labels_key, r#"{"direction":"1","env":"prod","model":"m"}"#);
        let measured = set.measure(&event("llm.completion", r#"{"tokens":5,"model":["m"]}"#)).unwrap();
        assert_eq!(&*measured.values[0].labels_key, "{}");
    }

    #[test]
    fn several_meters_take_one_event_and_any_refusal_refuses_it() {
        let meter = |name: &str, rest: &str| {
            format!(
                "[[meter]]\nname = '{name}'\nunit = 'U'\ncategory = 'other'\nkind = 'counter'\nevent_type = 'build'\n{rest}\n"
            )
        };
        let set = meters(
            &(meter("builds", "aggregation = 'count'")
                + &meter("failures", "value = '$.failed'\naggregation = 'count'")
                + &meter("build_seconds", "value = \"$['steps'][0]['s']\"\naggregation = 'sum'")
                + &meter("all_seconds", "value = '$.steps[*].s'\naggregation = 'sum'")),
        );
        let found = quantities(&set, "build", r#"{"steps":[{"s":2}]}"#).unwrap();
        let expected = [("all_seconds", "2"), ("build_seconds", "2"), ("builds", "1")];
        assert_eq!(found, expected.map(|(name, value)| (name.to_owned(), value.to_owned())));
        assert_eq!(quantities(&set, "build", r#"{"steps":[{"s":2},{"s":3}]}"#), Err(RefusalCode::InvalidEvent));
        assert_eq!(quantities(&set, "other", "{}"), Ok(vec![]));
        let counted = quantities(&set, "build", r#"{"failed":"yes"}"#).unwrap();
        let expected = [("builds", "1"), ("failures", "1")].map(|(name, value)| (name.to_owned(), value.to_owned()));
        assert_eq!(counted, expected, "count asks only whether there is a value");
    }
}
