//! Progress bars on standard error, only when it is a terminal.

use crate::client::{Answer, Call, Client};
use crate::exit::{Exit, Failure};
use anyhow::Result;
use futures::StreamExt as _;
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use serde_json::Value;
use std::time::Duration;

/// Returns a spinner that says what goes on; it is invisible when `shown` is false.
pub fn spinner(shown: bool, message: impl Into<String>) -> ProgressBar {
    let bar = ProgressBar::with_draw_target(None, target(shown));
    bar.set_style(ProgressStyle::with_template("{spinner} {msg} {elapsed}").expect("a constant template"));
    bar.set_message(message.into());
    if shown {
        bar.enable_steady_tick(Duration::from_millis(120));
    }
    bar
}

/// Returns a bar over so many bytes; it is invisible when `shown` is false.
pub fn byte_bar(shown: bool, bytes: u64, message: impl Into<String>) -> ProgressBar {
    let bar = ProgressBar::with_draw_target(Some(bytes), target(shown));
    let template = "{msg} {bar:30} {bytes}/{total_bytes} {bytes_per_sec} {eta}";
    bar.set_style(ProgressStyle::with_template(template).expect("a constant template"));
    bar.set_message(message.into());
    bar
}

fn target(shown: bool) -> ProgressDrawTarget {
    if shown { ProgressDrawTarget::stderr() } else { ProgressDrawTarget::hidden() }
}

/// Shows the progress of the run at `path` until it ends: what it does, and what it counts.
///
/// # Errors
/// The run's progress cannot be read.
pub async fn follow_run(client: &Client, path: &str, (doing, counted): (&'static str, &str)) -> Result<()> {
    let bar = ProgressBar::with_draw_target(Some(0), target(true));
    let template = format!("{{msg}} {{bar:30}} {{pos}}/{{len}} {counted} {{elapsed}}");
    bar.set_style(ProgressStyle::with_template(&template).expect("a constant template"));
    bar.set_message(doing);
    let answer = client.send(Call::get(format!("{path}/events")).accept("text/event-stream")).await?;
    follow_events(answer, |event| {
        let number = |keys: [&str; 2]| keys.iter().find_map(|key| event.get(*key)).and_then(Value::as_u64);
        if let Some(total) = number(["days_total", "total"]) {
            bar.set_length(total);
        }
        if let Some(done) = number(["days_done", "done"]) {
            bar.set_position(done);
        }
        matches!(event.get("status").and_then(Value::as_str), Some("succeeded" | "failed" | "cancelled"))
    })
    .await?;
    bar.finish_and_clear();
    Ok(())
}

/// Returns what a question answers that tells how far it is meanwhile; shows that as a bar over days.
///
/// # Errors
/// As [`Client::send`], what the stream says went wrong, or a stream that broke off.
pub async fn follow_question(client: &Client, call: Call, shown: bool, doing: &'static str) -> Result<Value> {
    let bar = ProgressBar::with_draw_target(Some(0), target(shown));
    bar.set_style(
        ProgressStyle::with_template("{msg} {bar:30} {pos}/{len} days {elapsed}").expect("a constant template"),
    );
    bar.set_message(doing);
    let answer = client.send(call.accept("text/event-stream")).await?;
    let mut last = None;
    follow_events(answer, |event| {
        if event.get("status").and_then(Value::as_str) != Some("running") {
            last = Some(event.clone());
            return true;
        }
        bar.set_length(event["days_total"].as_u64().unwrap_or(0));
        bar.set_position(event["days_done"].as_u64().unwrap_or(0));
        false
    })
    .await?;
    bar.finish_and_clear();
    let last = last.ok_or_else(|| Failure::new(Exit::Unreachable, "the answer broke off"))?;
    if last.get("status").and_then(Value::as_str) == Some("failed") {
        let text = |key: &str| last[key].as_str().unwrap_or_default().to_owned();
        return Err(Failure::new(Exit::Failure, format!("{}: {}", text("code"), text("detail"))).into());
    }
    Ok(last)
}

/// Hands each event's JSON to `is_last` until it says so or the stream ends.
async fn follow_events(answer: Answer, mut is_last: impl FnMut(&Value) -> bool) -> Result<()> {
    let mut stream = answer.stream();
    let mut pending = Vec::new();
    while let Some(piece) = stream.next().await {
        pending.extend_from_slice(&piece?);
        while let Some(end) = pending.iter().position(|byte| *byte == b'\n') {
            let line: Vec<u8> = pending.drain(..=end).collect();
            let data = line.strip_prefix(b"data:").and_then(|data| serde_json::from_slice::<Value>(data).ok());
            if data.is_some_and(|event| is_last(&event)) {
                return Ok(());
            }
        }
    }
    Ok(())
}
