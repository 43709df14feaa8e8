//! Tables, JSON, NDJSON and CSV on standard output; notes on standard error.

use crate::cli::Format;
use anyhow::Result;
use comfy_table::{Attribute, Cell, CellAlignment, Table, presets};
use serde_json::{Map, Value};
use std::io::{IsTerminal as _, Write};

/// Where answers and notes go.
#[derive(Clone, Copy, Debug)]
pub struct Output {
    /// How answers are printed.
    pub format: Format,
    /// Whether notes and progress are left out.
    pub quiet: bool,
    /// Whether standard output is a terminal: then tables have lines.
    pub terminal: bool,
    /// Whether headings are set off.
    pub color: bool,
}

impl Output {
    /// Returns the output that the flags ask for.
    pub fn new(globals: &crate::cli::Globals, no_color_set: bool) -> Self {
        let terminal = std::io::stdout().is_terminal();
        Self {
            format: globals.output.unwrap_or_default(),
            quiet: globals.quiet,
            terminal,
            color: terminal && !globals.no_color && !no_color_set,
        }
    }

    /// Returns whether progress bars make sense.
    pub fn shows_progress(&self) -> bool {
        !self.quiet && std::io::stderr().is_terminal()
    }

    /// Prints a note for the person at the keyboard.
    pub fn note(&self, text: &str) {
        if !self.quiet {
            // A closed standard error is no reason to fail.
            let _ = writeln!(std::io::stderr(), "{text}");
        }
    }

    /// Prints a warning, which `--quiet` does not silence.
    pub fn warn(&self, text: &str) {
        let _ = writeln!(std::io::stderr(), "warning: {text}");
    }

    /// Prints text as it is.
    ///
    /// # Errors
    /// Standard output cannot be written.
    pub fn text(&self, text: &str) -> Result<()> {
        let mut out = std::io::stdout().lock();
        out.write_all(text.as_bytes())?;
        if !text.ends_with('\n') {
            out.write_all(b"\n")?;
        }
        Ok(())
    }

    /// Prints an answer of the API in the chosen format. `columns` are those of the table, in order; empty
    /// means all.
    ///
    /// # Errors
    /// Standard output cannot be written.
    pub fn answer(&self, answer: &Value, columns: &[&str]) -> Result<()> {
        self.text(&self.render(answer, columns))
    }

    /// Returns the text that [`Self::answer`] prints.
    pub fn render(&self, answer: &Value, columns: &[&str]) -> String {
        let rows = rows_of(answer);
        match (self.format, rows) {
            (Format::Json, _) => render_json(answer, self.terminal),
            (Format::Ndjson, Some(rows)) => rows.iter().map(|row| format!("{row}\n")).collect(),
            (Format::Ndjson, None) => format!("{answer}\n"),
            (Format::Csv, Some(rows)) => render_csv(rows, columns),
            (Format::Csv, None) => render_csv(std::slice::from_ref(answer), columns),
            (Format::Table, Some(rows)) => self.render_table(rows, columns),
            (Format::Table, None) => self.render_object(answer, 0),
        }
    }

    fn render_table(&self, rows: &[Value], columns: &[&str]) -> String {
        let flat: Vec<Map<String, Value>> = rows.iter().map(flatten).collect();
        let columns = chosen_columns(&flat, columns, true);
        if flat.is_empty() {
            return "no rows\n".to_owned();
        }
        let mut table = Table::new();
        let lines = if self.terminal { presets::UTF8_BORDERS_ONLY } else { presets::NOTHING };
        table.load_preset(lines);
        let heading = |column: &String| {
            let cell = Cell::new(column.to_uppercase());
            if self.color { cell.add_attribute(Attribute::Bold) } else { cell }
        };
        table.set_header(columns.iter().map(heading));
        for row in &flat {
            table.add_row(columns.iter().map(|column| row.get(column).map_or_else(String::new, cell)));
        }
        for (index, column) in columns.iter().enumerate() {
            let number = |row: &Map<String, Value>| row.get(column).is_none_or(is_number_or_empty);
            if flat.iter().all(number) {
                let column = table.column_mut(index).expect("every column has cells");
                column.set_cell_alignment(CellAlignment::Right);
            }
        }
        let text = table.to_string();
        text.lines().map(|line| format!("{}\n", line.trim_end())).collect()
    }

    /// Items side by side in a table, or one below the other if they hold lists themselves.
    fn render_items(&self, items: &[Value], depth: usize) -> String {
        if items.iter().any(is_deep) {
            return items.iter().map(|item| self.render_object(item, depth)).collect::<Vec<_>>().join("\n");
        }
        let indent = "  ".repeat(depth);
        self.render_table(items, &[]).lines().map(|line| format!("{indent}{line}\n")).collect()
    }

    /// One `key  value` line per member; lists of objects become tables below their name.
    fn render_object(&self, value: &Value, depth: usize) -> String {
        let indent = "  ".repeat(depth);
        let Value::Object(object) = value else { return format!("{indent}{}\n", plain(value)) };
        let width = object.keys().map(String::len).max().unwrap_or(0);
        let mut text = String::new();
        for (key, member) in object {
            match member {
                Value::Object(inner) if !inner.is_empty() => {
                    text.push_str(&format!("{indent}{key}:\n{}", self.render_object(member, depth + 1)));
                }
                Value::Array(items) if items.first().is_some_and(Value::is_object) => {
                    text.push_str(&format!("{indent}{key}:\n{}", self.render_items(items, depth + 1)));
                }
                leaf => text.push_str(format!("{indent}{key:<width$}  {}", plain(leaf)).trim_end()),
            }
            if !text.ends_with('\n') {
                text.push('\n');
            }
        }
        text
    }
}

/// Widest cell of a table, in letters; the other formats have the whole text.
const CELL_LETTERS_MAX: usize = 72;

/// Returns a value as a cell shows it: cut where it would push the other columns away.
fn cell(value: &Value) -> String {
    let text = plain(value);
    if text.chars().count() <= CELL_LETTERS_MAX {
        return text;
    }
    let start: String = text.chars().take(CELL_LETTERS_MAX - 1).collect();
    format!("{start}…")
}

/// Returns whether the value holds lists or objects that hold objects in turn.
fn is_deep(value: &Value) -> bool {
    value.as_object().is_some_and(|object| {
        object.values().any(|member| match member {
            Value::Array(items) => items.first().is_some_and(Value::is_object),
            _ => false,
        })
    })
}

fn render_json(answer: &Value, pretty: bool) -> String {
    let text = if pretty { serde_json::to_string_pretty(answer) } else { serde_json::to_string(answer) };
    text.expect("a JSON value can be written")
}

/// Names under which an answer may hold its rows.
const ROW_KEYS: [&str; 2] = ["rows", "items"];

/// Returns the rows of a list answer.
pub fn rows_of(answer: &Value) -> Option<&[Value]> {
    match answer {
        Value::Array(rows) => Some(rows),
        Value::Object(object) => {
            ROW_KEYS.iter().find_map(|key| object.get(*key)).and_then(Value::as_array).map(Vec::as_slice)
        }
        _ => None,
    }
}

/// Takes the rows out of a list answer.
pub fn take_rows(answer: &mut Value) -> Vec<Value> {
    let rows = match answer {
        Value::Array(rows) => Some(rows),
        Value::Object(object) => {
            let key = ROW_KEYS.iter().find(|key| object.contains_key(**key));
            key.and_then(|key| object.get_mut(*key)).and_then(Value::as_array_mut)
        }
        _ => None,
    };
    rows.map(std::mem::take).unwrap_or_default()
}

/// Lifts the members of `key`, which name a row, beside the others.
fn flatten(row: &Value) -> Map<String, Value> {
    let mut flat = Map::new();
    let Value::Object(object) = row else {
        flat.insert("value".to_owned(), row.clone());
        return flat;
    };
    for (name, value) in object {
        match value {
            Value::Object(inner) if name == "key" => flat.extend(inner.clone()),
            Value::Object(inner) if name == "usage" => {
                flat.extend(inner.iter().map(|(meter, quantity)| (format!("usage.{meter}"), quantity.clone())));
            }
            _ => {
                flat.insert(name.clone(), value.clone());
            }
        }
    }
    flat
}

/// Gives each bucket of a cost row's series a column of its own behind the others, as the API's CSV does.
fn spread(mut flat: Map<String, Value>) -> Map<String, Value> {
    let pair = |bucket: &Value| match bucket.as_array().map(Vec::as_slice) {
        Some([Value::String(start), cost]) => Some((start.clone(), cost.clone())),
        _ => None,
    };
    let series = flat.get("series").and_then(Value::as_array);
    let pairs: Option<Vec<(String, Value)>> = series.and_then(|series| series.iter().map(pair).collect());
    if let Some(pairs) = pairs {
        flat.shift_remove("series");
        flat.extend(pairs);
    }
    flat
}

/// Whether a member of cost rows is too long for a table; the other formats have it.
fn is_long(name: &str) -> bool {
    name == "series" || name.starts_with("usage.")
}

fn chosen_columns(rows: &[Map<String, Value>], wanted: &[&str], is_table: bool) -> Vec<String> {
    let mut all: Vec<String> = Vec::new();
    for name in rows.iter().flat_map(Map::keys) {
        let is_shown = !is_table || !is_long(name);
        if is_shown && !all.contains(name) {
            all.push(name.clone());
        }
    }
    if wanted.is_empty() { all } else { all_of(wanted, &all) }
}

fn all_of(wanted: &[&str], all: &[String]) -> Vec<String> {
    let present = wanted.iter().filter(|name| all.iter().any(|known| known == *name));
    present.map(|name| (*name).to_owned()).collect()
}

/// Returns a value as a person reads it.
pub fn plain(value: &Value) -> String {
    match value {
        Value::Null => String::new(),
        Value::String(text) => text.chars().map(|letter| if letter.is_control() { ' ' } else { letter }).collect(),
        Value::Array(items) if items.iter().all(|item| !item.is_object() && !item.is_array()) => {
            items.iter().map(plain).collect::<Vec<_>>().join(", ")
        }
        Value::Object(object) if is_money(object) => {
            format!("{} {}", plain(&object["amount"]), plain(&object["currency"]))
        }
        other => other.to_string(),
    }
}

fn is_money(object: &Map<String, Value>) -> bool {
    object.len() == 2 && object.contains_key("amount") && object.contains_key("currency")
}

fn is_number_or_empty(value: &Value) -> bool {
    match value {
        Value::Null | Value::Number(_) => true,
        Value::String(text) => {
            let digits = text.strip_prefix('-').unwrap_or(text);
            digits.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.') && digits.split('.').count() <= 2
        }
        _ => false,
    }
}

fn render_csv(rows: &[Value], columns: &[&str]) -> String {
    let flat: Vec<Map<String, Value>> = rows.iter().map(|row| spread(flatten(row))).collect();
    let columns = if flat.is_empty() {
        columns.iter().map(|column| (*column).to_owned()).collect()
    } else {
        chosen_columns(&flat, &[], false)
    };
    let mut text = columns.iter().map(|column| csv_cell(column)).collect::<Vec<_>>().join(",");
    text.push_str("\r\n");
    for row in &flat {
        let cell = |column: &String| csv_value(row.get(column).unwrap_or(&Value::Null));
        text.push_str(&columns.iter().map(cell).collect::<Vec<_>>().join(","));
        text.push_str("\r\n");
    }
    text
}

fn csv_value(value: &Value) -> String {
    match value {
        Value::Null => String::new(),
        Value::Number(number) => number.to_string(),
        Value::String(text) if is_number_or_empty(value) => text.clone(),
        Value::String(text) => csv_cell(text),
        other => csv_cell(&other.to_string()),
    }
}

/// Quotes as RFC 4180 says; a text that a spreadsheet would take for a formula gets a quote in front.
fn csv_cell(text: &str) -> String {
    let guarded = if text.starts_with(['=', '+', '-', '@', '\t', '\r']) { format!("'{text}") } else { text.to_owned() };
    if guarded.contains([',', '"', '\n', '\r']) { format!("\"{}\"", guarded.replace('"', "\"\"")) } else { guarded }
}

#[cfg(test)]
mod tests {
    use super::*;

    const COSTS: &str = r#"{"rows":[
        {"key":{"tenant":"acme"},"cost":"52.622950819672131","share":"0.526230","series":[["2026-11-01","1.00"]]},
        {"key":{"tenant":"=evil, inc"},"cost":"-7.00","share":null}],"meta":{"currency":"USD"},"next_cursor":null}"#;

    fn check(format: Format, terminal: bool, answer: &str, expected: &str) {
        let output = Output { format, quiet: false, terminal, color: false };
        let answer: Value = serde_json::from_str(answer).expect("JSON");
        assert_eq!(output.render(&answer, &[]), expected);
    }

    #[test]
    fn a_piped_table_is_plain_columns() {
        let expected = concat!(
            " TENANT                    COST     SHARE\n",
            " acme        52.622950819672131  0.526230\n",
            " =evil, inc               -7.00\n"
        );
        check(Format::Table, false, COSTS, expected);
        check(Format::Table, false, r#"{"rows":[]}"#, "no rows\n");
    }

    #[test]
    fn json_is_the_answer_digit_by_digit() {
        let answer = r#"{"clusterName":"west","totalCost":100.00,"rows":[{"cost":52.622950819672131}]}"#;
        check(Format::Json, false, answer, answer);
    }

    #[test]
    fn ndjson_has_one_row_per_line() {
        check(Format::Ndjson, false, r#"{"rows":[{"a":1},{"a":2}],"meta":{}}"#, "{\"a\":1}\n{\"a\":2}\n");
        check(Format::Ndjson, false, r#"{"id":"x"}"#, "{\"id\":\"x\"}\n");
    }

    #[test]
    fn csv_quotes_and_defuses_formulas() {
        let expected =
            "tenant,cost,share,2026-11-01\r\nacme,52.622950819672131,0.526230,1.00\r\n\"'=evil, inc\",-7.00,,\r\n";
        check(Format::Csv, false, COSTS, expected);
        let used = r#"{"rows":[{"key":{"tenant":"acme"},"cost":"1.00","usage":{"member_count":"3"}}]}"#;
        check(Format::Csv, false, used, "tenant,cost,usage.member_count\r\nacme,1.00,3\r\n");
        let weeks = r#"{"rows":[{"key":{"tenant":"acme"},"cost":"3.00","series":[["2026-11-02","1.00"],["2026-11-09","2.00"]]}]}"#;
        check(Format::Csv, false, weeks, "tenant,cost,2026-11-02,2026-11-09\r\nacme,3.00,1.00,2.00\r\n");
        let unlike = r#"{"rows":[{"cost":"3.00","series":[{"week":"2026-11-02"}]}]}"#;
        check(Format::Csv, false, unlike, "cost,series\r\n3.00,\"[{\"\"week\"\":\"\"2026-11-02\"\"}]\"\r\n");
        check(Format::Table, false, used, " TENANT  COST\n acme    1.00\n");
    }

    #[test]
    fn an_object_prints_one_member_per_line() {
        let answer =
            r#"{"id":"run-1","posting":12,"range":{"from":"a"},"warnings":[{"code":"fx_missing"}],"none":null}"#;
        let expected = "id        run-1\nposting   12\nrange:\n  from  a\nwarnings:\n   CODE\n   fx_missing\nnone\n";
        check(Format::Table, false, answer, expected);
    }
}
