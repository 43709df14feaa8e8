//! `serve`: API, metrics exporter and scheduled attribution in one process.

use super::{Context, first_token_text};
use crate::cli::ServeArgs;
use crate::client::Client;
use crate::config::Config;
use crate::exit::{Exit, Failure};
use crate::observability::EXPORTER_OFF;
use crate::scheduler::{Post, Scheduler};
use crate::sources::{SourceSchedule, collector_intervals};
use crate::wiring::{LocalStore, WallClock};
use anyhow::Result;
use api::App;
use std::io::Write as _;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use storage::catalog::{LEASE_HELD, LEASE_TOLD_EVERY};
use tokio::net::TcpListener;
use tokio::signal::unix::{Signal, SignalKind, signal};

/// How often the catalog is asked what other processes did.
const FOLLOW_EVERY: Duration = Duration::from_secs(5);

/// Serves the local store until the process is told to stop.
pub async fn run(context: &Context, args: ServeArgs) -> Result<Exit> {
    let config = context.config()?.config;
    config.check_available()?;
    let address = args.listen.unwrap_or_else(|| config.server.listen.clone());
    let listener = bind(&address).await?;
    let exporter = bind_exporter(&config.server.exporter_listen).await?;
    let store = crate::wiring::open_local(&config).await?;
    let client = Client::Local(store.router.clone());
    let moved = crate::publish::publish_files(&client, &config, context.globals.yes).await?;
    moved.iter().for_each(|line| context.output.warn(line));
    let post = Post {
        catalog: store.app.catalog().clone(),
        node: store.node.clone(),
        lease: LEASE_HELD,
        renew_every: LEASE_TOLD_EVERY,
        zone: config.zone(),
        clock: Arc::new(WallClock),
    };
    let schedule = Scheduler::new(client, &config, store.events.flushes(), post).await?;
    let url = url_of(&listener, &config.server.base_path)?;
    let signals = StopSignals::listen()?;
    let mut out = std::io::stdout();
    if let Some(token) = &store.first_token {
        writeln!(out, "{}", first_token_text(token))?;
    }
    if let Some(exporter) = &exporter {
        writeln!(out, "metrics on {}/metrics", url_of(exporter, "/")?)?;
    }
    writeln!(out, "listening on {url}")?;
    out.flush()?;
    let exporter = exporter.map(|listener| tokio::spawn(serve_exporter(listener, store.app.clone())));
    let schedule = tokio::spawn(schedule.run());
    let sources = SourceSchedule::new(Client::Local(store.router.clone()), collector_intervals(&config)?);
    let sources = tokio::spawn(sources.run());
    let following = store.app.catalog().is_shared().then(|| tokio::spawn(follow_others(store.app.clone())));
    let served = serve_store(listener, &store, &config, signals).await;
    schedule.abort();
    sources.abort();
    for task in following.into_iter().chain(exporter) {
        task.abort();
    }
    served
}

/// Returns a socket for the metrics exporter, unless it is switched off.
///
/// # Errors
/// A failure that names the address and the key.
async fn bind_exporter(address: &str) -> Result<Option<TcpListener>> {
    if address == EXPORTER_OFF {
        return Ok(None);
    }
    let bound = TcpListener::bind(address).await.map_err(|error| {
        let hint = format!("set another server.exporter_listen, or \"{EXPORTER_OFF}\"");
        Failure::new(Exit::Failure, format!("cannot listen on {address} for metrics: {error}; {hint}"))
    });
    Ok(Some(bound?))
}

/// Serves the metrics exporter until it is dropped. It is told who connects, for programs of the same machine need no
/// token.
async fn serve_exporter(listener: TcpListener, app: App) {
    let service = api::exporter_router(app).into_make_service_with_connect_info::<SocketAddr>();
    if let Err(error) = axum::serve(listener, service).await {
        tracing::error!(?error, "the metrics exporter stopped");
    }
}

/// Takes over what other processes on the same catalog did, again and again, until it is dropped.
async fn follow_others(app: App) {
    let mut seen = None;
    loop {
        tokio::time::sleep(FOLLOW_EVERY).await;
        match app.follow_others(seen.clone()).await {
            Ok(recorded) => seen = recorded,
            Err(error) => tracing::warn!(?error, "what other processes did cannot be read"),
        }
    }
}

/// Serves a store until the process is told to stop; meanwhile acknowledged events go to the tables, the last ones at
/// the end.
///
/// # Errors
/// The socket fails, or the event log: then nobody knows what is on stable storage until the next start reads it.
pub async fn serve_store(
    listener: TcpListener,
    store: &LocalStore,
    config: &Config,
    signals: StopSignals,
) -> Result<Exit> {
    let (events, wait) = (store.events.clone(), config.ingest.flush_every.duration());
    let flushing = tokio::spawn(async move { events.keep_flushing(wait).await });
    let served = tokio::select! {
        served = serve(listener, store, config.limits.drain.duration(), signals) => served?,
        failure = store.events.failed() => {
            return Err(Failure::new(Exit::Failure, format!("the event log stopped: {failure}")).into());
        }
    };
    flushing.abort();
    store.events.flush_all().await?;
    store.events.close().await?;
    Ok(served)
}

/// Returns a socket that listens on the address.
///
/// # Errors
/// A failure that names the address.
pub async fn bind(address: &str) -> Result<TcpListener> {
    Ok(TcpListener::bind(address).await.map_err(|error| {
        Failure::new(Exit::Failure, format!("cannot listen on {address}: {error}; choose another with --listen"))
    })?)
}

/// Returns the address people open.
///
/// # Errors
/// The socket is closed already.
pub fn url_of(listener: &TcpListener, base_path: &str) -> Result<String> {
    Ok(format!("http://{}{}", listener.local_addr()?, base_path.trim_end_matches('/')))
}

/// The signals that tell the process to stop. Once made, neither kills the process any more.
pub struct StopSignals {
    interrupt: Signal,
    terminate: Signal,
}

impl StopSignals {
    /// Starts to listen; do so before anybody is told that the process serves.
    ///
    /// # Errors
    /// The system refuses.
    pub fn listen() -> Result<Self> {
        Ok(Self { interrupt: signal(SignalKind::interrupt())?, terminate: signal(SignalKind::terminate())? })
    }

    /// Ends when the process is told to stop.
    async fn told(&mut self) {
        tokio::select! {
            _ = self.interrupt.recv() => {}
            _ = self.terminate.recv() => {}
        }
    }
}

/// Serves the routes until SIGINT or SIGTERM, then lets open requests finish: so long, or until told again.
///
/// # Errors
/// The socket fails.
async fn serve(listener: TcpListener, store: &LocalStore, drain: Duration, mut signals: StopSignals) -> Result<Exit> {
    let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
    let gently = async {
        // An error means that nobody can tell any more, which is the end as well.
        let _ = stopped.await;
    };
    let serving = axum::serve(listener, store.served.clone()).with_graceful_shutdown(gently).into_future();
    let stopping = async {
        signals.told().await;
        tracing::info!("stopping: open requests may finish");
        // The server is gone if it does not listen, and then nothing waits for this either.
        let _ = stop.send(());
        store.streams.stop();
        tokio::select! {
            () = signals.told() => {}
            () = tokio::time::sleep(drain) => {}
        }
    };
    tokio::select! {
        served = serving => {
            served?;
            Ok(Exit::Ok)
        }
        () = stopping => {
            tracing::warn!("open requests were cut off");
            Ok(Exit::Interrupted)
        }
    }
}
