//! One JSON object per line.

use std::collections::HashMap;
use std::io::{self, BufRead, Read};

use super::foreign;
use super::header::{self, Target};
use super::input::Rows;
use super::json::{DEPTH_MAX, Members, text_of};
use crate::error::ImportError;

/// Reads the rows of a JSONL file. Keys that are missing are null, except that the first row tells whose columns they are.
pub(super) fn read(mut input: impl BufRead, rows: &mut Rows<'_, '_>) -> Result<(), ImportError> {
    let mut columns = Columns::default();
    let mut text = Vec::new();
    let mut place = 0;
    while read_line(&mut input, &mut text, rows)? {
        place += 1;
        if text.iter().all(u8::is_ascii_whitespace) {
            continue;
        }
        let members: Members = serde_json::from_slice(&text).map_err(|error| rows.row(place, json_reason(&error)))?;
        if let Some(key) = members.duplicate() {
            return Err(rows.row(place, format!("key {} stands twice", crate::error::shorten(key))));
        }
        if members.too_deep() {
            return Err(rows.row(place, format!("it is nested deeper than {DEPTH_MAX} levels")));
        }
        if rows.rows == 0 {
            let names = members.0.iter().map(|(key, _)| key.as_str());
            let dialect = foreign::check_columns(rows.file, names)?;
            rows.speak(dialect);
        }
        read_row(members, place, &mut columns, rows)?;
    }
    Ok(())
}

fn read_row(members: Members, place: u64, columns: &mut Columns, rows: &mut Rows<'_, '_>) -> Result<(), ImportError> {
    rows.begin();
    let mut seen: Vec<usize> = Vec::new();
    for (key, value) in members.0 {
        let target = columns.target(&key, rows)?;
        if let Target::Column(column) = target {
            if seen.contains(&column) {
                return Err(rows.row(place, format!("column {} stands twice", crate::error::shorten(&key))));
            }
            seen.push(column);
        }
        let value = text_of(value).unwrap_or_default();
        rows.set(place, &key, &target, &value)?;
    }
    rows.finish_row(place)
}

/// Targets of the keys met so far.
#[derive(Debug, Default)]
struct Columns(HashMap<String, Target>);

impl Columns {
    fn target(&mut self, key: &str, rows: &Rows<'_, '_>) -> Result<Target, ImportError> {
        if let Some(target) = self.0.get(key) {
            return Ok(target.clone());
        }
        if rows.limits.columns_max <= self.0.len() {
            return Err(rows.too_large("columns", rows.limits.columns_max as u64, "limits.import_columns"));
        }
        let target = header::target(key);
        self.0.insert(key.to_owned(), target.clone());
        Ok(target)
    }
}

fn read_line(input: &mut impl BufRead, text: &mut Vec<u8>, rows: &Rows<'_, '_>) -> Result<bool, ImportError> {
    text.clear();
    let max = rows.limits.row_bytes_max;
    let read: io::Result<usize> = input.by_ref().take(max as u64 + 1).read_until(b'\n', text);
    let read = read.map_err(|error| rows.io(error))?;
    if max < read { Err(rows.row_too_large()) } else { Ok(read > 0) }
}

fn json_reason(error: &serde_json::Error) -> String {
    format!("it is not a JSON object ({error})")
}
