use std::io::Write;
use std::sync::Arc;

use arrow::array::{
    ArrayRef, Decimal128Array, Float64Array, MapBuilder, RecordBatch, StringArray, StringBuilder,
    TimestampMicrosecondArray,
};
use collectors::import::{ImportReport, PeriodReport};
use collectors::recount::{BillCount, BillState, BillSums, StoredBill, recount};
use parquet::arrow::ArrowWriter;
use parquet::basic::{Compression, GzipLevel};
use parquet::file::properties::WriterProperties;

use super::support::{HEADER, Store, csv, row, ten_rows};

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(bytes).and_then(|()| encoder.finish()).expect("gzip")
}

fn zstd(bytes: &[u8]) -> Vec<u8> {
    zstd::encode_all(bytes, 1).expect("zstd")
}

fn records(text: &str) -> (Vec<String>, Vec<Vec<String>>) {
    let mut reader = csv::Reader::from_reader(text.as_bytes());
    let header = reader.headers().expect("a header").iter().map(str::to_owned).collect();
    let rows = reader.records().map(|row| row.expect("a row").iter().map(str::to_owned).collect()).collect();
    (header, rows)
}

fn jsonl(text: &str) -> String {
    let (header, rows) = records(text);
    let object = |row: Vec<String>| {
        let members = header.iter().zip(row).map(|(name, value)| {
            let value = match name.as_str() {
                "Tags" => serde_json::from_str(&value).expect("JSON tags"),
                "BilledCost" => serde_json::from_str(&value).expect("a number"),
                _ => serde_json::Value::String(value),
            };
            (name.clone(), value)
        });
        serde_json::Value::Object(members.collect()).to_string()
    };
    rows.into_iter().map(object).collect::<Vec<_>>().join("\n")
}

fn parquet_of(batch: &RecordBatch, compression: Compression) -> Vec<u8> {
    let properties = WriterProperties::builder().set_compression(compression).build();
    let mut bytes = Vec::new();
    let mut writer = ArrowWriter::try_new(&mut bytes, batch.schema(), Some(properties)).expect("a writer");
    writer.write(batch).expect("rows");
    writer.close().expect("a footer");
    bytes
}

fn parquet_text(text: &str, compression: Compression) -> Vec<u8> {
    let (header, rows) = records(text);
    let column =
        |at: usize| -> ArrayRef { Arc::new(rows.iter().map(|row| Some(row[at].clone())).collect::<StringArray>()) };
    let columns = header.iter().enumerate().map(|(at, name)| (name.as_str(), column(at)));
    parquet_of(&RecordBatch::try_from_iter(columns).expect("columns"), compression)
}

/// Decimals, doubles, timestamps and maps, as cloud exports write them.
fn parquet_typed(text: &str) -> Vec<u8> {
    let (header, rows) = records(text);
    let column = |at: usize, name: &str| -> ArrayRef {
        let cells = rows.iter().map(|row| row[at].as_str());
        match name {
            "BilledCost" => {
                let atoms = cells.map(|cell| domain::decimal::parse_scaled(cell, 10).expect("a number").atoms);
                Arc::new(Decimal128Array::from_iter_values(atoms).with_precision_and_scale(38, 10).expect("a scale"))
            }
            "EffectiveCost" => Arc::new(cells.map(|cell| cell.parse::<f64>().ok()).collect::<Float64Array>()),
            "ChargePeriodStart" | "BillingPeriodEnd" => {
                let micros = cells.map(|cell| domain::Instant::parse_lenient(cell).ok().map(domain::Instant::micros));
                Arc::new(micros.collect::<TimestampMicrosecondArray>().with_timezone("UTC"))
            }
            "ChargePeriodEnd" => {
                let micros = cells.map(|cell| domain::Instant::parse_lenient(cell).ok().map(domain::Instant::micros));
                Arc::new(micros.collect::<TimestampMicrosecondArray>())
            }
            "Tags" => {
                let mut map = MapBuilder::new(None, StringBuilder::new(), StringBuilder::new());
                for _ in cells {
                    map.keys().append_value("env");
                    map.values().append_value("prod");
                    map.append(true).expect("one entry");
                }
                Arc::new(map.finish())
            }
            _ => Arc::new(cells.map(|cell| Some(cell.to_owned())).collect::<StringArray>()),
        }
    };
    let columns: Vec<(&str, ArrayRef)> =
        header.iter().enumerate().map(|(at, name)| (name.as_str(), column(at, name))).collect();
    parquet_of(&RecordBatch::try_from_iter(columns).expect("columns"), Compression::SNAPPY)
}

/// A bill in every format and compression.
fn in_all_clothes(bill: &str) -> Vec<(&'static str, Vec<u8>)> {
    let gzip_level = GzipLevel::default();
    let two_members = [gzip(&bill.as_bytes()[..500]), gzip(&bill.as_bytes()[500..])].concat();
    vec![
        ("gzip", gzip(bill.as_bytes())),
        ("gzip of two members", two_members),
        ("zstd", zstd(bill.as_bytes())),
        ("with a byte order mark", [b"\xef\xbb\xbf", bill.as_bytes()].concat()),
        ("with Windows line ends", bill.replace('\n', "\r\n").into_bytes()),
        ("jsonl", jsonl(bill).into_bytes()),
        ("jsonl in zstd", zstd(jsonl(bill).as_bytes())),
        ("parquet", parquet_text(bill, Compression::UNCOMPRESSED)),
        ("parquet with snappy", parquet_text(bill, Compression::SNAPPY)),
        ("parquet with gzip", parquet_text(bill, Compression::GZIP(gzip_level))),
        ("parquet with zstd", parquet_text(bill, Compression::ZSTD(Default::default()))),
        ("parquet with types", parquet_typed(bill)),
        ("parquet in gzip", gzip(&parquet_text(bill, Compression::SNAPPY))),
    ]
}

#[tokio::test]
async fn the_same_rows_in_any_format_and_compression_change_nothing() {
    let store = Store::new().await;
    let bill = csv(&ten_rows());
    let first = store.import(&bill).await.expect("an import");
    assert!(!first.unchanged);
    for (name, bytes) in in_all_clothes(&bill) {
        let report = store.import(bytes).await.unwrap_or_else(|error| panic!("{name}: {error}"));
        assert!(report.unchanged, "{name}");
        assert_eq!((report.import_id.as_str(), &report.totals), (first.import_id.as_str(), &first.totals), "{name}");
    }
    assert_eq!(store.version().await, 1);
}

#[tokio::test]
async fn order_split_and_header_spelling_change_nothing() {
    let store = Store::new().await;
    let mut rows = ten_rows();
    store.import(csv(&rows)).await.expect("an import");
    rows.reverse();
    let parts: Vec<_> =
        rows.chunks(3).enumerate().map(|(at, part)| store.file(&format!("part{at}"), csv(part))).collect();
    assert!(store.import_set(parts, false).await.expect("an import").unchanged);
    let upper = csv(&rows).replacen(HEADER, &HEADER.replace("BilledCost", "BILLED_COST").replace("Tags", "tags"), 1);
    assert!(store.import(upper).await.expect("an import").unchanged);
    // A row that stands twice is another bill.
    rows.push(rows[0].clone());
    assert!(!store.import(csv(&rows)).await.expect("an import").unchanged);
}

#[tokio::test]
async fn long_numbers_are_rounded_once_and_counted() {
    let store = Store::new().await;
    let rows = [
        row("acct", 1, "0.1234567890123456789"),
        row("acct", 2, "1e-7"),
        row("acct", 3, "0E-6176"),
        row("acct", 4, "123456789012.12345678901234500000000"),
        row("acct", 5, "0.0000000000000005"),
    ];
    let report = store.import(csv(&rows)).await.expect("an import");
    // Billed and effective of rows 1 and 5; trailing zeros are no digits.
    assert_eq!(report.rounded_values, 4);
    assert_eq!(report.totals[0].billed, "123456789012.246913678024691");
}

/// What the import says that it stored.
fn stored_by(report: &ImportReport) -> Vec<StoredBill> {
    let atoms = |text: &str| domain::money::parse_atoms(text).expect("an amount").atoms;
    let bill = |key: &PeriodReport| {
        let total = &key.totals[0];
        let sums = BillSums { lines: key.rows, billed: atoms(&total.billed), effective: atoms(&total.effective) };
        StoredBill {
            source: "aws".to_owned(),
            import_id: report.import_id.clone(),
            billing_account: key.billing_account.clone(),
            billing_period_start: "2026-10-01T00:00:00Z".parse().expect("an instant"),
            currency: total.currency.clone(),
            sums,
        }
    };
    report.billing_periods.iter().map(bill).collect()
}

#[tokio::test]
async fn a_bill_in_any_format_adds_up_again_to_what_was_imported() {
    let mut rows = ten_rows();
    rows.extend([row("acct", 11, "-0.1"), row("other", 3, "1e-7"), row("other", 4, "0.0000000005")]);
    for (name, bytes) in in_all_clothes(&csv(&rows)) {
        let store = Store::new().await;
        let stored = stored_by(&store.import(bytes).await.expect("an import"));
        let (catalog, imports) = (&store.context.catalog, &store.context.imports);
        let counts = recount(catalog, imports, stored.clone()).await.expect("a catalog");
        let states: Vec<(&str, BillState, Option<i128>)> = counts
            .iter()
            .map(|count| (count.key.billing_account.as_str(), count.state, count.billed_difference()))
            .collect();
        let proved = |account: &'static str| (account, BillState::Proved, Some(0));
        assert_eq!(states, [proved("acct"), proved("other")], "{name}: {counts:?}");
    }
}

#[tokio::test]
async fn what_differs_from_its_file_or_has_none_is_told() {
    let store = Store::new().await;
    let odd = [row("acct", 1, "0.1234567890123456785"), row("acct", 2, "NULL"), row("acct", 3, "\"1\"")];
    let stored = stored_by(&store.import(csv(&odd)).await.expect("an import"));
    let (catalog, imports) = (&store.context.catalog, &store.context.imports);
    let state = async |stored: &[StoredBill]| {
        let counts = recount(catalog, imports, stored.to_vec()).await.expect("a catalog");
        let told = |one: &BillCount| (one.state, one.billed_difference(), one.reason.clone());
        counts.iter().map(told).collect::<Vec<_>>()
    };
    assert_eq!(state(&stored).await, [(BillState::Proved, Some(0), None)]);
    let mut more = stored.clone();
    more[0].sums.billed += 1;
    assert_eq!(state(&more).await, [(BillState::Failed, Some(-1), None)]);
    let mut fewer = stored.clone();
    fewer[0].sums.lines -= 1;
    assert_eq!(state(&fewer).await, [(BillState::Failed, Some(0), None)]);
    let entered = [StoredBill { import_id: "fixed-1".to_owned(), ..stored[0].clone() }];
    assert_eq!(state(&entered).await, [(BillState::NoFiles, None, None)]);

    for file in std::fs::read_dir(store.folder.path().join("imports")).expect("a folder") {
        std::fs::remove_file(file.expect("an entry").path()).expect("it was there");
    }
    let gone = state(&stored).await;
    assert_eq!((gone[0].0, gone[0].1), (BillState::NotCounted, None));
    assert!(gone[0].2.as_ref().is_some_and(|reason| reason.ends_with("is not kept any more")), "{gone:?}");
}
