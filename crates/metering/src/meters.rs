use crate::error::MeteringError;
use crate::event::{ATTRIBUTE_BYTES_MAX, Event};
use crate::json::Json;
use crate::labels::{Label, Labels};
use crate::refusal::{Refusal, RefusalCode};
use ahash::RandomState;
use domain::Quantity;
use domain::decimal::DecimalError;
use domain::meter::{Aggregation, Meter, MeterKind};
use serde_json::Value;
use serde_json_path::JsonPath;
use std::borrow::Cow;
use std::collections::HashMap;

/// Atoms of the quantity one, which an event counts for a meter without a value.
const ONE_ATOMS: i128 = 1_000_000_000;

/// Meters made ready to read events.
#[derive(Debug)]
pub struct MeterSet {
    /// By name, so that a meter's position orders as its name does.
    meters: Vec<Compiled>,
    by_type: HashMap<String, Vec<usize>, RandomState>,
}

/// What all rows of a meter's usage say of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MeterTag<'a> {
    /// Its name.
    pub name: &'a str,
    /// What it counts in.
    pub unit: &'a str,
    /// Counter or gauge.
    pub kind: MeterKind,
}

#[derive(Debug)]
struct Compiled {
    meter: Meter,
    value: Option<Path>,
    labels: Vec<(String, Path)>,
}

/// What one meter reads from one event.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MeteredValue<'a> {
    /// The meter.
    pub meter: MeterTag<'a>,
    /// How much; of a value that counts once a day, one.
    pub quantity: Quantity,
    /// `data.labels` and the meter's own labels, which win. Distinct values are told apart by the meter's own only.
    /// `None` for those of the event.
    pub own_labels: Option<Labels<'a>>,
    /// The value, if it counts only once per tenant, labels and day.
    pub unique: Option<Cow<'a, str>>,
}

impl<'a> MeteredValue<'a> {
    /// Returns the labels of the value, which was read from this event.
    #[must_use]
    pub fn labels<'v>(&'v self, event: &'v Event<'a>) -> &'v Labels<'a> {
        self.own_labels.as_ref().unwrap_or(&event.dimensions.labels)
    }
}

/// What all meters read from one event.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Measured<'a> {
    /// One value for each meter that found one.
    pub values: Vec<MeteredValue<'a>>,
    /// Meters of the event's type that found no value.
    pub skipped: Vec<usize>,
    /// Values that had more than nine fractional digits.
    pub rounded: u64,
}

impl MeterSet {
    /// Returns the meters, ready to read events.
    ///
    /// # Errors
    /// [`MeteringError::InvalidMeter`] for a text that is not a JSONPath or a name given twice.
    pub fn new(mut meters: Vec<Meter>) -> Result<Self, MeteringError> {
        meters.sort_by(|left, right| left.name.cmp(&right.name));
        if let Some(twice) = meters.windows(2).find(|pair| pair[0].name == pair[1].name) {
            return Err(invalid(&twice[0], "the name is given twice".to_owned()));
        }
        let meters = meters.into_iter().map(Compiled::new).collect::<Result<Vec<_>, _>>()?;
        let mut by_type: HashMap<String, Vec<usize>, RandomState> = HashMap::default();
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

    /// Returns every meter, by name.
    pub fn iter(&self) -> impl Iterator<Item = &Meter> + Clone {
        self.meters.iter().map(|compiled| &compiled.meter)
    }

    /// Returns whether a meter of this type counts distinct values.
    #[must_use]
    pub fn counts_distinct(&self, kind: &str) -> bool {
        let of_type = self.by_type.get(kind).map(Vec::as_slice).unwrap_or_default();
        of_type.iter().any(|&at| self.meters[at].meter.aggregation == Aggregation::UniqueCount)
    }

    /// Returns what every meter of the event's type reads from its data.
    ///
    /// # Errors
    /// `invalid_event` for a value that is not a number, `negative_quantity` for a counter below
    /// zero, `out_of_bound` for a value too large to be stored.
    pub fn measure<'v>(&'v self, event: &'v Event<'_>, data: &'v Json<'_>) -> Result<Measured<'v>, Refusal> {
        let of_type = self.by_type.get(&*event.kind).map(Vec::as_slice).unwrap_or_default();
        let mut measured = Measured { values: Vec::with_capacity(of_type.len()), ..Measured::default() };
        for &at in of_type {
            let compiled = &self.meters[at];
            let Some(Read { quantity, rounded, unique }) = compiled.read(data)? else {
                measured.skipped.push(at);
                continue;
            };
            measured.rounded += u64::from(rounded);
            let of_event = if unique.is_none() { event.dimensions.labels.pairs() } else { &[] };
            let own_labels = compiled.own_labels(data, of_event);
            let own_labels = (own_labels.len() != of_event.len() || unique.is_some()).then(|| Labels::new(own_labels));
            measured.values.push(MeteredValue { meter: compiled.tag(), quantity, own_labels, unique });
        }
        Ok(measured)
    }
}

impl Compiled {
    fn new(meter: Meter) -> Result<Self, MeteringError> {
        let path = |text: &String| Path::new(text).map_err(|problem| invalid(&meter, problem));
        let value = meter.value.as_ref().map(path).transpose()?;
        let labels = meter.group_by.iter().map(|(key, text)| Ok((key.clone(), path(text)?)));
        let labels = labels.collect::<Result<Vec<_>, MeteringError>>()?;
        Ok(Self { value, labels, meter })
    }

    fn tag(&self) -> MeterTag<'_> {
        MeterTag { name: &self.meter.name, unit: &self.meter.unit, kind: self.meter.kind }
    }

    /// What the event says; `None` when it has no value.
    fn read<'v>(&self, data: &'v Json<'_>) -> Result<Option<Read<'v>>, Refusal> {
        let quantity = Quantity::from_atoms(ONE_ATOMS).expect("one is within the bound");
        let one = |unique| Read { quantity, rounded: false, unique };
        let Some(path) = &self.value else { return Ok(Some(one(None))) };
        match self.meter.aggregation {
            Aggregation::Count => {
                let is_absent = matches!(path.find(data), Found::Nothing);
                Ok((!is_absent).then(|| one(None)))
            }
            Aggregation::UniqueCount => Ok(self.distinct(path.find(data))?.map(|value| one(Some(value)))),
            _ => self.number(path.find(data)),
        }
    }

    /// A value to be told apart from others by its text; empty text is none.
    fn distinct<'v>(&self, found: Found<'v>) -> Result<Option<Cow<'v, str>>, Refusal> {
        let refused = |problem: &str| Refusal::invalid(format!("meter `{}` found {problem}", self.meter.name));
        let text = match found {
            Found::Nothing => return Ok(None),
            Found::Many => return Err(refused("several values")),
            Found::Other(_) => return Err(refused("a list or an object instead of text or a number")),
            Found::Number(text) | Found::Text(text) | Found::Bool(text) => text,
        };
        match text.len() {
            0 => Ok(None),
            1..=ATTRIBUTE_BYTES_MAX => Ok(Some(text)),
            _ => Err(refused(&format!("a value longer than {ATTRIBUTE_BYTES_MAX} bytes"))),
        }
    }

    fn number<'v>(&self, found: Found<'v>) -> Result<Option<Read<'v>>, Refusal> {
        let not_a_number = |found: &str| {
            let found: String = found.chars().take(60).collect();
            Refusal::invalid(format!("meter `{}` found {found} instead of a number", self.meter.name))
        };
        let text = match found {
            Found::Nothing => return Ok(None),
            Found::Many => return Err(not_a_number("several values")),
            Found::Bool(text) => return Err(not_a_number(&text)),
            Found::Other(text) => return Err(not_a_number(&text)),
            Found::Number(text) | Found::Text(text) => text,
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
        Ok(Some(Read { quantity, rounded, unique: None }))
    }

    fn refuse(&self, code: RefusalCode, problem: &str) -> Refusal {
        Refusal::new(code, format!("meter `{}`: {problem}", self.meter.name))
    }

    /// These labels and those that the meter reads; what is absent or no scalar makes no label.
    fn own_labels<'v>(&'v self, data: &'v Json<'_>, of_event: &'v [Label<'_>]) -> Vec<Label<'v>> {
        let read = |(key, path): &'v (String, Path)| match path.find(data) {
            Found::Number(text) | Found::Text(text) | Found::Bool(text) if !text.contains('\0') => {
                Some((Cow::Borrowed(key.as_str()), text))
            }
            _ => None,
        };
        let mut labels = Vec::with_capacity(of_event.len() + self.labels.len());
        labels.extend(of_event.iter().map(|(key, value)| (Cow::Borrowed(&**key), Cow::Borrowed(&**value))));
        labels.extend(self.labels.iter().filter_map(read));
        labels
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

/// What a meter reads from the data of an event.
struct Read<'v> {
    quantity: Quantity,
    rounded: bool,
    unique: Option<Cow<'v, str>>,
}

/// What a path finds.
enum Found<'v> {
    /// Nothing, or null.
    Nothing,
    /// A number, as it was written.
    Number(Cow<'v, str>),
    Text(Cow<'v, str>),
    Bool(Cow<'v, str>),
    /// A list or an object, as JSON.
    Other(String),
    Many,
}

impl<'v> Found<'v> {
    fn one(value: &'v Json<'_>) -> Self {
        let text = |text: &'v str| Cow::Borrowed(text);
        match value {
            Json::Null => Self::Nothing,
            Json::Number(digits) => Self::Number(text(digits)),
            Json::Text(found) => Self::Text(text(found)),
            Json::Bool(flag) => Self::Bool(text(if *flag { "true" } else { "false" })),
            Json::List(_) | Json::Object(_) => Self::Other(value.to_value().to_string()),
        }
    }

    fn one_value(value: &Value) -> Self {
        match value {
            Value::Null => Self::Nothing,
            Value::Number(number) => Self::Number(number.to_string().into()),
            Value::String(found) => Self::Text(found.clone().into()),
            Value::Bool(flag) => Self::Bool(flag.to_string().into()),
            Value::Array(_) | Value::Object(_) => Self::Other(value.to_string()),
        }
    }
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

    fn find<'v>(&self, data: &'v Json<'_>) -> Found<'v> {
        match self {
            Self::Names(names) => {
                let found = names.iter().try_fold(data, |value, name| value.get(name));
                found.map_or(Found::Nothing, Found::one)
            }
            Self::General(path) => {
                let data = data.to_value();
                let nodes = path.query(&data);
                match nodes.len() {
                    0 => Found::Nothing,
                    1 => nodes.first().map_or(Found::Nothing, Found::one_value),
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

    fn measure<'s>(set: &'s MeterSet, kind: &str, data: &str) -> Result<Measured<'s>, Refusal> {
        let text =
            format!(r#"{{"specversion":"1.0","id":"1","source":"/s","type":"{kind}","tenant":"a","data":{data}}}"#);
        let parsed = Box::leak(Box::new(parse_event(text.leak()).unwrap()));
        set.measure(&parsed.event, &parsed.data)
    }

    fn meters(text: &str) -> MeterSet {
        MeterSet::new(read_meters("meters.toml", text).unwrap()).unwrap()
    }

    fn quantities(set: &MeterSet, kind: &str, data: &str) -> Result<Vec<(String, String)>, RefusalCode> {
        let named = |value: &MeteredValue<'_>| (value.meter.name.to_string(), value.quantity.to_string());
        let measured = measure(set, kind, data).map_err(|refusal| refusal.code)?;
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
        let measured = measure(&set, "log_queries", "{}").unwrap();
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
        let rounded = |value: &str| measure(&set, "log_queries", &format!(r#"{{"value":{value}}}"#)).unwrap().rounded;
        assert_eq!([rounded("1.123456789"), rounded("1.1234567891"), rounded("1.1234567890")], [0, 1, 0]);
    }

    #[test]
    fn labels_of_the_meter_join_those_of_the_data_and_win() {
        let set = MeterSet::new(builtin()).unwrap();
        let data = r#"{"tokens":5,"model":"m","direction":1,"labels":{"model":"x","env":"prod"}}"#;
        let measured = measure(&set, "llm.completion", data).unwrap();
        let labels = measured.values[0].own_labels.as_ref().map(Labels::key);
        assert_eq!(labels, Some(r#"{"direction":"1","env":"prod","model":"m"}"#));
        let measured = measure(&set, "llm.completion", r#"{"tokens":5,"model":["m"]}"#).unwrap();
        assert_eq!(measured.values[0].own_labels, None, "those of the event, which has none");
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
