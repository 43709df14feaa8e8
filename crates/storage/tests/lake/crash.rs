//! A child process is killed at a step of a commit; the parent looks at what is left.

use std::path::Path;
use std::process::Command;

use storage::failpoint;
use storage::lake::Table;
use tempfile::TempDir;

use super::sample::{self, DAY};

const FOLDER: &str = "LAKE_CRASH_FOLDER";
const STEP: &str = "LAKE_CRASH_STEP";

/// Not a test of its own: does nothing unless a parent asks for it.
#[tokio::test]
async fn child_commits_until_it_is_killed() {
    let (Ok(folder), Ok(step)) = (std::env::var(FOLDER), std::env::var(STEP)) else { return };
    failpoint::arm(Some(step));
    let lake = sample::open(Path::new(&folder)).await;
    for number in 0..101 {
        sample::append_newest(&lake, Table::Ledger, &sample::rows(Table::Ledger, 1, DAY + number)).await;
    }
}

async fn left_after(step: &str) -> (u64, i64) {
    let folder = TempDir::new().unwrap();
    let child = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "lake::crash::child_commits_until_it_is_killed"])
        .env(FOLDER, folder.path())
        .env(STEP, step)
        .output()
        .unwrap();
    assert!(!child.status.success(), "{step}: the child was not killed");

    let lake = sample::open(folder.path()).await;
    let pinned = lake.pin_table(Table::Ledger).await.unwrap();
    let report = lake.verify_files(Table::Ledger, Some(&pinned.log_head())).await.unwrap();
    assert_eq!(report.faults, [], "{step}");
    let left = (pinned.version(), sample::count(&pinned).await);
    sample::append(&lake, &pinned, &sample::rows(Table::Ledger, 5, DAY)).await;
    left
}

#[tokio::test]
async fn a_kill_leaves_the_posting_whole_or_absent() {
    for (step, version) in [
        ("after-data-file@3", 2),
        ("before-commit@3", 2),
        ("mid-commit@3", 2),
        ("after-commit@3", 3),
        ("checkpoint", 100),
    ] {
        assert_eq!(left_after(step).await, (version, version as i64), "{step}");
    }
}
