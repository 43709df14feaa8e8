//! `serve`: API and scheduled attribution in one process.

use super::Context;
use crate::cli::ServeArgs;
use crate::client::Client;
use crate::exit::{Exit, Failure};
use anyhow::Result;
use std::io::Write as _;
use tokio::net::TcpListener;

/// Serves the local store until the process is told to stop.
pub async fn run(context: &Context, args: ServeArgs) -> Result<Exit> {
    let config = context.config()?.config;
    config.check_available()?;
    let address = args.listen.unwrap_or_else(|| config.server.listen.clone());
    let listener = bind(&address).await?;
    let store = crate::wiring::open_local(&config).await?;
    let client = Client::Local(store.router.clone());
    crate::publish::publish_files(&client, &config, context.globals.yes).await?;
    let url = url_of(&listener, &config.server.base_path)?;
    let mut out = std::io::stdout();
    if let Some(token) = &store.first_token {
        writeln!(out, "platform admin token, shown once: {token}")?;
    }
    writeln!(out, "listening on {url}")?;
    out.flush()?;
    serve(listener, &config.server.base_path, store.router.clone()).await?;
    Ok(Exit::Ok)
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

/// Serves the routes until SIGINT or SIGTERM, then lets open requests finish.
///
/// # Errors
/// The socket fails.
pub async fn serve(listener: TcpListener, base_path: &str, router: axum::Router) -> Result<()> {
    let base = base_path.trim_end_matches('/');
    let router = if base.is_empty() { router } else { axum::Router::new().nest(base, router) };
    axum::serve(listener, router).with_graceful_shutdown(told_to_stop()).await?;
    Ok(())
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
    tracing::info!("stopping: open requests may finish");
}
