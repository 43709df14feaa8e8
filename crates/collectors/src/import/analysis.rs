//! The first reading: every mistake found, every key added up, nothing written.

use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use domain::{DayRange, Instant, Zone};

use super::{ImportContext, ImportProgress, Watch};
use crate::cost_lines::{ImportKey, KeySums, RowSetHash, charge_days};
use crate::error::ImportError;
use crate::focus::{CostLine, InputFile, Note, read_focus};
use crate::limits::ImportLimits;

/// Rows after which it is told how far a reading is, and whether it shall go on.
const PROGRESS_ROWS: u64 = 10_000;

/// What a set of files contains.
#[derive(Clone, Debug, Default)]
pub struct Analysis {
    /// Sums by key.
    pub keys: BTreeMap<ImportKey, KeySums>,
    /// Rows of all files.
    pub rows: u64,
    /// Values whose digits beyond the scale were rounded away.
    pub rounded_values: u64,
    /// How often each unusual thing was met, and where first (file, line).
    pub notes: BTreeMap<Note, (u64, String, u64)>,
}

/// Reads a set of files on a blocking thread.
pub(super) async fn analyse(
    context: &ImportContext,
    source: &str,
    files: &Arc<[InputFile]>,
    watch: &Watch,
) -> Result<Analysis, ImportError> {
    if context.limits.files_max < files.len() {
        let limit = context.limits.files_max as u64;
        let (file, key) = ("the set".to_owned(), "limits.upload_files");
        return Err(ImportError::TooLarge { file, what: "files", limit, key });
    }
    let (zone, limits, source) = (context.zone.clone(), context.limits.clone(), source.to_owned());
    let (files, watch) = (Arc::clone(files), watch.clone());
    let work = move || analyse_blocking(&source, &files, &zone, &limits, &watch);
    tokio::task::spawn_blocking(work).await.map_err(interrupted)?
}

fn analyse_blocking(
    source: &str,
    files: &[InputFile],
    zone: &Zone,
    limits: &ImportLimits,
    watch: &Watch,
) -> Result<Analysis, ImportError> {
    let mut analysis = Analysis::default();
    let mut keys = KeyLookup::new(source);
    let mut buffer = Vec::new();
    let mut of_files = vec![RowSetHash::default(); files.len()];
    read_set(files, zone, limits, watch, &mut |row| {
        let key = keys.key(row.line);
        if !analysis.keys.contains_key(key) {
            if limits.keys_max <= analysis.keys.len() {
                return Err(too_many_keys(row.file, limits));
            }
            analysis.keys.insert(key.clone(), KeySums::default());
        }
        let sums = analysis.keys.get_mut(key).expect("the key was there or was just inserted");
        of_files[row.file_no].add_row(sums.add(row.line, row.days, &mut buffer));
        analysis.rows += 1;
        analysis.rounded_values += row.line.rounded;
        for note in &row.line.notes {
            let first = || (0, row.file.to_owned(), row.place);
            analysis.notes.entry(*note).or_insert_with(first).0 += 1;
        }
        Ok(())
    })?;
    let mut seen = HashSet::new();
    for (file, hash) in files.iter().zip(&of_files).filter(|(_, hash)| hash.rows() > 0) {
        if !seen.insert(hash) {
            analysis.notes.entry(Note::RepeatedFile).or_insert_with(|| (0, file.name.clone(), 1)).0 += hash.rows();
        }
    }
    if analysis.rows == 0 { Err(ImportError::NoRows) } else { Ok(analysis) }
}

fn too_many_keys(file: &str, limits: &ImportLimits) -> ImportError {
    let (what, limit) = ("billing accounts and periods", limits.keys_max as u64);
    ImportError::TooLarge { file: file.to_owned(), what, limit, key: "limits.import_keys" }
}

/// One row of a set of files.
pub(super) struct SetRow<'a> {
    pub file: &'a str,
    /// Place of the file in the set.
    pub file_no: usize,
    /// Line of the file.
    pub place: u64,
    /// Number of the row in the set, from 1.
    pub line_no: u64,
    pub line: &'a CostLine,
    pub days: DayRange,
}

/// Reads all rows of a set of files, in order. Blocks.
pub(super) fn read_set(
    files: &[InputFile],
    zone: &Zone,
    limits: &ImportLimits,
    watch: &Watch,
    sink: &mut dyn FnMut(SetRow<'_>) -> Result<(), ImportError>,
) -> Result<(), ImportError> {
    let size = |file: &InputFile| std::fs::metadata(&file.path).map_or(0, |facts| facts.len());
    let bytes_total = files.iter().map(size).sum();
    let bytes_read = Arc::new(AtomicU64::new(0));
    let (before, readings) = watch.reading;
    let mut line_no = 0_u64;
    let mut bytes_before = 0;
    let mut days = DaysLookup::new(zone);
    for (file_no, file) in files.iter().enumerate() {
        read_focus(file, limits, &bytes_read, &mut |line, place| {
            line_no += 1;
            if limits.rows_max < line_no {
                let (file, limit, key) = (file.name.clone(), limits.rows_max, "limits.import_rows");
                return Err(ImportError::TooLarge { file, what: "rows", limit, key });
            }
            if line_no.is_multiple_of(PROGRESS_ROWS) {
                let bytes_read = bytes_read.load(Ordering::Relaxed);
                watch.is_at(ImportProgress { before, readings, bytes_read, bytes_total, rows: line_no })?;
            }
            sink(SetRow { file: &file.name, file_no, place, line_no, line, days: days.days(line) })
        })?;
        bytes_before += size(file);
        bytes_read.store(bytes_before, Ordering::Relaxed);
    }
    watch.is_at(ImportProgress { before, readings, bytes_read: bytes_total, bytes_total, rows: line_no })
}

/// The key of a line. Neighbouring lines mostly have the same.
pub(super) struct KeyLookup {
    source: String,
    last: Option<(Instant, ImportKey)>,
}

impl KeyLookup {
    pub fn new(source: &str) -> Self {
        Self { source: source.to_owned(), last: None }
    }

    pub fn key(&mut self, line: &CostLine) -> &ImportKey {
        let (account, start) = (line.billing_account(), line.billing_period_start());
        let known = |(last, key): &(Instant, ImportKey)| *last == start && key.billing_account == account;
        if !self.last.as_ref().is_some_and(known) {
            self.last = Some((start, ImportKey::new(&self.source, account, start)));
        }
        &self.last.as_ref().expect("it was there or was just set").1
    }
}

/// The days of a line. Neighbouring lines mostly have the same times.
struct DaysLookup<'a> {
    zone: &'a Zone,
    last: Option<([Option<Instant>; 4], DayRange)>,
}

impl<'a> DaysLookup<'a> {
    fn new(zone: &'a Zone) -> Self {
        Self { zone, last: None }
    }

    fn days(&mut self, line: &CostLine) -> DayRange {
        let times = line.times();
        if let Some((last, days)) = self.last
            && last == times
        {
            return days;
        }
        let days = charge_days(line, self.zone);
        self.last = Some((times, days));
        days
    }
}

pub(super) fn interrupted(error: tokio::task::JoinError) -> ImportError {
    tracing::error!(?error, "a thread that read a bill died");
    ImportError::Interrupted
}
