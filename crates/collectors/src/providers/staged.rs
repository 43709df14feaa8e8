//! What was collected of a billing period waits on disk until it is whole: a large account has more than fits in memory.

use super::ProvidersContext;
use super::collector::{Collected, Spec};
use super::error::{Cause, CollectError};
use super::period::BillingPeriod;
use super::publish::{not_stored, to_file};
use super::usage;
use crate::import::{SpoolRoom, SpoolWriter, SpooledFile};
use domain::{Day, DayRange, Instant};
use std::fs::File;
use std::io::{BufRead as _, BufReader, Lines};
use storage::catalog::ProviderUsageRow;

/// Quantities of one billing period.
const QUANTITIES_MAX: u64 = 5_000_000;

/// A billing period under way, of which nothing counts yet.
#[derive(Debug)]
pub(super) struct Staging<'a> {
    source: &'a str,
    spec: &'static Spec,
    period: &'a BillingPeriod,
    account: String,
    line_count: u64,
    quantity_count: u64,
    days: Vec<DayRange>,
    is_final: Option<bool>,
    warnings: Vec<String>,
    /// Room for lines and quantities together.
    room: SpoolRoom,
    lines: SpoolWriter,
    quantities: SpoolWriter,
}

/// All that a provider says of a billing period, checked.
#[derive(Debug)]
pub(super) struct Staged {
    /// BillingAccountId of all lines.
    pub account: String,
    /// How many lines there are.
    pub line_count: u64,
    /// How many quantities there are.
    pub quantity_count: u64,
    /// The days whose quantities are replaced, in order.
    pub days: Vec<DayRange>,
    /// Whether the provider says that the period is final, or that it is not.
    pub is_final: Option<bool>,
    /// What somebody should look at.
    pub warnings: Vec<String>,
    /// The lines as a file to be imported; none if there are none.
    pub lines: Option<SpooledFile>,
    quantities: SpooledFile,
}

impl<'a> Staging<'a> {
    /// Returns a period of which nothing was collected yet.
    ///
    /// # Errors
    /// [`Cause::Store`] if the disk fails.
    pub fn new(
        context: &ProvidersContext,
        source: &'a str,
        spec: &'static Spec,
        period: &'a BillingPeriod,
    ) -> Result<Self, CollectError> {
        let file = |what: &str| {
            let name = format!("{source}-{}.{what}", period.name());
            SpoolWriter::new(&context.spool, &name).map_err(not_stored)
        };
        Ok(Self {
            source,
            spec,
            period,
            account: String::new(),
            line_count: 0,
            quantity_count: 0,
            days: Vec::new(),
            is_final: None,
            warnings: Vec::new(),
            room: SpoolRoom::new(context.limits.set_bytes_max),
            lines: file("jsonl")?,
            quantities: file("quantities.jsonl")?,
        })
    }

    /// Adds what a collector says of the days from `from`; returns the first day that it left for another time.
    ///
    /// # Errors
    /// [`Cause::Schema`] if it is no bill of these days, [`Cause::TooLarge`] beyond five million quantities or if there is
    /// no room for it.
    pub async fn add(
        &mut self,
        mut collected: Collected,
        from: Day,
        now: Instant,
    ) -> Result<Option<Day>, CollectError> {
        self.check_part(&collected, from)?;
        let rows = usage::to_rows(self.source, self.spec, &collected, self.period, now)?;
        self.line_count += collected.lines.len() as u64;
        self.quantity_count += rows.len() as u64;
        if QUANTITIES_MAX < self.quantity_count {
            let detail = format!("more than {QUANTITIES_MAX} quantities in one billing period");
            return Err(CollectError::new(Cause::TooLarge, detail));
        }
        let lines = to_file(self.spec, &mut collected, self.period)?;
        let quantities = to_text(&rows);
        let name = format!("what `{}` says of {}", self.source, self.period.name());
        self.room.take(&name, (lines.len() + quantities.len()) as u64).map_err(not_stored)?;
        self.lines.write(&lines).await.map_err(not_stored)?;
        self.quantities.write(&quantities).await.map_err(not_stored)?;
        self.days.extend(collected.usage_days);
        self.is_final = collected.is_final.or(self.is_final);
        self.warnings.append(&mut collected.warnings);
        if !collected.account.is_empty() {
            self.account = collected.account;
        }
        Ok(collected.next)
    }

    /// Returns the period with all that was added.
    ///
    /// # Errors
    /// [`Cause::Store`] if the disk fails.
    pub async fn finish(self) -> Result<Staged, CollectError> {
        let Self { account, line_count, quantity_count, days, is_final, warnings, lines, quantities, .. } = self;
        let has_lines = lines.bytes() > 0;
        let lines = lines.finish().await.map_err(not_stored)?;
        let quantities = quantities.finish().await.map_err(not_stored)?;
        let lines = Some(lines).filter(|_| has_lines);
        Ok(Staged { account, line_count, quantity_count, days, is_final, warnings, lines, quantities })
    }

    /// Parts follow each other, and are of one account: what two of them say would count twice, or be lost.
    fn check_part(&self, collected: &Collected, from: Day) -> Result<(), CollectError> {
        let refused = |what: &str| Err(CollectError::schema(format!("parts of a billing period {what}")));
        let is_new = self.account.is_empty() || collected.account.is_empty();
        if !is_new && collected.account != self.account {
            return refused("are of several accounts");
        }
        let last = collected.usage_days.map(|days| days.to());
        if collected.usage_days.is_some_and(|days| days.from() < from && !self.days.is_empty()) {
            return refused("overlap");
        }
        match collected.next {
            Some(next) if next <= from || self.period.closed().is_none_or(|closed| closed.to() < next) => {
                refused("never end")
            }
            Some(next) if last.is_some_and(|last| next <= last) => refused("overlap"),
            _ => Ok(()),
        }
    }
}

impl Staged {
    /// Returns the quantities from the first day on.
    ///
    /// # Errors
    /// [`Cause::Store`] if the disk fails.
    pub async fn quantities(&self) -> Result<StagedQuantities, CollectError> {
        let path = self.quantities.input().path;
        blocking(move || {
            let file = File::open(path).map_err(|error| not_read(&error))?;
            Ok(StagedQuantities { lines: BufReader::new(file).lines(), waiting: None })
        })
        .await
    }
}

/// Reads from disk where waiting for it holds nobody up.
async fn blocking<T: Send + 'static>(
    read: impl FnOnce() -> Result<T, CollectError> + Send + 'static,
) -> Result<T, CollectError> {
    let done = tokio::task::spawn_blocking(read).await;
    done.map_err(|error| not_read(&std::io::Error::other(error)))?
}

/// Quantities of a period, read from disk a day at a time.
#[derive(Debug)]
pub(super) struct StagedQuantities {
    lines: Lines<BufReader<File>>,
    /// The first one of a later day.
    waiting: Option<ProviderUsageRow>,
}

impl StagedQuantities {
    /// Returns the quantities of a day, and those of the days after it. Days are asked for in order, and none is left out;
    /// no more than one of them is in memory.
    ///
    /// # Errors
    /// [`Cause::Store`] if the disk fails.
    pub async fn of_day(mut self, day: String) -> Result<(Vec<ProviderUsageRow>, Self), CollectError> {
        blocking(move || Ok((self.read_day(&day)?, self))).await
    }

    fn read_day(&mut self, day: &str) -> Result<Vec<ProviderUsageRow>, CollectError> {
        let mut rows = Vec::new();
        loop {
            let row = match self.waiting.take() {
                Some(row) => row,
                None => match self.lines.next().transpose().map_err(|error| not_read(&error))? {
                    Some(line) => of_text(&line)?,
                    None => return Ok(rows),
                },
            };
            if row.usage_date != day {
                self.waiting = Some(row);
                return Ok(rows);
            }
            rows.push(row);
        }
    }
}

/// A quantity as it waits: the fields of its row, in their order.
type Waiting = (String, String, String, String, String, String, String, i64);

fn to_text(rows: &[ProviderUsageRow]) -> Vec<u8> {
    let mut text = Vec::new();
    for row in rows {
        let ProviderUsageRow { source, provider, usage_date, resource, labels_key, unit, quantity, collected_at } = row;
        let fields = (source, provider, usage_date, resource, labels_key, unit, quantity, collected_at);
        serde_json::to_writer(&mut text, &fields).expect("texts and a number are JSON");
        text.push(b'\n');
    }
    text
}

fn of_text(line: &str) -> Result<ProviderUsageRow, CollectError> {
    let fields: Waiting = serde_json::from_str(line).map_err(|error| not_read(&error.into()))?;
    let (source, provider, usage_date, resource, labels_key, unit, quantity, collected_at) = fields;
    Ok(ProviderUsageRow { source, provider, usage_date, resource, labels_key, unit, quantity, collected_at })
}

fn not_read(error: &std::io::Error) -> CollectError {
    tracing::error!(?error, "what a provider said cannot be read from disk again");
    CollectError::new(Cause::Store, "what the provider said cannot be read from disk again")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn quantities_come_back_day_by_day() {
        let row = |day: &str, resource: &str| ProviderUsageRow {
            source: "w".to_owned(),
            provider: "wasabi".to_owned(),
            usage_date: day.to_owned(),
            resource: resource.to_owned(),
            labels_key: r#"{"bucket":"a\nb"}"#.to_owned(),
            unit: "Bytes".to_owned(),
            quantity: "1.5".to_owned(),
            collected_at: 7,
        };
        let rows = [row("2026-11-01", "a"), row("2026-11-01", "b"), row("2026-11-03", "a")];
        let mut file = tempfile::tempfile().expect("a file");
        std::io::Write::write_all(&mut file, &to_text(&rows)).expect("a written file");
        std::io::Seek::rewind(&mut file).expect("its beginning");
        let mut found = StagedQuantities { lines: BufReader::new(file).lines(), waiting: None };
        let mut days = Vec::new();
        for day in ["2026-11-01", "2026-11-02", "2026-11-03", "2026-11-04"] {
            let (of_day, rest) = found.of_day(day.to_owned()).await.expect("a day");
            days.push(of_day);
            found = rest;
        }
        assert_eq!(days, [rows[..2].to_vec(), Vec::new(), rows[2..].to_vec(), Vec::new()]);
    }
}
