//! `attribute` and `runs`: computes shares for a range of days and posts the differences.

use super::Context;
use super::interrupt::{Begun, or_cancel};
use crate::cli::{AttributeArgs, RunsCommand};
use crate::client::{Call, Client};
use crate::exit::{Exit, Failure, exit_of_error};
use crate::progress::{follow_run, spinner};
use anyhow::Result;
use domain::range::parse_range;
use domain::{Clock as _, Zone};
use serde_json::{Value, json};

/// Runs `attribute`.
pub async fn run(context: &Context, args: AttributeArgs) -> Result<Exit> {
    let mut body = if args.due { json!({ "due": true }) } else { days_of(context, &args)? };
    if !args.pools.is_empty() {
        body["pools"] = json!(args.pools);
    }
    if args.dry_run {
        body["dry_run"] = json!(true);
    }
    let client = tokio::select! {
        client = context.client_with_files() => client?,
        _ = tokio::signal::ctrl_c() => return Ok(Exit::Interrupted),
    };
    let begun = Begun::new();
    let work = start_and_wait(&client, &body, context.output.shows_progress(), &begun);
    let Some(run) = or_cancel(context, &client, &begun, work).await? else { return Ok(Exit::Interrupted) };
    context.output.answer(&run, &[])?;
    for line in warnings_of(&run) {
        context.output.warn(&line);
    }
    exit_of_run(&run)
}

/// Most warnings of a run that are written out; the answer and `runs show` have them all.
const WARNINGS_SHOWN_MAX: usize = 20;

/// Returns what a person should read of a run's warnings.
pub(super) fn warnings_of(run: &Value) -> Vec<String> {
    let warnings = run.get("warnings").and_then(Value::as_array).map_or(&[][..], Vec::as_slice);
    let line = |warning: &Value| {
        let part = |key: &str| warning.get(key).and_then(Value::as_str);
        let place: Vec<&str> = ["day", "pool"].into_iter().filter_map(part).collect();
        format!("{} ({}): {}", part("code").unwrap_or_default(), place.join(", "), part("detail").unwrap_or_default())
    };
    let mut lines: Vec<String> = warnings.iter().take(WARNINGS_SHOWN_MAX).map(line).collect();
    if warnings.len() > WARNINGS_SHOWN_MAX {
        lines.push(format!("and {} more: see `apportion runs show`", warnings.len() - WARNINGS_SHOWN_MAX));
    }
    lines
}

/// Returns how the process ends after a run.
///
/// # Errors
/// The run failed.
pub fn exit_of_run(run: &Value) -> Result<Exit> {
    if run.get("status").and_then(Value::as_str) == Some("failed") {
        let reason =
            ["error", "detail"].iter().find_map(|key| run.get(*key)).map_or_else(String::new, crate::output::plain);
        return Err(Failure::new(Exit::Failure, format!("the run failed: {reason}")).into());
    }
    if run.get("status").and_then(Value::as_str) == Some("cancelled") {
        return Err(Failure::new(Exit::Failure, "the run was cancelled; nothing was posted").into());
    }
    // Findings such as a meter without a price are shown, but the run is whole; a pool that kept its old entries is not.
    let runs = run.get("runs").and_then(Value::as_array).map_or_else(|| vec![run], |runs| runs.iter().collect());
    let not_run = |run: &&Value| run.get("not_run").and_then(Value::as_i64).is_some_and(|pools| pools > 0);
    Ok(if runs.iter().any(not_run) { Exit::Partial } else { Exit::Ok })
}

fn days_of(context: &Context, args: &AttributeArgs) -> Result<Value> {
    let globals = &context.globals;
    let usage = |text: &str| Failure::new(Exit::Usage, text);
    match (&args.date, &globals.range, &globals.from, &globals.to) {
        (Some(day), ..) => Ok(json!({ "from": day, "to": day })),
        (None, Some(range), ..) => {
            let zone = context.config().map_or_else(|_| Zone::utc(), |loaded| loaded.config.zone());
            let today = zone.day_of(crate::wiring::WallClock.now());
            let days =
                parse_range(range, today, false).map_err(|error| Failure::new(Exit::Conflict, error.to_string()))?;
            Ok(json!({ "from": days.from().to_string(), "to": days.to().to_string() }))
        }
        (None, None, Some(from), Some(to)) => Ok(json!({ "from": from, "to": to })),
        (None, None, None, None) => Err(usage("say which days: --range, --from and --to, --date or --due").into()),
        _ => Err(usage("--from and --to go together").into()),
    }
}

/// Starts a run, shows its progress on a terminal and returns it when it is done. Where progress is shown, `begun` gets the
/// run as soon as it is known.
///
/// # Errors
/// The API's refusal. A run that overlaps is waited for.
pub async fn start_and_wait(client: &Client, body: &Value, shown: bool, begun: &Begun) -> Result<Value> {
    if shown {
        match client.json(Call::post("/runs").json(body)).await {
            Ok(run) => {
                let Some(id) = run.get("id").and_then(Value::as_str).map(str::to_owned) else { return Ok(run) };
                let path = begun.get_or_init(|| format!("/runs/{id}"));
                follow_run(client, path, ("attributing", "days")).await?;
                return client.json(Call::get(path)).await;
            }
            // Another run holds these days: wait for it below.
            Err(error) if exit_of_error(&error) == Exit::Conflict && error.to_string().contains("progress") => {}
            Err(error) => return Err(error),
        }
    }
    let bar = spinner(shown, "attributing");
    let run = client.json(Call::post("/runs").query("wait", "true").json(body)).await;
    bar.finish_and_clear();
    run
}

/// Runs `runs …`.
pub async fn runs(context: &Context, command: RunsCommand) -> Result<Exit> {
    let client = context.client().await?;
    match command {
        RunsCommand::List => context.print_list(&client, "/runs", context.days(), &[]).await,
        RunsCommand::Show { id } => {
            let path = format!("/runs/{}", crate::client::percent_encode(&id));
            context.print(&client, Call::get(path), &[]).await
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(run: &str, expected: Result<Exit, &str>) {
        let run: Value = serde_json::from_str(run).expect("JSON");
        assert_eq!(exit_of_run(&run).map_err(|error| error.to_string()), expected.map_err(str::to_owned), "{run}");
    }

    #[test]
    fn pools_that_were_not_run_are_partial_and_a_failed_run_fails() {
        check(r#"{"status":"succeeded","warnings":[],"not_run":0}"#, Ok(Exit::Ok));
        check(r#"{"status":"succeeded","warnings":[{"code":"unpriced"}],"not_run":0}"#, Ok(Exit::Ok));
        check(r#"{"status":"succeeded","warnings":[{"code":"fx_missing"}],"not_run":1}"#, Ok(Exit::Partial));
        check(r#"{"runs":[{"status":"succeeded","not_run":0},{"status":"succeeded","not_run":2}]}"#, Ok(Exit::Partial));
        check(r#"{"status":"failed","warnings":[],"error":"disk full"}"#, Err("the run failed: disk full"));
        check(
            r#"{"status":"cancelled","warnings":[],"error":"by ann"}"#,
            Err("the run was cancelled; nothing was posted"),
        );
    }
}
