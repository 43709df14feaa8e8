//! FOCUS 1.0 to 1.4 files, read line by line with bounded memory.
//!
//! Whatever the format, every cell is first its text; the same rows in CSV, JSONL and Parquet become
//! the same lines. Real exports write the word `NULL`, times without zone, tags that are not JSON and
//! columns nobody knows: what can be understood is, what cannot is kept in `x`, and all of it is counted.
//! Reports that AWS, Azure and Google Cloud write in columns of their own are told by these and translated.

/// Bills in a provider's own columns.
mod foreign;
/// Header names to columns.
mod header;
/// JSON with exact numbers and duplicate keys noticed.
mod json;
/// One parsed row.
mod line;
/// One cell, one row.
mod row;
/// `Tags`, in all the ways they are written.
mod tags;

/// Comma-separated rows.
mod csv_rows;
/// Files on disk: compression and format by their first bytes.
mod input;
/// One JSON object per line.
mod jsonl_rows;
/// Parquet, cell by cell.
mod parquet_rows;

pub use input::{InputFile, read_focus};
pub(crate) use line::COLUMN;
pub use line::{Cell, CostLine, Note};
