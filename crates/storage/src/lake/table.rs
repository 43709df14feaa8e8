//! The tables of the lake and what is fixed about each of them.

use std::fmt;
use std::sync::{Arc, LazyLock};

use arrow::datatypes::{Schema, SchemaRef};

use super::schemas;

/// One table of the lake.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Table {
    /// Raw events, kept for a while.
    UsageEvents,
    /// Usage per day or hour, kept for ever.
    Usage,
    /// What was measured of every tenant, per day.
    Snapshots,
    /// Bills, line by line.
    CostLines,
    /// What went into each pool, per day.
    PoolDays,
    /// Who pays how much. Append-only.
    Ledger,
}

static SCHEMAS: LazyLock<[SchemaRef; Table::ALL.len()]> = LazyLock::new(|| {
    Table::ALL.map(|table| match table {
        Table::UsageEvents => schemas::usage_events(),
        Table::Usage => schemas::usage(),
        Table::Snapshots => schemas::snapshots(),
        Table::CostLines => schemas::cost_lines(),
        Table::PoolDays => schemas::pool_days(),
        Table::Ledger => schemas::ledger(),
    })
});

static FILE_SCHEMAS: LazyLock<[SchemaRef; Table::ALL.len()]> = LazyLock::new(|| {
    Table::ALL.map(|table| {
        let stored = |name: &str| !table.partition_columns().contains(&name);
        let fields: Vec<_> = table.schema().fields().iter().filter(|field| stored(field.name())).cloned().collect();
        Arc::new(Schema::new(fields))
    })
});

impl Table {
    /// All tables. The ledger comes last: it names what the tables before it hold, so writers commit
    /// in this order and readers pin in the opposite one.
    pub const ALL: [Self; 6] =
        [Self::UsageEvents, Self::Usage, Self::Snapshots, Self::CostLines, Self::PoolDays, Self::Ledger];

    /// Folder name, SQL name and name in messages.
    pub const fn name(self) -> &'static str {
        match self {
            Self::UsageEvents => "usage_events",
            Self::Usage => "usage",
            Self::Snapshots => "snapshots",
            Self::CostLines => "cost_lines",
            Self::PoolDays => "pool_days",
            Self::Ledger => "ledger",
        }
    }

    /// All columns in their documented order; batches read from the table have exactly this schema.
    pub fn schema(self) -> SchemaRef {
        Arc::clone(&SCHEMAS[self as usize])
    }

    /// The columns that stand in the data files: all but the partition columns (Delta's convention).
    pub fn file_schema(self) -> SchemaRef {
        Arc::clone(&FILE_SCHEMAS[self as usize])
    }

    /// Columns by whose values the files are divided.
    pub const fn partition_columns(self) -> &'static [&'static str] {
        match self {
            Self::UsageEvents => &["event_date"],
            Self::Usage => &["usage_date"],
            Self::Snapshots => &["snapshot_date"],
            Self::CostLines => &["source", "billing_month"],
            Self::PoolDays | Self::Ledger => &["charge_month"],
        }
    }

    /// Columns whose least and greatest value per file is written to the log, to skip files.
    pub const fn stats_columns(self) -> &'static [&'static str] {
        match self {
            Self::UsageEvents => &["tenant"],
            Self::Usage => &["tenant", "meter"],
            Self::Snapshots => &["source", "tenant"],
            Self::CostLines => &["charge_date_from", "charge_date_to", "billing_account_id", "import_id"],
            Self::PoolDays => &["charge_date", "run", "pool"],
            Self::Ledger => &["posting", "charge_date", "billing_month"],
        }
    }

    /// In which order rows stand in a merged file: the order in which metering writes them.
    ///
    /// `None`: files of the table are never merged. Those of the ledger never change; `pool_days` grows by a few files
    /// a run and `cost_lines` by large ones, whose tags say what an import replaces; `snapshots` has one a day and source.
    pub const fn merge_order(self) -> Option<&'static [&'static str]> {
        match self {
            Self::UsageEvents => Some(&["tenant", "time", "source", "id"]),
            Self::Usage => Some(&[
                "tenant",
                "meter",
                "hour",
                "user",
                "workflow",
                "repo",
                "task_class",
                "cluster",
                "labels_key",
                "origin",
            ]),
            Self::Snapshots | Self::CostLines | Self::PoolDays | Self::Ledger => None,
        }
    }

    /// Whether files that were taken out may be deleted once nothing cites them. Any past state of the bills can be
    /// asked for, so `cost_lines` keeps every file that was ever committed.
    pub const fn forgets_removed_files(self) -> bool {
        matches!(self, Self::UsageEvents | Self::Usage | Self::Snapshots)
    }

    /// Whether nothing may ever be removed.
    pub const fn append_only(self) -> bool {
        matches!(self, Self::Ledger)
    }

    /// Version of the columns; kept as `apportion.format_version` in the table's Delta configuration.
    pub const fn format_version(self) -> u32 {
        1
    }
}

impl fmt::Display for Table {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(self.name())
    }
}
