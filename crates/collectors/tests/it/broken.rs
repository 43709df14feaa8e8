use collectors::error::ImportError;
use collectors::limits::ImportLimits;

use super::support::{HEADER, Store, csv, row, ten_rows};

/// Imports and expects this code and these words, and an untouched store.
async fn check(name: &str, bytes: impl AsRef<[u8]>, code: &str, words: &[&str]) {
    check_with(ImportLimits::default(), name, bytes, code, words).await;
}

async fn check_with(limits: ImportLimits, name: &str, bytes: impl AsRef<[u8]>, code: &str, words: &[&str]) {
    let mut store = Store::new().await;
    store.context.limits = limits;
    let error = match store.import(bytes).await {
        Err(error) => error,
        Ok(report) => panic!("{name} was imported: {report:?}"),
    };
    let text = error.to_string();
    assert_eq!(error.code(), code, "{name}: {text}");
    for word in words {
        assert!(text.contains(word), "{name}: `{word}` is not in `{text}`");
    }
    assert_eq!((store.version().await, store.files().await), (0, 0), "{name}");
}

#[tokio::test]
async fn files_that_are_no_bill_are_named() {
    check("nothing", "", "unreadable_file", &["bill", "empty"]).await;
    check("blank lines", "\n\n  \n", "unreadable_file", &["empty"]).await;
    check("no rows", format!("{HEADER}\n"), "no_rows", &["no rows"]).await;
    check(
        "another header",
        "date,cost\n2026-10-01,5\n",
        "not_focus",
        &["not a FOCUS file", "BilledCost", "date, cost"],
    )
    .await;
    check("no header", row("acct", 1, "1"), "not_focus", &["not a FOCUS file"]).await;
    check("a picture", b"\x89PNG\r\n\x1a\n\x00\x00\x00", "unreadable_file", &["not UTF-8"]).await;
    check("a workbook", b"PK\x03\x04xxxxxxxx", "unreadable_file", &["zip", "CSV"]).await;
    check("UTF-16", b"\xff\xfeB\x00i\x00", "unreadable_file", &["UTF-16", "UTF-8"]).await;
    check("a JSON array", "[{\"BilledCost\":1}]", "unreadable_file", &["one object per line"]).await;
    check("JSON without the columns", "{\"cost\":1}\n", "not_focus", &["BilledCost", "found cost"]).await;
    check("a cut gzip", &gzip(csv(&ten_rows()).as_bytes())[..60], "unreadable_file", &["cut off"]).await;
    check("half a Parquet file", b"PAR1\x15\x04\x15\x00", "unreadable_file", &["Parquet"]).await;
    check("a column twice", csv(&ten_rows()).replacen("x_Team", "Tags", 1), "unreadable_file", &["Tags stands twice"])
        .await;
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    use std::io::Write;
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(bytes).and_then(|()| encoder.finish()).expect("gzip")
}

#[tokio::test]
async fn a_broken_row_is_named_with_line_column_and_value() {
    let with = |line: String| {
        let mut rows = ten_rows();
        rows[2] = line;
        csv(&rows)
    };
    check(
        "a word for a number",
        with(row("acct", 3, "twelve")),
        "invalid_row",
        &["line 4", "column BilledCost", "`twelve`", "nothing was stored"],
    )
    .await;
    check(
        "a comma for a point",
        with(row("acct", 3, "\"1,5\"")),
        "invalid_row",
        &["line 4", "`1,5`", "decimal number"],
    )
    .await;
    check(
        "too large",
        with(row("acct", 3, "1000000000001")),
        "out_of_bound",
        &["line 4", "column BilledCost", "out_of_bound"],
    )
    .await;
    check("too large an exponent", with(row("acct", 3, "1e999")), "out_of_bound", &["line 4"]).await;
    check(
        "no time",
        with(row("acct", 3, "1").replace("2026-10-03 00:00:00", "soon")),
        "invalid_row",
        &["column ChargePeriodStart", "`soon`"],
    )
    .await;
    check("no currency", with(row("acct", 3, "1").replace("USD", "")), "invalid_row", &["BillingCurrency"]).await;
    check(
        "a strange currency",
        with(row("acct", 3, "1").replace("USD", "Dollar")),
        "invalid_row",
        &["`Dollar`", "ISO-4217"],
    )
    .await;
    check(
        "no billing period",
        with(row("acct", 3, "1").replace("2026-10-01,2026-11-01", ",")),
        "invalid_row",
        &["BillingPeriodStart"],
    )
    .await;
    check("too few cells", with("1,2,3".to_owned()), "invalid_row", &["line 4", "3 cells", "12 columns"]).await;
    check("a quote left open", format!("{}\"1,1,USD", csv(&ten_rows())), "invalid_row", &["line 12", "1 cells"]).await;
    check(
        "Latin-1",
        [with(row("acct", 3, "1")).as_bytes(), b"1,1,USD,\xe9,,,,,,,,\n"].concat(),
        "invalid_row",
        &["not UTF-8", "BillingAccountId"],
    )
    .await;
    check(
        "a period of millennia",
        with(row("acct", 3, "1").replace("2026-10-03 01:00:00", "2199-10-03")),
        "out_of_bound",
        &["ChargePeriodEnd", "limits.charge_days"],
    )
    .await;
}

#[tokio::test]
async fn a_broken_json_line_is_named() {
    let good = "{\"BilledCost\":1,\"EffectiveCost\":\"1\",\"BillingCurrency\":\"USD\",\"BillingAccountId\":\"a\",\
                \"BillingPeriodStart\":\"2026-10-01\",\"ChargePeriodStart\":\"2026-10-01\",\"ChargeCategory\":\"Usage\"}";
    let store = Store::new().await;
    assert_eq!(store.import(good).await.expect("a good line").rows, 1);
    check("half an object", format!("{good}\n{{\"BilledCost\":"), "invalid_row", &["line 2", "JSON object"]).await;
    check("a number", format!("{good}\n7\n"), "invalid_row", &["line 2"]).await;
    let twice = good.replace("{", "{\"BilledCost\":2,");
    check("a key twice", format!("{good}\n{twice}\n"), "invalid_row", &["line 2", "BilledCost stands twice"]).await;
    let deep = good.replace('{', &format!("{{\"x\":{}1{},", "[".repeat(80), "]".repeat(80)));
    check("too deep", format!("{good}\n{deep}\n"), "invalid_row", &["line 2", "64 levels"]).await;
    let deeper = good.replace('{', &format!("{{\"x\":{}1{},", "[".repeat(100_000), "]".repeat(100_000)));
    check("much too deep", format!("{good}\n{deeper}\n"), "invalid_row", &["line 2"]).await;
}

#[tokio::test]
async fn bombs_are_stopped_by_named_limits() {
    let small = ImportLimits { decoded_bytes_max: 1_000_000, row_bytes_max: 100_000, ..ImportLimits::default() };
    let rows: Vec<String> = (0..20_000).map(|_| row("acct", 1, "1")).collect();
    let many = gzip(csv(&rows).as_bytes());
    check_with(small.clone(), "many rows", many, "payload_too_large", &["raise limits.decoded_file"]).await;
    let endless = format!("{HEADER}\n\"{}", "x".repeat(900_000));
    let endless = gzip(endless.as_bytes());
    check_with(small.clone(), "one endless row", endless, "payload_too_large", &["raise limits.import_row"]).await;
    let endless = format!("{{\"a\":\"{}", "x".repeat(900_000));
    let endless = gzip(endless.as_bytes());
    check_with(small, "one endless JSON line", endless, "payload_too_large", &["raise limits.import_row"]).await;
    let few = ImportLimits { rows_max: 5, ..ImportLimits::default() };
    check_with(few, "rows", csv(&ten_rows()), "payload_too_large", &["raise limits.import_rows"]).await;
    let few = ImportLimits { keys_max: 1, ..ImportLimits::default() };
    let accounts = csv(&[row("a", 1, "1"), row("b", 1, "1")]);
    check_with(few, "accounts", accounts, "payload_too_large", &["raise limits.import_keys"]).await;
    let few = ImportLimits { files_max: 0, ..ImportLimits::default() };
    check_with(few, "files", csv(&ten_rows()), "payload_too_large", &["raise limits.upload_files"]).await;
    let few = ImportLimits { columns_max: 5, ..ImportLimits::default() };
    check_with(few, "columns", csv(&ten_rows()), "payload_too_large", &["raise limits.import_columns"]).await;
    let wide = format!("{HEADER}{}\n", ",y".repeat(2000));
    check("more columns", wide, "payload_too_large", &["raise limits.import_columns"]).await;
}

#[tokio::test]
async fn one_broken_file_refuses_the_whole_set() {
    let store = Store::new().await;
    let good = store.file("good.csv", csv(&ten_rows()));
    let bad = store.file("bad.csv", csv(&[row("other", 1, "x")]));
    let error = store.import_set(vec![good, bad], false).await.expect_err("a broken set");
    assert!(matches!(&error, ImportError::Row(row) if row.file == "bad.csv" && row.line == 2), "{error}");
    assert_eq!(store.version().await, 0);
}
