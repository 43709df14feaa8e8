//! `usage` and `snapshots` as one table: a snapshot is usage of a whole day with the origin `snapshot`.

use crate::EngineError;
use arrow::datatypes::{DataType, SchemaRef};
use datafusion::catalog::TableProvider;
use datafusion::common::ScalarValue;
use datafusion::logical_expr::when;
use datafusion::prelude::{DataFrame, Expr, SessionContext, ident, lit};
use domain::snapshot::{ORIGIN_SNAPSHOT, SnapshotKind};
use std::sync::Arc;
use storage::lake::{LakeTable, PinnedTable, schemas};

/// Returns the usage with the snapshots as a table of the schema of `usage`; the texts of both are views.
///
/// Without snapshots it is the table `usage` itself, and nothing stands between it and a query.
///
/// # Errors
/// When DataFusion refuses the plan.
pub(crate) fn usage_with_snapshots(
    session: &SessionContext,
    usage: &PinnedTable,
    snapshots: &PinnedTable,
) -> Result<Arc<dyn TableProvider>, EngineError> {
    // Usage is grouped by texts in large numbers: views are not copied.
    let usage = LakeTable::new(usage).with_views();
    if snapshots.rows() == 0 {
        return Ok(Arc::new(usage));
    }
    let schema = usage.schema();
    let snapshots = as_usage(session, LakeTable::new(snapshots).with_views(), &schema)?;
    Ok(session.read_table(Arc::new(usage))?.union(snapshots)?.into_view())
}

/// Returns the snapshots as rows of `usage` in this schema, whose texts are held as those of `snapshots`.
///
/// Every way to make one quantity of a day's values finds its value: sum, least, greatest and last are the quantity.
/// What could not be measured is not usage. The unit is null: it is that of the meter. Two sources may measure the same
/// metric of a tenant, and then both count; so the source stands in `labels_key`, by which levels are kept apart.
///
/// # Errors
/// When DataFusion refuses the plan.
pub(crate) fn as_usage(
    session: &SessionContext,
    snapshots: LakeTable,
    schema: &SchemaRef,
) -> Result<DataFrame, EngineError> {
    let measured = session.read_table(Arc::new(snapshots))?.filter(ident("quantity").is_not_null())?;
    let mut columns = Vec::with_capacity(schema.fields().len());
    for field in schema.fields() {
        columns.push(column(field.name(), field.data_type())?.alias(field.name()));
    }
    Ok(measured.select(columns)?)
}

/// What stands in a column of `usage`.
fn column(name: &str, kind: &DataType) -> Result<Expr, EngineError> {
    let word = |word: &str| match kind {
        DataType::Utf8View => lit(ScalarValue::Utf8View(Some(word.to_owned()))),
        _ => lit(word),
    };
    Ok(match name {
        "usage_date" => ident("snapshot_date"),
        "tenant" => ident("tenant"),
        "meter" => ident("metric"),
        "labels_key" => ident("source"),
        "kind" => {
            let gauge = SnapshotKind::Gauge;
            let counter = SnapshotKind::Delta24h.meter_kind();
            when(ident("kind").eq(word(gauge.as_str())), word(gauge.meter_kind().as_str()))
                .otherwise(word(counter.as_str()))?
        }
        "origin" => word(ORIGIN_SNAPSHOT),
        "count" => lit(1_i64),
        "sum" | "min" | "max" | "last" => ident("quantity"),
        "last_at" => ident("taken_at"),
        "labels" => lit(no_labels()?),
        _ => lit(ScalarValue::try_new_null(kind)?),
    })
}

/// A map without entries.
fn no_labels() -> Result<ScalarValue, EngineError> {
    let mut builder = schemas::map_builder();
    builder.append(true).map_err(datafusion::error::DataFusionError::from)?;
    Ok(ScalarValue::Map(Arc::new(builder.finish())))
}

#[cfg(test)]
mod tests {
    use super::*;
    use arrow::util::pretty::pretty_format_batches;
    use domain::snapshot::{Measured, Measurement, SnapshotRow};
    use storage::lake::{Commit, Table, snapshot_rows};

    fn row(source: &str, tenant: &str, metric: &str, measured: Measured) -> SnapshotRow {
        SnapshotRow {
            source: source.into(),
            snapshot_date: "2026-11-18".parse().expect("a day"),
            tenant: tenant.into(),
            metric: metric.into(),
            measurement: Measurement { kind: SnapshotKind::of_metric(metric), measured, note: None },
            taken_at: "2026-11-18T00:10:00Z".parse().expect("an instant"),
        }
    }

    fn exactly(quantity: &str) -> Measured {
        Measured::Exactly(quantity.parse().expect("a quantity"))
    }

    async fn shown(engine: &crate::Engine, sql: &str) -> String {
        let session = engine.session(&engine.lake.pin().await.expect("pinned")).expect("a session");
        let batches = session.sql(sql).await.expect("valid SQL").collect().await.expect("an answer");
        pretty_format_batches(&batches).expect("printable").to_string()
    }

    #[tokio::test]
    async fn snapshots_are_usage_of_a_day() {
        let folder = tempfile::tempdir().expect("a folder");
        let engine = crate::sample::engine(folder.path()).await;
        assert!(!shown(&engine, "EXPLAIN SELECT tenant FROM usage").await.contains("Union"));
        let rows = [
            row("app", "acme", "member_count", exactly("3")),
            row("app", "acme", "api_call_count_24h", exactly("10")),
            row("app", "acme", "storage_bytes", Measured::Nothing),
            row("cron", "acme", "member_count", Measured::Degraded("2".parse().expect("a quantity"))),
        ];
        let mut writer = engine.lake.partitioned(Table::Snapshots);
        writer.write(&snapshot_rows::to_batch(&rows).expect("rows")).await.expect("written");
        let mut commit = Commit::new("2026-11-18T00:10:00Z".parse().expect("an instant"), "test");
        commit.adds = writer.finish().await.expect("files");
        let pinned = engine.lake.pin_table(Table::Snapshots).await.expect("pinned");
        engine.lake.commit(&pinned, commit).await.expect("committed");

        let all = "SELECT usage_date, hour, tenant, \"user\", labels['team'] AS team, labels_key, meter, kind, origin, \
                   \"sum\", \"count\", \"last\" FROM usage WHERE usage_date >= DATE '2026-11-18' ORDER BY meter, labels_key";
        let expected = "\
+------------+------+--------+------+------+------------+--------------------+---------+----------+--------------+-------+--------------+
| usage_date | hour | tenant | user | team | labels_key | meter              | kind    | origin   | sum          | count | last         |
+------------+------+--------+------+------+------------+--------------------+---------+----------+--------------+-------+--------------+
| 2026-11-18 |      | acme   |      |      | app        | api_call_count_24h | counter | snapshot | 10.000000000 | 1     | 10.000000000 |
| 2026-11-18 |      | acme   |      |      | app        | member_count       | gauge   | snapshot | 3.000000000  | 1     | 3.000000000  |
| 2026-11-18 |      | acme   |      |      | cron       | member_count       | gauge   | snapshot | 2.000000000  | 1     | 2.000000000  |
+------------+------+--------+------+------+------------+--------------------+---------+----------+--------------+-------+--------------+";
        assert_eq!(shown(&engine, all).await, expected);
        let sums = "SELECT tenant, meter, sum(\"sum\") AS sum FROM usage WHERE usage_date = DATE '2026-11-18' AND \
                    origin = 'snapshot' GROUP BY tenant, meter ORDER BY meter";
        assert!(shown(&engine, sums).await.contains("| acme   | member_count       | 5.000000000  |"));
        let other_day = "SELECT tenant FROM usage WHERE usage_date = DATE '2026-11-19'";
        assert!(!shown(&engine, other_day).await.contains("acme"));
    }
}
