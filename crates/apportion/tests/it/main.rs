//! The real binary, run as a person would.

/// The preset for agents: decision rules, events in, entries out.
mod agents;
/// Exit codes and messages for bad input.
mod bad_input;
/// The demo, checked against its own files.
mod demo;
/// The first command in a folder.
mod first_start;
/// Serving, and asking a server.
mod server;
/// From a bill and usage to a proved ledger.
mod smoke;

use std::path::Path;
use std::process::Command;

/// Returns the binary with arguments, in a folder, without the environment's settings.
fn apportion(folder: &Path, arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_apportion"));
    command.current_dir(folder).args(arguments).env("NO_COLOR", "1");
    for (name, _) in std::env::vars().filter(|(name, _)| name.starts_with("APPORTION")) {
        command.env_remove(name);
    }
    // Servers of several tests run at once.
    command.env("APPORTION__SERVER__EXPORTER_LISTEN", "127.0.0.1:0");
    command
}

/// Runs it and returns exit code, standard output and standard error.
fn run(folder: &Path, arguments: &[&str]) -> (i32, String, String) {
    let output = apportion(folder, arguments).output().expect("the binary runs");
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).expect("the output is text");
    (output.status.code().expect("it ends by itself"), text(output.stdout), text(output.stderr))
}
