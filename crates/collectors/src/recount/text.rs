use super::number::atoms_of;
use super::records::Records;
use super::{BillSums, ByBill};
use crate::cost_lines::ImportKey;
use arrow::array::Array;
use arrow::util::display::{ArrayFormatter, FormatOptions};
use domain::Instant;
use flate2::bufread::MultiGzDecoder;
use parquet::arrow::ProjectionMask;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use serde_json::Value;
use std::io::{BufRead, BufReader, Read};

const GZIP: &[u8] = &[0x1f, 0x8b];
const ZSTD: &[u8] = &[0x28, 0xb5, 0x2f, 0xfd];
const PARQUET: &[u8] = b"PAR1";
const UTF8_BOM: &[u8] = &[0xef, 0xbb, 0xbf];
/// Parquet is read from its end, so it is held whole.
const PARQUET_BYTES_MAX: u64 = 256 * 1024 * 1024;
/// Bytes of one JSON row.
const ROW_BYTES_MAX: u64 = 16 * 1024 * 1024;

/// Columns that tell what a row costs and to which bill it belongs, as names are compared.
const COLUMNS: [&str; 5] = ["billingaccountid", "billingperiodstart", "billingcurrency", "billedcost", "effectivecost"];
/// Of a file whose columns are others.
const OTHER_COLUMNS: &str = "its columns are not those of FOCUS, so it is not added up again";

/// Adds every row of a file to the sums of its bill, or says why that is impossible. Blocks.
pub(super) fn add(file: Box<dyn Read + Send>, source: &str, sums: &mut ByBill) -> Result<(), String> {
    let mut given = BufReader::new(file);
    let start = given.fill_buf().map_err(unreadable)?;
    let decoded: Box<dyn Read> = if start.starts_with(GZIP) {
        Box::new(MultiGzDecoder::new(given))
    } else if start.starts_with(ZSTD) {
        let mut decoder = zstd::stream::read::Decoder::with_buffer(given).map_err(unreadable)?;
        decoder.window_log_max(27).map_err(unreadable)?;
        Box::new(decoder)
    } else {
        Box::new(given)
    };
    let mut text = BufReader::new(decoded);
    let start = text.fill_buf().map_err(unreadable)?;
    let mut bill = Bill { source, sums };
    if start.starts_with(PARQUET) {
        return add_parquet(text, &mut bill);
    }
    if start.starts_with(UTF8_BOM) {
        text.consume(UTF8_BOM.len());
    }
    let start = text.fill_buf().map_err(unreadable)?;
    match start.iter().find(|byte| !byte.is_ascii_whitespace()) {
        Some(b'{') => add_json(text, &mut bill),
        _ => {
            let separator = separator_of(start);
            add_separated(Records::new(text, separator), &mut bill)
        }
    }
}

fn unreadable(error: std::io::Error) -> String {
    format!("it cannot be read: {error}")
}

/// The name as it is compared.
fn plain(name: &str) -> String {
    name.trim().chars().filter(|letter| !matches!(letter, '_' | ' ')).flat_map(char::to_lowercase).collect()
}

/// The places of [`COLUMNS`] among these names.
fn places_of(names: &[String]) -> Result<[usize; 5], String> {
    let names: Vec<String> = names.iter().map(|name| plain(name)).collect();
    let place = |column: &str| names.iter().position(|name| name == column);
    let mut places = [0; 5];
    for (at, column) in COLUMNS.into_iter().enumerate() {
        places[at] = place(column).ok_or_else(|| OTHER_COLUMNS.to_owned())?;
    }
    Ok(places)
}

/// The separator that stands most often in the first line, outside of quotes; the comma if none stands more often.
fn separator_of(start: &[u8]) -> u8 {
    let first = start.split(|byte| *byte == b'\n').next().unwrap_or_default();
    let outside: Vec<u8> = first.split(|byte| *byte == b'"').step_by(2).flatten().copied().collect();
    let count = |separator: u8| outside.iter().filter(|byte| **byte == separator).count();
    let best = [b'|', b'\t', b';', b','].into_iter().max_by_key(|separator| count(*separator));
    best.unwrap_or(b',')
}

fn add_separated<R: BufRead>(mut records: Records<R>, bill: &mut Bill<'_>) -> Result<(), String> {
    let names = records.next_record().map_err(unreadable)?.ok_or("it is empty")?;
    let places = places_of(&names)?;
    while let Some(values) = records.next_record().map_err(unreadable)? {
        bill.add(places.map(|place| values.get(place).map(String::as_str)))?;
    }
    Ok(())
}

fn add_json(mut text: impl BufRead, bill: &mut Bill<'_>) -> Result<(), String> {
    let mut line = Vec::new();
    let mut is_first = true;
    loop {
        line.clear();
        let read = text.by_ref().take(ROW_BYTES_MAX).read_until(b'\n', &mut line).map_err(unreadable)?;
        if read == 0 {
            return Ok(());
        }
        if line.iter().all(u8::is_ascii_whitespace) {
            continue;
        }
        let Ok(Value::Object(row)) = serde_json::from_slice(&line) else {
            return Err("a row is no JSON object".to_owned());
        };
        if std::mem::take(&mut is_first) {
            places_of(&row.keys().cloned().collect::<Vec<_>>())?;
        }
        let mut cells: [Option<String>; 5] = Default::default();
        for (name, value) in &row {
            if let Some(at) = COLUMNS.iter().position(|column| *column == plain(name)) {
                cells[at] = match value {
                    Value::Null => None,
                    Value::String(text) => Some(text.clone()),
                    // Numbers are kept as they were written.
                    other => Some(other.to_string()),
                };
            }
        }
        bill.add(cells.each_ref().map(Option::as_deref))?;
    }
}

fn add_parquet(mut file: impl Read, bill: &mut Bill<'_>) -> Result<(), String> {
    let mut bytes = Vec::new();
    file.by_ref().take(PARQUET_BYTES_MAX + 1).read_to_end(&mut bytes).map_err(unreadable)?;
    if PARQUET_BYTES_MAX < bytes.len() as u64 {
        return Err(format!("it is Parquet of more than {PARQUET_BYTES_MAX} bytes, which is too much to be held"));
    }
    let damaged = |error: &dyn std::fmt::Display| format!("its Parquet is damaged: {error}");
    let reader =
        ParquetRecordBatchReaderBuilder::try_new(bytes::Bytes::from(bytes)).map_err(|error| damaged(&error))?;
    let names: Vec<String> = reader.schema().fields().iter().map(|field| field.name().clone()).collect();
    let places = places_of(&names)?;
    let mask = ProjectionMask::roots(reader.parquet_schema(), places);
    let batches = reader.with_projection(mask).build().map_err(|error| damaged(&error))?;
    let format = FormatOptions::new();
    for batch in batches {
        let batch = batch.map_err(|error| damaged(&error))?;
        let columns = places.map(|place| batch.column_by_name(&names[place]));
        let mut formatters = Vec::with_capacity(columns.len());
        for column in columns {
            let column = column.ok_or("a column is missing")?;
            formatters
                .push((column, ArrayFormatter::try_new(column.as_ref(), &format).map_err(|error| damaged(&error))?));
        }
        for row in 0..batch.num_rows() {
            let cell = |at: usize| {
                let (column, formatter) = &formatters[at];
                column.is_valid(row).then(|| formatter.value(row).to_string())
            };
            let cells: [Option<String>; 5] = std::array::from_fn(cell);
            bill.add(cells.each_ref().map(Option::as_deref))?;
        }
    }
    Ok(())
}

/// The sums of a file's bills.
struct Bill<'a> {
    source: &'a str,
    sums: &'a mut ByBill,
}

impl Bill<'_> {
    /// Adds a row by its cells, in the order of [`COLUMNS`].
    fn add(&mut self, cells: [Option<&str>; 5]) -> Result<(), String> {
        let given = |cell: Option<&str>| -> Option<String> {
            let text = cell?.trim();
            (!text.is_empty() && !text.eq_ignore_ascii_case("null")).then(|| text.to_owned())
        };
        let [account, start, currency, billed, effective] = cells.map(given);
        // The account is compared byte for byte, so its own spaces stay.
        let account = account.and(cells[0]).unwrap_or_default();
        let start = start.and_then(|text| Instant::parse_lenient(&text).ok()).ok_or("a row has no billing period")?;
        let currency = currency.ok_or("a row has no currency")?.to_ascii_uppercase();
        let amount = |text: Option<String>| match text {
            None => Ok(0),
            Some(text) => atoms_of(&text).ok_or_else(|| "an amount is no number".to_owned()),
        };
        let sums = BillSums { lines: 1, billed: amount(billed)?, effective: amount(effective)? };
        let key = (ImportKey::new(self.source, account, start), currency);
        if !self.sums.entry(key).or_default().add(sums) {
            return Err("its sum is out of bound".to_owned());
        }
        Ok(())
    }
}
