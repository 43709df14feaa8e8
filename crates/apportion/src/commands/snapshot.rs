//! `snapshot`: measures the workspaces of applications, and says how that went.

use super::Context;
use crate::cli::SnapshotCommand;
use crate::client::{Call, Client};
use crate::exit::{Exit, Failure};
use crate::progress::follow_run;
use anyhow::Result;
use serde_json::Value;

/// Most failed workspaces that are written out; the answer has more of them.
const FAILED_SHOWN_MAX: usize = 20;
/// Runs that `status` shows.
const RUNS_SHOWN: usize = 10;

/// Runs `snapshot …`.
pub async fn run(context: &Context, command: SnapshotCommand) -> Result<Exit> {
    let client = context.client().await?;
    match command {
        SnapshotCommand::Run { date, dry_run } => {
            let call = Call::post("/snapshots/run").maybe("date", date.as_deref());
            let run = match dry_run {
                true => client.json(call.query("dry_run", "true")).await?,
                false => start_and_wait(&client, call, context.output.shows_progress()).await?,
            };
            context.output.answer(&run, &[])?;
            warnings_of(&run).iter().for_each(|line| context.output.warn(line));
            exit_of_run(&run)
        }
        SnapshotCommand::Status => {
            let columns = ["date", "status", "tenants", "failed_total", "degraded", "finished_at", "error"];
            let call = Call::get("/snapshots/runs").query("limit", RUNS_SHOWN);
            context.print(&client, call, &columns).await
        }
    }
}

/// Starts a run, shows its progress on a terminal and returns it when it is done.
async fn start_and_wait(client: &Client, call: Call, shown: bool) -> Result<Value> {
    if shown {
        let run = client.json(call).await?;
        let Some(id) = run["id"].as_str().map(str::to_owned) else { return Ok(run) };
        follow_run(client, &format!("/snapshots/runs/{id}"), ("measuring", "workspaces")).await?;
        return client.json(Call::get(format!("/snapshots/runs/{id}"))).await;
    }
    client.json(call.query("wait", "true")).await
}

/// Returns what a person should read of a run.
fn warnings_of(run: &Value) -> Vec<String> {
    let list = |key: &str| run[key].as_array().map_or(&[][..], Vec::as_slice);
    let mut lines: Vec<String> = list("warnings").iter().filter_map(Value::as_str).map(str::to_owned).collect();
    let failed = list("failed").iter().take(FAILED_SHOWN_MAX).map(|failed| {
        let part = |key: &str| failed[key].as_str().unwrap_or_default();
        format!("workspace {} of {} was not measured: {}", part("tenant"), part("source"), part("reason"))
    });
    lines.extend(failed);
    let more = run["failed_total"].as_u64().unwrap_or_default().saturating_sub(FAILED_SHOWN_MAX as u64);
    if more > 0 {
        lines.push(format!("and {more} more: see the log"));
    }
    lines
}

/// Returns how the process ends after a run: 7 if single workspaces were not measured, 6 if a database was not reached.
///
/// # Errors
/// The run failed, or was cancelled.
fn exit_of_run(run: &Value) -> Result<Exit> {
    if run["status"] == "failed" {
        let reason = run["error"].as_str().unwrap_or("no workspace was measured");
        let exit = if run["unreachable"] == true { Exit::Unreachable } else { Exit::Failure };
        return Err(Failure::new(exit, format!("the snapshot failed: {reason}")).into());
    }
    if run["status"] == "cancelled" {
        let reason = run["error"].as_str().unwrap_or("somebody cancelled it");
        return Err(Failure::new(Exit::Failure, format!("the snapshot did not end: {reason}")).into());
    }
    let is_whole = run["failed_total"].as_u64() == Some(0);
    Ok(if is_whole { Exit::Ok } else { Exit::Partial })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::exit::exit_of_error;

    fn check(run: &str, expected: Result<Exit, (Exit, &str)>, lines: &[&str]) {
        let run: Value = serde_json::from_str(run).expect("JSON");
        let found = exit_of_run(&run).map_err(|error| (exit_of_error(&error), error.to_string()));
        assert_eq!(found, expected.map_err(|(exit, text)| (exit, text.to_owned())), "{run}");
        assert_eq!(warnings_of(&run), lines);
    }

    #[test]
    fn workspaces_that_were_not_measured_are_partial_and_a_source_that_was_not_fails() {
        check(r#"{"status":"succeeded","failed":[],"failed_total":0,"warnings":["w"]}"#, Ok(Exit::Ok), &["w"]);
        check(
            r#"{"status":"succeeded","failed":[{"tenant":"acme","source":"app","reason":"r"}],"failed_total":23}"#,
            Ok(Exit::Partial),
            &["workspace acme of app was not measured: r", "and 3 more: see the log"],
        );
        check(
            r#"{"status":"failed","failed":[],"failed_total":0,"error":"refused"}"#,
            Err((Exit::Failure, "the snapshot failed: refused")),
            &[],
        );
        check(
            r#"{"status":"failed","failed":[],"failed_total":0,"error":"away","unreachable":true}"#,
            Err((Exit::Unreachable, "the snapshot failed: away")),
            &[],
        );
        check(
            r#"{"status":"cancelled","failed":[],"failed_total":0,"error":"by ann"}"#,
            Err((Exit::Failure, "the snapshot did not end: by ann")),
            &[],
        );
    }
}
