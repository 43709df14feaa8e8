//! What handlers work with.

use crate::adapters::AdapterSetup;
use crate::auth::AdminToken;
use crate::exporter::Exporter;
use crate::known_tokens::KnownTokens;
use crate::limits::ApiLimits;
use crate::memory::EventMemory;
use crate::parsers::Parsers;
use crate::problem::ApiError;
use crate::rates::EventRates;
use crate::resources::settings::PageSettings;
use crate::schedule::ScheduledJob;
use crate::sessions::Sessions;
use crate::streams::Streams;
use crate::upkeep::Upkeep;
use collectors::ImportLimits;
use collectors::import::ImportContext;
use collectors::providers::Providers;
use collectors::sources::Sources;
use collectors::workspaces::Workspaces;
use domain::{Day, Instant, Zone};
use engine::Engine;
use engine::query::QueryLimits;
use metering::live::{EventLog, Setup};
use metering::meters::MeterSet;
use metering::rules::{DimensionMap, EventRules, KnownTenants, TenantRules, UnknownTenants};
use metering::streams::MetricMap;
use std::ops::Deref;
use std::path::Path;
use std::sync::Arc;
use storage::catalog::Catalog;
use storage::lake::Imports;

/// What handlers work with. Cheap to clone: a request clones it some ten times.
#[derive(Clone)]
pub struct App(Arc<AppParts>);

impl From<AppParts> for App {
    fn from(parts: AppParts) -> Self {
        Self(Arc::new(parts))
    }
}

impl Deref for App {
    type Target = AppParts;

    fn deref(&self) -> &AppParts {
        &self.0
    }
}

/// The parts of an [`App`].
#[derive(Clone)]
pub struct AppParts {
    /// Runs, postings and every question about the ledger.
    pub engine: Engine,
    /// Where imported files are kept.
    pub imports: Imports,
    /// How much an import may use.
    pub import_limits: ImportLimits,
    /// Events as they happen.
    pub events: EventLog,
    /// `[[ingest.adapter]]`.
    pub adapters: Arc<AdapterSetup>,
    /// `[[ingest.metric]]`.
    pub metrics: Arc<MetricMap>,
    /// What was counted last of cumulative metrics.
    pub metric_streams: metering::streams::Streams,
    /// Where further usage comes from.
    pub sources: Sources,
    /// Collectors: bills and usage of providers.
    pub providers: Providers,
    /// Applications whose workspaces are measured.
    pub workspaces: Workspaces,
    /// Sources that the configuration says send their snapshots themselves.
    pub snapshot_senders: Arc<[String]>,
    /// How many events each tenant may send.
    pub rates: Arc<EventRates>,
    /// How much memory events in work may take.
    pub event_memory: EventMemory,
    /// Who parses large bodies of events.
    pub parsers: Parsers,
    /// `[ingest.map]`.
    pub dimension_map: DimensionMap,
    /// `[ingest] past_days`.
    pub past_days: i32,
    /// Folder in which uploads wait until they are imported; on the disk of the data.
    pub spool: Arc<Path>,
    /// The token of the environment, if one is given.
    pub admin_token: Option<AdminToken>,
    /// Tokens that were looked up lately.
    pub known_tokens: KnownTokens,
    /// Browsers that signed in.
    pub sessions: Sessions,
    /// What is done once a day.
    pub schedule: Arc<[ScheduledJob]>,
    /// Limits of providers, and what the metrics exporter keeps.
    pub exporter: Exporter,
    /// How the tables are kept small.
    pub upkeep: Arc<Upkeep>,
    /// How much a request may use.
    pub limits: Arc<ApiLimits>,
    /// Start of the names of exported files.
    pub export_prefix: Arc<str>,
    /// Answers that go on.
    pub streams: Streams,
    /// Drafts that are tried.
    pub simulations: Streams,
    /// What pages show of the configuration.
    pub pages: Arc<PageSettings>,
}

impl App {
    /// Returns the current instant.
    #[must_use]
    pub fn now(&self) -> Instant {
        self.engine.clock().now()
    }

    /// Returns the current day of the organisation.
    #[must_use]
    pub fn today(&self) -> Day {
        self.engine.today()
    }

    /// Returns the last complete day of the organisation.
    #[must_use]
    pub fn last_complete_day(&self) -> Day {
        self.today().plus(-1)
    }

    /// Returns the organisation's zone.
    #[must_use]
    pub fn zone(&self) -> &Zone {
        &self.engine.settings().zone
    }

    /// Returns the catalog.
    #[must_use]
    pub fn catalog(&self) -> &Catalog {
        self.engine.catalog()
    }

    /// Returns what bounds the page of a list, but for costs.
    pub(crate) fn list_limits(&self) -> QueryLimits {
        let rows_max = self.limits.rows_max;
        self.engine.query_limits(self.limits.rows_default.min(rows_max), rows_max)
    }

    /// Returns what bounds a page of costs.
    pub(crate) fn cost_limits(&self) -> QueryLimits {
        let rows_max = self.limits.cost_rows_max;
        self.engine.query_limits(self.limits.rows_default.min(rows_max), rows_max)
    }

    /// Returns what bounds the trial of a draft.
    pub(crate) fn simulation_limits(&self) -> QueryLimits {
        let limits = self.cost_limits();
        QueryLimits { range_days_max: limits.range_days_max.min(self.limits.simulation_days_max), ..limits }
    }

    /// Returns what bounds totals that are followed.
    pub(crate) fn live_limits(&self) -> QueryLimits {
        self.engine.query_limits(self.limits.live_rows_max, self.limits.live_rows_max)
    }

    /// Returns the rules by which events are taken now; imports take events of any age.
    pub(crate) async fn event_rules(&self, past_days_max: Option<i32>) -> Result<EventRules, ApiError> {
        let (books, settings) = (self.engine.books_now().await?, self.engine.settings());
        Ok(EventRules {
            map: self.dimension_map.clone(),
            tenant_rules: TenantRules::of_policies(books.policies().iter().map(|version| &*version.content)),
            unknown_tenants: match settings.reject_unknown_tenants {
                true => UnknownTenants::Reject,
                false => UnknownTenants::Create,
            },
            past_days_max,
            ..EventRules::new(settings.zone.clone())
        })
    }

    /// Tells the event log of rules, meters and tenants as they are now. Call it whenever one of them changed.
    ///
    /// # Errors
    /// If the catalog fails or holds a meter that cannot be used.
    pub async fn set_up_events(&self) -> Result<(), ApiError> {
        let setting_up = self.events.setting_up().await;
        let tenants = self.catalog().tenant_book_all_tenants(i64::MAX).await?;
        let setup = Setup {
            rules: Arc::new(self.event_rules(Some(self.past_days)).await?),
            meters: Arc::new(MeterSet::new(metering::publish::meters(self.catalog()).await?)?),
            tenants: Arc::new(KnownTenants::new(Arc::new(tenants))),
        };
        Ok(setting_up.finish(setup).await?)
    }

    /// Follows what other processes on the same catalog did: caches their postings, ends runs that they left, and takes
    /// over rules, meters and tenants if anything was recorded since `seen`. Returns what to give it the next time.
    ///
    /// # Errors
    /// If the catalog or the lake fails.
    pub async fn follow_others(&self, seen: Option<String>) -> Result<Option<String>, ApiError> {
        self.engine.keep_up().await?;
        self.workspaces.keep_up().await?;
        let recorded = self.catalog().recorded_up_to().await?;
        if recorded != seen {
            self.set_up_events().await?;
        }
        Ok(recorded)
    }

    /// Returns what an import works with.
    pub(crate) fn import_context(&self) -> ImportContext {
        ImportContext {
            lake: self.engine.lake().clone(),
            imports: self.imports.clone(),
            catalog: self.catalog().clone(),
            zone: self.zone().clone(),
            limits: self.import_limits.clone(),
            now: self.now(),
        }
    }
}
