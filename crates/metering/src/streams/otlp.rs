//! OTLP/HTTP metrics: sums, gauges, and histograms and summaries by their sum.

use super::otlp_json;
use super::parts::{LEAF, PARTS_PER_SERIES, Shape, exceeds};
use super::point::{
    Attributes, Point, PointKind, Protocol, PushError, PushLimits, Pushed, Refused, Series, decimal_text,
};
use super::{MetricMap, MetricRule};
use opentelemetry_proto::tonic::collector::metrics::v1::{
    ExportMetricsPartialSuccess, ExportMetricsServiceRequest, ExportMetricsServiceResponse,
};
use opentelemetry_proto::tonic::common::v1::any_value::Value as AnyKind;
use opentelemetry_proto::tonic::common::v1::{AnyValue, InstrumentationScope, KeyValue};
use opentelemetry_proto::tonic::metrics::v1::metric::Data;
use opentelemetry_proto::tonic::metrics::v1::number_data_point::Value as NumberKind;
use opentelemetry_proto::tonic::metrics::v1::{AggregationTemporality, DataPointFlags, Metric, NumberDataPoint};
use prost::Message as _;
use serde_json::{Map, Number, Value, json};
use std::io::Read as _;
use std::sync::Arc;

/// Bytes that are decompressed at a time to be counted.
const COUNTED_AT_ONCE: usize = 64 * 1024;

/// How an export is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OtlpEncoding {
    /// Binary protobuf.
    Protobuf,
    /// JSON, as OTLP maps it.
    Json,
}

impl OtlpEncoding {
    /// Returns the encoding of a content type, which is that of the answer as well.
    #[must_use]
    pub fn of(content_type: &str) -> Option<Self> {
        match content_type {
            "application/x-protobuf" => Some(Self::Protobuf),
            "application/json" => Some(Self::Json),
            _ => None,
        }
    }

    /// Returns its content type.
    #[must_use]
    pub fn content_type(self) -> &'static str {
        match self {
            Self::Protobuf => "application/x-protobuf",
            Self::Json => "application/json",
        }
    }
}

/// Returns the points of an export.
///
/// # Errors
/// [`PushError`] if nothing of it can be taken.
///
/// # Source
/// opentelemetry-proto, `docs/specification.md`; data model, "Metrics".
pub fn decode(
    body: Vec<u8>,
    is_gzip: bool,
    encoding: OtlpEncoding,
    map: &MetricMap,
    limits: &PushLimits,
) -> Result<Pushed, PushError> {
    let body = if is_gzip { gunzip(&body, limits.decoded_bytes_max)? } else { body };
    if limits.decoded_bytes_max < body.len() as u64 {
        return Err(PushError::DecodedTooLarge(limits.decoded_bytes_max));
    }
    let parts_max = limits.series_max.saturating_mul(PARTS_PER_SERIES);
    let request = match encoding {
        OtlpEncoding::Protobuf if exceeds(&body, &REQUEST, parts_max) => {
            return Err(PushError::TooManySeries(limits.series_max));
        }
        OtlpEncoding::Protobuf => ExportMetricsServiceRequest::decode(&*body)
            .map_err(|error| PushError::Undecodable(format!("not an ExportMetricsServiceRequest: {error}")))?,
        OtlpEncoding::Json if parts_max < otlp_json::parts_of(&body) => {
            return Err(PushError::TooManySeries(limits.series_max));
        }
        OtlpEncoding::Json => otlp_json::request_of(&body).map_err(PushError::Undecodable)?,
    };
    let pushed = read(&request, map);
    if (limits.series_max as u64) < pushed.received {
        return Err(PushError::TooManySeries(limits.series_max));
    }
    if limits.points_max < pushed.points.len() as u64 {
        return Err(PushError::TooManyPoints(limits.points_max));
    }
    Ok(pushed)
}

/// Returns how many bytes [`decode`] will keep of a body when it is decompressed, without keeping any.
///
/// # Errors
/// [`PushError::DecodedTooLarge`]. What is damaged is told by [`decode`].
pub fn decoded_bytes(body: &[u8], is_gzip: bool, limits: &PushLimits) -> Result<u64, PushError> {
    let mut bytes = 0;
    if is_gzip {
        let mut reader = flate2::bufread::MultiGzDecoder::new(body);
        let mut buffer = vec![0; COUNTED_AT_ONCE];
        while let Ok(read @ 1..) = reader.read(&mut buffer) {
            bytes += read as u64;
            if limits.decoded_bytes_max < bytes {
                break;
            }
        }
    } else {
        bytes = body.len() as u64;
    }
    if limits.decoded_bytes_max < bytes { Err(PushError::DecodedTooLarge(limits.decoded_bytes_max)) } else { Ok(bytes) }
}

fn gunzip(body: &[u8], bytes_max: u64) -> Result<Vec<u8>, PushError> {
    let mut decoded = Vec::new();
    let mut reader = flate2::bufread::MultiGzDecoder::new(body).take(bytes_max.saturating_add(1));
    reader.read_to_end(&mut decoded).map_err(|error| PushError::Undecodable(format!("not gzip: {error}")))?;
    if bytes_max < decoded.len() as u64 { Err(PushError::DecodedTooLarge(bytes_max)) } else { Ok(decoded) }
}

/// Returns the body of the answer to an export of which some points may be refused.
#[must_use]
pub fn response(encoding: OtlpEncoding, refused: &Refused) -> Vec<u8> {
    let partial = (0 < refused.count).then(|| ExportMetricsPartialSuccess {
        rejected_data_points: i64::try_from(refused.count).unwrap_or(i64::MAX),
        error_message: refused.message("data points"),
    });
    match (encoding, partial) {
        (OtlpEncoding::Protobuf, partial_success) => ExportMetricsServiceResponse { partial_success }.encode_to_vec(),
        (OtlpEncoding::Json, None) => b"{}".to_vec(),
        (OtlpEncoding::Json, Some(partial)) => {
            let rejected = partial.rejected_data_points.to_string();
            json!({ "partialSuccess": { "rejectedDataPoints": rejected, "errorMessage": partial.error_message } })
                .to_string()
                .into_bytes()
        }
    }
}

/// Returns the body of an answer that is an error: a `google.rpc.Status`.
#[must_use]
pub fn status(encoding: OtlpEncoding, message: &str) -> Vec<u8> {
    #[derive(Clone, PartialEq, prost::Message)]
    struct Status {
        #[prost(string, tag = "2")]
        message: String,
    }
    match encoding {
        OtlpEncoding::Protobuf => Status { message: message.to_owned() }.encode_to_vec(),
        OtlpEncoding::Json => json!({ "message": message }).to_string().into_bytes(),
    }
}

fn read(request: &ExportMetricsServiceRequest, map: &MetricMap) -> Pushed {
    let mut pushed = Pushed::default();
    for of_resource in &request.resource_metrics {
        let resource = of_resource.resource.as_ref().map(|resource| attributes(&resource.attributes));
        let resource = Arc::new(resource.unwrap_or_default());
        for of_scope in &of_resource.scope_metrics {
            let scope = Arc::new(of_scope.scope.as_ref().map(scope_attributes).unwrap_or_default());
            for metric in &of_scope.metrics {
                take_metric(metric, (&resource, &scope), map, &mut pushed);
            }
        }
    }
    pushed
}

fn scope_attributes(scope: &InstrumentationScope) -> Attributes {
    let mut found = attributes(&scope.attributes);
    for (name, text) in [("otel.scope.name", &scope.name), ("otel.scope.version", &scope.version)] {
        if !text.is_empty() {
            found.insert(name.to_owned(), Value::String(text.clone()));
        }
    }
    found
}

fn take_metric(
    metric: &Metric,
    (resource, scope): (&Arc<Attributes>, &Arc<Attributes>),
    map: &MetricMap,
    pushed: &mut Pushed,
) {
    let Some(data) = &metric.data else { return };
    let (kind, raws) = raws(data);
    pushed.received += raws.len() as u64;
    let Some(rule) = map.get(&metric.name) else {
        pushed.skipped += raws.len() as u64;
        return;
    };
    for raw in raws {
        if raw.flags & DataPointFlags::NoRecordedValueMask as u32 != 0 {
            pushed.skipped += 1;
            continue;
        }
        let series = |attributes| Series {
            protocol: Protocol::Otlp,
            metric: metric.name.clone(),
            point: attributes,
            resource: Arc::clone(resource),
            scope: Arc::clone(scope),
        };
        match kind.and_then(|kind| point(&raw, kind, rule, series)) {
            Ok(point) => pushed.points.push(point),
            Err(problem) => pushed.refused.add(1, format!("metric `{}`: {problem}", metric.name)),
        }
    }
}

/// What the data points of every kind of metric have in common.
struct Raw<'m> {
    attributes: &'m [KeyValue],
    start: u64,
    at: u64,
    flags: u32,
    value: Result<String, &'static str>,
}

const NOT_FINITE: &str = "the value is not a finite number";

fn raws(data: &Data) -> (Result<PointKind, &'static str>, Vec<Raw<'_>>) {
    let sum_of =
        |sum: Option<f64>| sum.ok_or("the histogram has no sum").and_then(|sum| decimal_text(sum).ok_or(NOT_FINITE));
    macro_rules! raws_of {
        ($points:expr, $point:ident => $value:expr) => {
            $points
                .iter()
                .map(|$point| Raw {
                    attributes: &$point.attributes,
                    start: $point.start_time_unix_nano,
                    at: $point.time_unix_nano,
                    flags: $point.flags,
                    value: $value,
                })
                .collect()
        };
    }
    match data {
        Data::Gauge(gauge) => (Ok(PointKind::Gauge), raws_of!(gauge.data_points, point => number(point))),
        Data::Sum(sum) => {
            let kind = kind_of(sum.aggregation_temporality, sum.is_monotonic);
            (kind, raws_of!(sum.data_points, point => number(point)))
        }
        Data::Histogram(histogram) => {
            let kind = kind_of(histogram.aggregation_temporality, true);
            (kind, raws_of!(histogram.data_points, point => sum_of(point.sum)))
        }
        Data::ExponentialHistogram(histogram) => {
            let kind = kind_of(histogram.aggregation_temporality, true);
            (kind, raws_of!(histogram.data_points, point => sum_of(point.sum)))
        }
        Data::Summary(summary) => {
            (Ok(PointKind::Cumulative), raws_of!(summary.data_points, point => sum_of(Some(point.sum))))
        }
    }
}

fn kind_of(temporality: i32, is_monotonic: bool) -> Result<PointKind, &'static str> {
    match (AggregationTemporality::try_from(temporality), is_monotonic) {
        (Ok(AggregationTemporality::Delta), true) => Ok(PointKind::Delta),
        (Ok(AggregationTemporality::Delta), false) => Err("changes of a sum that may fall cannot be counted"),
        (Ok(AggregationTemporality::Cumulative), true) => Ok(PointKind::Cumulative),
        (Ok(AggregationTemporality::Cumulative), false) => Ok(PointKind::Gauge),
        (Ok(AggregationTemporality::Unspecified) | Err(_), _) => Err("unknown temporality"),
    }
}

fn number(point: &NumberDataPoint) -> Result<String, &'static str> {
    match point.value {
        Some(NumberKind::AsInt(number)) => Ok(number.to_string()),
        Some(NumberKind::AsDouble(number)) => decimal_text(number).ok_or(NOT_FINITE),
        None => Err("a data point without a value"),
    }
}

fn point(
    raw: &Raw<'_>,
    kind: PointKind,
    rule: &MetricRule,
    series: impl FnOnce(Attributes) -> Series,
) -> Result<Point, &'static str> {
    let value = raw.value.clone()?;
    let nanos = |time: u64| i64::try_from(time).map_err(|_| "a time after the year 2262");
    let (at_nanos, start_nanos) = (nanos(raw.at)?, nanos(raw.start)?);
    if at_nanos == 0 {
        return Err("a data point without a time");
    }
    if at_nanos < start_nanos {
        return Err("a data point that starts after its time");
    }
    let series = Arc::new(series(attributes(raw.attributes)));
    let start_nanos = (start_nanos != 0).then_some(start_nanos);
    Ok(Point { series, at_nanos, start_nanos, value, kind: rule.kind_of(kind) })
}

fn attributes(pairs: &[KeyValue]) -> Attributes {
    pairs.iter().map(|pair| (pair.key.clone(), plain(pair.value.as_ref()))).collect()
}

/// The value as JSON; equal values become equal JSON, whatever they were encoded as.
fn plain(value: Option<&AnyValue>) -> Value {
    match value.and_then(|value| value.value.as_ref()) {
        None | Some(AnyKind::StringValueStrindex(_)) => Value::Null,
        Some(AnyKind::StringValue(text)) => Value::String(text.clone()),
        Some(AnyKind::BoolValue(flag)) => Value::Bool(*flag),
        Some(AnyKind::IntValue(number)) => Value::Number((*number).into()),
        Some(AnyKind::DoubleValue(number)) => {
            let exact = decimal_text(*number).and_then(|text| text.parse::<Number>().ok());
            exact.map_or_else(|| Value::String(number.to_string()), Value::Number)
        }
        Some(AnyKind::ArrayValue(list)) => list.values.iter().map(|value| plain(Some(value))).collect(),
        Some(AnyKind::KvlistValue(list)) => {
            let members = list.values.iter().map(|pair| (pair.key.clone(), plain(pair.value.as_ref())));
            Value::Object(members.collect::<Map<_, _>>())
        }
        Some(AnyKind::BytesValue(bytes)) => json!({ "bytes": hex::encode(bytes) }),
    }
}

static REQUEST: Shape = Shape(&[(1, &RESOURCE_METRICS)]);
static RESOURCE_METRICS: Shape = Shape(&[(1, &RESOURCE), (2, &SCOPE_METRICS)]);
static RESOURCE: Shape = Shape(&[(1, &PAIR), (3, &ENTITY)]);
static ENTITY: Shape = Shape(&[(3, &LEAF), (4, &LEAF)]);
static SCOPE_METRICS: Shape = Shape(&[(1, &SCOPE), (2, &METRIC)]);
static SCOPE: Shape = Shape(&[(3, &PAIR)]);
static METRIC: Shape =
    Shape(&[(5, &NUMBERS), (7, &NUMBERS), (9, &HISTOGRAMS), (10, &EXPONENTIALS), (11, &SUMMARIES), (12, &PAIR)]);
static NUMBERS: Shape = Shape(&[(1, &Shape(&[(5, &EXEMPLAR), (7, &PAIR)]))]);
static HISTOGRAMS: Shape = Shape(&[(1, &Shape(&[(8, &EXEMPLAR), (9, &PAIR)]))]);
static EXPONENTIALS: Shape = Shape(&[(1, &Shape(&[(1, &PAIR), (8, &LEAF), (9, &LEAF), (11, &EXEMPLAR)]))]);
static SUMMARIES: Shape = Shape(&[(1, &Shape(&[(6, &LEAF), (7, &PAIR)]))]);
static EXEMPLAR: Shape = Shape(&[(7, &PAIR)]);
static PAIR: Shape = Shape(&[(2, &VALUE)]);
static VALUE: Shape = Shape(&[(5, &Shape(&[(1, &VALUE)])), (6, &Shape(&[(1, &PAIR)]))]);

#[cfg(test)]
mod tests {
    use super::*;
    use crate::streams::tests::{LIMITS, map};
    use opentelemetry_proto::tonic::metrics::v1::{ResourceMetrics, ScopeMetrics, Sum};

    fn number_point(start: u64, at: u64, value: NumberKind) -> NumberDataPoint {
        let attribute = AnyValue { value: Some(AnyKind::StringValue("acme".to_owned())) };
        NumberDataPoint {
            attributes: vec![KeyValue { key: "tenant".to_owned(), value: Some(attribute), key_strindex: 0 }],
            start_time_unix_nano: start,
            time_unix_nano: at,
            value: Some(value),
            ..NumberDataPoint::default()
        }
    }

    fn export(name: &str, temporality: i32, is_monotonic: bool, points: Vec<NumberDataPoint>) -> Vec<u8> {
        let sum = Sum { data_points: points, aggregation_temporality: temporality, is_monotonic };
        let metric = Metric { name: name.to_owned(), data: Some(Data::Sum(sum)), ..Metric::default() };
        let of_scope = ScopeMetrics { metrics: vec![metric], ..ScopeMetrics::default() };
        let of_resource = ResourceMetrics { scope_metrics: vec![of_scope], ..ResourceMetrics::default() };
        ExportMetricsServiceRequest { resource_metrics: vec![of_resource] }.encode_to_vec()
    }

    fn decoded(body: &[u8], encoding: OtlpEncoding) -> Result<Pushed, PushError> {
        decode(body.to_vec(), false, encoding, &map(), &LIMITS)
    }

    fn reason(body: &[u8]) -> String {
        let pushed = decoded(body, OtlpEncoding::Protobuf).unwrap();
        assert_eq!((pushed.points.len(), pushed.refused.count), (0, 1));
        pushed.refused.reasons.join(";").replace("metric `tokens`: ", "")
    }

    #[test]
    fn the_temporality_says_what_a_sum_is() {
        let kind = |temporality, is_monotonic| {
            let body = export("tokens", temporality, is_monotonic, vec![number_point(1, 2, NumberKind::AsInt(3))]);
            decoded(&body, OtlpEncoding::Protobuf).unwrap().points.first().map(|point| point.kind)
        };
        assert_eq!(kind(1, true), Some(PointKind::Delta));
        assert_eq!(kind(2, true), Some(PointKind::Cumulative));
        assert_eq!(kind(2, false), Some(PointKind::Gauge));
        assert_eq!([kind(0, true), kind(7, true), kind(1, false)], [None; 3]);
    }

    #[test]
    fn integers_keep_their_digits_and_doubles_their_shortest() {
        let points = vec![
            number_point(1, 2, NumberKind::AsInt(9_007_199_254_740_993)),
            number_point(1, 3, NumberKind::AsDouble(0.1)),
        ];
        let pushed = decoded(&export("tokens", 1, true, points), OtlpEncoding::Protobuf).unwrap();
        let values: Vec<&str> = pushed.points.iter().map(|point| point.value.as_str()).collect();
        assert_eq!(values, ["9007199254740993", "0.1"]);
    }

    #[test]
    fn what_cannot_be_counted_is_refused_with_the_reason() {
        let one = |point: NumberDataPoint| export("tokens", 1, true, vec![point]);
        assert_eq!(reason(&one(number_point(1, 2, NumberKind::AsDouble(f64::NAN)))), NOT_FINITE);
        assert_eq!(reason(&one(number_point(1, 2, NumberKind::AsDouble(f64::INFINITY)))), NOT_FINITE);
        assert_eq!(reason(&one(number_point(0, 0, NumberKind::AsInt(1)))), "a data point without a time");
        assert_eq!(reason(&one(number_point(3, 2, NumberKind::AsInt(1)))), "a data point that starts after its time");
        assert_eq!(reason(&one(number_point(0, u64::MAX, NumberKind::AsInt(1)))), "a time after the year 2262");
        let nothing = NumberDataPoint { value: None, ..number_point(1, 2, NumberKind::AsInt(1)) };
        assert_eq!(reason(&one(nothing)), "a data point without a value");
        let zero = export("tokens", 0, true, vec![number_point(1, 2, NumberKind::AsInt(1))]);
        assert_eq!(reason(&zero), "unknown temporality");
    }

    #[test]
    fn metrics_that_are_not_mapped_and_points_without_a_value_are_skipped() {
        let stale = NumberDataPoint { flags: 1, value: None, ..number_point(1, 2, NumberKind::AsInt(1)) };
        let pushed = decoded(&export("tokens", 2, true, vec![stale]), OtlpEncoding::Protobuf).unwrap();
        assert_eq!((pushed.received, pushed.skipped, pushed.refused.count), (1, 1, 0));
        let other = export("other", 0, true, vec![number_point(1, 2, NumberKind::AsInt(1))]);
        let pushed = decoded(&other, OtlpEncoding::Protobuf).unwrap();
        assert_eq!((pushed.received, pushed.skipped, pushed.points.len()), (1, 1, 0));
    }

    /// Every kind of metric and of attribute, as JSON.
    const JSON: &str = r#"{"unknown":{"a":[1]},"resourceMetrics":[{"resource":{"attributes":[
        {"key":"service.name","value":{"stringValue":"proxy"}},{"key":"n","value":{"intValue":"7"}},
        {"key":"list","value":{"arrayValue":{"values":[{"boolValue":true},{"doubleValue":1.50}]}}},
        {"key":"map","value":{"kvlistValue":{"values":[{"key":"k","value":{"bytesValue":"AP8="}}]}}}]},
        "scopeMetrics":[{"scope":{"name":"s","version":"1"},"metrics":[
        {"name":"tokens","sum":{"aggregationTemporality":1,"isMonotonic":true,"dataPoints":[
            {"startTimeUnixNano":"1","timeUnixNano":"2","asInt":"1820"},{"startTimeUnixNano":1,"timeUnixNano":3,"asInt":18},
            {"startTimeUnixNano":"1","timeUnixNano":"4","asDouble":1.50},{"timeUnixNano":"5","asDouble":"NaN"}]}},
        {"name":"level","gauge":{"dataPoints":[{"timeUnixNano":"6","asDouble":-2}]}},
        {"name":"seconds","histogram":{"aggregationTemporality":2,"dataPoints":[
            {"startTimeUnixNano":"1","timeUnixNano":"7","count":"2","sum":3.25,"bucketCounts":["1","1"],"explicitBounds":[1.0]},
            {"startTimeUnixNano":"1","timeUnixNano":"8","count":"2"}]}},
        {"name":"tokens","exponentialHistogram":{"aggregationTemporality":1,"dataPoints":[
            {"startTimeUnixNano":"1","timeUnixNano":"9","count":"2","sum":4,"scale":1,"zeroCount":"0"}]}},
        {"name":"tokens","summary":{"dataPoints":[{"startTimeUnixNano":"1","timeUnixNano":"10","count":"2","sum":5}]}}
        ]}]}]}"#;

    #[test]
    fn json_and_protobuf_say_the_same() {
        let from_json = decoded(JSON.as_bytes(), OtlpEncoding::Json).unwrap();
        let message = otlp_json::request_of(JSON.as_bytes()).unwrap();
        let from_protobuf = decoded(&message.encode_to_vec(), OtlpEncoding::Protobuf).unwrap();
        assert_eq!(from_json, from_protobuf);
        let found: Vec<String> = from_json
            .points
            .iter()
            .map(|point| format!("{} {} {:?}", point.series.metric, point.value, point.kind))
            .collect();
        let expected = [
            "tokens 1820 Delta",
            "tokens 18 Delta",
            "tokens 1.5 Delta",
            "level -2 Gauge",
            "seconds 3.25 Cumulative",
            "tokens 4 Delta",
            "tokens 5 Cumulative",
        ];
        assert_eq!(found, expected);
        assert_eq!((from_json.received, from_json.refused.count), (9, 2));
        let source = from_json.points[0].series.source();
        assert_eq!(
            source,
            r#"otlp:{"metric":"tokens","resource":{"list":[true,1.5],"map":{"k":{"bytes":"00ff"}},"n":7,"service.name":"proxy"},"scope":{"otel.scope.name":"s","otel.scope.version":"1"}}"#
        );
    }

    #[test]
    fn bodies_that_are_no_export_are_refused_whole() {
        for body in [&b"{"[..], b"[]", b"\xff", br#"{"resourceMetrics":{}}"#, br#"{"resourceMetrics":[1]}"#] {
            assert!(matches!(decoded(body, OtlpEncoding::Json), Err(PushError::Undecodable(_))), "{body:?}");
        }
        assert!(matches!(decoded(b"\x0a\x05x", OtlpEncoding::Protobuf), Err(PushError::Undecodable(_))));
        assert_eq!(decoded(b"", OtlpEncoding::Protobuf), Ok(Pushed::default()));
        assert_eq!(decoded(b"{}", OtlpEncoding::Json), Ok(Pushed::default()));
    }

    #[test]
    fn bombs_are_refused_before_they_are_decoded() {
        let empty_resources = [0x0a, 0].repeat(LIMITS.series_max * PARTS_PER_SERIES + 1);
        assert_eq!(decoded(&empty_resources, OtlpEncoding::Protobuf), Err(PushError::TooManySeries(LIMITS.series_max)));
        let empty_lists = "[],".repeat(LIMITS.series_max * PARTS_PER_SERIES);
        assert_eq!(
            decoded(empty_lists.as_bytes(), OtlpEncoding::Json),
            Err(PushError::TooManySeries(LIMITS.series_max))
        );
        let mut packed = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        std::io::copy(&mut std::io::repeat(0).take(LIMITS.decoded_bytes_max + 1), &mut packed).unwrap();
        let packed = packed.finish().unwrap();
        let too_large = PushError::DecodedTooLarge(LIMITS.decoded_bytes_max);
        assert_eq!(decoded_bytes(&packed, true, &LIMITS), Err(too_large));
        let decoded = decode(packed, true, OtlpEncoding::Protobuf, &map(), &LIMITS);
        assert_eq!(decoded, Err(PushError::DecodedTooLarge(LIMITS.decoded_bytes_max)));
    }

    #[test]
    fn the_bytes_of_a_body_are_counted_before_they_are_kept() {
        let mut packed = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        std::io::copy(&mut std::io::repeat(0).take(1_000), &mut packed).unwrap();
        let packed = packed.finish().unwrap();
        assert_eq!(decoded_bytes(&packed, true, &LIMITS), Ok(1_000));
        assert_eq!(decoded_bytes(b"not gzip", true, &LIMITS), Ok(0));
        assert_eq!(decoded_bytes(b"plain", false, &LIMITS), Ok(5));
    }

    #[test]
    fn too_many_points_are_too_many_series_or_too_many_events() {
        let points = |count: usize| (0..count).map(|at| number_point(1, 2 + at as u64, NumberKind::AsInt(1))).collect();
        let of = |name: &str, count| decoded(&export(name, 1, true, points(count)), OtlpEncoding::Protobuf);
        assert!(of("other", LIMITS.series_max).is_ok());
        assert_eq!(of("other", LIMITS.series_max + 1), Err(PushError::TooManySeries(LIMITS.series_max)));
        let events = usize::try_from(LIMITS.points_max).unwrap();
        assert!(of("tokens", events).is_ok());
        assert_eq!(of("tokens", events + 1), Err(PushError::TooManyPoints(LIMITS.points_max)));
    }

    #[test]
    fn answers_say_what_was_refused_in_either_encoding() {
        let mut refused = Refused::default();
        assert_eq!(response(OtlpEncoding::Json, &refused), b"{}");
        assert_eq!(response(OtlpEncoding::Protobuf, &refused), b"");
        refused.add(2, "why");
        let text = r#"{"partialSuccess":{"rejectedDataPoints":"2","errorMessage":"2 data points refused: why"}}"#;
        assert_eq!(String::from_utf8(response(OtlpEncoding::Json, &refused)).unwrap(), text);
        let decoded = ExportMetricsServiceResponse::decode(&*response(OtlpEncoding::Protobuf, &refused)).unwrap();
        assert_eq!(decoded.partial_success.unwrap().rejected_data_points, 2);
        assert_eq!(status(OtlpEncoding::Protobuf, "no"), b"\x12\x02no");
        assert_eq!(status(OtlpEncoding::Json, "no"), br#"{"message":"no"}"#);
    }
}
