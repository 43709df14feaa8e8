//! A collector, a stand-in for its provider, and a store.

use super::super::support::Store;
use super::stand_in::{Asked, Reply, Server, Wire};
use collectors::prometheus::Secret;
use collectors::providers::fetch::{FetchOptions, parse_base};
use collectors::providers::{
    Cause, CollectAsked, CollectReport, CredentialSet, ProviderSource, Providers, ProvidersContext, Spec, kind,
};
use collectors::sources::{SinkError, SourceError, SourceStatus, Taken, UsagePoint, UsageSink};
use domain::FixedClock;
use futures::FutureExt as _;
use futures::future::BoxFuture;
use serde_json::Value;
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use storage::catalog::ProviderUsageRow;

/// What the tests that all collectors share must know of one. `faults(&CONTRACT)` is all that a collector's test needs.
pub(crate) struct Contract {
    /// Kind of the source.
    pub kind: &'static str,
    /// Its own keys in `[[source]]`.
    pub keys: fn() -> Value,
    /// When it is collected: not on the first day of a billing period, and at least 20 days into it.
    pub now: &'static str,
    /// What the provider answers. At least one line or quantity of the current billing period.
    pub answer: fn(&Asked, Variant) -> Reply,
    /// A field without which an answer is of no use, at any depth.
    pub needed: &'static str,
    /// Whether the provider answers in pages; then the variants of pages are tried.
    pub is_paged: bool,
}

/// How the contract answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Variant {
    /// As documented.
    Usual,
    /// The same with other amounts or quantities, at most a tenth smaller or larger.
    Restated,
    /// The first page again in the place of the second.
    SamePage,
    /// Page after page, each with rows of its own, for ever.
    EndlessPages,
}

/// What is planted in a credential and may be found nowhere else.
pub(crate) fn canary(key: &str) -> String {
    format!("canary-of-{key}-9f3b2c7d")
}

/// A source as it would be configured, pointed at a stand-in.
pub(crate) fn source(contract: &Contract, url: &str, timeout: Duration) -> ProviderSource {
    let kind = kind(contract.kind).expect("the kind is registered");
    let credentials = kind.spec.credentials.iter().map(|spec| (spec.key, Secret::Text(canary(spec.key))));
    ProviderSource {
        name: contract.kind.to_owned(),
        collector: (kind.build)((contract.keys)()).expect("valid keys"),
        credentials: CredentialSet::new(credentials.collect()),
        options: FetchOptions {
            base: parse_base(url, true).expect("an address"),
            is_stand_in: true,
            timeout,
            retries: 2,
            retry_wait: Duration::from_millis(1),
            // Less than any fault sends too much, and enough for all pages of one collection together.
            response_bytes_max: 7 << 18,
            requests_max: 300,
        },
        total: Duration::from_secs(60),
        settle: Duration::ZERO,
        // Vercel would be asked for it first, in a way that may fail: tests of its own do so.
        billing_day: (contract.kind == "vercel").then_some(1),
        every: None,
        meters: BTreeMap::new(),
    }
}

/// Keeps every point that it is offered, unless it refuses them.
#[derive(Default)]
pub(crate) struct Points(pub Mutex<Vec<UsagePoint>>, AtomicBool);

impl Points {
    /// Refuses every point from now on, or none any more.
    pub fn refuse(&self, refuses: bool) {
        self.1.store(refuses, Ordering::Relaxed);
    }
}

impl UsageSink for Points {
    fn take<'a>(&'a self, points: &'a [UsagePoint]) -> BoxFuture<'a, Result<Taken, SinkError>> {
        if self.1.load(Ordering::Relaxed) {
            return async { Err(SinkError::Failed("no room".into())) }.boxed();
        }
        self.0.lock().expect("no thread died").extend_from_slice(points);
        let taken = Taken { accepted: points.len() as u64, ..Taken::default() };
        async move { Ok(taken) }.boxed()
    }
}

/// What is stored: it must stay when a collection fails.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Stored {
    /// Version of the table of cost lines.
    pub version: u64,
    /// First day, last day and billed amount of every line.
    pub lines: Vec<(String, String, String)>,
    /// Every quantity, without the time at which it was read.
    pub usage: Vec<ProviderUsageRow>,
}

pub(crate) struct Given {
    pub store: Store,
    pub server: Server,
    pub clock: Arc<FixedClock>,
    pub points: Arc<Points>,
    pub spec: &'static Spec,
}

impl Given {
    /// A store, and a stand-in that answers as documented.
    pub async fn new(contract: &'static Contract) -> Self {
        let answer = contract.answer;
        let server = Server::start(move |asked| Wire::Whole(answer(asked, Variant::Usual))).await;
        let clock = FixedClock::at(contract.now.parse().expect("an instant"));
        let spec = kind(contract.kind).expect("the kind is registered").spec;
        Self { store: Store::new().await, server, clock: Arc::new(clock), points: Arc::default(), spec }
    }

    /// The collectors of a process that has just started.
    pub fn process(&self, sources: Vec<ProviderSource>) -> Providers {
        let context = &self.store.context;
        let context = ProvidersContext {
            lake: context.lake.clone(),
            imports: context.imports.clone(),
            catalog: context.catalog.clone(),
            zone: context.zone.clone(),
            limits: context.limits.clone(),
            spool: self.store.folder.path().to_owned(),
            sink: self.points.clone(),
            clock: self.clock.clone(),
        };
        Providers::new(sources, context)
    }

    pub fn patient(&self, contract: &Contract) -> Providers {
        self.process(vec![source(contract, &self.server.url, Duration::from_secs(20))])
    }

    pub async fn stored(&self) -> Stored {
        let usage = self.store.context.catalog.provider_usage(None, "0000-01-01", "9999-12-31").await;
        let usage = usage.expect("a catalog").into_iter().map(|row| ProviderUsageRow { collected_at: 0, ..row });
        Stored { version: self.store.version().await, lines: self.store.lines().await, usage: usage.collect() }
    }

    /// The text of all files that were imported, as they are kept.
    pub fn kept(&self) -> String {
        let files = std::fs::read_dir(self.store.folder.path().join("imports")).expect("a folder");
        let text = |file: std::io::Result<std::fs::DirEntry>| {
            let bytes = std::fs::read(file.expect("a file").path()).expect("a file");
            String::from_utf8(zstd::decode_all(bytes.as_slice()).expect("zstd")).expect("text")
        };
        files.map(text).collect()
    }
}

pub(crate) async fn refresh(providers: &Providers, name: &str) -> Result<CollectReport, SourceError> {
    providers.refresh(name, &CollectAsked::default()).await
}

pub(crate) async fn status(providers: &Providers) -> SourceStatus {
    providers.statuses().await.expect("a catalog").remove(0)
}

/// The cause of a collection that failed.
pub(crate) fn cause_of(result: &Result<CollectReport, SourceError>) -> Option<Cause> {
    match result {
        Err(SourceError::Collect { error, .. }) => Some(error.cause),
        _ => None,
    }
}
