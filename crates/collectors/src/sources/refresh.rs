use super::error::SourceError;
use super::sink::Taken;
use super::status::{self, micros};
use super::{Source, Sources};
use crate::cancel::Cancel;
use crate::prometheus::{HourSpan, POINTS_MAX, UsageQuery, hour_of};
use crate::under_way::{ProgressUnit, Told};
use domain::Instant;
use storage::catalog::SourceRow;

/// Points that are handed over together.
const POINTS_AT_ONCE: usize = 5_000;

/// What a refresh is asked for beyond going on where the last one ended.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Asked {
    /// Reads hours from here on again; what was taken before stays.
    pub from: Option<Instant>,
    /// Asks each query for the last hour and stores nothing.
    pub dry_run: bool,
}

/// What a refresh read and what became of it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RefreshReport {
    /// The source.
    pub name: String,
    /// Whether nothing was stored.
    pub dry_run: bool,
    /// The hours that were read; none if none rests long enough.
    pub hours: Option<(Instant, Instant)>,
    /// What became of the points.
    pub taken: Taken,
    /// What each query answered.
    pub queries: Vec<QueryReport>,
}

/// What one query answered.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct QueryReport {
    /// Its name.
    pub name: String,
    /// Its meter.
    pub meter: String,
    /// Most series of an answer.
    pub series: u64,
    /// Points of all answers.
    pub points: u64,
    /// Values that are no numbers.
    pub skipped_values: u64,
    /// Values with more than nine fractional digits.
    pub rounded_values: u64,
    /// What the server warns of.
    pub warnings: Vec<String>,
}

impl RefreshReport {
    /// Returns how many values are no numbers.
    pub(super) fn skipped_values(&self) -> u64 {
        self.queries.iter().map(|query| query.skipped_values).sum()
    }

    /// Returns what somebody should look at.
    #[must_use]
    pub fn warnings(&self) -> Vec<String> {
        let of_server = self.queries.iter().flat_map(|query| {
            query.warnings.iter().map(|warning| format!("query `{}`: the server warns: {warning}", query.name))
        });
        let counted = [
            (self.taken.changed_later, "values differ from what was read before; the first ones stay"),
            (self.taken.rejected, "values are no usage and were left out"),
        ];
        let counted = counted.into_iter().filter(|(count, _)| *count > 0);
        of_server.chain(counted.map(|(count, what)| format!("{count} {what}"))).collect()
    }
}

/// Reads a source; the caller holds its turn. The report also says what was taken before it failed.
pub(super) async fn refresh(
    sources: &Sources,
    source: &Source,
    asked: &Asked,
    (cancel, told): (&Cancel, &Told<'_>),
    report: &mut RefreshReport,
) -> Result<(), SourceError> {
    let now = sources.clock.now();
    let queries = source.prometheus.queries.iter().map(|query| QueryReport {
        name: query.name.clone(),
        meter: query.meter.clone(),
        ..QueryReport::default()
    });
    report.queries = queries.collect();
    if asked.dry_run {
        let last = HourSpan::before(newest(source, now), 1);
        report.hours = last.map(|span| (span.start(), span.end()));
        if let Some(span) = last {
            pull(sources, source, span, report, cancel).await?;
        }
        return Ok(());
    }
    let found = sources.catalog.source(&source.name).await?;
    let span = hours_of(source, found.as_ref(), asked, now)?;
    report.hours = span.map(|span| (span.start(), span.end()));
    let mut row = status::begun(source, found, now);
    sources.catalog.put_source(&row).await?;
    match pull_all(sources, source, span, &mut row, report, (cancel, told)).await {
        Ok(()) => status::succeeded(&mut row, report, sources.clock.now()),
        // It says nothing of the source; how far it was read is noted already.
        Err(error @ SourceError::Cancelled { .. }) => return Err(error),
        Err(error) => {
            tracing::warn!(source = source.name, error = %error, "source {} was not read to its end", source.name);
            status::failed(&mut row, &error, sources.clock.now());
            sources.catalog.put_source(&row).await?;
            return Err(error);
        }
    }
    sources.catalog.put_source(&row).await?;
    for warning in report.warnings() {
        tracing::warn!(source = source.name, warning, "source {}: {warning}", source.name);
    }
    Ok(())
}

/// The end of the last hour that rests long enough.
fn newest(source: &Source, now: Instant) -> Instant {
    hour_of(now.plus_micros(-micros(source.settle)))
}

/// The hours to read: from the last one that was read, itself again, to the newest.
fn hours_of(
    source: &Source,
    row: Option<&SourceRow>,
    asked: &Asked,
    now: Instant,
) -> Result<Option<HourSpan>, SourceError> {
    let end = newest(source, now);
    if let Some(from) = asked.from {
        let first = HourSpan::before(end, POINTS_MAX).map(|span| span.start());
        if first.is_some_and(|first| from < first) {
            return Err(SourceError::TooFarBack { from, hours_max: POINTS_MAX });
        }
        return Ok(HourSpan::new(from, end));
    }
    let last_read = row.and_then(status::through_of).and_then(|through| HourSpan::before(through, 1));
    Ok(match last_read {
        Some(last_read) => HourSpan::new(last_read.start(), end),
        None => HourSpan::before(end, source.backfill_hours),
    })
}

/// Reads the hours piece by piece. After each piece it is noted how far the source was read.
async fn pull_all(
    sources: &Sources,
    source: &Source,
    span: Option<HourSpan>,
    row: &mut SourceRow,
    report: &mut RefreshReport,
    (cancel, told): (&Cancel, &Told<'_>),
) -> Result<(), SourceError> {
    let hours = span.map_or(0, |span| span.hours().unsigned_abs());
    let mut read = 0;
    for piece in span.into_iter().flat_map(|span| span.pieces(source.chunk_hours)) {
        told.reached(read, hours, ProgressUnit::Hour).await;
        read += piece.hours().unsigned_abs();
        let before = report.clone();
        pull(sources, source, piece, report, cancel).await?;
        status::advance(row, piece.end(), report, &before);
        sources.catalog.put_source(row).await?;
    }
    Ok(())
}

/// Asks every query for the same hours. If one fails, these hours are read again next time.
async fn pull(
    sources: &Sources,
    source: &Source,
    span: HourSpan,
    report: &mut RefreshReport,
    cancel: &Cancel,
) -> Result<(), SourceError> {
    for (at, query) in source.prometheus.queries.iter().enumerate() {
        pull_query(sources, source, (at, query), span, report, cancel).await?;
    }
    Ok(())
}

async fn pull_query(
    sources: &Sources,
    source: &Source,
    (at, query): (usize, &UsageQuery),
    span: HourSpan,
    report: &mut RefreshReport,
    cancel: &Cancel,
) -> Result<(), SourceError> {
    let pulled = cancel.unless(source.prometheus.pull(&source.name, query, span)).await;
    let pulled = pulled.ok_or_else(|| SourceError::cancelled(&source.name, cancel))?;
    let pulled = pulled.map_err(|error| SourceError::Pull { source_name: source.name.clone(), error })?;
    let counts = &mut report.queries[at];
    counts.series = counts.series.max(pulled.series);
    counts.points += pulled.points.len() as u64;
    counts.skipped_values += pulled.skipped_values;
    counts.rounded_values += pulled.rounded_values;
    counts.warnings.extend(pulled.warnings);
    counts.warnings.dedup();
    if !report.dry_run {
        for points in pulled.points.chunks(POINTS_AT_ONCE) {
            report.taken.add(sources.sink.take(points).await?);
        }
    }
    Ok(())
}
