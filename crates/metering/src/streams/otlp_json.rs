//! OTLP's JSON: lowerCamelCase keys, enums as integers, 64-bit integers as strings or numbers, unknown fields ignored.
//!
//! Why not the derived reader of the message crate: it reads numbers through a buffer that loses them when numbers keep
//! their digits, as they do in this workspace, and takes a value that it cannot read for none.

use crate::json;
use opentelemetry_proto::tonic::collector::metrics::v1::ExportMetricsServiceRequest;
use opentelemetry_proto::tonic::common::v1::any_value::Value as AnyKind;
use opentelemetry_proto::tonic::common::v1::{AnyValue, ArrayValue, InstrumentationScope, KeyValue, KeyValueList};
use opentelemetry_proto::tonic::metrics::v1::metric::Data;
use opentelemetry_proto::tonic::metrics::v1::number_data_point::Value as NumberKind;
use opentelemetry_proto::tonic::metrics::v1::{
    ExponentialHistogram, ExponentialHistogramDataPoint, Gauge, Histogram, HistogramDataPoint, Metric, NumberDataPoint,
    ResourceMetrics, ScopeMetrics, Sum, Summary, SummaryDataPoint,
};
use opentelemetry_proto::tonic::resource::v1::Resource;
use serde_json::{Map, Value};

/// Returns how many objects, lists and members the text can have at most.
pub(super) fn parts_of(text: &[u8]) -> usize {
    text.iter().filter(|byte| matches!(byte, b'{' | b'[' | b',')).count()
}

/// Returns the export that the text is, without what nobody here reads.
pub(super) fn request_of(text: &[u8]) -> Result<ExportMetricsServiceRequest, String> {
    let text = std::str::from_utf8(text).map_err(|_| "not UTF-8".to_owned())?;
    let value = json::parse_value(text).map_err(|error| error.to_string())?.to_value();
    let resource_metrics = Object::of(&value, "the export")?.objects("resourceMetrics", resource_metrics)?;
    Ok(ExportMetricsServiceRequest { resource_metrics })
}

fn resource_metrics(object: Object<'_>) -> Result<ResourceMetrics, String> {
    let resource = object.object("resource")?.map(|resource| {
        Ok::<_, String>(Resource { attributes: resource.objects("attributes", pair)?, ..Resource::default() })
    });
    Ok(ResourceMetrics {
        resource: resource.transpose()?,
        scope_metrics: object.objects("scopeMetrics", scope_metrics)?,
        ..ResourceMetrics::default()
    })
}

fn scope_metrics(object: Object<'_>) -> Result<ScopeMetrics, String> {
    let scope = object.object("scope")?.map(|scope| {
        Ok::<_, String>(InstrumentationScope {
            name: scope.text("name")?,
            version: scope.text("version")?,
            attributes: scope.objects("attributes", pair)?,
            ..InstrumentationScope::default()
        })
    });
    let metrics = object.objects("metrics", metric)?;
    Ok(ScopeMetrics { scope: scope.transpose()?, metrics, ..ScopeMetrics::default() })
}

fn metric(object: Object<'_>) -> Result<Metric, String> {
    let mut data = None;
    if let Some(gauge) = object.object("gauge")? {
        data = Some(Data::Gauge(Gauge { data_points: gauge.objects("dataPoints", number)? }));
    }
    if let Some(sum) = object.object("sum")? {
        data = Some(Data::Sum(Sum {
            data_points: sum.objects("dataPoints", number)?,
            aggregation_temporality: sum.integer("aggregationTemporality")?.unwrap_or_default(),
            is_monotonic: sum.flag("isMonotonic")?,
        }));
    }
    if let Some(histogram) = object.object("histogram")? {
        data = Some(Data::Histogram(Histogram {
            data_points: histogram.objects("dataPoints", histogram_point)?,
            aggregation_temporality: histogram.integer("aggregationTemporality")?.unwrap_or_default(),
        }));
    }
    if let Some(histogram) = object.object("exponentialHistogram")? {
        data = Some(Data::ExponentialHistogram(ExponentialHistogram {
            data_points: histogram.objects("dataPoints", exponential_point)?,
            aggregation_temporality: histogram.integer("aggregationTemporality")?.unwrap_or_default(),
        }));
    }
    if let Some(summary) = object.object("summary")? {
        data = Some(Data::Summary(Summary { data_points: summary.objects("dataPoints", summary_point)? }));
    }
    Ok(Metric { name: object.text("name")?, unit: object.text("unit")?, data, ..Metric::default() })
}

fn number(object: Object<'_>) -> Result<NumberDataPoint, String> {
    let value = match (object.number("asInt")?, object.double("asDouble")?) {
        (Some(number), _) => Some(NumberKind::AsInt(number)),
        (None, double) => double.map(NumberKind::AsDouble),
    };
    Ok(NumberDataPoint {
        attributes: object.objects("attributes", pair)?,
        start_time_unix_nano: object.number("startTimeUnixNano")?.unwrap_or_default(),
        time_unix_nano: object.number("timeUnixNano")?.unwrap_or_default(),
        flags: object.number("flags")?.unwrap_or_default(),
        value,
        ..NumberDataPoint::default()
    })
}

fn histogram_point(object: Object<'_>) -> Result<HistogramDataPoint, String> {
    Ok(HistogramDataPoint {
        attributes: object.objects("attributes", pair)?,
        start_time_unix_nano: object.number("startTimeUnixNano")?.unwrap_or_default(),
        time_unix_nano: object.number("timeUnixNano")?.unwrap_or_default(),
        flags: object.number("flags")?.unwrap_or_default(),
        sum: object.double("sum")?,
        ..HistogramDataPoint::default()
    })
}

fn exponential_point(object: Object<'_>) -> Result<ExponentialHistogramDataPoint, String> {
    Ok(ExponentialHistogramDataPoint {
        attributes: object.objects("attributes", pair)?,
        start_time_unix_nano: object.number("startTimeUnixNano")?.unwrap_or_default(),
        time_unix_nano: object.number("timeUnixNano")?.unwrap_or_default(),
        flags: object.number("flags")?.unwrap_or_default(),
        sum: object.double("sum")?,
        ..ExponentialHistogramDataPoint::default()
    })
}

fn summary_point(object: Object<'_>) -> Result<SummaryDataPoint, String> {
    Ok(SummaryDataPoint {
        attributes: object.objects("attributes", pair)?,
        start_time_unix_nano: object.number("startTimeUnixNano")?.unwrap_or_default(),
        time_unix_nano: object.number("timeUnixNano")?.unwrap_or_default(),
        flags: object.number("flags")?.unwrap_or_default(),
        sum: object.double("sum")?.unwrap_or_default(),
        ..SummaryDataPoint::default()
    })
}

fn pair(object: Object<'_>) -> Result<KeyValue, String> {
    let value = object.object("value")?.map(any).transpose()?;
    Ok(KeyValue { key: object.text("key")?, value, ..KeyValue::default() })
}

fn any(object: Object<'_>) -> Result<AnyValue, String> {
    let value = if let Some(text) = object.get("stringValue") {
        let text = text.as_str().ok_or_else(|| wrong("stringValue"))?;
        Some(AnyKind::StringValue(text.to_owned()))
    } else if object.get("boolValue").is_some() {
        Some(AnyKind::BoolValue(object.flag("boolValue")?))
    } else if let Some(number) = object.number("intValue")? {
        Some(AnyKind::IntValue(number))
    } else if let Some(number) = object.double("doubleValue")? {
        Some(AnyKind::DoubleValue(number))
    } else if let Some(list) = object.object("arrayValue")? {
        Some(AnyKind::ArrayValue(ArrayValue { values: list.objects("values", any)? }))
    } else if let Some(list) = object.object("kvlistValue")? {
        Some(AnyKind::KvlistValue(KeyValueList { values: list.objects("values", pair)? }))
    } else {
        match object.get("bytesValue") {
            None => None,
            Some(text) => {
                let bytes = text.as_str().and_then(base64).ok_or_else(|| wrong("bytesValue"))?;
                Some(AnyKind::BytesValue(bytes))
            }
        }
    };
    Ok(AnyValue { value })
}

/// A JSON object of which only the fields are read that somebody wants; null counts as absent.
#[derive(Clone, Copy)]
struct Object<'v>(&'v Map<String, Value>);

impl<'v> Object<'v> {
    fn of(value: &'v Value, name: &str) -> Result<Self, String> {
        value.as_object().map(Self).ok_or_else(|| format!("{name} must be an object"))
    }

    fn get(self, name: &str) -> Option<&'v Value> {
        self.0.get(name).filter(|value| !value.is_null())
    }

    fn object(self, name: &str) -> Result<Option<Self>, String> {
        self.get(name).map(|value| Self::of(value, name)).transpose()
    }

    fn objects<T>(self, name: &str, read: fn(Self) -> Result<T, String>) -> Result<Vec<T>, String> {
        let Some(value) = self.get(name) else { return Ok(Vec::new()) };
        let items = value.as_array().ok_or_else(|| format!("{name} must be a list"))?;
        items.iter().map(|item| read(Self::of(item, name)?)).collect()
    }

    fn text(self, name: &str) -> Result<String, String> {
        let Some(value) = self.get(name) else { return Ok(String::new()) };
        value.as_str().map(str::to_owned).ok_or_else(|| wrong(name))
    }

    fn flag(self, name: &str) -> Result<bool, String> {
        let Some(value) = self.get(name) else { return Ok(false) };
        value.as_bool().ok_or_else(|| wrong(name))
    }

    /// An integer, as a number or as its text.
    fn number<T: std::str::FromStr>(self, name: &str) -> Result<Option<T>, String> {
        match self.get(name) {
            None => Ok(None),
            Some(Value::String(text)) => text.parse().map(Some).map_err(|_| wrong(name)),
            Some(Value::Number(number)) => number.to_string().parse().map(Some).map_err(|_| wrong(name)),
            Some(_) => Err(wrong(name)),
        }
    }

    /// An enum: an integer, not its text.
    fn integer(self, name: &str) -> Result<Option<i32>, String> {
        match self.get(name) {
            Some(Value::String(_)) => Err(wrong(name)),
            _ => self.number(name),
        }
    }

    /// A double, as a number or as a text, which may be `NaN` or `Infinity`.
    fn double(self, name: &str) -> Result<Option<f64>, String> {
        self.number(name)
    }
}

fn wrong(name: &str) -> String {
    format!("{name} cannot be read")
}

/// Bytes of standard base64, with or without its padding.
fn base64(text: &str) -> Option<Vec<u8>> {
    let (mut bytes, mut held, mut bits) = (Vec::new(), 0_u32, 0);
    for digit in text.trim_end_matches('=').bytes() {
        let six = match digit {
            b'A'..=b'Z' => digit - b'A',
            b'a'..=b'z' => digit - b'a' + 26,
            b'0'..=b'9' => digit - b'0' + 52,
            b'+' | b'-' => 62,
            b'/' | b'_' => 63,
            _ => return None,
        };
        (held, bits) = (((held << 6) | u32::from(six)) & 0xffff, bits + 6);
        if 8 <= bits {
            bits -= 8;
            bytes.push(((held >> bits) & 0xff) as u8);
        }
    }
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str, expected: Result<usize, &str>) {
        let found = request_of(text.as_bytes()).map(|request| request.resource_metrics.len());
        assert_eq!(found, expected.map_err(str::to_owned), "{text}");
    }

    #[test]
    fn unknown_fields_and_nulls_are_ignored_and_wrong_types_are_not() {
        let of_metric =
            |metric: &str| format!(r#"{{"resourceMetrics":[{{"scopeMetrics":[{{"metrics":[{metric}]}}]}}]}}"#);
        check(&of_metric(r#"{"name":"a","x":{},"sum":null}"#), Ok(1));
        check(&of_metric(r#"{"name":1}"#), Err("name cannot be read"));
        check(&of_metric(r#"{"sum":{"isMonotonic":1}}"#), Err("isMonotonic cannot be read"));
        let named = r#"{"sum":{"aggregationTemporality":"AGGREGATION_TEMPORALITY_DELTA"}}"#;
        check(&of_metric(named), Err("aggregationTemporality cannot be read"));
        check(&of_metric(r#"{"sum":{"dataPoints":[{"asInt":1.5}]}}"#), Err("asInt cannot be read"));
        check(&of_metric(r#"{"sum":{"dataPoints":[{"asInt":"99999999999999999999"}]}}"#), Err("asInt cannot be read"));
        check(&of_metric(r#"{"sum":{"dataPoints":[{"timeUnixNano":-1}]}}"#), Err("timeUnixNano cannot be read"));
        check(&of_metric(r#"{"sum":{"dataPoints":{}}}"#), Err("dataPoints must be a list"));
        check(r#"{"resourceMetrics":[{"resource":7}]}"#, Err("resource must be an object"));
        check("[]", Err("the export must be an object"));
    }

    #[test]
    fn base64_is_read_in_both_alphabets() {
        assert_eq!(base64("AP8="), Some(vec![0, 255]));
        assert_eq!(base64("-_-_"), base64("+/+/"));
        assert_eq!(base64("aGk"), Some(b"hi".to_vec()));
        assert_eq!(base64("a b"), None);
    }
}
