//! `lake`: the files of the tables.

use super::Context;
use crate::cli::LakeCommand;
use crate::client::Call;
use crate::exit::Exit;
use crate::progress::spinner;
use anyhow::Result;

/// Columns of the table of merged files; the other formats have all.
const COMPACTED_COLUMNS: [&str; 5] = ["table", "files_before", "files_after", "rows", "commits"];
/// Columns of the table of deleted files.
const VACUUM_COLUMNS: [&str; 3] = ["kind", "bytes", "path"];

/// Runs `lake …`.
pub async fn run(context: &Context, command: LakeCommand) -> Result<Exit> {
    let (path, dry_run, columns, doing) = match command {
        LakeCommand::Compact => ("/lake/compact", false, &COMPACTED_COLUMNS[..], "merging small files"),
        LakeCommand::ExpireEvents(args) => ("/lake/expire-events", args.dry_run, &[][..], "expiring raw events"),
        LakeCommand::Vacuum(args) => ("/lake/vacuum", args.dry_run, &VACUUM_COLUMNS[..], "looking for files to delete"),
    };
    let client = context.client().await?;
    let bar = spinner(context.output.shows_progress(), doing);
    let answer = client.json(Call::post(path).maybe("dry_run", dry_run.then_some(true))).await?;
    bar.finish_and_clear();
    context.output.answer(&answer, columns)?;
    Ok(Exit::Ok)
}
