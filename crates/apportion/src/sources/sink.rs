use collectors::sources::{Rejection, SinkError, Taken, UsagePoint, UsageSink};
use domain::dimension::Dimension;
use domain::meter::Meter;
use domain::{Instant, TenantScope};
use futures::FutureExt as _;
use futures::future::BoxFuture;
use metering::MeteringError;
use metering::live::{Decision, EventLog, Offered};
use serde_json::{Map, Value, json};
use std::collections::BTreeMap;
use storage::catalog::Catalog;

/// Microseconds in an hour.
const HOUR: i64 = 3600 * domain::time::MICROS_PER_SECOND;

/// Offers points to the event log, each as the event that it would be if somebody sent it.
pub struct EventSink {
    events: EventLog,
    catalog: Catalog,
}

impl EventSink {
    /// Returns the way to a log.
    pub fn new(events: EventLog, catalog: Catalog) -> Self {
        Self { events, catalog }
    }

    async fn offer(&self, points: &[UsagePoint]) -> Result<Taken, SinkError> {
        let meters = metering::publish::meters(&self.catalog).await.map_err(failed)?;
        let meters: BTreeMap<&str, &Meter> = meters.iter().map(|meter| (meter.name.as_str(), meter)).collect();
        let texts = points.iter().map(|point| event_of(point, &meters)).collect::<Result<Vec<_>, _>>()?;
        let mut preparer = self.events.preparer(TenantScope::All);
        // Preparing looks into the files of the id index.
        let prepare = move || texts.iter().map(|text| preparer.prepare(text)).collect::<Result<Vec<_>, _>>();
        let offers = tokio::task::spawn_blocking(prepare).await.map_err(|error| failed(error.into()))?;
        let offers = offers.map_err(|error| failed(error.into()))?;
        let mut taken = Taken::default();
        let mut prepared = Vec::with_capacity(points.len());
        for (point, offer) in points.iter().zip(offers) {
            match offer {
                Ok(Offered::Prepared(event)) => prepared.push(event),
                Ok(Offered::Known(decision)) => count(&mut taken, decision),
                Err(refusal) => taken.reject(Rejection {
                    series: point.series.to_string(),
                    hour: point.hour,
                    code: refusal.code.as_str().to_owned(),
                    detail: refusal.detail,
                }),
            }
        }
        if !prepared.is_empty() {
            let decisions = self.events.append(prepared, false).await.map_err(failed)?;
            decisions.into_iter().for_each(|decision| count(&mut taken, decision));
        }
        Ok(taken)
    }
}

impl UsageSink for EventSink {
    fn take<'a>(&'a self, points: &'a [UsagePoint]) -> BoxFuture<'a, Result<Taken, SinkError>> {
        self.offer(points).boxed()
    }
}

fn failed(error: MeteringError) -> SinkError {
    SinkError::Failed(Box::new(error))
}

fn count(taken: &mut Taken, decision: Decision) {
    match decision {
        Decision::Accepted => taken.accepted += 1,
        Decision::Duplicate => taken.duplicates += 1,
        Decision::Conflict => taken.changed_later += 1,
        Decision::NotStored => {}
    }
}

/// The point as a CloudEvent: its id is the end of its hour, its source the series, its time the start of the hour.
fn event_of(point: &UsagePoint, meters: &BTreeMap<&str, &Meter>) -> Result<String, SinkError> {
    let bad = |problem: &str| SinkError::BadMeter { meter: point.meter.to_string(), problem: problem.to_owned() };
    let meter = meters.get(&*point.meter).ok_or_else(|| bad("does not exist"))?;
    let path = value_path(meter).map_err(bad)?;
    let mut data = Map::new();
    let labels: Map<String, Value> = point
        .attributes
        .iter()
        .filter_map(|(dimension, value)| match dimension {
            Dimension::Label(key) => Some((key.to_string(), json!(**value))),
            _ => None,
        })
        .collect();
    if !labels.is_empty() {
        data.insert("labels".to_owned(), Value::Object(labels));
    }
    set(&mut data, &path, json!(point.value));
    let mut event = Map::new();
    for (name, value) in [
        ("specversion", "1.0".to_owned()),
        ("id", point.hour.plus_micros(HOUR).to_string()),
        ("source", point.series.to_string()),
        ("type", meter.event_type.clone()),
        ("time", Instant::to_string(&point.hour)),
    ] {
        event.insert(name.to_owned(), Value::String(value));
    }
    let dimensions = point.attributes.iter().map(|(dimension, value)| (dimension.clone(), value.clone()));
    let named = [(Dimension::Tenant, &point.tenant), (Dimension::Cluster, &point.cluster)];
    let named = named.into_iter().filter_map(|(dimension, value)| Some((dimension, value.clone()?)));
    for (dimension, value) in named.chain(dimensions).filter(|(dimension, _)| !matches!(dimension, Dimension::Label(_)))
    {
        // Names of CloudEvents attributes have no underscore.
        event.insert(dimension.to_string().replace('_', ""), json!(*value));
    }
    event.insert("data".to_owned(), Value::Object(data));
    Ok(Value::Object(event).to_string())
}

/// Returns the names that lead to a meter's value in an event's data.
///
/// # Errors
/// What keeps a number from being put there.
pub fn value_path(meter: &Meter) -> Result<Vec<&str>, &'static str> {
    let text = meter.value.as_deref().ok_or("counts events; a source needs one with a value")?;
    let is_name = |name: &&str| {
        !name.is_empty()
            && !name.as_bytes()[0].is_ascii_digit()
            && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
    };
    let names: Vec<&str> = text.strip_prefix("$.").into_iter().flat_map(|rest| rest.split('.')).collect();
    let is_plain = !names.is_empty() && names.iter().all(is_name) && names[0] != "labels";
    is_plain.then_some(names).ok_or("reads its value by a path that a source cannot fill; use one such as `$.value`")
}

/// Puts a value where the names lead.
fn set(data: &mut Map<String, Value>, names: &[&str], value: Value) {
    let Some((first, rest)) = names.split_first() else { return };
    if rest.is_empty() {
        data.insert((*first).to_owned(), value);
        return;
    }
    let below = data.entry((*first).to_owned()).or_insert_with(|| Value::Object(Map::new()));
    if let Value::Object(below) = below {
        set(below, rest, value);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use domain::meter::{builtin, read_meters};

    fn point() -> UsagePoint {
        UsagePoint {
            series: r#"prometheus:east/cpu{"namespace":"shop","tenant":"acme"}"#.into(),
            meter: "cpu_core_hours".into(),
            hour: "2026-11-20T10:00:00Z".parse().expect("an instant"),
            value: "1.25".to_owned(),
            tenant: Some("acme".into()),
            cluster: Some("east".into()),
            attributes: [(Dimension::TaskClass, "batch".into()), (Dimension::Label("namespace".into()), "shop".into())]
                .into(),
        }
    }

    fn event(point: &UsagePoint, meters: &[Meter]) -> Result<Value, String> {
        let meters = meters.iter().map(|meter| (meter.name.as_str(), meter)).collect();
        let text = event_of(point, &meters).map_err(|error| error.to_string())?;
        Ok(serde_json::from_str(&text).expect("JSON"))
    }

    #[test]
    fn a_point_is_an_event_of_its_hour() {
        let expected = json!({
            "specversion": "1.0", "id": "2026-11-20T11:00:00Z", "time": "2026-11-20T10:00:00Z",
            "source": "prometheus:east/cpu{\"namespace\":\"shop\",\"tenant\":\"acme\"}", "type": "cpu_core_hours",
            "tenant": "acme", "cluster": "east", "taskclass": "batch",
            "data": { "labels": { "namespace": "shop" }, "value": "1.25" },
        });
        assert_eq!(event(&point(), &builtin()), Ok(expected));
        let nobody = UsagePoint { tenant: None, cluster: None, attributes: [].into(), ..point() };
        let found = event(&nobody, &builtin()).expect("an event");
        assert_eq!(
            (found.get("tenant"), found.get("cluster"), &found["data"]),
            (None, None, &json!({ "value": "1.25" }))
        );
    }

    #[test]
    fn the_value_stands_where_the_meter_looks() {
        let meter = |value: &str| {
            let text = format!(
                "[[meter]]\nname='cpu_core_hours'\nunit='U'\ncategory='other'\nkind='counter'\nevent_type='cpu'\naggregation='sum'\nvalue=\"{value}\""
            );
            read_meters("meters.toml", &text).expect("valid")
        };
        let found = event(&point(), &meter("$.used.cores")).expect("an event");
        assert_eq!((&found["type"], &found["data"]["used"]["cores"]), (&json!("cpu"), &json!("1.25")));
        for path in ["$.a[0]", "$['a']", "$.labels.x", "$"] {
            let refused = event(&point(), &meter(path)).expect_err(path);
            assert!(refused.contains("by a path that a source cannot fill"), "{refused}");
        }
        let unknown = UsagePoint { meter: "nothing".into(), ..point() };
        assert_eq!(event(&unknown, &builtin()), Err("meter `nothing` does not exist".to_owned()));
    }
}
