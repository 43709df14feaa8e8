//! `serve`: API and scheduled attribution in one process.

use super::Context;
use crate::cli::ServeArgs;
use crate::client::Client;
use crate::exit::{Exit, Failure};
use crate::scheduler::Scheduler;
use anyhow::Result;
use std::io::Write as _;
use std::time::Duration;
use tokio::net::TcpListener;

/// How long open requests may take after the process was told to stop.
const OPEN_REQUESTS_MAX: Duration = Duration::from_secs(30);

/// Serves the local store until the process is told to stop.
pub async fn run(context: &Context, args: ServeArgs) -> Result<Exit> {
    let config = context.config()?.config;
    config.check_available()?;
    let address = args.listen.unwrap_or_else(|| config.server.listen.clone());
    let listener = bind(&address).await?;
    let store = crate::wiring::open_local(&config).await?;
    let client = Client::Local(store.router.clone());
    crate::publish::publish_files(&client, &config, context.globals.yes).await?;
    let schedule = Scheduler::new(client, &config.schedule, config.zone()).await?;
    let url = url_of(&listener, &config.server.base_path)?;
    let mut out = std::io::stdout();
    if let Some(token) = &store.first_token {
        writeln!(out, "platform admin token, shown once: {token}")?;
    }
    writeln!(out, "listening on {url}")?;
    out.flush()?;
    let schedule = tokio::spawn(schedule.run());
    let served = serve(listener, &config.server.base_path, store.router.clone()).await;
    schedule.abort();
    served
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

/// Serves the routes until SIGINT or SIGTERM, then lets open requests finish: for a while, or until told again.
///
/// # Errors
/// The socket fails.
pub async fn serve(listener: TcpListener, base_path: &str, router: axum::Router) -> Result<Exit> {
    let base = base_path.trim_end_matches('/');
    let router = if base.is_empty() { router } else { axum::Router::new().nest(base, router) };
    let (stop, stopping) = tokio::sync::oneshot::channel::<()>();
    let gently = async {
        told_to_stop().await;
        tracing::info!("stopping: open requests may finish");
        // The receiver waits for this as long as the server lives.
        let _ = stop.send(());
    };
    let serving = axum::serve(listener, router).with_graceful_shutdown(gently).into_future();
    let impatient = async {
        if stopping.await.is_ok() {
            tokio::select! {
                () = told_to_stop() => {}
                () = tokio::time::sleep(OPEN_REQUESTS_MAX) => {}
            }
        } else {
            std::future::pending::<()>().await;
        }
    };
    tokio::select! {
        served = serving => { served?; Ok(Exit::Ok) }
        () = impatient => {
            tracing::warn!("open requests were cut off");
            Ok(Exit::Interrupted)
        }
    }
}

/// Ends when the process is told to stop.
pub async fn told_to_stop() {
    let terminate = async {
        match tokio::signal::unix::signal(tokio::signal::unix::SignalKind::terminate()) {
            Ok(mut signal) => signal.recv().await,
            Err(_) => std::future::pending().await,
        }
    };
    tokio::select! {
        _ = terminate => {}
        _ = tokio::signal::ctrl_c() => {}
    }
}
