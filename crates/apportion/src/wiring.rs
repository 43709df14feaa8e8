//! The one place that chooses back ends, opens stores and builds the router.

use crate::config::{Config, TenantsUnknown};
use crate::exit::{Exit, Failure};
use anyhow::{Context as _, Result};
use api::{AdminToken, ApiLimits, App, LocalAdmin};
use collectors::ImportLimits;
use domain::{Clock, Instant};
use engine::{Engine, Settings};
use metering::rules::DimensionMap;
use std::collections::BTreeMap;
use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use storage::catalog::{Catalog, MetaKey};
use storage::lake::{DataFolder, Imports, Lake, LakeError, Table};

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
    /// The routes, below `/api/v1`. They hold the lock on the data folder.
    pub router: axum::Router,
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
    let catalog = Catalog::open(&catalog_path(config)).await.map_err(conflict)?;
    check_identity(config, &lake, &catalog).await?;
    repair_imports(&lake, &catalog).await?;
    let engine = Engine::new(Arc::new(lake.clone()), Arc::new(catalog.clone()), Arc::clone(&clock), settings(config));
    engine.repair().await?;
    publish_meters(config, &catalog, now).await?;
    let admin_token = given_token()?;
    let first_token = match admin_token {
        Some(_) => None,
        None => first_token(&catalog, now, data).await?,
    };
    let app = App {
        engine,
        imports: Imports::open(&folder.imports()).map_err(explain)?,
        import_limits: ImportLimits::default(),
        dimension_map: DimensionMap::new(&config.ingest.map).map_err(conflict)?,
        spool: spool(data)?.into(),
        admin_token,
        limits: Arc::new(ApiLimits::default()),
    };
    let router = api::router(app).layer(axum::Extension(Arc::new(folder)));
    Ok(LocalStore { router, first_token })
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
        zone: config.zone(),
        reporting_currency: config.org.reporting_currency,
        trailing_days: i32::try_from(config.schedule.trailing_days).unwrap_or(i32::MAX),
        memory_bytes_max: usize::try_from(config.compute.memory_limit.bytes()).unwrap_or(usize::MAX),
        threads: std::thread::available_parallelism().map_or(1, usize::from),
        disclose_pools: config.privacy.disclose_pools,
        reject_unknown_tenants: config.tenants.unknown == TenantsUnknown::Reject,
        ..Settings::default()
    }
}

/// Returns the folder of the lake's tables.
pub fn lake_folder(config: &Config) -> PathBuf {
    let given = config.storage.lake.as_deref().map(|path| path.strip_prefix("file://").unwrap_or(path));
    given.map_or_else(|| config.storage.data.join("lake"), PathBuf::from)
}

fn catalog_path(config: &Config) -> PathBuf {
    let given = config.storage.catalog.as_deref().map(|path| path.strip_prefix("file://").unwrap_or(path));
    given.map_or_else(|| config.storage.data.join(CATALOG_FILE), PathBuf::from)
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
    metering::import::complete_usage(lake).await?;
    let mut rows = collectors::import::imports_of_lake(&lake.pin_table(Table::CostLines).await.map_err(explain)?)
        .await
        .map_err(explain)?;
    rows.extend(metering::import::import_rows(lake).await?);
    catalog.replace_all_imports(&rows).await?;
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
    let environment: BTreeMap<String, String> =
        std::env::vars().filter(|(name, _)| name.starts_with(ADMIN_TOKEN)).collect();
    let file = environment.get(&format!("{ADMIN_TOKEN}_FILE"));
    let token = match (environment.get(ADMIN_TOKEN), file) {
        (Some(token), _) => token.clone(),
        (None, Some(file)) => {
            std::fs::read_to_string(file).with_context(|| format!("cannot read {ADMIN_TOKEN}_FILE"))?.trim().to_owned()
        }
        (None, None) => return Ok(None),
    };
    let token = token.parse().map_err(|error| Failure::new(Exit::Conflict, format!("{ADMIN_TOKEN}: {error}")))?;
    Ok(Some(token))
}

/// Creates the first token and writes it to a file that only the owner reads.
async fn first_token(catalog: &Catalog, now: Instant, data: &Path) -> Result<Option<String>> {
    let Some(token) = api::auth::mint_first(catalog, now.micros()).await? else { return Ok(None) };
    let path = data.join(TOKEN_FILE);
    let write = || -> std::io::Result<()> {
        let mut file = std::fs::OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&path)?;
        writeln!(file, "{token}")?;
        file.sync_all()
    };
    write().with_context(|| format!("cannot write {}", path.display()))?;
    Ok(Some(token))
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
