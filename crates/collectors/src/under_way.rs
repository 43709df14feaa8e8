//! A refresh of a source or an import that is under way: others see it, how far it is, and may ask for its end.

use crate::cancel::{Cancel, asked_by};
use crate::sources::{ERROR_LETTERS_MAX, micros};
use crate::workspaces::RunState;
use domain::{Clock, Instant};
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};
use std::convert::Infallible;
use std::fmt::Display;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use storage::catalog::{Catalog, CatalogError, LEASE_HELD, LEASE_TOLD_EVERY, RefreshRow};

static NAMED: AtomicU64 = AtomicU64::new(0);
/// What the sources of imports begin with, which no configured one does; the kind and the name follow, after a `/` each.
const IMPORT: &str = "import/";
/// How often it is told how far work is that counts without telling anybody.
const COUNT_TOLD_EVERY: Duration = Duration::from_secs(1);

/// What the progress of a refresh or an import counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ProgressUnit {
    /// Hours of metrics.
    Hour,
    /// Days of billing periods.
    Day,
    /// Files of whole billing periods.
    BillingPeriod,
    /// Bytes of files.
    Byte,
    /// Events of a file, of which it is not known how many there are.
    Event,
}

impl ProgressUnit {
    /// Returns the unit's word.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Hour => "hour",
            Self::Day => "day",
            Self::BillingPeriod => "billing_period",
            Self::Byte => "byte",
            Self::Event => "event",
        }
    }
}

/// How far a refresh is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RefreshProgress {
    /// When it began.
    pub begun_at: Instant,
    /// What is read, and what will be.
    pub counted: Counted,
}

/// What is counted of a refresh or an import, as the catalog keeps it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Counted {
    /// What is read.
    pub done: u64,
    /// What will be, as far as that is known; else 0.
    pub total: u64,
    /// What is counted.
    pub unit: ProgressUnit,
}

/// How far work is that cannot wait for the catalog: it is told now and then. Cheap to clone.
#[derive(Clone, Debug, Default)]
pub struct Counter(Arc<Mutex<Option<Counted>>>);

impl Counter {
    /// Notes how far the work is. Does not block. Work that does something again is not behind what it was.
    pub fn set(&self, counted: Counted) {
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if known.is_none_or(|known| known.done <= counted.done) {
            *known = Some(counted);
        }
    }

    fn get(&self) -> Option<Counted> {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Told how far a refresh is.
pub(crate) struct Told<'a>(Option<(&'a Catalog, &'a str)>);

impl Told<'_> {
    /// Nobody is told.
    pub const NOBODY: Self = Self(None);

    /// Notes how far it is, for whoever asks in whichever process.
    pub async fn reached(&self, done: u64, total: u64, unit: ProgressUnit) {
        let Some((catalog, id)) = self.0 else { return };
        let text = serde_json::to_string(&Counted { done, total, unit }).expect("counts are plain JSON");
        if let Err(error) = catalog.note_refresh(id, &text).await {
            tracing::warn!(refresh.id = id, ?error, "how far refresh {id} is cannot be noted");
        }
    }
}

/// A refresh or an import that this process carries out.
pub struct UnderWay<'a> {
    catalog: &'a Catalog,
    clock: &'a dyn Clock,
    row: RefreshRow,
    cancel: Cancel,
    counter: Counter,
    /// Whether how it ended is kept: of an import its report says that.
    is_kept: bool,
}

impl<'a> UnderWay<'a> {
    /// Enters a refresh of a source.
    ///
    /// # Errors
    /// If the catalog fails.
    pub(crate) async fn begin(catalog: &'a Catalog, clock: &'a dyn Clock, source: &str) -> Result<Self, CatalogError> {
        let now = clock.now().micros();
        let named = NAMED.fetch_add(1, Ordering::Relaxed);
        let seed = format!("{source}|{now}|{named}|{}", std::process::id());
        let row = RefreshRow {
            id: format!("refresh-{}", &hex::encode(Sha256::digest(seed.as_bytes()))[..16]),
            source: source.to_owned(),
            status: RunState::Running.as_str().to_owned(),
            created_at: now,
            finished_at: None,
            error: None,
            progress: String::new(),
        };
        catalog.insert_refresh(&row, micros(LEASE_HELD)).await?;
        Ok(Self { catalog, clock, row, cancel: Cancel::default(), counter: Counter::default(), is_kept: true })
    }

    /// Enters an import of this kind and name.
    ///
    /// # Errors
    /// If the catalog fails.
    pub async fn begin_import(
        catalog: &'a Catalog,
        clock: &'a dyn Clock,
        (kind, name): (&str, &str),
    ) -> Result<Self, CatalogError> {
        let begun = Self::begin(catalog, clock, &format!("{IMPORT}{kind}/{name}")).await?;
        Ok(Self { is_kept: false, ..begun })
    }

    /// Returns what tells the work to end.
    pub fn cancel(&self) -> &Cancel {
        &self.cancel
    }

    /// Returns what counts how far the work is.
    pub fn counter(&self) -> &Counter {
        &self.counter
    }

    /// Returns what is told how far the work is.
    pub(crate) fn told(&self) -> Told<'_> {
        Told(Some((self.catalog, &self.row.id)))
    }

    /// Does the work, says meanwhile that it is under way, and notes how it ended.
    ///
    /// # Errors
    /// Those of the work.
    pub async fn carry_out<T, E: Display>(
        &self,
        work: impl Future<Output = Result<T, E>>,
        is_cancelled: impl Fn(&E) -> bool,
    ) -> Result<T, E> {
        let done = tokio::select! {
            done = work => done,
            never = self.look() => match never {},
        };
        let state = match &done {
            Ok(_) => RunState::Succeeded,
            Err(error) if is_cancelled(error) => RunState::Cancelled,
            Err(_) => RunState::Failed,
        };
        let row = RefreshRow {
            status: state.as_str().to_owned(),
            finished_at: Some(self.clock.now().micros()),
            error: done.as_ref().err().map(|error| error.to_string().chars().take(ERROR_LETTERS_MAX).collect()),
            ..self.row.clone()
        };
        let noted = match self.is_kept {
            true => self.catalog.end_refresh(&row).await,
            false => self.catalog.forget_refresh(&row.id).await,
        };
        if let Err(error) = noted {
            // What was read is stored; it only looks as if it had been interrupted.
            tracing::warn!(refresh.id = row.id, ?error, "how refresh {} ended cannot be noted", row.id);
        }
        done
    }

    async fn look(&self) -> Infallible {
        let told = async { self.cancel.ask(&asked_by(self.catalog, &self.row.id).await) };
        let ((), never, _) = tokio::join!(told, self.keep_holding(), self.keep_telling());
        never
    }

    async fn keep_telling(&self) -> Infallible {
        let mut last = None;
        loop {
            tokio::time::sleep(COUNT_TOLD_EVERY).await;
            let counted = self.counter.get();
            if let Some(Counted { done, total, unit }) = counted.filter(|_| counted != last) {
                self.told().reached(done, total, unit).await;
                last = counted;
            }
        }
    }

    async fn keep_holding(&self) -> Infallible {
        let id = self.row.id.as_str();
        loop {
            tokio::time::sleep(LEASE_TOLD_EVERY).await;
            if let Err(error) = self.catalog.hold_refresh(&self.row, micros(LEASE_HELD)).await {
                tracing::warn!(refresh.id = id, ?error, "refresh {id} goes on, but the catalog cannot be told");
            }
        }
    }
}

/// Returns how the last refresh of a source ended, or that it is under way and how far it is, as far as that is known;
/// nothing if there was none.
///
/// # Errors
/// If the catalog fails.
pub(crate) async fn last_of(
    catalog: &Catalog,
    source: &str,
) -> Result<(Option<RunState>, Option<RefreshProgress>), CatalogError> {
    let Some(row) = catalog.last_refresh(source).await? else { return Ok((None, None)) };
    let state = RunState::of_word(&row.status);
    let counted = (state == Some(RunState::Running)).then(|| serde_json::from_str(&row.progress).ok()).flatten();
    let begun_at = Instant::from_micros(row.created_at);
    Ok((state, counted.map(|counted| RefreshProgress { begun_at, counted })))
}

/// An import that some process carries out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RunningImport {
    /// Its id.
    pub id: String,
    /// Its kind.
    pub kind: String,
    /// Name of the source or of the file.
    pub name: String,
    /// When it began.
    pub begun_at: Instant,
    /// How far it is, as far as that is known.
    pub counted: Option<Counted>,
}

/// Returns the imports that are under way, in whichever process.
///
/// # Errors
/// If the catalog fails.
pub async fn running_imports(catalog: &Catalog) -> Result<Vec<RunningImport>, CatalogError> {
    let rows = catalog.refreshes_under_way(IMPORT).await?;
    let import = |row: RefreshRow| {
        let (kind, name) = row.source.strip_prefix(IMPORT)?.split_once('/')?;
        let (kind, name) = (kind.to_owned(), name.to_owned());
        let counted = serde_json::from_str(&row.progress).ok();
        Some(RunningImport { id: row.id, kind, name, begun_at: Instant::from_micros(row.created_at), counted })
    };
    Ok(rows.into_iter().filter_map(import).collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use domain::FixedClock;
    use std::future::pending;

    #[tokio::test]
    async fn an_import_is_seen_while_it_is_under_way_and_ends_when_it_is_told_to() {
        let folder = tempfile::tempdir().unwrap();
        let catalog = Catalog::open(&folder.path().join("catalog.db")).await.unwrap();
        let clock = FixedClock::at(Instant::from_micros(1_000));
        let under_way = UnderWay::begin_import(&catalog, &clock, ("focus", "a/b")).await.unwrap();
        let seen = async || running_imports(&catalog).await.unwrap();
        let [import] = seen().await.try_into().unwrap();
        assert_eq!((import.kind.as_str(), import.name.as_str(), import.counted), ("focus", "a/b", None));
        assert_eq!(import.begun_at, Instant::from_micros(1_000));

        let counted = Counted { done: 3, total: 9, unit: ProgressUnit::Byte };
        under_way.counter().set(counted);
        under_way.counter().set(Counted { done: 2, ..counted });
        let work = async {
            let never: Option<()> = under_way.cancel().unless(pending()).await;
            never.ok_or("cancelled")
        };
        let asks = async {
            while seen().await[0].counted != Some(counted) {
                tokio::task::yield_now().await;
            }
            assert!(catalog.cancel_refresh(&import.id, "ann", 2_000).await.unwrap());
        };
        let (done, ()) = tokio::join!(under_way.carry_out(work, |_| true), asks);
        assert_eq!((done, under_way.cancel().by()), (Err("cancelled"), "ann"));
        assert_eq!(seen().await, []);
        assert_eq!(catalog.last_refresh("import/focus/a/b").await.unwrap(), None, "nothing of it stays");
        assert_eq!(catalog.run_cancelled_by(&import.id).await.unwrap(), None);
    }
}
