//! Collectors of providers: bills become cost lines, quantities become usage.
//!
//! Invariants:
//! * A collector only fetches and translates. Whatever it returns is checked as a whole before any of it is stored.
//! * A billing period is replaced whole, through the road of imports, or it stays as it was. An answer that is an error,
//!   404 included, is never zero.
//! * A collection that is cancelled stores nothing of the billing period that it reads; what it stored before stays.
//! * What a collector may ask for is a list of its own; see [`fetch`].
//! * No credential stands in a log, an error, a metric or an answer.
//!
//! To add one: a module like [`vercel`] and a line in [`KINDS`].

/// What a collector is.
mod collector;
/// What lets a collector in.
mod credentials;
/// Pages that name the next one.
mod cursor;
/// Numbers as providers write them.
mod decimal;
/// What can go wrong.
mod error;
/// How providers are asked.
pub mod fetch;
/// What the exporter shows.
mod figures;
/// Keys of sources, and words made of names.
mod keys;
/// Cost lines as collectors make them.
mod line;
/// Billing periods of providers.
mod period;
/// Quantities added up.
mod quantities;

/// One collection.
mod collect;
/// Lines to the lake.
mod publish;
/// What a collection did.
mod report;
/// What waits on disk until it is whole.
mod staged;
/// How a collector fared.
mod state;
/// Quantities to the catalog and to meters.
mod usage;

/// Anthropic: costs and tokens.
pub mod anthropic;
/// Cloudflare: billable usage.
pub mod cloudflare;
/// Files of AWS, Azure, Google Cloud and others, in folders and buckets.
pub mod exports;
/// IONOS Cloud: invoices and utilization.
pub mod ionos;
/// OpenAI: costs and tokens.
pub mod openai;
/// OVHcloud: bills and consumption.
pub mod ovh;
/// Supabase: usage of projects, add-ons rated.
pub mod supabase;
/// Vercel: FOCUS charges and usage.
pub mod vercel;
/// Wasabi: sizes of buckets, rated.
pub mod wasabi;

pub use collector::{Collected, Collector, Gigabyte, Kind, ProviderUsage, Spec, Task, as_usual};
pub use credentials::{CredentialSet, CredentialSpec, Credentials, bearer, secret_header};
pub use decimal::{Decimal, rated};
pub use error::{Cause, CollectError};
pub use figures::{CollectorFigures, Figures};
pub use keys::{is_id, read_keys, word_of};
pub use line::Line;
pub use period::{BILLING_DAY_MAX, BillingPeriod};
pub use report::{CollectAsked, CollectReport, PeriodReport};

use crate::cancel::Cancel;
use crate::limits::ImportLimits;
use crate::sources::{SourceError, SourceStatus, UsageSink};
use crate::under_way::{Told, UnderWay, last_of};
use domain::{Clock, Instant, Zone};
use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;
use storage::catalog::{Catalog, CatalogError};
use storage::lake::{Imports, Lake};
use tokio::sync::Mutex;

/// Every kind of collector, by name.
pub static KINDS: &[Kind] = &[
    anthropic::KIND,
    cloudflare::KIND,
    ionos::KIND,
    openai::KIND,
    ovh::KIND,
    supabase::KIND,
    vercel::KIND,
    wasabi::KIND,
    exports::AWS_KIND,
    exports::AZURE_KIND,
    exports::FILES_KIND,
    exports::GOOGLE_KIND,
];

/// Returns the kind of a name.
#[must_use]
pub fn kind(name: &str) -> Option<&'static Kind> {
    KINDS.iter().find(|kind| kind.spec.name == name)
}

/// Returns whether a resource of a provider, named by its kind, is a level at each day and not an amount of it.
#[must_use]
pub fn is_level(provider: &str, resource: &str) -> bool {
    kind(provider).is_some_and(|kind| kind.spec.levels.contains(&resource))
}

/// One collector, as it is configured.
#[derive(Clone)]
pub struct ProviderSource {
    /// Unique name, also the label `collector` of its metrics.
    pub name: String,
    /// What reads the provider.
    pub collector: Arc<dyn Collector>,
    /// What lets it in.
    pub credentials: CredentialSet,
    /// How the provider is asked.
    pub options: fetch::FetchOptions,
    /// How long one billing period may take.
    pub total: Duration,
    /// How long files of an export must rest before they are read, where nothing seals them.
    pub settle: Duration,
    /// Day of the month on which billing periods begin; none asks the provider, or else is the first.
    pub billing_day: Option<u8>,
    /// How often it is read, beside once a night; none leaves it at that.
    pub every: Option<Duration>,
    /// Meter by resource: these quantities become usage.
    pub meters: BTreeMap<String, String>,
}

impl fmt::Debug for ProviderSource {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "ProviderSource({} of kind {})", self.name, self.collector.spec().name)
    }
}

/// What collections work with.
#[derive(Clone)]
pub struct ProvidersContext {
    /// The lake.
    pub lake: Lake,
    /// Where imported files are kept.
    pub imports: Imports,
    /// The catalog.
    pub catalog: Catalog,
    /// The organisation's zone.
    pub zone: Zone,
    /// How much an import may use.
    pub limits: ImportLimits,
    /// Where files wait until they are imported.
    pub spool: PathBuf,
    /// Where points of usage go.
    pub sink: Arc<dyn UsageSink>,
    /// What time it is.
    pub clock: Arc<dyn Clock>,
}

/// All collectors of a store. Cheap to clone.
#[derive(Clone)]
pub struct Providers(Arc<Inner>);

struct Inner {
    entries: Vec<Entry>,
    context: ProvidersContext,
    figures: Figures,
}

/// A collector, and who is at it.
struct Entry {
    source: ProviderSource,
    /// Held while it is read: two at once would only do the same work twice.
    turn: Mutex<()>,
    progress: std::sync::Mutex<Option<String>>,
}

impl fmt::Debug for Providers {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_list().entries(self.0.entries.iter().map(|entry| &entry.source.name)).finish()
    }
}

impl Providers {
    /// Returns the collectors, none of them read yet.
    #[must_use]
    pub fn new(sources: Vec<ProviderSource>, context: ProvidersContext) -> Self {
        let figures = Figures::of(sources.iter().map(|source| source.name.clone()));
        let entry = |source| Entry { source, turn: Mutex::new(()), progress: std::sync::Mutex::new(None) };
        Self(Arc::new(Inner { entries: sources.into_iter().map(entry).collect(), context, figures }))
    }

    /// Returns whether a collector of this name is among them.
    #[must_use]
    pub fn has(&self, name: &str) -> bool {
        self.0.entries.iter().any(|entry| entry.source.name == name)
    }

    /// Returns how every collector fared, in the order of the configuration.
    ///
    /// # Errors
    /// If the catalog fails.
    pub async fn statuses(&self) -> Result<Vec<SourceStatus>, CatalogError> {
        let now = self.0.context.clock.now();
        let mut statuses = Vec::with_capacity(self.0.entries.len());
        for entry in &self.0.entries {
            statuses.push(self.status_of(entry, now).await?);
        }
        Ok(statuses)
    }

    async fn status_of(&self, entry: &Entry, now: Instant) -> Result<SourceStatus, CatalogError> {
        let (catalog, source) = (&self.0.context.catalog, &entry.source);
        let row = catalog.source(&source.name).await?;
        let (refresh, refresh_progress) = last_of(catalog, &source.name).await?;
        Ok(SourceStatus { refresh, refresh_progress, ..state::status_of(source, row.as_ref(), entry.progress(), now) })
    }

    fn entry(&self, name: &str) -> Result<&Entry, SourceError> {
        let entry = self.0.entries.iter().find(|entry| entry.source.name == name);
        entry.ok_or_else(|| SourceError::NotFound(name.to_owned()))
    }

    /// Collects from a source and returns what became of it.
    ///
    /// # Errors
    /// [`SourceError`]; then the status of the source says the same, and what was collected before stays. A collection that
    /// was cancelled leaves the status as it was.
    pub async fn refresh(&self, name: &str, asked: &CollectAsked) -> Result<CollectReport, SourceError> {
        let (report, done) = self.refresh_as_far(name, asked).await;
        done.map(|()| report)
    }

    /// As [`Self::refresh`], but the report also says what was stored when the collection fails or is cancelled.
    pub async fn refresh_as_far(&self, name: &str, asked: &CollectAsked) -> (CollectReport, Result<(), SourceError>) {
        let mut report = CollectReport { name: name.to_owned(), dry_run: asked.dry_run, ..CollectReport::default() };
        let done = self.refresh_into(asked, &mut report).await;
        (report, done)
    }

    async fn refresh_into(&self, asked: &CollectAsked, report: &mut CollectReport) -> Result<(), SourceError> {
        let entry = self.entry(&report.name)?;
        if asked.dry_run {
            // It stores nothing, so nobody has to know of it.
            return self.in_turn(entry, asked, (&Cancel::default(), &Told::NOBODY), report).await;
        }
        let context = &self.0.context;
        let under_way = UnderWay::begin(&context.catalog, &*context.clock, &entry.source.name).await?;
        let how = (under_way.cancel(), &under_way.told());
        under_way.carry_out(self.in_turn(entry, asked, how, report), SourceError::is_cancelled).await
    }

    async fn in_turn(
        &self,
        entry: &Entry,
        asked: &CollectAsked,
        (cancel, told): (&Cancel, &Told<'_>),
        report: &mut CollectReport,
    ) -> Result<(), SourceError> {
        let turn = cancel.unless(entry.turn.lock()).await;
        let _turn = turn.ok_or_else(|| SourceError::cancelled(&entry.source.name, cancel))?;
        collect::collect(self, entry, asked, (cancel, told), report).await
    }

    /// Asks for every collection from a source that is under way to end, in whichever process, and returns how the source
    /// fared so far, and whether any is under way. Billing periods that were stored by then stay, and one that is being
    /// stored is stored as a whole.
    ///
    /// # Errors
    /// [`SourceError::NotFound`], or the catalog fails.
    pub async fn cancel(&self, name: &str, requested_by: &str) -> Result<(SourceStatus, bool), SourceError> {
        let (entry, context) = (self.entry(name)?, &self.0.context);
        let now = context.clock.now();
        let is_under_way = context.catalog.cancel_refreshes(name, requested_by, now.micros()).await?;
        Ok((self.status_of(entry, now).await?, is_under_way))
    }

    /// Collects from every source, all at once, and returns what became of each, in the order of the configuration. This
    /// is what `POST /refresh` of the exporter does.
    pub async fn refresh_all(&self) -> Vec<(CollectReport, Result<(), SourceError>)> {
        let refresh = |entry: &Entry| {
            let (providers, name) = (self.clone(), entry.source.name.clone());
            async move { providers.refresh_as_far(&name, &CollectAsked::default()).await }
        };
        futures::future::join_all(self.0.entries.iter().map(refresh)).await
    }

    /// Returns what the exporter shows of each collector, by name of the source. A success of an earlier process counts.
    ///
    /// # Errors
    /// If the catalog fails.
    pub async fn figures(&self) -> Result<BTreeMap<String, CollectorFigures>, CatalogError> {
        let mut figures = self.0.figures.now();
        for (name, one) in &mut figures {
            let row = self.0.context.catalog.source(name).await?;
            let stored = row.and_then(|row| row.last_success_at).map(Instant::from_micros);
            one.last_success_at = one.last_success_at.max(stored);
        }
        Ok(figures)
    }
}

impl Entry {
    fn progress(&self) -> Option<String> {
        self.progress.lock().unwrap_or_else(std::sync::PoisonError::into_inner).clone()
    }

    fn set_progress(&self, text: Option<String>) {
        *self.progress.lock().unwrap_or_else(std::sync::PoisonError::into_inner) = text;
    }

    /// Returns what says how far a collection is, until it is dropped: also one that nobody waits for any more.
    fn working(&self) -> Progress<'_> {
        Progress(self)
    }
}

/// How far a collection is.
struct Progress<'a>(&'a Entry);

impl Progress<'_> {
    fn say(&self, text: String) {
        self.0.set_progress(Some(text));
    }
}

impl Drop for Progress<'_> {
    fn drop(&mut self) {
        self.0.set_progress(None);
    }
}
