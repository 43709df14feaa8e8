//! One file per group of commands. A command asks the API and prints its answer.

/// `openapi`, `completion`, `version`.
mod about;
/// `adjust`.
mod adjust;
/// `attribute` and `runs`.
mod attribute;
/// `check`.
mod check;
/// `config show`.
mod config_show;
/// `costs`, `explain` and `coverage`.
mod costs;
/// `demo`.
mod demo;
/// `export`.
mod export;
/// `fixed-costs`.
mod fixed_costs;
/// `fx`.
mod fx;
/// `import`.
mod import;
/// `init`.
mod init;
/// Ctrl-C while a run is followed.
mod interrupt;
/// `invoices` and `reconciliation`.
mod invoices;
/// `lake`.
mod lake;
/// `ledger`.
mod ledger;
/// `man`.
mod man;
/// `meters`.
mod meters;
/// `observability`.
mod observability;
/// Rows of the API as Parquet.
mod parquet;
/// `period`.
mod period;
/// `serve`.
mod serve;
/// `snapshot`.
mod snapshot;
/// `sources`.
mod sources;
/// `statement`.
mod statement;
/// `tenants`.
mod tenants;
/// `tokens`.
mod tokens;
/// `unit-costs`.
mod unit_costs;
/// `rates` and `policy`.
mod versions;
/// `rates simulate` and `policy simulate`.
mod what_if;

use crate::cli::{Cli, Command, Format, Globals};
use crate::client::{Call, Client};
use crate::config::{Loaded, load};
use crate::exit::{Exit, Failure, exit_of_error};
use crate::later;
use crate::output::Output;
use anyhow::Result;
use clap::{CommandFactory as _, FromArgMatches as _};
use std::collections::BTreeMap;
use std::ffi::OsString;
use std::process::ExitCode;

/// What every command gets: flags, environment, output.
pub struct Context {
    /// Flags that every command takes.
    pub globals: Globals,
    /// The environment, read once.
    pub environment: BTreeMap<String, String>,
    /// Where answers and notes go.
    pub output: Output,
}

/// Parses the command line, runs the command and returns how the process ends.
pub fn main() -> ExitCode {
    let command = later::add_to(Cli::command());
    let matches = command.try_get_matches().unwrap_or_else(|error| error.exit());
    let cli = match later::asked_for(&matches) {
        Some(name) => return finish(Err(Failure::not_available(&format!("`apportion {name}`")).into())),
        None => Cli::from_arg_matches(&matches).unwrap_or_else(|error| error.exit()),
    };
    let Some(command) = cli.command else {
        let _ = later::add_to(Cli::command()).print_help();
        return ExitCode::SUCCESS;
    };
    let environment = environment();
    let no_color = environment.get("NO_COLOR").is_some_and(|value| !value.is_empty());
    let output = Output::new(&cli.globals, no_color);
    let context = Context { globals: cli.globals, environment, output };
    start_log(&context, &command);
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build();
    finish(match runtime {
        Ok(runtime) => {
            let result = runtime.block_on(run_until_interrupted(&context, command));
            runtime.shutdown_timeout(std::time::Duration::from_secs(5));
            result
        }
        Err(error) => Err(error.into()),
    })
}

/// The environment; a variable that is not UTF-8 cannot be one of ours.
fn environment() -> BTreeMap<String, String> {
    let text = |(name, value): (OsString, OsString)| Some((name.into_string().ok()?, value.into_string().ok()?));
    std::env::vars_os().filter_map(text).collect()
}

/// Runs the command; Ctrl-C ends it, except where the command itself ends gently.
async fn run_until_interrupted(context: &Context, command: Command) -> Result<Exit> {
    if matches!(command, Command::Serve(_) | Command::Demo(_) | Command::Attribute(_)) {
        return run(context, command).await;
    }
    tokio::select! {
        result = run(context, command) => result,
        _ = tokio::signal::ctrl_c() => Ok(Exit::Interrupted),
    }
}

async fn run(context: &Context, command: Command) -> Result<Exit> {
    match command {
        Command::Serve(args) => serve::run(context, args).await,
        Command::Demo(args) => demo::run(context, args).await,
        Command::Init(args) => init::run(context, args),
        Command::Check => check::run(context).await,
        Command::Config(command) => config_show::run(context, command),
        Command::Import(command) => import::run(context, command).await,
        Command::Attribute(args) => attribute::run(context, args).await,
        Command::Costs(args) => costs::run(context, args).await,
        Command::Explain(args) => costs::explain(context, args).await,
        Command::Coverage => costs::coverage(context).await,
        Command::UnitCosts(args) => unit_costs::run(context, args).await,
        Command::Lake(command) => lake::run(context, command).await,
        Command::Ledger(command) => ledger::run(context, command).await,
        Command::Rates(command) => versions::rates(context, command).await,
        Command::Policy(command) => versions::policy(context, command).await,
        Command::Fx(command) => fx::run(context, command).await,
        Command::FixedCosts(command) => fixed_costs::run(context, command).await,
        Command::Adjust(args) => adjust::run(context, args).await,
        Command::Period(command) => period::run(context, command).await,
        Command::Invoices(command) => invoices::run(context, command).await,
        Command::Reconciliation { source } => invoices::reconcile(context, source).await,
        Command::Statement(args) => statement::run(context, args).await,
        Command::Tenants(command) => tenants::run(context, command).await,
        Command::Tokens(command) => tokens::run(context, command).await,
        Command::Meters(command) => meters::run(context, command).await,
        Command::Sources(command) => sources::run(context, command).await,
        Command::Snapshot(command) => snapshot::run(context, command).await,
        Command::Runs(command) => attribute::runs(context, command).await,
        Command::Export(command) => export::run(context, command).await,
        Command::Observability(command) => observability::run(context, command),
        Command::Openapi => about::openapi(context),
        Command::Completion { shell } => about::completion(context, shell),
        Command::Man => man::run(context),
        Command::Version => about::version(context),
    }
}

/// Prints what went wrong and returns how the process ends.
fn finish(result: Result<Exit>) -> ExitCode {
    let exit = match result {
        Ok(exit) => exit,
        Err(error) if is_closed_pipe(&error) => Exit::Ok,
        Err(error) => {
            let _ = std::io::Write::write_all(&mut std::io::stderr(), format!("error: {error:#}\n").as_bytes());
            exit_of_error(&error)
        }
    };
    ExitCode::from(exit as u8)
}

/// The reader of a pipe left, as `head` does: that is not a failure.
fn is_closed_pipe(error: &anyhow::Error) -> bool {
    error.downcast_ref::<std::io::Error>().is_some_and(|error| error.kind() == std::io::ErrorKind::BrokenPipe)
}

fn start_log(context: &Context, command: &Command) {
    let serves = matches!(command, Command::Serve(_));
    let level = match (serves, context.globals.verbose) {
        (false, 0) => "error",
        (true, 0) | (false, 1) => "info,sqlx=warn,deltalake=warn,deltalake_core=warn",
        (_, 2) | (true, 1) => "debug",
        _ => "trace",
    };
    let filter = context.environment.get("APPORTION_LOG").map_or(level, String::as_str);
    let filter = tracing_subscriber::EnvFilter::builder().parse_lossy(filter);
    let log = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).with_ansi(false);
    if matches!(command, Command::Serve(args) if args.log_json) { log.json().init() } else { log.init() }
}

/// What whoever makes a store says of its first token.
fn first_token_text(token: &str) -> String {
    format!("platform admin token, shown once: {token}")
}

impl Context {
    /// Returns the configuration.
    ///
    /// # Errors
    /// A failure that names file, line and nearest key.
    pub fn config(&self) -> Result<Loaded> {
        load(self.globals.config.as_deref(), &self.environment)
    }

    /// Returns a client of `--server`, else of the local store.
    ///
    /// # Errors
    /// An unusable address, a bad configuration, or a store that cannot be opened.
    pub async fn client(&self) -> Result<Client> {
        match &self.globals.server {
            Some(server) => Client::remote(server, self.globals.token.clone()),
            None => {
                let config = self.config()?.config;
                config.check_available()?;
                let store = crate::wiring::open_local(&config).await?;
                if let Some(token) = &store.first_token {
                    self.output.note(&first_token_text(token));
                }
                Ok(Client::Local(store.router))
            }
        }
    }

    /// As [`Self::client`]; a local store first gets the versions of `[files]`.
    ///
    /// # Errors
    /// As [`Self::client`], or a file that cannot be published.
    pub async fn client_with_files(&self) -> Result<Client> {
        let client = self.client().await?;
        if matches!(client, Client::Local(_)) {
            let moved = crate::publish::publish_files(&client, &self.config()?.config, self.globals.yes).await?;
            moved.iter().for_each(|line| self.output.warn(line));
        }
        Ok(client)
    }

    /// Returns the query parameters of `--range`, `--from`, `--to`.
    pub fn days(&self) -> Vec<(&'static str, String)> {
        let given = [("range", &self.globals.range), ("from", &self.globals.from), ("to", &self.globals.to)];
        given.into_iter().filter_map(|(name, value)| Some((name, value.clone()?))).collect()
    }

    /// Prints what a request answers.
    ///
    /// # Errors
    /// As [`Client::send`].
    pub async fn print(&self, client: &Client, call: Call, columns: &[&str]) -> Result<Exit> {
        self.output.answer(&client.json(call).await?, columns)?;
        Ok(Exit::Ok)
    }

    /// Prints a list: one page as the API gives it for JSON or when a page was asked for, else every row.
    ///
    /// # Errors
    /// As [`Client::send`].
    pub async fn print_list(
        &self,
        client: &Client,
        path: &str,
        query: Vec<(&'static str, String)>,
        columns: &[&str],
    ) -> Result<Exit> {
        let is_page = query.iter().any(|(name, _)| matches!(*name, "limit" | "cursor"));
        if is_page || self.output.format == Format::Json {
            let answer = client.json(Call::get(path).queries(query)).await?;
            if self.output.format == Format::Table
                && let Some(cursor) = answer.get("next_cursor").and_then(serde_json::Value::as_str)
            {
                self.output.note(&format!("more rows: --cursor {cursor}"));
            }
            self.output.answer(&answer, columns)?;
        } else {
            let rows = client.all_rows(path, &query).await?;
            self.output.answer(&serde_json::Value::Array(rows), columns)?;
        }
        Ok(Exit::Ok)
    }
}
