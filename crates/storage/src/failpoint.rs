//! Kills the process at a named step, so that a test can prove what a crash there leaves behind.
//!
//! Off unless the binary arms it once at its start. Library code only says where it is: `hit("…")`.
//! The steps: `after-data-file`, `before-commit`, `mid-commit` (the log entry is written and synced
//! but not yet visible), `after-commit`, `checkpoint`, `checkpoint-unsealed` (written, and not yet one that counts),
//! `merge` (before a merged file is written), `expire` (before expired events leave their table), `vacuum` (before each
//! deletion); of a flush of the event log `flush-committed`, `ids-persisted`, `log-truncated`; of a retraction
//! `retraction-noted`; of a push of cumulative metrics `metric-streams-written` (the rows are, the events are not) and
//! `metric-events-appended`; of a run `run-noted` (what it holds back is noted, its days do not count as run);
//! of closing a month `period-evidence` (what it rests on is kept, it is not posted) and `period-closed` (it is posted, what
//! is made of it is not).

use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};

static ARMED: OnceLock<Option<Failpoint>> = OnceLock::new();

#[derive(Debug)]
struct Failpoint {
    name: String,
    hits_left: AtomicU64,
}

/// Arms one step for the life of the process; only the first call counts.
///
/// `"name"` aborts at the first hit, `"name@3"` at the third. `None` keeps everything off.
pub fn arm(spec: Option<String>) {
    let failpoint = spec.map(|spec| {
        let (name, count) = spec.split_once('@').unwrap_or((spec.as_str(), "1"));
        let hits_left = AtomicU64::new(count.parse().unwrap_or(1).max(1));
        Failpoint { name: name.to_owned(), hits_left }
    });
    // A second call is a caller's mistake in tests only; the first setting stays.
    drop(ARMED.set(failpoint));
}

/// Aborts the process, without unwinding or flushing, if this step is armed and its turn has come.
pub fn hit(name: &str) {
    let Some(Some(armed)) = ARMED.get() else { return };
    if armed.name == name && armed.hits_left.fetch_sub(1, Ordering::SeqCst) == 1 {
        std::process::abort();
    }
}
