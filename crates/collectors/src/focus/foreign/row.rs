//! The cells of one row, and what becomes of them.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use domain::money;
use serde_json::{Map, Value};

use super::super::header::{Target, target};
use super::super::line::CostLine;
use super::super::row::{CellError, RowReader, decimal_error};

/// One cell that is not null.
#[derive(Debug)]
pub(super) struct ForeignCell {
    /// The column's name as the provider writes it.
    pub name: String,
    pub text: String,
}

/// A FOCUS cell that a translation made.
struct Made {
    focus: &'static str,
    /// The column that it came from, for messages.
    origin: String,
    text: String,
}

/// One row while it is translated. Columns are asked for by their plain names.
pub(super) struct ForeignRow<'a> {
    cells: &'a mut HashMap<Arc<str>, ForeignCell>,
    made: Vec<Made>,
    rounded: u64,
}

impl<'a> ForeignRow<'a> {
    pub fn new(cells: &'a mut HashMap<Arc<str>, ForeignCell>) -> Self {
        Self { cells, made: Vec::new(), rounded: 0 }
    }

    /// Returns a cell's text; it stays in `x`.
    pub fn text(&self, name: &str) -> Option<&str> {
        self.cells.get(name).map(|cell| cell.text.as_str())
    }

    /// Moves a cell to a FOCUS column, if it is there.
    pub fn move_to(&mut self, focus: &'static str, name: &str) {
        if let Some(cell) = self.cells.remove(name) {
            self.made.push(Made { focus, origin: cell.name, text: cell.text });
        }
    }

    /// Moves the first of these cells that is there.
    pub fn move_first(&mut self, focus: &'static str, names: &[&str]) {
        if let Some(name) = names.iter().find(|name| self.cells.contains_key(**name)) {
            self.move_to(focus, name);
        }
    }

    /// Keeps a cell under another name in `x`, so that its own is free for what is made of it.
    pub fn set_apart(&mut self, name: &str, kept_as: &str) {
        if let Some(cell) = self.cells.remove(name) {
            let kept = ForeignCell { name: kept_as.to_owned(), text: cell.text };
            self.cells.insert(super::plain(kept_as).into(), kept);
        }
    }

    /// Fills a FOCUS column.
    pub fn put(&mut self, focus: &'static str, text: impl Into<String>) {
        self.made.push(Made { focus, origin: focus.to_owned(), text: text.into() });
    }

    /// Fills a FOCUS column that the row itself leaves empty.
    pub fn put_missing(&mut self, focus: &'static str, name: &str, text: &str) {
        if !self.cells.contains_key(name) {
            self.put(focus, text);
        }
    }

    /// Fills a FOCUS column with an amount in atoms.
    pub fn put_atoms(&mut self, focus: &'static str, atoms: i128) {
        self.put(focus, money::format_atoms(atoms));
    }

    /// Returns the amount in a cell, in atoms; the cell stays in `x`.
    pub fn atoms(&mut self, name: &str) -> Result<Option<i128>, CellError> {
        let Some(cell) = self.cells.get(name) else { return Ok(None) };
        let parsed = money::parse_atoms(&cell.text).map_err(|error| {
            let (reason, out_of_bound) = decimal_error(error);
            bad(&cell.name, &cell.text, reason, out_of_bound)
        })?;
        self.rounded += u64::from(parsed.rounded);
        Ok(Some(parsed.atoms))
    }

    /// Returns the amount in the first of these cells that is there.
    pub fn first_atoms(&mut self, names: &[&str]) -> Result<Option<i128>, CellError> {
        match names.iter().find(|name| self.cells.contains_key(**name)) {
            Some(name) => self.atoms(name),
            None => Ok(None),
        }
    }

    /// Returns the amount that a text spells, which stood in that column.
    pub fn atoms_of(&mut self, name: &str, text: &str) -> Result<i128, CellError> {
        let parsed = money::parse_atoms(text).map_err(|error| {
            let (reason, out_of_bound) = decimal_error(error);
            bad(self.cells.get(name).map_or(name, |cell| cell.name.as_str()), text, reason, out_of_bound)
        })?;
        self.rounded += u64::from(parsed.rounded);
        Ok(parsed.atoms)
    }

    /// Returns a nested cell.
    pub fn json(&self, name: &str) -> Option<Value> {
        serde_json::from_str(self.text(name)?).ok()
    }

    /// Returns a member of a record, or the column that stands for it in a flattened table.
    pub fn member(&self, record: &str, member: &str) -> Option<String> {
        let pair = |pair: Value| Some((pair.get("key")?.as_str()?.to_owned(), pair.get("value")?.clone()));
        let members: Option<Map<String, Value>> = match self.json(record) {
            Some(Value::Object(members)) => Some(members),
            // Older writers of Parquet store a map as a list of pairs.
            Some(Value::Array(pairs)) => Some(pairs.into_iter().filter_map(pair).collect()),
            _ => None,
        };
        if let Some(members) = members {
            return match members.get(member)? {
                Value::Null => None,
                Value::String(text) => Some(text.clone()).filter(|text| !text.is_empty()),
                other => Some(other.to_string()),
            };
        }
        self.text(&format!("{record}{}", super::plain(member))).map(str::to_owned)
    }

    /// Fills a FOCUS column with a member of a record, if it is there.
    pub fn put_member(&mut self, focus: &'static str, record: &str, member: &str) {
        if let Some(text) = self.member(record, member) {
            self.put(focus, text);
        }
    }

    /// Fills `Tags`.
    pub fn put_tags(&mut self, tags: &BTreeMap<String, String>) {
        if !tags.is_empty() {
            let object = tags.iter().map(|(key, value)| (key.clone(), Value::String(value.clone())));
            self.put("Tags", Value::Object(object.collect()).to_string());
        }
    }

    /// Makes a row with FOCUS names of all cells that have one.
    pub fn move_focus_columns(&mut self) {
        for (focus, plain) in FOCUS_NAMES.iter() {
            self.move_to(focus, plain);
        }
    }

    /// A cell that is needed and cannot be understood.
    pub fn refused(&self, name: &str, reason: &str) -> CellError {
        match self.cells.get(name) {
            Some(cell) => bad(&cell.name, &cell.text, reason.to_owned(), false),
            None => CellError { column: name.to_owned(), value: None, reason: reason.to_owned(), out_of_bound: false },
        }
    }

    /// Writes what was made into the line, and every other cell into `x`.
    pub fn write(self, reader: &mut RowReader, line: &mut CostLine) -> Result<(), CellError> {
        for made in &self.made {
            reader.set(line, &made.origin, &target(made.focus), &made.text)?;
        }
        for cell in self.cells.values() {
            reader.set(line, &cell.name, &Target::Unknown, &cell.text)?;
        }
        line.rounded += self.rounded;
        Ok(())
    }
}

/// FOCUS names, `Tags` and the older names included, and how they are compared.
static FOCUS_NAMES: std::sync::LazyLock<Vec<(&'static str, String)>> = std::sync::LazyLock::new(|| {
    use storage::lake::schemas::focus::{ALIASES, COLUMNS};
    let names = COLUMNS.iter().map(|column| column.focus).chain(ALIASES.iter().map(|(old, _)| *old)).chain(["Tags"]);
    names.map(|name| (name, super::plain(name))).collect()
});

fn bad(column: &str, value: &str, reason: String, out_of_bound: bool) -> CellError {
    CellError { column: column.to_owned(), value: Some(crate::error::shorten(value)), reason, out_of_bound }
}
