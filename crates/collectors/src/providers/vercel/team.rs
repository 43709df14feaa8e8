use super::super::credentials::bearer;
use super::super::error::{Cause, CollectError};
use super::super::fetch::{Fetch, Request};
use super::{SPEC, TEAM};
use domain::time::MICROS_PER_SECOND;
use domain::{Instant, Zone};
use reqwest::header::AUTHORIZATION;
use serde_json::Value;

/// Milliseconds of a day, and days of a month: a subscription of another length does not tell when bills begin.
const DAY_MILLIS: i64 = 86_400_000;
const MONTH_DAYS: std::ops::RangeInclusive<i64> = 27..=32;
const MICROS_PER_MILLI: i64 = MICROS_PER_SECOND / 1_000;

/// Returns the day of the month on which the team's bills begin. It is told to some, and documented nowhere: an answer
/// without it, or none to this token, is no reason to collect nothing.
///
/// # Errors
/// [`CollectError`] if the provider is there and only now cannot answer: days must not be counted in other periods for that.
pub(super) async fn billing_day(fetch: &Fetch, team: &str) -> Result<Option<u8>, CollectError> {
    let request = Request::get(TEAM).argument(team).header(AUTHORIZATION, bearer(fetch.credentials(), "token")?);
    match fetch.send(request).await.and_then(|answer| answer.json::<Value>()) {
        Ok(told) => Ok(first_day(&told)),
        Err(error) if matches!(error.cause, Cause::RateLimited | Cause::Server | Cause::Timeout) => Err(error),
        Err(_) => Ok(None),
    }
}

/// The day on which the period of the monthly subscription begins, or that of the account.
fn first_day(team: &Value) -> Option<u8> {
    let billing = team.get("billing")?;
    let subscriptions = billing.get("subscriptions").and_then(Value::as_array);
    let of_subscriptions = subscriptions.into_iter().flatten().filter_map(|subscription| subscription.get("period"));
    let start = of_subscriptions.chain(billing.get("period")).find_map(start_of_month)?;
    let zone: Zone = SPEC.zone.parse().ok()?;
    u8::try_from(zone.day_of(start).date().day()).ok()
}

/// When a period begins, in milliseconds since 1970, if it is as long as a month.
fn start_of_month(period: &Value) -> Option<Instant> {
    let at = |name: &str| period.get(name).and_then(Value::as_i64);
    let (start, end) = (at("start")?, at("end")?);
    let is_month = MONTH_DAYS.contains(&(end.checked_sub(start)? / DAY_MILLIS));
    is_month.then(|| start.checked_mul(MICROS_PER_MILLI)).flatten().map(Instant::from_micros)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn bills_begin_with_the_period_of_the_monthly_subscription() {
        // From 08:00Z on the fifth of November, which is midnight in Los Angeles, to the fifth of December; a year from March.
        let month = json!({ "start": 1_793_865_600_000_i64, "end": 1_796_457_600_000_i64 });
        let year = json!({ "start": 1_772_352_000_000_i64, "end": 1_803_888_000_000_i64 });
        let day = |billing: Value| first_day(&json!({ "id": "team_1", "billing": billing }));
        assert_eq!(day(json!({ "subscriptions": [{ "period": year }, { "period": month }] })), Some(5));
        assert_eq!(day(json!({ "plan": "pro", "period": month })), Some(5));
        assert_eq!(day(json!({ "subscriptions": [{ "period": year }, {}], "period": month })), Some(5));
        let turned = json!({ "start": month["end"], "end": month["start"] });
        for nothing in [json!({ "plan": "pro" }), json!({ "period": year }), json!({ "period": turned }), json!(null)] {
            assert_eq!(day(nothing.clone()), None, "{nothing}");
        }
        assert_eq!(day(json!({ "subscriptions": "none", "period": { "start": "soon", "end": 1 } })), None);
        assert_eq!(day(json!({ "period": { "start": i64::MIN, "end": i64::MAX } })), None);
    }
}
