use super::call::{Call, Tokens, plus, tokens, without};
use super::place::AdapterRule;
use super::{Unusable, at, text_at};
use domain::Instant;
use domain::decimal::parse_scaled;
use serde_json::Value;

/// Decimals of seconds that an instant keeps.
const MICRO_SCALE: u32 = 6;

/// Returns the events of one logged call: one for each class of its tokens, and one that says that it failed.
///
/// A call that the proxy answered from its own cache bought nothing and is no event. `prompt_tokens` holds the cached ones as
/// well; where it holds fewer than these it is taken for what was not cached.
///
/// # Errors
/// [`Unusable`] if the call has no id, model or time, or a number of tokens that cannot be read.
///
/// # Source
/// LiteLLM's `StandardLoggingPayload`, as its callback `generic_api` posts it.
pub fn events_of(record: &Value, rule: &AdapterRule) -> Result<Vec<String>, Unusable> {
    if at(record, &["cache_hit"]) == Some(&Value::Bool(true)) {
        return Ok(Vec::new());
    }
    let missing = |what: &str| Unusable(format!("a call without `{what}`"));
    let call = Call {
        id: text_at(record, &["id"]).ok_or_else(|| missing("id"))?,
        source: "litellm",
        time: at(record, &["startTime"]).and_then(instant).ok_or_else(|| missing("startTime"))?,
        model: text_at(record, &["model"]).ok_or_else(|| missing("model"))?,
        is_failed: at(record, &["status"]).and_then(Value::as_str) == Some("failure"),
        tokens: tokens_of(record)?,
    };
    Ok(call.events(&rule.dimensions_of(record)))
}

fn tokens_of(record: &Value) -> Result<Tokens, Unusable> {
    let usage = |names: &[&str]| {
        let mut path = vec!["metadata", "usage_object"];
        path.extend_from_slice(names);
        at(record, &path)
    };
    // The same number in the words of two providers; one of them may stand at 0.
    let read = tokens("cache_read_input_tokens", usage(&["cache_read_input_tokens"]))?;
    let cached = tokens("cached_tokens", usage(&["prompt_tokens_details", "cached_tokens"]))?;
    let cache_read = read.max(cached);
    let cache_write = tokens("cache_creation_input_tokens", usage(&["cache_creation_input_tokens"]))?;
    let prompt = tokens("prompt_tokens", at(record, &["prompt_tokens"]))?;
    let output = tokens("completion_tokens", at(record, &["completion_tokens"]))?;
    Ok(Tokens { input: without(prompt, plus(cache_read, cache_write)?), cache_read, cache_write, output })
}

/// Seconds since 1970, or a time as text.
fn instant(value: &Value) -> Option<Instant> {
    match value {
        Value::Number(seconds) => {
            let micros = parse_scaled(&seconds.to_string(), MICRO_SCALE).ok()?.atoms;
            i64::try_from(micros).ok().map(Instant::from_micros)
        }
        Value::String(text) => Instant::parse_lenient(text).ok(),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::adapters::AdapterKind;
    use crate::adapters::call::tests::said;
    use crate::event::parse_event;
    use domain::dimension::Dimension;
    use serde_json::json;

    fn logged() -> Value {
        json!({
            "id": "chatcmpl-1", "trace_id": "t-1", "call_type": "acompletion", "status": "success", "cache_hit": false,
            "response_cost": 0.0123, "model": "large-1", "model_group": "large", "custom_llm_provider": "anthropic",
            "prompt_tokens": 1000, "completion_tokens": 50, "total_tokens": 1050,
            "startTime": 1_795_082_400.25, "endTime": 1_795_082_402.5, "end_user": null, "request_tags": [],
            "metadata": {
                "user_api_key_team_id": "team-1", "user_api_key_team_alias": "acme", "user_api_key_user_id": "ann",
                "requester_metadata": { "workflow": "wf-7", "task_class": "migration" },
                "usage_object": {
                    "prompt_tokens": 1000, "completion_tokens": 50, "prompt_tokens_details": { "cached_tokens": 700 },
                    "cache_read_input_tokens": 700, "cache_creation_input_tokens": 200,
                },
            },
        })
    }

    fn events(record: &Value) -> Result<Vec<String>, Unusable> {
        events_of(record, &AdapterRule::usual(AdapterKind::Litellm))
    }

    fn check(record: &Value, expected: &[[&str; 6]]) {
        let found = said(&events(record).unwrap());
        assert_eq!(found, expected.iter().map(|row| row.map(str::to_owned)).collect::<Vec<_>>());
    }

    #[test]
    fn each_class_of_tokens_is_counted_apart_and_once() {
        check(
            &logged(),
            &[
                ["chatcmpl-1/input", "llm.completion", "100", "input", "", ""],
                ["chatcmpl-1/cache_read", "llm.completion", "700", "input", "read", ""],
                ["chatcmpl-1/cache_write", "llm.completion", "200", "input", "write", ""],
                ["chatcmpl-1/output", "llm.completion", "50", "output", "", ""],
            ],
        );
        let made = events(&logged()).unwrap();
        let event = parse_event(&made[0]).unwrap().event;
        assert_eq!(event.time, Some("2026-11-19T10:00:00.25Z".parse().unwrap()));
        let dimension = |dimension| event.dimensions.get(&dimension);
        assert_eq!((dimension(Dimension::Tenant), dimension(Dimension::User)), (Some("acme"), Some("ann")));
        assert_eq!(dimension(Dimension::Workflow), Some("wf-7"));
        assert_eq!(dimension(Dimension::TaskClass), Some("migration"));
    }

    #[test]
    fn cached_tokens_may_stand_in_the_details_alone() {
        let mut record = logged();
        record["metadata"]["usage_object"] =
            json!({ "cache_read_input_tokens": 0, "prompt_tokens_details": { "cached_tokens": 400 } });
        check(
            &record,
            &[
                ["chatcmpl-1/input", "llm.completion", "600", "input", "", ""],
                ["chatcmpl-1/cache_read", "llm.completion", "400", "input", "read", ""],
                ["chatcmpl-1/output", "llm.completion", "50", "output", "", ""],
            ],
        );
    }

    #[test]
    fn a_failed_call_is_counted_with_the_tokens_it_used() {
        let mut record = logged();
        record["status"] = json!("failure");
        record["metadata"]["usage_object"] = Value::Null;
        record["completion_tokens"] = json!(0);
        check(
            &record,
            &[
                ["chatcmpl-1/input", "llm.completion", "1000", "input", "", "failed"],
                ["chatcmpl-1/failed", "llm.failed", "", "", "", ""],
            ],
        );
        record["prompt_tokens"] = json!(0);
        check(&record, &[["chatcmpl-1/failed", "llm.failed", "", "", "", ""]]);
    }

    #[test]
    fn an_answer_of_the_proxys_own_cache_bought_nothing() {
        let mut record = logged();
        record["cache_hit"] = json!(true);
        assert_eq!(events(&record), Ok(Vec::new()));
    }

    #[test]
    fn a_call_without_what_identifies_it_is_unusable() {
        for name in ["id", "model", "startTime"] {
            let mut record = logged();
            record[name] = Value::Null;
            assert_eq!(events(&record), Err(Unusable(format!("a call without `{name}`"))));
        }
        let mut record = logged();
        record["prompt_tokens"] = json!("many");
        assert!(events(&record).is_err());
        assert!(events(&json!("text")).is_err());
    }
}
