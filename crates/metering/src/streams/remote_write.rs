//! Prometheus remote write 1.0 and 2.0: snappy-compressed protobuf, cumulative counters and gauges.

use super::parts::{LEAF, PARTS_PER_SERIES, Shape, exceeds};
use super::point::{Attributes, Point, PointKind, Protocol, PushError, PushLimits, Pushed, Series, decimal_text};
use super::{MetricMap, MetricRule};
use prost::Message;
use serde_json::Value;
use std::collections::HashMap;
use std::sync::Arc;

/// The NaN by which Prometheus says that a series has ended.
const STALE_BITS: u64 = 0x7ff0_0000_0000_0002;
/// Label that holds the metric's name.
const NAME: &str = "__name__";
const NANOS_PER_MILLI: i64 = 1_000_000;
/// Ends of names by which Prometheus' libraries name counters.
const COUNTER_ENDS: [&str; 4] = ["_total", "_sum", "_count", "_bucket"];
/// Parts of histograms and summaries that only grow.
const SUM_ENDS: [&str; 3] = ["_sum", "_count", "_bucket"];

/// Which messages a push is made of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RemoteWrite {
    /// `prometheus.WriteRequest`.
    V1,
    /// `io.prometheus.write.v2.Request`.
    V2,
}

impl RemoteWrite {
    /// Returns the messages that a content type announces; one without `proto` announces version 1.
    #[must_use]
    pub fn of(content_type: &str) -> Option<Self> {
        let mut pieces = content_type.split(';').map(str::trim);
        let kind = pieces.next().unwrap_or_default();
        if !(kind.is_empty() || kind.eq_ignore_ascii_case("application/x-protobuf")) {
            return None;
        }
        let proto =
            pieces.find_map(|piece| piece.split_once('=').filter(|(name, _)| name.eq_ignore_ascii_case("proto")));
        match proto.map(|(_, name)| name.trim_matches('"')) {
            None | Some("prometheus.WriteRequest") => Some(Self::V1),
            Some("io.prometheus.write.v2.Request") => Some(Self::V2),
            Some(_) => None,
        }
    }
}

/// Returns the points of a push.
///
/// # Errors
/// [`PushError`] if nothing of it can be taken.
///
/// # Source
/// Prometheus remote write, specifications 1.0 and 2.0.
pub fn decode(body: &[u8], version: RemoteWrite, map: &MetricMap, limits: &PushLimits) -> Result<Pushed, PushError> {
    let body = decompress(body, limits)?;
    let shape = match version {
        RemoteWrite::V1 => &WRITE_REQUEST,
        RemoteWrite::V2 => &REQUEST,
    };
    if exceeds(&body, shape, limits.series_max.saturating_mul(PARTS_PER_SERIES)) {
        return Err(PushError::TooManySeries(limits.series_max));
    }
    let undecodable = |error: prost::DecodeError| PushError::Undecodable(format!("not what `proto` says: {error}"));
    let mut taking = Taking { map, limits, pushed: Pushed::default() };
    match version {
        RemoteWrite::V1 => taking.take_v1(&WriteRequest::decode(&*body).map_err(undecodable)?)?,
        RemoteWrite::V2 => taking.take_v2(&Request::decode(&*body).map_err(undecodable)?)?,
    }
    Ok(taking.pushed)
}

/// Returns how many bytes [`decode`] will keep of a body when it is decompressed, as its block states.
///
/// # Errors
/// [`PushError::DecodedTooLarge`], or [`PushError::Undecodable`] for what is no block.
pub fn decoded_bytes(body: &[u8], limits: &PushLimits) -> Result<u64, PushError> {
    let bytes = snap::raw::decompress_len(body).map_err(undecodable)? as u64;
    if limits.decoded_bytes_max < bytes { Err(PushError::DecodedTooLarge(limits.decoded_bytes_max)) } else { Ok(bytes) }
}

/// The block states its length: it is checked before there is room for it.
fn decompress(body: &[u8], limits: &PushLimits) -> Result<Vec<u8>, PushError> {
    decoded_bytes(body, limits)?;
    snap::raw::Decoder::new().decompress_vec(body).map_err(undecodable)
}

fn undecodable(error: snap::Error) -> PushError {
    PushError::Undecodable(format!("not a snappy block: {error}"))
}

/// What metadata calls a metric.
#[derive(Clone, Copy, Debug, PartialEq, Eq, prost::Enumeration)]
#[repr(i32)]
enum MetricType {
    Unknown = 0,
    Counter = 1,
    Gauge = 2,
    Histogram = 3,
    GaugeHistogram = 4,
    Summary = 5,
    Info = 6,
    Stateset = 7,
}

fn kind_of(rule: &MetricRule, metadata: MetricType) -> PointKind {
    let ends_like = |ends: &[&str]| ends.iter().any(|end| rule.name.ends_with(end));
    let said = match metadata {
        MetricType::Counter => PointKind::Cumulative,
        MetricType::Histogram | MetricType::Summary if ends_like(&SUM_ENDS) => PointKind::Cumulative,
        MetricType::Unknown if ends_like(&COUNTER_ENDS) => PointKind::Cumulative,
        MetricType::Unknown => PointKind::Unsaid,
        _ => PointKind::Gauge,
    };
    match rule.kind {
        // What the configuration says wins over everything here: the protocol does not carry kinds reliably.
        Some(_) => rule.kind_of(PointKind::Unsaid),
        None => said,
    }
}

/// One sample, whatever the version.
struct Taken {
    value: f64,
    at_millis: i64,
    start_millis: i64,
}

struct Taking<'t> {
    map: &'t MetricMap,
    limits: &'t PushLimits,
    pushed: Pushed,
}

impl Taking<'_> {
    fn take_v1(&mut self, request: &WriteRequest) -> Result<(), PushError> {
        self.check_series(request.timeseries.len())?;
        let types: HashMap<&str, MetricType> =
            request.metadata.iter().map(|known| (known.metric_family_name.as_str(), known.r#type())).collect();
        for series in &request.timeseries {
            let labels = series.labels.iter().map(|label| (label.name.as_str(), label.value.as_str()));
            let samples = series.samples.iter().map(|sample| Taken {
                value: sample.value,
                at_millis: sample.timestamp,
                start_millis: 0,
            });
            let metadata = |name: &str| {
                let family = COUNTER_ENDS.iter().find_map(|end| name.strip_suffix(end));
                let found = types.get(name).or_else(|| family.and_then(|family| types.get(family)));
                found.copied().unwrap_or(MetricType::Unknown)
            };
            if let Some(name) = self.take_series(labels.collect(), samples, metadata, series.histograms.len())? {
                let reason = format!("metric `{name}`: native histograms are not taken");
                self.pushed.refused.add(series.histograms.len() as u64, reason);
            }
        }
        Ok(())
    }

    fn take_v2(&mut self, request: &Request) -> Result<(), PushError> {
        if request.symbols.first().is_none_or(|first| !first.is_empty()) && !request.timeseries.is_empty() {
            return Err(PushError::Undecodable("the first symbol must be empty".to_owned()));
        }
        self.check_series(request.timeseries.len())?;
        for series in &request.timeseries {
            let Some(labels) = resolve(&series.labels_refs, &request.symbols) else {
                self.pushed.received += series.samples.len() as u64;
                self.pushed.refused.add(series.samples.len() as u64, "labels_refs do not fit the symbols");
                continue;
            };
            let samples = series.samples.iter().map(|sample| Taken {
                value: sample.value,
                at_millis: sample.timestamp,
                start_millis: sample.start_timestamp,
            });
            let known = series.metadata.as_ref().map_or(MetricType::Unknown, Metadata::r#type);
            if let Some(name) = self.take_series(labels, samples, |_| known, series.histograms.len())? {
                return Err(PushError::Unsupported(format!("metric `{name}`: native histograms are not taken")));
            }
        }
        Ok(())
    }

    fn check_series(&self, series: usize) -> Result<(), PushError> {
        let max = self.limits.series_max;
        if max < series { Err(PushError::TooManySeries(max)) } else { Ok(()) }
    }

    /// Takes the samples of one series; returns the name of a mapped metric with histograms.
    fn take_series(
        &mut self,
        labels: Vec<(&str, &str)>,
        samples: impl ExactSizeIterator<Item = Taken>,
        metadata: impl Fn(&str) -> MetricType,
        histograms: usize,
    ) -> Result<Option<String>, PushError> {
        self.pushed.received += samples.len() as u64;
        let (name, point) = match named(&labels) {
            Ok(found) => found,
            Err(problem) => {
                self.pushed.refused.add(samples.len() as u64, problem);
                return Ok(None);
            }
        };
        let Some(rule) = self.map.get(name) else {
            self.pushed.skipped += samples.len() as u64;
            return Ok(None);
        };
        let kind = kind_of(rule, metadata(name));
        let series = Arc::new(Series {
            protocol: Protocol::Prometheus,
            metric: name.to_owned(),
            point,
            resource: Arc::default(),
            scope: Arc::default(),
        });
        for sample in samples {
            if sample.value.to_bits() == STALE_BITS {
                self.pushed.skipped += 1;
                continue;
            }
            match point_of(&series, kind, &sample) {
                Ok(point) => self.pushed.points.push(point),
                Err(problem) => self.pushed.refused.add(1, format!("metric `{name}`: {problem}")),
            }
        }
        if self.limits.points_max < self.pushed.points.len() as u64 {
            return Err(PushError::TooManyPoints(self.limits.points_max));
        }
        Ok((0 < histograms).then(|| name.to_owned()))
    }
}

fn point_of(series: &Arc<Series>, kind: PointKind, sample: &Taken) -> Result<Point, &'static str> {
    let value = decimal_text(sample.value).ok_or("the value is not a finite number")?;
    let nanos = |millis: i64| millis.checked_mul(NANOS_PER_MILLI).ok_or("a time that is out of bound");
    let (at_nanos, start_nanos) = (nanos(sample.at_millis)?, nanos(sample.start_millis)?);
    if at_nanos < start_nanos {
        return Err("a sample that starts after its time");
    }
    let start_nanos = (start_nanos != 0).then_some(start_nanos);
    Ok(Point { series: Arc::clone(series), at_nanos, start_nanos, value, kind })
}

/// The metric's name and the other labels. Labels are sorted, each stands once, none is empty.
fn named<'l>(labels: &[(&'l str, &'l str)]) -> Result<(&'l str, Attributes), &'static str> {
    if labels.iter().any(|(name, value)| name.is_empty() || value.is_empty()) {
        return Err("a label without a name or value");
    }
    if labels.windows(2).any(|pair| pair[1].0 <= pair[0].0) {
        return Err("labels that are not sorted or stand twice");
    }
    let name =
        labels.iter().find(|(name, _)| *name == NAME).map(|(_, value)| *value).ok_or("a series without a name")?;
    let others = labels.iter().filter(|(name, _)| *name != NAME);
    Ok((name, others.map(|(name, value)| ((*name).to_owned(), Value::String((*value).to_owned()))).collect()))
}

/// The labels that the numbers name; `None` if one is out of range or lacks its other half.
fn resolve<'s>(refs: &[u32], symbols: &'s [String]) -> Option<Vec<(&'s str, &'s str)>> {
    let symbol = |at: u32| symbols.get(usize::try_from(at).ok()?).map(String::as_str);
    let (pairs, rest) = refs.as_chunks::<2>();
    let pairs = pairs.iter().map(|[name, value]| Some((symbol(*name)?, symbol(*value)?)));
    if rest.is_empty() { pairs.collect() } else { None }
}

#[derive(Clone, PartialEq, Message)]
struct WriteRequest {
    #[prost(message, repeated, tag = "1")]
    timeseries: Vec<TimeSeries>,
    #[prost(message, repeated, tag = "3")]
    metadata: Vec<FamilyMetadata>,
}

#[derive(Clone, PartialEq, Message)]
struct TimeSeries {
    #[prost(message, repeated, tag = "1")]
    labels: Vec<Label>,
    #[prost(message, repeated, tag = "2")]
    samples: Vec<Sample>,
    #[prost(message, repeated, tag = "4")]
    histograms: Vec<NativeHistogram>,
}

#[derive(Clone, PartialEq, Message)]
struct Label {
    #[prost(string, tag = "1")]
    name: String,
    #[prost(string, tag = "2")]
    value: String,
}

#[derive(Clone, PartialEq, Message)]
struct Sample {
    #[prost(double, tag = "1")]
    value: f64,
    #[prost(int64, tag = "2")]
    timestamp: i64,
}

#[derive(Clone, PartialEq, Message)]
struct FamilyMetadata {
    #[prost(enumeration = "MetricType", tag = "1")]
    r#type: i32,
    #[prost(string, tag = "2")]
    metric_family_name: String,
}

/// Not taken, so that it only counts.
#[derive(Clone, PartialEq, Message)]
struct NativeHistogram {}

#[derive(Clone, PartialEq, Message)]
struct Request {
    #[prost(string, repeated, tag = "4")]
    symbols: Vec<String>,
    #[prost(message, repeated, tag = "5")]
    timeseries: Vec<SymbolSeries>,
}

#[derive(Clone, PartialEq, Message)]
struct SymbolSeries {
    #[prost(uint32, repeated, tag = "1")]
    labels_refs: Vec<u32>,
    #[prost(message, repeated, tag = "2")]
    samples: Vec<StartedSample>,
    #[prost(message, repeated, tag = "3")]
    histograms: Vec<NativeHistogram>,
    #[prost(message, optional, tag = "5")]
    metadata: Option<Metadata>,
}

#[derive(Clone, PartialEq, Message)]
struct StartedSample {
    #[prost(double, tag = "1")]
    value: f64,
    #[prost(int64, tag = "2")]
    timestamp: i64,
    #[prost(int64, tag = "3")]
    start_timestamp: i64,
}

#[derive(Clone, PartialEq, Message)]
struct Metadata {
    #[prost(enumeration = "MetricType", tag = "1")]
    r#type: i32,
}

static WRITE_REQUEST: Shape = Shape(&[(1, &Shape(&[(1, &LEAF), (2, &LEAF), (4, &LEAF)])), (3, &LEAF)]);
static REQUEST: Shape = Shape(&[(4, &LEAF), (5, &Shape(&[(2, &LEAF), (3, &LEAF)]))]);

#[cfg(test)]
mod tests {
    use super::*;
    use crate::streams::tests::{LIMITS, map};

    fn labels(name: &str) -> Vec<Label> {
        let label = |name: &str, value: &str| Label { name: name.to_owned(), value: value.to_owned() };
        vec![label(NAME, name), label("tenant", "acme")]
    }

    fn v1(labels: Vec<Label>, samples: &[(f64, i64)], types: &[(&str, MetricType)]) -> WriteRequest {
        let samples =
            samples.iter().map(|(value, timestamp)| Sample { value: *value, timestamp: *timestamp }).collect();
        let metadata = types
            .iter()
            .map(|(name, kind)| FamilyMetadata { metric_family_name: (*name).to_owned(), r#type: *kind as i32 });
        WriteRequest {
            timeseries: vec![TimeSeries { labels, samples, histograms: Vec::new() }],
            metadata: metadata.collect(),
        }
    }

    fn packed(message: &impl Message) -> Vec<u8> {
        snap::raw::Encoder::new().compress_vec(&message.encode_to_vec()).unwrap()
    }

    fn take(message: &impl Message, version: RemoteWrite) -> Result<Pushed, PushError> {
        decode(&packed(message), version, &map(), &LIMITS)
    }

    fn v2(symbols: &[&str], refs: &[u32], samples: &[(f64, i64, i64)], kind: MetricType) -> Request {
        let sample = |(value, timestamp, start_timestamp): &(f64, i64, i64)| StartedSample {
            value: *value,
            timestamp: *timestamp,
            start_timestamp: *start_timestamp,
        };
        let series = SymbolSeries {
            labels_refs: refs.to_vec(),
            samples: samples.iter().map(sample).collect(),
            histograms: Vec::new(),
            metadata: Some(Metadata { r#type: kind as i32 }),
        };
        Request { symbols: symbols.iter().map(|text| (*text).to_owned()).collect(), timeseries: vec![series] }
    }

    const SYMBOLS: [&str; 5] = ["", "__name__", "level", "tenant", "acme"];

    #[test]
    fn the_schema_is_the_one_that_proto_names() {
        for (content_type, expected) in [
            ("application/x-protobuf", Some(RemoteWrite::V1)),
            ("", Some(RemoteWrite::V1)),
            ("Application/X-Protobuf; proto=prometheus.WriteRequest", Some(RemoteWrite::V1)),
            ("application/x-protobuf;proto=io.prometheus.write.v2.Request", Some(RemoteWrite::V2)),
            ("application/x-protobuf;proto=io.prometheus.write.v3.Request", None),
            ("application/json", None),
        ] {
            assert_eq!(RemoteWrite::of(content_type), expected, "{content_type}");
        }
    }

    #[test]
    fn name_metadata_and_configuration_say_what_a_metric_is() {
        let kind = |name: &str, types: &[(&str, MetricType)]| {
            take(&v1(labels(name), &[(1.0, 1)], types), RemoteWrite::V1).unwrap().points[0].kind
        };
        assert_eq!(kind("tokens_total", &[]), PointKind::Cumulative);
        assert_eq!(kind("tokens_total", &[("tokens", MetricType::Gauge)]), PointKind::Gauge);
        assert_eq!(kind("tokens", &[]), PointKind::Unsaid);
        assert_eq!(kind("tokens", &[("tokens", MetricType::Counter)]), PointKind::Cumulative);
        assert_eq!(kind("seconds_sum", &[("seconds", MetricType::Histogram)]), PointKind::Cumulative);
        assert_eq!(kind("level", &[("level", MetricType::Summary)]), PointKind::Gauge);
        assert_eq!(kind("forced", &[("forced", MetricType::Gauge)]), PointKind::Cumulative);
    }

    #[test]
    fn samples_become_points_and_stale_markers_do_not() {
        let samples = [(1.5, 1_000), (f64::from_bits(STALE_BITS), 2_000), (f64::NAN, 3_000), (2.0, i64::MAX)];
        let pushed = take(&v1(labels("tokens_total"), &samples, &[]), RemoteWrite::V1).unwrap();
        let point = &pushed.points[0];
        assert_eq!((point.at_nanos, point.start_nanos, point.value.as_str()), (1_000_000_000, None, "1.5"));
        assert_eq!(point.series.source(), r#"prometheus:{"metric":"tokens_total","point":{"tenant":"acme"}}"#);
        assert_eq!((pushed.points.len(), pushed.received, pushed.skipped, pushed.refused.count), (1, 4, 1, 2));
        assert!(!f64::from_bits(STALE_BITS).is_finite());
    }

    #[test]
    fn the_second_version_knows_when_a_counter_began() {
        let pushed =
            take(&v2(&SYMBOLS, &[1, 2, 3, 4], &[(7.0, 5, 2), (7.0, 5, 6)], MetricType::Counter), RemoteWrite::V2);
        let pushed = pushed.unwrap();
        let point = &pushed.points[0];
        assert_eq!(
            (point.kind, point.at_nanos, point.start_nanos),
            (PointKind::Cumulative, 5_000_000, Some(2_000_000))
        );
        assert_eq!(pushed.refused.reasons, ["metric `level`: a sample that starts after its time"]);
    }

    #[test]
    fn labels_that_break_the_rules_refuse_their_series() {
        let label = |name: &str, value: &str| Label { name: name.to_owned(), value: value.to_owned() };
        for (bad, reason) in [
            (vec![label("a", "x")], "a series without a name"),
            (vec![label(NAME, "tokens_total"), label("a", "")], "a label without a name or value"),
            (vec![label("b", "x"), label(NAME, "tokens_total")], "labels that are not sorted or stand twice"),
            (vec![label(NAME, "x"), label(NAME, "y")], "labels that are not sorted or stand twice"),
        ] {
            let pushed = take(&v1(bad, &[(1.0, 1), (2.0, 2)], &[]), RemoteWrite::V1).unwrap();
            assert_eq!((pushed.refused.count, pushed.refused.reasons), (2, vec![reason.to_owned()]));
        }
        for refs in [&[1, 2, 3][..], &[1, 2, 3, 5]] {
            let pushed = take(&v2(&SYMBOLS, refs, &[(1.0, 1, 0)], MetricType::Gauge), RemoteWrite::V2).unwrap();
            assert_eq!(pushed.refused.reasons, ["labels_refs do not fit the symbols"]);
        }
        let shifted = v2(&SYMBOLS[1..], &[0, 1], &[], MetricType::Gauge);
        assert!(matches!(take(&shifted, RemoteWrite::V2), Err(PushError::Undecodable(_))));
    }

    #[test]
    fn native_histograms_matter_if_they_are_mapped() {
        let with_histogram = |name: &str| {
            let mut request = v2(&["", NAME, name], &[1, 2], &[], MetricType::Histogram);
            request.timeseries[0].histograms.push(NativeHistogram {});
            take(&request, RemoteWrite::V2)
        };
        assert!(matches!(with_histogram("level"), Err(PushError::Unsupported(_))));
        assert!(with_histogram("other").is_ok());
        let mut request = v1(labels("level"), &[(1.0, 1)], &[]);
        request.timeseries[0].histograms.push(NativeHistogram {});
        let pushed = take(&request, RemoteWrite::V1).unwrap();
        assert_eq!((pushed.points.len(), pushed.refused.count), (1, 1));
    }

    #[test]
    fn bombs_and_broken_bodies_are_refused_before_there_is_room_for_them() {
        // A block that says it holds 4 GiB − 1.
        let bomb = [0xff, 0xff, 0xff, 0xff, 0x0f, 0];
        let decoded = decode(&bomb, RemoteWrite::V1, &map(), &LIMITS);
        assert_eq!(decoded, Err(PushError::DecodedTooLarge(LIMITS.decoded_bytes_max)));
        for broken in [&b""[..], b"\x05x", b"hello"] {
            assert!(matches!(decode(broken, RemoteWrite::V1, &map(), &LIMITS), Err(PushError::Undecodable(_))));
        }
        let many =
            WriteRequest { timeseries: vec![TimeSeries::default(); LIMITS.series_max + 1], metadata: Vec::new() };
        assert_eq!(take(&many, RemoteWrite::V1), Err(PushError::TooManySeries(LIMITS.series_max)));
        let symbols = vec![String::new(); LIMITS.series_max * PARTS_PER_SERIES + 1];
        let many = Request { symbols, timeseries: Vec::new() };
        assert_eq!(take(&many, RemoteWrite::V2), Err(PushError::TooManySeries(LIMITS.series_max)));
    }
}
