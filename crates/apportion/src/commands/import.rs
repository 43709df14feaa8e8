//! `import`: bills as one set, usage events from a file.

use super::Context;
use crate::cli::{Format, ImportCommand};
use crate::client::{Call, Client};
use crate::exit::{Exit, Failure};
use crate::progress::byte_bar;
use anyhow::Result;
use axum::body::{Body, Bytes};
use futures::{Stream, StreamExt as _, TryStreamExt as _};
use indicatif::ProgressBar;
use serde_json::Value;
use std::path::{Path, PathBuf};
use tokio_util::io::ReaderStream;

/// Runs `import focus` or `import events`.
pub async fn run(context: &Context, command: ImportCommand) -> Result<Exit> {
    match command {
        ImportCommand::Focus { paths, source, confirm } => {
            let files = files_of(&paths)?;
            let client = context.client().await?;
            let answer = import_focus(&client, &files, &source, confirm, context.output.shows_progress()).await?;
            print_report(context, &answer)
        }
        ImportCommand::Events { path } => {
            let (body, bar) = body_of(&path, context.output.shows_progress()).await?;
            let client = context.client().await?;
            let answer = import_events(&client, body).await?;
            bar.finish_and_clear();
            print_events_report(context, &answer)
        }
    }
}

fn print_report(context: &Context, answer: &Value) -> Result<Exit> {
    context.output.answer(answer, &[])?;
    if answer.get("unchanged").and_then(Value::as_bool) == Some(true) && context.output.format == Format::Table {
        context.output.note("nothing changed: these rows were imported before");
    }
    Ok(Exit::Ok)
}

fn print_events_report(context: &Context, answer: &Value) -> Result<Exit> {
    context.output.answer(answer, &[])?;
    let rejected = match answer.get("rejected") {
        Some(Value::Array(items)) => !items.is_empty(),
        Some(Value::Number(count)) => count.as_u64() != Some(0),
        _ => false,
    };
    Ok(if rejected { Exit::Partial } else { Exit::Ok })
}

/// Returns the files that the paths name; a folder stands for its files in name order.
fn files_of(paths: &[PathBuf]) -> Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    for path in paths {
        let unreadable = |error: std::io::Error| {
            let exit = if error.kind() == std::io::ErrorKind::NotFound { Exit::NotFound } else { Exit::Failure };
            Failure::new(exit, format!("cannot read {}: {error}", path.display()))
        };
        if !std::fs::metadata(path).map_err(unreadable)?.is_dir() {
            files.push(path.clone());
            continue;
        }
        let mut inside = Vec::new();
        for entry in std::fs::read_dir(path).map_err(unreadable)? {
            let entry = entry.map_err(unreadable)?.path();
            let hidden = entry.file_name().is_some_and(|name| name.to_string_lossy().starts_with('.'));
            if entry.is_file() && !hidden {
                inside.push(entry);
            }
        }
        if inside.is_empty() {
            let message = format!("{} has no files to import", path.display());
            return Err(Failure::new(Exit::NotFound, message).into());
        }
        inside.sort();
        files.append(&mut inside);
    }
    Ok(files)
}

/// Imports files as one set and returns the API's report.
///
/// # Errors
/// A file that cannot be read, or the API's refusal.
pub async fn import_focus(
    client: &Client,
    files: &[PathBuf],
    source: &str,
    confirm: bool,
    shown: bool,
) -> Result<Value> {
    let mut bytes = 0;
    for file in files {
        bytes += tokio::fs::metadata(file).await.map(|data| data.len()).unwrap_or(0);
    }
    let bar = byte_bar(shown, bytes, "importing");
    let boundary = "apportion-part-5f2e8b1c9d7a4036";
    let body = Body::from_stream(multipart(files.to_vec(), boundary, bar.clone()));
    let call = Call::post("/cost-lines/imports").query("source", source).maybe("confirm", confirm.then_some("true"));
    let answer = client.json(call.body(&format!("multipart/form-data; boundary={boundary}"), body)).await;
    bar.finish_and_clear();
    answer.map_err(|error| match error.downcast::<Failure>() {
        Ok(failure) if failure.message.starts_with("would_shrink") => {
            Failure::new(failure.exit, format!("{}\n  on the command line: --confirm", failure.message)).into()
        }
        Ok(failure) => failure.into(),
        Err(error) => error,
    })
}

/// Returns the files as the parts of a multipart body, piece by piece.
fn multipart(
    files: Vec<PathBuf>,
    boundary: &'static str,
    bar: ProgressBar,
) -> impl Stream<Item = std::io::Result<Bytes>> {
    let part = move |path: PathBuf| {
        let bar = bar.clone();
        async move {
            let name = path.file_name().map(|name| name.to_string_lossy().replace(['"', '\r', '\n'], "_"));
            let head = format!(
                "--{boundary}\r\nContent-Disposition: form-data; name=\"file\"; filename=\"{}\"\r\n\
                 Content-Type: application/octet-stream\r\n\r\n",
                name.unwrap_or_default()
            );
            let content = pieces_of(tokio::fs::File::open(&path).await?, bar);
            let head = futures::stream::iter([Ok(Bytes::from(head))]);
            Ok::<_, std::io::Error>(head.chain(content).chain(futures::stream::iter([Ok(Bytes::from("\r\n"))])))
        }
    };
    let end = futures::stream::iter([Ok(Bytes::from(format!("--{boundary}--\r\n")))]);
    futures::stream::iter(files).then(part).try_flatten().chain(end)
}

fn pieces_of(
    reader: impl tokio::io::AsyncRead + Send + 'static,
    bar: ProgressBar,
) -> impl Stream<Item = std::io::Result<Bytes>> {
    ReaderStream::with_capacity(reader, 256 * 1024).inspect_ok(move |piece| bar.inc(piece.len() as u64))
}

/// Returns a file, or standard input for `-`, as a body.
///
/// # Errors
/// A failure that names the file.
pub async fn body_of(path: &Path, shown: bool) -> Result<(Body, ProgressBar)> {
    if path == Path::new("-") {
        let bar = byte_bar(false, 0, "reading");
        return Ok((Body::from_stream(pieces_of(tokio::io::stdin(), bar.clone())), bar));
    }
    let unreadable = |error: std::io::Error| {
        let exit = if error.kind() == std::io::ErrorKind::NotFound { Exit::NotFound } else { Exit::Failure };
        Failure::new(exit, format!("cannot read {}: {error}", path.display()))
    };
    let file = tokio::fs::File::open(path).await.map_err(unreadable)?;
    let bar = byte_bar(shown, file.metadata().await.map_err(unreadable)?.len(), "importing");
    Ok((Body::from_stream(pieces_of(file, bar.clone())), bar))
}

/// Imports usage events and returns the API's report.
///
/// # Errors
/// The API's refusal.
pub async fn import_events(client: &Client, body: Body) -> Result<Value> {
    client.json(Call::post("/events/imports").body("application/x-ndjson", body)).await
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::exit::exit_of_error;

    #[tokio::test]
    async fn a_set_of_files_is_one_multipart_body() {
        let folder = tempfile::tempdir().expect("a folder");
        for (name, text) in [("b.csv", "2"), ("a.csv", "1"), (".hidden", "x")] {
            std::fs::write(folder.path().join(name), text).expect("written");
        }
        let files = files_of(&[folder.path().to_owned()]).expect("two files");
        let pieces: Vec<Bytes> = multipart(files, "B", byte_bar(false, 0, "")).try_collect().await.expect("readable");
        let text = String::from_utf8(pieces.concat()).expect("text");
        let head = |name: &str| {
            format!(
                "--B\r\nContent-Disposition: form-data; name=\"file\"; filename=\"{name}\"\r\nContent-Type: application/octet-stream\r\n\r\n"
            )
        };
        assert_eq!(text, format!("{}1\r\n{}2\r\n--B--\r\n", head("a.csv"), head("b.csv")));
    }

    #[test]
    fn what_is_not_there_is_named() {
        let error = files_of(&[PathBuf::from("no-such-bill.csv")]).expect_err("missing");
        assert!(error.to_string().starts_with("cannot read no-such-bill.csv"));
        assert_eq!(exit_of_error(&error), Exit::NotFound);
        let folder = tempfile::tempdir().expect("a folder");
        assert!(files_of(&[folder.path().to_owned()]).is_err());
    }
}
