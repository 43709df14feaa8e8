//! The binary: parses arguments and dispatches.
//!
//! Owns: the command line, configuration, the choice of back ends, the demo.
//! Never: business rules. Every command asks the REST API, over HTTP or in process.
//! Start reading at [`cli`]; the only place that chooses back ends is [`wiring`].

/// Where memory comes from and when it goes back.
mod allocator;
/// What can be typed: commands and flags.
mod cli;
/// One REST API, reached over HTTP or in process.
mod client;
/// One file per group of commands.
mod commands;
/// `apportion.toml`, environment and flags, with the origin of each value.
mod config;
/// Seeded sample data.
mod demo;
/// Exit codes and the failures that carry one.
mod exit;
/// Commands of later releases: listed, refused.
mod later;
/// The dashboard, alerts and scrape job that come with the metrics.
mod observability;
/// Tables, JSON, NDJSON and CSV on standard output.
mod output;
/// Progress bars on standard error.
mod progress;
/// Publishes the files of `[files]` before anything attributes or serves.
mod publish;
/// What `serve` does by itself: once a day, after imports, when it is quiet.
mod scheduler;
/// Sources of usage: made, brought together with the event log, read again and again.
mod sources;
/// The rate card of the environment.
mod unit_costs;
/// The one place that opens stores and builds the router.
mod wiring;

fn main() -> std::process::ExitCode {
    allocator::set_up();
    commands::main()
}
