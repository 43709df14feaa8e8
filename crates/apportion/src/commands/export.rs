//! `export`: every row of the ledger or of the cost lines, page by page; the usage as the server sends it.

use super::{Context, parquet};
use crate::cli::{ExportArgs, ExportCommand, ExportFormat, Format};
use crate::client::Call;
use crate::exit::Exit;
use crate::output::{Output, take_rows};
use crate::progress::spinner;
use anyhow::{Context as _, Result};
use futures::TryStreamExt;
use serde_json::Value;
use std::io::Write;
use storage::lake::Table;

/// Runs `export …`.
pub async fn run(context: &Context, command: ExportCommand) -> Result<Exit> {
    let (path, table, args) = match command {
        ExportCommand::Ledger(args) => ("/ledger/entries", Table::Ledger, args),
        ExportCommand::CostLines(args) => ("/cost-lines", Table::CostLines, args),
        ExportCommand::Usage { view, round, export } => return usage(context, view, round, &export).await,
    };
    let mut days = context.days();
    let client = context.client().await?;
    let mut sink = match args.format {
        ExportFormat::Parquet => Sink::Parquet(Box::new(parquet::Sink::new(table, sink_of(&args)?)?)),
        format => Sink::Text { out: sink_of(&args)?, format, columns: Vec::new() },
    };
    let bar = spinner(context.output.shows_progress(), "exporting");
    let (mut cursor, mut count): (Option<String>, usize) = (None, 0);
    loop {
        let mut page = client.page(path, &days, cursor.as_deref()).await?;
        if let Some((from, to)) = days_of(&page).filter(|_| days.is_empty()) {
            context.output.note(&format!("exporting {from} to {to}; --range or --from and --to choose other days"));
            days = vec![("from", from), ("to", to)];
        }
        cursor = page.get("next_cursor").and_then(Value::as_str).map(str::to_owned);
        let rows = take_rows(&mut page);
        if !rows.is_empty() {
            sink.write(&rows)?;
        }
        count += rows.len();
        bar.set_message(format!("exported {count} rows"));
        if cursor.is_none() {
            break;
        }
    }
    if count == 0 {
        sink.write_header(&client.send(Call::get(path).queries(days).accept("text/csv")).await?.bytes().await?)?;
    }
    sink.finish()?;
    bar.finish_and_clear();
    context.output.note(&format!("exported {count} rows"));
    Ok(Exit::Ok)
}

/// What the CSV says about itself, and how a person reads it.
const USAGE_HEADERS: [(&str, &str); 4] = [
    ("apportion-view", "view"),
    ("apportion-rate-card-version", "rate card"),
    ("apportion-gaps", "gaps"),
    ("apportion-unpriced-metrics", "without a price"),
];

/// Writes the usage CSV as it comes, or its rows as JSON or Parquet.
async fn usage(context: &Context, view: Option<String>, round: Option<String>, args: &ExportArgs) -> Result<Exit> {
    let client = context.client().await?;
    let call = Call::get("/exports/usage.csv").queries(context.days()).maybe("view", view).maybe("round", round);
    let call = call.accept("text/csv");
    let answer = client.send(call).await?;
    for (name, said) in USAGE_HEADERS {
        if let Some(value) = answer.headers.get(name).and_then(|value| value.to_str().ok()) {
            context.output.note(&format!("{said}: {value}"));
        }
    }
    let mut pieces = answer.stream();
    if args.format == ExportFormat::Csv {
        let mut out = sink_of(args)?;
        while let Some(piece) = pieces.try_next().await? {
            out.write_all(&piece)?;
        }
        out.flush()?;
        return Ok(Exit::Ok);
    }
    let (mut csv, mut sink) = (CsvRows::default(), None);
    while let Some(piece) = pieces.try_next().await? {
        let rows = csv.take(&piece)?;
        if sink.is_none() && !csv.columns.is_empty() {
            sink = Some(usage_sink(args, &csv.columns)?);
        }
        if let Some(sink) = sink.as_mut().filter(|_| !rows.is_empty()) {
            sink.write(&rows)?;
        }
    }
    sink.context("the server's CSV has no header")?.finish()?;
    Ok(Exit::Ok)
}

fn usage_sink(args: &ExportArgs, columns: &[String]) -> Result<Sink> {
    let out = sink_of(args)?;
    Ok(match args.format {
        ExportFormat::Parquet => Sink::Parquet(Box::new(parquet::Sink::of_usage(columns, out)?)),
        format => Sink::Text { out, format, columns: columns.to_vec() },
    })
}

/// The rows of a CSV that arrives in pieces.
#[derive(Default)]
struct CsvRows {
    columns: Vec<String>,
    /// What follows the last whole row.
    rest: Vec<u8>,
}

impl CsvRows {
    /// Returns the rows that are whole with this piece; an empty cell is null.
    fn take(&mut self, piece: &[u8]) -> Result<Vec<Value>> {
        self.rest.extend_from_slice(piece);
        // A row ends where a line ends outside quotes.
        let (mut in_quotes, mut end) = (false, 0);
        for (at, byte) in self.rest.iter().enumerate() {
            match byte {
                b'"' => in_quotes = !in_quotes,
                b'\n' if !in_quotes => end = at + 1,
                _ => {}
            }
        }
        let whole: Vec<u8> = self.rest.drain(..end).collect();
        let mut reader = csv::ReaderBuilder::new().has_headers(false).from_reader(&whole[..]);
        let mut rows = Vec::new();
        for record in reader.records() {
            let record = record.context("the server's CSV cannot be read")?;
            if self.columns.is_empty() {
                self.columns = record.iter().map(str::to_owned).collect();
                continue;
            }
            let cell = |(name, text): (&String, &str)| {
                let value = if text.is_empty() { Value::Null } else { Value::String(text.to_owned()) };
                (name.clone(), value)
            };
            rows.push(Value::Object(self.columns.iter().zip(&record).map(cell).collect()));
        }
        Ok(rows)
    }
}

/// Returns the days that an answer is about, if it says so.
fn days_of(page: &Value) -> Option<(String, String)> {
    let day = |name: &str| page["range"][name].as_str().map(str::to_owned);
    day("from").zip(day("to"))
}

/// Where rows go, page by page.
enum Sink {
    Text { out: Box<dyn Write + Send>, format: ExportFormat, columns: Vec<String> },
    Parquet(Box<parquet::Sink>),
}

impl Sink {
    fn write(&mut self, rows: &[Value]) -> Result<()> {
        match self {
            Self::Text { out, format, columns } => Ok(out.write_all(text_of(rows, *format, columns).as_bytes())?),
            Self::Parquet(sink) => sink.write(rows),
        }
    }

    /// Writes the header of a list without rows, which the API knows; the other formats have none.
    fn write_header(&mut self, csv: &[u8]) -> Result<()> {
        match self {
            Self::Text { out, format: ExportFormat::Csv, .. } => Ok(out.write_all(csv)?),
            Self::Text { .. } | Self::Parquet(_) => Ok(()),
        }
    }

    fn finish(self) -> Result<()> {
        match self {
            Self::Text { mut out, .. } => Ok(out.flush()?),
            Self::Parquet(sink) => sink.finish(),
        }
    }
}

fn sink_of(args: &ExportArgs) -> Result<Box<dyn Write + Send>> {
    Ok(match &args.file {
        Some(path) => {
            let file = std::fs::File::create(path).with_context(|| format!("cannot write {}", path.display()))?;
            Box::new(std::io::BufWriter::new(file))
        }
        None => Box::new(std::io::BufWriter::new(std::io::stdout())),
    })
}

/// Returns one page as text; the first page decides the columns and writes them.
fn text_of(rows: &[Value], format: ExportFormat, columns: &mut Vec<String>) -> String {
    let format = if format == ExportFormat::Csv { Format::Csv } else { Format::Ndjson };
    let output = Output { format, quiet: true, terminal: false, color: false };
    if format == Format::Ndjson {
        return output.render(&Value::Array(rows.to_vec()), &[]);
    }
    let is_first = columns.is_empty();
    if is_first && let Some(Value::Object(first)) = rows.first() {
        *columns = first.keys().cloned().collect();
    }
    let ordered = rows.iter().map(|row| {
        let member = |name: &String| (name.clone(), row.get(name).cloned().unwrap_or(Value::Null));
        Value::Object(columns.iter().map(member).collect())
    });
    let text = output.render(&Value::Array(ordered.collect()), &[]);
    if is_first { text } else { text.split_once("\r\n").map_or_else(String::new, |(_, rest)| rest.to_owned()) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn rows_that_arrive_in_pieces_are_whole() {
        let text = b"a,b\r\n1,\"x\r\ny\"\r\n2,\r\n";
        for cut in 0..text.len() {
            let mut csv = CsvRows::default();
            let mut rows = csv.take(&text[..cut]).expect("rows");
            rows.extend(csv.take(&text[cut..]).expect("rows"));
            let expected = [json!({ "a": "1", "b": "x\r\ny" }), json!({ "a": "2", "b": null })];
            assert_eq!(rows, expected, "cut at {cut}");
        }
    }

    #[test]
    fn usage_becomes_parquet_with_exact_numbers() {
        let folder = tempfile::tempdir().expect("a folder");
        let file = folder.path().join("usage.parquet");
        let text = b"workspace_slug,workspace_name,snapshot_date,storage_bytes,cost_usd,cost_centers\r\n\
                     acme,,2026-10-01,2.5,0.000000000000001,3\r\nglobex,\"G, Inc\",2026-10-01,,,\r\n";
        let mut csv = CsvRows::default();
        let rows = csv.take(text).expect("rows");
        let args = ExportArgs { format: ExportFormat::Parquet, file: Some(file.clone()) };
        let mut sink = usage_sink(&args, &csv.columns).expect("a file");
        sink.write(&rows).expect("written");
        sink.finish().expect("written");
        let file = std::fs::File::open(file).expect("a file");
        let builder = ::parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder::try_new(file).expect("Parquet");
        let batch = builder.build().expect("Parquet").next().expect("a batch").expect("rows");
        let shown = arrow::util::pretty::pretty_format_batches(&[batch]).expect("text").to_string();
        let cells = |line: &str| line.split('|').map(str::trim).collect::<Vec<_>>().join("|");
        let lines: Vec<String> = shown.lines().filter(|line| line.starts_with('|')).map(cells).collect();
        assert_eq!(lines[1], "|acme||2026-10-01|2.500000000|0.000000000000001|3.000000000|");
        assert_eq!(lines[2], "|globex|G, Inc|2026-10-01||||");
    }

    #[test]
    fn later_pages_keep_the_columns_of_the_first() {
        let mut columns = Vec::new();
        let first = text_of(&[json!({ "a": "1", "b": null })], ExportFormat::Csv, &mut columns);
        let second = text_of(&[json!({ "b": "x,y", "a": "2" })], ExportFormat::Csv, &mut columns);
        assert_eq!(first + &second, "a,b\r\n1,\r\n2,\"x,y\"\r\n");
    }
}
