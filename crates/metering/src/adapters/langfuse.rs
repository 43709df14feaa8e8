use super::call::{Call, Tokens, plus, tokens, without};
use super::place::AdapterRule;
use super::{Unusable, at, text_at};
use domain::{Instant, Quantity};
use serde_json::{Map, Value};

/// Returns the events of one observation: those of a generation, else none.
///
/// `usageDetails` names classes of tokens that sum to `total`; where input and output alone sum to it, the cached ones are
/// part of the input and are taken off. Without details `usage` counts. Names with an underscore (`usage_details`) are read
/// as well.
///
/// # Errors
/// [`Unusable`] if a generation with tokens or an error has no id, model or time, or a number that cannot be read.
///
/// # Source
/// Langfuse's public API, `GET /api/public/observations`.
pub fn events_of(record: &Value, rule: &AdapterRule) -> Result<Vec<String>, Unusable> {
    if at(record, &["type"]).and_then(Value::as_str) != Some("GENERATION") {
        return Ok(Vec::new());
    }
    let is_failed = at(record, &["level"]).and_then(Value::as_str) == Some("ERROR");
    let tokens = tokens_of(record)?;
    if !is_failed && tokens == Tokens::default() {
        return Ok(Vec::new());
    }
    let missing = |what: &str| Unusable(format!("a generation without `{what}`"));
    let time = text_at(record, &["startTime"]).or_else(|| text_at(record, &["start_time"]));
    let time = time.and_then(|text| Instant::parse_lenient(&text).ok());
    let model = ["model", "providedModelName", "provided_model_name"].iter().find_map(|name| text_at(record, &[*name]));
    // A call that failed before a model was chosen has none.
    let model = model.or_else(|| is_failed.then(|| "unknown".to_owned()));
    let call = Call {
        id: text_at(record, &["id"]).ok_or_else(|| missing("id"))?,
        source: "langfuse",
        time: time.ok_or_else(|| missing("startTime"))?,
        model: model.ok_or_else(|| missing("model"))?,
        is_failed,
        tokens,
    };
    Ok(call.events(&rule.dimensions_of(record)))
}

fn tokens_of(record: &Value) -> Result<Tokens, Unusable> {
    let details = at(record, &["usageDetails"]).or_else(|| at(record, &["usage_details"]));
    match details.and_then(Value::as_object).filter(|details| !details.is_empty()) {
        Some(details) => of_details(details),
        None => of_usage(record),
    }
}

/// Input and output of the older form, if they are tokens.
fn of_usage(record: &Value) -> Result<Tokens, Unusable> {
    let is_other = at(record, &["usage", "unit"]).and_then(Value::as_str).is_some_and(|unit| unit != "TOKENS");
    if is_other {
        return Ok(Tokens::default());
    }
    Ok(Tokens {
        input: tokens("usage.input", at(record, &["usage", "input"]))?,
        output: tokens("usage.output", at(record, &["usage", "output"]))?,
        ..Tokens::default()
    })
}

fn of_details(details: &Map<String, Value>) -> Result<Tokens, Unusable> {
    let mut by_class = Tokens::default();
    for (name, value) in details {
        let class = match name.as_str() {
            "total" => continue,
            name if name.contains("cache") && (name.contains("creation") || name.contains("write")) => {
                &mut by_class.cache_write
            }
            name if name.contains("cache") => &mut by_class.cache_read,
            name if name.contains("output") => &mut by_class.output,
            name if name.contains("input") => &mut by_class.input,
            // What is neither input nor output has no price of a token.
            _ => continue,
        };
        *class = plus(*class, tokens(name, Some(value))?)?;
    }
    let named = |name: &str| tokens(name, details.get(name));
    let (input, output, total) = (named("input")?, named("output")?, named("total")?);
    if total != Quantity::default() && plus(input, output)? == total {
        let cached = plus(by_class.cache_read, by_class.cache_write)?;
        return Ok(Tokens { input: without(input, cached), output, ..by_class });
    }
    Ok(by_class)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::adapters::AdapterKind;
    use crate::adapters::call::tests::said;
    use crate::event::parse_event;
    use domain::dimension::Dimension;
    use serde_json::json;

    fn observation() -> Value {
        json!({
            "id": "obs-1", "traceId": "trace-1", "type": "GENERATION", "name": "plan", "level": "DEFAULT",
            "startTime": "2026-11-19T10:00:00.250Z", "endTime": "2026-11-19T10:00:02.500Z", "model": "large-1",
            "usage": { "input": 1000, "output": 50, "total": 1050, "unit": "TOKENS" },
            "usageDetails": { "input": 100, "cache_read_input_tokens": 700, "cache_creation_input_tokens": 200, "output": 50, "total": 1050 },
            "costDetails": { "total": 0.0123 },
            "metadata": { "tenant": "acme", "workflow": "wf-7", "repo": "acme/shop", "task_class": "migration" },
        })
    }

    fn events(record: &Value) -> Result<Vec<String>, Unusable> {
        events_of(record, &AdapterRule::usual(AdapterKind::Langfuse))
    }

    fn check(record: &Value, expected: &[[&str; 6]]) {
        let found = said(&events(record).unwrap());
        assert_eq!(found, expected.iter().map(|row| row.map(str::to_owned)).collect::<Vec<_>>());
    }

    const APART: [[&str; 6]; 4] = [
        ["obs-1/input", "llm.completion", "100", "input", "", ""],
        ["obs-1/cache_read", "llm.completion", "700", "input", "read", ""],
        ["obs-1/cache_write", "llm.completion", "200", "input", "write", ""],
        ["obs-1/output", "llm.completion", "50", "output", "", ""],
    ];

    #[test]
    fn each_class_of_tokens_is_counted_apart_and_once() {
        check(&observation(), &APART);
        let made = events(&observation()).unwrap();
        let event = parse_event(&made[0]).unwrap().event;
        assert_eq!(event.time, Some("2026-11-19T10:00:00.25Z".parse().unwrap()));
        let dimension = |dimension| event.dimensions.get(&dimension);
        assert_eq!((dimension(Dimension::Tenant), dimension(Dimension::Repo)), (Some("acme"), Some("acme/shop")));
        assert_eq!(dimension(Dimension::Workflow), Some("wf-7"));
    }

    #[test]
    fn cached_tokens_that_are_part_of_the_input_are_taken_off() {
        let mut record = observation();
        record["usageDetails"]["input"] = json!(1000);
        check(&record, &APART);
        record["usageDetails"] =
            json!({ "input": 600, "input_cached_tokens": 400, "output": 30, "output_reasoning_tokens": 20 });
        check(
            &record,
            &[
                ["obs-1/input", "llm.completion", "600", "input", "", ""],
                ["obs-1/cache_read", "llm.completion", "400", "input", "read", ""],
                ["obs-1/output", "llm.completion", "50", "output", "", ""],
            ],
        );
    }

    #[test]
    fn the_older_form_and_names_with_underscores_are_read() {
        let mut record = observation();
        record["usageDetails"] = json!({});
        check(
            &record,
            &[
                ["obs-1/input", "llm.completion", "1000", "input", "", ""],
                ["obs-1/output", "llm.completion", "50", "output", "", ""],
            ],
        );
        let lines = json!({
            "id": "obs-2", "type": "GENERATION", "start_time": "2026-11-19 10:00:00", "provided_model_name": "small-1",
            "usage_details": { "input": "7" },
        });
        check(&lines, &[["obs-2/input", "llm.completion", "7", "input", "", ""]]);
        record["usage"]["unit"] = json!("CHARACTERS");
        assert_eq!(events(&record), Ok(Vec::new()));
    }

    #[test]
    fn a_failed_generation_is_counted_and_spans_are_not() {
        let mut record = observation();
        record["level"] = json!("ERROR");
        record["usageDetails"] = json!({ "input": 100, "output": 0, "total": 100 });
        record["model"] = Value::Null;
        check(
            &record,
            &[
                ["obs-1/input", "llm.completion", "100", "input", "", "failed"],
                ["obs-1/failed", "llm.failed", "", "", "", ""],
            ],
        );
        record["type"] = json!("SPAN");
        assert_eq!(events(&record), Ok(Vec::new()));
    }

    #[test]
    fn a_generation_without_what_identifies_it_is_unusable() {
        for name in ["id", "model", "startTime"] {
            let mut record = observation();
            record[name] = Value::Null;
            assert_eq!(events(&record), Err(Unusable(format!("a generation without `{name}`"))));
        }
    }
}
