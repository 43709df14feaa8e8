//! The one place that chooses back ends, opens stores and builds the router.

use crate::config::{
    Config, DurationText, IngestMetric, Limits, SizeText, TenantLink, TenantsUnknown, adapter_rules, adapter_secrets,
    postgres_sources, provider_sources,
};
use crate::exit::{Exit, Failure};
use crate::sources::{EventSink, sources_of};
use anyhow::{Context as _, Result};
use api::adapters::AdapterSetup;
use api::memory::EventMemory;
use api::parsers::Parsers;
use api::rates::EventRates;
use api::{
    AdminToken, ApiLimits, App, AppParts, Exporter, KnownTokens, LocalAdmin, PageSettings, Sessions, Streams,
    TenantLinkBody, Upkeep,
};
use collectors::ImportLimits;
use collectors::providers::{Providers, ProvidersContext};
use collectors::snapshots::senders;
use collectors::sources::Sources;
use collectors::workspaces::{Workspaces, WorkspacesContext};
use domain::time::MICROS_PER_SECOND;
use domain::{Clock, Instant};
use engine::settings::ClearingAccount;
use engine::{Engine, Settings};
use metering::live::{EventLog, EventLogOptions, Setup};
use metering::meters::MeterSet;
use metering::rules::{DimensionMap, EventRules, KnownTenants};
use metering::streams::{MetricMap, MetricRule};
use std::io::Write as _;
use std::os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use storage::catalog::{Catalog, CatalogError, MetaKey};
use storage::lake::{CompactionRule, DataFolder, Imports, Lake, LakeError, Table};

/// Variable with the platform admin's token; `APPORTION_ADMIN_TOKEN_FILE` names a file instead.
const ADMIN_TOKEN: &str = "APPORTION_ADMIN_TOKEN";
/// Variable that names a step at which the process kills itself, for tests of crashes.
const FAILPOINT: &str = "APPORTION_FAILPOINT";
/// File that holds the first token.
const TOKEN_FILE: &str = "admin.token";
/// The catalog below the data folder.
const CATALOG_FILE: &str = "catalog.db";

/// The clock on the wall. Nothing below the binary reads it.
pub struct WallClock;

impl Clock for WallClock {
    fn now(&self) -> Instant {
        let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
        Instant::from_micros(i64::try_from(since.as_micros()).unwrap_or(i64::MAX))
    }
}

/// An opened local store behind the same router that `serve` serves.
pub struct LocalStore {
    /// What handlers work with.
    pub app: App,
    /// Name of this data folder among the processes that share the catalog.
    pub node: String,
    /// The routes, below `/api/v1`. They hold the lock on the data folder.
    pub router: axum::Router,
    /// The same routes below `server.base_path`.
    pub served: axum::Router,
    /// Events as they happen.
    pub events: EventLog,
    /// Answers that go on; they must be ended for the server to stop.
    pub streams: Streams,
    /// The platform-admin token, if this is the store's first start.
    pub first_token: Option<String>,
}

/// Returns the local store, locked for this process, with its caches repaired from the lake.
///
/// # Errors
/// A failure that says who holds the folder or what is wrong with it.
pub async fn open_local(config: &Config) -> Result<LocalStore> {
    config.check_available()?;
    storage::failpoint::arm(std::env::var(FAILPOINT).ok());
    let clock: Arc<dyn Clock> = Arc::new(WallClock);
    let now = clock.now();
    let data = &config.storage.data;
    std::fs::create_dir_all(data).with_context(|| format!("cannot create the data folder {}", data.display()))?;
    let folder = DataFolder::lock(data).map_err(explain)?;
    let lake = Lake::open(&lake_folder(config), now).await.map_err(explain)?;
    let catalog = open_catalog(config).await?;
    check_identity(config, &lake, &catalog).await?;
    repair_imports(&lake, &catalog).await?;
    publish_meters(config, &catalog, now).await?;
    let dimension_map = DimensionMap::new(&config.ingest.map).map_err(conflict)?;
    let metrics = metric_map(config)?;
    metrics.check(&metering::publish::meters(&catalog).await?).map_err(conflict)?;
    let adapters = AdapterSetup::new(adapter_rules(config)?, adapter_secrets(config)?);
    let events = open_events(config, &folder, &lake, &catalog, Arc::clone(&clock)).await?;
    let sink = Arc::new(EventSink::new(events.clone(), catalog.clone()));
    let (imports, spool) = (Imports::open(&folder.imports()).map_err(explain)?, spool(data)?);
    let providers = open_providers(config, &lake, &catalog, &imports, &spool, sink.clone(), Arc::clone(&clock))?;
    let sources = Sources::new(sources_of(config)?, catalog.clone(), Arc::clone(&clock), sink);
    let node = events.writer().to_owned();
    let workspaces = open_workspaces(config, &lake, &catalog, Arc::clone(&clock), &node).await?;
    let settings = Settings { node: node.clone(), ..settings(config) };
    let engine = Engine::new(Arc::new(lake.clone()), Arc::new(catalog.clone()), Arc::clone(&clock), settings)
        .with_hot(Arc::new(events.clone()))
        .with_unit_costs(crate::unit_costs::from_environment()?);
    engine.repair().await?;
    crate::unit_costs::warn_of(&engine).await?;
    let streams = Streams::new(config.limits.live_streams);
    let admin_token = given_token()?;
    let first_token = first_token(&catalog, now, data, admin_token.is_some()).await?;
    let app = App::from(AppParts {
        engine,
        imports,
        import_limits: import_limits(&config.limits),
        events: events.clone(),
        adapters: Arc::new(adapters),
        metrics: Arc::new(metrics),
        metric_streams: metering::streams::Streams::new(catalog.clone(), config.limits.metric_streams),
        sources,
        providers,
        workspaces,
        snapshot_senders: snapshot_senders(config),
        rates: Arc::new(EventRates::new(config.ingest.events_per_second_per_tenant)),
        event_memory: EventMemory::new(config.limits.events_memory.bytes()),
        parsers: Parsers::start(parsing_threads())?,
        dimension_map,
        past_days: i32::try_from(config.ingest.past_days).unwrap_or(i32::MAX),
        spool: spool.into(),
        admin_token,
        known_tokens: KnownTokens::default(),
        sessions: Sessions::new(config.limits.sessions, seconds(&config.limits.session)),
        exporter: exporter(config),
        schedule: crate::scheduler::scheduled(config).into(),
        export_prefix: config.exports.prefix.as_str().into(),
        upkeep: Arc::new(upkeep(config)),
        limits: Arc::new(api_limits(&config.limits)),
        streams: streams.clone(),
        simulations: streams.with_room(config.limits.simulations),
        pages: Arc::new(page_settings(config)),
    });
    app.set_up_events().await.map_err(conflict)?;
    let (lock, base_path): (api::Held, _) = (Arc::new(folder), &config.server.base_path);
    let served = api::router_with(app.clone(), base_path, ui::pages(base_path), Arc::clone(&lock));
    let router = api::router_with(app.clone(), "/", axum::Router::new(), lock);
    Ok(LocalStore { app, node, router, served, events, streams, first_token })
}

/// As many threads as processors parse large bodies, two at least, so that one of them never holds up all others.
fn parsing_threads() -> usize {
    std::thread::available_parallelism().map_or(2, |processors| processors.get().max(2))
}

/// Returns the collectors of the configuration.
fn open_providers(
    config: &Config,
    lake: &Lake,
    catalog: &Catalog,
    imports: &Imports,
    spool: &Path,
    sink: Arc<EventSink>,
    clock: Arc<dyn Clock>,
) -> Result<Providers> {
    let context = ProvidersContext {
        lake: lake.clone(),
        imports: imports.clone(),
        catalog: catalog.clone(),
        zone: config.zone(),
        limits: import_limits(&config.limits),
        spool: spool.to_owned(),
        sink,
        clock,
    };
    Ok(Providers::new(provider_sources(config)?, context))
}

/// Returns the first token of a store that had none, unless the environment gives one.
async fn first_token(catalog: &Catalog, now: Instant, data: &Path, is_given: bool) -> Result<Option<String>> {
    match is_given {
        true => Ok(None),
        false => Ok(api::auth::mint_first(catalog, now.micros(), |token| keep_token(token, data)).await?),
    }
}

/// Returns the applications whose workspaces are measured; runs that this server left when it died have failed.
async fn open_workspaces(
    config: &Config,
    lake: &Lake,
    catalog: &Catalog,
    clock: Arc<dyn Clock>,
    node: &str,
) -> Result<Workspaces> {
    let context = WorkspacesContext {
        lake: lake.clone(),
        catalog: catalog.clone(),
        clock,
        zone: config.zone(),
        reject_unknown_tenants: config.tenants.unknown == TenantsUnknown::Reject,
        node: node.into(),
    };
    let workspaces = Workspaces::new(postgres_sources(config)?, context);
    workspaces.repair().await?;
    Ok(workspaces)
}

/// Returns the applications that the configuration says send their snapshots themselves.
fn snapshot_senders(config: &Config) -> Arc<[String]> {
    let sends = config.sources.iter().filter(|source| source.kind == senders::KIND);
    sends.map(|source| source.name.clone()).collect()
}

/// Returns the metrics exporter with the configured limits of providers.
fn exporter(config: &Config) -> Exporter {
    let tenants_max = usize::try_from(config.exporter.tenants_max).unwrap_or(usize::MAX);
    Exporter::new(tenants_max, config.provider_limits.clone().into())
}

/// Opens the log of events; what it holds beyond the tables is visible from the start.
async fn open_events(
    config: &Config,
    folder: &DataFolder,
    lake: &Lake,
    catalog: &Catalog,
    clock: Arc<dyn Clock>,
) -> Result<EventLog> {
    let options = EventLogOptions {
        wal: folder.wal(),
        ids: folder.wal().join("ids"),
        segment_bytes: bytes(&config.ingest.segment),
        id_memory_bytes_max: bytes(&config.ingest.id_memory),
    };
    // Rules, meters and tenants follow as soon as there is somebody to ask.
    let setup = Setup {
        rules: Arc::new(EventRules::new(config.zone())),
        meters: Arc::new(MeterSet::new(metering::publish::meters(catalog).await?)?),
        tenants: Arc::new(KnownTenants::default()),
    };
    EventLog::open(options, lake.clone(), catalog.clone(), clock, setup).await.map_err(conflict)
}

/// Returns which metrics are counted by which meters; whether these exist is checked with them.
///
/// # Errors
/// A failure that names the metric and what is wrong with it.
pub fn metric_map(config: &Config) -> Result<MetricMap> {
    let rule = |metric: &IngestMetric| MetricRule {
        name: metric.name.clone(),
        meter: metric.meter.clone(),
        tenant: metric.tenant.clone(),
        attributes: metric.attributes.clone(),
        unit: metric.unit.clone(),
        kind: metric.kind,
    };
    MetricMap::new(config.ingest.metrics.iter().map(rule).collect()).map_err(conflict)
}

/// Returns the OpenAPI document as JSON.
pub fn openapi_json() -> String {
    serde_json::to_string_pretty(&api::openapi()).expect("the document is JSON")
}

/// Marks a request as made inside this process by its owner, who is the platform admin.
pub fn mark_local(request: &mut axum::extract::Request) {
    request.extensions_mut().insert(LocalAdmin);
}

fn settings(config: &Config) -> Settings {
    Settings {
        node: String::new(),
        zone: config.zone(),
        reporting_currency: config.org.reporting_currency,
        trailing_days: i32::try_from(config.schedule.trailing_days).unwrap_or(i32::MAX),
        memory_bytes_max: bytes(&config.compute.memory_limit),
        threads: std::thread::available_parallelism().map_or(1, usize::from),
        disclose_pools: config.privacy.disclose_pools,
        reject_unknown_tenants: config.tenants.unknown == TenantsUnknown::Reject,
        range_days_max: i32::try_from(config.limits.query_days).unwrap_or(i32::MAX),
        window_grace_micros: seconds(&config.window.grace).saturating_mul(MICROS_PER_SECOND),
        window_micros_max: seconds(&config.window.max).saturating_mul(MICROS_PER_SECOND).min(LONGEST_WINDOW_MICROS),
        materiality: config.periods.materiality,
        unattributed_ratio_max: config.periods.unattributed_ratio_max,
        clearing: ClearingAccount {
            cost_center: config.journal.clearing_cost_center.clone(),
            gl_account: config.journal.clearing_gl_account.clone(),
        },
    }
}

fn page_settings(config: &Config) -> PageSettings {
    let link = |link: &TenantLink| TenantLinkBody { label: link.label.clone(), url: link.url.clone() };
    PageSettings {
        name: config.org.name.clone(),
        tenant_word: config.org.tenant_word.clone(),
        snapshot: config.schedule.snapshot.to_string(),
        tenant_links: config.ui.tenant_link.iter().map(link).collect(),
    }
}
/// What a window may last that has a length of its own; one that ends with an event is no longer.
const LONGEST_WINDOW_MICROS: i64 = domain::policy::WINDOW_DAYS_MAX * 86_400 * MICROS_PER_SECOND;

fn upkeep(config: &Config) -> Upkeep {
    let rule = CompactionRule {
        small_bytes_max: config.compaction.small_file.bytes(),
        small_files_max: config.compaction.small_files,
        memory_bytes_max: bytes(&config.compaction.memory),
    };
    /// Longer than anything was ever kept, and no day before the calendar.
    const DAYS_MAX: u32 = 100 * 366;
    let events_days = config.retention.events_days.min(DAYS_MAX).cast_signed();
    let (removed, orphaned) = (&config.retention.removed_files, &config.retention.orphaned_files);
    Upkeep::new(rule, events_days, seconds(removed), seconds(orphaned))
}

fn api_limits(limits: &Limits) -> ApiLimits {
    ApiLimits {
        json_bytes_max: bytes(&limits.json_body),
        text_bytes_max: bytes(&limits.text_body),
        upload_bytes_max: limits.upload_body.bytes(),
        events_bytes_max: bytes(&limits.events_body),
        events_decoded_bytes_max: limits.events_decoded.bytes(),
        events_memory_bytes_max: limits.events_memory.bytes(),
        events_max: limits.events,
        metric_series_max: limits.metric_series,
        snapshot_metrics_max: limits.snapshot_metrics,
        upload_files_max: limits.upload_files,
        upload_idle_seconds_max: limits.upload_idle.duration().as_secs(),
        read_seconds_max: limits.query_time.duration().as_secs(),
        query_bytes_max: bytes(&limits.query_string),
        rows_default: limits.page_rows_default,
        rows_max: limits.page_rows,
        cost_rows_max: limits.cost_page_rows,
        live_streams_max: limits.live_streams,
        live_rows_max: limits.live_rows,
        live_keys_max: limits.live_keys,
        simulation_days_max: i32::try_from(limits.simulation_days).unwrap_or(i32::MAX),
        simulations_max: limits.simulations,
        etag_bytes_max: limits.etag_body.bytes(),
        idempotency_seconds: seconds(&limits.idempotency),
        idempotency_stale_seconds: seconds(&limits.idempotency_stale),
        ..ApiLimits::default()
    }
}

/// Whole seconds, at most as many as still fit in microseconds since 1970.
fn seconds(duration: &DurationText) -> i64 {
    const SECONDS_MAX: u64 = 100 * 366 * 86_400;
    i64::try_from(duration.duration().as_secs().min(SECONDS_MAX)).expect("a hundred years fit")
}

fn import_limits(limits: &Limits) -> ImportLimits {
    ImportLimits {
        set_bytes_max: limits.upload_body.bytes(),
        decoded_bytes_max: limits.decoded_file.bytes(),
        row_bytes_max: bytes(&limits.import_row),
        rows_max: limits.import_rows,
        columns_max: limits.import_columns,
        keys_max: limits.import_keys,
        files_max: limits.upload_files,
        charge_days_max: i32::try_from(limits.charge_days).unwrap_or(i32::MAX),
    }
}

fn bytes(size: &SizeText) -> usize {
    usize::try_from(size.bytes()).unwrap_or(usize::MAX)
}

/// Returns the folder of the lake's tables.
pub fn lake_folder(config: &Config) -> PathBuf {
    let given = config.storage.lake.as_deref().map(|path| path.strip_prefix("file://").unwrap_or(path));
    given.map_or_else(|| config.storage.data.join("lake"), PathBuf::from)
}

/// Opens the catalog where the configuration says: a file, or a database whose address no message repeats.
async fn open_catalog(config: &Config) -> Result<Catalog> {
    let given = config.storage.catalog.as_deref();
    if let Some(url) = given.filter(|place| Catalog::is_url(place)) {
        return Catalog::open_url(url).await.map_err(unreachable);
    }
    let path = given.map(|path| path.strip_prefix("file://").unwrap_or(path));
    let path = path.map_or_else(|| config.storage.data.join(CATALOG_FILE), PathBuf::from);
    Catalog::open(&path).await.map_err(conflict)
}

/// A database that does not answer is a matter of the network; anything else is one of what was asked for.
fn unreachable(error: CatalogError) -> anyhow::Error {
    let exit = match &error {
        CatalogError::Database(_) => Exit::Unreachable,
        _ => Exit::Conflict,
    };
    let cause = std::error::Error::source(&error).map_or_else(String::new, |cause| format!(": {cause}"));
    Failure::new(exit, format!("storage.catalog: {error}{cause}")).into()
}

/// Refuses a catalog of another lake, another zone, or another reporting currency than the first posting's.
async fn check_identity(config: &Config, lake: &Lake, catalog: &Catalog) -> Result<()> {
    catalog.set_meta_once(MetaKey::LakeId, lake.id()).await.map_err(conflict)?;
    catalog.set_meta_once(MetaKey::OrgTimezone, &config.org.timezone).await.map_err(conflict)?;
    let fixed = catalog.meta(MetaKey::ReportingCurrency).await?;
    let given = config.org.reporting_currency.code();
    match fixed {
        Some(fixed) if fixed != given => {
            let message = format!(
                "org.reporting_currency is {given}, but the ledger was first posted in {fixed}; it cannot change"
            );
            Err(Failure::new(Exit::Conflict, message).into())
        }
        _ => Ok(()),
    }
}

/// Completes interrupted event imports and rebuilds the catalog's list of imports.
async fn repair_imports(lake: &Lake, catalog: &Catalog) -> Result<()> {
    let cached = catalog.import_ids().await?;
    metering::import::complete_usage(lake).await?;
    let mut rows = collectors::import::imports_of_lake(&lake.pin_table(Table::CostLines).await.map_err(explain)?)
        .await
        .map_err(explain)?;
    rows.extend(metering::import::import_rows(lake).await?);
    catalog.replace_imports(&cached, &rows).await?;
    metering::import::repair(lake, catalog).await?;
    Ok(())
}

async fn publish_meters(config: &Config, catalog: &Catalog, now: Instant) -> Result<()> {
    let file = &config.files.meters;
    let name = file.display().to_string();
    let text = match std::fs::read_to_string(file) {
        Ok(text) => text,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => String::new(),
        Err(error) => return Err(Failure::new(Exit::Failure, format!("cannot read {name}: {error}")).into()),
    };
    let meters = domain::meter::read_meters(&name, &text).map_err(conflict)?;
    metering::publish::publish_meters(catalog, meters, now).await.map_err(conflict)?;
    Ok(())
}

/// Returns the token of the environment, if one is given.
fn given_token() -> Result<Option<AdminToken>> {
    // One that is not UTF-8 must be refused, not taken for none.
    let token = match (std::env::var_os(ADMIN_TOKEN), std::env::var_os(format!("{ADMIN_TOKEN}_FILE"))) {
        (Some(token), _) => token.to_string_lossy().into_owned(),
        (None, Some(file)) => {
            std::fs::read_to_string(file).with_context(|| format!("cannot read {ADMIN_TOKEN}_FILE"))?.trim().to_owned()
        }
        (None, None) => return Ok(None),
    };
    let token = token.parse().map_err(|error| Failure::new(Exit::Conflict, format!("{ADMIN_TOKEN}: {error}")))?;
    Ok(Some(token))
}

/// Writes the first token to a file that only the owner reads, also if the file was there before.
fn keep_token(token: &str, data: &Path) -> Result<()> {
    let path = data.join(TOKEN_FILE);
    let write = || -> std::io::Result<()> {
        let mut file = std::fs::OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&path)?;
        file.set_permissions(std::fs::Permissions::from_mode(0o600))?;
        writeln!(file, "{token}")?;
        file.sync_all()
    };
    write().with_context(|| format!("cannot write {}", path.display()))
}

/// Returns the folder in which uploads wait, empty.
fn spool(data: &Path) -> Result<PathBuf> {
    let path = data.join("spool");
    let empty = || -> std::io::Result<()> {
        if path.exists() {
            std::fs::remove_dir_all(&path)?;
        }
        std::fs::create_dir_all(&path)
    };
    empty().with_context(|| format!("cannot make {}", path.display()))?;
    Ok(path)
}

fn explain(error: LakeError) -> anyhow::Error {
    match error {
        LakeError::Locked { .. } => Failure::new(Exit::Conflict, error.to_string()).into(),
        other => other.into(),
    }
}

fn conflict(error: impl std::fmt::Display) -> anyhow::Error {
    Failure::new(Exit::Conflict, error.to_string()).into()
}
