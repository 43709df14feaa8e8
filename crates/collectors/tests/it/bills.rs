use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use domain::money::format_atoms;

use super::support::{Store, atoms_by_hand};

/// The committed cuts, and the full files where they are at hand.
#[expect(clippy::print_stderr, reason = "a test says what it left out")]
fn bills() -> Vec<PathBuf> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let cuts = root.join("tests/fixtures/bills");
    let mut bills: Vec<PathBuf> = ["focus-1.0-sample-cut.csv", "focus-1.2-aws-cut.csv", "focus-1.3-gcp-cut.csv"]
        .map(|name| cuts.join(name))
        .into();
    let full = root.join("../shared/data");
    for name in ["focus-1.0-sample.csv", "focus-1.2-aws-3000.csv", "focus-1.3-gcp-3000.csv"] {
        match full.join(name) {
            file if file.is_file() => bills.push(file),
            _ => eprintln!("{name} is not here: only its committed cut is tested"),
        }
    }
    bills
}

/// Columns of numbers and how many decimals the lake keeps of each.
const NUMBERS: [(&str, usize); 12] = [
    ("BilledCost", 15),
    ("EffectiveCost", 15),
    ("ListCost", 15),
    ("ContractedCost", 15),
    ("ListUnitPrice", 15),
    ("ContractedUnitPrice", 15),
    ("PricingCurrencyContractedUnitPrice", 15),
    ("PricingCurrencyEffectiveCost", 15),
    ("PricingCurrencyListUnitPrice", 15),
    ("ConsumedQuantity", 9),
    ("PricingQuantity", 9),
    ("CommitmentDiscountQuantity", 9),
];

/// Rows, cells with more decimals than are kept, and sums of a file, read by other code.
fn by_hand(file: &Path) -> (u64, u64, BTreeMap<String, [i128; 4]>) {
    let mut reader = csv::Reader::from_path(file).expect("a bill");
    let header = reader.headers().expect("a header").clone();
    let at = |name: &str| header.iter().position(|column| column == name).expect("a FOCUS column");
    let costs = ["BilledCost", "EffectiveCost", "ListCost", "ContractedCost"].map(at);
    let (mut rows, mut rounded, mut sums) = (0, 0, BTreeMap::new());
    let numbers: Vec<(usize, usize)> = NUMBERS
        .into_iter()
        .filter_map(|(name, kept)| Some((header.iter().position(|column| column == name)?, kept)))
        .collect();
    for record in reader.records() {
        let record = record.expect("a row");
        rows += 1;
        for (column, kept) in &numbers {
            let decimals = record[*column].split_once('.').map_or("", |(_, decimals)| decimals.trim_end_matches('0'));
            rounded += u64::from(*kept < decimals.len());
        }
        let sums: &mut [i128; 4] = sums.entry(record[at("BillingCurrency")].to_owned()).or_default();
        for (sum, column) in sums.iter_mut().zip(costs) {
            *sum += atoms_by_hand(&record[column]);
        }
    }
    (rows, rounded, sums)
}

#[tokio::test]
async fn every_published_bill_is_imported_to_the_last_atom() {
    for bill in bills() {
        let store = Store::new().await;
        let (rows, rounded, sums) = by_hand(&bill);
        let report = store.import(std::fs::read(&bill).expect("a bill")).await.expect("an import");
        assert_eq!(
            (report.rows, report.rounded_values, report.unchanged),
            (rows, rounded, false),
            "{}",
            bill.display()
        );
        for (at, column) in ["billed_cost", "effective_cost", "list_cost", "contracted_cost"].into_iter().enumerate() {
            let expected = sums.iter().map(|(currency, sums)| (currency.clone(), sums[at])).collect();
            assert_eq!(store.sums(column).await, expected, "{column} of {}", bill.display());
        }
        for total in &report.totals {
            let sums = sums[&total.currency];
            assert_eq!((&total.billed, &total.effective), (&format_atoms(sums[0]), &format_atoms(sums[1])));
        }
        let again = store.import(std::fs::read(&bill).expect("a bill")).await.expect("an import");
        assert!(again.unchanged && again.import_id == report.import_id && again.totals == report.totals);
    }
}

#[tokio::test]
async fn real_exports_are_read_with_their_habits() {
    let store = Store::new().await;
    let report = store.import(std::fs::read(&bills()[0]).expect("a bill")).await.expect("an import");
    let periods: Vec<&str> = report.billing_periods.iter().map(|period| period.billing_period.as_str()).collect();
    assert!(
        periods.contains(&"2024-09") && periods.contains(&"2024-10"),
        "a stray row is a key of its own: {periods:?}"
    );
    let batches = store.batches().await;
    let all = |column: &str| {
        let text = |batch: &arrow::array::RecordBatch| {
            arrow::util::pretty::pretty_format_columns(
                column,
                &[batch.column_by_name(column).expect("a column").clone()],
            )
            .expect("printable")
            .to_string()
        };
        batches.iter().map(text).collect::<String>()
    };
    assert!(all("service_provider_name").contains("AWS"), "the older ProviderName fills the newer column");
    assert!(all("x").contains("Id: 11472"), "an unknown column is kept under its own name");
    assert!(all("tags").contains("application: "), "tags are a map");
    assert!(!all("availability_zone").contains("NULL"), "the word NULL is null");
}

#[tokio::test]
async fn a_set_of_files_is_one_commit_and_numbers_its_rows_through() {
    let store = Store::new().await;
    let files: Vec<_> = bills()[..3]
        .iter()
        .enumerate()
        .map(|(at, bill)| store.file(&format!("{at}.csv"), std::fs::read(bill).expect("a bill")))
        .collect();
    let before = store.version().await;
    let report = store.import_set(files, false).await.expect("an import");
    assert_eq!(store.version().await, before + 1);
    let mut numbers: Vec<i64> = Vec::new();
    for batch in store.batches().await {
        use arrow::array::AsArray;
        let column = batch.column_by_name("line_no").expect("a column").as_primitive::<arrow::datatypes::Int64Type>();
        numbers.extend(column.values());
    }
    numbers.sort_unstable();
    assert!(numbers.into_iter().eq(1..=i64::try_from(report.rows).expect("few rows")));
}
