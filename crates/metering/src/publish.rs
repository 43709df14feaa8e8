use crate::error::MeteringError;
use domain::Instant;
use domain::meter::{Meter, builtin, check_meter};
use std::collections::{BTreeMap, BTreeSet};
use storage::catalog::{Catalog, MeterRow};

/// Who entered a meter that stands in meters.toml or is built in.
const ENTERED_BY_FILE: &str = "file";
const ACTIVE: &str = "active";
const HIDDEN: &str = "hidden";

/// Publishes the meters of meters.toml, built-in ones included; returns the names whose definition changed.
///
/// All or none: they are checked before the first is written. A meter that was published from the
/// file and is no longer there is hidden; its usage stays.
///
/// # Errors
/// [`MeteringError::MeterInUse`] if a meter that has usage would mean something else.
pub async fn publish_meters(catalog: &Catalog, meters: Vec<Meter>, now: Instant) -> Result<Vec<String>, MeteringError> {
    let recorded: BTreeMap<String, MeterRow> =
        catalog.meters_upto(i64::MAX).await?.into_iter().map(|row| (row.name.clone(), row)).collect();
    let defaults: BTreeMap<String, Meter> = builtin().into_iter().map(|meter| (meter.name.clone(), meter)).collect();
    // What somebody put or hid over the API stays, unless the file speaks of it.
    let is_put = |meter: &Meter| {
        let by_hand = recorded.get(&meter.name).is_some_and(|row| row.entered_by != ENTERED_BY_FILE);
        by_hand && defaults.get(&meter.name) == Some(meter)
    };
    let meters: Vec<Meter> = meters.into_iter().filter(|meter| !is_put(meter)).collect();
    for meter in &meters {
        refuse_other_meaning(catalog, recorded.get(&meter.name), meter).await?;
    }
    let names: BTreeSet<&String> = meters.iter().map(|meter| &meter.name).collect();
    let is_gone =
        |row: &&MeterRow| row.entered_by == ENTERED_BY_FILE && row.state == ACTIVE && !names.contains(&row.name);
    let mut changed = Vec::new();
    for row in recorded.values().filter(is_gone) {
        if catalog.put_meter(&row.name, &row.body, HIDDEN, ENTERED_BY_FILE, now.micros()).await? {
            changed.push(row.name.clone());
        }
    }
    for meter in &meters {
        if catalog.put_meter(&meter.name, &to_row_body(meter), ACTIVE, ENTERED_BY_FILE, now.micros()).await? {
            changed.push(meter.name.clone());
        }
    }
    Ok(changed)
}

/// Records a meter that somebody put; returns whether it differs from the one in force.
///
/// # Errors
/// [`MeteringError::InvalidMeter`] if the definition makes no sense, [`MeteringError::MeterInUse`] if a meter that has
/// usage would mean something else.
pub async fn put_meter(catalog: &Catalog, meter: &Meter, actor: &str, now: Instant) -> Result<bool, MeteringError> {
    check_meter(meter)
        .map_err(|error| MeteringError::InvalidMeter { meter: meter.name.clone(), problem: error.to_string() })?;
    let recorded = catalog.meters_upto(i64::MAX).await?.into_iter().find(|row| row.name == meter.name);
    refuse_other_meaning(catalog, recorded.as_ref(), meter).await?;
    Ok(catalog.put_meter(&meter.name, &to_row_body(meter), ACTIVE, actor, now.micros()).await?)
}

/// Hides a meter: it takes no more events, and its usage stays. Returns it, or none if there was none in force.
///
/// # Errors
/// If the catalog fails.
pub async fn hide_meter(
    catalog: &Catalog,
    name: &str,
    actor: &str,
    now: Instant,
) -> Result<Option<Meter>, MeteringError> {
    let Some(meter) = meters(catalog).await?.into_iter().find(|meter| meter.name == name) else { return Ok(None) };
    catalog.put_meter(name, &to_row_body(&meter), HIDDEN, actor, now.micros()).await?;
    Ok(Some(meter))
}

async fn refuse_other_meaning(
    catalog: &Catalog,
    recorded: Option<&MeterRow>,
    meter: &Meter,
) -> Result<(), MeteringError> {
    let before = match recorded {
        Some(row) => Some(from_row(row)?),
        None => builtin().into_iter().find(|default| default.name == meter.name),
    };
    match before.and_then(|before| defining_difference(&before, meter)) {
        Some(field) if catalog.meter_in_use(&meter.name).await? => {
            Err(MeteringError::MeterInUse { meter: meter.name.clone(), field })
        }
        _ => Ok(()),
    }
}

/// Returns the meters in force, by name: those of the catalog, and the built-in ones it says nothing about.
///
/// # Errors
/// If the catalog fails or holds something that is no meter.
pub async fn meters(catalog: &Catalog) -> Result<Vec<Meter>, MeteringError> {
    let mut meters: BTreeMap<String, Meter> = builtin().into_iter().map(|meter| (meter.name.clone(), meter)).collect();
    for row in catalog.meters_upto(i64::MAX).await? {
        if row.state == ACTIVE {
            meters.insert(row.name.clone(), from_row(&row)?);
        } else {
            meters.remove(&row.name);
        }
    }
    Ok(meters.into_values().collect())
}

/// The first field that decides what a meter's numbers mean and differs. The category does not:
/// it says only under which heading they appear.
pub(crate) fn defining_difference(before: &Meter, after: &Meter) -> Option<&'static str> {
    let differs = [
        ("unit", before.unit != after.unit),
        ("kind", before.kind != after.kind),
        ("event_type", before.event_type != after.event_type),
        ("value", before.value != after.value),
        ("aggregation", before.aggregation != after.aggregation),
        ("group_by", before.group_by != after.group_by),
    ];
    differs.into_iter().find(|(_, differs)| *differs).map(|(field, _)| field)
}

pub(crate) fn to_row_body(meter: &Meter) -> String {
    serde_json::to_string(meter).expect("a meter has text keys only")
}

fn from_row(row: &MeterRow) -> Result<Meter, MeteringError> {
    meter_of_body(&row.name, &row.body)
}

/// Returns the meter of a definition that the catalog keeps.
pub(crate) fn meter_of_body(name: &str, body: &str) -> Result<Meter, MeteringError> {
    serde_json::from_str(body).map_err(|error| MeteringError::Damaged {
        what: format!("meter `{name}` of the catalog"),
        problem: error.to_string(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use domain::meter::{Category, read_meters};

    async fn catalog() -> (tempfile::TempDir, Catalog) {
        let folder = tempfile::tempdir().unwrap();
        let catalog = Catalog::open(&folder.path().join("catalog.db")).await.unwrap();
        (folder, catalog)
    }

    fn file(text: &str) -> Vec<Meter> {
        read_meters("meters.toml", text).unwrap()
    }

    const BUILDS: &str = "[[meter]]\nname = 'builds'\nunit = 'Builds'\ncategory = 'other'\nkind = 'counter'\nevent_type = 'build'\naggregation = 'count'";

    #[tokio::test]
    async fn what_a_used_meter_means_cannot_change() {
        let (_folder, catalog) = catalog().await;
        let now = Instant::from_micros(1);
        publish_meters(&catalog, file(BUILDS), now).await.unwrap();
        let other_unit = BUILDS.replace("'Builds'", "'Runs'");
        assert_eq!(publish_meters(&catalog, file(&other_unit), now).await.unwrap(), ["builds"]);
        catalog.mark_meter_used("builds", 1).await.unwrap();
        let refused = publish_meters(&catalog, file(BUILDS), now).await;
        assert!(matches!(refused, Err(MeteringError::MeterInUse { field: "unit", .. })), "{refused:?}");
        let other_heading = other_unit.replace("'other'", "'compute'");
        assert_eq!(publish_meters(&catalog, file(&other_heading), now).await.unwrap(), ["builds"]);
        let builds = meters(&catalog).await.unwrap().into_iter().find(|meter| meter.name == "builds").unwrap();
        assert_eq!((builds.unit.as_str(), builds.category), ("Runs", Category::Compute));
    }

    #[tokio::test]
    async fn a_built_in_meter_with_usage_is_as_fixed_as_any() {
        let (_folder, catalog) = catalog().await;
        catalog.mark_meter_used("log_queries", 1).await.unwrap();
        let replaced = BUILDS.replace("'builds'", "'log_queries'");
        let refused = publish_meters(&catalog, file(&replaced), Instant::from_micros(1)).await;
        assert!(matches!(refused, Err(MeteringError::MeterInUse { .. })), "{refused:?}");
    }

    #[tokio::test]
    async fn what_somebody_put_or_hid_survives_the_next_start() {
        let (_folder, catalog) = catalog().await;
        let now = Instant::from_micros(1);
        publish_meters(&catalog, file(""), now).await.unwrap();
        let mut queries = builtin().into_iter().find(|meter| meter.name == "log_queries").unwrap();
        queries.unit = "Questions".to_owned();
        assert!(put_meter(&catalog, &queries, "anna", now).await.unwrap());
        assert!(hide_meter(&catalog, "alerts_generated", "anna", now).await.unwrap().is_some());
        publish_meters(&catalog, file(""), now).await.unwrap();
        let found = meters(&catalog).await.unwrap();
        assert!(found.contains(&queries) && found.iter().all(|meter| meter.name != "alerts_generated"));
        let shouted = Meter { value: Some("no path".to_owned()), ..queries };
        let refused = put_meter(&catalog, &shouted, "anna", now).await;
        assert!(matches!(refused, Err(MeteringError::InvalidMeter { .. })), "{refused:?}");
    }

    #[tokio::test]
    async fn meters_come_and_go_with_the_file() {
        let (_folder, catalog) = catalog().await;
        let now = Instant::from_micros(1);
        assert_eq!(meters(&catalog).await.unwrap().len(), builtin().len());
        publish_meters(&catalog, file(BUILDS), now).await.unwrap();
        assert_eq!(publish_meters(&catalog, file(BUILDS), now).await.unwrap(), Vec::<String>::new());
        assert_eq!(meters(&catalog).await.unwrap().len(), builtin().len() + 1);
        assert_eq!(publish_meters(&catalog, file(""), now).await.unwrap(), ["builds"]);
        assert_eq!(meters(&catalog).await.unwrap(), {
            let mut expected = builtin();
            expected.sort_by(|left, right| left.name.cmp(&right.name));
            expected
        });
    }
}
