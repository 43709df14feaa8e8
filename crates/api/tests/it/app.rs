//! The real router over a store of its own.

use api::auth::mint_first;
use api::memory::EventMemory;
use api::parsers::Parsers;
use api::rates::EventRates;
use api::{ApiLimits, App, AppParts, Exporter, KnownTokens, ScheduledJob, Sessions, Streams};
use axum::Router;
use axum::body::{Body, to_bytes};
use axum::http::{HeaderMap, Request};
use collectors::ImportLimits;
use collectors::providers::{Providers, ProvidersContext};
use collectors::sources::{SinkError, Sources, Taken, UsagePoint, UsageSink};
use collectors::workspaces::{Workspaces, WorkspacesContext};
use domain::{Daily, FixedClock, Instant, Zone};
use engine::{Engine, Settings};
use futures::FutureExt as _;
use futures::future::BoxFuture;
use http_body_util::BodyExt as _;
use metering::live::{EventLog, EventLogOptions, Setup};
use metering::meters::MeterSet;
use metering::rules::{DimensionMap, EventRules};
use serde_json::{Value, json};
use std::path::Path;
use std::sync::Arc;
use storage::catalog::{Catalog, CatalogError};
use storage::lake::{Imports, Lake};
use testkit::bill::{Bill, BillLine};
use tower::ServiceExt as _;

/// "Now" of every test.
pub const NOW: &str = "2026-11-20T12:00:00Z";

pub struct TestApp {
    pub app: App,
    pub router: Router,
    pub clock: Arc<FixedClock>,
    /// The platform admin's token.
    pub admin: String,
    folder: tempfile::TempDir,
}

/// No source here is asked for anything, so nothing is ever taken.
pub struct NoSink;

impl UsageSink for NoSink {
    fn take<'a>(&'a self, _points: &'a [UsagePoint]) -> BoxFuture<'a, Result<Taken, SinkError>> {
        async { Ok(Taken::default()) }.boxed()
    }
}

pub struct Answer {
    pub status: u16,
    pub headers: HeaderMap,
    pub text: String,
}

impl Answer {
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.text).unwrap_or_else(|error| panic!("{error}: {}", self.text))
    }

    pub fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().expect("ASCII"))
    }

    #[track_caller]
    pub fn expect(self, status: u16) -> Self {
        assert_eq!(self.status, status, "{}", self.text);
        self
    }

    #[track_caller]
    pub fn expect_problem(self, status: u16, code: &str) -> Value {
        let body = self.expect(status).json();
        assert_eq!(body["code"], code, "{body}");
        body
    }
}

impl TestApp {
    pub async fn start() -> Self {
        Self::with(Settings::default(), ApiLimits::default()).await
    }

    pub async fn with(settings: Settings, limits: ApiLimits) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let now: Instant = NOW.parse().unwrap();
        let clock = Arc::new(FixedClock::at(now));
        let lake = Lake::open(&folder.path().join("lake"), now).await.unwrap();
        let catalog = Catalog::open(&folder.path().join("catalog.db")).await.unwrap();
        let admin = mint_first(&catalog, now.micros(), |_| Ok::<(), CatalogError>(())).await.unwrap().unwrap();
        let options = EventLogOptions {
            wal: folder.path().join("wal"),
            ids: folder.path().join("wal/ids"),
            segment_bytes: 64 * 1024,
            id_memory_bytes_max: 1 << 20,
        };
        let setup = Setup {
            rules: Arc::new(EventRules::new(Zone::utc())),
            meters: Arc::new(MeterSet::new(domain::meter::builtin()).unwrap()),
            tenants: Arc::default(),
        };
        let events = EventLog::open(options, lake.clone(), catalog.clone(), clock.clone(), setup).await.unwrap();
        let sources = Sources::new(Vec::new(), catalog.clone(), clock.clone(), Arc::new(NoSink));
        let imports = Imports::open(&folder.path().join("imports")).unwrap();
        let providers = Providers::new(
            Vec::new(),
            ProvidersContext {
                lake: lake.clone(),
                imports: imports.clone(),
                catalog: catalog.clone(),
                zone: Zone::utc(),
                limits: ImportLimits::default(),
                spool: folder.path().to_owned(),
                sink: Arc::new(NoSink),
                clock: clock.clone(),
            },
        );
        let workspaces = Workspaces::new(
            Vec::new(),
            WorkspacesContext {
                lake: lake.clone(),
                catalog: catalog.clone(),
                clock: clock.clone(),
                zone: Zone::utc(),
                reject_unknown_tenants: false,
                node: "node".into(),
            },
        );
        let engine = Engine::new(Arc::new(lake), Arc::new(catalog), clock.clone(), settings);
        let metric_streams = metering::streams::Streams::new(engine.catalog().clone(), 1_000);
        let app = App::from(AppParts {
            engine: engine.with_hot(Arc::new(events.clone())),
            events,
            sources,
            providers,
            workspaces,
            snapshot_senders: Arc::new(["declared".to_owned()]),
            rates: Arc::new(EventRates::new(10_000)),
            adapters: Arc::default(),
            metrics: Arc::default(),
            event_memory: EventMemory::new(limits.events_memory_bytes_max),
            parsers: Parsers::start(1).unwrap(),
            metric_streams,
            past_days: 400,
            imports,
            import_limits: ImportLimits::default(),
            dimension_map: DimensionMap::default(),
            spool: folder.path().join("spool").into(),
            admin_token: None,
            export_prefix: "apportion".into(),
            streams: Streams::new(limits.live_streams_max),
            simulations: Streams::new(limits.simulations_max),
            upkeep: Arc::default(),
            exporter: Exporter::default(),
            known_tokens: KnownTokens::default(),
            sessions: Sessions::new(100, 12 * 3600),
            schedule: Arc::new([ScheduledJob { name: "attribute", daily: Daily::at_minutes(30) }]),
            pages: Arc::default(),
            limits: Arc::new(limits),
        });
        app.set_up_events().await.unwrap();
        Self { router: api::router(app.clone()), app, clock, admin, folder }
    }

    /// Changes parts of the app; earlier clones of it do not see that.
    pub fn change(&mut self, change: impl FnOnce(&mut AppParts)) {
        let mut parts = AppParts::clone(&self.app);
        change(&mut parts);
        self.app = App::from(parts);
        self.router = api::router(self.app.clone());
    }

    /// Returns the folder of lake and catalog.
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    pub async fn send(&self, request: Request<Body>) -> Answer {
        let follows = request.uri().path().ends_with("/usage/live");
        let response = self.router.clone().oneshot(request).await.unwrap();
        // Of a stream that nobody ends the first event is the answer.
        let is_endless = follows && response.status() == 200;
        let (status, headers) = (response.status().as_u16(), response.headers().clone());
        if is_endless {
            let first = response.into_body().frame().await.unwrap().unwrap().into_data().unwrap();
            return Answer { status, headers, text: String::from_utf8(first.to_vec()).unwrap() };
        }
        let bytes = to_bytes(response.into_body(), usize::MAX).await.unwrap();
        Answer { status, headers, text: String::from_utf8(bytes.to_vec()).unwrap() }
    }

    pub async fn call(&self, method: &str, path: &str, token: Option<&str>, kind: &str, body: &str) -> Answer {
        let mut request = Request::builder().method(method).uri(path);
        if let Some(token) = token {
            request = request.header("authorization", format!("Bearer {token}"));
        }
        if !kind.is_empty() {
            request = request.header("content-type", kind);
        }
        self.send(request.body(Body::from(body.to_owned())).unwrap()).await
    }

    pub async fn get(&self, path: &str) -> Answer {
        self.call("GET", &format!("/api/v1{path}"), Some(&self.admin), "", "").await
    }

    pub async fn get_as(&self, token: &str, path: &str) -> Answer {
        self.call("GET", &format!("/api/v1{path}"), Some(token), "", "").await
    }

    pub async fn post(&self, path: &str, body: &Value) -> Answer {
        self.call("POST", &format!("/api/v1{path}"), Some(&self.admin), "application/json", &body.to_string()).await
    }

    pub async fn put(&self, path: &str, body: &Value) -> Answer {
        self.call("PUT", &format!("/api/v1{path}"), Some(&self.admin), "application/json", &body.to_string()).await
    }

    /// Asks for the answer as CSV.
    pub async fn csv(&self, method: &str, path: &str) -> Answer {
        let request = Request::builder().method(method).uri(format!("/api/v1{path}"));
        let request = request.header("authorization", format!("Bearer {}", self.admin)).header("accept", "text/csv");
        self.send(request.body(Body::empty()).unwrap()).await
    }

    pub async fn delete(&self, path: &str) -> Answer {
        self.call("DELETE", &format!("/api/v1{path}"), Some(&self.admin), "", "").await
    }

    /// Mints a token and returns it.
    pub async fn token(&self, role: &str, tenants: &[&str]) -> String {
        let mut body = json!({ "role": role, "name": role });
        if !tenants.is_empty() {
            body["tenants"] = json!(tenants);
        }
        self.post("/tokens", &body).await.expect(201).json()["token"].as_str().unwrap().to_owned()
    }

    pub async fn given_policy(&self, text: &str) {
        let answer = self.call("POST", "/api/v1/policies", Some(&self.admin), "application/toml", text).await;
        answer.expect(201);
    }

    /// Imports a bill: cluster tag, day, amount, one line each.
    pub async fn given_bill(&self, source: &str, lines: &[(&str, &str, &str)]) {
        self.given_bill_unless_refused(source, lines).await.expect(200);
    }

    /// The same, whatever the answer is.
    pub async fn given_bill_unless_refused(&self, source: &str, lines: &[(&str, &str, &str)]) -> Answer {
        let path = format!("/api/v1/cost-lines/imports?source={source}&confirm=true");
        self.call("POST", &path, Some(&self.admin), "text/csv", &bill(lines)).await
    }

    /// Imports usage: cluster, tenant, day, meter, quantity.
    pub async fn given_usage(&self, rows: &[(&str, &str, &str, &str, &str)]) {
        let lines: String = rows.iter().map(|row| event(*row) + "\n").collect();
        let answer =
            self.call("POST", "/api/v1/events/imports", Some(&self.admin), "application/x-ndjson", &lines).await;
        let body = answer.expect(200).json();
        assert_eq!(body["rejected_total"], 0, "{body}");
    }

    pub async fn given_run(&self, from: &str, to: &str) -> Value {
        self.post("/runs?wait=true", &json!({ "from": from, "to": to })).await.expect(200).json()
    }
}

/// A bill of lines: cluster, day, amount.
pub fn bill(lines: &[(&str, &str, &str)]) -> String {
    let add = |bill: Bill, (cluster, day, cost): &(&str, &str, &str)| {
        let tags = json!({ "cluster": cluster }).to_string();
        bill.line(&BillLine { day, sub_account: "", cost, tags: &tags, ..BillLine::default() })
    };
    lines.iter().fold(Bill::new(), add).csv().to_owned()
}

pub fn event((cluster, tenant, day, meter, quantity): (&str, &str, &str, &str, &str)) -> String {
    let value: Value = serde_json::from_str(quantity).unwrap();
    json!({
        "specversion": "1.0", "type": meter, "source": cluster, "id": format!("{tenant}-{day}-{meter}"),
        "time": format!("{day}T10:00:00Z"), "tenant": tenant, "cluster": cluster, "data": { "value": value },
    })
    .to_string()
}

/// Two clusters by the seed's four meters, everything else unattributed.
pub const POLICY: &str = r#"
version = "clusters"
valid_from = 2020-01-01

[[pool]]
name = "shared-west-us"
kind = "cluster"
tier = "direct"
select = { tags.cluster = "shared-west-us" }
split = { method = "weighted", by = ["tenant"], weights = { cpu_core_hours = "0.5", memory_gib_hours = "0.3", storage_gib_hours = "0.15", network_gib = "0.05" } }

[[pool]]
name = "shared-east"
kind = "cluster"
tier = "direct"
select = { tags.cluster = "shared-east" }
split = { method = "weighted", by = ["tenant"], weights = { cpu_core_hours = "1" } }
"#;
