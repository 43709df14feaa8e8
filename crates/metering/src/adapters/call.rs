use super::Unusable;
use super::made::{Dimensions, Draft};
use domain::{Instant, Quantity};
use serde_json::{Map, Number, Value, json};

/// Type of the event that tokens of one class become; the meter `llm_tokens` takes it.
const COMPLETION: &str = "llm.completion";
/// Type of the event that a failed call becomes.
const FAILED: &str = "llm.failed";

/// One call of a model.
pub(super) struct Call<'c> {
    pub id: String,
    /// Who logged it.
    pub source: &'c str,
    pub time: Instant,
    pub model: String,
    pub is_failed: bool,
    pub tokens: Tokens,
}

/// Tokens of a call, each in one class only.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Tokens {
    /// Input that no cache had.
    pub input: Quantity,
    /// Input that a cache of the provider had.
    pub cache_read: Quantity,
    /// Input that was written to a cache of the provider.
    pub cache_write: Quantity,
    pub output: Quantity,
}

impl Tokens {
    /// Classes with the word of each, its direction and its label `cache`.
    fn classes(self) -> [(&'static str, &'static str, Option<&'static str>, Quantity); 4] {
        [
            ("input", "input", None, self.input),
            ("cache_read", "input", Some("read"), self.cache_read),
            ("cache_write", "input", Some("write"), self.cache_write),
            ("output", "output", None, self.output),
        ]
    }
}

impl Call<'_> {
    /// Returns one event for each class with tokens, and one that says that the call failed.
    ///
    /// Tokens of failed calls count like others: they cost the same. They carry the label `outcome`.
    pub fn events(&self, dimensions: &Dimensions) -> Vec<String> {
        let mut events = Vec::new();
        for (class, direction, cache, quantity) in self.tokens.classes() {
            if quantity == Quantity::default() {
                continue;
            }
            let mut labels = Map::new();
            if let Some(cache) = cache {
                labels.insert("cache".to_owned(), json!(cache));
            }
            if self.is_failed {
                labels.insert("outcome".to_owned(), json!("failed"));
            }
            let mut data = self.data(labels);
            data.insert("direction".to_owned(), json!(direction));
            data.insert("tokens".to_owned(), number(quantity));
            events.push(self.event(class, COMPLETION, dimensions, data));
        }
        if self.is_failed {
            events.push(self.event("failed", FAILED, dimensions, self.data(Map::new())));
        }
        events
    }

    fn data(&self, labels: Map<String, Value>) -> Map<String, Value> {
        let mut data = Map::from_iter([("model".to_owned(), json!(self.model))]);
        if !labels.is_empty() {
            data.insert("labels".to_owned(), Value::Object(labels));
        }
        data
    }

    fn event(&self, class: &str, kind: &str, dimensions: &Dimensions, data: Map<String, Value>) -> String {
        let id = format!("{}/{class}", self.id);
        Draft { id, source: self.source, kind, time: self.time, dimensions, data }.text()
    }
}

/// Returns the number of tokens that a value says; null and absent are none.
pub(super) fn tokens(name: &str, value: Option<&Value>) -> Result<Quantity, Unusable> {
    let unusable = || Unusable(format!("`{name}` is no number of tokens"));
    let text = match value {
        None | Some(Value::Null) => return Ok(Quantity::default()),
        Some(Value::Number(number)) => number.to_string(),
        Some(Value::String(text)) => text.clone(),
        Some(_) => return Err(unusable()),
    };
    text.parse::<Quantity>().ok().filter(|quantity| *quantity >= Quantity::default()).ok_or_else(unusable)
}

/// Returns the sum of two numbers of tokens.
pub(super) fn plus(one: Quantity, other: Quantity) -> Result<Quantity, Unusable> {
    let too_many = || Unusable("more tokens than can be stored".to_owned());
    Quantity::from_atoms(one.atoms() + other.atoms()).ok_or_else(too_many)
}

/// Returns what is left of a total without its parts; the total itself if the parts do not fit in it.
pub(super) fn without(total: Quantity, parts: Quantity) -> Quantity {
    let rest = total.atoms() - parts.atoms();
    if rest < 0 { total } else { Quantity::from_atoms(rest).unwrap_or(total) }
}

fn number(quantity: Quantity) -> Value {
    let number: Number = quantity.to_string().parse().expect("a decimal is a JSON number");
    Value::Number(number)
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::event::parse_event;
    use domain::dimension::Dimension;

    /// What the events say: id, type, tokens, direction, label `cache`, label `outcome`.
    pub fn said(events: &[String]) -> Vec<[String; 6]> {
        let one = |text: &String| {
            let event: Value = serde_json::from_str(text).unwrap();
            let parsed = parse_event(text).unwrap().event;
            let label = |key: &str| parsed.dimensions.get(&Dimension::Label(key.into())).unwrap_or_default().to_owned();
            let data = |name: &str| match &event["data"][name] {
                Value::String(text) => text.clone(),
                Value::Number(number) => number.to_string(),
                _ => String::new(),
            };
            let (id, kind) = (parsed.id.to_string(), parsed.kind.to_string());
            [id, kind, data("tokens"), data("direction"), label("cache"), label("outcome")]
        };
        events.iter().map(one).collect()
    }

    fn quantity(text: &str) -> Quantity {
        text.parse().unwrap()
    }

    #[test]
    fn each_class_is_an_event_and_a_failed_call_is_counted() {
        let tokens = Tokens {
            input: quantity("100"),
            cache_read: quantity("900"),
            cache_write: Quantity::default(),
            output: quantity("20"),
        };
        let time = "2026-11-19T10:00:00Z".parse().unwrap();
        let call = Call { id: "c".to_owned(), source: "s", time, model: "small-1".to_owned(), is_failed: true, tokens };
        let events = call.events(&Dimensions::default());
        let expected = [
            ["c/input", "llm.completion", "100", "input", "", "failed"],
            ["c/cache_read", "llm.completion", "900", "input", "read", "failed"],
            ["c/output", "llm.completion", "20", "output", "", "failed"],
            ["c/failed", "llm.failed", "", "", "", ""],
        ];
        assert_eq!(said(&events), expected.map(|row| row.map(str::to_owned)));
    }

    #[test]
    fn numbers_of_tokens_are_read_exactly_or_refused() {
        let read = |text: &str| tokens("x", Some(&serde_json::from_str(text).unwrap()));
        assert_eq!(read("12"), Ok(quantity("12")));
        assert_eq!(read("\"12\""), Ok(quantity("12")));
        assert_eq!(read("1e3"), Ok(quantity("1000")));
        assert_eq!((read("null"), tokens("x", None)), (Ok(Quantity::default()), Ok(Quantity::default())));
        for broken in ["-1", "\"many\"", "{}", "1e30"] {
            assert!(read(broken).is_err(), "{broken}");
        }
    }

    #[test]
    fn parts_that_do_not_fit_are_not_taken_off() {
        assert_eq!(without(quantity("1000"), quantity("900")), quantity("100"));
        assert_eq!(without(quantity("100"), quantity("900")), quantity("100"));
    }
}
