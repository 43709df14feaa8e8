//! A large bill does not need large memory. Alone in its process, because it looks at the process.

use std::io::Write;
use std::sync::Arc;

use collectors::focus::InputFile;
use collectors::import::{ImportContext, import_focus};
use collectors::limits::ImportLimits;
use domain::{Instant, Zone};
use storage::catalog::Catalog;
use storage::lake::{Imports, Lake};

/// Bytes of the bill when decompressed.
const BILL_BYTES: usize = 300 * 1024 * 1024;
/// Memory that importing it may add, far below the bill's size.
const GROWTH_KIB_MAX: u64 = 160 * 1024;

#[tokio::test]
async fn a_bill_of_300_mib_is_imported_in_little_memory() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("bill.csv.gz");
    let rows = write_bill(&path);
    let now = Instant::from_micros(1_790_000_000_000_000);
    let context = ImportContext {
        lake: Lake::open(&folder.path().join("lake"), now).await.expect("a lake"),
        imports: Imports::open(&folder.path().join("imports")).expect("a folder"),
        catalog: Catalog::open(&folder.path().join("catalog.db")).await.expect("a catalog"),
        zone: Zone::utc(),
        limits: ImportLimits::default(),
        now,
    };
    let before = peak_kib();
    let file = InputFile { name: "bill.csv.gz".to_owned(), path };
    let report = import_focus(&context, "aws", vec![file], false, Arc::new(|_| ())).await.expect("an import");
    assert_eq!(report.rows, rows);
    match (before, peak_kib()) {
        (Some(before), Some(after)) => {
            let growth = after - before;
            eprintln!("{rows} rows, {BILL_BYTES} bytes: memory grew by {growth} KiB");
            assert!(growth < GROWTH_KIB_MAX, "memory grew by {growth} KiB");
        }
        _ => eprintln!("this system does not tell a process's peak memory: only the import itself was tested"),
    }
}

/// Rows of about 1.5 KB, so that the bill is large but quick to make.
fn write_bill(path: &std::path::Path) -> u64 {
    let file = std::fs::File::create(path).expect("a file");
    let mut gzip = flate2::write::GzEncoder::new(file, flate2::Compression::fast());
    let header = "BilledCost,EffectiveCost,BillingCurrency,BillingAccountId,BillingPeriodStart,BillingPeriodEnd,\
                  ChargePeriodStart,ChargePeriodEnd,ChargeCategory,ResourceId,ChargeDescription\n";
    gzip.write_all(header.as_bytes()).expect("written");
    let description = "x".repeat(1400);
    let (mut bytes, mut rows) = (0, 0_u64);
    while bytes < BILL_BYTES {
        let day = 1 + rows % 28;
        let row = format!(
            "0.{rows:06},0.{rows:06},USD,acct{},2026-10-01,2026-11-01,2026-10-{day:02},2026-10-{day:02}T01:00:00Z,Usage,\
             resource-{rows},{description}\n",
            rows % 3
        );
        gzip.write_all(row.as_bytes()).expect("written");
        bytes += row.len();
        rows += 1;
    }
    gzip.finish().expect("written");
    rows
}

fn peak_kib() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find(|line| line.starts_with("VmHWM:"))?;
    line.split_whitespace().nth(1)?.parse().ok()
}
