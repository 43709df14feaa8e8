use std::collections::BTreeMap;
use std::fs::File;
use std::io::Write;
use std::path::PathBuf;
use std::sync::Arc;

use arrow::array::{Array, AsArray, RecordBatch};
use arrow::datatypes::{Date32Type, Decimal128Type};
use collectors::error::ImportError;
use collectors::focus::InputFile;
use collectors::import::{ImportContext, ImportReport, import_focus};
use collectors::limits::ImportLimits;
use domain::{Instant, Zone};
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use storage::catalog::Catalog;
use storage::lake::{Imports, Lake, Table};

/// A store in a temporary folder.
pub(crate) struct Store {
    pub folder: tempfile::TempDir,
    pub context: ImportContext,
}

pub(crate) const NOON: Instant = Instant::from_micros(1_790_000_000_000_000);

impl Store {
    pub(crate) async fn new() -> Self {
        Self::in_zone(Zone::utc()).await
    }

    pub(crate) async fn in_zone(zone: Zone) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let context = ImportContext {
            lake: Lake::open(&folder.path().join("lake"), NOON).await.expect("a lake"),
            imports: Imports::open(&folder.path().join("imports")).expect("a folder for imports"),
            catalog: Catalog::open(&folder.path().join("catalog.db")).await.expect("a catalog"),
            zone,
            limits: ImportLimits::default(),
            now: NOON,
        };
        Self { folder, context }
    }

    /// Writes a file to be imported.
    pub(crate) fn file(&self, name: &str, bytes: impl AsRef<[u8]>) -> InputFile {
        let path: PathBuf = self.folder.path().join(name);
        File::create(&path).and_then(|mut file| file.write_all(bytes.as_ref())).expect("a written file");
        InputFile { name: name.to_owned(), path }
    }

    pub(crate) async fn import_set(&self, files: Vec<InputFile>, confirm: bool) -> Result<ImportReport, ImportError> {
        import_focus(&self.context, "aws", files, confirm, Arc::new(|_| ())).await
    }

    pub(crate) async fn import(&self, bytes: impl AsRef<[u8]>) -> Result<ImportReport, ImportError> {
        let file = self.file("bill", bytes);
        self.import_set(vec![file], false).await
    }

    pub(crate) async fn version(&self) -> u64 {
        self.context.lake.pin_table(Table::CostLines).await.expect("a table").version()
    }

    /// All stored lines, file by file.
    pub(crate) async fn batches(&self) -> Vec<RecordBatch> {
        let pinned = self.context.lake.pin_table(Table::CostLines).await.expect("a table");
        let mut batches = Vec::new();
        for file in pinned.files() {
            let disk = File::open(self.folder.path().join("lake/cost_lines").join(&file.path)).expect("a data file");
            let reader = ParquetRecordBatchReaderBuilder::try_new(disk).and_then(|reader| reader.build());
            batches.extend(reader.expect("Parquet").map(|batch| batch.expect("a batch")));
        }
        batches
    }

    /// Sum of a money column by currency, in atoms.
    pub(crate) async fn sums(&self, column: &str) -> BTreeMap<String, i128> {
        let mut sums = BTreeMap::new();
        for batch in self.batches().await {
            let amounts = batch.column_by_name(column).expect("a column").as_primitive::<Decimal128Type>().clone();
            let currencies = batch.column_by_name("billing_currency").expect("a column").as_string::<i32>().clone();
            for row in 0..batch.num_rows() {
                *sums.entry(currencies.value(row).to_owned()).or_insert(0) +=
                    if amounts.is_valid(row) { amounts.value(row) } else { 0 };
            }
        }
        sums
    }

    /// First and last day and billed amount of every stored line, sorted.
    pub(crate) async fn lines(&self) -> Vec<(String, String, String)> {
        let mut lines = Vec::new();
        for batch in self.batches().await {
            let day = |column: &str, row: usize| {
                let days = batch.column_by_name(column).expect("a column").as_primitive::<Date32Type>().value(row);
                domain::Day::from_epoch_days(days).to_string()
            };
            let billed = batch.column_by_name("billed_cost").expect("a column").as_primitive::<Decimal128Type>();
            for row in 0..batch.num_rows() {
                let amount = domain::money::format_atoms(billed.value(row));
                lines.push((day("charge_date_from", row), day("charge_date_to", row), amount));
            }
        }
        lines.sort();
        lines
    }

    pub(crate) async fn files(&self) -> usize {
        self.context.lake.pin_table(Table::CostLines).await.expect("a table").files().len()
    }
}

pub(crate) const HEADER: &str = "BilledCost,EffectiveCost,BillingCurrency,BillingAccountId,BillingPeriodStart,\
                                 BillingPeriodEnd,ChargePeriodStart,ChargePeriodEnd,ChargeCategory,ServiceName,Tags,x_Team";

/// A row of one day in October 2026.
pub(crate) fn row(account: &str, day: u32, billed: &str) -> String {
    format!(
        "{billed},{billed},USD,{account},2026-10-01,2026-11-01,2026-10-{day:02} 00:00:00,2026-10-{day:02} 01:00:00,Usage,\
         Compute,\"{{\"\"env\"\":\"\"prod\"\"}}\",a"
    )
}

/// A bill of these rows.
pub(crate) fn csv(rows: &[String]) -> String {
    format!("{HEADER}\n{}\n", rows.join("\n"))
}

/// A bill of ten rows of one account.
pub(crate) fn ten_rows() -> Vec<String> {
    (1..=10).map(|day| row("acct", day, &format!("{day}.25"))).collect()
}

/// Adds up decimals by hand, as a second opinion: plain digits with at most 15 decimals, no exponent.
pub(crate) fn atoms_by_hand(text: &str) -> i128 {
    if text.is_empty() || text == "NULL" {
        return 0;
    }
    let (sign, digits) = text.strip_prefix('-').map_or((1, text), |digits| (-1, digits));
    let (whole, fraction) = digits.split_once('.').unwrap_or((digits, ""));
    let fraction = fraction.trim_end_matches('0');
    assert!(fraction.len() <= 15, "{text} has more than 15 decimals");
    sign * format!("{whole}{fraction:0<15}").parse::<i128>().expect("digits")
}
