use crate::json::{self, Json};
use crate::labels::Labels;
use crate::refusal::Refusal;
use domain::Instant;
use domain::dimension::{Dimension, PLAIN};
use std::borrow::Cow;

/// Longest event accepted, as text.
pub const EVENT_BYTES_MAX: usize = 1024 * 1024;
/// Longest attribute, dimension or label accepted.
pub const ATTRIBUTE_BYTES_MAX: usize = 4096;
/// Type of the event that takes another one back.
pub const RETRACTION_TYPE: &str = "apportion.retract";

/// The plain dimensions after the tenant, in the order in which tables and keys hold them.
const DIMENSIONS: [&str; 5] = ["user", "workflow", "repo", "task_class", "cluster"];

/// One CloudEvent 1.0, parsed and checked by itself, before any rule of the organisation. Borrows from its text.
#[derive(Clone, Debug)]
pub struct Event<'a> {
    /// Attribute `id`: unique per tenant and source.
    pub id: Cow<'a, str>,
    /// Attribute `source`.
    pub source: Cow<'a, str>,
    /// Attribute `type`: decides which meters look at it.
    pub kind: Cow<'a, str>,
    /// Attribute `time`; `None` lets the receiver set it.
    pub time: Option<Instant>,
    /// Tenant, user, workflow, repo, task class, cluster and `data.labels`, as far as the event names them.
    pub dimensions: EventDimensions<'a>,
    /// The data as it was written.
    pub data_text: Option<&'a str>,
    /// The event of the same tenant that it takes back, if it is a retraction.
    pub retracts: Option<Retracted<'a>>,
}

/// What an event says of each dimension.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct EventDimensions<'a> {
    /// Values of [`PLAIN`], in its order.
    pub plain: [Option<Cow<'a, str>>; 6],
    /// `data.labels`.
    pub labels: Labels<'a>,
}

impl<'a> EventDimensions<'a> {
    /// Returns the value of a dimension.
    #[must_use]
    pub fn get(&self, dimension: &Dimension) -> Option<&str> {
        match dimension {
            Dimension::Label(key) => self.labels.get(key),
            plain => self.plain[index(plain)].as_deref(),
        }
    }

    /// Sets the value of a dimension.
    pub fn set(&mut self, dimension: &Dimension, value: Cow<'a, str>) {
        match dimension {
            Dimension::Label(key) => self.labels.set(Cow::Owned(key.to_string()), value),
            plain => self.plain[index(plain)] = Some(value),
        }
    }
}

fn index(plain: &Dimension) -> usize {
    PLAIN.iter().position(|dimension| dimension == plain).expect("labels are handled apart")
}

/// An event and its data, which is looked at once and kept only as text.
#[derive(Clone, Debug)]
pub struct ParsedEvent<'a> {
    /// The event.
    pub event: Event<'a>,
    /// Its data; null when there is none.
    pub data: Json<'a>,
}

/// An event that is taken back, wherever and whenever it arrives.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Retracted<'a> {
    /// Its source.
    pub source: Cow<'a, str>,
    /// Its id.
    pub id: Cow<'a, str>,
}

/// Returns the event that the text is.
///
/// The tenant is the extension attribute `tenant`, else `subject`; user, workflow, repo, task class
/// (`taskclass`) and cluster are the extension attribute of that name, else the field of that name in `data`.
///
/// # Errors
/// A [`Refusal`] with `invalid_event`.
///
/// # Source
/// Spec 2-model, section 3; CloudEvents 1.0, JSON event format.
pub fn parse_event(text: &str) -> Result<ParsedEvent<'_>, Refusal> {
    if EVENT_BYTES_MAX < text.len() {
        return Err(Refusal::invalid(format!("longer than {EVENT_BYTES_MAX} bytes")));
    }
    let mut attributes = Attributes::default();
    json::read_object(text, |key, value, text| attributes.take(key, value, text)).map_err(|error| Refusal {
        not_json: matches!(error, json::JsonError::Syntax { .. }),
        ..Refusal::invalid(error.to_string())
    })?;
    let id = attributes.required(Name::Id)?;
    attributes.event(id.clone()).map_err(|refusal| refusal.of(&id))
}

/// The attributes that are read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Name {
    Id,
    Specversion,
    Type,
    Source,
    Time,
    Tenant,
    Subject,
    User,
    Workflow,
    Repo,
    TaskClass,
    Cluster,
    Data,
    DataBase64,
}

impl Name {
    const COUNT: usize = Self::DataBase64 as usize + 1;
    /// Those of the plain dimensions after the tenant, in the order of [`DIMENSIONS`].
    const DIMENSIONS: [Self; 5] = [Self::User, Self::Workflow, Self::Repo, Self::TaskClass, Self::Cluster];

    fn of(key: &str) -> Option<Self> {
        // As bytes, which are told apart without comparing one text after the other.
        Some(match key.as_bytes() {
            b"id" => Self::Id,
            b"specversion" => Self::Specversion,
            b"type" => Self::Type,
            b"source" => Self::Source,
            b"time" => Self::Time,
            b"tenant" => Self::Tenant,
            b"subject" => Self::Subject,
            b"user" => Self::User,
            b"workflow" => Self::Workflow,
            b"repo" => Self::Repo,
            b"taskclass" => Self::TaskClass,
            b"cluster" => Self::Cluster,
            b"data" => Self::Data,
            b"data_base64" => Self::DataBase64,
            _ => return None,
        })
    }

    const fn text(self) -> &'static str {
        match self {
            Self::Id => "id",
            Self::Specversion => "specversion",
            Self::Type => "type",
            Self::Source => "source",
            Self::Time => "time",
            Self::Tenant => "tenant",
            Self::Subject => "subject",
            Self::User => "user",
            Self::Workflow => "workflow",
            Self::Repo => "repo",
            // Names of CloudEvents attributes have no underscore.
            Self::TaskClass => "taskclass",
            Self::Cluster => "cluster",
            Self::Data => "data",
            Self::DataBase64 => "data_base64",
        }
    }
}

/// The attributes of one event, each of a name of its own.
#[derive(Default)]
struct Attributes<'a> {
    /// By [`Name`].
    values: [Option<Json<'a>>; Name::COUNT],
    /// The data as it was written.
    data_text: &'a str,
    /// Names of attributes that nobody reads.
    others: Vec<Cow<'a, str>>,
}

impl<'a> Attributes<'a> {
    /// Takes an attribute, or gives back its name if one of that name was taken before.
    fn take(&mut self, name: Cow<'a, str>, value: Json<'a>, text: &'a str) -> Result<(), Cow<'a, str>> {
        let Some(known) = Name::of(&name) else {
            if self.others.contains(&name) {
                return Err(name);
            }
            self.others.push(name);
            return Ok(());
        };
        if known == Name::Data {
            self.data_text = text;
        }
        if self.values[known as usize].replace(value).is_some() { Err(name) } else { Ok(()) }
    }

    fn event(mut self, id: Cow<'a, str>) -> Result<ParsedEvent<'a>, Refusal> {
        if self.text(Name::Specversion)?.as_deref() != Some("1.0") {
            return Err(Refusal::invalid("`specversion` must be \"1.0\""));
        }
        let kind = self.required(Name::Type)?;
        let source = self.required(Name::Source)?;
        let time = self.time()?;
        let mut dimensions = EventDimensions { labels: self.labels()?, ..EventDimensions::default() };
        dimensions.plain[0] = match self.text(Name::Tenant)? {
            Some(tenant) => Some(tenant),
            None => self.text(Name::Subject)?,
        };
        for ((into, attribute), name) in dimensions.plain[1..].iter_mut().zip(Name::DIMENSIONS).zip(DIMENSIONS) {
            *into = self.dimension(attribute, name)?;
        }
        let retracts = if &*kind == RETRACTION_TYPE { Some(self.retracted()?) } else { None };
        if self.find(Name::DataBase64).is_some() {
            return Err(Refusal::invalid("`data_base64` is not read; send the data as JSON in `data`"));
        }
        let data = self.values[Name::Data as usize].take().unwrap_or_default();
        let data_text = (!data.is_null()).then_some(self.data_text);
        let event = Event { id, source, kind, time, dimensions, data_text, retracts };
        Ok(ParsedEvent { event, data })
    }

    fn retracted(&self) -> Result<Retracted<'a>, Refusal> {
        let data = self.find(Name::Data);
        let text = |name: &str| match data.and_then(|data| data.get(name)) {
            Some(Json::Text(text)) => checked(name, text.clone()),
            _ => Ok(None),
        };
        let missing =
            || Refusal::invalid("a retraction names the event that it takes back in `data.source` and `data.id`");
        Ok(Retracted { source: text("source")?.ok_or_else(missing)?, id: text("id")?.ok_or_else(missing)? })
    }

    /// The value of an attribute; null counts as absent.
    fn find(&self, name: Name) -> Option<&Json<'a>> {
        self.values[name as usize].as_ref().filter(|value| !value.is_null())
    }

    /// The attribute as text; null and empty text count as absent.
    fn text(&self, name: Name) -> Result<Option<Cow<'a, str>>, Refusal> {
        let Some(value) = self.find(name) else { return Ok(None) };
        let text = value.scalar().ok_or_else(|| Refusal::invalid(format!("`{}` must be text", name.text())))?;
        checked(name.text(), text)
    }

    fn required(&self, name: Name) -> Result<Cow<'a, str>, Refusal> {
        match self.find(name) {
            None | Some(Json::Text(_)) => {}
            Some(_) => return Err(Refusal::invalid(format!("`{}` must be text", name.text()))),
        }
        self.text(name)?.ok_or_else(|| Refusal::invalid(format!("`{}` is missing", name.text())))
    }

    fn time(&self) -> Result<Option<Instant>, Refusal> {
        let Some(value) = self.find(Name::Time) else { return Ok(None) };
        let text = if let Json::Text(text) = value { text.parse::<Instant>().ok() } else { None };
        text.filter(|time| is_storable(*time)).map(Some).ok_or_else(|| {
            let shown: String = value.to_value().to_string().chars().take(60).collect();
            Refusal::invalid(format!("`time` is {shown}; write it as \"2026-10-31T23:59:59Z\""))
        })
    }

    /// The attribute, else the field of that name in the data.
    fn dimension(&self, attribute: Name, name: &str) -> Result<Option<Cow<'a, str>>, Refusal> {
        if let Some(value) = self.text(attribute)? {
            return Ok(Some(value));
        }
        match self.find(Name::Data).and_then(|data| data.get(name)) {
            Some(Json::Text(text) | Json::Number(text)) => checked(name, text.clone()),
            _ => Ok(None),
        }
    }

    fn labels(&self) -> Result<Labels<'a>, Refusal> {
        let labels = match self.find(Name::Data).and_then(|data| data.get("labels")) {
            None | Some(Json::Null) => return Ok(Labels::default()),
            Some(Json::Object(labels)) => labels,
            Some(_) => return Err(Refusal::invalid("`data.labels` must be an object")),
        };
        let mut pairs = Vec::with_capacity(labels.len());
        for (key, value) in labels.iter().filter(|(_, value)| !value.is_null()) {
            let text = value
                .scalar()
                .filter(|text| text.len() <= ATTRIBUTE_BYTES_MAX && key.len() <= ATTRIBUTE_BYTES_MAX)
                .filter(|text| !text.contains('\0'))
                .ok_or_else(|| {
                    Refusal::invalid("the values of `data.labels` must be short text, numbers or booleans")
                })?;
            pairs.push((key.clone(), text));
        }
        Ok(Labels::new(pairs))
    }
}

/// The text of a JSON value, as a value of an attribute or dimension; empty text counts as absent.
pub(crate) fn checked<'a>(name: &str, text: Cow<'a, str>) -> Result<Option<Cow<'a, str>>, Refusal> {
    if ATTRIBUTE_BYTES_MAX < text.len() {
        return Err(Refusal::invalid(format!("`{name}` is longer than {ATTRIBUTE_BYTES_MAX} bytes")));
    }
    // Only an escape can make a control character, and what has none is borrowed.
    if matches!(&text, Cow::Owned(text) if text.contains('\0')) {
        return Err(Refusal::invalid(format!("`{name}` contains a NUL character")));
    }
    Ok((!text.is_empty()).then_some(text))
}

/// Days before year 1 have no name in tables.
fn is_storable(time: Instant) -> bool {
    const YEAR_ONE_MICROS: i64 = -62_135_510_400_000_000;
    YEAR_ONE_MICROS <= time.micros()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::refusal::RefusalCode;

    fn event(extra: &str) -> Result<Event<'static>, Refusal> {
        let text = format!(r#"{{"specversion":"1.0","id":"1","source":"/s","type":"t"{extra}}}"#);
        parse_event(text.leak()).map(|parsed| parsed.event)
    }

    #[test]
    fn dimensions_stand_where_tables_have_them() {
        let named: Vec<String> = PLAIN[1..].iter().map(ToString::to_string).collect();
        assert_eq!(named, DIMENSIONS);
        assert_eq!(DIMENSIONS.map(|name| name.replace('_', "")), Name::DIMENSIONS.map(Name::text));
    }

    #[test]
    fn attributes_have_the_names_by_which_they_are_found() {
        let names = [Name::Id, Name::Specversion, Name::Type, Name::Source, Name::Time, Name::Tenant, Name::Subject];
        let names = names.into_iter().chain(Name::DIMENSIONS).chain([Name::Data, Name::DataBase64]);
        let found: Vec<usize> = names.map(|name| Name::of(name.text()).unwrap() as usize).collect();
        assert_eq!(found, Vec::from_iter(0..Name::COUNT));
    }

    fn check(extra: &str, dimension: &Dimension, expected: Option<&str>) {
        let event = event(extra).expect("a valid event");
        assert_eq!(event.dimensions.get(dimension), expected, "{extra}");
    }

    #[test]
    fn the_tenant_is_the_extension_attribute_else_the_subject() {
        check(r#","tenant":"a","subject":"b""#, &Dimension::Tenant, Some("a"));
        check(r#","tenant":"","subject":"b""#, &Dimension::Tenant, Some("b"));
        check(r#","tenant":null,"subject":"b""#, &Dimension::Tenant, Some("b"));
        check(r#","data":{"tenant":"a"}"#, &Dimension::Tenant, None);
        check(r#","tenant":17"#, &Dimension::Tenant, Some("17"));
    }

    #[test]
    fn other_dimensions_are_the_attribute_else_the_field_in_data() {
        check(r#","user":"u","data":{"user":"v"}"#, &Dimension::User, Some("u"));
        check(r#","data":{"user":"v"}"#, &Dimension::User, Some("v"));
        check(r#","data":{"user":42}"#, &Dimension::User, Some("42"));
        check(r#","data":{"user":{"id":1}}"#, &Dimension::User, None);
        check(r#","taskclass":"big""#, &Dimension::TaskClass, Some("big"));
        check(r#","data":{"task_class":"big"}"#, &Dimension::TaskClass, Some("big"));
        check(r#","workflow":"w""#, &Dimension::Workflow, Some("w"));
        check(r#","repo":"r""#, &Dimension::Repo, Some("r"));
        check(r#","data":{"cluster":"c"}"#, &Dimension::Cluster, Some("c"));
    }

    #[test]
    fn labels_are_scalars_of_data_labels() {
        let parsed = event(r#","data":{"labels":{"b":1.50,"a":"x","c":true,"d":null}}"#).expect("a valid event");
        assert_eq!(parsed.dimensions.labels.key(), r#"{"a":"x","b":"1.50","c":"true"}"#);
        assert!(event(r#","data":{"labels":{"a":[1]}}"#).is_err());
        assert!(event(r#","data":{"labels":[]}"#).is_err());
    }

    #[test]
    fn data_keeps_the_text_it_was_written_as() {
        let parsed = event(r#","data": {"v": 1.10e2} "#).expect("a valid event");
        assert_eq!(parsed.data_text, Some(r#"{"v": 1.10e2}"#));
        assert_eq!(event("").expect("a valid event").data_text, None);
    }

    #[test]
    fn what_is_not_escaped_is_not_copied() {
        let parsed = event(r#","user":"u","repo":"a\nb""#).expect("a valid event");
        let [_, user, _, repo, ..] = &parsed.dimensions.plain;
        assert!(matches!((&parsed.id, user), (Cow::Borrowed("1"), Some(Cow::Borrowed("u")))));
        assert!(matches!(repo, Some(Cow::Owned(repo)) if repo == "a\nb"));
    }

    #[test]
    fn times_are_rfc_3339_with_an_offset() {
        let time = |text: &str| event(&format!(r#","time":"{text}""#)).map(|event| event.time.map(Instant::micros));
        assert_eq!(time("1970-01-01T01:00:00.000001+01:00"), Ok(Some(1)));
        for bad in ["yesterday", "2026-01-01T00:00:00", "2026-13-01T00:00:00Z", "-004000-01-01T00:00:00Z", ""] {
            assert!(time(bad).is_err(), "{bad}");
        }
        assert!(event(r#","time":1700000000"#).is_err());
        assert_eq!(event(r#","time":null"#).map(|event| event.time), Ok(None));
    }

    #[test]
    fn what_is_not_an_event_is_refused_with_its_id_if_it_has_one() {
        let refusals: [(&str, Option<&str>, bool); 13] = [
            ("{", None, true),
            ("17", None, true),
            (r#"{"specversion":"1.0","source":"/s","type":"t"}"#, None, false),
            (r#"{"specversion":"1.0","id":"","source":"/s","type":"t"}"#, None, false),
            (r#"{"specversion":"1.0","id":7,"source":"/s","type":"t"}"#, None, false),
            (r#"{"specversion":"0.3","id":"7","source":"/s","type":"t"}"#, Some("7"), false),
            (r#"{"id":"7","source":"/s","type":"t"}"#, Some("7"), false),
            (r#"{"specversion":"1.0","id":"7","type":"t"}"#, Some("7"), false),
            (r#"{"specversion":"1.0","id":"7","source":"/s"}"#, Some("7"), false),
            (r#"{"specversion":"1.0","id":"7","id":"7","source":"/s","type":"t"}"#, None, false),
            (r#"{"specversion":"1.0","id":"7","source":"/s","type":"t","data":{"a":1,"a":2}}"#, None, false),
            (r#"{"specversion":"1.0","id":"7","source":"/s","type":"t","user":"a\u0000"}"#, Some("7"), false),
            (r#"{"specversion":"1.0","id":"7","source":"/s","type":"t","data_base64":"AA=="}"#, Some("7"), false),
        ];
        for (text, id, not_json) in refusals {
            let refusal = parse_event(text).expect_err(text);
            assert_eq!(
                (refusal.code, refusal.id.as_deref(), refusal.not_json),
                (RefusalCode::InvalidEvent, id, not_json),
                "{text}"
            );
        }
    }

    #[test]
    fn a_retraction_names_what_it_takes_back() {
        let retraction = |data: &str| {
            let text = format!(
                r#"{{"specversion":"1.0","id":"7","source":"/s","type":"apportion.retract","tenant":"a","data":{data}}}"#
            );
            parse_event(text.leak()).map(|parsed| parsed.event)
        };
        let parsed = retraction(r#"{"source":"/s","id":"1"}"#).expect("a retraction");
        assert_eq!(parsed.retracts, Some(Retracted { source: "/s".into(), id: "1".into() }));
        for data in ["{}", "null", r#"{"id":"1"}"#, r#"{"source":"/s","id":1}"#, r#"{"source":"/s","id":""}"#] {
            assert_eq!(retraction(data).expect_err(data).code, RefusalCode::InvalidEvent);
        }
        assert_eq!(event(r#","data":{"source":"/s","id":"1"}"#).expect("an event").retracts, None);
    }
}
