use super::error::{PrometheusError, beginning, shown};
use super::hours::HourSpan;
use domain::Instant;
use domain::decimal::parse_scaled;
use serde::Deserialize;
use serde::de::IgnoredAny;
use serde_json::value::RawValue;
use std::collections::BTreeMap;

/// Warnings kept of one answer.
const WARNINGS_MAX: usize = 10;

/// The series of one answer.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Answer {
    pub series: Vec<Series>,
    /// Values that are no numbers: `NaN`, infinities, native histograms.
    pub skipped_values: u64,
    /// What the server warns of.
    pub warnings: Vec<String>,
}

/// One series: its labels, and the text of its value by the start of the hour.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Series {
    pub labels: BTreeMap<String, String>,
    pub points: Vec<(Instant, String)>,
}

#[derive(Deserialize)]
struct Body<'a> {
    status: String,
    #[serde(borrow, default)]
    data: Option<Data<'a>>,
    #[serde(default, rename = "errorType")]
    error_type: Option<String>,
    #[serde(default)]
    error: Option<String>,
    #[serde(default)]
    warnings: Option<Vec<String>>,
}

#[derive(Deserialize)]
struct Data<'a> {
    #[serde(rename = "resultType")]
    result_type: String,
    #[serde(borrow)]
    result: &'a RawValue,
}

#[derive(Deserialize)]
struct SeriesBody<'a> {
    metric: BTreeMap<String, String>,
    #[serde(borrow, default)]
    values: Vec<(&'a RawValue, String)>,
    #[serde(default)]
    histograms: Vec<IgnoredAny>,
}

/// Returns the series of a successful answer.
///
/// # Errors
/// [`PrometheusError::BrokenOff`] for text that ends too early, [`PrometheusError::NotJson`] for any other that is not
/// Prometheus' JSON, [`PrometheusError::BadQuery`] if the answer is an error after all, [`PrometheusError::Unexpected`] for
/// what nobody asked for.
pub(super) fn read(bytes: &[u8], span: HourSpan) -> Result<Answer, PrometheusError> {
    let body: Body<'_> = serde_json::from_slice(bytes).map_err(|error| not_json(&error, bytes))?;
    if body.status != "success" {
        return Err(PrometheusError::BadQuery(refusal_text(&body)));
    }
    let unexpected = |text: &str| PrometheusError::Unexpected(text.to_owned());
    let data = body.data.ok_or_else(|| unexpected("it has no data"))?;
    if data.result_type != "matrix" {
        return Err(unexpected(&format!("its type is `{}`, not `matrix`", shown(&data.result_type))));
    }
    let found: Vec<SeriesBody<'_>> = serde_json::from_str(data.result.get())
        .map_err(|error| unexpected(&format!("its series cannot be read: {}", shown(&error.to_string()))))?;
    let mut answer = Answer::default();
    let warnings = body.warnings.unwrap_or_default();
    answer.warnings = warnings.iter().take(WARNINGS_MAX).map(|warning| shown(warning)).collect();
    for body in found {
        answer.skipped_values += body.histograms.len() as u64;
        let mut points = Vec::with_capacity(body.values.len());
        for (time, value) in body.values {
            let hour = hour_of(time.get(), span)?;
            if is_a_number(&value) {
                points.push((hour, value));
            } else {
                answer.skipped_values += 1;
            }
        }
        answer.series.push(Series { labels: body.metric, points });
    }
    Ok(answer)
}

/// Returns what an answer that is not a success says of itself.
pub(super) fn refusal(bytes: &[u8]) -> String {
    match serde_json::from_slice::<Body<'_>>(bytes) {
        Ok(body) => refusal_text(&body),
        Err(_) if bytes.is_empty() => "it says nothing more".to_owned(),
        Err(_) => beginning(bytes),
    }
}

fn refusal_text(body: &Body<'_>) -> String {
    let text = body.error.as_deref().unwrap_or("it does not say why");
    body.error_type.as_ref().map_or_else(|| shown(text), |kind| shown(&format!("{kind}: {text}")))
}

fn not_json(error: &serde_json::Error, bytes: &[u8]) -> PrometheusError {
    if error.is_eof() && bytes.trim_ascii_start().starts_with(b"{") {
        PrometheusError::BrokenOff(format!("its JSON ends after {} bytes", bytes.len()))
    } else {
        PrometheusError::NotJson(beginning(bytes))
    }
}

fn hour_of(time: &str, span: HourSpan) -> Result<Instant, PrometheusError> {
    let seconds = parse_scaled(time, 0).ok().filter(|parsed| !parsed.rounded);
    let hour = seconds.and_then(|parsed| span.hour_that_ends_at(parsed.atoms));
    hour.ok_or_else(|| PrometheusError::Unexpected(format!("nobody asked for a value at `{}`", shown(time))))
}

/// `NaN`, `+Inf` and `-Inf` are no quantities and must never reach a sum.
fn is_a_number(text: &str) -> bool {
    !matches!(text.trim_start_matches(['+', '-']), "NaN" | "Inf")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn span() -> HourSpan {
        let at = |text: &str| text.parse().expect("an instant");
        HourSpan::new(at("2026-11-20T00:00:00Z"), at("2026-11-20T03:00:00Z")).expect("three hours")
    }

    fn matrix(series: &str) -> String {
        format!(r#"{{"status":"success","data":{{"resultType":"matrix","result":[{series}]}},"infos":["i"]}}"#)
    }

    fn cause(text: &str) -> &'static str {
        read(text.as_bytes(), span()).map_or_else(|error| error.cause(), |_| "ok")
    }

    // 2026-11-20T00:00:00Z is 1795132800.
    #[test]
    fn values_keep_their_text_and_holes_stay_holes() {
        let text = matrix(r#"{"metric":{"a":"b"},"values":[[1795136400,"1.8e+06"],[1795143600.000,"0"]]}"#);
        let answer = read(text.as_bytes(), span()).expect("readable");
        let points: Vec<String> =
            answer.series[0].points.iter().map(|(hour, value)| format!("{hour} {value}")).collect();
        assert_eq!(points, ["2026-11-20T00:00:00Z 1.8e+06", "2026-11-20T02:00:00Z 0"]);
        assert_eq!((answer.series[0].labels["a"].as_str(), answer.skipped_values), ("b", 0));
    }

    #[test]
    fn what_is_no_number_is_left_out_and_counted() {
        let values = r#"[1795136400,"NaN"],[1795140000,"+Inf"],[1795143600,"-Inf"]"#;
        let text = matrix(&format!(r#"{{"metric":{{}},"values":[{values}],"histograms":[[1795136400,{{}}]]}}"#));
        let answer = read(text.as_bytes(), span()).expect("readable");
        assert_eq!((answer.series[0].points.len(), answer.skipped_values), (0, 4));
    }

    #[test]
    fn every_other_answer_has_its_own_cause() {
        let table = [
            (matrix(""), "ok"),
            (matrix("")[..40].to_owned(), "broken_off"),
            (String::new(), "not_json"),
            ("<html><body>Sign in</body></html>".to_owned(), "not_json"),
            ("[]".to_owned(), "not_json"),
            (r#"{"status":"error","errorType":"bad_data","error":"parse error"}"#.to_owned(), "bad_query"),
            (r#"{"status":"success"}"#.to_owned(), "unexpected"),
            (r#"{"status":"success","data":{"resultType":"vector","result":[]}}"#.to_owned(), "unexpected"),
            (matrix(r#"{"metric":{},"values":[[1795136400,1]]}"#), "unexpected"),
            (matrix(r#"{"metric":{},"values":[[1795136401,"1"]]}"#), "unexpected"),
            (matrix(r#"{"metric":{},"values":[[1795132800,"1"]]}"#), "unexpected"),
            (matrix(r#"{"metric":{},"values":[[1795136400.5,"1"]]}"#), "unexpected"),
        ];
        for (text, expected) in table {
            assert_eq!(cause(&text), expected, "{text}");
        }
    }

    #[test]
    fn warnings_are_kept_and_made_harmless() {
        let text = r#"{"status":"success","data":{"resultType":"matrix","result":[]},"warnings":["a\u001b[31mb"]}"#;
        let answer = read(text.as_bytes(), span()).expect("readable");
        assert_eq!(answer.warnings, ["a\\u{1b}[31mb"]);
    }
}
