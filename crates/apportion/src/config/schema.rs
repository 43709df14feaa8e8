//! The sections and keys of `apportion.toml`, with their defaults.

use super::units::{DurationText, SizeText, TimeOfDay};
use crate::exit::Failure;
use collectors::snapshots::senders;
use domain::meter::MeterKind;
use domain::toml_text::nearest;
use domain::{Currency, Price, ProviderLimit, Weight, Zone};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error};
use std::collections::BTreeMap;
use std::path::PathBuf;

/// The whole configuration. Its defaults are those of `default.toml`; a test compares them.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// Where to listen.
    pub server: Server,
    /// Where data is.
    pub storage: Storage,
    /// How queries run.
    pub compute: Compute,
    /// Whose costs these are.
    pub org: Org,
    /// Further configuration files.
    pub files: Files,
    /// What runs when.
    pub schedule: Schedule,
    /// How tenants come into being.
    pub tenants: Tenants,
    /// What events are accepted.
    pub ingest: Ingest,
    /// What is kept how long.
    pub retention: Retention,
    /// When small files are merged.
    pub compaction: Compaction,
    /// Amortization windows.
    pub window: Window,
    /// Billing months.
    pub periods: Periods,
    /// The other side of the journal.
    pub journal: Journal,
    /// Exported files.
    pub exports: Exports,
    /// Prometheus exporter.
    pub exporter: Exporter,
    /// What tenants may see of each other.
    pub privacy: Privacy,
    /// How much a request, an import or a question may use.
    pub limits: Limits,
    /// Links of the pages.
    #[serde(skip_serializing_if = "Ui::is_empty")]
    pub ui: Ui,
    /// Collectors and snapshot sources.
    #[serde(rename = "source", skip_serializing_if = "Vec::is_empty")]
    pub sources: Vec<Source>,
    /// Limits of providers.
    #[serde(rename = "limit", skip_serializing_if = "Vec::is_empty")]
    pub provider_limits: Vec<ProviderLimit>,
}

macro_rules! sections {
    ($($(#[$doc:meta])* $name:ident { $($(#[$field_doc:meta])* $field:ident: $kind:ty = $default:expr,)* })*) => {$(
        $(#[$doc])*
        #[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
        #[serde(default, deny_unknown_fields)]
        pub struct $name { $($(#[$field_doc])* pub $field: $kind,)* }

        impl Default for $name {
            fn default() -> Self {
                Self { $($field: $default,)* }
            }
        }
    )*};
}

fn parsed<T: std::str::FromStr>(text: &str) -> T {
    text.parse().ok().expect("a constant default is valid")
}

sections! {
    /// Where to listen.
    Server {
        /// Address of the API.
        listen: String = "127.0.0.1:8082".to_owned(),
        /// Address of the metrics exporter, or `off`.
        exporter_listen: String = "127.0.0.1:9210".to_owned(),
        /// Path under which everything is served.
        base_path: String = "/".to_owned(),
    }
    /// Where data is.
    Storage {
        /// Data folder.
        data: PathBuf = PathBuf::from("./apportion-data"),
        /// Where the tables are, if not in the data folder.
        #[serde(skip_serializing_if = "Option::is_none")]
        lake: Option<String> = None,
        /// Where the catalog is, if not in the data folder: a path or a `postgres://` address.
        #[serde(skip_serializing_if = "Option::is_none")]
        catalog: Option<String> = None,
    }
    /// How queries run.
    Compute {
        /// `embedded`.
        engine: String = "embedded".to_owned(),
        /// Memory for queries.
        memory_limit: SizeText = parsed("2GiB"),
    }
    /// Whose costs these are.
    Org {
        /// Shown in titles.
        name: String = "Example".to_owned(),
        /// IANA zone of a day.
        #[serde(deserialize_with = "zone_name")]
        timezone: String = "UTC".to_owned(),
        /// Currency of reports.
        reporting_currency: Currency = Currency::USD,
        /// What pages call a tenant.
        tenant_word: String = "workspace".to_owned(),
    }
    /// Further configuration files.
    Files {
        /// Meters.
        meters: PathBuf = PathBuf::from("meters.toml"),
        /// Rate card.
        rates: PathBuf = PathBuf::from("rates.toml"),
        /// Pools and rules.
        policy: PathBuf = PathBuf::from("policy.toml"),
    }
    /// What runs when, in the organisation's zone.
    Schedule {
        /// Nightly snapshot.
        snapshot: TimeOfDay = parsed("00:10"),
        /// Nightly attribution.
        attribute: TimeOfDay = parsed("00:30"),
        /// Nightly collection.
        collect: TimeOfDay = parsed("02:00"),
        /// Days looked at again when dated facts changed.
        trailing_days: u32 = 35,
        /// Attribution after the last import.
        after_import: AfterImport = AfterImport::After(parsed("60s")),
    }
    /// How tenants come into being.
    Tenants {
        /// What happens to unknown ones.
        unknown: TenantsUnknown = TenantsUnknown::Create,
    }
    /// What events are accepted.
    Ingest {
        /// Age in days beyond which events are refused.
        past_days: u32 = 400,
        /// Rate limit.
        events_per_second_per_tenant: u32 = 10_000,
        /// Memory for the index of event ids.
        id_memory: SizeText = parsed("256MiB"),
        /// Size of a segment of the event log.
        segment: SizeText = parsed("64MiB"),
        /// How long acknowledged events wait for the tables at most.
        flush_every: DurationText = parsed("300s"),
        /// JSONPath per dimension.
        #[serde(skip_serializing_if = "BTreeMap::is_empty")]
        map: BTreeMap<String, String> = BTreeMap::new(),
        /// Metrics that are counted when OpenTelemetry or Prometheus pushes them.
        #[serde(rename = "metric", skip_serializing_if = "Vec::is_empty")]
        metrics: Vec<IngestMetric> = Vec::new(),
        /// Other programs whose payloads become events.
        #[serde(rename = "adapter", skip_serializing_if = "Vec::is_empty")]
        adapters: Vec<IngestAdapter> = Vec::new(),
    }
    /// What is kept how long.
    Retention {
        /// Raw events, in days.
        events_days: u32 = 90,
        /// Imported files: `forever` or a duration.
        imports: String = "forever".to_owned(),
        /// Files that were merged or expired.
        removed_files: DurationText = parsed("7d"),
        /// Files that no commit names.
        orphaned_files: DurationText = parsed("1d"),
    }
    /// When small files are merged.
    Compaction {
        /// Quiet after the last flush or import.
        after_flush: AfterImport = AfterImport::After(parsed("60s")),
        /// Small files that a day may have.
        small_files: usize = 16,
        /// A file below this size is small.
        small_file: SizeText = parsed("32MiB"),
        /// Memory for sorting.
        memory: SizeText = parsed("256MiB"),
    }
    /// Amortization windows.
    Window {
        /// How long after its end a window waits for late reads.
        grace: DurationText = parsed("1h"),
        /// Longest window.
        max: DurationText = parsed("24h"),
    }
    /// Billing months.
    Periods {
        /// Differences of a tenant, pool and closed month up to this are noted and not posted by themselves.
        materiality: Price = parsed("1.00"),
        /// Most unattributed cost of a month that closes, as a ratio.
        unattributed_ratio_max: Weight = parsed("0.05"),
    }
    /// The other side of the journal: where providers' bills were booked.
    Journal {
        /// Cost centre; empty is not known.
        clearing_cost_center: String = String::new(),
        /// Account; empty is not known.
        clearing_gl_account: String = String::new(),
    }
    /// Exported files.
    Exports {
        /// Start of file names.
        prefix: String = "apportion".to_owned(),
    }
    /// Prometheus exporter.
    Exporter {
        /// Tenants with a series of their own.
        tenants_max: u32 = 200,
    }
    /// What tenants may see of each other.
    Privacy {
        /// Totals and ratios of pools with five or more consumers.
        disclose_pools: bool = false,
    }
    /// How much a request, an import or a question may use.
    Limits {
        /// JSON body.
        json_body: SizeText = parsed("1MiB"),
        /// Policy, rate card or table of exchange rates.
        text_body: SizeText = parsed("16MiB"),
        /// Bills and event files as they are sent; all files of a collected billing period together.
        upload_body: SizeText = parsed("64GiB"),
        /// Batch of events as it is sent.
        events_body: SizeText = parsed("16MiB"),
        /// Batch of events after decompression.
        events_decoded: SizeText = parsed("64MiB"),
        /// Memory that the events of all requests in work may take together.
        events_memory: SizeText = parsed("512MiB"),
        /// Events of a batch.
        events: u64 = 10_000,
        /// Series of one push of metrics.
        metric_series: usize = 20_000,
        /// Cumulative streams of metrics held in memory.
        metric_streams: usize = 100_000,
        /// Workspaces that one application may list.
        snapshot_workspaces: usize = 100_000,
        /// Metrics of a tenant in one snapshot.
        snapshot_metrics: usize = 200,
        /// Connections to one application's database at once.
        snapshot_connections: usize = 32,
        /// Files of an upload or import.
        upload_files: usize = 10_000,
        /// How long an upload may stand still.
        upload_idle: DurationText = parsed("60s"),
        /// One imported file after decompression.
        decoded_file: SizeText = parsed("64GiB"),
        /// One row, or one cell of a Parquet file.
        import_row: SizeText = parsed("4MiB"),
        /// Rows of a set of files.
        import_rows: u64 = 1_000_000_000,
        /// Columns of a file.
        import_columns: usize = 1_000,
        /// Pairs of billing account and billing period in a set of files.
        import_keys: usize = 10_000,
        /// Days that one cost line may touch.
        charge_days: u32 = 36_600,
        /// Query string.
        query_string: SizeText = parsed("16KiB"),
        /// How long a question may take.
        query_time: DurationText = parsed("300s"),
        /// Longest range of days of one question or run.
        query_days: u32 = 3_660,
        /// Rows of a page, but for costs.
        page_rows: usize = 1_000,
        /// Rows of a page of costs.
        cost_page_rows: usize = 10_000,
        /// Rows of a page that says nothing.
        page_rows_default: usize = 100,
        /// Streams of live usage at once.
        live_streams: usize = 32,
        /// Rows of one of their events.
        live_rows: usize = 1_000,
        /// Totals that one of them keeps in memory.
        live_keys: usize = 50_000,
        /// Longest range of days over which a draft is tried.
        simulation_days: u32 = 400,
        /// Drafts that are tried at once.
        simulations: usize = 1,
        /// Browsers that are signed in at once.
        sessions: usize = 10_000,
        /// How long one of them stays so.
        session: DurationText = parsed("12h"),
        /// Answers up to this size carry an ETag.
        etag_body: SizeText = parsed("64MiB"),
        /// How long the first answer to a keyed write is kept for a repeat.
        idempotency: DurationText = parsed("7d"),
        /// After so long a keyed write that never ended may be tried again.
        idempotency_stale: DurationText = parsed("1h"),
        /// How long open requests may take after the process was told to stop.
        drain: DurationText = parsed("30s"),
    }
}

/// A pushed metric and how it is counted.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct IngestMetric {
    /// Name of the metric.
    pub name: String,
    /// Name of the meter that counts it.
    pub meter: String,
    /// Attributes that name the tenant, tried in this order.
    #[serde(default = "tenant_attributes", deserialize_with = "one_or_many")]
    pub tenant: Vec<String>,
    /// Field of the event's data by the attribute it is read from; nothing else is kept.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub attributes: BTreeMap<String, String>,
    /// Unit of the metric, if it is not the meter's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unit: Option<String>,
    /// What the metric is, if its sender does not say or says it otherwise.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kind: Option<MeterKind>,
}

fn tenant_attributes() -> Vec<String> {
    ["tenant", "tenant.id", "tenant_id"].map(str::to_owned).to_vec()
}

fn one_or_many<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<String>, D::Error> {
    #[derive(Deserialize)]
    #[serde(untagged, expecting = "expected a name or a list of names")]
    enum OneOrMany {
        One(String),
        Many(Vec<String>),
    }
    Ok(match OneOrMany::deserialize(deserializer)? {
        OneOrMany::One(name) => vec![name],
        OneOrMany::Many(names) => names,
    })
}

/// Another program whose payloads become events, and where its dimensions stand.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct IngestAdapter {
    /// Which program.
    pub kind: AdapterWord,
    /// Secret of its webhook.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub secret: Option<String>,
    /// File that holds the secret.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub secret_file: Option<PathBuf>,
    /// The tenant, or JSONPaths to it, tried in this order.
    #[serde(default, deserialize_with = "one_or_many", skip_serializing_if = "Vec::is_empty")]
    pub tenant: Vec<String>,
    /// The same for the user.
    #[serde(default, deserialize_with = "one_or_many", skip_serializing_if = "Vec::is_empty")]
    pub user: Vec<String>,
    /// The same for the workflow.
    #[serde(default, deserialize_with = "one_or_many", skip_serializing_if = "Vec::is_empty")]
    pub workflow: Vec<String>,
    /// What of that text is the id of the workflow: what stands for the `*`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub workflow_pattern: Option<String>,
    /// The same for the repo.
    #[serde(default, deserialize_with = "one_or_many", skip_serializing_if = "Vec::is_empty")]
    pub repo: Vec<String>,
    /// The same for the task class.
    #[serde(default, deserialize_with = "one_or_many", skip_serializing_if = "Vec::is_empty")]
    pub task_class: Vec<String>,
}

/// It holds a secret, so it prints its kind only.
impl std::fmt::Debug for IngestAdapter {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.debug_struct("IngestAdapter").field("kind", &self.kind).finish_non_exhaustive()
    }
}

/// A program that an adapter is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum AdapterWord {
    /// Webhooks of GitHub.
    Github,
    /// Webhooks of GitLab.
    Gitlab,
    /// Logs of a LiteLLM proxy.
    Litellm,
    /// Exports of Langfuse.
    Langfuse,
}

/// What happens to a tenant nobody entered.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TenantsUnknown {
    /// It is created active.
    Create,
    /// It is refused.
    Reject,
}

/// A pause after which `serve` does something by itself, or never.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AfterImport {
    /// Never by itself.
    Off,
    /// This long after the last one.
    After(DurationText),
}

impl AfterImport {
    /// Returns the pause, if there is attribution after imports at all.
    pub fn duration(&self) -> Option<std::time::Duration> {
        match self {
            Self::Off => None,
            Self::After(pause) => Some(pause.duration()),
        }
    }
}

impl Serialize for AfterImport {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Off => serializer.serialize_str("off"),
            Self::After(pause) => pause.serialize(serializer),
        }
    }
}

impl<'de> Deserialize<'de> for AfterImport {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        match String::deserialize(deserializer)?.as_str() {
            "off" => Ok(Self::Off),
            text => text.parse().map(Self::After).map_err(D::Error::custom),
        }
    }
}

/// Links of the pages.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Ui {
    /// Links shown beside each tenant.
    pub tenant_link: Vec<TenantLink>,
}

impl Ui {
    fn is_empty(&self) -> bool {
        self.tenant_link.is_empty()
    }
}

/// A link shown beside each tenant.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TenantLink {
    /// Its text.
    pub label: String,
    /// Its address; `{slug}` is the tenant's slug.
    pub url: String,
}

/// A source: a Prometheus server, an application's database, one that sends snapshots, or a collector of a provider.
/// Its own keys are kept as they are.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Source {
    /// Its name.
    pub name: String,
    /// What it is.
    pub kind: String,
    /// Keys that its kind knows.
    #[serde(flatten)]
    pub rest: BTreeMap<String, KeptValue>,
}

/// A value that is kept without being understood.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct KeptValue(pub toml::Value);

impl Eq for KeptValue {}

fn zone_name<'de, D: Deserializer<'de>>(deserializer: D) -> Result<String, D::Error> {
    let name = String::deserialize(deserializer)?;
    name.parse::<Zone>().map(|_| name).map_err(D::Error::custom)
}

impl Config {
    /// Returns the organisation's zone.
    pub fn zone(&self) -> Zone {
        self.org.timezone.parse().expect("the zone was checked when it was read")
    }

    /// Refuses values that only a later release can honour, and sources of a kind that does not exist.
    ///
    /// # Errors
    /// A failure with `not_available` that names the key; one that names the source and the nearest kind.
    pub fn check_available(&self) -> Result<(), Failure> {
        match self.compute.engine.as_str() {
            "embedded" => {}
            remote if remote.starts_with("df://") => {
                return Err(Failure::not_available("compute.engine `df://…` (cluster mode)"));
            }
            other => {
                let message = format!("compute.engine is `{other}`; the only engine is \"embedded\"");
                return Err(Failure::new(crate::exit::Exit::Conflict, message));
            }
        }
        let is_remote = |place: &Option<String>| {
            place.as_deref().is_some_and(|place| place.contains("://") && !place.starts_with("file://"))
        };
        if is_remote(&self.storage.lake) {
            return Err(Failure::not_available("storage.lake in a bucket"));
        }
        let is_database = self.storage.catalog.as_deref().is_some_and(storage::catalog::Catalog::is_url);
        if is_remote(&self.storage.catalog) && !is_database {
            return Err(Failure::not_available("storage.catalog on a server other than postgres://"));
        }
        let known = [super::prometheus::KIND, collectors::workspaces::KIND, senders::KIND];
        let is_known = |source: &&Source| {
            known.contains(&source.kind.as_str()) || collectors::providers::kind(&source.kind).is_some()
        };
        if let Some(other) = self.sources.iter().find(|source| !is_known(source)) {
            let kinds: Vec<&str> =
                known.into_iter().chain(collectors::providers::KINDS.iter().map(|kind| kind.spec.name)).collect();
            let hint = match nearest(&other.kind, kinds.iter().copied()) {
                Some(near) => format!("did you mean `{near}`?"),
                None => format!("known are {}", kinds.join(", ")),
            };
            let (name, kind) = (other.name.escape_debug(), other.kind.escape_debug());
            let message = format!("[[source]] \"{name}\": unknown kind `{kind}`; {hint}");
            return Err(Failure::new(crate::exit::Exit::Conflict, message));
        }
        let default = Retention::default();
        if self.retention.imports != default.imports {
            return Err(Failure::not_available("retention.imports other than \"forever\""));
        }
        Ok(())
    }
}
